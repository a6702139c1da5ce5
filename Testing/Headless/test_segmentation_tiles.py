"""Segmentations of slides, in tiles: in and out, equal to highdicom."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from support.seg_nodes import image_of, lps_of_ijk, mask_of, names, segment_ids
from support.tiled_objects import (
    TURNED,
    UPRIGHT,
    affine_of,
    by_hand,
    by_highdicom,
    masks,
    slide,
    write,
)
from support.volumes import array_of_image

import dicombridge
from dicombridge.errors import ExportError, GeometryError, UnreadableError, UnsupportedError
from dicombridge.segmentation import tiles

SHARED = ["seg_image_sm_control.dcm", "seg_image_sm_control_labelmap.dcm", "seg_image_sm_dots.dcm"]
KINDS = ["BINARY", "FRACTIONAL", "LABELMAP"]
ORGANIZATIONS = ["TILED_FULL", "TILED_SPARSE"]


def total_matrix(path: Path) -> NDArray[Any]:
    """(rows, columns, segments) as highdicom reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        segmentation = hd.seg.segread(path)
        numbers = list(segmentation.segment_numbers)
        return segmentation.get_total_pixel_matrix(segment_numbers=numbers, combine_segments=False)


def node_masks(node: Any) -> NDArray[np.bool_]:
    """(slices, rows, columns, segments) in the order of the segment numbers."""
    segmentation = node.GetSegmentation()
    ids = sorted(segment_ids(node), key=lambda one: int(one.split("_")[1]))
    return np.stack([mask_of(segmentation.GetSegment(one)) for one in ids], axis=-1)


def errors_of(path: Path) -> list[str]:
    program = shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or "dciodvfy"
    done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


def stored(kind: str, overlapping: bool = True) -> NDArray[Any]:
    """(rows, columns, 3) as highdicom takes it."""
    found = masks(overlapping=overlapping and kind != "LABELMAP")
    return found * np.float32(0.8) if kind == "FRACTIONAL" else found


# --- In --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHARED)
def test_real_files_equal_highdicom(data: Path, scene: Any, name: str) -> None:
    path = data / "seg/highdicom_sm" / name
    (node,) = dicombridge.load(path, scene=scene)
    np.testing.assert_array_equal(node_masks(node)[0], total_matrix(path) != 0)


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_objects_of_highdicom(
    tmp_path: Path, scene: Any, kind: str, organization: str, orientation: tuple[float, ...]
) -> None:
    source = slide(orientation=orientation)
    path = write(by_highdicom(source, kind, stored(kind), organization), tmp_path, "seg.dcm")
    node, *volumes = dicombridge.load(path, scene=scene)
    expected = total_matrix(path)
    np.testing.assert_array_equal(node_masks(node)[0], expected > 0)
    for number, volume in enumerate(volumes):
        np.testing.assert_allclose(array_of_image(volume.GetImageData())[0], expected[..., number], atol=1e-6)
    assert len(volumes) == (3 if kind == "FRACTIONAL" else 0)
    image = image_of(node.GetSegmentation().GetNthSegment(0))
    affine = affine_of(source)
    np.testing.assert_allclose(lps_of_ijk(image)[:3, [0, 1, 3]], affine, rtol=0, atol=1e-9)


