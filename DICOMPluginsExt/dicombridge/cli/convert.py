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
    database = None
    if arguments.source:
        database = common.open_path(arguments.source)
        for loadable in common.choose(database, "IMAGE"):
            dicombridge.load(loadable, scene=scene, database=database)
    loaded = common.load_all([arguments.path], scene)
    loaded = [(loadable, nodes) for loadable, nodes in loaded if loadable.kind != "IMAGE" or kind.name == "IMAGE"]
    common.tell_warnings(loaded)
    if len(loaded) != 1:
        raise dicombridge.DicomBridgeError(
            f"{arguments.path}: {len(loaded)} objects that can be converted; please name the file of one."
        )
    paths = dicombridge.export(
        loaded[0][1],
        arguments.output,
        kind=kind.name,
        database=database,
        progress=common.default_progress(),
        **options,
    )
    export.tell(paths, arguments.json)
