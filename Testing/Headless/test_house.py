"""The packages that the source tree becomes: a Slicer extension, a catalogue entry and a wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from dicombridge.kinds import KINDS

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "standins" / "cmake"
RAW_URL = "https://raw.githubusercontent.com/dicombridge/SlicerDICOMBridge/main/"
SCRIPTED_MODULES = "lib/Slicer-5.13/qt-scripted-modules"
MODULE_FOLDERS = [path.parent for path in sorted(ROOT.glob("*/CMakeLists.txt")) if path.parent.name != "Testing"]

HOOKS = sorted(path.stem for path in (ROOT / "DICOMPluginsExt").glob("*.py"))

# What Slicer does with a hook when it starts, with the few names of Slicer that a hook may touch then.
DISCOVERY = """
import json, sys, types
folder, name = sys.argv[1:]
sys.path.insert(0, folder)
slicer = sys.modules["slicer"] = types.ModuleType("slicer")
slicer.modules = types.SimpleNamespace()
library = sys.modules["DICOMLib"] = types.ModuleType("DICOMLib")
library.DICOMPlugin = type("DICOMPlugin", (), {})
library.DICOMLoadable = type("DICOMLoadable", (), {})
hook = __import__(name)
getattr(hook, name)(types.SimpleNamespace())
import dicombridge
print(json.dumps({
    "registered": list(slicer.modules.dicomPlugins),
    "files": [hook.__file__, dicombridge.__file__],
    "modules": sorted({module.partition(".")[0] for module in sys.modules}),
}))
"""


def run(*command: object, **options: Any) -> str:
    """Run a command, return what it printed; what it printed is shown if it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files_below(folder: Path) -> dict[str, Path]:
    """Relative path -> file, without what Python and CMake leave or need beside the sources."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.name != "CMakeLists.txt"
    }


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CMake tree, configured and built against the stand-in."""
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.fail("cmake and a C++ compiler (project() asks for one) are not installed")
    folder = tmp_path_factory.mktemp("build")
    run("cmake", "-S", ROOT, "-B", folder, f"-DSlicer_DIR={STAND_IN}", "-Wdev", "-Werror=dev")
    run("cmake", "--build", folder)
    return folder


