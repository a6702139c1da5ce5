"""What written doses say: plans, structure sets, images, units; and several doses at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from support.items import read, reference
from support.rt_doses import (
    PLAN,
    RT_PLAN,
    RT_STRUCTURE_SET,
    dose,
    export,
    exported,
    faults,
    loaded,
    some_doses,
    volume,
    written,
)

import dicombridge
from dicombridge.errors import ExportError
from dicombridge.loadable import Loadable

# --- What is said ----------------------------------------------------------------------------------------------------


def plan_file(path: Path, uid: str = "1.2.3.4.5", sop_class: str = RT_PLAN, **values: Any) -> Path:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = sop_class, uid, "RTPLAN"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Plan^Patient", "plan-1", "19600101", "F"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.StudyID = "1.2.3.77", "1.2.3.78", "S7"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return written(ds, path)


def test_without_a_plan(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """PLAN_OVERVIEW is the summation type that needs none."""
    (path,) = export([volume(scene, some_doses(), name="My plan with a long name")], tmp_path)
    ds = read(path)
    assert ds.DoseSummationType == "PLAN_OVERVIEW"
    assert ds.PlanOverviewSequence[0].RTPlanLabel == "My plan with a l"
    assert (ds.DoseUnits, ds.DoseType) == ("GY", "PHYSICAL")
    assert "No plan is known" in caplog.text
    assert "measured in" in caplog.text
    assert faults(path, tmp_path) == []


@pytest.mark.parametrize("way", ["path", "uid", "node"])
def test_plan_by_path_uid_or_node(way: str, tmp_path: Path, scene: Any) -> None:
    """A dose without images is of the patient and in the study of its plan."""
    from dicombridge.shadow import remember

    path = plan_file(tmp_path / "in" / "plan.dcm")
    database = dicombridge.open_folder(tmp_path / "in")
    plan: Any = {"path": path, "uid": "1.2.3.4.5"}.get(way)
    if plan is None:
        plan = scene.AddNewNodeByClass("vtkMRMLTableNode", "plan")
        plan.SetAttribute("DICOM.instanceUIDs", "1.2.3.4.5")
        remember(plan, read(path))
    ds = exported(volume(scene, some_doses()), tmp_path / "out", database, plan=plan)
    database.close()
    (item,) = ds.ReferencedRTPlanSequence
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (RT_PLAN, "1.2.3.4.5")
    assert ds.DoseSummationType == "PLAN"
    assert (ds.PatientID, ds.PatientName, ds.StudyInstanceUID) == ("plan-1", "Plan^Patient", "1.2.3.77")


def test_plan_that_is_not_at_hand(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    ds = exported(volume(scene, some_doses()), tmp_path, plan="1.2.3.99")
    assert ds.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == "1.2.3.99"
    assert "not at hand" in caplog.text


def test_ion_plan_keeps_its_class(tmp_path: Path, scene: Any) -> None:
    path = plan_file(tmp_path / "plan.dcm", sop_class="1.2.840.10008.5.1.4.1.1.481.8")
    ds = exported(volume(scene, some_doses()), tmp_path / "out", plan=path)
    assert ds.ReferencedRTPlanSequence[0].ReferencedSOPClassUID.endswith("481.8")


def test_several_plans(tmp_path: Path, scene: Any) -> None:
    (path,) = export([volume(scene, some_doses())], tmp_path, plan=["1.2.3.4", "1.2.3.5"])
    ds = read(path)
    assert ds.DoseSummationType == "MULTI_PLAN"
    assert [one.ReferencedSOPInstanceUID for one in ds.ReferencedRTPlanSequence] == ["1.2.3.4", "1.2.3.5"]
    assert faults(path, tmp_path) == []


@pytest.mark.parametrize(
    ("options", "sequence", "keyword"),
    [
        ({"summation_type": "BEAM", "beams": [2]}, "ReferencedBeamSequence", "ReferencedBeamNumber"),
        ({"summation_type": "BRACHY", "beams": 2}, "ReferencedBrachyApplicationSetupSequence",
         "ReferencedBrachyApplicationSetupNumber"),
        ({"summation_type": "FRACTION", "fraction_group": 3}, "", ""),
    ],
)  # fmt: skip
def test_dose_of_a_part_of_a_plan(
    options: dict[str, Any], sequence: str, keyword: str, tmp_path: Path, scene: Any
) -> None:
    (path,) = export([volume(scene, some_doses())], tmp_path, plan="1.2.3.4", **options)
    (group,) = read(path).ReferencedRTPlanSequence[0].ReferencedFractionGroupSequence
    assert group.ReferencedFractionGroupNumber == options.get("fraction_group", 1)
    if sequence:
        assert [one.get(keyword) for one in group.get(sequence)] == [2]
    assert faults(path, tmp_path) == []


def test_the_node_has_the_last_word_before_the_caller(tmp_path: Path) -> None:
    """Its attributes can be edited; what they say replaces what the loaded object said."""
    (node,) = loaded(written(dose(), tmp_path / "dose.dcm"))
    node.SetAttribute("DICOMBridge.DoseUnits", "RELATIVE")
    node.SetAttribute("DICOMBridge.DoseType", "EFFECTIVE")
    ds = exported(node, tmp_path / "one")
    assert (ds.DoseUnits, ds.DoseType) == ("RELATIVE", "EFFECTIVE")
    ds = exported(node, tmp_path / "two", units="GY")
    assert (ds.DoseUnits, ds.DoseType) == ("GY", "EFFECTIVE")


def test_structure_set(tmp_path: Path, scene: Any) -> None:
    """With a plan it stands beside it; without, the plan's overview names it; it is found again."""
    uid = "1.2.3.9"
    (path,) = export([volume(scene, some_doses())], tmp_path, structure_set=uid, **PLAN)
    ds = read(path)
    (item,) = ds.ReferencedInstanceSequence
    assert faults(path, tmp_path) == []
    (again,) = loaded(path)
    assert again.GetAttribute("DICOMBridge.ReferencedStructureSetUIDs") == uid
    (once_more,) = exported(again, tmp_path / "again").ReferencedInstanceSequence
    assert once_more.ReferencedSOPInstanceUID == uid
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (RT_STRUCTURE_SET, uid)
    (path,) = export([volume(scene, some_doses())], tmp_path, structure_set=uid)
    ds = read(path)
    assert ds.PlanOverviewSequence[0].ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID == uid
    assert faults(path, tmp_path) == []


