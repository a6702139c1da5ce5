"""Headers of instances without their pixels, and their rows for a table. PS3.18 10.4.1.1.2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_description, keyword_for_tag

from dicombridge.web.cancelling import Cancel
from dicombridge.web.catalogue.attributes import plain
from dicombridge.web.catalogue.client import Searcher
from dicombridge.web.connection import Connection
from dicombridge.web.saved import as_server
from dicombridge.web.servers import Server

__all__ = ["metadata", "tag_rows"]

_MOST_ITEMS = 100
"""Items of one sequence in a table: a segmentation may have a hundred thousand, which nobody reads."""
_LONGEST_VALUE = 1000
_MOST_VALUES = 64


def metadata(
    server: Server | str | Path,
    study: str,
    series: str,
    instance: str | None = None,
    *,
    connection: Connection | None = None,
    cancel: Cancel | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the headers of a series' instances, or of one of them, as DICOM JSON (PS3.18 annex F).

    Raises
    ------
    DicomBridgeError
        A UID is none.
    WebError
        The server cannot be reached, or refuses.
    """
    server = as_server(server)
    if server.is_local:
        from dicombridge.web import local

        with local.open(server, cancel) as archive:
            yield from archive.metadata(study, series, instance)
        return
    with nullcontext(connection) if connection is not None else Connection(server, cancel=cancel) as opened:
        yield from Searcher(opened).metadata(study, series, instance)


def tag_rows(dataset: Mapping[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table of attributes.

    Parameters
    ----------
    dataset
        DICOM JSON.
    depth
        How many sequences are around it.

    Returns
    -------
    iterator of dict
        ``tag`` ("0010,0010"), ``keyword`` (or the attribute's description), ``vr``, ``value`` as text and ``depth``;
        items of sequences follow their sequence. What is too long for a table is cut, and says so.

    Examples
    --------
    >>> list(tag_rows({"00280010": {"vr": "US", "Value": [512]}}))
    [{'tag': '0028,0010', 'keyword': 'Rows', 'vr': 'US', 'value': '512', 'depth': 0}]
    """
    for key in sorted(dataset):
        element = dataset[key]
        if not isinstance(element, Mapping) or len(key) != 8:
            continue
        vr = str(element.get("vr") or "")
        items = element.get("Value") if vr == "SQ" else None
        sequence = [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
        row = {"tag": f"{key[:4]},{key[4:]}".upper(), "keyword": _keyword(key), "vr": vr}
        yield {**row, "value": _items(len(sequence)) if vr == "SQ" else _shown(key, element), "depth": depth}
        for number, item in enumerate(sequence[:_MOST_ITEMS], start=1):
            yield {"tag": "", "keyword": f"Item {number}", "vr": "", "value": "", "depth": depth + 1}
            yield from tag_rows(item, depth + 2)
        if len(sequence) > _MOST_ITEMS:
            left_out = f"{_items(len(sequence) - _MOST_ITEMS)} more, not shown"
            yield {"tag": "", "keyword": "", "vr": "", "value": left_out, "depth": depth + 1}


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _keyword(key: str) -> str:
    try:
        tag = int(key, 16)
        return str(keyword_for_tag(tag) or dictionary_description(tag))
    except (ValueError, KeyError):
        return ""


def _shown(key: str, element: Mapping[str, Any]) -> str:
    if "BulkDataURI" in element:
        return "(bulk data)"
    if "InlineBinary" in element:
        return f"({len(str(element['InlineBinary'])) * 3 // 4} bytes)"
    (value,) = plain({key: element}).values() or ("",)
    if isinstance(value, list):
        cut = f" ... {len(value)} values" if len(value) > _MOST_VALUES else ""
        return "\\".join(map(str, value[:_MOST_VALUES])) + cut
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} ... {len(text)} characters"
