"""The plugins of radiotherapy: one imports all of it, three export, and the user chooses between them and SlicerRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian
from standins.core_plugins import add_rival
from standins.ctk_database import cut_after_import
from standins.dialogs import Browser, exportables_of_item, fill_tags, run_export
from standins.fake_kind import write_header
from standins.phantom import Session, values_on
from standins.settings import GroupBox, SettingsPanel, install_qt

import dicombridge
from dicombridge.geometry import lps_ras_points
from dicombridge.kinds import KINDS, kind_named

pytest_plugins = ["standins.phantom_fixtures"]

HOOK = "DICOMBridgeRadiotherapyPlugin"
DOSE, STRUCTURES = "DICOMBridgeDosePlugin", "DICOMBridgeStructureSetPlugin"
FIDUCIALS = "DICOMBridgeFiducialsPlugin"
REPORT = "DICOMBridgeReportPlugin"
SEGMENTATION, MAP, VALUES = (f"DICOMBridge{name}Plugin" for name in ("Segmentation", "ParametricMap", "RealWorldValue"))
SETTING = "DICOMBridge/PreferForRadiotherapy"
READ_HERE = [kind for kind in KINDS if kind.hook == HOOK]


def objects(session: Session) -> tuple[Path, Path, Path]:
    treatment = session.phantom.treatment
    return treatment.structure_set, treatment.plan, treatment.dose


def prefer(session: Session, value: Any) -> None:
    import slicer

    slicer.app.settings().setValue(SETTING, value)


def confidences(session: Session, *paths: Path) -> set[float]:
    plugin = session.plugin(HOOK)
    return {round(one.confidence, 6) for one in plugin.examineForImport(session.files(*(paths or objects(session))))}


# --------------------------------------------------------------------------- examine


@pytest.mark.parametrize(
    ("name", "sop_class"), [(kind.name, uid) for kind in READ_HERE for uid in sorted(kind.sop_classes)]
)
def test_one_plugin_examines_all_classes(session: Session, tmp_path: Path, name: str, sop_class: str) -> None:
    """Of each there is one loadable, whatever is missing in the object, and no other plugin of ours offers one."""
    write_header(tmp_path / "object.dcm", sop_class, "1.2.3.77", SeriesNumber=5, SeriesDescription="It")
    session.database._index(tmp_path / "object.dcm")
    lists = [session.database.filesForSeries("1.2.3.77")]
    (loadable,) = session.plugin(HOOK).examineForImport(lists)
    assert loadable.name.startswith("5: It")
    assert loadable.confidence == kind_named(name).confidence == 0.99
    assert loadable.dicombridgeLoadable.kind == name
    others = [key for key in session.app.modules.dicomPlugins if key.startswith("DICOMBridge") and key != HOOK]
    assert [session.plugin(key).examineForImport(lists) for key in others] == [[]] * len(others)


def test_examine(session: Session) -> None:
    loadables = session.plugin(HOOK).examineForImport(session.all_series)
    found = {one.dicombridgeLoadable.kind: one for one in loadables}
    assert found.keys() == {"RTSTRUCT", "RTPLAN", "RTDOSE"}
    assert {(one.confidence, one.selected, one.warning) for one in loadables} == {(0.99, True, "")}
    images = set(session.database.instancesForSeries(session.phantom.ct.uid))
    assert set(found["RTSTRUCT"].referencedInstanceUIDs) == images
    assert images < set(found["RTDOSE"].referencedInstanceUIDs)


def test_databases_agree(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer's database and that of a folder answer alike."""
    import slicer

    lists = session.files(*objects(session))
    theirs = session.plugin(HOOK).examineForImport(lists)
    monkeypatch.setattr(slicer, "dicomDatabase", dicombridge.open_folder(session.phantom.directory))
    ours = session.plugin(HOOK).examineForImport(lists)
    for name in ("files", "name", "tooltip", "warning", "selected", "confidence"):
        assert [getattr(one, name) for one in ours] == [getattr(one, name) for one in theirs] != []


