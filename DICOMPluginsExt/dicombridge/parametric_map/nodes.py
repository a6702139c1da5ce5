"""Maps as volume nodes and sequences of them, and what the nodes keep of the DICOM object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code, coded_entry
from dicombridge.geometry import ijk_to_ras, vtk_matrix
from dicombridge.image.volume import MISSING_SLICES
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.source_instances import SOURCES_ATTRIBUTE, sources_text
from dicombridge.suv import UNITS, type_of_unit_code
from dicombridge.text import node_name, plain_text
from dicombridge.value_mapping import QUANTITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.parametric_map.reading import Map, MapFile

__all__ = [
    "DEFINITIONS_ATTRIBUTE",
    "DERIVATION_ATTRIBUTE",
    "MAPPING_ATTRIBUTE",
    "NUMBER_ATTRIBUTE",
    "STORED_TYPE_ATTRIBUTE",
    "TIMES_ATTRIBUTE",
    "MapImages",
    "add_sequence",
    "add_volume",
]

MAPPING_ATTRIBUTE = "DICOMBridge.ValueMapping"
"""Node attribute: the item of the Real World Value Mapping Sequence (:mod:`dicombridge.shadow`)."""

DERIVATION_ATTRIBUTE = "DICOMBridge.Derivation"
"""Node attribute: the item of the Derivation Code Sequence (:mod:`dicombridge.shadow`)."""

NUMBER_ATTRIBUTE = "DICOMBridge.MapNumber"
"""Node attribute: which map of the object it is, from 1."""

STORED_TYPE_ATTRIBUTE = "DICOMBridge.StoredType"
"""Node attribute: type of the stored values, as numpy calls it."""

TIMES_ATTRIBUTE = "DICOMBridge.TimePoints"
"""Node attribute of a sequence: its time points, a JSON list of numbers."""

DEFINITIONS_ATTRIBUTE = "DICOMBridge.Definitions"
"""Node attribute: what else the quantity is defined by (method, model, source b-values), for a person."""

_GREY = "vtkMRMLColorTableNodeGrey"
_SAMPLES = 1 << 17
"""Voxels that an automatic window is found from."""


class MapImages:
    """Makes images whose memory is filled directly: arrays for the reader, ``vtkImageData`` for the nodes."""

    def __init__(self) -> None:
        self._images: dict[int, Any] = {}

    def allocate(self, shape: tuple[int, int, int], dtype: Any) -> NDArray[Any]:
        """Return an array, [slice, row, column], that is the memory of a new image; its content is arbitrary.

        Raises
        ------
        MemoryError
            There is not enough memory.
        """
        from vtkmodules.util.numpy_support import get_vtk_array_type, vtk_to_numpy
        from vtkmodules.vtkCommonDataModel import vtkImageData

        np.empty(shape, dtype)  # raises; VTK would end the process where the memory does not suffice
        image = vtkImageData()
        image.SetDimensions(shape[2], shape[1], shape[0])
        image.AllocateScalars(get_vtk_array_type(np.dtype(dtype)), 1)
        scalars = image.GetPointData().GetScalars()
        scalars.SetName("ImageScalars")
        array = vtk_to_numpy(scalars).reshape(shape)
        self._images[id(array)] = (array, image)
        return array

    def image(self, array: NDArray[Any]) -> Any:
        """Return the image whose memory an allocated array is."""
        return self._images[id(array)][1]


def add_volume(scene: Any, name: str, result: MapFile, one: Map, array: NDArray[Any], images: MapImages) -> Any:
    """Add a map without time as a ``vtkMRMLScalarVolumeNode`` with its display; call within a scene transaction."""
    import slicer

    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    _fill(node, one, images.image(array))
    _describe(node, result, one)
    scene.AddNode(node)
    _add_display(scene, node, one, [array])
    return node


def add_sequence(
    scene: Any, name: str, result: MapFile, one: Map, arrays: Sequence[NDArray[Any]], images: MapImages
) -> tuple[Any, Any]:
    """Add a map with time as a ``vtkMRMLSequenceNode`` of volumes; call within a scene transaction.

    Returns
    -------
    sequence, volume
        The sequence, and the volume node of the scene that shows one of its time points: the proxy of a
        ``vtkMRMLSequenceBrowserNode`` that is added too.
    """
    import slicer

    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetName(scene.GenerateUniqueName(node_name(name)))
    sequence.SetIndexName("time")
    sequence.SetIndexUnit(one.frames.time_unit)
    sequence.SetIndexType(slicer.vtkMRMLSequenceNode.NumericIndex)
    # Time points that are nearer than the tolerance would replace each other; its default is a millisecond.
    closest = float(np.diff(np.sort(one.frames.time_values)).min())
    sequence.SetNumericIndexValueTolerance(min(sequence.GetNumericIndexValueTolerance(), closest / 4))
    _describe(sequence, result, one)
    sequence.SetAttribute(TIMES_ATTRIBUTE, json.dumps(list(one.frames.time_values)))
    scene.AddNode(sequence)
    for value, array in zip(one.frames.time_values, arrays, strict=True):
        empty = slicer.vtkMRMLScalarVolumeNode()  # copied by the sequence, which would copy its voxels too
        empty.SetName(sequence.GetName())
        _fill(sequence.SetDataNodeAtValue(empty, f"{value:.15g}"), one, images.image(array))
    proxy = slicer.vtkMRMLScalarVolumeNode()
    proxy.SetName(scene.GenerateUniqueName(f"{sequence.GetName()} at a time"))
    _fill(proxy, one, images.image(arrays[0]))
    scene.AddNode(proxy)
    _add_display(scene, proxy, one, arrays)
    browser = slicer.vtkMRMLSequenceBrowserNode()
    browser.SetName(scene.GenerateUniqueName(f"{sequence.GetName()} browser"))
    scene.AddNode(browser)
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(proxy, sequence, False)
    browser.SetSelectedItemNumber(0)
    return sequence, proxy


def _fill(node: Any, one: Map, image: Any) -> None:
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(one.stack.geometry)))
    node.SetAndObserveImageData(image)
    mapping = one.reading.mappings[0]
    if mapping.quantity is not None:
        node.SetVoxelValueQuantity(coded_entry(mapping.quantity))
    if mapping.units is not None:
        kind = type_of_unit_code(mapping.units.value)  # one spelling on nodes for the two that the units of SUV have
        node.SetVoxelValueUnits(coded_entry(UNITS[kind] if kind is not None else mapping.units))


def _describe(node: Any, result: MapFile, one: Map) -> None:
    """Keep on the node what export needs to write the object again."""
    reading = one.reading
    attributes = {
        HEADER_ATTRIBUTE: result.shadow,
        "DICOM.instanceUIDs": " ".join(str(part.header.get("SOPInstanceUID") or "") for part in result.parts),
        NUMBER_ATTRIBUTE: str(one.number),
        STORED_TYPE_ATTRIBUTE: result.stored_type.name,
        MAPPING_ATTRIBUTE: reading.item.text if reading.item is not None else "",
        DERIVATION_ATTRIBUTE: one.derivation,
        DEFINITIONS_ATTRIBUTE: _definitions(one),
        SOURCES_ATTRIBUTE: sources_text(one.sources, one.stack.geometry) if one.sources else "",
        MISSING_SLICES: " ".join(map(str, one.missing)),
    }
    for key, value in attributes.items():
        if value:
            node.SetAttribute(key, plain_text(value))


def _definitions(one: Map) -> str:
    """Return the definitions of the quantity but itself, e.g. ``"Measurement Method: Mono-exponential model; ..."``."""
    parts = []
    for concept, value in one.reading.mappings[0].definitions:
        if concept != QUANTITY:
            text = value.meaning if isinstance(value, Code) else f"{value:g}" if isinstance(value, float) else value
            parts.append(f"{concept.meaning}: {text}")
    return "; ".join(parts)


# --- Display -------------------------------------------------------------------------------------------------------


def _add_display(scene: Any, node: Any, one: Map, arrays: Sequence[NDArray[Any]]) -> None:
    import slicer

    display = slicer.vtkMRMLScalarVolumeDisplayNode()
    # Colour nodes belong to the application: outside Slicer, the reference waits for the scene to be opened there.
    display.SetAndObserveColorNodeID(_GREY)
    windows = list(one.windows) or _window_of_values(arrays)
    display.SetAutoWindowLevel(not windows)
    for centre, width in windows:
        display.AddWindowLevelPreset(width, centre)
    if windows:
        display.SetWindowLevelFromPreset(0)
    scene.AddNode(display)
    node.SetAndObserveDisplayNodeID(display.GetID())


def _window_of_values(arrays: Sequence[NDArray[Any]]) -> list[tuple[float, float]]:
    """Return a window that shows nearly all values; without those of the ends, which would make the rest one grey."""
    taken = []
    for array in arrays:
        flat = array.reshape(-1)
        # A step that shares no factor with the size of a row or a slice, so that the samples are not one column.
        step = max(1, flat.size * len(arrays) // _SAMPLES)
        taken.append(flat[:: step | 1].astype(np.float64))
    values = np.concatenate(taken)
    values = values[np.isfinite(values)]
    if not values.size:
        return []
    low, high = np.percentile(values, [0.5, 99.5])
    if not low < high:
        low, high = float(values.min()), float(values.max())
    centre, width = float(low / 2 + high / 2), float(high - low)
    return [(centre, width)] if width > 0 and np.isfinite(width) else []
