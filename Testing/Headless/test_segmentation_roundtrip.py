"""Segmentation objects loaded, exported and loaded again: nothing that was known is lost, or it is said what."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from support import peers, seg_objects
from support.items import code, read
from support.seg_exports import assert_same_points, decoded, points_of_file, points_of_node
from support.seg_nodes import points_by_segment, segment_named, tag
from support.seg_objects import Frame, ct_series, refer_to_series, save, segment_item, segmentation, stack_frames
from support.volumes import array_of_image, lps_of_volume

import dicombridge
from dicombridge.errors import ExportError


class Case(NamedTuple):
    path: str
    sources: str = ""
    overlaps: bool = False
    warning: str = ""
    """What is to be told."""
    tolerance: float = 1e-5
    """mm; old files have positions of seven digits, and get those of their source images."""


QIN, UCSF, HIGHDICOM = "seg/qin_headneck_0024", "seg/ucsf_breast_06", "seg/highdicom"
OVERLAP, CT = f"{HIGHDICOM}/seg_image_ct_binary_overlap.dcm", f"{HIGHDICOM}/source_ct"
CASES = {
    "not byte aligned": Case("seg/dcmqi_23x38x3/label.seg", "seg/dcmqi_23x38x3/ct"),
    "label map": Case("seg/dcmqi_24x38x3/sparse-labelmap-ppv5.dcm", "seg/dcmqi_24x38x3/ct"),
    "dcmqi": Case("seg/dcmqi_liver/liver.dcm", "seg/dcmqi_liver/ct"),
    "big endian": Case("seg/dcmqi_liver/liver_expb.dcm", "seg/dcmqi_liver/ct"),
    "RLE": Case("seg/dcmqi_liver/liver_rle.dcm", "seg/dcmqi_liver/ct"),
    "deflated frames": Case("seg/dcmqi_liver/liver_deflate.dcm", "seg/dcmqi_liver/ct"),
    "510x510": Case("seg/dcmqi_liver/liver_nonbyte_aligned.dcm"),
    "overlaps": Case("seg/dcmqi_liver/partial_overlaps.dcm", "seg/dcmqi_liver/ct", True),
    "highdicom": Case("seg/highdicom/seg_image_ct_binary.dcm", CT),
    "frames beyond the grid": Case(OVERLAP, CT, True, "beyond the images"),
    "fractions": Case("seg/highdicom/seg_image_ct_true_fractional.dcm", CT),
    "part of a series": Case(f"{QIN}/tumor_User1_Manual_Trial1.dcm", f"{QIN}/pet", tolerance=1e-4),
    "two phases": Case(f"{UCSF}/seg_fractional_occupancy.dcm", f"{UCSF}/mr", warning="Laterality"),
    "no sources": Case("sr/qiicr_headneck_0003/seg.dcm"),
}
# What a new object says anew; all else of the header is as it was.
RENEWED = set(
    [
        "SpecificCharacterSet",
        "ImageType",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "InstanceCreatorUID",
        "SOPClassUID",
        "SOPInstanceUID",
        "SeriesDate",
        "SeriesTime",
        "ContentDate",
        "ContentTime",
        "Manufacturer",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "SoftwareVersions",
        "SeriesInstanceUID",
        "ContributingEquipmentSequence",
        "NumberOfFrames",
        "SegmentsOverlap",
        "SegmentSequence",
        "DimensionOrganizationSequence",
        "DimensionIndexSequence",
        "DimensionOrganizationType",
        "PixelPaddingValue",
        "Rows",
        "Columns",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "PixelData",
        "ReferencedSeriesSequence",
        "Laterality",
        "StudiesContainingOtherReferencedInstancesSequence",
        "PredecessorDocumentsSequence",
        "LossyImageCompression",
    ]
)


def load(path: Path, sources: Path | None) -> tuple[list[Any], Any]:
    scene = dicombridge.new_scene()
    database = dicombridge.open_folder(sources) if sources else None
    return dicombridge.load(path, scene=scene, database=database), database


def round_trip(path: Path, sources: Path | None, folder: Path, **options: Any) -> tuple[Path, list[Any], list[Any]]:
    nodes, database = load(path, sources)
    (written,) = dicombridge.export(nodes, folder, database=database, **options)
    again, _ = load(written, sources)
    return written, nodes, again


def assert_described_as(item: Dataset, before: Dataset) -> None:
    """All of an item of the Segment Sequence is as it was, but for its number; a colour may have come."""
    for element in before:
        if element.keyword != "SegmentNumber":
            assert item.get(element.tag) is not None, element.keyword
            assert item[element.tag].value == element.value, element.keyword
    new = {element.keyword for element in item} - {element.keyword for element in before}
    assert new <= {"RecommendedDisplayCIELabValue"}


def source_uids(dataset: Dataset) -> set[str]:
    """UIDs of all instances that are named anywhere, but for predecessors and other copies of header sequences."""
    found: set[str] = set()

    def visit(within: Dataset, element: Any) -> None:
        if element.keyword == "ReferencedSOPInstanceUID":
            found.add(str(element.value))

    copy = deepcopy(dataset)
    for keyword in ("PredecessorDocumentsSequence", "SegmentSequence", "ReferencedStudySequence"):
        if keyword in copy:
            del copy[keyword]
    copy.walk(visit)
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_same_type(case: Case, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, sources = data / case.path, data / case.sources if case.sources else None
    written, nodes, again = round_trip(path, sources, tmp_path / "out")
    before, after = read(path), read(written)
    kind = before.SegmentationType
    assert after.SegmentationType == kind
    # Voxels, by arithmetic on the two files, and as nodes.
    numbers = [int(item.SegmentNumber) for item in before.SegmentSequence]
    points = points_by_segment(before, decoded(before))
    if kind == "LABELMAP":
        points = {number: found for number, found in points.items() if number in numbers}
    by_label = {str(item.SegmentLabel): points[int(item.SegmentNumber)] for item in before.SegmentSequence}
    found = points_of_file(written)
    background = {label for label in by_label if label not in found}
    assert background <= {"Background"}
    expected = {label: by_label[label] for label in by_label if label not in background}
    assert_same_points(found, expected, case.tolerance)
    assert_same_points(points_of_node(again[0]), points_of_node(nodes[0]))
    for one, other in zip(nodes[1:], again[1:], strict=True):
        assert np.array_equal(array_of_image(one.GetImageData()), array_of_image(other.GetImageData()))
        assert np.allclose(lps_of_volume(one), lps_of_volume(other), atol=1e-5)
    # Descriptions: the very same items, codes and colours and private elements and all.
    items = {str(item.SegmentLabel): item for item in after.SegmentSequence}
    for item in before.SegmentSequence:
        assert_described_as(items[str(item.SegmentLabel)], item)
    if kind == "LABELMAP":
        segments = [item for item in after.SegmentSequence if item.SegmentNumber]
        assert [int(item.SegmentNumber) for item in segments] == [
            int(item.SegmentNumber) for item in before.SegmentSequence if str(item.SegmentLabel) not in background
        ]
    # Header: kept, and new where it is a new object.
    images = read(next((data / case.sources).iterdir())) if case.sources else Dataset()
    for element in before:
        if element.keyword in RENEWED or element.keyword in images or element.tag.group in (0x0002, 0x0028):
            continue
        assert after.get(element.tag) is not None, element.keyword
        assert after[element.tag].value == element.value, element.keyword
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert after[keyword].value != before[keyword].value
    assert after.FrameOfReferenceUID == before.get("FrameOfReferenceUID", after.FrameOfReferenceUID)
    (predecessor,) = after.PredecessorDocumentsSequence
    (series,) = predecessor.ReferencedSeriesSequence
    assert predecessor.StudyInstanceUID == before.StudyInstanceUID
    assert series.SeriesInstanceUID == before.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert after.ContributingEquipmentSequence[-1].Manufacturer == before.get("Manufacturer", "Unknown")
    # References: no source instance is lost.
    assert source_uids(before) <= source_uids(after)
    # Losses are said, and nothing else is.
    loggers = ("dicombridge.segmentation.exporting", "dicombridge.segmentation.header", "dicombridge.output.header")
    warnings = [record.getMessage() for record in caplog.records if record.name in loggers]
    assert len(warnings) == bool(case.warning), warnings
    assert all(case.warning in warning for warning in warnings)
    # Others agree that it is one; what they doubt came with the source: codes of SRT, names without a caret.
    known = ("is deprecated", "Retired Person Name form", "DICOMDIR", "<MRSC>")
    doubts = peers.assert_valid(written, tmp_path)
    assert [line for line in doubts if not any(part in line for part in known)] == []
    if sources:
        peers.assert_consistent(written, [path, *sorted(sources.iterdir())], tmp_path)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("name", ["not byte aligned", "label map", "overlaps", "fractions", "two phases"])
def test_other_type(name: str, kind: str, data: Path, tmp_path: Path) -> None:
    case = CASES[name]
    path, sources = data / case.path, data / case.sources
    nodes, database = load(path, sources)
    if case.overlaps and kind == "LABELMAP":
        with pytest.raises(ExportError, match=r"overlap.*BINARY"):
            dicombridge.export(nodes, tmp_path / "out", database=database, segmentation_type=kind)
        assert list((tmp_path / "out").iterdir()) == []
        return
    (written,) = dicombridge.export(nodes, tmp_path / "out", database=database, segmentation_type=kind)
    dataset = read(written)
    assert dataset.SegmentationType == kind
    assert dataset.SOPClassUID == (seg_objects.LABEL_MAP if kind == "LABELMAP" else seg_objects.SEGMENTATION)
    expected = points_of_node(nodes[0])
    assert_same_points(points_of_file(written), expected)
    again, _ = load(written, sources)
    assert_same_points(points_of_node(again[0]), expected)
    numbers = [int(item.SegmentNumber) for item in dataset.SegmentSequence]
    if kind != "LABELMAP":
        assert numbers == list(range(1, len(numbers) + 1))
    peers.assert_valid(written, tmp_path)
    # And back, with all that the first one had.
    (back,) = dicombridge.export(again, tmp_path / "back", database=database, segmentation_type="BINARY")
    assert_same_points(points_of_file(back), expected)
    items = {str(item.SegmentLabel): item for item in read(back).SegmentSequence}
    for item in read(path).SegmentSequence:
        if str(item.SegmentLabel) in items:
            assert_described_as(items[str(item.SegmentLabel)], item)


# --- an object that has everything -----------------------------------------------------------------------------------

POSITIONS = [(-10.123456, 20.0, 30.0 + 2.5 * place) for place in range(4)]


def rich(folder: Path, **attributes: Any) -> tuple[Path, Path, Dataset]:
    """A segmentation with all that a segment can say, and what no standard knows; its sources; its dataset."""
    uids = ct_series(folder / "ct", POSITIONS)
    masks = {number: np.zeros((4, 12, 10), np.uint8) for number in (1, 2, 3)}
    masks[1][0:2, 2:5, 3:7] = 1
    masks[3][1:4, 6:9, 1:4] = 1
    liver = segment_item(1, "Leber äußerste Spitze", SegmentDescription="Zwei\r\nZeilen | mit: Zeichen ~^%7C")
    liver.RecommendedDisplayCIELabValue = [65535, 1, 65535]  # out of any screen's gamut
    liver.SegmentedPropertyCategoryCodeSequence = [code("123037004", "SCT", "Anatomical Structure")]
    kind = code("10200004", "SCT", "Liver")
    kind.SegmentedPropertyTypeModifierCodeSequence = [code("7771000", "SCT", "Left"), code("51440002", "SCT", "Both")]
    liver.SegmentedPropertyTypeCodeSequence = [kind]
    regions = [code("818981001", "SCT", "Abdomen"), code("816094009", "SCT", "Thorax")]
    regions[0].AnatomicRegionModifierSequence = [code("7771000", "SCT", "Left"), code("24028007", "SCT", "Right")]
    liver.AnatomicRegionSequence = regions
    liver.TrackingID, liver.TrackingUID = "liver 1", "1.2.3.777"
    liver.SegmentAlgorithmType, liver.SegmentAlgorithmName = "AUTOMATIC", "Net"
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [code("123109", "DCM", "Artificial Intelligence")]
    algorithm.AlgorithmName, algorithm.AlgorithmVersion = "Net", "2.0"
    liver.SegmentationAlgorithmIdentificationSequence = [algorithm]
    liver.private_block(0x0063, "ACME", create=True).add_new(1, "LO", "privately yours")
    empty = segment_item(2, "Empty")
    empty.SegmentAlgorithmType = "MANUAL"
    items = [liver, empty, segment_item(3, "Spleen")]
    frames = [frame for frame in stack_frames(masks, POSITIONS, uids) if frame.pixels.any()]
    dataset = segmentation(frames, segments=items, **attributes)
    refer_to_series(dataset, uids)
    dataset.ContentLabel, dataset.ContentDescription, dataset.ContentCreatorName = "ORGANS", "Organe", "Müller^Jörg"
    dataset.ClinicalTrialSeriesID, dataset.SeriesNumber = "T7", 77
    dataset.private_block(0x0099, "ACME", create=True).add_new(2, "DS", "1.50")
    dataset.private_block(0x5401, "ACME", create=True).add_new(3, "LO", "after the frames")
    dataset.private_block(0x7FE3, "ACME", create=True).add_new(4, "LO", "after the pixels")
    return save(dataset, folder / "seg" / "rich.dcm"), folder / "ct", dataset


def test_everything_is_kept(tmp_path: Path) -> None:
    path, sources, before = rich(tmp_path)
    written, _, again = round_trip(path, sources, tmp_path / "out")
    after = read(written)
    assert [int(item.SegmentNumber) for item in after.SegmentSequence] == [1, 2, 3]
    assert after.SegmentSequence[0].RecommendedDisplayCIELabValue == [65535, 1, 65535]
    for one, other in zip(before.SegmentSequence, after.SegmentSequence, strict=True):
        for element in one:
            assert other[element.tag] == element, element.keyword
    keywords = "ContentLabel ContentDescription ContentCreatorName ClinicalTrialSeriesID SeriesNumber SeriesDescription"
    for keyword in [*keywords.split(), "PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"]:
        assert after[keyword].value == before[keyword].value, keyword
    for group, number, value in ((0x0099, 2, "1.50"), (0x5401, 3, "after the frames"), (0x7FE3, 4, "after the pixels")):
        assert str(after.private_block(group, "ACME")[number].value) == value
    assert segment_named(again[0], "Empty") is not None
    assert points_of_file(written)["Empty"].shape == (0, 3)


def test_edits_are_written(tmp_path: Path) -> None:
    path, sources, before = rich(tmp_path)
    nodes, database = load(path, sources)
    segmentation_ = nodes[0].GetSegmentation()
    spleen, liver = segment_named(nodes[0], "Spleen"), segment_named(nodes[0], "Leber äußerste Spitze")
    spleen.SetName("Milz")
    spleen.SetColor(1.0, 0.0, 0.0)
    array = array_of_image(liver.GetRepresentation("Binary labelmap"))
    array[0, 0, 0] = liver.GetLabelValue()
    segmentation_.RemoveSegment(segmentation_.GetSegmentIdBySegmentName("Empty"))
    (written,) = dicombridge.export(nodes, tmp_path / "out", database=database, SeriesDescription="Edited")
    after = read(written)
    assert [(int(item.SegmentNumber), item.SegmentLabel) for item in after.SegmentSequence] == [
        (1, "Leber äußerste Spitze"),
        (2, "Milz"),
    ]
    red = after.SegmentSequence[1].RecommendedDisplayCIELabValue
    assert red != before.SegmentSequence[2].get("RecommendedDisplayCIELabValue")
    assert after.SegmentSequence[0].RecommendedDisplayCIELabValue == [65535, 1, 65535]
    assert_described_as(after.SegmentSequence[0], before.SegmentSequence[0])
    assert after.SeriesDescription == "Edited"
    voxel = np.array([POSITIONS[0]])
    assert (np.abs(points_of_file(written)["Leber äußerste Spitze"] - voxel).max(axis=1) < 1e-5).sum() == 1


def test_changed_codes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the terminology of a segment cannot hold stays with what did not change, and is told where it goes."""
    path, sources, before = rich(tmp_path)
    nodes, database = load(path, sources)
    liver = segment_named(nodes[0], "Leber äußerste Spitze")
    entry = tag(liver, "TerminologyEntry")
    liver.SetTag("TerminologyEntry", entry.replace("818981001^Abdomen", "12738006^Brain"))
    (written,) = dicombridge.export(nodes, tmp_path / "out", database=database)
    old, new = before.SegmentSequence[0], read(written).SegmentSequence[0]
    assert new.SegmentedPropertyTypeCodeSequence == old.SegmentedPropertyTypeCodeSequence
    assert [region.CodeMeaning for region in new.AnatomicRegionSequence] == ["Brain"]
    assert "what it had beside was left out: Right, Thorax" in caplog.text


