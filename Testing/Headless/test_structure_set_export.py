"""Structure sets of any nodes: what is written, and that none of the known faults of other exporters is in it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import Cancelled, Steps, faults
from support.peers import run, tool
from support.rt_peers import contours_by_name, dice
from support.rt_set_exports import SHAPE, disc, loaded, masks_of_node, shapes, study
from support.seg_exports import segmentation_node, under_transform

import dicombridge
from dicombridge.errors import ExportError

LPS_RAS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return study(tmp_path_factory.mktemp("study"))


def images_of(contour: Any) -> list[str]:
    return [str(item.ReferencedSOPInstanceUID) for item in contour.ContourImageSequence]


# --- The object ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"contours": "pixel", "holes": "xor"}, {"ApprovalStatus": "APPROVED"}])
def test_validators_find_nothing(one: Any, options: dict[str, Any], tmp_path: Path) -> None:
    path = one.export(tmp_path, **options)
    assert faults(path) == []
    images = sorted(one.images.folder.iterdir())
    done = run(tool("dcentvfy"), path, *images, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    # A study is referred to by its UID, as if it were an instance (PS3.3 C.8.8.5.4); there is none of that.
    assert [line for line in lines if line.startswith("Error") and one.images.study not in line] == []


def test_the_original_images_are_referred_to_and_not_written_again(one: Any, tmp_path: Path) -> None:
    """SlicerRT writes them anew, with new UIDs."""
    path = one.export(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    dataset = pydicom.dcmread(path)
    assert path.name == f"RTSTRUCT_{dataset.SOPInstanceUID}.dcm"
    assert dataset.StudyInstanceUID == one.images.study
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (referenced_study,) = frame.RTReferencedStudySequence
    (series,) = referenced_study.RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == dataset.FrameOfReferenceUID == one.images.frame_of_reference
    assert referenced_study.ReferencedSOPInstanceUID == one.images.study
    assert series.SeriesInstanceUID == one.images.series
    assert [str(item.ReferencedSOPInstanceUID) for item in series.ContourImageSequence] == one.images.uids
    assert {str(item.ReferencedFrameOfReferenceUID) for item in dataset.StructureSetROISequence} == {
        one.images.frame_of_reference
    }


def test_contours_lie_in_the_plane_of_the_image_that_they_name(one: Any, tmp_path: Path) -> None:
    """All slices have theirs, the first and the last one too."""
    dataset = pydicom.dcmread(one.export(tmp_path))
    heights = {str(header.SOPInstanceUID): str(header.ImagePositionPatient[2]) for header in map(
        pydicom.dcmread, one.images.folder.iterdir())}  # fmt: skip
    contours = [contour for item in dataset.ROIContourSequence for contour in item.ContourSequence]
    for contour in contours:
        (uid,) = images_of(contour)
        assert {float(value) for value in contour.ContourData[2::3]} == {float(heights[uid])}
        assert len(contour.ContourData) == 3 * int(contour.NumberOfContourPoints)
    edge = dataset.ROIContourSequence[list(one.masks).index("Edge")]
    assert {uid for contour in edge.ContourSequence for uid in images_of(contour)} == set(one.images.uids)


def test_positions_are_those_that_the_images_say(tmp_path: Path) -> None:
    """A table moves by rounded steps; the contours follow it, not the mean of the steps."""
    one = study(tmp_path, load_volume=False)
    heights = {}
    for number, path in enumerate(sorted(one.images.folder.iterdir())):
        dataset = pydicom.dcmread(path)
        dataset.ImagePositionPatient[2] = heights[str(dataset.SOPInstanceUID)] = (-57.1, -54.61, -52.09)[
            number % 3
        ] + 7.5 * (number // 3)
        dataset.save_as(path)
    with dicombridge.open_folder(one.images.folder) as database:
        (path,) = dicombridge.export(
            one.node, tmp_path / "out", kind="RTSTRUCT", database=database, source=one.images.series
        )
    for item in pydicom.dcmread(path).ROIContourSequence:
        for contour in item.ContourSequence:
            assert {round(float(z), 6) for z in contour.ContourData[2::3]} == {round(heights[images_of(contour)[0]], 6)}


def test_descriptions(one: Any, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(one.export(tmp_path, StructureSetLabel="Mine 1", SeriesDescription="Drawn"))
    assert dataset.Modality == "RTSTRUCT"
    assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert (dataset.StructureSetLabel, dataset.SeriesDescription) == ("Mine 1", "Drawn")
    assert (dataset.PatientName, dataset.PatientID) == ("Doe^Jane", "P1")
    assert (dataset.Manufacturer, dataset.ApprovalStatus) == ("DICOMBridge", "UNAPPROVED")
    assert [str(item.ROIName) for item in dataset.StructureSetROISequence] == list(one.masks)
    assert [int(item.ROINumber) for item in dataset.StructureSetROISequence] == [1, 2, 3, 4, 5]
    colour = one.node.GetSegmentation().GetSegment("id-1").GetColor()
    assert list(dataset.ROIContourSequence[0].ROIDisplayColor) == [round(255 * part) for part in colour]


def test_approval(one: Any, tmp_path: Path) -> None:
    approved = pydicom.dcmread(one.export(tmp_path, ApprovalStatus="approved", ReviewerName="Doe^Joan"))
    assert (approved.ApprovalStatus, approved.ReviewerName) == ("APPROVED", "Doe^Joan")
    assert approved.ReviewDate == approved.StructureSetDate
    with pytest.raises(ExportError, match="REJECTED"):
        one.export(tmp_path, ApprovalStatus="MAYBE")


def test_names_and_labels_fit(tmp_path: Path) -> None:
    """Names keep their 64 characters: the label, with its 16, is another attribute (SlicerRT #137)."""
    long = "Lymphatic drainage of the left side of the neck, levels II to IV"
    names = (long, long + " boosted", "PTV", "ptv", "Größe\\Höhe", "gtv_1")
    one = study(tmp_path, {name: np.eye(48, dtype=bool)[None].repeat(6, 0) for name in names})
    path = one.export(tmp_path / "out")
    assert faults(path) == []
    dataset = pydicom.dcmread(path)
    written = [str(item.ROIName) for item in dataset.StructureSetROISequence]
    assert written == [long, f"{long[:61]}_2", "PTV", "ptv_2", "Größe/Höhe", "gtv_1"]
    assert all(len(str(item.ROIObservationLabel)) <= 16 for item in dataset.RTROIObservationsSequence)
    kinds = [str(item.RTROIInterpretedType) for item in dataset.RTROIObservationsSequence]
    assert kinds == ["", "", "PTV", "PTV", "", "GTV"]


def test_a_contour_may_have_any_number_of_points(tmp_path: Path) -> None:
    """In explicit VR it could have 65534 bytes. (dciodvfy takes minutes over such a value, so it is not asked.)"""
    comb = np.zeros((1, 400, 400), bool)
    comb[:, ::2, :399] = comb[:, :, 0] = True
    comb[:, ::2, 1::3] &= np.arange(200)[:, None] % 2 == 0
    comb |= np.random.default_rng(3).random(comb.shape) < 0.1
    one = study(tmp_path, {"Comb": comb})
    path = one.export(tmp_path / "out", contours="pixel")
    (item,) = pydicom.dcmread(path).ROIContourSequence
    longest = max(item.ContourSequence, key=lambda contour: len(contour.ContourData))
    assert sum(len(str(value)) + 1 for value in longest.ContourData) > 65534
    assert np.array_equal(masks_of_node(loaded(path, one)[0], one.images, comb.shape)["Comb"], comb)


# --- Nodes -----------------------------------------------------------------------------------------------------------


def test_several_segmentations_are_several_structure_sets(one: Any, tmp_path: Path) -> None:
    other = segmentation_node(
        one.scene, {"Other": shapes()["Plain"]}, one.images.affine[:, [2, 1, 0, 3]], name="Second"
    )
    paths = dicombridge.export(
        [one.node, other], tmp_path, kind="RTSTRUCT", database=one.database, source=one.images.series
    )
    assert [len(pydicom.dcmread(path).StructureSetROISequence) for path in paths] == [5, 1]


def test_a_parent_transform_is_applied(tmp_path: Path) -> None:
    one = study(tmp_path, {"Disc": np.repeat(disc(9.4)[None], 6, axis=0)})
    shift = np.eye(4)
    shift[:3, 3] = np.array([2 * 0.75, -3 * 0.9765625, 2.5]) * LPS_RAS
    under_transform(one.node, shift)
    mask = masks_of_node(loaded(one.export(tmp_path / "out", grid="source"), one)[0], one.images)["Disc"]
    assert np.array_equal(mask[1:, :45, 2:], one.masks["Disc"][:5, 3:, :46])


def test_a_closed_surface_is_cut_by_the_planes(tmp_path: Path) -> None:
    """As a segment, and as a model."""
    import slicer
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    one = study(tmp_path, {"unused": np.zeros(SHAPE, bool)})
    centre, radius = one.images.lps([[2.5, 24, 24]])[0], 5.6
    sphere = vtkSphereSource()
    sphere.SetCenter(*(centre * LPS_RAS))
    sphere.SetRadius(radius)
    sphere.SetThetaResolution(60)
    sphere.SetPhiResolution(60)
    sphere.Update()
    node = one.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Surface")
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    segment = slicer.vtkSegment()
    segment.SetName("Sphere")
    segment.AddRepresentation("Closed surface", sphere.GetOutput())
    node.GetSegmentation().AddSegment(segment)
    model = one.scene.AddNewNodeByClass("vtkMRMLModelNode", "Model")
    model.SetAndObservePolyData(sphere.GetOutput())
    path = one.export(tmp_path / "out", [node, model], source=one.images.series)
    masks = masks_of_node(loaded(path, one)[0], one.images)
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1).reshape(-1, 3)
    truth = np.linalg.norm(one.images.lps(places) - centre, axis=1).reshape(SHAPE) <= radius
    assert list(masks) == ["Sphere", "Model"]
    assert dice(masks["Sphere"], truth) > 0.97
    assert np.array_equal(masks["Sphere"], masks["Model"])


