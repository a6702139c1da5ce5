"""What kinds and encodings of segmentations are read, and what is kept of their description."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ImplicitVRLittleEndian
from support.items import code, read
from support.seg_nodes import (
    assert_segment_is,
    image_of,
    lps_of_ijk,
    mask_of,
    names,
    points_by_segment,
    segment_named,
    tag,
)
from support.seg_objects import (
    AXIAL,
    CORONAL,
    Frame,
    blobs,
    ct_series,
    positions_along,
    save,
    segment_item,
    segmentation,
    stack_frames,
)
from support.volumes import array_of_image, lps_of_volume

import dicombridge
from dicombridge.codes import Code, parse_terminology
from dicombridge.errors import DicomBridgeError
from dicombridge.shadow import dataset_from_text

POSITIONS = positions_along(AXIAL, 3, 2)


def load(dataset: Dataset, folder: Path, **options: Any) -> list[Any]:
    return dicombridge.load(save(dataset, folder / "seg.dcm"), scene=dicombridge.new_scene(), **options)


def check(node: Any, dataset: Dataset, without: tuple[int, ...] = ()) -> None:
    for number, points in points_by_segment(dataset).items():
        if number not in without:
            assert_segment_is(node, number, points)


def label_map(values: NDArray[Any], **options: Any) -> Dataset:
    frames = [Frame(0, position, image) for position, image in zip(POSITIONS, values, strict=True)]
    return segmentation(frames, kind="LABELMAP", **options)


def random_labels(numbers: list[int], shape: tuple[int, int] = (12, 10)) -> NDArray[Any]:
    return np.random.default_rng(8).choice(np.array(numbers, np.uint16), (3, *shape))


# --- FRACTIONAL ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PROBABILITY", "OCCUPANCY"])
@pytest.mark.parametrize("maximum", [255, 254, 100, 1])
def test_fractions(tmp_path: Path, kind: str, maximum: int) -> None:
    """A volume of float for each segment, 0 to 1, on the same grid; a segmentation at the threshold of one half."""
    values = np.random.default_rng(9).integers(0, maximum + 1, (2, 3, 12, 10)).astype(np.uint8)
    masks = {1: values[0], 4: values[1]}
    frames = stack_frames(masks, positions_along(CORONAL, 3, 2))
    segments = [segment_item(1, "one"), segment_item(2, "empty"), segment_item(4, "four")]
    dataset = segmentation(frames, kind="FRACTIONAL", orientation=CORONAL, segments=segments)
    dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = kind, maximum
    node, *volumes = load(dataset, tmp_path)
    check(node, dataset)
    assert [volume.GetClassName() for volume in volumes] == ["vtkMRMLScalarVolumeNode"] * 3
    grid = lps_of_ijk(image_of(node.GetSegmentation().GetNthSegment(0)))
    for volume, number in zip(volumes, (1, 2, 4), strict=True):
        array = array_of_image(volume.GetImageData())
        assert array.dtype == np.float32
        expected = masks.get(number, np.zeros_like(values[0])) / maximum
        np.testing.assert_allclose(array, expected, atol=1e-6)
        np.testing.assert_allclose(lps_of_volume(volume), grid, atol=1e-9)
        assert volume.GetAttribute("DICOMBridge.SegmentID") == f"Segment_{number}"
        assert volume.GetAttribute("DICOMBridge.SegmentationFractionalType") == kind
    assert node.GetAttribute("DICOMBridge.FractionThreshold") == "0.5"
    assert node.GetAttribute("DICOMBridge.SegmentationType") == "FRACTIONAL"


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_threshold(tmp_path: Path, threshold: float) -> None:
    values = np.random.default_rng(9).integers(0, 256, (3, 12, 10)).astype(np.uint8)
    dataset = segmentation(stack_frames({1: values}, POSITIONS), kind="FRACTIONAL")
    node = load(dataset, tmp_path, threshold=threshold)[0]
    assert_segment_is(node, 1, points_by_segment(dataset, threshold=threshold)[1])
    assert float(node.GetAttribute("DICOMBridge.FractionThreshold")) == threshold


@pytest.mark.parametrize("threshold", [0, -1, 1.5, float("nan")])
def test_threshold_that_separates_nothing(tmp_path: Path, threshold: float) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 3) * 255}, POSITIONS), kind="FRACTIONAL")
    with pytest.raises(DicomBridgeError, match="threshold"):
        load(dataset, tmp_path, threshold=threshold)


def test_default_threshold_is_one_half(tmp_path: Path) -> None:
    image = np.array([[126, 127, 128, 254]], np.uint8)
    dataset = segmentation([Frame(1, (0, 0, 0), image)], kind="FRACTIONAL", MaximumFractionalValue=254)
    node = load(dataset, tmp_path)[0]
    assert mask_of(node.GetSegmentation().GetNthSegment(0)).ravel().tolist() == [False, True, True, True]


def test_overlapping_fractions(tmp_path: Path) -> None:
    values = np.full((2, 3, 12, 10), 200, np.uint8)
    dataset = segmentation(stack_frames({1: values[0], 2: values[1]}, POSITIONS), kind="FRACTIONAL")
    node = load(dataset, tmp_path)[0]
    assert node.GetSegmentation().GetNumberOfLayers() == 2
    check(node, dataset)


# --- LABELMAP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "numbers"), [(8, [1, 2, 255]), (16, [1, 2, 255]), (16, [256, 3, 65535])])
def test_label_map(tmp_path: Path, bits: int, numbers: list[int]) -> None:
    segments = [segment_item(number) for number in numbers]
    dataset = label_map(random_labels([0, *numbers]), bits=bits, segments=segments)
    (node,) = load(dataset, tmp_path)
    check(node, dataset, without=(0,))
    assert names(node) == [f"Label {number}" for number in numbers]
    assert node.GetSegmentation().GetNumberOfLayers() == 1


BACKGROUND = {"SegmentedPropertyTypeCodeSequence": [code("125040", "DCM", "Background")]}


@pytest.mark.parametrize("position", [0, 1, 2])
def test_described_background_is_no_segment(tmp_path: Path, position: int) -> None:
    """It is kept aside, for export."""
    segments = [segment_item(1), segment_item(2)]
    segments.insert(position, segment_item(0, "Background", **BACKGROUND))
    dataset = label_map(random_labels([0, 1, 2]), segments=segments)
    (node,) = load(dataset, tmp_path)
    assert names(node) == ["Label 1", "Label 2"]
    check(node, dataset, without=(0,))
    kept = dataset_from_text(node.GetAttribute("DICOMBridge.BackgroundSegment"))
    assert kept is not None
    assert (kept.SegmentNumber, kept.SegmentLabel) == (0, "Background")


@pytest.mark.parametrize("bits", [8, 16])
def test_pixel_padding(tmp_path: Path, bits: int) -> None:
    """The padding value is the background; 0 may be a segment then."""
    dataset = label_map(
        random_labels([0, 3, 5]), bits=bits, segments=[segment_item(0, "zero"), segment_item(3, "three")]
    )
    dataset.PixelPaddingValue = 5
    (node,) = load(dataset, tmp_path)
    assert names(node) == ["zero", "three"]
    check(node, dataset, without=(5,))


def test_undescribed_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = label_map(random_labels([0, 3, 5]), segments=[segment_item(3, "three")])
    with caplog.at_level(logging.WARNING):
        (node,) = load(dataset, tmp_path)
    assert names(node) == ["three", "Segment 5"]
    check(node, dataset, without=(0,))
    assert "without a description" in caplog.text


@pytest.mark.parametrize(("bits", "first"), [(8, 0), (8, 1), (16, 0)])
def test_palette_colours(tmp_path: Path, bits: int, first: int) -> None:
    """Colours of the palette, but a recommended colour of the segment goes before it."""
    colours = {0: (0, 0, 0), 1: (255, 0, 128), 2: (10, 200, 30)}
    dataset = label_map(random_labels([0, 1, 2]), segments=[segment_item(1), segment_item(2)])
    dataset.SegmentSequence[1].RecommendedDisplayCIELabValue = [65535, 32896, 32896]
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for channel, name in enumerate(("Red", "Green", "Blue")):
        values = np.array([colours[number][channel] for number in range(first, 3)])
        encoded = values.astype("u1").tobytes() if bits == 8 else (values * 257).astype("<u2").tobytes()
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [3 - first, first, bits])
        setattr(dataset, f"{name}PaletteColorLookupTableData", encoded + b"\0" * (len(encoded) % 2))
    (node,) = load(dataset, tmp_path)
    assert segment_named(node, "Label 1").GetColor() == pytest.approx((1, 0, 128 / 255), abs=1e-6)
    assert segment_named(node, "Label 2").GetColor() == pytest.approx((1, 1, 1), abs=5e-3)


# --- highdicom's own objects -----------------------------------------------------------------------------------------

CODES = {"segmented_property_category": Code("123037004", "SCT", "Anatomical Structure")}


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("omit", [True, False], ids=["without empty frames", "with empty frames"])
def test_what_highdicom_writes(tmp_path: Path, kind: str, omit: bool) -> None:
    import highdicom as hd

    positions = positions_along(AXIAL, 4, 2.5)
    ct_series(tmp_path / "ct", positions)
    sources = [pydicom.dcmread(path) for path in sorted((tmp_path / "ct").iterdir())]
    pixels = np.random.default_rng(4).choice(np.array([0, 0, 1, 3], np.uint8), (4, 12, 10))
    pixels[2] = 0
    descriptions = [
        hd.seg.SegmentDescription(
            number, f"organ {number}", CODES["segmented_property_category"], Code("10200004", "SCT", "Liver"), "MANUAL"
        )
        for number in (1, 2, 3)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = hd.seg.Segmentation(
            sources, pixels, kind, descriptions, hd.UID(), 7, hd.UID(), 1, "Acme", "Model", "1", "2",
            omit_empty_frames=omit,
        )  # fmt: skip
    path = save(written, tmp_path / "seg" / "seg.dcm")
    nodes = dicombridge.load(path, scene=dicombridge.new_scene(), database=dicombridge.open_folder(tmp_path / "ct"))
    assert names(nodes[0]) == ["organ 1", "organ 2", "organ 3"]
    for number in (1, 2, 3):
        mask = mask_of(segment_named(nodes[0], f"organ {number}"))
        np.testing.assert_array_equal(mask, pixels == number)
    check(nodes[0], read(path), without=(0,) if kind == "LABELMAP" else ())


# --- encodings -------------------------------------------------------------------------------------------------------


def test_implicit_vr(tmp_path: Path) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 3), 2: blobs(2, 3)}, POSITIONS))
    path = save(dataset, tmp_path / "seg.dcm", ImplicitVRLittleEndian)
    (node,) = dicombridge.load(path, scene=dicombridge.new_scene())
    check(node, dataset)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"])
def test_sequences_of_undefined_length(tmp_path: Path, syntax: str) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 3), 2: blobs(2, 3)}, POSITIONS))
    for element in dataset.iterall():
        if isinstance(element.value, DicomSequence):
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
    path = save(dataset, tmp_path / "seg.dcm", syntax)
    (node,) = dicombridge.load(path, scene=dicombridge.new_scene())
    assert path.read_bytes().count(b"\xfe\xff\xdd\xe0") > 10
    check(node, dataset)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 7), (5, 8), (8, 5), (9, 16), (13, 24), (3, 64), (64, 3)])
def test_odd_sizes(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Frames of single bits follow each other without a gap."""
    dataset = segmentation(stack_frames({1: blobs(1, 3, shape, 0.5), 2: blobs(2, 3, shape, 0.5)}, POSITIONS))
    (node,) = load(dataset, tmp_path)
    check(node, dataset)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])
