"""Doses that were written plane by plane, one file a plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from support.items import read, reference
from support.rt_doses import RT_PLAN, dose, dose_at, export, loaded, numbers, room, voxels, written

import dicombridge
from dicombridge.errors import UnreadableError
from dicombridge.loadable import Loadable

PLACES = (10.0, 4.0, 7.0, 1.0)


def plane(number: int, z: float, **values: Any) -> Dataset:
    stored = numbers(9)[number : number + 1]
    about = {"SeriesInstanceUID": "1.2.3.6", "InstanceNumber": number + 1, "DoseGridScaling": f"0.00{number + 1}"}
    return dose(stored, position=(-20, -30, z), **{**about, **values})


def write_planes(folder: Path, **values: Any) -> list[Path]:
    """Four planes, not in the order of their places, each with a scaling of its own."""
    return [written(plane(n, z, **values), folder / f"{n}.dcm") for n, z in enumerate(PLACES)]


def loadables(folder: Path) -> list[Loadable]:
    with dicombridge.open_folder(folder) as database:
        found: list[Loadable] = room().examine([str(path) for path in sorted(folder.iterdir())], database)
        return found


def test_planes_of_one_series_are_one_dose(tmp_path: Path) -> None:
    paths = write_planes(tmp_path / "in")
    (one,) = loadables(tmp_path / "in")
    assert one.files == [str(paths[n]) for n in (3, 1, 2, 0)]
    assert one.warning == ""
    assert one.name == "7: Plan dose"
    (node,) = loaded([Path(file) for file in one.files])
    assert voxels(node).shape == (4, 3, 4)
    assert node.GetSpacing()[2] == pytest.approx(3)
    for n, z in enumerate(PLACES):
        for row, column in np.ndindex(3, 4):
            expected = float(numbers(9)[n, row, column]) * 0.001 * (n + 1)
            assert dose_at(node, (-20 + 3 * column, -30 + 2 * row, z)) == pytest.approx(expected, rel=1e-6)
    uids = [str(read(Path(file)).SOPInstanceUID) for file in one.files]
    assert node.GetAttribute("DICOM.instanceUIDs").split() == uids


def test_become_one_file_on_export(tmp_path: Path) -> None:
    write_planes(tmp_path / "in")
    (one,) = loadables(tmp_path / "in")
    (node,) = loaded([Path(file) for file in one.files])
    (path,) = export([node], tmp_path / "out")
    (again,) = loaded(path)
    np.testing.assert_allclose(voxels(again), voxels(node), atol=float(voxels(node).max()) / 65535)
    assert read(path).NumberOfFrames == 4
    assert list(read(path).GridFrameOffsetVector) == [0, 3, 6, 9]


def beam_plane(number: int, z: float, beam: int) -> Dataset:
    ds = plane(number, z, DoseSummationType="BEAM")
    item, group, part = reference(RT_PLAN, "1.2.3.4.5"), Dataset(), Dataset()
    part.ReferencedBeamNumber = beam
    group.ReferencedFractionGroupNumber, group.ReferencedBeamSequence = 1, [part]
    item.ReferencedFractionGroupSequence = [group]
    ds.ReferencedRTPlanSequence = [item]
    return ds


def test_beams_stay_apart(tmp_path: Path) -> None:
    for number in range(6):
        written(beam_plane(number, 2.0 * (number // 2), 1 + number % 2), tmp_path / "in" / f"{number}.dcm")
    found = loadables(tmp_path / "in")
    assert [one.name for one in found] == ["7: Plan dose [beam 1]", "7: Plan dose [beam 2]"]
    assert [len(one.files) for one in found] == [3, 3]


def test_planes_at_one_place_stay_apart(tmp_path: Path) -> None:
    for number in range(3):
        written(plane(number, 5.0), tmp_path / "in" / f"{number}.dcm")
    found = loadables(tmp_path / "in")
    assert [len(one.files) for one in found] == [1, 1, 1]
    assert len({one.name for one in found}) == 3


def test_others_of_the_series_stay_alone(tmp_path: Path) -> None:
    """A dose of several planes, one in other units, one that cannot be placed."""
    write_planes(tmp_path / "in")
    written(dose(SeriesInstanceUID="1.2.3.6"), tmp_path / "in" / "5.dcm")
    written(plane(5, 20, DoseUnits="RELATIVE"), tmp_path / "in" / "6.dcm")
    written(plane(6, 23, ImagePositionPatient=None), tmp_path / "in" / "7.dcm")
    found = loadables(tmp_path / "in")
    assert [len(one.files) for one in found] == [4, 1, 1, 1]
    assert "ImagePositionPatient" in found[-1].warning


def test_uneven_planes(tmp_path: Path) -> None:
    for number, z in enumerate((0, 2, 4, 9)):
        written(plane(number, z), tmp_path / "in" / f"{number}.dcm")
    exact, even = loadables(tmp_path / "in")
    assert (len(exact.files), len(even.files)) == (4, 4)
    assert [voxels(node).shape[0] for node in loaded([Path(file) for file in exact.files])] == [3, 2]
    assert len(loaded([Path(file) for file in even.files], even=True)) == 1


def test_planes_that_do_not_belong_together(tmp_path: Path) -> None:
    paths = write_planes(tmp_path / "in")
    other = written(plane(5, 20, DoseUnits="RELATIVE"), tmp_path / "in" / "6.dcm")
    with pytest.raises(UnreadableError, match=r"6\.dcm.*no plane of the same dose"):
        loaded([*paths, other])
    several = written(dose(), tmp_path / "in" / "7.dcm")
    with pytest.raises(UnreadableError, match=r"7\.dcm.*no single plane"):
        loaded([*paths, several])
