"""What is stored, one item an instance: files, what folders hold, datasets in memory, and nodes of the scene."""

from __future__ import annotations

import filecmp
import mmap
import os
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicombridge.errors import DicomBridgeError, UnreadableError
from dicombridge.part10 import Layout, NeedsPydicom, TruncatedError, read_layout

__all__ = ["Item", "OwnFolder", "Sources", "Told", "read_item"]

SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = (
    0x00080016,
    0x00080018,
    0x0020000D,
    0x0020000E,
)
_WANTED = (SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID)
_MEDIA_STORAGE_SOP_CLASS_UID = 0x00020002
DICOMDIR = "1.2.840.10008.1.3.10"
_BEGINNING = 1 << 14
_PREAMBLE = bytes(128) + b"DICM"

Told = Callable[[str, str, str], None]
"""Called with a path, a state (``skipped`` or ``failed``) and why."""


@dataclass
class Item:
    """One instance to store.

    Attributes
    ----------
    path
        The file whose bytes are sent.
    source
        What the caller named: a path, or a description of a dataset or node.
    size
        Bytes of the file.
    uid, sop_class, study, series
        SOP Instance UID and the others; empty where the file has none.
    prefix, skip
        Bytes to send instead of the first ``skip`` bytes of the file.
    temporary
        The file is ours, and removed when it is not needed any more.
    sent
        It was sent before in this job, and nobody knows what became of it: if it is there now, it is by us.
    notes
        What was done to it or should be known of it.
    """

    path: Path
    source: str
    size: int
    uid: str
    sop_class: str = ""
    study: str = ""
    series: str = ""
    prefix: bytes = b""
    skip: int = 0
    temporary: bool = False
    sent: bool = False
    notes: str = ""

    @property
    def bytes(self) -> int:
        """Bytes that are sent."""
        return len(self.prefix) + self.size - self.skip

    def dispose(self) -> None:
        """Remove a file of ours."""
        if self.temporary:
            self.path.unlink(missing_ok=True)


def read_item(path: Path, source: str = "") -> Item:
    """Read which instance a file is; only its beginning is read.

    Parameters
    ----------
    path
        The file.
    source
        How the caller calls it; by default the path.

    Raises
    ------
    UnreadableError
        It is no DICOM file, or none that can be stored.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
            try:
                values, prefix, skip = _of_layout(beginning, size, file)
            except (NeedsPydicom, TruncatedError):
                values, prefix, skip = _with_pydicom(path), b"", 0
    except OSError as error:
        raise UnreadableError(path, f"cannot be read: {error.strerror or error}.") from error
    if values[SOP_CLASS_UID] == DICOMDIR:
        raise UnreadableError(path, "is a DICOMDIR, an index of files and no object.")
    if not values[SOP_INSTANCE_UID]:
        raise UnreadableError(path, "is not a DICOM object: it has no SOP Instance UID.")
    uid, sop_class = values[SOP_INSTANCE_UID], values[SOP_CLASS_UID]
    study, series = values[STUDY_INSTANCE_UID], values[SERIES_INSTANCE_UID]
    return Item(path, source or str(path), size, uid, sop_class, study, series, prefix, skip)


def _of_layout(beginning: bytes, size: int, file: Any) -> tuple[dict[int, str], bytes, int]:
    """Return the values, and what the file lacks of the header of PS3.10."""

    def behind(tag: int) -> bool:
        return tag > SERIES_INSTANCE_UID

    layout = read_layout(beginning, stop_before=behind, size=size)
    values = _values(beginning, layout)
    if not layout.complete and size > len(beginning):
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            layout = read_layout(whole, stop_before=behind)
            values = _values(whole, layout)
    if beginning[128:132] == b"DICM":
        return values, b"", 0
    if layout.meta:
        return values, _PREAMBLE, 0
    return values, _header(layout.transfer_syntax_uid, values), layout.dataset_start


def _values(buffer: bytes | mmap.mmap, layout: Layout) -> dict[int, str]:
    values = dict.fromkeys(_WANTED, "")
    spans = dict(layout.elements)
    if SOP_CLASS_UID not in spans and _MEDIA_STORAGE_SOP_CLASS_UID in layout.meta:
        spans[SOP_CLASS_UID] = layout.meta[_MEDIA_STORAGE_SOP_CLASS_UID]  # all that a DICOMDIR has
    for tag in _WANTED:
        if tag in spans and spans[tag].stop <= len(buffer):
            values[tag] = bytes(buffer[spans[tag].start : spans[tag].stop]).decode("ascii", "replace").strip("\0 ")
    return values


def _header(transfer_syntax: str, values: Mapping[int, str]) -> bytes:
    """Return the header for a dataset that lies in its file without one."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_file_meta_info

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = values[SOP_CLASS_UID]
    meta.MediaStorageSOPInstanceUID = values[SOP_INSTANCE_UID]
    meta.TransferSyntaxUID = transfer_syntax
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return bytes(_PREAMBLE + buffer.getvalue())


