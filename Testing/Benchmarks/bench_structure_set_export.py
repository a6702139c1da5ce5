"""Structure set of 104 touching organs on 300 slices of 512 x 512: export, against rt-utils.

Every contestant runs in a process of its own; wall time and peak memory are those of the work, after imports. Each
starts from what its user has: a segmentation node and an open folder of images, or masks and images in memory.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from bench_segmentation import ORGANS
from common import (
    REPETITIONS,
    SIZE,
    SLICES,
    Row,
    Target,
    ct_series,
    in_process,
    main,
    make,
    peak,
    print_rows,
    print_targets,
    row_of,
    times_faster,
)

TIMES_FASTER = 10


def organs(scale: float) -> np.ndarray:
    """Return labels, [slice, row, column] uint8: ellipsoids of some fifty slices that are cut where they touch."""
    slices = max(12, round(SLICES * scale))
    labels = np.zeros((slices, SIZE, SIZE), np.uint8)
    centres = np.random.default_rng(0).uniform([0.1, 0.15, 0.15], [0.9, 0.85, 0.85], (ORGANS, 3)) * labels.shape
    radii = np.random.default_rng(1).uniform([22, 20, 20], [30, 55, 55], (ORGANS, 3)) * [slices / SLICES, 1, 1]
    for number, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        low = np.maximum(np.floor(centre - radius), 0).astype(int)
        high = np.minimum(np.ceil(centre + radius) + 1, labels.shape).astype(int)
        axes = [
            ((np.arange(first, last) - middle) / half) ** 2
            for first, last, middle, half in zip(low, high, centre, radius, strict=True)
        ]
        inside = axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :] < 1
        part = labels[tuple(slice(first, last) for first, last in zip(low, high, strict=True))]
        part[inside & (part == 0)] = number
    return labels


def make_study(directory: Path, scale: float) -> None:
    """Write the images and the labels."""
    labels = organs(scale)
    np.save(directory / "labels.npy", labels)
    ct_series(directory / "ct", len(labels))


# --- Contestants, each run in a process of its own -----------------------------------------------------------------


def _node(scene: Any, labels: np.ndarray) -> Any:
    """Return a segmentation node of labels on the images, as segmentation in Slicer leaves it."""
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk

    from dicombridge.geometry import grid, set_image_geometry

    geometry = grid([-200, -200, 0], [1, 0, 0, 0, 1, 0], [0.8, 0.8], [0, 0, 2.5], labels.shape)
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*labels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(labels.ravel(), deep=True))
    set_image_geometry(image, geometry)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Organs")
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName("Binary labelmap")
    for number in range(1, ORGANS + 1):
        segment = slicer.vtkSegment()
        segment.SetName(f"Organ {number}")
        segment.SetLabelValue(number)
        segment.AddRepresentation("Binary labelmap", image)
        segmentation.AddSegment(segment, f"organ-{number}")
    return node


def _export_ours(directory: Path, contours: str) -> dict[str, Any]:
    import highdicom  # noqa: F401 - imports are not timed, neither ours nor the peer's

    import dicombridge
    import dicombridge.structure_set.exporting

    database = dicombridge.open_folder(directory / "ct", index=":memory:")
    scene = dicombridge.new_scene()
    node = _node(scene, np.load(directory / "labels.npy"))
    before = peak()
    start = time.perf_counter()
    (path,) = dicombridge.export(
        node,
        directory / "ours",
        kind="RTSTRUCT",
        database=database,
        source=str(directory / "ct"),
        contours=contours,
    )
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": peak(), "before": before, "bytes": path.stat().st_size}


def export_smooth(directory: Path) -> dict[str, Any]:
    """dicombridge.export with smooth contours, the default."""
    return _export_ours(directory, "smooth")


def export_pixel(directory: Path) -> dict[str, Any]:
    """dicombridge.export with the outlines of pixels, which are what rt-utils writes."""
    return _export_ours(directory, "pixel")


def export_rt_utils(directory: Path) -> dict[str, Any]:
    """rt-utils: add_roi for each mask, and save; the images are read before."""
    from rt_utils import RTStructBuilder

    labels = np.load(directory / "labels.npy").transpose(1, 2, 0)
    new = RTStructBuilder.create_new(dicom_series_path=str(directory / "ct"))
    before = peak()
    start = time.perf_counter()
    for number in range(1, ORGANS + 1):
        mask = labels == number
        if mask.any():
            new.add_roi(mask=mask, name=f"Organ {number}")
    new.save(str(directory / "rt-utils"))
    seconds = time.perf_counter() - start
    size = (directory / "rt-utils.dcm").stat().st_size
    return {"seconds": seconds, "peak": peak(), "before": before, "bytes": size}


CONTESTANTS = (export_smooth, export_pixel, export_rt_utils)


# --- The match -----------------------------------------------------------------------------------------------------


def run(scale: float = 1.0) -> dict[str, Any]:
    """Run all contestants and return their figures."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        directory = Path(name)
        make(make_study, directory, scale)
        rows = []
        # The peer takes a minute; that it runs once is to its advantage or not by less than the ratio that counts.
        for function, repetitions in ((export_smooth, REPETITIONS), (export_pixel, REPETITIONS), (export_rt_utils, 1)):
            result = in_process(function, directory, repetitions)
            note = f"file of {result['bytes'] / 1e6:.1f} MB"
            rows.append(row_of("export", function.__name__.removeprefix("export_"), result, note))
        return {"rows": rows, "contours": _contours(directory)}


def _contours(directory: Path) -> int:
    """Return the number of contours that were written."""
    path = next((directory / "ours").glob("*.dcm"))
    return path.read_bytes().count(b"\x06\x30\x50\x00")  # tags of Contour Data


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the target; return whether it is missed."""
    rows: list[Row] = result["rows"]
    print(f"\nStructure set: {ORGANS} organs, {result['contours']} contours")
    print_rows(rows, ours="smooth")
    return print_targets(
        [
            Target(
                f"{name}, times faster than rt-utils", times_faster(rows, "export", "rt_utils", ours=name), TIMES_FASTER
            )
            for name in ("smooth", "pixel")
        ]
    )


if __name__ == "__main__":
    main(make_study, CONTESTANTS, run, report)
