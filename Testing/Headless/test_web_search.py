"""Searching servers: filters, what servers cannot do, patients, several servers at once."""

from __future__ import annotations

import datetime
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.folders import write_ct
from support.scripted_quirks import ROOT, Quirks, Studies, instance
from support.scripted_server import Scripted, scripted

from dicombridge import web
from dicombridge.errors import CancelledError, DamagedAnswerError, DicomBridgeError, RefusedError, UnreachableError
from dicombridge.web.catalogue import instances, search_all
from dicombridge.web.catalogue.attributes import plain
from dicombridge.web.catalogue.matching import matches, wanted
from dicombridge.web.catalogue.seen import Seen

NAMES = ["Müller^Eva", "Muller^Anna", "O'Neil^Jo=大^小", "DOE^JOHN", "Doe^Jane", "van den Berg^Jan"]


def hospital() -> list[dict[str, Any]]:
    """Six patients; the second has two studies; studies have a CT series of 2 and one of MR or SEG."""
    found = []
    for number, name in enumerate(NAMES, start=1):
        for within in (1, 2):
            found.append(instance(number, 1, within, PatientName=name, StudyDate=f"20200{number}15"))
        other = "MR" if number % 2 else "SEG"
        found.append(instance(number, 2, 1, PatientName=name, StudyDate=f"20200{number}15", Modality=other))
    found.append(instance(7, PatientName=NAMES[1], PatientID="P000002", StudyDate="20210101", Modality="US"))
    return found


def server(one: Scripted, **profile: Any) -> web.Server:
    return web.Server(one.url, profile=web.Profile(**profile))


def numbers(found: Any) -> list[int]:
    """The numbers of the studies that were found."""
    return [int(item["StudyInstanceUID"].rpartition(".")[2]) for item in found]


def test_results_are_plain_values() -> None:
    with scripted(instances=hospital()) as one:
        found = list(web.search(server(one)))
    assert numbers(found) == [1, 2, 3, 4, 5, 6, 7]
    assert found[2]["PatientName"] == "O'Neil^Jo=大^小"
    assert found[0]["ModalitiesInStudy"] == ["CT", "MR"]
    assert found[0]["NumberOfStudyRelatedInstances"] == 3
    assert found[0]["StudyDescription"] == "Chest"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"PatientName": "doe*"}, [4, 5]),
        ({"PatientName": "Doe^J?ne"}, [5]),
        ({"PatientName": "*ller*"}, [1, 2, 7]),
        ({"PatientName": "Müller^Eva"}, [1]),
        ({"PatientName": "van den Berg^Jan"}, [6]),
        ({"PatientID": "P000002"}, [2, 7]),
        ({"AccessionNumber": "A3"}, [3]),
        ({"StudyDate": "20200315"}, [3]),
        ({"StudyDate": "2020-03-15"}, [3]),
        ({"StudyDate": "20200201-20200415"}, [2, 3, 4]),
        ({"StudyDate": "20200601-"}, [6, 7]),
        ({"StudyDate": (None, datetime.date(2020, 2, 15))}, [1, 2]),
        ({"StudyDate": (datetime.date(2020, 5, 1), datetime.date(2020, 12, 31))}, [5, 6]),
        ({"ModalitiesInStudy": "SEG"}, [2, 4, 6]),
        ({"ModalitiesInStudy": ["MR", "US"]}, [1, 3, 5, 7]),
        ({"Modality": "US"}, [7]),
        ({"ModalitiesInStudy": "MR\\US"}, [1, 3, 5, 7]),
        ({"StudyDescription": "Head"}, [2, 4, 6]),
        ({"StudyInstanceUID": [f"{ROOT}.2", f"{ROOT}.5", f"{ROOT}.99"]}, [2, 5]),
        ({"00100020": "P000006"}, [6]),
        ({"PatientName": "*", "StudyDate": ""}, [1, 2, 3, 4, 5, 6, 7]),
        ({"PatientName": ["DOE^JOHN", "Doe^Jane"], "ModalitiesInStudy": ["MR", "SEG"]}, [4, 5]),
    ],
)
def test_filters(filters: dict[str, Any], expected: list[int]) -> None:
    told: list[str] = []
    with scripted(instances=hospital()) as one:
        assert sorted(numbers(web.search(server(one), told=told.append, **filters))) == expected
    assert told == []


def test_the_server_is_asked_for_what_it_can_do_itself() -> None:
    with scripted(instances=hospital()) as one:
        list(web.search(server(one), PatientName="doe*", StudyDate=(datetime.date(2020, 1, 1), None), limit=3))
        (request,) = one.requests
    assert request.value("00100010") == "doe*"
    assert request.value("00080020") == "20200101-"
    assert request.value("limit") == "3"
    assert "gzip" in request.headers["Accept-Encoding"]
    assert "application/dicom+json" in request.headers["Accept"]


