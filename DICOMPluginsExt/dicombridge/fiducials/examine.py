"""What examination offers for spatial fiducials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import (
    counted,
    files_of_kind,
    first_loadable,
    series_name,
    tell_apart,
    warning_of_damage,
)
from dicombridge.loadable import Loadable
from dicombridge.tags import CONTENT_LABEL, FRAME_OF_REFERENCE_UID
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each Spatial Fiducials object of a series; files of other classes are passed over.

    Values come from the database's tag cache; the header of the object itself is read once. Bad files give a warning,
    never an exception.
    """
    loadables = [_loadable(file, database) for file in files_of_kind("FID", files, database)]
    tell_apart(loadables, [""] * len(loadables), database)
    return loadables


def _loadable(file: str, database: Database) -> Loadable:
    name = series_name(file, database, database.fileValue(file, CONTENT_LABEL), "Spatial fiducials")
    loadable = first_loadable("FID", [file], database, name, "Spatial fiducials as markups")
    with warning_of_damage(loadable):
        _look_into(loadable, database)
    return loadable


def _look_into(loadable: Loadable, database: Database) -> None:
    """Complete a loadable with what only the header's sequences say."""
    from dicombridge.belonging import images_of
    from dicombridge.multiframe import read_header
    from dicombridge.references import instances_needed, references_of

    header = read_header(loadable.files[0])
    references = references_of(header)
    needed = dict.fromkeys(instances_needed(references, database))
    sets = list(header.get("FiducialSetSequence") or ())
    fiducials = [one for item in sets for one in item.get("FiducialSequence") or ()]
    warnings = []
    for frame in dict.fromkeys(str(item.get("FrameOfReferenceUID") or "") for item in sets):
        # Images that a set names are those that it was made on; those of its frame of reference may be shown with it.
        if frame and not any(_is_of_frame(uid, frame, database) for uid in needed):
            belonging = images_of([], database, frame, str(header.get("PatientID") or ""))
            for series in belonging.series[:1]:
                needed.update(dict.fromkeys(database.instancesForSeries(series)))
            warnings.append(belonging.warning)
    missing = [one for one in fiducials if _lacks_its_image(one, database)]
    if missing:
        warnings.append(
            f"{len(missing)} of {len(fiducials)} fiducials lie in images that are not in the database and cannot be "
            "loaded without them."
        )
    if not fiducials:
        warnings.append("It holds no fiducials.")
    needed.pop(str(header.get("SOPInstanceUID") or ""), None)
    loadable.referencedInstanceUIDs = list(needed)
    loadable.warning = " ".join(dict.fromkeys(filter(None, warnings)))
    loadable.tooltip = _tooltip(fiducials, loadable.tooltip)


def _is_of_frame(sop_instance_uid: str, frame_of_reference_uid: str, database: Database) -> bool:
    file = database.fileForInstance(sop_instance_uid)
    return bool(file) and database.fileValue(file, FRAME_OF_REFERENCE_UID) == frame_of_reference_uid


def _lacks_its_image(fiducial: Any, database: Database) -> bool:
    """Whether a fiducial has pixel coordinates alone, in an image that is not in the database."""
    from dicombridge.placing import image_reference

    if "ContourData" in fiducial:
        return False
    images = [
        image
        for part in fiducial.get("GraphicCoordinatesDataSequence") or ()
        for image in part.get("ReferencedImageSequence") or ()
    ]
    return any(not database.fileForInstance(image_reference(image)[1]) for image in images)


def _tooltip(fiducials: Sequence[Any], otherwise: str) -> str:
    names = [str(one.get("FiducialIdentifier") or "?") for one in fiducials]
    if not names:
        return otherwise
    return f"{otherwise}: {counted(names, 'fiducial')}"
