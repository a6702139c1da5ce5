"""Annotations of slides, from nodes to files: round trips to the last bit, edits, new nodes, readers of others."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from conformance import faults
from support import annotations as ann
from support.annotations import Slide, arrays_of, cells_of_model, lps_of_model
from support.scenes import saved_and_read, under_turn

import dicombridge
from dicombridge.errors import ExportError

CODES = {"Area": ("42798000^SCT^Area", "um2")}


class Loaded:
    """Nodes of a file, their scene and their database."""

    def __init__(self, path: Path, folder: Path, **options: Any) -> None:
        self.scene = dicombridge.new_scene()
        self.database = dicombridge.open_folder(folder)
        self.nodes = dicombridge.load(path, scene=self.scene, database=self.database, **options)

    def export(self, folder: Path, **options: Any) -> Path:
        (path,) = dicombridge.export(self.nodes, folder, "ANN", self.database, **options)
        assert faults(path) == []
        return path

    def again(self, path: Path) -> list[Any]:
        scene = dicombridge.new_scene()
        nodes = dicombridge.load(path, scene=scene, database=self.database)
        nodes[0].dicombridge_scene = scene
        return nodes


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    return ann.write_slide(tmp_path / "slide")


@pytest.fixture
def database(slide: Slide, tmp_path: Path) -> Any:
    with dicombridge.open_folder(tmp_path / "slide") as database:
        yield database


def written(tmp_path: Path, slide: Slide, coordinates: str, groups: Sequence[Any] | None = None) -> Path:
    groups = groups or ann.every_type(coordinates)
    return ann.write(tmp_path / "ann.dcm", ann.annotations(slide, coordinates, groups))


def add_model(scene: Any, points: Sequence[Sequence[float]], lines: Sequence[Sequence[int]] = (), **cells: Any) -> Any:
    """Add a model of points in slide mm, with lines, verts and polys of point numbers, and values of its cells."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    data, positions = vtkPolyData(), vtkPoints()
    positions.SetDataTypeToDouble()
    for x, y, z in points:
        positions.InsertNextPoint(-x, -y, z)
    data.SetPoints(positions)
    for kind, use in (("verts", data.SetVerts), ("lines", data.SetLines), ("polys", data.SetPolys)):
        array = vtkCellArray()
        for ids in lines if kind == "lines" else cells.get(kind, ()):
            array.InsertNextCell(len(ids))
            for one in ids:
                array.InsertCellPoint(one)
        use(array)
    for name, values in cells.get("values", {}).items():
        numbers = numpy_to_vtk(np.asarray(values), deep=True)
        numbers.SetName(name)
        data.GetCellData().AddArray(numbers)
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", "drawn")
    node.SetAndObservePolyData(data)
    node.CreateDefaultDisplayNodes()
    return node


def on_slide(slide: Slide, pixels: Sequence[Sequence[float]]) -> np.ndarray:
    from dicombridge.slide.pixel_matrix import pixel_matrix_of

    return pixel_matrix_of(slide.first).to_slide(np.asarray(pixels, dtype=float))


# --- As they were ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most_markups", [0, 50])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("coordinates", ["2D", "3D"])
def test_unedited_groups_come_back_bit_by_bit(
    coordinates: str, dtype: str, flat: bool, most_markups: int, slide: Slide, tmp_path: Path
) -> None:
    groups = ann.every_type(coordinates, dtype, flat=flat)
    path = written(tmp_path, slide, coordinates, groups)
    before = arrays_of(path)
    after = arrays_of(Loaded(path, tmp_path / "slide", most_markups=most_markups).export(tmp_path / "out"))
    assert after == before


def test_a_saved_scene_comes_back_bit_by_bit(slide: Slide, tmp_path: Path, database: Any) -> None:
    path = written(tmp_path, slide, "2D", [ann.group(1, "POLYGON", ann.shapes_of("POLYGON", 5))])
    loaded = Loaded(path, tmp_path / "slide")
    scene = saved_and_read(loaded.scene, tmp_path)
    nodes = [scene.GetFirstNodeByName(node.GetName()) for node in loaded.nodes]
    (out,) = dicombridge.export(nodes, tmp_path / "out", "ANN", database)
    assert [one["PointCoordinatesData"] for one in arrays_of(out)] == [
        one["PointCoordinatesData"] for one in arrays_of(path)
    ]


