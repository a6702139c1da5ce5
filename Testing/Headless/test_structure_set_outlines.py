"""Outlines of labels, smooth paths and keyholes: whatever is drawn, the same centres of pixels lie within."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicombridge.encode import decimal_string
from dicombridge.structure_set.encoding import PlaneText, contour_texts
from dicombridge.structure_set.holes import with_keyholes
from dicombridge.structure_set.outlines import label_outlines
from dicombridge.structure_set.smoothing import KEEPS_MASK, Paths, pixel_paths, simplified, smooth_paths
from dicombridge.structure_set.words import number_words, text_of_words

SQUARE = (1.0, 1.0)


def noise(seed: int, labels: int = 2, coarse: int = 1) -> NDArray[Any]:
    generator = np.random.default_rng(seed)
    image = generator.integers(0, labels + 1, (9, 11))
    return np.kron(image, np.ones((coarse, coarse), image.dtype))


def filled(paths: Paths, shape: tuple[int, ...], label: int) -> NDArray[np.bool_]:
    """Pixels whose centres lie within the paths of a label, by the even-odd rule, ray by ray."""
    crossings = np.zeros(shape, int)
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    for loop in np.flatnonzero(paths.labels == label):
        points = paths.points[paths.starts[loop] : paths.starts[loop + 1]]
        for (x, y), (next_x, next_y) in zip(points, np.roll(points, -1, axis=0), strict=True):
            for row in np.flatnonzero((y <= rows) != (next_y <= rows)):
                crossings[row] += columns > x + (rows[row] - y) * (next_x - x) / (next_y - y)
    return crossings % 2 == 1


def circle(radius: float, size: int = 80) -> NDArray[np.bool_]:
    y, x = np.mgrid[:size, :size] + 0.5
    return np.asarray(np.hypot(x - size / 2 - 0.13, y - size / 2 + 0.21) <= radius)


def area(points: NDArray[np.float64]) -> float:
    x, y = points.T
    return float(0.5 * (x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


@pytest.mark.parametrize("coarse", [1, 3])
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("make", [pixel_paths, smooth_paths])
@pytest.mark.parametrize("keyholes", [False, True])
def test_paths_enclose_the_centres_of_the_pixels(make: Any, keyholes: bool, seed: int, coarse: int) -> None:
    """Holes, islands in holes, pixels that touch at corners, the edge of the image: nothing is special."""
    image = noise(seed, coarse=coarse)
    paths = make([(0, label_outlines(image))])
    if make is smooth_paths:
        paths = simplified(paths, KEEPS_MASK, SQUARE)
    if keyholes:
        paths = with_keyholes(paths)
        assert not paths.holes.any()
    for label in (1, 2):
        assert np.array_equal(filled(paths, image.shape, label), image == label)


@pytest.mark.parametrize("seed", range(12))
def test_holes_are_linked_through_their_label(seed: int) -> None:
    """Each link leads along one row of the label, and all links together to an outer loop."""
    image = noise(seed, coarse=2)
    outlines = label_outlines(image)
    signs = [np.sign(area(outlines.points[a:b].astype(float))) for a, b in pairwise(outlines.starts)]
    assert {loop for loop, sign in enumerate(signs) if sign < 0} == set(outlines.links)
    for hole, link in outlines.links.items():
        x, parent_x = outlines.points[link.edge, 0], outlines.points[link.parent_edge, 0]
        assert (image[link.row, parent_x:x] == outlines.labels[hole]).all()
        loop, steps = hole, 0
        while loop in outlines.links and steps <= len(outlines):
            loop, steps = outlines.links[loop].parent, steps + 1
        assert signs[loop] > 0


def test_straight_edges_have_corners_only() -> None:
    image = np.zeros((6, 7), np.uint8)
    image[1:4, 2:6] = 5
    outlines = label_outlines(image)
    assert outlines.labels.tolist() == [5]
    assert {tuple(point) for point in outlines.points.tolist()} == {(2, 1), (6, 1), (6, 4), (2, 4)}
    assert area(outlines.points.astype(float)) == 12


def test_no_label_has_no_outline() -> None:
    outlines = label_outlines(np.zeros((3, 3), np.uint8))
    assert len(outlines) == 0
    assert len(with_keyholes(smooth_paths([(0, outlines)]))) == 0


@pytest.mark.parametrize("radius", [5.0, 12.0, 30.0])
def test_smooth_contours_keep_the_volume(radius: float) -> None:
    """A filter that shrinks would take a tenth of a small organ."""
    mask = circle(radius)
    paths = simplified(smooth_paths([(0, label_outlines(mask.astype(np.uint8)))]), KEEPS_MASK, SQUARE)
    assert len(paths) == 1
    assert area(paths.points) == pytest.approx(np.count_nonzero(mask), rel=0.02)
    off = np.hypot(*(paths.points - (40.13, 39.79)).T) - radius
    assert np.abs(off).max() < 0.6
    corners = label_outlines(mask.astype(np.uint8)).points
    assert np.sqrt((off**2).mean()) < 0.6 * np.sqrt(((np.hypot(*(corners - (40.13, 39.79)).T) - radius) ** 2).mean())


def filtered(image: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Loops of the middles of all edges of pixels, each moved by the filter as it is described, pass by pass."""
    outlines = label_outlines(image)
    loops = []
    for begin, end in pairwise(outlines.starts):
        corners = outlines.points[begin:end]
        step = np.roll(corners, -1, axis=0) - corners
        units = [
            (corner + np.sign(way) * (place + 0.5), way == 0)
            for corner, way in zip(corners, step, strict=True)
            for place in range(np.abs(way).sum())
        ]
        home, free = (np.array(values, float) for values in zip(*units, strict=True))
        points = home.copy()
        for _ in range(8):
            for factor in (0.5, -0.53):
                mean = 0.5 * (np.roll(points, 1, axis=0) + np.roll(points, -1, axis=0))
                points = points + factor * free * (mean - points)
            points = np.clip(points, home - 0.4, home + 0.4)
        loops.append(points)
    return loops


