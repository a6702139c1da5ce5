"""Removing from objects who they are of, by the Basic Application Level Confidentiality Profile. PS3.15 E.

Which attribute is removed, emptied, replaced or mapped is read from the tables of ``dicom-anonymizer`` (BSD licence),
which follow PS3.15 Table E.1-1. They are applied here, because that package looks at the top level of a dataset only,
and gives UIDs within sequences no consistent values, so that references would lead nowhere.

Pixels are not looked at: an object that says that names are burned into them is not sent.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicombridge.errors import DicomBridgeError, UnreadableError, UnsupportedError
from dicombridge.web.storing.items import Item, Told, read_item
from dicombridge.web.storing.pixel_bytes import append_pixels, read_without_pixels
from dicombridge.web.storing.profile_table import MAP, REMOVE, Action, actions, words

__all__ = ["Change", "Deidentification", "chosen"]

_WELL_KNOWN = "1.2.840.10008."
_BASIC_PROFILE, _CLEAN_STRUCTURED_CONTENT = (
    ("113100", "Basic Application Confidentiality Profile"),
    (
        "113104",
        "Clean Structured Content Option",
    ),
)
_CONTENT_SEQUENCE, _PATIENT_NAME, _PATIENT_ID = 0x0040A730, 0x00100010, 0x00100020
_LONGEST_SHOWN = 60
_FIRST_OF_DATASET = 0x00040000
_CONTENT_VALUES = {"PNAME": "PersonName", "TEXT": "TextValue", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime"}
_DUMMIES = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), "ANONYMIZED"),
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("FD", "FL", "SS", "US", "SL", "UL", "SV", "UV"), 0),
    **dict.fromkeys(("OB", "UN"), b"\0\0"),
    "AS": "000Y",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "UR": "http://anonymized.invalid",
}


@dataclass(frozen=True)
class Change:
    """One change of an attribute, to be shown before anything is sent.

    Attributes
    ----------
    tag, name
        Of the attribute; sequences around it with their item numbers, e.g. ``ReferencedSeriesSequence[0].``
    action
        In words.
    before, after
        Values as text; ``after`` is empty for what is removed.
    """

    tag: str
    name: str
    action: str
    before: str
    after: str


class Deidentification:
    """How objects are de-identified. One object serves one job, or several whose results belong together.

    Parameters
    ----------
    keep
        Keywords of attributes that stay as they are, e.g. ``["PatientSex", "PatientAge"]``. That is less than the
        profile asks for, and it is your decision.
    replace
        Keyword -> value, e.g. ``{"PatientID": "Trial-017"}``. Without one, Patient ID and name become a pseudonym that
        is the same for all objects of a patient.
    secret
        What UIDs and pseudonyms are made with. The same secret gives the same ones; by default a random one, so that
        nobody can tell later which object a new UID belongs to.

    Raises
    ------
    UnsupportedError
        The software for it is not installed.
    DicomBridgeError
        There is no such attribute.
    """

    def __init__(
        self, keep: Sequence[str] = (), replace: Mapping[str, str] | None = None, secret: str | bytes | None = None
    ) -> None:
        self._actions = actions()
        self._keep = {_tag_of(keyword) for keyword in keep}
        self._replace = {_tag_of(keyword): value for keyword, value in (replace or {}).items()}
        given = secret if secret else secrets.token_bytes(32)
        self._secret = given.encode() if isinstance(given, str) else given
        self._pseudonym = ""

    # --- Showing -----------------------------------------------------------------------------------------------------

    def rows(self) -> list[tuple[str, str, str]]:
        """Return the profile: tag, name and action in words of every attribute that it touches."""
        from pydicom.datadict import dictionary_has_tag, keyword_for_tag

        rows = []
        for tag, action in sorted(self._actions.exact.items()):
            if tag < _FIRST_OF_DATASET:
                continue
            name = keyword_for_tag(tag) if dictionary_has_tag(tag) else ""
            rows.append((f"{tag:08X}", name, self._words(tag, action)))
        return rows

    def preview(self, what: Path | str | Any) -> list[Change]:
        """Return what would be changed in a file or dataset, which stays as it is."""
        from copy import deepcopy

        from dicombridge.tolerance import quiet

        changes: list[Change] = []
        with quiet():
            dataset = read_without_pixels(Path(what))[0] if isinstance(what, Path | str) else deepcopy(what)
            self.apply(dataset, changes.append)
        return changes

    def uid(self, uid: str) -> str:
        """Return the UID that stands for another one, always the same; UIDs of the standard itself stay.

        PS3.5 B.2: the root 2.25 and 128 bits.
        """
        text = str(uid).strip("\0 ")
        if not text or text.startswith(_WELL_KNOWN):
            return text
        return f"2.25.{int.from_bytes(self._hashed('uid', text)[:16], 'big')}"

    def _hashed(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._secret, f"{purpose}:{text}".encode(), hashlib.sha256)

    def _words(self, tag: int, action: Action) -> str:
        if tag in self._keep:
            return "kept"
        if tag in self._replace:
            return f"replaced by {self._replace[tag]!r}"
        if tag in (_PATIENT_NAME, _PATIENT_ID):
            return "replaced by a pseudonym of the patient"
        if tag == _CONTENT_SEQUENCE:
            return "kept, with names, texts and dates replaced and UIDs mapped"
        return words(action)

    # --- Doing -------------------------------------------------------------------------------------------------------

    def apply(self, dataset: Any, told: Callable[[Change], object] | None = None) -> None:
        """De-identify a dataset in place.

        Raises
        ------
        UnsupportedError
            It says that its pixels show who it is of.
        """
        if str(dataset.get("BurnedInAnnotation", "")).strip().upper() == "YES":
            raise UnsupportedError("Its pixels show who it is of (Burned In Annotation); they are not changed here.")
        told = told or _silent
        self._pseudonym = f"ANON-{self._hashed('patient', str(dataset.get('PatientID', ''))).hex()[:8].upper()}"
        has_content = "ContentSequence" in dataset
        self._walk(dataset, "", told)
        for tag in (_PATIENT_NAME, _PATIENT_ID):  # which must be there, also where they were not
            if tag not in dataset and tag not in self._keep:
                _set(dataset, tag, self._pseudonym)
        for tag, value in self._replace.items():
            before = _shown(dataset[tag]) if tag in dataset else ""
            _set(dataset, tag, value)
            told(Change(f"{tag:08X}", dataset[tag].keyword, "replaced", before, _shown(dataset[tag])))
        _mark(dataset, has_content)

    def _walk(self, dataset: Any, place: str, told: Callable[[Change], object]) -> None:
        private = [tag for tag in list(dataset.keys()) if tag.is_private]
        if private:
            told(Change("", f"{place}private attributes", "removed", f"{len(private)} elements", ""))
        for tag in private:  # not even read: they may be anything
            del dataset[tag]
        for tag in list(dataset.keys()):
            element = dataset[tag]
            action = self._actions.of(int(tag))
            if int(tag) in self._keep or (int(tag) in self._replace and not place):
                continue
            if int(tag) == _CONTENT_SEQUENCE:
                for number, item in enumerate(element.value):
                    self._clean_content(item, f"{place}{element.keyword}[{number}].", told)
            elif action is None or (action in (MAP, "map or empty") and element.VR == "SQ"):
                self._walk_items(element, place, told)
            else:
                self._change(dataset, element, action, place, told)

    def _walk_items(self, element: Any, place: str, told: Callable[[Change], object]) -> None:
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                self._walk(item, f"{place}{element.keyword or element.tag}[{number}].", told)

    def _change(self, dataset: Any, element: Any, action: Action, place: str, told: Callable[[Change], object]) -> None:
        before = _shown(element)
        if element.tag in (_PATIENT_NAME, _PATIENT_ID):
            element.value, action = self._pseudonym, "replace"
        elif action == REMOVE:
            del dataset[element.tag]
        elif element.VR == "UI":
            values = element.value if element.VM > 1 else [element.value]
            element.value = [self.uid(one) for one in values] if element.VM > 1 else self.uid(values[0] or "")
        elif element.VR == "SQ":
            self._empty_sequence(element, action, place, told)
        elif action == "empty":
            element.value = None
        else:
            element.value = _DUMMIES.get(element.VR)
        after = _shown(dataset[element.tag]) if element.tag in dataset else ""
        if before != after or element.tag not in dataset:
            told(
                Change(
                    f"{int(element.tag):08X}",
                    place + (element.keyword or str(element.tag)),
                    words(action),
                    before,
                    after,
                )
            )

    def _empty_sequence(self, element: Any, action: Action, place: str, told: Callable[[Change], object]) -> None:
        """Empty a sequence, or replace all that its items say where it must have items."""
        if action == "empty":
            element.value = []
            return
        for number, item in enumerate(element.value):
            for tag in list(item.keys()):
                self._change(item, item[tag], "replace", f"{place}{element.keyword}[{number}].", told)

    def _clean_content(self, item: Any, place: str, told: Callable[[Change], object]) -> None:
        """Clean an item of a content tree: codes, numbers, places stay, what a person wrote does not. PS3.15 E.3.4."""
        kind = str(item.get("ValueType", ""))
        for tag in list(item.keys()):
            if tag.is_private:
                del item[tag]
                continue
            element = item[tag]
            if element.keyword == _CONTENT_VALUES.get(kind):
                self._change(item, element, "replace", place, told)
            elif element.keyword in ("UID", "ReferencedSOPInstanceUID"):
                self._change(item, element, MAP, place, told)
            elif element.keyword == "ContentSequence":
                for number, inner in enumerate(element.value):
                    self._clean_content(inner, f"{place}ContentSequence[{number}].", told)
            elif self._actions.of(int(tag)) is None or element.VR == "SQ":
                self._walk_items(element, place, told)
            else:
                self._change(item, element, self._actions.of(int(tag)) or REMOVE, place, told)

    def items(self, items: Iterable[Item], folder: Callable[[], Path], told: Told) -> Iterator[Item]:
        """Yield de-identified copies of what is to be stored; their files are ours."""
        from dicombridge.tolerance import DAMAGE

        for number, item in enumerate(items):
            path = folder() / f"{number:06d}-deidentified.dcm"
            try:
                copy = self._copy(item, path)
            except (DicomBridgeError, *DAMAGE) as error:
                path.unlink(missing_ok=True)
                told(item.source, "failed", f"Not sent, because it could not be de-identified: {error}")
            else:
                yield copy
            item.dispose()

    def _copy(self, item: Item, path: Path) -> Item:
        """Write a de-identified copy; pixels are copied from file to file and never in memory."""
        from dicombridge.tolerance import quiet

        with quiet():
            dataset, pixels = read_without_pixels(item.path)
            if not dataset.get("SOPInstanceUID"):
                raise UnreadableError(item.source, "has no SOP Instance UID.")
            self.apply(dataset)
            _renew_meta(dataset)
            dataset.save_as(path, enforce_file_format=True)
            append_pixels(path, item.path, pixels)
        copy = read_item(path, item.source)
        copy.temporary, copy.notes = True, item.notes
        return copy


def chosen(given: Deidentification | Mapping[str, Any] | bool | str | None) -> Deidentification | None:
    """Return the de-identification that is asked for: true or ``"basic"``, its options, or none."""
    if given is None or given is False:
        return None
    if isinstance(given, Deidentification):
        return given
    if given is True or given == "basic":
        return Deidentification()
    if isinstance(given, Mapping) and set(given) <= {"keep", "replace", "secret"}:
        return Deidentification(**given)
    raise DicomBridgeError("De-identification is true, 'basic', or has the options keep, replace and secret.")


def _silent(_change: Change) -> None:
    """Stand for a listener where nobody listens."""


def _tag_of(keyword: str) -> int:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise DicomBridgeError(f"There is no DICOM attribute {keyword!r}.")
    return int(tag)


def _set(dataset: Any, tag: int, value: str) -> None:
    from pydicom.datadict import keyword_for_tag

    setattr(dataset, keyword_for_tag(tag), value)


def _shown(element: Any) -> str:
    if element.VR == "SQ":
        return f"{len(element.value)} items"
    value = element.value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _mark(dataset: Any, has_content: bool) -> None:
    """Say in the dataset what was done. PS3.15 E.1.1, PS3.3 C.7.1.1."""
    from pydicom.dataset import Dataset

    codes = []
    for value, meaning in (_BASIC_PROFILE, *([_CLEAN_STRUCTURED_CONTENT] if has_content else [])):
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "DICOMBridge, by the tables of dicom-anonymizer"
    dataset.DeidentificationMethodCodeSequence = codes


def _renew_meta(dataset: Any) -> None:
    """Replace the file meta information, which may name who sent the object."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:  # a dataset without the header of PS3.10; its encoding was found by reading it
        syntax = ImplicitVRLittleEndian if dataset.original_encoding[0] else ExplicitVRLittleEndian
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.preamble = bytes(128)
