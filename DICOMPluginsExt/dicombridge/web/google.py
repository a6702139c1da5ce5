"""Projects, datasets and DICOM stores of Google Cloud, through its command line tool or through ``google-auth``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from dicombridge.errors import DicomBridgeError, RefusedError, WebError
from dicombridge.web.addresses import joined
from dicombridge.web.authentication.gcloud import find_gcloud, run_gcloud
from dicombridge.web.cancelling import Cancel
from dicombridge.web.servers import Authentication, Server

__all__ = ["GoogleCloudPlatform", "names"]

PROJECTS = "https://cloudresourcemanager.googleapis.com/v1"
HEALTHCARE = "https://healthcare.googleapis.com/v1"
EVERYWHERE = "-"
MOST_PAGES = 1000
MOST_BYTES = 64 << 20


class GoogleCloudPlatform:
    """What an account of Google Cloud may see.

    Other extensions import this class from ``DICOMwebBrowser``: its methods keep their names and what they return.
    Unlike that of the earlier extension, it raises where the tool fails, instead of giving its error text for a token.

    Parameters
    ----------
    authentication
        What to ask with: ``gcloud`` or ``google``; by default the first that is there.
    cancel
        Who may stop waiting.
    projects_root, healthcare_root
        Addresses of Google's services.
    """

    def __init__(
        self,
        authentication: Authentication | None = None,
        cancel: Cancel | None = None,
        projects_root: str = PROJECTS,
        healthcare_root: str = HEALTHCARE,
    ) -> None:
        self._authentication = authentication
        self._cancel = cancel or Cancel()
        self._projects_root = projects_root
        self._healthcare_root = healthcare_root

    def findgcloud(self) -> str:
        """Return the path of the command line tool; :class:`~dicombridge.errors.WebError` if there is none."""
        return find_gcloud()

    def gcloud(self, subcommand: str | Sequence[str]) -> str:
        """Run the command line tool and return what it prints.

        Parameters
        ----------
        subcommand
            Its arguments, as one text or as a list.

        Raises
        ------
        WebError
            It is not installed, does not answer, or fails.
        """
        words = shlex.split(subcommand) if isinstance(subcommand, str) else list(subcommand)
        return run_gcloud(words, self._cancel)

    def projects(self) -> list[str]:
        """Return identifiers of projects."""
        if self._has_tool:
            return _lines(self.gcloud(["projects", "list", "--format=value(PROJECT_ID)"]))
        found = self._pages(self._projects_root, joined(self._projects_root, "projects"), "projects")
        return sorted(one["projectId"] for one in found if one.get("lifecycleState", "ACTIVE") == "ACTIVE")

    def locations(self, project: str) -> list[str]:
        """Return the places where a project can have datasets."""
        found = self._pages(self._healthcare_root, self._path(project, "locations"), "locations")
        return sorted(one.get("locationId") or _last(one["name"]) for one in found)

    def datasets(self, project: str) -> list[str]:
        """Return datasets of a project, each as identifier, tabulator, location."""
        if self._has_tool:
            words = ["healthcare", "datasets", "list", "--format=value(ID,LOCATION)"]
            return _lines(self.gcloud([f"--project={project}", *words]))
        return [f"{_last(name)}\t{name.split('/')[3]}" for name in self._dataset_names(project)]

    def dicomStores(self, project: str, dataset: str, location: str = "") -> list[str]:
        """Return identifiers of the DICOM stores of a dataset.

        Parameters
        ----------
        project, dataset
            As :meth:`projects` and :meth:`datasets` give them.
        location
            Where the dataset is; looked up where neither this nor ``dataset`` says it.
        """
        dataset, _, place = dataset.strip().partition("\t")
        location = location or place or self._location(project, dataset)
        if self._has_tool:
            words = ["healthcare", "dicom-stores", "list", f"--dataset={dataset}", "--format=value(ID)"]
            where = [f"--location={location}"] if location else []
            return [_last(one) for one in _lines(self.gcloud([f"--project={project}", *words, *where]))]
        if not location:
            raise WebError(f"The project {project!r} has no dataset {dataset!r}.")
        path = self._path(project, "locations", location, "datasets", dataset, "dicomStores")
        return sorted(_last(one["name"]) for one in self._pages(self._healthcare_root, path, "dicomStores"))

    def token(self) -> str:
        """Return an access token of the account; it opens all that the account may do."""
        from dicombridge.web.authentication.base import Context, TokenCredentials
        from dicombridge.web.authentication.gcloud import GcloudCredentials
        from dicombridge.web.authentication.google import GoogleCredentials
        from dicombridge.web.secrets import session

        context = Context(self._server(self._healthcare_root), session, self._cancel)
        credentials: TokenCredentials = GcloudCredentials(context) if self._has_tool else GoogleCredentials(context)
        return credentials.token().reveal()

    @property
    def _has_tool(self) -> bool:
        if self._authentication is not None:
            return self._authentication.kind == "gcloud"
        try:
            find_gcloud()
        except WebError:
            return False
        return True

    def _location(self, project: str, dataset: str) -> str:
        for one in self.datasets(project):
            name, _, place = one.partition("\t")
            if name == dataset:
                return place.strip()
        return ""

    def _dataset_names(self, project: str) -> list[str]:
        """Return full names of datasets in all places; where that cannot be asked at once, place by place."""
        try:
            everywhere = self._path(project, "locations", EVERYWHERE, "datasets")
            found = list(self._pages(self._healthcare_root, everywhere, "datasets"))
        except RefusedError:
            paths = [self._path(project, "locations", place, "datasets") for place in self.locations(project)]
            found = [one for path in paths for one in self._pages(self._healthcare_root, path, "datasets")]
        return sorted(one["name"] for one in found)

    def _path(self, project: str, *parts: str) -> str:
        return joined(self._healthcare_root, "projects", *(quote(part, safe="") for part in (project, *parts)))

    def _server(self, root: str) -> Server:
        kind = "gcloud" if self._has_tool else "google"
        return Server(root, name="Google Cloud", authentication=self._authentication or Authentication(kind))

    def _pages(self, root: str, url: str, key: str) -> Iterator[dict[str, Any]]:
        """Yield the items of all pages of a list."""
        from dicombridge.web.connection import Connection

        with Connection(self._server(root), cancel=self._cancel) as connection:
            page = ""
            for _ in range(MOST_PAGES):
                params = {"pageToken": page} if page else None
                with connection.get(url, "application/json", params, encoding="gzip") as answer:
                    values = answer.json(MOST_BYTES) or {}
                yield from values.get(key, ())
                page = values.get("nextPageToken", "")
                if not page:
                    return


def names(
    what: str, project: str = "", location: str = "", dataset: str = "", cancel: Cancel | None = None
) -> list[str]:
    """Return what a person can choose next on the way to a DICOM store.

    Parameters
    ----------
    what
        ``projects``, ``locations`` or ``datasets`` of a project, or ``stores`` of a dataset.
    project, location, dataset
        What was chosen before. Datasets come with their location after a tabulator, unless one was chosen.
    cancel
        Who may stop waiting.

    Raises
    ------
    DicomBridgeError
        This is nothing of the kind.
    WebError
        Google does not let us in, or does not answer.
    """
    platform = GoogleCloudPlatform(cancel=cancel)
    if what == "projects":
        return platform.projects()
    if what not in ("locations", "datasets", "stores"):
        raise DicomBridgeError(f"{what!r} is none of projects, locations, datasets, stores.")
    if not project or (what == "stores" and not dataset):
        raise DicomBridgeError(f"Which {'project' if not project else 'dataset'}?")
    if what == "locations":
        return platform.locations(project)
    if what == "stores":
        return platform.dicomStores(project, dataset, location)
    found = platform.datasets(project)
    return [one.partition("\t")[0] for one in found if one.partition("\t")[2] == location] if location else found


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _last(name: str) -> str:
    return name.rpartition("/")[2]
