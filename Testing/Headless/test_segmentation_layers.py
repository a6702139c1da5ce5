"""Overlapping, empty, numerous and oddly numbered segments."""

from __future__ import annotations

import itertools
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from support.seg_nodes import (
    assert_segment_is,
    mask_of,
    names,
    points_by_segment,
    segment_ids,
    segment_named,
    tag,
)
from support.seg_objects import AXIAL, Frame, blobs, positions_along, save, segment_item, segmentation, stack_frames

import dicombridge
from dicombridge.errors import DicomBridgeError
from dicombridge.segmentation.layers import colour_conflicts

SHAPE = (12, 10)
POSITIONS = positions_along(AXIAL, 3, 2)


def load(dataset: Dataset, folder: Path) -> Any:
    (node,) = dicombridge.load(save(dataset, folder / "seg.dcm"), scene=dicombridge.new_scene())
    return node


def layers(node: Any) -> int:
    return int(node.GetSegmentation().GetNumberOfLayers())


def disjoint(count: int, size: int = 2) -> dict[int, NDArray[np.uint8]]:
    """Segments 1 to count, each some voxels that no other has."""
    order = np.random.default_rng(1).permutation(3 * SHAPE[0] * SHAPE[1])
    masks = {}
    for number in range(count):
        mask = np.zeros(3 * SHAPE[0] * SHAPE[1], np.uint8)
        mask[order[number * size : (number + 1) * size]] = 1
        masks[number + 1] = mask.reshape(3, *SHAPE)
    return masks


def overlapping(pairs: list[tuple[int, int]], count: int) -> dict[int, NDArray[np.uint8]]:
    """Segments of which exactly these pairs share a voxel."""
    masks = disjoint(count + len(pairs))
    return {
        number: masks[number] + sum(masks[count + 1 + at] for at, pair in enumerate(pairs) if number in pair)
        for number in range(1, count + 1)
    }


