"""Where dose planes lie, from every way of saying it (PS3.3 C.8.8.3.2); positions are computed here anew."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.rt_doses import OFFSETS, dose, dose_at, examined, loaded, numbers, voxels, written
from support.volumes import matrix_of

from dicombridge.errors import GeometryError, UnreadableError

AXIAL = (1, 0, 0, 0, 1, 0)
POSITION = (-20.0, -30.0, 40.0)
SPACING = (2.0, 3.0)
RELATIVE = (0.0, 2.5, 5.0, 7.5, 10.0)
ORIENTATIONS = {
    "axial": AXIAL,
    "rows reversed": (-1, 0, 0, 0, 1, 0),
    "columns reversed": (1, 0, 0, 0, -1, 0),
    "both reversed": (-1, 0, 0, 0, -1, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.36, 0.48, 0.8),
}


def check(
    node: Any, stored: NDArray[Any], positions: Sequence[Any], orientation: Sequence[float], scaling: float = 1e-3
) -> None:
    """Every stored number is at its place: position + column x row cosine + row x column cosine."""
    row_direction, column_direction = np.array(orientation[:3], float), np.array(orientation[3:], float)
    for frame, position in enumerate(positions):
        for row, column in np.ndindex(stored.shape[1:]):
            point = np.array(position) + row_direction * column * SPACING[1] + column_direction * row * SPACING[0]
            found = dose_at(node, point)
            assert found == pytest.approx(float(stored[frame, row, column]) * scaling, rel=1e-6), (frame, row, column)


def planes(offsets: Sequence[float], orientation: Sequence[float]) -> list[Any]:
    normal = np.cross(orientation[:3], orientation[3:])
    return [np.array(POSITION) + offset * normal for offset in offsets]


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
@pytest.mark.parametrize("sign", [1, -1], ids=["rising", "falling"])
def test_relative_offsets(orientation: tuple[float, ...], sign: int, tmp_path: Path) -> None:
    """Relative offsets run along row x column, whatever way that points."""
    offsets = [sign * offset for offset in RELATIVE]
    (node,) = loaded(written(dose(offsets=offsets, orientation=orientation), tmp_path / "dose.dcm"))
    check(node, numbers(), planes(offsets, orientation), orientation)
    assert np.linalg.det(matrix_of(node)[:3, :3]) > 0, "volumes from DICOM are right-handed"


@pytest.mark.parametrize("name", ["axial", "rows reversed", "columns reversed", "both reversed"])
@pytest.mark.parametrize("sign", [1, -1], ids=["rising", "falling"])
def test_absolute_offsets(name: str, sign: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Offsets that begin with z of the position are z of the patient, also where the normal points to the feet."""
    orientation = ORIENTATIONS[name]
    offsets = [POSITION[2] + sign * offset for offset in RELATIVE]
    (node,) = loaded(written(dose(offsets=offsets, orientation=orientation), tmp_path / "dose.dcm"))
    check(node, numbers(), [(POSITION[0], POSITION[1], z) for z in offsets], orientation)
    assert np.linalg.det(matrix_of(node)[:3, :3]) > 0
    assert ("another orientation" in caplog.text) == (name != "axial")


def test_absolute_and_relative_are_one_where_the_first_plane_is_at_zero(tmp_path: Path) -> None:
    place = (POSITION[0], POSITION[1], 0.0)
    (node,) = loaded(written(dose(offsets=RELATIVE, position=place), tmp_path / "dose.dcm"))
    check(node, numbers(), [(place[0], place[1], z) for z in RELATIVE], AXIAL)


