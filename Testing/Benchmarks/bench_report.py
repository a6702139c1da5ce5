"""A report of 10,000 measurement groups: open into tables, text and shapes, against highdicom's parse alone.

Each group has a polygon of 20 points in space, two numbers, a finding and a site. Every contestant runs in a process of
its own, by turns; processor time and peak memory are those of the work, after imports. The second row of ours makes
each shape a markup of its own, which a person would not want of so many, but which must not be an event storm either.
Its memory is Slicer's: so many curves of 20 points, with nothing else, are a contestant for that.
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

from common import LIBRARY, Row, peak

GROUPS = 10_000
REPETITIONS = 2
POINTS = 20
MOST_TIMES, MOST_MEMORY, MOST_GROWTH, MOST_BESIDE_CURVES = 1.0, 1.0, 1.2, 1.3
SUPPORT = Path(__file__).parents[1] / "Headless"


def make_report(path: Path, groups: int) -> None:
    """Write a report of so many groups."""
    sys.path.insert(0, str(SUPPORT))
    from support.sr_templates import write_large

    write_large(path.parent / path.stem, groups).rename(path)


# --- Contestants, each run in a process of its own -----------------------------------------------------------------


def _measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    before = peak()
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    return result, {"seconds": seconds, "bytes": peak() - before}


def _ours(path: Path, **options: Any) -> dict[str, float]:
    import dicombridge
    import dicombridge.report
    from dicombridge.loadable import Loadable

    scene = dicombridge.new_scene()
    loadable = Loadable(files=[str(path)], name="report", kind="SR")
    nodes, figures = _measured(lambda: dicombridge.load(loadable, scene=scene, **options))
    figures["groups"] = nodes[0].GetNumberOfRows()
    return figures


def ours(path: Path) -> dict[str, float]:
    """dicombridge.load, as it is by default."""
    return _ours(path)


def ours_as_markups(path: Path) -> dict[str, float]:
    """The same with a markup for each group."""
    return _ours(path, most_markups=GROUPS)


def highdicom(path: Path) -> dict[str, float]:
    """highdicom.sr.srread, and its groups."""
    import highdicom.sr

    def parsed() -> int:
        document = highdicom.sr.srread(path)
        return len(document.content.get_planar_roi_measurement_groups())

    groups, figures = _measured(parsed)
    figures["groups"] = groups
    return figures


def curves_alone(path: Path) -> dict[str, float]:
    """As many closed curves as the report has groups, with their points and displays: what Slicer itself needs."""
    import numpy as np
    import vtk

    import dicombridge

    count = int(path.stem)
    scene = dicombridge.new_scene()
    angles = np.arange(POINTS) * (2 * np.pi / POINTS)

    def made() -> None:
        for number in range(count):
            node = scene.AddNewNodeByClass("vtkMRMLMarkupsClosedCurveNode")
            points = vtk.vtkPoints()
            for x, y in zip(np.cos(angles), np.sin(angles), strict=True):
                points.InsertNextPoint(10 * x, 10 * y, number)
            node.SetControlPointPositionsWorld(points)
            node.CreateDefaultDisplayNodes()

    _, figures = _measured(made)
    figures["groups"] = count
    return figures


CONTESTANTS = {
    "ours": ours,
    "ours, as markups": ours_as_markups,
    "curves alone": curves_alone,
    "highdicom": highdicom,
}


def _figures(name: str, path: Path) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, __file__, name, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run(scale: float = 1.0) -> dict[str, Any]:
    """Run the contestants by turns and return their best figures, and the memory that half the groups take."""
    count = max(100, round(GROUPS * scale))
    with tempfile.TemporaryDirectory() as folder:
        paths = {size: Path(folder) / f"{size}.dcm" for size in (count, count // 2)}
        for size, path in paths.items():
            subprocess.run([sys.executable, __file__, "make", str(path), str(size)], check=True)
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
        for _ in range(REPETITIONS):
            for name in CONTESTANTS:
                found[name].append(_figures(name, paths[count]))
        best = {name: min(figures, key=lambda one: one["seconds"]) for name, figures in found.items()}
        if {one["groups"] for one in best.values()} != {count}:
            raise RuntimeError(f"groups are missing: {best}")
        rows = [Row("load", name, figures["seconds"], figures["bytes"]) for name, figures in best.items()]
        half = {name: _figures(name, paths[count // 2])["bytes"] for name in ("ours", "ours, as markups")}
        return {"rows": rows, "groups": count, "bytes": paths[count].stat().st_size, "half": half}


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the targets; return whether one is missed."""
    rows = {row.name: row for row in result["rows"]}
    print(f"\nReport: {result['groups']} groups, {result['bytes'] / 1e6:.0f} MB")
    print(f"{'':20}{'seconds':>9}{'peak MB':>10}")
    for row in rows.values():
        print(f"{row.name:20}{row.seconds:9.2f}{row.bytes / 1e6:10.0f}")
    peer, mine, markups = rows["highdicom"], rows["ours"], rows["ours, as markups"]
    half = result["half"]
    targets = [
        ("load, times highdicom's parse", mine.seconds / peer.seconds, MOST_TIMES),
        ("load as markups, times highdicom's parse", markups.seconds / peer.seconds, MOST_TIMES),
        ("load, peak over highdicom's", mine.bytes / peer.bytes, MOST_MEMORY),
        ("bytes a group, of all over half of them", mine.bytes / (2 * half["ours"]), MOST_GROWTH),
        ("the same as markups", markups.bytes / (2 * half["ours, as markups"]), MOST_GROWTH),
        ("as markups, peak over that of curves alone", markups.bytes / rows["curves alone"].bytes, MOST_BESIDE_CURVES),
    ]
    missed = False
    for name, value, target in targets:
        reached = value <= target
        missed = missed or not reached
        print(f"{name:44}{value:7.2f}  target <= {target:g}  {'reached' if reached else 'MISSED'}")
    return missed


def main() -> None:
    """Make the report or run a contestant (called by :func:`run`), or the match."""
    warnings.simplefilter("ignore")
    if len(sys.argv) == 4 and sys.argv[1] == "make":
        make_report(Path(sys.argv[2]), int(sys.argv[3]))
    elif len(sys.argv) == 3 and sys.argv[1] in CONTESTANTS:
        print(json.dumps(CONTESTANTS[sys.argv[1]](Path(sys.argv[2]))))
    else:
        sys.exit(report(run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)))


if __name__ == "__main__":
    main()
