"""Datasets -> machine settings: of the image, of the frame, and of the beam of the plan where the image is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.attribute_values import items_of, number_of, value_of
from dicombridge.errors import DicomBridgeError
from dicombridge.geometry import plausible
from dicombridge.plan.iec import PATIENT_POSITIONS
from dicombridge.rt_image.placement import DEFAULT_ORIENTATION, Setting, leaves_plane

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = [
    "MOST_VOLUMES",
    "PlanBeam",
    "Reading",
    "exposures_of_frames",
    "find_plan_beam",
    "plan_uid_of",
    "read_setting",
]

ANGLES = (
    "GantryAngle",
    "GantryPitchAngle",
    "PatientSupportAngle",
    "TableTopEccentricAngle",
    "TableTopPitchAngle",
    "TableTopRollAngle",
)
TABLE_POSITIONS = ("TableTopVerticalPosition", "TableTopLongitudinalPosition", "TableTopLateralPosition")
MOST_VOLUMES = 256
"""Frames of one file that are loaded, each as a volume; choose others with the option ``frames``."""
_USUAL_SAD = 1000.0
_NEAR_MM = 1.0
"""Distances of a plane that are this near are told to be the same; headers round them."""


@dataclass(frozen=True)
class PlanBeam:
    """What the plan says of the beam of an image.

    Attributes
    ----------
    isocentre
        LPS mm; None where it is not told, or beams differ and the image names none.
    patient_position
        Empty where it is not told.
    frame_of_reference_uid
        Of the isocentre.
    angles
        Of gantry, patient support and table top at the first control point.
    source_axis_distance
        mm.
    table
        Vertical, longitudinal, lateral position of the table top, mm; None where one is not told.
    problem
        Why something is not known, for a person.
    """

    isocentre: tuple[float, float, float] | None = None
    patient_position: str = ""
    frame_of_reference_uid: str = ""
    angles: tuple[tuple[str, float], ...] = ()
    source_axis_distance: float | None = None
    table: tuple[float, ...] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Reading:
    """A setting and what was guessed for it.

    Attributes
    ----------
    setting
        All that placement needs.
    source_axis_distance, image_distance
        Of the source, mm: to the machine's axis, and to the image plane (RT Image SID).
    frame_of_reference_uid
        Of the isocentre; empty where it is not known.
    warnings
        What was guessed or contradicts itself.
    """

    setting: Setting
    source_axis_distance: float
    image_distance: float
    frame_of_reference_uid: str
    warnings: tuple[str, ...]


def numbers_of(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return ``count`` plausible numbers of an attribute, None where it has not exactly these."""
    try:
        value = dataset.get(keyword)
        values = tuple(float(part) for part in value) if value is not None else ()
    except Exception:  # pydicom converts late and raises nearly every kind of error for damaged values
        return None
    return values if len(values) == count and plausible(values) else None


def length_of(dataset: Dataset, keyword: str) -> float | None:
    """Return a plausible number of an attribute, or None."""
    value = number_of(dataset, keyword)
    return value if value is not None and plausible([value]) else None


def exposures_of_frames(header: Dataset, frames: Sequence[int]) -> list[Dataset]:
    """Return the item of the Exposure Sequence for each frame (from 1); an empty dataset where there is none.

    Its Referenced Frame Number is required for multi-frame images only (PS3.3 C.8.8.2); items of multi-frame images
    without numbers are taken in their order.
    """
    items = items_of(header, "ExposureSequence")
    numbers = [number_of(item, "ReferencedFrameNumber") for item in items]
    if any(number is not None for number in numbers):
        by_frame = dict(zip(numbers, items, strict=True))
    else:
        by_frame = {float(number): item for number, item in enumerate(items, start=1)}
    return [by_frame.get(float(frame), Dataset()) for frame in frames]


# --- The plan ------------------------------------------------------------------------------------------------------


def plan_uid_of(header: Dataset) -> str:
    """Return the SOP Instance UID of the plan that an image belongs to; empty where it names none."""
    for item in items_of(header, "ReferencedRTPlanSequence"):
        return str(value_of(item, "ReferencedSOPInstanceUID") or "")
    return ""


def find_plan_beam(header: Dataset, database: Database | None) -> PlanBeam:
    """Return what the plan of an image says of its beam; nothing where the plan is not in the database."""
    from dicombridge.multiframe import read_header

    uid = plan_uid_of(header)
    file = database.fileForInstance(uid) if database is not None and uid else ""
    if not file:
        return PlanBeam(problem="The plan that it belongs to is not in the database." if uid else "")
    try:
        plan = read_header(file)
        return _plan_beam(plan, number_of(header, "ReferencedBeamNumber"))
    except DicomBridgeError as error:
        return PlanBeam(problem=f"Its plan cannot be read: {error}")