@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_compressed(tmp_path: Path, kind: str, syntax: str) -> None:
    """RLE, JPEG-LS, JPEG 2000."""
    if kind == "LABELMAP":
        dataset = label_map(random_labels([0, 1, 2], (48, 40)), segments=[segment_item(1), segment_item(2)])
    else:
        values = np.random.default_rng(9).integers(0, 256, (3, 48, 40)).astype(np.uint8)
        dataset = segmentation(stack_frames({1: values}, POSITIONS), kind=kind)
    plain = points_by_segment(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.compress(syntax, generate_instance_uid=False)
    node = load_as(dataset, tmp_path / "seg.dcm")
    for number, points in plain.items():
        if number:
            assert_segment_is(node, number, points)


def load_as(dataset: Dataset, path: Path) -> Any:
    dataset.save_as(path, enforce_file_format=True)
    return dicombridge.load(path, scene=dicombridge.new_scene())[0]


def test_binary_of_bytes(tmp_path: Path) -> None:
    """Against the standard, but clear: BINARY with 8 bits for each pixel."""
    dataset = segmentation(stack_frames({1: blobs(1, 3)}, POSITIONS), kind="FRACTIONAL")
    expected = points_by_segment(dataset, threshold=1 / 255)
    dataset.SegmentationType = "BINARY"
    (node,) = load(dataset, tmp_path)
    assert_segment_is(node, 1, expected[1])


def test_one_segment_need_not_be_named_in_each_frame(tmp_path: Path) -> None:
    dataset = segmentation(stack_frames({7: blobs(1, 3)}, POSITIONS))
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence
    (node,) = load(dataset, tmp_path)
    check(node, dataset)


def test_nothing_says_which_segment(tmp_path: Path) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 3), 2: blobs(2, 3)}, POSITIONS))
    del dataset.PerFrameFunctionalGroupsSequence[3].SegmentIdentificationSequence
    with pytest.raises(DicomBridgeError, match="frame 4 does not say which segment"):
        load(dataset, tmp_path)


