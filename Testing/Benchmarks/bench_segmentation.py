"""Segmentation of 104 touching organs on 300 slices of 512 x 512: load and export, against dcmqi and highdicom.

Every contestant runs in a process of its own; wall time and peak memory are those of the work, after imports. For
dcmqi, a program, they are those of the process.
"""

from __future__ import annotations

import json
import sysconfig
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import (
    SIZE,
    SLICES,
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
    program,
    row_of,
    times_faster,
)

ORGANS = 104


# --- The object ----------------------------------------------------------------------------------------------------


def touching_organs(scale: float) -> np.ndarray:
    """Return labels, [slice, row, column] uint8: ellipsoids that are cut where they touch."""
    slices = max(12, round(SLICES * scale))
    step = 4
    z, y, x = np.mgrid[0:slices:step, 0:SIZE:step, 0:SIZE:step]
    centres = np.random.default_rng(0).uniform([0.07, 0.24, 0.24], [0.93, 0.76, 0.76], (ORGANS, 3))
    nearest = np.full(z.shape, np.inf)
    labels = np.zeros(z.shape, np.uint8)
    for number, (cz, cy, cx) in enumerate(centres, start=1):
        half = max(slices * 0.0975, 4)
        distance = ((z - cz * slices) / half) ** 2 + ((y - cy * SIZE) / 62) ** 2 + ((x - cx * SIZE) / 62) ** 2
        inside = (distance < nearest) & (distance < 1)
        labels[inside] = number
        nearest[inside] = distance[inside]
    for axis in range(3):
        labels = np.repeat(labels, step, axis)
    return np.ascontiguousarray(labels[:slices])


def segment_descriptions() -> list[Any]:
    """Return highdicom's descriptions of the organs."""
    import highdicom as hd

    algorithm = hd.AlgorithmIdentificationSequence("bench", hd.sr.CodedConcept("123110", "DCM", "AI"), "1")
    category = hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
    liver = hd.sr.CodedConcept("10200004", "SCT", "Liver")
    return [
        hd.seg.SegmentDescription(number, f"Organ {number}", category, liver, "AUTOMATIC", algorithm)
        for number in range(1, ORGANS + 1)
    ]


