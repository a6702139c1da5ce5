"""``dicombridge query SERVER``: patients, studies, series or instances of a server."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from dicombridge.cli import common, network, tables
from dicombridge.errors import DicomBridgeError

HELP = "Search a server for patients, studies, series or instances."

COLUMNS = {
    "patient": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "study": (
        *("StudyDate", "PatientName", "PatientID", "ModalitiesInStudy", "StudyDescription"),
        *("NumberOfStudyRelatedInstances", "StudyInstanceUID"),
    ),
    "series": (
        *("SeriesNumber", "Modality", "NumberOfSeriesRelatedInstances", "SeriesDescription"),
        *("StudyInstanceUID", "SeriesInstanceUID"),
    ),
    "instance": (
        *("InstanceNumber", "SOPClassUID", "NumberOfFrames", "StudyInstanceUID", "SeriesInstanceUID"),
        "SOPInstanceUID",
    ),
}
HEADINGS = {
    "NumberOfStudyRelatedInstances": "Instances",
    "NumberOfSeriesRelatedInstances": "Instances",
    "ModalitiesInStudy": "Modalities",
    "InstanceNumber": "Number",
    "NumberOfFrames": "Frames",
    "SeriesNumber": "Number",
}
FLEXIBLE = {"patient": 0, "study": 4, "series": 3, "instance": 1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    network.add_server_arguments(parser)
    parser.add_argument("--level", choices=tuple(COLUMNS), default="study", help="what to list (study)")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEYWORD=VALUE",
        help="e.g. PatientName=DOE*, StudyDate=20240101-20241231, ModalitiesInStudy=CT,SEG; may be repeated",
    )
    parser.add_argument("--study", metavar="UID", help="only within this study")
    parser.add_argument("--series", metavar="UID", help="only within this series of the study")
    parser.add_argument("--fuzzy", action="store_true", help="names by the beginnings of their parts")
    parser.add_argument("--limit", type=network.whole(1), metavar="N", help="at most so many")
    parser.add_argument("--offset", type=network.whole(0), default=0, metavar="N", help="leave out so many before them")
    parser.add_argument(
        "--show", action="append", default=[], metavar="KEYWORD", help="one more column; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON, with all their values")


def run(arguments: argparse.Namespace) -> None:
    """Ask, and print results as they come."""
    from dicombridge import web

    server = network.find_server(arguments)
    with network.interruptible() as cancel:

        def ask() -> Iterator[dict[str, Any]]:
            found = web.search(
                server,
                arguments.level,
                study=arguments.study,
                series=arguments.series,
                limit=arguments.limit,
                offset=arguments.offset,
                fields=arguments.show,
                fuzzy=arguments.fuzzy,
                cancel=cancel,
                told=network.tell,
                **_filters(arguments.filter),
            )
            # The first one here, where a missing password is asked for.
            first = next(found, None)
            return itertools.chain(() if first is None else (first,), found)

        items = network.with_secrets(server, ask)
        if arguments.json:
            _print_json(items)
        else:
            _print_table(items, arguments.level, arguments.show)


def _filters(given: list[str]) -> dict[str, Any]:
    """Return filters; a comma stands between several values that are looked for: ``ModalitiesInStudy=CT,MR``."""
    filters: dict[str, Any] = dict(common.settings(given, "KEYWORD=VALUE, e.g. PatientName=DOE*", "--filter"))
    for keyword, value in filters.items():
        if not keyword[0].isupper() and not keyword[0].isdigit():  # a word of our own, such as limit, or misspelt
            raise DicomBridgeError(f"--filter {keyword}: {keyword!r} is not the keyword of a DICOM attribute.")
        if "," in value and (keyword.startswith("Modalit") or keyword.endswith("UID")):
            filters[keyword] = [one.strip() for one in value.split(",") if one.strip()]
    return filters


def _print_table(items: Iterable[dict[str, Any]], level: str, more: list[str]) -> None:
    keywords = [*COLUMNS[level][:-1], *more, COLUMNS[level][-1]] if level != "patient" else [*COLUMNS[level], *more]
    count = 0
    with tables.Table([HEADINGS.get(keyword, keyword) for keyword in keywords], FLEXIBLE[level]) as table:
        for item in items:
            table.add(*(item.get(keyword) for keyword in keywords))
            count += 1
    names = {"study": "studies", "series": "series"}.get(level, f"{level}s")
    print(f"1 {level}" if count == 1 else f"{count} {names}")


def _print_json(items: Iterable[dict[str, Any]]) -> None:
    """Print a list one item after the other, because a hundred thousand need not be in memory."""
    before = "["
    for item in items:
        print(before + tables.json_text(item), end="", flush=True)
        before = ",\n "
    print("[]" if before == "[" else "]")