def test_planes_paths_and_frames_come_back(slide: Slide, tmp_path: Path) -> None:
    dataset = ann.annotations(slide, "3D", [ann.group(1, "POINT", ann.in_space(ann.shapes_of("POINT", 3), flat=True))])
    (item,) = dataset.AnnotationGroupSequence
    item.CommonZCoordinateValue, item.AnnotationAppliesToAllOpticalPaths = [0.5, 0.75], "NO"
    item.ReferencedOpticalPathIdentifier = ["1", "3"]
    path = ann.write(tmp_path / "a.dcm", dataset)
    assert arrays_of(Loaded(path, tmp_path / "slide").export(tmp_path / "out")) == arrays_of(path)
    framed = ann.annotations(slide, "2D", [ann.group(1, "POINT", ann.shapes_of("POINT", 3))],
                             pixel_origin_interpretation="FRAME")  # fmt: skip
    framed.ReferencedImageSequence[0].ReferencedFrameNumber = 11
    path = ann.write(tmp_path / "b.dcm", framed)
    out = Loaded(path, tmp_path / "slide").export(tmp_path / "out")
    assert arrays_of(out) == arrays_of(path)
    again = pydicom.dcmread(out)
    assert again.PixelOriginInterpretation == "FRAME"
    assert again.ReferencedImageSequence[0].ReferencedFrameNumber == 11


