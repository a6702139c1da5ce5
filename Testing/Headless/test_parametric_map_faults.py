"""Faults of other readers of parametric maps, which must not be made here: each has a test of its own.

The faults are those of Slicer's DICOMParametricMapPlugin, which lets dcmqi's paramap2itkimage do the reading.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pm_objects import MapFrame, mapping_item, parametric_map, planes_of, write
from support.volumes import array_of, lps_of_volume

import dicombridge

SLICES = 8
SHAPE = (20, 30)
SPACING = (0.8, 1.2)
STEP = 2.5


def stack(pixels: Any, **options: Any) -> list[MapFrame]:
    return [MapFrame((0, 0, STEP * k), plane, **options) for k, plane in enumerate(pixels)]


def test_a_map_without_frame_anatomy_loads(scene: Any, tmp_path: Path) -> None:
    """dcmqi ends with a segmentation fault where Frame Anatomy is absent, as in all maps of highdicom."""
    pixels = planes_of(SLICES, SHAPE)
    dataset = parametric_map(stack(pixels), mappings=[mapping_item()], spacing=SPACING)
    assert "FrameAnatomySequence" not in dataset.SharedFunctionalGroupsSequence[0]
    (node,) = dicombridge.load(write(dataset, tmp_path), scene=scene)
    np.testing.assert_array_equal(array_of(node), pixels)


@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_all_types_of_pixels_load(scene: Any, tmp_path: Path, dtype: str) -> None:
    """dcmqi ends with a segmentation fault at everything but float32."""
    pixels = planes_of(SLICES, SHAPE, dtype)
    dataset = parametric_map(stack(pixels), mappings=[mapping_item(0.5)], spacing=SPACING)
    (node,) = dicombridge.load(write(dataset, tmp_path), scene=scene)
    np.testing.assert_allclose(array_of(node), pixels * 0.5)


def test_slope_and_intercept_are_applied_with_their_units(scene: Any, tmp_path: Path) -> None:
    """Slicer shows the units of the mapping beside values to which it wasn't applied."""
    pixels = planes_of(SLICES, SHAPE)
    item = mapping_item(0.001, 5.0, units=("mm2/s", "UCUM", "mm2/s"))
    (node,) = dicombridge.load(write(parametric_map(stack(pixels), mappings=[item]), tmp_path), scene=scene)
    np.testing.assert_allclose(array_of(node), pixels.astype(float) * 0.001 + 5.0, rtol=1e-6)
    assert node.GetVoxelValueUnits().GetCodeValue() == "mm2/s"


def test_two_channels_are_two_volumes(scene: Any, tmp_path: Path) -> None:
    """dcmqi makes one volume of 16 slices 1, 10, 2, 20, 3, 30, ... of them."""
    frames = []
    for k in range(SLICES):
        for label, value in (("A", k + 1), ("B", 10 * (k + 1))):
            item = mapping_item(label=label)
            pixels = np.full(SHAPE, value, np.float32)
            frames.append(MapFrame((0, 0, STEP * k), pixels, {"RealWorldValueMappingSequence": [item]}))
    first, second = dicombridge.load(write(parametric_map(frames), tmp_path), scene=scene)
    assert array_of(first)[:, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert array_of(second)[:, 0, 0].tolist() == [10, 20, 30, 40, 50, 60, 70, 80]


def test_frames_from_top_to_bottom_are_not_flipped(scene: Any, tmp_path: Path) -> None:
    """dcmqi takes the voxels in the order of the frames, and the geometry in that of the positions."""
    pixels = planes_of(SLICES, SHAPE)
    dataset = parametric_map(stack(pixels)[::-1], mappings=[mapping_item()], spacing=SPACING)
    (node,) = dicombridge.load(write(dataset, tmp_path), scene=scene)
    np.testing.assert_array_equal(array_of(node), pixels)
    np.testing.assert_allclose(lps_of_volume(node), np.diag([SPACING[1], SPACING[0], STEP, 1]), atol=1e-6)


def test_all_mappings_count(scene: Any, tmp_path: Path) -> None:
    """Slicer takes the first one only."""
    items = [mapping_item(label="A"), mapping_item(2.0, label="B", units=("ms", "UCUM", "ms"))]
    dataset = parametric_map(stack(planes_of(SLICES, SHAPE)), mappings=items)
    nodes = dicombridge.load(write(dataset, tmp_path), scene=scene)
    np.testing.assert_allclose(array_of(nodes[1]), 2 * array_of(nodes[0]))


def test_the_images_of_the_map_are_offered(tmp_path: Path) -> None:
    """Slicer offers none, so a map is shown on nothing."""
    uids = [f"1.2.3.4.{k}" for k in range(SLICES)]
    frames = stack(planes_of(SLICES, SHAPE))
    for frame, uid in zip(frames, uids, strict=True):
        frame.sources = [(uid, 0)]
    write(parametric_map(frames, mappings=[mapping_item()]), tmp_path)
    with dicombridge.open_folder(tmp_path, index=":memory:") as database:
        (loadable,) = dicombridge.examine(database)
    assert sorted(loadable.referencedInstanceUIDs) == uids


def test_the_window_of_the_map_is_shown(scene: Any, tmp_path: Path) -> None:
    dataset = parametric_map(stack(planes_of(SLICES, SHAPE)), mappings=[mapping_item()], window=(40, 400))
    (node,) = dicombridge.load(write(dataset, tmp_path), scene=scene)
    assert (node.GetDisplayNode().GetWindow(), node.GetDisplayNode().GetLevel()) == (400, 40)


@pytest.mark.parametrize("thickness", [None, 1.0, 7.0])
def test_slice_thickness_is_no_distance(scene: Any, tmp_path: Path, thickness: float | None) -> None:
    """dcmqi takes it for one, and refuses an object without it."""
    dataset = parametric_map(stack(planes_of(SLICES, SHAPE)), mappings=[mapping_item()], spacing=SPACING)
    if thickness is not None:
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SliceThickness = measures.SpacingBetweenSlices = thickness
    (node,) = dicombridge.load(write(dataset, tmp_path), scene=scene)
    assert node.GetSpacing()[2] == pytest.approx(STEP)
    assert array_of(node).shape == (SLICES, *SHAPE)


def test_values_outside_the_mapped_range_are_no_error(
    scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """highdicom raises ValueError at the first such value; one is enough to lose the map."""
    pixels = np.clip(planes_of(SLICES, SHAPE), -1, 1)
    pixels[3, 4, 5] = 1.5
    item = mapping_item(2.0, values=(-1.0, 1.0), vr="FD")
    with caplog.at_level(logging.WARNING):
        (node,) = dicombridge.load(write(parametric_map(stack(pixels), mappings=[item]), tmp_path), scene=scene)
    np.testing.assert_allclose(array_of(node), 2 * pixels)
    assert "1 voxels of the map" in caplog.text
