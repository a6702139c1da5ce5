"""From a rectangle of a level to a volume node: its pixels, its place on the slide, what it remembers."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge import hierarchy, shadow
from dicombridge.errors import GeometryError
from dicombridge.geometry import grid, ijk_to_ras, unit_normal, vtk_matrix
from dicombridge.slide.levels import Level
from dicombridge.slide.pixel_matrix import SINGLE_SLICE_MM, UNEVEN
from dicombridge.slide.tiles import Box, OpenLevel
from dicombridge.text import node_name, plain_text
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.geometry import Grid

__all__ = [
    "ICC_PROFILE",
    "OPTICAL_PATH",
    "REGION",
    "Picture",
    "Slice",
    "add_picture",
    "place",
    "read_picture",
]

ICC_PROFILE = "DICOMBridge.ICCProfile"
"""Node attribute: base64 of the ICC profile of the optical path, whether or not it was applied."""
ICC_APPLIED = "DICOMBridge.ICCApplied"
"""Node attribute: ``"1"`` where the pixels were turned into sRGB."""
REGION = "DICOMBridge.SlideRegion"
"""Node attribute: first row, first column (from 0), rows and columns in the total pixel matrix."""
OPTICAL_PATH = "DICOMBridge.OpticalPath"
"""Node attribute: identifier of the optical path."""
WARNING = "DICOMBridge.Warning"

_GREY = "vtkMRMLColorTableNodeGrey"
_INVERTED_GREY = "vtkMRMLColorTableNodeInvertedGrey"
_SHOWN = 0.1, 99.9
"""Percentiles that the window spans where no header says what to show."""
_SAMPLED = 1_000_000
"""Pixels from which the window is estimated."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One focal plane of one optical path: the level that has it, and their indices in it."""

    level: Level
    opened: OpenLevel
    plane: int
    path: int

    @property
    def height(self) -> float:
        """Mm on the slide's z axis."""
        return self.level.matrix.origin[2] + self.opened.tiling.offsets[self.plane]


@dataclass(frozen=True, eq=False)
class Picture:
    """What becomes a node: one rectangle, one optical path, one or more focal planes.

    Attributes
    ----------
    levels, box, path
        What was read: a level, or several of which each has some of the focal planes; the path is of the first one.
    image
        ``vtkImageData``.
    placement
        Where it lies; its slices ascend along the normal of the image.
    warnings
        For a person.
    icc_applied
        Whether the colours are sRGB by the profile.
    """

    levels: tuple[Level, ...]
    box: Box
    path: int
    image: Any
    placement: Grid
    warnings: tuple[str, ...]
    icc_applied: bool = False


def place(level: Level, box: Box, offsets: Sequence[float]) -> tuple[Grid, list[int], str]:
    """Return the grid of focal planes, which of them each slice is, and what is doubtful.

    Parameters
    ----------
    offsets
        mm on the slide's z axis above the level's origin, of each focal plane.
    """
    matrix = level.matrix
    normal = unit_normal(matrix.orientation)
    along = np.asarray(offsets, dtype=float) * normal[2]
    order = np.argsort(along, kind="stable")
    first = matrix.to_slide(np.array([[box.column + 0.5, box.row + 0.5]]))[0]
    first[2] += offsets[int(order[0])]
    step, warning = normal * SINGLE_SLICE_MM, ""
    if len(offsets) > 1:
        if abs(normal[2]) < 0.5:
            raise GeometryError(f"{level.files[0]}: its focal planes do not lie above each other.")
        gaps = np.diff(np.asarray(offsets, dtype=float)[order])
        between = float(np.median(gaps))
        if np.abs(gaps - between).max() > UNEVEN * abs(between):
            distances = ", ".join(f"{abs(gap) * 1e3:.3g}" for gap in gaps[:8])
            warning = f"Its focal planes are not evenly spaced ({distances} um); they are shown as if they were."
        step = np.array([0.0, 0.0, between])
    shape = (len(offsets), box.rows, box.columns)
    frame = matrix.frame_of_reference_uid or None
    return (
        grid(first.tolist(), matrix.orientation, matrix.spacing, step.tolist(), shape, frame),
        order.tolist(),
        warning,
    )


