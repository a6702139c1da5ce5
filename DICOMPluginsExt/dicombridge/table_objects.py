"""Objects that become tables alone: loaded in one way, whatever they hold.

A room says which tables its objects have (:class:`Table`), mostly as lists of :class:`Field`; all else is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset

from dicombridge.attribute_values import items_of, value_of
from dicombridge.errors import UnreadableError
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.progress import Progress
from dicombridge.tables import Column, add_table
from dicombridge.text import one_line
from dicombridge.tolerance import reading

__all__ = [
    "PLAN_ATTRIBUTE",
    "PLAN_ROLE",
    "TABLE_ROLE",
    "AttributeRow",
    "Chain",
    "Field",
    "Table",
    "attribute_rows",
    "attribute_table",
    "chains",
    "field_columns",
    "load_tables",
    "plan_uids",
    "sequence_table",
]

Chain = tuple[Dataset, ...]
AttributeRow = tuple[str, object, str]

TABLE_ROLE = "DICOMBridge.Table"
"""Node reference role: from the main table of an object to its other tables."""
PLAN_ROLE = "DICOMBridge.RTPlan"
"""Node reference role: from the main table to the node of the plan, where that was loaded before."""
PLAN_ATTRIBUTE = "DICOMBridge.ReferencedRTPlan"
"""Node attribute: SOP Instance UIDs of the plans that the object refers to."""

MOST_ROWS = 500_000
"""Rows of a table; an arc of one fraction has some hundred control points."""
_PLAN_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.481.5", "1.2.840.10008.5.1.4.1.1.481.8"})


@dataclass(frozen=True)
class Field:
    """A column of a table that shows an attribute.

    Attributes
    ----------
    title
        Header of the column.
    keyword
        Of the attribute.
    unit
        As DICOM defines it for the attribute.
    of
        Which dataset of a row's chain (:func:`chains`) has the attribute; the innermost one by default.
    """

    title: str
    keyword: str
    unit: str = ""
    of: int = -1


@dataclass(frozen=True)
class Table:
    """A table to be: what it shows, appended to the object's name, and its columns."""

    title: str
    columns: Sequence[Column]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0].values) if self.columns else 0


# --- Tables --------------------------------------------------------------------------------------------------------


def chains(dataset: Dataset, *keywords: str) -> Iterator[Chain]:
    """Yield the items of nested sequences, each with those around it, e.g. ``(dataset, beam, control point)``."""
    yield from islice(_chains((dataset,), keywords), MOST_ROWS)


def _chains(around: Chain, keywords: tuple[str, ...]) -> Iterator[Chain]:
    if not keywords:
        yield around
        return
    for item in items_of(around[-1], keywords[0]):
        yield from _chains((*around, item), keywords[1:])


def field_columns(rows: Sequence[Chain], fields: Sequence[Field]) -> list[Column]:
    """Return a column for each field that any row has; the first field always has one."""
    columns = []
    for number, field in enumerate(fields):
        values = [value_of(row[field.of], field.keyword) if field.of < len(row) else None for row in rows]
        if number == 0 or any(value is not None for value in values):
            columns.append(Column(field.title, values, field.unit, _attribute_name(field.keyword)))
    return columns


def sequence_table(title: str, dataset: Dataset, keywords: Sequence[str], fields: Sequence[Field]) -> Table:
    """Return the table of the items of nested sequences (:func:`chains`), an item a row."""
    return Table(title, field_columns(list(chains(dataset, *keywords)), fields))


def attribute_rows(dataset: Dataset, fields: Sequence[Field]) -> list[AttributeRow]:
    """Return title, value and unit of the fields that a dataset has a value for."""
    values = [(field.title, value_of(dataset, field.keyword), field.unit) for field in fields]
    return [row for row in values if row[1] is not None]


def attribute_table(title: str, rows: Sequence[AttributeRow]) -> Table:
    """Return a table with an attribute a row; its values are text, because a column holds either numbers or text."""
    columns = [
        Column("Attribute", [row[0] for row in rows]),
        Column("Value", ["" if row[1] is None else one_line(str(row[1])) for row in rows]),
    ]
    if any(row[2] for row in rows):
        columns.append(Column("Unit", [row[2] for row in rows]))
    return Table(title, columns)


