"""Which other series an object needs, from its DICOM JSON: for what an object is shown with, on any server.

The walk is that of :mod:`dicombridge.references`, for which references and exceptions are described.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID

from dicombridge.errors import DicomBridgeError
from dicombridge.references import NOT_NEEDED
from dicombridge.references import Reference as Named
from dicombridge.web.addresses import check_uid
from dicombridge.web.catalogue.attributes import key_of

__all__ = ["Reference", "grouped", "named_by"]

_SOP_CLASS, _INSTANCE = key_of("ReferencedSOPClassUID"), key_of("ReferencedSOPInstanceUID")
_STUDY, _SERIES, _SELF = (key_of(keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
_RT_REFERENCED_STUDY = key_of("RTReferencedStudySequence")
_SKIPPED = frozenset(key_of(keyword) for keyword in NOT_NEEDED)


@dataclass(frozen=True)
class Reference:
    """A series that is needed.

    Attributes
    ----------
    study, series
        Its UIDs; empty where neither the object nor the server knows them.
    instances
        SOP Instance UIDs that are named; empty where the series is needed as a whole.
    what
        What they are, in words, e.g. "CT Image".
    """

    study: str
    series: str
    instances: tuple[str, ...]
    what: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"study": self.study, "series": self.series, "instances": list(self.instances), "what": self.what}


def named_by(dataset: Mapping[str, Any]) -> list[Named]:
    """Return the instances and series that an object names, each once."""
    found: dict[str, Named] = {}
    for one in _walk(dataset, Named(), top=True):
        key = one.sop_instance_uid or f"series {one.series_instance_uid}"
        known = found.get(key)
        if known is None or (one.series_instance_uid and not known.series_instance_uid):
            found[key] = one
    found.pop(_text(dataset, _SELF), None)
    return list(found.values())


def grouped(
    named: Iterable[Named], study: str, find: Callable[[str], tuple[str, str] | None] | None = None
) -> tuple[Reference, ...]:
    """Return references by series, the one with most instances first.

    Parameters
    ----------
    named
        What objects name.
    study
        Study of the objects, in which a reference lies that names none.
    find
        Returns study and series of a SOP Instance UID, for references that name no series; asked once for each SOP
        class, since instances of one class that are named so are nearly always of one series.
    """
    series: dict[tuple[str, str], dict[str, None]] = {}
    what: dict[tuple[str, str], str] = {}
    lost: dict[str, tuple[str, str]] = {}
    for one in map(_checked, named):
        if not (one.sop_instance_uid or one.series_instance_uid):
            continue
        place = (one.study_instance_uid or study, one.series_instance_uid)
        if not one.series_instance_uid:
            if one.sop_class_uid not in lost:
                lost[one.sop_class_uid] = (find(one.sop_instance_uid) if find else None) or place
            place = lost[one.sop_class_uid]
        instances = series.setdefault(place, {})
        if one.sop_instance_uid:
            instances[one.sop_instance_uid] = None
            what.setdefault(place, _what(one.sop_class_uid))
    found = [Reference(*place, tuple(uids), what.get(place) or "series") for place, uids in series.items()]
    return tuple(sorted(found, key=lambda reference: -len(reference.instances)))


def _checked(one: Named) -> Named:
    """Return a reference without what is no UID: it leads nowhere, and must not become part of an address or path."""
    uids = (one.sop_instance_uid, one.series_instance_uid, one.study_instance_uid)
    instance, series, study = (uid if _is_uid(uid) else "" for uid in uids)
    return Named(instance, one.sop_class_uid, series, study)


def _is_uid(text: str) -> bool:
    try:
        check_uid(text)
    except DicomBridgeError:
        return False
    return True


def _what(sop_class: str) -> str:
    name = UID(sop_class).name if sop_class else ""
    return name.removesuffix(" Storage") if name and name != sop_class else "object"


def _walk(dataset: Mapping[str, Any], around: Named, top: bool = False, is_study: bool = False) -> Iterator[Named]:
    if not top:
        study, instance = _text(dataset, _STUDY), _text(dataset, _INSTANCE)
        if is_study:
            study, instance = instance or study, ""
        series = _text(dataset, _SERIES)
        around = Named("", "", series or around.series_instance_uid, study or around.study_instance_uid)
        if instance:
            sop_class = _text(dataset, _SOP_CLASS)
            yield Named(instance, sop_class, around.series_instance_uid, around.study_instance_uid)
        elif series:
            yield around
    for key, element in dataset.items():
        if not isinstance(element, Mapping) or element.get("vr") != "SQ" or key in _SKIPPED or _is_private(key):
            continue
        items = element.get("Value")
        for item in items if isinstance(items, list) else ():
            if isinstance(item, Mapping):
                yield from _walk(item, around, is_study=key == _RT_REFERENCED_STUDY)


def _text(dataset: Mapping[str, Any], key: str) -> str:
    element = dataset.get(key)
    value = element.get("Value") if isinstance(element, Mapping) else None
    return str(value[0] or "").strip() if isinstance(value, list) and value else ""


def _is_private(key: str) -> bool:
    return len(key) == 8 and key[3] in "13579BDFbdf"
