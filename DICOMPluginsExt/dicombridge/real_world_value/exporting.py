"""From volumes to mapping objects: the export half of the kind."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge import suv
from dicombridge.codes import Code, code_from_entry
from dicombridge.errors import ExportError, UnreadableError, UnsupportedError
from dicombridge.geometry import same_grid, volume_geometry
from dicombridge.hierarchy import attributes_of_node
from dicombridge.image.series import Series, read_series
from dicombridge.image.volume import FRAME_NUMBERS
from dicombridge.kinds import kind_named
from dicombridge.output.files import Job, write_file, write_together
from dicombridge.output.header import (
    NewObject,
    apply_keywords,
    new_header,
    of_64_bytes,
    record_predecessor,
    set_references,
    split_options,
)
from dicombridge.output.options import code_option
from dicombridge.progress import part
from dicombridge.real_world_value.fitting import OfPlanes, explaining, fitted
from dicombridge.real_world_value.nodes import MAPPING, MAPPING_NAME, MAPPING_OBJECT, RWV_INSTANCE, SUV_FACTORS
from dicombridge.real_world_value.readings import STORAGE, chosen_reading, readings_of_object, readings_of_planes
from dicombridge.real_world_value.uptake import uptake_definitions, uptake_mapping
from dicombridge.references import Reference
from dicombridge.shadow import dataset_from_text
from dicombridge.tags import SOP_CLASS_UID
from dicombridge.value_mapping import QUANTITY, ValueMapping, item_of_mapping, mapping_of_item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.progress import Progress

__all__ = ["export"]

_log = logging.getLogger(__name__)

OWN_OPTIONS = ("source", "label", "explanation", "units", "quantity")
"""Options of :func:`export` that are not DICOM keywords."""
NOT_OPTIONS = ("ReferencedImageRealWorldValueMappingSequence", "RealWorldValueMappingSequence", "Modality")

SAME_PLACE_MM = 0.01
_NO_UNITS = Code("1", "UCUM", "no units")


def export(
    nodes: Sequence[Any],
    directory: Path,
    database: Database | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Path]:
    """Write volumes as Real World Value Mapping objects (PS3.3 A.46), one file a volume.

    An object says what the *stored* values of the volume's images mean, image by image where their rescale slopes
    differ, so that whoever applies it to them gets the voxels of the volume. A mapping that the volume came with, or
    its SUV factor, is written if it still gives the voxels; else one is fitted.

    Parameters
    ----------
    nodes
        ``vtkMRMLScalarVolumeNode`` on the whole grid of an image series.
    directory
        Where to write; made if it does not exist. Nothing is left there where anything fails.
    database
        Where the images are looked up.
    progress
        Called with a fraction (0 to 1) and a message.
    source
        The images: a Series Instance UID of the database, paths of files or a folder, or a volume node; those that the
        node was loaded from where it is not given.
    label, explanation
        LUT Label (at most 16 characters) and LUT Explanation.
    units, quantity
        Codes, or text ``value^scheme^meaning`` (for units also a UCUM unit alone); those of the node where they are not
        given.
    **options
        Attributes of the new object by DICOM keyword; the last word over whatever else would be written.

    Returns
    -------
    list of Path

    Raises
    ------
    ExportError
        The images are not at hand, the volume has another grid, or its voxels are no function of their stored values.
    """
    own, keywords = split_options(options, OWN_OPTIONS, NOT_OPTIONS)
    if keywords.get("ContentLabel") == "":
        del keywords["ContentLabel"]  # a field of a form that was left empty; the object needs a label
    for node in nodes:
        if not node.IsA("vtkMRMLScalarVolumeNode") or node.GetImageData() is None:
            raise ExportError(f"{node.GetName()}: only a volume with voxels can be exported as real world values.")
    return write_together(directory, [_job(node, database, own, keywords) for node in nodes], progress)


def _job(node: Any, database: Database | None, own: Mapping[str, Any], keywords: Mapping[str, Any]) -> Job:
    """Return what prepares one file."""

    def prepare(tell: Progress | None) -> tuple[str, Callable[[Path], None]]:
        with _images(node, database, own.get("source")) as (series, series_uid):
            mappings = _mappings(node, series, own, tell)
        if node.GetParentTransformNode() is not None:
            _log.warning(
                "%s: its transform is no part of a mapping; who applies that has the values where the images lie.",
                node.GetName(),
            )
        first = next(of_plane[0] for of_plane in mappings if of_plane)
        dataset = _header(node, series, first)
        signed = series.encodings[0].signed
        dataset.ReferencedImageRealWorldValueMappingSequence = _groups(series, mappings, signed)
        study = str(series.header.get("StudyInstanceUID") or "")
        sop_class = series.stack.planes[0].sop_class_uid
        set_references(dataset, [Reference(uid, sop_class, series_uid, study) for uid in series.instance_uids], study)
        apply_keywords(dataset, keywords)
        return f"RWVM_{dataset.SOPInstanceUID}.dcm", lambda path: write_file(path, dataset)

    return prepare


# --- Images --------------------------------------------------------------------------------------------------------


@contextmanager
def _images(node: Any, database: Database | None, source: Any) -> Iterator[tuple[Series, str]]:
    """Find the images of a volume, and the stack of them that it shows.

    Raises
    ------
    ExportError
        They are not at hand, or the volume is on another grid.
    """
    from dicombridge.database import open_files, open_folder

    name = node.GetName()
    holder = source if hasattr(source, "GetAttribute") else node
    if source is None or holder is source:
        uids = (holder.GetAttribute("DICOM.instanceUIDs") or "").split()
        files = [file for uid in uids if database is not None and (file := database.fileForInstance(uid))]
        if len(files) < len(uids) or not files:
            raise ExportError(
                f"{name}: {len(uids) - len(files) or 'all'} of the images that it was made from are not at hand, and a "
                "mapping is one of their stored values; give database=, or source= with their series, files or folder."
            )
        yield _stack_of(node, [list(dict.fromkeys(files))])
    elif isinstance(source, str | Path) and not Path(source).exists():
        files = [file for file in database.filesForSeries(str(source)) if file] if database is not None else []
        if not files:
            raise ExportError(f"The source {source} is neither a file, a folder nor a series of the database.")
        yield _stack_of(node, [files])
    else:
        paths = [source] if isinstance(source, str | Path) else list(source)
        with open_folder(paths[0]) if len(paths) == 1 else open_files(paths) as own:
            yield _stack_of(node, _image_files(own))


def _image_files(database: Any) -> list[list[str]]:
    """Return the image files of a database, series by series."""
    classes = kind_named("IMAGE").sop_classes
    found = []
    for patient in database.patients():
        for study in database.studiesForPatient(patient):
            for series in database.seriesForStudy(study):
                files = database.filesForSeries(series)
                found.append([file for file in files if database.fileValue(file, SOP_CLASS_UID) in classes])
    return [files for files in found if files]


def _stack_of(node: Any, of_series: Sequence[Sequence[str]]) -> tuple[Series, str]:
    grid = volume_geometry(node)
    uids = set((node.GetAttribute("DICOM.instanceUIDs") or "").split())
    found = [one for files in of_series for one in read_series(files)]
    fitting = [one for one in found if same_grid(one.stack.placement, grid, SAME_PLACE_MM)]
    if not fitting:
        raise ExportError(
            f"{node.GetName()}: has another grid than its images; a mapping holds for whole images. Export the volume "
            "before it is cropped, resampled or moved, or give the images that it lies on with source=."
        )
    # The time points of a multi-frame image are of one instance and on one grid; the frames tell them apart.
    frames = set((node.GetAttribute(FRAME_NUMBERS) or "").split())

    def in_common(one: Series) -> tuple[int, int]:
        shown = {str(plane.frame) for plane in one.stack.planes}
        return len(uids.intersection(one.instance_uids)), len(frames & shown)

    best = max(fitting, key=in_common)
    return best, str(best.header.get("SeriesInstanceUID") or "")


# --- Mappings ------------------------------------------------------------------------------------------------------


def _mappings(node: Any, series: Series, own: Mapping[str, Any], tell: Progress | None) -> OfPlanes:
    """Return the mappings of all planes: known ones that give the node's voxels, or fitted ones."""
    template = _template(node, series, own)
    voxels = _voxels(node)
    candidates = [of_planes for of_planes in _known(node, series) if len(of_planes) == len(series.stack.planes)]
    found = None
    if candidates:
        found, _ = explaining(candidates, series, voxels, part(tell, 0.0, 0.3))
    if found is None:
        chosen = fitted(series, voxels, template, node.GetName(), part(tell, 0.3, 0.6))
    else:
        chosen = candidates[found]
    if not any(chosen):
        raise ExportError(f"{node.GetName()}: no slice of it has values.")
    if tell is not None:
        tell(0.95, "Mapping")
    return [tuple(_described(mapping, template) for mapping in of_plane) for of_plane in chosen]