def read_picture(
    slices: Sequence[Slice], box: Box, icc: bool = False, tell: Callable[[float], object] | None = None
) -> Picture:
    """Read focal planes of one optical path straight into the memory of a ``vtkImageData``.

    Parameters
    ----------
    slices
        At least one; all of the same kind of pixels, at the same place.

    Raises
    ------
    UnreadableError, UnsupportedError
        As :meth:`OpenLevel.read`.
    GeometryError
        The image cannot be placed.
    """
    from dicombridge.slide.profile import to_srgb

    level, opened, path = slices[0].level, slices[0].opened, slices[0].path
    levels = tuple({id(one.level): one.level for one in slices}.values())
    tilings = {id(one.opened): one.opened.tiling for one in slices}.values()
    placement, order, warning = place(level, box, [one.height - level.matrix.origin[2] for one in slices])
    image, pixels = _allocated((len(slices), box.rows, box.columns), opened.samples, opened.dtype)
    for number, one in enumerate(slices[index] for index in order):
        share = None if tell is None else _share(tell, number, len(slices))
        one.opened.read(box, one.plane, one.path, pixels[number], share)
    warnings = [warning, *(one.warning for one in levels), *(text for tiling in tilings for text in tiling.warnings)]
    profile = level.optical_paths[path].icc_profile
    applied = icc and opened.samples == 3
    if applied:
        applied = to_srgb(pixels, profile, level.files[0])
    if icc and not applied:
        warnings.append("There is no ICC profile to apply; the colours are as they were stored.")
    image.Modified()
    return Picture(levels, box, path, image, placement, tuple(dict.fromkeys(filter(None, warnings))), applied)


def _share(tell: Callable[[float], object], number: int, count: int) -> Callable[[float], object]:
    return lambda fraction: tell((number + fraction) / count)


def _allocated(shape: tuple[int, int, int], samples: int, dtype: Any) -> tuple[Any, NDArray[Any]]:
    """Return an image and its memory as (slices, rows, columns), with 3 more for RGB."""
    from vtkmodules.util.numpy_support import get_vtk_array_type, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData

    full = (*shape, 3) if samples == 3 else shape
    np.empty(full, dtype)  # raises; VTK would end the process where the memory does not suffice
    image = vtkImageData()
    image.SetDimensions(shape[2], shape[1], shape[0])
    image.AllocateScalars(get_vtk_array_type(np.dtype(dtype)), samples)
    image.GetPointData().GetScalars().SetName("ImageScalars")
    return image, vtk_to_numpy(image.GetPointData().GetScalars()).reshape(full)


@quiet()
def add_picture(scene: Any, picture: Picture, name: str) -> Any:
    """Add a volume node with display node and subject hierarchy item; call within a scene transaction.

    Returns
    -------
    vtkMRMLVectorVolumeNode or vtkMRMLScalarVolumeNode
        RGB, or one channel.
    """
    level, box = picture.levels[0], picture.box
    uids = [uid for one in picture.levels for uid in one.sop_instance_uids]
    colour = picture.image.GetNumberOfScalarComponents() == 3
    node = scene.AddNewNodeByClass(f"vtkMRML{'Vector' if colour else 'Scalar'}VolumeNode", node_name(name))
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(picture.placement)))
    node.SetAndObserveImageData(picture.image)
    path = level.optical_paths[picture.path]
    attributes = {
        "DICOM.instanceUIDs": " ".join(uids),
        REGION: f"{box.row} {box.column} {box.rows} {box.columns}",
        OPTICAL_PATH: path.identifier,
        ICC_PROFILE: base64.b64encode(path.icc_profile).decode("ascii"),
        ICC_APPLIED: "1" if picture.icc_applied else "",
        WARNING: " ".join(picture.warnings),
    }
    for key, value in attributes.items():
        if value:
            node.SetAttribute(key, plain_text(value))
    _add_display(scene, node, picture, colour)
    shadow.remember(node, level.header)
    description = hierarchy.attributes_of_dataset(level.header)
    description["SOPInstanceUIDs"] = uids
    hierarchy.add_series(scene, node, description)
    return node


def _add_display(scene: Any, node: Any, picture: Picture, colour: bool) -> None:
    from dicombridge.image.quantities import windows

    display = scene.AddNewNodeByClass(f"vtkMRML{'Vector' if colour else 'Scalar'}VolumeDisplayNode")
    inverted = picture.levels[0].photometric_interpretation == "MONOCHROME1"
    # Colour nodes belong to the application: outside Slicer, the reference waits for the scene to be opened there.
    display.SetAndObserveColorNodeID(_INVERTED_GREY if inverted else _GREY)
    display.SetAutoWindowLevel(False)
    found = [] if colour else windows(picture.levels[0].header)
    for centre, width in found:
        display.AddWindowLevelPreset(width, centre)
    if found:
        display.SetWindowLevelFromPreset(0)
    else:
        display.SetWindowLevelMinMax(*_range(picture.image, colour))
    node.SetAndObserveDisplayNodeID(display.GetID())


def _range(image: Any, colour: bool) -> tuple[float, float]:
    """Return what to show as black and as white."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(-1)
    if colour and values.dtype.itemsize == 1:
        return 0.0, 255.0
    low, high = np.percentile(values[:: max(len(values) // _SAMPLED, 1)], _SHOWN)
    return float(low), float(max(high, low + 1))
