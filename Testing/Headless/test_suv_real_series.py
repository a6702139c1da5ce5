"""Every PET series of the shared data: its voxels as highdicom has them, and times a factor by hand as SUV."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
from numpy.typing import NDArray
from support.rwv_objects import headers_in, units_of
from support.volumes import array_of

import dicombridge

SERIES = {
    # g of the patient / Bq of the dose when the scan started; the arithmetic is in test_suv_vendors.py
    "pet/sts_001_ge/pet": 71e3 / (388777472 * 2 ** (-2711 / 6588)),
    "pet/misc": 69734.4 / (178340011.59668 * 2 ** (-3976.921 / 6586.2)),
    "seg/qin_headneck_0024/pet": 66200 / (381.47e6 * 2 ** (-5024.678 / 6586.2)),
    "rt/sts_002_mim/pet/image": 1.0,  # is SUV already
}


def frames_of_highdicom(folder: Path) -> NDArray[np.float64]:
    """Rescaled values [slice, row, column] of a series, slice by slice from its feet to its head."""
    frames = []
    for header in headers_in(folder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames.append(highdicom.imread(header.filename).get_frame(1, apply_modality_transform=True))
    return np.stack(frames).astype(np.float64)


@pytest.mark.parametrize("name", SERIES)
def test_voxels_and_suv(data: Path, name: str) -> None:
    theirs = frames_of_highdicom(data / name)
    (image,) = dicombridge.load(data / name)
    np.testing.assert_allclose(array_of(image), theirs, rtol=1e-6)
    (node,) = dicombridge.load(data / name, mapping="SUVbw")
    np.testing.assert_allclose(array_of(node), SERIES[name] * theirs, rtol=1e-6)
    assert units_of(node) == "{SUVbw}g/ml"
    assert node.GetAttribute("DICOMBridge.SUVAudit")


def test_no_series_was_left_out(data: Path) -> None:
    """The series above are all that there are."""
    with dicombridge.open_folder(data, index=":memory:") as database:
        found: set[Any] = set()
        for one in dicombridge.examine(database):
            if one.kind == "RWVM" and one.options.get("mapping") == "SUVbw":
                found.update(str(Path(file).parent.relative_to(data)) for file in one.files)
    assert found - {"rwvm/qiicr_headneck_0003"} == set(SERIES)
