"""One segment's description: an item of the Segment Sequence as plain values (PS3.3 C.8.20.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from dicombridge.codes import DEFAULT_CATEGORY, DEFAULT_TYPE, Terminology, code_from_sequence, code_item
from dicombridge.colours import cielab_of_rgb, rgb_of_cielab
from dicombridge.errors import UnreadableError
from dicombridge.shadow import bytes_to_text, dataset_from_text
from dicombridge.text import shortened

if TYPE_CHECKING:
    from dicombridge.multiframe import MultiFrame

__all__ = ["Segment", "is_background", "segment_item", "segments_of_file"]

SEGMENT_SEQUENCE = 0x00620002
_TYPE = ("SegmentedPropertyTypeCodeSequence", "SegmentedPropertyTypeModifierCodeSequence")
_REGION = ("AnatomicRegionSequence", "AnatomicRegionModifierSequence")
BACKGROUND = ("DCM", "125040")
_LO = 64
"""Characters that a value of VR LO or SH-like labels may have (PS3.5 6.2)."""


@dataclass(frozen=True)
class Segment:
    """What a segment is, without its voxels.

    Attributes
    ----------
    number
        Segment Number (0062,0004); 0 only for the background of a label map.
    label, description
        Segment Label and Segment Description.
    rgb
        Recommended colour, 0 to 1; None where none is recommended.
    terminology
        Category, type, first type modifier, first region, first region modifier: what Slicer's terminology entry holds.
    algorithm_type, algorithm_name
        Segment Algorithm Type (AUTOMATIC, SEMIAUTOMATIC, MANUAL) and Name.
    tracking_id, tracking_uid
        Tracking ID and Tracking UID.
    shadow
        The item as it came (:mod:`dicombridge.shadow`); it holds what the other attributes do not: further modifiers
        and regions, algorithm identification, private elements. Empty for a segment that did not come from DICOM.
    """

    number: int
    label: str
    description: str = ""
    rgb: tuple[float, float, float] | None = None
    terminology: Terminology | None = None
    algorithm_type: str = ""
    algorithm_name: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""
    shadow: str = ""


def segments_of_file(opened: MultiFrame) -> tuple[list[Segment], list[str]]:
    """Return the described segments in the order of the Segment Sequence, and warnings.

    Raises
    ------
    UnreadableError
        There is no Segment Sequence, or an item has no number.
    """
    path, header = opened.path, opened.header
    sequence = header.get("SegmentSequence")
    if not sequence:
        raise UnreadableError(path, "has no Segment Sequence, so nothing says what its segments are.")
    palette = _palette(header)
    shadows = [
        bytes_to_text(raw, opened.implicit_vr, opened.character_set) for raw in opened.raw_items(SEGMENT_SEQUENCE)
    ]
    segments: list[Segment] = []
    seen: set[int] = set()
    warnings: list[str] = []
    for position, item in enumerate(sequence, start=1):
        try:
            number = int(item.SegmentNumber)
        except (AttributeError, TypeError, ValueError):
            raise UnreadableError(path, f"item {position} of its Segment Sequence has no number.") from None
        if number in seen:
            warnings.append(f"Segment number {number} is described twice; the first description was kept.")
            continue
        seen.add(number)
        segments.append(_segment_of_item(number, item, palette, shadows[position - 1]))
    return segments, warnings


def _segment_of_item(number: int, item: Any, palette: Mapping[int, tuple[float, float, float]], shadow: str) -> Segment:
    lab = item.get("RecommendedDisplayCIELabValue")
    rgb = palette.get(number)
    if lab is not None and not isinstance(lab, int) and len(lab) == 3:
        rgb = rgb_of_cielab([int(value) for value in lab])
    label = _text(item, "SegmentLabel").strip() or f"Segment {number}"
    return Segment(
        number=number,
        label=label,
        description=_text(item, "SegmentDescription"),
        rgb=rgb,
        terminology=_terminology(item),
        algorithm_type=_text(item, "SegmentAlgorithmType"),
        algorithm_name=_text(item, "SegmentAlgorithmName"),
        tracking_id=_text(item, "TrackingID"),
        tracking_uid=_text(item, "TrackingUID"),
        shadow=shadow,
    )


def _text(item: Any, keyword: str) -> str:
    """Return a text value; where a stray backslash made several values of it, with the backslash."""
    value = item.get(keyword)
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value)


def _terminology(item: Any) -> Terminology | None:
    category = code_from_sequence(item, "SegmentedPropertyCategoryCodeSequence")
    kind = code_from_sequence(item, "SegmentedPropertyTypeCodeSequence")
    if category is None and kind is None:
        return None
    region = code_from_sequence(item, "AnatomicRegionSequence")
    return Terminology(
        category=category or DEFAULT_CATEGORY,
        type=kind or DEFAULT_TYPE,
        type_modifier=_first_modifier(
            item, "SegmentedPropertyTypeCodeSequence", "SegmentedPropertyTypeModifierCodeSequence"
        ),
        region=region,
        region_modifier=_first_modifier(item, "AnatomicRegionSequence", "AnatomicRegionModifierSequence"),
    )


def is_background(segment: Segment) -> bool:
    """Whether a segment of a label map describes its background (125040, DCM, "Background")."""
    code = segment.terminology.type if segment.terminology else None
    return code is not None and (code.scheme_designator, code.value) == BACKGROUND


def _first_modifier(item: Any, keyword: str, modifier_keyword: str) -> Code | None:
    sequence = item.get(keyword)
    return code_from_sequence(sequence[0], modifier_keyword) if sequence else None


def _palette(header: Any) -> dict[int, tuple[float, float, float]]:
    """Return the colours of a label map with a palette, by segment number (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6)."""
    if header.get("PhotometricInterpretation") != "PALETTE COLOR":
        return {}
    channels = []
    for name in ("Red", "Green", "Blue"):
        descriptor = header.get(f"{name}PaletteColorLookupTableDescriptor")
        data = header.get(f"{name}PaletteColorLookupTableData")
        if descriptor is None or data is None or len(descriptor) != 3:
            return {}
        entries, first, bits = (int(value) for value in descriptor)
        width = 1 if bits <= 8 and len(data) <= (entries or 65536) + 1 else 2
        values = [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data) - width + 1, width)]
        scale = float(2 ** (8 * width) - 1)
        channels.append({first + place: value / scale for place, value in enumerate(values)})
    red, green, blue = channels
    return {number: (red[number], green[number], blue[number]) for number in red.keys() & green.keys() & blue.keys()}


def segment_item(segment: Segment) -> tuple[Dataset, list[str]]:
    """Return the Segment Sequence item of a segment, and warnings about what had to be made up or cut.

    Starts from the item that the segment came with, so that what this version does not know survives.
    """
    item = dataset_from_text(segment.shadow) or Dataset()
    warnings: list[str] = []
    label = shortened(segment.label, _LO) or f"Segment {segment.number}"
    if label != segment.label:
        warnings.append(f"Segment name {segment.label!r} does not fit a DICOM label and was written as {label!r}.")
    item.SegmentNumber = segment.number
    item.SegmentLabel = label
    _set_or_delete(item, "SegmentDescription", segment.description[:1024])
    _set_codes(item, segment, warnings)
    item.SegmentAlgorithmType = segment.algorithm_type or "MANUAL"
    if item.SegmentAlgorithmType != "MANUAL":
        item.SegmentAlgorithmName = shortened(segment.algorithm_name, _LO) or "Unknown"
    else:
        _set_or_delete(item, "SegmentAlgorithmName", shortened(segment.algorithm_name, _LO))
    if segment.rgb is not None:
        kept = item.get("RecommendedDisplayCIELabValue")
        # A colour that nobody changed keeps its exact value, also where it lies outside of what a screen can show.
        if kept is None or not _same_colour(rgb_of_cielab([int(value) for value in kept]), segment.rgb):
            item.RecommendedDisplayCIELabValue = cielab_of_rgb(segment.rgb)
    if segment.tracking_id or segment.tracking_uid:
        # Both or neither (type 1C each on the presence of the other).
        item.TrackingID = segment.tracking_id or label
        item.TrackingUID = segment.tracking_uid or generate_uid()
    else:
        for keyword in ("TrackingID", "TrackingUID"):
            _set_or_delete(item, keyword, "")
    return item, warnings


def _same_colour(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(abs(a - b) < 0.5 / 255 for a, b in zip(one, other, strict=True))


def _set_or_delete(item: Dataset, keyword: str, value: str) -> None:
    if value:
        setattr(item, keyword, value)
    elif keyword in item:
        delattr(item, keyword)


def _set_codes(item: Dataset, segment: Segment, warnings: list[str]) -> None:
    terminology = segment.terminology
    if terminology is None or terminology.category is None or terminology.type is None:
        warnings.append(f"Segment {segment.label!r} has no terminology; it was written as {DEFAULT_TYPE.meaning}.")
        terminology = Terminology(
            category=(terminology and terminology.category) or DEFAULT_CATEGORY,
            type=(terminology and terminology.type) or DEFAULT_TYPE,
            region=terminology.region if terminology else None,
            region_modifier=terminology.region_modifier if terminology else None,
        )
    before = _terminology(item)
    # What did not change stays as it came, with all that the terminology of a segment cannot hold.
    if not _same(before, terminology, "category") or "SegmentedPropertyCategoryCodeSequence" not in item:
        item.SegmentedPropertyCategoryCodeSequence = [code_item(terminology.category or DEFAULT_CATEGORY)]
    if not _same(before, terminology, "type", "type_modifier") or "SegmentedPropertyTypeCodeSequence" not in item:
        _warn_of_lost_codes(item, segment, _TYPE, warnings)
        _set_coded(item, _TYPE, terminology.type or DEFAULT_TYPE, terminology.type_modifier)
    if not _same(before, terminology, "region", "region_modifier"):
        _warn_of_lost_codes(item, segment, _REGION, warnings)
        _set_coded(item, _REGION, terminology.region, terminology.region_modifier)


def _same(one: Terminology | None, other: Terminology, *fields: str) -> bool:
    """Whether the codes of these fields are the same, whatever their meanings read."""
    if one is None:
        return False
    pairs = ((getattr(one, field), getattr(other, field)) for field in fields)
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and (a.scheme_designator, a.value) == (b.scheme_designator, b.value))
        for a, b in pairs
    )


def _set_coded(item: Dataset, keywords: tuple[str, str], code: Code | None, modifier: Code | None) -> None:
    keyword, modifier_keyword = keywords
    if code is None:
        if keyword in item:
            delattr(item, keyword)
        return
    coded = code_item(code)
    if modifier is not None:
        setattr(coded, modifier_keyword, [code_item(modifier)])
    setattr(item, keyword, [coded])


def _warn_of_lost_codes(item: Dataset, segment: Segment, keywords: tuple[str, str], warnings: list[str]) -> None:
    """Say so where a change of the code takes further codes with it, which no terminology entry shows."""
    keyword, modifier_keyword = keywords
    coded = item.get(keyword) or []
    lost = [one for part in coded for one in part.get(modifier_keyword) or []][1:] + list(coded[1:])
    if lost:
        meanings = ", ".join(str(one.get("CodeMeaning") or one.get("CodeValue")) for one in lost)
        warnings.append(
            f"Codes of segment {segment.label!r} were changed; what it had beside was left out: {meanings}."
        )
