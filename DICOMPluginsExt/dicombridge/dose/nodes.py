"""A dose as a volume node."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code, coded_entry
from dicombridge.dose.reading import DoseFile, DoseGrid
from dicombridge.dose.values import codes_text, text_value
from dicombridge.geometry import ijk_to_ras, vtk_matrix
from dicombridge.references import references_of
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.text import node_name, plain_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DIGEST_ATTRIBUTE", "add_dose", "digest", "is_dose", "mark_study", "set_image", "show_as_dose"]

DOSE_VOLUME = "DicomRtImport.DoseVolume"
DOSE_UNIT_NAME = "DicomRtImport.DoseUnitName"
DOSE_UNIT_VALUE = "DicomRtImport.DoseUnitValue"
"""Attributes that the dose modules of SlicerRT read, the last two of the study's item."""

SCALING_ATTRIBUTE = "DICOMBridge.DoseGridScaling"

DIGEST_ATTRIBUTE = "DICOMBridge.DoseDigest"
"""Of grid and doses as they were loaded: histograms of the object hold as long as these do."""

ATTRIBUTES = {
    "DoseUnits": "DICOMBridge.DoseUnits",
    "DoseType": "DICOMBridge.DoseType",
    "DoseSummationType": "DICOMBridge.DoseSummationType",
    "SpatialTransformOfDose": "DICOMBridge.SpatialTransformOfDose",
    "TissueHeterogeneityCorrection": "DICOMBridge.TissueHeterogeneityCorrection",
    "DoseComment": "DICOMBridge.DoseComment",
    "NormalizationPoint": "DICOMBridge.NormalizationPoint",
}
"""Keyword to node attribute. SlicerRT keeps units and scaling of the study only, where two doses disturb each other."""

REFERENCES = {
    "1.2.840.10008.5.1.4.1.1.481.3": "DICOMBridge.ReferencedStructureSetUIDs",
    "1.2.840.10008.5.1.4.1.1.481.5": "DICOMBridge.ReferencedPlanUIDs",
    "1.2.840.10008.5.1.4.1.1.481.8": "DICOMBridge.ReferencedPlanUIDs",  # RT Ion Plan
}
"""SOP Class UID of a referenced object to the node attribute that its UID is kept in."""

QUANTITIES = {"PHYSICAL": Code("128513", "DCM", "Absorbed Dose")}
"""What is measured, by Dose Type; there is no code for radiobiologically effective dose, nor for an error of dose."""

UNITS = {"GY": Code("Gy", "UCUM", "gray"), "RELATIVE": Code("1", "UCUM", "no units")}

_SLICER_RT_COLOURS = "Dose_ColorTable"
_COLOURS = "vtkMRMLColorTableNodeReverseRainbow"
LOWEST_SHOWN = 0.01
"""Part of the highest dose below which nothing is shown, so that the image beneath stays visible."""


def is_dose(node: Any) -> bool:
    """Whether a node is a dose volume, of this library or of SlicerRT."""
    return bool(node.IsA("vtkMRMLScalarVolumeNode") and node.GetAttribute(DOSE_VOLUME) == "1")


def add_dose(scene: Any, name: str, dose: DoseFile, grid: DoseGrid) -> Any:
    """Add the volume node of one run of planes, with its display node; call within a scene transaction."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(node_name(name)))
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(grid.run.geometry)))
    set_image(node, grid.doses)
    units, dose_type = codes_text(dose.header, "DoseUnits"), codes_text(dose.header, "DoseType")
    if units in UNITS:
        node.SetVoxelValueUnits(coded_entry(UNITS[units]))
        if units == "GY" and dose_type in QUANTITIES:
            node.SetVoxelValueQuantity(coded_entry(QUANTITIES[dose_type]))
    attributes = {name: text_value(dose.header, keyword) for keyword, name in ATTRIBUTES.items()}
    for reference in references_of(dose.header):
        name = REFERENCES.get(reference.sop_class_uid, "")
        attributes[name] = f"{attributes.get(name, '')} {reference.sop_instance_uid}".strip()
    attributes |= {
        DOSE_VOLUME: "1",
        SCALING_ATTRIBUTE: scaling_text(dose),
        HEADER_ATTRIBUTE: dose.shadow,
        "DICOM.instanceUIDs": " ".join(text_value(header, "SOPInstanceUID") for header in dose.headers),
        "DICOMBridge.Warning": " ".join(dose.warnings),
    }
    for key, value in attributes.items():
        if key and value:
            node.SetAttribute(key, plain_text(value))
    if len(dose.grids) == 1:  # histograms are of the whole dose
        node.SetAttribute(DIGEST_ATTRIBUTE, digest(node))
    show_as_dose(scene, node, grid.doses)
    return node


def digest(node: Any) -> str:
    """Return a digest of a volume's voxels and of where they lie, to 0.001 mm, its transforms included."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    numbers = [round(matrix.GetElement(row, column), 3) + 0.0 for row in range(3) for column in range(4)]
    moved = node.GetParentTransformNode() is not None
    scalars = vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())
    told = f"{numbers} {moved} {node.GetImageData().GetDimensions()} {scalars.dtype}".encode()
    return hashlib.blake2b(told + scalars.tobytes(), digest_size=16).hexdigest()


def scaling_text(dose: DoseFile) -> str:
    """Return DoseGridScaling as the object writes it, or as it was given."""
    written = text_value(dose.header, "DoseGridScaling")
    try:
        return written if float(written) == dose.scaling else repr(dose.scaling)
    except ValueError:
        return repr(dose.scaling)


def set_image(node: Any, doses: NDArray[np.floating[Any]]) -> None:
    """Give a volume node its voxels, (slices, rows, columns)."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    slices, rows, columns = doses.shape
    image.SetDimensions(columns, rows, slices)
    scalars = numpy_to_vtk(np.ascontiguousarray(doses).ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    node.SetAndObserveImageData(image)


def show_as_dose(scene: Any, node: Any, doses: NDArray[np.floating[Any]]) -> None:
    """Show a dose in colours from 0 to its highest value, and nothing where there is next to none."""
    display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    table = scene.GetFirstNodeByName(_SLICER_RT_COLOURS)
    # Colour nodes belong to the application: outside Slicer, the reference waits for the scene to be opened there.
    display.SetAndObserveColorNodeID(table.GetID() if table is not None else _COLOURS)
    low, high = min(float(doses.min()), 0.0), float(doses.max())
    high = high if high > low else low + 1.0
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high)
    if low == 0:
        display.SetThreshold(LOWEST_SHOWN * high, high)
        display.SetAutoThreshold(False)
        display.SetApplyThreshold(True)
    node.SetAndObserveDisplayNodeID(display.GetID())


def mark_study(hierarchy: Any, item: int, units: str, scaling: str) -> None:
    """Tell the study's item units and scaling, as SlicerRT's modules expect them; those of its first dose stay."""
    study = hierarchy.GetItemAncestorAtLevel(item, "Study")
    for name, value in ((DOSE_UNIT_NAME, units), (DOSE_UNIT_VALUE, scaling)):
        if study and value and not hierarchy.GetItemAttribute(study, name):
            hierarchy.SetItemAttribute(study, name, value)
