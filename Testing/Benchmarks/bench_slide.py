"""A region of 4096 x 4096 pixels of a JPEG-tiled level into a volume node, against wsidicom's ``read_region``.

wsidicom leaves an array of the pixels, ours a node in a scene that knows where they lie on the slide. Every contestant
runs in a process of its own, by turns; processor time and peak memory are those of the work, the opening of the file
included, after one pixel was read, so that imports do not count. The level is larger than the region, which cuts tiles.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import SUPPORT, Row, Target, in_process, main, make, peak, print_rows, print_targets, row_of

SIZE, TILE, REGION = 6144, 256, 4096
REPETITIONS = 5
SPACING = 0.0005
MARGIN = 700
"""Pixels from the level's corner to the region's, so that the region cuts tiles."""
TIMES = 1.0
"""What wsidicom may take, over what ours may."""
MEMORY = 2.0


def make_slide(folder: Path, scale: float) -> None:
    """Write a level of few different tiles; every one is decoded all the same."""
    sys.path.insert(0, str(SUPPORT))
    import numpy as np
    from pydicom.uid import JPEGBaseline8Bit
    from support import slides

    size = max(2 * TILE, round(SIZE * scale))
    level = slides.Level(size, size, (TILE, TILE), (SPACING, SPACING), (0.0, 0.0), (1, 0, 0, 0, 1, 0))
    level = slides.replace(level, syntax=JPEGBaseline8Bit)
    image = slides.smooth(4 * TILE, 4 * TILE)
    tiles = [image[row : row + TILE, column : column + TILE] for row in range(0, 4 * TILE, TILE)
             for column in range(0, 4 * TILE, TILE)]  # fmt: skip
    encoded = [slides.stored(np.ascontiguousarray(tile), level) for tile in tiles]
    dataset = slides.dataset_of(slides.Series())
    slides.describe_pixels(dataset, level)
    slides.describe_slide(dataset, level)
    down, across = level.grid
    slides.set_frames(dataset, level, [encoded[number % len(encoded)] for number in range(down * across)])
    slides.save(dataset, folder / "slide.dcm")


def _region(folder: Path) -> tuple[int, int]:
    """Return where the region begins, and its size, in pixels."""
    import pydicom

    size = int(pydicom.dcmread(folder / "slide.dcm", stop_before_pixels=True).TotalPixelMatrixRows)
    return round(MARGIN * size / SIZE), round(REGION * size / SIZE)


def _measured(work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    before = peak()
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    return result, {"seconds": seconds, "peak": peak(), "before": before}


def _figures(array: Any, figures: dict[str, Any]) -> dict[str, Any]:
    return {**figures, "size": int(array.size), "sum": int(array.astype("u4").sum())}


def ours(folder: Path) -> dict[str, Any]:
    """dicombridge.load with a region."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    import dicombridge
    from dicombridge import slide
    from dicombridge.loadable import Loadable

    begin, size = _region(folder)
    scene = dicombridge.new_scene()
    loadable = Loadable(files=[str(folder / "slide.dcm")], name="slide", kind="SLIDE")

    def read(size: int) -> Any:
        left = SPACING * (begin - 0.5)  # the first pixel's centre is the origin
        return slide.load(loadable, scene, None, region=(left, left, SPACING * size, SPACING * size))

    read(1)
    nodes, figures = _measured(lambda: read(size))
    return _figures(vtk_to_numpy(nodes[0].GetImageData().GetPointData().GetScalars()), figures)


def wsidicom(folder: Path) -> dict[str, Any]:
    """wsidicom's read_region, as an array."""
    from wsidicom import WsiDicom

    begin, size = _region(folder)

    def read(size: int) -> Any:
        with WsiDicom.open(folder / "slide.dcm") as slide:
            return slide.read_region((begin, begin), 0, (size, size), as_array=True)

    read(1)
    return _figures(*_measured(lambda: read(size)))


def run(scale: float = 1.0) -> dict[str, Any]:
    """Return the rows, and how many bytes the pixels of the region are."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(make_slide, folder, scale)
        results: dict[str, dict[str, Any]] = {}
        for _ in range(REPETITIONS):
            for contestant in (ours, wsidicom):
                result = in_process(contestant, folder, 1)
                best = results.setdefault(contestant.__name__, result)
                results[contestant.__name__] = min(best, result, key=lambda one: float(one["seconds"]))
    if len({(result["size"], result["sum"]) for result in results.values()}) != 1:
        raise RuntimeError(f"the pixels differ: {results}")
    rows: list[Row] = [row_of("region", name, result) for name, result in results.items()]
    return {"rows": rows, "bytes": results["ours"]["size"]}


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the targets; return whether one is missed."""
    rows = {row.name: row for row in result["rows"]}
    print(f"\nSlide: region of {result['bytes'] / 1e6:.0f} MB from tiles in JPEG")
    print_rows(result["rows"])
    faster = rows["wsidicom"].seconds / rows["ours"].seconds
    memory = rows["ours"].bytes / result["bytes"]
    return print_targets(
        [
            Target("wsidicom's time over ours", faster, TIMES),
            Target("peak over the pixels", memory, MEMORY, at_least=False),
        ]
    )


if __name__ == "__main__":
    main(make_slide, (ours, wsidicom), run, report)
