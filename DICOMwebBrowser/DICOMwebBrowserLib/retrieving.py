"""From a choice in the results to transfers: what is here already is not fetched again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import qt
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
        open_studies = {study for study, series in chosen if not series}
        waiting = set(open_studies)

        def ready(study: str) -> None:
            waiting.discard(study)
            if not waiting:
                self._begin(chosen, action, server)

        if not open_studies:
            self._begin(chosen, action, server)
        for study in open_studies:
            self._query.fetch_series(study, partial(ready, study), server)

    def _begin(self, chosen: list[Place], action: str, server: dict[str, Any]) -> None:
        series: list[Place] = []
        for study, one in chosen:
            series += [(study, one)] if one else [(study, uid) for uid in self._query.results.series.get(study, {})]
        self._count += 1
        self._pacer.run_now(f"begin {self._count}", self._begun(list(dict.fromkeys(series)), action, server))

    def _begun(self, series: list[Place], action: str, server: dict[str, Any]) -> Iterator[None]:
        """Begin one transfer a step: a study may have hundreds of series."""
        group = Group(action, is_complete=False)
        busy = {job.series for job in self._jobs.running if job.do == "retrieve"}
        for study, uid in series:
            if uid not in busy:
                self._jobs.begin(self._job(study, uid, server, group))
                yield
        self._jobs.complete(group)

    def _job(self, study: str, series: str, server: dict[str, Any], group: Group) -> Job:
        item = self._query.results.series_item(study, series)
        arguments = {"server": server, "study": study, "series": series, "directory": directory_of(study, series)}
        job = Job("retrieve", _title(self._query.results.studies.get(study, {}), item), _name(server), arguments, group)
        expected = item.get("NumberOfSeriesRelatedInstances")
        if expected and local_state.of_series(series, expected) == local_state.HERE:
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


def folder_address(directory: str) -> Any:
    """Return the address with which the desktop opens a folder."""
    return qt.QUrl.fromLocalFile(directory)
