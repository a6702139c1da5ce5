"""The tour's comparisons for slides: pixels, outlines and masks, by our nodes and by highdicom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import dicombridge
from dicombridge.annotations.kept import ANNOTATION_ARRAY
from dicombridge.demo import comparison
from dicombridge.demo.slides import SlideLevel, SlideTruth
from dicombridge.geometry import geometry_of_matrix, lps_ras_points

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dicombridge.demo.tour import Row, Tour

__all__ = [
    "compare_glands",
    "compare_glands_exported",
    "compare_nuclei",
    "compare_nuclei_exported",
    "compare_slide",
]

_EXACT_MM = 1e-7
_AREA = "Area"


def compare_slide(row: Row, tour: Tour) -> None:
    """Every pixel of every level, and where it lies."""
    import highdicom as hd

    truth = tour.study.slide
    loaded = [
        tour.nodes_of(truth.levels[0].file),
        dicombridge.load(truth.uid, scene=dicombridge.new_scene(), database=tour.database, level=1),
    ]
    row.segments, row.voxels = len(loaded), sum(level.pixels[..., 0].size for level in truth.levels)
    row.checks["truth"] = all(_shows(nodes[0], level) for nodes, level in zip(loaded, truth.levels, strict=True))
    read = [
        hd.imread(level.file).get_total_pixel_matrix(dtype=np.uint8, apply_icc_profile=False) for level in truth.levels
    ]
    row.checks["highdicom"] = all(
        np.array_equal(_pixels(nodes[0]), matrix) for nodes, matrix in zip(loaded, read, strict=True)
    )


def compare_nuclei(row: Row, tour: Tour) -> None:
    """The model's lines and areas against the truth; and what highdicom reads in the file."""
    truth = tour.study.slide
    (node,) = tour.nodes_of(truth.annotations)
    row.segments = len(truth.nuclei)
    row.checks["truth"] = _model_says(node, truth)
    row.checks["highdicom"] = _highdicom_says(truth.annotations, truth)


def compare_nuclei_exported(row: Row, tour: Tour) -> None:
    """The same, written by us."""
    truth = tour.study.slide
    folder = tour.directory / "exported" / "nuclei"
    (path,) = dicombridge.export(tour.nodes_of(truth.annotations), folder, kind="ANN", database=tour.database)
    (again,) = dicombridge.load(path, scene=dicombridge.new_scene(), database=tour.database)
    row.segments = len(truth.nuclei)
    row.checks["truth"] = _model_says(again, truth)
    row.checks["highdicom"] = _highdicom_says(path, truth)


def compare_glands(row: Row, tour: Tour) -> None:
    """The mask, tile by tile put together by us and by highdicom."""
    _compare_mask(row, tour, tour.nodes_of(tour.study.slide.segmentation), tour.study.slide.segmentation)


def compare_glands_exported(row: Row, tour: Tour) -> None:
    """The same, written by us; again in tiles, of which those without glands are left out."""
    from pydicom import dcmread

    truth = tour.study.slide
    folder = tour.directory / "exported" / "glands"
    (path,) = dicombridge.export(tour.nodes_of(truth.segmentation), folder, kind="SEG", database=tour.database)
    again = dicombridge.load(path, scene=dicombridge.new_scene(), database=tour.database)
    _compare_mask(row, tour, again, path)
    source = dcmread(truth.levels[0].file, stop_before_pixels=True)
    is_sparse = int(dcmread(path, stop_before_pixels=True).NumberOfFrames) < int(source.NumberOfFrames)
    row.checks["truth"] = row.checks["truth"] and is_sparse


