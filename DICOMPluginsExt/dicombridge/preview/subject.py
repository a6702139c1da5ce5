"""What a picture of nodes shows, as plain values: an image, label layers, probabilities, and where they lie."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.errors import DicomBridgeError
from dicombridge.preview.strokes import Stroke, has_stroke, stroke_of_model, stroke_of_node

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "VIEWS",
    "Grid",
    "Mark",
    "Region",
    "Subject",
    "default_views",
    "label_layers",
    "most_telling",
    "subject_of_nodes",
    "voxel_points",
]

VIEWS = ("axial", "coronal", "sagittal", "acquisition", "3d")
"""What a panel can show; ``acquisition`` is the plane in which the image was acquired."""

_FRACTIONAL_ATTRIBUTE = "DICOMBridge.SegmentationFractionalType"  # what a FRACTIONAL segmentation's volumes bear
_DOSE_ATTRIBUTE = "DicomRtImport.DoseVolume"
_MAPPING_ATTRIBUTE = "DICOMBridge.ValueMapping"
_KIND_ATTRIBUTE = "DICOMBridge.Kind"
_THIN = 0.1  # a stack that is flatter than this, for its size, is a mere line on other planes than its own
_OBLIQUE = 0.995  # a grid axis whose largest direction cosine is below this belongs to an oblique image


@dataclass(frozen=True)
class Region:
    """One segment: where it is in its label layer, and how it looks."""

    name: str
    label: int
    colour: tuple[float, float, float]
    node: str = ""
    place: int = 0  # in the node's list of segments; layers hold them in another order


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels and where they are: values are (slices, rows, columns), the matrix maps IJK to RAS mm.

    Colours have one more axis, of red, green and blue.
    """

    values: NDArray[Any]
    ijk_to_ras: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return self.values.shape[0], self.values.shape[1], self.values.shape[2]

    @property
    def is_colour(self) -> bool:
        """Whether the values are colours."""
        return self.values.ndim == 4

    @property
    def corners(self) -> NDArray[np.float64]:
        """(8, 3) RAS mm: the outer corners of the corner voxels."""
        last = np.array(self.shape[::-1]) - 0.5
        index = np.array(np.meshgrid(*[[-0.5, n] for n in last], indexing="ij")).reshape(3, -1)
        return (self.ijk_to_ras[:3, :3] @ index + self.ijk_to_ras[:3, 3:]).T

    @property
    def spacing(self) -> NDArray[np.float64]:
        """(3,) mm along I, J, K."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)


@dataclass(frozen=True)
class Mark:
    """A control point of a markup: its label, RAS mm, colour."""

    label: str
    point: tuple[float, float, float]
    colour: tuple[float, float, float]


@dataclass(eq=False)
class Subject:
    """Everything that one picture shows, as plain values.

    Attributes
    ----------
    title
        Names of the nodes.
    image
        Background, or None.
    on_slide
        Whether it is of a microscope slide, or a photograph: it has no patient's sides, and it is tiny.
    lookup
        (256, 3) colours of the background from the bottom to the top of the window.
    window
        Lower and upper value that are drawn darkest and brightest.
    layers
        Label layers and the segments in each.
    heat
        Map of a quantity (probability, dose, uptake, a parameter) drawn as a heat overlay, or None.
    heat_range
        Values at the two ends of the heat scale.
    heat_meaning
        What its values are, with their unit.
    surfaces
        The segmentation nodes, for 3D.
    models
        Visible ``vtkMRMLModelNode``, for 3D; but on a slide, models of lines and points are strokes.
    marks
        Points of markups.
    strokes
        Their lines, curves, angles and boxes.
    """

    title: str = ""
    image: Grid | None = None
    on_slide: bool = False
    lookup: NDArray[np.uint8] = field(default_factory=lambda: np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1))
    window: tuple[float, float] = (0.0, 1.0)
    layers: list[tuple[Grid, list[Region]]] = field(default_factory=list)
    heat: Grid | None = None
    heat_range: tuple[float, float] = (0.0, 1.0)
    heat_meaning: str = "probability"
    surfaces: list[Any] = field(default_factory=list)
    models: list[Any] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    strokes: list[Stroke] = field(default_factory=list)

    @functools.cached_property
    def samples(self) -> list[list[NDArray[np.float64]]]:
        """For every layer and region, (3, n) RAS mm of some of its voxels; none only where it is empty."""
        return [_region_samples(grid, regions) for grid, regions in self.layers]

    @property
    def has_planes(self) -> bool:
        """Whether there is anything that planes can cut; models and markups alone are drawn in 3D."""
        return self.image is not None or bool(self.layers) or self.heat is not None

    @property
    def regions(self) -> list[Region]:
        """All segments, layer by layer."""
        return [region for _, regions in self.layers for region in regions]

    @property
    def frame(self) -> Grid:
        """The grid that fixes the field of view: the image's, else the overlay's."""
        if self.image is not None:
            return self.image
        return self.layers[0][0] if self.layers else self.heat  # type: ignore[return-value]  # one of them is there


def most_telling(nodes: Iterable[Any]) -> list[Any]:
    """Return the nodes of a scene that one picture can show together.

    The segmentations that share a source, with that source and a dose; where there are none, the first volume. Points
    and models are shown with either.
    """
    listed = list(nodes)
    segmentations = [node for node in listed if node.IsA("vtkMRMLSegmentationNode")]
    volumes = [node for node in listed if node.IsA("vtkMRMLScalarVolumeNode")]
    others = [node for node in listed if node.IsA("vtkMRMLMarkupsNode") or _is_visible_model(node)]
    doses = [node for node in volumes if node.GetAttribute(_DOSE_ATTRIBUTE)][:1]
    if not segmentations:
        images = [node for node in volumes if node not in doses][:1]
        return [*(images or doses), *(doses if images else []), *others]
    source = _source_volume(segmentations[0])
    return [*(node for node in segmentations if _source_volume(node) is source), *doses, *others]


def default_views(subject: Subject) -> tuple[str, ...]:
    """Return the panels that suit what is to be seen."""
    if not subject.has_planes:
        return ("3d",)
    if subject.on_slide:
        return ("acquisition",)
    frame = subject.frame
    solid = ("3d",) if subject.surfaces or subject.models else ()
    extent = frame.spacing * frame.shape[::-1]
    if min(frame.shape) == 1 or extent.min() < _THIN * extent.max():
        return "acquisition", *solid
    directions = np.abs(frame.ijk_to_ras[:3, :3] / frame.spacing)
    if directions.max(axis=0).min() < _OBLIQUE:
        return "acquisition", "axial", "coronal", *(solid or ("sagittal",))
    return "axial", "coronal", "sagittal", *solid


# Nodes to plain values --------------------------------------------------------------------------------------------


def subject_of_nodes(nodes: Iterable[Any] | Any) -> Subject:
    """Return what a picture of these nodes shows.

    Raises
    ------
    DicomBridgeError
        None of the nodes can be drawn.
    """
    listed: list[Any] = [nodes] if hasattr(nodes, "IsA") else list(nodes)
    segmentations = [node for node in listed if node.IsA("vtkMRMLSegmentationNode")]
    volumes = [node for node in listed if node.IsA("vtkMRMLScalarVolumeNode") and node.GetImageData() is not None]
    subject = Subject(title=", ".join(node.GetName() or node.GetClassName() for node in segmentations + volumes))
    for node in segmentations:
        subject.layers += label_layers(node)
    subject.surfaces = segmentations
    subject.models = [node for node in listed if _is_visible_model(node)]
    markups = [node for node in listed if node.IsA("vtkMRMLMarkupsNode")]
    subject.marks = [mark for node in markups if not has_stroke(node) for mark in _marks(node)]
    subject.strokes = [one for node in markups if has_stroke(node) and (one := stroke_of_node(node)) is not None]
    if not subject.title:
        names = [node.GetName() or "" for node in subject.models] + [one.name for one in subject.strokes]
        subject.title = ", ".join(names)
    heat = [node for node in volumes if _is_overlay(node)]
    plain = [node for node in volumes if node not in heat] + [
        source for source in map(_source_volume, segmentations + heat) if source is not None
    ]
    if heat and not plain and heat[0].GetAttribute(_FRACTIONAL_ATTRIBUTE) is None and not segmentations:
        heat, plain = [], heat  # nothing that it could lie over
    if heat:
        subject.heat = _grid_of_volume(heat[0])
        subject.heat_range = _heat_range(heat[0], subject.heat)
        subject.heat_meaning = _meaning(heat[0])
    if plain:
        subject.image = _grid_of_volume(plain[0])
        _set_display(subject, plain[0])
        if plain[0].GetAttribute(_KIND_ATTRIBUTE) == "SLIDE":
            _lay_on_slide(subject)
    if not subject.has_planes and not subject.models and not subject.strokes:
        raise DicomBridgeError(
            "Nothing to draw: a preview needs a volume, a segmentation that has voxels, a model, or a line or curve."
        )
    return subject


def _lay_on_slide(subject: Subject) -> None:
    """Draw models of lines and points, as those of annotations, upon the slide in which they lie."""
    subject.on_slide = True
    drawn = {id(node): stroke for node in subject.models if (stroke := stroke_of_model(node)) is not None}
    subject.models = [node for node in subject.models if id(node) not in drawn]
    subject.strokes += drawn.values()


def _is_visible_model(node: Any) -> bool:
    display = node.GetDisplayNode() if node.IsA("vtkMRMLModelNode") else None
    return display is not None and bool(display.GetVisibility()) and node.GetPolyData() is not None


def _marks(node: Any) -> list[Mark]:
    display = node.GetDisplayNode()
    colour = tuple(display.GetSelectedColor()) if display is not None else (1.0, 0.5, 0.5)
    points = []
    for number in range(node.GetNumberOfControlPoints()):
        label = node.GetNthControlPointLabel(number) if node.IsA("vtkMRMLMarkupsFiducialNode") else ""
        points.append(Mark(label, tuple(node.GetNthControlPointPositionWorld(number)), colour))
    return points


def _is_overlay(node: Any) -> bool:
    """Whether a volume is a map of a quantity that is looked at on top of an image."""
    if node.GetAttribute(_DOSE_ATTRIBUTE) or node.GetAttribute(_MAPPING_ATTRIBUTE):
        return True
    return _is_probability(node)


def _heat_range(node: Any, grid: Grid) -> tuple[float, float]:
    if _is_probability(node):
        return 0.0, 1.0
    display = node.GetDisplayNode()
    if display is not None and display.IsA("vtkMRMLScalarVolumeDisplayNode") and not display.GetAutoWindowLevel():
        half = display.GetWindow() / 2
        return display.GetLevel() - half, display.GetLevel() + half
    finite = grid.values[np.isfinite(grid.values)] if grid.values.dtype.kind == "f" else grid.values.ravel()
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return min(low, 0.0), max(high, low + 1e-6)


def _meaning(node: Any) -> str:
    """Return what the values are: quantity and unit, as far as the node says."""
    fractional = node.GetAttribute(_FRACTIONAL_ATTRIBUTE)
    if fractional is not None or _is_probability(node):
        return (fractional or "probability").lower()
    quantity, units = node.GetVoxelValueQuantity(), node.GetVoxelValueUnits()
    unit = units.GetCodeValue() or "" if units is not None else ""
    return " ".join(filter(None, (unit, quantity.GetCodeMeaning() if quantity is not None else "")))


def _source_volume(node: Any) -> Any | None:
    """Return the volume that a segmentation was made on, where the scene knows it."""
    role = node.GetReferenceImageGeometryReferenceRole() if node.IsA("vtkMRMLSegmentationNode") else ""
    source = node.GetNodeReference(role or "referenceImageGeometryRef")
    if source is None or not source.IsA("vtkMRMLScalarVolumeNode") or source.GetImageData() is None:
        return None
    return None if _is_overlay(source) else source


def _is_probability(node: Any) -> bool:
    if node.GetAttribute(_FRACTIONAL_ATTRIBUTE) is not None:
        return True
    image = node.GetImageData()
    if image.GetScalarTypeAsString() not in ("float", "double") or node.GetVoxelValueUnits() is not None:
        return False
    low, high = image.GetScalarRange()
    return low >= 0.0 and high <= 1.0


def _world_matrix(node: Any) -> NDArray[np.float64]:
    """Return what the node's (linear) parent transforms do to its RAS points."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    parent = node.GetParentTransformNode()
    if parent is not None:
        parent.GetMatrixTransformToWorld(matrix)
    return _array_of_matrix(matrix)