def test_the_object_remembers(slide: Slide, tmp_path: Path) -> None:
    path = written(tmp_path, slide, "2D")
    out = pydicom.dcmread(Loaded(path, tmp_path / "slide").export(tmp_path / "out", SeriesDescription="edited"))
    before = pydicom.dcmread(path)
    assert out.SOPInstanceUID != before.SOPInstanceUID
    assert out.StudyInstanceUID == before.StudyInstanceUID
    assert out.SeriesDescription == "edited"
    assert out.ContentLabel == "NUCLEI"
    assert out.Manufacturer == "DICOMBridge"
    assert out.ReferencedImageSequence == before.ReferencedImageSequence
    assert out.ReferencedSeriesSequence == before.ReferencedSeriesSequence
    (study,) = out.PredecessorDocumentsSequence
    (instance,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert instance.ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert out.ContainerIdentifier == "S1-A"


@pytest.mark.parametrize("coordinates", ["2D", "3D"])
def test_highdicom_reads_ours(coordinates: str, slide: Slide, tmp_path: Path) -> None:
    path = written(tmp_path, slide, coordinates)
    out = Loaded(path, tmp_path / "slide").export(tmp_path / "out")
    before, after = (hd.ann.annread(one).get_annotation_groups() for one in (path, out))
    for one, other in zip(before, after, strict=True):
        for shape, again in zip(one.get_graphic_data(coordinates), other.get_graphic_data(coordinates), strict=True):
            np.testing.assert_array_equal(again, shape)
        assert [unit.value for unit in other.get_measurements()[2]] == [
            unit.value for unit in one.get_measurements()[2]
        ]
        np.testing.assert_array_equal(other.get_measurements()[1], one.get_measurements()[1])
        assert other.uid == one.uid


@pytest.mark.skipif(sys.version_info < (3, 11), reason="wsidicom needs Python 3.11")
def test_wsidicom_reads_ours(slide: Slide, tmp_path: Path) -> None:
    import wsidicom  # here, because the test extra has it from Python 3.11 on

    groups = [ann.group(n, kind, ann.shapes_of(kind, 4)) for n, kind in enumerate(("POINT", "POLYGON"), start=1)]
    out = Loaded(written(tmp_path, slide, "2D", groups), tmp_path / "slide").export(tmp_path / "out")
    (instance,) = wsidicom.graphical_annotations.AnnotationInstance.open([out])
    found = [[np.array(one.geometry.to_coords()) for one in group.annotations] for group in instance.groups]
    for group, shapes in zip(groups, found, strict=True):
        for shape, again in zip(group.get_graphic_data("2D"), shapes, strict=True):
            np.testing.assert_allclose(again.reshape(-1, 2), shape, atol=1e-5)


# --- Edited ----------------------------------------------------------------------------------------------------------


def test_one_point_was_moved(slide: Slide, tmp_path: Path) -> None:
    """All others stay as they are, to the last bit."""
    shapes = ann.shapes_of("POLYGON", 5)
    loaded = Loaded(written(tmp_path, slide, "2D", [ann.group(1, "POLYGON", shapes)]), tmp_path / "slide")
    points = loaded.nodes[0].GetPolyData().GetPoints()
    x, y, z = on_slide(slide, [(10.25, 20.5)])[0]
    points.SetPoint(4, -x, -y, z)
    (group,) = hd.ann.annread(loaded.export(tmp_path / "out")).get_annotation_groups()
    found = np.concatenate(group.get_graphic_data("2D"))
    expected = np.concatenate(shapes).astype(float)
    expected[4] = 10.25, 20.5
    np.testing.assert_array_equal(np.delete(found, 4, axis=0), np.delete(expected, 4, axis=0))
    np.testing.assert_allclose(found[4], expected[4], atol=1e-9)


def test_shapes_were_taken_away(slide: Slide, tmp_path: Path) -> None:
    from vtkmodules.vtkFiltersCore import vtkThreshold
    from vtkmodules.vtkFiltersGeometry import vtkGeometryFilter

    shapes = ann.shapes_of("POLYGON", 6)
    measured = {ann.AREA: np.arange(6, dtype="f4")}
    loaded = Loaded(written(tmp_path, slide, "2D", [ann.group(1, "POLYGON", shapes, measured)]), tmp_path / "slide")
    threshold, geometry = vtkThreshold(), vtkGeometryFilter()
    threshold.SetInputData(loaded.nodes[0].GetPolyData())
    threshold.SetInputArrayToProcess(0, 0, 0, 1, "Area")
    threshold.SetUpperThreshold(2.5)
    threshold.SetThresholdFunction(threshold.THRESHOLD_UPPER)
    geometry.SetInputConnection(threshold.GetOutputPort())
    geometry.Update()
    loaded.nodes[0].SetAndObservePolyData(geometry.GetOutput())
    (group,) = hd.ann.annread(loaded.export(tmp_path / "out")).get_annotation_groups()
    assert group.number_of_annotations == 3
    for shape, again in zip(shapes[3:], group.get_graphic_data("2D"), strict=True):
        np.testing.assert_array_equal(again, shape)
    np.testing.assert_array_equal(group.get_measurements()[1][:, 0], [3, 4, 5])


def test_name_codes_and_colour_were_edited(slide: Slide, tmp_path: Path) -> None:
    loaded = Loaded(written(tmp_path, slide, "2D"), tmp_path / "slide")
    node = loaded.nodes[1]
    node.SetName("renamed")
    node.GetDisplayNode().SetColor(1, 1, 1)
    text = node.GetAttribute("Terminologies.TerminologyEntry")
    node.SetAttribute("Terminologies.TerminologyEntry", text.replace("84640000^Nucleus", "4421005^Cell"))
    item = pydicom.dcmread(loaded.export(tmp_path / "out")).AnnotationGroupSequence[1]
    assert item.AnnotationGroupLabel == "renamed"
    assert item.AnnotationPropertyTypeCodeSequence[0].CodeValue == "4421005"
    assert item.RecommendedDisplayCIELabValue == [65535, 32896, 32896]


def test_in_the_plane_of_the_slide_pixels_stay_pixels(slide: Slide, tmp_path: Path) -> None:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    loaded = Loaded(written(tmp_path, slide, "2D"), tmp_path / "slide")
    shift = on_slide(slide, [(3, 0), (0, 0)])
    x, y, z = shift[0] - shift[1]
    matrix = vtkMatrix4x4()
    for row, value in enumerate((-x, -y, z)):
        matrix.SetElement(row, 3, value)
    transform = loaded.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix)
    for node in loaded.nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    dataset = hd.ann.annread(loaded.export(tmp_path / "out"))
    assert dataset.AnnotationCoordinateType == "2D"
    before = hd.ann.annread(tmp_path / "ann.dcm").get_annotation_groups()
    for one, other in zip(before, dataset.get_annotation_groups(), strict=True):
        for shape, again in zip(one.get_graphic_data("2D"), other.get_graphic_data("2D"), strict=True):
            np.testing.assert_allclose(again, shape + np.array([3, 0]), atol=1e-5)


