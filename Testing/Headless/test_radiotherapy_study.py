"""A complete treatment (CT, structure set, plan, dose) as one study: everything is checked against everything else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conformance import faults
from numpy.typing import NDArray
from pydicom.uid import generate_uid
from support.peers import run, tool
from support.rt_records import conventional, write
from support.rt_second_generation import c_arm_radiation
from support.scenes import saved_and_read
from support.seg_nodes import image_of, lps_of_ijk, mask_of, points_of_mask, segment_named, tag
from test_structure_set_roundtrip import contour_items

import dicombridge
from dicombridge.cli import main
from dicombridge.demo import phantom
from dicombridge.demo.comparison import node_grid
from dicombridge.geometry import lps_ras_points
from dicombridge.tables import column_values

KINDS = ("RTSTRUCT", "RTPLAN", "RTDOSE")
GTV = "Liver lesion"
RADIOTHERAPY = "1.2.840.10008.5.1.4.1.1.481."
"""What the SOP classes of radiotherapy begin with."""


@dataclass
class Loaded:
    """The study in a scene: nodes by the kind of their object, the images as ``"CT"``."""

    truth: Any
    database: Any
    scene: Any
    loadables: dict[str, Any]
    nodes: dict[str, list[Any]]

    @property
    def files(self) -> dict[str, Path]:
        treatment = self.truth.treatment
        return {"RTSTRUCT": treatment.structure_set, "RTPLAN": treatment.plan, "RTDOSE": treatment.dose}

    def first(self, kind: str) -> Any:
        return self.nodes[kind][0]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return phantom.write_study(tmp_path_factory.mktemp("treatment"))


@pytest.fixture
def study(truth: Any, tmp_path: Path) -> Iterator[Loaded]:
    """The CT and its treatment alone, loaded at once."""
    folder = tmp_path / "study"
    for name in ("ct", "rt"):
        shutil.copytree(truth.directory / name, folder / name)
    database = dicombridge.open_folder(folder)
    scene = dicombridge.new_scene()
    loadables = [one for one in dicombridge.examine(database) if one.selected]
    nodes = dicombridge.load(loadables, scene=scene, database=database)
    by_kind: dict[str, list[Any]] = {}
    for node in nodes:
        by_kind.setdefault(str(node.GetAttribute("DICOMBridge.Kind") or "none"), []).append(node)
    yield Loaded(truth, database, scene, {one.kind: one for one in loadables}, by_kind)
    database.close()


def mask_points(node: Any, name: str) -> NDArray[np.float64]:
    """LPS points of the centres of a segment's voxels."""
    segment = segment_named(node, name)
    return np.asarray(points_of_mask(mask_of(segment), lps_of_ijk(image_of(segment))))


def interpolated(values: NDArray[np.float64], affine: NDArray[np.float64], points: NDArray[np.float64]) -> Any:
    """Trilinear interpolation of ``values[slice, row, column]`` at LPS points that lie within the grid."""
    places = (np.linalg.inv(affine) @ np.vstack([points.T, np.ones(len(points))]))[:3]
    low = np.clip(np.floor(places).astype(int), 0, np.array(values.shape)[:, None] - 2)
    part = places - low
    result = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        step = np.array(corner)[:, None]
        result += np.prod(np.where(step, part, 1 - part), axis=0) * values[tuple(low + step)]
    return result