@pytest.mark.parametrize("image", [*map(noise, range(4)), noise(4, coarse=5), noise(5, 1, coarse=40), circle(30.0)])
def test_points_are_looked_up_where_the_filter_moves_them(image: NDArray[Any]) -> None:
    """Edges of one point and of so many that their ends do not feel each other."""
    paths = smooth_paths([(0, label_outlines(image.astype(np.uint8)))])
    expected = filtered(image.astype(np.uint8))
    assert np.diff(paths.starts).tolist() == [len(loop) for loop in expected]
    assert np.abs(paths.points - np.concatenate(expected)).max() < 1e-12


def test_contours_do_not_depend_on_what_is_drawn_with_them() -> None:
    images = [noise(seed, coarse=3) for seed in range(3)]
    together = simplified(smooth_paths([(n, label_outlines(image)) for n, image in enumerate(images)]), 0.2, SQUARE)
    alone = [simplified(smooth_paths([(n, label_outlines(image))]), 0.2, SQUARE) for n, image in enumerate(images)]
    assert np.array_equal(together.points, np.concatenate([one.points for one in alone]))
    assert np.diff(together.starts).tolist() == np.concatenate([np.diff(one.starts) for one in alone]).tolist()


def test_numbers_are_written_as_one_by_one() -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate(
        [
            generator.uniform(-300, 300, 2000),
            generator.integers(-40, 40, 200) / 8,
            [0.0, -0.0, 1e-5, -4e-5, 6e-5, -6e-5, 9.99996, -9999.99994, 0.1, -0.0305],
        ]
    )
    for some in (values, np.append(values, [9999.99996]), 1000 * values):  # a large one makes all go another way
        expected = [decimal_string(value) for value in np.round(some, 4).tolist()]
        assert text_of_words(number_words(some)).decode("ascii").split("\\") == expected


@pytest.mark.parametrize("tolerance", [0.05, 0.3, 1.0])
def test_simplified_paths_stay_within_the_tolerance(tolerance: float) -> None:
    paths = smooth_paths([(0, label_outlines(circle(25.0).astype(np.uint8)))])
    spacing = (0.8, 1.3)
    fewer = simplified(paths, tolerance, spacing)
    assert 4 <= len(fewer.points) < 0.8 * len(paths.points)
    kept, before = fewer.points * spacing, paths.points * spacing
    begin, way = kept, np.roll(kept, -1, axis=0) - kept
    part = np.einsum("pij,ij->pi", before[:, None] - begin, way) / (way**2).sum(axis=1)
    nearest = begin + np.clip(part, 0, 1)[..., None] * way
    assert np.linalg.norm(before[:, None] - nearest, axis=2).min(axis=1).max() <= tolerance + 1e-6


def test_several_slices_are_told_apart() -> None:
    images = [noise(seed) for seed in range(3)]
    paths = with_keyholes(smooth_paths([(place, label_outlines(image)) for place, image in enumerate(images)]))
    for place, image in enumerate(images):
        one = paths.slices == place
        points = paths.points[np.repeat(one, np.diff(paths.starts))]
        starts = np.concatenate([[0], np.cumsum(np.diff(paths.starts)[one])])
        alone = Paths(points, starts, paths.labels[one], paths.slices[one], paths.links, paths.holes[one])
        assert np.array_equal(filled(alone, image.shape, 1), image == 1)


@pytest.mark.parametrize("make", [pixel_paths, smooth_paths])
def test_text_is_where_the_points_are(make: Any) -> None:
    """On a turned plane, and on one whose axes are those of the patient: 16 characters at the most, no minus zero."""
    paths = make([(0, label_outlines(noise(3, coarse=2)))])
    origin = np.array([-31.23046875, 0.1, -57.1])
    for column, row in (((0.9765625, 0, 0), (0, 0.75, 0)), ((0.6, 0.8, 0), (-0.48, 0.36, 0.8))):
        plane = PlaneText(origin, np.array(column), np.array(row), (18, 22))
        for loop, count, data in contour_texts(paths, [plane]):
            texts = data.decode("ascii").split("\\")
            assert len(texts) == 3 * count
            assert all(0 < len(text) <= 16 and text != "-0" and "e" not in text for text in texts)
            points = paths.points[paths.starts[loop] : paths.starts[loop + 1]] - 0.5
            expected = origin + points[:, :1] * column + points[:, 1:] * row
            found = np.array([float(text) for text in texts]).reshape(-1, 3)
            assert np.abs(found - expected).max() < 1e-4
    assert set(texts[2::3]) != {"-57.1"}  # the turned plane
    flat = PlaneText(origin, np.array([1.0, 1e-17, 0.0]), np.array([0.0, 1.0, 1e-16]), (18, 22))
    assert {text for _, _, data in contour_texts(paths, [flat]) for text in data.decode().split("\\")[2::3]} == {
        "-57.1"
    }
