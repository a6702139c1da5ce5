"""The window, the real worker and a real Orthanc: from an address to nodes in the scene, and back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from standins import qt_modules
from support.browser import Browser
from support.orthanc import Orthanc

from dicombridge.demo.phantom import PhantomStudy

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
Make = Callable[..., Browser]


@pytest.fixture
def archive(orthanc: Orthanc, phantom_study: PhantomStudy) -> Orthanc:
    """Orthanc with the CT of the phantom and a segmentation of it."""
    orthanc.add([*sorted(phantom_study.ct.directory.glob("*.dcm")), phantom_study.segmentations[0].file])
    return orthanc


@pytest.fixture
def seg(phantom_study: PhantomStudy) -> Any:
    """The header of the segmentation."""
    return pydicom.dcmread(phantom_study.segmentations[0].file, stop_before_pixels=True)


def opened(window: Browser, study: str) -> dict[str, Any]:
    """Search, open the study, return its series by their modality."""
    window.search("")
    window.open_study(study)
    return {item["Modality"]: uid for uid, item in window.session.results.series[study].items()}


def nodes(kind: str) -> list[Any]:
    import slicer

    found = slicer.mrmlScene.GetNodesByClass(kind)
    found.UnRegister(None)
    return [found.GetItemAsObject(index) for index in range(found.GetNumberOfItems())]


def test_from_an_address_to_nodes_and_back(
    browser: Make, with_plugins: Any, archive: Orthanc, seg: Any, tmp_path: Path
) -> None:
    window = browser(state=tmp_path / "state")
    # An address as somebody pastes it; the test finds the services below it.
    window.window.servers.add()
    dialog = window.window.servers._dialog
    assert dialog is not None
    dialog.url_edit.text = archive.rest
    dialog.test_button.click()
    window.wait(lambda: dialog._sent is not None and dialog._sent.ended, 60, "the doctor is through")
    assert dialog.url_edit.text == archive.url
    assert len(dialog.finding_labels) > 3
    window.picture("doctor", dialog.dialog)
    dialog.name_edit.text = "Orthanc"
    dialog.save_button.click()
    assert window.session.servers.current["name"] == "Orthanc"

    study = str(seg.StudyInstanceUID)
    series = opened(window, study)
    assert set(series) == {"CT", "SEG"}
    window.window.tree.select(study, series["CT"])
    window.wait(lambda: len(window.window.preview.frames) > 3, 60, "pictures of the CT")
    window.picture("preview")
    window.window.tree.select(study, series["SEG"])
    box = window.window.preview.reference_box
    window.wait(lambda: box.visible, 30, "what the segmentation refers to")
    assert "CT series" in box.text
    window.wait(lambda: window.window.preview.frames, 30, "a picture of the segmentation")
    window.picture("seg-picture")

    window.ui.loadButton.click()
    window.wait(lambda: window.ended(2), 60, "both are loaded")
    assert [job.error for job in window.session.jobs.jobs] == [{}, {}]
    (segmentation,) = nodes("vtkMRMLSegmentationNode")
    (volume,) = nodes("vtkMRMLScalarVolumeNode")
    assert segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole()) is volume
    assert all(job.is_verified for job in window.session.jobs.jobs)
    window.wait(lambda: window.window.tree.text(study, "here", series["CT"]) == "here", 60)
    assert box.visible is False  # the CT is here now
    window.picture("loaded")

    window.ui.sendSection.collapsed = False
    window.ui.findSection.collapsed = True
    send = window.window.send
    send.choose_source("scene")
    window.wait(lambda: send.tree.topLevelItemCount >= 2 and not send._pacer.is_running("fill"))
    rows = [send.tree.topLevelItem(index) for index in range(send.tree.topLevelItemCount)]
    role = qt_modules.QtCore.Qt.UserRole
    row = next(row for row in rows if row.data(0, role) in send.kind_combos)
    combo = send.kind_combos[row.data(0, role)]
    kinds = [combo.itemText(index) for index in range(combo.count)]
    assert "egmentation" in kinds[0]
    row.setCheckState(0, qt_modules.QtCore.Qt.Checked)
    window.picture("send")
    before = len(archive.instance_ids())
    send.send_button.click()
    window.wait(lambda: window.ended(3), 60, "it is sent")
    job = window.session.jobs.jobs[-1]
    assert (job.state, send.message.text) == ("done", "")
    assert len(archive.instance_ids()) == before + 1
    assert "1 of 1 stored" in send.outcome.summary.text
    window.wait(lambda: send.outcome.table.topLevelItemCount == 1)
    assert send.outcome.table.topLevelItem(0).text(1) == "stored"
    window.picture("sent")
    # The same as contours: another object of the same study.
    combo.currentIndex = next(index for index, kind in enumerate(kinds) if "RT" in kind)
    send.send_button.click()
    window.wait(lambda: window.ended(4), 60, "the contours are sent")
    assert window.session.jobs.jobs[-1].state == "done"
    sent = [pydicom.dcmread(path) for path in window_files(archive, tmp_path) if path.name]
    assert {str(one.StudyInstanceUID) for one in sent} == {study}
    assert sum(one.Modality == "SEG" for one in sent) == 2
    assert sum(one.Modality == "RTSTRUCT" for one in sent) == 1


def window_files(archive: Orthanc, folder: Path) -> list[Path]:
    """Return what Orthanc has now, as files."""
    target = folder / "now"
    target.mkdir()
    for name in archive.instance_ids():
        (target / f"{name}.dcm").write_bytes(archive.file_of(name))
    return sorted(target.iterdir())


def test_a_wrong_password(browser: Make, locked_orthanc: Orthanc, tmp_path: Path) -> None:
    window = browser(state=tmp_path / "state")
    server = {"url": locked_orthanc.url, "name": "Locked", "authentication": {"kind": "basic", "user": "anna"}}
    window.use(server)
    window.search("", 0)
    assert "password is missing" in window.window.message.text
    for word, text in (("wrong", True), ("s3cret-Pass", False)):
        window.window._ask_secrets(server, ["password"], window.window.find.search)
        dialog = window.window._dialogs[-1]
        dialog.edits["password"].text = word
        window.window.message.clear()
        dialog.ok_button.click()
        window.wait(lambda: not window.session.query.is_running, 30)
        assert bool(window.window.message.text) is text
    settings = Path(window.session.settings._settings.fileName())
    window.session.settings._settings.sync()
    assert "s3cret" not in settings.read_text()


def test_a_server_that_is_gone(browser: Make, tmp_path: Path) -> None:
    window = browser(state=tmp_path / "state")
    window.use({"url": "http://127.0.0.1:9/dicom-web", "name": "Gone"})
    with window.latency() as latency:
        window.ui.searchButton.click()
        window.wait(lambda: window.window.message.text, 60)
    assert "127.0.0.1:9" in window.window.message.text
    window.picture("gone")
    assert latency.longest < 0.5


def test_a_killed_worker_loses_nothing(browser: Make, archive: Orthanc, seg: Any, tmp_path: Path) -> None:
    window = browser(state=tmp_path / "state")
    window.use({"url": archive.url, "name": "Orthanc"})
    study = str(seg.StudyInstanceUID)
    series = opened(window, study)
    window.window.tree.select(study, series["CT"])
    window.ui.downloadButton.click()
    window.wait(lambda: window.session.jobs.jobs and window.session.jobs.jobs[0].kept, 30)
    os.kill(window.session.worker.pid, signal.SIGKILL)
    window.wait(window.ended, 60)
    (job,) = window.session.jobs.jobs
    assert job.state == "done"
    assert [notice[0] for notice in window.notices] == ["warning"]
    import slicer

    on_server = int(window.session.results.series[study][series["CT"]]["NumberOfSeriesRelatedInstances"])
    assert len(slicer.dicomDatabase.filesForSeries(series["CT"])) == on_server


def test_transfers_go_on_after_a_restart(browser: Make, archive: Orthanc, seg: Any, tmp_path: Path) -> None:
    window = browser(state=tmp_path / "state")
    window.use({"url": archive.url, "name": "Orthanc"})
    study = str(seg.StudyInstanceUID)
    series = opened(window, study)
    window.window.tree.select(study, series["CT"])
    window.ui.downloadButton.click()
    window.wait(lambda: window.session.jobs.jobs and window.session.jobs.jobs[0].kept, 30)
    is_done = window.ended()
    os.kill(window.session.worker.pid, signal.SIGKILL)
    window.close()
    assert not is_done
    again = browser(state=tmp_path / "state")
    again.wait(again.ended, 60, "what the earlier session began has ended")
    (job,) = again.session.jobs.jobs
    assert (job.state, job.series) == ("done", series["CT"])


def test_a_part_that_is_here_is_not_fetched_again(browser: Make, archive: Orthanc, seg: Any, tmp_path: Path) -> None:
    import slicer

    window = browser(state=tmp_path / "state")
    window.use({"url": archive.url, "name": "Orthanc"})
    study = str(seg.StudyInstanceUID)
    window.search("")
    here = []
    for name in archive.instance_ids():
        path = tmp_path / f"{name}.dcm"
        path.write_bytes(archive.file_of(name))
        if pydicom.dcmread(path, stop_before_pixels=True).Modality == "CT":
            here.append(path)
    slicer.dicomDatabase._add([str(path) for path in here[:50]])
    window.open_study(study)
    series = next(uid for uid, one in window.session.results.series[study].items() if one["Modality"] == "CT")
    window.wait(lambda: window.window.tree.text(study, "here", series) == "partly")
    window.window.tree.select(study, series)
    window.ui.downloadButton.click()
    window.wait(window.ended, 30)
    (job,) = window.session.jobs.jobs
    assert (job.state, job.note) == ("done", "50 objects were in the database already.")
    assert job.progress["instances"] == len(here) - 50
    assert len(slicer.dicomDatabase.filesForSeries(series)) == len(here)
    window.wait(lambda: window.window.tree.text(study, "here", series) == "here")


def test_cancelled_and_asked_for_again(
    browser: Make, orthanc: Orthanc, phantom_study: PhantomStudy, tmp_path: Path
) -> None:
    import slicer

    orthanc.add(sorted(phantom_study.ct.directory.parent.rglob("*.dcm")))
    window = browser(state=tmp_path / "state")
    window.use({"url": orthanc.url, "name": "Orthanc"})
    study = str(pydicom.dcmread(phantom_study.segmentations[0].file, stop_before_pixels=True).StudyInstanceUID)
    opened(window, study)
    window.window.tree.select(study)
    window.ui.downloadButton.click()
    jobs = window.session.jobs.jobs
    window.wait(lambda: len(jobs) == len(window.session.results.series[study]))
    for job in jobs:
        window.session.jobs.cancel(job)
    window.wait(lambda: window.ended(len(jobs)), 30)
    cancelled = [job for job in jobs if job.state == "cancelled"]
    assert len(cancelled) > len(jobs) // 2  # two run at once, so that most did not begin
    for job in cancelled:
        window.window.jobs.retry(job)
    window.wait(lambda: window.ended(len(jobs)), 60)
    assert {job.state for job in jobs} == {"done"}
    on_server = {
        uid: int(item["NumberOfSeriesRelatedInstances"]) for uid, item in window.session.results.series[study].items()
    }
    assert {uid: len(slicer.dicomDatabase.filesForSeries(uid)) for uid in on_server} == on_server
    # What is here is loaded without asking the server again.
    window.session.jobs.remove_ended()
    orthanc.stop()
    window.window.tree.select(study, next(uid for uid, item in on_server.items() if item == 60))
    window.ui.downloadButton.click()
    assert [job.note for job in window.session.jobs.jobs] == ["It was in the database already."]
