"""De-identification on the way to the server, by PS3.15 E: what goes, what is mapped, and that references hold."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from support.folders import write_ct
from support.stow_server import StowServer, stow_server

import dicombridge
from dicombridge.errors import DicomBridgeError
from dicombridge.web import store
from dicombridge.web.storing import Deidentification

NAMES = ("JANCT000", "99000", "03086212", "Liver Segmentation")


@pytest.fixture
def stow() -> Iterator[StowServer]:
    with stow_server() as running:
        yield running


def arrived(stow: StowServer) -> list[Dataset]:
    return [pydicom.dcmread(BytesIO(part)) for _, part in sorted(stow.have.items())]


def uids_in(dataset: Dataset) -> set[str]:
    found: set[str] = set()

    def walk(_dataset: Dataset, element: Any) -> None:
        if element.VR == "UI" and element.value:
            found.update([element.value] if isinstance(element.value, str) else element.value)

    dataset.walk(walk)
    return found


def test_nobody_is_named_and_references_hold(stow: StowServer, data: Path) -> None:
    folder = data / "seg" / "dcmqi_liver"
    segmentation = pydicom.dcmread(folder / "liver.dcm")
    images = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and pydicom.misc.is_dicom(path) and pydicom.dcmread(path).Modality == "CT"
    ]
    report = store(stow.server, [folder / "liver.dcm", *images], deidentify=True)
    assert (len(report.stored), report.failed) == (1 + len(images), {})
    assert images
    everything = b"".join(stow.have.values())
    assert [name for name in NAMES if name.encode() in everything] == []
    objects = arrived(stow)
    (seg,) = [one for one in objects if one.Modality == "SEG"]
    cts = [one for one in objects if one.Modality == "CT"]
    assert len({one.PatientID for one in objects}) == len({one.StudyInstanceUID for one in objects}) == 1
    assert seg.PatientID.startswith("ANON-")
    referenced = {item.ReferencedSOPInstanceUID for item in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referenced == {one.SOPInstanceUID for one in cts}
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == cts[0].SeriesInstanceUID
    assert seg.FrameOfReferenceUID == cts[0].FrameOfReferenceUID != segmentation.FrameOfReferenceUID
    sources = [item.DerivationImageSequence[0].SourceImageSequence[0] for item in seg.PerFrameFunctionalGroupsSequence]
    assert {item.ReferencedSOPInstanceUID for item in sources} <= referenced
    assert {uid for uid in uids_in(segmentation) & uids_in(seg) if not uid.startswith("1.2.840.10008.")} == set()
    assert seg.PixelData == segmentation.PixelData
    assert seg.PatientIdentityRemoved == "YES"
    assert [code.CodeValue for code in seg.DeidentificationMethodCodeSequence] == ["113100"]


def test_what_was_sent_can_be_loaded(stow: StowServer, data: Path, tmp_path: Path) -> None:
    """The objects stay valid for those who use them: a segmentation on its images."""
    folder = data / "seg" / "dcmqi_liver"
    store(tmp_path / "out", [path for path in folder.rglob("*.dcm") if "expb" not in path.name], deidentify=True)
    with dicombridge.open_folder(tmp_path / "out") as database:
        loadables = [one for one in dicombridge.examine(database) if one.kind == "SEG"]
        nodes = dicombridge.load(loadables[0], scene=dicombridge.new_scene(), database=database)
    assert nodes[0].GetSegmentation().GetNumberOfSegments() == 1


def test_nested_private_and_original_attributes(stow: StowServer, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    inner, other = Dataset(), Dataset()
    inner.PatientName, inner.RequestedProcedureDescription = "Nested^Name", "Because of Mr Smith"
    inner.add_new(0x00091001, "LO", "private in here")
    other.ReferencedSOPClassUID, other.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.77"
    write_ct(
        path,
        RequestAttributesSequence=[inner],
        ReferencedImageSequence=[other],
        InstitutionName="St Nowhere",
        FrameOfReferenceUID="1.2.840.10008.1.4.1.1",
        OperatorsName="Op^Erator",
    )
    anonymous = Deidentification()
    store(stow.server, path, deidentify=anonymous)
    (dataset,) = arrived(stow)
    raw = next(iter(stow.have.values()))
    for text in (b"Nested", b"Smith", b"private in here", b"Nowhere", b"Op^Erator", b"CompressedSamples"):
        assert text not in raw
    assert dataset.ReferencedImageSequence[0].ReferencedSOPInstanceUID == anonymous.uid("1.2.77") != "1.2.77"
    assert dataset.ReferencedImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert dataset.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"
    assert [element.tag for element in dataset if element.tag.is_private] == []
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert dataset.PixelData == pydicom.dcmread(path).PixelData


@pytest.mark.filterwarnings("ignore:The value length")  # of codes in that report
def test_reports_keep_their_measurements(stow: StowServer, data: Path) -> None:
    """Clean Structured Content: names, texts and dates go; codes, numbers and references stay."""
    path = next(path for path in sorted((data / "sr").rglob("*.dcm")) if b"1500" in path.read_bytes())
    before = pydicom.dcmread(path)
    anonymous = Deidentification()
    report = store(stow.server, path, deidentify=anonymous)
    assert report.failed == {}
    (after,) = arrived(stow)
    assert [code.CodeValue for code in after.DeidentificationMethodCodeSequence] == ["113100", "113104"]

    def walk(one: Dataset, two: Dataset) -> Iterator[tuple[Dataset, Dataset]]:
        for left, right in zip(one.get("ContentSequence", []), two.get("ContentSequence", []), strict=True):
            yield left, right
            yield from walk(left, right)

    kinds: dict[str, int] = {}
    for left, right in walk(before, after):
        kind = left.get("ValueType", "")
        kinds[kind] = kinds.get(kind, 0) + 1
        assert left.get("ConceptNameCodeSequence") == right.get("ConceptNameCodeSequence")
        assert left.get("MeasuredValueSequence") == right.get("MeasuredValueSequence")
        assert left.get("ConceptCodeSequence") == right.get("ConceptCodeSequence")
        if kind == "TEXT":
            assert right.TextValue == "ANONYMIZED"
        if kind == "PNAME":
            assert right.PersonName == "ANONYMIZED"
        if kind == "UIDREF":
            assert anonymous.uid(left.UID) == right.UID
        if kind == "IMAGE":
            mapped = anonymous.uid(left.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
            assert right.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == mapped
    assert kinds.get("NUM", 0) > 0
    assert kinds.get("IMAGE", 0) > 0


def test_the_profile_can_be_shown_and_changed(stow: StowServer, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write_ct(path, PatientSex="F", PatientAge="077Y", PatientName="Doe^Jane", PatientID="4711")
    digest = hashlib.sha256(path.read_bytes()).digest()
    anonymous = Deidentification(keep=["PatientAge"], replace={"PatientID": "Trial-017"}, secret="ours")
    rows = {name: action for _, name, action in anonymous.rows()}
    assert rows["PatientAge"] == "kept"
    assert rows["PatientID"] == "replaced by 'Trial-017'"
    assert rows["InstitutionName"] != ""
    assert rows["SOPInstanceUID"] == "replaced by another UID, the same everywhere"
    changes = {change.name: change for change in anonymous.preview(path)}
    assert (changes["PatientID"].before, changes["PatientID"].after) == ("4711", "Trial-017")
    assert changes["PatientName"].before == "Doe^Jane"
    assert "PatientAge" not in changes
    assert changes["SOPInstanceUID"].after == anonymous.uid(pydicom.dcmread(path).SOPInstanceUID)
    assert hashlib.sha256(path.read_bytes()).digest() == digest
    store(
        stow.server, path, deidentify={"keep": ["PatientAge"], "replace": {"PatientID": "Trial-017"}, "secret": "ours"}
    )
    (dataset,) = arrived(stow)
    assert (dataset.PatientAge, dataset.PatientID) == ("077Y", "Trial-017")
    assert str(dataset.PatientName) == changes["PatientName"].after
    assert dataset.SOPInstanceUID == changes["SOPInstanceUID"].after


def test_new_uids_depend_on_the_secret() -> None:
    one, same, other = Deidentification(secret="a"), Deidentification(secret="a"), Deidentification()
    assert one.uid("1.2.3") == same.uid("1.2.3") != other.uid("1.2.3")
    assert len(one.uid("1.2.3")) <= 64
    assert one.uid("1.2.3") != one.uid("1.2.4")
    assert one.uid("1.2.840.10008.1.2.1") == "1.2.840.10008.1.2.1"
    with pytest.raises(DicomBridgeError, match="no DICOM attribute 'PatientShoe'"):
        Deidentification(keep=["PatientShoe"])


def test_burned_in_names_are_not_sent(stow: StowServer, tmp_path: Path) -> None:
    write_ct(tmp_path / "a.dcm", BurnedInAnnotation="YES")
    write_ct(tmp_path / "b.dcm", BurnedInAnnotation="NO")
    report = store(stow.server, tmp_path, deidentify="basic")
    assert len(report.stored) == len(stow.have) == 1
    assert list(report.failed) == [str(tmp_path / "a.dcm")]
    assert "Burned In Annotation" in report.failed[str(tmp_path / "a.dcm")]


def test_what_failed_is_sent_again_with_the_same_uids(stow: StowServer, tmp_path: Path) -> None:
    from support.stow_server import Reply, module

    for number in range(3):
        write_ct(tmp_path / f"{number}.dcm", InstanceNumber=number)
    stow.answer = lambda request: Reply(409, module([], dict.fromkeys(request.uids, 0x0110)))
    report = store(stow.server, tmp_path, deidentify=True)
    stow.answer = stow.store
    assert sorted(report.again().stored) == sorted(report.failed) == sorted(stow.have)


def test_objects_of_all_kinds(data: Path, tmp_path: Path) -> None:
    """Everything is de-identified, or not sent and the reason told; no name survives."""
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(data.rglob("*.dcm")):
        by_folder.setdefault(path.parent, []).append(path)
    paths = [path for files in by_folder.values() for path in files[:2] if path.stat().st_size < 1 << 20]
    report = store(tmp_path / "out", paths, deidentify=True)
    reasons = ("Burned In", "same SOP Instance UID", "not a valid transfer syntax", "not a Study Instance UID")
    assert [words for words in report.failed.values() if not any(reason in words for reason in reasons)] == []
    assert len(report.stored) > 50
    named = set()
    for path in paths:
        dataset = pydicom.dcmread(path, force=True, specific_tags=["PatientName", "PatientID"])
        named |= {str(dataset.get(keyword) or "") for keyword in ("PatientName", "PatientID")}
    for path in (tmp_path / "out").rglob("*.dcm"):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert dataset.PatientIdentityRemoved == "YES"
        assert {str(dataset.PatientName), str(dataset.PatientID)} & (named - {""}) == set()


def test_without_the_package_the_message_is_clear(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['dicomanonymizer'] = None\n"
        "from pathlib import Path\nfrom dicombridge.web import store\n"
        "from dicombridge.errors import UnsupportedError\n"
        f"try: store(Path({str(tmp_path / 'out')!r}), {str(tmp_path)!r}, deidentify=True)\n"
        "except UnsupportedError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("which is not installed: pip install dicom-anonymizer")
    assert not (tmp_path / "out").exists()
