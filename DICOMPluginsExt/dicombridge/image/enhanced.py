"""Functional groups of enhanced images: what holds for which frame (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dicombridge.errors import GeometryError, UnreadableError

__all__ = ["frame_groups", "frame_values", "group_item"]

_POSITION_POINTERS = frozenset({0x00200032, 0x00209057, 0x00209056, 0x00209111, 0x00209113})
"""Dimensions that only say where a frame lies: Image Position, In-Stack Position Number, Stack ID and their groups."""

_MARKS: tuple[tuple[str, str, str], ...] = (
    ("FrameContentSequence", "TemporalPositionIndex", "time point"),
    ("MREchoSequence", "EffectiveEchoTime", "echo time"),
    ("MRDiffusionSequence", "DiffusionBValue", "b-value"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", "trigger time"),
    ("FrameContentSequence", "FrameAcquisitionNumber", "acquisition"),
    ("MRImageFrameTypeSequence", "FrameType", "frame type"),
    ("CTImageFrameTypeSequence", "FrameType", "CT frame type"),
    ("PETFrameTypeSequence", "FrameType", "PET frame type"),
    ("MRDiffusionSequence", "DiffusionDirectionality", "diffusion directionality"),
)


def group_item(groups: Sequence[Any], sequence: str) -> Any | None:
    """Return the first item of a functional group: the frame's own, else the shared one."""
    for functional_groups in groups:
        items = functional_groups.get(sequence) if functional_groups is not None else None
        if items:
            return items[0]
    return None


def frame_groups(path: str, dataset: Any) -> list[tuple[Any, Any]]:
    """Return for every frame its own functional groups and the shared ones.

    Raises
    ------
    UnreadableError
        Number of frames and functional groups contradict each other.
    GeometryError
        There are several frames and no per-frame functional groups.
    """
    try:
        frames = int(dataset.get("NumberOfFrames") or 1)
        own = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
        shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or []), None)
    except Exception as error:  # pydicom converts values late and raises many kinds of errors for bad ones
        raise UnreadableError(path, f"has damaged functional groups ({error})") from error
    if own and len(own) != frames:
        raise UnreadableError(path, f"says that it has {frames} frames, but describes {len(own)}")
    if not own and frames > 1:
        raise GeometryError(
            f"{path}: the image cannot be placed in space, it describes none of its {frames} frames "
            "(Per-frame Functional Groups Sequence)."
        )
    own = own or [None]  # the shared groups can place a single frame
    return [(item, shared) for item in own]


def frame_values(path: str, dataset: Any) -> Iterator[dict[str, str]]:
    """Yield for every frame where it lies and what may tell it from another frame there, as text.

    Keys are ``position``, ``orientation``, ``spacing``, ``stack`` and then marks in words, the most telling first.
    """
    dimensions = [
        number
        for number, item in enumerate(dataset.get("DimensionIndexSequence") or [])
        if int(item.get("DimensionIndexPointer") or 0) not in _POSITION_POINTERS
    ]
    for groups in frame_groups(path, dataset):
        try:
            yield _values(groups, dataset, dimensions)
        except Exception as error:  # as above
            raise UnreadableError(path, f"has damaged functional groups ({error})") from error


def _values(groups: Sequence[Any], dataset: Any, dimensions: Sequence[int]) -> dict[str, str]:
    values = {
        "position": _text(groups, "PlanePositionSequence", "ImagePositionPatient"),
        "orientation": _text(groups, "PlaneOrientationSequence", "ImageOrientationPatient"),
        "spacing": _text(groups, "PixelMeasuresSequence", "PixelSpacing"),
        "stack": _text(groups, "FrameContentSequence", "StackID"),
    }
    for sequence, keyword, words in _MARKS:
        values[words] = _text(groups, sequence, keyword)
    diffusion = group_item(groups, "MRDiffusionSequence")
    if diffusion is not None:
        values["gradient direction"] = _text(
            (diffusion,), "DiffusionGradientDirectionSequence", "DiffusionGradientOrientation"
        )
    content = group_item(groups, "FrameContentSequence")
    indices = content.get("DimensionIndexValues") if content is not None else None
    if indices is not None:
        several = [indices] if isinstance(indices, int) else list(indices)
        for number in dimensions:
            if number < len(several):
                values[f"dimension {number + 1}"] = str(several[number])
    return values


def _text(groups: Sequence[Any], sequence: str, keyword: str) -> str:
    item = group_item(groups, sequence)
    value = item.get(keyword) if item is not None else None
    if value is None:
        return ""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return str(value)
    return "\\".join(str(part) for part in value)
