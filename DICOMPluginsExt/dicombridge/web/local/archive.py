"""The answers of a folder: what a DICOMweb server would say, from the index of its files."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pydicom.datadict import dictionary_VR

from dicombridge.database import FolderDatabase
from dicombridge.database.header_values import read_indexed_values, tag_key
from dicombridge.errors import ExportError, UnreadableError
from dicombridge.web.addresses import check_uid
from dicombridge.web.catalogue.attributes import FIELDS, UIDS, is_listed, key_of, level_of
from dicombridge.web.catalogue.details import SeriesDetails, details_of, names_others
from dicombridge.web.catalogue.matching import matches
from dicombridge.web.catalogue.pictures import Thumbnail, chosen, has_pixels
from dicombridge.web.catalogue.query import Query
from dicombridge.web.catalogue.windowing import picture
from dicombridge.web.local.headers import header_of
from dicombridge.web.local.values import KEYS, plain_value, plain_values

__all__ = ["Added", "Archive"]

_OF_SERIES = frozenset({*FIELDS["patient"], *FIELDS["study"], *FIELDS["series"]})

Item = dict[str, Any]


@dataclass(frozen=True)
class Added:
    """A file that was added, or was there before with the same bytes."""

    path: Path
    instance: str
    is_new: bool


class Archive:
    """A folder, or an unpacked zip file, that answers as a server does.

    Parameters
    ----------
    database
        The index of the files, up to date.
    path
        The folder or zip file, for people to read.
    keeps_open
        The database lives longer than this archive, and nothing can be added: a zip file.
    """

    def __init__(self, database: FolderDatabase, path: Path, keeps_open: bool = False) -> None:
        self.database = database
        self.path = path
        self._keeps_open = keeps_open

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index."""
        if not self._keeps_open:
            self.database.close()

    # -- searching -------------------------------------------------------------------------------------------

    def results(self, query: Query) -> Iterator[Item]:
        """Yield what matches a query: the latest studies first, series and instances by their numbers."""
        levels = {
            "patient": self._patients,
            "study": self._studies,
            "series": self._series,
            "instance": self._instances,
        }
        yield from levels[query.level](query)

    def _patients(self, query: Query) -> Iterator[Item]:
        seen = set()
        for study in self._studies(query):
            patient = {keyword: value for keyword, value in study.items() if level_of(keyword) == "patient"}
            name = "" if patient["PatientID"] else (patient["PatientName"], patient["PatientBirthDate"])
            key = (patient["PatientID"], patient.get("IssuerOfPatientID", ""), name)
            if key not in seen:
                seen.add(key)
                yield patient

    def _studies(self, query: Query) -> Iterator[Item]:
        for uid in self._study_uids(query):
            series = [
                {**plain_values(tags), "SeriesInstanceUID": series, "NumberOfSeriesRelatedInstances": count}
                for series, count, tags in self.database.seriesSummaries(uid)
            ]
            item = self._study_item(uid, series)
            # A filter for what is no attribute of studies means those that have such a series.
            own = {keyword for keyword in query.filters if keyword in item}
            if not _matches(item, query, own):
                continue
            lower = query.filters.keys() - own
            if not lower or any(self._has(one, query, lower) for one in series):
                yield self._extended(item, query, query.fields, series[0])

    def _has(self, series: Item, query: Query, keywords: Set[str]) -> bool:
        """Whether a series matches, and an instance of it, where these may differ in what is looked for."""
        differing = {keyword for keyword in keywords if keyword in KEYS and keyword not in _OF_SERIES}
        others = keywords - differing
        if not _matches(self._extended(series, query, others), query, others):
            return False
        summaries = self.database.instanceSummaries(str(series["SeriesInstanceUID"])) if differing else ()
        return not differing or any(_matches(plain_values(tags), query, differing) for _, _, tags in summaries)

    def _study_item(self, uid: str, series: list[Item]) -> Item:
        """Return a study by its series: values that some of them lack are those of the others."""
        item: Item = {}
        for keyword in (*FIELDS["study"], "IssuerOfPatientID"):
            item[keyword] = next((one[keyword] for one in series if one.get(keyword) not in (None, "", [])), "")
        modalities = {str(one["Modality"]) for one in series if one.get("Modality")}
        item["StudyInstanceUID"] = uid
        item["ModalitiesInStudy"] = sorted(modalities)
        item["NumberOfStudyRelatedSeries"] = len(series)
        item["NumberOfStudyRelatedInstances"] = sum(one["NumberOfSeriesRelatedInstances"] for one in series)
        return item

    def _series(self, query: Query) -> Iterator[Item]:
        wanted = query.filters.get("SeriesInstanceUID")
        for study in self._study_uids(query):
            for series, count, tags in self.database.seriesSummaries(study):
                if wanted and series not in wanted:
                    continue
                # What instances of a series may differ in is none of its attributes, whichever file was read.
                item = _filled(
                    {name: value for name, value in plain_values(tags).items() if name in _OF_SERIES}, "series"
                )
                item["NumberOfSeriesRelatedInstances"] = count
                if self._has(item, query, query.filters.keys()):
                    yield self._extended(item, query, query.fields)

    def _instances(self, query: Query) -> Iterator[Item]:
        wanted = (query.series,) if query.series else query.filters.get("SeriesInstanceUID")
        for study in self._study_uids(query):
            for series in self.database.seriesForStudy(study):
                if wanted and series not in wanted:
                    continue
                for path, _, tags in self.database.instanceSummaries(series):
                    item = _filled(plain_values(tags), "instance")
                    item = self._extended(item, query, {*query.filters, *query.fields}, item, path)
                    if _matches(item, query, query.filters.keys()):
                        yield item

    def _study_uids(self, query: Query) -> tuple[str, ...]:
        wanted = (query.study,) if query.study else query.filters.get("StudyInstanceUID")
        studies = self.database.studies()
        return tuple(uid for uid in studies if uid in wanted) if wanted else studies

    def _extended(
        self, item: Item, query: Query, keywords: Any, of: Mapping[str, Any] | None = None, path: str = ""
    ) -> Item:
        """Add attributes that the index does not keep, read from the file, or from the first of the series."""
        missing = [keyword for keyword in keywords if keyword not in item]
        for keyword in missing:
            path = path or self._first_file(str((of or item).get("SeriesInstanceUID") or ""))
            tag = int(key_of(keyword), 16)
            text = self.database.fileValue(path, tag_key(tag)) if path else ""
            item[keyword] = plain_value(keyword, str(dictionary_VR(tag))[:2], text)
        return item

    def _first_file(self, series: str) -> str:
        return next(iter(self.database.filesForSeries(series, 1)), "")

    # -- details ---------------------------------------------------------------------------------------------

    def files(self, study: str, series: str | None = None, instance: str | None = None) -> list[Path]:
        """Return the files of a study, a series or an instance; of a zip file, unpacked ones to be read soon."""
        found = []
        for one in self.database.seriesForStudy(check_uid(study)):
            if series is not None and one != series:
                continue
            for path in self.database.filesForSeries(one):
                if instance is None or self.database.instanceForFile(path) == instance:
                    found.append(Path(path))
        return found

    def metadata(self, study: str, series: str, instance: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield headers as DICOM JSON; pixels and other long binary values are addresses of the file."""
        for path in self.files(study, series, instance):
            yield header_of(path)

    def details(self, study: str, series: str) -> SeriesDetails:
        """Return what a series is."""
        items, size, headers = [], 0, []
        for path, length, tags in self.database.instanceSummaries(series):
            item = plain_values(tags)
            items.append(item)
            size += length
            if names_others(str(item.get("SOPClassUID") or "")):
                headers.append(header_of(Path(path)))
        if not items or self.database.studyForSeries(series) != study:
            raise UnreadableError(self.path, f"has no series {series} in study {study}")
        return details_of(study, series, items, size, headers, self._find)

    def _find(self, instance: str) -> tuple[str, str] | None:
        path = self.database.fileForInstance(instance)
        series = self.database.seriesForFile(path) if path else ""
        return (self.database.studyForSeries(series), series) if series else None

    def thumbnails(self, study: str, series: str, instance: str | None, frames: int, size: int) -> list[Thumbnail]:
        """Return pictures of a series or an instance, evenly through it; none of what has no pixels."""
        items = [
            item
            for _, _, tags in self.database.instanceSummaries(series)
            if (item := plain_values(tags)).get("StudyInstanceUID") == study
            and instance in (None, item["SOPInstanceUID"])
        ]
        found = []
        for uid, frame in chosen(list(items), frames):
            path = self.database.fileForInstance(uid)
            if not has_pixels(self.database.fileValue(path, "0008,0016")):
                continue
            with contextlib.suppress(UnreadableError):
                found.append(Thumbnail(uid, frame, *picture(path, frame, size, path)))
        return found

    # -- adding ----------------------------------------------------------------------------------------------

    def add(self, source: str | os.PathLike[str]) -> Added:
        """Copy a DICOM file into the folder, as ``study/series/instance.dcm``; the next :func:`open` indexes it.

        Raises
        ------
        UnreadableError
            It is no DICOM instance.
        ExportError
            The folder cannot be written to, is a zip file, or has an instance of that UID with other bytes.
        """
        if self._keeps_open:
            raise ExportError(f"{self.path}: nothing can be added to a zip file; give a folder.")
        path = Path(source)
        try:
            values = read_indexed_values(os.fspath(path)).values
        except OSError as error:
            raise UnreadableError(path, f"cannot be read ({error.strerror or error})") from error
        study, series, instance = (check_uid(values.get(KEYS[keyword], ""), keyword) for keyword in UIDS["instance"])
        target = self.path / study / series / f"{instance}.dcm"
        known = Path(self.database.fileForInstance(instance) or target)
        if known.exists():
            if not filecmp.cmp(path, known, shallow=False):
                raise ExportError(f"{self.path}: has an instance {instance} already, which is another.")
            return Added(known, instance, is_new=False)
        part = target.with_suffix(".part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, part)
            part.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise ExportError(f"{self.path}: cannot be written to ({error.strerror or error}).") from error
        return Added(target, instance, is_new=True)


def _filled(item: Item, level: str) -> Item:
    for keyword in (*FIELDS[level], *FIELDS["patient"], "StudyDate", "StudyDescription", "AccessionNumber"):
        item.setdefault(keyword, [] if is_listed(keyword) else "")
    return item


def _matches(item: Item, query: Query, keywords: Any) -> bool:
    return all(matches(item, keyword, query.filters[keyword], query.fuzzy) is True for keyword in keywords)
