"""What examination offers for RT images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from dicombridge.attribute_values import items_of, number_of, value_of
from dicombridge.loadable import Loadable
from dicombridge.rt_image.settings import MOST_VOLUMES, PlanBeam, exposures_of_frames, plan_uid_of, read_setting
from dicombridge.single_files import Told, examine_single_files

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine"]

_ANY_PLAN = PlanBeam((0.0, 0.0, 0.0), "HFS", "", (("GantryAngle", 0.0),), 1000.0)
"""Stands for a plan that is in the database: it is opened when the image is loaded."""


def examine(files: Sequence[str], database: Database) -> list[Loadable]:
    """Offer one loadable for each RT image of a series; files of other classes are passed over."""
    return examine_single_files("RTIMAGE", files, database, "RT image", lambda header: _told(header, database))


def _told(header: Dataset, database: Database) -> Told:
    label = str(value_of(header, "RTImageLabel") or value_of(header, "InstanceNumber") or "")
    (exposure,) = exposures_of_frames(header, [1])
    uid = plan_uid_of(header)
    there = bool(uid and database.fileForInstance(uid))
    absent = PlanBeam(problem="The plan that it belongs to is not in the database." if uid else "")
    reading = read_setting(header, exposure, _ANY_PLAN if there else absent)
    parts = [str(value_of(header, "RTImageName") or value_of(header, "RTImageLabel") or "")]
    gantry = reading.setting.angles.get("GantryAngle")
    if gantry is not None and not (there and number_of(header, "GantryAngle") is None):
        parts.append(f"gantry {gantry:g} degrees")
    frames = int(number_of(header, "NumberOfFrames") or 1)
    if frames > 1:
        parts.append(f"{frames} frames, {len(items_of(header, 'ExposureSequence'))} exposures")
    warnings = list(reading.warnings)
    if frames > MOST_VOLUMES:
        warnings.append(f"Of its {frames} frames, the first {MOST_VOLUMES} are loaded.")
    told = ", ".join(part for part in parts if part)
    tooltip = "RT image as a volume of one slice" + (f": {told}" if told else "")
    return Told(label, tooltip, " ".join(warnings))
