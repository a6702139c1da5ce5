"""From nodes to files: the export half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset

from dicombridge.errors import ExportError
from dicombridge.kinds import kind_named
from dicombridge.output.files import Job, Pixels, transfer_syntax, write_file, write_together
from dicombridge.output.frames import dimension_modules
from dicombridge.output.header import set_references, set_source_images, split_options
from dicombridge.output.options import grid_option
from dicombridge.output.source import (
    SliceSources,
    Source,
    find_source,
    frame_of_reference,
    instances_to_name,
    known_attributes,
    slice_sources,
)
from dicombridge.output.tiles import TileStack, slide_sources
from dicombridge.part10 import PER_FRAME_GROUPS
from dicombridge.progress import Progress
from dicombridge.segmentation.frames import binary_frames, dimensions, functional_groups
from dicombridge.segmentation.header import NOT_OPTIONS, Identity, segmentation_header
from dicombridge.segmentation.nodes import BACKGROUND_ATTRIBUTE, FRACTION_ROLE, SEGMENT_ID_ATTRIBUTE
from dicombridge.segmentation.preparing import Content, content_of, type_of
from dicombridge.segmentation.segments import Segment, segment_item
from dicombridge.shadow import dataset_from_text, remembered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database

__all__ = ["export"]

_log = logging.getLogger(__name__)

OWN_OPTIONS = ("segmentation_type", "compression", "source", "grid", "fractional_type")
"""Options of :func:`export` that are not DICOM keywords."""
FRACTIONAL_TYPES = ("PROBABILITY", "OCCUPANCY")


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write segmentation nodes as DICOM segmentations, one file a node.

    Parameters
    ----------
    nodes
        ``vtkMRMLSegmentationNode``, and ``vtkMRMLScalarVolumeNode`` of fractions (0 to 1). Volumes of a segmentation
        that is among the nodes, or that names them, become its FRACTIONAL frames; others become an object of their own.
        Beside a segmentation, volumes of DICOM images are passed over.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where the source images are looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    segmentation_type : {"BINARY", "LABELMAP", "FRACTIONAL"}
        As the node was loaded, or BINARY. The keyword ``SegmentationType`` means the same.
    compression : {None, "deflate", "rle", "jpeg-ls", "jpeg-2000", "deflate-frames"}
        Lossless, or the UID of a transfer syntax. BINARY knows deflate, rle and deflate-frames.
    source
        A Series Instance UID of the database, paths of image files or a folder, or a volume node; found from the node
        where it is not given. Without any source, the object has a frame of reference of its own.
    grid : {None, "source", "own"}
        Voxels of the source images, or of the segmentation. By default those of the source images where they are known,
        with further frames where labels lie beyond the images; ``"source"`` cuts such labels off, and so does
        resampling, where the labels have other voxels than the images.
    fractional_type : {"PROBABILITY", "OCCUPANCY"}
        As the node was loaded, or PROBABILITY.
    **options
        Attributes of the new object by DICOM keyword; the last word over whatever else would be written.

    Returns
    -------
    list of Path

    Raises
    ------
    ExportError
        The nodes cannot be written as asked; nothing was written.
    """
    own, keywords = split_options(options, OWN_OPTIONS, NOT_OPTIONS)
    if keywords.get("SegmentationType"):
        own.setdefault("segmentation_type", keywords["SegmentationType"])
    keywords.pop("SegmentationType", None)
    _check(own)
    jobs = _jobs(nodes)
    return write_together(directory, [_job(node, volumes, database, own, keywords) for node, volumes in jobs], progress)


def _job(
    node: Any, volumes: list[Any], database: Database | None, own: Mapping[str, Any], keywords: Mapping[str, Any]
) -> Job:
    """Return what prepares one file; the arrays of one node are made when those of the one before are written."""

    def prepare(tell: Progress | None) -> tuple[str, Callable[[Path], None]]:
        values = _values(node, volumes, database, own)
        dataset = values.dataset(keywords)
        return f"SEG_{dataset.SOPInstanceUID}.dcm", lambda path: values.write(path, dataset, tell)

    return prepare


def _check(own: Mapping[str, Any]) -> None:
    """Refuse option values that cannot be meant."""
    grid_option(own.get("grid"))
    fractional_type = own.get("fractional_type")
    if fractional_type is not None and str(fractional_type).upper() not in FRACTIONAL_TYPES:
        raise ExportError(f"fractional_type is PROBABILITY or OCCUPANCY, not {fractional_type!r}.")