def _compare_mask(row: Row, tour: Tour, nodes: list[Any], file: Path) -> None:
    import highdicom as hd

    truth = tour.study.slide
    volume = tour.nodes_of(truth.levels[0].file)[0]
    shape = (1, *truth.glands.shape)
    got = comparison.arrays_of_node(nodes[0], _affine(volume), shape)
    row.segments, row.voxels = len(got), int(truth.glands.sum())
    row.checks["truth"] = comparison.equal(got, {"Glands": truth.glands[None]})
    read = hd.seg.segread(file)
    matrix = read.get_total_pixel_matrix(dtype=np.uint8)
    labels = [str(read.get_segment_description(number).segment_label) for number in read.segment_numbers]
    row.checks["highdicom"] = labels == ["Glands"] and np.array_equal(matrix[..., 0].astype(bool), truth.glands)


# Volumes -----------------------------------------------------------------------------------------------------------


def _pixels(volume: Any) -> NDArray[np.uint8]:
    """Return (rows, columns, 3) of a colour volume of one slice."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = volume.GetImageData()
    columns, rows, _ = image.GetDimensions()
    return np.asarray(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3))


def _affine(volume: Any) -> NDArray[np.float64]:
    """Return (4, 4) ``(slice, row, column, 1)`` to slide mm."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    columns, rows, slices = volume.GetImageData().GetDimensions()
    return np.asarray(geometry_of_matrix(matrix, (slices, rows, columns)).affine)


def _shows(volume: Any, level: SlideLevel) -> bool:
    """Whether a volume has a level's pixels, where they belong."""
    rows_of_plane = _affine(volume)[np.ix_([0, 1], [1, 2, 3])]
    return np.array_equal(_pixels(volume), level.pixels) and bool(
        np.allclose(rows_of_plane, level.affine[:2], rtol=0.0, atol=_EXACT_MM)
    )


# Annotations -------------------------------------------------------------------------------------------------------


def _model_says(node: Any, truth: SlideTruth) -> bool:
    """Whether a model has the nuclei, one closed line each, at their places on the slide, and their areas."""
    from vtk.util.numpy_support import vtk_to_numpy

    data = node.GetPolyData()
    cells, values = data.GetLines(), data.GetCellData()
    if cells.GetNumberOfCells() != len(truth.nuclei) or values.GetArray(_AREA) is None:
        return False
    starts = vtk_to_numpy(cells.GetOffsetsArray())
    lines = np.split(vtk_to_numpy(cells.GetConnectivityArray()), starts[1:-1])
    points = lps_ras_points(vtk_to_numpy(data.GetPoints().GetData()))
    closed = all(line[0] == line[-1] for line in lines)
    found = [points[line[:-1], :2] for line in lines]
    # From the corner of the first pixel, of which the affine knows the centre.
    affine = truth.levels[0].affine
    expected = [(affine @ [one[:, 1] - 0.5, one[:, 0] - 0.5, np.ones(len(one))])[:2].T for one in truth.nuclei]
    numbers = vtk_to_numpy(values.GetArray(ANNOTATION_ARRAY))
    return (
        closed
        and np.array_equal(numbers, np.arange(len(expected)) + 1)
        and np.array_equal(vtk_to_numpy(values.GetArray(_AREA)), truth.areas)
        and all(
            one.shape == other.shape and np.allclose(one, other, rtol=0.0, atol=_EXACT_MM)
            for one, other in zip(found, expected, strict=True)
        )
    )


def _highdicom_says(file: Path, truth: SlideTruth) -> bool:
    """Whether highdicom reads the same numbers, to the last bit."""
    import highdicom as hd

    groups = hd.ann.annread(file).get_annotation_groups()
    if len(groups) != 1:
        return False
    shapes = groups[0].get_graphic_data("2D")
    names, values, units = groups[0].get_measurements()
    return (
        len(shapes) == len(truth.nuclei)
        and all(np.array_equal(one, other) for one, other in zip(shapes, truth.nuclei, strict=True))
        and [(name.meaning, unit.value) for name, unit in zip(names, units, strict=True)] == [(_AREA, "um2")]
        and np.array_equal(values[:, 0], truth.areas)
    )
