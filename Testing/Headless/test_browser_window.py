"""The window of the DICOMweb browser, on a worker that does as it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standins import qt_modules
from support.browser import SERVER, Browser

pytest_plugins = ["standins.browser_fixtures"]
qt_modules.as_pythonqt([__name__])
Make = Callable[..., Browser]


def requests(log: Path, do: str) -> list[dict[str, Any]]:
    """Return the requests of a kind that the fake worker wrote down."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [one for one in map(json.loads, lines) if one["do"] == do]


def test_an_empty_window_says_what_to_do(browser: Make) -> None:
    window = browser({})
    window.wait(lambda: window.ui.serverComboBox.count == 1)  # the one preset that is complete
    assert window.ui.serverComboBox.currentIndex == -1  # nobody is sent to a public server by mistake
    assert "Choose a server" in window.ui.emptyLabel.text
    assert not window.ui.loadButton.enabled
    window.picture("empty")
    window.use()
    assert "Press Search to list the studies of Clinic" in window.ui.emptyLabel.text


def test_search_and_series(browser: Make) -> None:
    window = browser({"studies": 3})
    window.use()
    window.search("", 3)
    assert window.ui.countLabel.text == "3 studies"
    assert window.window.tree.text("1.2.826.0", "name") == "Person000000, Given"
    assert window.window.tree.text("1.2.826.0", "date") == "2000-01-15"
    series = window.open_study("1.2.826.1")
    assert len(series) == 4
    window.wait(lambda: window.window.tree.select("1.2.826.1", series[0]))
    assert window.window.tree.text("1.2.826.1", "name", series[0]) == "1  Part 1"
    assert window.ui.loadButton.enabled
    window.wait(lambda: len(window.window.preview.frames) == 9, what="the pictures")
    assert "10 objects" in window.window.preview.facts.text
    preview = window.window.preview
    core = qt_modules.QtCore
    assert preview.slider.value == 4  # the middle
    qt_modules.application().sendEvent(preview.picture, core.QEvent(core.QEvent.Enter))
    window.wait(lambda: preview.slider.value == 6, what="it plays")
    qt_modules.application().sendEvent(preview.picture, core.QEvent(core.QEvent.Leave))
    assert not preview._is_playing
    preview.slider.value = 4
    window.picture("series")


def test_what_the_fields_ask_for(browser: Make, tmp_path: Path) -> None:
    window = browser({"log": str(tmp_path / "log")})
    window.use()
    ui = window.ui
    ui.searchEdit.text = "doe, jane"
    assert ui.meaningLabel.text == "Looks for patient name doe*^jane*"
    window.window.find.modality_buttons["RT"].click()
    ui.descriptionEdit.text = "thorax"
    ui.dateComboBox.currentIndex = 6
    ui.fromDateEdit.date, ui.toDateEdit.date = qt_modules.QtCore.QDate(2026, 1, 2), qt_modules.QtCore.QDate(2026, 1, 31)
    ui.searchButton.click()
    window.wait(lambda: not window.session.query.is_running)
    (asked,) = requests(tmp_path / "log", "search")
    assert asked["filters"] == {
        "PatientName": "doe*^jane*",
        "StudyDate": "20260102-20260131",
        "StudyDescription": "*thorax*",
        "ModalitiesInStudy": ["RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE"],
    }
    assert (asked["server"], asked["limit"], asked["offset"]) == (SERVER, 200, 0)


def test_readings_are_tried_one_after_the_other(browser: Make, tmp_path: Path) -> None:
    window = browser({"log": str(tmp_path / "log"), "studies": 0})
    window.use()
    window.search("4711", 0)
    assert [one["filters"] for one in requests(tmp_path / "log", "search")] == [
        {"PatientID": "4711"},
        {"AccessionNumber": "4711"},
    ]
    assert "Nothing found" in window.ui.emptyLabel.text


