"""What examination offers for spatial fiducials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.errors import DicomBridgeError
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.tolerance import quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

SOP_CLASS = "0008,0016"
SERIES_INSTANCE_UID = "0020,000E"
SERIES_NUMBER = "0020,0011"
SERIES_DESCRIPTION = "0008,103E"
INSTANCE_NUMBER = "0020,0013"
CONTENT_LABEL = "0070,0080"


@quiet()
def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each Spatial Fiducials object of a series; files of other classes are passed over.

    Values come from the database's tag cache; the header of the object itself is read once. Bad files give a warning,
    never an exception.
    """
    kind = kind_named("FID")
    loadables = [_loadable(file, database) for file in files if database.fileValue(file, SOP_CLASS) in kind.sop_classes]
    if len(loadables) > 1:
        for number, loadable in enumerate(loadables, start=1):
            instance = database.fileValue(loadable.files[0], INSTANCE_NUMBER) or str(number)
            loadable.name = f"{loadable.name} [{instance}]"
    return loadables


def _loadable(file: str, database: Database) -> Loadable:
    kind = kind_named("FID")
    number = database.fileValue(file, SERIES_NUMBER)
    label = database.fileValue(file, CONTENT_LABEL)
    description = database.fileValue(file, SERIES_DESCRIPTION) or label or "Spatial fiducials"
    loadable = Loadable(
        files=[file],
        name=f"{number}: {description}" if number else description,
        tooltip="Spatial fiducials as markups",
        selected=True,
        confidence=kind.confidence,
        kind=kind.name,
        seriesInstanceUID=database.fileValue(file, SERIES_INSTANCE_UID),
    )
    try:
        _look_into(loadable, database)
    except DicomBridgeError as error:
        loadable.warning = str(error)
    except ImportError:
        raise  # a package is too old or missing: that is for the plugin to say, and no fault of the file
    except Exception as error:  # examination of all series would end with an exception of one
        loadable.warning = f"{file}: its header cannot be understood ({type(error).__name__}: {error})."
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
    return bool(file) and database.fileValue(file, "0020,0052") == frame_of_reference_uid


def _lacks_its_image(fiducial: Any, database: Database) -> bool:
    """Whether a fiducial has pixel coordinates alone, in an image that is not in the database."""
    from dicombridge.fiducials.placing import image_reference

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
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"{otherwise}: {len(names)} fiducial{'s' if len(names) > 1 else ''} ({shown})"
