"""Reports on slides: coordinates in the total pixel matrix, in a tile, and on the slide; in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from support.sr_documents import IMAGE_REGION, content, document, group, measurement_report, save
from support.sr_exports import items_of
from support.sr_markups import add, errors_of
from support.sr_nodes import lps_points, markups_of
from support.tiled_objects import TURNED, UPRIGHT, affine_of, slide, write

import dicombridge

SQUARE = np.array([[3.0, 4.0], [40.0, 4.5], [41.0, 30.0], [3.0, 4.0]])
"""Columns and rows from the corner of the first pixel; over several tiles."""


def on_slide(source: Dataset, pixels: Any) -> NDArray[np.float64]:
    """(n, 3) mm of columns and rows from the corner of the first pixel."""
    centred = np.asarray(pixels, float) - 0.5
    return np.column_stack([centred, np.ones(len(centred))]) @ affine_of(source).T


def report_on(source: Dataset, directory: Path, pixels: Any, origin: str | None, frames: tuple[int, ...] = ()) -> Path:
    """Write a report with one region, in the image's pixels."""
    image = content("IMAGE", None, (source.SOPClassUID, source.SOPInstanceUID, *frames), relation="SELECTED FROM")
    region = content("SCOORD", IMAGE_REGION, ("POLYLINE", pixels), image, PixelOriginInterpretation=origin)
    root = measurement_report([group("Region", "1.2.3.77", region)])
    return save(document(root), directory / "report.dcm")


def load(directory: Path, path: Path, scene: Any) -> list[Any]:
    with dicombridge.open_folder(directory, index=":memory:") as database:
        return markups_of(dicombridge.load(path, scene=scene, database=database))


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
@pytest.mark.parametrize("origin", ["VOLUME", None])
def test_the_total_pixel_matrix(tmp_path: Path, scene: Any, origin: str | None, orientation: tuple[float, ...]) -> None:
    source = slide(orientation=orientation)
    write(source, tmp_path, "slide.dcm")
    (node,) = load(tmp_path, report_on(source, tmp_path, SQUARE, origin), scene)
    np.testing.assert_allclose(lps_points(node)[:3], on_slide(source, SQUARE)[:3], rtol=0, atol=1e-6)


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
def test_a_tile(tmp_path: Path, scene: Any, organization: str) -> None:
    """Frame 6 of 12 begins at row 16 and column 48; where the last tile is written first, at row 32 and column 0."""
    source = slide(organization=organization)
    write(source, tmp_path, "slide.dcm")
    pixels = np.array([[1.0, 2.0], [20.0, 2.0], [20.0, 9.0], [1.0, 2.0]])
    (node,) = load(tmp_path, report_on(source, tmp_path, pixels, "FRAME", (6,)), scene)
    corner = [48, 16] if organization == "TILED_FULL" else [0, 32]
    np.testing.assert_allclose(lps_points(node)[:3], on_slide(source, pixels + corner)[:3], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("frames", "message"), [((), "names 0 frames"), ((13,), "no frame 13"), ((0,), "no frame 0")])