def test_long_names_do_not_widen_the_panel(browser: Make) -> None:
    window = browser({})
    window.ui.sendSection.collapsed = False
    window.use()
    window.settle(0.1)
    before = window.widget.root.minimumSizeHint.width()
    name = "The archive of the department of radiology and nuclear medicine, second floor"
    window.use({**SERVER, "name": name})
    window.settle(0.1)
    button = window.window.send.send_button
    assert button.text.startswith("Send to The archive")
    assert name in button.toolTip
    assert window.widget.root.minimumSizeHint.width() <= max(before, 440)


def test_pages(browser: Make) -> None:
    window = browser({"studies": 450})
    window.use()
    window.search("", 200)
    assert window.ui.countLabel.text == "200 studies, and there are more"
    window.ui.moreButton.click()
    window.wait(lambda: len(window.session.results.studies) == 400)
    window.wait(lambda: not window.session.query.is_running)
    window.ui.allButton.click()
    window.wait(lambda: not window.session.query.is_running and len(window.session.results.studies) == 450)
    assert window.ui.countLabel.text == "450 studies"
    assert not window.ui.moreButton.visible


def test_sorting_holds_for_all_studies(browser: Make) -> None:
    window = browser({"studies": 1000})
    window.use()
    window.search("")
    window.ui.allButton.click()
    window.wait(lambda: not window.session.query.is_running)
    window.window.tree.sort_by(0, True)
    window.wait(lambda: not window.window.tree.is_busy)
    results = window.session.results
    names = [results.studies[uid]["PatientName"] for uid in results.order]
    assert names == sorted(names, reverse=True)
    first = window.ui.resultsTree.topLevelItem(0).text(0)
    assert first == max(names).replace("^", ", ")
    assert window.window.tree.made == 300  # rows are made for what is looked at
    bar = window.ui.resultsTree.verticalScrollBar()
    bar.value = bar.maximum
    window.wait(lambda: window.window.tree.made == 600)


def test_columns_are_remembered(browser: Make) -> None:
    window = browser({})
    window.ui.resultsTree.setColumnWidth(1, 333)
    menu = window.window.tree.column_menu()
    entry = next(entry for entry in menu.actions() if entry.text == "Accession")
    assert not entry.checked
    entry.trigger()
    window.close()
    again = browser({})
    assert again.ui.resultsTree.columnWidth(1) == 333
    titles = [again.ui.resultsTree.headerItem().text(index) for index in range(again.ui.resultsTree.columnCount)]
    assert not again.ui.resultsTree.isColumnHidden(titles.index("Accession"))


def test_a_password_is_asked_for(browser: Make) -> None:
    window = browser({"needs": "password"})
    window.use()
    window.search("", 0)
    assert window.window.message.text == "The password is missing."
    window.picture("password")
    for word, count in (("wrong", 0), ("right", 3)):
        if word == "wrong":
            window.window.message.click("Sign in...")
        else:
            window.window._ask_secrets(SERVER, ["password"], window.window.find.search)
        dialog = window.window._dialogs[-1]
        dialog.edits["password"].text = word
        dialog.ok_button.click()
        window.wait(lambda: not window.session.query.is_running)
        assert len(window.session.results.studies) == count
    assert window.window.message.text in ("", "The password was refused.")
    assert "right" not in Path(window.session.settings._settings.fileName()).read_text()


def test_references_come_along(browser: Make, tmp_path: Path) -> None:
    study = "1.2.826.0"
    references = [{"study": study, "series": f"{study}.1", "instances": 10, "what": "images"}]
    window = browser({"references": references, "log": str(tmp_path / "log")})
    window.use()
    window.search("")
    series = window.open_study(study)
    window.wait(lambda: window.window.tree.select(study, series[3]))
    box = window.window.preview.reference_box
    window.wait(lambda: box.visible)
    assert box.text == "Get CT series 1 too, which this SEG needs"
    window.picture("references")
    window.ui.downloadButton.click()
    window.wait(lambda: window.ended(2))
    assert [one["series"] for one in requests(tmp_path / "log", "retrieve")] == [series[0], series[3]]
    assert [job.state for job in window.session.jobs.jobs] == ["done", "done"]
    assert window.ui.jobsSection.collapsed is False