def _voxels(node: Any) -> NDArray[Any]:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    image = node.GetImageData()
    if image.GetNumberOfScalarComponents() != 1:
        raise ExportError(f"{node.GetName()}: has {image.GetNumberOfScalarComponents()} values a voxel, not one.")
    columns, rows, slices = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(slices, rows, columns)


def _template(node: Any, series: Series, own: Mapping[str, Any]) -> ValueMapping:
    """Return label, units and quantity as the caller, the node, or the mapping that it came with says."""
    kept = _kept_mapping(node)
    given = code_option(own.get("units"), "units", "UCUM")
    units = given or code_from_entry(node.GetVoxelValueUnits()) or kept.units
    given = code_option(own.get("quantity"), "quantity")
    quantity = given or code_from_entry(node.GetVoxelValueQuantity()) or kept.quantity
    if units is None:
        _log.warning("%s: has no units, and units=Code(...) says none; written without units.", node.GetName())
        units = _NO_UNITS
    definitions = kept.definitions
    kind = suv.type_of_unit_code(units.value)
    loaded = node.GetAttribute(RWV_INSTANCE)
    if loaded and kept.units is not None and kind and suv.type_of_unit_code(kept.units.value) == kind:
        units = kept.units  # the object had it in the other spelling
    elif kind:
        units, definitions = suv.DICOM_UNITS[kind], uptake_definitions(kind)
    known = [value for concept, value in definitions if concept == QUANTITY and isinstance(value, Code)]
    if quantity is not None and quantity not in known:
        others = tuple(pair for pair in definitions if pair[0] != QUANTITY)
        definitions = ((QUANTITY, quantity), *others)
    low, high = series.encodings[0].stored_range
    return replace(
        kept,
        label=str(own.get("label") or kept.label or kind or units.value)[:16],
        explanation=str(own.get("explanation") or kept.explanation or units.meaning or node.GetName())[:64],
        first=float(low),
        last=float(high),
        lut=None,
        units=units,
        quantity=quantity,
        definitions=definitions,
    )


