"""Segmentations of slides, in tiles: in, equal to highdicom."""

from __future__ import annotations

import resource
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from support.seg_nodes import image_of, lps_of_ijk, mask_of, names
from support.tiled_masks import (
    KINDS,
    ORGANIZATIONS,
    SHARED,
    node_masks,
    stored,
    total_matrix,
)
from support.tiled_objects import (
    TURNED,
    UPRIGHT,
    affine_of,
    by_hand,
    by_highdicom,
    masks,
    slide,
    write,
)
from support.volumes import array_of_image

import dicombridge
from dicombridge.errors import GeometryError, UnreadableError, UnsupportedError
from dicombridge.segmentation import tiles


@pytest.mark.parametrize("name", SHARED)
def test_real_files_equal_highdicom(data: Path, scene: Any, name: str) -> None:
    path = data / "seg/highdicom_sm" / name
    (node,) = dicombridge.load(path, scene=scene)
    np.testing.assert_array_equal(node_masks(node)[0], total_matrix(path) != 0)


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_objects_of_highdicom(
    tmp_path: Path, scene: Any, kind: str, organization: str, orientation: tuple[float, ...]
) -> None:
    source = slide(orientation=orientation)
    path = write(by_highdicom(source, kind, stored(kind), organization), tmp_path, "seg.dcm")
    node, *volumes = dicombridge.load(path, scene=scene)
    expected = total_matrix(path)
    np.testing.assert_array_equal(node_masks(node)[0], expected > 0)
    for number, volume in enumerate(volumes):
        np.testing.assert_allclose(array_of_image(volume.GetImageData())[0], expected[..., number], atol=1e-6)
    assert len(volumes) == (3 if kind == "FRACTIONAL" else 0)
    image = image_of(node.GetSegmentation().GetNthSegment(0))
    affine = affine_of(source)
    np.testing.assert_allclose(lps_of_ijk(image)[:3, [0, 1, 3]], affine, rtol=0, atol=1e-9)


