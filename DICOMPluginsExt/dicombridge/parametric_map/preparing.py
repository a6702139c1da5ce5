"""From nodes to plain values: which maps make an object, on which grid, from which images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code, code_from_entry
from dicombridge.errors import ExportError
from dicombridge.geometry import same_grid
from dicombridge.image.volume import MISSING_SLICES
from dicombridge.kinds import kind_named, kind_of_sop_class
from dicombridge.output.frames import SlicePlaces
from dicombridge.output.options import code_option
from dicombridge.output.source import SliceSources, Source, find_source, slice_sources
from dicombridge.output.tiles import TileGrid, TilePlaces, TileStack, slide_sources, tile_grid
from dicombridge.output.volumes import sampled, voxels_of_node
from dicombridge.parametric_map.nodes import DERIVATION_ATTRIBUTE, MAPPING_ATTRIBUTE, STORED_TYPE_ATTRIBUTE
from dicombridge.parametric_map.values import STORED_TYPES, Storing, described, float_type, storing
from dicombridge.shadow import dataset_from_text, remembered
from dicombridge.suv import DICOM_UNITS, type_of_unit_code
from dicombridge.value_mapping import mapping_of_item

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from dicombridge.database import Database
    from dicombridge.geometry import Grid
    from dicombridge.value_mapping import ValueMapping

__all__ = ["MapContent", "ObjectContent", "content_of", "groups_of_nodes"]

_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3, "min": 60.0}


@dataclass(eq=False)
class MapContent:
    """One map to be written.

    Attributes
    ----------
    node
        Volume or sequence.
    arrays
        Real world values (slices, rows, columns), or their tiles, one array a time point.
    storing
        How they are stored.
    derivation
        Item of the Derivation Code Sequence that the map came with, or None.
    source
        The images that it belongs to.
    sources
        Those in its slices.
    slices
        Those, or the tiles, that are written.
    window
        Centre and width in real world values, or None.
    """

    node: Any
    arrays: list[NDArray[Any]] | list[TileStack]
    storing: Storing
    derivation: Dataset | None
    source: Source
    sources: SliceSources
    slices: list[int]
    window: tuple[float, float] | None


@dataclass(eq=False)
class ObjectContent:
    """All maps of one object.

    Attributes
    ----------
    maps
        At least one, all on the same grid.
    grid
        In the frame of reference of the images.
    tiles
        Where the grid lies on a slide; None for images of a patient.
    stored_type
        Out of :data:`STORED_TYPES`.
    times
        Of the time points; empty where there is no time.
    in_seconds
        Whether the times are seconds; else they are mere indices.
    source
        The images that the first map belongs to, whose patient and study the object has.
    kept
        Header of the object that the maps were loaded from, or None.
    warnings
        What is not as it was.
    """

    maps: list[MapContent]
    grid: Grid
    stored_type: str
    times: list[float]
    in_seconds: bool
    source: Source
    kept: Dataset | None
    warnings: list[str] = field(default_factory=list)
    tiles: TileGrid | None = None

    @property
    def places(self) -> SlicePlaces | TilePlaces:
        """Where the slices, or tiles, that are written lie."""
        used = {place for one in self.maps for place in one.slices}
        return SlicePlaces(self.grid, used) if self.tiles is None else TilePlaces(self.tiles, used)


# --- Grouping ------------------------------------------------------------------------------------------------------


def groups_of_nodes(nodes: Sequence[Any]) -> list[list[Any]]:
    """Return the nodes in groups of one object each: those that came from one, and new ones on the same grid."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for node in nodes:
        first = _volumes_of(node)[0][1]
        header = remembered(node)
        is_map = header is not None and str(header.get("SOPClassUID")) in kind_named("PM").sop_classes
        came_from = str(header.get("SOPInstanceUID") or "") if is_map and header is not None else ""
        grid = voxels_of_node(first, slanted=True).grid
        place = np.round(np.asarray(grid.affine, dtype=float), 2).tolist()
        groups.setdefault((came_from, json.dumps([place, list(grid.spatial_shape)])), []).append(node)
    return list(groups.values())


def _volumes_of(node: Any) -> list[tuple[str, Any]]:
    """Return index value and volume of each time point; one without index for a volume."""
    if not node.IsA("vtkMRMLSequenceNode"):
        return [("", node)]
    count = node.GetNumberOfDataNodes()
    volumes = [(node.GetNthIndexValue(number), node.GetNthDataNode(number)) for number in range(count)]
    if not volumes or not all(volume.IsA("vtkMRMLScalarVolumeNode") for _, volume in volumes):
        raise ExportError(f"{node.GetName()!r} is no sequence of scalar volumes.")
    return volumes


# --- Values --------------------------------------------------------------------------------------------------------


