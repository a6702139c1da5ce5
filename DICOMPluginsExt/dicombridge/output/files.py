"""Files, written front to back: header, functional groups, frames one at a time; and several, all or none of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID

from dicombridge.errors import ExportError
from dicombridge.output.frames import packed_frames
from dicombridge.part10 import (
    DEFLATED_EXPLICIT_VR,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    PIXEL_DATA,
)
from dicombridge.pixels import DEFLATED_IMAGE_FRAME, RLE_LOSSLESS
from dicombridge.progress import Progress, part

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "COMPRESSIONS",
    "DOUBLE_FLOAT_PIXEL_DATA",
    "FLOAT_PIXEL_DATA",
    "Job",
    "Pixels",
    "transfer_syntax",
    "write_file",
    "write_together",
]

FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
SMALLEST_JPEG_2000 = 32
"""Rows and columns; OpenJPEG halves a frame five times, and has no option through pydicom to do it less often."""
IMPLEMENTATION_CLASS_UID = "2.25.288405714573926741190233518907362154301"

COMPRESSIONS = {
    None: EXPLICIT_VR_LITTLE_ENDIAN,
    "none": EXPLICIT_VR_LITTLE_ENDIAN,
    "deflate": DEFLATED_EXPLICIT_VR,
    "deflate-frames": DEFLATED_IMAGE_FRAME,
    "rle": RLE_LOSSLESS,
    "jpeg-ls": JPEG_LS_LOSSLESS,
    "jpeg-2000": JPEG_2000_LOSSLESS,
}
"""Names of compressions, all lossless, by transfer syntax. ``deflate`` is the whole dataset, and most widely read."""

_NATIVE = frozenset({EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR})
_PIXEL_VRS = {FLOAT_PIXEL_DATA: b"OF", DOUBLE_FLOAT_PIXEL_DATA: b"OD"}

Job = Callable[[Progress | None], tuple[str, Callable[[Path], None]]]
"""Prepares a file: returns its name, and what writes it under another name."""


def transfer_syntax(compression: Any, bits: int) -> str:
    """Return the transfer syntax of a compression, by its name or its UID.

    Raises
    ------
    ExportError
        There is no such compression, or not for single bits.
    """
    compression = str(compression) if compression else None
    uid = {_plain(name): uid for name, uid in COMPRESSIONS.items()}.get(_plain(compression), compression)
    if uid not in COMPRESSIONS.values():
        names = ", ".join(name for name in COMPRESSIONS if name)
        raise ExportError(f"There is no compression {compression!r}; there are: {names}.")
    if bits == 1 and uid in (JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS):
        raise ExportError(
            f"{compression} cannot hold the single bits of a BINARY segmentation; use deflate or rle, or write a "
            "LABELMAP segmentation."
        )
    return str(uid)


def _plain(name: str | None) -> str:
    """Return a name without case and signs: JPEG2000, jpeg_2000 and jpeg-2000 are one."""
    return "".join(filter(str.isalnum, (name or "").lower()))


class Pixels:
    """The pixel data of a new object.

    Parameters
    ----------
    frames
        Yields frames, (rows, columns): bool for 1 bit, else integers or floats of that many bits.
    count, rows, columns, bits
        Number of frames, their size, Bits Allocated.
    tag
        Pixel Data, Float Pixel Data or Double Float Pixel Data.
    """

    def __init__(
        self, frames: Iterator[NDArray[Any]], count: int, rows: int, columns: int, bits: int, tag: int = PIXEL_DATA
    ) -> None:
        self.frames = frames
        self.count, self.rows, self.columns, self.bits = count, rows, columns, bits
        self.tag = tag

    @property
    def native_length(self) -> int:
        """Bytes of all frames without compression, padded to an even number."""
        length = (self.count * self.rows * self.columns * self.bits + 7) // 8
        return length + length % 2


def write_together(directory: Path, jobs: Sequence[Job], progress: Progress | None = None) -> list[Path]:
    """Write several files, all or none: under temporary names, which are changed when all are written.

    Parameters
    ----------
    directory
        Made if it does not exist.
    jobs
        Each is called with its part of ``progress``, and then what it returned with a path.

    Raises
    ------
    ExportError
        The folder cannot be written, or has a file of that name.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{directory}: cannot be made: {error.strerror}.") from error
    written: list[tuple[Path, Path]] = []
    finished: list[Path] = []
    try:
        for number, job in enumerate(jobs):
            name, write = job(part(progress, number / len(jobs), 1 / len(jobs)))
            if (directory / name).exists() or directory / name in [path for _, path in written]:
                raise ExportError(f"{directory / name}: there is a file of this SOP Instance UID already.")
            partial = directory / f".{name}.part"
            written.append((partial, directory / name))
            write(partial)
        if progress is not None:
            progress(1.0, "Written")  # before the files have their names: a caller may cancel here too
        for partial, path in written:
            partial.replace(path)
            finished.append(path)
    except OSError as error:
        raise ExportError(f"{directory}: cannot be written: {error.strerror or error}.") from error
    finally:
        if len(finished) < len(jobs):
            for path in [*(partial for partial, _ in written), *finished]:
                with suppress(OSError):
                    path.unlink()
    return finished


