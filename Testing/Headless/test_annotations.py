"""Annotations of slides, from files to nodes: against highdicom, other producers' habits, damaged indices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from support import annotations as ann
from support.annotations import Slide, cell_values, cells_of_model, lps_of_model

import dicombridge
from dicombridge.annotations.kept import kept_group
from dicombridge.errors import GeometryError, MissingReferenceError, UnreadableError


def load(path: Path, *sources: Path, **options: Any) -> list[Any]:
    """Load a file with slides in a database of their own."""
    scene = dicombridge.new_scene()
    with dicombridge.open_folder(sources[0] if sources else path) as database:
        nodes = dicombridge.load(path, scene=scene, database=database, **options)
    nodes[0].dicombridge_scene = scene  # what nodes refer to lives as long as their scene
    return nodes


def expected_mm(group: Any, coordinates: str, level: Dataset) -> list[np.ndarray]:
    """Return what highdicom reads, in slide mm."""
    shapes = group.get_graphic_data(coordinates)
    if coordinates == "3D":
        return [np.asarray(shape, dtype=float) for shape in shapes]
    measures = level.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    origin = level.TotalPixelMatrixOriginSequence[0]
    transformer = hd.spatial.ImageToReferenceTransformer(
        [float(origin.get(f"{axis}OffsetInSlideCoordinateSystem") or 0) for axis in "XYZ"],
        [float(value) for value in level.ImageOrientationSlide],
        [float(value) for value in measures.PixelSpacing],
    )
    # highdicom's image coordinates have their origin at the corner of the first pixel too.
    return [transformer(np.asarray(shape, dtype=float)) for shape in shapes]


def shapes_of_model(node: Any) -> list[np.ndarray]:
    points = lps_of_model(node)
    return [points[cell] for cell in cells_of_model(node)]


def check_group(node: Any, group: Any, coordinates: str, level: Dataset) -> None:
    expected, found = expected_mm(group, coordinates, level), shapes_of_model(node)
    assert len(found) == len(expected) == group.number_of_annotations
    kept = kept_group(node)
    assert kept is not None
    for shape, points in zip(expected, found, strict=True):
        if kept.graphic_type in ("POLYGON", "RECTANGLE"):
            np.testing.assert_allclose(points[:-1], shape, rtol=0, atol=1e-6)
            np.testing.assert_array_equal(points[0], points[-1])
        elif kept.graphic_type == "ELLIPSE":
            np.testing.assert_allclose(points[[0, 16, 8, 24]], shape, rtol=0, atol=1e-6)
            assert len(points) == 33
        else:
            np.testing.assert_allclose(points, shape, rtol=0, atol=1e-6)
    names, values, _ = group.get_measurements()
    for place, name in enumerate(names):
        np.testing.assert_array_equal(cell_values(node, name.meaning), values[:, place])


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("coordinates", ["2D", "3D"])
def test_groups_are_where_highdicom_has_them(coordinates: str, dtype: str, flat: bool, tmp_path: Path) -> None:
    (tmp_path / "object").mkdir()
    path = ann.write_every_type(tmp_path / "object", coordinates, dtype, flat)
    nodes = load(path, tmp_path / "slide")
    groups = hd.ann.annread(path).get_annotation_groups()
    level = pydicom.dcmread(tmp_path / "slide" / "level0.dcm")
    assert [node.GetName() for node in nodes] == [group.label for group in groups]
    for node, group in zip(nodes, groups, strict=True):
        check_group(node, group, coordinates, level)
        red, green, blue = node.GetDisplayNode().GetColor()
        assert (red, green, blue) != (0.5, 0.5, 0.5)
        assert "SCT^84640000^Nucleus" in node.GetAttribute("Terminologies.TerminologyEntry")
        assert node.GetPolyData().GetPoints().GetDataType() == 11  # VTK_DOUBLE


def test_the_real_object(data: Path) -> None:
    path = data / "ann/highdicom/sm_annotations.dcm"
    (node,) = load(path, data / "sm/highdicom")
    (group,) = hd.ann.annread(path).get_annotation_groups()
    check_group(node, group, "2D", pydicom.dcmread(data / "sm/highdicom/sm_image.dcm"))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda uid: uid.name
)
def test_transfer_syntaxes(syntax: Any, tmp_path: Path) -> None:
    slide = ann.write_slide(tmp_path / "slide")
    dataset = ann.annotations(slide, "2D", ann.every_type("2D"))
    plain = load(ann.write(tmp_path / "plain.dcm", dataset), tmp_path / "slide")
    if syntax == ExplicitVRBigEndian:
        swap_arrays(dataset)
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "other.dcm"
    little = syntax != ExplicitVRBigEndian
    implicit = syntax == ImplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    for one, other in zip(plain, load(path, tmp_path / "slide"), strict=True):
        np.testing.assert_array_equal(lps_of_model(one), lps_of_model(other))
        assert cells_of_model(one) == cells_of_model(other)


def swap_arrays(dataset: Dataset) -> None:
    """Turn the bytes of numbers, which pydicom leaves as they are."""
    widths = {"OF": 4, "OL": 4, "OD": 8}
    for element in dataset.iterall():
        if element.VR in widths:
            element.value = np.frombuffer(element.value, f"<u{widths[element.VR]}").byteswap().tobytes()


def test_many_groups_of_one_name_are_told_apart(tmp_path: Path) -> None:
    slide = ann.write_slide(tmp_path / "slide")
    groups = [ann.group(number, "POINT", ann.shapes_of("POINT", 3), label="cells") for number in (1, 2, 3)]
    nodes = load(ann.write(tmp_path / "a.dcm", ann.annotations(slide, "2D", groups)), tmp_path / "slide")
    assert len({node.GetName() for node in nodes}) == 3


def test_levels_have_pixels_of_their_own(tmp_path: Path) -> None:
    slide = ann.write_slide(tmp_path / "slide")
    shapes = ann.shapes_of("POINT", 4)
    whole = ann.annotations(slide, "2D", [ann.group(1, "POINT", shapes)])
    half = ann.annotations(Slide(slide.levels[1:]), "2D", [ann.group(1, "POINT", shapes)])
    places = []
    for name, dataset, level in (("whole", whole, slide.levels[0]), ("half", half, slide.levels[1])):
        path = ann.write(tmp_path / f"{name}.dcm", dataset)
        (node,) = load(path, tmp_path / "slide")
        (group,) = hd.ann.annread(path).get_annotation_groups()
        check_group(node, group, "2D", level)
        places.append(lps_of_model(node))
    assert np.abs(places[0] - places[1]).max() > 0.001


@pytest.mark.parametrize("sparse", [False, True])
def test_coordinates_of_a_frame(sparse: bool, tmp_path: Path) -> None:
    """The 11th tile of 8 in a row is the third of the second row; where tiles are listed backwards, another one."""
    slide = ann.write_slide(tmp_path / "slide", sparse=sparse)
    shapes = [np.array([[3.0, 5.0]], dtype="f4")]
    dataset = ann.annotations(slide, "2D", [ann.group(1, "POINT", shapes)], pixel_origin_interpretation="FRAME")
    dataset.ReferencedImageSequence[0].ReferencedFrameNumber = 11
    (in_frame,) = load(ann.write(tmp_path / "frame.dcm", dataset), tmp_path / "slide")
    corner = np.array([5 * 16, 2 * 16] if sparse else [2 * 16, 16], dtype="f4")
    whole = ann.annotations(slide, "2D", [ann.group(1, "POINT", [shapes[0] + corner])])
    (in_matrix,) = load(ann.write(tmp_path / "whole.dcm", whole), tmp_path / "slide")
    np.testing.assert_allclose(lps_of_model(in_frame), lps_of_model(in_matrix), atol=1e-9)


@pytest.mark.parametrize(("frame", "message"), [(10**6, "no frame 1000000"), (33, "no frame 33"), (None, "names 0 fr")])
def test_a_frame_that_is_not_there(frame: int | None, message: str, tmp_path: Path) -> None:
    """Of 32 tiles."""
    slide = ann.write_slide(tmp_path / "slide")
    shapes = [np.array([[3.0, 5.0]], dtype="f4")]
    dataset = ann.annotations(slide, "2D", [ann.group(1, "POINT", shapes)], pixel_origin_interpretation="FRAME")
    if frame is not None:
        dataset.ReferencedImageSequence[0].ReferencedFrameNumber = frame
    with pytest.raises(GeometryError, match=message):
        load(ann.write(tmp_path / "frame.dcm", dataset), tmp_path / "slide")


def test_a_frame_of_full_tiles_that_have_groups_without_places(tmp_path: Path) -> None:
    slide = ann.write_slide(tmp_path / "slide", levels=1)
    slide.first.PerFrameFunctionalGroupsSequence = []
    for number in range(32):
        content, item = Dataset(), Dataset()
        content.DimensionIndexValues = [number // 8 + 1, number % 8 + 1]
        item.FrameContentSequence = [content]
        slide.first.PerFrameFunctionalGroupsSequence.append(item)
    pydicom.dcmwrite(slide.paths[0], slide.first, enforce_file_format=True)
    shapes = [np.array([[3.0, 5.0]], dtype="f4")]
    dataset = ann.annotations(slide, "2D", [ann.group(1, "POINT", shapes)], pixel_origin_interpretation="FRAME")
    dataset.ReferencedImageSequence[0].ReferencedFrameNumber = 11
    (node,) = load(ann.write(tmp_path / "frame.dcm", dataset), tmp_path / "slide")
    whole = ann.annotations(slide, "2D", [ann.group(1, "POINT", [shapes[0] + np.array([32, 16], dtype="f4")])])
    (expected,) = load(ann.write(tmp_path / "whole.dcm", whole), tmp_path / "slide")
    np.testing.assert_allclose(lps_of_model(node), lps_of_model(expected), atol=1e-9)


def test_without_its_slide(tmp_path: Path) -> None:
    """Pixels without an image lie nowhere; a made up plane would be wrong."""
    (tmp_path / "object").mkdir()
    path = ann.write_every_type(tmp_path / "object", "2D")
    scene = dicombridge.new_scene()
    before = scene.GetNumberOfNodes()
    with pytest.raises(MissingReferenceError, match="pixel coordinates of the slide image"):
        dicombridge.load(path, scene=scene)
    assert scene.GetNumberOfNodes() == before
    with dicombridge.open_folder(path) as database:
        offered, _ = dicombridge.examine(database)
    assert "cannot be placed without it" in offered.warning


def test_space_needs_no_slide(tmp_path: Path) -> None:
    (tmp_path / "object").mkdir()
    path = ann.write_every_type(tmp_path / "object", "3D")
    assert len(load(path)) == 5


# --- Planes and optical paths ----------------------------------------------------------------------------------------


def test_several_planes_are_shown_in_the_first(tmp_path: Path) -> None:
    slide = ann.write_slide(tmp_path / "slide")
    dataset = ann.annotations(slide, "3D", [ann.group(1, "POINT", ann.in_space(ann.shapes_of("POINT", 3), flat=True))])
    dataset.AnnotationGroupSequence[0].CommonZCoordinateValue = [0.5, 0.75]
    dataset.AnnotationGroupSequence[0].AnnotationAppliesToAllOpticalPaths = "NO"
    dataset.AnnotationGroupSequence[0].ReferencedOpticalPathIdentifier = ["1", "3"]
    (node,) = load(ann.write(tmp_path / "a.dcm", dataset))
    assert set(lps_of_model(node)[:, 2]) == {0.5}


def test_all_planes_without_z(tmp_path: Path) -> None:
    """Pairs that are of all planes are shown in that of the slide."""
    slide = ann.write_slide(tmp_path / "slide")
    shapes = ann.in_space(ann.shapes_of("POLYGON", 3), flat=True)
    dataset = ann.annotations(slide, "3D", [ann.group(1, "POLYGON", shapes)])
    (item,) = dataset.AnnotationGroupSequence
    del item.CommonZCoordinateValue
    item.AnnotationAppliesToAllZPlanes = "YES"
    (node,) = load(ann.write(tmp_path / "a.dcm", dataset), tmp_path / "slide")
    np.testing.assert_allclose(lps_of_model(node)[:, :2], np.concatenate(shapes)[:, :2])
    assert set(lps_of_model(node)[:, 2]) == {0.0}


# --- Other producers, and lies ---------------------------------------------------------------------------------------


def polygons(tmp_path: Path, change: Callable[[Dataset], object], graphic_type: str = "POLYGON") -> Path:
    """Write three polygons of 3, 10 and 4 points, changed."""
    slide = ann.write_slide(tmp_path / "slide")
    measured = {ann.AREA: np.array([1.0, np.nan, 3.0], dtype="f4")}
    groups = [ann.group(1, graphic_type, ann.shapes_of(graphic_type, 3), measured)]
    dataset = ann.annotations(slide, "2D", groups)
    change(dataset.AnnotationGroupSequence[0])
    return ann.write(tmp_path / "a.dcm", dataset)


def set_indices(*indices: int) -> Callable[[Dataset], object]:
    return lambda item: setattr(item, "LongPrimitivePointIndexList", np.array(indices, "<u4").tobytes())


@pytest.mark.parametrize(
    ("indices", "warning"),
    [
        ((1, 7, 27), ""),
        ((0, 6, 26), "counts from 0"),
        ((1, 4, 14), "counts points"),
    ],
)
def test_index_lists_of_others(
    indices: tuple[int, ...], warning: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        (node,) = load(polygons(tmp_path, set_indices(*indices)), tmp_path / "slide")
    assert [len(cell) for cell in cells_of_model(node)] == [4, 11, 5]
    assert warning in caplog.text if warning else not caplog.text


def drop(*keywords: str) -> Callable[[Dataset], object]:
    return lambda item: [delattr(item, keyword) for keyword in keywords]


def put(keyword: str, value: Any) -> Callable[[Dataset], object]:
    return lambda item: setattr(item, keyword, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_indices(1, 27, 7), "does not increase"),
        (set_indices(1, 7, 7), "does not increase"),
        (set_indices(1, 7, 2001), "beyond its 34 values"),
        (set_indices(1, 7, 26), "points between"),
        (set_indices(1, 7, 0xFFFFFFFF), "beyond its 34 values"),
        (drop("LongPrimitivePointIndexList"), "no Long Primitive Point Index List"),
        (put("LongPrimitivePointIndexList", b"\1\0\0\0\2\0"), "bytes of 4-byte numbers"),
        (put("PointCoordinatesData", np.zeros(33, "<f4").tobytes()), "not points of 2"),
        (put("PointCoordinatesData", np.full(34, np.nan, "<f4").tobytes()), "no numbers"),
        (put("PointCoordinatesData", np.full(34, 1e30, "<f4").tobytes()), "beyond any slide"),
        (put("GraphicType", "CIRCLE"), "Graphic Type 'CIRCLE'"),
        (put("GraphicType", "ELLIPSE"), "no whole number of ELLIPSE"),
    ],
)
def test_lies_are_errors(change: Callable[[Dataset], object], message: str, tmp_path: Path) -> None:
    path = polygons(tmp_path, change)
    with pytest.raises(UnreadableError, match=message) as raised:
        load(path, tmp_path / "slide")
    assert path.name in str(raised.value)


def set_measured(values: list[float], indices: list[int] | None) -> Callable[[Dataset], object]:
    def change(item: Dataset) -> None:
        (one,) = item.MeasurementsSequence[0].MeasurementValuesSequence
        one.FloatingPointValues = np.array(values, "<f4").tobytes()
        if indices is None:
            del one.AnnotationIndexList
        else:
            one.AnnotationIndexList = np.array(indices, "<u4").tobytes()

    return change


@pytest.mark.parametrize(
    ("values", "indices", "expected"),
    [
        ([1, 2, 3], None, [1, 2, 3]),
        ([5, 6], [3, 1], [6, np.nan, 5]),
        ([5, 6], [2, 9], [np.nan, 5, np.nan]),
        ([5, 6, 7], [0, 1, 2], [5, 6, 7]),
        ([1, np.nan, 3], None, [1, np.nan, 3]),
    ],
)
def test_sparse_measurements(
    values: list[float], indices: list[int] | None, expected: list[float], tmp_path: Path
) -> None:
    (node,) = load(polygons(tmp_path, set_measured(values, indices)), tmp_path / "slide")
    np.testing.assert_array_equal(cell_values(node, "Area"), expected)


@pytest.mark.parametrize("graphic_type", ["POLYGON", "ELLIPSE"])
def test_shapes_tell_their_group_and_their_number(graphic_type: str, tmp_path: Path) -> None:
    """Also where measurements have the names of our own arrays."""
    slide = ann.write_slide(tmp_path / "slide")
    names = [
        ann.Code(str(number), "99X", name) for number, name in enumerate(("Group", "Annotation", "DICOM.Coordinates"))
    ]
    measured = {name: np.array([1.5, 2.5, 3.5], dtype="f4") * (1 + place) for place, name in enumerate(names)}
    groups = [ann.group(number, graphic_type, ann.shapes_of(graphic_type, 3), measured) for number in (1, 2)]
    nodes = load(ann.write(tmp_path / "a.dcm", ann.annotations(slide, "2D", groups)), tmp_path / "slide")
    for number, node in enumerate(nodes, start=1):
        assert cell_values(node, "Group").tolist() == [number] * 3
        assert cell_values(node, "Annotation").tolist() == [1, 2, 3]
        for name in names:
            np.testing.assert_array_equal(cell_values(node, f"{name.meaning} (um)"), measured[name])


@pytest.mark.parametrize(("values", "indices"), [([1, 2], None), ([1, 2, 3], [1, 2])])
def test_measurements_that_do_not_fit(values: list[float], indices: list[int] | None, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="measured values for"):
        load(polygons(tmp_path, set_measured(values, indices)), tmp_path / "slide")


def test_measurements_that_would_fill_the_memory(tmp_path: Path) -> None:
    """A point takes 8 bytes, but with a thousand sparse measurements 4000."""
    slide = ann.write_slide(tmp_path / "slide")
    count = 200_000
    dataset = ann.annotations(slide, "2D", [ann.group(1, "POINT", ann.shapes_of("POINT", 2))])
    (item,) = dataset.AnnotationGroupSequence
    item.NumberOfAnnotations, item.PointCoordinatesData = count, bytes(8 * count)
    one = hd.ann.Measurements(ann.AREA, np.array([1.0, np.nan], dtype="f4"), ann.SQUARE_MICROMETER)
    item.MeasurementsSequence = [one] * 1000
    with pytest.raises(UnreadableError, match="without a measurement"):
        load(ann.write(tmp_path / "a.dcm", dataset), tmp_path / "slide")


def test_unknown_encodings_of_arrays(tmp_path: Path) -> None:
    """Software that does not know an element writes it as UN, and some writes OB."""

    def change(item: Dataset) -> None:
        item["PointCoordinatesData"].VR = "UN"
        item["LongPrimitivePointIndexList"].VR = "OB"

    (node,) = load(polygons(tmp_path, change), tmp_path / "slide")
    assert [len(cell) for cell in cells_of_model(node)] == [4, 11, 5]


def test_wrong_counts_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = polygons(tmp_path, put("NumberOfAnnotations", 7))
    with caplog.at_level(logging.WARNING):
        (node,) = load(path, tmp_path / "slide")
    assert "announces 7 annotations and holds 3" in caplog.text
    assert node.GetPolyData().GetNumberOfCells() == 3


def test_a_group_without_shapes(tmp_path: Path) -> None:
    def change(item: Dataset) -> None:
        item.NumberOfAnnotations, item.PointCoordinatesData, item.LongPrimitivePointIndexList = 0, b"", b""
        del item.MeasurementsSequence

    (node,) = load(polygons(tmp_path, change), tmp_path / "slide")
    assert node.GetPolyData().GetNumberOfCells() == 0


# --- Nodes -----------------------------------------------------------------------------------------------------------


def test_few_shapes_as_markups(tmp_path: Path) -> None:
    (tmp_path / "object").mkdir()
    path = ann.write_every_type(tmp_path / "object", "2D")
    models = load(path, tmp_path / "slide")
    nodes = load(path, tmp_path / "slide", most_markups=5)
    classes = [node.GetClassName() for node in nodes]
    assert classes.count("vtkMRMLMarkupsClosedCurveNode") == 15
    assert classes.count("vtkMRMLMarkupsFiducialNode") == 1
    assert {"vtkMRMLMarkupsLineNode", "vtkMRMLMarkupsCurveNode"} <= set(classes)
    points = next(node for node in nodes if node.IsA("vtkMRMLMarkupsFiducialNode"))
    found = [points.GetNthControlPointPositionWorld(number) for number in range(5)]
    np.testing.assert_allclose(np.array(found) * (-1, -1, 1), lps_of_model(models[1]), atol=1e-9)
    assert points.GetNthControlPointLabel(2) == "points-3"
    assert all(node.IsA("vtkMRMLModelNode") for node in load(path, tmp_path / "slide", most_markups=4))


def test_examination_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "object").mkdir()
    path = ann.write_every_type(tmp_path / "object", "2D")
    with dicombridge.open_folder(tmp_path) as database:
        offered, as_markups = dicombridge.examine(database, database.seriesForFile(str(path)))
    assert offered.name == "20: NUCLEI"
    assert "25 shapes in 5 groups (polygons, points" in offered.tooltip
    assert offered.warning == ""
    assert len(offered.referencedInstanceUIDs) == 2  # both levels
    assert (offered.selected, as_markups.selected) == (True, False)
    assert as_markups.name == "20: NUCLEI - as markups"
    assert "as markups, which can be edited point by point: 25 shapes" in as_markups.tooltip
    assert as_markups.referencedInstanceUIDs == offered.referencedInstanceUIDs


def test_few_shapes_are_offered_as_markups(tmp_path: Path) -> None:
    """Up to a hundred shapes; what holds more than it announces becomes a model all the same."""
    slide = ann.write_slide(tmp_path / "slide")
    (tmp_path / "object").mkdir()
    for count, announced, offers in ((100, 100, 2), (101, 101, 1), (101, 3, 2), (3, 2**32 - 1, 1)):
        dataset = ann.annotations(slide, "2D", [ann.group(1, "POINT", ann.shapes_of("POINT", count))])
        dataset.AnnotationGroupSequence[0].NumberOfAnnotations = announced
        path = ann.write(tmp_path / "object" / "a.dcm", dataset)
        scene = dicombridge.new_scene()
        with dicombridge.open_folder(tmp_path, index=":memory:") as database:
            found = dicombridge.examine(database, database.seriesForFile(str(path)))
            assert len(found) == offers
            (node,) = dicombridge.load(found[-1], scene=scene, database=database)
        assert node.IsA("vtkMRMLMarkupsFiducialNode" if count == 100 else "vtkMRMLModelNode")


def test_slices_show_shapes_that_lie_in_them(tmp_path: Path) -> None:
    (tmp_path / "object").mkdir()
    nodes = load(ann.write_every_type(tmp_path / "object", "3D"))
    display = nodes[0].GetDisplayNode()
    assert display.GetVisibility2D()
    assert display.GetSliceDisplayMode() == display.SliceDisplayProjection