def _kept_mapping(node: Any) -> ValueMapping:
    """Return the mapping that the node came with, an empty one where there is none."""
    item = dataset_from_text(node.GetAttribute(MAPPING))
    try:
        return mapping_of_item(item) if item is not None else ValueMapping()
    except UnreadableError:  # somebody edited the attribute
        return ValueMapping()


def _described(mapping: ValueMapping, template: ValueMapping) -> ValueMapping:
    """Return a mapping with the label, units and quantity of a template."""
    return replace(
        mapping,
        label=template.label,
        explanation=template.explanation,
        units=template.units,
        quantity=template.quantity,
        definitions=template.definitions,
        item=mapping.item if len(mapping.item) else template.item,
    )


def _known(node: Any, series: Series) -> Iterator[OfPlanes]:
    """Yield the mappings that the node says it came from; whether they still hold is for the caller."""
    planes = series.stack.planes
    name = node.GetAttribute(MAPPING_NAME)
    factors = _numbers(node.GetAttribute(SUV_FACTORS))
    if len(factors) in (1, len(planes)):
        several = factors if len(factors) == len(planes) else factors * len(planes)
        kind = suv.SUV_TYPES[0]  # what it is, the template says
        pairs = zip(several, series.encodings, strict=True)
        yield [(uptake_mapping(kind, factor, encoding),) for factor, encoding in pairs]
    loaded = dataset_from_text(node.GetAttribute(MAPPING_OBJECT))
    try:
        if loaded is not None:
            reading = chosen_reading(readings_of_object(loaded, node.GetName(), series.encodings[0].signed), name)
            if reading is not None:
                yield [reading.of_plane(plane) for plane in planes]
        elif node.GetAttribute(RWV_INSTANCE):
            reading = chosen_reading(readings_of_planes(planes), name)
            if reading is not None:
                yield [reading.of_plane(plane) for plane in planes]
    except (UnreadableError, UnsupportedError):  # somebody edited the attributes
        return


