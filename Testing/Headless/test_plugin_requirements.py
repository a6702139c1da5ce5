"""What happens where pydicom or highdicom is missing or too old: a question at the first load or export."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest

from dicombridge.errors import DicomBridgeError
from DICOMBridgeLib import requirements
from DICOMBridgeLib.requirements import RequirementError


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Distribution name -> version of a Slicer without highdicom; tests change it."""
    versions = {"pydicom": "3.0.1"}

    def version(name: str) -> str:
        try:
            return versions[name]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.delitem(sys.modules, "highdicom", raising=False)
    monkeypatch.delitem(sys.modules, "slicer.packaging", raising=False)
    return versions


class Packaging(ModuleType):
    """``slicer.packaging`` of Slicer 5.12, with the answer that the user gives."""

    def __init__(self, installed: dict[str, str], answer: str) -> None:
        super().__init__("slicer.packaging")
        self.installed, self.answer, self.asked = installed, answer, []  # type: ignore[var-annotated]

    def pip_ensure(self, requirements: Any, constraints: Any = None, requester: str | None = None) -> None:
        self.asked.append((requirements, requester))
        if self.answer == "declined":
            raise RuntimeError("User declined")
        if self.answer == "agreed":
            self.installed["highdicom"] = "0.27.0"
        if self.answer == "offline":
            raise subprocess.CalledProcessError(1, "pip")


@pytest.fixture
def packaging(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes ``slicer.packaging`` answer."""
    import slicer

    def answering(answer: str) -> Packaging:
        module = Packaging(installed, answer)
        monkeypatch.setitem(sys.modules, "slicer.packaging", module)
        monkeypatch.setattr(slicer, "packaging", module, raising=False)
        return module

    return answering


def test_nothing_is_asked_where_all_is_there(installed: dict[str, str], packaging: Any) -> None:
    installed["highdicom"] = "0.30.1"  # what a newer Slicer brings is good enough
    module = packaging("agreed")
    requirements.ensure()
    assert module.asked == []


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"pydicom": "3.0.1", "highdicom": "0.27.0"}, []),
        ({"pydicom": "3.1.0.dev0", "highdicom": "1.0"}, []),
        ({"pydicom": "2.4.4", "highdicom": "0.27.0"}, ["pydicom>=3.0.1"]),
        ({"pydicom": "3.0.1", "highdicom": "0.9.0"}, ["highdicom>=0.27,<0.29"]),
        ({}, ["pydicom>=3.0.1", "highdicom>=0.27,<0.29"]),
    ],
)
def test_missing(installed: dict[str, str], versions: dict[str, str], expected: list[str]) -> None:
    installed.clear()
    installed.update(versions)
    assert requirements.missing() == expected


def test_the_same_as_in_the_wheel() -> None:
    """What pip installs for the wheel and what Slicer is asked to install do not drift apart."""
    tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    ours = {name + versions for name, versions in requirements.REQUIREMENTS.items()}
    assert ours <= set(project["dependencies"])


def test_agreed(installed: dict[str, str], packaging: Any) -> None:
    module = packaging("agreed")
    requirements.ensure()
    assert module.asked == [(["highdicom>=0.27,<0.29"], "DICOMBridge")]


@pytest.mark.parametrize("answer", ["declined", "offline", "testing"])
def test_not_installed(installed: dict[str, str], packaging: Any, answer: str) -> None:
    """Slicer under test installs nothing and says nothing; then ours says so."""
    packaging(answer)
    with pytest.raises(RequirementError, match=r"highdicom>=0\.27.*not installed") as caught:
        requirements.ensure()
    assert isinstance(caught.value, DicomBridgeError)


def test_replaced_while_in_use(installed: dict[str, str], packaging: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that was imported in its old version stays so until Slicer is restarted."""
    installed.update(pydicom="2.4.4", highdicom="0.27.0")
    module = packaging("agreed")
    monkeypatch.setattr(module, "pip_ensure", lambda *args, **kwargs: installed.update(pydicom="3.0.1"))
    monkeypatch.setitem(sys.modules, "pydicom", ModuleType("pydicom"))
    with pytest.raises(RequirementError, match="Restart Slicer"):
        requirements.ensure()


@pytest.mark.parametrize("agrees", [True, False])
def test_slicer_before_5_12(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, agrees: bool) -> None:
    import slicer

    monkeypatch.setattr(slicer, "packaging", None, raising=False)
    monkeypatch.delattr(slicer, "packaging")
    calls: list[str] = []

    def install(text: str) -> None:
        calls.append(text)
        installed["highdicom"] = "0.27.0"

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, windowTitle=None: agrees)
    monkeypatch.setattr(slicer.util, "pip_install", install)
    if agrees:
        requirements.ensure()
        assert calls == ["highdicom>=0.27,<0.29"]
    else:
        with pytest.raises(RequirementError, match="not installed"):
            requirements.ensure()
        assert calls == []