def content_of(nodes: Sequence[Any], database: Database | None, own: Mapping[str, Any]) -> ObjectContent:
    """Return all that one object is made from.

    Raises
    ------
    ExportError
        The nodes cannot be written together, or not as asked.
    """
    first = nodes[0]
    kept = remembered(first)
    is_map = kept is not None and str(kept.get("SOPClassUID")) in kind_named("PM").sop_classes
    source = find_source(first, database, own.get("source") or _own_images(first, kept))
    read = [_read(node, own.get("grid"), source) for node in nodes]
    grid = read[0].grid
    for node, one in zip(nodes, read, strict=True):
        if not same_grid(one.grid, grid):
            raise ExportError(f"{node.GetName()!r} lies on another grid than {first.GetName()!r}; write it apart.")
        if one.times != read[0].times:
            raise ExportError(f"{node.GetName()!r} has other time points than {first.GetName()!r}; write it apart.")
    stored_type = _stored_type(nodes, [array for one in read for array in one.arrays], own.get("pixel_type"))
    content = ObjectContent([], grid, stored_type, read[0].times, read[0].in_seconds, source, kept if is_map else None)
    content.tiles = tile_grid(grid, source, content.kept, first.GetName() or "The volume")
    labels: set[str] = set()
    for number, (node, one) in enumerate(zip(nodes, read, strict=True), start=1):
        content.warnings += one.warnings
        images = None if node is first or own.get("source") else _own_images(node, remembered(node))
        of_map = source if images is None else find_source(node, database, images)
        content.maps.append(_map(node, one, number, content, of_map, own, labels))
    return content


def _own_images(node: Any, kept: Dataset | None) -> Any:
    """Return the node itself where it is a volume of images, whose instances are then the source."""
    if node.IsA("vtkMRMLSequenceNode"):
        return None
    if kept is not None:
        kind = kind_of_sop_class(str(kept.get("SOPClassUID") or ""))
        return node if kind is not None and kind.name in ("IMAGE", "SLIDE") else None
    return node if node.GetAttribute("DICOM.instanceUIDs") else None


@dataclass
class _Read:
    arrays: list[NDArray[Any]]
    grid: Grid
    times: list[float]
    in_seconds: bool
    resampled: bool
    warnings: list[str]


def _read(node: Any, grid_option: Any, source: Source) -> _Read:
    parent = node if node.IsA("vtkMRMLScalarVolumeNode") else None
    arrays: list[NDArray[Any]] = []
    times: list[float] = []
    warnings: list[str] = []
    grid: Any = None
    resampled = False
    factor = _SECONDS.get(str(node.GetIndexUnit() or "").lower()) if parent is None else None
    for index, volume in _volumes_of(node):
        scalars = volume.GetImageData().GetPointData().GetScalars() if volume.GetImageData() is not None else None
        is_float = scalars is not None and scalars.GetDataTypeAsString() in ("float", "double")
        placed = voxels_of_node(volume, outside=np.nan if is_float else 0.0, slanted=True)
        voxels = placed.voxels
        if grid_option == "source":
            if source.grid is None:
                raise ExportError(f"{node.GetName()!r}: there are no source images whose grid it could have.")
            if not same_grid(placed.grid, source.grid.geometry):
                voxels = sampled(voxels, placed.grid, source.grid.geometry, np.nan)
                resampled = True
            placed_grid: Any = source.grid.geometry
        else:
            placed_grid = placed.grid
        if grid is not None and not same_grid(grid, placed_grid):
            raise ExportError(f"{node.GetName()!r}: its time points lie on different grids.")
        grid = placed_grid
        arrays.append(voxels)
        warnings += placed.warnings
        resampled = resampled or placed.resampled
        if resampled and volume.IsA("vtkMRMLLabelMapVolumeNode"):
            raise ExportError(
                f"{node.GetName()!r}: its labels would have to be interpolated, which makes no sense of them; resample "
                "the label map first, or export it as a segmentation."
            )
        if parent is None:
            times.append(_time(index, factor, len(times)))
    if parent is None and factor is None and not _are_numbers_in_turn([index for index, _ in _volumes_of(node)]):
        warnings.append("Its index has no unit of time, and nothing of it was written but the order.")
    warnings = [f"{node.GetName()!r}: {warning}" for warning in dict.fromkeys(warnings)]
    return _Read(arrays, grid, times, factor is not None, resampled, warnings)


def _time(index: str, factor: float | None, number: int) -> float:
    with suppress(ValueError):
        return float(index) * (factor or 1.0)
    return float(number + 1)


def _are_numbers_in_turn(indices: Sequence[str]) -> bool:
    try:
        return all(float(later) - float(earlier) == 1 for earlier, later in pairwise(indices))
    except ValueError:
        return False


def _stored_type(nodes: Sequence[Any], arrays: Sequence[NDArray[Any]], asked: Any) -> str:
    if asked is not None:
        if str(asked) not in STORED_TYPES:
            raise ExportError(f"pixel_type is one of {', '.join(STORED_TYPES)}, not {asked!r}.")
        return str(asked)
    kept = {node.GetAttribute(STORED_TYPE_ATTRIBUTE) for node in nodes}
    if kept <= {"uint8", "uint16"} and all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
        return "uint16"
    return float_type(arrays)


