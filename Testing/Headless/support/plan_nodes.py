"""Nodes of a loaded plan, as tests look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dicombridge
from dicombridge.tables import column_values
from support.rt_plans import written_plan


def loaded(folder: Path, dataset: Any, scene: Any, **options: Any) -> dict[str, Any]:
    """Nodes of a plan by what they are; models are lists."""
    nodes = dicombridge.load(written_plan(folder / "plan.dcm", dataset), scene=scene, **options)
    return by_part(nodes)


def by_part(nodes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in nodes:
        part = node.GetAttribute("DICOMBridge.PlanPart")
        if node.IsA("vtkMRMLModelNode"):
            found.setdefault(part, []).append(node)
        else:
            found[part] = node
    return found


def row(table: Any, number: int = 0) -> dict[str, Any]:
    names = [table.GetColumnName(place) for place in range(table.GetNumberOfColumns())]
    return {name: (column_values(table, name) or [])[number] for name in names}


def only(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}


def set_cell(table: Any, column: str, row_number: int, value: Any) -> None:
    """Edit a cell, as a person would in a table view."""
    array = table.GetTable().GetColumnByName(column)
    array.SetValue(row_number, value)
    table.GetTable().Modified()
