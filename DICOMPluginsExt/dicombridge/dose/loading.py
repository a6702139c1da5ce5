"""From files to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dicombridge.dose.dvh import Histogram, Roi, histograms_of, rois_of
from dicombridge.dose.histograms import add_histograms
from dicombridge.dose.nodes import add_dose, mark_study, scaling_text
from dicombridge.dose.reading import DoseFile, open_dose
from dicombridge.dose.values import codes_text, text_value
from dicombridge.hierarchy import add_series, attributes_of_dataset
from dicombridge.progress import Progress, silent
from dicombridge.references import references_of
from dicombridge.scene import transaction
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)

DVH_ROLE = "dvhTable"
"""Node reference of a dose to the tables of its histograms."""
STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    even: bool = False,
    dose_grid_scaling: float | None = None,
) -> list[Any]:
    """Load an RT Dose into a scene.

    Parameters
    ----------
    loadable
        One RT Dose file, or single-frame files that are the planes of one dose.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where the structure set is looked up, whose names and colours the histograms then have; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    even
        Resample planes that are not evenly spaced linearly to even spacing. By default they become one volume for each
        evenly spaced run, in which every dose is as it was stored.
    dose_grid_scaling
        Gy (or relative dose) of one stored unit, in place of the object's, where that is missing or wrong.

    Returns
    -------
    list of nodes
        ``vtkMRMLScalarVolumeNode`` of doses in the units of the object (float32, whose relative error is at most 6e-8;
        float64 where stored numbers are beyond 2**23), then, where it has histograms, a ``vtkMRMLTableNode`` of the
        curves, one of their figures, and ``vtkMRMLPlotChartNode`` with its ``vtkMRMLPlotSeriesNode`` s.

    Raises
    ------
    DicomBridgeError
        The file is damaged, its numbers have no meaning, or it cannot be placed in space.
    """
    path = loadable.files[0]
    files = loadable.files
    tell = progress or silent
    tell(0.0, "Reading the dose")
    with reading(path):
        dose = open_dose(files, lambda fraction, message: tell(0.8 * fraction, message), even, dose_grid_scaling)
        histograms, warnings = histograms_of(next((one for one in dose.headers if "DVHSequence" in one), dose.header))
        dose.warnings += warnings
        references = [one for one in references_of(dose.header) if one.sop_instance_uid]
        structure_sets = [one.sop_instance_uid for one in references if one.sop_class_uid == STRUCTURE_SET_STORAGE]
        rois = rois_of(structure_sets, database) if histograms else {}
        attributes = attributes_of_dataset(dose.header)
        attributes["SOPInstanceUIDs"] = [text_value(header, "SOPInstanceUID") for header in dose.headers]
        attributes["ReferencedInstanceUIDs"] = [one.sop_instance_uid for one in references]
    for warning in dose.warnings:
        _log.warning("%s: %s", path, warning)
    with transaction(scene):
        tell(0.85, "Adding the dose")
        nodes, items = _add_doses(scene, loadable.name, dose, attributes)
        if histograms:
            tell(0.9, "Adding the histograms")
            nodes += _add_histograms(scene, loadable.name, dose, (histograms, rois), nodes, items, attributes)
        tell(1.0, "Loaded")
        if items:
            _mark_study(scene, items[0], dose)
    return nodes


def _add_doses(scene: Any, name: str, dose: DoseFile, attributes: dict[str, Any]) -> tuple[list[Any], list[int]]:
    nodes, items = [], []
    for number, grid in enumerate(dose.grids, start=1):
        label = name if len(dose.grids) == 1 else f"{name} (planes {number})"
        node = add_dose(scene, label, dose, grid)
        nodes.append(node)
        items.append(add_series(scene, node, attributes))
    return nodes, items


def _add_histograms(
    scene: Any,
    name: str,
    dose: DoseFile,
    curves: tuple[list[Histogram], dict[int, Roi]],
    doses: list[Any],
    items: list[int],
    attributes: dict[str, Any],
) -> list[Any]:
    """Add the histograms below the dose in the subject hierarchy; an object of histograms alone is its own series."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = add_histograms(scene, name, *curves)
    if not items:
        items = [add_series(scene, nodes[0], attributes)]
        nodes[0].SetAttribute(HEADER_ATTRIBUTE, dose.shadow)
        nodes[0].SetAttribute("DICOM.instanceUIDs", " ".join(attributes["SOPInstanceUIDs"]))
    for node in nodes:
        if node is not nodes[0] or doses:
            hierarchy.CreateItem(items[0], node)
    for table in nodes[:2]:
        for one in doses:
            one.AddNodeReferenceID(DVH_ROLE, table.GetID())
    return nodes


def _mark_study(scene: Any, item: int, dose: DoseFile) -> None:
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    mark_study(hierarchy, item, codes_text(dose.header, "DoseUnits"), scaling_text(dose))
