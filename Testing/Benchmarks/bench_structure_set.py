"""RT structure set of 104 regions with 50 contours each on 300 slices of 512 x 512: load, against plastimatch.

Every contestant runs in a process of its own; our wall time and peak memory are those of the work, after imports, and
the whole process is named beside. For plastimatch, a program, they are those of the process; it writes a file where we
make a node. Both read the same structure set and the same images.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    REPETITIONS,
    SIZE,
    SLICES,
    SUPPORT,
    Row,
    Target,
    bytes_of,
    in_process,
    main,
    make,
    peak,
    print_rows,
    print_targets,
    program,
    row_of,
    times_faster,
)

REGIONS, CONTOURS, POINTS = 104, 50, 136
LEVELS = 6
"""Regions lie in so many layers of slices, side by side in each; neighbours overlap a little."""
SPACING, STEP = 0.8, 2.5
TIMES_FASTER, MOST_OF_LABELS = 5.0, 2.5


def make_study(directory: Path, scale: float) -> None:
    """Write the images and the structure set."""
    sys.path.insert(0, str(SUPPORT))
    from support.rt_structures import Drawing, Drawn, write_images, write_structure_set

    regions, contours = max(LEVELS, round(REGIONS * scale)), CONTOURS
    origin = (-SIZE * SPACING / 2, -SIZE * SPACING / 2, 0.0)
    images = write_images(directory / "ct", (SLICES, SIZE, SIZE), origin, spacing=(SPACING, SPACING), step=STEP)
    angle = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    wave = 1 + 0.06 * np.sin(5 * angle)
    drawings = []
    for number in range(regions):
        level, place = number % LEVELS, number // LEVELS
        row, column = 90 + 105 * (place // 5), 64 + 95 * (place % 5)
        drawn = []
        for step in range(contours):
            slice_number = level * (SLICES // LEVELS) + step
            radius = 54 * np.sqrt(1 - ((step - contours / 2 + 0.5) / (contours / 2 + 1)) ** 2) * wave
            places = np.stack(
                [np.full(POINTS, slice_number), row + radius * np.sin(angle), column + radius * np.cos(angle)], axis=1
            )
            drawn.append(Drawn(np.round(images.lps(places), 3), image=images.uids[slice_number]))
        drawings.append(Drawing(f"Organ {number + 1}", drawn, colour=(number + 1, 100, 100), observation={}))
    write_structure_set(directory / "rs.dcm", drawings, images)


def load_ours(directory: Path) -> dict[str, Any]:
    """dicombridge.load into a segmentation node, the images looked up in a database."""
    import highdicom  # noqa: F401 - imports are not timed, neither ours nor the peers'

    import dicombridge
    import dicombridge.structure_set
    from dicombridge.loadable import Loadable

    database = dicombridge.open_folder(directory, index=str(directory / "index.sqlite"))
    scene = dicombridge.new_scene()
    loadable = Loadable(files=[str(directory / "rs.dcm")], name="rs", kind="RTSTRUCT")
    before = peak()
    start = time.perf_counter()
    nodes = dicombridge.load(loadable, scene=scene, database=database)
    seconds = time.perf_counter() - start
    highest = peak()
    from vtkmodules.util.numpy_support import vtk_to_numpy

    segmentation = nodes[0].GetSegmentation()
    layers = [segmentation.GetLayerDataObject(number) for number in range(segmentation.GetNumberOfLayers())]
    arrays = [vtk_to_numpy(layer.GetPointData().GetScalars()) for layer in layers]
    inside = np.zeros(arrays[0].shape, np.bool_)
    for array in arrays:
        inside |= array != 0
    return {
        "seconds": seconds,
        "peak": highest,
        "before": before,
        "voxels": int(np.count_nonzero(inside)),
        "layers": len(layers),
        "label bytes": sum(array.nbytes for array in arrays),
        "regions": segmentation.GetNumberOfSegments(),
    }


def _plastimatch(directory: Path) -> tuple[float, float]:
    """Return wall seconds and peak bytes of plastimatch, from its wheel."""
    import plastimatch

    executable = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
    command = [str(executable), "convert", "--input", str(directory / "rs.dcm")]
    command += ["--referenced-ct", str(directory / "ct"), "--output-labelmap", str(directory / "labels.nrrd")]
    return program(command, repetitions=1)


def _voxels_of_plastimatch(path: Path) -> int:
    """Return how many voxels of its label map are of any region."""
    import zlib

    content = path.read_bytes()
    header, _, data = content.partition(b"\n\n")
    data = zlib.decompress(data, 31) if b"gzip" in header else data
    fields = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
    dtype = {"unsigned int": np.uint32, "unsigned char": np.uint8, "uint32": np.uint32}[fields["type"]]
    return int(np.count_nonzero(np.frombuffer(data, dtype)))


def run(scale: float = 1.0) -> dict[str, Any]:
    """Run the contestants by turns and return their best figures."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make(make_study, directory, scale)
        ours, plastimatch = [], []
        for _ in range(REPETITIONS):
            ours.append(in_process(load_ours, directory, repetitions=1))
            plastimatch.append(_plastimatch(directory))
        best = min(ours, key=lambda result: result["seconds"])
        theirs = _voxels_of_plastimatch(directory / "labels.nrrd")
        if abs(best["voxels"] - theirs) > 0.005 * theirs:
            raise RuntimeError(f"we fill {best['voxels']} voxels, plastimatch {theirs}")
        seconds, size = min(plastimatch)
        note = f"{best['layers']} label layers, {best['label bytes'] / 1e6:.0f} MB"
        rows = [
            row_of("load", "ours", best, note),
            Row("load", "plastimatch", seconds, size, "whole process"),
        ]
        return {"rows": rows, "best": best, "bytes": (directory / "rs.dcm").stat().st_size}


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the targets; return whether one is missed."""
    rows: list[Row] = result["rows"]
    best = result["best"]
    print(
        f"\nStructure set: {best['regions']} regions, file of {result['bytes'] / 1e6:.0f} MB, {best['voxels']} voxels"
    )
    print_rows(rows)
    of_file_and_labels = bytes_of(rows, "load") / (result["bytes"] + best["label bytes"])
    return print_targets(
        [
            Target("load, times faster than plastimatch", times_faster(rows, "load", "plastimatch"), TIMES_FASTER),
            Target("load, peak over bytes of file + labels", of_file_and_labels, MOST_OF_LABELS, at_least=False),
        ]
    )


if __name__ == "__main__":
    main(make_study, (load_ours,), run, report)
