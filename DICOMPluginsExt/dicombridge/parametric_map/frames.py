"""The functional groups of a new parametric map, and its frames (PS3.3 A.75.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from dicombridge.codes import Code, code_item
from dicombridge.encode import decimal_string, element, encoded_dataset, sequence
from dicombridge.output.frames import derivation_images
from dicombridge.part10 import PER_FRAME_GROUPS
from dicombridge.value_mapping import item_of_mapping

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.parametric_map.preparing import MapContent, ObjectContent

__all__ = ["Frame", "dimensions", "frames_of", "per_frame_groups", "pixel_frames", "shared_item"]

_MAP = (0x00409210, 0x00409096, "Real world value mapping")  # LUT Label: as highdicom tells channels apart
_TIME_OFFSET = (0x0020930D, 0x00209310, "Time")
_TIME_INDEX = (0x00209128, 0x00209111, "Temporal position")
_WRITTEN_GROUPS = (
    "DerivationImageSequence",
    "FrameContentSequence",
    "FrameVOILUTSequence",
    "ParametricMapFrameTypeSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "PlaneOrientationSequence",
    "PlanePositionSequence",
    "PlanePositionSlideSequence",
    "RealWorldValueMappingSequence",
    "TemporalPositionSequence",
)
_IMAGE_PROCESSING = Code("110001", "DCM", "Image Processing")
_WIDEST = 9e18
"""Of a window; dciodvfy takes wider ones for negative."""
_WHOLE_BODY = Code("38266002", "SCT", "Entire body")


@dataclass(frozen=True)
class Frame:
    """One frame to be written: which map, time point and slice, or tile, it shows, counted from 0."""

    map: int
    time: int
    place: int


def frames_of(content: ObjectContent) -> list[Frame]:
    """Return the frames in their order: map by map, time point by time point, slice by slice."""
    return [
        Frame(number, time, place)
        for number, one in enumerate(content.maps)
        for time in range(len(one.arrays))
        for place in one.slices
    ]


def dimensions(content: ObjectContent) -> list[tuple[int, int, str]]:
    """Return the dimensions that vary, the slowest one first (PS3.3 C.7.6.17)."""
    time = [_TIME_OFFSET if content.in_seconds else _TIME_INDEX] if content.times else []
    return [*([_MAP] if len(content.maps) > 1 else []), *time, *content.places.dimensions]


def shared_item(content: ObjectContent, kept: Dataset | None, frame_type: list[str]) -> Dataset:
    """Return the item of the Shared Functional Groups Sequence; groups that this version does not know are kept."""
    item = Dataset()
    for known in (kept.get("SharedFunctionalGroupsSequence") or ())[:1] if kept is not None else ():
        for other in known:
            if other.keyword not in _WRITTEN_GROUPS:
                item[other.tag] = other
    item.update(content.places.shared_groups())
    type_item, identity = Dataset(), Dataset()
    type_item.FrameType = frame_type
    item.ParametricMapFrameTypeSequence = [type_item]
    identity.RescaleIntercept, identity.RescaleSlope, identity.RescaleType = "0", "1", "US"
    item.PixelValueTransformationSequence = [identity]
    if "FrameAnatomySequence" not in item:  # dcmqi reads no map without it
        anatomy = Dataset()
        side = str(kept.get("Laterality") or "") if kept is not None else ""
        anatomy.FrameLaterality = side if side in ("L", "R") else "U"
        anatomy.AnatomicRegionSequence = [code_item(_WHOLE_BODY)]
        item.FrameAnatomySequence = [anatomy]
    if len(content.maps) == 1:
        item.RealWorldValueMappingSequence = [_mapping_item(content.maps[0])]
        item.FrameVOILUTSequence = [_window_item(content.maps[0])]
    return item


def _mapping_item(one: MapContent) -> Dataset:
    return item_of_mapping(one.storing.mapping, signed=False)


def _window_item(one: MapContent) -> Dataset:
    """Return the window in stored values, which the identity transformation leaves as they are."""
    mapping = one.storing.mapping
    window = one.window
    if window is None or mapping.lut is not None:  # a table has no way back
        low, high = mapping.first, mapping.last
    else:
        low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
        if not mapping.is_identity:
            low, high = sorted((end - mapping.intercept) / mapping.slope for end in (low, high))
    low, high = max(low, -_WIDEST / 2), min(high, _WIDEST / 2)
    item = Dataset()
    item.WindowCenter, item.WindowWidth = decimal_string(low / 2 + high / 2), decimal_string(max(high - low, 1e-6))
    item.VOILUTFunction = "LINEAR_EXACT"  # LINEAR has no width below 1
    return item


def per_frame_groups(content: ObjectContent, frames: list[Frame], derivation: Code | None) -> bytes:
    """Return the Per-frame Functional Groups Sequence, encoded in Explicit VR Little Endian.

    Parameters
    ----------
    derivation
        How the maps were made from their images, where the caller says so.
    """
    places = sorted({frame.place for frame in frames})
    placed = content.places
    position = {place: placed.position(place) for place in places}
    several = len(content.maps) > 1
    # A functional group of one frame is one of all frames (PS3.3 C.7.6.16.1.1), also where there is nothing to say.
    is_derived = any(one.sources.by_slice.get(place) for one in content.maps for place in places)
    of_map = []
    for one in content.maps:
        code = sequence(0x00089215, [_derivation_code(one, derivation)])
        images = {}
        if is_derived:
            pairs = one.sources.by_slice
            images = {place: derivation_images(pairs.get(place, ()), one.sources.preserved, code) for place in places}
        meaning, window = b"", b""
        if several:
            meaning = sequence(0x00409096, [encoded_dataset(_mapping_item(one))])
            window = sequence(0x00289132, [encoded_dataset(_window_item(one))])
        of_map.append((images, meaning, window))
    contents = []
    for frame in frames:
        images, meaning, window = of_map[frame.map]
        index = [*([frame.map + 1] if several else []), *([frame.time + 1] if content.times else [])]
        index += placed.index(frame.place)
        groups = images.get(frame.place, b"") + _frame_content(content, frame, index) + position[frame.place][0]
        if content.times and content.in_seconds:
            offset = pack("<d", content.times[frame.time])
            groups += sequence(0x00209310, [element(0x0020930D, b"FD", offset)])
        contents.append(groups + window + meaning + position[frame.place][1])
    return sequence(PER_FRAME_GROUPS, contents)


def _frame_content(content: ObjectContent, frame: Frame, index: list[int]) -> bytes:
    parts = element(0x00209128, b"UL", pack("<L", frame.time + 1)) if content.times else b""
    return sequence(0x00209111, [parts + element(0x00209157, b"UL", pack(f"<{len(index)}L", *index))])


def _derivation_code(one: MapContent, given: Code | None) -> bytes:
    if given is None and one.derivation is not None:
        return encoded_dataset(one.derivation)
    return encoded_dataset(code_item(given or _IMAGE_PROCESSING))


def pixel_frames(content: ObjectContent, frames: list[Frame]) -> Iterator[NDArray[Any]]:
    """Yield the stored values of each frame, (rows, columns)."""
    dtype = np.dtype(content.stored_type)
    for frame in frames:
        one = content.maps[frame.map]
        yield one.storing.stored(one.arrays[frame.time][frame.place], dtype)
