"""Content items of structured reports as datasets, by value type (PS3.3 C.17.3, C.18).

Strict whatever the values are: text is cut and cleaned to what its VR takes, codes have a scheme, numbers are exact.

A report of thousands of groups has a hundred elements in each: they are made by tag, and values whose form is certain
are not checked again, which setting attributes one by one does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, generate_uid

from dicombridge.codes import Code, code_item
from dicombridge.encode import decimal_string
from dicombridge.errors import ExportError
from dicombridge.report import concepts
from dicombridge.report.content import Graphic, InstanceReference
from dicombridge.text import of_bytes

__all__ = [
    "CONTAINS",
    "HAS_CONCEPT_MOD",
    "HAS_OBS_CONTEXT",
    "HAS_PROPERTIES",
    "INFERRED_FROM",
    "SELECTED_FROM",
    "code",
    "coded",
    "composite",
    "container",
    "content_template",
    "image",
    "number",
    "person_name",
    "scoord",
    "scoord3d",
    "text",
    "uid_of",
    "uid_reference",
    "written_frames",
]

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_PROPERTIES = "HAS PROPERTIES"
INFERRED_FROM = "INFERRED FROM"
SELECTED_FROM = "SELECTED FROM"

_UID = re.compile(r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+$")
_DECIMAL = re.compile(r"(?=.{1,16}$)[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
# PS3.5 6.1.3: of the control characters, UT may have tabulators, line ends and form feeds.
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
_NO_SCHEME = "99UNKNOWN"
"""Coding scheme of codes that came without one; a local scheme starts with 99 (PS3.3 8.2)."""

_NOT_FINITE = (
    (math.isnan, Code("114000", "DCM", "Not a number")),
    (lambda value: value == -math.inf, Code("114001", "DCM", "Negative Infinity")),
    (lambda value: value == math.inf, Code("114002", "DCM", "Positive Infinity")),
)
_VALUE_UNKNOWN = Code("114010", "DCM", "Value unknown")

_TYPE_IN_IMAGE = {"POLYGON": "POLYLINE"}
"""Graphic Types of three dimensions, and what they are called in an image (PS3.3 C.18.6.1.2)."""
_IN_SPACE = frozenset({"POINT", "MULTIPOINT", "POLYLINE", "POLYGON", "ELLIPSE", "ELLIPSOID"})
_IN_IMAGE = frozenset({"POINT", "MULTIPOINT", "POLYLINE", "CIRCLE", "ELLIPSE"})


def container(relation: str, concept: Code, children: Iterable[Dataset], template: str = "") -> Dataset:
    """Return a CONTAINER; a root has no ``relation``.

    Parameters
    ----------
    template
        Template Identifier of PS3.16, e.g. ``"1410"``.
    """
    values: list[tuple[str, Any]] = [("ContinuityOfContent", "SEPARATE")]
    if template:
        values.append(("ContentTemplateSequence", [content_template(template)]))
    return _item(relation, "CONTAINER", concept, values, children)


def content_template(identifier: str) -> Dataset:
    """Return an item of the Content Template Sequence (PS3.3 C.18.8)."""
    return _dataset(
        ("MappingResource", "DCMR"),
        ("MappingResourceUID", UID("1.2.840.10008.8.1.1")),
        ("TemplateIdentifier", identifier),
    )


def text(relation: str, concept: Code, value: str, children: Iterable[Dataset] = ()) -> Dataset:
    """Return a TEXT item; its VR takes text of any length."""
    # A lone surrogate is no character, and cannot be encoded.
    legible = value.encode("utf-8", "replace").decode("utf-8")
    return _item(relation, "TEXT", concept, [("TextValue", _NOT_TEXT.sub(" ", legible).strip())], children)


def code(relation: str, concept: Code, value: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """Return a CODE item."""
    return _item(relation, "CODE", concept, [("ConceptCodeSequence", [coded(value)])], children)


def number(
    relation: str,
    concept: Code,
    value: float | None,
    units: Code | None,
    *,
    text: str = "",
    qualifier: Code | None = None,
    children: Iterable[Dataset] = (),
) -> Dataset:
    """Return a NUM item (PS3.3 C.18.1).

    Parameters
    ----------
    value
        None, or no finite number, makes an item without a value; its qualifier says why.
    units
        None is the unity.
    text
        The value as it was written; kept where it still is a decimal string of the value.

    Examples
    --------
    >>> item = number("CONTAINS", concepts.LENGTH, 12.5, concepts.MILLIMETRE, text="12.50")
    >>> str(item.MeasuredValueSequence[0].NumericValue)
    '12.50'
    """
    missing = _why_missing(value)
    measured = []
    if value is None or missing is not None:
        qualifier = qualifier or missing
    else:
        measured.append(_measured(float(value), units or concepts.NO_UNITS, text.strip()))
    values: list[tuple[str, Any]] = [("MeasuredValueSequence", measured)]
    if qualifier is not None:
        values.append(("NumericValueQualifierCodeSequence", [coded(qualifier)]))
    return _item(relation, "NUM", concept, values, children)


def uid_reference(relation: str, concept: Code, uid: str) -> Dataset:
    """Return a UIDREF item."""
    return _item(relation, "UIDREF", concept, [("UID", UID(uid_of(uid)))])


def uid_of(uid: str) -> str:
    """Return a valid UID: the given one, or always the same new one for text that is no UID (PS3.5 9.1)."""
    return uid if _UID.match(uid) else str(generate_uid(entropy_srcs=["dicombridge", uid]))


def person_name(relation: str, concept: Code, name: str) -> Dataset:
    """Return a PNAME item."""
    return _item(relation, "PNAME", concept, [("PersonName", of_bytes(name, 64))])


def image(
    relation: str, concept: Code | None, reference: InstanceReference, children: Iterable[Dataset] = ()
) -> Dataset:
    """Return an IMAGE item, of frames or else of segments where the reference names them (PS3.3 C.18.4)."""
    named = _reference(reference)
    frames = written_frames(reference)
    if frames:
        named.ReferencedFrameNumber = list(frames)
    elif reference.segments:
        named.ReferencedSegmentNumber = list(reference.segments)
    return _item(relation, "IMAGE", concept, [("ReferencedSOPSequence", [named])], children)


def written_frames(reference: InstanceReference) -> tuple[int, ...]:
    """Return the frames that a reference can name.

    It has either frames or segments (PS3.3 Table C.18.4-1). A frame of a segmentation tells its segment too, but for
    label maps, whose frames show all segments.
    """
    return () if reference.sop_class_uid == _LABEL_MAP and reference.segments else reference.frames


def composite(
    relation: str, concept: Code | None, reference: InstanceReference, children: Iterable[Dataset] = ()
) -> Dataset:
    """Return a COMPOSITE item (PS3.3 C.18.3)."""
    return _item(relation, "COMPOSITE", concept, [("ReferencedSOPSequence", [_reference(reference)])], children)


def scoord(relation: str, concept: Code | None, graphic: Graphic, of: InstanceReference) -> Dataset:
    """Return an SCOORD item that is selected from an image (PS3.3 C.18.6).

    Raises
    ------
    ExportError
        There is no such Graphic Type in an image.
    """
    values: list[tuple[str, Any]] = [
        ("GraphicType", _graphic_type(_TYPE_IN_IMAGE.get(graphic.type, graphic.type), _IN_IMAGE)),
        ("GraphicData", _graphic_data(graphic.type, graphic.data)),
    ]
    if graphic.origin:
        values.append(("PixelOriginInterpretation", graphic.origin))
    return _item(relation, "SCOORD", concept, values, [image(SELECTED_FROM, None, of)])


def scoord3d(
    relation: str, concept: Code | None, graphic_type: str, points: NDArray[np.float64], frame_of_reference_uid: str
) -> Dataset:
    """Return an SCOORD3D item; a polygon is closed by its first point if it is not (PS3.3 C.18.9).

    Parameters
    ----------
    points
        (n, 3) LPS mm.

    Raises
    ------
    ExportError
        There is no such Graphic Type in space.
    """
    values = [
        ("GraphicType", _graphic_type(graphic_type, _IN_SPACE)),
        ("GraphicData", _graphic_data(graphic_type, points)),
        ("ReferencedFrameOfReferenceUID", UID(uid_of(frame_of_reference_uid))),
    ]
    return _item(relation, "SCOORD3D", concept, values)


def _item(
    relation: str,
    value_type: str,
    concept: Code | None,
    values: Iterable[tuple[str, Any]],
    children: Iterable[Dataset] = (),
) -> Dataset:
    """Return a content item; a Content Sequence cannot be empty (PS3.3 C.17.3.1)."""
    head: list[tuple[str, Any]] = [("RelationshipType", relation)] if relation else []
    head.append(("ValueType", value_type))
    if concept is not None:
        head.append(("ConceptNameCodeSequence", [coded(concept)]))
    content = list(children)
    tail = [("ContentSequence", content)] if content else []
    return _dataset(*head, *values, *tail)


def _dataset(*values: tuple[str, Any]) -> Dataset:
    """Return a dataset of elements by keyword."""
    return _of_elements([(*_tag_and_vr(keyword), value) for keyword, value in values])


_Values = Iterable[tuple[BaseTag, str, Any]]
_CERTAIN = frozenset({"CS", "SH", "LO", "UC", "UR", "UI", "UT", "SQ"})
"""VRs whose values are made within their limits here; those of others are converted to pydicom's types."""


