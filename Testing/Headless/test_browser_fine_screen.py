"""The window on a screen with twice as many pixels as points: nothing is cut off, blurred or half as large."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from standins import fine_screen, qt_modules

qt_modules.as_pythonqt([__name__])
HERE = Path(__file__).parent
FACTOR = 2


@pytest.fixture(scope="module")
def measures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process with that factor measured, and left in a folder."""
    folder = tmp_path_factory.mktemp("fine")
    keep = os.environ.get("DICOMBRIDGE_WINDOW_PICTURES")
    paths = [str(HERE), str(HERE.parents[1] / "DICOMPluginsExt"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "QT_SCALE_FACTOR": str(FACTOR),
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    command = [sys.executable, "-m", "standins.fine_screen", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    if keep:
        for picture in folder.glob("*.png"):
            picture.replace(Path(keep) / f"fine-{picture.name}")
    found: dict[str, Any] = json.loads((folder / "measures.json").read_text())
    return found


@pytest.mark.parametrize("name", ["window", "send", "dialog"])
def test_twice_the_pixels(measures: dict[str, Any], name: str) -> None:
    one = measures[name]
    assert one["ratio"] == FACTOR
    assert one["pixels"] == [FACTOR * points for points in one["points"]]
    assert one["cut_off"] == []
    assert len(one["icons"]) > 2
    assert [icon for icon in one["icons"] if icon[2] != FACTOR * icon[1]] == []


def test_pictures_of_series_are_as_fine_as_the_screen(measures: dict[str, Any]) -> None:
    preview = measures["preview"]
    assert preview["shown"] == [FACTOR * preview["label"], FACTOR]
    assert preview["asked"] == [512]  # the server is asked for enough, so that nothing is drawn larger than it came
    assert preview["asked"][0] >= preview["shown"][0]


def test_what_is_cut_off_is_found() -> None:
    """The test above could fail."""
    widgets = qt_modules.QtWidgets
    qt_modules.application()
    root = widgets.QWidget()
    label, button, combo = (
        widgets.QLabel("What is long", root),
        widgets.QPushButton("Search", root),
        widgets.QComboBox(root),
    )
    combo.addItem("Sign in in the browser")
    told = widgets.QPushButton("Send to the department", root)
    told.toolTip = "Send to the department"
    many = widgets.QLabel("Many words that need many lines", root)
    many.wordWrap = True
    for one in (label, button, combo, told):
        one.resize(20, 40)
    many.resize(40, 10)
    assert [line.split(" '")[0] for line in fine_screen.cut_off(root)] == [
        "QPushButton",
        "QLabel",
        "QLabel",
        "QComboBox",
    ]
    for one in (label, button, combo):
        one.resize(one.sizeHint)
    many.resize(40, 400)
    assert list(fine_screen.cut_off(root)) == []
