"""Content items of structured reports as datasets, by value type (PS3.3 C.17.3, C.18).

Strict whatever the values are: text is cut and cleaned to what its VR takes, codes have a scheme, numbers are exact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

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
    item = _item(relation, "CONTAINER", concept)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        item.ContentTemplateSequence = [content_template(template)]
    return _with(item, children)


def content_template(identifier: str) -> Dataset:
    """Return an item of the Content Template Sequence (PS3.3 C.18.8)."""
    item = Dataset()
    item.MappingResource = "DCMR"
    item.MappingResourceUID = "1.2.840.10008.8.1.1"
    item.TemplateIdentifier = identifier
    return item


def text(relation: str, concept: Code, value: str, children: Iterable[Dataset] = ()) -> Dataset:
    """Return a TEXT item; its VR takes text of any length."""
    item = _item(relation, "TEXT", concept)
    # A lone surrogate is no character, and cannot be encoded.
    legible = value.encode("utf-8", "replace").decode("utf-8")
    item.TextValue = _NOT_TEXT.sub(" ", legible).strip()
    return _with(item, children)


def code(relation: str, concept: Code, value: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """Return a CODE item."""
    item = _item(relation, "CODE", concept)
    item.ConceptCodeSequence = [coded(value)]
    return _with(item, children)


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
    item = _item(relation, "NUM", concept)
    missing = _why_missing(value)
    if value is None or missing is not None:
        item.MeasuredValueSequence = []
        qualifier = qualifier or missing
    else:
        item.MeasuredValueSequence = [_measured(float(value), units or concepts.NO_UNITS, text.strip())]
    if qualifier is not None:
        item.NumericValueQualifierCodeSequence = [coded(qualifier)]
    return _with(item, children)


def uid_reference(relation: str, concept: Code, uid: str) -> Dataset:
    """Return a UIDREF item."""
    item = _item(relation, "UIDREF", concept)
    item.UID = uid_of(uid)
    return item


def uid_of(uid: str) -> str:
    """Return a valid UID: the given one, or always the same new one for text that is no UID (PS3.5 9.1)."""
    return uid if _UID.match(uid) else str(generate_uid(entropy_srcs=["dicombridge", uid]))


def person_name(relation: str, concept: Code, name: str) -> Dataset:
    """Return a PNAME item."""
    item = _item(relation, "PNAME", concept)
    item.PersonName = of_bytes(name, 64)
    return item


def image(
    relation: str, concept: Code | None, reference: InstanceReference, children: Iterable[Dataset] = ()
) -> Dataset:
    """Return an IMAGE item, of frames or else of segments where the reference names them (PS3.3 C.18.4)."""
    item = _item(relation, "IMAGE", concept)
    named = _reference(reference)
    frames = written_frames(reference)
    if frames:
        named.ReferencedFrameNumber = list(frames)
    elif reference.segments:
        named.ReferencedSegmentNumber = list(reference.segments)
    item.ReferencedSOPSequence = [named]
    return _with(item, children)


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
    item = _item(relation, "COMPOSITE", concept)
    item.ReferencedSOPSequence = [_reference(reference)]
    return _with(item, children)


def scoord(relation: str, concept: Code | None, graphic: Graphic, of: InstanceReference) -> Dataset:
    """Return an SCOORD item that is selected from an image (PS3.3 C.18.6).

    Raises
    ------
    ExportError
        There is no such Graphic Type in an image.
    """
    item = _item(relation, "SCOORD", concept)
    item.GraphicType = _graphic_type(_TYPE_IN_IMAGE.get(graphic.type, graphic.type), _IN_IMAGE)
    item.GraphicData = _graphic_data(graphic.type, graphic.data)
    if graphic.origin:
        item.PixelOriginInterpretation = graphic.origin
    return _with(item, [image(SELECTED_FROM, None, of)])


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
    item = _item(relation, "SCOORD3D", concept)
    item.GraphicType = _graphic_type(graphic_type, _IN_SPACE)
    item.GraphicData = _graphic_data(graphic_type, points)
    item.ReferencedFrameOfReferenceUID = uid_of(frame_of_reference_uid)
    return item


def _item(relation: str, value_type: str, concept: Code | None) -> Dataset:
    item = Dataset()
    if relation:
        item.RelationshipType = relation
    item.ValueType = value_type
    if concept is not None:
        item.ConceptNameCodeSequence = [coded(concept)]
    return item


def _with(item: Dataset, children: Iterable[Dataset]) -> Dataset:
    """Add the children; a Content Sequence cannot be empty (PS3.3 C.17.3.1)."""
    content = list(children)
    if content:
        item.ContentSequence = content
    return item


def coded(concept: Code) -> Dataset:
    """Return a code as an item of a code sequence, within the limits of its VRs."""
    scheme = of_bytes(concept.scheme_designator, 16) or _NO_SCHEME
    meaning = of_bytes(concept.meaning or concept.value, 64)
    return code_item(Code(concept.value, scheme, meaning, concept.scheme_version))


def _why_missing(value: float | None) -> Code | None:
    if value is None:
        return _VALUE_UNKNOWN
    return next((reason for holds, reason in _NOT_FINITE if holds(value)), None)


def _measured(value: float, units: Code, text: str) -> Dataset:
    measured = Dataset()
    kept = _DECIMAL.match(text) is not None and float(text) == value
    written = text if kept else decimal_string(value)
    measured.NumericValue = written
    if float(written) != value:
        measured.FloatingPointValue = value
    measured.MeasurementUnitsCodeSequence = [coded(units)]
    return measured


def _reference(reference: InstanceReference) -> Dataset:
    if not _UID.match(reference.sop_class_uid) or not _UID.match(reference.sop_instance_uid):
        raise ExportError(
            f"An object {reference.sop_instance_uid or 'without UID'} of class {reference.sop_class_uid or 'unknown'} "
            "cannot be referred to; load it into the database, or remove what refers to it."
        )
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item


def _graphic_type(name: str, known: frozenset[str]) -> str:
    if name not in known:
        raise ExportError(f"Coordinates of the type {name} cannot be written; only {', '.join(sorted(known))} can.")
    return name


def _graphic_data(graphic_type: str, points: NDArray[np.float64]) -> Sequence[float]:
    """Return coordinates as single floats; those of a polygon end where they start, to the last bit."""
    single = np.asarray(points, dtype=np.float32)
    if not single.size or not np.isfinite(single).all():
        raise ExportError(f"Coordinates of a {graphic_type} are no numbers; they cannot be written.")
    if graphic_type == "POLYGON" and not np.array_equal(single[0], single[-1]):
        single = np.vstack([single, single[:1]])
    flat: list[float] = single.astype(np.float64).ravel().tolist()
    return flat
