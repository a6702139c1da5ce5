"""The plan that a node came from, kept whole and as it was encoded, so that what nobody edits comes back unchanged.

The text form and the attribute are those of :mod:`dicombridge.shadow`; but plans have no bulk data, so nothing is left
out, and nothing is decoded on the way: a dataset of thousands of items is read back in milliseconds.
"""

from __future__ import annotations

import base64
import binascii
import warnings
from io import BytesIO
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from dicombridge.errors import ExportError
from dicombridge.multiframe import MultiFrame
from dicombridge.shadow import HEADER_ATTRIBUTE, bytes_to_text

__all__ = ["keep", "kept", "kept_text"]

_FIRST_PIXEL_ELEMENT = 0x7FE00000


def kept_text(opened: MultiFrame) -> str:
    """Return a whole dataset, as it is encoded in its file, as text for :func:`keep`."""
    buffer, layout = opened.top_level()
    parts = [buffer[begin:end] for tag, begin, end in layout.parts() if tag & 0xFFFF and tag < _FIRST_PIXEL_ELEMENT]
    return bytes_to_text(b"".join(parts), layout.implicit_vr, opened.character_set)


def keep(node: Any, text: str) -> None:
    """Keep a dataset on a node."""
    node.SetAttribute(HEADER_ATTRIBUTE, text)


def kept(node: Any) -> tuple[Dataset, bool]:
    """Return the dataset of a node, a new copy at each call, and whether it was encoded in implicit VR.

    Raises
    ------
    ExportError
        The node keeps no dataset, or somebody changed it.
    """
    text = node.GetAttribute(HEADER_ATTRIBUTE)
    if not text:
        raise ExportError(
            f"{node.GetName()}: did not come from a DICOM plan. A plan that is loaded can be exported, as it was or "
            "edited; a new one cannot be made here."
        )
    syntax, _, rest = text.partition(";")
    character_set, _, encoded = rest.partition(";")
    try:
        content = base64.b64decode(encoded, validate=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encodings = convert_encodings(character_set.split("\\"))
            implicit = {"implicit": True, "explicit": False}[syntax]
            dataset = read_dataset(BytesIO(content), implicit, True, len(content), parent_encoding=encodings)
    except (KeyError, ValueError, LookupError, binascii.Error, EOFError) as error:
        raise ExportError(f"{node.GetName()}: the plan that it keeps is damaged; load it again.") from error
    return dataset, implicit
