"""Numbers of segments: a table of Slicer's Segment Statistics, or measured here, as measurement groups.

A group names its segment in the DICOM segmentation (Referenced Segment, PS3.16 TID 1411), which has to exist therefore.
The pattern is that of Slicer and dcmqi: the concept is what voxels are (attenuation coefficient), the derivation is
what was made of it (mean).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code, Terminology, code_from_entry, modern
from dicombridge.errors import DicomBridgeError, ExportError
from dicombridge.geometry import volume_geometry
from dicombridge.multiframe import read_header
from dicombridge.report import concepts
from dicombridge.report.concepts import key
from dicombridge.report.content import InstanceReference
from dicombridge.report.groups import Group, Measurement, Site
from dicombridge.report.sheets import DERIVATION, GROUP_COLUMN, METHOD, QUANTITY, UNITS
from dicombridge.scene import nodes_in
from dicombridge.segmentation.arrays import image_array, label_images, to_grid
from dicombridge.segmentation.nodes import remembered_number, segment_of_node
from dicombridge.shadow import remembered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.segmentation.segments import Segment

__all__ = [
    "SEGMENT_COLUMN",
    "is_statistics_table",
    "measured_segments",
    "segment_groups",
    "segmentation_of_table",
    "sites_of",
    "table_measurements",
    "tables_of_segmentations",
]

SEGMENT_COLUMN = "Segment"
"""Column of Segment Statistics with the name of the segment (``SegmentStatisticsLogic.segmentColumnName``)."""
_CLASS = "vtkMRMLSegmentationNode"
SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
SUM_OF_VOXELS = Code("126030", "DCM", "Sum of segmented voxel volumes")

_CORRECTED = {
    ("median", "SCT"): concepts.MEDIAN,
    ("voxels", "UCUM"): Code("{voxels}", "UCUM", "voxels"),
}
"""Codes of Segment Statistics that are none of their scheme."""

_LATERALITIES = {"7771000", "24028007", "51440002", "66459002"}
"""SNOMED CT: left, right, right and left, unilateral (CID 244)."""

_STATISTICS: tuple[tuple[Code, Callable[[NDArray[Any]], float]], ...] = (
    (concepts.MEAN, lambda values: float(values.mean())),
    (concepts.MINIMUM, lambda values: float(values.min())),
    (concepts.MAXIMUM, lambda values: float(values.max())),
    # Of a sample, as vtkImageAccumulate and so Slicer has it.
    (concepts.STANDARD_DEVIATION, lambda values: float(values.std(ddof=1)) if len(values) > 1 else 0.0),
    (concepts.MEDIAN, lambda values: float(np.median(values))),
)


def segment_groups(
    node: Any, table: Any = None, volume: Any = None, segmentation: Any = None, warnings: list[str] | None = None
) -> list[Group]:
    """Return a group a segment of a segmentation node, numbered from 1.

    Parameters
    ----------
    node
        ``vtkMRMLSegmentationNode`` that was loaded from DICOM, or was written to ``segmentation``.
    table
        ``vtkMRMLTableNode`` of Segment Statistics; without it, volumes and voxel values are measured here.
    volume
        Scalar volume node whose voxel values are measured; None to measure volumes alone.
    segmentation
        Path of the DICOM segmentation that the node was written to; None for a node that was loaded.
    warnings
        What is not as the user may think is appended.

    Raises
    ------
    ExportError
        There is no DICOM segmentation of the segments, or no segment has a number.
    """
    said = [] if warnings is None else warnings
    measurements = table_measurements(node, table, said) if table else measured_segments(node, volume, said)
    if not measurements:
        raise ExportError(f"There is nothing measured of the segments of {node.GetName()!r}.")
    references = _referenced_segments(node, segmentation, list(measurements))
    source_series = _source_series(_header(node, segmentation))
    groups = []
    for number, (identifier, measured) in enumerate(measurements.items(), start=1):
        segment = segment_of_node(node.GetSegmentation().GetSegment(identifier), references[identifier].segments[0])
        groups.append(_group(number, segment, measured, references[identifier], source_series))
    return groups


def _group(
    number: int, segment: Segment, measured: list[Measurement], reference: InstanceReference, source_series: list[str]
) -> Group:
    codes = segment.terminology
    return Group(
        number,
        tracking_identifier=segment.tracking_id or segment.label,
        tracking_uid=segment.tracking_uid,
        category=codes.category if codes is not None else None,
        finding=codes.type if codes is not None else None,
        sites=sites_of(codes) if codes is not None else (),
        measurements=measured,
        segments=[reference],
        source_series=source_series,
    )


def sites_of(codes: Terminology) -> tuple[Site, ...]:
    """Return the site that a terminology says: its region, and the modifier as side where it is one.

    >>> left, kidney = Code("7771000", "SCT", "Left"), Code("64033007", "SCT", "Kidney")
    >>> sites_of(Terminology(None, None, region=kidney, region_modifier=left))[0].laterality.meaning
    'Left'
    """
    if codes.region is None:
        return ()
    modifier = codes.region_modifier
    if modifier is None:
        return (Site(codes.region),)
    is_side = key(modifier)[1] == "SCT" and key(modifier)[0] in _LATERALITIES
    return (Site(codes.region, modifier) if is_side else Site(codes.region, None, (modifier,)),)


# --- The DICOM segmentation ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """A segment in a DICOM segmentation."""

    number: int
    label: str
    tracking_uid: str


def _header(node: Any, segmentation: Any) -> Any:
    """Return the header of the DICOM segmentation, None where there is none."""
    if segmentation is None:
        return remembered(node)
    try:
        return read_header(str(segmentation))
    except DicomBridgeError as error:
        raise ExportError(f"The segmentation {segmentation} cannot be read ({error}).") from error


def _referenced_segments(node: Any, segmentation: Any, identifiers: Sequence[str]) -> dict[str, InstanceReference]:
    """Return how each segment is named, by segment ID."""
    header = _header(node, segmentation)
    uids = [str(header.get("SOPInstanceUID") or "")] if segmentation is not None else _uids(node)
    advice = (
        "export the segmentation as SEG first, and pass segmentation= with the path of that file, so that the report "
        "can name its segments."
    )
    if len(uids) != 1 or not uids[0]:
        several = f"comes from {len(uids)} objects" if len(uids) > 1 else "is in no DICOM object"
        raise ExportError(f"The segmentation {node.GetName()!r} {several}: {advice}")
    sop_class = str(header.get("SOPClassUID") or "") if header is not None else ""
    numbers = _numbers_in_file(node, header) if segmentation is not None else _numbers_in_node(node)
    missing = [identifier for identifier in identifiers if identifier not in numbers]
    if missing:
        names = ", ".join(repr(node.GetSegmentation().GetSegment(one).GetName()) for one in missing)
        raise ExportError(f"The DICOM segmentation of {node.GetName()!r} has no segment {names}: {advice}")
    return {
        identifier: InstanceReference(sop_class or SEGMENTATION_STORAGE, uids[0], (), (numbers[identifier],))
        for identifier in identifiers
    }


def _uids(node: Any) -> list[str]:
    return list(dict.fromkeys(str(node.GetAttribute("DICOM.instanceUIDs") or "").split()))


def _segments(node: Any) -> Iterator[tuple[str, Any]]:
    segmentation = node.GetSegmentation()
    for place in range(segmentation.GetNumberOfSegments()):
        yield str(segmentation.GetNthSegmentID(place)), segmentation.GetNthSegment(place)


def _numbers_in_node(node: Any) -> dict[str, int]:
    numbers = {identifier: remembered_number(segment) for identifier, segment in _segments(node)}
    return {identifier: number for identifier, number in numbers.items() if number is not None}


def _numbers_in_file(node: Any, header: Any) -> dict[str, int]:
    """Return the Segment Numbers of a file by segment ID: by tracking UID, else by label where it is the only one."""
    known = [_known(item) for item in header.get("SegmentSequence") or ()]
    found = {}
    for identifier, vtk_segment in _segments(node):
        segment = segment_of_node(vtk_segment, 0)
        same = [one for one in known if segment.tracking_uid and one.tracking_uid == segment.tracking_uid]
        same = same or [one for one in known if one.label == segment.label[:64]]
        if len(same) == 1:
            found[identifier] = same[0].number
    return found


def _known(item: Any) -> _Known:
    label, tracking_uid = (str(item.get(keyword) or "") for keyword in ("SegmentLabel", "TrackingUID"))
    return _Known(int(item.get("SegmentNumber") or 0), label, tracking_uid)


def _source_series(header: Any) -> list[str]:
    """Return the series that a segmentation was made on."""
    series = (header.get("ReferencedSeriesSequence") or ()) if header is not None else ()
    return [str(uid) for item in series if (uid := item.get("SeriesInstanceUID"))]


# --- A table of Segment Statistics -----------------------------------------------------------------------------------


def is_statistics_table(node: Any) -> bool:
    """Whether a node is a table that Slicer's Segment Statistics made."""
    if not node.IsA("vtkMRMLTableNode") or node.GetTable() is None:
        return False
    names = _column_names(node)
    if GROUP_COLUMN in names:
        return False  # the table of a loaded report has a column of that name, too
    return SEGMENT_COLUMN in names and any(node.GetColumnProperty(name, QUANTITY) for name in names)


