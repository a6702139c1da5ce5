"""What several commands need: quiet libraries, progress, finding things, files that appear complete or not at all."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dicombridge.cli.tables import plain
from dicombridge.errors import DicomBridgeError, UnreadableError
from dicombridge.progress import Progress

__all__ = [
    "add_export_arguments",
    "choose",
    "default_progress",
    "export_options",
    "find_node",
    "load_all",
    "load_options",
    "open_path",
    "open_paths",
    "quiet",
    "read_scene",
    "save_scene",
    "settings",
    "tell_warnings",
    "use_quiet_vtk",
]

LINK = "dicomweb:"
"""What begins the name of objects on a server; ``dicombridge.web.opening``."""

_state = {"debug": False}


def quiet(debug: bool) -> None:
    """Keep other libraries' remarks off stderr, so that what stands there is ours; ``--debug`` shows all."""
    _state["debug"] = debug
    if debug:
        logging.basicConfig(level=logging.INFO)
        return
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    logging.getLogger("highdicom").setLevel(logging.CRITICAL)
    ours = logging.getLogger("dicombridge")
    ours.propagate = False
    ours.setLevel(logging.WARNING)
    ours.handlers = [_OneLineHandler()]


class _OneLineHandler(logging.Handler):
    """Prints each warning of the library once, in one line: examination and loading may find the same thing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = plain(record.getMessage())
        reason = line.partition(": ")[2] or line
        if reason not in self._told:
            self._told.add(reason)
            print(f"dicombridge: warning: {line}", file=sys.stderr)


def use_quiet_vtk() -> None:
    """Silence VTK; called by commands that use MRML, because importing VTK takes its time."""
    if _state["debug"]:
        return
    from vtkmodules.vtkCommonCore import vtkLogger, vtkObject  # all of VTK would cost every command half a second

    vtkObject.GlobalWarningDisplayOff()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)


def default_progress() -> Progress | None:
    """Return a function that shows progress in one line of the terminal; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        return None

    def show(fraction: float, message: str) -> None:
        line = f"{fraction:4.0%} {message}"[: shutil.get_terminal_size().columns - 1]
        end = "" if fraction < 1 else "\r\033[K"
        print(f"\r\033[K{line}", end=end, file=sys.stderr, flush=True)

    return show


# Finding ----------------------------------------------------------------------------------------------------------


def open_path(path: str) -> Any:
    """Return a file or folder as a database."""
    import dicombridge

    if not Path(path).exists():
        raise UnreadableError(path, "there is no such file or folder.")
    return dicombridge.open_folder(path, progress=default_progress())


def open_paths(paths: Sequence[str]) -> Any:
    """Return one database for several files and folders, so that what is in one finds its references in another."""
    from dicombridge.database import open_files

    links = [path for path in paths if path.startswith(LINK)]
    paths = [path for path in paths if not path.startswith(LINK)]
    for path in paths:
        if not Path(path).exists():
            raise UnreadableError(path, "there is no such file or folder.")
    files = [path for path in paths if Path(path).is_file()]
    for link in links:
        from dicombridge.cli.network import files_of_link

        files += map(str, files_of_link(link))
    databases = [open_path(path) for path in paths if not Path(path).is_file()]
    if files:
        databases.append(open_files(files, progress=default_progress()))
        _refuse_unreadable(databases[-1].report.skipped)
    return databases[0] if len(databases) == 1 else _Several(databases)


class _Several:
    """Several databases as one: lists are joined, and of single values the first that there is counts."""

    def __init__(self, databases: Sequence[Any]) -> None:
        self._databases = databases

    def patients(self) -> tuple[str, ...]:
        """Return keys that say which database each is of, because they are only good there."""
        return tuple(f"{place}/{key}" for place, one in enumerate(self._databases) for key in one.patients())

    def studiesForPatient(self, patient: str, /) -> tuple[str, ...]:
        """Return the Study Instance UIDs of a patient."""
        place, _, key = patient.partition("/")
        return tuple(self._databases[int(place)].studiesForPatient(key))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            answers = [getattr(one, name)(*arguments) for one in self._databases]
            if isinstance(answers[0], str):
                return next(filter(None, answers), "")
            return tuple(dict.fromkeys(item for answer in answers for item in answer))

        return ask


def _refuse_unreadable(skipped: Iterable[tuple[str, str]]) -> None:
    """A file that was named on the command line must not be left out silently."""
    for path, reason in skipped:
        raise UnreadableError(path, reason)


def choose(database: Any, kind: str | None) -> list[Any]:
    """Return the best loadable of each series, images first, so that what refers to them finds them."""
    import dicombridge
    from dicombridge.kinds import kind_named
    from dicombridge.loadable import chosen

    wanted = kind_named(kind).name if kind else None
    # Two paths of one series would offer it twice.
    offered = {(*loadable.files, loadable.name): loadable for loadable in dicombridge.examine(database)}
    fitting = [loadable for loadable in offered.values() if wanted is None or loadable.kind == wanted]
    return sorted(chosen(fitting), key=lambda loadable: loadable.kind != "IMAGE")


