"""``dicombridge load PATH... -o scene.mrb``: DICOM into a scene that Slicer opens; also from a server."""

from __future__ import annotations

import argparse

from dicombridge.cli import common
from dicombridge.cli.tables import json_text, plain

HELP = "Load DICOM files or folders into a scene (.mrb)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="DICOM files or folders, or dicomweb:SERVER/STUDY/SERIES"
    )
    parser.add_argument("-o", "--output", required=True, metavar="SCENE.mrb", help="the scene to write")
    parser.add_argument("--preview", metavar="PICTURE.png", help="also draw slices and surfaces of what was loaded")
    parser.add_argument("--kind", metavar="KIND", help="load only objects of this kind, e.g. SEG")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of loading, e.g. mapping=SUVbw or threshold=0.3; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the loaded nodes as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Load, save, and say what was loaded."""
    import dicombridge

    if not arguments.output.lower().endswith(".mrb"):
        raise dicombridge.DicomBridgeError(f"{arguments.output}: a scene is written as .mrb; please name the file so.")
    common.use_quiet_vtk()
    scene = dicombridge.new_scene()
    loaded = common.load_all(arguments.paths, scene, arguments.kind, **common.load_options(arguments))
    common.tell_warnings(loadable for loadable, _ in loaded)
    nodes = [node for _, some in loaded for node in some]
    common.save_scene(scene, arguments.output)
    if arguments.preview:
        from dicombridge import preview

        preview.render(preview.most_telling(nodes), arguments.preview)
    rows = [
        {"kind": loadable.kind, "class": node.GetClassName(), "id": node.GetID(), "name": node.GetName()}
        for loadable, some in loaded
        for node in some
    ]
    if arguments.json:
        print(json_text({"scene": arguments.output, "nodes": rows}, indent=2))
        return
    for row in rows:
        print(f"{row['kind']:6} {row['class'].removeprefix('vtkMRML').removesuffix('Node'):14} {plain(row['name'])}")
    print(f"{len(rows)} nodes in {arguments.output}")
