"""A folder as the server: verified copies, filed by UIDs, and nothing that is there is ever overwritten."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from dicombridge.errors import DicomBridgeError, UnsupportedError
from dicombridge.web import local
from dicombridge.web.addresses import check_uid
from dicombridge.web.cancelling import Cancel
from dicombridge.web.servers import Server
from dicombridge.web.storing.body import CHUNK
from dicombridge.web.storing.items import Item
from dicombridge.web.storing.report import Outcome

__all__ = ["store_in_folder"]

_OTHER = "Another object with the same SOP Instance UID is there; it stays as it is."


def store_in_folder(
    server: Server, items: Iterable[Item], cancel: Cancel, sent: Callable[[int], object]
) -> Iterator[Outcome]:
    """Copy files to ``study/series/instance.dcm`` below a folder.

    Each copy is read again and compared by SHA-256 before it gets its name.

    Parameters
    ----------
    server
        The folder; made if it does not exist.
    items
        What to store.
    cancel
        Who may stop this.
    sent
        Called with numbers of bytes that were copied.

    Yields
    ------
    Outcome
        Of each item.

    Raises
    ------
    UnsupportedError
        It is a zip file.
    """
    root = server.path
    if root is None or root.is_file():
        raise UnsupportedError(f"{server}: objects can be stored in a folder, and not in a file.")
    with ExitStack() as stack:
        archive = stack.enter_context(local.open(server, cancel)) if root.is_dir() else None
        for item in items:
            known = archive.database.fileForInstance(item.uid) if archive else ""
            yield _outcome(root, item, known, cancel, sent)


def _outcome(root: Path, item: Item, known: str, cancel: Cancel, sent: Callable[[int], object]) -> Outcome:
    try:
        state, reason = _stored(root, item, known, cancel, sent)
    except OSError as error:
        state, reason = "failed", f"It could not be copied: {error.strerror or error}."
        if error.errno == errno.ENOSPC:
            reason = "The disk is full."
    except DicomBridgeError as error:
        if cancel.cancelled:
            raise
        state, reason = "failed", str(error)
    return Outcome(item.uid, item.source, state, reason)


def _stored(root: Path, item: Item, known: str, cancel: Cancel, sent: Callable[[int], object]) -> tuple[str, str]:
    """Copy one file, unless the folder has the instance, under whatever name; return its state and the reason."""
    names = (item.study, item.series, item.uid)
    what = ("Study Instance UID", "Series Instance UID", "SOP Instance UID")
    study, series, instance = (check_uid(uid, name) for uid, name in zip(names, what, strict=True))
    if known and Path(known).is_file():
        return _compared(item, Path(known))
    folder = root
    for name in ("", study, series):
        folder = folder / name
        if name and folder.is_symlink():
            return "failed", f"{folder} is a link, which may lead anywhere."
        folder.mkdir(parents=not name, exist_ok=True)
    target = folder / f"{instance}.dcm"
    if target.is_symlink() or target.exists():
        return _compared(item, target)
    part = folder / f".{secrets.token_hex(8)}.part"
    try:
        written = _copied(item, part, cancel, sent)
        if _digest(_file_pieces(part)) != written:
            return "failed", "The copy differs from the file when it is read again; the disk may be damaged."
        return ("stored", item.notes) if _named(part, target) else ("failed", _OTHER)
    finally:
        part.unlink(missing_ok=True)


def _compared(item: Item, there: Path) -> tuple[str, str]:
    if not there.is_symlink() and _digest(_file_pieces(there)) == _digest(_pieces(item)):
        return "duplicate", "It is there already."
    return "failed", _OTHER


def _copied(item: Item, part: Path, cancel: Cancel, sent: Callable[[int], object]) -> str:
    """Copy a file and return the SHA-256 of what was read."""
    digest = hashlib.sha256()
    with part.open("xb") as file:
        for piece in _pieces(item):
            cancel.check()
            digest.update(piece)
            file.write(piece)
            sent(len(piece))
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _named(part: Path, target: Path) -> bool:
    """Give a file its name, unless somebody else has it by now."""
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        with suppress(FileExistsError):
            target.open("xb").close()
            part.replace(target)
            return True
        return False
    return True


def _pieces(item: Item) -> Iterator[bytes]:
    if item.prefix:
        yield item.prefix
    yield from _file_pieces(item.path, item.skip)


def _file_pieces(path: Path, skip: int = 0) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(skip)
        while piece := file.read(CHUNK):
            yield piece


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
