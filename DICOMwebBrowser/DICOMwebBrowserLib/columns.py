"""The columns of the results: what they show of a study and of a series, and by what they sort."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from DICOMwebBrowserLib import texts

__all__ = ["COLUMNS", "Column", "sort_key"]

Item = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    key
        Its name in the settings.
    title
        Returns its heading in the language of the person.
    study, series
        Return its text for a study and for a series.
    width
        Of a new window, in characters.
    shown
        Whether a new window shows it.
    is_number
        Whether it sorts and aligns as a number.
    """

    key: str
    title: Callable[[], str]
    study: Callable[[Item], str]
    series: Callable[[Item], str]
    width: int
    shown: bool = True
    is_number: bool = False


def _value(keyword: str, words: Callable[[Any], str] = texts.first_of) -> Callable[[Item], str]:
    return lambda item: words(item.get(keyword))


def _nothing(item: Item) -> str:
    return ""


def _patient(item: Item) -> str:
    return texts.name(item.get("PatientName")) or texts.first_of(item.get("PatientID")) or _("(no name)")


def _modalities(item: Item) -> str:
    return texts.listed(item.get("ModalitiesInStudy") or item.get("Modality"))


def _images(item: Item) -> str:
    key = "NumberOfSeriesRelatedInstances" if item.get("SeriesInstanceUID") else "NumberOfStudyRelatedInstances"
    return texts.first_of(item.get(key))


def _time(item: Item) -> str:
    return texts.time_of_day(item.get("SeriesTime") or item.get("StudyTime"))


def _series_title(item: Item) -> str:
    number = texts.first_of(item.get("SeriesNumber"))
    title = texts.first_of(item.get("SeriesDescription")) or texts.first_of(item.get("ProtocolName"))
    title = title or texts.first_of(item.get("BodyPartExamined")) or _("(no description)")
    return f"{number}  {title}" if number else title


COLUMNS: tuple[Column, ...] = (
    Column("name", lambda: _("Patient / series"), _patient, _series_title, 33),
    Column("date", lambda: _("Date"), _value("StudyDate", texts.date), _value("SeriesDate", texts.date), 13),
    Column("modality", lambda: _("Modality"), _modalities, _modalities, 10),
    Column("images", lambda: _("Images"), _images, _images, 9, is_number=True),
    Column("description", lambda: _("Description"), _value("StudyDescription"), _value("BodyPartExamined"), 18),
    Column("here", lambda: _("Here"), _nothing, _nothing, 9, shown=False),
    Column("id", lambda: _("Patient ID"), _value("PatientID"), _nothing, 14, shown=False),
    Column("series", lambda: _("Series"), _value("NumberOfStudyRelatedSeries"), _nothing, 9, False, True),
    Column("accession", lambda: _("Accession"), _value("AccessionNumber"), _nothing, 14, shown=False),
    Column("time", lambda: _("Time"), _time, _time, 8, shown=False),
    Column("birth", lambda: _("Born"), _value("PatientBirthDate", texts.date), _nothing, 13, shown=False),
    Column("sex", lambda: _("Sex"), _value("PatientSex"), _nothing, 6, shown=False),
    Column("referring", lambda: _("Referred by"), _value("ReferringPhysicianName", texts.name), _nothing, 18, False),
    Column("institution", lambda: _("Institution"), _value("InstitutionName"), _nothing, 18, shown=False),
)

INDEX = {column.key: index for index, column in enumerate(COLUMNS)}


def sort_key(column: Column) -> Callable[[Item], Any]:
    """Return by what studies are sorted; empty values come first."""
    if column.is_number:
        return lambda item: int(text) if (text := column.study(item)).isdigit() else -1
    return lambda item: column.study(item).casefold()
