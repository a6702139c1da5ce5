"""Options of the export: attributes, compressions, fractions; what is refused; all files or none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import peers
from support.items import read
from support.seg_exports import (
    AFFINE,
    assert_same_points,
    decoded,
    masks_of,
    points_of_file,
    points_of_masks,
    points_of_node,
    segmentation_node,
    under_transform,
    volume_node,
)
from support.seg_objects import ct_series
from support.volumes import array_of_image

import dicombridge
from dicombridge.errors import ExportError

NAMES = ("Liver", "Spleen")
SHAPE = (5, 12, 10)
SEGMENT_ID = "DICOMBridge.SegmentID"


def exported(nodes: Any, tmp_path: Path, **options: Any) -> Any:
    (path,) = dicombridge.export(nodes, tmp_path / "out", **options)
    peers.assert_valid(path, tmp_path)
    return read(path)


def left_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*")) if folder.is_dir() else []


# --- attributes ------------------------------------------------------------------------------------------------------


def test_keywords(scene: Any, tmp_path: Path) -> None:
    dataset = exported(
        segmentation_node(scene, masks_of(1, NAMES)),
        tmp_path,
        SeriesNumber="301",  # as text: a field of a form
        SeriesDescription="Äußere Schicht",
        PatientName="Ὅμηρος^Αχιλλέας=山田^太郎",
        PatientBirthDate="19700101",
        PatientWeight="70.5",
        ContentCreatorName="Müller^Jörg",
        BodyPartExamined="LIVER",
        InstanceNumber=3,
        OperatorsName=["A^B", "C^D"],
        StudyInstanceUID="",  # an empty field says nothing
        StudyDescription=None,
        segmentation_type="labelmap",
    )
    assert (dataset.SeriesNumber, dataset.InstanceNumber, dataset.PatientWeight) == (301, 3, 70.5)
    assert dataset.SeriesDescription == "Äußere Schicht"
    assert str(dataset.PatientName) == "Ὅμηρος^Αχιλλέας=山田^太郎"
    assert str(dataset.ContentCreatorName) == "Müller^Jörg"
    assert [str(name) for name in dataset.OperatorsName] == ["A^B", "C^D"]
    assert dataset.StudyInstanceUID
    assert "StudyDescription" not in dataset
    assert dataset.SegmentationType == "LABELMAP"
    for keyword, vr in (("SeriesNumber", "IS"), ("PatientWeight", "DS"), ("PatientBirthDate", "DA")):
        assert vr == dataset[keyword].VR


def test_scene_with_an_impossible_patient(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from dicombridge.hierarchy import add_series

    node = segmentation_node(scene, masks_of(1, NAMES))
    patient = {"PatientID": "P-3", "PatientName": "DOE^JOHN", "PatientBirthDate": "in May", "StudyInstanceUID": "1.2.9"}
    add_series(scene, node, {**patient, "SeriesInstanceUID": "1.2.9.1"})
    dataset = exported(node, tmp_path)
    assert (dataset.PatientID, dataset.PatientName, dataset.StudyInstanceUID) == ("P-3", "DOE^JOHN", "1.2.9")
    assert dataset.PatientBirthDate == ""
    assert "PatientBirthDate cannot be 'in May'" in caplog.text


def test_defaults(scene: Any, tmp_path: Path) -> None:
    dataset = exported(segmentation_node(scene, masks_of(1, NAMES), name="N" * 80), tmp_path)
    assert dataset.SeriesDescription == "N" * 64
    assert (dataset.Modality, dataset.ContentLabel, dataset.Manufacturer) == ("SEG", "SEGMENTATION", "DICOMBridge")
    assert (dataset.SegmentationType, dataset.SegmentsOverlap, dataset.BitsAllocated) == ("BINARY", "NO", 1)


def test_names_that_no_vr_holds(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["x" * 70, "with\\backslash", "Größe ∆ 肝臓", "two\nlines", "  "]
    dataset = exported(segmentation_node(scene, masks_of(2, names)), tmp_path)
    labels = [item.SegmentLabel for item in dataset.SegmentSequence]
    assert labels == ["x" * 64, "with/backslash", "Größe ∆ 肝臓", "two lines", "Segment 5"]
    assert sum("does not fit a DICOM label" in record.getMessage() for record in caplog.records) == 4


def test_decimal_strings(scene: Any, tmp_path: Path) -> None:
    """Sixteen characters at the most, and still exact to a millionth of a millimetre."""
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] * [1 / 3, 0.7654321, 2.0000001]
    affine[:3, 3] = [-1234.5678901234, 1e-9, np.pi * 100]
    masks = masks_of(3, NAMES)
    (path,) = dicombridge.export(segmentation_node(scene, masks, affine), tmp_path / "out")
    peers.assert_valid(path, tmp_path)
    assert_same_points(points_of_file(path), points_of_masks(masks, affine), 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Compresion": "rle"}, "Unknown option Compresion: neither a DICOM keyword nor one of compression"),
        ({"SeriesNumber": "three"}, "SeriesNumber cannot be 'three'"),
        ({"PatientBirthDate": "1.1.1970"}, "PatientBirthDate cannot be"),
        ({"StudyInstanceUID": "1.2.x"}, "StudyInstanceUID cannot be"),
        ({"PatientName": "x" * 80}, "PatientName cannot be"),
        ({"SeriesDescription": "x" * 80}, "SeriesDescription cannot be"),
        ({"PatientAge": "old"}, "PatientAge cannot be"),
        ({"RequestAttributesSequence": "text"}, "RequestAttributesSequence cannot be"),
        ({"Rows": 7}, "Rows cannot be an option"),
        ({"PixelData": b""}, "PixelData cannot be an option"),
        ({"TransferSyntaxUID": "1.2.840.10008.1.2"}, "TransferSyntaxUID cannot be an option"),
        ({"segmentation_type": "BITMAP"}, "segmentation_type is one of BINARY, FRACTIONAL, LABELMAP, not 'BITMAP'"),
        ({"compression": "zip"}, "There is no compression 'zip'; there are: none, deflate"),
        ({"compression": 7}, "There is no compression '7'"),
        ({"compression": "jpeg-ls"}, "jpeg-ls cannot hold the single bits of a BINARY segmentation"),
        ({"compression": "jpeg-2000"}, "cannot hold the single bits"),
        ({"grid": "mine"}, "grid is 'source' or 'own', not 'mine'"),
        ({"fractional_type": "MAYBE"}, "fractional_type is PROBABILITY or OCCUPANCY, not 'MAYBE'"),
        ({"source": "/nowhere"}, "source /nowhere is neither a file, a folder nor a series"),
    ],
)
def test_refused_options(scene: Any, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    node = segmentation_node(scene, masks_of(1, NAMES))
    with pytest.raises(ExportError, match=message):
        dicombridge.export(node, tmp_path / "out", **options)
    assert left_in(tmp_path / "out") == []


def test_refused_nodes(scene: Any, tmp_path: Path) -> None:
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "M")
    with pytest.raises(ExportError, match="vtkMRMLModelNode cannot be exported"):
        dicombridge.export(model, tmp_path / "out", kind="SEG")
    with pytest.raises(ExportError, match="no node"):
        dicombridge.export([], tmp_path / "out", kind="SEG")
    overlapping = {"A": np.ones(SHAPE, bool), "B": np.ones(SHAPE, bool)}
    node = segmentation_node(scene, overlapping, shared=False)
    with pytest.raises(ExportError, match="overlap, which a LABELMAP"):
        dicombridge.export(node, tmp_path / "out", segmentation_type="LABELMAP")
    assert left_in(tmp_path / "out") == []
    assert exported(node, tmp_path / "binary").SegmentsOverlap == "UNDEFINED"


# --- compressions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "none", "deflate", "RLE", "deflate-frames", "jpeg-ls", "jpeg-2000"])
@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "LABELMAP16", "FRACTIONAL"])
@pytest.mark.parametrize("shape", [(3, 9, 7), (3, 16, 24)], ids=["odd", "even"])
def test_compressions(
    scene: Any, tmp_path: Path, shape: tuple[int, int, int], kind: str, compression: str | None
) -> None:
    if kind == "BINARY" and str(compression).startswith("jpeg"):
        return  # refused, see above: no JPEG holds single bits
    if compression == "jpeg-2000":
        small = segmentation_node(scene, masks_of(5, NAMES, shape))
        with pytest.raises(ExportError, match="fewer than 32 rows or columns; choose jpeg-ls or rle"):
            dicombridge.export(small, tmp_path / "out", segmentation_type="LABELMAP", compression=compression)
        shape = (shape[0], shape[1] + 24, shape[2] + 26)
    masks = masks_of(5, NAMES, shape)
    node = segmentation_node(scene, masks)
    if kind == "LABELMAP16":
        node.GetSegmentation().GetSegment("id-2").SetTag("DICOMBridge.SegmentNumber", "1000")
    options = {"segmentation_type": kind[:8] if kind != "FRACTIONAL" else kind, "compression": compression}
    (path,) = dicombridge.export(node, tmp_path / "out", **options)
    (plain,) = dicombridge.export(node, tmp_path / "plain", segmentation_type=options["segmentation_type"])
    dataset = read(path)
    assert dataset.BitsAllocated == {"BINARY": 1, "LABELMAP": 8, "FRACTIONAL": 8, "LABELMAP16": 16}[kind]
    assert np.array_equal(decoded(dataset), decoded(read(plain)))
    assert_same_points(points_of_file(path), points_of_masks(masks))
    node = dicombridge.load(path, scene=dicombridge.new_scene())[0]
    assert_same_points(points_of_node(node), points_of_masks(masks))
    peers.assert_valid(path, tmp_path)
    if compression in ("deflate", "RLE", "jpeg-ls", "jpeg-2000", "deflate-frames"):
        assert dataset.file_meta.TransferSyntaxUID != read(plain).file_meta.TransferSyntaxUID


# --- fractions -------------------------------------------------------------------------------------------------------


def test_fractions(scene: Any, tmp_path: Path) -> None:
    """Without a segmentation: one segment a volume, exact to half a step."""
    values = np.random.default_rng(6).random((2, *SHAPE), np.float32)
    values[0, 0] = 0
    values[1, 4, 3, 3] = np.nan
    volumes = [volume_node(scene, one, name=name) for one, name in zip(values, NAMES, strict=True)]
    dataset = exported(volumes, tmp_path, kind="SEG")
    assert (dataset.SegmentationType, dataset.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == list(NAMES)
    (path,) = (tmp_path / "out").glob("*.dcm")
    nodes = dicombridge.load(path, scene=dicombridge.new_scene())
    for node, one in zip(nodes[1:], np.nan_to_num(values), strict=True):
        assert np.abs(array_of_image(node.GetImageData()) - one).max() <= 0.5 / 255 + 1e-6
    occupancy = exported(volumes[0], tmp_path / "occupancy", kind="SEG", fractional_type="occupancy")
    assert occupancy.SegmentationFractionalType == "OCCUPANCY"


def test_fractions_of_a_segmentation(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A volume for one segment; the other one is all or nothing."""
    masks = masks_of(7, NAMES)
    node = segmentation_node(scene, masks)
    values = np.random.default_rng(8).random(SHAPE, np.float32)
    volume = volume_node(scene, values)
    with pytest.raises(ExportError, match="belongs to no segment"):
        dicombridge.export([node, volume], tmp_path / "none", segmentation_type="FRACTIONAL")
    volume.SetAttribute(SEGMENT_ID, "id-2")
    exported([node, volume], tmp_path, segmentation_type="FRACTIONAL")
    (path,) = (tmp_path / "out").glob("*.dcm")
    nodes = dicombridge.load(path, scene=dicombridge.new_scene())
    liver, spleen = (array_of_image(one.GetImageData()) for one in nodes[1:])
    assert np.array_equal(liver, masks["Liver"].astype(np.float32))
    assert np.abs(spleen - values).max() <= 0.5 / 255 + 1e-6
    binary = exported([node, volume], tmp_path / "binary")
    assert binary.SegmentationType == "BINARY"
    assert "'Volume' were not written" in caplog.text or "not the volumes 'Volume'" in caplog.text


