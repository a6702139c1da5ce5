"""From a choice in the results to transfers: what is here already is not fetched again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from slicer.i18n import tr as _

from DICOMwebBrowserLib import local_state, texts
from DICOMwebBrowserLib.columns import COLUMNS, INDEX
from DICOMwebBrowserLib.jobs import Group, Job, Jobs
from DICOMwebBrowserLib.pacing import Pacer
from DICOMwebBrowserLib.query import Query
from DICOMwebBrowserLib.worker import Worker

__all__ = ["Retrieving", "directory_of"]

Place = tuple[str, str]
"""UIDs of a study and of a series in it; "" for all its series."""


def directory_of(study: str, series: str) -> str:
    """Return where the files of a series come to: within the database's own folder, so that Slicer keeps them together.

    Short, because Windows has no room for two UIDs and what comes after them.
    """
    import slicer

    base = local_state.database()
    root = str(base.databaseDirectory) if base and base.databaseDirectory else str(slicer.app.temporaryPath)
    name = hashlib.sha256(f"{study}/{series}".encode()).hexdigest()[:16]
    return f"{root}/dicomweb/{name}"


@dataclass
class _Wish:
    """What a person asked for; it holds whatever is searched for meanwhile."""

    places: list[Place]
    action: str
    server: dict[str, Any]
    studies: dict[str, dict[str, Any]] = field(default_factory=dict)
    series: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Studies whose series could not be listed, and the errors."""


class Retrieving:
    """Makes transfers of what a person chose."""

    def __init__(self, worker: Worker, query: Query, jobs: Jobs) -> None:
        self._worker, self._query, self._jobs = worker, query, jobs
        self._pacer, self._count = Pacer(), 0

    def get(self, places: Iterable[Place], action: str, server: dict[str, Any] | None = None) -> None:
        """Retrieve series and studies.

        Parameters
        ----------
        places
            Series, and studies of which all series are meant.
        action
            ``load`` into the scene, or ``download`` into the database only.
        server
            Where from; by default where the results are from.
        """
        chosen = list(dict.fromkeys(places))
        server = server or self._query.server
        wish = _Wish(chosen, action, server)
        results = self._query.results
        for study in dict.fromkeys(study for study, _series in chosen):
            wish.studies[study] = results.studies.get(study, {})
            if study in results.series:
                wish.series[study] = results.series[study]
        wish.waiting = {study for study, series in chosen if not series and study not in wish.series}
        for study in list(wish.waiting):
            self._list(wish, study)
        self._begin(wish)

    def _list(self, wish: _Wish, study: str) -> None:
        """Ask for the series of a study: not through the search that is shown, because another one may begin."""
        items: list[dict[str, Any]] = []

        def came() -> None:
            wish.series[study] = {str(item["SeriesInstanceUID"]): item for item in items}
            ended()

        def failed(error: dict[str, Any]) -> None:
            wish.failed[study] = error
            ended()

        def ended() -> None:
            wish.waiting.discard(study)
            self._begin(wish)

        self._worker.ask(
            "search",
            {
                "results": lambda event: items.extend(event["items"]),
                "done": lambda event: came(),
                "failed": lambda event: failed(event["error"]),
            },
            server=wish.server,
            level="series",
            study=study,
        )

    def _begin(self, wish: _Wish) -> None:
        """Begin what is known once all lists came or failed; what failed is told, and can be asked for again."""
        if wish.waiting:
            return
        if wish.failed:
            again: list[Place] = [(study, "") for study in wish.failed]
            error = next(iter(wish.failed.values()))
            self._query.failed.emit(error, lambda: self.get(again, wish.action, wish.server))
        series: list[Place] = []
        for study, one in wish.places:
            series += [(study, one)] if one else [(study, uid) for uid in wish.series.get(study, {})]
        self._count += 1
        self._pacer.run_now(f"begin {self._count}", self._begun(list(dict.fromkeys(series)), wish))

    def _begun(self, series: list[Place], wish: _Wish) -> Iterator[None]:
        """Begin one transfer a step: a study may have hundreds of series."""
        group = Group(wish.action, is_complete=False)
        busy = self._jobs.take_over({uid for _study, uid in series}, group)
        for study, uid in series:
            if uid not in busy:
                self._jobs.begin(self._job(study, uid, wish, group))
                yield
        self._jobs.complete(group)

    def _job(self, study: str, series: str, wish: _Wish, group: Group) -> Job:
        item, server = wish.series.get(study, {}).get(series, {}), wish.server
        arguments = {"server": server, "study": study, "series": series, "directory": directory_of(study, series)}
        job = Job("retrieve", _title(wish.studies.get(study, {}), item), _name(server), arguments, group)
        expected = item.get("NumberOfSeriesRelatedInstances")
        state = local_state.of_series(series, expected)
        job.has_part = state != local_state.ABSENT
        if expected and state == local_state.HERE:
            job.state = "ready" if group.action == "load" else "done"
            job.note = _("It was in the database already.")
            job.progress = {"instances": int(expected), "total_instances": int(expected)}
        return job


def _title(study: dict[str, Any], series: dict[str, Any]) -> str:
    described = COLUMNS[INDEX["name"]].series(series) if series else _("Series")
    modality = texts.first_of(series.get("Modality"))
    patient = texts.name(study.get("PatientName"))
    return " \N{MIDDLE DOT} ".join(part for part in (patient, modality, described) if part)


def _name(server: dict[str, Any]) -> str:
    return str(server.get("name") or server.get("url") or "")