def _plan_beam(plan: Dataset, number: float | None) -> PlanBeam:
    beams = [*items_of(plan, "BeamSequence"), *items_of(plan, "IonBeamSequence")]
    named = [beam for beam in beams if number is not None and number_of(beam, "BeamNumber") == number]
    if number is not None and not named:
        return PlanBeam(problem=f"Its plan has no beam {number:g}.")
    told = [_of_beam(plan, beam) for beam in named or beams]
    if not told:
        return PlanBeam(problem="Its plan has no beams.")
    first = told[0]
    if all((one.isocentre, one.patient_position) == (first.isocentre, first.patient_position) for one in told):
        if named or len(told) == 1:
            return first
        # Beams share the isocentre, but each has angles of its own.
        return PlanBeam(first.isocentre, first.patient_position, first.frame_of_reference_uid)
    return PlanBeam(problem="It does not name its beam, and the beams of its plan have several isocentres.")


def _of_beam(plan: Dataset, beam: Dataset) -> PlanBeam:
    points = [*items_of(beam, "ControlPointSequence"), *items_of(beam, "IonControlPointSequence")]
    isocentre = next((found for point in points if (found := numbers_of(point, "IsocenterPosition", 3))), None)
    setup = number_of(beam, "ReferencedPatientSetupNumber")
    setups = items_of(plan, "PatientSetupSequence")
    own = [item for item in setups if setup is not None and number_of(item, "PatientSetupNumber") == setup]
    positions = [str(value_of(item, "PatientPosition") or "") for item in own or setups]
    return PlanBeam(
        isocentre=(isocentre[0], isocentre[1], isocentre[2]) if isocentre else None,
        patient_position=next((position for position in positions if position in PATIENT_POSITIONS), ""),
        frame_of_reference_uid=str(value_of(plan, "FrameOfReferenceUID") or ""),
        angles=tuple(_angles_of_beam(points)),
        source_axis_distance=length_of(beam, "SourceAxisDistance"),
        table=_table(*points[:1]),
        problem="" if isocentre else "Its plan tells no isocentre.",
    )


def _table(*datasets: Dataset) -> tuple[float, ...] | None:
    """Return vertical, longitudinal, lateral position of the table top, each as the first dataset with one says."""
    found = []
    for keyword in TABLE_POSITIONS:
        told = [value for dataset in datasets if (value := length_of(dataset, keyword)) is not None]
        found += told[:1]
    return tuple(found) if len(found) == len(TABLE_POSITIONS) else None


def _angles_of_beam(points: Sequence[Dataset]) -> list[tuple[str, float]]:
    """Return the angles that are the same at all control points: an image of an arc may be of any of them."""
    found = []
    for keyword in ANGLES:
        values = {value for point in points if (value := length_of(point, keyword)) is not None}
        if len(values) == 1:
            found.append((keyword, values.pop()))
    return found


# --- The image -----------------------------------------------------------------------------------------------------


def read_setting(header: Dataset, exposure: Dataset, plan: PlanBeam) -> Reading:
    """Return the machine setting of an image or frame; what the frame does not say the image does, then the plan.

    Parameters
    ----------
    header
        Of the image.
    exposure
        Item of the Exposure Sequence; may be empty.
    plan
        What :func:`find_plan_beam` returned.
    """
    warnings: list[str] = []
    axis, distance, translation = _distances(header, plan, warnings)
    position = numbers_of(header, "RTImagePosition", 2)
    if position is None:
        warnings.append("It has no image position; its middle is put on the beam axis.")
    orientation, normal = _orientation(header, warnings)
    isocentre, frame_of_reference = _isocentre(header, exposure, plan, warnings)
    setting = Setting(
        shape=(int(number_of(header, "Rows") or 0), int(number_of(header, "Columns") or 0)),
        pixel_spacing=_spacing(header, warnings),
        image_position=(position[0], position[1]) if position else None,
        orientation=orientation,
        normal=normal,
        translation=translation,
        receptor_angle=length_of(header, "XRayImageReceptorAngle") or 0.0,
        angles=_angles(header, exposure, plan, warnings),
        patient_position=_patient_position(header, plan, warnings),
        isocentre=isocentre,
    )
    return Reading(setting, axis, distance, frame_of_reference, tuple(warnings))