def test_markups_are_regions(one: Any, tmp_path: Path) -> None:
    planar = one.images.lps([(2, 5, 5), (2, 9, 5), (2, 9, 11)])
    bent = one.images.lps([(0, 5, 5), (2, 9, 5), (4, 9, 11), (1, 4, 4)])
    nodes = []
    for name, points in (("Fiducial", planar), ("Line", planar[:2]), ("Curve", bent), ("ClosedCurve", planar)):
        node = one.scene.AddNewNodeByClass(f"vtkMRMLMarkups{name}Node", name)
        for point in points * LPS_RAS:
            node.AddControlPointWorld(point.tolist())
        if "Curve" in name:
            node.SetCurveTypeToLinear()
        nodes.append(node)
    path = one.export(tmp_path, [*nodes, one.node])
    assert faults(path) == []
    found = contours_by_name(path)
    assert list(found)[:5] == list(one.masks)
    assert [kind for kind, _ in found["Fiducial"]] == ["POINT"] * 3
    assert np.allclose(np.concatenate([points for _, points in found["Fiducial"]]), planar, atol=1e-5)
    for name, kind, points in (
        ("Line", "OPEN_PLANAR", planar[:2]),
        ("Curve", "OPEN_NONPLANAR", bent),
        ("ClosedCurve", "CLOSED_PLANAR", planar),
    ):
        ((found_kind, found_points),) = found[name]
        assert found_kind == kind
        assert np.allclose(found_points, points, atol=1e-5)
    dataset = pydicom.dcmread(path)
    assert images_of(dataset.ROIContourSequence[5].ContourSequence[0]) == [one.images.uids[2]]
    assert [str(item.RTROIInterpretedType) for item in dataset.RTROIObservationsSequence][5] == "MARKER"


