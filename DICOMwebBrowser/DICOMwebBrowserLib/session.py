"""All that outlives the window: one session for each run of Slicer."""

from __future__ import annotations

import json
from typing import Any

import qt

from dicombridge.web.secrets import Secret
from DICOMwebBrowserLib.indexing import Indexing
from DICOMwebBrowserLib.jobs import Jobs
from DICOMwebBrowserLib.loading import load
from DICOMwebBrowserLib.query import Query
from DICOMwebBrowserLib.results import Results
from DICOMwebBrowserLib.retrieving import Retrieving
from DICOMwebBrowserLib.servers import Servers
from DICOMwebBrowserLib.settings import Settings
from DICOMwebBrowserLib.signals import Signal
from DICOMwebBrowserLib.worker import Worker

__all__ = ["Session", "close", "current"]


class Session:
    """The worker, the servers, the search and the transfers.

    Parameters
    ----------
    worker
        For tests; by default the worker of :mod:`dicombridge.web`.

    Attributes
    ----------
    notice
        Signal (kind, text, details): to be told to a person, once.
    state
        What a window leaves for the next one: the texts in its fields, what was open.
    """

    def __init__(self, worker: Worker | None = None) -> None:
        self.settings = Settings()
        self.worker = worker or Worker()
        self.servers = Servers(self.settings, self.worker)
        self.results = Results()
        self.query = Query(self.worker, self.results)
        self.indexing = Indexing()
        # In memory only. Connected before the transfers are, which need them when they are resumed.
        self._given: dict[tuple[str, str], tuple[dict[str, Any], Secret]] = {}
        self.worker.restarted.connect(self._give_again)
        self.jobs = Jobs(self.worker, self.indexing, self.settings, load)
        self.retrieving = Retrieving(self.worker, self.query, self.jobs)
        self.notice = Signal()
        self.state: dict[str, Any] = {}
        self.worker.died.connect(lambda text: self.notice.emit("warning", text, self.worker.log))
        self.worker.failed.connect(lambda text, details: self.notice.emit("error", text, details))

    @property
    def has_unfinished(self) -> bool:
        """Whether an earlier session may have left transfers unfinished; costs no process."""
        return bool(self.settings.value("Wishes", {}))

    def give_secret(self, server: dict[str, Any], field: str, value: str | None, keep: bool = False) -> None:
        """Hand a secret to the worker, and to the one that comes when this one dies; ``keep``: and the keychain."""
        key = (json.dumps(server, sort_keys=True), field)
        self._given.pop(key, None)  # so that the last comes last, where two of them are for the same server
        if value is not None:
            self._given[key] = (server, Secret(value))

        def failed(event: dict[str, Any]) -> None:
            error = event["error"]
            self.notice.emit("warning", str(error.get("message") or ""), str(error.get("details") or ""))

        self.worker.ask("secret", {"failed": failed}, server=server, field=field, value=value, keep=keep)

    def _give_again(self) -> None:
        for (_server, field), (server, secret) in self._given.items():
            self.worker.ask("secret", server=server, field=field, value=secret.reveal(), keep=False)

    def close(self) -> None:
        """End the worker; transfers are resumed by the next session."""
        self.worker.close()
        self.jobs.close()


_session: Session | None = None


def current() -> Session:
    """Return the session of this Slicer; the first call begins it."""
    global _session
    if _session is None:
        _session = Session()
        application = qt.QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(close)
    return _session


def close() -> None:
    """End the session."""
    global _session
    if _session is not None:
        _session.close()
        _session = None
