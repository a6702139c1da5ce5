"""Where the voxels of a loaded segmentation lie: orientations, spacings, gaps, stacks, source images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from support.seg_nodes import (
    assert_segment_is,
    image_of,
    lps_of_ijk,
    lps_of_volume,
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
    ct_series,
    dataset_of_class,
    decimals,
    normal_of,
    positions_along,
    refer_to_series,
    save,
    segmentation,
    stack_frames,
)

import dicombridge
from dicombridge.errors import GeometryError, MissingReferenceError, UnreadableError

SHAPE = (12, 10)


def rotated(x: float, y: float, z: float) -> tuple[float, ...]:
    """Cosines of an axial plane after turning it about x, y, z (degrees)."""
    a, b, c = np.radians([x, y, z])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return tuple((about_z @ about_y @ about_x)[:, :2].T.ravel())


ORIENTATIONS = {
    "axial": AXIAL,
    "sagittal": SAGITTAL,
    "coronal": CORONAL,
    "oblique": rotated(20, -35, 50),
    "normal to the feet": (-1, 0, 0, 0, 1, 0),
    "rows to the right, columns to the front": (-1, 0, 0, 0, -1, 0),
    "rows are columns": (0, 1, 0, 1, 0, 0),
}


def load(dataset: Dataset, folder: Path, database: Any = None) -> list[Any]:
    return dicombridge.load(save(dataset, folder / "seg.dcm"), scene=dicombridge.new_scene(), database=database)


def check(nodes: Sequence[Any], dataset: Dataset, tolerance: float = 1e-5) -> None:
    """All voxels of all segments are where the frames say."""
    for number, points in points_by_segment(dataset).items():
        assert_segment_is(nodes, number, points, tolerance)


def dimensions(node: Any) -> tuple[int, int, int]:
    return image_of(node.GetSegmentation().GetNthSegment(0)).GetDimensions()


def matrix(node: Any) -> NDArray[np.float64]:
    return lps_of_ijk(image_of(node.GetSegmentation().GetNthSegment(0)))


def steps(node: Any) -> list[float]:
    return np.linalg.norm(matrix(node)[:3, :3], axis=0).tolist()


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
    from support.seg_nodes import array_of_image

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


# --- source images ---------------------------------------------------------------------------------------------------


def with_sources(folder: Path, **options: Any) -> tuple[list[str], list[NDArray[np.float64]], Any]:
    orientation = options.setdefault("orientation", AXIAL)
    positions = positions_along(orientation, 8, 2.5)
    uids = ct_series(folder / "ct", positions, **options)
    return uids, positions, dicombridge.open_folder(folder / "ct")


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, rotated(10, 20, 30)])
def test_whole_grid_of_the_images(tmp_path: Path, orientation: Sequence[float]) -> None:
    uids, positions, database = with_sources(tmp_path, orientation=orientation)
    dataset = segmentation(stack_frames({1: blobs(1, 2)}, positions[3:5], uids[3:5]), orientation=orientation)
    refer_to_series(dataset, uids[3:5])
    (node,) = load(dataset, tmp_path, database)
    assert dimensions(node) == (10, 12, 8)
    check([node], dataset)
    (volume,) = dicombridge.load(tmp_path / "ct", scene=dicombridge.new_scene())
    np.testing.assert_allclose(matrix(node), lps_of_volume(volume), atol=1e-9)


def test_part_of_each_image(tmp_path: Path) -> None:
    """A segmentation of a rectangle of the images is put into their whole grid."""
    uids, positions, database = with_sources(tmp_path)
    corner = np.array([3 * SPACING[1], 4 * SPACING[0], 0])  # column 3, row 4
    pixels = blobs(2, 3, (5, 6))
    frames = [
        Frame(1, positions[place + 2] + corner, pixels[place], sources=[(uids[place + 2], 0)]) for place in range(3)
    ]
    dataset = segmentation(frames)
    (node,) = load(dataset, tmp_path, database)
    assert dimensions(node) == (10, 12, 8)
    check([node], dataset)


def cut_to_segments(positions: Sequence[NDArray[np.float64]], uids: Sequence[str] = ()) -> list[Frame]:
    """Each segment's frames show another rectangle of their planes."""
    corners = {1: (0, 0), 2: (4, 3), 3: (6, 1)}  # row, column
    return [
        Frame(
            number,
            positions[place] + [column * SPACING[1], row * SPACING[0], 0],
            image,
            sources=[(uids[place], 0)] if uids else (),
        )
        for number, (row, column) in corners.items()
        for place, image in enumerate(blobs(number, 3, (5, 6)), start=1)
    ]