def test_units_type_and_keywords(tmp_path: Path, scene: Any) -> None:
    ds = exported(
        volume(scene, some_doses()), tmp_path, units="relative", DoseType="EFFECTIVE", DoseComment="RBE 1.1",
        SeriesDescription="edited", TissueHeterogeneityCorrection="WATER", **PLAN,
    )  # fmt: skip
    assert (ds.DoseUnits, ds.DoseType, ds.DoseComment) == ("RELATIVE", "EFFECTIVE", "RBE 1.1")
    assert (ds.SeriesDescription, ds.TissueHeterogeneityCorrection) == ("edited", "WATER")
    assert ds.Modality == "RTDOSE"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"units": "RAD"}, "units is one of GY, RELATIVE"),
        ({"dose_type": "NICE"}, "dose_type is one of"),
        ({"summation_type": "ALL"}, "summation_type is one of"),
        ({"summation_type": "BEAM"}, "needs a plan"),
        ({"summation_type": "BEAM", "plan": "1.2.3"}, r"beams=\[1\]"),
        ({"summation_type": "FRACTION", "plan": "1.2.3"}, "fraction_group=1"),
        ({"summation_type": "MULTI_PLAN", "plan": "1.2.3"}, "two plans"),
        ({"summation_type": "PLAN", "plan": ["1.2.3", "1.2.4"]}, "MULTI_PLAN"),
        ({"plan": "my plan"}, "neither a node, a file nor the UID"),
        ({"bits": 8}, "16 or 32"),
        ({"bits": 32, "compression": "rle"}, "deflate, or bits=16"),
        ({"compression": "zip"}, "no compression"),
        ({"DoseGridScaling": "1"}, "follows from what is written"),
        ({"Nonsense": 1}, "Unknown option"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(options: dict[str, Any], words: str, tmp_path: Path, scene: Any) -> None:
    with pytest.raises(ExportError, match=words):
        export([volume(scene, some_doses())], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_plan_that_is_none(data: Path, tmp_path: Path, scene: Any) -> None:
    with pytest.raises(ExportError, match="is no plan"):
        export([volume(scene, some_doses())], tmp_path, plan=data / "rt/topas_abdomen/rtdose.dcm")


def test_units_as_the_study_says_them(tmp_path: Path) -> None:
    """A dose that SlicerRT made has its units at the study only."""
    (first,) = loaded(written(dose(DoseUnits="RELATIVE"), tmp_path / "dose.dcm"))
    scene = first.GetScene()
    node = volume(scene, some_doses())
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    study = hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(first), "Study")
    hierarchy.CreateItem(study, node)
    ds = exported(node, tmp_path / "out", **PLAN)
    assert ds.DoseUnits == "RELATIVE"
    assert ds.StudyInstanceUID == "1.2.3.1"
    assert ds.PatientID == "dose-1"


# --- Several, and what they lie on -----------------------------------------------------------------------------------


def test_several_doses_at_once(tmp_path: Path, scene: Any) -> None:
    """Each with a scaling of its own; nothing of one gets into the other."""
    nodes = [volume(scene, some_doses() * factor, name=f"dose {factor}") for factor in (1, 3)]
    paths = export(nodes, tmp_path, **PLAN)
    assert len(paths) == 2
    first, second = (read(path) for path in paths)
    assert float(second.DoseGridScaling) == pytest.approx(3 * float(first.DoseGridScaling))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert [one.SeriesDescription for one in (first, second)] == ["dose 1", "dose 3"]


def test_one_bad_dose_leaves_no_file(tmp_path: Path, scene: Any) -> None:
    nodes = [volume(scene, some_doses()), volume(scene, some_doses() * np.float32(np.nan))]
    with pytest.raises(ExportError, match="not finite"):
        export(nodes, tmp_path, **PLAN)
    assert list(tmp_path.iterdir()) == []


def test_tables_and_images_beside_a_dose_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (node,) = loaded(written(dose(), tmp_path / "dose.dcm"))
    scene = node.GetScene()
    others = [volume(scene, some_doses(), name="an image"), scene.AddNewNodeByClass("vtkMRMLTableNode", "table")]
    assert len(export([*others, node], tmp_path / "out")) == 1
    assert "an image was not exported" in caplog.text
    with pytest.raises(ExportError, match="vtkMRMLTableNode cannot be exported as a dose"):
        export(others[1:], tmp_path / "out")
    with pytest.raises(ExportError, match="vtkMRMLTextNode"):
        export([node, scene.AddNewNodeByClass("vtkMRMLTextNode", "text")], tmp_path / "out")


def image_nodes(folder: Path, scene: Any, database: Any) -> list[Any]:
    from dicombridge import image

    files = sorted(str(path) for path in folder.iterdir())
    found: list[Any] = image.load(Loadable(files=files, name="ct"), scene, database)
    return found


@pytest.mark.parametrize("way", ["series", "folder", "node"])
def test_images_that_it_belongs_to(way: str, data: Path, tmp_path: Path, scene: Any) -> None:
    """Patient, study and frame of reference are theirs, and every one of them is named; none is written anew."""
    folder = data / "rt/topas_abdomen/ct"
    database = dicombridge.open_folder(folder)
    images = [read(path) for path in sorted(folder.iterdir())]
    source: Callable[[], Any]
    source = {
        "series": lambda: str(images[0].SeriesInstanceUID),
        "folder": lambda: folder,
        "node": lambda: image_nodes(folder, scene, database)[0],
    }[way]
    paths = export([volume(scene, some_doses())], tmp_path, database, source=source(), **PLAN)
    database.close()
    assert len(paths) == 1, "and nothing but the dose"
    ds = read(paths[0])
    assert ds.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert (ds.PatientID, ds.StudyInstanceUID) == (images[0].PatientID, images[0].StudyInstanceUID)
    named = {one.ReferencedSOPInstanceUID for one in ds.ReferencedImageSequence}
    assert named == {image.SOPInstanceUID for image in images}
    (series,) = ds.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert faults(paths[0], tmp_path) == []


@pytest.mark.parametrize("with_database", [True, False])
def test_dose_computed_on_a_copy_of_the_images(with_database: bool, data: Path, tmp_path: Path, scene: Any) -> None:
    """Its node remembers the images; they are what it belongs to, and nothing of their header gets into the dose."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    folder = data / "rt/topas_abdomen/ct"
    images = [read(path) for path in sorted(folder.iterdir())]
    with dicombridge.open_folder(folder) as database:
        (node,) = image_nodes(folder, scene, database)
        vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())[:] = 7
        (path,) = export([node], tmp_path, database if with_database else None, **PLAN)
    ds = read(path)
    assert ds.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert (ds.PatientID, ds.StudyInstanceUID) == (images[0].PatientID, images[0].StudyInstanceUID)
    named = {one.ReferencedSOPInstanceUID for one in ds.ReferencedImageSequence}
    assert named == {image.SOPInstanceUID for image in images}
    assert not {"KVP", "RescaleSlope", "ImageType", "ConvolutionKernel"} & {element.keyword for element in ds}
    np.testing.assert_allclose(ds.pixel_array * float(ds.DoseGridScaling), 7)
    assert faults(path, tmp_path) == []


def test_images_are_found_through_the_structure_set(data: Path, tmp_path: Path) -> None:
    folder = data / "rt/eclipse_breast"
    database = dicombridge.open_folder(folder)
    node, *_ = loaded(folder / "rtdose.dcm", database=database)
    ds = exported(node, tmp_path, database)
    database.close()
    image, plan, sets = (read(folder / name) for name in ("ct.0.dcm", "rtplan.dcm", "rtss.dcm"))
    named = {one.ReferencedSOPInstanceUID for one in ds.ReferencedImageSequence}
    assert named == {image.SOPInstanceUID}
    instances = {
        one.ReferencedSOPInstanceUID
        for series in ds.ReferencedSeriesSequence
        for one in series.ReferencedInstanceSequence
    }
    assert instances == {image.SOPInstanceUID, plan.SOPInstanceUID, sets.SOPInstanceUID}


def test_new_dose_finds_its_images_through_its_plan(data: Path, tmp_path: Path, scene: Any) -> None:
    """The plan names its structure set, and that one its images; the dose itself names the plan only."""
    folder = data / "rt/eclipse_breast"
    with dicombridge.open_folder(folder) as database:
        ds = exported(volume(scene, some_doses()), tmp_path, database, plan=folder / "rtplan.dcm")
    image, plan = read(folder / "ct.0.dcm"), read(folder / "rtplan.dcm")
    assert [one.ReferencedSOPInstanceUID for one in ds.ReferencedImageSequence] == [image.SOPInstanceUID]
    assert ds.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == plan.SOPInstanceUID
    assert (ds.FrameOfReferenceUID, ds.PatientID) == (image.FrameOfReferenceUID, image.PatientID)


def test_kept_attributes(tmp_path: Path) -> None:
    """Private and other attributes of a loaded dose stay; its maker becomes a contributing one."""
    ds = dose(DoseComment="first\r\nsecond", NormalizationPoint=[1, 2, 3], AccessionNumber="A7", WindowCenter=5)
    ds.private_block(0x3287, "ACME", create=True).add_new(0x01, "LO", "private")
    ds.ReferencedStructureSetSequence = [reference(RT_STRUCTURE_SET, "1.2.3.9")]
    (node,) = loaded(written(ds, tmp_path / "dose.dcm"))
    (path,) = export([node], tmp_path / "out")
    again = read(path)
    assert again[0x3287, 0x1001].value == "private"
    assert list(again.NormalizationPoint) == [1, 2, 3]
    assert again.DoseComment == "first second"
    assert again.AccessionNumber == "A7"
    assert again.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.3.9"
    assert again.Manufacturer == "DICOMBridge"
    assert again.ContributingEquipmentSequence[0].Manufacturer == "Planner"
    assert "WindowCenter" not in again
    assert faults(path, tmp_path) == []