@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_focal_planes_are_slices(tmp_path: Path, scene: Any, kind: str, organization: str) -> None:
    """Segments are the slowest, then focal planes (PS3.3 C.7.6.17.3); these are micrometres apart."""
    values = (np.arange(2 * 3 * 50 * 70).reshape(2, 3, 50, 70) // 7 % 3 == 0).astype(np.uint8)
    if kind == "LABELMAP":
        values = values[:1] * 2
    scale = 255 if kind == "FRACTIONAL" else 1
    dataset = by_hand(kind, values * scale, organization=organization, heights_um=(2.0, 3.5, 5.0))
    nodes = dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    found = node_masks(nodes[0])
    # TURNED looks from below: the first slice along the normal is the uppermost plane.
    expected = np.moveaxis(values == 2 if kind == "LABELMAP" else values == 1, 0, -1)[::-1]
    np.testing.assert_array_equal(found[..., -1:] if kind == "LABELMAP" else found, expected)
    matrix = lps_of_ijk(image_of(nodes[0].GetSegmentation().GetNthSegment(0)))
    np.testing.assert_allclose(matrix[:3, 2], [0, 0, -0.0015], atol=1e-12)
    highest = 0.005 if organization == "TILED_SPARSE" else 0.003
    assert matrix[2, 3] == pytest.approx(highest, abs=1e-12)


def test_planes_of_unknown_distance(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As those of a slide's image, which the segmentation lies on then."""
    values = np.ones((1, 3, 50, 70), np.uint8)
    dataset = by_hand("BINARY", values, organization="TILED_FULL", heights_um=(0.0, 1.5, 3.0))
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    (node,) = dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    matrix = lps_of_ijk(image_of(node.GetSegmentation().GetNthSegment(0)))
    np.testing.assert_allclose(matrix[:3, 2], [0, 0, -0.001], atol=1e-12)
    assert "distance of its focal planes is not known; 1 um was taken" in caplog.text


def test_uneven_focal_planes_are_nodes(tmp_path: Path, scene: Any) -> None:
    values = np.ones((1, 3, 50, 70), np.uint8)
    dataset = by_hand("BINARY", values, heights_um=(0.0, 1.0, 2.4))
    nodes = dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    assert [node_masks(node).shape for node in nodes] == [(1, 50, 70, 1)] * 3


def test_segment_numbers_of_full_tiles_are_those_of_the_items(tmp_path: Path, scene: Any) -> None:
    values = np.zeros((2, 1, 50, 70), np.uint8)
    values[1, 0, :5] = 1
    dataset = by_hand("BINARY", values, organization="TILED_FULL", numbers=(4, 9))
    (node,) = dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    assert names(node) == ["Label 4", "Label 9"]
    assert node_masks(node).sum(axis=(0, 1, 2)).tolist() == [0, 350]


@pytest.mark.parametrize("organization", ORGANIZATIONS)
def test_a_concatenation_is_one(tmp_path: Path, scene: Any, organization: str) -> None:
    values = np.moveaxis(masks(), -1, 0)[:, None]
    whole = by_hand("BINARY", values, organization=organization, ConcatenationUID="1.2.9", InConcatenationTotalNumber=2)
    frames = int(whole.NumberOfFrames)
    content = np.unpackbits(np.frombuffer(whole.PixelData, np.uint8), bitorder="little")[: frames * 16 * 24]
    groups = whole.get("PerFrameFunctionalGroupsSequence")
    for number, (first, stop) in enumerate([(0, 20), (20, frames)], start=1):
        part = pydicom.dcmread(write(whole, tmp_path, "whole.dcm"))
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"1.2.8.{number}"
        part.InConcatenationNumber, part.ConcatenationFrameOffsetNumber = number, first
        part.NumberOfFrames = stop - first
        part.PixelData = np.packbits(content[first * 384 : stop * 384], bitorder="little").tobytes()
        if groups:
            part.PerFrameFunctionalGroupsSequence = list(groups[first:stop])
        write(part, tmp_path / "parts", f"{number}.dcm")
    (node,) = dicombridge.load(tmp_path / "parts", scene=scene)
    np.testing.assert_array_equal(node_masks(node)[0], masks())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_region_is_a_part_of_the_whole(tmp_path: Path, scene: Any, kind: str, compressed: bool) -> None:
    source = slide(tile=(16, 24))
    path = write(by_highdicom(source, kind, stored(kind)), tmp_path, "seg.dcm")
    expected = total_matrix(path)[18:40, 12:45]
    if compressed:
        whole = dicombridge.load(path, scene=scene)
        path = dicombridge.export(whole, tmp_path / "rle", kind="SEG", compression="rle")[0]
        scene.Clear()
    # Rows 18 to 39 and columns 12 to 44: on this slide rows run along -x, and columns along -y.
    x, y = 20.0 - 39.5 * 0.0005, 30.0 - 44.5 * 0.00025
    nodes = dicombridge.load(path, scene=scene, region=(x, y, 22 * 0.0005, 33 * 0.00025))
    np.testing.assert_array_equal(node_masks(nodes[0])[0], expected > 0)
    image = image_of(nodes[0].GetSegmentation().GetNthSegment(0))
    first = affine_of(source) @ [12, 18, 1]
    np.testing.assert_allclose(lps_of_ijk(image)[:3, 3], first, atol=1e-9)


def test_a_region_reads_the_frames_that_it_needs(tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dicombridge.segmentation import labels, reading

    path = write(by_hand("LABELMAP", np.ones((1, 1, 50, 70), np.uint8)), tmp_path, "seg.dcm")
    read: list[int] = []

    def counted(*arguments: Any) -> Any:
        for frame in reading.iterate_frames(*arguments):
            read.append(frame[0])
            yield frame

    monkeypatch.setattr(labels, "iterate_frames", counted)
    (node,) = dicombridge.load(path, scene=scene, region=(19.9999, 29.9999, 0.0001, 0.0001))
    assert read == [0]
    assert node_masks(node).all()


def test_a_region_reads_the_bytes_that_it_needs(tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dicombridge.slide.frames import FrameBytes

    source = slide((320, 480))
    path = write(by_highdicom(source, "LABELMAP", masks((320, 480), overlapping=False)), tmp_path, "seg.dcm")
    whole = dicombridge.load(path, scene=scene)
    (path,) = dicombridge.export(whole, tmp_path / "rle", kind="SEG", compression="rle")
    assert pydicom.dcmread(path).NumberOfFrames > 4
    read: list[int] = []
    original = FrameBytes.read
    monkeypatch.setattr(FrameBytes, "read", lambda self, index: read.append(index) or original(self, index))
    dicombridge.load(path, scene=scene, region=(19.9999, 29.9999, 0.0001, 0.0001))
    assert read == [0]


def test_a_region_beside_the_slide(tmp_path: Path, scene: Any) -> None:
    path = write(by_hand("LABELMAP", np.ones((1, 1, 50, 70), np.uint8)), tmp_path, "seg.dcm")
    with pytest.raises(GeometryError, match="beside the slide"):
        dicombridge.load(path, scene=scene, region=(0, 0, 1, 1))
    for wrong in ((0, 0, -1, 1), ("a", 1, 1, 1), "abc", (1, None, 1, 1), (1, (2, 3), 1, 1), 5):
        with pytest.raises(UnsupportedError, match="region= is x, y, width and height in mm, not"):
            dicombridge.load(path, scene=scene, region=wrong)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_few_tiles_of_many_gigapixels_take_little_memory(tmp_path: Path, scene: Any) -> None:
    values = np.zeros((1, 1, 50, 70), np.uint8)
    values[0, 0, 20:40, 30:60] = 1
    dataset = by_hand("BINARY", values, keep=lambda row, column: row >= 16 and column >= 24)
    dataset.TotalPixelMatrixRows = dataset.TotalPixelMatrixColumns = 2_000_000
    path = write(dataset, tmp_path, "seg.dcm")
    tracemalloc.start()
    (node,) = dicombridge.load(path, scene=scene)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    image = image_of(node.GetSegmentation().GetNthSegment(0))
    assert image.GetDimensions() == (48, 48, 1)
    np.testing.assert_allclose(lps_of_ijk(image)[:3, 3], affine_of(dataset) @ [24, 16, 1], atol=1e-9)
    assert mask_of(node.GetSegmentation().GetNthSegment(0)).sum() == 600


@pytest.mark.parametrize("compression", ["jpeg-2000", "jpeg-ls"])
def test_tiles_that_claim_gigabytes_take_no_memory(tmp_path: Path, scene: Any, compression: str) -> None:
    """Decoders would believe what a codestream says of its size."""
    path = write(by_hand("LABELMAP", np.ones((1, 1, 50, 70), np.uint8), tile=(32, 48)), tmp_path, "seg.dcm")
    nodes = dicombridge.load(path, scene=scene)
    (path,) = dicombridge.export(nodes, tmp_path / "out", kind="SEG", compression=compression)
    content = bytearray(path.read_bytes())
    is_2000 = compression == "jpeg-2000"
    marker, places, kind = (b"\xff\x51", (6, 10, 22, 26), ">L") if is_2000 else (b"\xff\xf7", (5, 7), ">H")
    begin = content.index(marker, content.index(b"\xe0\x7f\x10\x00"))
    for place in places:
        struct.pack_into(kind, content, begin + place, 60000)
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableError, match="60000"):
        dicombridge.load(path, scene=scene)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KB


def test_what_is_too_large_says_region(tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(by_hand("FRACTIONAL", np.full((2, 1, 50, 70), 255, np.uint8)), tmp_path, "seg.dcm")
    monkeypatch.setattr(tiles, "WHOLE_MATRIX", 100)
    monkeypatch.setattr(tiles, "MOST_PIXELS", 50 * 70 * 2 - 1)
    with pytest.raises(UnsupportedError, match=r"region=\(x_mm, y_mm, width_mm, height_mm\)"):
        dicombridge.load(path, scene=scene)


def _without_places(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence


def _far_away(dataset: Dataset) -> None:
    position = dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0]
    position.ColumnPositionInTotalImagePixelMatrix = 71


def _no_column(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0].ColumnPositionInTotalImagePixelMatrix


def _no_origin(dataset: Dataset) -> None:
    del dataset.TotalPixelMatrixOriginSequence


def _full_of_another_size(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.DimensionOrganizationType, dataset.TotalPixelMatrixColumns = "TILED_FULL", 100_000_000


def _one_segment_more(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.DimensionOrganizationType, dataset.SegmentSequence = "TILED_FULL", dataset.SegmentSequence[:2]


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_without_places, UnreadableError, "does not say"),
        (_far_away, UnreadableError, "frame 4 lies outside of the total pixel matrix"),
        (_no_column, UnreadableError, "frame 4 does not say where"),
        (_no_origin, GeometryError, "origin on the slide"),
        (_full_of_another_size, UnreadableError, "tiles"),
        (_one_segment_more, UnreadableError, "tiles for 3 segments and describes 2"),
    ],
)
def test_damage_is_told(tmp_path: Path, scene: Any, damage: Any, error: type[Exception], message: str) -> None:
    dataset = by_hand("BINARY", np.moveaxis(masks(), -1, 0)[:, None])
    damage(dataset)
    nodes_before = scene.GetNumberOfNodes()
    with pytest.raises(error, match=message):
        dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    assert scene.GetNumberOfNodes() == nodes_before


def test_examine_offers_them(data: Path) -> None:
    with dicombridge.open_folder(data / "seg/highdicom_sm" / SHARED[0]) as database:
        (loadable,) = dicombridge.examine(database)
    assert (loadable.warning, loadable.confidence, loadable.selected) == ("", 0.97, True)
