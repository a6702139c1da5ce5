"""Damage to DICOM files: cut short, bytes flipped, numbers absurd, sequences missing, streams that never end.

Every generator is deterministic and works on any object, so that a new kind is damaged without a line of its own.
A case is a name and the bytes of a file. Attributes are changed with pydicom, which writes nearly any nonsense;
what it refuses to write (lengths that lie, sequences without end) is done to the bytes.
"""

from __future__ import annotations

import random
import warnings
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from struct import pack
from typing import Any, NamedTuple

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from dicombridge.multiframe import PIXEL_DATA_TAGS
from dicombridge.part10 import NeedsPydicom, read_layout

__all__ = [
    "Case",
    "absurd_attributes",
    "broken_encodings",
    "deflated",
    "flips",
    "reencoded",
    "truncations",
    "written",
]

DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
SEED = 20_240_607


class Case(NamedTuple):
    """One damaged file."""

    name: str
    content: bytes


# --- Bytes ---------------------------------------------------------------------------------------------------------


def truncations(content: bytes, count: int = 50) -> Iterator[Case]:
    """Cut at ``count`` places: half of them spread over the whole file, half over its header, the smaller part."""
    header = max(_pixel_data_begins(content), 512)
    half = count // 2
    places = {len(content) * number // half for number in range(half)}
    places |= {min(header, len(content) - 1) * number // (count - half) + 1 for number in range(count - half)}
    for place in sorted(places):
        yield Case(f"cut at {place} of {len(content)}", content[:place])


def flips(content: bytes, count: int, seed: int = SEED) -> Iterator[Case]:
    """Change one byte, or up to sixteen; two thirds of the changes hit the header."""
    generator = random.Random(seed)
    header = max(_pixel_data_begins(content), 512)
    for number in range(count):
        damaged = bytearray(content)
        changes = generator.choice((1, 1, 2, 16))
        end = min(header, len(content)) if generator.random() < 2 / 3 else len(content)
        places = [generator.randrange(128, end) for _ in range(changes)]
        for place in places:
            damaged[place] = generator.choice((0, 0xFF, damaged[place] ^ 1 << generator.randrange(8)))
        yield Case(f"flip {number}: {changes} bytes from {min(places)}", bytes(damaged))


def _pixel_data_begins(content: bytes) -> int:
    try:
        begins = read_layout(content).begins
        return next((begins[tag] for tag in PIXEL_DATA_TAGS if tag in begins), len(content))
    except NeedsPydicom:
        return len(content) // 2


# --- Attributes ----------------------------------------------------------------------------------------------------


def _value(keyword: str, value: Any) -> Callable[[Dataset], None]:
    """Set an attribute wherever it stands in the dataset; at the top level where it stands nowhere."""

    def change(dataset: Dataset) -> None:
        tag = pydicom.tag.Tag(keyword)
        vr = pydicom.datadict.dictionary_VR(tag)[:2]  # the first one of "US or SS"
        holders = [holder for holder in _datasets(dataset) if tag in holder] or [dataset]
        for holder in holders:
            holder[tag] = DataElement(tag, vr, value, already_converted=True)

    return change


def _missing(keyword: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for holder in _datasets(dataset):
            if keyword in holder:
                del holder[keyword]

    return change


def _emptied(keyword: str) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for holder in _datasets(dataset):
            if keyword in holder:
                setattr(holder, keyword, [])

    return change


def _datasets(dataset: Dataset) -> list[Dataset]:
    """Return a dataset and all items in it."""
    found = [dataset]
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value or ():
                found.extend(_datasets(item))
    return found


def _first_position(value: list[str]) -> Callable[[Dataset], None]:
    """Move one frame (or the slice) alone, so that it contradicts the others."""

    def change(dataset: Dataset) -> None:
        for holder in _datasets(dataset):
            if "ImagePositionPatient" in holder:
                holder["ImagePositionPatient"] = DataElement(0x00200032, "DS", value, already_converted=True)
                return

    return change


def _one_frame_less(dataset: Dataset) -> None:
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if frames:
        del frames[-1]


def _one_frame_more(dataset: Dataset) -> None:
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if frames:
        frames.append(frames[-1])


def _no_per_frame_position(dataset: Dataset) -> None:
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if frames and "PlanePositionSequence" in frames[-1]:
        del frames[-1].PlanePositionSequence


def _half_the_pixels(dataset: Dataset) -> None:
    for keyword in PIXEL_DATA_TAGS.values():
        pixels = dataset.get(keyword)
        if pixels is not None:
            setattr(dataset, keyword, pixels[: len(pixels) // 4 * 2])


def _nested(depth: int) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        item = Dataset()
        item.CodeValue = "deep"
        for _ in range(depth):
            outer = Dataset()
            outer.ContentSequence = [item]
            item = outer
        dataset.ReferencedSeriesSequence = [item]

    return change


_AXIAL = ["1", "0", "0", "0", "1", "0"]

ATTRIBUTES: dict[str, Callable[[Dataset], None]] = {
    "Rows 65535": _value("Rows", 65535),
    "Rows 0": _value("Rows", 0),
    "Rows missing": _missing("Rows"),
    "Columns 65535": _value("Columns", 65535),
    "Columns 0": _value("Columns", 0),
    "65535 x 65535": lambda dataset: [_value(keyword, 65535)(dataset) for keyword in ("Rows", "Columns")] and None,
    "NumberOfFrames 2147483647": _value("NumberOfFrames", 2**31 - 1),
    "NumberOfFrames 99999999999": _value("NumberOfFrames", 99999999999),
    "NumberOfFrames 0": _value("NumberOfFrames", 0),
    "NumberOfFrames -1": _value("NumberOfFrames", -1),
    "NumberOfFrames 1A": _value("NumberOfFrames", "1A"),
    "NumberOfFrames of two values": _value("NumberOfFrames", ["1", "2"]),
    "BitsAllocated 7": _value("BitsAllocated", 7),
    "BitsAllocated 0": _value("BitsAllocated", 0),
    "BitsAllocated 32": _value("BitsAllocated", 32),
    "BitsAllocated 64": _value("BitsAllocated", 64),
    "BitsAllocated 65535": _value("BitsAllocated", 65535),
    "BitsStored 99": _value("BitsStored", 99),
    "SamplesPerPixel 3": _value("SamplesPerPixel", 3),
    "PixelRepresentation 7": _value("PixelRepresentation", 7),
    "PixelData missing": _missing("PixelData"),
    "PixelData short": _half_the_pixels,
    "SOPClassUID missing": _missing("SOPClassUID"),
    "SOPInstanceUID missing": _missing("SOPInstanceUID"),
    "SeriesInstanceUID missing": _missing("SeriesInstanceUID"),
    "character set unknown": _value("SpecificCharacterSet", "ISO_IR 999"),
    "SegmentSequence missing": _missing("SegmentSequence"),
    "SegmentSequence empty": _emptied("SegmentSequence"),
    "shared groups missing": _missing("SharedFunctionalGroupsSequence"),
    "shared groups empty": _emptied("SharedFunctionalGroupsSequence"),
    "per-frame groups missing": _missing("PerFrameFunctionalGroupsSequence"),
    "per-frame groups empty": _emptied("PerFrameFunctionalGroupsSequence"),
    "all groups missing": lambda dataset: (
        [_missing(f"{which}FunctionalGroupsSequence")(dataset) for which in ("Shared", "PerFrame")] and None
    ),
    "one frame less": _one_frame_less,
    "one frame more": _one_frame_more,
    "last frame without position": _no_per_frame_position,
    "PlanePositionSequence missing": _missing("PlanePositionSequence"),
    "PlanePositionSequence empty": _emptied("PlanePositionSequence"),
    "PlaneOrientationSequence missing": _missing("PlaneOrientationSequence"),
    "PixelMeasuresSequence missing": _missing("PixelMeasuresSequence"),
    "FrameContentSequence missing": _missing("FrameContentSequence"),
    "SegmentIdentificationSequence missing": _missing("SegmentIdentificationSequence"),
    "ReferencedSegmentNumber 65535": _value("ReferencedSegmentNumber", 65535),
    "ReferencedSegmentNumber 0": _value("ReferencedSegmentNumber", 0),
    "SegmentNumber missing": _missing("SegmentNumber"),
    "SegmentNumber 0": _value("SegmentNumber", 0),
    "SegmentNumber 65535": _value("SegmentNumber", 65535),
    "SegmentationType nonsense": _value("SegmentationType", "TERNARY"),
    "SegmentationType FRACTIONAL": _value("SegmentationType", "FRACTIONAL"),
    "SegmentationType LABELMAP": _value("SegmentationType", "LABELMAP"),
    "MaximumFractionalValue 0": _value("MaximumFractionalValue", 0),
    "PixelPaddingValue 65535": _value("PixelPaddingValue", 65535),
    "ImagePositionPatient missing": _missing("ImagePositionPatient"),
    "a frame 1e9 mm away": _first_position(["0", "0", "1e9"]),
    "a frame 1e300 mm away": _first_position(["0", "0", "1e300"]),
    "a position NaN": _first_position(["nan", "0", "0"]),
    "a position infinite": _first_position(["0", "0", "inf"]),
    "a position of two numbers": _first_position(["0", "0"]),
    "a position of words": _first_position(["here", "and", "there"]),
    "all positions NaN": _value("ImagePositionPatient", ["nan", "nan", "nan"]),
    "all positions 1e308": _value("ImagePositionPatient", ["1e308", "1e308", "-1e308"]),
    "orientation of zeros": _value("ImageOrientationPatient", ["0"] * 6),
    "orientation skew": _value("ImageOrientationPatient", ["1", "0", "0", "0.7", "0.7", "0"]),
    "orientation of one direction": _value("ImageOrientationPatient", ["1", "0", "0"] * 2),
    "orientation NaN": _value("ImageOrientationPatient", ["nan", *_AXIAL[1:]]),
    "orientation missing": _missing("ImageOrientationPatient"),
    "spacing zero": _value("PixelSpacing", ["0", "0"]),
    "spacing negative": _value("PixelSpacing", ["-1", "1"]),
    "spacing NaN": _value("PixelSpacing", ["nan", "1"]),
    "spacing infinite": _value("PixelSpacing", ["inf", "1"]),
    "spacing 1e-300": _value("PixelSpacing", ["1e-300", "1e-300"]),
    "spacing 1e300": _value("PixelSpacing", ["1e300", "1e300"]),
    "spacing of one number": _value("PixelSpacing", "1"),
    "slope zero": _value("RescaleSlope", "0"),
    "slope NaN": _value("RescaleSlope", "nan"),
    "slope 1e300": _value("RescaleSlope", "1e300"),
    "intercept infinite": _value("RescaleIntercept", "inf"),
    "slice thickness 1e300": _value("SliceThickness", "1e300"),
    "slice thickness NaN": _value("SliceThickness", "nan"),
    "sequences nested 120 deep": _nested(120),
}
"""Damage to attributes, by name. Where an object lacks the attribute, the case is another one that has it too much."""


def absurd_attributes(content: bytes) -> Iterator[Case]:
    """Write the object anew with absurd, missing and contradicting attributes."""
    for name, change in ATTRIBUTES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(BytesIO(content))
            change(dataset)
            yield Case(name, written(dataset))


def written(dataset: Dataset) -> bytes:
    """Return a dataset as a file, however wrong its values are."""
    output = BytesIO()
    implicit = dataset.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    pydicom.dcmwrite(output, dataset, implicit_vr=implicit, little_endian=True, force_encoding=True)
    return output.getvalue()


# --- Encodings -----------------------------------------------------------------------------------------------------


def reencoded(content: bytes, transfer_syntax_uid: str) -> bytes:
    """Return an uncompressed object in another transfer syntax: explicit or implicit VR, deflated, or RLE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(BytesIO(content))
        for _ in dataset.iterall():
            pass  # decoded while its own encoding is known
        if transfer_syntax_uid == RLELossless:
            dataset.compress(RLELossless)
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
        dataset.file_meta.TransferSyntaxUID = transfer_syntax_uid
        return written(dataset)


def broken_encodings(content: bytes) -> Iterator[Case]:
    """Lengths that lie, sequences without end, and compressed data that is none or far too much."""
    yield Case("nothing", b"")
    yield Case("zeros", bytes(4096))
    yield Case("preamble only", content[:132])
    yield Case("no meta information", bytes(128) + b"DICM" + content[_dataset_start(content) :])
    yield from _lying_lengths(content)
    yield from _endless_sequences(content)
    yield from _bombs(content)


def _dataset_start(content: bytes) -> int:
    return read_layout(content).dataset_start


def _lying_lengths(content: bytes) -> Iterator[Case]:
    layout = read_layout(content)
    for tag, begin in layout.begins.items():
        start = layout.elements[tag].start
        long_form = layout.implicit_vr or start - begin == 12
        place, lies = (start - 4, (0xFFFFFFF0, 0xFFFFFFFE, 3)) if long_form else (start - 2, (0xFFFE,))
        # A lie about each element would be thousands of files; these are the ones that are walked into.
        if tag == 0x00280010 or (long_form and (tag >> 16 in (0x0062, 0x5200, 0x7FE0) or tag == 0x00081115)):
            for lie in lies:
                length = pack("<L", lie) if long_form else pack("<H", lie)
                yield Case(f"length of {tag:08X} is {lie:X}", content[:place] + length + content[place + len(length) :])


def _endless_sequences(content: bytes) -> Iterator[Case]:
    layout = read_layout(content)
    begin = _pixel_data_begins(content)
    head = pack("<HH", 0x5400, 0x0100) + (b"" if layout.implicit_vr else b"SQ\0\0") + pack("<L", 0xFFFFFFFF)
    item = pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    yield Case("a sequence without end", content[:begin] + head)
    yield Case("an item without end", content[:begin] + head + item + content[begin:])
    yield Case("5000 sequences in each other", content[:begin] + (head + item) * 5000)
    yield Case("5000 unclosed items", content[:begin] + head + item * 5000)
    ends = pack("<HHL", 0xFFFE, 0xE00D, 0) + pack("<HHL", 0xFFFE, 0xE0DD, 0)
    yield Case(
        "150 closed sequences in each other", content[:begin] + (head + item) * 150 + ends * 150 + content[begin:]
    )


def _bombs(content: bytes) -> Iterator[Case]:
    dataset = pydicom.dcmread(BytesIO(content))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    start = written(dataset)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta = written(dataset)
    meta = meta[: _meta_end(meta)]
    plain = start[_meta_end(start) :]
    yield Case("deflated garbage", meta + random.Random(SEED).randbytes(4096))
    yield Case("deflated, cut short", meta + deflated(plain)[: len(deflated(plain)) // 2])
    private = pack("<HH2sHL", 0x7FE1, 0x1001, b"OB", 0, 0xFFFFFFF0)
    yield Case("4 GiB of zeros, deflated", meta + deflated(plain + private, endless=4096))
    yield Case("4 GiB of zeros, deflated, and nothing else", meta + deflated(b"", endless=4096))
    for name, uid, frame in (
        ("frames of deflated zeros", DEFLATED_IMAGE_FRAME, deflated(b"", endless=512)),
        ("frames of deflated garbage", DEFLATED_IMAGE_FRAME, random.Random(SEED).randbytes(512)),
        ("frames of RLE garbage", RLELossless, random.Random(SEED).randbytes(512)),
        ("frames of an RLE bomb", RLELossless, pack("<16L", 1, 64, *[0] * 14) + b"\x81\0" * 65536),
        ("frames of JPEG 2000 garbage", "1.2.840.10008.1.2.4.90", b"\xff\x4f\xff\x51" + bytes(256)),
        ("frames of an unknown syntax", "1.2.3.4.5.6", b"what is this"),
    ):
        dataset.file_meta.TransferSyntaxUID = uid
        frames = int(dataset.get("NumberOfFrames") or 1)
        dataset.PixelData = encapsulate([frame] * frames)
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        yield Case(name, written(dataset))


def _meta_end(meta: bytes) -> int:
    """Return where the file meta information ends, by its own group length (PS3.10 7.1)."""
    return 144 + int.from_bytes(meta[140:144], "little")


def deflated(content: bytes, endless: int = 0) -> bytes:
    """Return a raw deflate stream of ``content`` and ``endless`` MiB of zeros, made without inflating them ever."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = compressor.compress(content) + compressor.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers back, so one block of zeros can be repeated as often as wanted.
    block = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return head + block * endless + compressor.flush()