def tables_of_segmentations(tables: Sequence[Any], segmentations: Sequence[Any]) -> dict[Any, Any]:
    """Return the table of each segmentation that has one.

    A table is of the one segmentation that has all its segments: of those that are given, else of those in the scene.
    A segmentation has one table, the first; the others are not returned.

    Raises
    ------
    ExportError
        It cannot be told of which segmentation a table is.
    """
    if len(tables) == 1 and len(segmentations) == 1 and any(_has(segmentations[0], one) for one in _names(tables[0])):
        return {segmentations[0]: tables[0]}  # some of its segments may have been deleted since
    fitting = {table: [node for node in segmentations if _has_all(node, table)] for table in tables}
    found: dict[Any, Any] = {}
    # One that fits a single segmentation comes first: it takes that one from those that fit several.
    for table in sorted(tables, key=lambda one: len(fitting[one]) or len(segmentations) + 1):
        free = [node for node in fitting[table] if node not in found]
        if len(free) > 1:
            raise ExportError(
                f"{len(free)} of the segmentations have all segments of the table {table.GetName()!r}; export each "
                "segmentation with its table alone."
            )
        node = free[0] if free else None if fitting[table] else segmentation_of_table(table)
        if node is not None:
            found.setdefault(node, table)
    return found


def _names(table: Any) -> list[str]:
    column = table.GetTable().GetColumnByName(SEGMENT_COLUMN)
    return list(dict.fromkeys(str(column.GetValue(row)) for row in range(column.GetNumberOfValues())))


