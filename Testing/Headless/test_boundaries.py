"""The rules of the house that no single module can hold: what may know what, and what belongs together."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicombridge.kinds import KINDS, Kind

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "DICOMPluginsExt"
LIBRARY = PLUGINS / "dicombridge"
LIBRARY_FILES = sorted(LIBRARY.rglob("*.py"))

APPLICATION_MODULES = {"qt", "ctk", "DICOMLib", "DICOMBridgeLib"}
# MRML classes are slicer.vtk...; everything else of the package is the application or finds it by itself.
APPLICATION_PARTS = {"app", "dicomDatabase", "modules", "mrmlScene", "packaging", "util"}

LONGEST_FILE = 500
LONGER_FILES: dict[str, str] = {}  # path -> why it is longer


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def house_files() -> list[Path]:
    """The files that are, or are about to be, under version control."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def application_uses(tree: ast.AST) -> Iterator[str]:
    """What a file imports or takes from the running Slicer."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [f"{node.value.id}.{node.attr}"]
        else:
            continue
        for name in names:
            first, _, rest = name.partition(".")
            if first in APPLICATION_MODULES or (first == "slicer" and rest.partition(".")[0] in APPLICATION_PARTS):
                yield f"line {node.lineno}: {name}"


def flipped_axes(tree: ast.AST) -> Iterator[str]:
    """The usual ways to turn LPS into RAS: a diagonal matrix, a list that begins -1, -1, and [:2] times -1."""
    minus_one = ("-1", "-1.0")
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=function):
                flips = ast.unparse(function).rpartition(".")[2] == "diag"
            case ast.List(elts=[first, second, *_]) | ast.Tuple(elts=[first, second, *_]):
                flips = ast.unparse(first) in minus_one and ast.unparse(second) in minus_one
            case ast.AugAssign(op=ast.Mult(), value=value):
                flips = ast.unparse(value) in minus_one
            case _:
                flips = False
        if flips:
            yield ast.unparse(node)


@pytest.mark.parametrize("path", LIBRARY_FILES, ids=name_of)
def test_the_library_does_not_know_the_application(path: Path) -> None:
    assert list(application_uses(ast.parse(path.read_text()))) == []


def test_uses_of_the_application_are_found() -> None:
    bad = "import qt\nfrom slicer import app\nslicer.mrmlScene.Clear()"
    good = "import slicer, vtk\nslicer.vtkMRMLScene()\n# slicer.app"
    assert len(list(application_uses(ast.parse(bad)))) == 3
    assert list(application_uses(ast.parse(good))) == []


@pytest.mark.parametrize("path", [path for path in LIBRARY_FILES if path.name != "geometry.py"], ids=name_of)
def test_only_geometry_flips_axes(path: Path) -> None:
    assert list(flipped_axes(ast.parse(path.read_text()))) == []


def test_flips_are_found() -> None:
    assert len(list(flipped_axes(ast.parse("np.diag([-1, -1, 1, 1])\nx = (-1.0, -1.0, 1.0)\npoints[:2] *= -1")))) == 4
    assert list(flipped_axes(ast.parse((LIBRARY / "geometry.py").read_text()))) != []


@pytest.mark.parametrize("module", ["", ".errors", ".kinds", ".loadable"])
def test_import_is_light(module: str) -> None:
    """Slicer imports these when it starts: only the standard library and no more than a few of our files."""
    code = f"import sys, json, dicombridge{module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PLUGINS, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    heavy = {"numpy", "pydicom", "highdicom", "vtk", "vtkmodules", "slicer", "sqlite3", "dicomweb_client"}
    assert heavy.isdisjoint(name.partition(".")[0] for name in loaded)
    ours = {name for name in loaded if name.startswith("dicombridge")}
    assert ours <= {"dicombridge", "dicombridge.errors", "dicombridge.kinds", "dicombridge.loadable"}


def test_kinds_and_hooks_agree() -> None:
    hooks = {path.stem for path in PLUGINS.glob("*.py")}
    assert hooks == {hook for kind in KINDS for hook in (kind.hook, kind.export_hook) if hook}


def test_hooks_name_their_kind() -> None:
    """What a plugin exports is its kind; the kinds that it imports are those of the table."""
    for kind in KINDS:
        hook = kind.export_hook or kind.hook
        if hook and kind.exports:
            assert f'kindName = "{kind.name}"' in (PLUGINS / f"{hook}.py").read_text()


def test_kinds_and_rooms_agree() -> None:
    """A room is what has examine and load; the API, which calls the rooms, has them too."""
    rooms = set()
    for path in [*LIBRARY.glob("*.py"), *LIBRARY.glob("*/__init__.py")]:
        home = path.parent.name if path.name == "__init__.py" else path.stem
        tree = ast.parse(path.read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        names |= {alias.asname or alias.name for n in tree.body if isinstance(n, ast.ImportFrom) for alias in n.names}
        if {"examine", "load"} <= names:
            rooms.add(home)
    assert rooms - {"api"} == {kind.module for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_rooms_offer_what_the_table_says(kind: Kind) -> None:
    assert callable(kind.room.examine)
    assert callable(kind.room.load)
    assert hasattr(kind.room, "export") == kind.exports


def test_kinds_have_tests() -> None:
    for kind in KINDS:
        assert (ROOT / "Testing" / "Headless" / f"test_{kind.module}.py").is_file()
        for hook in (kind.hook, kind.export_hook):
            self_test = (hook or "").replace("Plugin", "SelfTest")
            assert not hook or (ROOT / "Testing" / "Slicer" / f"{self_test}.py").is_file()


def test_kinds_and_readme_agree() -> None:
    """The README has a table whose first column is the kind's name in backticks."""
    rows = re.findall(r"^\| `([A-Z]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(kind.name for kind in KINDS)


@pytest.mark.parametrize("cmake", [path for path in ROOT.glob("*/CMakeLists.txt") if path.parent.name != "Testing"])
def test_cmake_lists_and_files_agree(cmake: Path) -> None:
    text = cmake.read_text()
    for variable, is_script in (("MODULE_PYTHON_SCRIPTS", True), ("MODULE_PYTHON_RESOURCES", False)):
        (listed,) = re.findall(rf"set\({variable}\n(.*?)\)", text, re.DOTALL)
        files = [
            path.relative_to(cmake.parent).as_posix()
            for path in cmake.parent.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.name != "CMakeLists.txt"
        ]
        expected = sorted(name for name in files if name.endswith(".py") == is_script)
        assert listed.split() == expected, f"{variable} should be:\n  " + "\n  ".join(expected)


def test_no_path_of_one_machine() -> None:
    machine = re.compile(r"(?<![\w.:/$}-])(/(home|work|root|Users|tmp|mnt)/\w|[A-Z]:\\{1,2}Users)")
    found = []
    for path in house_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and DICOM files
        found += [f"{name_of(path)}: {line.strip()[:80]}" for line in text.splitlines() if machine.search(line)]
    assert found == []


def test_files_are_short() -> None:
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in house_files() if p.suffix == ".py"}
    assert {name for name, length in lengths.items() if length > LONGEST_FILE} == set(LONGER_FILES)
