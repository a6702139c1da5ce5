"""Where the plane of an RT image lies in the patient (PS3.3 C.8.8.2, C.8.8.2.7; IEC 61217).

The image receptor is moved in the gantry's system by X-Ray Image Receptor Translation and turned about its z axis by
X-Ray Image Receptor Angle; its z axis points to the source. The rest of the chain is that of beams, see
:mod:`dicombridge.plan.iec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.geometry import grid, unit_normal
from dicombridge.plan.iec import beam_to_patient, gantry_to_patient

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DEFAULT_ORIENTATION", "THICKNESS_MM", "Setting", "leaves_plane", "place"]

DEFAULT_ORIENTATION = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
"""Rows run along x of the image receptor, columns against y: the beam's eye view (PS3.3 C.8.8.2.7)."""
THICKNESS_MM = 1.0
"""Extent of the volume across the image plane, which has none."""


@dataclass(frozen=True)
class Setting:
    """The machine at the time of an image or frame.

    Attributes
    ----------
    shape
        Rows, columns.
    pixel_spacing
        mm between rows, between columns, in the image plane.
    image_position
        x, y (mm) of the first pixel's centre in the image receptor's system; None puts the middle of the image at the
        receptor's origin.
    orientation
        Cosines of a row and of a column in the image receptor's system.
    normal
        Whether the plane is normal to the beam axis (RT Image Plane).
    translation
        Origin of the image receptor in the gantry's system, mm.
    receptor_angle
        Degrees.
    angles
        Of gantry, patient support and table top, by DICOM keyword, degrees; those that are missing are 0.
    patient_position
        One of ``dicombridge.plan.iec.PATIENT_POSITIONS``.
    isocentre
        LPS mm; None where it is not known.
    """

    shape: tuple[int, int]
    pixel_spacing: tuple[float, float] = (1.0, 1.0)
    image_position: tuple[float, float] | None = None
    orientation: tuple[float, ...] = DEFAULT_ORIENTATION
    normal: bool = True
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    receptor_angle: float = 0.0
    angles: Mapping[str, float] = field(default_factory=dict)
    patient_position: str = "HFS"
    isocentre: tuple[float, float, float] | None = None


def leaves_plane(orientation: tuple[float, ...]) -> bool:
    """Whether a plane with these cosines is tilted against the plane of the image receptor."""
    return bool(np.abs(np.asarray(orientation)[[2, 5]]).max() > 1e-3)


def place(setting: Setting, frame_of_reference_uid: str | None = None) -> Any:
    """Return the grid of one slice that an image has in the patient.

    Parameters
    ----------
    setting
        The machine; without an isocentre, the origin of LPS is taken for it.
    frame_of_reference_uid
        Of the isocentre.

    Raises
    ------
    GeometryError
        The cosines are not perpendicular, the spacing is not positive, or the image lies beyond any patient.
    """
    cosines = np.asarray(setting.orientation, dtype=float)
    unit_normal(setting.orientation)  # raises
    row, column = cosines[:3], cosines[3:]
    receptor_to_patient = beam_to_patient(
        {**setting.angles, "BeamLimitingDeviceAngle": setting.receptor_angle}, setting.patient_position
    )
    first = _first_pixel(setting, row, column)
    origin = (
        np.asarray(setting.isocentre or (0.0, 0.0, 0.0))
        + gantry_to_patient(setting.angles, setting.patient_position) @ np.asarray(setting.translation)
        + receptor_to_patient @ first
    )
    orientation = np.concatenate([receptor_to_patient @ row, receptor_to_patient @ column])
    step = THICKNESS_MM * unit_normal(orientation.tolist())
    return grid(
        origin.tolist(),
        orientation.tolist(),
        setting.pixel_spacing,
        step.tolist(),
        (1, *setting.shape),
        frame_of_reference_uid,
    )


def _first_pixel(setting: Setting, row: NDArray[np.float64], column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centre of the first pixel in the image receptor's system, mm."""
    if setting.image_position is None:
        rows, columns = setting.shape
        between_rows, between_columns = setting.pixel_spacing
        middle: NDArray[np.float64] = (columns - 1) / 2 * between_columns * row + (rows - 1) / 2 * between_rows * column
        return np.zeros(3) - middle
    position = np.array([*setting.image_position, 0.0])
    if setting.normal:
        return position
    # RT Image Position is that before the plane was turned about the origin of the image receptor (C.8.8.2.7).
    default_row, default_column = np.array(DEFAULT_ORIENTATION[:3]), np.array(DEFAULT_ORIENTATION[3:])
    before: NDArray[np.float64] = np.column_stack([default_row, default_column, np.cross(default_row, default_column)])
    after: NDArray[np.float64] = np.column_stack([row, column, np.cross(row, column)])
    turned: NDArray[np.float64] = after @ before.T @ position
    return turned