def test_all_in_one_series(session: Session, tmp_path: Path) -> None:
    """Some systems put plan, dose and structures into the series of the images, between them."""
    mixed = [*objects(session), *session.phantom.ct.files[:2]]
    for number, path in enumerate(mixed):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = "1.2.3.88"
        dataset.save_as(tmp_path / f"{(number + 1) % 5}.dcm")
    session.database._index(tmp_path)
    (files,) = [session.database.filesForSeries("1.2.3.88")]
    assert len(files) == 5
    loadables = session.plugin(HOOK).examineForImport([files])
    assert sorted(one.dicombridgeLoadable.kind for one in loadables) == ["RTDOSE", "RTPLAN", "RTSTRUCT"]
    assert {len(one.files) for one in loadables} == {1}


def test_examine_and_load_ask_for_cached_tags_only(session: Session) -> None:
    """Other tags make the database open the file again at every look."""
    plugin = session.plugin(HOOK)
    for loadable in plugin.examineForImport(session.all_series):
        plugin.load(loadable)
    assert {tag for _, tag in session.database._asked} <= set(plugin.tags.values())
    assert len(plugin.tags) <= 17


def test_without_highdicom_there_is_a_loadable(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All that is in the series is loaded as soon as the user agreed to the installation."""
    from DICOMBridgeLib import requirements

    def not_there(files: Any, database: Any) -> Any:
        raise ImportError("highdicom")

    for number in (1, 2):
        dose = pydicom.dcmread(session.phantom.treatment.dose)
        dose.SeriesInstanceUID, dose.SOPInstanceUID, dose.InstanceNumber = "1.2.3.66", f"1.2.3.66.{number}", number
        dose.save_as(tmp_path / f"{number}.dcm")
    session.database._index(tmp_path)
    plugin = session.plugin(HOOK)
    with monkeypatch.context() as patch:
        patch.setattr("dicombridge.dose.examine", not_there)
        patch.setattr(requirements, "_is_met", lambda name, versions: name != "highdicom")
        (loadable,) = plugin.examineForImport([session.database.filesForSeries("1.2.3.66")])
    assert (loadable.name, loadable.confidence, len(loadable.files)) == ("22: Dose", 0.99, 2)
    assert "highdicom>=0.27" in loadable.warning
    nodes = plugin.load(loadable)
    assert len({node.GetName() for node in nodes if node.IsA("vtkMRMLScalarVolumeNode")}) == 2


# --------------------------------------------------------------------------- the user's choice


@pytest.mark.parametrize("value", ["true", "True", True, 1, "1"])
def test_preferred(session: Session, value: Any) -> None:
    prefer(session, value)
    assert confidences(session) == {1.05}


@pytest.mark.parametrize("value", ["false", False, 0, "0", "", None])
def test_not_preferred(session: Session, value: Any) -> None:
    assert confidences(session) == {0.99}
    prefer(session, value)
    assert confidences(session) == {0.99}


@pytest.mark.parametrize("preferred", [False, True])
def test_beside_slicerrt(session: Session, preferred: bool) -> None:
    """SlicerRT is at 1.0, and wins where a user installed it."""
    prefer(session, preferred)
    dose = session.phantom.treatment.dose
    add_rival(session.app, "DicomRtImportExportPlugin", "1.2.840.10008.5.1.4.1.1.481.2", 1.0)
    ((winner, _),) = session.chosen(dose)
    assert winner == (HOOK if preferred else "DicomRtImportExportPlugin")


def test_a_second_reading_is_not_raised(session: Session, tmp_path: Path) -> None:
    """A dose of uneven planes is offered as it is, and resampled; only the first is what the user prefers."""
    dose = pydicom.dcmread(session.phantom.treatment.dose)
    offsets = [float(value) for value in dose.GridFrameOffsetVector]
    dose.GridFrameOffsetVector = [*offsets[:-4], *(value + 2.0 for value in offsets[-4:])]
    dose.SeriesInstanceUID, dose.SOPInstanceUID = "1.2.3.99", "1.2.3.99.1"
    dose.file_meta.MediaStorageSOPInstanceUID = dose.SOPInstanceUID
    dose.save_as(tmp_path / "uneven.dcm")
    session.database._index(tmp_path)
    assert confidences(session, tmp_path / "uneven.dcm") == {0.99, 0.89}
    prefer(session, True)
    assert confidences(session, tmp_path / "uneven.dcm") == {1.05, 0.89}


def test_the_setting_counts_for_what_was_examined_before(session: Session) -> None:
    """The browser keeps its plugins, and they keep what they found."""
    plugin, lists = session.plugin(HOOK), session.files(session.phantom.treatment.plan)
    (before,) = plugin.examineForImport(lists)
    for value, expected in ((True, 1.05), (False, 0.99)):
        prefer(session, value)
        (loadable,) = plugin.examineForImport(lists)
        assert (loadable is before, loadable.confidence) == (True, expected)


def test_settings_panel(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    install_qt(monkeypatch)
    settings, group = slicer.app.settings(), GroupBox()
    panel = SettingsPanel(settings)
    session.app.modules.dicomPlugins[HOOK].settingsPanelEntry(panel, group)
    ((box, _),) = group._layout._rows
    assert "SlicerRT" in box.text
    assert list(panel._properties) == [SETTING]
    assert box.checked is False
    box.checked = True
    panel._apply()
    assert confidences(session) == {1.05}
    settings._restart()
    assert settings.value(SETTING) == "true"
    assert confidences(session) == {1.05}
    again = SettingsPanel(settings)
    session.app.modules.dicomPlugins[HOOK].settingsPanelEntry(again, GroupBox())
    assert again._properties[SETTING][0].checked is True
    others = [key for key in session.app.modules.dicomPlugins if key != HOOK]
    assert not any(hasattr(session.app.modules.dicomPlugins[key], "settingsPanelEntry") for key in others)


# --------------------------------------------------------------------------- load


def test_load(session: Session) -> None:
    treatment = session.phantom.treatment
    nodes = session.load(*objects(session))
    kinds = {node.GetAttribute("DICOMBridge.Kind") for node in nodes}
    assert kinds == {"RTSTRUCT", "RTPLAN", "RTDOSE"}
    (dose,) = [node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode")]
    values = values_on(dose, treatment.dose_affine, treatment.dose_values.shape)
    np.testing.assert_allclose(values, treatment.dose_values, rtol=1e-5, atol=1e-5)
    assert dose.GetAttribute("DicomRtImport.DoseVolume") == "1"
    (segmentation,) = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    segments = segmentation.GetSegmentation()
    names = [segments.GetNthSegment(index).GetName() for index in range(segments.GetNumberOfSegments())]
    assert names == list(treatment.masks)
    hierarchy = session.app.hierarchy
    studies = {hierarchy.GetItemAncestorAtLevel(session.item(node), "Study") for node in nodes}
    (study,) = studies
    assert hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitName") == "GY"
    modalities = {hierarchy.GetItemAttribute(session.item(node), "DICOM.Modality") for node in nodes}
    assert kinds <= modalities <= {*kinds, ""}


def test_damaged_file(session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = cut_after_import(session.database, session.phantom.treatment.dose, tmp_path)
    before = session.app.scene.GetNumberOfNodes()
    browser, messages = Browser(), list[str]()
    browser.examine([(str(damaged),)])
    assert browser.load(messages=messages) == []
    assert messages == ["Could not load: 22: Dose as a Radiotherapy"]
    assert "damaged.dcm" in caplog.text
    assert "dicombridge.errors." in caplog.text
    assert session.app.scene.GetNumberOfNodes() == before


# --------------------------------------------------------------------------- export


def test_what_is_offered_of_what_was_loaded(session: Session) -> None:
    """What an object came from is the first choice; nothing is offered that cannot be written alone."""
    offered = {node.GetName(): session.offers(node) for node in session.load(*objects(session))}
    assert list(offered["22: Dose"].items()) == [(DOSE, 1.08), (MAP, 0.6), (VALUES, 0.4)]
    assert list(offered["20: Structures"].items()) == [(STRUCTURES, 1.08), (SEGMENTATION, 1.05), (REPORT, 0.6)]
    assert offered["20: Structures contours"] == {}
    plan = {name: offers for name, offers in offered.items() if name.startswith("21: Plan")}
    assert len(plan) > 3
    isocentres = plan.pop("21: Plan - isocentres")
    assert list(isocentres.items()) == [(HOOK, 1.08), (REPORT, 0.6), (FIDUCIALS, 0.5)], "points can be other objects"
    assert all(offers == {HOOK: 1.08} for offers in plan.values())


def test_what_is_offered_of_what_was_not(session: Session) -> None:
    (dose,) = session.load(session.phantom.treatment.dose)
    assert list(session.offers(session.new_node("vtkMRMLSegmentationNode", "S")).items()) == [
        (SEGMENTATION, 1.05),
        (STRUCTURES, 1.02),
        (REPORT, 0.6),
    ]
    volume = session.new_node("vtkMRMLScalarVolumeNode", "V", dose)
    assert list(session.offers(volume).items()) == [(MAP, 0.6), (DOSE, 0.5), (VALUES, 0.4)]
    others = ("vtkMRMLTableNode", "vtkMRMLMarkupsFiducialNode", "vtkMRMLModelNode", "vtkMRMLPlotChartNode")
    assert [session.offers(session.new_node(name, name)) for name in others] == [
        {},
        {REPORT: 0.6, FIDUCIALS: 0.5},
        {},
        {},
    ]
    histograms = session.new_node("vtkMRMLTableNode", "Histograms")
    histograms.SetAttribute("DICOMBridge.Kind", "RTDOSE")
    assert session.offers(histograms) == {}, "they are no dose without its volume"


def test_each_kind_has_one_exporter(session: Session) -> None:
    """The dialog groups by plugin, and calls the one that is registered under the name that an exportable gives."""
    plugins = session.app.modules.dicomPlugins
    exporting = {kind.name for kind in KINDS if kind.exports}
    ours = {name: cls.kindName for name, cls in plugins.items() if name.startswith("DICOMBridge")}
    exporters = {name: kind for name, kind in ours.items() if kind in exporting}
    assert exporters == {kind.export_hook or kind.hook: kind.name for kind in KINDS if kind.exports}


def test_export_of_a_dose(session: Session, tmp_path: Path) -> None:
    treatment = session.phantom.treatment
    (node,) = session.load(treatment.dose)
    error, (path,) = session.export(node, DOSE, tmp_path, SeriesDescription="Edited", SeriesNumber="301")
    assert error == ""
    written, source = pydicom.dcmread(path), pydicom.dcmread(treatment.dose)
    assert (written.SeriesDescription, written.SeriesNumber) == ("Edited", 301)
    for name in ("DoseUnits", "DoseType", "DoseSummationType", "StudyInstanceUID", "PatientID"):
        assert written[name].value == source[name].value
    assert (
        written.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(treatment.plan).SOPInstanceUID
    )
    session.database._index(path)
    (again,) = session.load(path)
    values = values_on(again, treatment.dose_affine, treatment.dose_values.shape)
    np.testing.assert_allclose(values, treatment.dose_values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("edits", [{}, {"DoseUnits": "RELATIVE", "DoseType": "EFFECTIVE"}])
def test_export_of_a_volume_as_dose(session: Session, tmp_path: Path, edits: dict[str, str]) -> None:
    """No plan is known of it, and none has to be made up."""
    (dose,) = session.load(session.phantom.treatment.dose)
    error, (path,) = session.export(session.new_node("vtkMRMLScalarVolumeNode", "V", dose), DOSE, tmp_path, **edits)
    assert error == ""
    written = pydicom.dcmread(path)
    expected = {"DoseUnits": "GY", "DoseType": "PHYSICAL"} | edits
    assert {name: written[name].value for name in expected} == expected
    assert written.DoseSummationType == "PLAN_OVERVIEW"


def test_export_of_structures(session: Session, tmp_path: Path) -> None:
    treatment = session.phantom.treatment
    (node,) = [one for one in session.load(treatment.structure_set) if one.IsA("vtkMRMLSegmentationNode")]
    error, (path,) = session.export(node, STRUCTURES, tmp_path, StructureSetLabel="EDITED")
    assert error == ""
    written = pydicom.dcmread(path)
    assert (written.StructureSetLabel, written.ApprovalStatus) == ("EDITED", "UNAPPROVED")
    counts = {
        roi.ROIName: len(contours.get("ContourSequence", Sequence()))
        for roi, contours in zip(written.StructureSetROISequence, written.ROIContourSequence, strict=True)
    }
    assert counts == treatment.contours
    session.database._index(path)
    assert session.chosen(path) == [(HOOK, "20: Structures")]


def test_moved_points_go_with_their_structures(session: Session, data: Path, tmp_path: Path) -> None:
    """They are nodes of their own, and a structure set of their own would not be what was loaded."""
    dataset = pydicom.dcmread(data / "rt" / "pydicom" / "rtstruct.dcm", force=True)  # it has no file meta information
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(tmp_path / "set.dcm", enforce_file_format=True)
    session.database._index(tmp_path)
    nodes = session.load(tmp_path / "set.dcm")
    (segmentation,) = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    points = [node for node in nodes if node.IsA("vtkMRMLMarkupsFiducialNode")]
    assert [session.offers(node) for node in points] == [{REPORT: 0.6, FIDUCIALS: 0.5}] * 2
    points[0].SetNthControlPointPosition(0, 1.0, 2.0, 3.0)
    error, (path,) = session.export(segmentation, STRUCTURES, tmp_path / "out")
    assert error == ""
    contours = [item.ContourSequence for item in pydicom.dcmread(path).ROIContourSequence]
    places = [item[0].ContourData for item in contours if item[0].ContourGeometricType == "POINT"]
    np.testing.assert_allclose(np.array(places, float), [*lps_ras_points([[1.0, 2.0, 3.0]]), [0.0, 0.0, 0.0]])


def test_export_of_a_segmentation_object_as_structures(session: Session, tmp_path: Path) -> None:
    truth = session.phantom.segmentations[0]
    (node,) = session.load(truth.file)
    error, (path,) = session.export(node, STRUCTURES, tmp_path)
    assert error == ""
    names = [roi.ROIName for roi in pydicom.dcmread(path).StructureSetROISequence]
    assert set(names) <= set(truth.segments)
    assert "Liver" in names


def test_export_of_a_study(session: Session, tmp_path: Path) -> None:
    """All nodes of a plan are one object, and each plugin writes its own."""
    nodes = session.load(*objects(session))
    offered = exportables_of_item(session.app.hierarchy.GetItemAncestorAtLevel(session.item(nodes[0]), "Study"))
    for hook in (HOOK, DOSE, STRUCTURES):
        fill_tags(offered[hook], {"SeriesNumber": "77"})
        assert run_export(hook, offered[hook], tmp_path) == ""
    written = [pydicom.dcmread(path) for path in tmp_path.rglob("*.dcm")]
    assert sorted(one.Modality for one in written) == ["RTDOSE", "RTPLAN", "RTSTRUCT"]
    plan, source = next(one for one in written if one.Modality == "RTPLAN"), session.phantom.treatment.plan
    assert plan.BeamSequence == pydicom.dcmread(source).BeamSequence
    assert {one.SeriesNumber for one in written} == {77}


def test_export_of_an_edited_plan(session: Session, tmp_path: Path) -> None:
    nodes = session.load(session.phantom.treatment.plan)
    error, (path,) = session.export(nodes[0], HOOK, tmp_path, RTPlanLabel="Second")
    assert error == ""
    assert pydicom.dcmread(path).RTPlanLabel == "Second"
    session.database._index(path)
    again = session.load(path)
    assert [node.GetClassName() for node in again] == [node.GetClassName() for node in nodes]


def test_errors_come_back_as_text(session: Session, tmp_path: Path) -> None:
    session.load(*objects(session))
    empty = session.new_node("vtkMRMLScalarVolumeNode", "Empty")
    nothing = session.new_node("vtkMRMLSegmentationNode", "Nothing")
    for node, hook in ((empty, DOSE), (nothing, STRUCTURES)):
        error, files = session.export(node, hook, tmp_path)
        assert error.startswith(f"{node.GetName()}: ")
        assert "Details are in the log" not in error
        assert files == []
