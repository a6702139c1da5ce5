"""Parametric map of four channels on 300 slices of 512 x 512, float32: load and export, against highdicom.

Every contestant runs in a process of its own; wall time and peak memory are those of the work, after imports. highdicom
0.27 does not sort floating point frames into volumes, so its reader gives the frames, and its geometry where they
belong; sorting them is what one has to do next, and is counted with it. Export starts from what each one's user has:
volume nodes and an open folder of images, or arrays and images in memory.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    SIZE,
    SLICES,
    SUPPORT,
    Row,
    Target,
    bytes_of,
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

CHANNELS = 4


def channel(number: int, slices: int) -> np.ndarray:
    """Return the voxels of a channel, [slice, row, column] float32."""
    generator = np.random.default_rng(number)
    plane = generator.normal(size=(SIZE, SIZE)).astype(np.float32)
    return plane[None] + np.arange(slices, dtype=np.float32)[:, None, None] + 1000 * number


def make_map(directory: Path, scale: float) -> None:
    """Write the map as highdicom lays it out: channels alternate frame by frame, each with its own mapping."""
    sys.path.insert(0, str(SUPPORT))
    from support.pm_objects import MapFrame, mapping_item, parametric_map, write

    slices = max(12, round(SLICES * scale))
    voxels = np.stack([channel(number, slices) for number in range(CHANNELS)], axis=1)
    items = [mapping_item(label=f"M{number}", explanation=f"Map {number}") for number in range(CHANNELS)]
    frames = [
        MapFrame((0, 0, 2.5 * k), voxels[k, number], {"RealWorldValueMappingSequence": [items[number]]})
        for k in range(slices)
        for number in range(CHANNELS)
    ]
    write(parametric_map(frames), directory)
    ct_series(directory / "ct", slices)


# --- Contestants, each run in a process of its own -----------------------------------------------------------------


def load_ours(directory: Path) -> dict[str, Any]:
    """dicombridge.load into volume nodes."""
    import highdicom  # noqa: F401 - imports are not timed, neither ours nor the peers'
    from vtkmodules.util.numpy_support import vtk_to_numpy

    import dicombridge
    import dicombridge.parametric_map
    from dicombridge.loadable import Loadable

    scene = dicombridge.new_scene()
    loadable = Loadable(files=[str(directory / "map.dcm")], name="map", kind="PM")
    before = peak()
    start = time.perf_counter()
    nodes = dicombridge.load(loadable, scene=scene)
    seconds = time.perf_counter() - start
    highest = peak()
    sums = [_check(vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())) for node in nodes]
    return {"seconds": seconds, "peak": highest, "before": before, "sums": sums}


def load_highdicom(directory: Path) -> dict[str, Any]:
    """highdicom's imread, its frames sorted into one array a channel, and its geometry."""
    import highdicom as hd

    before = peak()
    start = time.perf_counter()
    image = hd.imread(directory / "map.dcm")
    frames = image.pixel_array
    groups = image.PerFrameFunctionalGroupsSequence
    labels = [str(group.RealWorldValueMappingSequence[0].LUTLabel) for group in groups]
    heights = np.array([float(group.PlanePositionSequence[0].ImagePositionPatient[2]) for group in groups])
    volumes = []
    for label in sorted(set(labels)):
        chosen = np.array([number for number, other in enumerate(labels) if other == label])
        volumes.append(frames[chosen[np.argsort(heights[chosen])]])
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "peak": peak(),
        "before": before,
        "sums": [_check(volume.reshape(-1)) for volume in volumes],
    }


def floor(directory: Path) -> dict[str, Any]:
    """Reading the file into one array: what no loader can be below."""
    before = peak()
    start = time.perf_counter()
    content = np.fromfile(directory / "map.dcm", dtype=np.uint8)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": peak(), "before": before, "sums": [float(content[-1])]}


def export_ours(directory: Path) -> dict[str, Any]:
    """dicombridge.export of volume nodes on the images of an open folder."""
    import highdicom  # noqa: F401 - imports are not timed, neither ours nor the peers'

    import dicombridge
    import dicombridge.parametric_map
    from dicombridge.geometry import grid, ijk_to_ras, vtk_matrix

    slices = len(list((directory / "ct").glob("*.dcm")))
    scene = dicombridge.new_scene()
    matrix = ijk_to_ras(grid([-200, -200, 0], [1, 0, 0, 0, 1, 0], [0.8, 0.8], [0, 0, 2.5], (slices, SIZE, SIZE)))
    nodes = [_node(scene, channel(number, slices), vtk_matrix(matrix)) for number in range(CHANNELS)]
    database = dicombridge.open_folder(directory / "ct")
    files = [database.fileForInstance(uid) for uid in database.instancesForSeries(_series(database))]
    before = peak()
    start = time.perf_counter()
    (path,) = dicombridge.export(nodes, directory / "ours", kind="PM", database=database, source=files)
    return _written(path, start, before)