def _array_of_matrix(matrix: Any) -> NDArray[np.float64]:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _voxels(image: Any) -> NDArray[Any]:
    """Return the scalars of an image as (slices, rows, columns), of colours with 3 more, without a copy."""
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = vtk_to_numpy(image.GetPointData().GetScalars())
    shape = image.GetDimensions()[::-1]
    if scalars.ndim > 1 and scalars.shape[1] == 3:
        return scalars.reshape(*shape, 3)
    return (scalars if scalars.ndim == 1 else scalars[:, 0]).reshape(shape)


def _grid_of_volume(node: Any) -> Grid:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return Grid(_voxels(node.GetImageData()), _world_matrix(node) @ _array_of_matrix(matrix))


def label_layers(node: Any, hidden: bool = False) -> list[tuple[Grid, list[Region]]]:
    """Return the label layers of a segmentation in world RAS; shared layers once, hidden segments only if asked for."""
    import vtk

    segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
    layers: dict[str, tuple[Grid, list[Region]]] = {}
    for index in range(segmentation.GetNumberOfSegments()):
        identifier = segmentation.GetNthSegmentID(index)
        segment = segmentation.GetSegment(identifier)
        if display is not None and not hidden and not display.GetSegmentVisibility(identifier):
            continue
        image = segment.GetRepresentation("Binary labelmap")
        if image is None:
            continue
        name, label = segment.GetName() or identifier, int(segment.GetLabelValue())
        region = Region(name, label, tuple(segment.GetColor()), node.GetID() or node.GetName() or "", index)
        key = image.GetAddressAsString("vtkOrientedImageData")
        if key not in layers:
            if min(image.GetDimensions()) < 1 or image.GetPointData().GetScalars() is None:
                grid = Grid(np.zeros((1, 1, 1), dtype=np.uint8), np.eye(4))
            else:
                matrix = vtk.vtkMatrix4x4()
                image.GetImageToWorldMatrix(matrix)
                offset = np.eye(4)
                offset[:3, 3] = image.GetExtent()[::2]  # a cropped labelmap's first voxel is not index 0
                grid = Grid(_voxels(image), _world_matrix(node) @ _array_of_matrix(matrix) @ offset)
            layers[key] = (grid, [])
        layers[key][1].append(region)
    return list(layers.values())


