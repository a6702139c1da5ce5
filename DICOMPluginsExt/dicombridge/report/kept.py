"""What markups keep of the measurement groups that they show, as text in their attributes, so that it comes back.

``DICOMBridge.MeasurementGroup`` is JSON::

    {"report": "1.2.3", "groups": {"": {"number": 1, "tracking_identifier": "Lesion 1", ...}}, "regions": [0],
     "name": "Lesion 1"}

Keys of ``groups`` are IDs of control points in a list of points, each of which is a group, and ``""`` in a node that
shows one group. ``regions`` are the numbers of the group's regions that the node shows, from 0. ``name`` is what the
node was called when it was loaded.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dicombridge.codes import Code
from dicombridge.geometry import plausible
from dicombridge.hierarchy import instances_of_node
from dicombridge.report.content import Graphic, InstanceReference
from dicombridge.report.groups import Algorithm, Evaluation, Group, Measurement, Observer, Region, Site, TimePoint
from dicombridge.report.sheets import GROUP_COLUMN, values_of_column

__all__ = [
    "GROUP_ARRAY",
    "GROUP_ATTRIBUTE",
    "GROUP_ROLE",
    "MARKUPS_ROLE",
    "REPORT_ROLE",
    "SHOWN_ATTRIBUTE",
    "WHOLE_NODE",
    "KeptGroups",
    "group_from_values",
    "group_values",
    "kept_groups",
    "kept_text",
    "nodes_of_group",
]

GROUP_ATTRIBUTE = "DICOMBridge.MeasurementGroup"
"""Attribute of markups, models and segmentations: the groups that they show, as JSON."""
GROUP_ARRAY = "Group"
"""Cell array of a model of many regions: number of the group that a cell is of."""
SHOWN_ATTRIBUTE = "DICOMBridge.ShownGroups"
"""Attribute of the table of groups: the numbers of all groups that nodes showed when it was loaded, with blanks."""
REPORT_ROLE = "DICOMBridge.Report"
"""Node reference role: from markups and all else that shows a report to the report's table of groups."""
MARKUPS_ROLE = "DICOMBridge.ReportMarkups"
"""Node reference role: from the table of groups to the nodes that show them."""
GROUP_ROLE = "DICOMBridge.ReportedSegmentation"
"""Node reference role: from the table of groups to segmentations, images and other objects that groups refer to."""
WHOLE_NODE = ""
"""Key of the group of a node that shows one."""


@dataclass(frozen=True)
class KeptGroups:
    """What a node keeps.

    Attributes
    ----------
    report
        SOP Instance UID of the document.
    groups
        By control point ID, or under :data:`WHOLE_NODE`.
    regions
        Numbers of the group's regions that the node shows.
    name
        Of the node, as it was given when it was loaded; empty where that is not known.
    """

    report: str
    groups: dict[str, Group]
    regions: tuple[int, ...] = (0,)
    name: str = ""


def kept_text(kept: KeptGroups) -> str:
    """Return the text of what a node keeps."""
    groups = {key: group_values(group) for key, group in kept.groups.items()}
    values = {"report": kept.report, "groups": groups, "regions": kept.regions, "name": kept.name}
    return json.dumps(values, separators=(",", ":"))


