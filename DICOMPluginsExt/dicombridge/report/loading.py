"""From a file to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.hierarchy import add_series, attributes_of_dataset
from dicombridge.links import link_instances
from dicombridge.progress import Progress, silent
from dicombridge.references import instances_needed
from dicombridge.report.kept import GROUP_ROLE, MARKUPS_ROLE, REPORT_ROLE, SHOWN_ATTRIBUTE
from dicombridge.report.nodes import Shape, add_shapes, shapes_of
from dicombridge.report.readable import content_columns, outline_of
from dicombridge.report.reading import Report, read_report
from dicombridge.report.recognizing import all_references
from dicombridge.report.sheets import group_columns
from dicombridge.scene import transaction
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.tables import add_table
from dicombridge.text import node_name, plain_text
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)

MOST_MARKUPS = 1000
"""Shapes of a document that are markups of their own; a scene with more of them is hard to work in."""


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    most_markups: int = MOST_MARKUPS,
) -> list[Any]:
    """Load a structured report into a scene (PS3.3 A.35, C.17.3).

    Parameters
    ----------
    loadable
        One file.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where images are looked up, in which regions lie; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    most_markups
        Of more shapes, all points are one list, and all else is one model.

    Returns
    -------
    list of nodes
        Of a document with measurement groups or geometry, first a ``vtkMRMLTableNode`` with a row a group and a column
        a measurement; then, of every document, a table with a row a content item and a ``vtkMRMLTextNode`` that can be
        read; then markups (:mod:`~dicombridge.report.drawings`), which keep in the attribute
        ``DICOMBridge.MeasurementGroup`` what the document says of them, and whose number there is that of their row.
        All are in a folder below the study. The first node refers to the nodes of what groups name (segmentations,
        structure sets, real world value maps, images), also to those that are loaded later.
        Regions whose image is missing are listed, not shown, which is logged.

    Raises
    ------
    UnreadableError
        The file is damaged or no structured report.
    """
    tell = progress or silent
    tell(0.0, "Reading the report")
    with reading(loadable.files[0]):
        report = read_report(loadable.files[0], loadable.kind, database)
        shapes = shapes_of(report.groups, loadable.name, most_markups)
        referenced = instances_needed(report.references, database)
    for warning in report.warnings:
        _log.warning("%s: %s", report.path, warning)
    tell(0.5, f"{len(report.groups)} groups, {len(shapes)} shapes")
    uid = str(report.header.get("SOPInstanceUID") or "")
    with transaction(scene):
        documents = _add_documents(scene, loadable.name, report)
        tell(0.6, "Adding markups")
        markups = add_shapes(scene, shapes, uid, loadable.name, most_markups) if shapes else []
        tell(0.8, "Describing")
        nodes = [*documents, *markups]
        _link(nodes, markups, report)
        _tell_shown(nodes[0], shapes)
        _arrange(scene, nodes, loadable.name, report, referenced)
        tell(1.0, "Loaded")
    return nodes


def _add_documents(scene: Any, name: str, report: Report) -> list[Any]:
    """Add the tables and the text, the main one first."""
    import slicer

    nodes = []
    if report.groups:
        nodes.append(add_table(scene, name, group_columns(report.groups)))
    title = f"{name} - Content" if report.groups else name
    nodes.append(add_table(scene, title, content_columns(report.root)))
    text = slicer.vtkMRMLTextNode()
    text.SetName(scene.GenerateUniqueName(node_name(f"{name} - Text")))
    text.SetText(plain_text(outline_of(report.root, "")))
    scene.AddNode(text)
    nodes.append(text)
    return nodes


def _link(nodes: list[Any], markups: list[Any], report: Report) -> None:
    """Let nodes refer to each other: all to the main table, and it to markups and to what groups name, now or later."""
    main = nodes[0]
    for node in nodes[1:]:
        node.SetNodeReferenceID(REPORT_ROLE, main.GetID())
    for node in markups:
        main.AddNodeReferenceID(MARKUPS_ROLE, node.GetID())
    link_instances(main, GROUP_ROLE, (one.sop_instance_uid for one in all_references(report.groups)))


def _tell_shown(main: Any, shapes: Sequence[Shape]) -> None:
    """Keep which groups nodes show, so that what somebody deleted later is told from what was never shown."""
    numbers = sorted({group.number for shape in shapes for group in shape.groups})
    main.SetAttribute(SHOWN_ATTRIBUTE, " ".join(map(str, numbers)))


def _arrange(scene: Any, nodes: list[Any], name: str, report: Report, referenced: list[str]) -> None:
    """Keep on the nodes what DICOM knew, and put them into a folder below the study."""
    import slicer

    main = nodes[0]
    uid = str(report.header.get("SOPInstanceUID") or "")
    main.SetAttribute(HEADER_ATTRIBUTE, report.shadow)
    attributes = attributes_of_dataset(report.header)
    attributes["SOPInstanceUIDs"] = [uid]
    attributes["ReferencedInstanceUIDs"] = referenced
    item = add_series(scene, main, attributes)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetItemParent(item), node_name(name))
    hierarchy.SetItemParent(item, folder)
    for node in nodes:
        node.SetAttribute("DICOM.instanceUIDs", uid)
        if node is not main:
            hierarchy.SetItemParent(hierarchy.CreateItem(folder, node), folder)