def _set_display(subject: Subject, node: Any) -> None:
    """Take window and colours from the display node; without one, the middle 98 % of the values in grey."""
    display = node.GetDisplayNode()
    image = subject.image
    assert image is not None
    if display is not None and display.IsA("vtkMRMLScalarVolumeDisplayNode") and not display.GetAutoWindowLevel():
        half = display.GetWindow() / 2
        subject.window = (display.GetLevel() - half, display.GetLevel() + half)
    else:
        step = max(1, image.values.size // 200_000)
        low, high = np.percentile(image.values.ravel()[::step], [1, 99])
        subject.window = (float(low), float(max(high, low + 1e-6)))
    colours = display.GetColorNode() if display is not None else None
    table = colours.GetLookupTable() if colours is not None else None
    if table is not None and table.GetNumberOfTableValues() > 1:
        place = np.linspace(0, table.GetNumberOfTableValues() - 1, 256).round().astype(int)
        subject.lookup = np.array([[round(c * 255) for c in table.GetTableValue(i)[:3]] for i in place], dtype=np.uint8)


def _region_samples(grid: Grid, regions: list[Region]) -> list[NDArray[np.float64]]:
    flat = grid.values.ravel()
    found = np.flatnonzero(flat)
    labels = flat[found]
    order = np.argsort(labels, kind="stable")
    wanted = [region.label for region in regions]
    starts = np.searchsorted(labels[order], wanted, side="left")
    stops = np.searchsorted(labels[order], wanted, side="right")
    return [voxel_points(grid, found[order[start:stop]]) for start, stop in zip(starts, stops, strict=True)]


def voxel_points(grid: Grid, found: NDArray[np.int64], most: int = 20_000) -> NDArray[np.float64]:
    """Return (3, n) RAS mm of voxels given by their flat index, evenly thinned out to ``most``."""
    found = found[:: -(-len(found) // most) or 1]
    index = np.stack(np.unravel_index(found, grid.values.shape)[::-1])
    return grid.ijk_to_ras[:3, :3] @ index + grid.ijk_to_ras[:3, 3:]