def test_series_and_instances_have_the_uids_above_them_and_come_by_number() -> None:
    many = [instance(1, series, within) for series in (3, 1, 2) for within in (2, 10, 1)]
    with scripted(Quirks(leaves_out=("StudyInstanceUID",)), many) as one:
        series = list(web.search(server(one), "series", study=f"{ROOT}.1"))
        found = list(web.search(server(one), "instance", study=f"{ROOT}.1", series=f"{ROOT}.1.2"))
    assert [item["SeriesNumber"] for item in series] == [1, 2, 3]
    assert {item["StudyInstanceUID"] for item in series} == {f"{ROOT}.1"}
    assert [item["InstanceNumber"] for item in found] == [1, 2, 10]
    assert {(item["StudyInstanceUID"], item["SeriesInstanceUID"]) for item in found} == {(f"{ROOT}.1", f"{ROOT}.1.2")}


def test_instances_of_a_study() -> None:
    with scripted(instances=[*hospital(), instance(9)]) as one:
        found = list(instances(server(one), f"{ROOT}.2"))
        (many,) = instances(server(one), f"{ROOT}.9", f"{ROOT}.9.1")
    assert [one.instance for one in found] == [f"{ROOT}.2.1.1", f"{ROOT}.2.1.2", f"{ROOT}.2.2.1"]
    assert {one.sop_class for one in found} == {"1.2.840.10008.5.1.4.1.1.2"}
    assert (many.study, many.series) == (f"{ROOT}.9", f"{ROOT}.9.1")


def test_patients_are_derived_from_studies() -> None:
    with scripted(instances=hospital()) as one:
        found = list(web.search(server(one), "patient"))
        assert {request.path for request in one.requests} == {"/dicom-web/studies"}
        (doe,) = web.search(server(one), "patient", PatientName="Doe^Jane")
    assert [item["PatientID"] for item in found] == [f"P00000{number}" for number in range(1, 7)]
    assert doe == {"PatientID": "P000005", "PatientName": "Doe^Jane", "PatientBirthDate": "19700101", "PatientSex": "F"}


def test_patients_without_an_identifier_are_told_apart_by_name() -> None:
    nameless = [instance(1, PatientID="", PatientName="A"), instance(2, PatientID="", PatientName="B")]
    with scripted(instances=nameless) as one:
        # The scripted server groups by study, so both come.
        assert [item["PatientName"] for item in web.search(server(one), "patient")] == ["A", "B"]


def test_patients_of_a_server_that_lists_them() -> None:
    with scripted(Quirks(patients=True), hospital()) as one:
        found = list(web.search(server(one, patients=True), "patient"))
        assert {request.path for request in one.requests} == {"/dicom-web/patients"}
    assert len(found) == 6


@pytest.mark.parametrize(("text", "expected"), [("mull", [1, 2, 7]), ("eva müller", [1]), ("berg jan", [6])])
@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("told_before", [True, False])
def test_fuzzy_names(text: str, expected: list[int], knows: bool, told_before: bool) -> None:
    """The same results, whether the server does it or not, and whether that is known."""
    profile = {"fuzzy": knows} if told_before else {}
    with scripted(Quirks(fuzzy=knows), hospital()) as one:
        found = numbers(web.search(server(one, **profile), fuzzy=True, PatientName=text))
    # "mull" with an umlaut cannot be asked for with wildcards of a server that has no idea of accents.
    assert sorted(found) == (expected if knows or text != "mull" else [2, 7])


@pytest.mark.parametrize(
    ("quirks", "filters", "expected", "words"),
    [
        (
            Quirks(ignored=("StudyDate",)),
            {"StudyDate": "20200101-20200220"},
            [1, 2],
            "does not heed the filter StudyDate",
        ),
        (Quirks(ignored=("PatientName",)), {"PatientName": "DOE*"}, [4, 5], "does not heed the filter PatientName"),
        (Quirks(ignored=("ModalitiesInStudy",)), {"Modality": "US"}, [7], "does not heed the filter ModalitiesInStudy"),
        (
            Quirks(ignored=("StudyDescription",), leaves_out=("StudyDescription",)),
            {"StudyDescription": "Head"},
            [1, 2, 3, 4, 5, 6, 7],
            "does not return StudyDescription: whether it heeds this filter cannot be seen",
        ),
        (
            Quirks(searchable=("PatientID", "StudyDate")),
            {"StudyDescription": "Head", "StudyDate": "20200401-"},
            [4, 6],
            "refuses to search for StudyDescription; that is done here",
        ),
    ],
)
def test_what_a_server_does_not_heed_is_told_and_done_here(
    quirks: Quirks, filters: dict[str, Any], expected: list[int], words: str
) -> None:
    told: list[str] = []
    with scripted(quirks, hospital()) as one:
        assert numbers(web.search(server(one), told=told.append, **filters)) == expected
    assert len(told) == 1
    assert words in told[0]


