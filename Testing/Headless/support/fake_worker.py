"""A worker that does as it is told: slow, silent, dying, wrong passwords, a hundred thousand studies.

It speaks the lines of :mod:`dicombridge.web.worker.protocol`, whose parser checks what the window sends, and answers as
the JSON object in its first argument says::

    studies, series     how many studies there are, and series in each
    delay               seconds before an answer, and between batches
    hang                commands that are never answered (a cancel still works)
    die                 commands on which the process ends at once; once only, where the file ``died`` can be made
    fail                {command: error}
    needs               name of a secret without which searches fail
    sources             folders, whose files "arrive" in a retrieve
    instances, pause    how many objects a retrieve brings where there are no sources, and seconds between its batches
    references          [{study, series, instances, what}] of every series with the modality SEG
    names               what Google lists
    sign_in             commands in which somebody has to sign in, with a code, before they go on
    without_pictures    nothing has a picture
    log                 file to which every request is written
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dicombridge.web.worker.protocol import BadRequestError, Request, parse, to_line

MODALITIES = ("CT", "MR", "PT", "SEG")


class Stopped(Exception):
    """The request was cancelled."""


class FakeWorker:
    """The process."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.lock = threading.Lock()
        self.cancelled: dict[str, threading.Event] = {}
        self.paused: dict[str, threading.Event] = {}
        self.secrets: dict[str, str] = {}

    def say(self, event: str, request: Request | None = None, **members: Any) -> None:
        with self.lock:
            sys.stdout.buffer.write(to_line({"id": request.id if request else None, "event": event, **members}))
            sys.stdout.buffer.flush()

    def run(self) -> None:
        self.say("ready", version="0", pid=os.getpid(), protocol=1)
        for line in sys.stdin.buffer:
            try:
                request = parse(line)
            except BadRequestError as error:
                self.say("failed", error={"kind": "BadRequest", "message": str(error), "details": "", "needs": []})
                continue
            self.note(request)
            if request.do in ("cancel", "pause", "resume"):
                self.steer(request)
                continue
            self.cancelled[request.id], self.paused[request.id] = threading.Event(), threading.Event()
            threading.Thread(target=self.serve, args=(request,), daemon=True).start()

    def note(self, request: Request) -> None:
        if log := self.options.get("log"):
            arguments = {key: value for key, value in request.arguments.items() if key != "value"}
            with Path(log).open("a") as file:
                file.write(json.dumps({"do": request.do, **arguments}) + "\n")
        if request.do in self.options.get("die", ()):
            died = Path(self.options["died"]) if self.options.get("died") else None
            if died is None or not died.exists():
                if died:
                    died.touch()
                os._exit(3)

    def steer(self, request: Request) -> None:
        job = request.arguments["job"]
        if job in self.cancelled:
            if request.do == "cancel":
                self.cancelled[job].set()
            elif request.do == "pause":
                self.paused[job].set()
            else:
                self.paused[job].clear()
        self.say("done", request, result={"found": job in self.cancelled})

    def wait(self, request: Request, seconds: float) -> None:
        if self.cancelled[request.id].wait(seconds):
            raise Stopped

    def serve(self, request: Request) -> None:
        try:
            if request.do in self.options.get("hang", ()):
                self.wait(request, 1e6)
            self.wait(request, self.options.get("delay", 0))
            error = self.options.get("fail", {}).get(request.do) or self.lacking(request)
            if error:
                self.say("failed", request, error={"details": "", "needs": [], **error})
                return
            if request.do in self.options.get("sign_in", ()):
                self.say("sign-in", request, url="https://login.invalid", code="ABCD-EFGH", seconds=600)
                self.wait(request, 0.5)
            self.say("done", request, result=getattr(self, f"do_{request.do}", lambda request: {})(request))
        except Stopped:
            self.say("cancelled", request)
        finally:
            self.cancelled.pop(request.id, None)

    def lacking(self, request: Request) -> dict[str, Any] | None:
        name = self.options.get("needs")
        if not name or request.do not in ("search", "retrieve", "store") or self.secrets.get(name) == "right":
            return None
        if name in self.secrets:
            return {"kind": "AuthenticationError", "message": "The password was refused."}
        return {"kind": "AuthenticationError", "message": "The password is missing.", "needs": [name]}

    # Commands ----------------------------------------------------------------------------------------------------

    def do_secret(self, request: Request) -> dict[str, Any]:
        self.secrets[request.arguments["field"]] = request.arguments["value"]
        return {}

    def do_servers(self, request: Request) -> dict[str, Any]:
        presets = [
            {"name": "orthanc", "title": "Orthanc", "address": "http://{host}:8042/dicom-web"}
            | {"words": {"host": "localhost"}, "ways": ["none", "basic"], "profile": {"product": "Orthanc"}},
            {"name": "public", "title": "Public archive", "address": "https://example.org/dicom-web"}
            | {"words": {}, "ways": ["none"], "profile": {}},
        ]
        return {"servers": [], "presets": presets}

    def do_doctor(self, request: Request) -> dict[str, Any]:
        findings = [("address", True, "It answers."), ("paging", True, "Pages work."), ("wildcard", None, "Not known.")]
        for what, ok, text in findings:
            self.say("finding", request, what=what, ok=ok, text=text)
        given = request.arguments["server"]
        server = given if isinstance(given, dict) else {"url": "http://found.example/dicom-web", "name": "found"}
        return {"server": {**server, "profile": {"product": "Found"}}, "findings": []}

    def do_search(self, request: Request) -> dict[str, Any]:
        given = request.arguments
        if given["level"] == "instance":
            items = [{"SOPInstanceUID": uid} for uid in self.instances_of(given["series"])]
            self.say("results", request, items=items)
            return {"count": len(items), "more": False, "offset": len(items)}
        every = list(self.series_of(given["study"])) if given["level"] == "series" else None
        total = len(every) if every is not None else self.count_of(given["filters"])
        offset, limit = given["offset"], given["limit"]
        end = total if limit is None else min(total, offset + limit)
        for start in range(offset, end, 500):
            numbers = range(start, min(end, start + 500))
            items = [every[number] for number in numbers] if every is not None else list(map(study_item, numbers))
            self.say("results", request, items=items)
            self.wait(request, self.options.get("delay", 0))
        return {"count": max(0, end - offset), "more": end < total, "offset": end}

    def count_of(self, filters: dict[str, Any]) -> int:
        name = str(filters.get("PatientName", ""))
        if name.startswith("nobody") or "AccessionNumber" in filters:
            return 0
        return int(self.options.get("studies", 3))

    def series_of(self, study: str | None) -> Iterator[dict[str, Any]]:
        for number in range(self.options.get("series", 4) if study else 0):
            yield {
                **{"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.{number + 1}", "SeriesNumber": number + 1},
                **{"Modality": MODALITIES[number % 4], "SeriesDescription": f"Part {number + 1}"},
                "NumberOfSeriesRelatedInstances": self.options.get("instances", 10),
            }

    def instances_of(self, series: str) -> list[str]:
        sources = self.sources()
        if sources:
            return [header(path).SOPInstanceUID for path in sources if header(path).SeriesInstanceUID == series]
        return [f"{series}.{number}" for number in range(int(self.options.get("instances", 10)))]

    def sources(self) -> list[Path]:
        return [path for name in self.options.get("sources", ()) for path in sorted(Path(name).rglob("*.dcm"))]

    def do_details(self, request: Request) -> dict[str, Any]:
        is_seg = request.arguments["series"].endswith(".4")
        references = self.options.get("references", []) if is_seg else []
        return {"instances": 10, "size_bytes": 5_300_000, "references": references}

    def do_google(self, request: Request) -> dict[str, Any]:
        return {"names": self.options.get("names", [])}

    def do_tags(self, request: Request) -> dict[str, Any]:
        items = [{"tag": "00100010", "keyword": "PatientName", "vr": "PN", "value": "Doe^Jane"}]
        items += [{"tag": f"0028{n:04X}", "keyword": f"Attribute{n}", "vr": "US", "value": n} for n in range(200)]
        self.say("results", request, items=items)
        return {"count": len(items)}

    def do_thumbnails(self, request: Request) -> dict[str, Any]:
        if self.options.get("without_pictures"):
            return {"count": 0}
        items = [
            {"instance": f"1.{n}", "frame": 1, "media_type": "image/png", "data": picture(n).decode()} for n in range(9)
        ]
        self.say("results", request, items=items)
        return {"count": len(items)}

    def do_retrieve(self, request: Request) -> dict[str, Any]:
        given = request.arguments
        self.say("kept", request, job=given["job"] or f"job-{given['series']}")
        self.say("state", request, state="running")
        folder = Path(given["directory"])
        folder.mkdir(parents=True, exist_ok=True)
        sources = self.sources()
        if sources:
            sources = [path for path in sources if given["series"] in (None, str(header(path).SeriesInstanceUID))]
        if given["instances"]:
            sources = [path for path in sources if header(path).SOPInstanceUID in given["instances"]]
        total = len(sources) or int(self.options.get("instances", 10))
        size = 500_000 * total
        for start in range(0, total, 50):
            while self.paused[request.id].is_set():
                self.say("state", request, state="paused")
                self.wait(request, 0.05)
                if not self.paused[request.id].is_set():
                    self.say("state", request, state="running")
            done = min(total, start + 50)
            files = [str(shutil.copy(path, folder / path.name)) for path in sources[start:done]]
            files = files or [str(folder / f"{number}.dcm") for number in range(start, done)]
            self.say("files", request, files=files)
            numbers = {"bytes": size * done // total, "total_bytes": size, "instances": done, "total_instances": total}
            self.say("progress", request, **numbers, bytes_per_second=12e6, seconds_left=(total - done) / 24)
            self.wait(request, self.options.get("pause", 0))
        return {"verified": [], "missing": [], "failed": {}, "summary": f"{total} of {total} verified"}

    def do_store(self, request: Request) -> dict[str, Any]:
        failed = {}
        for number, path in enumerate(request.arguments["paths"]):
            bad = "bad" in path and not Path(path).with_suffix(".sent").exists()
            state, reason = ("failed", "The server has no room left.") if bad else ("stored", "")
            if bad:
                failed[path] = reason
            self.say(
                "results", request, items=[{"uid": f"1.2.{number}", "path": path, "state": state, "reason": reason}]
            )
        total = len(request.arguments["paths"])
        return {"failed": failed, "summary": f"{total - len(failed)} of {total} stored"}


def study_item(number: int) -> dict[str, Any]:
    return {
        "StudyInstanceUID": f"1.2.826.{number}",
        "PatientName": f"Person{number * 7919 % 100_003:06d}^Given",
        "PatientID": f"ID{number}",
        "StudyDate": f"20{number % 25:02d}0{number % 9 + 1}15",
        "StudyDescription": f"Study {number}",
        "ModalitiesInStudy": ["CT", "SEG"],
        "NumberOfStudyRelatedInstances": 40,
    }


def picture(number: int) -> bytes:
    """Return a slice of a head that never was, as base64."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (128, 128))
    draw = ImageDraw.Draw(image)
    size = 30 + 5 * min(number, 8 - number) * 2
    for shrink, grey in ((0, 225), (5, 95), (size // 2, 130)):
        draw.ellipse((64 - size * 0.8 + shrink, 64 - size + shrink, 64 + size * 0.8 - shrink, 64 + size - shrink), grey)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue())


def header(path: Path) -> Any:
    import pydicom

    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID", "SOPInstanceUID"])


if __name__ == "__main__":
    FakeWorker(json.loads(sys.argv[1])).run()