def _of_elements(values: _Values) -> Dataset:
    elements: dict[BaseTag, DataElement] = {}
    for tag, vr, value in values:
        held = Sequence(value) if vr == "SQ" else value
        elements[tag] = DataElement(tag, vr, held, already_converted=vr in _CERTAIN)
    return Dataset(elements)


@cache
def _tag_and_vr(keyword: str) -> tuple[BaseTag, str]:
    return Tag(tag_for_keyword(keyword) or 0), dictionary_VR(keyword)


def coded(concept: Code) -> Dataset:
    """Return a code as an item of a code sequence, within the limits of its VRs; each time another one."""
    return _of_elements(_code_values(*concept))


@lru_cache(maxsize=4096)
def _code_values(value: str, scheme: str, meaning: str, version: str | None) -> _Values:
    """Return the elements of a code. By its text: codes are equal whatever they mean, and retired ones equal others."""
    designator = of_bytes(scheme, 16) or _NO_SCHEME
    item = code_item(Code(value, designator, of_bytes(meaning or value, 64), version))
    return tuple((element.tag, str(element.VR), element.value) for element in item)


def _why_missing(value: float | None) -> Code | None:
    if value is None:
        return _VALUE_UNKNOWN
    return next((reason for holds, reason in _NOT_FINITE if holds(value)), None)


