"""Structured reports of other templates, a few items each: dose, CAD, echo, procedure log, key objects; a large report.

Each is made item by item; :data:`OTHERS` says class, title and template of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import pack

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import generate_uid

from dicombridge.encode import element, encoded_dataset, sequence
from support.sr_documents import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    KEY_OBJECT_SELECTION,
    LENGTH,
    LIVER,
    MM,
    Concept,
    content,
    dcm,
    document,
    group,
    image_item,
    measurement_report,
    number,
    region,
    save,
    sct,
)  # fmt: skip
from support.sr_images import SeriesOfImages, write_series

CONTENT_SEQUENCE = 0x0040A730
MGY, GY_M2, MGY_CM = ("mGy", "UCUM", "mGy"), ("Gy.m2", "UCUM", "Gy.m2"), ("mGy.cm", "UCUM", "mGy.cm")
MBQ, DAY = ("MBq", "UCUM", "MBq"), ("d", "UCUM", "d")


@dataclass(frozen=True)
class Other:
    """A kind of report: its class, title, template, and what makes its items."""

    sop_class: str
    title: Concept
    template: str
    items: Callable[[SeriesOfImages], list[Dataset]]
    modality: str = "SR"
    checked: bool = True
    """Whether dciodvfy knows the class, and what is written here is all that it wants."""


def _device(name: str = "Scanner") -> list[Dataset]:
    device = content("CODE", dcm("121005", "Observer Type"), dcm("121007", "Device"), relation="HAS OBS CONTEXT")
    uid = content("UIDREF", dcm("121012", "Device Observer UID"), "1.2.826.0.1.77", relation="HAS OBS CONTEXT")
    called = content("TEXT", dcm("121013", "Device Observer Name"), name, relation="HAS OBS CONTEXT")
    return [device, uid, called]


def _x_ray_dose(_: SeriesOfImages) -> list[Dataset]:
    event = content(
        "CONTAINER", dcm("113706", "Irradiation Event X-Ray Data"), None,
        content("DATETIME", dcm("111526", "DateTime Started"), "20260101120000"),
        content("UIDREF", dcm("113769", "Irradiation Event UID"), generate_uid()),
        number(dcm("122130", "Dose Area Product"), 0.00012, GY_M2),
        template="10003",
    )  # fmt: skip
    total = number(dcm("113722", "Dose Area Product Total"), 0.00034, GY_M2)
    accumulated = content("CONTAINER", dcm("113702", "Accumulated X-Ray Dose Data"), None, total, template="10002")
    return [*_device(), accumulated, event]


def _ct_dose(_: SeriesOfImages) -> list[Dataset]:
    total = number(dcm("113813", "CT Dose Length Product Total"), 512.5, MGY_CM)
    accumulated = content("CONTAINER", dcm("113811", "CT Accumulated Dose Data"), None, total, template="10012")
    dose = content("CONTAINER", dcm("113829", "CT Dose"), None, number(dcm("113830", "Mean CTDIvol"), 12.25, MGY))
    protocol = content("TEXT", dcm("125203", "Acquisition Protocol"), "Thorax nüchtern")
    return [
        *_device(),
        accumulated,
        content("CONTAINER", dcm("113819", "CT Acquisition"), None, protocol, dose, template="10013"),
    ]


def _radiopharmaceutical_dose(_: SeriesOfImages) -> list[Dataset]:
    agent = content("CODE", sct("349358000", "Radiopharmaceutical agent"), sct("35321007", "Fluorodeoxyglucose F^18^"))
    return [
        *_device(),
        content(
            "CONTAINER", dcm("113502", "Radiopharmaceutical Administration"), None,
            agent, number(dcm("113507", "Administered activity"), 255.5, MBQ), template="10022",
        ),
    ]  # fmt: skip


def _cad(images: SeriesOfImages) -> list[Dataset]:
    centre = region(images, 1, "POINT", [(12.25, 7.75)], relation="HAS PROPERTIES", concept=dcm("111010", "Center"))
    outline = [(5.0, 5.0), (25.5, 6.25), (22.0, 30.5), (5.0, 5.0)]
    around = region(images, 1, "POLYLINE", outline, relation="HAS PROPERTIES", concept=dcm("111041", "Outline"))
    certainty = content(
        "NUM", dcm("111012", "Certainty of Finding"), (83, ("%", "UCUM", "Percent")), relation="HAS PROPERTIES"
    )
    finding = content(
        "CODE", dcm("111059", "Single Image Finding"), sct("129770000", "Mammography breast density"),
        certainty, centre, around, relation="INFERRED FROM", template="4006",
    )  # fmt: skip
    summary = dcm("111017", "CAD Processing and Findings Summary")
    return [content("CODE", summary, dcm("111242", "All algorithms succeeded; with findings"), finding)]


def _procedure_log(images: SeriesOfImages) -> list[Dataset]:
    entry = dcm("121125", "Log Entry DateTime")
    return [
        content("DATETIME", dcm("121122", "Procedure Start DateTime"), "20260101120000"),
        content("TEXT", dcm("121124", "Log entry"), "Sheath inserted", ObservationDateTime="20260101120500"),
        content("DATETIME", entry, "20260101120500"),
        image_item(images, 0, relation="CONTAINS"),
    ]


def _echo(_: SeriesOfImages) -> list[Dataset]:
    ventricle = content("CODE", sct("363698007", "Finding Site"), sct("87878005", "Left ventricle"))
    ventricle.RelationshipType = "HAS CONCEPT MOD"
    inner = number(("29436-3", "LN", "Left Ventricle Internal End Diastolic Dimension"), 48.5, MM)
    return [content("CONTAINER", dcm("121070", "Findings"), None, ventricle, inner, template="5301")]


def _acquisition_context(_: SeriesOfImages) -> list[Dataset]:
    handling = content("CONTAINER", dcm("121070", "Findings"), None, number(dcm("121033", "Subject Age"), 91, DAY))
    return [*_device(), handling]


def _key_objects(images: SeriesOfImages) -> list[Dataset]:
    person = content("CODE", dcm("121005", "Observer Type"), dcm("121006", "Person"), relation="HAS OBS CONTEXT")
    name = content("PNAME", dcm("121008", "Person Observer Name"), "Doe^Jane", relation="HAS OBS CONTEXT")
    described = content("TEXT", dcm("113012", "Key Object Description"), "Bildauswahl für die Überweisung")
    return [person, name, described, *[image_item(images, plane, relation="CONTAINS") for plane in (0, 2)]]


_X_RAY, _MAMMOGRAPHY = "1.2.840.10008.5.1.4.1.1.88.67", "1.2.840.10008.5.1.4.1.1.88.50"
OTHERS: dict[str, Other] = {
    "x-ray dose": Other(_X_RAY, dcm("113701", "X-Ray Radiation Dose Report"), "10001", _x_ray_dose),
    "ct dose": Other(_X_RAY, dcm("113701", "X-Ray Radiation Dose Report"), "10011", _ct_dose),
    "radiopharmaceutical dose": Other(
        "1.2.840.10008.5.1.4.1.1.88.68",
        dcm("113500", "Radiopharmaceutical Radiation Dose Report"),
        "10021",
        _radiopharmaceutical_dose,
    ),
    "mammography CAD": Other(_MAMMOGRAPHY, dcm("111036", "Mammography CAD Report"), "4000", _cad),
    "chest CAD": Other("1.2.840.10008.5.1.4.1.1.88.65", dcm("112000", "Chest CAD Report"), "4100", _cad),
    "procedure log": Other(
        "1.2.840.10008.5.1.4.1.1.88.40", dcm("121120", "Cath Lab Procedure Log"), "3001", _procedure_log, checked=False
    ),
    "simplified echo": Other(
        "1.2.840.10008.5.1.4.1.1.88.72",
        dcm("125200", "Adult Echocardiography Procedure Report"),
        "5300",
        _echo,
        checked=False,
    ),
    "echo": Other(COMPREHENSIVE_SR, dcm("125200", "Adult Echocardiography Procedure Report"), "5200", _echo),
    "acquisition context": Other(
        "1.2.840.10008.5.1.4.1.1.88.71",
        dcm("127001", "Preclinical Small Animal Imaging Acquisition Context"),
        "8101",
        _acquisition_context,
    ),
    "key objects": Other(KEY_OBJECT_SELECTION, dcm("113000", "Of Interest"), "2010", _key_objects, "KO"),
}
"""All of them, by name."""


def write_other(folder: Path, name: str) -> tuple[Path, SeriesOfImages]:
    """Write one of :data:`OTHERS` and the images beside it."""
    other = OTHERS[name]
    images = write_series(folder / "images")
    root = content("CONTAINER", other.title, None, *other.items(images), template=other.template)
    ds = document(root, other.sop_class, images, other.modality)
    return save(ds, folder / "sr" / "sr.dcm"), images


# --- A large report ------------------------------------------------------------------------------------------------


def write_large(folder: Path, groups: int, points: int = 20) -> Path:
    """Write a report of planar groups: a closed POLYGON in space, two numbers, a finding, a site and tracking each.

    Group ``n`` (from 0) is ``"group n"``; its polygon lies at z = n mm, its length is n + 0.5 mm. What all groups share
    is encoded once, because a Dataset for each item would take minutes.
    """
    made = group("*", "1.2.3.4", site=LIVER)
    identifier, uid, *others = made.ContentSequence
    angle = np.linspace(0, 2 * np.pi, points)
    ring = np.stack([20 * np.cos(angle), 15 * np.sin(angle), np.zeros(points)], axis=1)
    ring[-1] = ring[0]
    polygon = content("SCOORD3D", dcm("111030", "Image Region"), ("POLYGON", ring, generate_uid()))
    measured = number(LENGTH, "1", MM)
    texts, uids, rings = _around(identifier, "TextValue"), _around(uid, "UID"), _around(polygon, "GraphicData")
    numbers = _around(measured, "MeasuredValueSequence")
    values = _around(measured.MeasuredValueSequence[0], "NumericValue")
    shared = [encoded_dataset(one) for one in others]
    del made.ContentSequence
    container = encoded_dataset(made)
    items = []
    for place in range(groups):
        data = (ring + np.array([0, 0, place])).astype("<f4").tobytes()
        children = [
            _between(texts, _long_text(0x0040A160, f"group {place}".encode())),
            _between(uids, element(0x0040A124, b"UI", f"1.2.826.0.1.9.{place + 1}".encode())),
            *shared,
            _between(rings, element(0x00700022, b"FL", data)),
        ]
        for value in (place + 0.5, place + 0.25):
            one = _between(values, element(0x0040A30A, b"DS", str(value).encode()))
            children.append(_between(numbers, sequence(0x0040A300, [one])))
        items.append(container + sequence(CONTENT_SEQUENCE, children))
    return _write_large(folder / "sr" / "sr.dcm", items)


def _long_text(tag: int, text: bytes) -> bytes:
    """Return an element of VR UT, whose length has 32 bits."""
    text += b" " * (len(text) % 2)
    return pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"UT", 0, len(text)) + text


def _between(around: tuple[bytes, bytes], encoded: bytes) -> bytes:
    return around[0] + encoded + around[1]


def _write_large(path: Path, groups: list[bytes]) -> Path:
    """Write a report whose groups are encoded already: they replace the last item of its content."""
    ds = document(measurement_report([]), COMPREHENSIVE_3D_SR)
    *before, last = ds.ContentSequence
    children = [encoded_dataset(one) for one in before]
    children.append(encoded_dataset(last) + sequence(CONTENT_SEQUENCE, groups))
    del ds.ContentSequence
    save(ds, path)  # makes the folder and the File Meta Information
    output = DicomBytesIO()
    output.is_little_endian, output.is_implicit_VR = True, False
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    write_file_meta_info(output, ds.file_meta)
    write_dataset(output, ds[:CONTENT_SEQUENCE], "ISO_IR 192")
    output.write(sequence(CONTENT_SEQUENCE, children) + encoded_dataset(ds[CONTENT_SEQUENCE:]))
    path.write_bytes(b"\0" * 128 + b"DICM" + output.getvalue())
    return path


def _around(one: Dataset, keyword: str) -> tuple[bytes, bytes]:
    """Return the encoded elements before and behind an element."""
    tag = one.data_element(keyword).tag
    return encoded_dataset(one[:tag]), encoded_dataset(one[tag + 1 :])
