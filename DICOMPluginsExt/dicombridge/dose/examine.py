"""What examination offers for doses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.errors import DicomBridgeError
from dicombridge.examination import files_of_kind, first_loadable, series_name, warning_of_damage
from dicombridge.loadable import Loadable
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

_PIXEL_TAGS = ("Rows", "Columns")


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each dose of a series; files of other classes are passed over.

    Values come from the database's tag cache, and once from the header of the object itself. A dose whose planes are
    not evenly spaced is offered twice: as it is, and resampled; one that was written plane by plane, as one. Bad files
    give a warning, never an exception.
    """
    from dicombridge.dose.collecting import collected

    doses = collected(files_of_kind("RTDOSE", files, database), database)
    loadables: list[Loadable] = []
    for group, headers in doses:
        loadables.extend(_loadables(group, headers, len(doses) > 1, database))
    _tell_apart(loadables)
    return loadables


def _tell_apart(loadables: Sequence[Loadable]) -> None:
    """Number names that are the same: instance numbers need not differ."""
    seen: dict[str, int] = {}
    for loadable in loadables:
        seen[loadable.name] = seen.get(loadable.name, 0) + 1
        if seen[loadable.name] > 1:
            loadable.name = f"{loadable.name} ({seen[loadable.name]})"


def _loadables(files: list[str], headers: list[Any], one_of_several: bool, database: Database) -> list[Loadable]:
    name = series_name(files[0], database, "Dose")
    loadable = first_loadable("RTDOSE", files, database, name, "Radiotherapy dose as a volume")
    others: list[Loadable] = []
    with warning_of_damage(loadable):
        others = _look_into(loadable, headers, one_of_several, database)
    return [loadable, *others]


def _look_into(loadable: Loadable, headers: list[Any], one_of_several: bool, database: Database) -> list[Loadable]:
    """Complete a loadable with what the header says; return the other reading of irregular planes."""
    from dicombridge.dose.collecting import label_of
    from dicombridge.dose.dvh import histograms_of
    from dicombridge.dose.reading import described_warnings
    from dicombridge.dose.surroundings import images_around
    from dicombridge.dose.values import codes_text, text_value, whole
    from dicombridge.multiframe import read_header
    from dicombridge.references import instances_needed, references_of

    headers = headers or [read_header(loadable.files[0])]
    header = headers[0]
    references = references_of(header)
    frame, patient = text_value(header, "FrameOfReferenceUID"), text_value(header, "PatientID")
    belonging, around = images_around(references, database, frame, patient)
    needed = instances_needed([*references, *around], database)
    own = {database.instanceForFile(file) for file in loadable.files} | {text_value(header, "SOPInstanceUID")}
    loadable.referencedInstanceUIDs = [uid for uid in needed if uid not in own]
    warnings = described_warnings(header)
    histograms, left_out = histograms_of(header)
    warnings += left_out
    has_planes = all(whole(header, keyword) is not None for keyword in _PIXEL_TAGS)
    if one_of_several and (label := label_of(header)):
        loadable.name += f" [{label}]"
    words = [codes_text(header, keyword).lower() for keyword in ("DoseType", "DoseSummationType")]
    loadable.tooltip = " ".join(filter(None, ["Radiotherapy dose", *(f"({word})" for word in words if word)]))
    if histograms:
        loadable.tooltip += f", {len(histograms)} dose-volume histograms"
    if belonging.how != "none":
        loadable.tooltip += f", on the images of series {belonging.series_instance_uid}"
    if belonging.how in ("instance", "series") or belonging.other_patient:
        warnings += [belonging.warning] if belonging.warning else []
    others, plane_warnings = _planes(loadable, headers) if has_planes else ([], [])
    loadable.warning = " ".join([*plane_warnings, *warnings])
    for other in others:
        other.tooltip = f"{loadable.tooltip}, resampled to even spacing"
        other.referencedInstanceUIDs = list(loadable.referencedInstanceUIDs)
    return others


def _planes(loadable: Loadable, headers: list[Any]) -> tuple[list[Loadable], list[str]]:
    """Return the other reading of planes that are not evenly spaced, and warnings about where the planes lie."""
    from dicombridge.dose.collecting import planes_together
    from dicombridge.dose.planes import plane_positions, runs_of
    from dicombridge.dose.values import decimals, whole

    header = headers[0]
    frames = whole(header, "NumberOfFrames") or len(decimals(header, "GridFrameOffsetVector") or [0])
    rows, columns = whole(header, "Rows") or 1, whole(header, "Columns") or 1
    try:
        together = len(headers) > 1
        planes = planes_together(loadable.files, headers) if together else plane_positions(header, frames)
        runs = runs_of(planes, (rows, columns))
    except DicomBridgeError as error:
        return [], [str(error)]
    warnings = list(planes.warnings)
    if len(runs) == 1:
        return [], warnings
    warnings.append(f"Its planes are not evenly spaced and become {len(runs)} volumes.")
    other = Loadable(
        files=list(loadable.files),
        name=f"{loadable.name} (resampled to even spacing)",
        warning="Its planes are not evenly spaced; doses between them are interpolated.",
        selected=False,
        confidence=loadable.confidence - 0.1,
        kind=loadable.kind,
        seriesInstanceUID=loadable.seriesInstanceUID,
        options={"even": True},
    )
    return [other], warnings
