"""What examination offers for registrations, rigid and deformable."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import all_series, files_of_kind, first_loadable, series_name, warning_of_damage
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.tags import CONTENT_LABEL, FRAME_OF_REFERENCE_UID, SOP_CLASS_UID
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.registration.values import DeformedFrame, RegisteredFrame

__all__ = ["examine", "needed", "offered", "series_of_frames", "tooltip"]

_REGISTRATIONS = ("REG", "DEFORM")


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each Spatial Registration of a series; files of other classes are passed over.

    Values come from the database's tag cache, and once from the header of the object itself. Bad files give a warning,
    never an exception.
    """
    return offered("REG", files, database, _look_into)


def offered(
    kind: str, files: Sequence[str], database: Database, look_into: Callable[[Loadable, Database], str]
) -> list[Loadable]:
    """Return a loadable for each file of a kind, completed by ``look_into``, which returns the object's label."""
    own = files_of_kind(kind, files, database)
    found = []
    for file in own:
        title = kind_named(kind).title
        name = series_name(file, database, database.fileValue(file, CONTENT_LABEL), title)
        loadable = first_loadable(kind, [file], database, name, title)
        label = ""
        with warning_of_damage(loadable):
            label = look_into(loadable, database)
        if label and len(own) > 1 and not loadable.name.endswith(label):
            loadable.name = f"{loadable.name} [{label}]"
        found.append(loadable)
    return found


def _look_into(loadable: Loadable, database: Database) -> str:
    from dicombridge.multiframe import read_header
    from dicombridge.registration.reading import read_registration
    from dicombridge.text import plain_text

    file = loadable.files[0]
    header = read_header(file)
    registration = read_registration(header, file)
    frames = [registration.registered_frame_uid, *(item.frame_of_reference_uid for item in registration.items)]
    loadable.referencedInstanceUIDs = needed(loadable, header, frames, database)
    matrix_types = [item.matrix_type for item in registration.to_load]
    loadable.tooltip = tooltip(
        "Spatial registration", registration.to_load, registration.registered_frame_uid, matrix_types
    )
    loadable.warning = " ".join(registration.warnings)
    return plain_text(header.get("ContentLabel"))


def tooltip(
    title: str,
    items: Sequence[RegisteredFrame | DeformedFrame],
    registered_frame: str,
    forms: Sequence[str],
) -> str:
    """Return one line for a person: what is brought into which frame of reference, and how."""
    sources = []
    for item, form in list(zip(items, forms, strict=True))[:4]:
        what = item.frame_of_reference_uid or f"{len(item.images)} images"
        details = ", ".join(
            filter(None, (form.lower().replace("_", " with "), item.type_code and item.type_code.meaning))
        )
        sources.append(f"{what} ({details})" if details else what)
    more = ", ..." if len(items) > 4 else ""
    return f"{title} of {', '.join(sources)}{more} to {registered_frame}"


def needed(loadable: Loadable, header: Any, frames: Collection[str], database: Database) -> list[str]:
    """Return the instances that a registration is about: the named ones and those of all series of its frames."""
    from dicombridge.references import Reference, instances_needed, references_of

    series = [Reference(series_instance_uid=uid) for uid in series_of_frames(frames, database)]
    own = {database.instanceForFile(loadable.files[0]), str(header.get("SOPInstanceUID") or "")}
    found = instances_needed([*references_of(header), *series], database)
    mine = set(database.instancesForSeries(loadable.seriesInstanceUID)) if loadable.seriesInstanceUID else set()
    return [uid for uid in found if uid not in own and uid not in mine]


def series_of_frames(frames: Collection[str], database: Database) -> list[str]:
    """Return the series of a database that lie in one of these frames of reference, registrations left out.

    A registration lies in the frame that it leads to; two of them do not need each other.
    """
    wanted = set(filter(None, frames))
    classes = {uid for name in _REGISTRATIONS for uid in kind_named(name).sop_classes}
    found = []
    for series in all_series(database):
        files = database.filesForSeries(series)
        if (
            files
            and database.fileValue(files[0], FRAME_OF_REFERENCE_UID) in wanted
            and database.fileValue(files[0], SOP_CLASS_UID) not in classes
        ):
            found.append(series)
    return found
