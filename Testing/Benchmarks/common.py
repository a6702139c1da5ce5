"""What all benchmarks share: processes of contestants, their figures, the images that they start from.

A script has contestants, functions that are given a folder and return ``seconds``, ``peak`` and ``before`` (bytes of
the process) and whatever proves that they did the work. Each runs in a process of its own.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SLICES, SIZE = 300, 512
REPETITIONS = 3
LIBRARY = Path(__file__).parents[2] / "DICOMPluginsExt"
SUPPORT = Path(__file__).parents[1] / "Headless"
"""Where the package ``support`` of the tests lies."""

Contestant = Callable[[Path], dict[str, Any]]


@dataclass
class Row:
    """One contestant in one discipline; ``bytes`` are those of its peak memory."""

    discipline: str
    name: str
    seconds: float
    bytes: float
    note: str = ""


@dataclass
class Target:
    """What a figure should be: at least so much, or at most."""

    name: str
    value: float
    wanted: float
    at_least: bool = True

    @property
    def missed(self) -> bool:
        """Whether it is not reached."""
        return self.value < self.wanted if self.at_least else self.value > self.wanted


def row_of(discipline: str, name: str, result: dict[str, Any], note: str = "") -> Row:
    """Return the row of what a contestant returned: its memory is what it took above what it started with."""
    return Row(discipline, name, result["seconds"], result["peak"] - result["before"], note)


# --- Processes -----------------------------------------------------------------------------------------------------


def peak() -> float:
    """Return the peak resident bytes of this process (ru_maxrss would begin with those of the parent)."""
    status = Path("/proc/self/status").read_text()
    return 1024.0 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def in_process(contestant: Contestant, directory: Path, repetitions: int = REPETITIONS) -> dict[str, Any]:
    """Run a contestant in new processes of its script (:func:`main`); the best of the runs counts, of each alike."""
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, inspect.getfile(contestant), contestant.__name__, str(directory)]
    results = []
    for _ in range(repetitions):
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
        results.append(json.loads(output.splitlines()[-1]))
    return dict(min(results, key=lambda result: result["seconds"]))


def program(command: list[str], repetitions: int = REPETITIONS) -> tuple[float, float]:
    """Return wall seconds and peak bytes of a program, the best of a few runs.

    The peak is right only while this process is small: a child's begins with its parent's.
    """
    best = (float("inf"), 0.0)
    for _ in range(repetitions):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status != 0:
            raise RuntimeError(f"{command[0]} ended with status {status}")
        best = min(best, (seconds, usage.ru_maxrss * 1024.0))
    return best


def make(maker: Callable[[Path, float], None], directory: Path, scale: float) -> None:
    """Make what the contestants work on, in a process of its script, so that this one stays small."""
    subprocess.run([sys.executable, inspect.getfile(maker), maker.__name__, str(directory), str(scale)], check=True)


def main(
    maker: Callable[[Path, float], None],
    contestants: Sequence[Contestant],
    run: Callable[[float], dict[str, Any]],
    report: Callable[[dict[str, Any]], bool],
) -> None:
    """Make the data or run one contestant (:func:`make` and :func:`in_process` call so), or the match."""
    known = {one.__name__: one for one in contestants}
    if len(sys.argv) == 4 and sys.argv[1] == maker.__name__:
        warnings.simplefilter("ignore")
        maker(Path(sys.argv[2]), float(sys.argv[3]))
    elif len(sys.argv) == 3 and sys.argv[1] in known:
        print(json.dumps(known[sys.argv[1]](Path(sys.argv[2]))))
    else:
        sys.exit(report(run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)))


# --- Figures -------------------------------------------------------------------------------------------------------


def print_rows(rows: Sequence[Row], ours: str = "ours") -> None:
    """Print a table; its last column is how many times as long as ours a contestant took."""
    print(f"{'':8}{'':14}{'seconds':>9}{'peak MB':>10}{'of ours':>9}")
    own = {row.discipline: row for row in rows if row.name == ours}
    for row in rows:
        ratio = row.seconds / own[row.discipline].seconds
        print(f"{row.discipline:8}{row.name:14}{row.seconds:9.2f}{row.bytes / 1e6:10.0f}{ratio:8.1f}x  {row.note}")


def times_faster(rows: Sequence[Row], discipline: str, peer: str, ours: str = "ours") -> float:
    """Return how many times as long as ours a peer took."""
    seconds = {row.name: row.seconds for row in rows if row.discipline == discipline}
    return seconds[peer] / seconds[ours]


def bytes_of(rows: Sequence[Row], discipline: str, name: str = "ours") -> float:
    """Return the peak memory of a contestant."""
    return next(row.bytes for row in rows if (row.discipline, row.name) == (discipline, name))


def print_targets(targets: Sequence[Target]) -> bool:
    """Print the targets; return whether one is missed."""
    for target in targets:
        wanted = f"target {'>=' if target.at_least else '<='} {target.wanted:g}"
        print(f"{target.name:42}{target.value:7.2f}  {wanted}  {'MISSED' if target.missed else 'reached'}")
    return any(target.missed for target in targets)


# --- Images --------------------------------------------------------------------------------------------------------


def ct_series(directory: Path, slices: int) -> list[Path]:
    """Write the source images."""
    import pydicom
    from pydicom.uid import generate_uid

    directory.mkdir()
    study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
    paths = []
    for number in range(slices):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame_of_reference, ""
        dataset.PatientName, dataset.PatientID = "Bench^Mark", "B1"
        dataset.PatientBirthDate, dataset.PatientSex = "", "O"
        dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber, dataset.StudyID = "20260101", "120000", "", "1"
        dataset.ReferringPhysicianName, dataset.Manufacturer = "", "bench"
        dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", 1, number + 1
        dataset.ImagePositionPatient = [-200, -200, number * 2.5]
        dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.8, 0.8]
        dataset.SliceThickness, dataset.Rows, dataset.Columns = 2.5, SIZE, SIZE
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
        dataset.PixelData = bytes(2 * SIZE * SIZE)
        path = directory / f"{number:03d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