def test_labels_edited_beside_fractions(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The labels are not written, which a person who painted them has to be told."""
    values = np.random.default_rng(9).random((2, *SHAPE), np.float32)
    volumes = [volume_node(scene, one, name=name) for one, name in zip(values, NAMES, strict=True)]
    (path,) = dicombridge.export(volumes, tmp_path / "in", kind="SEG")
    node, *fractions = dicombridge.load(path, scene=scene, threshold=1 / 3)
    caplog.clear()
    exported([node, *fractions], tmp_path)
    assert "threshold" not in caplog.text
    spleen = node.GetSegmentation().GetSegment("Segment_2")
    array_of_image(spleen.GetRepresentation("Binary labelmap"))[2] = spleen.GetLabelValue()
    exported([node, *fractions], tmp_path / "edited")
    assert "The labels of 'Spleen' are no longer what the threshold gives" in caplog.text


def test_images_are_no_fractions(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All nodes of a folder may be given, its images among them."""
    ct_series(tmp_path / "ct", [(0, 0, place * 2) for place in range(SHAPE[0])])
    images = dicombridge.load(tmp_path / "ct", scene=scene)
    masks = masks_of(1, NAMES)
    nodes = [segmentation_node(scene, masks), segmentation_node(scene, masks)]
    assert len(dicombridge.export([*images, *nodes], tmp_path / "two", kind="SEG")) == 2
    dataset = exported([*images, nodes[0]], tmp_path, kind="SEG", segmentation_type="FRACTIONAL")
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == list(NAMES)
    assert "not the volumes" not in caplog.text


def test_nothing_would_be_left(scene: Any, tmp_path: Path) -> None:
    """Other voxels than those of the source images, and none of them in the images."""
    ct_series(tmp_path / "ct", [(5000, 0, place * 2) for place in range(4)])
    node = segmentation_node(scene, masks_of(1, NAMES))
    with pytest.raises(ExportError, match=r"No label of .* lies in the source images"):
        dicombridge.export(node, tmp_path / "out", source=tmp_path / "ct")
    assert exported(node, tmp_path, source=tmp_path / "ct", grid="own").NumberOfFrames > 1


def test_refused_fractions(scene: Any, tmp_path: Path) -> None:
    good = volume_node(scene, np.zeros(SHAPE, np.float32), name="good")

    def refused(message: str, *volumes: Any, **options: Any) -> None:
        with pytest.raises(ExportError, match=message):
            dicombridge.export(list(volumes), tmp_path / "out", kind="SEG", **options)
        assert left_in(tmp_path / "out") == []

    refused("outside of 0 to 1", volume_node(scene, np.full(SHAPE, 40, np.int16)))
    refused("different grids", good, volume_node(scene, np.zeros((5, 12, 9), np.float32)))
    refused("has no voxels", scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "void"))
    refused("can be FRACTIONAL only", good, segmentation_type="BINARY")
    moved = volume_node(scene, np.zeros(SHAPE, np.float32))
    under_transform(moved, np.diag([1.0, 1.0, 1.0, 1.0]) + np.eye(4, k=3))
    refused("under a transform; harden", moved)


