"""Headers of files as DICOM JSON. PS3.18 annex F."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.config import disable_value_validation

from dicombridge.errors import UnreadableError

__all__ = ["header_of"]

_INLINE = 1024
"""Longer binary values become bulk data."""


def header_of(path: Path) -> dict[str, Any]:
    """Return a file's header as DICOM JSON, with its transfer syntax as Available Transfer Syntax UID.

    Values that are not quite as they should be are kept as they are; elements that cannot be written are left out.

    Raises
    ------
    UnreadableError
        The header cannot be read.
    """
    header: dict[str, Any] = {}
    # pydicom's own way of passing over bad values leaves out a whole sequence for one of them.
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(path, stop_before_pixels=True, force=True)
            tags = list(dataset.keys())
        except Exception as error:  # whatever pydicom raises for a damaged file
            raise UnreadableError(path, f"has a header that cannot be read ({error})") from error
        for tag in tags:
            try:
                header[f"{tag:08X}"] = dataset[tag].to_json_dict(lambda _element: path.as_uri(), _INLINE)
            except Exception:  # a number that is none, say
                continue
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", "")
    if syntax:
        header["00083002"] = {"vr": "UI", "Value": [str(syntax)]}
    return header