def _numbers(text: str | None) -> list[float]:
    try:
        return [float(part) for part in (text or "").split()]
    except ValueError:
        return []


# --- The object ----------------------------------------------------------------------------------------------------


def _header(node: Any, series: Series, first: ValueMapping) -> Dataset:
    kept = dataset_from_text(node.GetAttribute(MAPPING_OBJECT))
    new = NewObject(
        sop_class_uid=STORAGE, modality="RWV", title="Real World Value Mapping", name=node.GetName(), series_number=301
    )
    attributes = attributes_of_node(node.GetScene(), node) if node.GetScene() is not None else {}
    dataset = new_header(new, series.header, kept, attributes, ("ReferencedImageRealWorldValueMappingSequence",))
    if not dataset.get("ContentLabel"):
        dataset.ContentLabel = re.sub(r"[^A-Z0-9_ ]+", "_", first.label.upper()).strip("_ ")[:16] or "RWV"
    for keyword, value in (("ContentDescription", of_64_bytes(first.explanation)), ("ContentCreatorName", "")):
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    if "Laterality" not in dataset:
        dataset.Laterality = ""  # of a paired body part it must be there, even if nobody knows it (PS3.3 C.7.3.1)
    record_predecessor(dataset, kept)
    return dataset


def _groups(series: Series, mappings: OfPlanes, signed: bool) -> list[Dataset]:
    """Return the items of the Referenced Image Real World Value Mapping Sequence: one for all planes of a mapping."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, of_plane in enumerate(mappings):
        if of_plane:
            key = tuple((one.first, one.last, one.slope, one.intercept, _bytes(one)) for one in of_plane)
            groups.setdefault(key, []).append(number)
    items = []
    for numbers in groups.values():
        item = Dataset()
        item.ReferencedImageSequence = _referenced(series, numbers)
        item.RealWorldValueMappingSequence = [item_of_mapping(one, signed) for one in mappings[numbers[0]]]
        items.append(item)
    return items


def _bytes(mapping: ValueMapping) -> bytes:
    return b"" if mapping.lut is None else mapping.lut.tobytes()


def _referenced(series: Series, numbers: Sequence[int]) -> list[Dataset]:
    """Return references to the images of planes, with frame numbers where an image has other frames too."""
    planes = series.stack.planes
    frames: dict[str, list[int]] = {}
    for number in numbers:
        frames.setdefault(planes[number].sop_instance_uid, []).append(planes[number].frame)
    items = []
    for uid, of_instance in frames.items():
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = planes[0].sop_class_uid, uid
        if of_instance[0]:
            item.ReferencedFrameNumber = sorted(of_instance)
        items.append(item)
    return items