def _with_pydicom(path: Path) -> dict[int, str]:
    """Return the values of a file in an encoding that only pydicom reads."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    from dicombridge.tolerance import DAMAGE, quiet

    try:
        with quiet():
            dataset = pydicom.dcmread(path, specific_tags=list(_WANTED), stop_before_pixels=True)
            values = {tag: str(dataset[tag].value or "") if tag in dataset else "" for tag in _WANTED}
            if not values[SOP_CLASS_UID]:
                values[SOP_CLASS_UID] = str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    except OSError:
        raise
    except (InvalidDicomError, *DAMAGE) as error:
        if zipfile.is_zipfile(path):
            raise UnreadableError(path, "is a zip file; unpack it first.") from error
        raise UnreadableError(path, "is not a DICOM file.") from error
    return values


class OwnFolder:
    """A folder for files of ours; made when it is first needed, and gone when nobody needs it any more."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def __call__(self) -> Path:
        """Return the folder."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="dicombridge-store-"))
            weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)
        return self._path

    def remove(self) -> None:
        """Remove the folder; the next call makes another one."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)
            self._path = None


class Sources:
    """All that a job stores, as items one after the other.

    Parameters
    ----------
    what
        Paths, folders, pydicom datasets, MRML nodes (lists of nodes are exported together), or a mix.
    folder
        Called for a folder of ours, when one is needed.
    told
        Told what is no object to store.
    export_options
        What is given to :func:`dicombridge.export` with nodes: ``kind``, ``database``, and options.
    check
        Called while folders are listed; raises where the job was cancelled. Taking items never raises, so that another
        job can go on where one was cancelled.
    """

    def __init__(
        self,
        what: Any,
        folder: Callable[[], Path],
        told: Told,
        export_options: Mapping[str, Any] | None = None,
        check: Callable[[], object] | None = None,
    ) -> None:
        self._folder = folder
        self._told = told
        self._options = dict(export_options or {})
        self._check = check or (lambda: None)
        self._seen: dict[str, Path] = {}
        self._work: list[Callable[[], Iterator[Item]]] = []
        self.files = 0
        """Files, datasets and others that were found so far; those that are no DICOM objects are taken back."""
        self.bytes = 0
        """Their bytes, as far as they are known."""
        for one in _several(what):
            self._check()
            self._add(one)

    def __iter__(self) -> Iterator[Item]:
        for work in self._work:
            for item in work():
                if self._is_new(item):
                    yield item

    def _add(self, one: Any) -> None:
        if isinstance(one, Item):
            self._count(1, one.size)
            self._work.append(lambda: iter([one]))
        elif isinstance(one, str | os.PathLike):
            files = self._files(Path(one).expanduser())
            self._work.append(lambda: self._of_files(files))
        elif hasattr(one, "save_as"):
            self._count(1, 0)
            self._work.append(lambda: self._of_dataset(one))
        elif hasattr(one, "GetClassName"):
            self._work.append(lambda: self._of_nodes([one]))
        elif isinstance(one, Sequence) and one and all(hasattr(node, "GetClassName") for node in one):
            self._work.append(lambda: self._of_nodes(list(one)))
        else:
            raise DicomBridgeError(f"A {type(one).__name__} cannot be stored; paths, datasets and nodes can.")

    def _count(self, files: int, size: int) -> None:
        self.files += files
        self.bytes += size

    def _files(self, path: Path) -> list[tuple[Path, int]]:
        """Return the files below a folder, or the file; a link to a folder is not followed, for it may lead round."""
        if not path.is_dir():
            try:
                found = [(path, path.stat().st_size)]
            except OSError as error:
                self._told(str(path), "failed", f"Cannot be read: {error.strerror or error}.")
                return []
        else:
            found = list(_below(path, self._check))
        self._count(len(found), sum(size for _, size in found))
        return found

    def _of_files(self, files: Iterable[tuple[Path, int]]) -> Iterator[Item]:
        for path, size in files:
            try:
                yield read_item(path)
            except UnreadableError as error:
                self._count(-1, -size)
                # What cannot be read may well be an object; what is none was never meant to be stored.
                state = "failed" if isinstance(error.__cause__, OSError) else "skipped"
                self._told(str(path), state, error.reason[0].upper() + error.reason[1:])

    def _of_dataset(self, dataset: Any) -> Iterator[Item]:
        """Write a dataset to a file, so that it is sent as everything else is, and not held twice in memory."""
        from dicombridge.tolerance import DAMAGE, quiet

        uid = str(dataset.get("SOPInstanceUID", "") or "")
        name = f"dataset {uid or 'without SOP Instance UID'}"
        path = self._folder() / f"{len(self._seen):06d}-dataset.dcm"
        try:
            with quiet():
                _write(dataset, path)
            item = read_item(path, name)
        except UnreadableError as error:
            path.unlink(missing_ok=True)
            self._count(-1, 0)
            self._told(name, "failed", error.reason[0].upper() + error.reason[1:])
            return
        except DAMAGE as error:
            path.unlink(missing_ok=True)
            self._count(-1, 0)
            self._told(name, "failed", f"It cannot be written as a DICOM file: {error}.")
            return
        item.temporary = True
        self._count(0, item.size)
        yield item

    def _of_nodes(self, nodes: list[Any]) -> Iterator[Item]:
        import dicombridge

        name = ", ".join(str(node.GetName() or node.GetID()) for node in nodes)
        try:
            paths = dicombridge.export(nodes, self._folder() / f"{len(self._seen):06d}-nodes", **self._options)
        except DicomBridgeError as error:
            self._told(name, "failed", str(error))
            return
        for path in paths:
            item = read_item(Path(path), name)
            item.temporary = True
            self._count(1, item.size)
            yield item

    def _is_new(self, item: Item) -> bool:
        """Return whether an instance comes for the first time; a copy of a file needs no second sending."""
        first = self._seen.get(item.uid)
        if first is None:
            self._seen[item.uid] = item.path
            return True
        self._count(-1, -item.size)
        if first == item.path:  # nothing to compare, nor to remove: the first item still needs the file
            self._told(item.source, "skipped", "Is given more than once; it is stored once.")
            return False
        if first.exists() and filecmp.cmp(first, item.path, shallow=False):
            self._told(item.source, "skipped", f"Is the same as {first}.")
        else:
            but = ", but differs" if first.exists() else ""
            self._told(item.source, "failed", f"Has the same SOP Instance UID as {first}, which was sent{but}.")
        item.dispose()
        return False


