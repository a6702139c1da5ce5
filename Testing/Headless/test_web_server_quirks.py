"""What is documented or was measured of Google, Azure, AWS, dcm4chee, IDC and Orthanc, each a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support import scripted_quirks
from support.scripted_quirks import ROOT, Quirks, instance
from support.scripted_server import Scripted, scripted

from dicombridge import web
from dicombridge.web.catalogue import details, instances, metadata
from dicombridge.web.presets import preset

NAMES = {1: "Big^MF", 2: "Müller^Eva", 3: "van den Berg^Jan", 4: "Doe^John"}
STUDIES = [
    *(instance(number, PatientName=name, Modality="CT") for number, name in NAMES.items()),
    *(instance(number, 2, PatientName=NAMES[number], Modality="SEG") for number in (1, 4)),
]
SERVERS = {
    "google": scripted_quirks.GOOGLE,
    "idc": scripted_quirks.IDC,
    "azure": scripted_quirks.AZURE,
    "dcm4chee": scripted_quirks.DCM4CHEE,
    "aws": scripted_quirks.AWS,
    "orthanc": scripted_quirks.ORTHANC_OLD,
    "orthanc-new": scripted_quirks.ORTHANC_NEW,
}


def known(name: str, one: Scripted) -> web.Server:
    """The server with the profile of its preset."""
    return web.Server(one.url, profile=preset(name.removesuffix("-new")).profile)


def unknown(_name: str, one: Scripted) -> web.Server:
    """The server of which nothing is known."""
    return web.Server(one.url)


def numbers(found: Any) -> list[int]:
    return sorted(int(item["StudyInstanceUID"].rpartition(".")[2]) for item in found)


@pytest.mark.parametrize("profile", [known, unknown])
@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"PatientName": "Big^MF"}, [1]),
        ({"PatientName": "Müller^Eva"}, [2]),
        ({"PatientName": "van den Berg^Jan"}, [3]),
        ({"PatientID": "P000004"}, [4]),
        ({"PatientID": "nobody"}, []),
        ({"StudyDate": "20020101-20031231"}, [2, 3]),
        ({"StudyInstanceUID": [f"{ROOT}.1", f"{ROOT}.3"]}, [1, 3]),
    ],
)
def test_all_servers_find_the_same(name: str, profile: Any, filters: dict[str, Any], expected: list[int]) -> None:
    with scripted(SERVERS[name], STUDIES) as one:
        assert numbers(web.search(profile(name, one), **filters)) == expected


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("text", ["*MF", "b?g*"])
def test_wildcards_where_the_profile_is_known(name: str, text: str) -> None:
    with scripted(SERVERS[name], STUDIES) as one:
        found = numbers(web.search(known(name, one), PatientName=text))
    assert found == [1]


@pytest.mark.parametrize("name", SERVERS)
def test_fuzzy_where_the_profile_is_known(name: str) -> None:
    with scripted(SERVERS[name], STUDIES) as one:
        assert numbers(web.search(known(name, one), PatientName="joh doe", fuzzy=True)) == [4]


@pytest.mark.parametrize("name", SERVERS)
def test_instances_and_details_of_all_servers(name: str) -> None:
    with scripted(SERVERS[name], STUDIES) as one:
        server = known(name, one)
        assert [item.instance for item in instances(server, f"{ROOT}.1")] == [f"{ROOT}.1.1.1", f"{ROOT}.1.2.1"]
        found = details(server, f"{ROOT}.1", f"{ROOT}.1.1")
        (header,) = metadata(server, f"{ROOT}.1", f"{ROOT}.1.1", f"{ROOT}.1.1.1")
        pictures = web.thumbnails(server, f"{ROOT}.1", f"{ROOT}.1.1", size=64)
    assert (found.instances, found.transfer_syntaxes) == (1, ("1.2.840.10008.1.2.1",))
    assert found.size_bytes is not None
    assert 1000 < found.size_bytes < 2000
    assert header["00280010"]["Value"] == [16]
    assert [(one.instance, one.media_type) for one in pictures] == [(f"{ROOT}.1.1.1", "image/jpeg")]


def test_google_is_asked_only_for_what_it_can_search_for() -> None:
    """Other attributes are an error there."""
    with scripted(SERVERS["google"], STUDIES) as one:
        found = numbers(web.search(known("google", one), ModalitiesInStudy="SEG", StudyDescription="Head"))
        assert all(name not in ("00080061", "00081030") for request in one.requests for name, _ in request.query)
    assert found == [4]


def test_google_without_a_profile_refuses_and_is_asked_again() -> None:
    told: list[str] = []
    with scripted(SERVERS["google"], STUDIES) as one:
        found = numbers(web.search(web.Server(one.url), told=told.append, StudyDescription="Head"))
    assert found == [2, 4]
    assert told == [f"{one.url} refuses to search for StudyDescription; that is done here."]


def test_idc_refuses_attributes_to_include() -> None:
    with scripted(SERVERS["idc"], STUDIES) as one:
        assert numbers(web.search(known("idc", one), PatientID="P000003")) == [3]
        assert [len([1 for name, _ in request.query if name == "includefield"]) > 0 for request in one.requests] == [
            True,
            False,
        ]


def test_azure_refuses_pages_of_more_than_200() -> None:
    many = [instance(number) for number in range(1, 411)]
    with scripted(SERVERS["azure"], many) as one:
        assert len(list(web.search(known("azure", one)))) == 410
        assert {request.value("limit") for request in one.requests} == {"200"}
        assert len(list(web.search(known("azure", one).changed(profile=web.Profile(page_size=1000))))) == 410


def test_azure_does_not_return_modalities() -> None:
    told: list[str] = []
    with scripted(SERVERS["azure"], STUDIES) as one:
        assert numbers(web.search(known("azure", one), told=told.append, ModalitiesInStudy="SEG")) == [1, 4]
    assert told == [f"{one.url} does not return ModalitiesInStudy: whether it heeds this filter cannot be seen."]


def test_dcm4chee_says_in_a_warning_that_there_is_more() -> None:
    many = [instance(number) for number in range(1, 331)]
    with scripted(replace(SERVERS["dcm4chee"], most=75), many) as one:
        assert len(list(web.search(known("dcm4chee", one)))) == 330


def test_old_orthanc_does_not_decode_queries() -> None:
    """0 hits with ``%5E``: asked again with wildcards, and looked through."""
    told: list[str] = []
    twins = [*STUDIES, instance(5, PatientName="Big-MF"), instance(6, PatientName="Big MF")]
    with scripted(SERVERS["orthanc"], twins) as one:
        server = web.Server(one.url)
        assert numbers(web.search(server, told=told.append, PatientName="Big^MF")) == [1]
        assert [request.value("00100010") for request in one.requests] == ["Big%5EMF", "Big?MF"]
        one.requests.clear()
        # The doctor has found that out before.
        diagnosed = server.changed(profile=web.Profile(decodes_queries=False))
        assert numbers(web.search(diagnosed, PatientName="Müller^*")) == [2]
        assert [request.value("00100010") for request in one.requests] == ["M*ller?*"]
    assert told == [f"{one.url} found nothing at first; it was asked again with wildcards."]


def test_old_orthanc_misread_questions_have_further_pages() -> None:
    many = [instance(number, PatientName=f"Big^MF{number}") for number in range(1, 31)]
    with scripted(SERVERS["orthanc"], many) as one:
        assert numbers(web.search(web.Server(one.url), PatientName="Big^MF*", limit=10, offset=20)) == [*range(21, 31)]


def test_orthanc_ignores_filters_that_it_does_not_know() -> None:
    told: list[str] = []
    with scripted(SERVERS["orthanc"], STUDIES) as one:
        found = web.search(web.Server(one.url), told=told.append, RequestingPhysician="Nobody")
        assert numbers(found) == [1, 2, 3, 4]
    assert told == [f"{one.url} does not return RequestingPhysician: whether it heeds this filter cannot be seen."]


def test_orthanc_knows_no_modalities_with_backslashes() -> None:
    with scripted(SERVERS["orthanc"], STUDIES) as one:
        assert numbers(web.search(web.Server(one.url), ModalitiesInStudy=["SEG", "MR"])) == [1, 4]
        values = [request.value("00080061") for request in one.requests]
    assert values == ["SEG", "MR"]


def test_compressed_answers_are_read() -> None:
    with scripted(Quirks(gzip=True), STUDIES) as one:
        assert numbers(web.search(web.Server(one.url))) == [1, 2, 3, 4]


def test_other_servers_are_not_followed() -> None:
    with scripted(instances=STUDIES) as other, scripted(Quirks(redirects_to=other.rest), STUDIES) as one:
        with pytest.raises(web_error(), match="sends us on"):
            list(web.search(web.Server(one.url)))
        assert other.requests == []


def web_error() -> type[Exception]:
    from dicombridge.errors import WebError

    return WebError
