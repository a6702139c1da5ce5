"""What a node keeps of its annotation group, as text in its attributes, so that it comes back on export.

``DICOMBridge.AnnotationGroup`` is JSON::

    {"object": "1.2.3", "item": "explicit;...", "graphic_type": "POLYGON", "coordinate_type": "2D", "dtype": "f4",
     "z": null, "plane": {"matrix": {...}, "sop_instance_uid": "1.2.4", ...}, "names": {"Area": [[...], [...]]},
     "name": "Nuclei", "colour": [1, 0, 0], "terminology": "...", "shapes": {}}

``item`` is the item of the Annotation Group Sequence without its arrays. Coordinates as they were stored are arrays of
a model (:data:`COORDINATES_ARRAY`); of markups, which are few, they are in ``shapes``: by ID of the control point in
a list of points, and under ``""`` in a node that is one shape.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from dicombridge.annotations.placement import Plane, plane_from_values, plane_values
from dicombridge.codes import Code

__all__ = [
    "ANNOTATION_ARRAY",
    "COORDINATES_ARRAY",
    "GROUP_ARRAY",
    "GROUP_ATTRIBUTE",
    "OWN_ARRAYS",
    "TERMINOLOGY_ATTRIBUTE",
    "WHOLE_NODE",
    "KeptGroup",
    "KeptShape",
    "kept_group",
    "kept_text",
]

GROUP_ATTRIBUTE = "DICOMBridge.AnnotationGroup"
"""Attribute of models and markups: the group that they show, as JSON."""
TERMINOLOGY_ATTRIBUTE = "Terminologies.TerminologyEntry"
"""Attribute of markups and models that Slicer's terminology widgets read: category, type and anatomic region."""
ANNOTATION_ARRAY = "Annotation"
"""Cell array of a model: number of the annotation in its group, from 1."""
GROUP_ARRAY = "Group"
"""Cell array of a model: number of the group, which tells shapes apart when models are put together."""
COORDINATES_ARRAY = "DICOM.Coordinates"
"""Point array of a model (of ellipses: cell array): stored coordinates, where points do not say the same."""
OWN_ARRAYS = (ANNOTATION_ARRAY, GROUP_ARRAY, COORDINATES_ARRAY)
"""Names that no measurement has."""
WHOLE_NODE = ""
"""Key of the shape of a node that is one."""


@dataclass(frozen=True)
class KeptShape:
    """A shape that is a markup.

    Attributes
    ----------
    index
        Number of the annotation in its group, from 1.
    coordinates
        As they were stored.
    values
        Measured values by array name.
    """

    index: int
    coordinates: list[list[float]]
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptGroup:
    """What a node keeps.

    Attributes
    ----------
    object
        SOP Instance UID of the annotations.
    item
        The group without its arrays (:mod:`dicombridge.shadow`).
    dtype
        ``"f4"`` or ``"f8"``: precision of its coordinates.
    z
        mm: of points that are stored as x and y; None for others.
    plane
        Of 2D coordinates; None for 3D ones.
    names
        Name and units of measurements, by the name of their array.
    name, colour, terminology
        As the node got them: what is different now was edited.
    shapes
        Of markups.
    """

    object: str
    item: str
    graphic_type: str
    dtype: str
    z: float | None = None
    plane: Plane | None = None
    names: dict[str, tuple[Code, Code]] = field(default_factory=dict)
    name: str = ""
    colour: tuple[float, ...] = ()
    terminology: str = ""
    shapes: dict[str, KeptShape] = field(default_factory=dict)

    @property
    def coordinate_type(self) -> str:
        """``"2D"`` or ``"3D"``."""
        return "3D" if self.plane is None else "2D"


def kept_text(kept: KeptGroup) -> str:
    """Return the text of what a node keeps."""
    values = {one.name: getattr(kept, one.name) for one in dataclasses.fields(kept)}
    values["plane"] = None if kept.plane is None else plane_values(kept.plane)
    values["names"] = {name: [list(code) for code in codes] for name, codes in kept.names.items()}
    values["shapes"] = {key: dataclasses.asdict(shape) for key, shape in kept.shapes.items()}
    return json.dumps(values, separators=(",", ":"))


def kept_group(node: Any) -> KeptGroup | None:
    """Return what a node keeps, None if it keeps nothing or somebody edited it beyond use."""
    try:
        values = json.loads(node.GetAttribute(GROUP_ATTRIBUTE) or "null")
        if not values:
            return None
        values["plane"] = None if values["plane"] is None else plane_from_values(values["plane"])
        values["names"] = {name: (Code(*one), Code(*other)) for name, (one, other) in values["names"].items()}
        values["shapes"] = {str(key): KeptShape(**shape) for key, shape in values["shapes"].items()}
        values["colour"] = tuple(float(value) for value in values["colour"])
        return KeptGroup(**values)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None