def test_a_tile_that_is_not_there(
    tmp_path: Path, scene: Any, frames: tuple[int, ...], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = slide()
    write(source, tmp_path, "slide.dcm")
    assert load(tmp_path, report_on(source, tmp_path, SQUARE, "FRAME", frames), scene) == []
    assert message in caplog.text


def test_a_slide_that_is_missing_or_lies_nowhere(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    source = slide()
    path = report_on(source, tmp_path, SQUARE, "VOLUME")
    assert load(tmp_path, path, scene) == []
    assert "not in the database" in caplog.text
    del source.TotalPixelMatrixOriginSequence
    write(source, tmp_path, "slide.dcm")
    assert load(tmp_path, path, scene) == []
    assert "origin on the slide" in caplog.text


def test_coordinates_on_the_slide(tmp_path: Path, scene: Any) -> None:
    """SCOORD3D in the frame of reference of the slide: millimetres of it take the place of LPS."""
    points = np.array([[20.0, 30.0, 0.0], [19.99, 30.0, 0.0], [19.99, 29.99, 0.0], [20.0, 30.0, 0.0]])
    region = content("SCOORD3D", IMAGE_REGION, ("POLYGON", points, "1.2.3.9"))
    path = save(document(measurement_report([group("Region", "1.2.3.77", region)])), tmp_path / "report.dcm")
    (node,) = load(tmp_path, path, scene)
    np.testing.assert_allclose(lps_points(node)[:3], points[:3], rtol=0, atol=2e-6)


# --- Out -------------------------------------------------------------------------------------------------------------


def regions_of(path: Path) -> list[Dataset]:
    return [one for one in items_of(pydicom.dcmread(path)) if one.get("ValueType") == "SCOORD"]


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
def test_a_drawn_region_goes_out(tmp_path: Path, scene: Any, orientation: tuple[float, ...]) -> None:
    source = slide(orientation=orientation)
    path = write(source, tmp_path / "in", "slide.dcm")
    node = add(scene, "ClosedCurve", "tumour", on_slide(source, SQUARE[:3]))
    with dicombridge.open_folder(path, index=":memory:") as database:
        (out,) = dicombridge.export(
            node, tmp_path / "out", kind="SR", database=database, source=path, coordinates="image"
        )
    (region,) = regions_of(out)
    assert region.PixelOriginInterpretation == "VOLUME"
    reference = region.ContentSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert "ReferencedFrameNumber" not in reference
    found = np.reshape(region.GraphicData, (-1, 2))
    np.testing.assert_allclose(found[:3], SQUARE[:3], rtol=0, atol=1e-4)
    assert errors_of(out) == []


def test_a_loaded_region_comes_back(tmp_path: Path, scene: Any) -> None:
    source = slide()
    write(source, tmp_path / "in", "slide.dcm")
    path = report_on(source, tmp_path / "in", SQUARE, "VOLUME")
    with dicombridge.open_folder(tmp_path / "in", index=":memory:") as database:
        nodes = dicombridge.load(path, scene=scene, database=database)
        (node,) = markups_of(nodes)
        (out,) = dicombridge.export(nodes, tmp_path / "same", kind="SR", database=database)
        (region,) = regions_of(out)
        assert list(region.GraphicData) == list(regions_of(path)[0].GraphicData)
        assert region.PixelOriginInterpretation == "VOLUME"
        ras = on_slide(source, [[10.0, 11.0]])[0] * [-1, -1, 1]
        node.SetNthControlPointPosition(0, *ras)
        (moved,) = dicombridge.export(nodes, tmp_path / "moved", kind="SR", database=database)
    (region,) = regions_of(moved)
    np.testing.assert_allclose(region.GraphicData[:2], [10.0, 11.0], rtol=0, atol=1e-4)
    assert region.PixelOriginInterpretation == "VOLUME"


SHAPES = {
    "POINT": [[10, 12]],
    "POLYLINE": [[3, 4], [20, 4], [20, 15], [3, 4]],
    "CIRCLE": [[30, 20], [35, 20]],
    "ELLIPSE": [[20, 10], [40, 10], [30, 5], [30, 15]],
}
"""By Graphic Type, columns and rows that are exact in single precision."""
IN_SPACE = np.array([[20.0, 30.0, 0.0], [20.0078125, 30.0, 0.0], [20.0078125, 30.0078125, 0.0], [20.0, 30.0, 0.0]])


def report_of_highdicom(source: Dataset) -> hd.sr.Comprehensive3DSR:
    """A report with a region of each type in the total pixel matrix, and one in mm of the slide."""
    person = hd.sr.ObserverContext(codes.DCM.Person, hd.sr.PersonObserverIdentifyingAttributes(name="Doe^Jane"))
    image = hd.sr.SourceImageForRegion.from_source_image(source)
    space = hd.sr.ImageRegion3D(hd.sr.GraphicTypeValues3D.POLYGON, IN_SPACE, source.FrameOfReferenceUID)
    regions = {"space": space} | {
        kind: hd.sr.ImageRegion(hd.sr.GraphicTypeValues(kind), np.array(points, float), image, "VOLUME")
        for kind, points in SHAPES.items()
    }
    area = hd.sr.Measurement(codes.SCT.Area, 3.5, codes.UCUM.SquareMillimeter)
    groups = [
        hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            hd.sr.TrackingIdentifier(hd.UID(), name), region, finding_type=codes.SCT.Neoplasm, measurements=[area]
        )
        for name, region in regions.items()
    ]
    content = hd.sr.MeasurementReport(
        hd.sr.ObservationContext(observer_person_context=person), codes.LN.CTUnspecifiedBodyRegion, groups
    )
    return hd.sr.Comprehensive3DSR([source], content, hd.UID(), 1, hd.UID(), 1, manufacturer="M")


def shapes_of_highdicom(path: Path) -> dict[str, Any]:
    groups = hd.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert [[one.value for one in group.get_measurements()] for group in groups] == [[3.5]] * len(groups)
    return {group.tracking_identifier: group.roi.value.tolist() for group in groups}


@pytest.mark.parametrize("orientation", [UPRIGHT, TURNED])
def test_highdicom_and_we_read_each_other(tmp_path: Path, scene: Any, orientation: tuple[float, ...]) -> None:
    """Every Graphic Type of regions, in pixels of the slide; and a polygon in its frame of reference."""
    source = slide(orientation=orientation)
    write(source, tmp_path / "in", "slide.dcm")
    path = tmp_path / "in" / "report.dcm"
    report_of_highdicom(source).save_as(path)
    with dicombridge.open_folder(tmp_path / "in", index=":memory:") as database:
        nodes = dicombridge.load(path, scene=scene, database=database)
        (out,) = dicombridge.export(nodes, tmp_path / "out", kind="SR", database=database)
    found = {node.GetName(): lps_points(node) for node in markups_of(nodes)}
    np.testing.assert_allclose(found.pop("space"), IN_SPACE[:3], rtol=0, atol=1e-6)
    for kind in ("POINT", "POLYLINE"):
        expected = on_slide(source, SHAPES[kind])[: len(found[kind])]
        np.testing.assert_allclose(found.pop(kind), expected, rtol=0, atol=1e-6)
    rings = {"CIRCLE": [(30, 20), (35, 20), (30, 22.5)], "ELLIPSE": [(30, 10), (40, 10), (30, 15)]}
    for kind, middle_and_ends in rings.items():
        # A circle is round on the slide, where these pixels are twice as high as wide.
        centre, *ends = on_slide(source, middle_and_ends)
        turns = np.linspace(0, 2 * np.pi, len(found[kind]), endpoint=False)
        ring = centre + np.outer(np.cos(turns), ends[0] - centre) + np.outer(np.sin(turns), ends[1] - centre)
        away = np.linalg.norm(found[kind][:, None] - ring[None], axis=-1).min(axis=1)
        assert away.max() < 1e-6
    assert shapes_of_highdicom(out) == shapes_of_highdicom(path)
    assert {region.PixelOriginInterpretation for region in regions_of(out)} == {"VOLUME"}
    assert errors_of(out) == []


def test_what_is_beside_the_slide_stays_in_space(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    source = slide()
    path = write(source, tmp_path / "in", "slide.dcm")
    node = add(scene, "ClosedCurve", "tumour", on_slide(source, SQUARE[:3] + 100))
    with dicombridge.open_folder(path, index=":memory:") as database:
        (out,) = dicombridge.export(
            node, tmp_path / "out", kind="SR", database=database, source=path, coordinates="image"
        )
    assert regions_of(out) == []
    assert "SCOORD3D" in caplog.text
