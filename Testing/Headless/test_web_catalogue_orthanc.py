"""Searching, details, pictures and the doctor against a real Orthanc with real objects, and a folder beside it."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
import pytest
from PIL import Image
from support.folders import write_ct
from support.orthanc import Orthanc, start_orthanc

from dicombridge import web
from dicombridge.web.catalogue import details, instances, metadata, search_all

FOLDERS = ("seg/dcmqi_liver", "seg/highdicom", "sr", "pr", "pm", "kos", "sm", "images", "encapsulated", "rt")
LARGEST = 600_000
TAGS = ["SOPInstanceUID", "StudyInstanceUID", "PatientID", "SeriesInstanceUID", "Modality", "ModalitiesInStudy"]


class Both(NamedTuple):
    """The same objects on an Orthanc and in a folder."""

    orthanc: Orthanc
    server: web.Server
    folder: web.Server


@pytest.fixture(scope="module")
def both(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Several hundred real objects, stored by Orthanc's own interface; the folder has what Orthanc took."""
    folder = tmp_path_factory.mktemp("objects")
    seen: set[str] = set()
    patients: dict[str, str] = {}
    modalities: dict[str, str] = {}
    names = ["Big^MF", "Müller^Eva", "van den Berg^Jan"]
    for number, name in enumerate(names, 1):
        uids = {"StudyInstanceUID": f"1.2.826.0.1.3680043.10.998.{number}", "PatientID": f"SPECIAL {number}"}
        uids["SeriesInstanceUID"] = f"{uids['StudyInstanceUID']}.1"
        write_ct(folder / f"special {number}.dcm", PatientName=name, SpecificCharacterSet="ISO_IR 192", **uids)
    with start_orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        assert orthanc.add(sorted(folder.glob("*.dcm"))) == {}
        for path in sorted(path for name in FOLDERS for path in (data / name).rglob("*") if path.is_file()):
            if path.stat().st_size > LARGEST or path.suffix in (".nrrd", ".gz", ".md"):
                continue
            header = pydicom.dcmread(path, specific_tags=TAGS, force=True)
            uid, study, patient, series, modality, claims = (str(header.get(tag, "")) for tag in TAGS)
            # Some of these files do not agree with the others of their study or series, or claim what is not so.
            odd = patients.setdefault(study, patient) != patient or modalities.setdefault(series, modality) != modality
            if uid and uid not in seen and not (odd or claims) and not orthanc.add([path]):
                seen.add(uid)
                (folder / f"{len(seen)}.dcm").write_bytes(path.read_bytes())
        assert len(seen) > 150
        yield Both(orthanc, web.Server(orthanc.url), web.Server(str(folder)))


def uids(found: Any, keyword: str = "StudyInstanceUID") -> list[str]:
    return sorted(str(item[keyword]) for item in found)


@pytest.mark.parametrize(
    ("level", "filters"),
    [
        ("patient", {}),
        ("study", {}),
        ("series", {}),
        ("instance", {}),
        ("study", {"PatientName": "Big^MF"}),
        ("study", {"PatientName": "Müller^*"}),
        ("study", {"PatientName": "van den Berg^Jan"}),
        ("study", {"PatientName": "*a*"}),
        ("study", {"PatientID": "SPECIAL 2"}),
        ("study", {"PatientID": "99000"}),
        ("study", {"StudyDate": "19990101-20051231"}),
        ("study", {"StudyDate": "20150101-"}),
        ("study", {"ModalitiesInStudy": ["SR", "SEG"]}),
        ("study", {"Modality": "RTSTRUCT"}),
        ("study", {"StudyDescription": "*head*"}),
        ("study", {"PatientName": "jan", "fuzzy": True}),
        ("study", {"PatientName": "eva mul", "fuzzy": True}),
        ("series", {"Modality": "SEG"}),
        ("series", {"SeriesDescription": "*seg*"}),
        ("instance", {"Modality": "SR"}),
    ],
)
@pytest.mark.parametrize("diagnosed", [False, True])
def test_the_same_answers_as_from_a_folder(both: Both, level: str, filters: dict[str, Any], diagnosed: bool) -> None:
    profile = web.Profile(decodes_queries=False, fuzzy=False, wildcard=True) if diagnosed else web.Profile()
    server = both.server.changed(profile=profile)
    key = {"patient": "PatientID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}.get(
        level, "StudyInstanceUID"
    )
    expected = uids(web.search(both.folder, level, **filters), key)
    if filters.get("PatientName") == "eva mul":
        assert len(expected) == 1
        return  # Orthanc cannot be asked without accents
    assert uids(web.search(server, level, **filters), key) == expected
    assert expected, "a query that finds nothing shows nothing"


def test_numbers_are_orthancs_own(both: Both) -> None:
    statistics = both.orthanc.ask("statistics")
    counted = {level: len(list(web.search(both.server, level))) for level in ("study", "series", "instance")}
    assert counted == {
        "study": statistics["CountStudies"],
        "series": statistics["CountSeries"],
        "instance": statistics["CountInstances"],
    }


