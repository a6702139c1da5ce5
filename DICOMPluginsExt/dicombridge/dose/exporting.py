"""From nodes to files: the export half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicombridge.belonging import frames_of_reference
from dicombridge.dose.describing import Description, describe, set_description
from dicombridge.dose.nodes import DIGEST_ATTRIBUTE, digest, is_dose
from dicombridge.dose.scaling import StoredDoses, stored_doses
from dicombridge.dose.surroundings import images_around
from dicombridge.dose.values import text_value
from dicombridge.encode import decimal_string
from dicombridge.errors import ExportError
from dicombridge.output.files import COMPRESSIONS, Job, Pixels, transfer_syntax, write_file, write_together
from dicombridge.output.header import (
    RENEWED_OF_IMAGES,
    NewObject,
    apply_keywords,
    instance_item,
    new_header,
    set_references,
    split_options,
)
from dicombridge.output.source import Source, find_source, known_attributes
from dicombridge.output.volumes import PlacedVoxels, voxels_of_node
from dicombridge.progress import Progress
from dicombridge.references import Reference, references_of
from dicombridge.shadow import remembered

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["export"]

_log = logging.getLogger(__name__)

RT_DOSE_STORAGE = "1.2.840.10008.5.1.4.1.1.481.2"
GRID_FRAME_OFFSET_VECTOR = 0x3004000C
OWN_OPTIONS = (
    "units", "dose_type", "summation_type", "plan", "structure_set", "beams", "fraction_group", "bits", "compression",
    "source",
)  # fmt: skip
"""Options of :func:`export` that are not DICOM keywords."""
MEANT_BY_KEYWORD = {"DoseUnits": "units", "DoseType": "dose_type", "DoseSummationType": "summation_type"}
NOT_OPTIONS = (
    "DVHSequence", "DoseGridScaling", "FrameIncrementPointer", "GridFrameOffsetVector", "ImageOrientationPatient",
    "ImagePositionPatient", "PixelSpacing", "PlanOverviewSequence", "ReferencedRTPlanSequence",
    "ReferencedStructureSetSequence",
)  # fmt: skip
_RENEWED = (
    *RENEWED_OF_IMAGES,
    *NOT_OPTIONS[1:7],
    "PixelRepresentation",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SamplesPerPixel",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
)
COMPRESSES_32_BITS = (COMPRESSIONS[None], COMPRESSIONS["deflate"], COMPRESSIONS["deflate-frames"])
"""Transfer syntaxes; pydicom encodes up to 16 bits in the others."""
_HISTOGRAMS = ("DVHSequence", "DVHNormalizationPoint", "DVHNormalizationDoseValue")


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write dose volumes as RT Dose, one file a volume.

    Parameters
    ----------
    nodes
        ``vtkMRMLScalarVolumeNode``; tables and plots of histograms beside them are passed over, and so are images where
        a node is marked as a dose. Linear transforms are applied; grids that RT Dose cannot hold are interpolated.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where images, plans and structure sets are looked up; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    units : {"GY", "RELATIVE"}
    dose_type : {"PHYSICAL", "EFFECTIVE", "ERROR"}
    summation_type : {"PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "FRACTION", "BEAM", "BRACHY", ...}
        These three as the node or the object that it was loaded from says. Else PHYSICAL; PLAN (MULTI_PLAN for several)
        where a plan is known, and PLAN_OVERVIEW, which needs none, where none is. The keywords ``DoseUnits``,
        ``DoseType`` and ``DoseSummationType`` mean the same.
    plan, structure_set
        What the dose belongs to, each a node, a path or a SOP Instance UID, or a list of them.
    beams, fraction_group
        Numbers in the plan, for the summation types BEAM (BRACHY: of setups) and FRACTION.
    bits : {16, 32}
        Of a stored dose. As loaded, else 32: no dose is wrong by more than 1.2e-10 (16: 7.7e-6) of the highest one.
    compression : {None, "deflate", "rle", "jpeg-ls", "jpeg-2000"}
        Lossless; not every planning system reads compressed doses.
    source
        The images that the dose belongs to: a Series Instance UID of the database, paths of image files or a folder, or
        a volume node; found from the node where it is not given.
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
    for keyword, option in MEANT_BY_KEYWORD.items():
        if keyword in keywords:
            own.setdefault(option, keywords.pop(keyword))
    doses = _doses(nodes)
    return write_together(directory, [_job(node, database, own, keywords) for node in doses], progress)


def _doses(nodes: Sequence[Any]) -> list[Any]:
    """Return the volumes to write."""
    volumes = [node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode")]
    passed_over = ("vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode")
    strangers = [node for node in nodes if node not in volumes and node.GetClassName() not in passed_over]
    if strangers or not volumes:
        what = strangers[0].GetClassName() if strangers else nodes[0].GetClassName()
        raise ExportError(f"A {what} cannot be exported as a dose; only volumes can.")
    marked = [node for node in volumes if is_dose(node)]
    for node in volumes if marked else ():
        if node not in marked:
            _log.warning("%s was not exported: it is not marked as a dose, as others are.", node.GetName())
    return marked or volumes


def _job(node: Any, database: Database | None, own: Mapping[str, Any], keywords: Mapping[str, Any]) -> Job:
    """Return what prepares one file; the integers of one dose are made when those of the one before are written."""

    def prepare(tell: Progress | None) -> tuple[str, Callable[[Path], None]]:
        if tell is not None:
            tell(0.0, f"Preparing {node.GetName()}")
        values = _values(node, database, own)
        dataset = values.dataset(keywords)
        return f"RTDOSE_{dataset.SOPInstanceUID}.dcm", lambda path: values.write(path, dataset, tell)

    return prepare


@dataclass(frozen=True)
class _Values:
    """All that a new object is made from."""

    node: Any
    placed: PlacedVoxels
    stored: StoredDoses
    description: Description
    source: Source
    kept: Dataset | None
    unchanged: bool
    transfer_syntax_uid: str
    warnings: list[str]

    def dataset(self, keywords: Mapping[str, Any]) -> Dataset:
        """Return the new object but for its pixel data."""
        name = str(self.node.GetName() or "")
        header = self.source.header
        if header is None and self.description.headers and self.kept is None:
            header = self.description.headers[0]  # patient and study of the plan, where there are no images
        attributes = known_attributes(self.node, self.source)
        new = NewObject(RT_DOSE_STORAGE, "RTDOSE", "Dose", name, self._frame_of_reference(attributes))
        renewed = _RENEWED if self.unchanged else (*_RENEWED, *_HISTOGRAMS)
        dataset = new_header(new, header, self.kept, attributes, renewed)
        if "OperatorsName" not in dataset:
            dataset.OperatorsName = ""  # type 2 in RT Series (PS3.3 C.8.8.1)
        self._set_pixel_description(dataset)
        _set_planes(dataset, self.placed.grid)
        set_description(dataset, self.description, name, self._images())
        self._set_references(dataset)
        _clean_comment(dataset)
        apply_keywords(dataset, keywords)
        return dataset

    def _frame_of_reference(self, attributes: Mapping[str, Any]) -> str:
        """Return the frame of reference: of the images, else as it was, else of plan or structure set, else a new one.

        A structure set says it of its regions.
        """
        for header in (self.source.header, self.kept, *self.description.headers):
            uids = frames_of_reference(header) if header is not None else []
            if uids:
                return uids[0]
        return str(attributes.get("FrameOfReferenceUID") or generate_uid())

    def _set_pixel_description(self, dataset: Dataset) -> None:
        slices, rows, columns = self.stored.integers.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = rows, columns
        dataset.BitsAllocated = dataset.BitsStored = self.stored.bits
        dataset.HighBit = self.stored.bits - 1
        dataset.PixelRepresentation = int(self.stored.signed)
        dataset.DoseGridScaling = self.stored.scaling
        if slices > 1:
            dataset.NumberOfFrames = slices
            dataset.FrameIncrementPointer = GRID_FRAME_OFFSET_VECTOR

    def _images(self) -> list[Reference]:
        """Return references to the images that the dose belongs to."""
        grid, header = self.source.grid, self.source.header
        if grid is None or header is None:
            return []
        study = text_value(header, "StudyInstanceUID")
        uids = dict.fromkeys(uid for uid in grid.instance_uids if uid)
        return [Reference(uid, grid.sop_class_uid, self.source.series_instance_uid, study) for uid in uids]

    def _set_references(self, dataset: Dataset) -> None:
        images = self._images()
        if images:
            dataset.ReferencedImageSequence = [instance_item(image) for image in images]
            # Validators take this module to be about images, and find it wrong where there are none.
            set_references(dataset, [*images, *self.description.references], dataset.StudyInstanceUID)

    def write(self, path: Path, dataset: Dataset, progress: Progress | None) -> None:
        """Write the object with this header."""
        slices, rows, columns = self.stored.integers.shape
        pixels = Pixels(iter(self.stored.integers), slices, rows, columns, self.stored.bits)
        write_file(path, dataset, self.transfer_syntax_uid, pixels, progress=progress)
        name, units = self.node.GetName(), "Gy" if self.description.units == "GY" else "(relative)"
        for warning in dict.fromkeys(self.warnings):
            _log.warning("%s: %s", name, warning)
        _log.info(
            "%s: %d bits, DoseGridScaling %s; no dose differs by more than %.3g %s from what was written.",
            name, self.stored.bits, self.stored.scaling, self.stored.largest_error, units,
        )  # fmt: skip


def _values(node: Any, database: Database | None, own: Mapping[str, Any]) -> _Values:
    origin = remembered(node)
    kept = origin if origin is not None and text_value(origin, "SOPClassUID") == RT_DOSE_STORAGE else None
    given = own.get("source")
    if given is None and origin is not None and kept is None:
        given = node  # a dose that was computed on a copy of an image belongs to that image, and is no edited one
    description = describe(node, kept, own, database)
    placed = voxels_of_node(node)
    stored, warnings = stored_doses(placed.voxels, description.type, own.get("bits"), kept)
    unchanged = kept is not None and not placed.resampled and node.GetAttribute(DIGEST_ATTRIBUTE) == digest(node)
    if kept is not None and "DVHSequence" in kept and not unchanged:
        warnings.append("Its dose-volume histograms were left out: they are of the dose as it was loaded.")
    source = _source(node, kept, description, database, given)
    return _Values(
        node=node,
        placed=placed,
        stored=stored,
        description=description,
        source=source,
        kept=kept,
        unchanged=unchanged,
        transfer_syntax_uid=_transfer_syntax(own.get("compression"), stored.bits),
        warnings=[*description.warnings, *source.warnings, *placed.warnings, *warnings],
    )


def _transfer_syntax(compression: Any, bits: int) -> str:
    uid = transfer_syntax(compression, bits)
    if bits == 32 and uid not in COMPRESSES_32_BITS:
        raise ExportError(f"{compression} is not written for 32 bits; choose deflate, or bits=16.")
    return uid


def _source(node: Any, kept: Any, description: Description, database: Database | None, given: Any) -> Source:
    """Return the images that a dose belongs to: as given, or those of its plan and structure set, or of its frame."""
    if given is not None or node.GetNodeReference("referenceImageGeometryRef") is not None or database is None:
        return find_source(node, database if given is not None or kept is None else None, given)
    headers = [header for header in (kept, *description.headers) if header is not None]
    references = [*(references_of(kept) if kept is not None else ()), *description.references]
    frame = next((uid for header in headers for uid in frames_of_reference(header)), "")
    patient = text_value(headers[0], "PatientID") if headers else ""
    found, _ = images_around(references, database, frame, patient)
    # Images of another patient, in the same frame of reference by chance or by a mistake, are no authority on this one.
    if found.how == "none" or (found.how == "frame of reference" and found.other_patient):
        return find_source(node, None)
    source = find_source(node, database, found.series_instance_uid)
    if found.other_patient:  # but named by the object: patient and study are those of the images
        source.warnings.append(found.warning)
    return source


def _set_planes(dataset: Dataset, grid: Any) -> None:
    """Write where the planes lie; offsets are relative to the first plane, which fits any orientation."""
    affine = np.asarray(grid.affine, dtype=float)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = [*(affine[:3, 2] / lengths[2]), *(affine[:3, 1] / lengths[1])]
    dataset.ImageOrientationPatient = [decimal_string(value) for value in cosines]
    dataset.ImagePositionPatient = [decimal_string(value) for value in affine[:3, 3]]
    dataset.PixelSpacing = [decimal_string(lengths[1]), decimal_string(lengths[2])]
    slices = int(grid.spatial_shape[0])
    dataset.SliceThickness = decimal_string(lengths[0]) if slices > 1 else None
    if slices > 1:
        dataset.GridFrameOffsetVector = [decimal_string(place * lengths[0]) for place in range(slices)]


def _clean_comment(dataset: Dataset) -> None:
    """Put a comment of several lines, which its VR forbids but RayStation writes, on one line."""
    comment = text_value(dataset, "DoseComment")
    if any(not character.isprintable() for character in comment):
        dataset.DoseComment = " ".join(comment.split())[:64]