def _series(database: Any) -> str:
    (patient,) = database.patients()
    (study,) = database.studiesForPatient(patient)
    (series,) = database.seriesForStudy(study)
    return str(series)


def _node(scene: Any, voxels: np.ndarray, matrix: Any) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*voxels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.reshape(-1), deep=True))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "map")
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(matrix)
    return node


def export_highdicom(directory: Path) -> dict[str, Any]:
    """highdicom's ParametricMap, from arrays, and save_as."""
    import highdicom as hd
    import pydicom
    from highdicom.sr import CodedConcept

    from dicombridge.demo.quantities import window_options

    images = [pydicom.dcmread(path) for path in sorted((directory / "ct").glob("*.dcm"))]
    images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    pixels = np.stack([channel(number, len(images)) for number in range(CHANNELS)], axis=-1)
    units = CodedConcept("1", "UCUM", "no units")
    mappings = [
        [hd.pm.RealWorldValueMapping(f"M{number}", f"Map {number}", units, (-1e6, 1e6), slope=1.0, intercept=0.0)]
        for number in range(CHANNELS)
    ]
    before = peak()
    start = time.perf_counter()
    dataset = hd.pm.ParametricMap(
        images, pixels, hd.UID(), 1, hd.UID(), 1, "Acme", "Mapper", "1", "1", False, mappings,
        **window_options(0.0, 5000.0),
    )  # fmt: skip
    dataset.save_as(directory / "highdicom.dcm")
    return _written(directory / "highdicom.dcm", start, before)


def _written(path: Path, start: float, before: int) -> dict[str, Any]:
    """Return the figures of an export, and for each channel the sum of what is in the file."""
    import pydicom

    seconds, highest = time.perf_counter() - start, peak()
    dataset = pydicom.dcmread(path)
    frames = np.frombuffer(dataset.FloatPixelData, np.float32).reshape(-1, SIZE * SIZE)
    labels = [str(g.RealWorldValueMappingSequence[0].LUTLabel) for g in dataset.PerFrameFunctionalGroupsSequence]
    sums = [_check(frames[[other == label for other in labels]]) for label in dict.fromkeys(labels)]
    path.unlink()
    return {"seconds": seconds, "peak": highest, "before": before, "sums": sums}


def _check(voxels: np.ndarray) -> float:
    return float(voxels.sum(dtype=np.float64))


CONTESTANTS = (floor, load_ours, load_highdicom, export_ours, export_highdicom)


# --- The match -----------------------------------------------------------------------------------------------------


def run(scale: float = 1.0) -> dict[str, Any]:
    """Run all contestants and return their figures."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make(make_map, directory, scale)
        slices = max(12, round(SLICES * scale))
        expected = [_check(channel(number, slices).reshape(-1)) for number in range(CHANNELS)]
        rows = []
        for function in CONTESTANTS:
            result = in_process(function, directory)
            if function is not floor and not np.allclose(result["sums"], expected, rtol=1e-9):
                raise RuntimeError(f"{function.__name__} has other values: {result['sums']}, not {expected}")
            discipline, _, name = function.__name__.rpartition("_")
            rows.append(row_of(discipline or "load", name, result))
        return {"rows": rows, "frames": slices * CHANNELS, "bytes": 4 * slices * CHANNELS * SIZE * SIZE}


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the targets; return whether one is missed."""
    rows: list[Row] = result["rows"]
    size = result["bytes"]
    print(f"\nParametric map: {CHANNELS} channels, {result['frames']} frames of float32; {size / 1e6:.0f} MB")
    print_rows(rows)
    return print_targets(
        [
            Target("load, times faster than highdicom", times_faster(rows, "load", "highdicom"), 1.0),
            Target("load, peak over bytes of data", bytes_of(rows, "load") / size, 1.3, at_least=False),
            Target("export, times faster than highdicom", times_faster(rows, "export", "highdicom"), 1.0),
            Target("export, peak over bytes of data", bytes_of(rows, "export") / size, 1.3, at_least=False),
        ]
    )


if __name__ == "__main__":
    main(make_map, CONTESTANTS, run, report)