def _has(node: Any, name: str) -> bool:
    return any(name in (identifier, segment.GetName()) for identifier, segment in _segments(node))


def _has_all(node: Any, table: Any) -> bool:
    return all(_has(node, name) for name in _names(table))


def segmentation_of_table(table: Any) -> Any:
    """Return the segmentation in the scene that a table of Segment Statistics is about: the one with all its segments.

    Raises
    ------
    ExportError
        There is none, or more than one.
    """
    scene = table.GetScene()
    nodes = nodes_in(scene, _CLASS) if scene else []
    found = [node for node in nodes if _has_all(node, table)]
    if len(found) != 1:
        raise ExportError(
            f"{len(found) or 'None'} of the segmentations in the scene have all segments of the table "
            f"{table.GetName()!r}; export the segmentation together with it."
        )
    return found[0]


def table_measurements(node: Any, table: Any, warnings: list[str]) -> dict[str, list[Measurement]]:
    """Return the measurements in a table of Segment Statistics by segment ID, in the order of its rows.

    Rows are found by segment ID, then by segment name. Cells without a number, and columns without codes, are left out.

    Raises
    ------
    ExportError
        The table is none of Segment Statistics.
    """
    if not is_statistics_table(table):
        raise ExportError(
            f"The table {table.GetName()!r} has no column {SEGMENT_COLUMN!r} with columns of coded measurements beside "
            "it; make it with Segment Statistics."
        )
    columns = dict(_coded_columns(table, warnings))
    segments = table.GetTable().GetColumnByName(SEGMENT_COLUMN)
    found: dict[str, list[Measurement]] = {}
    for row in range(segments.GetNumberOfValues()):
        name = str(segments.GetValue(row))
        identifier = _segment_named(node, name)
        if identifier is None or identifier in found:
            reason = "are none of" if identifier is None else "are there twice, as is no segment of"
            warnings.append(f"{table.GetName()!r}: numbers of {name!r} {reason} {node.GetName()!r} and were left out.")
            continue
        cells = ((codes, _number(table.GetTable().GetColumnByName(column), row)) for column, codes in columns.items())
        found[identifier] = [
            Measurement(concept, value, units, method=method, derivation=derivation)
            for (concept, units, method, derivation), value in cells
            if value is not None
        ]
    return found


def _column_names(table: Any) -> list[str]:
    return [str(table.GetColumnName(number)) for number in range(table.GetNumberOfColumns())]