def test_frames_cut_to_their_segment(tmp_path: Path) -> None:
    """Planes are the same, places in them are not."""
    uids, positions, database = with_sources(tmp_path)
    dataset = segmentation(cut_to_segments(positions, uids))
    (node,) = load(dataset, tmp_path, database)
    assert dimensions(node) == (10, 12, 8)
    check([node], dataset)


@pytest.mark.parametrize("orientation", [AXIAL, rotated(20, -35, 50)])
def test_frames_cut_to_their_segment_without_images(tmp_path: Path, orientation: Sequence[float]) -> None:
    frames = cut_to_segments(positions_along(AXIAL, 4, 2.5, (0, 0, 0)))
    turn = np.column_stack([orientation[:3], orientation[3:], normal_of(orientation)])
    for frame in frames:
        frame.position = turn @ np.asarray(frame.position) + [5, 6, 7]
    dataset = segmentation(frames[::-1], orientation=orientation)
    (node,) = load(dataset, tmp_path)
    assert dimensions(node) == (6 + 3, 5 + 6, 3)
    check([node], dataset)


def test_frames_of_one_plane_between_the_pixels(tmp_path: Path) -> None:
    """Half a pixel apart: no grid has both, so that they become two nodes."""
    positions = positions_along(AXIAL, 3, 2)
    other = [position + [SPACING[1] / 2, 0, 0] for position in positions]
    dataset = segmentation(stack_frames({1: blobs(1, 3)}, positions) + stack_frames({2: blobs(2, 3)}, other))
    nodes = load(dataset, tmp_path)
    assert [dimensions(node) for node in nodes] == [(10, 12, 3)] * 2
    check(nodes, dataset)


def test_planes_that_zigzag(tmp_path: Path) -> None:
    """With gaps, and shifted in their plane by no whole pixels: several nodes, nothing lost."""
    places, shifts = [0, 1, 2, 4, 8, 9], [0, 0.3, 0.1, 0.37, 0.6, 0.05]
    frames = [
        Frame(1, (shift, 0, 2.0 * place), image)
        for place, shift, image in zip(places, shifts, blobs(7, 6), strict=True)
    ]
    dataset = segmentation(frames)
    check(load(dataset, tmp_path), dataset)


@pytest.mark.parametrize("why", ["half a pixel off", "finer", "turned", "between the slices", "beyond the images"])
def test_own_grid_where_it_does_not_fit(tmp_path: Path, why: str) -> None:
    uids, positions, database = with_sources(tmp_path)
    orientation, spacing, shape, shift = AXIAL, SPACING, SHAPE, np.zeros(3)
    if why == "half a pixel off":
        shift[:] = SPACING[1] / 2, 0, 0
    elif why == "finer":
        spacing, shape = (SPACING[0] / 2, SPACING[1] / 2), (24, 20)
    elif why == "turned":
        orientation = rotated(0, 0, 5)
    elif why == "between the slices":
        shift[2] = 1.25
    else:
        shift[0] = 4 * SPACING[1]
    frames = stack_frames({1: blobs(1, 3, shape)}, [position + shift for position in positions[2:5]], uids[2:5])
    dataset = segmentation(frames, orientation=orientation, spacing=spacing)
    (node,) = load(dataset, tmp_path, database)
    assert dimensions(node) == (shape[1], shape[0], 3)
    check([node], dataset)


@pytest.mark.parametrize("order", ["as the images", "backward"])
def test_images_with_the_normal_to_the_feet(tmp_path: Path, order: str) -> None:
    """The images run the other way than their segmentation's frames."""
    uids, positions, database = with_sources(tmp_path, orientation=(-1, 0, 0, 0, 1, 0))
    frames = stack_frames({1: blobs(1, 8)}, positions, uids)
    dataset = segmentation(frames if order != "backward" else frames[::-1], orientation=(-1, 0, 0, 0, 1, 0))
    (node,) = load(dataset, tmp_path, database)
    assert dimensions(node) == (10, 12, 8)
    check([node], dataset)


def without_places(dataset: Dataset) -> Dataset:
    """As Siemens syngo writes it: nothing but derivation images tells where the frames lie."""
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    del dataset.SharedFunctionalGroupsSequence
    del dataset.FrameOfReferenceUID
    return dataset


@pytest.mark.parametrize("orientation", [AXIAL, rotated(10, 20, 30)])
def test_no_positions_but_derivation_images(tmp_path: Path, orientation: Sequence[float]) -> None:
    uids, positions, database = with_sources(tmp_path, orientation=orientation)
    frames = stack_frames({1: blobs(1, 4), 2: blobs(2, 4)}, positions[2:6], uids[2:6])[::-1]
    dataset = segmentation(frames, orientation=orientation)
    expected = points_by_segment(dataset)
    (node,) = load(without_places(dataset), tmp_path, database)
    assert dimensions(node) == (10, 12, 8)
    for number, points in expected.items():
        assert_segment_is(node, number, points)