GRAPHS = {
    "no pair": ([], 6, 1),
    "one pair": ([(1, 2)], 4, 2),
    "all pairs of three": ([(1, 2), (1, 3), (2, 3)], 3, 3),
    "all pairs of five": (list(itertools.combinations(range(1, 6), 2)), 5, 5),
    "odd ring": ([(1, 2), (2, 3), (3, 4), (4, 5), (5, 1)], 5, 3),
    "even ring": ([(1, 2), (2, 3), (3, 4), (4, 1)], 4, 2),
    "chain": ([(number, number + 1) for number in range(1, 9)], 9, 2),
    "two groups": ([(one, other) for one in (1, 3, 5) for other in (2, 4, 6)], 6, 2),
    # Colouring in the order of numbers would take one layer for each pair.
    "crown": ([(a, b) for a in (1, 3, 5, 7) for b in (2, 4, 6, 8) if b != a + 1], 8, 2),
    "wheel of five": ([(1, 2), (2, 3), (3, 4), (4, 5), (5, 1), *((6, n) for n in range(1, 6))], 6, 4),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("by_segment", [True, False], ids=["by segment", "by slice"])
def test_fewest_layers(tmp_path: Path, name: str, by_segment: bool) -> None:
    pairs, count, fewest = GRAPHS[name]
    frames = stack_frames(overlapping(pairs, count), POSITIONS)
    if not by_segment:
        frames.sort(key=lambda frame: (float(frame.position[2]), -frame.segment))
    segments = [segment_item(number) for number in range(1, count + 1)]
    dataset = segmentation(frames, segments=segments)
    node = load(dataset, tmp_path)
    assert layers(node) == fewest
    for number, points in points_by_segment(dataset).items():
        assert len(points)
        assert_segment_is(node, number, points)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_random_overlaps(tmp_path: Path, kind: str) -> None:
    """Also with frames whose size is no multiple of 8, so that they do not begin at a byte."""
    rng = np.random.default_rng(11)
    for round_number in range(6):
        shape = tuple(int(size) for size in rng.integers(1, 20, 2))
        masks = {n: blobs(100 * round_number + n, 3, shape, float(rng.uniform(0.02, 0.5))) for n in range(1, 8)}
        frames = stack_frames({n: mask * (1 if kind == "BINARY" else 255) for n, mask in masks.items()}, POSITIONS)
        if not frames:
            continue
        frames = [frames[at] for at in rng.permutation(len(frames))]
        dataset = segmentation(frames, kind=kind, segments=[segment_item(n) for n in masks])
        path = save(dataset, tmp_path / f"{round_number}.dcm")
        node = dicombridge.load(path, scene=dicombridge.new_scene())[0]
        for number, points in points_by_segment(dataset).items():
            assert_segment_is(node, number, points)
        assert layers(node) == fewest_layers([mask != 0 for mask in masks.values()])


def fewest_layers(masks: list[NDArray[np.bool_]]) -> int:
    """By trying all ways, for a handful of segments."""
    used = [mask for mask in masks if mask.any()]
    clash = [(a, b) for a, b in itertools.combinations(range(len(used)), 2) if (used[a] & used[b]).any()]
    for count in range(1, len(used) + 1):
        for colours in itertools.product(range(count), repeat=len(used)):
            if all(colours[a] != colours[b] for a, b in clash):
                return count
    return 1


@pytest.mark.parametrize("empty", [{1}, {2}, {3}, {4}, {1, 2, 3, 4}, {1, 4}, {2, 3}])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_empty_segments_keep_their_names(tmp_path: Path, kind: str, empty: set[int]) -> None:
    """At any place among the others; nobody takes their name, colour or codes."""
    masks = {number: mask for number, mask in disjoint(4, 20).items() if number not in empty}
    if kind == "LABELMAP":
        array = sum((mask.astype(np.uint8) * number for number, mask in masks.items()), np.zeros((3, *SHAPE), np.uint8))
        frames = [Frame(0, position, image) for position, image in zip(POSITIONS, array, strict=True)]
    else:
        full = 1 if kind == "BINARY" else 255
        frames = stack_frames({number: mask * full for number, mask in masks.items()}, POSITIONS)
        frames = frames or [Frame(1, POSITIONS[0], np.zeros(SHAPE, np.uint8))]
    labels = ["one", "two", "three", "four"]
    segments = [segment_item(number, label) for number, label in enumerate(labels, start=1)]
    dataset = segmentation(frames, kind=kind, segments=segments)
    path = save(dataset, tmp_path / "seg.dcm")
    node = dicombridge.load(path, scene=dicombridge.new_scene())[0]
    assert names(node) == labels
    expected = points_by_segment(dataset)
    for number, label in enumerate(labels, start=1):
        segment = segment_named(node, label)
        assert tag(segment, "DICOMBridge.SegmentNumber") == str(number)
        assert_segment_is(node, number, expected[number])
        assert mask_of(segment).any() == (number not in empty)


def test_numbers_with_holes_in_any_order(tmp_path: Path) -> None:
    masks = dict(zip([700, 3, 65000, 12], disjoint(4, 30).values(), strict=True))
    segments = [segment_item(number, f"organ {number}") for number in (700, 3, 65000, 12)]
    dataset = segmentation(stack_frames(masks, POSITIONS), segments=segments)
    node = load(dataset, tmp_path)
    assert names(node) == ["organ 700", "organ 3", "organ 65000", "organ 12"]
    assert segment_ids(node) == ["Segment_700", "Segment_3", "Segment_65000", "Segment_12"]
    for number, points in points_by_segment(dataset).items():
        assert_segment_is(node, number, points)
    assert layers(node) == 1


def test_undescribed_segments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No voxel is lost because its segment is not described; and it is told."""
    dataset = segmentation(stack_frames(disjoint(3, 30), POSITIONS), segments=[segment_item(2, "known")])
    with caplog.at_level(logging.WARNING):
        node = load(dataset, tmp_path)
    assert names(node) == ["known", "Segment 1", "Segment 3"]
    for number, points in points_by_segment(dataset).items():
        assert_segment_is(node, number, points)
    assert "without a description" in caplog.text


def test_described_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = segmentation(
        stack_frames(disjoint(1, 30), POSITIONS), segments=[segment_item(1, "a"), segment_item(1, "b")]
    )
    with caplog.at_level(logging.WARNING):
        node = load(dataset, tmp_path)
    assert names(node) == ["a"]
    assert "described twice" in caplog.text


def test_overlap_that_the_object_denies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = segmentation(stack_frames(overlapping([(1, 2)], 2), POSITIONS), SegmentsOverlap="NO")
    with caplog.at_level(logging.WARNING):
        node = load(dataset, tmp_path)
    assert layers(node) == 2
    for number, points in points_by_segment(dataset).items():
        assert_segment_is(node, number, points)
    assert "overlap although" in caplog.text


def test_frames_of_one_segment_in_one_slice_join(tmp_path: Path) -> None:
    """Two frames of the same segment at the same position: their union."""
    first, second = blobs(1, 2)
    frames = [Frame(1, POSITIONS[0], first), Frame(1, POSITIONS[0], second), Frame(1, POSITIONS[1], first)]
    node = load(segmentation(frames), tmp_path)
    mask = mask_of(node.GetSegmentation().GetNthSegment(0))
    np.testing.assert_array_equal(mask[0], (first | second) != 0)
    np.testing.assert_array_equal(mask[1], first != 0)


# --- thousands -------------------------------------------------------------------------------------------------------

MANY = 2000


def many_labels() -> NDArray[np.uint16]:
    """2,000 tiny segments in three slices of 64x64."""
    order = np.random.default_rng(2).permutation(3 * 64 * 64)[: MANY * 3]
    array = np.zeros(3 * 64 * 64, np.uint16)
    array[order] = np.repeat(np.arange(1, MANY + 1), 3)
    return array.reshape(3, 64, 64)


def described(count: int) -> list[Dataset]:
    return [segment_item(number, f"cell {number}") for number in range(1, count + 1)]


def check_many(node: Any, array: NDArray[np.uint16]) -> None:
    assert names(node) == [f"cell {number}" for number in range(1, MANY + 1)]
    for number in range(1, MANY + 1, 37):
        np.testing.assert_array_equal(mask_of(segment_named(node, f"cell {number}")), array == number)


def test_thousands_of_segments_in_a_label_map(tmp_path: Path) -> None:
    array = many_labels()
    frames = [Frame(0, position, image) for position, image in zip(POSITIONS, array, strict=True)]
    dataset = segmentation(frames, kind="LABELMAP", bits=16, segments=described(MANY))
    start = time.perf_counter()
    node = load(dataset, tmp_path)
    assert time.perf_counter() - start < 60
    assert layers(node) == 1
    check_many(node, array)


def test_thousands_of_binary_segments(tmp_path: Path) -> None:
    array = many_labels()
    frames = [
        Frame(int(number), POSITIONS[place], (image == number).astype(np.uint8))
        for place, image in enumerate(array)
        for number in np.unique(image[image != 0])
    ]
    dataset = segmentation(frames, segments=described(MANY))
    start = time.perf_counter()
    node = load(dataset, tmp_path)
    assert time.perf_counter() - start < 60
    assert layers(node) == 1
    check_many(node, array)


def test_many_overlaps_in_bounded_time(tmp_path: Path) -> None:
    """600 segments, each over its neighbours: as many layers as lie over each other, within seconds."""
    count, width = 600, 5
    frames = []
    for number in range(1, count + 1):
        image = np.zeros((8, 640), np.uint8)
        image[2:5, number : number + width] = 1
        frames.append(Frame(number, POSITIONS[0], image))
    dataset = segmentation(frames, segments=described(count))
    start = time.perf_counter()
    node = load(dataset, tmp_path)
    assert time.perf_counter() - start < 60
    assert layers(node) == width  # intervals of this length, one each pixel
    for number in (1, 2, 300, 600):
        mask = mask_of(segment_named(node, f"cell {number}"))[0]
        np.testing.assert_array_equal(mask, frames[number - 1].pixels != 0)


def test_undescribed_noise_is_damage(tmp_path: Path) -> None:
    """A label map of random values is not thousands of new segments."""
    noise = np.random.default_rng(3).integers(0, 65536, (3, *SHAPE)).astype(np.uint16)
    frames = [Frame(0, position, image) for position, image in zip(POSITIONS, noise, strict=True)]
    with pytest.raises(DicomBridgeError, match="does not describe"):
        load(segmentation(frames, kind="LABELMAP", bits=16, segments=described(2)), tmp_path)


def test_colouring_is_right_for_random_conflicts() -> None:
    """And never uses more layers than the largest number of conflicts of a segment plus one."""
    rng = np.random.default_rng(5)
    for count in (5, 20, 60, 190, 2000):
        rolls = rng.integers(1, count + 1, (4 * count, 2)).tolist()
        pairs = [(one, other) for one, other in rolls if one != other]
        layer_of = colour_conflicts(range(1, count + 1), pairs)
        assert set(layer_of) == set(range(1, count + 1))
        assert all(layer_of[one] != layer_of[other] for one, other in pairs)
        degree = np.bincount(np.ravel(pairs)).max()
        assert max(layer_of.values()) <= degree
        assert set(layer_of.values()) == set(range(max(layer_of.values()) + 1))
