"""Lists of values as ``vtkMRMLTableNode``: one way for all kinds that have any."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dicombridge.text import node_name, one_line, plain_text

__all__ = ["Column", "add_table", "cell_text", "column_values", "fill_table"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name
        Its header; unique within a table.
    values
        Numbers make a column of numbers, in which None is NaN; anything else makes a column of text, in which None is
        empty. Whole numbers without a None stay whole.
    unit
        Shown with the values, e.g. ``"mm"``.
    description
        One line for a person.
    properties
        What else belongs to the column, e.g. its codes; kept by the node and in its file.
    """

    name: str
    values: Sequence[object]
    unit: str = ""
    description: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


def add_table(scene: Any, name: str, columns: Sequence[Column]) -> Any:
    """Add a ``vtkMRMLTableNode`` with these columns, all of one length; call within a scene transaction."""
    import slicer

    node = slicer.vtkMRMLTableNode()
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    fill_table(node, columns)
    scene.AddNode(node)
    return node


def fill_table(node: Any, columns: Sequence[Column]) -> None:
    """Replace what a table node has by these columns; of two with one name, the later would replace the earlier."""
    names = Counter(plain_text(column.name) for column in columns)
    if len(names) < len(columns):
        raise ValueError(f"Two columns are named {names.most_common(1)[0][0]!r}.")
    lengths = {len(column.values) for column in columns}
    if len(lengths) > 1:
        raise ValueError(f"Columns of {sorted(lengths)} values do not make a table.")
    node.RemoveAllColumns()
    was_modified = node.StartModify()
    for column in columns:
        array = _array(column.values)
        array.SetName(plain_text(column.name))
        node.AddColumn(array)
        name = array.GetName()
        if column.unit:
            node.SetColumnUnitLabel(name, plain_text(column.unit))
        if column.description:
            node.SetColumnDescription(name, plain_text(column.description))
        for key, value in column.properties.items():
            node.SetColumnProperty(name, key, plain_text(value))
    node.SetUseColumnTitleAsColumnHeader(True)
    node.EndModify(was_modified)


def _array(values: Sequence[object]) -> Any:
    from vtkmodules.vtkCommonCore import vtkDoubleArray, vtkIntArray, vtkStringArray

    given = [value for value in values if value is not None]
    numeric = bool(given) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
    whole = numeric and len(given) == len(values) and all(isinstance(value, int) for value in given)
    if whole and all(-(2**31) <= value < 2**31 for value in given):  # type: ignore[operator]
        array: Any = vtkIntArray()
    else:
        array = vtkDoubleArray() if numeric else vtkStringArray()
    array.SetNumberOfValues(len(values))
    for row, value in enumerate(values):
        array.SetValue(row, (math.nan if value is None else value) if numeric else cell_text(value))
    return array


def cell_text(value: object) -> str:
    """Return text as a table's file can hold it: tabs stand between the cells there, and quotes around some.

    Examples
    --------
    >>> cell_text('a "wide" field\\n'), cell_text(None)
    ("a 'wide' field", '')
    """
    return one_line(plain_text(value)).replace('"', "'")


def column_values(node: Any, name: str) -> list[Any] | None:
    """Return the values of a column of a table node, None where there is no such column."""
    array = node.GetTable().GetColumnByName(name) if node.GetTable() is not None else None
    return None if array is None else [array.GetValue(row) for row in range(array.GetNumberOfValues())]
