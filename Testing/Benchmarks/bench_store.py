"""500 CT slices (263 MB) to an Orthanc on loopback, against one instance a request as Slicer's DICOM sender does it.

The peer is dicomweb-client's ``store_instances`` with one dataset a call, read with pydicom: what DICOMSender of Slicer
does. Also all in one call of it, and ours with one instance a request on one connection. Before each run Orthanc is
emptied, because it ignores what it has. Time and memory are those of the storing process: imports are not timed, and
their memory counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import (
    SUPPORT,
    Row,
    Target,
    ct_series,
    in_process,
    main,
    make,
    peak,
    print_rows,
    print_targets,
    times_faster,
)

SLICES = 500
TIMES_FASTER, MOST_MEGABYTES = 2.0, 80.0
ROUNDS = 3


def slices(directory: Path, scale: float) -> None:
    """Write the slices."""
    ct_series(directory / "series", max(20, round(SLICES * scale)))


def _url(directory: Path) -> str:
    return (directory / "url").read_text()


def _measured(start: float, before: float, stored: int) -> dict[str, Any]:
    return {"seconds": time.perf_counter() - start, "before": before, "peak": peak(), "stored": stored}


# --- Contestants -----------------------------------------------------------------------------------------------------


def ours(directory: Path) -> dict[str, Any]:
    """dicombridge.web.store."""
    from dicombridge.web import Server, store

    server, before = Server(_url(directory)), peak()
    start = time.perf_counter()
    return _measured(start, before, len(store(server, directory / "series").stored))


def ours_one_by_one(directory: Path) -> dict[str, Any]:
    """The same, one instance a request, one request after the other."""
    from dicombridge.web import Server, store

    server, before = Server(_url(directory)), peak()
    start = time.perf_counter()
    return _measured(start, before, len(store(server, directory / "series", batch=1, connections=1).stored))


def sender(directory: Path) -> dict[str, Any]:
    """dicomweb-client, one instance a call."""
    import dicomweb_client
    import pydicom

    client, before = dicomweb_client.DICOMwebClient(_url(directory)), peak()
    start = time.perf_counter()
    stored = 0
    for path in sorted((directory / "series").iterdir()):
        answer = client.store_instances([pydicom.dcmread(path)])
        stored += len(answer.ReferencedSOPSequence)
    return _measured(start, before, stored)


def sender_at_once(directory: Path) -> dict[str, Any]:
    """dicomweb-client, all instances in one call."""
    import dicomweb_client
    import pydicom

    client, before = dicomweb_client.DICOMwebClient(_url(directory)), peak()
    start = time.perf_counter()
    answer = client.store_instances([pydicom.dcmread(path) for path in sorted((directory / "series").iterdir())])
    return _measured(start, before, len(answer.ReferencedSOPSequence))


CONTESTANTS = (ours, ours_one_by_one, sender, sender_at_once)
NAMES = {"ours": "ours", "ours_one_by_one": "ours, singly", "sender": "DICOMSender", "sender_at_once": "client, once"}


def run(scale: float = 1.0) -> dict[str, Any]:
    """Start an Orthanc, make the slices and run the contestants in turn; the best of their runs counts."""
    sys.path.insert(0, str(SUPPORT))
    from support.orthanc import start_orthanc

    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        make(slices, directory, scale)
        number = len(list((directory / "series").iterdir()))
        results: dict[str, dict[str, Any]] = {}
        with start_orthanc(directory / "orthanc") as orthanc:
            (directory / "url").write_text(orthanc.url)
            for _ in range(ROUNDS):
                for one in CONTESTANTS:
                    orthanc.clear()
                    result = in_process(one, directory, repetitions=1)
                    if not result["stored"] == len(orthanc.instance_ids()) == number:
                        raise RuntimeError(f"{one.__name__}: {number} slices, {result}")
                    best = results.setdefault(one.__name__, result)
                    best["seconds"] = min(best["seconds"], result["seconds"])
                    best["peak"] = max(best["peak"], result["peak"])
        size = sum(path.stat().st_size for path in (directory / "series").iterdir())
        rows = [Row("store", NAMES[name], result["seconds"], result["peak"]) for name, result in results.items()]
        return {"rows": rows, "slices": number, "bytes": size}


def report(result: dict[str, Any]) -> bool:
    """Print the figures and the targets; return whether one is missed."""
    rows: list[Row] = result["rows"]
    print(f"\nStore: {result['slices']} CT slices, {result['bytes'] / 1e6:.0f} MB, to Orthanc on loopback")
    print_rows(rows)
    memory = {row.name: row.bytes / 1e6 for row in rows}
    return print_targets(
        [
            Target("store, times faster than one a request", times_faster(rows, "store", "DICOMSender"), TIMES_FASTER),
            Target("store, peak MB of the whole process", memory["ours"], MOST_MEGABYTES, at_least=False),
        ]
    )


if __name__ == "__main__":
    main(slices, CONTESTANTS, run, report)
