"""On which images, and on which grid, a segmentation node is exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicombridge.errors import DicomBridgeError, ExportError
from dicombridge.hierarchy import attributes_of_node
from dicombridge.multiframe import read_header
from dicombridge.references import Reference, references_of, series_of_references
from dicombridge.segmentation.nodes import volume_geometry
from dicombridge.shadow import remembered

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.image.series import SourceGrid

__all__ = ["Source", "find_source"]

REFERENCE_ROLE = "referenceImageGeometryRef"


@dataclass
class Source:
    """The images that a segmentation belongs to.

    Attributes
    ----------
    header
        Dataset of one of the images; None if there are none at hand.
    series_instance_uid
        Of the images.
    grid
        Their grid; None if there are none at hand, or if they form none.
    references
        What the segmentation referred to when it was loaded; used where the images are not at hand.
    volume
        The volume node of the reference geometry; also one that is not from DICOM. None if there is none.
    warnings
        Why there is no grid.
    """

    header: Any = None
    series_instance_uid: str = ""
    grid: SourceGrid | None = None
    references: list[Reference] = field(default_factory=list)
    volume: Any = None
    warnings: list[str] = field(default_factory=list)


def find_source(node: Any, database: Database | None, source: Any = None) -> Source:
    """Find the source images of a segmentation node (or volume node).

    Parameters
    ----------
    source
        What the caller says: a Series Instance UID of the database, paths of image files or a folder, a volume node, or
        None. Then the reference geometry node is asked, then what the node was loaded with.

    Raises
    ------
    ExportError
        The caller's source cannot be used.
    """
    found = Source(volume=node.GetNodeReference(REFERENCE_ROLE))
    header = remembered(node)
    if header is not None:
        found.references = references_of(header)
    if source is not None:
        _use_given(found, source, database)
    elif database is not None:
        _use_database(found, _candidates(node, found), database, found.volume)
    return found


def _use_given(found: Source, source: Any, database: Database | None) -> None:
    from dicombridge.database import open_folder

    if hasattr(source, "GetAttribute"):
        found.volume = source
        uids = (source.GetAttribute("DICOM.instanceUIDs") or "").split()
        if uids and database is not None:
            _use_database(found, [Reference(uid) for uid in uids], database, source)
        return
    if isinstance(source, str | Path) and not Path(source).exists():
        if database is None or not database.filesForSeries(str(source)):
            raise ExportError(f"The source {source} is neither a file, a folder nor a series of the database.")
        _use_series(found, str(source), database, None, set())
        return
    paths = [source] if isinstance(source, str | Path) else list(source)
    with open_folder(paths[0]) if len(paths) == 1 else _open_files(paths) as own:
        series = [
            uid
            for patient in own.patients()
            for study in own.studiesForPatient(patient)
            for uid in own.seriesForStudy(study)
        ]
        wanted = {reference.sop_instance_uid for reference in found.references}
        series.sort(key=lambda uid: -len(wanted.intersection(own.instancesForSeries(uid))))
        for uid in series:
            _use_series(found, uid, own, None, wanted)
            if found.grid is not None:
                return
    raise ExportError(f"The source {source} holds no image series with a regular grid. {' '.join(found.warnings)}")


def _open_files(paths: Sequence[Any]) -> Any:
    from dicombridge.database import open_files

    return open_files(paths)


def _candidates(node: Any, found: Source) -> list[Reference]:
    """Return references to the source images, the most telling ones first."""
    uids: list[str] = []
    if found.volume is not None:
        uids += (found.volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    scene = node.GetScene()
    if scene is not None:
        uids += attributes_of_node(scene, node).get("ReferencedInstanceUIDs", [])
    return [Reference(uid) for uid in dict.fromkeys(uids)] + found.references


def _use_database(found: Source, references: list[Reference], database: Database, volume: Any) -> None:
    of_volume = set((volume.GetAttribute("DICOM.instanceUIDs") or "").split()) if volume is not None else set()
    series = series_of_references(references, database)
    # The series of the reference volume is what the user sees the segmentation on.
    first = sorted(series, key=lambda uid: -len(of_volume.intersection(series[uid])))
    for uid in first:
        _use_series(found, uid, database, volume, of_volume or set(series[uid]))
        if found.grid is not None:
            return


def _use_series(found: Source, series_uid: str, database: Database, volume: Any, wanted: set[str]) -> None:
    from dicombridge.geometry import same_grid
    from dicombridge.image.series import series_grids

    files = [file for file in database.filesForSeries(series_uid) if file]
    if not files:
        return
    try:
        found.header = read_header(files[0])
        grids = series_grids(files, database)
    except DicomBridgeError as error:
        found.warnings.append(str(error))
        return
    found.series_instance_uid = series_uid
    grids.sort(key=lambda grid: -len(wanted.intersection(grid.instance_uids)))
    if volume is not None and volume.GetImageData() is not None:
        shown = volume_geometry(volume)
        grids.sort(key=lambda grid: not same_grid(grid.geometry, shown, 0.1))
    if grids:
        found.grid = grids[0]
    else:
        found.warnings.append(f"The images of series {series_uid} form no regular grid.")
