"""The public functions: examine, load, export."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dicombridge.errors import ExportError, UnreadableError, UnsupportedError
from dicombridge.examination import all_series
from dicombridge.kinds import KINDS, Kind, kind_named, kinds_of_node_class, kinds_that_examine
from dicombridge.links import link_awaited
from dicombridge.loadable import Loadable, chosen
from dicombridge.progress import Progress, part
from dicombridge.scene import default_database, default_scene, in_application, transaction
from dicombridge.tags import SOP_CLASS_UID
from dicombridge.tolerance import naming, quiet

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["examine", "export", "load"]

KIND_ATTRIBUTE = "DICOMBridge.Kind"
"""Node attribute: name of the kind that a node was loaded as, which it is exported as again."""


WEB_LINK = "dicomweb:"
"""What begins the name of objects on a server; ``dicombridge.web.opening``."""

WITHOUT_NODES = ("KOS",)
"""Kinds that options alone can say all of."""


def examine(database: Database | None = None, series: str | Iterable[str] | None = None) -> list[Loadable]:
    """Return what can be loaded from a database, images first, the best reading of each series selected.

    Parameters
    ----------
    database
        Inside Slicer, its own database is the default.
    series
        Series Instance UIDs to look at; all, where none are given.

    Raises
    ------
    UnreadableError
        There is no database to examine.
    """
    database = default_database() if database is None else database
    if database is None:
        raise UnreadableError("database", "is needed: dicombridge.examine(dicombridge.open_folder(...)).")
    if isinstance(series, str):
        series = [series]
    uids = all_series(database) if series is None else list(series)
    loadables: list[Loadable] = []
    for uid in uids:
        loadables.extend(_examine_series([file for file in database.filesForSeries(uid) if file], database))
    order = {kind.name: number for number, kind in enumerate(reversed(KINDS))}
    return sorted(loadables, key=lambda loadable: order[loadable.kind])


def _examine_series(files: Sequence[str], database: Database) -> list[Loadable]:
    by_kind: dict[str, list[str]] = {}
    for file in files:
        for kind in kinds_that_examine(database.fileValue(file, SOP_CLASS_UID)):
            by_kind.setdefault(kind.name, []).append(file)
    with quiet():
        loadables = [
            loadable
            for name, of_kind in by_kind.items()
            for loadable in kind_named(name).room.examine(of_kind, database)
        ]
    best = max((loadable.confidence for loadable in loadables), default=0.0)
    for loadable in loadables:
        loadable.selected = loadable.selected and loadable.confidence == best
    return loadables


def load(
    what: Loadable | str | Path | Sequence[Loadable],
    scene: Any = None,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Any]:
    """Load DICOM objects into a scene; the scene stays as it was where anything fails.

    Parameters
    ----------
    what
        A loadable (or several), the path of a file or a folder, with a database a Series Instance UID, or
        ``dicomweb:SERVER/STUDY/SERIES``: this is retrieved, and loaded with the series that it refers to.
    scene
        ``vtkMRMLScene``; the application's one inside Slicer, a new one elsewhere (``nodes[0].GetScene()``).
    database
        Where referenced objects are looked up. For a folder, the default is the folder itself.
    progress
        Called with a fraction (0 to 1) and a message.
    **options
        For the kind's loader, e.g. ``threshold=0.3`` for fractional segmentations.

    Returns
    -------
    list of vtkMRMLNode
        The main node of an object first. Storage and display nodes are not listed.

    Raises
    ------
    DicomBridgeError
        Nothing could be loaded, and why.
    """
    makes_scene = scene is None and not in_application()
    scene = default_scene() if scene is None else scene
    _check_load_options(options)
    loadables, database, opened = _loadables_of(what, database)
    loadables = _without_repeats(loadables, options)
    try:
        # One transaction around all: half of a folder is not what was asked for.
        with transaction(scene):
            nodes: list[Any] = []
            for number, loadable in enumerate(loadables):
                room = kind_named(loadable.kind).room
                tell = part(progress, number / len(loadables), 1 / len(loadables))
                with naming(loadable.files), quiet():
                    known = _options_of(room, options)
                    loaded = room.load(loadable, scene, database, tell, **{**loadable.options, **known})
                for node in loaded:
                    if not node.GetAttribute(
                        KIND_ATTRIBUTE
                    ):  # an image that was asked for in real world values says so
                        node.SetAttribute(KIND_ATTRIBUTE, loadable.kind)
                nodes.extend(loaded)
        # Not before all is loaded: nodes that were there already are not taken back.
        link_awaited(scene)
    finally:
        if opened is not None:
            opened.close()
    if nodes and makes_scene:
        _keep_scene(nodes, scene)
    return nodes


def _check_load_options(options: Iterable[str]) -> None:
    """Refuse options that no kind has; one that another kind has is fine, because a folder may hold several kinds.

    Raises
    ------
    UnsupportedError
        No kind knows an option.
    """
    if not options:
        return
    known = {name for kind in KINDS for name in _keyword_only(kind.room.load)}
    for name in options:
        if name not in known:
            raise UnsupportedError(f"Unknown option {name} of load; there are: {', '.join(sorted(known))}.")


def _options_of(room: ModuleType, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a kind has; the others are for other kinds in the same folder."""
    own = _keyword_only(room.load)
    return {name: value for name, value in options.items() if name in own}


def _keyword_only(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY}


