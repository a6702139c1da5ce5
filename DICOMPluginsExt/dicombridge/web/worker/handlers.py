"""What the commands do: the engine is called, and its values become those of the protocol."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dicombridge.web.servers import Server
from dicombridge.web.worker.jobs import JobList
from dicombridge.web.worker.output import hidden
from dicombridge.web.worker.scheduling import Job

__all__ = ["HANDLERS", "error_of", "resolve"]

Result = dict[str, Any]


def resolve(server: Any) -> Server:
    """Return the server that a request means: its JSON form, a saved name, an address or a path."""
    if isinstance(server, dict):
        return Server.from_json(server)
    from dicombridge import web

    found: Server = web.server(server)
    return found


def error_of(error: BaseException) -> dict[str, Any]:
    """Return the protocol's ``error`` of an exception."""
    message = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    kinds = (kind.__name__ for kind in type(error).__mro__)
    return {
        "kind": next(name for name in kinds if not name.startswith("_")),  # those are nobody's but the engine's
        "message": message or type(error).__name__,
        "details": str(getattr(error, "details", "") or ""),
        "needs": [str(name) for name in getattr(error, "needs", ()) or ()],
    }


def _servers(job: Job, _jobs: JobList) -> Result:
    from dicombridge.web.presets import PRESETS
    from dicombridge.web.saved import SavedServers

    return {
        "servers": [server.to_json() for server in SavedServers().all()],
        "presets": [preset.to_json() for preset in PRESETS],
    }


def _secret(job: Job, _jobs: JobList) -> Result:
    """Only what needs the keychain comes here: it may ask the person, and that takes its time."""
    from dicombridge.web import secrets

    given = job.request.arguments
    server = resolve(given["server"])
    if given["value"] is None:
        secrets.forget_secret(server, given["field"])
    else:
        secrets.set_secret(server, given["field"], given["value"], keep=given["keep"])
    return {}


def _doctor(job: Job, _jobs: JobList) -> Result:
    from dicombridge import web
    from dicombridge.web.saved import SavedServers

    given = job.request.arguments["server"]
    diagnosis = web.doctor(
        Server.from_json(given) if isinstance(given, dict) else SavedServers().get(given) or given,
        cancel=job.cancel,
        found=lambda finding: job.emit("finding", **finding.to_json()),
    )
    values = dict(diagnosis.to_json())
    return {**values, "findings": hidden(values["findings"])}


def _search(job: Job, _jobs: JobList) -> Result:
    from dicombridge import web

    given = job.request.arguments
    limit, offset = given["limit"], given["offset"]

    def found(limit: int | None, offset: int, told: Callable[[str], None]) -> Iterator[dict[str, Any]]:
        return web.search(
            resolve(given["server"]),
            given["level"],
            study=given["study"],
            series=given["series"],
            limit=limit,
            offset=offset,
            fields=given["fields"],
            fuzzy=given["fuzzy"],
            cancel=job.cancel,
            told=told,
            **given["filters"],
        )

    job.results.extend(found(limit, offset, job.tell))
    job.results.flush()
    count = job.results.count
    # Not one more in the first query: pages are sorted, and the one too many need not be the server's last.
    more = count == limit and next(found(1, offset + count, lambda text: None), None) is not None
    return {"count": count, "more": more, "offset": offset + count}


def _details(job: Job, _jobs: JobList) -> Result:
    from dicombridge import web

    given = job.request.arguments
    found = web.details(resolve(given["server"]), given["study"], given["series"], cancel=job.cancel, told=job.tell)
    return dict(found.to_json())


def _tags(job: Job, _jobs: JobList) -> Result:
    from dicombridge import web
    from dicombridge.web.catalogue import tag_rows

    given = job.request.arguments
    place = (given["study"], given["series"], given["instance"])
    for dataset in web.metadata(resolve(given["server"]), *place, cancel=job.cancel):
        job.results.extend(tag_rows(dataset))
        break  # one instance; the others of a series differ in few attributes
    return {"count": job.results.count}


def _thumbnails(job: Job, _jobs: JobList) -> Result:
    from dicombridge import web

    given = job.request.arguments
    found = web.thumbnails(
        resolve(given["server"]),
        given["study"],
        given["series"],
        given["instance"],
        frames=given["frames"],
        size=given["size"],
        cancel=job.cancel,
    )
    for one in found:
        data = base64.b64encode(one.data).decode("ascii")
        job.results.add({"instance": one.instance, "frame": one.frame, "media_type": one.media_type, "data": data})
    return {"count": job.results.count}


def _retrieve(job: Job, jobs: JobList) -> Result:
    from dicombridge import web

    given = job.request.arguments
    report = web.retrieve(
        resolve(given["server"]),
        study=given["study"],
        series=given["series"],
        instances=given["instances"],
        directory=Path(given["directory"]),
        transfer_syntax=given["transfer_syntax"],
        connections=given["connections"],
        progress=lambda progress: job.progress.set(progress.to_json()),
        arrived=lambda files: job.files.add(*map(str, files)),
        cancel=job.cancel,
    )
    return _told(report)


def _store(job: Job, _jobs: JobList) -> Result:
    from dicombridge import web

    given = job.request.arguments
    report = web.store(
        resolve(given["server"]),
        given["paths"],
        progress=lambda progress: job.progress.set(progress.to_json()),
        stored=lambda outcome: job.results.add({**outcome.to_json(), "reason": hidden(outcome.reason)}),
        check=given["check"],
        study=given["study"] or "",
        ask_first=given["ask_first"],
        deidentify=given["deidentify"],
        connections=given["connections"],
        cancel=job.cancel,
    )
    return _told(report)


def _told(report: Any) -> Result:
    """Return a report without the secrets that reasons may repeat; UIDs and paths stay as they are."""
    values = dict(report.to_json())
    for name in ("failed", "unconfirmed", "warnings", "skipped"):
        if isinstance(values.get(name), dict):
            values[name] = {key: hidden(reason) for key, reason in values[name].items()}
    return values


def _google(job: Job, _jobs: JobList) -> Result:
    from dicombridge.web import google

    given = job.request.arguments
    project, location, dataset = (given[name] or "" for name in ("project", "location", "dataset"))
    return {"names": google.names(given["what"], project, location, dataset, job.cancel)}


def _jobs(job: Job, jobs: JobList) -> Result:
    return {"jobs": jobs.unfinished()}


def _forget(job: Job, jobs: JobList) -> Result:
    jobs.remove(job.request.arguments["job"])
    return {}


HANDLERS: dict[str, Callable[[Job, JobList], Result]] = {
    "secret": _secret,
    "servers": _servers,
    "doctor": _doctor,
    "search": _search,
    "details": _details,
    "tags": _tags,
    "thumbnails": _thumbnails,
    "retrieve": _retrieve,
    "store": _store,
    "google": _google,
    "jobs": _jobs,
    "forget": _forget,
    "ping": lambda job, jobs: {},
}
