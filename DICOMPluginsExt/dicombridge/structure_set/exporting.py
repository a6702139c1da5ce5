"""From nodes to structure sets: the export half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicombridge.errors import ExportError
from dicombridge.output.files import Job, write_file, write_together
from dicombridge.output.header import split_options
from dicombridge.output.options import grid_option
from dicombridge.part10 import IMPLICIT_VR_LITTLE_ENDIAN
from dicombridge.progress import Progress
from dicombridge.shadow import remembered
from dicombridge.structure_set.contents import contents_of
from dicombridge.structure_set.drawn import MARKUPS
from dicombridge.structure_set.encoding import ROI_CONTOUR_SEQUENCE, roi_contour_sequence
from dicombridge.structure_set.header import RT_STRUCTURE_SET_STORAGE, structure_set_header
from dicombridge.structure_set.profiles import Profile, profile_named
from dicombridge.structure_set.tracing import Style

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["Settings", "export"]

_log = logging.getLogger(__name__)

OWN_OPTIONS = ("contours", "holes", "tolerance_mm", "profile", "source", "grid")
"""Options of :func:`export` that are not DICOM keywords."""
NOT_OPTIONS = (
    "Modality",
    "ROIContourSequence",
    "RTROIObservationsSequence",
    "ReferencedFrameOfReferenceSequence",
    "StructureSetROISequence",
)
CONTOURS = ("smooth", "pixel")
HOLES = ("keyhole", "xor")


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write nodes as RT structure sets, one for each segmentation.

    Parameters
    ----------
    nodes
        ``vtkMRMLSegmentationNode`` of any source representation; each of its segments becomes a region of interest.
        ``vtkMRMLMarkupsFiducialNode``, lines, curves and closed surfaces (``vtkMRMLModelNode``) become further regions
        of the first structure set, or of that with which they were loaded. Volumes are passed over.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where the source images are looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    contours : {"smooth", "pixel"}
        Smooth contours, which is what planning systems show and edit, or the exact outlines of pixels. The centres of
        the same pixels lie within both. Regions that were loaded and not edited keep the contours that they came with,
        to the byte, unless this, ``holes`` or ``tolerance_mm`` is given.
    holes : {"keyhole", "xor"}
        A hole as part of the contour around it, which every reader understands, or as a contour of its own, with type
        CLOSEDPLANAR_XOR for all contours of that region.
    tolerance_mm
        How far a contour may leave its path so that it has fewer points; 0 leaves out points on straight lines alone.
        By default as much as keeps the centres of all pixels where they are: 0.07 of a pixel for smooth contours, 0 for
        outlines of pixels. A larger one may move centres across contours.
    profile : {None, "eclipse", "mim", "monaco", "raystation"}
        What the planning system is known to insist on (:mod:`~dicombridge.structure_set.profiles`).
    source
        A Series Instance UID of the database, paths of image files or a folder, or a volume node; found from the node
        where it is not given. Without any source, the object has a frame of reference of its own and names no images.
    grid : {None, "source", "own"}
        In whose slices contours lie: by default those of the images, and further ones where labels lie beyond.
    **options
        Attributes of the new object by DICOM keyword, e.g. ``ApprovalStatus="APPROVED"``; the last word.

    Returns
    -------
    list of Path

    Raises
    ------
    ExportError
        The nodes cannot be written as asked; nothing was written.
    """
    own, keywords = split_options(options, OWN_OPTIONS, NOT_OPTIONS)
    settings = _settings(own)
    jobs = _jobs(nodes)
    return write_together(directory, [_job(group, database, settings, keywords) for group in jobs], progress)


@dataclass(frozen=True)
class Settings:
    """The options of an export, checked; ``anew``: whether also unedited regions get new contours."""

    style: Style
    profile: Profile
    source: Any
    grid: str | None
    anew: bool


def _settings(own: Mapping[str, Any]) -> Settings:
    profile = profile_named(own.get("profile"))
    contours = str(own.get("contours") or "smooth").lower()
    holes = str(own.get("holes") or profile.holes or "keyhole").lower()
    grid = grid_option(own.get("grid") or profile.grid)
    if contours not in CONTOURS:
        raise ExportError(f"contours is 'smooth' or 'pixel', not {own['contours']!r}.")
    if holes not in HOLES:
        raise ExportError(f"holes is 'keyhole' or 'xor', not {own['holes']!r}.")
    for name, value, wanted in (("holes", holes, profile.holes), ("grid", grid, profile.grid)):
        if wanted is not None and value != wanted:
            told = f"{name}={value!r} is not what {profile.title} is known to read"
            raise ExportError(f"{told}; leave out {name} or the profile.")
    style = Style(contours, holes, _tolerance(own.get("tolerance_mm")))
    anew = any(own.get(name) not in (None, "") for name in ("contours", "holes", "tolerance_mm"))
    return Settings(style, profile, own.get("source"), grid, anew)


def _tolerance(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        tolerance = float(value)
    except (TypeError, ValueError):
        tolerance = -1.0
    if not 0 <= tolerance <= 10:
        raise ExportError(f"tolerance_mm is a length from 0 to 10 mm, not {value!r}.")
    return tolerance


def _jobs(nodes: Sequence[Any]) -> list[list[Any]]:
    """Return the nodes of each structure set, the segmentation first."""
    segmentations = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    others = [node for node in nodes if any(node.IsA(name) for name in (*MARKUPS, "vtkMRMLModelNode"))]
    volumes = [node for node in nodes if node.IsA("vtkMRMLVolumeNode")]
    for node in nodes:
        if node not in segmentations and node not in others and node not in volumes:
            raise ExportError(f"A {node.GetClassName()} cannot be exported as a structure set.")
    if not segmentations and not others:
        raise ExportError("There is no segmentation, markups or model node to export as a structure set.")
    groups: list[list[Any]] = []
    by_origin: dict[str, list[Any]] = {}
    for node in segmentations:
        # A structure set on several image series is several segmentations.
        loaded_from = _loaded_from(node)
        group = by_origin.get(loaded_from) if loaded_from else None
        if group is None:
            group = by_origin[loaded_from] = []
            groups.append(group)
        group.append(node)
    groups = groups or [[]]
    for node in others:
        by_origin.get(_loaded_from(node) or "none", groups[0]).append(node)
    return groups


def _loaded_from(node: Any) -> str:
    """Return the SOP Instance UID of the structure set that a node was loaded from."""
    kept = remembered(node)
    is_set = kept is not None and kept.get("SOPClassUID") == RT_STRUCTURE_SET_STORAGE
    return str(kept.get("SOPInstanceUID") or "") if kept is not None and is_set else ""


def _job(group: Sequence[Any], database: Database | None, settings: Settings, keywords: Mapping[str, Any]) -> Job:
    """Return what prepares one file."""

    def prepare(tell: Progress | None) -> tuple[str, Callable[[Path], None]]:
        contents = contents_of(group, database, settings, tell)
        dataset = structure_set_header(contents, keywords)
        encoded = roi_contour_sequence(item for region in contents.regions for item in region.contour_items())
        for warning in dict.fromkeys(contents.warnings):
            _log.warning("%s", warning)

        def write(path: Path) -> None:
            if tell is not None:
                tell(0.95, "Writing")
            write_file(path, dataset, IMPLICIT_VR_LITTLE_ENDIAN, encoded={ROI_CONTOUR_SEQUENCE: encoded})

        return f"RTSTRUCT_{dataset.SOPInstanceUID}.dcm", write

    return prepare