def test_markups_alone_are_a_structure_set(one: Any, tmp_path: Path) -> None:
    node = one.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Alone")
    node.AddControlPointWorld(1.0, 2.0, 3.0)
    path = one.export(tmp_path, node, source=one.images.series)
    assert faults(path) == []
    ((kind, points),) = contours_by_name(path)["Alone"]
    assert (kind, points.tolist()) == ("POINT", [[-1.0, -2.0, 3.0]])
    assert pydicom.dcmread(path).FrameOfReferenceUID == one.images.frame_of_reference


def test_without_images_the_own_slices_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """There is no image to name, and the frame of reference is a new one."""
    one = study(tmp_path, load_volume=False)
    with caplog.at_level(logging.WARNING):
        (path,) = dicombridge.export(one.node, tmp_path / "out", kind="RTSTRUCT")
    assert "No images were found" in caplog.text
    assert faults(path) == []
    dataset = pydicom.dcmread(path)
    assert dataset.FrameOfReferenceUID != one.images.frame_of_reference
    assert not any("ContourImageSequence" in contour for contour in dataset.ROIContourSequence[0].ContourSequence)
    assert len(dataset.ROIContourSequence[0].ContourSequence) > 0


def test_an_empty_segment_is_kept(tmp_path: Path) -> None:
    one = study(tmp_path, {"Full": shapes()["Ring"], "Empty": np.zeros(SHAPE, bool), "Last": shapes()["Plain"]})
    path = one.export(tmp_path / "out")
    assert faults(path) == []
    dataset = pydicom.dcmread(path)
    assert [str(item.ROIName) for item in dataset.StructureSetROISequence] == ["Full", "Empty", "Last"]
    assert ["ContourSequence" in item for item in dataset.ROIContourSequence] == [True, False, True]


# --- Failures --------------------------------------------------------------------------------------------------------


def test_failures_leave_nothing(one: Any, tmp_path: Path) -> None:
    steps = Steps()
    one.export(tmp_path / "whole", progress=steps)
    assert steps.count >= 4
    for step in (0, 1, steps.count // 2, steps.count - 2, steps.count - 1):
        with pytest.raises(Cancelled):
            one.export(tmp_path / "failed", progress=Steps(stop_at=step))
        assert list((tmp_path / "failed").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"contours": "round"}, "pixel"),
        ({"holes": "none"}, "keyhole"),
        ({"tolerance_mm": -1}, "tolerance_mm"),
        ({"tolerance_mm": "wide"}, "tolerance_mm"),
        ({"grid": "mine"}, "grid"),
        ({"nonsense": 1}, "nonsense"),
        ({"ROIContourSequence": []}, "ROIContourSequence"),
        ({"source": "1.2.3"}, "1.2.3"),
        ({"StructureSetLabel": "x" * 17}, "StructureSetLabel"),
    ],
)
def test_wrong_options_are_refused(one: Any, options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=told):
        one.export(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_nodes_of_other_kinds_are_refused(one: Any, tmp_path: Path) -> None:
    table = one.scene.AddNewNodeByClass("vtkMRMLTableNode", "Table")
    with pytest.raises(ExportError, match="vtkMRMLTableNode"):
        one.export(tmp_path, table)
    empty = one.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Nothing")
    with pytest.raises(ExportError, match="nothing to export"):
        one.export(tmp_path, empty)