def _measured(value: float, units: Code, text: str) -> Dataset:
    kept = _DECIMAL.match(text) is not None and float(text) == value
    written = text if kept else decimal_string(value)
    exact = [] if float(written) == value else [("FloatingPointValue", value)]
    return _dataset(("NumericValue", written), *exact, ("MeasurementUnitsCodeSequence", [coded(units)]))


def _reference(reference: InstanceReference) -> Dataset:
    if not _UID.match(reference.sop_class_uid) or not _UID.match(reference.sop_instance_uid):
        raise ExportError(
            f"An object {reference.sop_instance_uid or 'without UID'} of class {reference.sop_class_uid or 'unknown'} "
            "cannot be referred to; load it into the database, or remove what refers to it."
        )
    return _dataset(
        ("ReferencedSOPClassUID", UID(reference.sop_class_uid)),
        ("ReferencedSOPInstanceUID", UID(reference.sop_instance_uid)),
    )


def _graphic_type(name: str, known: frozenset[str]) -> str:
    if name not in known:
        raise ExportError(f"Coordinates of the type {name} cannot be written; only {', '.join(sorted(known))} can.")
    return name


def _graphic_data(graphic_type: str, points: NDArray[np.float64]) -> list[float]:
    """Return coordinates as single floats; those of a polygon end where they start, to the last bit."""
    single = np.asarray(points, dtype=np.float32)
    if not single.size or not np.isfinite(single).all():
        raise ExportError(f"Coordinates of a {graphic_type} are no numbers; they cannot be written.")
    if graphic_type == "POLYGON" and not np.array_equal(single[0], single[-1]):
        single = np.vstack([single, single[:1]])
    flat: list[float] = single.astype(np.float64).ravel().tolist()
    return flat
