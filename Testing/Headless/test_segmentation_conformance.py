"""Segmentations do what every kind must do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
import pytest
from conformance import Example, KindConformance, outcomes_of
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless, generate_uid
from support.damage import Case, deflated, written
from support.seg_nodes import segment_ids, segment_values
from support.volumes import array_of_image, lps_of_volume

CT_16 = ("seg/highdicom/source_ct",)
CT_38 = ("seg/dcmqi_23x38x3/ct",)
CT_LIVER = ("seg/dcmqi_liver/ct",)

TAGS = (
    "TerminologyEntry",
    "Description",
    "DICOM.SegmentAlgorithmType",
    "DICOM.SegmentAlgorithmName",
    "TrackingUniqueIdentifier",
    "TrackingIdentifier",
)


def write_copies(data: Path, path: Path, count: int) -> None:
    """Write a real object with so many segments, each of them the one that it had, one above the other.

    Side by side, because segments that all overlap have as many pairs as the square of their number.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(data)
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        bits = bits[: dataset.Rows * dataset.Columns * dataset.NumberOfFrames]
        frames, segment = list(dataset.PerFrameFunctionalGroupsSequence), dataset.SegmentSequence[0]
        dataset.SegmentSequence = [numbered(segment, "SegmentNumber", number + 1) for number in range(count)]
        dataset.PerFrameFunctionalGroupsSequence = [
            of_segment(frame, number + 1, 2.5 * len(frames) * number) for number in range(count) for frame in frames
        ]
        dataset.NumberOfFrames = count * len(frames)
        dataset.PixelData = np.packbits(np.tile(bits, count), bitorder="little").tobytes()
        dataset.PixelData += b"\0" * (len(dataset.PixelData) % 2)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(path)


def numbered(item: Dataset, keyword: str, number: int) -> Dataset:
    copy = deepcopy(item)
    setattr(copy, keyword, number)
    return copy


def of_segment(frame: Dataset, number: int, higher: float) -> Dataset:
    copy = deepcopy(frame)
    copy.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number
    position = copy.PlanePositionSequence[0].ImagePositionPatient
    position[2] = float(position[2]) + higher
    return copy


class TestSegmentation(KindConformance):
    kind = "SEG"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("binary-implicit", "seg/highdicom/seg_image_ct_binary_overlap.dcm", CT_16, damages="tfae", flips=50),
        Example("binary-bits-unaligned", "seg/dcmqi_23x38x3/label.seg", CT_38, damages="tf", flips=50),
        Example("binary-deflated", "seg/dcmqi_23x38x3/label.seg", CT_38, damages="tf", flips=15,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("binary-rle", "seg/dcmqi_liver/liver_rle.dcm", CT_LIVER, damages="tf", flips=15),
        Example("binary-frames-deflated", "seg/dcmqi_liver/liver_deflate.dcm", CT_LIVER, damages="tf", flips=15),
        Example("binary-big-endian", "seg/dcmqi_liver/liver_expb.dcm", CT_LIVER, damages="tf", flips=15),
        Example("binary-partial-overlap", "seg/dcmqi_liver/partial_overlaps.dcm", CT_LIVER),
        Example("fractional", "seg/highdicom/seg_image_ct_true_fractional.dcm", CT_16, damages="tfa"),
        Example("fractional-rle", "seg/highdicom/seg_image_ct_true_fractional.dcm", CT_16, damages="tf", flips=15,
                transfer_syntax=RLELossless),
        Example("labelmap", "seg/dcmqi_24x38x3/sparse-labelmap-ppv5.dcm", ("seg/dcmqi_24x38x3/ct",), damages="tfae"),
    )  # fmt: skip

    @pytest.fixture(autouse=True)
    def _data(self, data: Path) -> None:
        self.data = data

    def values(self, nodes: Sequence[Any]) -> Any:
        segments: dict[str, Any] = {}
        volumes: dict[str, Any] = {}
        for node in nodes:
            if node.IsA("vtkMRMLSegmentationNode"):
                found = [node.GetSegmentation().GetSegment(name) for name in segment_ids(node)]
                segments.update({segment.GetName(): segment_values(segment, TAGS) for segment in found})
            else:
                name = node.GetName().rpartition(" - ")[2]
                volumes[name] = {"fractions": array_of_image(node.GetImageData()), "to LPS": lps_of_volume(node)}
        return {"order": list(segments), "segments": segments, "volumes": volumes}

    def write_large(self, folder: Path, size: int) -> None:
        write_copies(self.data / "seg/dcmqi_23x38x3/label.seg", folder / "large.dcm", size)


def test_a_grid_beyond_the_memory_is_an_error(data: Path, tmp_path: Path) -> None:
    """A few kilobytes of a compressed segmentation can span gigabytes; VTK would end the process over it."""
    dataset = pydicom.dcmread(data / "seg/dcmqi_liver/liver_deflate.dcm")
    dataset.Rows = dataset.Columns = 8192
    dataset.PixelData = encapsulate([deflated(b"", endless=8)] * 3)
    for frame, place in zip(dataset.PerFrameFunctionalGroupsSequence, (0, 1, 100), strict=True):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, place]
    (outcome,) = outcomes_of("SEG", [Case("6.8 GB", written(dataset))], data / "misc", tmp_path)
    assert outcome.loaded == "UnreadableError"
    assert "memory" in outcome.message
    assert outcome.memory < 1 << 30
