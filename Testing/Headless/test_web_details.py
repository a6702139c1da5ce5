"""Details of series, references from metadata, headers and their tables."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.config import disable_value_validation
from support.scripted_quirks import CT, ROOT, Quirks, instance
from support.scripted_server import part10, scripted

from dicombridge import web
from dicombridge.errors import DicomBridgeError
from dicombridge.references import references_of
from dicombridge.web.catalogue import details, metadata, tag_rows
from dicombridge.web.catalogue.referring import grouped, named_by
from dicombridge.web.local.headers import header_of

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.1.1"


def referenced(number: int, sop_class: str = CT) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [sop_class]},
        "00081155": {"vr": "UI", "Value": [f"{ROOT}.1.1.{number}"]},
    }


def test_details_of_an_image_series() -> None:
    many = [instance(1, 1, number, Rows=64, Columns=32) for number in range(1, 6)]
    with scripted(instances=many) as one:
        found = details(web.Server(one.url), STUDY, SERIES)
        assert one.asked("/metadata") == []
    assert found.size_bytes == 5 * len(part10(many[0]))
    assert (found.instances, found.sop_classes, found.references) == (5, {CT: 5}, ())
    shown = found.to_json()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["sop_classes"] == [{"uid": CT, "name": "CT Image Storage", "instances": 5}]
    assert shown["transfer_syntaxes"] == [{"uid": "1.2.840.10008.1.2.1", "name": "Explicit VR Little Endian"}]


def test_size_by_pixels_where_instances_differ() -> None:
    many = [instance(1, 1, 1, NumberOfFrames=10), instance(1, 1, 2, NumberOfFrames=30)]
    with scripted(instances=many) as one:
        size = details(web.Server(one.url), STUDY, SERIES).size_bytes
    truth = sum(len(part10(one)) for one in many)
    assert size is not None
    assert truth <= size < 1.3 * truth


def test_details_of_a_server_that_tells_little() -> None:
    """No more attributes, no headers, no instances: what is left is their number."""
    quirks = Quirks(includefield="ignored", metadata=False, transfer_syntax_any=False, single_part=False)
    with scripted(quirks, [instance(1, 1, number) for number in (1, 2)]) as one:
        found = details(web.Server(one.url), STUDY, SERIES)
        assert (found.instances, found.size_bytes, found.transfer_syntaxes) == (2, None, ())
        # With one header, the size is known by the pixels.
        one.quirks = replace(quirks, metadata=True)
    with scripted(replace(quirks, metadata=True), [instance(1, 1, number) for number in (1, 2)]) as one:
        found = details(web.Server(one.url), STUDY, SERIES)
        assert len(one.asked("/metadata")) == 1
    assert found.size_bytes is not None
    assert found.size_bytes > 2 * 16 * 16 * 2


def test_what_is_not_there_is_said() -> None:
    with scripted(instances=[instance(1)]) as one, pytest.raises(DicomBridgeError, match=r"there is no series 1\.2\.3"):
        details(web.Server(one.url), STUDY, "1.2.3")
    with pytest.raises(DicomBridgeError, match="is not a Study Instance UID"):
        details(web.Server("http://127.0.0.1:9"), "../..", "1.2.3")


def test_references_are_grouped_by_series() -> None:
    header = {
        "00080018": {"vr": "UI", "Value": [f"{ROOT}.1.2.1"]},
        "00081115": {
            "vr": "SQ",
            "Value": [
                {
                    "0020000E": {"vr": "UI", "Value": [SERIES]},
                    "0008114A": {"vr": "SQ", "Value": [referenced(number) for number in (1, 2, 3)]},
                }
            ],
        },
        "00081200": {
            "vr": "SQ",
            "Value": [
                {
                    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
                    "00081115": {"vr": "SQ", "Value": [{"0020000E": {"vr": "UI", "Value": ["1.2.3.4"]}}]},
                }
            ],
        },
    }
    objects = [instance(1, 1, 1), instance(1, 2, 1, SOPClassUID=SEG, Modality="SEG")]
    with scripted(instances=objects) as one:
        one.headers[f"{ROOT}.1.2.1"] = header
        first, second = details(web.Server(one.url), STUDY, f"{ROOT}.1.2").references
    assert (first.study, first.series, first.what) == (STUDY, SERIES, "CT Image")
    assert first.instances == tuple(f"{ROOT}.1.1.{number}" for number in (1, 2, 3))
    assert (second.study, second.series, second.instances, second.what) == ("1.2.3", "1.2.3.4", (), "series")


def test_a_reference_without_a_series_is_looked_for() -> None:
    """RT doses name their plan by its SOP Instance UID alone."""
    header = {"300C0002": {"vr": "SQ", "Value": [referenced(1, "1.2.840.10008.5.1.4.1.1.481.5")]}}
    dose = instance(1, 2, 1, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2", Modality="RTDOSE")
    with scripted(instances=[instance(1, 1, 1, Modality="RTPLAN"), dose]) as one:
        one.headers[f"{ROOT}.1.2.1"] = header
        (found,) = details(web.Server(one.url), STUDY, f"{ROOT}.1.2").references
    assert (found.study, found.series, found.what) == (STUDY, SERIES, "RT Plan")


def headers_of(data: Path) -> list[Path]:
    paths = [*data.glob("seg/*/*.dcm"), *data.glob("sr/**/*.dcm"), *data.glob("rt/**/*.dcm"), *data.glob("pr/**/*.dcm")]
    return [path for path in sorted(paths) if path.stat().st_size < 1_000_000]


def test_references_are_those_of_the_library(data: Path) -> None:
    """The walk over JSON and the walk over datasets, over all real objects that refer to others."""
    compared = 0
    for path in headers_of(data):
        with warnings.catch_warnings(), disable_value_validation():
            warnings.simplefilter("ignore")  # of pydicom, about values
            expected = references_of(pydicom.dcmread(path, stop_before_pixels=True, force=True))
        assert set(named_by(header_of(path))) == set(expected), path
        compared += bool(expected)
    assert compared > 30


def test_what_is_no_uid_is_not_referred_to() -> None:
    """It would become part of a path, and the object itself could not be loaded for it."""
    one = {"00081155": {"vr": "UI", "Value": ["1.2.3"]}, "00081150": {"vr": "UI", "Value": [CT]}}
    bad = {"00081155": {"vr": "UI", "Value": ["1.2.x"]}, "00081150": {"vr": "UI", "Value": [CT]}}
    series = [
        {"0020000E": {"vr": "UI", "Value": [uid]}, "00081199": {"vr": "SQ", "Value": items}}
        for uid, items in (("1.2.4", [one, bad]), ("../../x", [bad]), ("../../y", []), ("1.2.5", [bad]))
    ]
    found = grouped(named_by({"00081115": {"vr": "SQ", "Value": series}}), STUDY)
    assert [(place.study, place.series, place.instances) for place in found] == [
        (STUDY, "1.2.4", ("1.2.3",)),
        (STUDY, "1.2.5", ()),
    ]


def test_metadata_of_a_series_and_of_an_instance() -> None:
    with scripted(Quirks(gzip=True), [instance(1, 1, number) for number in (1, 2, 3)]) as one:
        server = web.Server(one.url)
        assert len(list(metadata(server, STUDY, SERIES))) == 3
        (header,) = metadata(server, STUDY, SERIES, f"{SERIES}.2")
    assert header["00200013"]["Value"] == [2]
    with pytest.raises(DicomBridgeError, match="SOP Instance UID"):
        list(metadata(server, STUDY, SERIES, "1/../2"))


def test_rows_of_a_table() -> None:
    items = [{"00080060": {"vr": "CS", "Value": [f"M{number}"]}} for number in range(150)]
    header = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^John"}]},
        "00081111": {"vr": "SQ", "Value": items},
        "00080005": {"vr": "CS"},
        "00091010": {"vr": "OB", "InlineBinary": "AAAA"},
        "00200032": {"vr": "DS", "Value": [1, -2.5, 3]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "http://x/bulk"},
    }
    rows = list(tag_rows(header))
    top = [(row["tag"], row["keyword"], row["vr"], row["value"]) for row in rows if row["depth"] == 0]
    assert top == [
        ("0008,0005", "SpecificCharacterSet", "CS", ""),
        ("0008,1111", "ReferencedPerformedProcedureStepSequence", "SQ", "150 items"),
        ("0009,1010", "", "OB", "(3 bytes)"),
        ("0010,0010", "PatientName", "PN", "Doe^John"),
        ("0020,0032", "ImagePositionPatient", "DS", "1.0\\-2.5\\3.0"),
        ("7FE0,0010", "PixelData", "OW", "(bulk data)"),
    ]
    inner = [row for row in rows if row["depth"] == 2]
    assert (len(inner), inner[0]["value"]) == (100, "M0")
    assert [row["value"] for row in rows if row["depth"] == 1][-1] == "50 items more, not shown"