def _map(
    node: Any,
    one: _Read,
    number: int,
    content: ObjectContent,
    source: Source,
    own: Mapping[str, Any],
    labels: set[str],
) -> MapContent:
    item = dataset_from_text(node.GetAttribute(MAPPING_ATTRIBUTE))
    kept = mapping_of_item(item) if item is not None else None
    volume = _volumes_of(node)[0][1]
    quantity = code_option(own.get("quantity"), "quantity") or code_from_entry(volume.GetVoxelValueQuantity())
    units = code_option(own.get("units"), "units", "UCUM") or code_from_entry(volume.GetVoxelValueUnits())
    if units is not None:
        units = _spelled(units, kept if content.kept is not None else None)
    method = code_option(own.get("method"), "method")
    mapping = described(kept, quantity, units, _label(node, own.get("label"), number), method)
    mapping = _unique(mapping, number, labels)
    if mapping.units is None:
        content.warnings.append(f"{node.GetName()!r} has no unit and was written as without one; give units=.")
    slices = _slices(node, one)
    arrays = [array[slices] for array in one.arrays] if len(slices) < len(one.arrays[0]) else one.arrays
    found = storing(mapping, arrays, content.stored_type, node.GetName() or "The volume")
    if found.error:
        unit = mapping.units.value if mapping.units is not None else "1"
        content.warnings.append(
            f"{node.GetName()!r} was written as {content.stored_type}: no value is off by more than {found.error:.3g} "
            f"{unit}."
        )
    stacks: list[NDArray[Any]] | list[TileStack] = one.arrays
    if content.tiles is not None:
        stacks = _in_tiles(one, content.tiles, content)
        slices = _filled(stacks)
        sources = slide_sources(content.tiles, source, slices)
    else:
        sources = slice_sources(node, source, content.grid)
    return MapContent(
        node=node,
        arrays=stacks,
        storing=found,
        derivation=dataset_from_text(node.GetAttribute(DERIVATION_ATTRIBUTE)),
        source=source,
        sources=sources,
        slices=slices,
        window=_window(node),
    )


def _in_tiles(one: _Read, tiles: TileGrid, content: ObjectContent) -> list[TileStack]:
    """Return the arrays of a map as tiles; what the map leaves out of its outermost tiles has no value (NaN)."""
    if content.stored_type == "uint16":
        fill = min(float(array.min()) for array in one.arrays)
        if not tiles.fills_its_tiles:
            content.warnings.append(
                f"Pixels of tiles beyond the volume, which 16-bit numbers cannot leave without a value, have {fill:g}."
            )
        return [TileStack(tiles, array, fill) for array in one.arrays]
    floats = (array if array.dtype.kind == "f" else array.astype(content.stored_type) for array in one.arrays)
    return [TileStack(tiles, array, np.nan) for array in floats]


def _filled(stacks: list[TileStack]) -> list[int]:
    """Return the tiles that have a value at some time point; the first one where none has."""
    filled = [
        number
        for number in range(len(stacks[0]))
        if not all(stack.dtype.kind == "f" and np.isnan(stack[number]).all() for stack in stacks)
    ]
    return filled or [0]


def _spelled(units: Code, kept: ValueMapping | None) -> Code:
    """Return units of SUV as the map had them, else as PS3.16 CID 85 spells them; other units as they are."""
    kind = type_of_unit_code(units.value)
    if kind is None:
        return units
    if kept is not None and kept.units is not None and type_of_unit_code(kept.units.value) == kind:
        return kept.units
    return DICOM_UNITS[kind]


def _label(node: Any, given: Any, number: int) -> str:
    return str(given or "") or str(node.GetName() or f"Map {number}").rpartition(" - ")[2][:16].strip()


def _unique(mapping: ValueMapping, number: int, labels: set[str]) -> ValueMapping:
    """Give a map a label that no other map of the object has: readers tell maps apart by it."""
    label = mapping.label[:16]
    if label in labels or not label:
        label = f"{label[:12]} {number}".strip()
    labels.add(label)
    return replace(mapping, label=label)


def _slices(node: Any, one: _Read) -> list[int]:
    """Return the slices to write: not those that were missing when the map was loaded and are still empty."""
    every = list(range(len(one.arrays[0])))
    if one.arrays[0].dtype.kind != "f" or not node.GetAttribute(MISSING_SLICES):
        return every
    filled = [place for place in every if not all(np.isnan(array[place]).all() for array in one.arrays)]
    return filled or every


def _window(node: Any) -> tuple[float, float] | None:
    display = node.GetDisplayNode() if node.IsA("vtkMRMLDisplayableNode") else None
    if display is None or not display.IsA("vtkMRMLScalarVolumeDisplayNode") or display.GetAutoWindowLevel():
        return None
    return (float(display.GetLevel()), float(display.GetWindow())) if display.GetWindow() > 0 else None