# --- all or nothing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("defect")])
@pytest.mark.parametrize("compression", [None, "rle", "deflate"])
def test_failure_leaves_nothing(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, compression: str | None
) -> None:
    """The second of two objects fails in the middle of its frames; the first one is complete by then."""
    from dicombridge.segmentation import exporting

    nodes = [segmentation_node(scene, masks_of(seed, NAMES)) for seed in (1, 2)]
    frames, seen = exporting.binary_frames, []

    def failing(*arguments: Any) -> Any:
        seen.append(1)
        for number, frame in enumerate(frames(*arguments)):
            if len(seen) == 2 and number == 4:
                raise error
            yield frame

    monkeypatch.setattr(exporting, "binary_frames", failing)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "before.txt").write_text("kept")
    with pytest.raises(ExportError if isinstance(error, OSError) else type(error)):
        dicombridge.export(nodes, tmp_path / "out", compression=compression)
    assert len(seen) == 2
    assert [path.name for path in left_in(tmp_path / "out")] == ["before.txt"]


def test_failure_of_the_last_rename(scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [segmentation_node(scene, masks_of(seed, NAMES)) for seed in (1, 2)]
    replace, seen = Path.replace, []

    def failing(path: Path, target: Path) -> Path:
        seen.append(path)
        if len(seen) == 2:
            raise PermissionError(13, "Permission denied")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(ExportError, match=r"out: cannot be written: Permission denied"):
        dicombridge.export(nodes, tmp_path / "out")
    assert left_in(tmp_path / "out") == []


def test_a_folder_that_cannot_be_written(scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = segmentation_node(scene, masks_of(1, NAMES))
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ExportError, match="cannot be made"):
            dicombridge.export(node, folder)
    (tmp_path / "locked").mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write anywhere

        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ExportError, match="cannot be written: Permission denied"):
        dicombridge.export(node, tmp_path / "locked")