def _coded_columns(
    table: Any, warnings: list[str]
) -> Iterator[tuple[str, tuple[Code, Code, Code | None, Code | None]]]:
    """Yield name, concept, units, method and derivation of the columns that say what they are."""
    lost = []
    for name in _column_names(table):
        if name == SEGMENT_COLUMN:
            continue
        quantity, units, method, derivation = (
            _code(table.GetColumnProperty(name, one)) for one in (QUANTITY, UNITS, METHOD, DERIVATION)
        )
        concept = quantity or derivation
        if concept is None or table.GetTable().GetColumnByName(name).GetNumberOfComponents() != 1:
            lost.append(name)
            continue
        # Of a volume that does not say what its voxels are, a mean is just a mean.
        yield name, (concept, units or concepts.NO_UNITS, method, derivation if quantity is not None else None)
    if lost:
        warnings.append(
            f"{table.GetName()!r}: columns without codes, or with several numbers a cell, were left out: "
            f"{', '.join(map(repr, lost))}."
        )


def _code(text: Any) -> Code | None:
    """Return the code of a text ``CodeValue:..|CodingSchemeDesignator:..|CodeMeaning:..``."""
    import slicer

    entry = slicer.vtkCodedEntry()
    if not text or not entry.SetFromString(str(text)):
        return None
    code = code_from_entry(entry)
    if code is None:
        return None
    code = modern(code)
    return _CORRECTED.get((code.value, code.scheme_designator), code)


def _segment_named(node: Any, name: str) -> str | None:
    segments = list(_segments(node))
    by_name = [identifier for identifier, segment in segments if segment.GetName() == name]
    if any(identifier == name for identifier, _ in segments):
        return name
    if len(by_name) > 1:
        raise ExportError(f"{node.GetName()!r} has {len(by_name)} segments named {name!r}; give them different names.")
    return by_name[0] if by_name else None


def _number(column: Any, row: int) -> float | None:
    try:
        value = column.GetVariantValue(row).ToString() if column.IsA("vtkStringArray") else column.GetValue(row)
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


# --- Measured here ---------------------------------------------------------------------------------------------------


def measured_segments(node: Any, volume: Any, warnings: list[str]) -> dict[str, list[Measurement]]:
    """Return volume (mm3) and statistics of voxel values of all segments, by segment ID.

    A volume is that of the segment's own voxels. Voxel values are those whose centres lie in the segment, which is
    brought to the voxels of the image as Slicer does (nearest neighbour) where it has others.

    Parameters
    ----------
    volume
        Scalar volume node, or None.
    """
    found = {identifier: [one] for identifier, one in _volumes(node, volume).items()}
    if volume is None or volume.GetImageData() is None:
        return found
    if volume.GetImageData().GetNumberOfScalarComponents() != 1:
        warnings.append(f"{volume.GetName()!r} has several values a voxel, which were not measured.")
        return found
    concept, units = _quantity(volume)
    for identifier, values in _voxel_values(node, volume):
        finite = values[np.isfinite(values)]
        if len(finite) < len(values):
            warnings.append(f"{len(values) - len(finite)} voxels of {volume.GetName()!r} hold no number.")
        for derivation, statistic in _STATISTICS if len(finite) else ():
            # Of a volume that does not say what its voxels are, a mean is just a mean.
            name, modifier = (concept, derivation) if concept is not None else (derivation, None)
            found[identifier].append(Measurement(name, statistic(finite), units, derivation=modifier))
    return found


def _volumes(node: Any, volume: Any) -> dict[str, Measurement]:
    target = volume_geometry(volume) if volume is not None and volume.GetImageData() is not None else None
    layers = label_images(node, target, volume)
    measured = dict.fromkeys((identifier for identifier, _ in _segments(node)), 0.0)
    for layer in layers:
        if not layer.image.GetNumberOfPoints():
            continue
        size = _voxel_volume(layer.image)
        counts = np.bincount(image_array(layer.image).ravel().astype(np.int64))
        for identifier, label in layer.labels.items():
            measured[identifier] = size * float(counts[label]) if 0 <= label < len(counts) else 0.0
    return {
        identifier: Measurement(concepts.VOLUME, value, concepts.CUBIC_MILLIMETRE, method=SUM_OF_VOXELS)
        for identifier, value in measured.items()
    }


def _voxel_volume(image: Any) -> float:
    """Return the volume (mm3) of a voxel; a transform may have sheared it, so that spacings alone do not tell."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return abs(float(matrix.Determinant()))


def _voxel_values(node: Any, volume: Any) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the voxel values of each segment that has any."""
    grid = volume_geometry(volume)
    voxels = image_array(volume.GetImageData())
    for array, labels in to_grid(label_images(node, grid, volume), grid).layers:
        for identifier, label in labels.items():
            yield identifier, voxels[array == label].astype(np.float64)


def _quantity(volume: Any) -> tuple[Code | None, Code]:
    """Return what the voxels of a volume are, and their units."""
    units = code_from_entry(volume.GetVoxelValueUnits())
    return code_from_entry(volume.GetVoxelValueQuantity()), units or concepts.NO_UNITS
