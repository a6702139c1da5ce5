"""``dicombridge convert FILE --to KIND -o DIR``: one DICOM object as another, by way of MRML nodes."""

from __future__ import annotations

import argparse

from dicombridge.cli import common, export

HELP = "Convert a DICOM object: to another kind, or to another type of the same kind."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", metavar="FILE", help="a DICOM file, or a folder with one object")
    parser.add_argument("--to", required=True, metavar="KIND", help="what to write, e.g. SEG")
    common.add_export_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Load the images of --source, load the object, export it."""
    import dicombridge
    from dicombridge.kinds import kind_named

    kind = kind_named(arguments.to)
    if not kind.exports:
        raise dicombridge.DicomBridgeError(f"The kind {kind.name} can be read, but not written.")
    options = common.export_options(arguments)
    common.use_quiet_vtk()
    scene = dicombridge.new_scene()
    database = common.open_path(arguments.source) if arguments.source else None
    for loadable in common.choose(database, "IMAGE") if database is not None else ():
        dicombridge.load(loadable, scene=scene, database=database)
    loaded = dicombridge.load(_only_object(arguments.path), scene=scene, database=database)
    # What the other kind cannot hold, e.g. models of contours; where it can hold nothing, its exporter says so.
    nodes = [node for node in loaded if any(node.IsA(name) for name in kind.node_classes)] or loaded
    paths = dicombridge.export(
        nodes,
        arguments.output,
        kind=kind.name,
        database=database,
        progress=common.default_progress(),
        **options,
    )
    export.tell(paths, arguments.json)


def _only_object(path: str) -> str:
    """Return the file of the one object in a path that is not an image."""
    from dicombridge.errors import DicomBridgeError

    database = common.open_paths([path])
    files = [loadable.files for loadable in common.choose(database, None) if loadable.kind != "IMAGE"]
    if len(files) != 1 or len(files[0]) != 1:
        found = "no object" if not files else f"{sum(map(len, files))} objects"
        raise DicomBridgeError(f"{path}: {found} that can be converted; please name the file of one.")
    return files[0][0]