def test_several_nodes_and_progress(scene: Any, tmp_path: Path) -> None:
    masks = [masks_of(seed, NAMES) for seed in (1, 2, 3)]
    nodes = [segmentation_node(scene, one, name=f"N{number}") for number, one in enumerate(masks)]
    told: list[tuple[float, str]] = []
    paths = dicombridge.export(nodes, tmp_path / "out", progress=lambda *what: told.append(what))
    assert left_in(tmp_path / "out") == sorted(paths)
    for path, expected in zip(paths, masks, strict=True):
        assert_same_points(points_of_file(path), points_of_masks(expected))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 10
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert len({read(path).SeriesInstanceUID for path in paths}) == 3
    with pytest.raises(ExportError, match="a file of this SOP Instance UID already"):
        dicombridge.export(nodes, tmp_path / "same", SOPInstanceUID="1.2.3.4.5")
    assert left_in(tmp_path / "same") == []


def test_text_of_the_source_in_another_encoding(scene: Any, tmp_path: Path) -> None:
    places = [(AFFINE @ [0, 0, place, 1])[:3] for place in range(SHAPE[0])]
    names = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "StudyDescription": "Größe"}
    ct_series(tmp_path / "ct", places, spacing=(0.9, 0.8), **names)
    dataset = exported(segmentation_node(scene, masks_of(1, NAMES)), tmp_path, source=tmp_path / "ct")
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert str(dataset.PatientName) == "Müller^Jörg"
    assert dataset.StudyDescription == "Größe"
