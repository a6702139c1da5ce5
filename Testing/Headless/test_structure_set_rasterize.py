"""The fill rule, pixel by pixel: centres inside by the even-odd rule, left and upper edges included."""

from __future__ import annotations

import numpy as np
import pytest
from support.rt_structures import box, circle

from dicombridge.structure_set import rasterize
from dicombridge.structure_set.contours import CLOSED_PLANAR, CLOSED_PLANAR_XOR, Contours
from dicombridge.structure_set.decimals import decimal_numbers
from dicombridge.structure_set.rasterize import even_odd
from dicombridge.structure_set.regions import Region, fill_region


def filled(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    points = np.concatenate(polygons).astype(float)
    starts = np.cumsum([0, *map(len, polygons)])
    result = np.zeros(shape, np.uint8)
    for _, patch in even_odd(points, starts, np.zeros(len(polygons), np.int64), shape):
        rows, columns = patch.mask.shape
        result[patch.row : patch.row + rows, patch.column : patch.column + columns] = patch.mask
    return result


def one_by_one(polygons: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the same, by the definition: a ray to the left of each centre, and how many edges it crosses."""
    result = np.zeros(shape, np.uint8)
    for row, column in np.ndindex(shape):
        for polygon in polygons:
            for (y0, x0), (y1, x1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
                if (y0 <= row) != (y1 <= row) and x0 + (row - y0) * (x1 - x0) / (y1 - y0) <= column:
                    result[row, column] ^= 1
    return result


def contours_of(polygons: list[np.ndarray], types: list[int] | None = None) -> Contours:
    """Return contours whose coordinates (slice, row, column) are those of the grid below."""
    points = np.concatenate(polygons)[:, [2, 1, 0]]  # x is the column, y the row
    starts = np.cumsum([0, *map(len, polygons)])
    none = np.full(len(polygons), -1)
    return Contours(points, starts, np.array(types or [CLOSED_PLANAR] * len(polygons), np.uint8), none, none)


def region_of(polygons: list[np.ndarray], types: list[int] | None = None, step: float = 1.0) -> Region:
    from dicombridge.geometry import grid

    geometry = grid([0, 0, 0], [1, 0, 0, 0, 1, 0], (1.0, 1.0), (0.0, 0.0, step), (6, 40, 40))
    return fill_region(contours_of(polygons, types), geometry)


def mask_of(region: Region, place: int) -> np.ndarray:
    result = np.zeros((40, 40), np.uint8)
    for at, patch in region.patches:
        if at == place:
            rows, columns = patch.mask.shape
            result[patch.row : patch.row + rows, patch.column : patch.column + columns] ^= patch.mask
    return result


# --- Polygons ------------------------------------------------------------------------------------------------------


def test_centres_on_edges() -> None:
    """The upper and the left edge belong to a region, the lower and the right one do not."""
    result = filled([box(0, 1, 1, 3, 4)[:, 1:]], (5, 6))
    assert result.tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    left = np.array([[0, 0], [0, 4], [9, 7], [9, 0]], float)
    right = np.array([[0, 4], [0, 9], [9, 9], [9, 7]], float)
    assert (filled([left], (9, 9)) + filled([right], (9, 9)) == 1).all()


@pytest.mark.parametrize("seed", range(60))
def test_any_polygons(seed: int) -> None:
    """Random polygons, crossing themselves and each other; half of them with every vertex on a centre."""
    generator = np.random.default_rng(seed)
    polygons = [generator.uniform(-5, 20, (generator.integers(3, 9), 2)) for _ in range(generator.integers(1, 4))]
    if seed % 2:
        polygons = [np.round(polygon) for polygon in polygons]
    np.testing.assert_array_equal(filled(polygons, (13, 15)), one_by_one(polygons, (13, 15)))


def test_wide_polygons() -> None:
    """Rows longer than the 64 pixels that are summed up at a time."""
    wide = box(0, 2, 3, 8, 190)[:, 1:]
    hole = box(0, 4, 60, 6, 130)[:, 1:]
    expected = np.zeros((10, 200), np.uint8)
    expected[2:8, 3:190] = 1
    expected[4:6, 60:130] = 0
    np.testing.assert_array_equal(filled([wide, hole], (10, 200)), expected)


def test_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What bounds the memory does not change the pixels."""
    polygons = [np.random.default_rng(1).uniform(0, 60, (400, 2))]
    at_once = filled(polygons, (60, 60))
    monkeypatch.setattr(rasterize, "_MOST_CROSSINGS", 50)
    monkeypatch.setattr(rasterize, "_MOST_PIXELS", 64)
    np.testing.assert_array_equal(filled(polygons, (60, 60)), at_once)
    assert at_once.any()


def test_rounding_errors_of_matrices_move_no_edge() -> None:
    exact = box(0, 1, 1, 3, 4)[:, 1:]
    np.testing.assert_array_equal(filled([exact * (1 + 1e-13) - 1e-12], (5, 6)), filled([exact], (5, 6)))


def test_decimal_strings_are_those_of_float() -> None:
    texts = ["1.5", "-3", "-0.25", ".5", "5.", "0012.50", "-122.44", "99999999.9999999", "1e3", "11.99832457423", " 7 "]
    numbers = decimal_numbers("\\".join(texts).encode())
    assert numbers is not None
    assert numbers.tolist() == [float(text) for text in texts]
    plain = decimal_numbers("\\".join(texts[:8]).encode())
    assert plain is not None
    assert plain.tolist() == [float(text) for text in texts[:8]]


@pytest.mark.parametrize("text", [b"1\\\\2", b"-", b".", b"1.2.3", b"--1", b"1-2", b"x", b"1:2"])
def test_what_is_no_decimal_string(text: bytes) -> None:
    assert decimal_numbers(text) is None


# --- Contours of one region ----------------------------------------------------------------------------------------


def test_nested_contours_are_holes_and_islands() -> None:
    polygons = [box(1, 2, 2, 30, 30), box(1, 8, 8, 24, 24), box(1, 12, 12, 16, 16)]
    expected = np.zeros((40, 40), np.uint8)
    expected[2:30, 2:30], expected[8:24, 8:24], expected[12:16, 12:16] = 1, 0, 1
    region = region_of(polygons)
    np.testing.assert_array_equal(mask_of(region, 1), expected)
    assert region.warnings == []
    np.testing.assert_array_equal(mask_of(region_of(polygons, [CLOSED_PLANAR_XOR] * 3), 1), expected)


def test_a_keyhole_is_a_hole() -> None:
    outer, inner = box(0, 2, 2, 30, 30)[:, 1:], box(0, 8, 8, 24, 24)[:, 1:]
    ring = np.concatenate([outer, outer[:1], inner[:1], inner[::-1], outer[:1]])
    expected = np.zeros((40, 40), np.uint8)
    expected[2:30, 2:30], expected[8:24, 8:24] = 1, 0
    np.testing.assert_array_equal(filled([ring], (40, 40)), expected)


def test_solid_parts_that_overlap_are_united_but_not_with_xor() -> None:
    polygons = [box(1, 2, 2, 20, 20), box(1, 10, 10, 30, 30)]
    united = np.zeros((40, 40), np.uint8)
    united[2:20, 2:20], united[10:30, 10:30] = 1, 1
    region = region_of(polygons)
    np.testing.assert_array_equal(mask_of(region, 1), united)
    assert "united" in region.warnings[0]
    united[10:20, 10:20] = 0
    np.testing.assert_array_equal(mask_of(region_of(polygons, [CLOSED_PLANAR_XOR] * 2), 1), united)


def test_a_contour_that_is_there_twice_counts_once() -> None:
    region = region_of([circle(2, 20, 20, 9), circle(2, 20, 20, 9)])
    np.testing.assert_array_equal(mask_of(region, 2), mask_of(region_of([circle(2, 20, 20, 9)]), 2))
    assert "twice" in region.warnings[0]


@pytest.mark.parametrize(("height", "place"), [(1.4, 1), (1.5, 2), (1.6, 2), (2.49, 2)])
def test_the_nearest_slice(height: float, place: int) -> None:
    assert [at for at, _ in region_of([circle(height, 20, 20, 9)]).patches] == [place]


def test_of_several_planes_in_a_slice_the_nearest_to_its_centre() -> None:
    """Neither united nor taken for holes of each other."""
    region = region_of([circle(1.7, 20, 20, 9), circle(1.9, 20, 20, 12), circle(2.3, 20, 20, 6)])
    np.testing.assert_array_equal(mask_of(region, 2), mask_of(region_of([circle(2, 20, 20, 12)]), 2))
    assert region.warnings[0].startswith("2 contours lie nearer to a slice's edge")


def test_slices_between_contours_stay_empty() -> None:
    region = region_of([circle(0, 20, 20, 9), circle(2, 20, 20, 9), circle(4, 20, 20, 9)])
    assert [at for at, _ in region.patches] == [0, 2, 4]
    assert region.is_coarse


@pytest.mark.parametrize("places", [(3,), (0, 1, 2), (0, 1, 2, 6, 7)])
def test_few_slices_or_a_gap_are_not_coarse(places: tuple[int, ...]) -> None:
    assert not region_of([circle(place, 20, 20, 9) for place in places]).is_coarse


def test_contours_across_the_slices_have_no_pixels() -> None:
    upright = circle(0, 0, 0, 3)[:, [1, 0, 2]] + (3, 20, 20)
    region = region_of([upright, circle(1, 20, 20, 9)])
    assert [at for at, _ in region.patches] == [1]
    assert "across the slices" in region.warnings[0]


def test_contours_outside_are_counted() -> None:
    region = region_of([circle(9, 20, 20, 9), circle(1, 20, 38, 9), circle(2, 20, 20, 9)])
    assert region.outside == 2
    assert [at for at, _ in region.patches] == [1, 2]
