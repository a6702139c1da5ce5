"""Shapes -> groups that can be written: coordinates as they are stored, codes, measurements."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.annotations.drawn import Drawn
from dicombridge.annotations.groups import Measurement
from dicombridge.annotations.kept import TERMINOLOGY_ATTRIBUTE, KeptGroup
from dicombridge.annotations.outlines import axes_of_outlines, outlines_of_axes
from dicombridge.annotations.placement import Plane, affine_to_slide
from dicombridge.codes import DEFAULT_CATEGORY, DEFAULT_TYPE, Code, code_item, parse_terminology
from dicombridge.colours import cielab_of_rgb
from dicombridge.output.header import of_64_bytes
from dicombridge.output.options import code_option
from dicombridge.shadow import dataset_from_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MEASUREMENTS_ATTRIBUTE", "GroupOptions", "NewGroup", "new_group"]

MEASUREMENTS_ATTRIBUTE = "DICOMBridge.Measurements"
"""Attribute of a new model: codes of its cell arrays, JSON: {"Area": ["42798000^SCT^Area", "um2^UCUM^um2"]}."""
OWN_SCHEME = "99DICOMBRIDGE"
"""Coding scheme of measurements that are only named."""
NO_UNITS = Code("1", "UCUM", "no units")
STEP = 1 << 14
"""Points that are looked at at once."""
SAME_MM = 1e-7
"""Points nearer than this are where they were: a thousandth of the smallest pixel of a slide."""


@dataclass(frozen=True)
class GroupOptions:
    """What the caller says of groups that are new.

    Attributes
    ----------
    measurements
        Name and units of cell arrays, by their name.
    """

    label: str = ""
    category: Code | None = None
    type: Code | None = None
    algorithm_name: str = ""
    algorithm_version: str = ""
    measurements: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class NewGroup:
    """A group to write.

    Attributes
    ----------
    item
        All its elements but the arrays.
    coordinates
        (points, 2 or 3) float32 or float64.
    starts
        (shapes + 1,) number of the first point of each shape.
    """

    item: Dataset
    graphic_type: str
    coordinates: NDArray[Any]
    starts: NDArray[np.int64]
    measurements: list[Measurement]


def new_group(drawn: Drawn, plane: Plane | None, options: GroupOptions, warnings: list[str]) -> NewGroup:
    """Return the group of some shapes.

    Parameters
    ----------
    plane
        In whose pixels coordinates are written; None for slide mm.
    """
    item = _kept_item(drawn) if drawn.kept is not None else _new_item(drawn, options)
    if not item.get("AnnotationGroupNumber"):
        item.AnnotationGroupNumber = 0
    if not item.get("AnnotationGroupUID"):
        item.AnnotationGroupUID = generate_uid()
    coordinates, starts, z = _stored(drawn, plane)
    _say_planes(item, plane, z, drawn.kept)
    if "AnnotationAppliesToAllOpticalPaths" not in item:
        item.AnnotationAppliesToAllOpticalPaths = "YES"
    return NewGroup(item, drawn.graphic_type, coordinates, starts, _measurements(drawn, options, warnings))


# --- Coordinates -----------------------------------------------------------------------------------------------------


def _stored(drawn: Drawn, plane: Plane | None) -> tuple[NDArray[Any], NDArray[np.int64], float | None]:
    """Return coordinates as they are written, where shapes start, and z (mm) of points that are written without it."""
    kept, points, starts = drawn.kept, drawn.points, drawn.starts
    if drawn.graphic_type == "ELLIPSE":
        starts = np.arange(len(starts), dtype=np.int64) * 4
    same = _unmoved(drawn, plane)
    if same is not None and drawn.stored is not None and bool(same.all()):
        coordinates: NDArray[Any] = drawn.stored.astype(np.float64, copy=False)
    else:
        coordinates = _shown(drawn, plane)
        if same is not None and drawn.stored is not None:
            dimensions = drawn.stored.shape[1]
            coordinates = coordinates.copy()
            coordinates[:, :dimensions] = np.where(same[:, None], drawn.stored, coordinates[:, :dimensions])
    z = None
    if plane is None and _is_flat(points, kept):
        z = float(points[0, 2]) if len(points) else kept.z if kept is not None else 0.0
        coordinates = coordinates[:, :2]
    doubles = kept is not None and kept.dtype == "f8"
    singles = coordinates.astype(np.float32)
    exact = not doubles and bool((singles == coordinates).all())
    return (singles if exact else coordinates), starts, z


def _shown(drawn: Drawn, plane: Plane | None) -> NDArray[np.float64]:
    """Return coordinates of shapes where they are now, (points, 2) in pixels or (points, 3) in mm."""
    shown = plane.to_pixels(drawn.points) if plane is not None else drawn.points
    if drawn.graphic_type != "ELLIPSE":
        return shown
    # In pixels, which need not be square, an ellipse has other axes than in mm.
    dimensions = shown.shape[1]
    return axes_of_outlines(shown.reshape(len(drawn.starts) - 1, -1, dimensions)).reshape(-1, dimensions)


def _unmoved(drawn: Drawn, plane: Plane | None) -> NDArray[np.bool_] | None:
    """Return which points are where they were loaded, (points,); None where what is stored says nothing now."""
    kept = drawn.kept
    if kept is None or drawn.stored is None or kept.plane != plane:
        return None
    dimensions = drawn.stored.shape[1]
    affine = affine_to_slide(dimensions, kept.plane, kept.z or 0.0)
    if drawn.graphic_type == "ELLIPSE":
        expected = drawn.stored @ affine[:, :dimensions].T + affine[:, dimensions]
        shapes = len(drawn.starts) - 1
        before = outlines_of_axes(expected.reshape(shapes, 4, 3))
        near = np.abs(before - drawn.points.reshape(before.shape)) < SAME_MM
        return np.asarray(np.repeat(near.all(axis=(1, 2)), 4))
    same = np.empty(len(drawn.points), dtype=bool)
    for begin in range(0, len(same), STEP):  # in parts that stay in the processor's cache
        part = slice(begin, begin + STEP)
        expected = drawn.stored[part] @ affine[:, :dimensions].T + affine[:, dimensions]
        same[part] = (np.abs(expected - drawn.points[part]) < SAME_MM).all(axis=1)
    return same


def _is_flat(points: NDArray[np.float64], kept: KeptGroup | None) -> bool:
    """Whether x and y are written, and z once: new points of one plane, and loaded ones that were so."""
    if kept is not None and kept.z is None and kept.plane is None:
        return False
    return bool(np.ptp(points[:, 2]) < 1e-9) if len(points) else kept is not None


def _say_planes(item: Dataset, plane: Plane | None, z: float | None, kept: KeptGroup | None) -> None:
    """Say which planes of the slide shapes are of (PS3.3 C.37.1.2): as it was, where they are still there."""
    if plane is None and kept is not None and kept.plane is None and z == kept.z:
        return
    for keyword in ("CommonZCoordinateValue", "AnnotationAppliesToAllZPlanes"):
        if keyword in item:
            delattr(item, keyword)
    if plane is not None:
        return  # they are of 3D coordinates alone
    item.AnnotationAppliesToAllZPlanes = "NO"
    if z is not None:
        item.CommonZCoordinateValue = [z]


# --- Descriptions ----------------------------------------------------------------------------------------------------


def _kept_item(drawn: Drawn) -> Dataset:
    """Return what a group was loaded with, and what was edited since: name, codes, colour."""
    kept, node = drawn.kept, drawn.node
    assert kept is not None
    item = dataset_from_text(kept.item) or Dataset()
    if not kept.shapes or node.IsA("vtkMRMLMarkupsFiducialNode"):
        name = str(node.GetName() or "")
        rest = name[len(kept.name) + 1 :] if name.startswith(f"{kept.name}_") else None
        if name != kept.name and not (rest is not None and rest.isdigit()):
            item.AnnotationGroupLabel = of_64_bytes(name)
    if not item.get("AnnotationGroupLabel"):
        item.AnnotationGroupLabel = of_64_bytes(kept.name) or "Annotations"
    _repair(item)
    terminology = node.GetAttribute(TERMINOLOGY_ATTRIBUTE) or ""
    if terminology != kept.terminology:
        _set_codes(item, terminology, None, None)
    colour = _colour(node, bool(kept.shapes))
    if colour and np.abs(np.array(colour) - np.array(kept.colour)).max() > 1e-6:
        item.RecommendedDisplayCIELabValue = cielab_of_rgb(colour)
    return item


def _repair(item: Dataset) -> None:
    """Say what the standard demands and a loaded group does not say."""
    for keyword, code in (
        ("AnnotationPropertyCategoryCodeSequence", DEFAULT_CATEGORY),
        ("AnnotationPropertyTypeCodeSequence", DEFAULT_TYPE),
    ):
        if not item.get(keyword):
            setattr(item, keyword, [code_item(code)])
    if not item.get("AnnotationGroupGenerationType"):
        item.AnnotationGroupGenerationType = "MANUAL"


def _colour(node: Any, is_markups: bool) -> tuple[float, ...]:
    display = node.GetDisplayNode()
    if display is None:
        return ()
    return tuple(display.GetSelectedColor() if is_markups else display.GetColor())


def _new_item(drawn: Drawn, options: GroupOptions) -> Dataset:
    node = drawn.node
    item = Dataset()
    item.AnnotationGroupUID = generate_uid()
    item.AnnotationGroupLabel = of_64_bytes(options.label or str(node.GetName() or "")) or "Annotations"
    item.AnnotationGroupGenerationType = "AUTOMATIC" if options.algorithm_name else "MANUAL"
    if options.algorithm_name:
        item.AnnotationGroupAlgorithmIdentificationSequence = [_algorithm(options)]
    _set_codes(item, node.GetAttribute(TERMINOLOGY_ATTRIBUTE) or "", options.category, options.type)
    colour = _colour(node, node.IsA("vtkMRMLMarkupsNode"))
    if colour:
        item.RecommendedDisplayCIELabValue = cielab_of_rgb(colour)
    return item


def _algorithm(options: GroupOptions) -> Dataset:
    """Return an item of the Algorithm Identification Macro (PS3.3 Table 10-19)."""
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = [code_item(Code("123110", "DCM", "Artificial Intelligence"))]
    item.AlgorithmName = of_64_bytes(options.algorithm_name)
    item.AlgorithmVersion = of_64_bytes(options.algorithm_version) or "unknown"
    return item


def _set_codes(item: Dataset, terminology: str, category: Code | None, kind: Code | None) -> None:
    """Set category, type and site: what the caller says, else what the node's terminology says, else tissue."""
    said = parse_terminology(terminology)
    category = category or (said.category if said is not None else None) or DEFAULT_CATEGORY
    kind = kind or (said.type if said is not None else None) or DEFAULT_TYPE
    item.AnnotationPropertyCategoryCodeSequence = [code_item(category)]
    item.AnnotationPropertyTypeCodeSequence = [code_item(kind)]
    if said is None:
        return
    if said.type_modifier is not None:
        item.AnnotationPropertyTypeCodeSequence[0].AnnotationPropertyTypeModifierCodeSequence = [
            code_item(said.type_modifier)
        ]
    if said.region is not None:
        item.AnatomicRegionSequence = [code_item(said.region)]
        if said.region_modifier is not None:
            item.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [code_item(said.region_modifier)]


