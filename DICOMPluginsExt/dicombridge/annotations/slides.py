"""The slide image that annotations are written for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicombridge.annotations.kept import KeptGroup
from dicombridge.annotations.placement import Plane
from dicombridge.errors import DicomBridgeError, ExportError, GeometryError
from dicombridge.fiducials.positions import reference_volume
from dicombridge.multiframe import read_header
from dicombridge.references import Reference, references_of
from dicombridge.shadow import remembered
from dicombridge.slide.pixel_matrix import pixel_matrix_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.database import Database

__all__ = ["Slide", "find_slide", "shown_on"]

REFERENCE_ROLE = "referenceImageGeometryRef"


@dataclass(eq=False)
class Slide:
    """The image that was annotated.

    Attributes
    ----------
    header
        Of the image; None where it is not at hand.
    plane
        Where its pixels lie; None where that is not known.
    volume
        The node that it was drawn on.
    references
        All images that annotations refer to.
    given
        Whether the caller named it.
    """

    header: Dataset | None = None
    plane: Plane | None = None
    volume: Any = None
    references: list[Reference] = field(default_factory=list)
    given: bool = False


def find_slide(node: Any, kept: KeptGroup | None, database: Database | None, source: Any) -> Slide:
    """Return the slide of a node: what the caller names, else what it was loaded with, else what it was drawn on.

    Parameters
    ----------
    source
        A Series Instance UID of the database, paths of files or a folder, a volume node, or None.

    Raises
    ------
    ExportError
        The caller's source is no slide image.
    """
    header = remembered(node) if kept is not None else None
    slide = Slide(references=_writable(references_of(header)) if header is not None else [], given=source is not None)
    if source is not None:
        found = _given(source, database)
        slide.volume = source if hasattr(source, "GetAttribute") else None
        _use(slide, found)
        if slide.plane is None:
            raise ExportError(f"The source {_called(source)} is no slide image of which is known where its pixels lie.")
        slide.references = []
    elif kept is not None:
        slide.plane = kept.plane
        uids = [kept.plane.sop_instance_uid] if kept.plane is not None else []
        _look_up(slide, [*uids, *(one.sop_instance_uid for one in slide.references)], database)
    else:
        slide.volume = shown_on(node)
        if slide.volume is not None:
            _use(slide, _of_volume(slide.volume, database))
    _name(slide)
    return slide


def shown_on(node: Any) -> Any:
    """Return the volume that a node was drawn on, None where it says none."""
    return reference_volume(node) if node.IsA("vtkMRMLMarkupsNode") else node.GetNodeReference(REFERENCE_ROLE)


def _called(source: Any) -> str:
    return repr(source.GetName()) if hasattr(source, "GetName") else str(source)


def _writable(references: Iterable[Reference]) -> list[Reference]:
    """Return references whose UIDs are such, with their series (PS3.5 9.1); damaged objects have others."""

    def good(uid: str) -> bool:
        return bool(re.fullmatch(r"[0-9.]{1,64}", uid))

    return [one for one in references if good(one.sop_instance_uid) and good(one.series_instance_uid)]


def _look_up(slide: Slide, uids: Sequence[str], database: Database | None) -> None:
    for uid in uids:
        file = database.fileForInstance(uid) if database is not None and uid else ""
        if file:
            known = slide.plane
            _use(slide, [read_header(file)])
            if known is not None:
                slide.plane = known  # it may refer to a frame
            return


def _use(slide: Slide, headers: Sequence[Dataset]) -> None:
    """Take the image with most pixels, a level of the slide rather than its label."""
    best = -1
    for header in headers:
        try:
            matrix = pixel_matrix_of(header)
        except GeometryError:
            if slide.header is None:
                slide.header = header
            continue
        is_level = "VOLUME" in [str(value) for value in header.get("ImageType") or ()]
        size = matrix.rows * matrix.columns + (1 << 62) * is_level
        if size > best:
            best = size
            slide.header = header
            slide.plane = Plane(matrix, str(header.get("SOPClassUID") or ""), str(header.get("SOPInstanceUID") or ""))


def _given(source: Any, database: Database | None) -> list[Dataset]:
    from dicombridge.database import open_files, open_folder

    if hasattr(source, "GetAttribute"):
        return _of_volume(source, database)
    if isinstance(source, str | Path) and not Path(source).exists():
        files = database.filesForSeries(str(source)) if database is not None else []
        if not files:
            raise ExportError(f"The source {source} is neither a file, a folder nor a series of the database.")
        return _headers(files)
    paths = [source] if isinstance(source, str | Path) else list(source)
    with open_folder(paths[0]) if len(paths) == 1 else open_files(paths) as own:
        from dicombridge.examination import all_series

        return _headers([file for series in all_series(own) for file in own.filesForSeries(series)])


def _headers(files: Iterable[str]) -> list[Dataset]:
    found = []
    for file in files:
        try:
            found.append(read_header(file))
        except DicomBridgeError:
            continue  # another object in the folder
    return found


def _of_volume(volume: Any, database: Database | None) -> list[Dataset]:
    """Return the headers of the images that a volume was loaded from; without a database, what it remembers."""
    uids = (volume.GetAttribute("DICOM.instanceUIDs") or "").split()
    files = [database.fileForInstance(uid) for uid in uids] if database is not None else []
    header = remembered(volume)
    return _headers(filter(None, files)) or ([header] if header is not None else [])


def _name(slide: Slide) -> None:
    """Let the image itself be among the references, with its series."""
    header = slide.header
    if header is None or not header.get("SOPInstanceUID"):
        return
    uid = str(header.SOPInstanceUID)
    if any(one.sop_instance_uid == uid for one in slide.references):
        return
    study, series = (str(header.get(name) or "") for name in ("StudyInstanceUID", "SeriesInstanceUID"))
    slide.references.append(Reference(uid, str(header.get("SOPClassUID") or ""), series, study))
