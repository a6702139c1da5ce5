"""The grid of a loaded segmentation and its source images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from support.seg_cases import check, dimensions, load, matrix, rotated
from support.seg_nodes import assert_segment_is, points_by_segment
from support.seg_objects import (
    AXIAL,
    SAGITTAL,
    SPACING,
    Frame,
    blobs,
    ct_series,
    dataset_of_class,
    normal_of,
    positions_along,
    refer_to_series,
    save,
    segmentation,
    stack_frames,
)
from support.volumes import lps_of_volume

import dicombridge
from dicombridge.errors import GeometryError, MissingReferenceError, UnreadableError

SHAPE = (12, 10)


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
    other = [position + np.array([SPACING[1] / 2, 0, 0]) for position in positions]
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


@pytest.mark.parametrize("how", ["instances", "series", "source images of the whole"])
def test_images_named_in_other_places(tmp_path: Path, how: str) -> None:
    """No frame names its image; the series is named somewhere else."""
    uids, positions, database = with_sources(tmp_path)
    dataset = segmentation(stack_frames({1: blobs(1, 2)}, positions[3:5]))
    refer_to_series(dataset, uids[:1])
    if how == "series":
        del dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    elif how != "instances":
        dataset.SourceImageSequence = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        del dataset.ReferencedSeriesSequence
    (node,) = load(dataset, tmp_path, database)
    assert dimensions(node) == (10, 12, 8)
    check([node], dataset)


@pytest.mark.parametrize("series", ["gantry_tilt_siemens", "slice_increment_ge", "hfdl_sagittal", "hitachi_oblique"])
def test_on_real_images(data: Path, tmp_path: Path, series: str) -> None:
    """Tilted gantry, a missing slice, sagittal, double oblique: on the grid that the images themselves get."""
    folder = data / "images" / "geometry" / series
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())]
    shape = (images[0].Rows, images[0].Columns)
    frames = [
        Frame(1, image.ImagePositionPatient, mask, sources=[(str(image.SOPInstanceUID), 0)])
        for image, mask in zip(images, blobs(4, len(images), shape, 0.01), strict=True)
    ]
    dataset = segmentation(
        frames[1:], orientation=images[0].ImageOrientationPatient, spacing=list(map(float, images[0].PixelSpacing))
    )
    (node,) = load(dataset, tmp_path, dicombridge.open_folder(folder))
    check([node], dataset, tolerance=0.02)
    (volume,) = dicombridge.load(folder, scene=dicombridge.new_scene())
    assert volume.GetImageData().GetDimensions() == dimensions(node)
    np.testing.assert_allclose(matrix(node), lps_of_volume(volume), atol=1e-6)


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


def test_multi_frame_source_becomes_the_reference(tmp_path: Path, scene: Any) -> None:
    """A volume of a multi-frame image is found by its one instance, before and after."""
    positions = positions_along(AXIAL, 6, 2)
    uid = enhanced_ct(tmp_path / "ct", positions, range(6))
    dataset = segmentation([Frame(1, positions[3], blobs(1, 1)[0], sources=[(uid, 4)])])
    path = save(dataset, tmp_path / "seg" / "seg.dcm")
    before = dicombridge.load(path, scene=scene)[0]
    volume = dicombridge.load(tmp_path / "ct", scene=scene)[0]
    after = dicombridge.load(path, scene=scene)[0]
    for node in (before, after):
        assert node.GetNodeReference("referenceImageGeometryRef") is volume
