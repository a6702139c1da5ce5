"""Deformation of 256 x 256 x 150 vectors (118 MB): load into a node, against reading the file and one copy of it.

Every contestant runs in a process of its own, by turns; wall time and peak memory are those of the work, after imports.
No peer reads these objects, so pydicom and numpy stand in for one: a Dataset, and its vectors as an array of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import LIBRARY, Row, peak

COLUMNS, ROWS, PLANES = 256, 256, 150
REPETITIONS = 5
MOST_TIMES, MOST_OF_VECTORS = 3.0, 2.5
SUPPORT = Path(__file__).parents[1] / "Headless"


def make_deformation(path: Path, scale: float) -> None:
    """Write an object with matrices before and after an oblique grid."""
    sys.path.insert(0, str(SUPPORT))
    from support.registrations import MOVING, RIGID, TRANSLATION, deformation, deformed, grid_item, rotation, written

    planes = max(10, round(PLANES * scale))
    vectors = np.random.default_rng(1).normal(size=(planes, ROWS, COLUMNS, 3)).astype(np.float32)
    turned = rotation(0.1, 0.2, 0.3)
    grid = grid_item(vectors, orientation=[*turned[:, 0], *turned[:, 1]], resolution=(1.5, 1.5, 2.0))
    written(deformation([deformed(MOVING, grid, RIGID, TRANSLATION)]), path)


# --- Contestants, each run in a process of its own -----------------------------------------------------------------


def _measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    before = peak()
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    return result, {"seconds": seconds, "bytes": peak() - before}


def ours(path: Path) -> dict[str, float]:
    """dicombridge.load into a transform node."""
    import dicombridge
    import dicombridge.deformation
    from dicombridge.loadable import Loadable

    scene = dicombridge.new_scene()
    loadable = Loadable(files=[str(path)], name="deformation", kind="DEFORM")
    nodes, figures = _measured(lambda: dicombridge.load(loadable, scene=scene))
    figures["sum"] = _sum(nodes[0])
    return figures


def _sum(node: Any) -> float:
    """Return the sum of all components but those whose sign is turned."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkCollection

    parts = vtkCollection()
    node.FlattenGeneralTransform(parts, node.GetTransformFromParent())
    found = [parts.GetItemAsObject(number) for number in range(parts.GetNumberOfItems())]
    (grid,) = [part.GetDisplacementGrid() for part in found if part.IsA("vtkOrientedGridTransform")]
    return float(vtk_to_numpy(grid.GetPointData().GetScalars())[:, 2].sum(dtype=np.float64))


def reading(path: Path) -> dict[str, float]:
    """The file into memory, and a copy of it: the least that a loader can do."""
    _, figures = _measured(lambda: np.frombuffer(path.read_bytes(), np.uint8).copy())
    return figures


def pydicom(path: Path) -> dict[str, float]:
    """A Dataset, and its vectors as an array that can be changed."""
    from pydicom import dcmread

    def vectors() -> np.ndarray:
        item = dcmread(path).DeformableRegistrationSequence[0]
        return np.frombuffer(item.DeformableRegistrationGridSequence[0].VectorGridData, "<f4").reshape(-1, 3).copy()

    array, figures = _measured(vectors)
    figures["sum"] = float(array[:, 2].sum(dtype=np.float64))
    return figures


CONTESTANTS = {"ours": ours, "file and one copy": reading, "pydicom and numpy": pydicom}


def _figures(name: str, path: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, name, str(path)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return dict(json.loads(output.splitlines()[-1]))


def run(scale: float = 1.0) -> dict[str, Any]:
    """Run the contestants by turns and return their best figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deformation.dcm"
        subprocess.run([sys.executable, __file__, "make", str(path), str(scale)], check=True)
        path.read_bytes()  # from memory, not from the disk, for the first one as for the others
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
        for _ in range(REPETITIONS):
            for name in CONTESTANTS:
                found[name].append(_figures(name, path))
        best = {name: min(figures, key=lambda one: one["seconds"]) for name, figures in found.items()}
        if abs(best["ours"]["sum"] - best["pydicom and numpy"]["sum"]) > 1e-6 * path.stat().st_size:
            raise RuntimeError(f"the vectors differ: {best}")
        rows = [Row("load", name, figures["seconds"], figures["bytes"]) for name, figures in best.items()]
        return {"rows": rows, "bytes": path.stat().st_size}


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the targets; return whether one is missed."""
    rows = {row.name: row for row in result["rows"]}
    print(f"\nDeformation: file of {result['bytes'] / 1e6:.0f} MB")
    print(f"{'':20}{'seconds':>9}{'peak MB':>10}")
    for row in rows.values():
        print(f"{row.name:20}{row.seconds:9.3f}{row.bytes / 1e6:10.0f}")
    targets = [
        ("load, times the file and one copy", rows["ours"].seconds / rows["file and one copy"].seconds, MOST_TIMES),
        # The vectors, and the file that is mapped beside them.
        ("load, peak over bytes of the vectors", rows["ours"].bytes / result["bytes"], MOST_OF_VECTORS),
    ]
    missed = False
    for name, value, target in targets:
        reached = value <= target
        missed = missed or not reached
        print(f"{name:42}{value:7.2f}  target <= {target:g}  {'reached' if reached else 'MISSED'}")
    return missed


def main() -> None:
    """Make the object or run a contestant (called by :func:`run`), or the match."""
    warnings.simplefilter("ignore")
    if len(sys.argv) == 4 and sys.argv[1] == "make":
        make_deformation(Path(sys.argv[2]), float(sys.argv[3]))
    elif len(sys.argv) == 3 and sys.argv[1] in CONTESTANTS:
        print(json.dumps(CONTESTANTS[sys.argv[1]](Path(sys.argv[2]))))
    else:
        sys.exit(report(run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)))


if __name__ == "__main__":
    main()
