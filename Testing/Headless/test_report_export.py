"""New markups, segmentations and tables as structured reports: what is written is what was measured by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.seg_exports import segmentation_node
from support.sr_exports import (
    code_of,
    concept,
    graphics_of,
    groups_of,
    images_of,
    items_of,
    meaning,
    numbers_of,
    text_of,
    written,
)
from support.sr_images import SeriesOfImages, write_multi_frame, write_series
from test_report_contents import add
from test_report_measuring import statistics_table

import dicombridge
from dicombridge.codes import Code, Terminology, terminology_tag
from dicombridge.errors import DicomBridgeError, ExportError, UnsupportedError
from dicombridge.geometry import lps_ras_points
from dicombridge.report import export
from dicombridge.report.nodes import TERMINOLOGY_ATTRIBUTE

COLUMN_MM, ROW_MM, STEP_MM = 1.3, 0.7, 2.5
"""Distances of columns, rows and slices of the images."""


@pytest.fixture
def images(tmp_path: Path) -> SeriesOfImages:
    return write_series(tmp_path / "in" / "ct", "oblique")


@pytest.fixture
def database(tmp_path: Path, images: SeriesOfImages) -> Iterator[Any]:
    with dicombridge.open_folder(tmp_path / "in") as found:
        yield found


def volume_of(images: SeriesOfImages, scene: Any, database: Any) -> Any:
    return dicombridge.load(images.series, scene=scene, database=database)[0]


# --- Measured by hand ------------------------------------------------------------------------------------------------

CORNERS = [(2, 3), (20, 3), (20, 15), (2, 15)]
RECTANGLE_MM = 18 * COLUMN_MM, 12 * ROW_MM
DIAGONAL = float(np.hypot(*RECTANGLE_MM))

SHAPES: dict[str, tuple[str, list[tuple[int, int]], str, dict[str, float]]] = {
    "line": ("Line", [(2, 3), (20, 15)], "POLYLINE", {"Length": DIAGONAL}),
    "angle": ("Angle", [(10, 3), (2, 3), (2, 15)], "POLYLINE", {"Angle": 90.0}),
    "path": ("Curve", [(2, 3), (20, 3), (20, 15)], "POLYLINE", {"Length": sum(RECTANGLE_MM)}),
    "ring": ("ClosedCurve", CORNERS, "POLYGON", {
        "Area": RECTANGLE_MM[0] * RECTANGLE_MM[1], "Perimeter": 2 * sum(RECTANGLE_MM), "Long axis": DIAGONAL,
        # Across the diagonal, a corner is as far as the rectangle's area over the diagonal, on either side.
        "Short axis": 2 * RECTANGLE_MM[0] * RECTANGLE_MM[1] / DIAGONAL}),
    "point": ("Fiducial", [(7, 9)], "POINT", {}),
}  # fmt: skip
"""Class, pixels, Graphic Type in space, and what is measured (mm, mm2, degrees)."""


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("coordinates", ["patient", "image"])
def test_shapes_and_their_measurements(
    scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any, name: str, coordinates: str
) -> None:
    node_class, pixels, graphic, expected = SHAPES[name]
    node = add(scene, node_class, name, images.of_pixels(3, pixels))
    if node_class == "Fiducial":
        node.SetNthControlPointLabel(0, name)
    options = {"source": images.series, "coordinates": coordinates}
    dataset = written(export([node], tmp_path / "out", database, **options))
    (group,) = groups_of(dataset).values()
    assert text_of(group, "112039") == name
    assert numbers_of(group) == pytest.approx(expected, rel=1e-6)
    closed = [*pixels, pixels[0]] if node_class == "ClosedCurve" else pixels
    ((kind, found),) = graphics_of(group)
    if coordinates == "image":
        assert kind == ("POLYLINE" if graphic == "POLYGON" else graphic)
        np.testing.assert_allclose(found, np.array(closed) + 0.5, atol=1e-4)
        assert images_of(group) == [(images.uid(3), [])]
    else:
        assert kind == graphic
        np.testing.assert_allclose(found, images.of_pixels(3, closed), atol=1e-4)
        frames = {str(one.ReferencedFrameOfReferenceUID) for one in items_of(group) if one.ValueType == "SCOORD3D"}
        assert frames == {images.frame_of_reference}
    assert (dataset.StudyInstanceUID, dataset.PatientID, dataset.Modality) == (images.study, "P1", "SR")
    assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


def test_plane_and_boxes(scene: Any, tmp_path: Path) -> None:
    plane, box, ball = add(scene, "Plane", "plane"), add(scene, "ROI", "box"), add(scene, "ROI", "ball")
    plane.SetCenter([1, 2, 3])
    plane.SetNormal([0, 0.6, 0.8])
    plane.SetSize(10, 25)
    box.SetCenter([1, 2, 3])
    box.SetSize([10, 20, 30])
    ball.SetROIType(ball.ROITypeEllipsoid) if hasattr(ball, "ROITypeEllipsoid") else None
    ball.SetSize([6, 8, 10])
    groups = groups_of(written(export([plane, box, ball], tmp_path / "out")))
    assert numbers_of(groups["plane"]) == pytest.approx({"Area": 250})
    axes = {"Long axis": 30, "Short axis": 20, "Perpendicular Axis": 10}
    assert numbers_of(groups["box"]) == pytest.approx({"Volume": 6000, **axes})
    corners = np.unique(np.vstack([points for _, points in graphics_of(groups["box"])]), axis=0)
    assert corners.tolist() == [[x, y, z] for x in (-6, 4) for y in (-12, 8) for z in (-12, 18)]
    fraction = np.pi / 6 if graphics_of(groups["ball"])[0][0] == "ELLIPSOID" else 1
    assert numbers_of(groups["ball"])["Volume"] == pytest.approx(480 * fraction)


def test_frames_of_a_multi_frame_image(scene: Any, tmp_path: Path) -> None:
    images = write_multi_frame(tmp_path / "in")
    nodes = [add(scene, "Line", f"L{plane}", images.of_pixels(plane, [(3, 4), (13, 4)])) for plane in (0, 4)]
    with dicombridge.open_folder(tmp_path / "in") as database:
        paths = export(nodes, tmp_path / "out", database, source=images.series, coordinates="image")
    groups = groups_of(written(paths))
    assert [images_of(groups[name]) for name in ("L0", "L4")] == [[(images.uid(0), [1])], [(images.uid(4), [5])]]
    assert numbers_of(groups["L4"]) == pytest.approx({"Length": 13.0}, rel=1e-6)
    assert graphics_of(groups["L4"])[0][1].round(4).tolist() == [[3.5, 4.5], [13.5, 4.5]]


def test_shapes_out_of_slices_stay_in_space(
    scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ends = np.concatenate([images.of_pixels(1, [(3, 4)]), images.of_pixels(3, [(3, 4)])])
    nodes = [add(scene, "Line", "across", ends), add(scene, "Line", "inside", images.of_pixels(1, [(3, 4), (9, 9)]))]
    with caplog.at_level(logging.WARNING):
        paths = export(nodes, tmp_path / "out", database, source=images.series, coordinates="image")
    groups = groups_of(written(paths))
    assert "'across' lies in no slice of the source images" in caplog.text
    np.testing.assert_allclose(graphics_of(groups["across"])[0][1], ends, atol=1e-4)
    assert numbers_of(groups["across"]) == pytest.approx({"Length": 2 * STEP_MM}, rel=1e-6)
    assert images_of(groups["inside"]) == [(images.uid(1), [])]
    with pytest.raises(ExportError, match="'across' lies in no slice"):
        export(nodes, tmp_path / "ohif", database, source=images.series, profile="ohif")
    assert list((tmp_path / "ohif").glob("*")) == []


SOURCES: dict[str, Callable[[SeriesOfImages, Any], Any]] = {
    "series": lambda images, volume: images.series,
    "folder": lambda images, volume: images.folder,
    "files": lambda images, volume: [str(path) for path in images.paths],
    "volume": lambda images, volume: volume,
    "nothing": lambda images, volume: None,
}


@pytest.mark.parametrize("form", SOURCES)
def test_forms_of_the_source(scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any, form: str) -> None:
    volume = volume_of(images, scene, database)
    line = add(scene, "Line", "line", images.of_pixels(2, [(3, 4), (13, 4)]))
    line.SetNodeReferenceID("referenceImageGeometryRef", volume.GetID() if form == "nothing" else None)
    source = SOURCES[form](images, volume)
    dataset = written(export([line], tmp_path / "out", database, source=source, coordinates="image"))
    assert dataset.StudyInstanceUID == images.study
    assert images_of(dataset) == [(images.uid(2), [])]
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (images.study, images.series)
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence] == [images.uid(2)]


# --- What is said of them --------------------------------------------------------------------------------------------


def test_terminology_observer_and_keywords(scene: Any, tmp_path: Path) -> None:
    node = add(scene, "Line", "Läsion", [(0, 0, 0), (3, 4, 0)])
    node.SetNthControlPointDescription(0, "zweimal gesehen")
    said = Terminology(
        Code("49755003", "SCT", "Morphologically Abnormal Structure"), Code("4147007", "SCT", "Mass"), None,
        Code("64033007", "SCT", "Kidney"), Code("7771000", "SCT", "Left"),
    )  # fmt: skip
    node.SetAttribute(TERMINOLOGY_ATTRIBUTE, terminology_tag(said))
    options = {"observer": "Müller^Änne", "SeriesDescription": "Meine Maße", "SeriesNumber": "77", "PatientID": "X1"}
    dataset = written(export([node], tmp_path / "out", **options))
    (group,) = groups_of(dataset).values()
    assert [code_of(group, one) for one in ("276214006", "121071", "363698007")] == ["49755003", "4147007", "64033007"]
    site = next(one for one in group.ContentSequence if concept(one) == "363698007")
    assert [(meaning(one), one.ConceptCodeSequence[0].CodeValue) for one in site.ContentSequence] == [
        ("Laterality", "7771000")
    ]
    assert text_of(group, "121106") == "zweimal gesehen"
    assert [str(one.PersonName) for one in items_of(dataset) if one.ValueType == "PNAME"] == ["Müller^Änne"]
    assert (dataset.SeriesDescription, dataset.SeriesNumber, dataset.PatientID) == ("Meine Maße", 77, "X1")
    assert list(groups_of(dataset)) == ["Läsion"]


def test_markups_of_one_name_are_one_group(scene: Any, tmp_path: Path) -> None:
    nodes = [add(scene, "Line", "a", [(0, 0, 0), (8, 0, 0)]), add(scene, "Line", "b", [(1, 0, 0), (1, 3, 0)])]
    for node in nodes:
        node.SetAttribute("DICOMBridge.GroupName", "Target 1")
    groups = groups_of(written(export(nodes, tmp_path / "out")))
    assert list(groups) == ["Target 1"]
    assert numbers_of(groups["Target 1"]) == pytest.approx({"Long axis": 8, "Short axis": 3})


def test_many_points_are_a_group_each(scene: Any, tmp_path: Path) -> None:
    places = np.random.default_rng(2).uniform(-100, 100, (200, 3)).astype(np.float32).astype(float)
    dataset = written(export([add(scene, "Fiducial", "P", places)], tmp_path / "out"))
    groups = groups_of(dataset)
    assert list(groups) == [f"P{number}" for number in range(200)]
    np.testing.assert_allclose([graphics_of(one)[0][1][0] for one in groups.values()], places, atol=1e-5)
    uids = [one.UID for one in items_of(dataset) if concept(one) == "112040"]
    assert len(set(uids)) == 200


# --- Segments --------------------------------------------------------------------------------------------------------


@pytest.fixture
def segmented(scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any) -> tuple[Any, Any, dict[str, Any]]:
    """A volume of the images, a segmentation on its grid, and the segments' voxel values."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    volume = volume_of(images, scene, database)
    columns, rows, slices = volume.GetImageData().GetDimensions()
    voxels = vtk_to_numpy(volume.GetImageData().GetPointData().GetScalars()).reshape(slices, rows, columns)
    marks = np.random.default_rng(4).integers(0, 3, voxels.shape)
    masks = {"liver": marks == 1, "spleen": marks == 2}
    affine = np.eye(4)
    for index in range(4):
        corner = [0.0, 0.0, 0.0]
        if index < 3:
            corner[index] = 1.0
        matrix = _ijk_to_ras(volume)
        ras = matrix @ [*corner, 1.0]
        affine[:3, index] = lps_ras_points([ras[:3]])[0]
    affine[:3, :3] -= affine[:3, 3:]
    node = segmentation_node(scene, masks, affine)
    return volume, node, {name: voxels[mask].astype(float) for name, mask in masks.items()}