@pytest.fixture(scope="module")
def installed(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Slicer scans for modules, in the installed tree."""
    folder = tmp_path_factory.mktemp("install")
    run("cmake", "--install", build, "--prefix", folder)
    return folder / SCRIPTED_MODULES


def test_every_file_is_installed_where_slicer_looks(installed: Path) -> None:
    sources = {name: path for folder in MODULE_FOLDERS for name, path in files_below(folder).items()}
    copies = files_below(installed)
    assert list(copies) == sorted(sources)
    assert "dicombridge/__init__.py" in copies
    assert [name for name, path in copies.items() if path.read_bytes() != sources[name].read_bytes()] == []


def test_top_level_files_are_modules(installed: Path) -> None:
    """Slicer takes every Python file in this folder for a module and wants a class of its name in it."""
    for path in installed.glob("*.py"):
        assert re.search(rf"^class {path.stem}\b", path.read_text(), re.MULTILINE), path.name
        assert not path.stem.endswith(("Test", "Tests")), f"{path.name}: Slicer skips such names"


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_are_cheap(installed: Path, hook: str) -> None:
    found = json.loads(run(sys.executable, "-c", DISCOVERY, installed, hook))
    assert found["registered"] == [hook], "the export dialog finds a plugin by the name of its file"
    assert all(Path(name).is_relative_to(installed) for name in found["files"])
    assert not {"numpy", "pydicom", "highdicom", "vtk", "vtkmodules"} & set(found["modules"])


def test_self_tests_are_registered(build: Path) -> None:
    scripts = sorted((ROOT / "Testing" / "Slicer").glob("*SelfTest.py"))
    listed = re.findall(r"Test +#\d+: (\S+)", run("ctest", "-N", cwd=build))
    assert sorted(listed) == [f"py_nomainwindow_{path.stem}" for path in scripts]
    assert {f"{path.stem}" for path in scripts} >= {hook.replace("Plugin", "SelfTest") for hook in HOOKS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NAME M SCRIPTS absent.py", "there is no file 'absent.py.py'"),
        ("NAME M SCRIPTS there.py RESOURCES sub", "there is no file 'sub'"),
        ("NAME M SCRIPTS there.py ICON icon.png", "there is no file 'ICON.py'"),
        ("SCRIPTS there", "NAME is mandatory"),
        ("UNKNOWN NAME M SCRIPTS there", "unknown keywords"),
    ],
)
def test_the_stand_in_refuses(text: str, message: str, tmp_path: Path) -> None:
    """Otherwise the tests above would pass on a tree that an extension build rejects."""
    if not shutil.which("cmake"):
        pytest.fail("cmake is not installed")
    (tmp_path / "sub").mkdir()
    (tmp_path / "there.py").touch()
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(P LANGUAGES NONE)\nfind_package(Slicer REQUIRED)\n"
        f"include(${{Slicer_USE_FILE}})\nslicerMacroBuildScriptedModule({text})\n"
    )
    command = ["cmake", "-S", str(tmp_path), "-B", str(tmp_path / "b"), f"-DSlicer_DIR={STAND_IN}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in " ".join(done.stderr.split())


def test_catalogue_entry() -> None:
    """Schema 1.0.2 of Slicer and the checks of the ExtensionsIndex, as far as they need no network."""
    (path,) = ROOT.glob("*.json")
    text = path.read_bytes()
    entry = json.loads(text)
    assert b"\r" not in text
    assert entry["$schema"].endswith("/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    required: dict[str, type] = {"$schema": str, "category": str, "scm_url": str}
    optional: dict[str, type] = {
        "build_dependencies": list,
        "build_subdirectory": str,
        "dicom_support_rule": str,
        "enabled": bool,
        "scm_revision": str,
        "scm_type": str,
        "tier": int,
    }
    fields = required | optional
    assert set(required) <= set(entry) <= set(fields)
    assert {key for key, value in entry.items() if type(value) is not fields[key]} == set()
    assert entry["category"] == "DICOM"
    assert 1 <= entry["tier"] <= 5
    repository = entry["scm_url"].rpartition("/")[2]
    assert entry["scm_url"].startswith("https://")
    assert repository == f"Slicer{path.stem}.git"
    assert not path.stem.startswith("Slicer")
    cmake = (ROOT / "CMakeLists.txt").read_text()
    assert re.findall(r"^project\((\w+)", cmake, re.MULTILINE) == [path.stem]


def test_support_rule_covers_the_kinds_with_a_hook() -> None:
    rule = json.loads((ROOT / "DICOMBridge.json").read_text())["dicom_support_rule"]
    # The rule engine's grammar is that of Python for what is used here: names, strings, ==, and, or, parentheses.
    assert re.fullmatch(r"(\w+ == '[\w.]+'| or | and |[()])+", rule)

    def holds(modality: str, sop_class: str) -> bool:
        return bool(eval(rule, {"__builtins__": {}}, {"Modality": modality, "SOPClassUID": sop_class}))

    for kind in KINDS:
        for uid in kind.sop_classes:
            assert holds("", uid) == (kind.hook is not None), (kind.name, uid)
    assert not holds("CT", "1.2.840.10008.5.1.4.1.1.2")


def test_pictures_of_the_catalogue_exist() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text()
    # The patterns are those with which the ExtensionsIndex reads the file.
    icon = re.findall(r'set\s*\(EXTENSION_ICONURL\s*"([^"]+)"[ ]*\)', cmake)
    screenshots = re.findall(r'set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)', cmake)[0].split()
    assert len(icon) == 1
    assert screenshots
    for url in icon + screenshots:
        assert url.startswith(RAW_URL)
        picture = (ROOT / url.removeprefix(RAW_URL)).read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n"), url
    header = (ROOT / icon[0].removeprefix(RAW_URL)).read_bytes()[16:24]
    assert struct.unpack(">II", header) == (128, 128)


def test_licence() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


def test_wheel(tmp_path: Path) -> None:
    """``pip install .`` gives the package and the command, and nothing else."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {f"dicombridge/{name}" for name in files_below(ROOT / "DICOMPluginsExt" / "dicombridge")}
    target = tmp_path / "target"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    home = run(sys.executable, "-c", "import dicombridge; print(dicombridge.__file__)", cwd=tmp_path, env=environment)
    assert Path(home.strip()).is_relative_to(target)
    assert "dicombridge" in run(target / "bin" / "dicombridge", "--help", cwd=tmp_path, env=environment)


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")
