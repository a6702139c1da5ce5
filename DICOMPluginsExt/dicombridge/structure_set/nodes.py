"""What nodes of a structure set keep of it: names of attributes, tags and roles, and how values are written there.

Both halves of the kind, loading and exporting, agree through these names.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dicombridge.shadow import dataset_from_text, tag_text, tag_value

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.structure_set.reading import Roi

__all__ = [
    "CONTOURS_ROLE",
    "GRID_ATTRIBUTE",
    "MARKUPS_ROLE",
    "OBSERVATIONS_TAG",
    "PHYSICAL_PROPERTIES_TAG",
    "PLANAR_CONTOUR",
    "ROI_NUMBER_ATTRIBUTE",
    "ROI_NUMBER_TAG",
    "SEGMENT_ID_ATTRIBUTE",
    "STRUCTURE_SET_ROI_TAG",
    "TEXT_TAGS",
    "datasets_of_text",
    "items_text",
    "segment_tag",
    "set_roi_tags",
]

PLANAR_CONTOUR = "Planar contour"
"""SlicerRT's name of the representation; storing a segmentation drops it, so the contours have a node as well."""

# --- Segments ------------------------------------------------------------------------------------------------------

ROI_NUMBER_TAG = "DicomRtImport.RoiNumber"
"""SlicerRT's name. ROI Number (3006,0022)."""
TEXT_TAGS = {
    "RTROIInterpretedType": "DICOMBridge.RTROIInterpretedType",
    "ROIObservationLabel": "DICOMBridge.ROIObservationLabel",
    "ROIGenerationAlgorithm": "DICOMBridge.ROIGenerationAlgorithm",
    "ROIInterpreter": "DICOMBridge.ROIInterpreter",
    "ROIDescription": "DICOMBridge.ROIDescription",
    "ROIVolume": "DICOMBridge.ROIVolume",
}
"""DICOM keyword -> tag that holds its value as text (:func:`~dicombridge.shadow.tag_text`)."""
PHYSICAL_PROPERTIES_TAG = "DICOMBridge.ROIPhysicalProperties"
"""JSON: a list of {"property": ROI Physical Property, "value": ROI Physical Property Value}."""
STRUCTURE_SET_ROI_TAG = "DICOMBridge.StructureSetROI"
"""The item of the Structure Set ROI Sequence as it came (:mod:`dicombridge.shadow`)."""
OBSERVATIONS_TAG = "DICOMBridge.RTROIObservations"
"""The items of the RT ROI Observations Sequence as they came, as :func:`items_text` joins them."""

# --- Nodes ---------------------------------------------------------------------------------------------------------

CONTOURS_ROLE = "DICOMBridge.contours"
"""Node reference role: from the segmentation to the model that keeps the original contours."""
MARKUPS_ROLE = "DICOMBridge.markups"
"""Node reference role: from the segmentation to the markups of its POINT and OPEN contours."""
GRID_ATTRIBUTE = "DICOMBridge.ContourGrid"
"""Attribute of the segmentation: JSON of the grid that contours were filled on."""
ROI_NUMBER_ATTRIBUTE = "DICOMBridge.ROINumber"
"""Attribute of markups: the ROI Number."""
CONTOUR_NUMBER_ATTRIBUTE = "DICOMBridge.ContourNumber"
"""Attribute of curves: which contour of its region, from 1 in the order of the file."""
GEOMETRIC_TYPE_ATTRIBUTE = "DICOMBridge.ContourGeometricType"
"""Attribute of markups: POINT, OPEN_PLANAR or OPEN_NONPLANAR."""
SEGMENT_ID_ATTRIBUTE = "DICOMBridge.SegmentID"
"""Attribute of markups: the segment of the same region."""


def items_text(items: list[str]) -> str:
    """Join text forms of items; none of them has a comma."""
    return ",".join(items)


def datasets_of_text(text: str) -> list[Dataset]:
    """Return the items that :func:`items_text` joined; those that cannot be read are left out."""
    return [item for item in map(dataset_from_text, text.split(",")) if item is not None]


def set_roi_tags(vtk_segment: Any, roi: Roi) -> None:
    """Give a segment the descriptions of its region; and no codes where it has none, which VTK gives every segment."""
    if roi.segment.terminology is None:
        vtk_segment.RemoveTag("TerminologyEntry")
    tags = {ROI_NUMBER_TAG: str(roi.roi_number)}
    tags.update({tag: tag_text(roi.texts.get(keyword, "")) for keyword, tag in TEXT_TAGS.items()})
    if roi.physical_properties:
        tags[PHYSICAL_PROPERTIES_TAG] = tag_text(json.dumps(roi.physical_properties))
    tags[STRUCTURE_SET_ROI_TAG] = roi.structure_item
    tags[OBSERVATIONS_TAG] = items_text(roi.observation_items)
    for name, value in tags.items():
        if value:
            vtk_segment.SetTag(name, value)


def segment_tag(vtk_segment: Any, name: str) -> str:
    """Return a tag of a segment, decoded; ``""`` where there is none."""
    from vtkmodules.vtkCommonCore import reference

    value = reference("")
    return tag_value(str(value)) if vtk_segment.GetTag(name, value) else ""
