"""From the values of a series to a vtkMRMLScalarVolumeNode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge import codes, hierarchy, shadow
from dicombridge.geometry import ijk_to_ras, vtk_matrix
from dicombridge.image.series import Series
from dicombridge.progress import Progress
from dicombridge.text import node_name, plain_text
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["FRAME_NUMBERS", "MISSING_SLICES", "WARNING", "add_volume", "read_image"]

FRAME_NUMBERS = "DICOMBridge.FrameNumbers"
"""Node attribute: frame number (from 1) of each slice of a multi-frame image, 0 for a missing slice."""

MISSING_SLICES = "DICOMBridge.MissingSlices"
"""Node attribute: indices (from 0) of slices that no image fills; ``DICOM.instanceUIDs`` lists the others only."""

WARNING = "DICOMBridge.Warning"
"""Node attribute: what is doubtful about the volume, for a person."""

_GREY = "vtkMRMLColorTableNodeGrey"
_INVERTED_GREY = "vtkMRMLColorTableNodeInvertedGrey"


def read_image(series: Series, progress: Progress | None = None) -> Any:
    """Return the voxels of a series as ``vtkImageData``; numpy writes straight into VTK's memory.

    Raises
    ------
    UnreadableError, UnsupportedError
        As :meth:`Series.voxels`.
    """
    from vtkmodules.util.numpy_support import get_vtk_array_type, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()

    def allocate(shape: tuple[int, int, int], element_type: DTypeLike) -> NDArray[Any]:
        np.empty(shape, element_type)  # raises; VTK would end the process where the memory does not suffice
        image.SetDimensions(shape[2], shape[1], shape[0])
        image.AllocateScalars(get_vtk_array_type(np.dtype(element_type)), 1)
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)

    series.voxels(allocate, progress)
    image.GetPointData().GetScalars().SetName("ImageScalars")
    image.Modified()
    return image


@quiet()
def add_volume(scene: Any, series: Series, image: Any, name: str, description: Mapping[str, Any] | None = None) -> Any:
    """Add a volume node with display node and subject hierarchy item; call within a scene transaction.

    Parameters
    ----------
    description
        What the subject hierarchy says of it (:func:`dicombridge.hierarchy.add_series`), where that is not the image
        series but an object made on it.

    Returns
    -------
    vtkMRMLScalarVolumeNode
        Its IJK-to-RAS matrix is that of the planes; for slices of a tilted gantry its axes are not perpendicular.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", node_name(name))
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(series.stack.placement)))
    node.SetAndObserveImageData(image)
    if series.quantity is not None:
        node.SetVoxelValueQuantity(codes.coded_entry(series.quantity))
    if series.units is not None:
        node.SetVoxelValueUnits(codes.coded_entry(series.units))
    stack = series.stack
    attributes = {
        "DICOM.instanceUIDs": " ".join(series.instance_uids),
        "DICOM.instanceNumbers": " ".join(series.instance_numbers),
        MISSING_SLICES: " ".join(map(str, stack.missing)),
        FRAME_NUMBERS: _frame_numbers(series),
        WARNING: stack.warning,
    }
    for key, value in attributes.items():
        if value:
            node.SetAttribute(key, plain_text(value))
    _add_display(scene, node, series)
    shadow.remember(node, series.header)
    if description is None:
        description = {**hierarchy.attributes_of_dataset(series.header), "SOPInstanceUIDs": series.instance_uids}
    hierarchy.add_series(scene, node, description)
    return node


def _frame_numbers(series: Series) -> str:
    stack = series.stack
    if not stack.planes[0].frame:
        return ""
    frames = [0] * stack.shape[0]
    for plane, place in zip(stack.planes, stack.slices, strict=True):
        frames[place] = plane.frame
    return " ".join(map(str, frames))


def _add_display(scene: Any, node: Any, series: Series) -> None:
    display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    # Colour nodes belong to the application: outside Slicer, the reference waits for the scene to be opened there.
    display.SetAndObserveColorNodeID(_INVERTED_GREY if series.inverted else _GREY)
    for centre, width in series.windows:
        display.AddWindowLevelPreset(width, centre)
    if series.windows:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelFromPreset(0)
    node.SetAndObserveDisplayNodeID(display.GetID())
