"""Reading of NRRD label maps as dcmqi writes them, without a library for it."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {
    "uchar": "u1", "unsigned char": "u1", "uint8": "u1", "signed char": "i1", "short": "i2", "signed short": "i2",
    "int16": "i2", "unsigned short": "u2", "ushort": "u2", "uint16": "u2", "int": "i4", "signed int": "i4",
    "unsigned int": "u4", "uint32": "u4", "int32": "i4", "float": "f4", "double": "f8",
}  # fmt: skip


def read_nrrd(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return voxels, [k, j, i], and the 4x4 matrix from (i, j, k) to LPS mm."""
    head, _, content = path.read_bytes().partition(b"\n\n")
    lines = [line for line in head.decode("ascii", "replace").splitlines()[1:] if line and not line.startswith("#")]
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    assert fields["encoding"] in ("gzip", "gz", "raw")
    if fields["encoding"] != "raw":
        content = gzip.decompress(content)
    order = ">" if fields.get("endian") == "big" else "<"
    sizes = [int(size) for size in fields["sizes"].split()]
    voxels = np.frombuffer(content, np.dtype(TYPES[fields["type"]]).newbyteorder(order), int(np.prod(sizes)))
    to_lps = np.eye(4)
    for axis, vector in enumerate(_vectors(fields["space directions"])):
        to_lps[:3, axis] = vector
    to_lps[:3, 3] = _vectors(fields["space origin"])[0]
    space = fields["space"]
    if space in ("right-anterior-superior", "RAS"):
        to_lps[:2] *= -1
    else:
        assert space in ("left-posterior-superior", "LPS"), space
    return voxels.reshape(sizes[::-1]), to_lps


def _vectors(text: str) -> list[list[float]]:
    return [[float(value) for value in part.strip(" ()").split(",")] for part in text.split(")") if part.strip()]
