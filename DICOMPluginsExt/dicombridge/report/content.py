"""The content tree of a structured report (PS3.3 C.17.3), walked by bytes, whatever its template.

Strict parsers refuse documents that are slightly wrong, and a Dataset for each of a hundred thousand items takes its
time. This walk takes each value for what it is: what cannot be understood is left out and said, the rest is kept.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from dicombridge.codes import Code
from dicombridge.part10 import Buffer, Element, NeedsPydicom, TruncatedError, elements, items
from dicombridge.report.groups import Graphic, InstanceReference
from dicombridge.report.trees import CONTENT_SEQUENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.multiframe import MultiFrame

__all__ = [
    "CONTENT_SEQUENCE",
    "ContentItem",
    "ContentTree",
    "Graphic",
    "InstanceReference",
    "content_of_text",
    "read_content",
]

MOST_ITEMS = 2_000_000
"""Content items of a document."""
DEEPEST = 200
"""Levels of a content tree; real ones stay below 20."""

_RELATIONSHIP = 0x0040A010
_VALUE_TYPE = 0x0040A040
_CONCEPT_NAME = 0x0040A043
_TEMPLATE = 0x0040A504
_TEMPLATE_IDENTIFIER = 0x0040DB00
_TARGET = 0x0040DB73
_CONCEPT_CODE = 0x0040A168
_MEASURED_VALUE = 0x0040A300
_NUMERIC_VALUE = 0x0040A30A
_FLOATING_VALUE = 0x0040A161
_UNITS = 0x004008EA
_QUALIFIER = 0x0040A301
_REFERENCED_SOP = 0x00081199
_REFERENCED_CLASS = 0x00081150
_REFERENCED_INSTANCE = 0x00081155
_REFERENCED_FRAMES = 0x00081160
_REFERENCED_SEGMENTS = 0x0062000B
_GRAPHIC_DATA = 0x00700022
_GRAPHIC_TYPE = 0x00700023
_ORIGIN = 0x00480301
_FRAME_OF_REFERENCE = 0x30060024
_CHARACTER_SET = 0x00080005
_CODE_VALUES = (0x00080100, 0x00080119, 0x00080120)
_CODE_SCHEME = 0x00080102
_CODE_VERSION = 0x00080103
_CODE_MEANING = 0x00080104

_TEXTS = {
    "TEXT": 0x0040A160,
    "DATETIME": 0x0040A120,
    "DATE": 0x0040A121,
    "TIME": 0x0040A122,
    "PNAME": 0x0040A123,
    "UIDREF": 0x0040A124,
}
"""Value types whose value is one text, and where it is."""
_TEMPORAL = {0x0040A132: "samples", 0x0040A138: "offsets", 0x0040A13A: "times"}
_TEMPORAL_TYPE = 0x0040A130
_CONTINUITY = 0x0040A050


@dataclass(eq=False)
class ContentItem:
    """One content item.

    Attributes
    ----------
    position
        Places from the root, which is ``(1,)``: how items refer to each other (PS3.3 C.17.3.2.5).
    relation
        Relationship Type, empty for the root.
    value_type
        CONTAINER, TEXT, NUM, CODE, ...; empty for an item that names another one (by-reference).
    concept
        Concept Name; None where it is absent.
    value
        Text, Code, float (None where the number is none), or None.
    text
        The value as it is written, for a person.
    units, qualifier
        Of a number.
    references
        Of IMAGE, COMPOSITE and WAVEFORM.
    graphic
        Of SCOORD and SCOORD3D; None where it is damaged.
    target
        Position of the item that this one names.
    template
        Template Identifier of a container.
    """

    position: tuple[int, ...]
    relation: str
    value_type: str
    concept: Code | None = None
    value: Any = None
    text: str = ""
    units: Code | None = None
    qualifier: Code | None = None
    references: tuple[InstanceReference, ...] = ()
    graphic: Graphic | None = None
    target: tuple[int, ...] = ()
    template: str = ""
    children: list[ContentItem] = field(default_factory=list)

    def walk(self) -> Iterator[ContentItem]:
        """Yield this item and all below it, in the order of the document."""
        waiting = [self]
        while waiting:
            item = waiting.pop()
            yield item
            waiting.extend(reversed(item.children))


@dataclass(eq=False)
class ContentTree:
    """A document's root and what was wrong with it, as counted reasons."""

    root: ContentItem
    faults: dict[str, list[str]] = field(default_factory=dict)