# --- several files ---------------------------------------------------------------------------------------------------


def test_concatenation(tmp_path: Path) -> None:
    """One object in two files is one node, in whatever order the files come."""
    frames = stack_frames({1: blobs(1, 4), 2: blobs(2, 4)}, positions_along(AXIAL, 4, 2))
    whole = segmentation(frames)
    for number, part in ((2, frames[5:]), (1, frames[:5])):
        dataset = segmentation(part, segments=list(whole.SegmentSequence))
        dataset.ConcatenationUID, dataset.InConcatenationNumber, dataset.InConcatenationTotalNumber = "1.2.9", number, 2
        dataset.ConcatenationFrameOffsetNumber = 0 if number == 1 else 5
        save(dataset, tmp_path / f"{3 - number}.dcm")
    nodes = dicombridge.load(tmp_path, scene=dicombridge.new_scene())
    assert len(nodes) == 1
    check(nodes[0], whole)
    assert len(nodes[0].GetAttribute("DICOM.instanceUIDs").split()) == 2


def test_several_objects_in_one_series(tmp_path: Path) -> None:
    first, second = (segmentation(stack_frames({1: blobs(seed, 3)}, POSITIONS)) for seed in (1, 2))
    first.ContentLabel, second.ContentLabel = "BEFORE", "AFTER"
    save(first, tmp_path / "1.dcm")
    save(second, tmp_path / "2.dcm")
    with dicombridge.open_folder(tmp_path) as database:
        loadables = dicombridge.examine(database)
        assert len(loadables) == 2
        assert len({loadable.name for loadable in loadables}) == 2
        assert all(loadable.selected for loadable in loadables)
        assert {label for label in ("BEFORE", "AFTER") if any(label in one.name for one in loadables)} == {
            "BEFORE",
            "AFTER",
        }
    nodes = dicombridge.load(tmp_path, scene=dicombridge.new_scene())
    by_uid = {node.GetAttribute("DICOM.instanceUIDs"): node for node in nodes}
    check(by_uid[first.SOPInstanceUID], first)
    check(by_uid[second.SOPInstanceUID], second)


