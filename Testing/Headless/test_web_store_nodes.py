"""Storing nodes of the scene and real files on a real server, and files in a folder; what comes back is compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dicomweb_client
import numpy as np
import pydicom
import pytest
from support.folders import write_ct
from support.orthanc import Orthanc, start_orthanc
from support.seg_exports import AFFINE, masks_of, segmentation_node
from support.seg_nodes import mask_of
from support.stow_server import stow_server

import dicombridge
from dicombridge import web
from dicombridge.errors import UnsupportedError
from dicombridge.web import Server, retrieve, store
from dicombridge.web.storing.checking import different
from dicombridge.web.storing.items import read_item


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with start_orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def server(orthanc: Orthanc) -> Server:
    orthanc.clear()
    return Server(orthanc.url)


def digests(orthanc: Orthanc) -> dict[str, str]:
    """SOP Instance UID -> SHA-256 of what Orthanc keeps, by its own interface."""
    kept = {}
    for instance in orthanc.ask("instances?expand"):
        kept[instance["MainDicomTags"]["SOPInstanceUID"]] = hashlib.sha256(orthanc.file_of(instance["ID"])).hexdigest()
    return kept


# --- Real files on a real server -------------------------------------------------------------------------------------


def test_all_of_the_shared_data(orthanc: Orthanc, server: Server, data: Path) -> None:
    """Each instance is stored, byte by byte, or failed with its reason; nothing is lost on the way."""
    report = store(server, data, check=True)
    kept = digests(orthanc)
    assert sorted(kept) == sorted(report.stored) == sorted(report.checked)
    items = {}
    for path in sorted(path for path in data.rglob("*") if path.is_file() and str(path) not in report.skipped):
        items.setdefault(read_item(path).uid, path)
    assert len(report.stored) + len(report.failed) == len({*items, *report.failed})
    assert set(items) - set(kept) == {uid for uid in report.failed if uid in items}
    differ = [path for uid, path in items.items() if kept.get(uid) not in (None, _digest_of_sent(path))]
    assert differ == []
    alone = {uid: reason for uid, reason in report.failed.items() if "same SOP Instance UID" not in reason}
    assert alone == {
        "1.2.840.10008.1.5.1": "The server cannot understand it, e.g. because mandatory attributes are missing (C000). "
        "It has no Study Instance UID and no Series Instance UID and no Patient ID."
    }
    copies = {path for path, reason in report.skipped.items() if reason.startswith("Is the same as ")}
    assert [path for path in set(report.skipped) - copies if pydicom.misc.is_dicom(path)] == []
    assert {read_item(Path(path)).uid for path in copies} <= set(report.stored)


def _digest_of_sent(path: Path) -> str:
    item = read_item(path)
    return hashlib.sha256(item.prefix + path.read_bytes()[item.skip :]).hexdigest()


def test_read_back_by_our_retrieve_and_by_dicomweb_client(server: Server, data: Path, tmp_path: Path) -> None:
    folder = data / "images" / "geometry" / "gantry_tilt_siemens"
    report = store(server, folder, check="all")
    assert sorted(report.checked) == sorted(report.stored)
    assert report.warnings == {}
    study = read_item(next(folder.iterdir())).study
    back = retrieve(server, study, directory=tmp_path)
    before = sorted(path.read_bytes() for path in folder.iterdir())
    assert sorted(Path(path).read_bytes() for path in back.files) == before
    client = dicomweb_client.DICOMwebClient(server.url)
    found = client.search_for_instances(study)
    assert sorted(one["00080018"]["Value"][0] for one in found) == sorted(report.stored)


def test_the_check_compares(server: Server, orthanc: Orthanc, tmp_path: Path) -> None:
    """Orthanc keeps the first of two objects of one UID, and answers 200 to the second."""
    write_ct(tmp_path / "first.dcm", SOPInstanceUID="1.2.3.77", PatientName="First")
    write_ct(tmp_path / "second.dcm", SOPInstanceUID="1.2.3.77", PatientName="Second")
    assert store(server, tmp_path / "first.dcm", check="one").warnings == {}
    report = store(server, tmp_path / "second.dcm", check="one")
    assert report.stored == ["1.2.3.77"]
    assert report.warnings == {"1.2.3.77": "The server keeps it changed: PatientName."}
    (first, second) = (read_item(tmp_path / name) for name in ("first.dcm", "second.dcm"))
    assert different(first, second.path) == "The server keeps it changed: PatientName."
    dataset = pydicom.dcmread(first.path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    dataset.save_as(tmp_path / "implicit.dcm", implicit_vr=True, little_endian=True)
    assert different(first, tmp_path / "implicit.dcm").startswith("The server keeps it in other bytes; all its")


def test_orthanc_refuses_another_study(server: Server, tmp_path: Path, orthanc: Orthanc) -> None:
    """The answers of the installed Orthanc to what our own check would not let pass."""
    from dicombridge.web import Connection
    from dicombridge.web.storing.sending import Sender

    write_ct(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.78")
    with Connection(server) as connection:
        sender = Sender(connection, "1.2.999", lambda count: None, lambda item: False)
        (outcome,), error = sender.send([read_item(tmp_path / "a.dcm")])
    assert error is None
    assert (outcome.state, outcome.reason) == ("failed", "The server could not process it (0110).")
    assert orthanc.ask("instances") == []


def test_garbage_among_good_files(server: Server, orthanc: Orthanc, tmp_path: Path) -> None:
    """Orthanc 1.10 answers 400, stores the others and does not mention the bad one."""
    for number in range(8):
        write_ct(tmp_path / f"{number}.dcm", SOPInstanceUID=f"1.2.3.80.{number}", InstanceNumber=number)
    bad = tmp_path / "3.dcm"
    bad.write_bytes(bad.read_bytes()[:20000])
    report = store(server, tmp_path)
    assert sorted(report.stored) == [f"1.2.3.80.{number}" for number in range(8) if number != 3]
    assert report.failed == {"1.2.3.80.3": "The server could not read it (HTTP 400). Its data end early."}
    assert sorted(digests(orthanc)) == sorted(report.stored)


def test_names_and_passwords(tmp_path: Path, locked_orthanc: Orthanc) -> None:
    from dicombridge.errors import AuthenticationError

    write_ct(tmp_path / "a.dcm")
    with pytest.raises(AuthenticationError, match="wants to know who asks"):
        store(Server(locked_orthanc.url), tmp_path / "a.dcm")
    assert locked_orthanc.ask("instances") == []


def test_a_body_is_sent_again_whole_with_new_credentials(tmp_path: Path) -> None:
    """A token that ends while files are sent: the session sends the same body once more, from its first byte."""
    from support.stow_server import Reply

    from dicombridge.web import Connection

    class Token:
        value = "old"

        def apply(self, request: Any) -> None:
            request.headers["Authorization"] = f"Bearer {self.value}"

        def renew(self, challenge: str) -> bool:
            self.value = "new"
            return True

    write_ct(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.79", PixelData=bytes(3 << 20))
    with stow_server() as stow, Connection(stow.server, Token()) as connection:
        stow.answer = lambda request: (
            stow.store(request) if request.headers["Authorization"] == "Bearer new" else Reply(401)
        )
        report = store(stow.server, tmp_path / "a.dcm", connection=connection)
    assert report.stored == ["1.2.3.79"]
    assert stow.have["1.2.3.79"] == (tmp_path / "a.dcm").read_bytes()
    assert [len(request.body) for request in stow.requests] == [report.bytes] * 2


# --- Nodes -----------------------------------------------------------------------------------------------------------


def test_a_segmentation_goes_to_the_server_and_comes_back(
    server: Server, orthanc: Orthanc, data: Path, tmp_path: Path, scene: Any
) -> None:
    folder = data / "seg" / "dcmqi_liver"
    images = [path for path in sorted(folder.rglob("*.dcm")) if pydicom.dcmread(path).Modality == "CT"]
    with dicombridge.open_folder(folder) as database:
        (node,) = dicombridge.load(folder / "liver.dcm", scene=scene, database=database)[:1]
        steps: list[Any] = []
        report = store(
            server,
            [*images, node],
            export_options={"kind": "SEG", "database": database, "SeriesDescription": "edited liver"},
            progress=steps.append,
            check="all",
        )
    assert (len(report.stored), report.failed, report.skipped) == (len(images) + 1, {}, {})
    assert (steps[-1].instances, steps[-1].total_instances) == (len(images) + 1, len(images) + 1)
    assert report.warnings == {}
    study = read_item(images[0]).study
    retrieve(server, study, directory=tmp_path / "back")
    with dicombridge.open_folder(tmp_path / "back") as database:
        (loadable,) = [one for one in dicombridge.examine(database) if one.kind == "SEG"]
        assert "edited liver" in loadable.name
        (again,) = dicombridge.load(loadable, scene=scene, database=database)[:1]
    (before, after) = (one.GetSegmentation().GetNthSegment(0) for one in (node, again))
    assert np.array_equal(np.asarray(mask_of(before)), np.asarray(mask_of(after)))
    assert before.GetName() == after.GetName()


def test_nodes_that_cannot_be_exported_are_told(scene: Any, tmp_path: Path) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLTextNode", "A note")
    write_ct(tmp_path / "a.dcm", SOPInstanceUID="1.2.3.79")
    with stow_server() as stow:
        report = store(stow.server, [node, tmp_path / "a.dcm"])
    assert report.stored == ["1.2.3.79"]
    assert list(report.failed) == ["A note"]
    assert "'A note' does not come from" in report.failed["A note"]


def test_exported_nodes_are_not_exported_again(scene: Any, data: Path) -> None:
    """What failed is sent again as it was: a new export would have new UIDs."""
    from support.stow_server import Reply, module

    folder = data / "seg" / "highdicom"
    with dicombridge.open_folder(folder) as database, stow_server() as stow:
        (node,) = dicombridge.load(folder / "seg_image_ct_binary.dcm", scene=scene, database=database)[:1]
        stow.answer = lambda request: Reply(409, module([], dict.fromkeys(request.uids, 0x0110)))
        report = store(stow.server, node, export_options={"database": database})
        (uid,) = report.failed
        first = stow.requests[0].parts
        stow.answer = stow.store
        assert report.again().stored == [uid]
        assert stow.requests[1].parts == first


# --- A folder as the server ------------------------------------------------------------------------------------------


def test_a_folder_keeps_what_it_has(tmp_path: Path, own_cache: Path) -> None:
    for number in range(3):
        write_ct(tmp_path / "in" / f"{number}.dcm", SOPInstanceUID=f"1.2.3.90.{number}", InstanceNumber=number)
    out = tmp_path / "out"
    report = store(out, tmp_path / "in")
    assert sorted(report.stored) == sorted(report.checked) == [f"1.2.3.90.{number}" for number in range(3)]
    for number in range(3):
        copy = out / "1.2.3" / "1.2.3.4" / f"1.2.3.90.{number}.dcm"
        assert copy.read_bytes() == (tmp_path / "in" / f"{number}.dcm").read_bytes()
    (out / "1.2.3" / "1.2.3.4" / "1.2.3.90.1.dcm").rename(out / "elsewhere.dcm")
    write_ct(tmp_path / "in" / "2.dcm", SOPInstanceUID="1.2.3.90.2", PatientName="Another")
    kept = {path: path.read_bytes() for path in out.rglob("*.dcm")}
    report = store(Server(str(out)), tmp_path / "in")
    assert (report.stored, sorted(report.duplicates)) == ([], ["1.2.3.90.0", "1.2.3.90.1"])
    words = "Another object with the same SOP Instance UID is there; it stays as it is."
    assert report.failed == {"1.2.3.90.2": words}
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == kept


def test_a_folder_is_not_left(tmp_path: Path, own_cache: Path) -> None:
    """Neither by UIDs that are paths, nor by links."""
    write_ct(tmp_path / "in" / "a.dcm", SOPInstanceUID="1.2.3.91", StudyInstanceUID="1.2.333.4444.5")
    whole = (tmp_path / "in" / "a.dcm").read_bytes()
    (tmp_path / "in" / "a.dcm").write_bytes(whole.replace(b"1.2.333.4444.5", b"../../escaped\0"))
    write_ct(tmp_path / "in" / "b.dcm", SOPInstanceUID="1.2.3.92", StudyInstanceUID="1.2.44")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.2.44").symlink_to(tmp_path / "elsewhere")
    report = store(tmp_path / "out", tmp_path / "in")
    assert report.stored == []
    assert report.failed["1.2.3.91"].startswith("'../../escaped' is not a Study Instance UID")
    assert "is a link" in report.failed["1.2.3.92"]
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "in", "out"]


def test_nothing_is_stored_in_a_zip_file(tmp_path: Path) -> None:
    import zipfile

    write_ct(tmp_path / "a.dcm")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.dcm")
    with pytest.raises(UnsupportedError, match="in a folder, and not in a file"):
        store(tmp_path / "a.zip", tmp_path / "a.dcm")
    with stow_server() as stow:
        report = store(stow.server, tmp_path / "a.zip")
    assert report.skipped == {str(tmp_path / "a.zip"): "Is a zip file; unpack it first."}


def test_a_node_that_never_saw_dicom(scene: Any, server: Server) -> None:
    """Nodes in a list of their own are exported together, here one, with the options of its kind."""
    node = segmentation_node(scene, masks_of(1, ["one", "two"]), AFFINE)
    report = store(server, [[node]], export_options={"PatientID": "Made^Up"}, check="all")
    assert (len(report.checked), report.failed, report.warnings) == (1, {}, {})
    (found,) = web.search(server, "series", PatientID="Made^Up")
    assert found["Modality"] == "SEG"