def kept_groups(node: Any) -> KeptGroups | None:
    """Return what a node keeps, None if it keeps nothing or somebody edited it beyond use."""
    try:
        values = json.loads(node.GetAttribute(GROUP_ATTRIBUTE) or "null")
        if not values:
            return None
        groups = {str(key): group_from_values(one) for key, one in values["groups"].items()}
        regions = tuple(int(one) for one in values.get("regions", (0,)))
        return KeptGroups(str(values["report"]), groups, regions, str(values.get("name", "")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def nodes_of_group(table: Any, number: int) -> list[Any]:
    """Return the nodes that show a group of a loaded report: what a row of its table is about.

    Parameters
    ----------
    table
        Main table of the report.
    number
        The row's value in the column ``Group``.

    Returns
    -------
    list of nodes
        Markups and models, among them the one model of a report of many shapes; then the segmentations whose segments
        or structures are the group's region, and the volumes in the real world values that it was measured in.
    """
    shown = [node for node in _referenced(table, MARKUPS_ROLE) if number in _numbers_shown(node)]
    named = _instances_named(table, number)
    return shown + [node for node in _referenced(table, GROUP_ROLE) if named & instances_of_node(node)]


def _referenced(table: Any, role: str) -> list[Any]:
    nodes = [table.GetNthNodeReference(role, place) for place in range(table.GetNumberOfNodeReferences(role))]
    return [node for node in nodes if node is not None]


def _numbers_shown(node: Any) -> set[int]:
    """Return the numbers of the groups that a node keeps, or that the cells of a model are of."""
    kept = kept_groups(node)
    if kept is not None:
        return {group.number for group in kept.groups.values()}
    from vtkmodules.util.numpy_support import vtk_to_numpy

    data = node.GetPolyData() if node.IsA("vtkMRMLModelNode") else None
    array = data.GetCellData().GetArray(GROUP_ARRAY) if data is not None else None
    return set() if array is None else {int(value) for value in np.unique(vtk_to_numpy(array))}


def _instances_named(table: Any, number: int) -> set[str]:
    """Return the SOP Instance UIDs that the row of a group names, but those of its images."""
    numbers = values_of_column(table, GROUP_COLUMN) or []
    rows = [row for row, value in enumerate(numbers) if str(value) == str(number)]
    columns = [values_of_column(table, name) or () for name in ("Segment", "Structure", "Real World Value Map")]
    cells = [str(values[row]) for values in columns for row in rows if values]
    return {part.split()[0] for cell in cells for part in cell.split(";") if part.strip()}


# --- Values <-> JSON -------------------------------------------------------------------------------------------------

_CLASSES: tuple[type, ...] = (
    Algorithm,
    Code,
    Evaluation,
    Graphic,
    InstanceReference,
    Measurement,
    Observer,
    Region,
    Site,
    TimePoint,
)
_BY_NAME: Mapping[str, type] = {one.__name__: one for one in _CLASSES}


def group_values(group: Group) -> dict[str, Any]:
    """Return a group as what JSON can hold."""
    return {field.name: _plain(value) for field in dataclasses.fields(group) if (value := _said(group, field))}


def _said(one: Any, field: Any) -> Any:
    """Return the value of a field, None where it says nothing."""
    value = getattr(one, field.name)
    return None if value is None or (isinstance(value, list | tuple | str) and not value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Code):
        return {"Code": [value.value, value.scheme_designator, value.meaning, value.scheme_version]}
    if isinstance(value, np.ndarray):
        return {"Points": value.tolist()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if dataclasses.is_dataclass(value):
        fields = {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            # What has no default is written even if it is None: without it, nothing could be made of the text again.
            if getattr(value, field.name) is not None or field.default is dataclasses.MISSING
        }
        return {type(value).__name__: fields}
    return value


def group_from_values(values: Mapping[str, Any]) -> Group:
    """Return the group of what :func:`group_values` returned.

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError
        Somebody edited it.
    """
    fields = {field.name: field for field in dataclasses.fields(Group)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        made = _made(value)
        found[name] = list(made) if "list[" in str(fields[name].type) else made
    return Group(**found)


def _made(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_made(one) for one in value)
    if not isinstance(value, dict):
        return value
    (name, content), *_ = value.items()
    if name == "Code":
        return Code(*content)
    if name == "Points":
        points = np.array(content, dtype=np.float64)
        if points.ndim != 2 or not plausible(points):
            raise ValueError("kept points are no positions")
        return points
    return _BY_NAME[name](**{key: _made(one) for key, one in content.items()})
