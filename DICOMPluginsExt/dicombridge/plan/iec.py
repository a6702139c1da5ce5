"""From the beam limiting device to the patient: the rotations of IEC 61217, as DICOM uses them.

::

    fixed (f)     x to the right of a person who faces the gantry, y towards the gantry, z up; origin: the isocentre
      gantry (g)                  rotated about y by Gantry Angle, then about its x by Gantry Pitch Angle
        beam limiting device (b)  rotated about z by Beam Limiting Device Angle; the source lies at z = its distance
      patient support (s)         rotated about z by Patient Support Angle
        table top (e, t)          rotated about z by Table Top Eccentric Angle, about x by Pitch, then about y by Roll
          patient (LPS)           lies on it as Patient Position says

All rotations are right-handed (PS3.3 C.8.8.14.12, C.8.8.25.6.5). Isocenter Position says which point of the patient is
at the isocentre, so that translations of the table play no part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PATIENT_POSITIONS", "beam_to_patient", "gantry_to_patient", "table_of_patient"]

_LEFT, _RIGHT = (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)
_BACK, _FRONT = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)
_HEAD, _FEET = (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)

PATIENT_POSITIONS: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]] = {
    "HFS": (_LEFT, _HEAD, _FRONT),
    "HFP": (_RIGHT, _HEAD, _BACK),
    "FFS": (_RIGHT, _FEET, _FRONT),
    "FFP": (_LEFT, _FEET, _BACK),
    "HFDL": (_FRONT, _HEAD, _RIGHT),
    "HFDR": (_BACK, _HEAD, _LEFT),
    "FFDL": (_BACK, _FEET, _RIGHT),
    "FFDR": (_FRONT, _FEET, _LEFT),
    "SITTING": (_RIGHT, _FRONT, _HEAD),
}
"""Patient Position -> directions (LPS) of the table top's x, y, z (PS3.3 C.7.3.1.1.2; seated: C.8.8.25.6.3)."""


def table_of_patient(patient_position: str) -> NDArray[np.float64]:
    """Return the 3x3 rotation from LPS to the table top.

    Raises
    ------
    KeyError
        The position is none of ``PATIENT_POSITIONS``.

    Examples
    --------
    >>> (table_of_patient("HFS") @ [0, -1, 0]).tolist()  # the patient's front is up
    [0.0, 0.0, 1.0]
    """
    return np.array(PATIENT_POSITIONS[patient_position])


def gantry_to_patient(settings: Mapping[str, Any], patient_position: str) -> NDArray[np.float64]:
    """Return the 3x3 rotation from the gantry system to LPS.

    Parameters
    ----------
    settings
        Angles (degrees) by DICOM keyword; those that are missing are 0.
    patient_position
        E.g. ``"HFS"``.

    Examples
    --------
    >>> source = gantry_to_patient({"GantryAngle": 90.0}, "HFS") @ [0, 0, 1]
    >>> source.round().astype(int).tolist()  # at the patient's left
    [1, 0, 0]
    """

    def angle(keyword: str) -> float:
        value = settings.get(keyword)
        return value if isinstance(value, float) else 0.0

    gantry = _about(1, angle("GantryAngle")) @ _about(0, angle("GantryPitchAngle"))
    table = (
        _about(2, angle("PatientSupportAngle") + angle("TableTopEccentricAngle"))
        @ _about(0, angle("TableTopPitchAngle"))
        @ _about(1, angle("TableTopRollAngle"))
    )
    rotation: NDArray[np.float64] = (table @ table_of_patient(patient_position)).T @ gantry
    return rotation


def beam_to_patient(settings: Mapping[str, Any], patient_position: str) -> NDArray[np.float64]:
    """Return the 3x3 rotation from the beam limiting device system to LPS; see :func:`gantry_to_patient`."""
    value = settings.get("BeamLimitingDeviceAngle")
    rotation: NDArray[np.float64] = gantry_to_patient(settings, patient_position) @ _about(
        2, value if isinstance(value, float) else 0.0
    )
    return rotation


def _about(axis: int, degrees: float) -> NDArray[np.float64]:
    """Return a right-handed rotation about x (0), y (1) or z (2)."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    one, other = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[one, one] = matrix[other, other] = cosine
    matrix[one, other], matrix[other, one] = -sine, sine
    return matrix
