"""A whole folder with its registration is loaded fused, whatever of the moving frame it holds and in whatever order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.registration_exports import (
    FIXED,
    FLIP,
    MOVING,
    Study,
    applied,
    registration_item,
    spatial_registration,
    write_series,
)
from support.registrations import matrix, rotation
from support.seg_exports import points_of_node, segmentation_node, volume_node
from support.volumes import lps_of_volume

import dicombridge
from dicombridge.cli.common import load_all
from dicombridge.registration.participants import participants

MOTION = matrix(rotation(0.05, -0.08, 0.1), (4.0, -3.0, 5.0))
"""LPS, from the moving frame into the fixed one: small, so that all stays within the images."""
BOX = np.s_[2:4, 5:12, 8:17]
MARK = np.array([[4.0, -7.0, 3.0]])
"""LPS mm, in the moving frame."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CT, PET in a frame of its own, and what was made on the PET: segmentation, structures, map, dose, fiducials."""
    folder = tmp_path / "in"
    study = Study(folder, (FIXED,))
    write_series(folder / "pet", MOVING, (8, 20, 24), position=(-31.0, -38.0, -15.0), modality="PT")
    database = dicombridge.open_folder(folder)
    (pet,) = [one for one in dicombridge.load(folder / "pet", scene=study.scene) if one.IsA("vtkMRMLVolumeNode")]
    lps = lps_of_volume(pet)
    mask = np.zeros(pet.GetImageData().GetDimensions()[::-1], bool)
    mask[BOX] = True
    segmentation = segmentation_node(study.scene, {"Box": mask}, lps)
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(pet)
    values = volume_node(study.scene, mask.astype(np.float32), lps)
    values.SetNodeReferenceID("referenceImageGeometryRef", pet.GetID())
    marks = study.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Marks")
    marks.AddControlPoint(*(MARK * FLIP)[0])
    marks.SetNodeReferenceID("referenceImageGeometryRef", pet.GetID())
    for nodes, kind in (
        (segmentation, "SEG"),
        ([segmentation, marks], "RTSTRUCT"),
        (values, "PM"),
        (values, "RTDOSE"),
        (marks, "FID"),
    ):
        dicombridge.export(nodes, folder / kind, kind=kind, database=database)
    spatial_registration(folder / "a.dcm", registration_item(FIXED, np.eye(4)), registration_item(MOVING, MOTION))
    database.close()
    return folder


def kinds_under(nodes: list[Any]) -> dict[str, set[str]]:
    """By kind, the classes of the transforms that its nodes are under; "" is none."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if node.IsA("vtkMRMLTransformableNode") and not node.IsA("vtkMRMLTransformNode"):
            parent = node.GetParentTransformNode()
            found.setdefault(node.GetAttribute("DICOMBridge.Kind"), set()).add(
                parent.GetAttribute("DICOMBridge.Kind") if parent is not None else ""
            )
    return found


EXPECTED = {"IMAGE": {"", "REG"}, **{kind: {"REG"} for kind in ("SEG", "RTSTRUCT", "PM", "RTDOSE", "FID")}}


def test_all_of_the_moving_frame_is_under_the_transform(folder: Path) -> None:
    nodes = dicombridge.load(folder, apply=True)
    assert kinds_under(nodes) == EXPECTED
    images = [node for node in nodes if node.GetAttribute("DICOMBridge.Kind") == "IMAGE"]
    assert {node.GetName().split(" in ")[-1]: bool(node.GetParentTransformNode()) for node in images} == {
        FIXED: False,
        MOVING: True,
    }
    marks = {node.GetAttribute("DICOMBridge.Kind"): node for node in nodes if node.IsA("vtkMRMLMarkupsFiducialNode")}
    assert sorted(marks) == ["FID", "RTSTRUCT"]
    for node in marks.values():
        place = np.array(node.GetNthControlPointPositionWorld(0)) * FLIP
        np.testing.assert_allclose(place, applied(MOTION, MARK)[0], rtol=0, atol=1e-3)


def test_the_command_line_applies_as_well(folder: Path, scene: Any) -> None:
    loaded = load_all([str(folder)], scene, apply=True)
    assert kinds_under([node for _, nodes in loaded for node in nodes]) == EXPECTED


def test_registrations_are_examined_last(folder: Path) -> None:
    database = dicombridge.open_folder(folder)
    kinds = [one.kind for one in dicombridge.examine(database)]
    database.close()
    assert kinds[0] == "IMAGE"
    assert kinds[-1] == "REG"


@pytest.mark.parametrize("kind", ["SEG", "RTSTRUCT", "PM", "RTDOSE", "FID"])
def test_what_was_loaded_below_is_exported_in_the_registered_frame(folder: Path, tmp_path: Path, kind: str) -> None:
    """All of it, also what the object kept of how it came; the file says the frame, and lies there on its own."""
    nodes = dicombridge.load(folder, apply=True)
    below = [node for node in nodes if node.GetAttribute("DICOMBridge.Kind") == kind]
    with dicombridge.open_folder(folder) as database:
        (path,) = dicombridge.export(below, tmp_path / "out", kind=kind, database=database)
    assert frames_of(path) == {FIXED}
    again = dicombridge.load(path)
    assert all(node.GetParentTransformNode() is None for node in again if node.IsA("vtkMRMLTransformableNode"))
    assert {one.frames for one in participants(again[0].GetScene())} == {(FIXED,)}
    expected = {"box": box_centre(folder), "mark": MARK[0]}
    found = centres(again)
    assert sorted(found) == {"RTSTRUCT": ["box", "mark"], "FID": ["mark"]}.get(kind, ["box"])
    for name, place in found.items():
        tolerance = 1e-3 if name == "mark" else 0.6  # mm; voxels are of 3 x 4 x 5 mm
        assert np.abs(place - applied(MOTION, expected[name][None])[0]).max() < tolerance


def frames_of(path: Path) -> set[str]:
    """In which frames the content of a file lies; a structure set may name others beside them."""
    dataset = pydicom.dcmread(path)
    regions = {str(one.ReferencedFrameOfReferenceUID) for one in dataset.get("StructureSetROISequence", ())}
    sets = {str(one.FrameOfReferenceUID) for one in dataset.get("FiducialSetSequence", ())}
    return regions or sets or {str(dataset.FrameOfReferenceUID)}


def box_centre(folder: Path) -> Any:
    """LPS mm in the moving frame, from the files of the PET."""
    first = next(one for one in map(pydicom.dcmread, sorted((folder / "pet").iterdir())) if one.InstanceNumber == 1)
    k, j, i = ((one.start + one.stop - 1) / 2 for one in BOX)
    return np.array(first.ImagePositionPatient, dtype=float) + np.array([i * 3.0, j * 4.0, k * 5.0])


def centres(nodes: list[Any]) -> dict[str, Any]:
    """LPS centre of what is drawn, without any transform."""
    found = {}
    for node in nodes:
        if node.IsA("vtkMRMLSegmentationNode"):
            found["box"] = points_of_node(node)["Box"].mean(axis=0)
        elif node.IsA("vtkMRMLScalarVolumeNode"):
            values = slicer_array(node)
            k, j, i = np.nonzero(values > 0.5 * values.max())
            index = np.array([i.mean(), j.mean(), k.mean(), 1])
            found["box"] = (lps_of_volume(node) @ index)[:3]
        elif node.IsA("vtkMRMLMarkupsFiducialNode"):
            found["mark"] = np.array(node.GetNthControlPointPosition(0)) * FLIP
    return found


def slicer_array(node: Any) -> Any:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    image = node.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