def _distances(header: Dataset, plan: PlanBeam, warnings: list[str]) -> tuple[float, float, tuple[float, float, float]]:
    """Return the distances of machine axis and image plane from the source, and where the image receptor is."""
    told = numbers_of(header, "XRayImageReceptorTranslation", 3)
    axis, distance = length_of(header, "RadiationMachineSAD"), length_of(header, "RTImageSID")
    axis = axis or plan.source_axis_distance
    if not axis:
        axis = _USUAL_SAD
        if not told or distance:
            warnings.append(f"It has no source to axis distance; {axis:g} mm are assumed.")
    if not distance:
        distance = axis - told[2] if told else axis
        if not told:
            warnings.append("It has no distance of the image plane; the plane is put into the isocentre.")
    height = axis - distance
    if told and abs(told[2] - height) > _NEAR_MM:
        # The pixel spacing is that of the plane of RT Image SID, so that distance decides.
        warnings.append(
            f"Its image receptor is told to be {told[2]:g} mm from the isocentre, its image plane {height:g} mm; "
            "the latter is taken."
        )
    return axis, distance, (told[0] if told else 0.0, told[1] if told else 0.0, height)


def _orientation(header: Dataset, warnings: list[str]) -> tuple[tuple[float, ...], bool]:
    plane = str(value_of(header, "RTImagePlane") or "")
    told = numbers_of(header, "RTImageOrientation", 6)
    normal = plane != "NON_NORMAL"
    if told is None:
        if not normal:
            warnings.append("Its plane is tilted against the beam axis, but it does not say how; it is put upright.")
        return DEFAULT_ORIENTATION, True
    if normal and leaves_plane(told):
        warnings.append("Its plane is told to be normal to the beam axis, but its orientation is not; that is taken.")
        normal = False
    return told, normal


def _isocentre(
    header: Dataset, exposure: Dataset, plan: PlanBeam, warnings: list[str]
) -> tuple[tuple[float, float, float] | None, str]:
    own = str(value_of(header, "FrameOfReferenceUID") or "")
    told = numbers_of(header, "IsocenterPosition", 3)
    if told is not None:
        return (told[0], told[1], told[2]), own or plan.frame_of_reference_uid
    if plan.isocentre is not None:
        there = _table(exposure, header)
        if there and plan.table:
            shift = max(abs(one - other) for one, other in zip(there, plan.table, strict=True))
            if shift > _NEAR_MM:
                # The isocentre of the day would be elsewhere in the patient, but the table may have moved since setup.
                warnings.append(
                    f"Its table stands {shift:g} mm from where the plan has it; the plan's isocentre is taken."
                )
        return plan.isocentre, plan.frame_of_reference_uid or own
    reason = f" {plan.problem}" if plan.problem else ""
    warnings.append(f"It has no isocentre; it is placed as if the isocentre were the origin of the patient.{reason}")
    return None, ""


def _spacing(header: Dataset, warnings: list[str]) -> tuple[float, float]:
    for keyword in ("ImagePlanePixelSpacing", "PixelSpacing", "ImagerPixelSpacing"):
        told = numbers_of(header, keyword, 2)
        if told is not None and min(told) > 0:
            if keyword != "ImagePlanePixelSpacing":
                warnings.append(f"It has no pixel spacing in the image plane; {keyword} is taken for it.")
            return told[0], told[1]
    warnings.append("It has no pixel spacing; 1 mm is assumed.")
    return 1.0, 1.0


def _angles(header: Dataset, exposure: Dataset, plan: PlanBeam, warnings: list[str]) -> dict[str, float]:
    of_plan: dict[str, float] = dict(plan.angles)
    found: dict[str, float] = {}
    for keyword in ANGLES:
        told: Any = length_of(exposure, keyword)
        told = length_of(header, keyword) if told is None else told
        told = of_plan.get(keyword) if told is None else told
        if told is not None:
            found[keyword] = told
    if "GantryAngle" not in found:
        warnings.append("It has no gantry angle; 0 is assumed.")
    return found


def _patient_position(header: Dataset, plan: PlanBeam, warnings: list[str]) -> str:
    told = str(value_of(header, "PatientPosition") or "")
    if told in PATIENT_POSITIONS:
        return told
    if plan.patient_position:
        return plan.patient_position
    unknown = f"Its patient position is {told}, which is not known" if told else "It has no patient position"
    warnings.append(f"{unknown}; HFS is assumed.")
    return "HFS"