@pytest.mark.parametrize("maximum", [1, 100, 254, 255])
def test_fractions_keep_their_scale(maximum: int, tmp_path: Path) -> None:
    """37 of 100 is no multiple of 1/255: as long as all values fit the old scale, it stays."""
    values = np.random.default_rng(4).integers(0, maximum + 1, (4, 12, 10), dtype=np.uint8)
    frames = [Frame(1, position, pixels) for position, pixels in zip(POSITIONS, values, strict=True)]
    dataset = segmentation(frames, kind="FRACTIONAL")
    dataset.MaximumFractionalValue, dataset.SegmentationFractionalType = maximum, "OCCUPANCY"
    path = save(dataset, tmp_path / "seg.dcm")
    written, nodes, _ = round_trip(path, None, tmp_path / "out")
    after = read(written)
    assert (after.MaximumFractionalValue, after.SegmentationFractionalType) == (maximum, "OCCUPANCY")
    assert np.array_equal(after.pixel_array, values)
    array_of_image(nodes[1].GetImageData())[0, 0, 0] = 0.12345
    (changed,) = dicombridge.export(nodes, tmp_path / "out")
    after = read(changed)
    assert after.MaximumFractionalValue == 255
    assert abs(after.pixel_array[0, 0, 0] / 255 - 0.12345) <= 0.5 / 255
    difference = np.abs(after.pixel_array / 255 - values / maximum)
    difference[0, 0, 0] = 0
    assert difference.max() <= 0.5 / 255 + 1e-6


