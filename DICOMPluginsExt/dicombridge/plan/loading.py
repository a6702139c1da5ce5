"""From files to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.hierarchy import attributes_of_dataset
from dicombridge.kinds import kind_named
from dicombridge.multiframe import MultiFrame, open_multiframe
from dicombridge.plan.contents import MOST_SPOTS, sheets_of
from dicombridge.plan.kept import kept_text
from dicombridge.plan.nodes import PlanNodes
from dicombridge.plan.reading import read_plan
from dicombridge.plan.shapes import BeamShape, beam_shape
from dicombridge.plan.slicerrt import add_slicerrt_plan
from dicombridge.plan.values import Beam, Plan
from dicombridge.progress import Progress, silent
from dicombridge.references import references_of_file
from dicombridge.scene import transaction
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    beam_models: bool = True,
    scan_spots: bool = True,
) -> list[Any]:
    """Load an RT Plan or an RT Ion Plan into a scene.

    Parameters
    ----------
    loadable
        One file.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Not needed: a plan has all that its nodes show.
    progress
        Called with a fraction (0 to 1) and a message.
    beam_models
        Also make a model of each beam.
    scan_spots
        Also make the table of the scan spots of ion beams.

    Returns
    -------
    list of nodes
        Tables first, of them the summary of the beams (or of the channels of a brachytherapy plan) as the main node;
        then the isocentres and the dwell positions as ``vtkMRMLMarkupsFiducialNode``, and a ``vtkMRMLModelNode`` of
        each beam.

    Raises
    ------
    DicomBridgeError
        The file is damaged or no plan.
    """
    tell = progress or silent
    file = loadable.files[0]
    tell(0.0, "Reading the plan")
    with reading(file), open_multiframe(file, pixels=False) as opened:
        _check(file, opened)
        plan = read_plan(opened.header)
        text = kept_text(opened)
        attributes = attributes_of_dataset(opened.header)
        attributes["ReferencedInstanceUIDs"] = [
            reference.sop_instance_uid for reference in references_of_file(opened) if reference.sop_instance_uid
        ]
        tell(0.3, "Making tables")
        sheets = [sheet for sheet in sheets_of(plan) if scan_spots or sheet.key != "spots"]
        tell(0.5, "Placing the beams")
        shapes = _shapes(plan) if beam_models else []
    _warn(file, plan, shapes)
    with transaction(scene):
        result = PlanNodes(scene, loadable.name, attributes)
        for number, sheet in enumerate(sheets):
            result.add_sheet(sheet)
            tell(0.6 + 0.2 * number / len(sheets), f"Table of {sheet.title}")
        result.describe(plan, text)
        result.add_isocentres(plan.beams)
        result.add_dwells(plan)
        tell(0.8, "Making models of the beams")
        result.add_models(shapes)
        try:
            add_slicerrt_plan(scene, result.name, plan, shapes)
        except (AttributeError, TypeError) as error:  # another version of SlicerRT; the plan is complete without it
            _log.warning("%s: SlicerRT's own nodes of the plan could not be made: %s", file, error)
        tell(1.0, "Loaded")
    return result.nodes


def _check(file: str, opened: MultiFrame) -> None:
    """Refuse what is no plan, and a plan of which a part is missing.

    Raises
    ------
    DicomBridgeError
        Says which of the two.
    """
    sop_class = str(opened.header.get("SOPClassUID") or "")
    if sop_class not in kind_named("RTPLAN").sop_classes:
        raise UnsupportedError(f"{file}: is no RT plan; its SOP class is {sop_class}.")
    if not opened.top_level()[1].complete:
        raise UnreadableError(file, "is cut short: its last element ends beyond the end of the file.")


def _shapes(plan: Plan) -> list[tuple[int, Beam, BeamShape]]:
    found = []
    for place, beam in enumerate(plan.beams):
        shape = beam_shape(beam, plan.accessories)
        if shape is not None:
            found.append((place, beam, shape))
    return found


def _warn(file: str, plan: Plan, shapes: list[tuple[int, Beam, BeamShape]]) -> None:
    """Log what was left out or assumed."""
    for problem in plan.problems:
        _log.warning("%s: %s", file, problem)
    for _, beam, shape in shapes:
        for assumption in shape.assumptions:
            _log.warning("%s: of beam %s, %s.", file, beam.name or beam.number, assumption)
    spots = sum(len(point.spots.x) for beam in plan.beams for point in beam.control_points if point.spots is not None)
    if spots > MOST_SPOTS:
        _log.warning("%s: of its %d scan spots, the table shows the first %d.", file, spots, MOST_SPOTS)