def write_file(
    path: Path,
    dataset: Dataset,
    transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN,
    pixels: Pixels | None = None,
    encoded: Mapping[int, bytes] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a file front to back.

    Parameters
    ----------
    dataset
        All elements but those below, with their values.
    transfer_syntax_uid
        Explicit or implicit VR little endian, deflated, or one of :data:`COMPRESSIONS`.
    pixels
        The pixel data, written frame by frame.
    encoded
        Top level elements that are encoded already, in that transfer syntax's VR and little endian, by tag.

    Raises
    ------
    ExportError
        The disk is full, the folder cannot be written, a codec is missing.
    """
    implicit = transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN
    parts = dict(encoded or {})
    if pixels is not None:
        parts[pixels.tag] = b""
    try:
        with path.open("wb") as file:
            file.write(b"\0" * 128 + b"DICM")
            file.write(_file_meta(dataset, transfer_syntax_uid))
            sink = _Deflating(file) if transfer_syntax_uid == DEFLATED_EXPLICIT_VR else file
            begin = 0
            for tag in sorted(parts):
                sink.write(_encoded(dataset, begin, tag, implicit))
                if pixels is not None and tag == pixels.tag:
                    _write_pixels(sink, pixels, transfer_syntax_uid, progress)
                sink.write(parts[tag])
                begin = tag + 1
            sink.write(_encoded(dataset, begin, 0x1_0000_0000, implicit))
            if isinstance(sink, _Deflating):
                sink.finish()
    except OSError as error:
        raise ExportError(f"{path.parent}: cannot be written: {error.strerror or error}.") from error


class _Deflating:
    """A file whose content is deflated (PS3.5 A.5)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._length = 0

    def write(self, content: bytes) -> None:
        self._put(self._compressor.compress(content))

    def finish(self) -> None:
        self._put(self._compressor.flush())
        if self._length % 2:
            self._file.write(b"\0")

    def _put(self, compressed: bytes) -> None:
        self._length += len(compressed)
        self._file.write(compressed)


def _file_meta(dataset: Dataset, transfer_syntax_uid: str) -> bytes:
    from dicombridge import __version__

    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"DICOMBRIDGE_{__version__.replace('.', '_')}"[:16]
    output = DicomBytesIO()
    write_file_meta_info(output, meta, enforce_standard=True)
    return output.getvalue()


def _encoded(dataset: Dataset, first: int, end: int, implicit_vr: bool) -> bytes:
    """Return the elements from one tag up to, not including, another one in little endian."""
    part = Dataset()
    part.update({tag: dataset.get_item(tag) for tag in sorted(dataset.keys()) if first <= tag < end})
    output = DicomBytesIO()
    output.is_little_endian = True
    output.is_implicit_VR = implicit_vr
    write_dataset(output, part, dataset.get("SpecificCharacterSet") or "ISO_IR 6")
    return output.getvalue()


def _write_pixels(sink: Any, pixels: Pixels, transfer_syntax_uid: str, progress: Progress | None) -> None:
    if transfer_syntax_uid in (*_NATIVE, IMPLICIT_VR_LITTLE_ENDIAN):
        _write_native(sink, pixels, transfer_syntax_uid, progress)
    else:
        _write_encapsulated(sink, pixels, transfer_syntax_uid, progress)


def _write_native(sink: Any, pixels: Pixels, transfer_syntax_uid: str, progress: Progress | None) -> None:
    length = pixels.native_length
    if length >= 0xFFFFFFFF:
        raise ExportError("There are more than 4 GiB of pixels; choose a compression, or fewer bits.")
    group, number = pixels.tag >> 16, pixels.tag & 0xFFFF
    if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN:
        sink.write(pack("<HHL", group, number, length))
    else:
        vr = _PIXEL_VRS.get(pixels.tag, b"OB" if pixels.bits <= 8 else b"OW")
        sink.write(pack("<HH2sHL", group, number, vr, 0, length))
    frames = _told(pixels, progress)
    written = 0
    for content in packed_frames(frames) if pixels.bits == 1 else (_bytes(frame) for frame in frames):
        sink.write(content)
        written += len(content)
    sink.write(b"\0" * (length - written))


def _bytes(frame: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("<")).tobytes()


def _told(pixels: Pixels, progress: Progress | None) -> Iterator[NDArray[Any]]:
    every = max(1, pixels.count // 50)
    for number, frame in enumerate(pixels.frames):
        if progress is not None and number % every == 0:
            progress(number / pixels.count, f"Frame {number + 1} of {pixels.count}")
        yield frame


def _write_encapsulated(sink: Any, pixels: Pixels, transfer_syntax_uid: str, progress: Progress | None) -> None:
    """Write one fragment a frame, with a Basic Offset Table (PS3.5 A.4)."""
    fragments: list[bytes] = []
    for frame in _told(pixels, progress):
        fragment = _compressed(frame, transfer_syntax_uid)
        fragments.append(fragment + b"\0" * (len(fragment) % 2))
    offsets = [0]
    for fragment in fragments[:-1]:
        offsets.append(offsets[-1] + 8 + len(fragment))
    sink.write(pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
    table = pack(f"<{len(offsets)}L", *offsets) if offsets[-1] <= 0xFFFFFFFF else b""
    sink.write(pack("<HHL", 0xFFFE, 0xE000, len(table)) + table)
    for fragment in fragments:
        sink.write(pack("<HHL", 0xFFFE, 0xE000, len(fragment)))
        sink.write(fragment)
    sink.write(pack("<HHL", 0xFFFE, 0xE0DD, 0))


def _compressed(frame: NDArray[Any], transfer_syntax_uid: str) -> bytes:
    bits = 1 if frame.dtype == np.bool_ else 8 * frame.dtype.itemsize
    if transfer_syntax_uid == DEFLATED_IMAGE_FRAME:
        content = np.packbits(frame, bitorder="little").tobytes() if bits == 1 else _bytes(frame)
        compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return compressor.compress(content) + compressor.flush()
    if bits == 1:
        # RLE knows bytes only: a frame of bits is compressed as one row of bytes (PS3.5 8.2.2, G.2).
        frame = np.packbits(frame, bitorder="little").reshape(1, -1)
        bits = 8
    return _encoded_by_pydicom(frame, bits, transfer_syntax_uid)


def _encoded_by_pydicom(frame: NDArray[Any], bits: int, transfer_syntax_uid: str) -> bytes:
    from pydicom.pixels import get_encoder

    if transfer_syntax_uid == JPEG_2000_LOSSLESS and min(frame.shape) < SMALLEST_JPEG_2000:
        raise ExportError(
            f"JPEG 2000 cannot hold frames of fewer than {SMALLEST_JPEG_2000} rows or columns; choose jpeg-ls or rle."
        )
    try:
        encoder = get_encoder(UID(transfer_syntax_uid))
        if not encoder.is_available:
            raise ExportError(
                f"No encoder for {UID(transfer_syntax_uid).name} is installed: pip install 'dicombridge[codecs]', or "
                "choose another compression."
            )
        return bytes(
            encoder.encode(
                np.ascontiguousarray(frame),
                rows=frame.shape[0],
                columns=frame.shape[1],
                samples_per_pixel=1,
                number_of_frames=1,
                bits_allocated=bits,
                bits_stored=bits,
                pixel_representation=0,
                photometric_interpretation="MONOCHROME2",
            )
        )
    except (ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
        raise ExportError(f"A frame could not be compressed: {error}") from error