# --- descriptions ----------------------------------------------------------------------------------------------------


def rich_segment() -> Dataset:
    kind = code("108369006", "SCT", "Neoplasm")
    kind.SegmentedPropertyTypeModifierCodeSequence = [code("86049000", "SCT", "Primary"), code("1", "99X", "Second")]
    regions = [code("39607008", "SCT", "Lung"), code("10200004", "SCT", "Liver")]
    regions[0].AnatomicRegionModifierSequence = [code("24028007", "SCT", "Right"), code("261183002", "SCT", "Upper")]
    identification = Dataset()
    identification.AlgorithmFamilyCodeSequence = [code("123110", "DCM", "Artificial Intelligence")]
    identification.AlgorithmName, identification.AlgorithmVersion = "Net", "2.1"
    item = segment_item(
        3,
        "Tumour | 50 % ~ ^ größer 腫瘍",
        SegmentDescription="Two lines | of ~ text ^ é",
        SegmentAlgorithmType="SEMIAUTOMATIC",
        SegmentAlgorithmName="Grow|Cut",
        TrackingID="lesion 1|a",
        TrackingUID="1.2.3.4.5",
        RecommendedDisplayCIELabValue=[34885, 53485, 50171],
    )
    item.SegmentedPropertyTypeCodeSequence = [kind]
    item.AnatomicRegionSequence = regions
    item.SegmentationAlgorithmIdentificationSequence = [identification]
    block = item.private_block(0x0063, "ACME", create=True)
    block.add_new(1, "LO", "private")
    return item