def test_out_of_the_plane_they_are_in_space(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    slide = ann.write_slide(tmp_path / "slide", ratio=1)  # with other pixels the drawing of an ellipse begins elsewhere
    loaded = Loaded(written(tmp_path, slide, "2D"), tmp_path / "slide")
    under_turn(loaded.scene, loaded.nodes)
    there = [lps_of_model(node) for node in loaded.nodes]
    with caplog.at_level(logging.WARNING):
        path = loaded.export(tmp_path / "out")
    assert "written in 3D" in caplog.text
    assert pydicom.dcmread(path).AnnotationCoordinateType == "3D"
    assert pydicom.dcmread(path).FrameOfReferenceUID == slide.first.FrameOfReferenceUID
    for place, node in zip(there, loaded.again(path), strict=True):
        np.testing.assert_allclose(lps_of_model(node), place, atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [("2D", "3D"), ("3D", "2D")])
def test_other_coordinates_on_demand(before: str, after: str, tmp_path: Path) -> None:
    """Pixels become mm, and mm pixels: flat on the slide, where they were seen along its normal."""
    slide = ann.write_slide(tmp_path / "slide", ratio=1)
    loaded = Loaded(written(tmp_path, slide, before), tmp_path / "slide")
    path = loaded.export(tmp_path / "out", coordinates=after, source=tmp_path / "slide")
    assert pydicom.dcmread(path).AnnotationCoordinateType == after
    if after == "3D":
        for node, again in zip(loaded.nodes, loaded.again(path), strict=True):
            np.testing.assert_allclose(lps_of_model(again), lps_of_model(node), atol=1e-6)


# --- New -------------------------------------------------------------------------------------------------------------


def test_new_model_on_a_slide(slide: Slide, tmp_path: Path, database: Any) -> None:
    pixels = [(1, 2), (5, 2), (5, 6), (10, 10), (20, 15), (30, 30)]
    scene = dicombridge.new_scene()
    cells = {"verts": [[5]], "polys": [[3, 4, 5]], "values": {"Area": np.array([1.5, 2.5, np.nan, 4.5])}}
    node = add_model(scene, on_slide(slide, pixels), [[0, 1, 2, 0], [3, 4]], **cells)
    options = {
        "category": ann.CATEGORY,
        "type": "84640000^SCT^Nucleus",
        "algorithm_name": "Finder",
        "measurements": CODES,
    }
    (path,) = dicombridge.export(node, tmp_path / "out", "ANN", database, source=slide.paths[0], **options)
    assert faults(path) == []
    dataset = hd.ann.annread(path)
    assert dataset.AnnotationCoordinateType == "2D"
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == slide.first.SOPInstanceUID
    assert dataset.StudyInstanceUID == slide.first.StudyInstanceUID
    assert dataset.ContainerIdentifier == "S1-A"
    groups = {str(one.GraphicType): one for one in dataset.get_annotation_groups()}
    expected = {"POINT": [[5]], "POLYGON": [[0, 1, 2]], "POLYLINE": [[3, 4]]}
    values = {"POINT": [1.5], "POLYGON": [2.5], "POLYLINE": []}
    polygons = [one for one in dataset.get_annotation_groups() if one.GraphicType == "POLYGON"]
    assert len(polygons) == 2  # of lines, and of faces
    groups["POLYGON"] = polygons[0] if polygons[0].get_measurements()[1][0, 0] == 2.5 else polygons[1]
    for kind, shapes in expected.items():
        for shape, ids in zip(groups[kind].get_graphic_data("2D"), shapes, strict=True):
            np.testing.assert_allclose(shape, np.array(pixels)[ids], atol=1e-6)
        names, found, units = groups[kind].get_measurements()
        np.testing.assert_array_equal(found.ravel(), values[kind])
        assert [(one.value, unit.value) for one, unit in zip(names, units, strict=True)] == [
            ("42798000", "um2") for _ in values[kind]
        ]
        assert groups[kind].algorithm_identification.name == "Finder"


def test_new_model_without_a_slide(tmp_path: Path) -> None:
    """In slide mm; values without codes have their name, points that single precision holds are written so."""
    scene = dicombridge.new_scene()
    node = add_model(scene, [(1, 2, 3), (2, 2, 3.5), (2, 4, 3)], [[0, 1, 2, 0]], values={"Roundness": [0.5]})
    (path,) = dicombridge.export(node, tmp_path / "out", "ANN")
    assert faults(path) == []
    (group,) = hd.ann.annread(path).get_annotation_groups()
    assert pydicom.dcmread(path).AnnotationCoordinateType == "3D"
    np.testing.assert_array_equal(group.get_graphic_data("3D")[0], [(1, 2, 3), (2, 2, 3.5), (2, 4, 3)])
    assert "DoublePointCoordinatesData" not in group
    assert group.get_measurements()[0][0].meaning == "Roundness"
    again = dicombridge.load(path)
    assert cells_of_model(again[0]) == [[0, 1, 2, 0]]


def test_new_points_that_need_double_precision(tmp_path: Path) -> None:
    scene = dicombridge.new_scene()
    points = [(1 / 3, 2, 3), (2, 1 / 7, 3)]
    (path,) = dicombridge.export(add_model(scene, points, verts=[[0], [1]]), tmp_path / "out", "ANN")
    (group,) = hd.ann.annread(path).get_annotation_groups()
    assert group.CommonZCoordinateValue == 3
    np.testing.assert_array_equal(np.concatenate(group.get_graphic_data("3D")), points)


def test_new_markups(slide: Slide, tmp_path: Path, database: Any) -> None:
    scene = dicombridge.new_scene()
    pixels = np.array([(10, 12), (20, 12), (20, 30), (12, 25)], dtype=float)
    classes = {"Fiducial": "POINT", "Line": "POLYLINE", "Curve": "POLYLINE", "ClosedCurve": "POLYGON"}
    nodes = []
    for name in classes:
        node = scene.AddNewNodeByClass(f"vtkMRMLMarkups{name}Node", name)
        for x, y, z in on_slide(slide, pixels[: 2 if name == "Line" else 4]):
            node.AddControlPointWorld([-x, -y, z])
        if "Curve" in name:
            node.SetCurveTypeToLinear()
        nodes.append(node)
    (path,) = dicombridge.export(nodes, tmp_path / "out", "ANN", database, source=str(slide.first.SeriesInstanceUID))
    assert faults(path) == []
    groups = hd.ann.annread(path).get_annotation_groups()
    assert [(one.label, str(one.GraphicType)) for one in groups] == list(classes.items())
    for one in groups:
        found = np.concatenate(one.get_graphic_data("2D"))
        np.testing.assert_allclose(found, pixels[: len(found)], atol=1e-6)
    assert pydicom.dcmread(path).ReferencedImageSequence[0].ReferencedSOPInstanceUID == slide.first.SOPInstanceUID


def test_new_nodes_join_loaded_ones(slide: Slide, tmp_path: Path) -> None:
    loaded = Loaded(written(tmp_path, slide, "2D"), tmp_path / "slide")
    loaded.nodes.append(add_model(loaded.scene, on_slide(slide, [(1, 1), (2, 2)]), [[0, 1]]))
    groups = arrays_of(loaded.export(tmp_path / "out"))
    assert [one["AnnotationGroupNumber"] for one in groups] == [1, 2, 3, 4, 5, 6]
    assert groups[-1]["AnnotationGroupLabel"] == "drawn"


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("way", ["markups", "model", "source"])
def test_drawn_within_the_thickness_of_a_level(way: str, level: int, tmp_path: Path) -> None:
    """A level is shown 1 mm thick: what is drawn anywhere in that slice is of its plane."""
    slide = ann.write_slide(tmp_path / "slide", (0.0, -1.0, 0.0, -1.0, 0.0, 0.0))
    pixels = np.array([(10, 12), (20, 12), (20, 30)], dtype=float)
    scene = dicombridge.new_scene()
    points = on_slide(slide, pixels) + np.array([0, 0, 0.3])
    with dicombridge.open_folder(tmp_path / "slide") as database:
        (volume,) = dicombridge.load(tmp_path / "slide", scene=scene, level=level)
        if way == "model":
            node = add_model(scene, points, [[0, 1, 2, 0]])
        else:
            node = scene.AddNewNodeByClass("vtkMRMLMarkupsClosedCurveNode", "drawn")
            node.SetCurveTypeToLinear()
            for x, y, z in points:
                node.AddControlPointWorld([-x, -y, z])
        node.SetNodeReferenceID("referenceImageGeometryRef", volume.GetID())
        source = slide.paths[level] if way == "source" else None
        (path,) = dicombridge.export(node, tmp_path / "out", "ANN", database, source=source)
    dataset = hd.ann.annread(path)
    assert dataset.AnnotationCoordinateType == "2D"
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == slide.levels[level].SOPInstanceUID
    (group,) = dataset.get_annotation_groups()
    from dicombridge.slide.pixel_matrix import pixel_matrix_of

    expected = pixel_matrix_of(slide.levels[level]).to_pixels(points)
    np.testing.assert_allclose(group.get_graphic_data("2D")[0], expected, atol=1e-5)


def test_drawn_beyond_the_thickness_of_a_level(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    slide = ann.write_slide(tmp_path / "slide")
    scene = dicombridge.new_scene()
    node = add_model(scene, on_slide(slide, [(10, 12), (20, 12)]) + np.array([0, 0, 3.0]), [[0, 1]])
    with dicombridge.open_folder(tmp_path / "slide") as database:
        (volume,) = dicombridge.load(tmp_path / "slide", scene=scene, level=0)
        node.SetNodeReferenceID("referenceImageGeometryRef", volume.GetID())
        (path,) = dicombridge.export(node, tmp_path / "out", "ANN", database)
    assert pydicom.dcmread(path).AnnotationCoordinateType == "3D"
    assert "away from the plane" in caplog.text


@pytest.mark.parametrize("number", [[3, 4], None])
def test_groups_without_a_number_get_one(number: Any, slide: Slide, tmp_path: Path) -> None:
    """Those of a damaged object may have several numbers, or none."""
    dataset = ann.annotations(slide, "2D", ann.every_type("2D")[:3])
    dataset.AnnotationGroupSequence[1].AnnotationGroupNumber = number
    loaded = Loaded(ann.write(tmp_path / "ann.dcm", dataset), tmp_path / "slide")
    found = arrays_of(loaded.export(tmp_path / "out"))
    assert [one["AnnotationGroupNumber"] for one in found] == [1, 3, 4]


def test_a_sheared_ellipse_has_other_axes() -> None:
    from dicombridge.annotations.outlines import axes_of_outlines, outlines_of_axes

    ends = np.array([[[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]]])
    shear = np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]).T
    found = axes_of_outlines(outlines_of_axes(ends) @ shear)
    major, minor = found[0, 0] - found[0, 1], found[0, 2] - found[0, 3]
    assert abs(major @ minor) < 1e-12
    lengths = np.linalg.svd(shear.T[:2, :2] @ np.diag([2.0, 1.0]), compute_uv=False)
    np.testing.assert_allclose([np.linalg.norm(major) / 2, np.linalg.norm(minor) / 2], lengths)