@pytest.mark.parametrize(
    ("quirks", "profile"),
    [
        (Quirks(searchable=("PatientID",)), {"searchable": ("PatientID",)}),
        (Quirks(ignored=("StudyDescription",)), {}),
        (Quirks(), {}),
    ],
)
def test_what_a_result_lacks_matches_nothing_where_filters_are_done_here(
    quirks: Quirks, profile: dict[str, Any]
) -> None:
    """Servers may leave out what has no value."""
    studies = [instance(number, StudyDescription="Head" if number in (2, 5) else "Foot") for number in range(1, 7)]
    for number in (1, 4):
        del studies[number - 1]["StudyDescription"]
    with scripted(quirks, studies) as one:
        assert numbers(web.search(server(one, page_size=3, **profile), StudyDescription="Head")) == [2, 5]


def test_filters_that_the_profile_says_are_done_here_are_not_asked_for() -> None:
    with scripted(Quirks(searchable=("PatientID",)), hospital()) as one:
        found = web.search(server(one, searchable=("PatientID",)), StudyDescription="Head", StudyDate="20200401-")
        assert numbers(found) == [4, 6]
        assert {name for request in one.requests for name, _ in request.query} <= {"limit", "includefield", "offset"}


def test_wildcards_on_a_server_without_them() -> None:
    with scripted(Quirks(wildcard=False), hospital()) as one:
        assert numbers(web.search(server(one, wildcard=False), PatientName="doe*")) == [4, 5]


def test_lists_of_uids_on_a_server_that_does_not_know_them() -> None:
    with scripted(Quirks(uid_lists=False), hospital()) as one:
        uids = [f"{ROOT}.{number}" for number in (3, 1, 8)]
        assert numbers(web.search(server(one), StudyInstanceUID=uids)) == [3, 1]
        uids = [f"{ROOT}.{number}" for number in (3, *range(10, 50), 1)]
        assert numbers(web.search(server(one), StudyInstanceUID=uids)) == [3, 1]


def test_long_lists_of_uids_are_asked_for_in_parts() -> None:
    with scripted(instances=hospital()) as one:
        uids = [f"{ROOT}.{number}" for number in range(1, 101)]
        assert numbers(web.search(server(one), StudyInstanceUID=uids)) == [1, 2, 3, 4, 5, 6, 7]
        assert max(len(str(request.query)) for request in one.requests) < 4000
        assert len(one.requests) == 3, "a server that knows lists is not asked for each UID that it does not have"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"level": "film"}, "not a level"),
        ({"PatinetName": "x"}, "Is PatientName meant?"),
        ({"StudyDate": "last week"}, "YYYYMMDD"),
        ({"study": "1.2/../3"}, "not a StudyInstanceUID"),
        ({"StudyInstanceUID": "1.2&limit=0"}, "not a StudyInstanceUID"),
        ({"level": "instance", "series": "1.2"}, "together with its study"),
        ({"ReferencedSeriesSequence": "x"}, "is a sequence"),
    ],
)
def test_queries_that_make_no_sense_fail_at_once(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DicomBridgeError, match=words):
        web.search(web.Server("http://127.0.0.1:9/dicom-web"), **arguments)


def test_errors_say_what_the_server_said() -> None:
    with scripted(Quirks(searchable=("PatientID",)), hospital()) as one:
        one.pages["/dicom-web/studies"] = lambda request: (409, "text/plain", b"the archive is being migrated")
        with pytest.raises(RefusedError, match="409 Conflict: the archive is being migrated") as caught:
            list(web.search(server(one)))
        assert caught.value.status == 409
        one.pages["/dicom-web/studies"] = lambda request: (200, "text/html", b"<html>Explorer</html>")
        with pytest.raises(DamagedAnswerError, match="not JSON"):
            list(web.search(server(one)))
        one.pages["/dicom-web/studies"] = lambda request: (200, "application/json", b'["a", "b"]')
        with pytest.raises(DamagedAnswerError, match="not a list of DICOM objects"):
            list(web.search(server(one)))
        address = server(one)
    with pytest.raises(UnreachableError, match="nothing listens"):
        list(web.search(address))