def _without_repeats(loadables: Iterable[Loadable], options: dict[str, Any]) -> list[Loadable]:
    """Return the first of loadables that the caller's options make alike, e.g. of all mappings of one object."""
    kept: dict[str, Loadable] = {}
    for loadable in loadables:
        own = sorted({**loadable.options, **options}.items())
        kept.setdefault(repr((loadable.kind, loadable.files, own)), loadable)
    return list(kept.values())


def _keep_scene(nodes: Sequence[Any], scene: Any) -> None:
    """Keep a scene that nobody else holds; a node that holds its scene is never freed, so only such a scene."""
    nodes[0].dicombridge_scene = scene


def _loadables_of(
    what: Loadable | str | Path | Sequence[Loadable], database: Database | None
) -> tuple[list[Loadable], Database | None, Any]:
    """Return loadables, the database to look references up in, and a database of ours to close afterwards."""
    if isinstance(what, Loadable):
        return [what], database if database is not None else default_database(), None
    if not isinstance(what, str | Path):
        several = list(what)
        if not all(isinstance(one, Loadable) for one in several):
            raise UnreadableError(several, "are not loadables; a path or a Series Instance UID is given alone.")
        return several, database if database is not None else default_database(), None
    if isinstance(what, str) and what.startswith(WEB_LINK):
        return _loadables_of_link(what, database)
    if what != "" and Path(what).exists():  # Path("") would be the working directory
        return _loadables_of_path(Path(what), database)
    database = database if database is not None else default_database()
    if database is None or not database.filesForSeries(str(what)):
        reason = "is neither a file nor a folder"
        raise UnreadableError(what, f"{reason}." if database is None else f"{reason} nor a series of the database.")
    found = chosen(examine(database, str(what)))
    return _some(what, found, database, [str(what)]), database, None


def _loadables_of_link(link: str, database: Database | None) -> tuple[list[Loadable], Database | None, Any]:
    from dicombridge.database import open_files
    from dicombridge.web.opening import files_of

    own = open_files(files_of(link))
    try:
        found = _some(link, chosen(examine(own)), own, all_series(own))
    except BaseException:
        own.close()
        raise
    return found, _Both(own, database) if database is not None else own, own


def _loadables_of_path(path: Path, database: Database | None) -> tuple[list[Loadable], Database | None, Any]:
    from dicombridge.database import open_folder

    own = open_folder(path)
    try:
        found = chosen(examine(own))
        if not found and path.is_file():
            for file, reason in own.report.skipped:
                raise UnreadableError(file, f"{reason}.")
        if database is not None and path.is_file():
            # Offered anew, so that references are those that the caller's database knows.
            both = _Both(own, database)
            groups = dict.fromkeys(tuple(one.files) for one in found)
            found = chosen([again for files in groups for again in _examine_series(files, both)])
        _some(path, found, own, all_series(own))
    except BaseException:
        own.close()
        raise
    return found, _Both(own, database) if database is not None else own, own


class _Both:
    """Two databases as one: a file just opened, and where its references are."""

    def __init__(self, first: Database, second: Database) -> None:
        self._databases = (first, second)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            answer: Any = ""
            for database in self._databases:
                answer = getattr(database, name)(*arguments)
                if answer:
                    break
            return answer

        return ask


def _some(what: object, found: list[Loadable], database: Database, series: Iterable[str]) -> list[Loadable]:
    """Return the loadables, or say why there are none."""
    if found:
        return found
    files = [file for uid in series for file in database.filesForSeries(uid)]
    if not files:
        raise UnreadableError(what, "holds no DICOM object that could be read.")
    classes = sorted({database.fileValue(file, SOP_CLASS_UID) for file in files})
    raise UnsupportedError(f"{what}: nothing in it can be loaded; its SOP classes are {', '.join(classes)}.")


def export(
    nodes: Any,
    directory: str | Path,
    kind: str | None = None,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write nodes as DICOM files; where anything fails no file is left behind.

    Parameters
    ----------
    nodes
        A node, or several; none for a key object selection of ``instances``.
    directory
        Where to write; made if it does not exist.
    kind
        Name of the object kind, e.g. ``"SEG"``; where it is not given, that which the first node was loaded as, else
        one that is made of nodes of its class.
    database
        Where the source images are looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    **options
        DICOM keywords for attributes of the new object (``SeriesDescription="edited"``), and the kind's own options.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    ExportError
        The nodes cannot be written as asked.
    """
    nodes = [nodes] if hasattr(nodes, "GetClassName") else list(nodes)
    if not nodes and kind not in WITHOUT_NODES:
        raise ExportError("There is no node to export.")
    row = _kind_of(kind, nodes[0] if nodes else None)
    if not row.exports:
        raise UnsupportedError(f"{row.title} cannot be exported; these can: {_exporting()}.")
    database = default_database() if database is None else database
    with quiet():  # what a loaded object has against the standard was said when it was loaded
        paths: list[Path] = row.room.export(nodes, Path(directory), database, progress, **options)
    return paths


def _kind_of(name: str | None, node: Any) -> Kind:
    if name is not None:
        return kind_named(name)
    kinds = kinds_of_node_class(node.GetClassName())
    for kind in kinds:
        if kind.name == node.GetAttribute(KIND_ATTRIBUTE):
            return kind
    if not kinds:
        raise UnsupportedError(
            f"A {node.GetClassName()} cannot be exported; these kinds can be written: {_exporting()}."
        )
    return kinds[0]


def _exporting() -> str:
    return ", ".join(kind.name for kind in KINDS if kind.exports)