def make_study(directory: Path, scale: float) -> None:
    """Write the images, the segmentation (by highdicom) and the labels (NRRD and JSON for dcmqi)."""
    import highdicom as hd
    import pydicom

    labels = touching_organs(scale)
    np.save(directory / "labels.npy", labels)
    images = [pydicom.dcmread(path) for path in ct_series(directory / "ct", len(labels))]
    seg = hd.seg.Segmentation(
        images, labels, "BINARY", segment_descriptions(), hd.UID(), 2, hd.UID(), 1, "bench", "bench", "1", "1"
    )
    seg.save_as(directory / "seg.dcm")
    _write_nrrd(directory / "labels.nrrd", labels)
    code = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    category = {"CodeValue": "123037004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
    segments = [
        {
            "labelID": number,
            "SegmentLabel": f"Organ {number}",
            "SegmentDescription": f"Organ {number}",
            "SegmentAlgorithmType": "AUTOMATIC",
            "SegmentAlgorithmName": "bench",
            "SegmentedPropertyCategoryCodeSequence": category,
            "SegmentedPropertyTypeCodeSequence": code,
            "recommendedDisplayRGBValue": [number, 100, 100],
        }
        for number in range(1, ORGANS + 1)
        if (labels == number).any()
    ]
    metadata = {
        "ContentCreatorName": "Bench^Mark",
        "SeriesNumber": "2",
        "InstanceNumber": "1",
        "segmentAttributes": [segments],
    }
    (directory / "labels.json").write_text(json.dumps(metadata))


def _write_nrrd(path: Path, labels: np.ndarray) -> None:
    slices, rows, columns = labels.shape
    header = [
        "NRRD0004",
        "type: uint8",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {columns} {rows} {slices}",
        "space directions: (0.8,0,0) (0,0.8,0) (0,0,2.5)",
        "kinds: domain domain domain",
        "encoding: raw",
        "space origin: (-200,-200,0)",
    ]
    path.write_bytes(("\n".join(header) + "\n\n").encode() + labels.tobytes())


# --- Contestants, each run in a process of its own -----------------------------------------------------------------


def load_ours(directory: Path) -> dict[str, Any]:
    """dicombridge.load into a segmentation node."""
    import highdicom  # noqa: F401 - imports are not timed, neither ours nor the peers'

    import dicombridge
    import dicombridge.segmentation
    from dicombridge.loadable import Loadable

    scene = dicombridge.new_scene()
    loadable = Loadable(files=[str(directory / "seg.dcm")], name="seg", kind="SEG")
    before = peak()
    start = time.perf_counter()
    nodes = dicombridge.load(loadable, scene=scene)
    seconds = time.perf_counter() - start
    node = nodes[0]
    image = node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")
    from vtkmodules.util.numpy_support import vtk_to_numpy

    highest = peak()
    voxels = int(np.count_nonzero(vtk_to_numpy(image.GetPointData().GetScalars())))
    return {"seconds": seconds, "peak": highest, "before": before, "voxels": voxels}


def load_highdicom(directory: Path) -> dict[str, Any]:
    """highdicom's segread and get_volume."""
    import highdicom as hd

    before = peak()
    start = time.perf_counter()
    seg = hd.seg.segread(directory / "seg.dcm")
    volume = seg.get_volume(combine_segments=True)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": peak(), "before": before, "voxels": int(np.count_nonzero(volume.array))}


def floor(directory: Path) -> dict[str, Any]:
    """Reading the file and unpacking its bits into one array of labels: what no loader can be below, done plainly."""
    start = time.perf_counter()
    content = np.fromfile(directory / "seg.dcm", dtype=np.uint8)
    frames = len(content) * 8 // (SIZE * SIZE)
    packed = content[-frames * SIZE * SIZE // 8 :].reshape(frames, -1)
    total = 0
    for frame in packed:
        total += int(np.unpackbits(frame, bitorder="little")[0])
    return {"seconds": time.perf_counter() - start, "peak": peak(), "before": 0, "voxels": total}


def export_ours(directory: Path) -> dict[str, Any]:
    """dicombridge.export of the loaded node."""
    import dicombridge

    database = dicombridge.open_folder(directory, index=":memory:")
    scene = dicombridge.new_scene()
    loadable = next(one for one in dicombridge.examine(database) if one.kind == "SEG")
    nodes = dicombridge.load(loadable, scene=scene, database=database)
    before = peak()
    start = time.perf_counter()
    paths = dicombridge.export(nodes, directory / "ours", kind="SEG", database=database)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": peak(), "before": before, "voxels": paths[0].stat().st_size}


def export_highdicom(directory: Path) -> dict[str, Any]:
    """highdicom's constructor, with the file written."""
    import highdicom as hd
    import pydicom

    labels = np.load(directory / "labels.npy")
    images = [pydicom.dcmread(path) for path in sorted((directory / "ct").iterdir())]
    descriptions = segment_descriptions()
    before = peak()
    start = time.perf_counter()
    seg = hd.seg.Segmentation(
        images, labels, "BINARY", descriptions, hd.UID(), 2, hd.UID(), 1, "bench", "bench", "1", "1"
    )
    constructed = time.perf_counter() - start
    seg.save_as(directory / "highdicom.dcm")
    size = (directory / "highdicom.dcm").stat().st_size
    return {"seconds": constructed, "peak": peak(), "before": before, "voxels": size}


CONTESTANTS = (floor, load_ours, load_highdicom, export_ours, export_highdicom)


# --- The match -----------------------------------------------------------------------------------------------------


def run(scale: float = 1.0) -> dict[str, Any]:
    """Run all contestants and return their figures and the targets."""
    programs = Path(sysconfig.get_path("scripts"))
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        directory = Path(name)
        make(make_study, directory, scale)
        labels = np.load(directory / "labels.npy", mmap_mode="r")
        rows = []
        for function in (floor, load_ours, load_highdicom):
            result = in_process(function, directory)
            if function is not floor and result["voxels"] != int(np.count_nonzero(labels)):
                raise RuntimeError(f"{function.__name__} read {result['voxels']} voxels")
            rows.append(row_of("load", function.__name__.removeprefix("load_"), result))
        (directory / "dcmqi").mkdir()
        command = [str(programs / "segimage2itkimage"), "--mergeSegments", "--outputType", "nrrd"]
        command += ["--inputDICOM", str(directory / "seg.dcm"), "--outputDirectory", str(directory / "dcmqi")]
        rows.append(Row("load", "dcmqi", *program(command), "whole process"))
        for function in (export_ours, export_highdicom):
            rows.append(row_of("export", function.__name__.removeprefix("export_"), in_process(function, directory)))
        command = [str(programs / "itkimage2segimage"), "--inputDICOMDirectory", str(directory / "ct")]
        command += ["--inputImageList", str(directory / "labels.nrrd"), "--skip", "1"]
        command += ["--inputMetadata", str(directory / "labels.json"), "--outputDICOM", str(directory / "dcmqi.dcm")]
        rows.append(Row("export", "dcmqi", *program(command), "whole process"))
        return {
            "rows": rows,
            "frames": _frames(directory / "seg.dcm"),
            "bytes": (directory / "seg.dcm").stat().st_size + labels.nbytes,
        }


def _frames(path: Path) -> int:
    import pydicom

    return int(pydicom.dcmread(path, specific_tags=["NumberOfFrames"], stop_before_pixels=True).NumberOfFrames)


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the targets; return whether one is missed."""
    rows: list[Row] = result["rows"]
    size = result["bytes"]
    print(f"\nSegmentation: {ORGANS} organs, {result['frames']} frames; file and labels are {size / 1e6:.0f} MB")
    print_rows(rows)
    return print_targets(
        [
            Target("load, times faster than dcmqi", times_faster(rows, "load", "dcmqi"), 10.0),
            Target("load, times faster than highdicom", times_faster(rows, "load", "highdicom"), 6.0),
            Target("load, peak over bytes of file + labels", bytes_of(rows, "load") / size, 1.5, at_least=False),
            Target("export, times faster than dcmqi", times_faster(rows, "export", "dcmqi"), 5.0),
            Target("export, times faster than highdicom", times_faster(rows, "export", "highdicom"), 1.0),
        ]
    )


if __name__ == "__main__":
    main(make_study, CONTESTANTS, run, report)
