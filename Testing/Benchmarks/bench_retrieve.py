"""Retrieving from an Orthanc on loopback, and through a line of 40 ms and 200 Mbit/s a connection.

``curl`` writes the same answer into one file, unseen; ours are 500 files, each verified and hashed, with the server's
count compared. dicomweb-client fetches instance by instance, as Slicer does with it, and writes them with pydicom.
Run as ``python bench_retrieve.py [scale]``; scale 1 is 500 CT slices and one multi-frame instance of 500 MB.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import common
from common import Contestant, Row, Target

SLICES = 500
FRAMES = 1000
ACCEPT = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
MOST_MEGABYTES = 80.0


# --- Data ----------------------------------------------------------------------------------------------------------


def make_data(directory: Path, scale: float) -> None:
    """Write a CT series with noise, which compresses as badly as a real one does, and a multi-frame instance."""
    import numpy as np
    import pydicom
    from pydicom.uid import generate_uid

    source = np.random.default_rng(1)
    body = np.hypot(*np.mgrid[-256:256, -256:256]) < 200
    for path in common.ct_series(directory / "ct", max(4, round(SLICES * scale))):
        dataset = pydicom.dcmread(path)
        noise = source.normal(0, 25, body.shape)
        dataset.PixelData = np.where(body, 40 + noise, -1000 + noise / 5).astype("<i2").tobytes()
        dataset.save_as(path, enforce_file_format=True)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.NumberOfFrames = max(4, round(FRAMES * scale))
    dataset.PixelData = dataset.PixelData * dataset.NumberOfFrames
    (directory / "large").mkdir()
    dataset.save_as(directory / "large" / "large.dcm", enforce_file_format=True)


def _uids(folder: Path) -> tuple[str, str]:
    import pydicom

    dataset = pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True)
    return str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID)


@contextmanager
def _servers(directory: Path) -> Iterator[None]:
    """Run Orthanc and the slow line, and write their addresses into files of the folder."""
    sys.path.insert(0, str(common.SUPPORT))
    from support.orthanc import start_orthanc

    with start_orthanc(directory / "orthanc") as orthanc:
        (directory / "rest").write_text(orthanc.rest)
        common.in_process(store, directory, 1)
        command = [sys.executable, str(Path(__file__).with_name("shaped_link.py")), str(orthanc.port)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as link:
            assert link.stdout is not None
            port = int(link.stdout.readline())
            addresses = {"direct": orthanc.url, "shaped": f"http://127.0.0.1:{port}/dicom-web"}
            for name in ("ct", "large"):
                addresses[f"study {name}"], addresses[f"series {name}"] = _uids(directory / name)
            (directory / "addresses.json").write_text(json.dumps(addresses))
            try:
                yield
            finally:
                link.terminate()
                link.wait()


def store(directory: Path) -> dict[str, Any]:
    """Store the files; in a process of its own, because that of curl would begin with the memory of this one."""
    import urllib.request

    rest = (directory / "rest").read_text()
    for path in sorted(directory.glob("*/*.dcm")):
        with urllib.request.urlopen(f"{rest}/instances", data=path.read_bytes()) as answer:
            answer.read()
    return {"seconds": 0.0}


# --- Contestants ---------------------------------------------------------------------------------------------------


def _new_folder(directory: Path) -> Path:
    """Return a new folder, on a quiet disk; what others wrote before should not be anybody's cost.

    Nothing is removed or written over before the end, by nobody: memory that was freed just now takes data faster than
    other memory.
    """
    folder = Path(tempfile.mkdtemp(prefix="retrieved-", dir=directory))
    os.sync()
    return folder


def _settle(directory: Path) -> None:
    """Make empty files until that is fast: ext4 takes its time where files were removed, as by the bench before."""
    for _ in range(40):
        folder = Path(tempfile.mkdtemp(prefix="empty-", dir=directory))
        start = time.perf_counter()
        for number in range(SLICES):
            (folder / str(number)).touch()
        if time.perf_counter() - start < 0.1:
            return


def _retrieved(directory: Path, way: str, name: str) -> dict[str, Any]:
    from dicombridge.web import catalogue  # imports are nobody's cost
    from dicombridge.web.retrieving import retrieve
    from dicombridge.web.servers import Server

    assert catalogue.__name__
    addresses = json.loads((directory / "addresses.json").read_text())
    target = _new_folder(directory)
    before = common.peak()
    start = time.perf_counter()
    report = retrieve(Server(addresses[way]), addresses[f"study {name}"], addresses[f"series {name}"], directory=target)
    seconds = time.perf_counter() - start
    peak = common.peak()
    sources = {path.read_bytes() for path in (directory / name).iterdir()} if name == "ct" else None
    if sources is not None and {path.read_bytes() for path in report.files} != sources:
        raise AssertionError("what was retrieved is not what was stored")
    return {"seconds": seconds, "peak": peak, "before": before, "proof": report.summary, "complete": report.complete}


def ours(directory: Path) -> dict[str, Any]:
    """Retrieve the slices."""
    return _retrieved(directory, "direct", "ct")


def ours_large(directory: Path) -> dict[str, Any]:
    """Retrieve the large instance."""
    return _retrieved(directory, "direct", "large")


def ours_shaped(directory: Path) -> dict[str, Any]:
    """Retrieve the slices through the slow line."""
    return _retrieved(directory, "shaped", "ct")


def _client_run(directory: Path, whole: bool) -> dict[str, Any]:
    from dicomweb_client import DICOMwebClient

    addresses = json.loads((directory / "addresses.json").read_text())
    study, series = addresses["study ct"], addresses["series ct"]
    target = _new_folder(directory)
    before = common.peak()
    start = time.perf_counter()
    client = DICOMwebClient(addresses["direct"])
    if whole:
        found = client.iter_series(study, series)
    else:
        uids = [one["00080018"]["Value"][0] for one in client.search_for_instances(study, series)]
        found = (client.retrieve_instance(study, series, uid) for uid in uids)
    count = 0
    for dataset in found:
        dataset.save_as(target / f"{dataset.SOPInstanceUID}.dcm", enforce_file_format=True)
        count += 1
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": common.peak(), "before": before, "proof": f"{count} files"}


def client(directory: Path) -> dict[str, Any]:
    """dicomweb-client, instance by instance."""
    return _client_run(directory, whole=False)


def client_series(directory: Path) -> dict[str, Any]:
    """dicomweb-client, the series in one answer."""
    return _client_run(directory, whole=True)


def _curl(directory: Path, way: str, name: str) -> dict[str, Any]:
    addresses = json.loads((directory / "addresses.json").read_text())
    url = f"{addresses[way]}/studies/{addresses[f'study {name}']}/series/{addresses[f'series {name}']}"
    target = _new_folder(directory) / "curl.bin"
    command = ["curl", "--silent", "--show-error", "--fail", "--output", str(target), "--header", ACCEPT, url]
    seconds, peak = common.program(command, 1)
    return {"seconds": seconds, "peak": peak, "before": 0.0, "proof": f"{target.stat().st_size / 1e6:.0f} MB"}


# --- The match -----------------------------------------------------------------------------------------------------


def _by_turns(discipline: str, contestant: Contestant, directory: Path, way: str, name: str, turns: int) -> list[Row]:
    """The rows of ours and of curl, the best of a few turns: what the machine does beside meets both."""
    found = [(common.in_process(contestant, directory, 1), _curl(directory, way, name)) for _ in range(turns)]
    best = [min(results, key=lambda result: result["seconds"]) for results in zip(*found, strict=True)]
    return [_row(discipline, who, result) for who, result in zip(("ours", "curl"), best, strict=True)]


def _row(discipline: str, name: str, result: dict[str, Any]) -> Row:
    """The row of a contestant; the memory is all that its process had, because that is what is promised."""
    return Row(discipline, name, result["seconds"], result["peak"], result["proof"])


def run(scale: float = 1.0) -> dict[str, Any]:
    """Return the rows.

    Parameters
    ----------
    scale
        1 is 500 slices and 500 MB.
    """
    if shutil.which("curl") is None:
        raise SystemExit("curl is not installed (Debian: curl)")
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        common.make(make_data, directory, scale)
        with _servers(directory):
            _curl(directory, "direct", "ct")  # Orthanc reads the files from the disk once
            _settle(directory)
            rows = [
                *_by_turns("slices", ours, directory, "direct", "ct", 5),
                _row("slices", "client", common.in_process(client, directory, 1)),
                _row("slices", "client, series", common.in_process(client_series, directory, 2)),
                *_by_turns("large", ours_large, directory, "direct", "large", 3),
                *_by_turns("shaped", ours_shaped, directory, "shaped", "ct", 2),
            ]
    return {"rows": rows, "scale": scale}


def report(result: dict[str, Any]) -> bool:
    """Print rows and targets; return whether one is missed. Small scales say little of adaptive connections."""
    rows: list[Row] = result["rows"]
    print(f"\nRetrieving {round(SLICES * result['scale'])} slices, and one large instance")
    common.print_rows(rows)
    targets = [
        Target("slices: of curl's time", 1 / common.times_faster(rows, "slices", "curl"), 1.6, at_least=False),
        Target("slices: times faster than client", common.times_faster(rows, "slices", "client"), 5.0),
        Target("slices: peak MB", common.bytes_of(rows, "slices") / 1e6, MOST_MEGABYTES, at_least=False),
        Target("large: of curl's time", 1 / common.times_faster(rows, "large", "curl"), 1.6, at_least=False),
        Target("large: peak MB", common.bytes_of(rows, "large") / 1e6, MOST_MEGABYTES, at_least=False),
        Target("shaped: times faster than one stream", common.times_faster(rows, "shaped", "curl"), 3.0),
    ]
    return common.print_targets(targets)


if __name__ == "__main__":
    common.main(make_data, [store, ours, ours_large, ours_shaped, client, client_series], run, report)