def test_nothing_is_asked_before_the_first_result_is_wanted() -> None:
    with scripted(instances=hospital()) as one:
        found = web.search(server(one))
        assert one.requests == []
        next(found)
        assert len(one.requests) == 1


def test_a_search_is_cancelled() -> None:
    cancel = web.Cancel()
    entered, go = threading.Event(), threading.Event()

    def slow(request: Any) -> tuple[int, str, bytes]:
        entered.set()
        go.wait(20)
        return 200, "application/json", b"[]"

    with scripted(instances=hospital()) as one:
        one.pages["/dicom-web/studies"] = slow
        timer = threading.Thread(target=lambda: (entered.wait(20), cancel.cancel()))
        timer.start()
        with pytest.raises(CancelledError):
            list(web.search(server(one), cancel=cancel))
        timer.join()
        go.set()


# --- Several servers -----------------------------------------------------------------------------------------------


def test_several_servers_at_once(tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", StudyInstanceUID=f"{ROOT}.2", PatientName="Here")
    here, told = web.Server(str(tmp_path), name="here"), list[str]()
    with scripted(instances=hospital()) as one, scripted(instances=hospital()[:5]) as two:
        servers = [server(one).changed(name="one"), server(two).changed(name="two"), here]
        gone = web.Server("http://127.0.0.1:9/dicom-web", name="gone")
        hits = list(search_all([*servers, gone], told=told.append))
    by_server = {name: numbers(hit.item for hit in hits if str(hit.server) == name) for name in ("one", "two", "here")}
    assert by_server == {"one": [1, 2, 3, 4, 5, 6, 7], "two": [1, 2], "here": [2]}
    new = [hit for hit in hits if hit.first is None]
    assert sorted(numbers(hit.item for hit in new)) == [1, 2, 3, 4, 5, 6, 7]
    assert all(hit.first != hit.server for hit in hits)
    assert len(told) == 1
    assert told[0].startswith("gone: ")


def test_threads_end_with_the_search() -> None:
    before = threading.active_count()
    with scripted(instances=Studies(100_000)) as one:
        hits = search_all([server(one), server(one)])
        for _ in range(300):
            next(hits)
        hits.close()
        asked = len(one.requests)
        time.sleep(0.1)
        assert len(one.requests) == asked
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before
    assert asked < 20


# --- Values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({"vr": "DS", "Value": ["1.5", 2]}, [1.5, 2.0]),
        ({"vr": "IS", "Value": ["12 "]}, 12),
        ({"vr": "IS", "Value": ["many"]}, "many"),
        ({"vr": "CS"}, ""),
        ({"vr": "CS", "Value": [None]}, ""),
        ({"vr": "CS", "Value": ["A\\B"]}, ["A", "B"]),
        ({"vr": "LT", "Value": ["A\\B"]}, "A\\B"),
        ({"vr": "PN", "Value": [{"Alphabetic": "A^B^^", "Ideographic": "C"}]}, "A^B=C"),
        ({"vr": "PN", "Value": ["A^B"]}, "A^B"),
        ({"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]}, [{"Modality": "CT"}]),
    ],
)
def test_plain_values(element: dict[str, Any], expected: Any) -> None:
    assert plain({"00081111": element}) == {"ReferencedPerformedProcedureStepSequence": expected}


@pytest.mark.parametrize(
    ("keyword", "value", "text", "expected"),
    [
        ("StudyTime", "101530.25", "1000-1015", True),
        ("StudyTime", "101530", "10-10", True),
        ("StudyTime", "110000", "10-10", False),
        ("StudyDate", "", "20200101-", False),
        ("StudyDate", "2020.01.01", "20200101", True),
        ("AcquisitionDateTime", "20200101120000+0100", "20200101-20200102", True),
        ("PatientName", "Doe^John^^", "doe^john", True),
        ("PatientName", "Doe^John", "Doe", False),
        ("StudyDescription", "a.c", "abc", False),
        ("StudyDescription", "CT (chest)", "ct (*)", True),
        ("SeriesNumber", 3, "3", True),
        ("SeriesNumber", 3, "03", True),
        ("PatientAge", "042Y", "042*", False),
    ],
)
def test_matching(keyword: str, value: Any, text: str, expected: bool) -> None:
    assert matches({keyword: value}, keyword, wanted(keyword, text)) is expected


def test_what_was_seen_is_recognised() -> None:
    seen = Seen()
    assert all(seen.add(f"1.2.{number}") for number in range(20_000))
    assert not any(seen.add(f"1.2.{number}") for number in range(20_000))
    assert len(seen) == 20_000