def test_description_of_a_segment(tmp_path: Path) -> None:
    """Tags as other modules look for them (plugins D6), and what has no tag, kept whole."""
    (node,) = load(segmentation(stack_frames({3: blobs(1, 3)}, POSITIONS), segments=[rich_segment()]), tmp_path)
    segment = node.GetSegmentation().GetNthSegment(0)
    assert segment.GetName() == "Tumour | 50 % ~ ^ größer 腫瘍"
    assert not segment.GetNameAutoGenerated()
    assert tag(segment, "DICOM.SegmentAlgorithmType") == "SEMIAUTOMATIC"
    assert tag(segment, "TrackingUniqueIdentifier") == "1.2.3.4.5"
    from dicombridge.shadow import tag_value

    assert tag_value(tag(segment, "Description")) == "Two lines | of ~ text ^ é"
    assert tag_value(tag(segment, "DICOM.SegmentAlgorithmName")) == "Grow|Cut"
    assert tag_value(tag(segment, "TrackingIdentifier")) == "lesion 1|a"
    assert "|" not in tag(segment, "Description")  # the NRRD storage would cut it there
    entry = tag(segment, "TerminologyEntry")
    fields = entry.split("~")
    assert len(fields) == 7
    assert fields[1] == "SCT^123037004^Anatomical Structure"
    assert fields[2] == "SCT^108369006^Neoplasm"
    assert fields[3] == "SCT^86049000^Primary"
    assert fields[5] == "SCT^39607008^Lung"
    assert fields[6] == "SCT^24028007^Right"
    terminology = parse_terminology(entry)
    assert terminology is not None
    assert terminology.region == Code("39607008", "SCT", "Lung")


def test_what_has_no_tag_is_kept(tmp_path: Path) -> None:
    """Second modifiers and regions, algorithm identification, private elements, exact colour."""
    original = rich_segment()
    (node,) = load(segmentation(stack_frames({3: blobs(1, 3)}, POSITIONS), segments=[original]), tmp_path)
    kept = dataset_from_text(tag(node.GetSegmentation().GetNthSegment(0), "DICOMBridge.Segment"))
    assert kept == original
    assert [item.CodeValue for item in kept.AnatomicRegionSequence] == ["39607008", "10200004"]
    header = dataset_from_text(node.GetAttribute("DICOMBridge.Header"))
    assert header is not None
    assert (header.ContentLabel, str(header.ContentCreatorName)) == ("ORGANS", "DOE^JOHN")
    assert "PixelData" not in header
    assert "PerFrameFunctionalGroupsSequence" not in header