# --- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinates": "4D"}, "4D"),
        ({"coordinates": "2D"}, "pixels of a slide image, and none is known"),
        ({"source": "nowhere"}, "neither a file, a folder nor a series"),
        ({"type": "nonsense"}, "type is a code"),
        ({"measurements": 5}, "measurements are codes"),
        ({"PixelOriginInterpretation": "FRAME"}, "follows from what is written"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    node = add_model(dicombridge.new_scene(), [(1, 2, 3), (2, 2, 3)], [[0, 1]])
    with pytest.raises(ExportError, match=message):
        dicombridge.export(node, tmp_path / "out", "ANN", **options)
    assert not list(tmp_path.glob("out/*"))


def test_nodes_that_cannot_be(tmp_path: Path) -> None:
    scene = dicombridge.new_scene()
    for class_name, message in (("vtkMRMLTextNode", "cannot be exported"), ("vtkMRMLModelNode", "no shape")):
        with pytest.raises(ExportError, match=message):
            dicombridge.export(scene.AddNewNodeByClass(class_name), tmp_path / "out", "ANN")
    node = add_model(scene, [(np.nan, 2, 3), (2, 2, 3)], [[0, 1]])
    with pytest.raises(ExportError, match="not finite"):
        dicombridge.export(node, tmp_path / "out", "ANN")