@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_focal_planes_are_slices(tmp_path: Path, scene: Any, kind: str, organization: str) -> None:
    """Segments are the slowest, then focal planes (PS3.3 C.7.6.17.3); these are micrometres apart."""
    values = (np.arange(2 * 3 * 50 * 70).reshape(2, 3, 50, 70) // 7 % 3 == 0).astype(np.uint8)
    if kind == "LABELMAP":
        values = values[:1] * 2
    scale = 255 if kind == "FRACTIONAL" else 1
    dataset = by_hand(kind, values * scale, organization=organization, heights_um=(2.0, 3.5, 5.0))
    nodes = dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    found = node_masks(nodes[0])
    # TURNED looks from below: the first slice along the normal is the uppermost plane.
    expected = np.moveaxis(values == 2 if kind == "LABELMAP" else values == 1, 0, -1)[::-1]
    np.testing.assert_array_equal(found[..., -1:] if kind == "LABELMAP" else found, expected)
    matrix = lps_of_ijk(image_of(nodes[0].GetSegmentation().GetNthSegment(0)))
    np.testing.assert_allclose(matrix[:3, 2], [0, 0, -0.0015], atol=1e-12)
    highest = 0.005 if organization == "TILED_SPARSE" else 0.003
    assert matrix[2, 3] == pytest.approx(highest, abs=1e-12)


def test_uneven_focal_planes_are_nodes(tmp_path: Path, scene: Any) -> None:
    values = np.ones((1, 3, 50, 70), np.uint8)
    dataset = by_hand("BINARY", values, heights_um=(0.0, 1.0, 2.4))
    nodes = dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    assert [node_masks(node).shape for node in nodes] == [(1, 50, 70, 1)] * 3


def test_segment_numbers_of_full_tiles_are_those_of_the_items(tmp_path: Path, scene: Any) -> None:
    values = np.zeros((2, 1, 50, 70), np.uint8)
    values[1, 0, :5] = 1
    dataset = by_hand("BINARY", values, organization="TILED_FULL", numbers=(4, 9))
    (node,) = dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    assert names(node) == ["Label 4", "Label 9"]
    assert node_masks(node).sum(axis=(0, 1, 2)).tolist() == [0, 350]


@pytest.mark.parametrize("organization", ORGANIZATIONS)
def test_a_concatenation_is_one(tmp_path: Path, scene: Any, organization: str) -> None:
    values = np.moveaxis(masks(), -1, 0)[:, None]
    whole = by_hand("BINARY", values, organization=organization, ConcatenationUID="1.2.9", InConcatenationTotalNumber=2)
    frames = int(whole.NumberOfFrames)
    content = np.unpackbits(np.frombuffer(whole.PixelData, np.uint8), bitorder="little")[: frames * 16 * 24]
    groups = whole.get("PerFrameFunctionalGroupsSequence")
    for number, (first, stop) in enumerate([(0, 20), (20, frames)], start=1):
        part = pydicom.dcmread(write(whole, tmp_path, "whole.dcm"))
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"1.2.8.{number}"
        part.InConcatenationNumber, part.ConcatenationFrameOffsetNumber = number, first
        part.NumberOfFrames = stop - first
        part.PixelData = np.packbits(content[first * 384 : stop * 384], bitorder="little").tobytes()
        if groups:
            part.PerFrameFunctionalGroupsSequence = list(groups[first:stop])
        write(part, tmp_path / "parts", f"{number}.dcm")
    (node,) = dicombridge.load(tmp_path / "parts", scene=scene)
    np.testing.assert_array_equal(node_masks(node)[0], masks())


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_region_is_a_part_of_the_whole(tmp_path: Path, scene: Any, kind: str, compressed: bool) -> None:
    source = slide(tile=(16, 24))
    path = write(by_highdicom(source, kind, stored(kind)), tmp_path, "seg.dcm")
    expected = total_matrix(path)[18:40, 12:45]
    if compressed:
        whole = dicombridge.load(path, scene=scene)
        path = dicombridge.export(whole, tmp_path / "rle", kind="SEG", compression="rle")[0]
        scene.Clear()
    # Rows 18 to 39 and columns 12 to 44: on this slide rows run along -x, and columns along -y.
    x, y = 20.0 - 39.5 * 0.0005, 30.0 - 44.5 * 0.00025
    nodes = dicombridge.load(path, scene=scene, region=(x, y, 22 * 0.0005, 33 * 0.00025))
    np.testing.assert_array_equal(node_masks(nodes[0])[0], expected > 0)
    image = image_of(nodes[0].GetSegmentation().GetNthSegment(0))
    first = affine_of(source) @ [12, 18, 1]
    np.testing.assert_allclose(lps_of_ijk(image)[:3, 3], first, atol=1e-9)


def test_a_region_reads_the_frames_that_it_needs(tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dicombridge.segmentation import labels, reading

    path = write(by_hand("LABELMAP", np.ones((1, 1, 50, 70), np.uint8)), tmp_path, "seg.dcm")
    read: list[int] = []

    def counted(*arguments: Any) -> Any:
        for frame in reading.iterate_frames(*arguments):
            read.append(frame[0])
            yield frame

    monkeypatch.setattr(labels, "iterate_frames", counted)
    (node,) = dicombridge.load(path, scene=scene, region=(19.9999, 29.9999, 0.0001, 0.0001))
    assert read == [0]
    assert node_masks(node).all()


def test_a_region_beside_the_slide(tmp_path: Path, scene: Any) -> None:
    path = write(by_hand("LABELMAP", np.ones((1, 1, 50, 70), np.uint8)), tmp_path, "seg.dcm")
    with pytest.raises(GeometryError, match="beside the slide"):
        dicombridge.load(path, scene=scene, region=(0, 0, 1, 1))
    with pytest.raises(UnsupportedError, match="x, y, width and height"):
        dicombridge.load(path, scene=scene, region=(0, 0, -1, 1))
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_few_tiles_of_many_gigapixels_take_little_memory(tmp_path: Path, scene: Any) -> None:
    values = np.zeros((1, 1, 50, 70), np.uint8)
    values[0, 0, 20:40, 30:60] = 1
    dataset = by_hand("BINARY", values, keep=lambda row, column: row >= 16 and column >= 24)
    dataset.TotalPixelMatrixRows = dataset.TotalPixelMatrixColumns = 2_000_000
    path = write(dataset, tmp_path, "seg.dcm")
    tracemalloc.start()
    (node,) = dicombridge.load(path, scene=scene)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    image = image_of(node.GetSegmentation().GetNthSegment(0))
    assert image.GetDimensions() == (48, 48, 1)
    np.testing.assert_allclose(lps_of_ijk(image)[:3, 3], affine_of(dataset) @ [24, 16, 1], atol=1e-9)
    assert mask_of(node.GetSegmentation().GetNthSegment(0)).sum() == 600


def test_what_is_too_large_says_region(tmp_path: Path, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(by_hand("FRACTIONAL", np.full((2, 1, 50, 70), 255, np.uint8)), tmp_path, "seg.dcm")
    monkeypatch.setattr(tiles, "WHOLE_MATRIX", 100)
    monkeypatch.setattr(tiles, "MOST_PIXELS", 50 * 70 * 2 - 1)
    with pytest.raises(UnsupportedError, match=r"region=\(x_mm, y_mm, width_mm, height_mm\)"):
        dicombridge.load(path, scene=scene)


def _without_places(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence


def _far_away(dataset: Dataset) -> None:
    position = dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0]
    position.ColumnPositionInTotalImagePixelMatrix = 71


def _no_column(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSlideSequence[0].ColumnPositionInTotalImagePixelMatrix


def _no_origin(dataset: Dataset) -> None:
    del dataset.TotalPixelMatrixOriginSequence


def _full_of_another_size(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.DimensionOrganizationType, dataset.TotalPixelMatrixColumns = "TILED_FULL", 100_000_000


def _one_segment_more(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.DimensionOrganizationType, dataset.SegmentSequence = "TILED_FULL", dataset.SegmentSequence[:2]


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_without_places, UnreadableError, "does not say"),
        (_far_away, UnreadableError, "frame 4 lies outside of the total pixel matrix"),
        (_no_column, UnreadableError, "frame 4 does not say where"),
        (_no_origin, GeometryError, "origin on the slide"),
        (_full_of_another_size, UnreadableError, "tiles"),
        (_one_segment_more, UnreadableError, "tiles for 3 segments and describes 2"),
    ],
)
def test_damage_is_told(tmp_path: Path, scene: Any, damage: Any, error: type[Exception], message: str) -> None:
    dataset = by_hand("BINARY", np.moveaxis(masks(), -1, 0)[:, None])
    damage(dataset)
    nodes_before = scene.GetNumberOfNodes()
    with pytest.raises(error, match=message):
        dicombridge.load(write(dataset, tmp_path, "seg.dcm"), scene=scene)
    assert scene.GetNumberOfNodes() == nodes_before


def test_examine_offers_them(data: Path) -> None:
    with dicombridge.open_folder(data / "seg/highdicom_sm" / SHARED[0]) as database:
        (loadable,) = dicombridge.examine(database)
    assert (loadable.warning, loadable.confidence, loadable.selected) == ("", 0.97, True)


# --- Out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_source", [False, True])
@pytest.mark.parametrize("name", SHARED)
def test_real_files_round_trip(data: Path, scene: Any, tmp_path: Path, name: str, with_source: bool) -> None:
    path = data / "seg/highdicom_sm" / name
    database = dicombridge.open_folder(data / "seg/highdicom_sm", index=":memory:") if with_source else None
    nodes = dicombridge.load(path, scene=scene, database=database)
    (again,) = dicombridge.export(nodes, tmp_path, kind="SEG", database=database)
    np.testing.assert_array_equal(total_matrix(again), total_matrix(path))
    before, after = pydicom.dcmread(path), pydicom.dcmread(again)
    assert errors_of(again) == []
    assert after.DimensionOrganizationType == "TILED_SPARSE"
    for keyword in ("TotalPixelMatrixOriginSequence", "ImageOrientationSlide", "Rows", "Columns", "NumberOfFrames"):
        assert after[keyword].value == before[keyword].value, keyword
    if name == SHARED[1]:  # the others, of an early highdicom, say X and Y of other tiles than rows and columns
        assert _places(after) == _places(before)
    labels = [[one.SegmentLabel for one in dataset.SegmentSequence] for dataset in (before, after)]
    assert set(labels[0]) == set(labels[1])
    source = pydicom.dcmread(data / "seg/highdicom_sm/source_sm/sm_image_control.dcm", stop_before_pixels=True)
    (series,) = after.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    if with_source and name == SHARED[1]:  # the others were written when highdicom counted tiles down the columns
        assert _source_frames(after) == _source_frames(before)


def _places(dataset: Dataset) -> set[tuple[float, ...]]:
    found = set()
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        position = groups.PlanePositionSlideSequence[0]
        segment = groups.get("SegmentIdentificationSequence", [Dataset()])[0].get("ReferencedSegmentNumber", 0)
        offsets = [round(float(position[f"{axis}OffsetInSlideCoordinateSystem"].value), 9) for axis in "XYZ"]
        row, column = (position[f"{axis}PositionInTotalImagePixelMatrix"].value for axis in ("Row", "Column"))
        found.add((segment, row, column, *offsets))
    return found


def _source_frames(dataset: Dataset) -> dict[tuple[int, int], int]:
    frames = {}
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        position = groups.PlanePositionSlideSequence[0]
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        place = position.RowPositionInTotalImagePixelMatrix, position.ColumnPositionInTotalImagePixelMatrix
        frames[place] = int(image.ReferencedFrameNumber)
    return frames


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_written_again(
    tmp_path: Path, scene: Any, kind: str, organization: str, orientation: tuple[float, ...]
) -> None:
    """Whatever the source's organization: its frames are named, empty tiles are left out."""
    source = slide(orientation=orientation)
    seg = write(by_highdicom(source, kind, stored(kind)), tmp_path / "in", "seg.dcm")
    if organization == "TILED_SPARSE":  # highdicom derives from TILED_FULL only
        uids = {"SOPInstanceUID": source.SOPInstanceUID, "SeriesInstanceUID": source.SeriesInstanceUID}
        source = slide(orientation=orientation, organization=organization, **uids)
        source.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID
    write(source, tmp_path / "in", "slide.dcm")
    with dicombridge.open_folder(tmp_path / "in", index=":memory:") as database:
        nodes = dicombridge.load(seg, scene=scene, database=database)
        (again,) = dicombridge.export(nodes, tmp_path / "out", kind="SEG", database=database)
    np.testing.assert_array_equal(total_matrix(again), total_matrix(seg))
    assert errors_of(again) == []
    before, after = pydicom.dcmread(seg), pydicom.dcmread(again)
    assert _places(after) == _places(before)
    assert after.SegmentationType == kind
    frames = _source_frames(after)
    if organization == "TILED_FULL":
        expected = {(row, column): row // 16 * 3 + column // 24 + 1 for row, column in frames}
        assert frames == expected
    else:
        assert frames[1, 1] == 12  # the last one was written first
    assert after.ContainerIdentifier == "S-1"
    image = after.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert image.SpatialLocationsPreserved == "YES"


def segmentation_on(scene: Any, matrix: NDArray[np.float64], array: NDArray[np.uint8]) -> Any:
    """Return a segmentation node with one segment: the voxels of [slice, row, column] on a grid in LPS."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*array.shape[::-1])
    scalars = numpy_to_vtk(array.ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    to_ras = vtk.vtkMatrix4x4()
    to_ras.DeepCopy((np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix).ravel().tolist())
    image.SetImageToWorldMatrix(to_ras)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    segment = slicer.vtkSegment()
    segment.SetName("drawn")
    segment.AddRepresentation("Binary labelmap", image)
    node.GetSegmentation().AddSegment(segment, "Segment_1")
    return node


def grid_of(source: Dataset, row: float, column: float, step: float = -1.0) -> NDArray[np.float64]:
    """4x4 of (column, row, slice) to LPS that begins at a pixel of a slide."""
    affine = affine_of(source)
    matrix = np.eye(4)
    matrix[:3, :2] = affine[:, :2]
    matrix[2, 2] = step
    matrix[:3, 3] = affine @ [column, row, 1]
    return matrix


@pytest.mark.parametrize("way", ["file", "volume"])
def test_a_drawn_region_goes_to_its_place(tmp_path: Path, scene: Any, way: str) -> None:
    """The grid of a region that was loaded begins within the slide, between tiles."""
    source = slide()
    path = write(source, tmp_path, "slide.dcm")
    array = np.zeros((1, 20, 30), np.uint8)
    array[0, 2:19, 3:28] = 1
    node = segmentation_on(scene, grid_of(source, 11, 21), array)
    given: Any = path
    if way == "volume":
        from dicombridge.shadow import remember

        given = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "slide")
        given.SetAttribute("DICOM.instanceUIDs", str(source.SOPInstanceUID))
        remember(given, source)
    (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", source=given)
    expected = np.zeros((50, 70))
    expected[13:30, 24:49] = 1
    np.testing.assert_array_equal(total_matrix(out)[..., 0], expected)
    dataset = pydicom.dcmread(out)
    assert errors_of(out) == []
    assert (dataset.Rows, dataset.Columns, dataset.NumberOfFrames) == (16, 24, 4)
    assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert _source_frames(dataset) == {(1, 25): 2, (1, 49): 3, (17, 25): 5, (17, 49): 6}


def test_a_grid_between_pixels_is_refused(tmp_path: Path, scene: Any) -> None:
    source = slide()
    path = write(source, tmp_path, "slide.dcm")
    array = np.ones((1, 20, 30), np.uint8)
    for matrix, message in (
        (grid_of(source, 11.3, 21), "0.3 pixels beside the slide's"),
        (grid_of(source, 11, 21) @ np.diag([2.0, 2.0, 1.0, 1.0]), "another size"),
        (grid_of(source, 60, 21), "beside the slide"),
    ):
        node = segmentation_on(scene, matrix, array)
        with pytest.raises(ExportError, match=message):
            dicombridge.export(node, tmp_path / "out", kind="SEG", source=path)
    assert not list((tmp_path / "out").iterdir())


def test_a_grid_between_pixels_can_be_resampled(tmp_path: Path, scene: Any) -> None:
    source = slide()
    path = write(source, tmp_path, "slide.dcm")
    array = np.zeros((1, 20, 30), np.uint8)
    array[0, 5:15, 5:25] = 1
    node = segmentation_on(scene, grid_of(source, 11.3, 21), array)
    (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", source=path, grid="source")
    expected = np.zeros((50, 70))
    expected[16:26, 26:46] = 1
    np.testing.assert_array_equal(total_matrix(out)[..., 0], expected)


def test_the_level_is_the_one_whose_pixels_it_has(tmp_path: Path, scene: Any) -> None:
    large = slide()
    small = slide((25, 35), SeriesInstanceUID=large.SeriesInstanceUID)
    for keyword in ("SharedFunctionalGroupsSequence",):
        small[keyword].value[0].PixelMeasuresSequence[0].PixelSpacing = ["0.001", "0.0005"]
    write(small, tmp_path / "in", "a.dcm")
    write(large, tmp_path / "in", "b.dcm")
    node = segmentation_on(scene, grid_of(large, 0, 0), np.ones((1, 50, 70), np.uint8))
    (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", source=tmp_path / "in")
    dataset = pydicom.dcmread(out)
    assert dataset.TotalPixelMatrixColumns == 70
    image = dataset.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert image.ReferencedSOPInstanceUID == large.SOPInstanceUID


def test_focal_planes_go_out(tmp_path: Path, scene: Any) -> None:
    values = np.zeros((1, 3, 50, 70), np.uint8)
    values[0, 0, :10], values[0, 2, 40:] = 1, 1
    dataset = by_hand("BINARY", values, heights_um=(2.0, 3.5, 5.0))
    path = write(dataset, tmp_path, "seg.dcm")
    (node,) = dicombridge.load(path, scene=scene)
    (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG")
    after = pydicom.dcmread(out)
    assert errors_of(out) == []
    kept = {place for place in _places(dataset) if (place[-1], place[1]) in ((2.0, 1), (5.0, 33), (5.0, 49))}
    assert _places(after) == kept
    assert after.TotalPixelMatrixFocalPlanes == 3
    (again,) = dicombridge.load(out, scene=scene)
    np.testing.assert_array_equal(node_masks(again)[[0, -1]], node_masks(node)[[0, -1]])


def test_labels_beyond_the_slide_are_left_out(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    source = slide()
    path = write(source, tmp_path, "slide.dcm")
    node = segmentation_on(scene, grid_of(source, 40, 60), np.ones((1, 20, 30), np.uint8))
    (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", source=path)
    dataset = pydicom.dcmread(out)
    assert int(dataset.pixel_array.sum()) == 10 * 10
    assert "beyond the slide" in caplog.text
