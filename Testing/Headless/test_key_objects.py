"""Key object selections: which images, frames and slices they name, and why; and what is loaded and written again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from conformance import faults
from support.sr_images import SeriesOfImages, write_multi_frame, write_series
from support.sr_templates import write_other

import dicombridge
from dicombridge import key_objects
from dicombridge.errors import ExportError
from dicombridge.geometry import vtk_matrix
from dicombridge.kinds import KINDS
from dicombridge.loadable import Loadable


def written(paths: list[Path]) -> Any:
    """The one document that was written; dciodvfy and highdicom read it."""
    (path,) = paths
    assert faults(path) == []
    return hd.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(path))


def named(document: Any) -> list[tuple[str, list[int] | None]]:
    """Instances and frames in the order of the document."""
    found = []
    for one in document.content.get_references():
        frames = one.ReferencedSOPSequence[0].get("ReferencedFrameNumber")
        found.append((one.referenced_sop_instance_uid, None if frames is None else list(np.atleast_1d(frames))))
    return found


def evidence(dataset: Any) -> dict[str, dict[str, set[str]]]:
    """Study -> series -> instances."""
    return {
        study.StudyInstanceUID: {
            series.SeriesInstanceUID: {item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence}
            for series in study.ReferencedSeriesSequence
        }
        for study in dataset.CurrentRequestedProcedureEvidenceSequence
    }


def volume_of(images: SeriesOfImages, scene: Any, database: Any) -> Any:
    return dicombridge.load(images.series, scene=scene, database=database)[0]


def point_at(scene: Any, lps: Any) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "P")
    for x, y, z in np.asarray(lps, float):
        node.AddControlPointWorld(-x, -y, z)
    return node


@pytest.fixture
def images(tmp_path: Path) -> SeriesOfImages:
    return write_series(tmp_path / "in" / "ct", "oblique")


@pytest.fixture
def database(tmp_path: Path, images: SeriesOfImages) -> Any:
    with dicombridge.open_folder(tmp_path / "in") as found:
        yield found


def test_all_images_of_a_volume(scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    volume = volume_of(images, scene, database)
    document = written(key_objects.export([volume], tmp_path / "out", database))
    assert [uid for uid, _ in named(document)] == volume.GetAttribute("DICOM.instanceUIDs").split()
    assert {uid for uid, _ in named(document)} == set(images.uids)
    assert evidence(document) == {images.study: {images.series: set(images.uids)}}
    assert document.content[0].name.value == "113000"
    assert (document.PatientID, document.StudyInstanceUID, document.Modality) == ("P1", images.study, "KO")


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal", "oblique", "decubitus", "feet_first"])
def test_slices_are_those_of_the_volume(scene: Any, tmp_path: Path, orientation: str) -> None:
    images = write_series(tmp_path / "in", orientation)
    with dicombridge.open_folder(tmp_path / "in") as database:
        volume = volume_of(images, scene, database)
        found = named(written(key_objects.export([volume], tmp_path / "out", database, slices=[1, 3])))
    # Where the centres of these slices lie in space says which images they are, whatever way the volume counts.
    wanted = []
    for k in (1, 3):
        ras = np.array(_ras_of(volume, (0, 0, k)))
        place = np.argmin(np.linalg.norm(images.origins * (-1, -1, 1) - ras, axis=1))
        wanted.append((images.uids[place], None))
    assert found == wanted


def _ras_of(volume: Any, ijk: tuple[int, int, int]) -> list[float]:
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return list(matrix.MultiplyPoint((*ijk, 1.0))[:3])


def test_frames_of_a_multi_frame_image(scene: Any, tmp_path: Path) -> None:
    images = write_multi_frame(tmp_path / "in")
    with dicombridge.open_folder(tmp_path / "in") as database:
        volume = volume_of(images, scene, database)
        frames = [int(text) for text in volume.GetAttribute("DICOMBridge.FrameNumbers").split()]
        some = written(key_objects.export([volume], tmp_path / "1", database, slices="0, 4"))
        every = written(key_objects.export([volume], tmp_path / "2", database))
        points = point_at(scene, images.of_pixels(2, [(3, 4)]))
        marked = written(key_objects.export([points, volume], tmp_path / "3", database))
    assert named(some) == [(images.uids[0], [frames[0], frames[4]])]
    assert named(every) == [(images.uids[0], None)]
    assert named(marked) == [(images.uids[0], [3])]


def test_slices_in_which_points_lie(scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    volume = volume_of(images, scene, database)
    lps = np.concatenate([images.of_pixels(3, [(10, 4), (20, 30)]), images.of_pixels(1, [(7, 7)])])
    points = point_at(scene, [*lps, (900, 900, 900)])
    found = named(written(key_objects.export([volume, points], tmp_path / "1", database)))
    assert {uid for uid, _ in found} == {images.uids[1], images.uids[3]}
    points.SetNthControlPointAssociatedNodeID(0, volume.GetID())
    assert named(written(key_objects.export([points], tmp_path / "2", database))) == found


def test_points_and_volume_under_a_transform(scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    volume = volume_of(images, scene, database)
    points = point_at(scene, images.of_pixels(3, [(10, 4)]))
    moved = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved.SetMatrixTransformToParent(vtk_matrix(np.eye(4) + np.eye(4, k=3) * 300))
    for node in (volume, points):
        node.SetAndObserveTransformNodeID(moved.GetID())
    found = named(written(key_objects.export([volume, points], tmp_path / "1", database)))
    assert found == [(images.uids[3], None)]
    points.SetAndObserveTransformNodeID(None)
    with pytest.raises(ExportError, match="No control point of 'P' lies in a slice"):
        key_objects.export([volume, points], tmp_path / "2", database)


def test_instances_by_uid(tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    wanted = [images.uids[2], images.uids[0]]
    document = written(key_objects.export([], tmp_path / "1", database, instances=wanted))
    assert named(document) == [(uid, None) for uid in wanted]
    frames = written(key_objects.export([], tmp_path / "2", database, instances=[(images.uids[0], [1])]))
    assert named(frames) == [(images.uids[0], None)]  # an image of one frame is named as a whole
    with pytest.raises(ExportError, match="has no frame 2; its frames are 1 to 1"):
        key_objects.export([], tmp_path / "3", database, instances=images.uids[0], frames="1, 2")


def test_frames_by_number(tmp_path: Path) -> None:
    images = write_multi_frame(tmp_path / "in")
    with dicombridge.open_folder(tmp_path / "in") as database:
        document = written(key_objects.export([], tmp_path / "out", database, instances=images.uids, frames=[2, 6]))
        with pytest.raises(ExportError, match="has no frame 7; its frames are 1 to 6"):
            key_objects.export([], tmp_path / "no", database, instances=images.uids, frames=7)
    assert named(document) == [(images.uids[0], [2, 6])]


def test_title_reason_description_observer(tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    options = {
        "instances": images.uids[0], "title": "Rejected for Quality Reasons", "reason": "Motion blur",
        "description": "Bewegung während der Aufnahme", "observer": "Müller^Änne", "SeriesDescription": "Verworfen",
    }  # fmt: skip
    document = written(key_objects.export([], tmp_path / "out", database, **options))
    assert document.content[0].name.value == "113001"
    assert document.SeriesDescription == "Verworfen"
    values = {
        item.ConceptNameCodeSequence[0].CodeValue: item
        for item in document.ContentSequence
        if item.get("ConceptNameCodeSequence")
    }
    assert values["113011"].ConceptCodeSequence[0].CodeValue == "111210"
    assert values["113012"].TextValue == options["description"]
    assert str(values["121008"].PersonName) == options["observer"]


def test_a_title_that_has_no_reason(tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    options = {"instances": images.uids[1], "title": "For Referring Provider"}
    document = written(key_objects.export([], tmp_path / "out", database, **options))
    assert (document.content[0].name.value, document.content[0].name.meaning) == ("113002", "For Referring Provider")
    assert [item.ConceptNameCodeSequence[0].CodeValue for item in document.ContentSequence
            if item.get("ConceptNameCodeSequence")] == []  # fmt: skip


def test_without_a_database(scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    volume = volume_of(images, scene, database)
    document = written(key_objects.export([volume], tmp_path / "out", None, slices=2))
    assert len(named(document)) == 1
    assert list(evidence(document)) == [images.study]
    assert document.PatientID == "P1"


def test_several_studies_are_documents_that_name_each_other(scene: Any, tmp_path: Path) -> None:
    one, other = write_series(tmp_path / "in" / "a"), write_series(tmp_path / "in" / "b", "coronal", "MR")
    with dicombridge.open_folder(tmp_path / "in") as database:
        volumes = [volume_of(images, scene, database) for images in (one, other)]
        paths = key_objects.export(volumes, tmp_path / "out", database, slices=[0])
    documents = [pydicom.dcmread(path) for path in paths]
    assert [faults(path) for path in paths] == [[], []]
    assert [document.StudyInstanceUID for document in documents] == [one.study, other.study]
    assert evidence(documents[0]) == evidence(documents[1])
    assert set(evidence(documents[0])) == {one.study, other.study}
    for document, identical in zip(documents, reversed(documents), strict=True):
        (study,) = document.IdenticalDocumentsSequence
        (series,) = study.ReferencedSeriesSequence
        (named_one,) = series.ReferencedSOPSequence
        uids = (study.StudyInstanceUID, series.SeriesInstanceUID, named_one.ReferencedSOPInstanceUID)
        assert uids == (identical.StudyInstanceUID, identical.SeriesInstanceUID, identical.SOPInstanceUID)


def test_a_loaded_selection_is_written_again(scene: Any, tmp_path: Path) -> None:
    path, images = write_other(tmp_path / "in", "key objects")
    before = pydicom.dcmread(path)
    with dicombridge.open_folder(tmp_path / "in") as database:
        nodes = key_objects.load(Loadable(files=[str(path)], name="Keys", kind="KOS"), scene, database)
        again = written(key_objects.export(nodes, tmp_path / "1", database))
        alone = written(key_objects.export(nodes[-1:], tmp_path / "2", None))
        added = [*nodes, volume_of(images, scene, database)]
        more = written(key_objects.export(added, tmp_path / "3", database, slices=[0, 1], title="113002"))
    assert named(again) == named(alone) == [(images.uids[0], None), (images.uids[2], None)]
    assert evidence(again) == evidence(before)
    assert again.SOPInstanceUID != before.SOPInstanceUID
    predecessor = again.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert predecessor.ReferencedSOPInstanceUID == before.SOPInstanceUID
    texts = [item.TextValue for item in again.ContentSequence if item.ValueType == "TEXT"]
    assert texts == ["Bildauswahl für die Überweisung"]
    assert [str(item.PersonName) for item in again.ContentSequence if item.ValueType == "PNAME"] == ["Doe^Jane"]
    assert {uid for uid, _ in named(more)} == {images.uids[0], images.uids[1], images.uids[2]}
    assert more.content[0].name.value == "113002"


def test_more_frames_of_an_instance_that_is_named(scene: Any, tmp_path: Path) -> None:
    images = write_multi_frame(tmp_path / "in")
    (uid,) = images.uids
    with dicombridge.open_folder(tmp_path / "in") as database:
        (path,) = key_objects.export([], tmp_path / "1", database, instances=[(uid, [1, 2])])
        table = key_objects.load(Loadable(files=[str(path)], name="Keys", kind="KOS"), scene, database)[0]
        more = written(key_objects.export([table], tmp_path / "2", database, instances=[(uid, [2, 5])]))
        same = written(key_objects.export([table], tmp_path / "3", database, instances=[(uid, [2])]))
        every = written(key_objects.export([table], tmp_path / "4", database, instances=[uid]))
    assert named(more) == [(uid, [1, 2]), (uid, [5])]
    assert named(same) == [(uid, [1, 2])]
    assert named(every) == [(uid, [1, 2]), (uid, None)]


def test_an_item_without_its_reference(scene: Any, tmp_path: Path) -> None:
    path, images = write_other(tmp_path / "in", "key objects")
    dataset = pydicom.dcmread(path)
    (first, second) = [item for item in dataset.ContentSequence if item.ValueType == "IMAGE"]
    del first.ReferencedSOPSequence
    second.ReferencedSOPSequence = []
    dataset.save_as(path)
    with dicombridge.open_folder(tmp_path / "in") as database:
        table = key_objects.load(Loadable(files=[str(path)], name="Keys", kind="KOS"), scene, database)[0]
        (found,) = key_objects.export([table], tmp_path / "1", database, instances=images.uids[1])
    items = [item for item in pydicom.dcmread(found).ContentSequence if item.ValueType == "IMAGE"]
    uids = [one.ReferencedSOPInstanceUID for item in items for one in item.ReferencedSOPSequence]
    assert uids == [images.uids[1]]


def test_images_alone_through_the_public_function(tmp_path: Path, images: SeriesOfImages, database: Any) -> None:
    paths = dicombridge.export([], tmp_path / "out", kind="KOS", instances=images.uids[:2], database=database)
    assert named(written(paths)) == [(uid, None) for uid in images.uids[:2]]
    with pytest.raises(ExportError, match="No image is selected"):
        dicombridge.export([], tmp_path / "no", kind="KOS", database=database)
    for kind in (None, *(kind.name for kind in KINDS if kind.exports and kind.name != "KOS")):
        with pytest.raises(ExportError, match="There is no node to export"):
            dicombridge.export([], tmp_path / "no", kind=kind, database=database)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"slices": [5]}, r"has no slice 5; its slices are 0 to 4"),
        ({"slices": [-1]}, r"has no slice -1"),
        ({"slices": "first"}, "slices are numbers"),
        ({"slices": [1.5]}, "slices are numbers"),
        ({"title": "Nonsense"}, "title='Nonsense' is not known"),
        ({"reason": "Motion blur"}, "has no reason"),
        ({"title": "113001", "reason": "Boredom"}, "reason='Boredom' is not known"),
        ({"instances": "1.2.3.4.5"}, "1.2.3.4.5 is not in the database"),
        ({"instances": "../x"}, "is none"),
        ({"frames": [1]}, "frames are those of one instance"),
        ({"instances": 5}, "instances are SOP Instance UIDs, or pairs of UID and frames; 5 is neither"),
        ({"instances": [5]}, "instances are SOP Instance UIDs, or pairs of UID and frames; 5 is neither"),
        ({"instances": [("1.2", 1, 2)]}, "is neither"),
        ({"title": 5}, "title is a code: value.*, not 5"),
        ({"title": "113001", "reason": 3}, "reason is a code: value.*, not 3"),
        ({"ContentSequence": []}, "cannot be an option"),
        ({"nonsense": 1}, "Unknown option nonsense"),
    ],
)
def test_options_that_cannot_be(
    scene: Any, tmp_path: Path, images: SeriesOfImages, database: Any, options: dict[str, Any], told: str
) -> None:
    volume = volume_of(images, scene, database)
    with pytest.raises(ExportError, match=told):
        key_objects.export([volume], tmp_path / "out", database, **options)
    assert not (tmp_path / "out").exists()


def test_nodes_that_cannot_be(scene: Any, tmp_path: Path) -> None:
    made_here = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "V")
    with pytest.raises(ExportError, match="'V' was not loaded from DICOM"):
        key_objects.export([made_here], tmp_path / "out")
    with pytest.raises(ExportError, match="No image is selected"):
        key_objects.export([], tmp_path / "out")
    with pytest.raises(ExportError, match="vtkMRMLModelNode cannot be exported"):
        key_objects.export([scene.AddNewNodeByClass("vtkMRMLModelNode")], tmp_path / "out")
    with pytest.raises(ExportError, match="does not come from a key object selection"):
        key_objects.export([scene.AddNewNodeByClass("vtkMRMLTableNode")], tmp_path / "out")
    with pytest.raises(ExportError, match="'P' belongs to no volume"):
        key_objects.export([point_at(scene, [(0, 0, 0)])], tmp_path / "out")
    assert not (tmp_path / "out").exists()
