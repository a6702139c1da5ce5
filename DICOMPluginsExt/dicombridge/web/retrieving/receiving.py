"""From a socket into files: one answer is read, cut into parts, written and hashed.

Buffers go round: the socket writes into one, its parts are written to files from there, and hashed from there too, for
a long stream by a second thread (hashing takes longer than everything else, and lets other threads run). So what is in
memory is a handful of buffers, whatever comes.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from dicombridge.errors import DamagedAnswerError
from dicombridge.web.connection import Answer
from dicombridge.web.retrieving.folder import Folder, PartFile
from dicombridge.web.retrieving.multipart import MultipartParser, boundary_of, media_type

__all__ = ["BUFFER", "Buffers", "Received", "receive"]

BUFFER = 1 << 20
_SMALLER = 1 << 17
_BUFFERS = 4
_LONGEST_EPILOGUE = 65536
_DICM = slice(128, 132)
_BEGINNINGS = (b"\x02\x00", b"\x08\x00")
_ONE_INSTANCE = ("application/dicom", "application/octet-stream")


class Received(NamedTuple):
    """A part that came to its end.

    Attributes
    ----------
    part
        The file, which who is given this has to keep or discard.
    sha256
        Of its bytes.
    fault
        What is wrong with it as a part; empty where its end is where it should be.
    proven
        Whether it was clear where it ends.
    """

    part: PartFile
    sha256: str
    fault: str
    proven: bool


class _Hasher(Protocol):
    def update(self, digest: Any, view: memoryview) -> None: ...
    def call(self, action: Callable[[], object]) -> None: ...
    def meanwhile(self, action: Callable[[], object]) -> None: ...
    def buffer(self) -> bytearray: ...
    def close(self) -> None: ...


class Buffers:
    """Two buffers that a thread uses for one instance after the other; it hashes what is in them at once."""

    def __init__(self) -> None:
        self._buffers = [bytearray(_SMALLER), bytearray(_SMALLER)]

    def update(self, digest: Any, view: memoryview) -> None:
        digest.update(view)

    def call(self, action: Callable[[], object]) -> None:
        action()

    def meanwhile(self, action: Callable[[], object]) -> None:
        """Do nothing: there is nobody else who could."""

    def buffer(self) -> bytearray:
        self._buffers.reverse()
        return self._buffers[0]

    def close(self) -> None:
        pass


class _Beside:
    """Hashes in a second thread, which also does what has to be done when a part is complete."""

    def __init__(self, size: int) -> None:
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(_BUFFERS):
            self._free.put(bytearray(size))
        self._work: queue.SimpleQueue[tuple[Any, Any] | None] = queue.SimpleQueue()
        self._current: bytearray | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hashing", daemon=True)
        self._thread.start()

    def update(self, digest: Any, view: memoryview) -> None:
        self._work.put((digest, view))

    def call(self, action: Callable[[], object]) -> None:
        self._work.put((None, action))

    meanwhile = call

    def buffer(self) -> bytearray:
        if self._error is not None:
            raise self._error
        if self._current is not None:
            self._work.put((self._free, self._current))
        self._current = self._free.get()
        return self._current

    def close(self) -> None:
        """Wait until everything is done.

        Raises
        ------
        Exception
            What an action raised.
        """
        self._work.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            target, value = item
            if target is self._free:
                self._free.put(value)
            elif target is not None:
                target.update(value)
                del item, value  # a view that is kept keeps the buffer in use
            else:
                try:
                    value()
                except BaseException as error:  # told to the thread that receives
                    self._error = self._error or error


def _begins_as_dicom(view: memoryview) -> bool:
    return bytes(view[_DICM]) == b"DICM" or bytes(view[:2]) in _BEGINNINGS


class _Parts:
    """Writes parts into files."""

    def __init__(self, folder: Folder, hasher: _Hasher, finished: Callable[[Received], object], proven: bool) -> None:
        self._folder = folder
        self._hasher = hasher
        self._finished = finished
        self._proven = proven
        self._part: PartFile | None = None
        self._digest = hashlib.sha256()
        self._fault = ""

    def begin(self, headers: Mapping[str, str]) -> None:
        self._part = self._folder.part()
        self._hasher.meanwhile(self._folder.prepare_part)
        self._digest = hashlib.sha256()
        coding = headers.get("content-encoding", "identity").lower()
        self._fault = "" if coding == "identity" else f"it comes in the encoding {coding[:20]}"

    def data(self, view: memoryview) -> None:
        part = self._part
        if part is None or self._fault:
            return
        if not part.size and len(view) >= _DICM.stop and not _begins_as_dicom(view):
            self._fault = "it is no DICOM file"  # seen at once, so that no gigabytes of it are written
            return
        part.write(view)
        self._hasher.update(self._digest, view)

    def end(self, fault: str) -> None:
        part, digest, fault = self._part, self._digest, self._fault or fault
        self._part = None
        if part is not None:
            received, finished, proven = part, self._finished, self._proven
            self._hasher.call(lambda: finished(Received(received, digest.hexdigest(), fault, proven)))

    def abandon(self) -> None:
        """Remove what is not complete."""
        if self._part is not None:
            self._part.discard()
            self._part = None


def receive(
    answer: Answer,
    folder: Folder,
    finished: Callable[[Received], object],
    came: Callable[[int], object],
    buffers: Buffers | None = None,
    lengths: bool = True,
) -> None:
    """Read an answer of instances to its end.

    Parameters
    ----------
    answer
        The answer.
    folder
        Where the parts are written.
    finished
        Called with each part when it has come to its end, also with those that are damaged.
    came
        Called with the number of bytes, each time some came; it may raise to end this.
    buffers
        Of this thread; without them a second thread hashes, and calls ``finished``.
    lengths
        Whether lengths of parts are believed, and checked.

    Raises
    ------
    DamagedAnswerError
        The answer has no end, or is something else than instances. The parts that had come before are not affected.
    """
    if answer.status == HTTPStatus.NO_CONTENT:
        return
    kind = media_type(answer.headers.get("Content-Type", ""))
    if not kind.startswith("multipart/") and kind not in _ONE_INSTANCE:
        raise DamagedAnswerError(f"The answer is {kind[:60] or 'of no type'} and not DICOM.")
    single = not kind.startswith("multipart/")
    hasher: _Hasher = buffers or _Beside(BUFFER)
    proven = not single or answer.length is not None or _is_chunked(answer)
    parts = _Parts(folder, hasher, finished, proven and lengths)
    try:
        if single:
            _read_single(answer, parts, hasher, came)
        else:
            boundary = boundary_of(answer.headers.get("Content-Type", ""))
            _read_multipart(answer, MultipartParser(boundary, parts, lengths), hasher, came)
    except BaseException:
        parts.abandon()
        with suppress(Exception):  # the first error counts
            hasher.close()
        raise
    hasher.close()


def _is_chunked(answer: Answer) -> bool:
    """Whether an answer comes in chunks, so that its end shows."""
    return "chunked" in answer.headers.get("Transfer-Encoding", "").lower()


def _read_multipart(answer: Answer, parser: MultipartParser, hasher: _Hasher, came: Callable[[int], object]) -> None:
    rest = b""
    total = 0
    read = _reader(answer)
    # A connection that is read to the end of its answer can be used again.
    ends = answer.length is not None or _is_chunked(answer)
    epilogue = 0
    try:
        while not parser.closed or (ends and total != answer.length and epilogue < _LONGEST_EPILOGUE):
            buffer = hasher.buffer()
            kept = len(rest)
            buffer[:kept] = rest
            with memoryview(buffer) as view, view[kept:] as space:
                count = read(space)
            if not count:
                break
            total += count
            epilogue += count if parser.closed else 0
            came(count)
            stop = kept + count
            position = parser.feed(buffer, 0, stop)
            rest = bytes(buffer[position:stop])
    finally:
        complete = parser.finish()
    if not complete:
        raise DamagedAnswerError("The answer ends before its closing boundary.")


def _read_single(answer: Answer, parts: _Parts, hasher: _Hasher, came: Callable[[int], object]) -> None:
    total = 0
    read = _reader(answer)
    parts.begin({})
    try:
        while True:
            buffer = hasher.buffer()
            with memoryview(buffer) as view:
                count = read(view)
                if not count:
                    break
                total += count
                came(count)
                parts.data(view[:count])
    except BaseException:
        parts.end("the answer breaks off")
        raise
    short = not answer.is_encoded and answer.length is not None and total != answer.length
    parts.end(f"the answer ends after {total} of {answer.length} bytes" if short else "")


def _reader(answer: Answer) -> Callable[[memoryview], int]:
    """Return what reads the body into a buffer; a body that comes compressed, unasked, is decompressed in pieces."""
    if not answer.is_encoded:
        return answer.readinto
    pieces = answer.chunks(_SMALLER // 2)
    left = [memoryview(b"")]

    def read(space: memoryview) -> int:
        if not left[0]:
            left[0] = memoryview(next(pieces, b""))
        count = min(len(space), len(left[0]))
        space[:count] = left[0][:count]
        left[0] = left[0][count:]
        return count

    return read
