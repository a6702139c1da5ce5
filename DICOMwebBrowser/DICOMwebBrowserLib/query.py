"""A search on a server: its readings one after the other, its pages, and the series of a study when they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from DICOMwebBrowserLib.results import Results
from DICOMwebBrowserLib.search_terms import Attempt
from DICOMwebBrowserLib.signals import Signal
from DICOMwebBrowserLib.worker import Worker

__all__ = ["PAGE", "Query"]

PAGE = 200
"""Studies that one request asks for."""

Event = dict[str, Any]


class Query:
    """The search that the window shows; it goes on while no window is open.

    Attributes
    ----------
    changed
        Signal: began, went on, or ended.
    told
        Signal (text): what a person should know of the answer.
    failed
        Signal (error of the worker, function that tries again).
    """

    def __init__(self, worker: Worker, results: Results) -> None:
        self._worker, self.results = worker, results
        self.changed, self.told, self.failed = Signal(), Signal(), Signal()
        self.server: dict[str, Any] = {}
        self.attempt: Attempt | None = None
        self.has_more = False
        self.is_running = False
        self.is_stopped = False
        self.notes: list[str] = []
        self._rest: list[Attempt] = []
        self._filters: dict[str, Any] = {}
        self._offset = 0
        self._sent: Any = None
        self._waiting: dict[str, list[Callable[[], None]]] = {}

    @property
    def was_asked(self) -> bool:
        """Whether there was a search at all."""
        return self.attempt is not None

    @property
    def filters(self) -> dict[str, Any]:
        """All filters of the search that is shown."""
        return {**self._filters, **(self.attempt.filters if self.attempt else {})}

    def start(self, server: dict[str, Any], attempts: list[Attempt], filters: dict[str, Any]) -> None:
        """Search anew.

        Parameters
        ----------
        server
            Where.
        attempts
            Readings of the search line; each is tried where those before found nothing.
        filters
            What holds for all of them: dates, modalities, description.
        """
        self.stop()
        self._waiting.clear()
        self.results.clear()
        self.server, self._rest, self._filters = server, list(attempts), dict(filters)
        self.notes.clear()
        self._next_attempt()

    def more(self, everything: bool = False) -> None:
        """Ask for the next page, or for all that is left."""
        if self.has_more and not self.is_running:
            self._ask(None if everything else PAGE)

    def stop(self) -> None:
        """End the search; what has come stays."""
        sent, self._sent = self._sent, None
        if sent is not None and not sent.ended:
            sent.cancel()
        if self.is_running:
            self.is_running, self.is_stopped = False, True
            self.changed.emit()

    def fetch_series(
        self, study: str, then: Callable[[], None] | None = None, server: dict[str, Any] | None = None
    ) -> None:
        """Ask for the series of a study, once; ``then`` is called when they are there."""
        if study in self.results.series:
            if then:
                then()
            return
        waiting = self._waiting.setdefault(study, [])
        is_asked = bool(waiting)
        waiting.append(then or (lambda: None))
        if is_asked:
            return
        items: list[Any] = []
        self._worker.ask(
            "search",
            {
                "results": lambda event: items.extend(event["items"]),
                "done": lambda event: self._series_came(study, items),
                "failed": lambda event: self._series_failed(study, event["error"]),
            },
            server=server or self.server,
            level="series",
            study=study,
        )

    def is_fetching_series(self, study: str) -> bool:
        """Whether the series of a study are on their way."""
        return study in self._waiting

    # ------------------------------------------------------------------ answers

    def _next_attempt(self) -> None:
        self.attempt = self._rest.pop(0)
        self._offset, self.has_more = 0, False
        self._ask(PAGE)

    def _ask(self, limit: int | None) -> None:
        self.is_running, self.is_stopped = True, False
        attempt = self.attempt
        assert attempt is not None
        sent = self._sent = self._worker.ask(
            "search",
            {
                "results": lambda event: self._came(sent, event["items"]),
                "told": lambda event: self._say(event["text"]),
                "done": lambda event: self._done(sent, event.get("result") or {}),
                "failed": lambda event: self._failed(sent, event["error"]),
                "cancelled": lambda event: self._cancelled(sent),
            },
            server=self.server,
            level=attempt.level,
            filters=self.filters,
            limit=limit,
            offset=self._offset,
        )
        self.changed.emit()

    def _came(self, sent: Any, items: list[Any]) -> None:
        if sent is not self._sent:
            return
        if self.attempt is not None and self.attempt.level == "series":
            by_study: dict[str, list[Any]] = {}
            for item in items:
                by_study.setdefault(str(item.get("StudyInstanceUID")), []).append(item)
            self.results.add_studies([some[0] for some in by_study.values()])
        else:
            self.results.add_studies(items)
        self.changed.emit()

    def _done(self, sent: Any, result: dict[str, Any]) -> None:
        if sent is not self._sent:
            return
        self._sent = None
        if not self.results.studies and self._rest:
            self._next_attempt()
            return
        self.is_running = False
        self.has_more, self._offset = bool(result.get("more")), int(result.get("offset") or 0)
        self.changed.emit()

    def _failed(self, sent: Any, error: dict[str, Any]) -> None:
        if sent is not self._sent:
            return
        self._sent, self.is_running = None, False
        self.changed.emit()
        self.failed.emit(error, lambda: self._ask(PAGE))

    def _cancelled(self, sent: Any) -> None:
        if sent is self._sent:
            self._sent, self.is_running, self.is_stopped = None, False, True
            self.changed.emit()

    def _say(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            self.told.emit(text)

    def _series_came(self, study: str, items: list[Any]) -> None:
        if study in self._waiting:  # it is not where another search began meanwhile
            waiting = self._waiting.pop(study)
            self.results.set_series(study, items)
            for then in waiting:
                then()

    def _series_failed(self, study: str, error: dict[str, Any]) -> None:
        if study in self._waiting:
            waiting = self._waiting.pop(study)
            self.results.series_changed.emit(study)

            def again() -> None:
                for then in waiting:
                    self.fetch_series(study, then)

            self.failed.emit(error, again)
