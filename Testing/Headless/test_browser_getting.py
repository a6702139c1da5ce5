"""What is asked of the server, and what is not: parts that are here, wishes that meet each other, signing in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standins import qt_modules
from support.browser import SERVER, Browser
from support.folders import write_ct

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
Make = Callable[..., Browser]
STUDY = "1.2.826.0"


def asked(log: Path, do: str) -> list[dict[str, Any]]:
    return [one for line in log.read_text().splitlines() if (one := json.loads(line))["do"] == do]


def series_of_eight(folder: Path) -> tuple[str, str, list[str]]:
    """Write a series of eight; return the UIDs of its study, of the series and of its instances."""
    import pydicom

    for number in range(8):
        write_ct(folder / f"{number}.dcm", InstanceNumber=number + 1)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())]
    first = headers[0]
    return str(first.StudyInstanceUID), str(first.SeriesInstanceUID), [str(one.SOPInstanceUID) for one in headers]


@pytest.mark.parametrize("there", [3, 8])
def test_only_what_the_database_lacks_is_fetched(browser: Make, tmp_path: Path, there: int) -> None:
    import shutil

    import slicer

    study, series, uids = series_of_eight(tmp_path / "server")
    here = tmp_path / "here"
    here.mkdir()
    for number in range(there):
        shutil.copy(tmp_path / "server" / f"{number}.dcm", here)
    slicer.dicomDatabase._index(here)
    window = browser({"sources": [str(tmp_path / "server")], "log": str(tmp_path / "log")})
    window.use()
    window.session.retrieving.get([(study, series)], "download", window.session.servers.current)
    window.wait(window.ended)
    (job,) = window.session.jobs.jobs
    assert job.state == "done"
    assert len(slicer.dicomDatabase.instancesForSeries(series)) == 8
    if there == 8:
        assert asked(tmp_path / "log", "retrieve") == []
        assert job.note == "It was in the database already."
    else:
        (sent,) = asked(tmp_path / "log", "retrieve")
        assert sorted(sent["instances"]) == sorted(uids[there:])
        assert job.note == "3 objects were in the database already."
        row = window.window.jobs.rows[job.number]
        window.wait(lambda: job.note in row.text.text)


@pytest.mark.parametrize("fault", ["fail", "die"])
def test_a_server_that_lists_no_instances_gives_the_whole_series(browser: Make, tmp_path: Path, fault: str) -> None:
    import slicer

    study, series, _uids = series_of_eight(tmp_path / "server")
    slicer.dicomDatabase._add([str(tmp_path / "server" / "0.dcm")])
    options: dict[str, Any] = {"sources": [str(tmp_path / "server")], "log": str(tmp_path / "log")}
    if fault == "fail":
        options["fail"] = {"search": {"kind": "RefusedError", "message": "Not here."}}
    else:
        options |= {"die": ["search"], "died": str(tmp_path / "died")}
    window = browser(options)
    window.use()
    window.session.retrieving.get([(study, series)], "download", window.session.servers.current)
    window.wait(window.ended)
    (sent,) = asked(tmp_path / "log", "retrieve")
    assert sent["instances"] is None if fault == "fail" else len(sent["instances"]) == 7
    assert window.session.jobs.jobs[0].state == "done"


def test_looking_for_what_is_missing_can_be_cancelled(browser: Make, tmp_path: Path) -> None:
    import slicer

    study, series, _uids = series_of_eight(tmp_path / "server")
    slicer.dicomDatabase._add([str(tmp_path / "server" / "0.dcm")])
    window = browser({"hang": ["search"], "log": str(tmp_path / "log")})
    window.use()
    window.session.retrieving.get([(study, series)], "download", window.session.servers.current)
    (job,) = window.session.jobs.jobs
    window.settle(0.3)
    window.window.jobs.rows[job.number].cancel.click()
    window.wait(lambda: job.state == "cancelled")
    assert asked(tmp_path / "log", "retrieve") == []


def test_what_is_being_downloaded_can_still_be_loaded(browser: Make) -> None:
    window = browser({"instances": 200, "pause": 0.1})
    window.use()
    window.search("")
    series = window.open_study(STUDY)
    window.wait(lambda: window.window.tree.select(STUDY, series[0]))
    window.ui.downloadButton.click()
    (job,) = window.session.jobs.jobs
    window.wait(lambda: job.state == "running")
    window.ui.loadButton.click()
    assert [one.group.action for one in window.session.jobs.jobs] == ["load"]
    assert window.session.settings.value("Wishes", {}) == {job.kept: "load"}
    window.wait(window.ended)
    # What the fake worker brings are names without files: that it was tried is told.
    assert job.error["kind"] == "LoadError"


def test_another_search_does_not_lose_a_wish(browser: Make, tmp_path: Path) -> None:
    window = browser({"log": str(tmp_path / "log"), "delay": 0.2})
    window.use()
    window.search("")
    window.window.tree.select(STUDY)
    window.ui.downloadButton.click()  # its series are not known yet
    window.ui.searchButton.click()
    window.wait(lambda: window.ended(4))
    assert {one["study"] for one in asked(tmp_path / "log", "retrieve")} == {STUDY}


@pytest.mark.parametrize("command", ["search", "tags"])
def test_signing_in_is_shown_whatever_asks_for_it(browser: Make, command: str) -> None:
    window = browser({"sign_in": [command]})
    window.use()
    window.ui.searchButton.click()
    if command == "tags":
        window.wait(lambda: not window.session.query.is_running and window.window.tree.is_made(STUDY))
        series = window.open_study(STUDY)
        window.wait(lambda: window.window.tree.select(STUDY, series[0]))
        window.window.show_tags()
    window.wait(lambda: "https://login.invalid" in window.window.message.text)
    assert "ABCD-EFGH" in window.window.message.text
    window.wait(lambda: window.window.message.text == "", what="it goes when somebody signed in")
    assert window.window.message._buttons[0].text == "Open the browser"


def test_what_was_wrong_is_not_said_for_longer_than_it_is(browser: Make) -> None:
    window = browser({"needs": "password"})
    window.use()
    window.search("", 0)
    assert "password" in window.window.message.text
    window.session.give_secret(SERVER, "password", "right")
    window.search("", 3)
    assert window.window.message.text == ""


def test_a_secret_is_given_again_when_the_worker_was_started_again(browser: Make, tmp_path: Path) -> None:
    options = {"needs": "password", "die": ["retrieve"], "died": str(tmp_path / "died"), "log": str(tmp_path / "log")}
    window = browser(options)
    window.use()
    window.session.give_secret(SERVER, "password", "wrong")
    window.session.give_secret(SERVER, "password", "right")
    window.session.retrieving.get([(STUDY, f"{STUDY}.1")], "download", SERVER)
    window.wait(window.ended)
    (job,) = window.session.jobs.jobs
    assert (job.state, job.error) == ("done", {})
    assert [one["keep"] for one in asked(tmp_path / "log", "secret")] == [False] * 3
    assert "right" not in repr(vars(window.session)) + window.session.worker.log


def test_signing_in_goes_on_with_all_that_waited_for_it(browser: Make) -> None:
    window = browser({"needs": "password"})
    window.use()
    for server in (SERVER, {"url": "http://other.invalid", "name": "Other"}, SERVER):
        number = len(window.session.jobs.jobs) + 1
        window.session.retrieving.get([(STUDY, f"{STUDY}.{number}")], "download", server)
    window.wait(lambda: window.ended(3))
    mine, other, last = window.session.jobs.jobs
    window.window._job_failed(last)  # whichever came last in the fake worker's threads
    window.window.message.click("Sign in...")
    dialog = window.window._dialogs[-1]
    dialog.edits["password"].text = "right"
    dialog.ok_button.click()
    window.wait(window.ended)
    assert [job.state for job in (mine, other, last)] == ["done", "failed", "done"]


def test_a_keychain_that_keeps_nothing_is_told(browser: Make) -> None:
    window = browser({"fail": {"secret": {"kind": "DicomBridgeError", "message": "There is no keychain."}}})
    window.session.give_secret(SERVER, "password", "right", True)
    window.wait(lambda: window.window.message.text == "There is no keychain.")


def test_secrets_do_not_stay_in_a_closed_dialog(browser: Make) -> None:
    window = browser({})
    window.window.servers.add()
    dialog = window.window.servers._dialog
    assert dialog is not None
    from dicombridge.web.authentication import WAYS

    dialog.authentication.combo.currentIndex = list(WAYS).index("basic")
    dialog.url_edit.text = "https://pacs.example.org"
    edit = dialog.authentication.secret_edits["password"]
    edit.text = "s3cret"
    dialog.dialog.reject()
    assert edit.text == ""


@pytest.mark.parametrize("pictures", [True, False])
def test_a_segmentation_has_a_picture_where_there_is_one(browser: Make, tmp_path: Path, pictures: bool) -> None:
    window = browser({"without_pictures": not pictures, "log": str(tmp_path / "log")})
    window.use()
    window.search("")
    series = window.open_study(STUDY)
    preview = window.window.preview
    for count, (number, word) in enumerate(((3, "SEG"), (0, "no picture")), 1):
        window.wait(lambda number=number: window.window.tree.select(STUDY, series[number]))
        window.wait(lambda count=count: len(asked(tmp_path / "log", "thumbnails")) == count)
        window.wait(lambda word=word: len(preview.frames) == 9 if pictures else preview.picture.text == word)
    before = len(asked(tmp_path / "log", "thumbnails"))
    window.window.tree.select(STUDY, series[3])  # that there is none is remembered, too
    window.settle(0.5)
    assert len(asked(tmp_path / "log", "thumbnails")) == before == 2


@pytest.mark.parametrize(("path", "is_asked"), [("mine/dicom-web/", False), ("other/dicom-web", True)])
def test_a_dropped_link_is_followed_unasked_only_to_a_server_of_the_list(
    browser: Make, monkeypatch: pytest.MonkeyPatch, path: str, is_asked: bool
) -> None:
    from DICOMwebBrowserLib import following, links

    window = browser({})
    window.use({"url": "https://stores.example/mine/dicom-web", "name": "Mine"})
    shown: list[Any] = []
    monkeypatch.setattr(following, "ask", lambda session, link: shown.append(link))
    link = links.parse(f"slicer://dicomweb?server=https://stores.example/{path}&study={STUDY}&series={STUDY}.1")
    assert link is not None
    following.follow_dropped(window.session, [link])
    assert shown == ([link] if is_asked else [])
    assert len(window.session.jobs.jobs) == (0 if is_asked else 1)


def test_another_search_does_not_lose_what_a_link_is_to_load(browser: Make, tmp_path: Path) -> None:
    from DICOMwebBrowserLib import following, links

    window = browser({"log": str(tmp_path / "log"), "delay": 0.2})
    window.use()
    link = links.parse(f"slicer://dicomweb?server=https://other.example/rs&study={STUDY}")
    assert link is not None
    following.follow(window.session, link, "load")
    window.ui.searchButton.click()
    window.wait(lambda: window.ended(4))
    assert {one["study"] for one in asked(tmp_path / "log", "retrieve")} == {STUDY}


def test_a_study_that_cannot_be_listed_does_not_hold_back_the_others(
    browser: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = browser({})
    window.use()
    ask, failing = window.session.worker.ask, ["1.2.826.1", "1.2.826.2"]

    def asking(do: str, on: Any = None, **arguments: Any) -> Any:
        if arguments.get("study") in failing:
            return on["failed"]({"error": {"kind": "RefusedError", "message": "Not this one."}})
        return ask(do, on, **arguments)

    monkeypatch.setattr(window.session.worker, "ask", asking)
    studies = [STUDY, *failing]
    window.session.retrieving.get([(study, "") for study in studies], "download", window.session.servers.current)
    window.wait(lambda: window.ended(4))
    assert {job.arguments["study"] for job in window.session.jobs.jobs} == {STUDY}
    assert window.window.message.text == "Not this one."
    failing.clear()
    window.window.message.click("Try again")
    window.wait(lambda: window.ended(12))
    assert {job.arguments["study"] for job in window.session.jobs.jobs} == set(studies)
