"""Segmentations of slides, in tiles: out, read by highdicom and by us again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from support.tiled_masks import (
    KINDS,
    ORGANIZATIONS,
    SHARED,
    errors_of,
    node_masks,
    stored,
    total_matrix,
)
from support.tiled_objects import (
    TURNED,
    UPRIGHT,
    affine_of,
    by_hand,
    by_highdicom,
    slide,
    write,
)
from support.volumes import elements_of

import dicombridge
from dicombridge.errors import ExportError


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


def lps_of_volume(node: Any) -> NDArray[np.float64]:
    """4x4 of (column, row, slice) to LPS."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ elements_of(matrix)


def pyramid(directory: Path) -> dict[str, Dataset]:
    """Write two levels of a slide, its overview and label; these two first."""
    series, found = slide().SeriesInstanceUID, {}
    for name, shape, flavour, factor in (
        ("a_overview", (10, 14), "OVERVIEW", 5),
        ("b_label", (8, 8), "LABEL", 3),
        ("c_small", (25, 35), "VOLUME", 2),
        ("d_large", (50, 70), "VOLUME", 1),
    ):
        image = slide(shape, SeriesInstanceUID=series, ImageType=["ORIGINAL", "PRIMARY", flavour, "NONE"])
        measures = image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.PixelSpacing = [str(factor * 0.0005), str(factor * 0.00025)]
        found[name] = image
        write(image, directory, f"{name}.dcm")
    return found


@pytest.mark.parametrize("scale", [0.9, 1.7, 5.0])
@pytest.mark.parametrize("way", ["folder", "series"])
def test_it_is_resampled_to_the_level_that_is_most_like_it(tmp_path: Path, scene: Any, way: str, scale: float) -> None:
    images = pyramid(tmp_path / "in")
    large = images["d_large"]
    matrix = grid_of(large, 5.3, 10.2) @ np.diag([scale, scale, 1.0, 1.0])
    node = segmentation_on(scene, matrix, np.ones((1, 6, 6), np.uint8))
    with dicombridge.open_folder(tmp_path / "in", index=":memory:") as database:
        source = tmp_path / "in" if way == "folder" else str(large.SeriesInstanceUID)
        (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", source=source, database=database, grid="source")
    assert pydicom.dcmread(out).TotalPixelMatrixColumns == (70 if scale < 1 else 35)


def test_it_is_resampled_to_what_it_is_seen_on(tmp_path: Path, scene: Any) -> None:
    images = pyramid(tmp_path / "in")
    node = segmentation_on(scene, grid_of(images["d_large"], 5.3, 10.2), np.ones((1, 20, 20), np.uint8))
    with dicombridge.open_folder(tmp_path / "in", index=":memory:") as database:
        (volume,) = dicombridge.load(tmp_path / "in", scene=scene, level="overview")
        (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", source=volume, database=database, grid="source")
    assert pydicom.dcmread(out).TotalPixelMatrixColumns == 14


@pytest.mark.parametrize("damaged", ["a_overview", "c_small", "d_large"])
def test_a_level_that_cannot_be_read_is_passed_over(tmp_path: Path, scene: Any, damaged: str) -> None:
    images = pyramid(tmp_path / "in")
    good = images["c_small" if damaged == "d_large" else "d_large"]
    affine = affine_of(good)
    matrix = np.eye(4)
    matrix[:3, :2], matrix[:3, 3], matrix[2, 2] = affine[:, :2], affine @ [3, 4, 1], -1
    node = segmentation_on(scene, matrix, np.ones((1, 10, 10), np.uint8))
    with dicombridge.open_folder(tmp_path / "in", index=":memory:") as database:
        (tmp_path / "in" / f"{damaged}.dcm").write_bytes(b"no DICOM any more")
        source = str(good.SeriesInstanceUID)
        (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", source=source, database=database)
    assert pydicom.dcmread(out).TotalPixelMatrixColumns == good.TotalPixelMatrixColumns


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize(("plane", "path"), [(0, "A"), (1, "A"), (2, "B")])
def test_source_frames_are_of_the_plane_and_the_path(
    tmp_path: Path, scene: Any, plane: int, path: str, organization: str, orientation: tuple[float, ...]
) -> None:
    """3 planes of 5 x 4 tiles, in 2 optical paths."""
    source = slide((80, 96), (16, 24), organization=organization, orientation=orientation, planes=3, paths=("A", "B"))
    file = write(source, tmp_path / "in", "slide.dcm")
    with dicombridge.open_folder(file, index=":memory:") as database:
        (volume,) = dicombridge.load(file, scene=scene, focal_planes=[plane], optical_path=path)
        node = segmentation_on(scene, lps_of_volume(volume), np.ones((1, 80, 96), np.uint8))
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", database=database)
    before = 20 * (plane + 3 * "AB".index(path))
    expected = {
        (row + 1, column + 1): before + row // 16 * 4 + column // 24 + 1
        for row in range(0, 80, 16)
        for column in range(0, 96, 24)
    }
    if organization == "TILED_SPARSE":  # the last one was written first
        expected = {place: 121 - number for place, number in expected.items()}
    assert _source_frames(pydicom.dcmread(out)) == expected


@pytest.mark.parametrize("organization", ORGANIZATIONS)
@pytest.mark.parametrize(("height", "paths"), [(0.0, ("A", "B")), (0.0007, ("A",)), (0.1, ("A",))])
def test_source_frames_that_nobody_knows(
    tmp_path: Path, scene: Any, height: float, paths: tuple[str, ...], organization: str
) -> None:
    source = slide(organization=organization, planes=3, paths=paths)
    file = write(source, tmp_path / "in", "slide.dcm")
    matrix = grid_of(source, 0, 0)
    matrix[2, 3] += height
    node = segmentation_on(scene, matrix, np.ones((1, 50, 70), np.uint8))
    (out,) = dicombridge.export(node, tmp_path / "out", kind="SEG", source=file)
    assert errors_of(out) == []
    for groups in pydicom.dcmread(out).PerFrameFunctionalGroupsSequence:
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert "ReferencedFrameNumber" not in image


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