def read_content(opened: MultiFrame) -> ContentTree:
    """Return the content tree of an open document.

    Raises
    ------
    TruncatedError
        A sequence contradicts itself.
    ValueError
        The tree is deeper or longer than any real one.
    """
    buffer, layout = opened.top_level()
    return _Walk(buffer, opened.character_set).document(layout.dataset_start, layout.dataset_stop, opened.implicit_vr)


def content_of_text(text: str) -> ContentItem | None:
    """Return the root of a document's text form (:mod:`dicombridge.shadow`), None where the text is none."""
    syntax, _, rest = text.partition(";")
    character_set, _, encoded = rest.partition(";")
    if syntax not in ("implicit", "explicit") or not encoded:
        return None
    try:
        content = base64.b64decode(encoded, validate=True)
        return _Walk(content, character_set).document(0, len(content), syntax == "implicit").root
    except (ValueError, LookupError, TruncatedError, NeedsPydicom):
        return None  # somebody edited it


class _Walk:
    """Reads the items of one document."""

    def __init__(self, buffer: Buffer, character_set: str) -> None:
        self._buffer = buffer
        self._encodings = _encodings_named(character_set)
        self._codes: dict[tuple[tuple[str, ...], bool, bytes], Code | None] = {}
        self._count = 0
        self.faults: dict[str, list[str]] = {}

    def document(self, start: int, stop: int, implicit_vr: bool) -> ContentTree:
        """Return the tree; the root's own elements lie at the top level of the dataset."""
        root, sequence = self._item((1,), start, stop, implicit_vr)
        root.relation = ""
        root.value_type = root.value_type or "CONTAINER"
        waiting = [(root, sequence, implicit_vr, self._encodings)]
        while waiting:
            parent, element, implicit, around = waiting.pop()
            if element is None:
                continue
            if len(parent.position) > DEEPEST:
                raise ValueError(f"its content is nested deeper than {DEEPEST} levels")
            inner = implicit or element.vr == b"UN"
            spans = items(self._buffer, element.start, element.stop, inner)
            for place, (begin, end) in enumerate(spans, start=1):
                self._encodings = around
                child, below = self._item((*parent.position, place), begin, end, inner)
                parent.children.append(child)
                waiting.append((child, below, inner, self._encodings))
        self._check_targets(root)
        return ContentTree(root, self.faults)

    def _check_targets(self, root: ContentItem) -> None:
        """Say which items name one that is not there, or lead back to themselves; nobody follows them further."""
        by_position = {item.position: item for item in root.walk()}
        naming = [item for item in by_position.values() if item.target]
        rings = _rings([item for item in naming if item.target in by_position])
        for item in naming:
            if item.target not in by_position:
                self._fault("refers to an item that is not there", item)
            elif item.position in rings:
                self._fault("refers to itself, or to what refers to it again", item)

    def _item(
        self, position: tuple[int, ...], start: int, stop: int, implicit_vr: bool
    ) -> tuple[ContentItem, Element | None]:
        """Return the item that lies at ``start:stop``, without its children, and the sequence that they are in.

        A Specific Character Set of its own holds for the item and all below it (PS3.3 C.12.1.1.2).
        """
        self._count += 1
        if self._count > MOST_ITEMS:
            raise ValueError(f"it has more than {MOST_ITEMS} content items")
        found = {element.tag: element for element in elements(self._buffer, start, stop, implicit_vr)}
        if len(position) > 1:
            self._encodings = self._encodings_in(found)
        item = ContentItem(position, self._ascii(found.get(_RELATIONSHIP)), self._ascii(found.get(_VALUE_TYPE)).upper())
        item.concept = self._code(found.get(_CONCEPT_NAME), implicit_vr)
        target = found.get(_TARGET)
        if target is not None and target.stop > target.start:
            item.target = tuple(np.frombuffer(self._bytes(target)[: (target.stop - target.start) // 4 * 4], "<u4"))
            item.target = tuple(int(place) for place in item.target)
        read = _READERS.get(item.value_type)
        if read is not None:
            read(self, item, found, implicit_vr)
        elif not item.target and len(position) > 1:
            self._fault("has a value type that is not in the standard", item)
            item.text = next((text for tag in _TEXTS.values() if (text := self._text(found.get(tag)))), "")
        return item, found.get(CONTENT_SEQUENCE)

    # --- Values by value type ----------------------------------------------------------------------------------------

    def _read_text(self, item: ContentItem, found: dict[int, Element], implicit_vr: bool) -> None:
        tag = _TEXTS[item.value_type]
        item.text = self._text(found.get(tag), "PN" if item.value_type == "PNAME" else "LT")
        item.value = item.text
        if not item.text:
            self._fault("has no value", item)

    def _read_code(self, item: ContentItem, found: dict[int, Element], implicit_vr: bool) -> None:
        item.value = self._code(found.get(_CONCEPT_CODE), implicit_vr)
        item.text = item.value.meaning if item.value is not None else ""
        if item.value is None:
            self._fault("has no code", item)

    def _read_number(self, item: ContentItem, found: dict[int, Element], implicit_vr: bool) -> None:
        item.qualifier = self._code(found.get(_QUALIFIER), implicit_vr)
        values = self._first(found.get(_MEASURED_VALUE), implicit_vr)
        if values is None:
            # An empty sequence is how the standard says that there is no value (PS3.3 C.18.1).
            return
        inner, implicit = values
        item.units = self._code(inner.get(_UNITS), implicit)
        item.text = self._ascii(inner.get(_NUMERIC_VALUE)).split("\\")[0].strip()
        exact = inner.get(_FLOATING_VALUE)
        if exact is not None and exact.stop - exact.start == 8:
            item.value = float(np.frombuffer(self._bytes(exact), "<f8")[0])
        else:
            try:
                item.value = float(item.text)
            except ValueError:
                self._fault("has a number that is none", item)
        if item.value is not None and not math.isfinite(item.value):
            item.value = None
            self._fault("has a number that is not finite", item)

    def _read_references(self, item: ContentItem, found: dict[int, Element], implicit_vr: bool) -> None:
        sequence = found.get(_REFERENCED_SOP)
        references = []
        for inner, _ in self._items(sequence, implicit_vr):
            uid = self._ascii(inner.get(_REFERENCED_INSTANCE))
            if uid:
                frames = self._integers(inner.get(_REFERENCED_FRAMES))
                segments = self._integers(inner.get(_REFERENCED_SEGMENTS))
                references.append(InstanceReference(self._ascii(inner.get(_REFERENCED_CLASS)), uid, frames, segments))
        item.references = tuple(references)
        item.text = ", ".join(_reference_text(one) for one in references)
        if not references:
            self._fault("names no instance", item)

    def _read_graphic(self, item: ContentItem, found: dict[int, Element], implicit_vr: bool) -> None:
        dimensions = 3 if item.value_type == "SCOORD3D" else 2
        kind = self._ascii(found.get(_GRAPHIC_TYPE)).upper()
        element = found.get(_GRAPHIC_DATA)
        data = self._numbers(element) if element is not None else np.zeros(0)
        if not kind or not len(data):
            self._fault("has no coordinates", item)
            return
        if len(data) % dimensions:
            self._fault(
                f"has {len(data)} coordinates, which are not {'triplets' if dimensions == 3 else 'pairs'}", item
            )
            return
        frame, origin = self._ascii(found.get(_FRAME_OF_REFERENCE)), self._ascii(found.get(_ORIGIN))
        item.graphic = Graphic(kind, data.reshape(-1, dimensions), frame, origin)
        item.text = f"{kind} of {len(data) // dimensions} points"

    def _read_times(self, item: ContentItem, found: dict[int, Element], implicit_vr: bool) -> None:
        kind = self._ascii(found.get(_TEMPORAL_TYPE))
        for tag, name in _TEMPORAL.items():
            element = found.get(tag)
            if element is not None:
                if tag == 0x0040A132:
                    values = "\\".join(str(value) for value in np.frombuffer(self._whole(element, 4), "<u4")[:100])
                else:
                    values = self._ascii(element)[:1000]
                item.text = f"{kind} {name} {values}".strip()

    def _read_container(self, item: ContentItem, found: dict[int, Element], implicit_vr: bool) -> None:
        template = self._first(found.get(_TEMPLATE), implicit_vr)
        if template is not None:
            item.template = self._ascii(template[0].get(_TEMPLATE_IDENTIFIER)).upper().removeprefix("TID").strip()

    # --- Bytes -------------------------------------------------------------------------------------------------------

    def _fault(self, reason: str, item: ContentItem) -> None:
        named = item.concept.meaning if item.concept is not None else item.value_type or "item"
        self.faults.setdefault(reason, []).append(f"{'.'.join(map(str, item.position))} ({named})")

    def _bytes(self, element: Element) -> bytes:
        return self._buffer[element.start : element.stop]

    def _whole(self, element: Element, size: int) -> bytes:
        content = self._bytes(element)
        return content[: len(content) // size * size]

    def _ascii(self, element: Element | None) -> str:
        return "" if element is None else self._bytes(element).decode("latin-1").strip(" \0")

    def _text(self, element: Element | None, vr: str = "LT") -> str:
        if element is None:
            return ""
        content = self._bytes(element)
        if content.isascii() and b"\x1b" not in content:
            return content.decode("ascii").strip(" \0")
        delimiters = PN_DELIMS if vr == "PN" else TEXT_VR_DELIMS
        return str(decode_bytes(content, list(self._encodings), delimiters)).strip(" \0")

    def _encodings_in(self, found: dict[int, Element]) -> tuple[str, ...]:
        """Return the encodings of an item's texts: its own, where it names any, else those around it."""
        names = self._ascii(found.get(_CHARACTER_SET))
        return _encodings_named(names) if names else self._encodings

    def _integers(self, element: Element | None) -> tuple[int, ...]:
        """Return whole numbers: IS as text, US as two bytes each."""
        if element is None:
            return ()
        content = self._bytes(element)
        if element.vr == b"US" or (not element.vr and element.tag == _REFERENCED_SEGMENTS):
            return tuple(int(value) for value in np.frombuffer(content[: len(content) // 2 * 2], "<u2"))
        words = content.decode("latin-1").strip(" \0").split("\\")
        return tuple(int(word) for word in words if word.strip().isdigit())

    def _numbers(self, element: Element) -> NDArray[np.float64]:
        """Return coordinates: single floats by the standard; double ones and text have been seen."""
        if element.vr == b"FD":
            return np.frombuffer(self._whole(element, 8), "<f8").astype(np.float64)
        if element.vr in (b"DS", b"IS", b"LT", b"UT"):
            try:
                return np.array([float(word) for word in self._ascii(element).split("\\") if word.strip()])
            except ValueError:
                return np.zeros(0)
        return np.frombuffer(self._whole(element, 4), "<f4").astype(np.float64)

    def _items(self, sequence: Element | None, implicit_vr: bool) -> Iterator[tuple[dict[int, Element], bool]]:
        if sequence is None or sequence.stop <= sequence.start:
            return
        if sequence.vr not in (b"SQ", b"UN", b""):
            return
        inner = implicit_vr or sequence.vr == b"UN"
        for start, stop in items(self._buffer, sequence.start, sequence.stop, inner):
            yield {element.tag: element for element in elements(self._buffer, start, stop, inner)}, inner

    def _first(self, sequence: Element | None, implicit_vr: bool) -> tuple[dict[int, Element], bool] | None:
        return next(self._items(sequence, implicit_vr), None)

    def _code(self, sequence: Element | None, implicit_vr: bool) -> Code | None:
        """Return the first code of a sequence; the same bytes are the same code, of which a report has few."""
        if sequence is None or sequence.stop <= sequence.start:
            return None
        known = (self._encodings, implicit_vr, self._bytes(sequence))
        if known not in self._codes:
            self._codes[known] = self._decoded_code(sequence, implicit_vr)
        return self._codes[known]

    def _decoded_code(self, sequence: Element, implicit_vr: bool) -> Code | None:
        first = self._first(sequence, implicit_vr)
        if first is None:
            return None
        inner, around = first[0], self._encodings
        self._encodings = self._encodings_in(inner)
        try:
            return self._code_in(inner)
        finally:
            self._encodings = around

    def _code_in(self, inner: dict[int, Element]) -> Code | None:
        value = next((text for tag in _CODE_VALUES if (text := self._text(inner.get(tag)))), "")
        meaning = self._text(inner.get(_CODE_MEANING))
        if not value and not meaning:
            return None
        version = self._text(inner.get(_CODE_VERSION)) or None
        return Code(value or meaning, self._text(inner.get(_CODE_SCHEME)), meaning or value, version)


def _encodings_named(names: str) -> tuple[str, ...]:
    return tuple(convert_encodings(names.split("\\")))


def _rings(naming: Sequence[ContentItem]) -> set[tuple[int, ...]]:
    """Return the positions of items that name what is around them, or what leads there by further references.

    The content tree with its references is a graph, in which an item leads to those below it and to the one that it
    names; a ring is a strongly connected component (Tarjan's algorithm, without recursion), found in one search.
    """
    leads: dict[tuple[int, ...], dict[tuple[int, ...], None]] = {}
    for item in naming:
        for length in range(1, len(item.position)):
            leads.setdefault(item.position[:length], {})[item.position[: length + 1]] = None
        leads.setdefault(item.position, {})[item.target] = None
    order: dict[tuple[int, ...], int] = {}
    lowest: dict[tuple[int, ...], int] = {}
    ring: dict[tuple[int, ...], int] = {}
    path: list[tuple[int, ...]] = []
    for start in leads:
        waiting = [(start, iter(leads[start]))] if start not in order else []
        while waiting:
            place, further = waiting[-1]
            if place not in order:
                order[place] = lowest[place] = len(order)
                path.append(place)
            for one in further:
                if one not in order:
                    waiting.append((one, iter(leads.get(one, ()))))
                    break
                if one not in ring:
                    lowest[place] = min(lowest[place], order[one])
            else:
                waiting.pop()
                if waiting:
                    before = waiting[-1][0]
                    lowest[before] = min(lowest[before], lowest[place])
                if lowest[place] == order[place]:
                    while place not in ring:
                        ring[path.pop()] = order[place]
    return {item.position for item in naming if ring[item.position] == ring[item.target]}


_READERS: dict[str, Callable[[_Walk, ContentItem, dict[int, Element], bool], None]] = {
    **dict.fromkeys(_TEXTS, _Walk._read_text),
    "CODE": _Walk._read_code,
    "NUM": _Walk._read_number,
    "IMAGE": _Walk._read_references,
    "COMPOSITE": _Walk._read_references,
    "WAVEFORM": _Walk._read_references,
    "SCOORD": _Walk._read_graphic,
    "SCOORD3D": _Walk._read_graphic,
    "TCOORD": _Walk._read_times,
    "CONTAINER": _Walk._read_container,
}


def _reference_text(one: InstanceReference) -> str:
    parts = [one.sop_instance_uid]
    if one.frames:
        parts.append(f"frame {', '.join(map(str, one.frames))}")
    if one.segments:
        parts.append(f"segment {', '.join(map(str, one.segments))}")
    return " ".join(parts)