def stored_dose(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Doses in Gy and their affine, by pydicom and the attributes alone."""
    dataset = pydicom.dcmread(path)
    affine = np.eye(4)
    row, column = np.reshape([float(value) for value in dataset.ImageOrientationPatient], (2, 3))
    offsets = [float(value) for value in dataset.GridFrameOffsetVector]
    affine[:3, 0] = np.cross(row, column) * (offsets[1] - offsets[0])
    affine[:3, 1], affine[:3, 2] = column * float(dataset.PixelSpacing[0]), row * float(dataset.PixelSpacing[1])
    affine[:3, 3] = [float(value) for value in dataset.ImagePositionPatient]
    return dataset.pixel_array * float(dataset.DoseGridScaling), affine


# --- Together ------------------------------------------------------------------------------------------------------


def test_all_are_on_the_same_images(study: Loaded) -> None:
    """The structure set names the CT, the dose finds it through plan and structure set; a plan has only these."""
    images = {str(pydicom.dcmread(file, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
              for file in study.truth.ct.files}  # fmt: skip
    for kind in KINDS:
        assert study.loadables[kind].warning == "", kind
    for kind in ("RTSTRUCT", "RTDOSE"):
        assert images <= set(study.loadables[kind].referencedInstanceUIDs), kind
    uids = {kind: str(pydicom.dcmread(file).SOPInstanceUID) for kind, file in study.files.items()}
    assert {uids["RTPLAN"], uids["RTSTRUCT"]} <= set(study.loadables["RTDOSE"].referencedInstanceUIDs)
    assert uids["RTSTRUCT"] in study.loadables["RTPLAN"].referencedInstanceUIDs
    segmentation, volume = study.first("RTSTRUCT"), study.first("IMAGE")
    assert segmentation.GetNodeReferenceID("referenceImageGeometryRef") == volume.GetID()
    hierarchy = study.scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    studies = {
        hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(node), "Study")
        for kind in (*KINDS, "IMAGE")
        for node in study.nodes[kind]
    }
    assert len(studies) == 1
    assert 0 not in studies


def test_mean_dose_of_structures_is_that_of_arithmetic(study: Loaded) -> None:
    """Dose from the volume node within the mask of the segment, against formula and file, by geometry of our own."""
    values, affine = node_grid(study.first("RTDOSE"))
    expected_values, expected_affine = stored_dose(study.files["RTDOSE"])
    treatment = study.truth.treatment
    for name, mask in treatment.masks.items():
        inside = np.argwhere(mask) @ study.truth.ct.affine[:3, :3].T + study.truth.ct.affine[:3, 3]
        grid = np.linalg.inv(expected_affine) @ np.vstack([inside.T, np.ones(len(inside))])
        if (grid[:3] < 0).any() or (grid[:3] > np.array(expected_values.shape)[:, None] - 1).any():
            continue  # reaches beyond the dose grid
        expected = interpolated(expected_values, expected_affine, inside)
        found = interpolated(values, affine, mask_points(study.first("RTSTRUCT"), name))
        assert found.mean() == pytest.approx(expected.mean(), rel=2e-3), name
        assert np.percentile(found, [2, 50, 98]) == pytest.approx(np.percentile(expected, [2, 50, 98]), rel=2e-2), name
        same = interpolated(values, affine, inside)
        np.testing.assert_allclose(same, expected, rtol=1e-6, atol=1e-6, err_msg=name)
    target = interpolated(values, affine, mask_points(study.first("RTSTRUCT"), GTV))
    assert 0.9 * 60 < target.mean() < 1.05 * 60


def test_isocentres_are_where_lesion_and_dose_are(study: Loaded) -> None:
    lesion = mask_points(study.first("RTSTRUCT"), GTV)
    (marks,) = [node for node in study.nodes["RTPLAN"] if node.IsA("vtkMRMLMarkupsFiducialNode")]
    points = [marks.GetNthControlPointPosition(number) for number in range(marks.GetNumberOfControlPoints())]
    isocentres = lps_ras_points(points)
    assert len(isocentres) == len(study.truth.treatment.metersets)
    assert np.abs(isocentres - lesion.mean(axis=0)).max() < 2.0
    values, affine = node_grid(study.first("RTDOSE"))
    assert (interpolated(values, affine, isocentres) > 0.9 * values.max()).all()


def test_prescription_is_of_the_region_that_bears_its_number(study: Loaded) -> None:
    """The plan tells the target by ROI Number, the structure set which segment that is."""
    tables = [node for node in study.nodes["RTPLAN"] if node.IsA("vtkMRMLTableNode")]
    prescriptions = next(table for table in tables if "rescription" in table.GetName())
    columns = [str(prescriptions.GetTable().GetColumnName(one)) for one in range(prescriptions.GetNumberOfColumns())]
    numbers = column_values(prescriptions, next(name for name in columns if "ROI" in name))
    number = tag(segment_named(study.first("RTSTRUCT"), GTV), "DicomRtImport.RoiNumber")
    assert [str(int(value)) for value in numbers or ()] == [number]


# --- Out and in again ----------------------------------------------------------------------------------------------


def exported(nodes: dict[str, list[Any]], folder: Path, database: Any) -> dict[str, Path]:
    paths = {}
    for kind in KINDS:
        (paths[kind],) = dicombridge.export(nodes[kind], folder, kind=kind, database=database)
    return paths


def nodes_by_kind(scene: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for number in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(number)
        if node.GetAttribute("DICOMBridge.Kind"):
            found.setdefault(str(node.GetAttribute("DICOMBridge.Kind")), []).append(node)
    return found


@pytest.mark.parametrize("saved", [False, True], ids=["loaded", "after a scene file"])
def test_the_whole_study_comes_back(saved: bool, study: Loaded, tmp_path: Path) -> None:
    """Contours, beams and stored doses are as they came, and the new objects name images, plan and structures."""
    scene = saved_and_read(study.scene, tmp_path) if saved else study.scene
    paths = exported(nodes_by_kind(scene), tmp_path / "out", study.database)
    assert contour_items(paths["RTSTRUCT"]) == contour_items(study.files["RTSTRUCT"])
    before = {kind: pydicom.dcmread(file) for kind, file in study.files.items()}
    after = {kind: pydicom.dcmread(file) for kind, file in paths.items()}
    assert after["RTDOSE"].PixelData == before["RTDOSE"].PixelData
    assert after["RTDOSE"].DoseGridScaling == before["RTDOSE"].DoseGridScaling
    for keyword in ("BeamSequence", "FractionGroupSequence", "DoseReferenceSequence"):
        assert after["RTPLAN"][keyword].value == before["RTPLAN"][keyword].value
    assert {one.StudyInstanceUID for one in after.values()} == {before["RTDOSE"].StudyInstanceUID}
    assert {one.FrameOfReferenceUID for one in (after["RTDOSE"], after["RTSTRUCT"])} == {
        before["RTDOSE"].FrameOfReferenceUID
    }
    plan = after["RTDOSE"].ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID
    assert plan == before["RTPLAN"].SOPInstanceUID
    structures = after["RTPLAN"].ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID
    assert structures == before["RTSTRUCT"].SOPInstanceUID


def test_validators_find_nothing_in_what_is_written(study: Loaded, tmp_path: Path) -> None:
    paths = exported(study.nodes, tmp_path / "out", study.database)
    assert {kind: faults(path) for kind, path in paths.items()} == {kind: [] for kind in KINDS}
    together = [*paths.values(), *study.files.values(), *study.truth.ct.files]
    done = run(tool("dcentvfy"), *together, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    uid = str(pydicom.dcmread(study.files["RTDOSE"]).StudyInstanceUID)
    # A study is referred to by its UID, as if it were an instance (PS3.3 C.8.8.5.4); there is none of that.
    assert [line for line in lines if uid not in line] == []


# --- The command line ----------------------------------------------------------------------------------------------


def test_the_command_line(study: Loaded, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What there is, as one scene file with a picture; a record and a second-generation object are tables in it."""
    folder = tmp_path / "study"
    write(conventional(), folder / "record")
    write(c_arm_radiation(), folder / "second")
    assert main(["info", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert all(f" {kind} " in shown for kind in (*KINDS, "RTRECORD", "RTSECOND"))
    scene_file, picture = tmp_path / "all.mrb", tmp_path / "all.png"
    assert main(["load", str(folder), "-o", str(scene_file), "--preview", str(picture)]) == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    scene = dicombridge.new_scene()
    assert scene.ReadFromMRB(str(scene_file))
    assert set(nodes_by_kind(scene)) == {*KINDS, "IMAGE", "RTRECORD", "RTSECOND"}


def test_what_has_no_picture_is_still_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables alone cannot be drawn, which is an error of the picture; the scene is there."""
    write(conventional(), tmp_path / "record")
    scene_file = tmp_path / "all.mrb"
    arguments = ["load", str(tmp_path / "record"), "-o", str(scene_file)]
    assert main([*arguments, "--preview", str(tmp_path / "all.png")]) == 1
    assert "Nothing to draw" in capsys.readouterr().err
    assert not (tmp_path / "all.png").exists()
    scene_file.unlink(missing_ok=True)
    assert main(arguments) == 0
    assert scene_file.exists()


# --- Two of a kind -------------------------------------------------------------------------------------------------


def test_two_plans_and_two_doses_in_one_study(study: Loaded, tmp_path: Path) -> None:
    """Each dose keeps its scaling and names its own plan, in the scene and in what is written."""
    folder = tmp_path / "second"
    folder.mkdir()
    plan, dose = pydicom.dcmread(study.files["RTPLAN"]), pydicom.dcmread(study.files["RTDOSE"])
    for dataset in (plan, dose):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    plan.RTPlanLabel = "Boost"
    plan.BeamSequence = plan.BeamSequence[:1]
    plan.FractionGroupSequence[0].ReferencedBeamSequence = plan.FractionGroupSequence[0].ReferencedBeamSequence[:1]
    plan.FractionGroupSequence[0].NumberOfBeams = 1
    dose.DoseGridScaling = f"{float(dose.DoseGridScaling) / 8:.10g}"
    dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID = plan.SOPInstanceUID
    for name, dataset in (("plan", plan), ("dose", dose)):
        dataset.save_as(study.files[f"RT{name.upper()}"].parent / f"second_{name}.dcm")
        shutil.move(study.files[f"RT{name.upper()}"].parent / f"second_{name}.dcm", folder)
    for name in ("rt", "ct"):
        shutil.copytree(study.truth.directory / name, folder / name)
    with dicombridge.open_folder(folder) as database:
        scene = dicombridge.new_scene()
        loadables = [one for one in dicombridge.examine(database) if one.selected]
        assert sorted(one.kind for one in loadables) == ["IMAGE", "RTDOSE", "RTDOSE", "RTPLAN", "RTPLAN", "RTSTRUCT"]
        dicombridge.load(loadables, scene=scene, database=database)
        volumes = [node for node in nodes_by_kind(scene)["RTDOSE"] if node.IsA("vtkMRMLScalarVolumeNode")]
        highest = {str(node.GetAttribute("DICOM.instanceUIDs")): float(node_grid(node)[0].max()) for node in volumes}
        first = str(pydicom.dcmread(study.files["RTDOSE"]).SOPInstanceUID)
        assert highest[first] == pytest.approx(62.4, rel=1e-6)
        assert highest[dose.SOPInstanceUID] == pytest.approx(62.4 / 8, rel=1e-6)
        paths = dicombridge.export(volumes, tmp_path / "out", kind="RTDOSE", database=database)
        plans = {str(pydicom.dcmread(path).ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID) for path in paths}
        assert plans == {str(plan.SOPInstanceUID), str(pydicom.dcmread(study.files["RTPLAN"]).SOPInstanceUID)}
        mains = [node for node in nodes_by_kind(scene)["RTPLAN"] if node.GetAttribute("DICOM.instanceUIDs")]
        beams = {
            len(pydicom.dcmread(path).BeamSequence)
            for path in dicombridge.export(mains, tmp_path / "plans", kind="RTPLAN", database=database)
        }
        assert beams == {1, 3}


# --- Real files ----------------------------------------------------------------------------------------------------

FOLDERS = (
    "eclipse_breast", "eclipse_proton", "innereye", "pinnacle", "plans", "pydicom", "raystation_proton", "rt_utils",
    "rtimage", "sts_002_mim", "topas_abdomen",
)  # fmt: skip


def test_every_folder_of_real_files_is_loaded_here(data: Path) -> None:
    assert sorted(folder.name for folder in (data / "rt").iterdir() if folder.is_dir()) == sorted(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_everything_real_loads(name: str, data: Path, scene: Any) -> None:
    """A whole folder at once, images and all: each radiotherapy object in it becomes nodes that say so."""
    with dicombridge.open_folder(data / "rt" / name) as database:
        series = [
            one
            for patient in database.patients()
            for study in database.studiesForPatient(patient)
            for one in database.seriesForStudy(study)
        ]
        files = [file for one in series for file in database.filesForSeries(one)]
        wanted = {
            database.fileValue(file, "0008,0018")
            for file in files
            if database.fileValue(file, "0008,0016").startswith(RADIOTHERAPY)
        }
        loadables = dicombridge.examine(database)
        nodes = dicombridge.load([one for one in loadables if one.selected], scene=scene, database=database)
    loaded = {uid for node in nodes for uid in (node.GetAttribute("DICOM.instanceUIDs") or "").split()}
    assert wanted
    assert wanted <= loaded
