"""The attributes of a new parametric map, but for its frames (PS3.3 A.75.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from dicombridge.parametric_map.preparing import ObjectContent

__all__ = ["map_header"]

PARAMETRIC_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.30"
_IMAGE_TYPE = ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]
_DEFAULTS = {
    "ContentLabel": "PARAMETRIC_MAP",
    "ContentQualification": "RESEARCH",
    "BurnedInAnnotation": "NO",
    "RecognizableVisualFeatures": "NO",
    "LossyImageCompression": "00",
    "PresentationLUTShape": "IDENTITY",
    "PixelPresentation": "MONOCHROME",
}


def map_header(
    content: ObjectContent, frame_of_reference_uid: str, attributes: Mapping[str, Any], keywords: Mapping[str, Any]
) -> Dataset:
    """Return the dataset of a new parametric map, without frames and functional groups.

    Parameters
    ----------
    attributes
        What the subject hierarchy knows of patient and study, by DICOM keyword.
    keywords
        What the caller says, by DICOM keyword; the last word.
    """
    kept, header = content.kept, content.source.header
    if kept is not None:
        known = [element.keyword for element in (kept.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]]
        report_losses(kept, known)
    modality = kept.get("Modality") if kept is not None else header.get("Modality") if header is not None else None
    new = NewObject(
        sop_class_uid=PARAMETRIC_MAP_STORAGE,
        modality=str(modality or "OT"),
        title="Parametric map",
        name=str(content.maps[0].node.GetName() or ""),
        frame_of_reference_uid=frame_of_reference_uid,
        series_number=400,
    )
    dataset = new_header(new, header, kept, attributes, RENEWED_OF_IMAGES)
    lossy = header is not None and header.get("LossyImageCompression") == "01"
    if lossy:
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in header:
                setattr(dataset, keyword, header.get(keyword))
    for keyword, value in _DEFAULTS.items():
        if not dataset.get(keyword):
            setattr(dataset, keyword, value)
    for keyword, value in (("ContentDescription", of_64_bytes(new.name)), ("ContentCreatorName", "")):
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    dataset.pop("Laterality", None)  # of the series; here the Frame Anatomy says it (PS3.3 C.7.3.1)
    if len(dataset.get("ImageType") or []) != len(_IMAGE_TYPE):
        dataset.ImageType = list(_IMAGE_TYPE)
    if "AcquisitionContextSequence" not in dataset:
        dataset.AcquisitionContextSequence = []
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    bits = {"float32": 32, "float64": 64}.get(content.stored_type, 16)
    dataset.BitsAllocated = bits
    if bits == 16:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 0
    else:
        dataset.pop("PixelRepresentation", None)
    record_predecessor(dataset, kept)
    apply_keywords(dataset, keywords)
    return dataset
