"""Load damaged files in a process of its own, whose address space is limited, and say what became of each.

Run as ``python -m support.damage_child LIST``; the list is JSON: ``kind``, ``files``, and ``sources``, a folder with
what the object refers to. One line of JSON a file is written to the standard output; see :class:`Outcome`.
"""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dicombridge
from dicombridge.kinds import kind_named
from dicombridge.scene import new_scene

ADDRESS_SPACE = 4 << 30
"""Bytes; the modules of VTK, MRML and numpy take about 1 GiB of it."""
SCENE_HOLDS = 20
"""Objects that are loaded into a scene before it is exchanged; failures come upon an empty and upon a full one."""
LONGEST = 30.0
"""Seconds after which a file has hung the process, which then says where and ends."""


@dataclass
class Outcome:
    """What became of a file.

    Attributes
    ----------
    file
        Its path.
    examined, loaded
        ``"ok"``, or the class of the error.
    message
        Of the error of loading.
    ours
        Every error was one of dicombridge, and loading's names the file and a reason.
    changed
        What a failed load left behind in the scene or in the file's folder, in words.
    seconds
        Of the processor, for both.
    memory
        Bytes: the highest resident size of the process so far.
    """

    file: str
    examined: str = "ok"
    loaded: str = "ok"
    message: str = ""
    ours: bool = True
    changed: str = ""
    seconds: float = 0.0
    memory: int = 0


def scene_state(scene: Any) -> list[str]:
    """Return all nodes and subject hierarchy items of a scene, as text."""
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    state = [f"{node.GetID()} {node.GetName()}" for node in nodes]
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    if hierarchy is not None:
        items: list[int] = []
        hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
        state.extend(f"item {item} {hierarchy.GetItemName(item)} in {hierarchy.GetItemParent(item)}" for item in items)
    return state


def folder_state(folder: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time of change of all files below a folder."""
    found = [(path, path.stat()) for path in sorted(folder.rglob("*"))]
    return [(str(path), status.st_size, status.st_mtime_ns) for path, status in found]


def inhabited_scene() -> Any:
    """Return a scene with a patient, a study and a volume, which nobody may touch."""
    import slicer

    scene = new_scene()
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "a bystander")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "a patient")
    study = hierarchy.CreateStudyItem(patient, "a study")
    hierarchy.CreateItem(study, volume)
    return scene


def examine(kind: str, file: str, sources: Any) -> None:
    """Open a file as a database, which may fail, and examine it, which may not."""
    kind_named(kind).room.examine([file], sources)  # an application's database knew the file when it was whole
    try:
        own = dicombridge.open_folder(file)
    except dicombridge.DicomBridgeError:
        return
    try:
        dicombridge.examine(own)
        kind_named(kind).room.examine([file], own)
    finally:
        own.close()


def outcome_of(kind: str, file: str, scene: Any, sources: Any, by_path: bool) -> Outcome:
    """Examine and load one file: as a loadable, as an application would, or by its path, as a script would."""
    outcome = Outcome(file)
    began = time.process_time()  # of this process alone: others may be busy
    before = scene_state(scene)
    try:
        examine(kind, file, sources)
    except Exception as error:
        outcome.examined, outcome.ours, outcome.message = type(error).__name__, False, f"examine: {error}"
    try:
        what = file if by_path else dicombridge.Loadable(files=[file], name="damaged", kind=kind)
        dicombridge.load(what, scene=scene, database=sources)
    except dicombridge.DicomBridgeError as error:
        outcome.loaded, outcome.message = type(error).__name__, str(error)
        outcome.ours = outcome.ours and Path(file).name in str(error) and len(str(error)) > len(file) + 5
    except Exception as error:
        outcome.loaded, outcome.ours, outcome.message = type(error).__name__, False, _where(error)
    outcome.seconds = time.process_time() - began
    outcome.memory = _peak()
    if outcome.loaded != "ok" and (after := scene_state(scene)) != before:
        outcome.changed = f"scene: {sorted(set(before) ^ set(after))}"
    return outcome


def _peak() -> int:
    """Return the peak resident bytes of this process; on Linux, ru_maxrss would begin with those of the parent."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _where(error: BaseException) -> str:
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-4:]
    return f"{error} at " + " < ".join(f"{Path(line.filename).name}:{line.lineno}" for line in reversed(last))


def run(kind: str, files: list[str], sources: Any, tell: Callable[[Outcome], object]) -> None:
    """Examine and load every file and tell what became of it."""
    loaded = SCENE_HOLDS
    for number, file in enumerate(files):
        if loaded >= SCENE_HOLDS:
            scene, loaded = inhabited_scene(), 0
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        outcome = outcome_of(kind, file, scene, sources, by_path=number % 3 == 0)
        loaded += outcome.loaded == "ok"
        tell(outcome)
    faulthandler.cancel_dump_traceback_later()


def main() -> None:
    """Run with the list that the command line names."""
    job = json.loads(Path(sys.argv[1]).read_text())
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    warnings.simplefilter("error")
    sources = dicombridge.open_folder(job["sources"])
    run(job["kind"], job["files"], sources, lambda outcome: print(json.dumps(asdict(outcome)), flush=True))


if __name__ == "__main__":
    main()
