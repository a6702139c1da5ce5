"""Indexing a folder of small files: FolderDatabase beside dicomweb_client.DICOMfileClient and a plain pydicom loop.

Run as ``python bench_database.py [scale]``; scale 1 is 10,000 files. Only ratios within one run mean anything.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

FILES = 10_000
SLICES = 100


def make_folder(directory: Path, count: int) -> None:
    """Write ``count`` CT files, ``SLICES`` a series: one is made by pydicom, the others are its bytes, patched."""
    import pydicom
    from pydicom.data import get_testdata_file

    template = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    template.Rows = template.Columns = 16
    template["PixelData"].value = bytes(16 * 16 * 2)
    instance, series, study = "1.2.3.4.5.1.1000000", "1.2.3.4.5.2.1000000", "1.2.3.4.5.3.1000000"
    template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = instance
    template.SeriesInstanceUID, template.StudyInstanceUID = series, study
    template.ImagePositionPatient = [-158.1, -179.1, 1000.5]
    model = directory / "model.dcm"
    template.save_as(model)
    data = model.read_bytes()
    model.unlink()
    for number in range(count):
        where = number // SLICES
        folder = directory / f"series{where:05d}"
        if number % SLICES == 0:
            folder.mkdir()
        patched = data.replace(instance.encode(), b"1.2.3.4.5.1.1%06d" % number)
        patched = patched.replace(series.encode(), b"1.2.3.4.5.2.1%06d" % where)
        patched = patched.replace(study.encode(), b"1.2.3.4.5.3.1%06d" % (where // 5))
        patched = patched.replace(b"1000.5", b"%04d.5" % (number % SLICES))
        (folder / f"{number % SLICES:05d}.dcm").write_bytes(patched)


def pydicom_loop(directory: Path) -> dict[str, dict[str, str]]:
    """Read the tags that the index keeps, with pydicom alone."""
    import pydicom

    from dicombridge.database.indexed_tags import INDEXED_TAGS

    tags = list(INDEXED_TAGS)
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
            found[str(path)] = {element.keyword: str(element.value) for element in dataset}
    return found


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run(scale: float = 1.0) -> list[tuple[str, float, float]]:
    """Return ``(name, seconds, times of our first indexing)`` of each contender.

    Parameters
    ----------
    scale
        1 is 10,000 files.
    """
    from dicomweb_client import DICOMfileClient

    from dicombridge.database import FolderDatabase

    count = max(SLICES, round(FILES * scale))
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder, index = Path(temporary) / "files", Path(temporary) / "index.sqlite"
        folder.mkdir()
        make_folder(folder, count)
        pydicom_loop(folder / "series00000")  # imports and the like are nobody's cost
        with FolderDatabase(folder, index) as database:
            first = _timed(database.refresh)
            if len(database.allFiles()) != count:
                raise AssertionError(f"{len(database.allFiles())} of {count} files indexed\n{database.report}")
            seconds = {
                "dicombridge FolderDatabase, first refresh": first,
                "dicombridge FolderDatabase, nothing changed": _timed(database.refresh),
            }
        seconds["pydicom loop, the same tags"] = _timed(lambda: pydicom_loop(folder))
        # The client keeps its index in memory here; ours was written to disk.
        client_url = f"file://{folder}"
        seconds["dicomweb_client.DICOMfileClient, indexing"] = _timed(
            lambda: DICOMfileClient(client_url, in_memory=True, update_db=True)
        )
    return [(name, value, value / first) for name, value in seconds.items()]


def report(rows: list[tuple[str, float, float]]) -> None:
    """Print a table."""
    print("\nIndexing a folder of small CT files")
    for name, seconds, ratio in rows:
        print(f"  {name:45s} {seconds:9.3f} s {ratio:9.3f} x")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "DICOMPluginsExt"))
    report(run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))
