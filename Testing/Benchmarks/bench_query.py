"""Listing 100,000 studies of a server: ours beside dicomweb-client 0.61, and the time to the first page.

Run as ``python bench_query.py [scale]``. The server is a script that answers with pages of JSON made before, in a
process of its own; what is measured is the client.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from common import SUPPORT, Row, Target, bytes_of, in_process, main, peak, print_rows, print_targets, row_of

STUDIES = 100_000
PAGE = 500
FEW = 10
"""The list that memory is compared with is a tenth as long."""


def make(directory: Path, scale: float) -> None:
    """Write how many studies there are; the server makes them."""
    directory.joinpath("count").write_text(str(round(STUDIES * scale)))


def study(number: int) -> dict[str, Any]:
    """Return a study as DICOM JSON."""
    sys.path.insert(0, str(SUPPORT))
    from support.scripted_quirks import instance
    from support.scripted_server import dicom_json

    names = ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber", "StudyID")
    names += ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
    values = instance(number)
    return dicom_json({name: values[name] for name in names})


def serve(count: int) -> None:
    """Answer queries on a free port, which is printed; the pages differ in their UIDs only."""
    template = json.dumps(study(1)).replace(f"{_root()}.1", "@UID@")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
            offset = int(query.get("offset", 0))
            last = min(offset + int(query.get("limit", PAGE)), count)
            items = (template.replace("@UID@", f"{_root()}.{number}") for number in range(offset, last))
            body = f"[{','.join(items)}]".encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def _root() -> str:
    sys.path.insert(0, str(SUPPORT))
    from support.scripted_quirks import ROOT

    return ROOT


@contextmanager
def served(count: int) -> Iterator[str]:
    """Run the server, return its root, and end it."""
    process = subprocess.Popen([sys.executable, __file__, "serve", str(count)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/dicom-web"
    finally:
        process.kill()
        process.communicate()


def _ours(count: int) -> dict[str, Any]:
    from dicombridge import web
    from dicombridge.web import catalogue

    with served(count) as url:
        server = web.Server(url, profile=web.Profile(page_size=PAGE))
        next(catalogue.search(server, limit=1))  # what is imported at first use counts for nobody
        before, start = peak(), time.perf_counter()
        found = catalogue.search(server)
        next(found)
        first = time.perf_counter() - start
        number = 1 + sum(1 for _ in found)
        seconds = time.perf_counter() - start
    assert number == count, f"{number} of {count}"
    return {"seconds": seconds, "first": first, "before": before, "peak": peak()}


def ours(directory: Path) -> dict[str, Any]:
    """All studies, one by one."""
    return _ours(int(directory.joinpath("count").read_text()))


def ours_few(directory: Path) -> dict[str, Any]:
    """A tenth of them."""
    return _ours(int(directory.joinpath("count").read_text()) // FEW)


def dicomweb_client(directory: Path) -> dict[str, Any]:
    """What a program does with dicomweb-client: all pages as one list."""
    from dicomweb_client.api import DICOMwebClient

    count = int(directory.joinpath("count").read_text())
    with served(count) as url:
        client = DICOMwebClient(url)
        client.search_for_studies(limit=1)
        before, start = peak(), time.perf_counter()
        found = client.search_for_studies(limit=PAGE, get_remaining=True)
        seconds = time.perf_counter() - start
    assert len(found) == count, f"{len(found)} of {count}"
    return {"seconds": seconds, "first": seconds, "before": before, "peak": peak()}


def run(scale: float) -> dict[str, Any]:
    """Run all; return rows and targets."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make(directory, scale)
        results = {one.__name__: in_process(one, directory, 1) for one in (ours, ours_few, dicomweb_client)}
    rows = [row_of("query", name.replace("_", " "), result) for name, result in results.items()]
    first = results["ours"]["first"] / results["ours"]["seconds"]
    return {"rows": rows, "first": first, "first_ms": results["ours"]["first"] * 1000}


def report(results: dict[str, Any]) -> bool:
    """Print; return whether a target is missed."""
    rows: list[Row] = results["rows"]
    print_rows(rows)
    print(f"first page after {results['first_ms']:.0f} ms")
    more = (bytes_of(rows, "query") - bytes_of(rows, "query", "ours few")) / 1e6
    return print_targets(
        [
            Target("memory for ten times as many studies, MB more", more, 5, at_least=False),
            Target("first page, share of the whole time", results["first"], 0.05, at_least=False),
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]))
    else:
        main(make, (ours, ours_few, dicomweb_client), run, report)