def _ijk_to_ras(volume: Any) -> Any:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def test_segments_measured_here(segmented: Any, tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    volume, node, values = segmented
    with pytest.raises(ExportError, match="export the segmentation as SEG first"):
        export([node, volume], tmp_path / "no", database, source=volume)
    (path,) = dicombridge.export([node], tmp_path / "seg", "SEG", database, source=volume)
    options = {"source": volume, "segmentation": path}
    dataset = written(export([node, volume], tmp_path / "out", database, **options))
    groups = groups_of(dataset)
    for place, (name, inside) in enumerate(values.items(), start=1):
        found = numbers_of(groups[name])
        assert found.pop("Volume") == pytest.approx(len(inside) * COLUMN_MM * ROW_MM * STEP_MM, rel=1e-5)
        expected = {
            "Mean": inside.mean(), "Minimum": inside.min(), "Maximum": inside.max(),
            "Standard Deviation": inside.std(ddof=1), "Median": np.median(inside),
        }  # fmt: skip
        assert {text.split(" ")[0]: number for text, number in found.items()} == pytest.approx(
            {text.split(" ")[0]: number for text, number in expected.items()}
        )
        segment = next(one for one in groups[name].ContentSequence if concept(one) == "121191")
        named = segment.ReferencedSOPSequence[0]
        assert (named.ReferencedSOPInstanceUID in path.name, named.ReferencedSegmentNumber) == (True, place)
        assert groups[name].ContentTemplateSequence[0].TemplateIdentifier == "1411"
    series = {one.UID for one in items_of(dataset) if concept(one) == "121232"}
    assert series == {images.series}


def test_segments_of_a_statistics_table(scene: Any, segmented: Any, tmp_path: Path, database: Any) -> None:
    volume, node, _ = segmented
    (path,) = dicombridge.export([node], tmp_path / "seg", "SEG", database, source=volume)
    table = statistics_table(scene, ["liver", "spleen"])
    dataset = written(export([node, table], tmp_path / "out", database, source=volume, segmentation=path))
    groups = groups_of(dataset)
    assert numbers_of(groups["liver"]) == {
        "Volume": 10.5, "Number of voxels": 7, "Median Attenuation Coefficient": 1.5, "Mean": 3.5,
    }  # fmt: skip
    assert numbers_of(groups["spleen"]) == {"Volume": 20.5, "Median Attenuation Coefficient": 2.5, "Mean": 4.5}


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"profile": "fancy"}, "profile='fancy' is not known; there are: standard, ohif"),
        ({"coordinates": "both"}, "coordinates='both' is not known"),
        ({"nonsense": 1}, "Unknown option nonsense"),
        ({"ContentSequence": []}, "ContentSequence cannot be an option"),
        ({"Modality": "CT"}, "Modality cannot be an option"),
        ({"source": "1.2.3.4.5"}, "1.2.3.4.5"),
        ({"source": 5}, "source is a Series Instance UID, .* not 5"),
        ({"PatientBirthDate": "yesterday"}, "PatientBirthDate cannot be"),
    ],
)
def test_options_that_cannot_be(scene: Any, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    line = add(scene, "Line", "line", [(0, 0, 0), (3, 4, 0)])
    with pytest.raises(DicomBridgeError, match=told):
        export([line], tmp_path / "out", **options)
    assert list((tmp_path / "out").glob("*")) == []


def test_nodes_that_cannot_be(scene: Any, tmp_path: Path) -> None:
    nowhere = add(scene, "Line", "nowhere", [(1, 2, 3), (np.nan, 0, 0)])
    empty = add(scene, "Fiducial", "none")
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode", "view")
    for nodes, message in (
        ([], "no node to export"), ([nowhere], "'nowhere' has a point that is not finite"),
        ([empty], "nothing to report in 'none'"), ([camera], "vtkMRMLCameraNode cannot be exported"),
    ):  # fmt: skip
        with pytest.raises(ExportError, match=message):
            export(nodes, tmp_path / "out")
        assert list((tmp_path / "out").glob("*")) == []
    with pytest.raises(UnsupportedError, match="vtkMRMLCameraNode"):
        dicombridge.export([camera], tmp_path / "out")


def test_one_bad_node_spoils_all(scene: Any, tmp_path: Path) -> None:
    good, bad = add(scene, "Line", "good", [(0, 0, 0), (3, 4, 0)]), add(scene, "Angle", "bad", [(0, 0, 0)])
    with pytest.raises(ExportError, match="'bad' has 1 points"):
        export([good, bad], tmp_path / "out")
    assert list((tmp_path / "out").glob("*")) == []
