"""1,000,000 polygons of 10 points on a slide, into a model, against highdicom's ``get_graphic_data`` and a walk of it.

Columns and rows of single precision become places on the slide. highdicom has no such step: its walk visits each
polygon once and turns it into slide mm with the same matrix, which is the least that any use of its list must do. The
row "as arrays" is highdicom's reading and dividing alone, before anybody looked at a polygon. Each contestant runs in a
process of its own; processor time and peak memory are those of the work, after imports.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import SUPPORT, Row, Target, in_process, main, make, peak, print_rows, print_targets, row_of, times_faster

POLYGONS, POINTS = 1_000_000, 10
TIMES_FASTER, MOST_MEMORY = 5.0, 1.0


def annotations(directory: Path, scale: float) -> None:
    """Write a slide and annotations of it."""
    sys.path.insert(0, str(SUPPORT))
    from support.annotations import write_large

    write_large(directory, max(100, round(POLYGONS * scale)), POINTS)


def _measured(work: Callable[[], int]) -> dict[str, Any]:
    before = peak()
    start = time.process_time()
    shapes = work()
    return {"seconds": time.process_time() - start, "before": before, "peak": peak(), "shapes": shapes}


# --- Contestants -----------------------------------------------------------------------------------------------------


def ours(directory: Path) -> dict[str, Any]:
    """dicombridge.load, its database open."""
    import dicombridge
    from dicombridge.loadable import Loadable

    database = dicombridge.open_folder(directory)
    scene = dicombridge.new_scene()
    dicombridge.load(Loadable(files=[str(directory / "small.dcm")], name="small", kind="ANN"), scene, database)
    loadable = Loadable(files=[str(directory / "large.dcm")], name="annotations", kind="ANN")

    def work() -> int:
        node = dicombridge.load(loadable, scene, database)[0]
        return int(node.GetPolyData().GetNumberOfCells())

    return _measured(work)


def highdicom_arrays(directory: Path) -> dict[str, Any]:
    """highdicom.ann.annread, and the list of all polygons."""
    import highdicom.ann

    def work() -> int:
        (group,) = highdicom.ann.annread(directory / "large.dcm").get_annotation_groups()
        return len(group.get_graphic_data("2D"))

    return _measured(work)


def highdicom_walk(directory: Path) -> dict[str, Any]:
    """The same, and each polygon in slide mm."""
    import highdicom.ann
    import numpy as np

    axes, origin = np.array([[0.0, -0.0003, 0.0004], [-0.000625, 0.0, 0.0]]), np.array([20.5, 40.25, 0.125])

    def work() -> int:
        (group,) = highdicom.ann.annread(directory / "large.dcm").get_annotation_groups()
        placed = [polygon @ axes + origin for polygon in group.get_graphic_data("2D")]
        return len(placed)

    return _measured(work)


CONTESTANTS = (ours, highdicom_arrays, highdicom_walk)
NAMES = {"ours": "ours", "highdicom_arrays": "as arrays", "highdicom_walk": "highdicom"}


def run(scale: float = 1.0) -> dict[str, Any]:
    """Make the annotations and run the contestants; the best of their runs counts."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        make(annotations, directory, scale)
        results = {one.__name__: in_process(one, directory, repetitions=2) for one in CONTESTANTS}
        rows = [row_of("load", NAMES[name], result) for name, result in results.items()]
        if len({result["shapes"] for result in results.values()}) != 1:
            raise RuntimeError(f"shapes are missing: {results}")
        return {"rows": rows, "shapes": results["ours"]["shapes"], "bytes": (directory / "large.dcm").stat().st_size}


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the targets; return whether one is missed."""
    rows: list[Row] = result["rows"]
    print(f"\nAnnotations: {result['shapes']} polygons of {POINTS} points, {result['bytes'] / 1e6:.0f} MB")
    print_rows(rows)
    memory = {row.name: row.bytes for row in rows}
    return print_targets(
        [
            Target("load, times faster than highdicom's walk", times_faster(rows, "load", "highdicom"), TIMES_FASTER),
            Target("load, times faster than its arrays alone", times_faster(rows, "load", "as arrays"), 1.0),
            Target(
                "load, peak over that of the walk", memory["ours"] / memory["highdicom"], MOST_MEMORY, at_least=False
            ),
        ]
    )


if __name__ == "__main__":
    main(annotations, CONTESTANTS, run, report)
