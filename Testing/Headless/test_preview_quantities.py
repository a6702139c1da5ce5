"""Pictures of doses, uptake, maps, points and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.volumes import volume_node

from dicombridge import preview
from dicombridge.codes import Code, coded_entry
from dicombridge.errors import DicomBridgeError

GY = Code("Gy", "UCUM", "Gray")
DOSE = Code("128513", "DCM", "Absorbed Dose")


def volume(scene: Any, values: NDArray[Any], name: str, units: Code | None = None, **attributes: str) -> Any:
    node = volume_node(scene, values, name=name)
    node.CreateDefaultDisplayNodes()
    if units is not None:
        node.SetVoxelValueUnits(coded_entry(units))
        node.SetVoxelValueQuantity(coded_entry(DOSE))
    for key, value in attributes.items():
        node.SetAttribute(key.replace("_", "."), value)
    return node


@pytest.fixture
def image(scene: Any) -> Any:
    return volume(scene, np.zeros((12, 40, 40), np.int16), "CT")


@pytest.fixture
def dose(scene: Any) -> Any:
    """Half a gray on one side: between 0 and 1, but no probability."""
    values = np.zeros((12, 40, 40), np.float32)
    values[:, :, 20:] = 0.5
    return volume(scene, values, "Dose", GY, DicomRtImport_DoseVolume="1")


def ball(scene: Any, name: str, centre: tuple[float, float, float], radius: float) -> Any:
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    source = vtkSphereSource()
    source.SetCenter(*centre)
    source.SetRadius(radius)
    source.Update()
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    node.SetAndObservePolyData(source.GetOutput())
    node.CreateDefaultDisplayNodes()
    return node


def test_a_dose_lies_over_its_image(image: Any, dose: Any, tmp_path: Path) -> None:
    subject = preview.subject_of_nodes([image, dose])
    assert subject.image is not None
    assert subject.heat is not None
    assert subject.heat_range == (0.0, 0.5)
    assert subject.heat_meaning == "Gy Absorbed Dose"
    path = preview.render([image, dose], tmp_path / "dose.png", views=["axial"], width=500)
    pixels = np.asarray(Image.open(path)).astype(int)
    middle = pixels[150:350]
    # Slicer's RAS: the half with the larger R is at the left of the picture.
    assert middle[:, 60:200].max() > 150
    assert middle[:, 300:440].max(axis=(0, 2)).max() < 60


def test_a_dose_alone_is_an_image(dose: Any) -> None:
    subject = preview.subject_of_nodes([dose])
    assert (subject.image is not None, subject.heat) == (True, None)


@pytest.mark.parametrize("window", [None, (6.0, 3.0)])
def test_a_mapped_volume_has_the_range_of_its_window(scene: Any, image: Any, window: Any) -> None:
    values = np.linspace(0, 9, 12 * 40 * 40, dtype=np.float32).reshape(12, 40, 40)
    node = volume(scene, values, "SUV", Code("{SUVbw}g/ml", "UCUM", "SUV"), DICOMBridge_ValueMapping="x")
    if window is not None:
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(*window)
    else:
        node.GetDisplayNode().SetAutoWindowLevel(True)
    subject = preview.subject_of_nodes([image, node])
    assert subject.heat_range == pytest.approx((0, 6) if window else (0, 9))
    node.GetImageData().GetPointData().GetScalars().SetTuple1(0, float("nan"))
    assert np.isfinite(preview.subject_of_nodes([image, node]).heat_range).all()


def test_points_near_the_plane_are_marked(scene: Any, image: Any, tmp_path: Path) -> None:
    bare = np.asarray(Image.open(preview.render([image], tmp_path / "bare.png", views=["axial"], width=500)))
    near = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "near")
    near.AddControlPoint(20.0, 20.0, 6.0, "A")
    near.AddControlPoint(20.0, 20.0, 6.0, "B")
    far = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "far")
    far.AddControlPoint(20.0, 20.0, 60.0, "C")
    subject = preview.subject_of_nodes([image, near, far])
    assert [mark.label for mark in subject.marks] == ["A", "B", "C"]
    for node, seen in ((near, True), (far, False)):
        path = preview.render([image, node], tmp_path / "marked.png", views=["axial"], width=500, title="CT")
        marked = np.asarray(Image.open(path))
        assert bool((marked[90:] != bare[90:]).any()) == seen


def test_models_alone_are_drawn_in_3d(scene: Any, tmp_path: Path) -> None:
    node = ball(scene, "Beam", (0, 0, 0), 20.0)
    subject = preview.subject_of_nodes([node])
    assert preview.default_views(subject) == ("3d",)
    assert subject.title == "Beam"
    pixels = np.asarray(Image.open(preview.render([node], tmp_path / "model.png", width=500)))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    with pytest.raises(DicomBridgeError, match="3D"):
        preview.render([node], tmp_path / "plane.png", views=["axial"])
    node.GetDisplayNode().SetVisibility(False)
    with pytest.raises(DicomBridgeError, match="Nothing to draw"):
        preview.render([node], tmp_path / "hidden.png")


def test_most_telling_takes_dose_points_and_models(scene: Any, image: Any, dose: Any) -> None:
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Isocentres")
    beam = ball(scene, "Beam", (0, 0, 0), 5.0)
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Plan")
    assert preview.most_telling([dose, table, image, points, beam]) == [image, dose, points, beam]
    assert preview.most_telling([table, dose]) == [dose]
