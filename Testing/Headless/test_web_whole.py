"""The walk that says whether a file is whole: agrees with pydicom on real files, and finds every cut."""

from __future__ import annotations

import os
import random
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicombridge.errors import DamagedAnswerError
from dicombridge.web.retrieving.whole import Contents, check_whole

SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
]


def checked(content: bytes, tmp_path: Path) -> Contents:
    path = tmp_path / "file"
    path.write_bytes(content)
    return checked_file(path)


def checked_file(path: Path) -> Contents:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return check_whole(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def made(syntax: UID, undefined: bool = True, trailing: bool = False) -> bytes:
    """A small image with nested sequences, without anything behind its pixels unless that is asked for."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator = "1", "99X"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner, Dataset()])
    outer.is_undefined_length_sequence_item = undefined
    dataset.ReferencedImageSequence = Sequence([outer, outer])
    dataset["ReferencedImageSequence"].is_undefined_length = undefined
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 4, 4, 16
    pixels = random.Random(1).randbytes(32)
    if syntax.is_encapsulated:
        pixels = encapsulate([pixels, pixels[:20]], has_bot=True)
    dataset.add_new(0x7FE00010, "OB" if syntax.is_encapsulated else "OW", pixels)
    dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    if trailing:
        dataset.add_new(0xFFFCFFFC, "OB", b"\0" * 16)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("undefined", [True, False])
def test_whole_files(syntax: UID, undefined: bool, tmp_path: Path) -> None:
    contents = checked(made(syntax, undefined), tmp_path)
    assert contents == ("1.2.3.4", "1.2.3.1", "1.2.3", "1.2.840.10008.5.1.4.1.1.2", syntax)
    assert checked(made(syntax, undefined, trailing=True), tmp_path) == contents


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_cut_is_found(syntax: UID, tmp_path: Path) -> None:
    """All but those between two elements, which the end of the part tells; in pixels there is no such place."""
    content = made(syntax)
    accepted = []
    for stop in range(len(content)):
        try:
            checked(content[:stop], tmp_path)
        except DamagedAnswerError:
            continue
        accepted.append(stop)
    if syntax == DeflatedExplicitVRLittleEndian:
        assert set(accepted) <= {len(content) - 1}  # the zero byte that pads it
        return
    order = "big" if syntax == ExplicitVRBigEndian else "little"
    tags = [
        (one.tag.group.to_bytes(2, order) + one.tag.element.to_bytes(2, order))
        for one in pydicom.dcmread(BytesIO(content))
    ]
    starts = [content.index(tag, 200) for tag in tags]
    assert set(accepted) <= set(starts)
    assert accepted, "the file without its pixels is a file too"


@pytest.mark.parametrize("syntax", SYNTAXES[:3] + SYNTAXES[4:], ids=lambda uid: uid.name)
@pytest.mark.parametrize("junk", [b"\r\n--boundary\r\nContent-Type: application/dicom\r\n\r\n", b"x", b"\1" * 40])
def test_what_follows_the_pixels_is_found(syntax: UID, junk: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedAnswerError):
        checked(made(syntax) + junk, tmp_path)
    with pytest.raises(DamagedAnswerError):
        checked(made(syntax) * 2, tmp_path)
    assert checked(made(syntax) + b"\0" * 200, tmp_path).instance == "1.2.3.4"  # padding


@pytest.mark.parametrize("content", [b"", b"\0" * 5, b"<html>" + b" " * 300, b"\0" * 4096, b"\0" * 128 + b"DICM"])
def test_what_is_no_file(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DamagedAnswerError):
        checked(content, tmp_path)


def test_a_bomb_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deflated dataset of a megabyte that stands for a gigabyte is walked in pieces, and only so far."""
    monkeypatch.setattr("dicombridge.web.retrieving.whole.INFLATED_AT_MOST", 1 << 26)
    content = made(DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + int.from_bytes(content[140:144], "little")
    head = made(ExplicitVRLittleEndian)
    plain = head[132 + 12 + int.from_bytes(head[140:144], "little") :]
    pixels = plain.rindex(b"\xe0\x7f\x10\x00OW")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = content[:start] + deflater.compress(
        plain[:pixels] + b"\xe0\x7f\x10\x00OW\0\0" + (1 << 28).to_bytes(4, "little")
    )
    bomb += b"".join(deflater.compress(b"\0" * (1 << 20)) for _ in range(256)) + deflater.flush()
    assert len(bomb) < 1 << 20
    with pytest.raises(DamagedAnswerError, match="grows"):
        checked(bomb, tmp_path)


def test_only_a_little_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    pread = os.pread

    def counted(descriptor: int, count: int, position: int) -> bytes:
        nonlocal read
        data = pread(descriptor, count, position)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    content = made(ExplicitVRLittleEndian)
    pixels = content.rindex(b"\xe0\x7f\x10\x00OW")
    size = 1 << 28
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(content[: pixels + 8] + size.to_bytes(4, "little"))
        file.truncate(pixels + 12 + size)
    assert checked_file(path).instance == "1.2.3.4"
    assert read < 1 << 17


def test_random_damage_never_breaks_the_walk(tmp_path: Path) -> None:
    """Whatever the bytes are, the answer is contents or our error, soon."""
    source = random.Random(7)
    for syntax in SYNTAXES:
        content = made(syntax)
        for _ in range(60):
            broken = bytearray(content)
            for _ in range(source.randint(1, 4)):
                broken[source.randrange(len(broken))] = source.randrange(256)
            try:
                checked(bytes(broken), tmp_path)
            except DamagedAnswerError:
                continue


def real_files(data: Path) -> list[Path]:
    theirs = Path(pydicom.__file__).parent / "data" / "test_files"
    found = sorted(theirs.rglob("*.dcm")) + sorted(data.rglob("*.dcm"))
    return [path for path in found if path.stat().st_size > 132]


def test_real_files(data: Path) -> None:
    """All that pydicom reads is whole, but two files that are made to be too short."""
    wrong = []
    for path in real_files(data):
        try:
            with pydicom.config.disable_value_validation(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = pydicom.dcmread(path)
                expected = str(dataset.get("SOPInstanceUID", ""))
        except Exception:  # pydicom gives many kinds
            continue
        if not expected or "TransferSyntaxUID" not in dataset.file_meta:
            continue
        try:
            found = checked_file(path)
        except DamagedAnswerError as error:
            wrong.append((path.name, str(error)))
            continue
        if found.instance != expected or found.transfer_syntax != dataset.file_meta.TransferSyntaxUID:
            wrong.append((path.name, str(found)))
    assert [name for name, _ in wrong] == ["MR_truncated.dcm", "rtplan_truncated.dcm"]
    assert all("it ends before its element" in reason for _, reason in wrong)