def test_reloading_the_module_loses_nothing(browser: Make) -> None:
    window = browser({"studies": 5, "pause": 0.2, "instances": 200})
    window.use()
    window.search("doe", 5)
    window.window.find.modality_buttons["CT"].click()
    series = window.open_study("1.2.826.1")
    window.wait(lambda: window.window.tree.select("1.2.826.1", series[0]))
    window.ui.downloadButton.click()
    window.wait(lambda: any(job.state == "running" for job in window.session.jobs.jobs))
    window.reload()
    assert window.ui.searchEdit.text == "doe"
    assert window.window.find.modalities == ["CT"]
    window.wait(lambda: window.window.tree.made == 5)
    assert len(window.window.jobs.rows) == 1
    window.wait(window.ended)
    assert window.session.jobs.jobs[0].state == "done"


def test_pause_cancel_and_retry(browser: Make) -> None:
    window = browser({"instances": 400, "pause": 0.05})
    window.use()
    window.search("")
    series = window.open_study("1.2.826.0")
    window.wait(lambda: window.window.tree.select("1.2.826.0", series[0]))
    window.ui.loadButton.click()
    (job,) = window.session.jobs.jobs
    row = window.window.jobs.rows[job.number]
    window.wait(lambda: job.state == "running" and row.pause.visible)
    row.pause.click()
    window.wait(lambda: job.state == "paused" and row._state == "paused")
    assert row.pause.toolTip == "Go on"
    window.picture("paused")
    row.pause.click()
    window.wait(lambda: job.state == "running")
    row.cancel.click()
    window.wait(lambda: job.state == "cancelled" and row.retry.visible)
    row.retry.click()
    window.wait(lambda: job.has_ended)
    # What the fake worker brings are names without files, so that nothing can be loaded; the reason is told.
    assert job.state == "failed"
    window.wait(lambda: "cannot be loaded" in row.text.text or "No plugin" in row.text.text)


@pytest.mark.parametrize("command", ["search", "retrieve"])
def test_a_dying_worker_is_started_again(browser: Make, tmp_path: Path, command: str) -> None:
    window = browser({"die": [command], "died": str(tmp_path / "died")})
    window.use()
    if command == "search":
        window.ui.searchButton.click()
        window.wait(lambda: window.window.message.text)
        window.wait(lambda: window.session.worker.is_running)
        window.search("", 3)
    else:
        window.search("")
        series = window.open_study("1.2.826.0")
        window.wait(lambda: window.window.tree.select("1.2.826.0", series[0]))
        window.ui.downloadButton.click()
        window.wait(window.ended)  # resumed without anybody doing anything
        assert window.session.jobs.jobs[0].state == "done"
    assert [notice[0] for notice in window.notices] == ["warning"]  # told once


def test_a_worker_that_cannot_run_is_told(browser: Make) -> None:
    window = browser({})
    window.session.worker.close()
    window.session.worker._program = "no-such-program"
    window.session.worker.ask("ping")
    window.wait(lambda: any(kind == "error" for kind, *_ in window.notices), 30)
    assert "cannot be kept running" in window.window.message.text


def test_a_hanging_server_can_be_stopped(browser: Make) -> None:
    window = browser({"hang": ["search"]})
    window.use()
    window.ui.searchButton.click()
    window.wait(lambda: window.ui.searchButton.text == "Stop")
    assert "Asking Clinic" in window.ui.emptyLabel.text
    window.ui.searchButton.click()
    assert window.ui.searchButton.text == "Search"


def test_tags_without_download(browser: Make) -> None:
    window = browser({})
    window.use()
    window.search("")
    series = window.open_study("1.2.826.0")
    window.wait(lambda: window.window.tree.select("1.2.826.0", series[0]))
    window.ui.tagsButton.click()
    (dialog,) = window.window._dialogs
    window.wait(lambda: dialog.count.text == "201 attributes")
    dialog.search.text = "doe"
    window.wait(lambda: dialog.count.text == "1 attribute")
    window.picture("tags", dialog.dialog)
    dialog.dialog.close()