@pytest.mark.parametrize("first", [3.0, 41.0])
def test_offsets_that_begin_with_something_else(first: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither relative nor absolute: the first plane is where the position says, and that is told."""
    offsets = [first + offset for offset in RELATIVE]
    (node,) = loaded(written(dose(offsets=offsets), tmp_path / "dose.dcm"))
    check(node, numbers(), planes(RELATIVE, AXIAL), AXIAL)
    assert "neither 0 nor z of its position" in caplog.text


def test_absolute_offsets_need_transverse_planes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A coronal dose whose first offset happens to be z of its position is not put along z."""
    orientation = ORIENTATIONS["coronal"]
    (node,) = loaded(written(dose(offsets=[40 + z for z in RELATIVE], orientation=orientation), tmp_path / "d.dcm"))
    check(node, numbers(), planes(RELATIVE, orientation), orientation)
    assert "neither 0 nor z" in caplog.text


def test_slice_thickness_is_no_distance(tmp_path: Path) -> None:
    (node,) = loaded(written(dose(SliceThickness=99, SpacingBetweenSlices=77), tmp_path / "dose.dcm"))
    assert node.GetSpacing() == pytest.approx((3.0, 2.0, 2.5))


def test_irregular_planes_become_runs_without_a_gap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """0, 2, 4, 7, 10: nothing is interpolated; the plane between two runs is in both."""
    offsets = (0.0, 2.0, 4.0, 7.0, 10.0)
    path = written(dose(offsets=offsets), tmp_path / "dose.dcm")
    caplog.set_level(logging.WARNING)
    lower, upper = loaded(path)
    stored, places = numbers(), planes(offsets, AXIAL)
    check(lower, stored[:3], places[:3], AXIAL)
    check(upper, stored[2:], places[2:], AXIAL)
    assert (voxels(lower).shape[0], voxels(upper).shape[0]) == (3, 3)
    assert lower.GetSpacing()[2] == pytest.approx(2)
    assert upper.GetSpacing()[2] == pytest.approx(3)
    assert "not evenly spaced" in caplog.text


def test_irregular_planes_resampled(tmp_path: Path) -> None:
    """At their smallest distance; planes keep their doses, and between them lies the weighted mean of two."""
    offsets = (0.0, -2.0, -4.0, -8.0, -10.0)
    (node,) = loaded(written(dose(offsets=offsets), tmp_path / "dose.dcm"), even=True)
    stored, places = numbers(), planes(offsets, AXIAL)
    check(node, stored, places, AXIAL)
    between = (stored[2].astype(float) + stored[3]) / 2
    check(node, between[None], [(places[2] + places[3]) / 2], AXIAL)
    assert voxels(node).shape[0] == 6


def test_irregular_planes_are_offered_both_ways(tmp_path: Path) -> None:
    path = written(dose(offsets=(0, 2, 4, 7, 10)), tmp_path / "dose.dcm")
    exact, even = examined(path, tmp_path)
    assert (exact.selected, even.selected) == (True, False)
    assert even.confidence < exact.confidence
    assert even.options == {"even": True}
    assert "2 volumes" in exact.warning
    assert "interpolated" in even.warning


def test_unevenly_rounded_positions_are_one_volume(tmp_path: Path) -> None:
    offsets = (0, 2.333, 4.667, 7, 9.333)
    (node,) = loaded(written(dose(offsets=offsets), tmp_path / "dose.dcm"))
    assert voxels(node).shape[0] == 5
    assert node.GetSpacing()[2] == pytest.approx(9.333 / 4)


def test_shuffled_planes_are_sorted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    offsets = (0, 5, 2.5, 10, 7.5)
    (node,) = loaded(written(dose(offsets=offsets), tmp_path / "dose.dcm"))
    check(node, numbers(), planes(offsets, AXIAL), AXIAL)
    assert "neither rises nor falls" in caplog.text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"GridFrameOffsetVector": None}, "GridFrameOffsetVector is missing"),
        ({"GridFrameOffsetVector": [0, 2.5]}, "holds 2 numbers"),
        ({"GridFrameOffsetVector": [0, 2.5, 2.5, 5, 7.5]}, "same place"),
        ({"GridFrameOffsetVector": [0, 2.5, 5, 7.5, 1e9]}, "GridFrameOffsetVector"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient is missing"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular"),
        ({"ImageOrientationPatient": [1, 0, 0]}, "not 6 numbers"),
        ({"PixelSpacing": [0, 2]}, "not two positive lengths"),
    ],
)
def test_planes_that_cannot_be_placed(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    """An error that says why, and a loadable that says it before."""
    path = written(dose(**values), tmp_path / "dose.dcm")
    with pytest.raises((GeometryError, UnreadableError), match=words):
        loaded(path)
    (loadable,) = examined(path, tmp_path)
    assert words in loadable.warning


def test_far_too_irregular_planes(tmp_path: Path) -> None:
    offsets = np.cumsum([0, *(2 + 0.3 * (number % 2) for number in range(60))])
    path = written(dose(numbers(61, 2, 2), offsets=offsets.tolist()), tmp_path / "dose.dcm")
    with pytest.raises(GeometryError, match=r"60 volumes.*even=True"):
        loaded(path)
    (node,) = loaded(path, even=True)
    assert node.GetSpacing()[2] == pytest.approx(2, rel=0.1)


def test_more_offsets_than_planes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (node,) = loaded(written(dose(offsets=[*RELATIVE, 99.0]), tmp_path / "dose.dcm"))
    check(node, numbers(), planes(RELATIVE, AXIAL), AXIAL)
    assert "6 numbers for 5 planes" in caplog.text


@pytest.mark.parametrize("pointer", [None, 0x00181063])
def test_frame_increment_pointer_is_checked(
    pointer: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (node,) = loaded(written(dose(FrameIncrementPointer=pointer), tmp_path / "dose.dcm"))
    check(node, numbers(), planes(RELATIVE, AXIAL), AXIAL)
    assert "FrameIncrementPointer" in caplog.text
    assert OFFSETS == 0x3004000C


@pytest.mark.parametrize("offsets", [None, [0.0], [40.0]])
def test_single_plane(offsets: list[float] | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its thickness is unknown, and nothing that is not one is taken for it."""
    stored = numbers(1)
    ds = dose(stored)
    if offsets is not None:
        ds.GridFrameOffsetVector = offsets
    (node,) = loaded(written(ds, tmp_path / "dose.dcm"))
    check(node, stored, planes([0], AXIAL), AXIAL)
    assert node.GetSpacing()[2] == pytest.approx(2.0)
    assert "one plane" in caplog.text


def test_one_voxel(tmp_path: Path) -> None:
    """Dose grids of 1 x 1 occur where only histograms matter."""
    stored = np.array([[[5000]]], "<u2")
    (node,) = loaded(written(dose(stored), tmp_path / "dose.dcm"))
    assert voxels(node).shape == (1, 1, 1)
    assert dose_at(node, POSITION) == pytest.approx(5.0)