def test_label_with_a_backslash(tmp_path: Path) -> None:
    """A backslash separates values in DICOM; somebody wrote it nevertheless."""
    item = segment_item(1, ["left", "right"], SegmentDescription="a lung")
    (node,) = load(segmentation(stack_frames({1: blobs(1, 3)}, POSITIONS), segments=[item]), tmp_path)
    assert names(node) == ["left\\right"]


def test_label_of_the_longest_kind(tmp_path: Path) -> None:
    label = "Ein sehr langer Name, der alle vierundsechzig Zeichen ausnutzt.."
    (node,) = load(segmentation(stack_frames({1: blobs(1, 3)}, POSITIONS), segments=[segment_item(1, label)]), tmp_path)
    assert names(node) == [label]


def test_latin_1_labels(tmp_path: Path) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 3)}, POSITIONS), segments=[segment_item(1, "größer")])
    dataset.SpecificCharacterSet = "ISO_IR 100"
    (node,) = load(dataset, tmp_path)
    assert names(node) == ["größer"]
    kept = dataset_from_text(tag(node.GetSegmentation().GetNthSegment(0), "DICOMBridge.Segment"))
    assert kept is not None
    assert kept.SegmentLabel == "größer"


@pytest.mark.parametrize(
    "missing", ["SegmentLabel", "SegmentAlgorithmType", "SegmentedPropertyTypeCodeSequence", "codes"]
)
def test_incomplete_description(tmp_path: Path, missing: str) -> None:
    item = segment_item(4, "four")
    for keyword in (
        ["SegmentedPropertyTypeCodeSequence", "SegmentedPropertyCategoryCodeSequence"]
        if missing == "codes"
        else [missing]
    ):
        delattr(item, keyword)
    (node,) = load(segmentation(stack_frames({4: blobs(1, 3)}, POSITIONS), segments=[item]), tmp_path)
    assert names(node) == ["Segment 4" if missing == "SegmentLabel" else "four"]
    entry = tag(node.GetSegmentation().GetNthSegment(0), "TerminologyEntry")
    assert len(entry.split("~")) == 7
    assert ("Liver" in entry) == (missing not in ("codes", "SegmentedPropertyTypeCodeSequence"))


@pytest.mark.parametrize(
    "lab", [(34885, 53485, 50171), (65535, 32896, 32896), (0, 32896, 32896), (40000, 20000, 45000)]
)
def test_colours_as_highdicom_has_them(tmp_path: Path, lab: tuple[int, int, int]) -> None:
    import highdicom as hd

    item = segment_item(1, RecommendedDisplayCIELabValue=list(lab))
    (node,) = load(segmentation(stack_frames({1: blobs(1, 3)}, POSITIONS), segments=[item]), tmp_path)
    theirs = np.array(hd.color.CIELabColor.from_dicom_value(lab).to_rgb()) / 255
    assert node.GetSegmentation().GetNthSegment(0).GetColor() == pytest.approx(theirs.tolist(), abs=1.5 / 255)


def test_colours_that_no_screen_shows(tmp_path: Path) -> None:
    """Clamped, never outside of 0 to 1."""
    item = segment_item(1, RecommendedDisplayCIELabValue=[40000, 65535, 0])
    (node,) = load(segmentation(stack_frames({1: blobs(1, 3)}, POSITIONS), segments=[item]), tmp_path)
    assert all(0 <= value <= 1 for value in node.GetSegmentation().GetNthSegment(0).GetColor())


def test_segments_without_colours_differ(tmp_path: Path) -> None:
    masks = {number: blobs(number, 3) for number in range(1, 13)}
    (node,) = load(segmentation(stack_frames(masks, POSITIONS)), tmp_path)
    colours = [node.GetSegmentation().GetNthSegment(number).GetColor() for number in range(12)]
    assert len(set(colours)) == 12