def test_pages(both: Both) -> None:
    small = both.server.changed(profile=web.Profile(page_size=7))
    assert uids(web.search(small)) == uids(web.search(both.server))
    everything = [item["StudyInstanceUID"] for item in web.search(both.server)]
    part = [item["StudyInstanceUID"] for item in web.search(small, limit=9, offset=5)]
    assert part == everything[5:14]


def test_what_studies_have(both: Both) -> None:
    fields = ("StudyDate", "PatientName", "PatientID", "AccessionNumber", "StudyDescription", "ModalitiesInStudy")
    known = {item["StudyInstanceUID"]: item for item in web.search(both.folder)}
    different = []
    for item in web.search(both.server):
        here = known[item["StudyInstanceUID"]]
        for name in fields:
            there = sorted(item[name]) if name == "ModalitiesInStudy" else item.get(name, "")
            if isinstance(there, str) and there.rstrip("^") != str(here[name]).rstrip("^"):
                different.append((name, there, here[name]))
        assert item["NumberOfStudyRelatedInstances"] == here["NumberOfStudyRelatedInstances"]
    # Objects of one study do not always agree about it.
    assert len(different) <= 6, different


def test_details_are_those_of_the_files(both: Both) -> None:
    compared = references = unknown = 0
    for series in web.search(both.folder, "series"):
        place = (series["StudyInstanceUID"], series["SeriesInstanceUID"])
        if series["NumberOfSeriesRelatedInstances"] > 40 or compared >= 30:
            continue
        here, there = details(both.folder, *place), details(both.server, *place)
        assert (there.instances, there.sop_classes) == (here.instances, here.sop_classes), place
        # Orthanc keeps files without File Meta Information as they are.
        unknown += not there.transfer_syntaxes
        assert not there.transfer_syntaxes or there.transfer_syntaxes[:1] == here.transfer_syntaxes[:1], place
        assert there.size_bytes is not None
        assert there.size_bytes == pytest.approx(here.size_bytes, rel=0.35, abs=5000), place
        assert {one.instances for one in there.references} == {one.instances for one in here.references}, place
        compared += 1
        references += len(here.references)
    assert compared == 30
    assert references > 8
    assert unknown <= 3


def test_a_segmentation_leads_to_its_images(both: Both) -> None:
    (series,) = [
        item
        for item in web.search(both.server, "series", Modality="SEG", PatientID="99000")
        if "Label" not in str(item["SeriesDescription"])
    ][:1]
    (found,) = details(both.server, series["StudyInstanceUID"], series["SeriesInstanceUID"]).references
    wanted = {one.instance for one in instances(both.server, found.study, found.series)}
    assert (found.what, set(found.instances)) == ("CT Image", wanted)


def test_headers_are_those_of_the_file(both: Both) -> None:
    for one in list(web.search(both.folder, "instance", Modality="CT"))[:5]:
        place = (one["StudyInstanceUID"], one["SeriesInstanceUID"], one["SOPInstanceUID"])
        (there,) = metadata(both.server, *place)
        (here,) = metadata(both.folder, *place)
        for key in ("00080018", "00280010", "00200032", "00080060"):
            assert there.get(key, {}).get("Value") == here.get(key, {}).get("Value"), key


def test_pictures_by_the_server_and_here(both: Both) -> None:
    plain = web.Profile(thumbnails="none")
    made = 0
    for series in web.search(both.folder, "series", Modality=["CT", "MR", "SEG", "PT"]):
        place = (series["StudyInstanceUID"], series["SeriesInstanceUID"])
        for server in (both.server, both.server.changed(profile=plain), both.folder):
            found = web.thumbnails(server, *place, frames=2, size=64)
            for one in found:
                with Image.open(BytesIO(one.data)) as image:
                    assert max(image.size) <= 128
            made += len(found)
        if made > 40:
            break
    assert made > 30


def test_the_doctor(both: Both) -> None:
    diagnosis = web.doctor(f"{both.orthanc.rest}/app/explorer.html#study?uuid=x")
    profile = diagnosis.server.profile
    assert diagnosis.ok
    assert diagnosis.server.url == both.server.url
    assert (profile.pages, profile.wildcard, profile.fuzzy, profile.decodes_queries) == (True, True, False, False)
    assert (profile.thumbnails, profile.single_part, profile.any_transfer_syntax) == ("rendered", False, True)
    (found,) = web.search(diagnosis.server, PatientName="Müller^Eva")
    assert found["PatientID"] == "SPECIAL 2"


def test_the_doctor_before_a_locked_door(locked_orthanc: Orthanc) -> None:
    diagnosis = web.doctor(locked_orthanc.rest)
    assert (diagnosis.server.url, diagnosis.server.authentication.kind) == (locked_orthanc.url, "basic")
    assert not diagnosis.ok
    assert any("Orthanc Secure Area" in finding.text for finding in diagnosis.findings)


def test_both_at_once(both: Both) -> None:
    hits = list(search_all([both.server, both.folder], StudyDate="19990101-20051231"))
    new = [hit for hit in hits if hit.first is None]
    assert len(hits) == 2 * len(new)
    assert {str(hit.server) for hit in hits} == {str(both.server), str(both.folder)}