def test_no_positions_and_no_images(tmp_path: Path, scene: Any) -> None:
    uids, positions, _ = with_sources(tmp_path)
    dataset = without_places(segmentation(stack_frames({1: blobs(1, 4)}, positions[2:6], uids[2:6])))
    path = save(dataset, tmp_path / "alone" / "seg.dcm")
    before = scene.GetNumberOfNodes()
    with pytest.raises(MissingReferenceError, match="source images") as caught:
        dicombridge.load(path, scene=scene)
    assert str(path) in str(caught.value)
    assert uids[2] in str(caught.value)
    assert scene.GetNumberOfNodes() == before
    with dicombridge.open_folder(path) as database:
        (loadable,) = dicombridge.examine(database)
    assert set(loadable.referencedInstanceUIDs) == set(uids[2:6])
    assert loadable.warning


def test_nothing_tells_where_the_frames_lie(tmp_path: Path) -> None:
    dataset = without_places(segmentation(stack_frames({1: blobs(1, 2)}, positions_along(AXIAL, 2, 1))))
    with pytest.raises(UnreadableError, match=r"neither where they lie nor"):
        load(dataset, tmp_path)


def test_no_positions_and_other_size(tmp_path: Path) -> None:
    uids, positions, database = with_sources(tmp_path)
    frames = stack_frames({1: blobs(1, 2, (6, 5))}, positions[2:4], uids[2:4])
    with pytest.raises(GeometryError, match="another size"):
        load(without_places(segmentation(frames)), tmp_path, database)


def enhanced_ct(folder: Path, positions: Sequence[NDArray[np.float64]], order: Sequence[int]) -> str:
    """A multi-frame image whose frames are in this order."""
    dataset = dataset_of_class("1.2.840.10008.5.1.4.1.1.2.1")
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SeriesNumber = "1.2.3.41", "CT", 5
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 1
    dataset.Rows, dataset.Columns = SHAPE
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    frames = [Frame(1, positions[place], np.zeros(SHAPE)) for place in order]
    groups = segmentation(frames)
    dataset.SharedFunctionalGroupsSequence = groups.SharedFunctionalGroupsSequence
    for group in groups.PerFrameFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence
    dataset.PerFrameFunctionalGroupsSequence = groups.PerFrameFunctionalGroupsSequence
    dataset.NumberOfFrames = len(order)
    dataset.PixelData = np.zeros((len(order), *SHAPE), "<i2").tobytes()
    save(dataset, folder / "enhanced.dcm")
    return str(dataset.SOPInstanceUID)


@pytest.mark.parametrize("places", [True, False], ids=["with positions", "frame numbers only"])
def test_multi_frame_source(tmp_path: Path, places: bool) -> None:
    """The frame number of the source tells the place where nothing else does."""
    positions = positions_along(AXIAL, 6, 2)
    order = [3, 0, 5, 1, 2, 4]
    uid = enhanced_ct(tmp_path / "ct", positions, order)
    frame_number = {place: number for number, place in enumerate(order, start=1)}
    pixels = blobs(3, 6)
    frames = [Frame(1, positions[at], pixels[at], sources=[(uid, frame_number[at])]) for at in (1, 2, 4)]
    dataset = segmentation(frames)
    expected = points_by_segment(dataset)[1]
    database = dicombridge.open_folder(tmp_path / "ct")
    (node,) = load(dataset if places else without_places(dataset), tmp_path, database)
    assert dimensions(node) == (10, 12, 6)
    assert_segment_is(node, 1, expected)


def test_sources_of_two_series(tmp_path: Path) -> None:
    """Each stack on the grid of its own images."""
    axial = positions_along(AXIAL, 4, 2)
    sagittal = positions_along(SAGITTAL, 5, 3)
    axial_uids = ct_series(tmp_path / "ct", axial)
    sagittal_uids = ct_series(tmp_path / "ct", sagittal, orientation=SAGITTAL, series="1.2.3.44")
    frames = stack_frames({1: blobs(1, 1)}, axial[1:2], axial_uids[1:2])
    other = stack_frames({1: blobs(2, 1)}, sagittal[2:3], sagittal_uids[2:3])
    other[0].orientation = SAGITTAL
    dataset = segmentation(frames + other)
    nodes = load(dataset, tmp_path, dicombridge.open_folder(tmp_path / "ct"))
    assert sorted(dimensions(node)[2] for node in nodes) == [4, 5]
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