def _attribute_name(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    return dictionary_description(tag) if tag is not None else ""


def plan_uids(header: Dataset) -> list[str]:
    """Return the SOP Instance UIDs of the plans that an object refers to, the ones named as its plan first."""
    from dicombridge.references import references_of

    found: dict[str, None] = {}
    for item in items_of(header, "ReferencedRTPlanSequence"):
        uid = value_of(item, "ReferencedSOPInstanceUID")
        if uid:
            found[str(uid)] = None
    for reference in references_of(header):
        if reference.sop_class_uid in _PLAN_CLASSES and reference.sop_instance_uid:
            found[reference.sop_instance_uid] = None
    return list(found)


# --- Load ----------------------------------------------------------------------------------------------------------


def load_tables(
    loadable: Loadable,
    scene: Any,
    progress: Progress | None,
    read: Callable[[Dataset], list[Table]],
) -> list[Any]:
    """Load an object as table nodes, the first one and those that have rows.

    Parameters
    ----------
    loadable
        Of one file.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    progress
        Called with a fraction (0 to 1) and a message.
    read
        Given the header, returns the tables.

    Raises
    ------
    UnreadableError
        The file is damaged.
    """
    from dicombridge.scene import transaction

    tell = progress or (lambda _fraction, _message: None)
    header, tables, references = _read(loadable, read)
    tell(0.5, f"{len(tables)} tables")
    with transaction(scene):
        nodes = []
        for number, table in enumerate(tables, start=1):
            name = loadable.name if number == 1 else f"{loadable.name} - {table.title}"
            nodes.append(add_table(scene, name, table.columns))
            tell(0.5 + 0.4 * number / len(tables), f"Table {table.title}")
        _describe(scene, nodes, header, references)
        tell(1.0, "Described")
    return nodes


def _read(loadable: Loadable, read: Callable[[Dataset], list[Table]]) -> tuple[Dataset, list[Table], list[str]]:
    """Return the header, the first table and those with rows, and the UIDs of all references, the plans first."""
    from dicombridge.references import references_of

    with reading(loadable.files[0]):
        header = _whole_header(loadable)
        tables = [table for number, table in enumerate(read(header)) if number == 0 or table.rows]
        uids = [reference.sop_instance_uid for reference in references_of(header) if reference.sop_instance_uid]
        return header, tables, list(dict.fromkeys([*plan_uids(header), *uids]))


def _whole_header(loadable: Loadable) -> Dataset:
    from dicombridge.multiframe import open_multiframe

    file = loadable.files[0]
    with open_multiframe(file) as opened:
        header: Dataset = opened.header
    sop_class = str(header.get("SOPClassUID") or "")
    if sop_class not in kind_named(loadable.kind).sop_classes:
        raise UnreadableError(file, f"holds another object than before ({sop_class}); examine the series again.")
    if not header.get("SOPInstanceUID"):
        raise UnreadableError(file, "has no SOP Instance UID, so nothing can refer to it.")
    return header


def _describe(scene: Any, nodes: Sequence[Any], header: Dataset, references: list[str]) -> None:
    """Say where the tables come from: in the subject hierarchy, as attributes, as references between nodes."""
    import slicer

    from dicombridge import hierarchy, shadow

    attributes = hierarchy.attributes_of_dataset(header)
    plans = plan_uids(header)
    attributes["ReferencedInstanceUIDs"] = references
    main = nodes[0]
    plan_node = next((node for uid in plans if (node := hierarchy.node_of_instance(scene, uid)) is not None), None)
    item = hierarchy.add_series(scene, main, attributes)
    shadow.remember(main, header)
    subject_hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for node in nodes:
        node.SetAttribute("DICOM.instanceUIDs", " ".join(attributes["SOPInstanceUIDs"]))
        if plans:
            node.SetAttribute(PLAN_ATTRIBUTE, " ".join(plans))
        if node is not main:
            subject_hierarchy.CreateItem(subject_hierarchy.GetItemParent(item), node)
            main.AddNodeReferenceID(TABLE_ROLE, node.GetID())
    if plan_node is not None:
        main.SetNodeReferenceID(PLAN_ROLE, plan_node.GetID())
