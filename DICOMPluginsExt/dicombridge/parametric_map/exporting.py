"""From nodes to files: the export half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicombridge.errors import ExportError
from dicombridge.output.files import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    Job,
    Pixels,
    transfer_syntax,
    write_file,
    write_together,
)
from dicombridge.output.frames import dimension_modules
from dicombridge.output.header import set_references, set_source_images, split_options
from dicombridge.output.options import code_option, grid_option
from dicombridge.output.source import frame_of_reference, instances_to_name, known_attributes
from dicombridge.parametric_map.frames import dimensions, frames_of, per_frame_groups, pixel_frames, shared_item
from dicombridge.parametric_map.header import map_header
from dicombridge.parametric_map.preparing import ObjectContent, content_of, groups_of_nodes
from dicombridge.part10 import DEFLATED_EXPLICIT_VR, EXPLICIT_VR_LITTLE_ENDIAN, PER_FRAME_GROUPS, PIXEL_DATA
from dicombridge.progress import Progress

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.database import Database

__all__ = ["export"]

_log = logging.getLogger(__name__)

OWN_OPTIONS = ("compression", "derivation", "grid", "label", "method", "pixel_type", "quantity", "source", "units")
"""Options of :func:`export` that are not DICOM keywords."""
NOT_OPTIONS = ("FloatPixelData", "DoubleFloatPixelData")
_TAGS = {"float32": FLOAT_PIXEL_DATA, "float64": DOUBLE_FLOAT_PIXEL_DATA}


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write volumes, and sequences of them, as DICOM parametric maps.

    Nodes that came from one object become one again; new ones become one object for each grid.

    Parameters
    ----------
    nodes
        ``vtkMRMLScalarVolumeNode``, or ``vtkMRMLSequenceNode`` of them. Their transforms are applied.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where the source images are looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    pixel_type : {"float32", "float64", "uint16"}
        How values are stored; as they were loaded, else the floating point type that holds them exactly. ``uint16``
        brings a slope and an error of at most half of it, which is logged.
    quantity, units
        Codes, or text ``value^scheme^meaning`` (for units also a UCUM unit alone); those of the node are the default.
    method
        Code of how the values were measured (Measurement Method of the Quantity Definition); as it was loaded, by
        default.
    label
        LUT Label of a map that has none, at most 16 characters.
    derivation
        Code of how the maps were made from their images.
    compression : {None, "deflate", "rle", "jpeg-ls", "jpeg-2000", "deflate-frames"}
        Lossless; floating point values only know ``deflate``.
    source
        A Series Instance UID of the database, paths of image files or a folder, or a volume node; found from the node
        where it is not given. Without any source, the object has a frame of reference of its own.
    grid : {None, "source"}
        The node's own voxels, or those of the source images, onto which values are interpolated linearly.
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
    grid_option(own.get("grid"))
    strangers = [node for node in nodes if not (node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLSequenceNode"))]
    if strangers:
        raise ExportError(f"A {strangers[0].GetClassName()} cannot be exported as a parametric map.")
    groups = groups_of_nodes(nodes)
    return write_together(directory, [_job(group, database, own, keywords) for group in groups], progress)


def _job(nodes: list[Any], database: Database | None, own: Mapping[str, Any], keywords: Mapping[str, Any]) -> Job:
    """Return what prepares one file."""

    def prepare(tell: Progress | None) -> tuple[str, Callable[[Path], None]]:
        content = content_of(nodes, database, own)
        syntax = _syntax(content, own.get("compression"))
        dataset = _dataset(content, keywords)
        derivation = code_option(own.get("derivation"), "derivation")

        def write(path: Path) -> None:
            frames = frames_of(content)
            groups = per_frame_groups(content, frames, derivation)
            rows, columns = content.places.shape
            bits = int(dataset.BitsAllocated)
            tag = _TAGS.get(content.stored_type, PIXEL_DATA)
            pixels = Pixels(pixel_frames(content, frames), len(frames), rows, columns, bits, tag)
            write_file(path, dataset, syntax, pixels, {PER_FRAME_GROUPS: groups}, tell)
            for warning in dict.fromkeys([*content.source.warnings, *content.warnings]):
                _log.warning("%s", warning)

        return f"PM_{dataset.SOPInstanceUID}.dcm", write

    return prepare


def _syntax(content: ObjectContent, compression: Any) -> str:
    uid = transfer_syntax(compression, 16)
    if content.stored_type != "uint16" and uid not in (EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR):
        raise ExportError(
            f"{compression} cannot hold floating point values; use deflate, or write 16 bits (pixel_type='uint16')."
        )
    return uid


def _dataset(content: ObjectContent, keywords: Mapping[str, Any]) -> Dataset:
    """Return the header of the new object."""
    first = content.maps[0]
    source = content.source
    frame_uid = frame_of_reference(first.node, source, content.kept)
    dataset = map_header(content, frame_uid, known_attributes(first.node, source), keywords)
    frames = frames_of(content)
    dataset.NumberOfFrames = len(frames)
    named = {}
    for one in content.maps:
        of_map, warnings = instances_to_name(one.source, one.sources)
        named.update({reference.sop_instance_uid: reference for reference in of_map})
        content.warnings.extend(warnings)
    references = list(named.values())
    set_references(dataset, references, dataset.StudyInstanceUID)
    if any(not content.maps[frame.map].sources.by_slice.get(frame.place) for frame in frames):
        set_source_images(dataset, references)
    content.places.set_attributes(dataset)
    dimension_modules(dataset, dimensions(content))
    dataset.SharedFunctionalGroupsSequence = [shared_item(content, content.kept, list(dataset.ImageType))]
    return dataset
