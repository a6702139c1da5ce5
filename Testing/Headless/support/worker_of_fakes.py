"""A worker whose engine is made up, so that it is known what it does when: ``python worker_of_fakes.py STATE``."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dicombridge.errors import AuthenticationError
from dicombridge.web.worker.handlers import HANDLERS
from dicombridge.web.worker.jobs import JobList
from dicombridge.web.worker.scheduling import Job
from dicombridge.web.worker.serving import serve


def search(job: Job, _jobs: JobList) -> dict[str, Any]:
    """Do what the patient's name says."""
    name, _, number = job.request.arguments["filters"].get("PatientName", "").partition(":")
    return dict(SEARCHES[name](job, int(number or 0)) or {})


def items(job: Job, count: int) -> dict[str, Any]:
    """Many items, as fast as they can be made."""
    for index in range(count):
        job.results.add({"index": index})
    return {"count": count}


def slow_items(job: Job, count: int) -> None:
    """A few items, then nothing for a long while."""
    job.results.add(*({"index": index} for index in range(count)))
    job.cancel.wait(60)


def hang(job: Job, _number: int) -> None:
    """A thread that nothing reaches, such as a name look-up."""
    del job
    threading.Event().wait(60)


def prints(_job: Job, _number: int) -> None:
    """What libraries and their children print."""
    print("a print")
    sys.stdout.write("no line end")
    os.write(1, b"to the file itself\n")
    os.system("echo a child")
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    logging.getLogger("library").warning("a warning")


def leaks(_job: Job, _number: int) -> None:
    """A library that repeats what it was sent, in its log and in its error."""
    from dicombridge.web import secrets
    from dicombridge.web.servers import Authentication, Server

    server = Server("https://example.org/dicom-web", authentication=Authentication("basic", {"user": "anna"}))
    password = secrets.get_secret(server, "password")
    assert password is not None
    logging.getLogger("library").error("sent %s", password.reveal())
    print("sent", file=sys.stderr)
    raise RuntimeError(f"the server did not like {password.reveal()!r}")


def refuses(_job: Job, _number: int) -> None:
    """A password is missing."""
    raise AuthenticationError("PACS wants a password.", details="401", needs=("password",))


def sign_in(_job: Job, _number: int) -> None:
    """Somebody has to sign in."""
    from dicombridge.web import secrets
    from dicombridge.web.authentication.base import Context, SignIn
    from dicombridge.web.servers import Server

    context = Context(Server("https://example.org/dicom-web"), secrets.session)
    assert context.sign_in is not None
    context.sign_in(SignIn("https://example.org/device", "ABCD-EFGH", 600.0))


def odd(job: Job, _number: int) -> dict[str, Any]:
    """Values that JSON has no words for."""
    job.results.add({"nan": float("nan"), "path": Path("x"), "half": "\ud800"})
    return {"infinite": float("inf")}


SEARCHES = {
    "items": items,
    "slow": slow_items,
    "hang": hang,
    "prints": prints,
    "leaks": leaks,
    "refuses": refuses,
    "odd": odd,
    "sign-in": sign_in,
}


def retrieve(job: Job, _jobs: JobList) -> dict[str, Any]:
    """Take as long as the number of connections says (tenths of a second); hang where the transfer syntax is 1.2."""
    given = job.request.arguments
    if given["transfer_syntax"] == "1.2":
        threading.Event().wait(60)
    steps = (given["connections"] or 1) * 100
    for step in range(steps):
        job.cancel.check()
        job.progress.set({"bytes": step + 1, "total_bytes": steps})
        time.sleep(0.001)
    missing = ["1.2.3"] if given["transfer_syntax"] == "1.3" else []
    return {"verified": ["1.2"], "missing": missing, "failed": {}}


if __name__ == "__main__":
    serve(Path(sys.argv[1]), handlers={**HANDLERS, "search": search, "retrieve": retrieve})
