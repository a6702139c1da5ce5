"""Matrices of a registration as DICOM writes them (PS3.3 C.20.2.1.1, C.20.2.1.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicombridge.codes import Code, code_item
from dicombridge.encode import decimal_string
from dicombridge.errors import ExportError
from dicombridge.geometry import lps_ras_matrix
from dicombridge.output.header import of_64_bytes
from dicombridge.output.options import code_option

__all__ = [
    "ORTHONORMAL_TOLERANCE",
    "describe_registration",
    "linear_part",
    "lps_matrix",
    "matrix_item",
    "matrix_type",
    "registration_type_code",
    "same_matrix",
]

ORTHONORMAL_TOLERANCE = 1e-5
"""Largest element of R^T R - 1 that counts as none: a point a metre away is then misplaced by a hundredth of a mm."""

SAME_TOLERANCE = 1e-9
"""Of elements of matrices that count as one and the same, relative to the longest translation."""

IDENTITY_CODE = Code("125021", "DCM", "Frame of Reference Identity")
REGISTRATION_TYPES = {
    "frame of reference identity": IDENTITY_CODE,
    "fiducial alignment": Code("125022", "DCM", "Fiducial Alignment"),
    "acquisition equipment alignment": Code("125023", "DCM", "Acquisition Equipment Alignment"),
    "image content-based alignment": Code("125024", "DCM", "Image Content-based Alignment"),
    "visual alignment": Code("125025", "DCM", "Visual Alignment"),
    "image content and fiducial based alignment": Code("125026", "DCM", "Image Content and Fiducial Based Alignment"),
}
"""CID 7100, by the meaning in lower case."""


def lps_matrix(vtk_or_array: Any) -> NDArray[np.float64]:
    """Return a matrix between RAS points (``vtkMatrix4x4`` or array) as one between LPS points.

    Raises
    ------
    ExportError
        It is not a transformation: numbers are missing, its last row is not 0 0 0 1, or it has no inverse.
    """
    matrix = vtk_or_array
    if hasattr(matrix, "GetElement"):
        matrix = [[matrix.GetElement(row, column) for column in range(4)] for row in range(4)]
    flip = lps_ras_matrix()
    found = np.asarray(flip @ np.asarray(matrix, dtype=float) @ flip)
    if not np.isfinite(found).all():
        raise ExportError("The matrix of the transform has numbers that are not finite.")
    if np.abs(found[3] - [0, 0, 0, 1]).max() > SAME_TOLERANCE:
        raise ExportError("The last row of the transform's matrix is not 0 0 0 1; DICOM has no projections.")
    scale = float(np.abs(found[:3, :3]).max())
    if not abs(float(np.linalg.det(found[:3, :3]))) > (scale * 1e-6) ** 3:
        raise ExportError("The matrix of the transform is singular: it maps space onto a plane, a line or a point.")
    return found


def matrix_type(matrix: NDArray[Any]) -> str:
    """Return RIGID, RIGID_SCALE or AFFINE (PS3.3 C.20.2.1.2), whichever is the narrowest that a 4x4 matrix fits.

    RIGID_SCALE is a rotation before or after a scaling along the axes. A reflection is AFFINE.

    >>> matrix_type(np.eye(4)), matrix_type(np.eye(4) * [[2.0], [1.0], [1.0], [1.0]])
    ('RIGID', 'RIGID_SCALE')
    """
    axes = np.asarray(matrix, dtype=float)[:3, :3]
    if np.linalg.det(axes) <= 0:
        return "AFFINE"
    if np.abs(axes.T @ axes - np.eye(3)).max() <= ORTHONORMAL_TOLERANCE:
        return "RIGID"
    for one in (axes, axes.T):
        directions = one / np.linalg.norm(one, axis=0)
        if np.abs(directions.T @ directions - np.eye(3)).max() <= ORTHONORMAL_TOLERANCE:
            return "RIGID_SCALE"
    return "AFFINE"


def same_matrix(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two 4x4 matrices are one but for rounding: what a scene file does to the numbers is within."""
    longest = max(1.0, float(np.abs(np.asarray(one, dtype=float)[:3]).max()))
    return bool(np.abs(np.asarray(one) - np.asarray(other)).max() <= SAME_TOLERANCE * longest)


def matrix_item(matrix: NDArray[Any]) -> Dataset:
    """Return a 4x4 matrix (LPS mm) as an item: its type, and its elements row by row as exact as DS allows."""
    item = Dataset()
    item.FrameOfReferenceTransformationMatrixType = matrix_type(matrix)
    exact = np.array(matrix, dtype=float)
    exact[3] = [0.0, 0.0, 0.0, 1.0]
    item.FrameOfReferenceTransformationMatrix = [decimal_string(value) for value in exact.ravel()]
    return item


def linear_part(item: Any) -> NDArray[np.float64] | None:
    """Return the 4x4 matrix of an item, None where it has none that can be used."""
    values = item.get("FrameOfReferenceTransformationMatrix") or []
    try:
        matrix = np.array([float(value) for value in values]).reshape(4, 4)
    except (TypeError, ValueError):
        return None
    return matrix if np.isfinite(matrix).all() else None


def registration_type_code(value: Any) -> Code | None:
    """Return the code of a registration type: a code as others are given, or its meaning in CID 7100.

    Raises
    ------
    ExportError
        It is neither.
    """
    if isinstance(value, str) and value.strip():
        known = REGISTRATION_TYPES.get(value.strip().lower().replace("_", " "))
        known = known or next((code for code in REGISTRATION_TYPES.values() if code.value == value.strip()), None)
        if known is not None:
            return known
    try:
        return code_option(value, "registration_type")
    except ExportError as error:
        raise ExportError(f"{error} Or one of: {', '.join(REGISTRATION_TYPES)}.") from None


def describe_registration(item: Dataset, code: Code | None, comment: str | None, is_new: bool) -> None:
    """Give an item its Registration Type Code Sequence and its Frame of Reference Transformation Comment.

    Of an item that was loaded, what is not said anew stays; in a new one the code is empty (type 2) where nobody knows.
    """
    if code is not None or is_new or "RegistrationTypeCodeSequence" not in item:
        item.RegistrationTypeCodeSequence = [code_item(code)] if code is not None else []
    if comment:
        item.FrameOfReferenceTransformationComment = of_64_bytes(comment)
