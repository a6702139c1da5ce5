"""From a mapped series to a volume node, and what the node remembers of its mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dicombridge import hierarchy
from dicombridge.api import KIND_ATTRIBUTE
from dicombridge.image.volume import WARNING, add_volume
from dicombridge.shadow import dataset_to_text
from dicombridge.text import plain_text
from dicombridge.tolerance import quiet
from dicombridge.value_mapping import item_of_mapping

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.real_world_value.mapped import MappedSeries

__all__ = ["MAPPING", "MAPPING_NAME", "MAPPING_OBJECT", "RWV_INSTANCE", "SUV_AUDIT", "SUV_FACTORS", "add_mapped_volume"]

RWV_INSTANCE = "DICOM.RWV.instanceUID"
"""Node attribute: SOP Instance UID of the object (mapping object, or image) that the mapping stands in."""

MAPPING = "DICOMBridge.ValueMapping"
"""Node attribute: the mapping of the first slice, as an item (:mod:`dicombridge.shadow`)."""

MAPPING_NAME = "DICOMBridge.ValueMappingName"
"""Node attribute: what the mapping is called among those of its object."""

MAPPING_OBJECT = "DICOMBridge.ValueMappingObject"
"""Node attribute: the mapping object that the values come from (:mod:`dicombridge.shadow`)."""

SUV_AUDIT = "DICOMBridge.SUVAudit"
"""Node attribute: how an SUV was computed, line by line."""

SUV_FACTORS = "DICOMBridge.SUVFactors"
"""Node attribute: what rescaled values were multiplied with, one number, or one for each image in slice order."""

_RADIOPHARMACEUTICAL = (
    ("RadiopharmaceuticalCodeSequence", "DICOM.RadiopharmaceuticalCodeValue"),
    ("RadionuclideCodeSequence", "DICOM.RadionuclideCodeValue"),
)
"""Code sequences of the radiopharmaceutical to the node attributes that Slicer's PET modules look for."""


@quiet()
def add_mapped_volume(
    scene: Any,
    series: MappedSeries,
    image: Any,
    name: str,
    attributes: Mapping[str, str],
    mapping_object: Dataset | None = None,
) -> Any:
    """Add a volume node in real world values; call within a scene transaction.

    Parameters
    ----------
    series
        The series, after ``image`` was read from it.
    image
        ``vtkImageData`` of the real world values.
    attributes
        Node attributes of this kind, above.
    mapping_object
        Header of the object that the mapping stands in, whose series the node is then; None where it is the image.

    Returns
    -------
    vtkMRMLScalarVolumeNode
    """
    node = add_volume(scene, series, image, name, _description(series, mapping_object))
    first = next(of_plane[0] for of_plane in series.mappings if of_plane)
    item = first.item if len(first.item) else item_of_mapping(first, series.encodings[0].signed)
    # An image that was asked for in real world values is of this kind too, whoever loaded it.
    found = {KIND_ATTRIBUTE: "RWVM", MAPPING: dataset_to_text(item)}
    found.update({**attributes, **_radiopharmaceutical(series.header)})
    for key, value in found.items():
        if value:
            node.SetAttribute(key, value)
    warning = " ".join(filter(None, (series.stack.warning, *series.warnings)))
    if warning:
        node.SetAttribute(WARNING, plain_text(warning))
    if mapping_object is not None:
        node.SetAttribute(MAPPING_OBJECT, dataset_to_text(mapping_object))
    return node


def _description(series: MappedSeries, mapping_object: Dataset | None) -> dict[str, Any] | None:
    """Return what the subject hierarchy says of a volume that is of the series of its mapping object."""
    if mapping_object is None:
        return None
    description = hierarchy.attributes_of_dataset(mapping_object)
    # These objects have no frame of reference of their own.
    of_images = hierarchy.attributes_of_dataset(series.header)["FrameOfReferenceUID"]
    description["FrameOfReferenceUID"] = description["FrameOfReferenceUID"] or of_images
    return {**description, "ReferencedInstanceUIDs": series.instance_uids}


def _radiopharmaceutical(header: Dataset) -> dict[str, str]:
    from dicombridge.codes import code_from_sequence

    try:
        item = (header.get("RadiopharmaceuticalInformationSequence") or [{}])[0]
        codes = {attribute: code_from_sequence(item, keyword) for keyword, attribute in _RADIOPHARMACEUTICAL}
    except Exception:  # pydicom converts values late and raises many kinds of errors for bad ones
        return {}
    return {attribute: plain_text(code.value) for attribute, code in codes.items() if code is not None}