def _several(what: Any) -> list[Any]:
    if isinstance(what, str | os.PathLike) or hasattr(what, "save_as") or hasattr(what, "GetClassName"):
        return [what]
    if not isinstance(what, Iterable):
        raise DicomBridgeError(f"A {type(what).__name__} cannot be stored; paths, datasets and nodes can.")
    return list(what)


def _below(folder: Path, check: Callable[[], object]) -> Iterator[tuple[Path, int]]:
    """Yield the files of a folder and of the folders in it, sorted, with their sizes."""
    for root, folders, names in os.walk(folder):
        check()
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            try:
                if path.is_file():
                    yield path, path.stat().st_size
            except OSError:
                yield path, 0


def _write(dataset: Any, path: Path) -> None:
    """Write a dataset as a file of PS3.10; one that says nothing of its encoding becomes explicit little endian."""
    from copy import deepcopy

    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    if not dataset.get("SOPInstanceUID"):
        raise UnreadableError(path, "it has no SOP Instance UID.")
    own = getattr(dataset, "file_meta", None)
    meta = FileMetaDataset() if own is None else deepcopy(own)
    if getattr(meta, "TransferSyntaxUID", None) is None:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta  # pydicom completes it, and the caller's stays as it was
    try:
        dataset.save_as(path, enforce_file_format=True)
    finally:
        if own is None:
            del dataset.file_meta
        else:
            dataset.file_meta = own