def load_all(paths: Sequence[str], scene: Any, kind: str | None = None, **options: Any) -> list[tuple[Any, list[Any]]]:
    """Load all that the paths hold.

    Returns
    -------
    list of (Loadable, nodes)
        In loading order.

    Raises
    ------
    DicomBridgeError
        There is nothing to load, or one object cannot be loaded.
    """
    import dicombridge

    database = open_paths(paths)
    loadables = choose(database, kind)
    if not loadables:
        what = f"of kind {kind.upper()} " if kind else ""
        raise DicomBridgeError(
            f"{', '.join(paths)}: nothing {what}that can be loaded; 'dicombridge info' shows what is there."
        )
    progress = default_progress()
    return [
        (loadable, dicombridge.load(loadable, scene=scene, database=database, progress=progress, **options))
        for loadable in loadables
    ]


def find_node(scene: Any, name: str) -> Any:
    """Return the node of this ID or name.

    Raises
    ------
    DicomBridgeError
        There is none, or the name is not the name of one alone; the message lists what there is.
    """
    node = scene.GetNodeByID(name)
    if node is not None:
        return node
    storable = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    storable = [node for node in storable if node.IsA("vtkMRMLStorableNode") and not node.GetHideFromEditors()]
    found = [node for node in storable if node.GetName() == name]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{node.GetName()!r} ({node.GetID()})" for node in (found or storable)) or "no nodes"
    reason = "several nodes have this name; use the ID" if found else "no node has this name or ID"
    raise DicomBridgeError(f"{name!r}: {reason}. The scene has: {listed}.")


def tell_warnings(loadables: Iterable[Any]) -> None:
    """Log what was dropped or guessed while reading."""
    for loadable in loadables:
        if loadable.warning:
            logging.getLogger("dicombridge").warning("%s: %s", loadable.name, loadable.warning)


# Scenes -----------------------------------------------------------------------------------------------------------


def read_scene(path: str) -> Any:
    """Return the scene in an ``.mrb`` or ``.mrml`` file."""
    import dicombridge
    from dicombridge.deformation.nodes import restore_interpolation

    if not Path(path).is_file():
        raise UnreadableError(path, "there is no such file.")
    use_quiet_vtk()
    scene = dicombridge.new_scene()
    if path.lower().endswith(".mrml"):
        scene.SetURL(path)
        done = scene.Connect()
    else:
        # Absolute, because unpacking changes the working directory before the archive is opened.
        done = scene.ReadFromMRB(str(Path(path).resolve()))
    if not done:
        raise UnreadableError(path, "this is not a scene that can be read (.mrb or .mrml).")
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLTransformNode")):
        restore_interpolation(scene.GetNthNodeByClass(number, "vtkMRMLTransformNode"))
    return scene


def save_scene(scene: Any, path: str | Path) -> Path:
    """Write a scene as ``.mrb``; the file appears complete or not at all."""
    target = Path(path)
    if target.suffix.lower() != ".mrb":
        raise DicomBridgeError(f"{target}: a scene is written as .mrb; please name the file so.")
    target.parent.mkdir(parents=True, exist_ok=True)
    # A folder beside the target: the name inside the archive is the file's, and renaming stays on one disk.
    with tempfile.TemporaryDirectory(prefix=".dicombridge-", dir=target.parent.resolve()) as folder:
        temporary = Path(folder) / target.name
        if not scene.WriteToMRB(os.fspath(temporary)) or not temporary.is_file():
            raise DicomBridgeError(f"{target}: the scene could not be written. Is there room on the disk?")
        temporary.replace(target)
    return target


# Export -----------------------------------------------------------------------------------------------------------


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that ``export`` and ``convert`` share."""
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the DICOM files")
    parser.add_argument("--source", metavar="PATH", help="file or folder with the images that the object refers to")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEYWORD=VALUE",
        help="attribute of the new object, e.g. SeriesDescription=edited, or option of its kind, e.g. contours=smooth; "
        "may be repeated",
    )
    parser.add_argument(
        "--type",
        type=str.upper,
        choices=("BINARY", "LABELMAP", "FRACTIONAL"),
        help="segmentation type of a SEG (the type that it had, else BINARY)",
    )
    parser.add_argument(
        "--compression", metavar="NAME", help="none, deflate, rle, jpeg-ls, jpeg-2000 or deflate-frames"
    )
    parser.add_argument("--json", action="store_true", help="print the new files as JSON")


def settings(given: Sequence[str], form: str, option: str = "--set") -> dict[str, Any]:
    """Return what ``--set NAME=VALUE`` and options like it say, as text.

    Raises
    ------
    DicomBridgeError
        A setting has not that form.
    """
    options: dict[str, Any] = {}
    for setting in given:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise DicomBridgeError(f"{option} {setting}: this is not {form}.")
        options[name] = value
    return options


def load_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of ``dicombridge.load`` that the command line asks for; numbers are numbers."""
    options = settings(arguments.set, "NAME=VALUE, e.g. threshold=0.3")
    for name, value in options.items():
        if value.lower() in ("true", "false"):
            options[name] = value.lower() == "true"
        else:
            with suppress(ValueError):
                options[name] = float(value)
    return options


def export_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of ``dicombridge.export`` that the command line asks for."""
    options: dict[str, Any] = settings(arguments.set, "KEYWORD=VALUE, e.g. SeriesDescription=edited")
    if arguments.source:
        options["source"] = arguments.source
    if arguments.type:
        options["segmentation_type"] = arguments.type
    if arguments.compression:
        options["compression"] = arguments.compression
    return options
