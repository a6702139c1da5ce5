"""What a node remembers of the DICOM object that it came from, so that it comes back on export.

A dataset is kept as it was encoded, not as decoded values: ``"1.50"`` stays ``"1.50"``, private elements and elements
that break the rules of their VR survive. The text form is safe in node attributes and in tags of segments::

    explicit;ISO_IR 192;<base64 of the dataset in Explicit VR Little Endian>
"""

from __future__ import annotations

import base64
import warnings
from contextlib import suppress
from copy import deepcopy
from io import BytesIO
from typing import Any

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import correct_ambiguous_vr_element, write_data_element

from dicombridge.encode import sequence
from dicombridge.text import percent_decoded, percent_encoded

__all__ = [
    "HEADER_ATTRIBUTE",
    "bytes_to_text",
    "dataset_from_text",
    "dataset_to_text",
    "remember",
    "remembered",
    "tag_text",
    "tag_value",
]

HEADER_ATTRIBUTE = "DICOMBridge.Header"
"""Node attribute that holds the source dataset, without bulk data."""

# Bulk data, and what is as long as the object has frames or points: all of it is rebuilt on export.
NOT_REMEMBERED = frozenset(
    {
        0x00880200,  # Icon Image Sequence
        0x00420011,  # Encapsulated Document
        0x30060050,  # Contour Data
        0x52009230,  # Per-Frame Functional Groups Sequence
        0x54001010,  # Waveform Data
        0x56000020,  # Spectroscopy Data
        0x7FE00001,  # Extended Offset Table
        0x7FE00002,  # Extended Offset Table Lengths
        0x7FE00008,  # Float Pixel Data
        0x7FE00009,  # Double Float Pixel Data
        0x7FE00010,  # Pixel Data
        0xFFFCFFFC,  # Data Set Trailing Padding
    }
)
LONGEST_BINARY = 16384
"""Bytes; icons, overlays and the blobs of vendors are beyond it."""

_DEFAULT_CHARACTER_SET = "ISO_IR 6"


def bytes_to_text(content: bytes, implicit_vr: bool, character_set: str) -> str:
    """Return the text form of an encoded little endian dataset or item."""
    syntax = "implicit" if implicit_vr else "explicit"
    return f"{syntax};{character_set};{base64.b64encode(content).decode('ascii')}"


def dataset_to_text(dataset: Dataset) -> str:
    """Return the text form of a dataset; bulk data and elements that cannot be written are left out."""
    character_sets = dataset.get("SpecificCharacterSet") or _DEFAULT_CHARACTER_SET
    encoding = character_sets if isinstance(character_sets, str) else "\\".join(character_sets)
    return bytes_to_text(_encoded(dataset), False, encoding)


def _encoded(dataset: Dataset, encodings: list[str] | None = None) -> bytes:
    """Return the elements in Explicit VR Little Endian, those of bulk data and the unreadable ones left out."""
    names = dataset.get("SpecificCharacterSet") or (None if encodings else _DEFAULT_CHARACTER_SET)
    if names:
        encodings = convert_encodings([names] if isinstance(names, str) else list(names))
    parts: list[bytes] = []
    for tag in sorted(dataset.keys()):
        if tag in NOT_REMEMBERED or tag.element == 0:  # (gggg,0000) Group Length is retired
            continue
        # Reading or writing a value that its VR does not allow raises almost anything; that element is left out.
        with suppress(Exception), warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            element = dataset[tag]
            if " or " in element.VR:
                element = deepcopy(element)
                with suppress(AttributeError):
                    element = correct_ambiguous_vr_element(element, dataset, True)
                # Without Pixel Representation nothing tells; what these elements hold is unsigned where it can be.
                element.VR = element.VR.split(" or ")[0]
            parts.append(_encoded_element(element, encodings or []))
    return b"".join(parts)


def _encoded_element(element: Any, encodings: list[str]) -> bytes:
    if element.VR == "SQ":
        return sequence(int(element.tag), [_encoded(item, encodings) for item in element.value or ()])
    if isinstance(element.value, bytes) and len(element.value) > LONGEST_BINARY:
        return b""
    output = DicomBytesIO()
    output.is_little_endian = True
    output.is_implicit_VR = False
    write_data_element(output, element, encodings)
    return output.getvalue()


def dataset_from_text(text: str | None) -> Dataset | None:
    """Return the dataset of a text form, None where the text is none."""
    syntax, _, rest = (text or "").partition(";")
    character_set, separator, encoded = rest.partition(";")
    if syntax not in ("implicit", "explicit") or not separator:
        return None
    with suppress(Exception), warnings.catch_warnings():  # somebody edited the text
        warnings.simplefilter("ignore")
        content = base64.b64decode(encoded, validate=True)
        # Items do not repeat the character set of their dataset.
        encodings = convert_encodings(character_set.split("\\"))
        dataset = read_dataset(
            BytesIO(content), syntax == "implicit", True, bytelength=len(content), parent_encoding=encodings
        )
        with config.disable_value_validation():
            dataset.decode()
        return dataset
    return None


def remember(node: Any, header: Dataset) -> None:
    """Keep the source dataset on the node, without pixel data and the like."""
    node.SetAttribute(HEADER_ATTRIBUTE, dataset_to_text(header))


def remembered(node: Any) -> Dataset | None:
    """Return the dataset that :func:`remember` kept, a new copy at each call, or None."""
    return dataset_from_text(node.GetAttribute(HEADER_ATTRIBUTE))


def tag_text(value: object) -> str:
    """Return the value as text that survives as a segment's tag in a segmentation file.

    The NRRD storage keeps all tags of a segment as ``name:value|name:value``: a bar cuts the value there, and line ends
    become spaces. Both, and control characters, are percent-encoded.

    Examples
    --------
    >>> tag_text("T1|T2: 50 %")
    'T1%7CT2: 50 %'
    """
    return percent_encoded(str(value))


def tag_value(text: str) -> str:
    """Return the value that :func:`tag_text` encoded."""
    return percent_decoded(text)
