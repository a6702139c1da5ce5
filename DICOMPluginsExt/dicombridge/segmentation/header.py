"""The attributes of a new segmentation object, but for its frames (PS3.3 A.51.3)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from dicombridge.output.header import (
    RENEWED_OF_IMAGES,
    NewObject,
    apply_keywords,
    new_header,
    of_64_bytes,
    record_predecessor,
    report_losses,
)

__all__ = ["NOT_OPTIONS", "Identity", "segmentation_header"]

_log = logging.getLogger(__name__)

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"

_RENEWED = (
    *RENEWED_OF_IMAGES,
    "SegmentationType",
    "SegmentationFractionalType",
    "MaximumFractionalValue",
    "SegmentsOverlap",
    "SegmentSequence",
)
NOT_OPTIONS = ("MaximumFractionalValue", "SegmentSequence", "SegmentsOverlap")
"""What options cannot say, because it follows from the segments that are written."""

_SHARED_GROUPS = frozenset(
    {
        "DerivationImageSequence",
        "FrameContentSequence",
        "PixelMeasuresSequence",
        "PlaneOrientationSequence",
        "PlanePositionSequence",
        "SegmentIdentificationSequence",
    }
)


@dataclass(frozen=True)
class Identity:
    """What the new object says of itself, beside its frames."""

    segmentation_type: str
    fractional_type: str
    maximum_fractional_value: int
    segments_overlap: str
    frame_of_reference_uid: str
    name: str


def segmentation_header(
    identity: Identity,
    source_header: Dataset | None,
    kept: Dataset | None,
    attributes: Mapping[str, Any],
    keywords: Mapping[str, Any],
) -> Dataset:
    """Return the dataset of a new segmentation, without segments, frames and functional groups.

    Parameters
    ----------
    source_header, kept, attributes
        As for :func:`dicombridge.output.header.new_header`.
    keywords
        What the caller says, by DICOM keyword; the last word.
    """
    if kept is not None:
        report_losses(kept, _SHARED_GROUPS)
    label_map = identity.segmentation_type == "LABELMAP"
    new = NewObject(
        sop_class_uid=LABEL_MAP_SEGMENTATION_STORAGE if label_map else SEGMENTATION_STORAGE,
        modality="SEG",
        title="Segmentation",
        name=identity.name,
        frame_of_reference_uid=identity.frame_of_reference_uid,
    )
    dataset = new_header(new, source_header, kept, attributes, _RENEWED)
    _drop_contradictions(dataset)
    if not dataset.get("ContentLabel"):
        dataset.ContentLabel = "SEGMENTATION"
    # These may be empty (type 2), and stay so where they were.
    for keyword, value in (("ContentDescription", of_64_bytes(identity.name)), ("ContentCreatorName", "")):
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    _set_image_attributes(dataset, identity, source_header)
    record_predecessor(dataset, kept)
    apply_keywords(dataset, keywords)
    return dataset


def _drop_contradictions(dataset: Dataset) -> None:
    """Leave out what the source had against the standard, and what would make the new object wrong.

    Laterality of the series (PS3.3 C.7.3.1) contradicts segments that have their own; validators refuse it here.
    """
    laterality = dataset.pop("Laterality", None)
    if laterality is not None and laterality.value:
        _log.warning("Laterality %s of the series was left out: in segmentations, segments say it.", laterality.value)


def _set_image_attributes(dataset: Dataset, identity: Identity, source_header: Dataset | None) -> None:
    kind = identity.segmentation_type
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelRepresentation = 0
    lossy = source_header.get("LossyImageCompression") if source_header is not None else None
    if "LossyImageCompression" not in dataset or lossy == "01":
        dataset.LossyImageCompression = "01" if lossy == "01" else "00"
    if dataset.LossyImageCompression == "01" and source_header is not None:
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in source_header and keyword not in dataset:
                setattr(dataset, keyword, source_header.get(keyword))
    dataset.SegmentationType = kind
    dataset.SegmentsOverlap = identity.segments_overlap
    if kind == "FRACTIONAL":
        dataset.SegmentationFractionalType = identity.fractional_type
        dataset.MaximumFractionalValue = identity.maximum_fractional_value