def test_losses_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, sources, dataset = rich(tmp_path)
    dataset.DigitalSignaturesSequence = [Dataset()]
    anatomy = Dataset()
    anatomy.FrameLaterality = "L"
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    dataset.Laterality = "R"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    save(dataset, path)
    written, _, _ = round_trip(path, sources, tmp_path / "out")
    for text in ("digital signatures", "Frame Anatomy Sequence", "Laterality R"):
        assert text in caplog.text
    assert "DigitalSignaturesSequence" not in pydicom.dcmread(written)


def test_references_that_are_no_uids(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Damaged ones cannot be written; the others can."""
    path, _, dataset = rich(tmp_path)
    images = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    before = len(images)
    images[0].ReferencedSOPClassUID = "1.2.3.4.5.6.7.8"
    save(dataset, path)
    path.write_bytes(path.read_bytes().replace(b"1.2.3.4.5.6.7.8", b"1.2.3.4.\xe6.6.7.8"))
    (written,) = dicombridge.export(load(path, None)[0], tmp_path / "out")
    assert "invalid UIDs were left out" in caplog.text
    series = read(written).ReferencedSeriesSequence[0]
    assert len(series.ReferencedInstanceSequence) == before - 1


def test_cropped_segmentation_keeps_its_references(tmp_path: Path) -> None:
    """Without the images at hand, the images of a slice are found by where the slice lies, not by its number."""
    import slicer

    path, _, before = rich(tmp_path)
    nodes, _ = load(path, None)
    by_position = {
        float(group.PlanePositionSequence[0].ImagePositionPatient[2]): str(
            group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        )
        for group in before.PerFrameFunctionalGroupsSequence
    }
    segment = segment_named(nodes[0], "Spleen")
    cropped = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample
    assert resample.CopyImage(segment.GetRepresentation("Binary labelmap"), cropped, [0, 9, 0, 11, 1, 3])
    for segment_id in list(nodes[0].GetSegmentation().GetSegmentIDs()):
        one = nodes[0].GetSegmentation().GetSegment(segment_id)
        one.AddRepresentation("Binary labelmap", cropped)
    (written,) = dicombridge.export(nodes, tmp_path / "out")
    for group in read(written).PerFrameFunctionalGroupsSequence:
        height = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        assert image.ReferencedSOPInstanceUID == by_position[height]