def _jobs(nodes: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
    """Return (main node, fraction volumes) for each object to be written."""
    segmentations = [node for node in nodes if node.IsA("vtkMRMLSegmentationNode")]
    volumes = [node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode")]
    strangers = [node for node in nodes if node not in segmentations and node not in volumes]
    if strangers:
        raise ExportError(f"A {strangers[0].GetClassName()} cannot be exported as a segmentation.")
    jobs: list[tuple[Any, list[Any]]] = []
    for node in segmentations:
        named = [
            node.GetNthNodeReference(FRACTION_ROLE, number)
            for number in range(node.GetNumberOfNodeReferences(FRACTION_ROLE))
        ]
        jobs.append((node, [volume for volume in named if volume is not None]))
    claimed = [volume for _, of_node in jobs for volume in of_node]
    free = [volume for volume in volumes if volume not in claimed]
    if segmentations:
        # All that came from a folder may be given: its images are no fractions.
        free = [volume for volume in free if not _is_image(volume)]
    if free and len(segmentations) == 1:
        jobs[0][1].extend(free)
    elif free:
        jobs.append((free[0], free))
    return jobs


def _is_image(volume: Any) -> bool:
    """Whether a volume was loaded from DICOM images, and is not said to be the fractions of a segment."""
    return not volume.GetAttribute(SEGMENT_ID_ATTRIBUTE) and bool(volume.GetAttribute("DICOM.instanceUIDs"))


@dataclass(frozen=True)
class _Values:
    """All that a new object is made from."""

    content: Content
    source: Source
    sources: SliceSources
    background: Dataset | None
    identity: Identity
    kept: Dataset | None
    attributes: Mapping[str, Any]
    transfer_syntax_uid: str

    def dataset(self, keywords: Mapping[str, Any]) -> Dataset:
        """Return the header of the new object."""
        content = self.content
        dataset = segmentation_header(self.identity, self.source.header, self.kept, self.attributes, keywords)
        bits = _bits(content)
        dataset.NumberOfFrames = len(content.frames)
        content.places.set_attributes(dataset)
        dataset.BitsAllocated = dataset.BitsStored = bits
        dataset.HighBit = bits - 1
        items = []
        if content.kind == "LABELMAP":
            dataset.PixelPaddingValue = 0
            items.append(_background_item(self.background))
        for segment in content.segments:
            item, warnings = segment_item(segment)
            items.append(item)
            content.warnings.extend(warnings)
        dataset.SegmentSequence = items
        references, warnings = instances_to_name(self.source, self.sources)
        content.warnings.extend(warnings)
        set_references(dataset, references, dataset.StudyInstanceUID)
        if any(not self.sources.by_slice.get(frame.place) for frame in content.frames):
            set_source_images(dataset, references)
        dimension_modules(dataset, dimensions(content.places, by_segment=content.kind != "LABELMAP"))
        dataset.SharedFunctionalGroupsSequence = [content.places.shared_groups()]
        return dataset

    def write(self, path: Path, dataset: Dataset, progress: Progress | None) -> None:
        """Write the object with this header."""
        content = self.content
        groups = functional_groups(
            content.frames,
            content.places,
            self.sources.by_slice,
            by_segment=content.kind != "LABELMAP",
            preserved=self.sources.preserved,
        )
        rows, columns = content.places.shape
        pixels = Pixels(_pixels(content), len(content.frames), rows, columns, _bits(content))
        write_file(path, dataset, self.transfer_syntax_uid, pixels, {PER_FRAME_GROUPS: groups}, progress)
        for warning in dict.fromkeys([*self.source.warnings, *content.warnings]):
            _log.warning("%s", warning)


def _values(node: Any, volumes: list[Any], database: Database | None, own: Mapping[str, Any]) -> _Values:
    kind = type_of(node, volumes, own.get("segmentation_type"))
    kept = remembered(node) if node.IsA("vtkMRMLSegmentationNode") else None
    if kept is not None and kept.get("SOPClassUID") not in kind_named("SEG").sop_classes:
        kept = None  # of an object of another kind, nothing but patient, study and segments is a segmentation's
    source = find_source(node, database, own.get("source"))
    content = content_of(node, volumes, kind, source, own.get("grid"), kept)
    syntax = transfer_syntax(own.get("compression"), _bits(content))
    if kind != "FRACTIONAL" and volumes:
        names = ", ".join(repr(volume.GetName()) for volume in volumes)
        content.warnings.append(
            f"Only labels were written, not the volumes {names}: a {kind} segmentation holds no fractions."
        )
    if content.tiles is not None:
        sources = slide_sources(content.tiles, source, {frame.place for frame in content.frames})
    else:
        sources = slice_sources(node, source, content.grid)
    identity = Identity(
        segmentation_type=kind,
        fractional_type=str(own.get("fractional_type") or _kept_fractional_type(volumes, kept)).upper(),
        maximum_fractional_value=content.maximum,
        segments_overlap=content.overlap,
        frame_of_reference_uid=frame_of_reference(node, source, kept),
        name=str(node.GetName() or ""),
    )
    return _Values(
        content=content,
        source=source,
        sources=sources,
        background=dataset_from_text(node.GetAttribute(BACKGROUND_ATTRIBUTE)),
        identity=identity,
        kept=kept,
        attributes=known_attributes(node, source),
        transfer_syntax_uid=syntax,
    )


def _kept_fractional_type(volumes: Sequence[Any], kept: Dataset | None) -> str:
    known = [volume.GetAttribute("DICOMBridge.SegmentationFractionalType") for volume in volumes]
    known.append(kept.get("SegmentationFractionalType") if kept is not None else None)
    return next((str(one) for one in known if one and str(one).upper() in FRACTIONAL_TYPES), "PROBABILITY")


def _background_item(kept: Dataset | None) -> Dataset:
    """Return the item that describes the background of a label map (PS3.3 C.8.20.2.3.3), as it came where it did."""
    if kept is not None:
        item = Dataset()
        item.update(kept)
        item.SegmentNumber = 0
        return item
    from pydicom.sr.coding import Code

    from dicombridge.codes import Terminology

    code = Code("125040", "DCM", "Background")
    category = Code("309825002", "SCT", "Spatial and Relational Concept")  # as highdicom and dcmqi code it
    segment = Segment(0, "Background", terminology=Terminology(category=category, type=code), algorithm_type="MANUAL")
    return segment_item(segment)[0]


# --- pixels ----------------------------------------------------------------------------------------------------------


def _bits(content: Content) -> int:
    if content.kind == "BINARY":
        return 1
    if content.kind == "FRACTIONAL":
        return 8
    return 8 if max((segment.number for segment in content.segments), default=0) <= 255 else 16


def _pixels(content: Content) -> Iterator[NDArray[Any]]:
    if content.kind == "BINARY":
        return binary_frames(content.frames, content.arrays, _empty(content, np.bool_))
    if content.kind == "LABELMAP":
        return _label_frames(content)
    return _fraction_frames(content)


def _empty(content: Content, dtype: Any) -> NDArray[Any]:
    return np.zeros(content.places.shape, dtype)


def _label_frames(content: Content) -> Iterator[NDArray[Any]]:
    dtype = np.uint8 if _bits(content) == 8 else np.uint16
    tables = _label_tables(content.arrays, dtype)
    for frame in content.frames:
        image = _empty(content, dtype)
        for array, table in tables:
            labels = table[array[frame.place]]
            if ((image != 0) & (labels != 0)).any():
                raise ExportError(
                    "Segments overlap, which a LABELMAP segmentation cannot hold; export as BINARY instead."
                )
            image |= labels
        yield image


def _fraction_frames(content: Content) -> Iterator[NDArray[np.uint8]]:
    for frame in content.frames:
        if frame.segment in content.fractions:
            fractions = np.clip(np.nan_to_num(content.fractions[frame.segment][frame.place]), 0.0, 1.0)
            yield np.rint(fractions * content.maximum).astype(np.uint8)
        elif frame.segment in content.arrays:
            array, label = content.arrays[frame.segment]
            yield (array[frame.place] == label).astype(np.uint8) * np.uint8(content.maximum)
        else:
            yield _empty(content, np.uint8)


def _label_tables(
    arrays: Mapping[int, tuple[NDArray[Any] | TileStack, int]], dtype: Any
) -> list[tuple[NDArray[Any] | TileStack, NDArray[Any]]]:
    """Return each distinct layer with a table from its labels to segment numbers."""
    layers: dict[int, tuple[NDArray[Any] | TileStack, dict[int, int]]] = {}
    for number, (array, label) in arrays.items():
        layers.setdefault(id(array), (array, {}))[1][label] = number
    tables = []
    for array, numbers in layers.values():
        largest = max(int(array.max(initial=0)), *numbers, 0)
        table = np.zeros(largest + 1, dtype)
        for label, number in numbers.items():
            table[label] = number
        tables.append((array, table))
    return tables
