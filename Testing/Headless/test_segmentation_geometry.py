"""Where the voxels of a loaded segmentation lie: orientations, spacings, gaps, stacks, source images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from support.seg_cases import check, dimensions, load, matrix, rotated, steps
from support.seg_nodes import (
    assert_segment_is,
    image_of,
    points_by_segment,
    segment_ids,
)
from support.seg_objects import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    SPACING,
    Frame,
    blobs,
    decimals,
    normal_of,
    positions_along,
    segment_item,
    segmentation,
    stack_frames,
)

from dicombridge.errors import GeometryError

SHAPE = (12, 10)


ORIENTATIONS = {
    "axial": AXIAL,
    "sagittal": SAGITTAL,
    "coronal": CORONAL,
    "oblique": rotated(20, -35, 50),
    "normal to the feet": (-1, 0, 0, 0, 1, 0),
    "rows to the right, columns to the front": (-1, 0, 0, 0, -1, 0),
    "rows are columns": (0, 1, 0, 1, 0, 0),
}


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_any_orientation_in_any_order(tmp_path: Path, name: str, order: str) -> None:
    orientation = ORIENTATIONS[name]
    masks = {1: blobs(1, 5), 2: blobs(2, 5)}
    frames = stack_frames(masks, positions_along(orientation, 5, 2.5))
    frames = frames[::-1] if order == "backward" else frames
    if order == "shuffled":
        frames = [frames[number] for number in np.random.default_rng(3).permutation(len(frames))]
    dataset = segmentation(frames, orientation=orientation)
    (node,) = load(dataset, tmp_path)
    assert dimensions(node) == (10, 12, 5)
    check([node], dataset)
    assert steps(node) == pytest.approx([SPACING[1], SPACING[0], 2.5], abs=1e-6)
    assert np.linalg.det(matrix(node)[:3, :3]) > 0  # right-handed, as MRML volumes from DICOM are


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"SliceThickness": "1"},
        {"SliceThickness": "40", "SpacingBetweenSlices": "0.1"},
        {"SpacingBetweenSlices": "0"},
        {"SpacingBetweenSlices": "-2.5"},
    ],
)
def test_only_positions_say_the_spacing(tmp_path: Path, wrong: dict[str, str]) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 4)}, positions_along(AXIAL, 4, 2.5)))
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    for keyword, value in wrong.items():
        setattr(measures, keyword, value)
    (node,) = load(dataset, tmp_path)
    assert dimensions(node)[2] == 4
    check([node], dataset)


@pytest.mark.parametrize("thickness", ["", "3.5"])
def test_one_frame(tmp_path: Path, thickness: str) -> None:
    """Nothing but SliceThickness tells the extent of a single plane; without it, 1 mm."""
    dataset = segmentation(stack_frames({1: blobs(1, 1)}, positions_along(SAGITTAL, 1, 1)), orientation=SAGITTAL)
    if thickness:
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = thickness
    (node,) = load(dataset, tmp_path)
    assert steps(node)[2] == pytest.approx(float(thickness or 1))
    check([node], dataset)


@pytest.mark.parametrize(("places", "slices"), [([0, 1, 2, 9], 10), ([0, 5], 2), ([0, 2, 5, 11], 12), ([7, 0, 3], 8)])
def test_gaps(tmp_path: Path, places: list[int], slices: int) -> None:
    """Frames are left out where nothing is in them; the spacing is the one that all distances are multiples of."""
    positions = positions_along(AXIAL, 12, 1.5)
    frames = [Frame(1, positions[place], blobs(place, 1)[0]) for place in places]
    dataset = segmentation(frames)
    (node,) = load(dataset, tmp_path)
    assert dimensions(node)[2] == slices
    check([node], dataset)


def test_spacing_per_frame(tmp_path: Path) -> None:
    """Pixel measures and orientation may stand in each frame instead of the shared groups."""
    dataset = segmentation(stack_frames({1: blobs(1, 3)}, positions_along(CORONAL, 3, 2)), orientation=CORONAL)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for group in dataset.PerFrameFunctionalGroupsSequence:
        group.PixelMeasuresSequence = shared.PixelMeasuresSequence
        group.PlaneOrientationSequence = shared.PlaneOrientationSequence
    del dataset.SharedFunctionalGroupsSequence
    (node,) = load(dataset, tmp_path)
    assert dimensions(node) == (10, 12, 3)
    check([node], dataset)


# --- several stacks --------------------------------------------------------------------------------------------------


def test_two_orientations_make_two_nodes(tmp_path: Path) -> None:
    axial = stack_frames({1: blobs(1, 3), 2: blobs(2, 3)}, positions_along(AXIAL, 3, 2))
    sagittal = stack_frames({1: blobs(3, 4)}, positions_along(SAGITTAL, 4, 3))
    for frame in sagittal:
        frame.orientation = SAGITTAL
    mixed = [frame for pair in zip(axial, [*sagittal, sagittal[0], sagittal[0]], strict=False) for frame in pair]
    dataset = segmentation(mixed[:10])
    nodes = load(dataset, tmp_path)
    assert [dimensions(node)[2] for node in nodes] in ([3, 4], [4, 3])
    assert len({node.GetName() for node in nodes}) == 2
    for node in nodes:  # every segment is in every node, empty where it has no voxel there
        assert segment_ids(node) == ["Segment_1", "Segment_2"]
    expected = points_by_segment(dataset)
    assert_segment_is(nodes, 2, expected[2])
    assert_segment_is(nodes, 1, np.unique(expected[1].round(6), axis=0), 1e-5)


def test_rotating_planes_make_a_node_each(tmp_path: Path) -> None:
    """As from radial MR: each frame has its own orientation."""
    angles = (0, 30, 60, 90)
    pixels = blobs(5, 4)
    frames = [Frame(1, (0, 0, 0), pixels[n], orientation=rotated(0, angle, 0)) for n, angle in enumerate(angles)]
    dataset = segmentation(frames)
    nodes = load(dataset, tmp_path)
    assert len(nodes) == 4
    points = points_by_segment(dataset)[1]
    total = sum(int((np.asarray(_labels(node)) != 0).sum()) for node in nodes)
    assert total == len(points)


def _labels(node: Any) -> NDArray[Any]:
    from support.volumes import array_of_image

    return array_of_image(image_of(node.GetSegmentation().GetNthSegment(0)))


def test_irregular_spacing_loses_nothing(tmp_path: Path) -> None:
    heights = [0, 2.5, 5, 7.5, 9.1, 10.7, 12.3, 20.77]
    frames = [Frame(1, (0, 0, z), pixels) for z, pixels in zip(heights, blobs(6, 8), strict=True)]
    dataset = segmentation(frames)
    nodes = load(dataset, tmp_path)
    assert sum(dimensions(node)[2] for node in nodes) == len(heights)
    check(nodes, dataset)


def test_slanted_frames(tmp_path: Path) -> None:
    """Frames that are shifted in their plane from slice to slice, as of a tilted gantry, are sheared and exact."""
    positions = [np.array([1.0, 2.0, 3.0]) + place * np.array([0, 1.21, 4.85]) for place in range(4)]
    dataset = segmentation(stack_frames({1: blobs(1, 4)}, positions))
    (node,) = load(dataset, tmp_path)
    np.testing.assert_allclose(matrix(node)[:3, 2], [0, 1.21, 4.85], atol=1e-9)
    check([node], dataset)


def test_two_pixel_spacings(tmp_path: Path) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 4)}, positions_along(AXIAL, 4, 2)))
    for group in dataset.PerFrameFunctionalGroupsSequence[2:]:
        measures = Dataset()
        measures.PixelSpacing = ["0.4", "0.4"]
        group.PixelMeasuresSequence = [measures]
    nodes = load(dataset, tmp_path)
    assert len(nodes) == 2
    check(nodes, dataset)


@pytest.mark.parametrize("far", [20_000.0, 90_000.0])
def test_frames_of_absurd_places(tmp_path: Path, far: float) -> None:
    """A far frame must not fill the memory with empty slices; it becomes a node of its own."""
    heights = [0, 0.5, 1.0, far]
    frames = [Frame(1, (0, 0, z), pixels) for z, pixels in zip(heights, blobs(6, 4), strict=True)]
    dataset = segmentation(frames)
    nodes = load(dataset, tmp_path)
    assert [dimensions(node)[2] for node in nodes] == [3, 1]
    check(nodes, dataset)


@pytest.mark.parametrize("cosines", [(1, 0, 0, 1, 0, 0), (0, 0, 0, 0, 0, 0), (2, 0, 0, 0, 1, 0)])
def test_planes_that_are_none(tmp_path: Path, cosines: Sequence[float]) -> None:
    dataset = segmentation(stack_frames({1: blobs(1, 2)}, positions_along(AXIAL, 2, 1)))
    plane = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = decimals(cosines)
    with pytest.raises(GeometryError, match="orientation"):
        load(dataset, tmp_path)


def test_rounded_positions_do_not_add_up(tmp_path: Path) -> None:
    """Positions of two decimals over many slices stay within half of the last digit."""
    orientation = rotated(13, 0, 0)
    exact = positions_along(orientation, 150, 0.7)
    frames = [Frame(1, position.round(2), blobs(n, 1)[0]) for n, position in enumerate(exact)]
    dataset = segmentation(frames, orientation=orientation)
    (node,) = load(dataset, tmp_path)
    assert dimensions(node)[2] == 150
    assert steps(node)[2] == pytest.approx(0.7, abs=1e-3)
    assert normal_of(orientation) @ (matrix(node)[:3, 2] / 0.7) == pytest.approx(1, abs=1e-3)
    check([node], dataset, tolerance=0.02)


@pytest.mark.parametrize("seed", range(12))
def test_anything_at_once(tmp_path: Path, seed: int) -> None:
    """Random orientation, spacing, size, gaps, overlaps, order and type."""
    rng = np.random.default_rng(seed)
    kind = ("BINARY", "FRACTIONAL", "LABELMAP")[seed % 3]
    orientation = rotated(*rng.uniform(-180, 180, 3))
    shape = tuple(int(size) for size in rng.integers(1, 40, 2))
    spacing = rng.uniform(0.2, 3, 2).round(4)
    every = positions_along(orientation, 12, float(rng.uniform(0.5, 6)), rng.uniform(-300, 300, 3))
    # Two neighbours tell the spacing; the others may be missing.
    places = sorted({0, 1, *rng.choice(np.arange(2, 12), 5).tolist()})
    numbers = sorted(set(rng.integers(1, 200, 4).tolist()))
    if kind == "LABELMAP":
        frames = [Frame(0, every[at], rng.choice([0, *numbers], shape).astype(np.uint8)) for at in places]
    else:
        full = 1 if kind == "BINARY" else 255
        frames = [Frame(n, every[at], (rng.random(shape) < 0.4) * np.uint8(full)) for n in numbers for at in places]
    frames = [frames[at] for at in rng.permutation(len(frames))]
    segments = [segment_item(number) for number in rng.permutation(numbers).tolist()]
    dataset = segmentation(frames, kind=kind, segments=segments, orientation=orientation, spacing=spacing.tolist())
    node = load(dataset, tmp_path)[0]
    assert dimensions(node) == (shape[1], shape[0], places[-1] + 1)
    for number, points in points_by_segment(dataset).items():
        if number:
            assert_segment_is(node, number, points)
