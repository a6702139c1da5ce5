"""Markups as Spatial Fiducials: new ones, and where they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from support.fiducials import lps_of
from support.peers import assert_consistent
from support.rt_structures import Images, write_images

import dicombridge
from dicombridge.errors import ExportError
from dicombridge.geometry import vtk_matrix

MOVED = [[0, -1, 0, 5], [1, 0, 0, -3], [0, 0, 1, 7], [0, 0, 0, 1]]
"""RAS to RAS: a quarter turn and a shift."""


def add(scene: Any, node_class: str, name: str, ras: Any) -> Any:
    node = scene.AddNewNodeByClass(f"vtkMRMLMarkups{node_class}Node", name)
    for number, point in enumerate(ras):
        node.AddControlPointWorld(*map(float, point))
        node.SetNthControlPointLabel(number, f"{name}{number}")
    if "Curve" in node_class:
        node.SetCurveTypeToLinear()
    return node


def under(scene: Any, *nodes: Any) -> Any:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    transform.SetMatrixTransformToParent(vtk_matrix(MOVED))
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def points_of(item: Any) -> Any:
    return np.array([float(value) for value in item.ContourData]).reshape(-1, 3)


def written(paths: list[Path]) -> Any:
    (path,) = paths
    assert faults(path) == []
    return pydicom.dcmread(path)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return write_images(tmp_path / "ct", orientation=(0, 1, 0, 0, 0, -1))


def test_markups_of_all_kinds(scene: Any, tmp_path: Path, images: Images) -> None:
    nodes = [
        add(scene, "Fiducial", "P", [(1, 2, 3), (4.125, -5, 6)]),
        add(scene, "Line", "axis", [(0, 0, 0), (10, 0, 0.5)]),
        add(scene, "Curve", "path", [(0, 0, 0), (1, 2, 3), (4, 4, 4)]),
        add(scene, "ClosedCurve", "ring", [(0, 0, 0), (5, 0, 0), (5, 5, 1)]),
    ]
    nodes[0].SetNthControlPointDescription(1, "the second")
    with dicombridge.open_folder(tmp_path / "ct") as database:
        paths = dicombridge.export(
            nodes, tmp_path / "out", "FID", database, source=images.series, uncertainty_mm="0.5", ContentLabel="NAV"
        )
    dataset = written(paths)
    assert paths[0].name == f"FID_{dataset.SOPInstanceUID}.dcm"
    assert (dataset.Modality, dataset.ContentLabel, dataset.PatientID) == ("FID", "NAV", "P1")
    assert dataset.StudyInstanceUID == images.study
    assert "FrameOfReferenceUID" not in dataset
    (one,) = dataset.FiducialSetSequence
    assert one.FrameOfReferenceUID == images.frame_of_reference
    assert [item.ReferencedSOPInstanceUID for item in one.ReferencedImageSequence] == sorted(
        images.uids, key=images.uids.index
    )
    found = {item.FiducialIdentifier: item for item in one.FiducialSequence}
    assert {name: item.ShapeType for name, item in found.items()} == {
        "P0": "POINT", "P1": "POINT", "axis": "LINE", "path": "SHAPE", "ring": "SHAPE",
    }  # fmt: skip
    np.testing.assert_array_equal(points_of(found["P1"]), [(-4.125, 5, 6)])
    np.testing.assert_array_equal(points_of(found["axis"]), [(0, 0, 0), (-10, 0, 0.5)])
    np.testing.assert_array_equal(points_of(found["path"]), [(0, 0, 0), (-1, -2, 3), (-4, -4, 4)])
    np.testing.assert_array_equal(points_of(found["ring"]), [(0, 0, 0), (-5, 0, 0), (-5, -5, 1), (0, 0, 0)])
    assert found["P1"].FiducialDescription == "the second"
    assert all(item.NumberOfContourPoints == len(points_of(item)) for item in found.values())
    assert all(item.ContourUncertaintyRadius == 0.5 for item in found.values())
    assert len({item.FiducialUID for item in found.values()}) == 5
    assert_consistent(paths[0], sorted((tmp_path / "ct").iterdir()), tmp_path)


def test_what_was_written_is_loaded_as_it_was(scene: Any, tmp_path: Path) -> None:
    nodes = [
        add(scene, "Fiducial", "P", [(1 / 3, 2, 3), (4, -5, 6)]),
        add(scene, "ClosedCurve", "ring", [(0, 0, 0), (5, 0, 0), (5, 5, 1)]),
        add(scene, "Line", "axis", [(0, 0, 0), (10, 0, 0.5)]),
    ]
    again = dicombridge.load(dicombridge.export(nodes, tmp_path, "FID")[0])
    assert [node.GetClassName() for node in again] == [node.GetClassName() for node in nodes]
    for one, other in zip(nodes, again, strict=True):
        np.testing.assert_allclose(lps_of(other), lps_of(one), atol=1e-13)
    assert [node.GetName() for node in again[1:]] == ["ring", "axis"]


def test_the_volume_on_which_points_were_placed(scene: Any, tmp_path: Path, images: Images) -> None:
    with dicombridge.open_folder(tmp_path / "ct") as database:
        volume = dicombridge.load(images.series, scene=scene, database=database)[0]
        placed = add(scene, "Fiducial", "P", [(1, 2, 3)])
        placed.SetNthControlPointAssociatedNodeID(0, volume.GetID())
        drawn = add(scene, "Line", "axis", [(0, 0, 0), (10, 0, 0.5)])
        drawn.SetNodeReferenceID("referenceImageGeometryRef", volume.GetID())
        one = written(dicombridge.export([drawn, placed], tmp_path / "out", "FID", database)).FiducialSetSequence
    alone = written(dicombridge.export([placed], tmp_path / "alone", "FID"))
    assert [item.FrameOfReferenceUID for item in one] == [images.frame_of_reference]
    assert [item.FiducialIdentifier for item in one[0].FiducialSequence] == ["P0", "axis"]
    assert alone.FiducialSetSequence[0].FrameOfReferenceUID == images.frame_of_reference
    assert alone.StudyInstanceUID == images.study


def test_parent_transforms_are_applied(scene: Any, tmp_path: Path, images: Images) -> None:
    node = add(scene, "Fiducial", "P", [(1, 2, 3)])
    under(scene, node)
    with dicombridge.open_folder(tmp_path / "ct") as database:
        volume = dicombridge.load(images.series, scene=scene, database=database)[0]
        world = written(dicombridge.export(node, tmp_path / "1", "FID", database, source=volume))
        volume.SetAndObserveTransformNodeID(node.GetTransformNodeID())
        relative = written(dicombridge.export(node, tmp_path / "2", "FID", database, source=volume))
    # (x, y, z) -> (-y + 5, x - 3, z + 7) in RAS
    points = [points_of(one.FiducialSetSequence[0].FiducialSequence[0])[0] for one in (world, relative)]
    np.testing.assert_allclose(points[0], (-(-2 + 5), -(1 - 3), 3 + 7), atol=1e-12)
    np.testing.assert_allclose(points[1], (-1, -2, 3), atol=1e-12)


def test_smooth_curves_are_written_as_they_run(scene: Any, tmp_path: Path) -> None:
    node = add(scene, "Curve", "path", [(0, 0, 0), (10, 10, 0), (20, 0, 0)])
    node.SetCurveTypeToCardinalSpline()
    item = written(dicombridge.export(node, tmp_path, "FID")).FiducialSetSequence[0].FiducialSequence[0]
    curve = node.GetCurvePointsWorld()
    wanted = np.array([curve.GetPoint(number) for number in range(curve.GetNumberOfPoints())]) * (-1, -1, 1)
    assert len(wanted) > 10
    np.testing.assert_allclose(points_of(item), wanted, atol=1e-6)


def test_a_shape_may_be_said(scene: Any, tmp_path: Path) -> None:
    ruler = add(scene, "Curve", "ruler", [(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    ruler.SetAttribute("DICOMBridge.FiducialShape", "RULER")
    skin = add(scene, "Fiducial", "skin", [(0, 0, 0), (1, 0, 0), (2, 3, 0)])
    skin.SetAttribute("DICOMBridge.FiducialShape", "SURFACE")
    items = written(dicombridge.export([ruler, skin], tmp_path, "FID")).FiducialSetSequence[0].FiducialSequence
    assert {item.FiducialIdentifier: item.ShapeType for item in items} == {"ruler": "RULER", "skin": "SURFACE"}
    ruler.SetAttribute("DICOMBridge.FiducialShape", "LINE")
    with pytest.raises(ExportError, match="'ruler' has 3 points, which is no LINE"):
        dicombridge.export(ruler, tmp_path / "no", "FID")


def test_identifiers_are_unique_and_short(scene: Any, tmp_path: Path) -> None:
    node = add(scene, "Fiducial", "P", [(n, 0, 0) for n in range(5)])
    for number, label in enumerate(("a very long name of a point", "a very long name", "x\\y", "", "x/y")):
        node.SetNthControlPointLabel(number, label)
    items = written(dicombridge.export(node, tmp_path, "FID")).FiducialSetSequence[0].FiducialSequence
    assert [item.FiducialIdentifier for item in items] == ["a very long name", "a very long na-2", "x/y", "F", "x/y-2"]


def test_large_surfaces_go_into_implicit_vr(scene: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    node = add(scene, "Fiducial", "skin", [])
    node.SetAttribute("DICOMBridge.FiducialShape", "SURFACE")
    points = rng.normal(0, 60, (3000, 3))
    for point in points:
        node.AddControlPointWorld(*point)
    (path,) = dicombridge.export(node, tmp_path, "FID")
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    again = dicombridge.load(path)[0]
    np.testing.assert_allclose(lps_of(again), points * (-1, -1, 1), atol=1e-9)


def test_points_without_a_position_are_left_out(scene: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = add(scene, "Fiducial", "P", [(1, 0, 0), (2, 0, 0)])
    node.UnsetNthControlPointPosition(0)
    items = written(dicombridge.export(node, tmp_path, "FID")).FiducialSetSequence[0].FiducialSequence
    assert [item.FiducialIdentifier for item in items] == ["P1"]
    assert "1 points without a position were left out" in caplog.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"uncertainty_mm": "wide"}, "uncertainty_mm is a length"),
        ({"uncertainty_mm": -1}, "uncertainty_mm is a length"),
        ({"FiducialSetSequence": []}, "cannot be an option"),
        ({"Modality": "CT"}, "cannot be an option"),
        ({"nonsense": 1}, "Unknown option nonsense"),
        ({"source": "1.2.3.4.5.6"}, "neither a file"),
    ],
)
def test_options_that_cannot_be(scene: Any, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    node = add(scene, "Fiducial", "P", [(1, 0, 0)])
    with pytest.raises(ExportError, match=told):
        dicombridge.export(node, tmp_path / "out", "FID", **options)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_nodes_that_cannot_be(scene: Any, tmp_path: Path) -> None:
    empty = add(scene, "Fiducial", "P", [])
    with pytest.raises(ExportError, match="no point with a position in 'P'"):
        dicombridge.export(empty, tmp_path, "FID")
    with pytest.raises(ExportError, match="no markups node"):
        dicombridge.export(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"), tmp_path, "FID")
    with pytest.raises(ExportError, match="vtkMRMLModelNode cannot be exported as spatial fiducials"):
        dicombridge.export(scene.AddNewNodeByClass("vtkMRMLModelNode"), tmp_path, "FID")
    far = add(scene, "Fiducial", "far", [(1e9, 0, 0)])
    with pytest.raises(ExportError, match="'far' has a point"):
        dicombridge.export(far, tmp_path, "FID")
    assert list(tmp_path.glob("*.dcm")) == []