# --- Measurements ----------------------------------------------------------------------------------------------------


def _measurements(drawn: Drawn, options: GroupOptions, warnings: list[str]) -> list[Measurement]:
    known = dict(drawn.kept.names) if drawn.kept is not None else {}
    given = _given_codes(drawn.node, options)
    found = []
    order = [name for name in known if name in drawn.values]
    for name in [*order, *(name for name in drawn.values if name not in known)]:
        codes = given.get(name) or known.get(name)
        if codes is None:
            codes = Code(of_64_bytes(name), OWN_SCHEME, of_64_bytes(name)), NO_UNITS
        with np.errstate(over="ignore"):  # what single precision does not hold is no measurement
            values = drawn.values[name].astype(np.float32)
        values = np.where(np.isfinite(values), values, np.float32(np.nan))
        if np.isnan(values).all():
            warnings.append(f"{drawn.node.GetName()!r}: no shape has a value of {name!r}, which was left out.")
        else:
            found.append(Measurement(*codes, values))
    return found


def _given_codes(node: Any, options: GroupOptions) -> dict[str, tuple[Code, Code]]:
    try:
        said = json.loads(node.GetAttribute(MEASUREMENTS_ATTRIBUTE) or "{}")
    except ValueError:
        said = {}
    found = {}
    for name, pair in {**(said if isinstance(said, dict) else {}), **options.measurements}.items():
        name_code, units = pair if isinstance(pair, Sequence) and len(pair) == 2 else (pair, None)
        code = code_option(name_code, f"The name of {name}")
        if code is not None:
            found[name] = (code, code_option(units, f"The units of {name}", "UCUM") or NO_UNITS)
    return found
