"""What an exported report says, read item by item with pydicom alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conformance import faults
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicombridge.encode import encoded_dataset
from support.items import read

Graphics = list[tuple[str, NDArray[np.float64]]]


def written(paths: Sequence[Path], known: str = "") -> Dataset:
    """Return the one file that was written, in which dciodvfy finds no error but those of a regular expression."""
    (path,) = paths
    found = [one for one in faults(path) if not known or not re.search(known, one)]
    assert found == [], found
    return read(path)


def items_of(dataset: Dataset) -> list[Dataset]:
    """Return an item and all below it, in the order of the document."""
    return [dataset, *(one for child in dataset.get("ContentSequence") or () for one in items_of(child))]


def concept(item: Dataset) -> str:
    """Return the code value of an item's concept name."""
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def meaning(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeMeaning) if names else ""


def groups_of(dataset: Dataset) -> dict[str, Dataset]:
    """Return the measurement groups by Tracking Identifier."""
    groups = [one for one in items_of(dataset) if concept(one) == "125007"]
    return {text_of(one, "112039"): one for one in groups}


def child(item: Dataset, code: str) -> Dataset | None:
    return next((one for one in item.get("ContentSequence") or () if concept(one) == code), None)


def text_of(item: Dataset, code: str) -> str:
    found = child(item, code)
    return str(found.TextValue) if found is not None else ""


def code_of(item: Dataset, code: str) -> str:
    """Return the code value that an item of a concept has; empty if there is none."""
    found = child(item, code)
    return str(found.ConceptCodeSequence[0].CodeValue) if found is not None else ""


def numbers_of(group: Dataset) -> dict[str, float]:
    """Return the numbers of a group by the meaning of their concept, and of what they were derived by."""
    found = {}
    for one in group.ContentSequence:
        if one.ValueType == "NUM":
            derived = child(one, "121401")
            parts = [*([derived.ConceptCodeSequence[0].CodeMeaning] if derived is not None else []), meaning(one)]
            measured = one.MeasuredValueSequence
            exact = measured[0].get("FloatingPointValue", measured[0].NumericValue) if measured else np.nan
            found[" ".join(parts)] = float(exact)
    return found


def texts_of_numbers(group: Dataset) -> dict[str, str]:
    """Return the numbers of a group as they are written."""
    numbers = [one for one in group.ContentSequence if one.ValueType == "NUM" and one.MeasuredValueSequence]
    return {meaning(one): str(one.MeasuredValueSequence[0].NumericValue) for one in numbers}


def graphics_of(item: Dataset) -> Graphics:
    """Return Graphic Type and points (n, 2 or 3) of all coordinates below an item."""
    width = {"SCOORD": 2, "SCOORD3D": 3}
    return [
        (str(one.GraphicType), np.array(one.GraphicData, float).reshape(-1, width[one.ValueType]))
        for one in items_of(item)
        if one.ValueType in width
    ]


def images_of(item: Dataset) -> list[tuple[str, list[int]]]:
    """Return SOP Instance UID and frames of the images that coordinates below an item were selected from."""
    found = []
    for one in items_of(item):
        for image in one.get("ContentSequence") or () if one.ValueType == "SCOORD" else ():
            named = image.ReferencedSOPSequence[0]
            frames = np.atleast_1d(named.get("ReferencedFrameNumber", []))
            found.append((str(named.ReferencedSOPInstanceUID), [int(frame) for frame in frames]))
    return found


def same_bytes(one: Dataset, other: Dataset) -> bool:
    """Whether two items are encoded alike."""
    return encoded_dataset(one) == encoded_dataset(other)
