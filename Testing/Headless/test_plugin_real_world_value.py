"""The plugin of real world values: alternatives of images beside Slicer's own plugin, SUV, mapping objects."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from standins.dialogs import Browser
from standins.phantom import Session, values_on

import dicombridge

pytest_plugins = ["standins.phantom_fixtures"]

HOOK = "DICOMBridgeRealWorldValuePlugin"
STORAGE = "1.2.840.10008.5.1.4.1.1.67"
VOLUMES = "DICOMScalarVolumePlugin"


def pet(session: Session) -> list[Any]:
    return session.files(session.phantom.pet.files[0])


def named(loadables: list[Any], ending: str) -> Any:
    """Return the loadable whose name ends so."""
    (found,) = [one for one in loadables if one.name.endswith(ending)]
    return found


def on_pet(session: Session, node: Any) -> Any:
    return values_on(node, session.phantom.pet.affine, session.phantom.pet.values.shape)


def mapping_of(session: Session, kind: str, directory: Path) -> Path:
    """Export the PET in an SUV as a mapping object, put it into the database and return its path."""
    plugin = session.plugin(HOOK)
    (node,) = plugin.load(named(plugin.examineForImport(pet(session)), kind))
    error, (path,) = session.export(node, HOOK, directory, ContentLabel=kind.upper(), SeriesDescription="Uptake")
    assert error == ""
    session.database._index(path)
    return path


# --------------------------------------------------------------------------- examine


def test_uptakes_are_alternatives(session: Session) -> None:
    loadables = session.plugin(HOOK).examineForImport(pet(session))
    assert [one.name for one in loadables] == ["4: PET FDG as SUVbw", "4: PET FDG as SUVbsa"]
    assert {(one.confidence, one.selected, one.warning) for one in loadables} == {(0.45, False, "")}
    assert {len(one.files) for one in loadables} == {len(session.phantom.pet.files)}
    assert session.chosen(session.phantom.pet.files[0]) == [(VOLUMES, "4: PET FDG")]


def test_plain_images_are_left_to_slicer(session: Session) -> None:
    images = (session.phantom.ct.files[0], session.phantom.mr.files[0])
    assert session.plugin(HOOK).examineForImport(session.files(*images)) == []
    assert session.chosen(*images) == [
        (VOLUMES, "2: CT abdomen portal venous"),
        (VOLUMES, "3: MR T1 oblique"),
    ]


def test_of_all_series_only_the_pet_is_offered(session: Session) -> None:
    loadables = session.plugin(HOOK).examineForImport([(), *session.all_series])
    assert {tuple(one.files) for one in loadables} == {tuple(map(str, session.phantom.pet.files))}


def test_examine_reads_one_header_of_a_series(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tag cache has what SUV need; but one image tells it, and of plain images one tells that there is nothing."""
    opened: list[str] = []
    original = builtins.open

    def counted(path: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(str(path))
        return original(path, *arguments, **options)

    session.plugin(HOOK).examineForImport(pet(session))  # all that is imported at the first use
    monkeypatch.setattr(builtins, "open", counted)
    monkeypatch.setattr(io, "open", counted)
    for series in (session.phantom.ct, session.phantom.pet):
        opened.clear()
        session.plugin(HOOK).examineForImport(session.files(series.files[0]))
        assert set(opened) == {str(series.files[0])}


def test_cached_tags(session: Session) -> None:
    plugin = session.plugin(HOOK)
    tags = set(plugin.tags.values())
    plugin.examineForImport(session.files(session.phantom.ct.files[0]))
    assert {tag for _, tag in session.database._asked} == {"0008,0016"}
    assert len(tags) <= 17
    assert "7FE0,0010" not in tags


def test_databases_agree(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer's database and that of a folder answer alike."""
    import slicer

    lists = pet(session)
    theirs = session.plugin(HOOK).examineForImport(lists)
    monkeypatch.setattr(slicer, "dicomDatabase", dicombridge.open_folder(session.phantom.directory))
    ours = session.plugin(HOOK).examineForImport(lists)
    for name in ("files", "name", "tooltip", "warning", "selected", "confidence"):
        assert [getattr(one, name) for one in ours] == [getattr(one, name) for one in theirs] != []


@pytest.mark.parametrize("what", ["images", "mapping"])
def test_without_highdicom(session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str) -> None:
    """An object that only we can load asks for what is missing; images are loaded by Slicer, and left alone."""
    from DICOMBridgeLib import requirements

    path = session.phantom.pet.files[0] if what == "images" else mapping_of(session, "SUVbw", tmp_path)

    def not_there(files: Any, database: Any) -> Any:
        raise ImportError("highdicom")

    monkeypatch.setattr("dicombridge.real_world_value.examine", not_there)
    monkeypatch.setattr(requirements, "_is_met", lambda name, versions: name != "highdicom")
    loadables = session.plugin(HOOK).examineForImport(session.files(path))
    if what == "images":
        assert loadables == []
        return
    (loadable,) = loadables
    assert (loadable.name, loadable.confidence) == ("4: Uptake", 0.97)
    assert "highdicom>=0.27" in loadable.warning


# --------------------------------------------------------------------------- load


def test_load_as_uptake(session: Session) -> None:
    plugin = session.plugin(HOOK)
    (node,) = plugin.load(named(plugin.examineForImport(pet(session)), "SUVbw"))
    np.testing.assert_allclose(on_pet(session, node), session.phantom.uptake, rtol=1e-5)
    assert node.GetVoxelValueUnits().GetCodeValue() == "{SUVbw}g/ml"
    assert node.GetVoxelValueQuantity().GetCodeValue() == "126400"
    hierarchy, item = session.app.hierarchy, session.item(node)
    assert hierarchy.GetItemUID(item, "DICOM") == session.phantom.pet.uid
    assert hierarchy.GetItemAttribute(item, "DICOM.Modality") == "PT"
    assert hierarchy.GetItemLevel(hierarchy.GetItemParent(item)) == "Study"


@pytest.mark.parametrize("kind", ["SUVbw", "SUVbsa"])
@pytest.mark.parametrize("renamed", [False, True])
def test_load_of_a_copied_loadable(session: Session, kind: str, renamed: bool) -> None:
    """A copy has Slicer's six attributes only: which of several readings it was, its name tells, else its tooltip."""
    from DICOMLib import DICOMLoadable

    plugin = session.plugin(HOOK)
    copy = DICOMLoadable(named(plugin.examineForImport(pet(session)), kind))
    assert not hasattr(copy, "dicombridgeLoadable")
    if renamed:
        copy.name = "Mine"
    (node,) = plugin.load(copy)
    assert node.GetName() == ("Mine" if renamed else f"4: PET FDG as {kind}")
    assert node.GetVoxelValueUnits().GetCodeValue().startswith(f"{{{kind}}}")


def test_load_of_a_loadable_that_a_script_made(session: Session) -> None:
    """Files and a name of its own: the surest reading there is."""
    from DICOMLib import DICOMLoadable

    loadable = DICOMLoadable()
    loadable.files, loadable.name = pet(session)[0], "Mine"
    (node,) = session.plugin(HOOK).load(loadable)
    assert node.GetName() == "Mine"
    assert node.GetVoxelValueUnits().GetCodeValue().startswith("{SUV")


def test_nothing_to_load_says_so(session: Session) -> None:
    from DICOMLib import DICOMLoadable

    from dicombridge.errors import DicomBridgeError

    loadable = DICOMLoadable()
    loadable.files, loadable.name = session.files(session.phantom.ct.files[0])[0], "A CT"
    with pytest.raises(DicomBridgeError, match="A CT: there is nothing in it to load as Real world values"):
        session.plugin(HOOK).load(loadable)


# --------------------------------------------------------------------------- mapping objects, export


def test_mapping_object(session: Session, tmp_path: Path) -> None:
    path = mapping_of(session, "SUVbsa", tmp_path)
    header = pydicom.dcmread(path)
    assert (header.SOPClassUID, header.SeriesDescription, header.ContentLabel) == (STORAGE, "Uptake", "SUVBSA")
    assert header.StudyInstanceUID == pydicom.dcmread(session.phantom.pet.files[0]).StudyInstanceUID
    browser = Browser()
    (loadable,) = [one for one in browser.examine(session.files(path)) if one.selected]
    assert (loadable.confidence, loadable.warning) == (0.97, "")
    browser.references()
    assert [set(files) for files in browser.offered] == [set(map(str, session.phantom.pet.files))]
    (node,) = session.load(path)
    plugin = session.plugin(HOOK)
    (same,) = plugin.load(named(plugin.examineForImport(pet(session)), "SUVbsa"))
    np.testing.assert_allclose(on_pet(session, node), on_pet(session, same), rtol=1e-6)


def test_mapping_objects_and_images_of_one_series(session: Session, tmp_path: Path) -> None:
    """A system that puts all that it sends into one series: nothing of it is passed over."""
    mapping = pydicom.dcmread(mapping_of(session, "SUVbw", tmp_path))
    mapping.SeriesInstanceUID = session.phantom.pet.uid
    mapping.save_as(tmp_path / "zz.dcm")
    session.database._index(tmp_path / "zz.dcm")
    (files,) = pet(session)
    assert len(files) == len(session.phantom.pet.files) + 1
    loadables = session.plugin(HOOK).examineForImport([files])
    assert sorted((one.confidence, len(one.files)) for one in loadables) == [
        (0.45, len(files) - 1),
        (0.45, len(files) - 1),
        (0.97, 1),
    ]


def test_what_is_offered(session: Session) -> None:
    plugin = session.plugin(HOOK)
    (node,) = plugin.load(named(plugin.examineForImport(pet(session)), "SUVbw"))
    assert list(session.offers(node).items()) == [
        (HOOK, 1.08),
        ("DICOMBridgeParametricMapPlugin", 0.6),
        ("DICOMBridgeDosePlugin", 0.5),
    ]
    (plain,) = session.load(session.phantom.pet.files[0])
    assert session.offers(plain)[HOOK] == 0.4
    segmentation = session.new_node("vtkMRMLSegmentationNode", "Segmentation")
    assert HOOK not in session.offers(segmentation)


def test_export_of_a_volume_that_slicer_loaded(session: Session, tmp_path: Path) -> None:
    (node,) = session.load(session.phantom.pet.files[0])
    error, (path,) = session.export(node, HOOK, tmp_path, SeriesNumber="55")
    assert error == ""
    assert pydicom.dcmread(path).SeriesNumber == 55
    session.database._index(path)
    (again,) = session.load(path)
    np.testing.assert_allclose(on_pet(session, again), session.phantom.pet.values, rtol=1e-6)


def test_errors_come_back_as_text(session: Session, tmp_path: Path) -> None:
    session.load(session.phantom.ct.files[0])
    empty = session.new_node("vtkMRMLScalarVolumeNode", "Empty")
    error, files = session.export(empty, HOOK, tmp_path)
    assert error.startswith("Empty: ")
    assert "Details are in the log" not in error
    assert files == []
