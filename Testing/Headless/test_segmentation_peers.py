"""Segmentations between us and other programs: each reads what the other one writes, voxel by voxel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from support import peers
from support.items import read
from support.seg_exports import (
    AFFINE,
    assert_same_points,
    masks_of,
    oblique,
    points_of_masks,
    points_of_node,
    segmentation_node,
    volume_node,
)
from support.seg_nodes import Points, points_of_mask
from support.seg_objects import ct_series
from support.volumes import array_of_image

import dicombridge

NAMES = ("Liver", "Spleen", "Kidney")
SHAPES = {"bytes": (5, 16, 10), "bits": (5, 13, 9)}


def overlapping(shape: tuple[int, int, int]) -> dict[str, Any]:
    masks = masks_of(1, NAMES, shape)
    masks["Spleen"] = masks["Spleen"] | (np.random.default_rng(2).random(shape) < 0.2)
    masks["Kidney"][:2] = False
    return masks


def export(scene: Any, folder: Path, masks: Any, affine: Any = AFFINE, **options: Any) -> Path:
    node = segmentation_node(scene, masks, affine, shared=False)
    node.GetSegmentation().GetSegment("id-1").SetTag(
        "TerminologyEntry", "x~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~y~^^~^^"
    )
    (path,) = dicombridge.export(node, folder, PatientName="Müller^Jörg", **options)
    return path


def source(folder: Path, shape: tuple[int, int, int], affine: Any = AFFINE) -> Path:
    orientation = [*(affine[:3, 0] / 0.8), *(affine[:3, 1] / 0.9)]
    places = [(affine @ [0, 0, place, 1])[:3] for place in range(shape[0])]
    ct_series(folder, places, shape=shape[1:], orientation=orientation, spacing=(0.9, 0.8))
    return folder


def near(found: dict[str, Points], expected: dict[str, Points]) -> None:
    """Peers write their positions in fewer digits."""
    assert_same_points(found, expected, 1e-3)


def points_by_highdicom(segmentation: Any, numbers: list[int]) -> dict[str, Points]:
    volume = segmentation.get_volume(segment_numbers=numbers, rescale_fractional=True)
    to_lps = volume.affine[:, [2, 1, 0, 3]]
    labels = [segmentation.get_segment_description(number).segment_label for number in numbers]
    return {label: points_of_mask(volume.array[..., at] > 0.5, to_lps) for at, label in enumerate(labels)}


# --- they read ours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "deflate", "rle", "jpeg-ls"])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_highdicom_reads(scene: Any, tmp_path: Path, kind: str, compression: str | None) -> None:
    if kind == "BINARY" and compression in ("jpeg-ls", "rle"):
        return  # single bits: JPEG-LS is refused, and pydicom, with which highdicom reads, knows no RLE of them
    affine = oblique()
    masks = masks_of(3, NAMES, SHAPES["bits"]) if kind == "LABELMAP" else overlapping(SHAPES["bits"])
    path = export(scene, tmp_path / "out", masks, affine, segmentation_type=kind, compression=compression)
    segmentation = highdicom.seg.segread(path)
    numbers = [number for number in segmentation.segment_numbers if number]
    assert [segmentation.get_segment_description(number).segment_label for number in numbers] == list(masks)
    description = segmentation.get_segment_description(1)
    assert description.segmented_property_type.meaning == "Liver"
    near(points_by_highdicom(segmentation, numbers), points_of_masks(masks, affine))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_dcmqi_reads(scene: Any, tmp_path: Path, kind: str, merge: bool, shape: tuple[int, int, int]) -> None:
    affine = oblique()
    masks = masks_of(3, NAMES, shape) if merge or kind == "LABELMAP" else overlapping(shape)
    images = source(tmp_path / "ct", shape, affine)
    path = export(scene, tmp_path / "out", masks, affine, source=images, segmentation_type=kind)
    volumes = peers.read_by_dcmqi(path, tmp_path / "dcmqi", merge)
    described = peers.describe_by_dcmqi(tmp_path / "dcmqi")
    assert {segment["SegmentLabel"] for segment in described} - {"Background"} == set(NAMES)
    label_of = {segment["SegmentLabel"]: segment["labelID"] for segment in described}
    found = {}
    for number, name in enumerate(NAMES, start=1):
        voxels, to_lps = volumes["1" if len(volumes) == 1 else str(number)]
        found[name] = points_of_mask(voxels == label_of[name], to_lps)
    near(found, points_of_masks(masks, affine))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_dcmjs_reads(
    scene: Any, tmp_path: Path, kind: str, compression: str | None, shape: tuple[int, int, int]
) -> None:
    masks = masks_of(3, NAMES, shape)
    images = source(tmp_path / "ct", shape)
    path = export(scene, tmp_path / "out", masks, source=images, segmentation_type=kind, compression=compression)
    found = peers.node("read_seg.mjs", path)
    assert (found["type"], found["patient"], found["complete"]) == (kind, "Müller^Jörg", True)
    segments = [segment for segment in found["segments"] if segment["number"]]
    assert [(segment["number"], segment["label"]) for segment in segments] == list(enumerate(NAMES, start=1))
    assert segments[0]["type"] == "Liver"
    assert len(found["references"]) == len(set(found["references"])) == shape[0]
    expected = {}
    for place in range(shape[0]):
        layers = [mask[place] for mask in masks.values()]
        if kind == "LABELMAP":
            expected[None, place] = sum(layer * np.uint8(number) for number, layer in enumerate(layers, start=1))
        else:
            one = 1 if kind == "BINARY" else 255
            expected.update({(number, place): layer * np.uint8(one) for number, layer in enumerate(layers, start=1)})
    assert len(found["frames"]) == len(expected)
    positions = {str(read(file).SOPInstanceUID): read(file).ImagePositionPatient for file in images.iterdir()}
    for frame in found["frames"]:
        place = round((frame["position"][2] + 33.0) / 2.5)
        assert frame["position"] == pytest.approx([-11.0, 22.0, -33.0 + 2.5 * place], abs=1e-6)
        assert frame["position"] == positions[frame["source"]]
        values = expected[frame["segment"], place]
        assert (frame["set"], frame["checksum"]) == (np.count_nonzero(values), peers.checksum(values))


def test_dcmjs_segments(scene: Any, tmp_path: Path) -> None:
    """The segmentation reader of dcmjs itself (which takes frames of whole bytes only)."""
    masks = masks_of(3, NAMES, (5, 16, 8))
    path = export(scene, tmp_path / "out", masks, source=source(tmp_path / "ct", (5, 16, 8)))
    found = peers.node("segments.mjs", path)
    for number, mask in enumerate(masks.values(), start=1):
        segment = found[str(number)]
        assert segment["checksum"] == peers.checksum(mask)
        assert segment["dimensions"] == [8, 16, 5]
        assert segment["origin"] == pytest.approx([-11.0, 22.0, -33.0], abs=1e-6)
        assert segment["spacing"] == pytest.approx([0.8, 0.9, 2.5], abs=1e-6)


# --- we read theirs --------------------------------------------------------------------------------------------------


def load(path: Path, images: Path) -> list[Any]:
    return dicombridge.load(path, scene=dicombridge.new_scene(), database=dicombridge.open_folder(images))


def description(number: int, name: str) -> Any:
    from pydicom.sr.codedict import codes

    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid=highdicom.UID(),
        tracking_id=f"id {number}",
    )


@pytest.mark.parametrize("omit_empty_frames", [True, False])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_highdicom_writes(tmp_path: Path, kind: str, omit_empty_frames: bool) -> None:
    affine, shape = oblique(), SHAPES["bits"]
    images = source(tmp_path / "ct", shape, affine)
    masks = masks_of(4, NAMES, shape) if kind == "LABELMAP" else overlapping(shape)
    dataset = highdicom.seg.Segmentation(
        source_images=[read(file) for file in sorted(images.iterdir())],
        pixel_array=np.stack([mask.astype(np.uint8) for mask in masks.values()], axis=-1),
        segmentation_type=kind,
        segment_descriptions=[description(number, name) for number, name in enumerate(masks, start=1)],
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Acme",
        manufacturer_model_name="Net",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=omit_empty_frames,
        **({"fractional_type": "PROBABILITY", "max_fractional_value": 200} if kind == "FRACTIONAL" else {}),
    )
    dataset.save_as(tmp_path / "theirs.dcm")
    nodes = load(tmp_path / "theirs.dcm", images)
    near(points_of_node(nodes[0]), points_of_masks(masks, affine))
    (ours,) = dicombridge.export(nodes, tmp_path / "out", database=dicombridge.open_folder(images))
    near(points_by_highdicom(highdicom.seg.segread(ours), [1, 2, 3]), points_of_masks(masks, affine))
    assert read(ours).get("MaximumFractionalValue") == dataset.get("MaximumFractionalValue")


def test_dcmqi_writes(scene: Any, tmp_path: Path) -> None:
    shape, affine = SHAPES["bits"], oblique()
    images = source(tmp_path / "ct", shape, affine)
    masks = masks_of(5, NAMES, shape)
    labels = sum(mask * np.uint8(number) for number, mask in enumerate(masks.values(), start=1))
    volume = volume_node(scene, labels, affine)
    nrrd = _write_nrrd(tmp_path / "labels.nrrd", labels, affine)
    code = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    segments = [
        {
            "labelID": number,
            "SegmentLabel": name,
            "SegmentDescription": name,
            "SegmentAlgorithmType": "MANUAL",
            "SegmentedPropertyCategoryCodeSequence": code,
            "SegmentedPropertyTypeCodeSequence": code,
            "recommendedDisplayRGBValue": [200, 100, 50],
        }
        for number, name in enumerate(NAMES, start=1)
    ]
    meta = {"SeriesNumber": "9", "InstanceNumber": "1", "ContentLabel": "SEG", "segmentAttributes": [segments]}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    peers.run(
        *(peers.tool("itkimage2segimage"), "--inputImageList", nrrd, "--inputDICOMDirectory", images),
        *("--outputDICOM", tmp_path / "theirs.dcm", "--inputMetadata", tmp_path / "meta.json"),
    )
    (node,) = load(tmp_path / "theirs.dcm", images)
    near(points_of_node(node), points_of_masks(masks, affine))
    colour = node.GetSegmentation().GetNthSegment(0).GetColor()
    assert colour == pytest.approx([200 / 255, 100 / 255, 50 / 255], abs=0.02)
    assert np.array_equal(array_of_image(volume.GetImageData()), labels)


def _write_nrrd(path: Path, labels: Any, affine: Any) -> Path:
    directions = " ".join("({})".format(",".join(f"{value:.12g}" for value in affine[:3, axis])) for axis in range(3))
    origin = ",".join(f"{value:.12g}" for value in affine[:3, 3])
    header = (
        f"NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: {labels.shape[2]} "
        f"{labels.shape[1]} {labels.shape[0]}\nspace directions: {directions}\nkinds: domain domain domain\n"
        f"encoding: raw\nspace origin: ({origin})\n\n"
    )
    path.write_bytes(header.encode("ascii") + np.ascontiguousarray(labels, np.uint8).tobytes())
    return path


def test_dcmjs_writes(tmp_path: Path) -> None:
    images = source(tmp_path / "ct", (4, 16, 8))
    made = peers.node("write_seg.mjs", tmp_path / "theirs.dcm", *sorted(images.iterdir()))
    expected = {}
    for name, number in (("Liver", "1"), ("Spleen", "2")):
        places = [
            np.add(made["positions"][frame], [0.8 * column, 0.9 * row, 0.0])
            for frame, row, column in made["painted"][number]
        ]
        expected[name] = np.array(places)
    (node,) = load(tmp_path / "theirs.dcm", images)
    near(points_of_node(node), expected)


def test_a_missing_peer_is_no_silent_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DICOMBRIDGE_WITHOUT_NODE", raising=False)
    monkeypatch.setattr(peers, "NODE_FOLDER", tmp_path)
    with pytest.raises(AssertionError, match=r"run `npm ci`|install Node.js"):
        peers.node("read_seg.mjs", "x")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AssertionError, match="node is not installed"):
        peers.node("read_seg.mjs", "x")
    monkeypatch.setenv("DICOMBRIDGE_WITHOUT_NODE", "1")
    with pytest.raises(pytest.skip.Exception, match="DICOMBRIDGE_WITHOUT_NODE=1"):
        peers.node("read_seg.mjs", "x")
