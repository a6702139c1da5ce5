"""A report about the phantom: what a radiologist would measure on its CT, with the numbers that the anatomy has.

The document is highdicom's, as everything else that the library's readers meet here is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code
from dicombridge.demo import anatomy
from dicombridge.demo.phantom import PhantomSeries, Truth, phantom_uid

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["Finding", "Outline", "Quantity", "ReportTruth", "set_time", "write_report"]

_NAME = "Report"
_READER = "Phantom^Reader"
_SLICE = 29
"""Of the CT: the one through the middle of the lesion."""
_CENTRE, _RADII = (-88.0, -20.0, -2.0), (19.0, 17.0, 15.0)
"""LPS mm: the lesion, which is an ellipsoid along the axes."""
_CORNERS = 72
"""Of the polygon around the spleen."""

_MM, _MM2, _MM3 = (
    Code("mm", "UCUM", "millimeter"),
    Code("mm2", "UCUM", "square millimeter"),
    Code("mm3", "UCUM", "cubic millimeter"),
)
_HU = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
_AREA, _LENGTH, _VOLUME = (
    Code("42798000", "SCT", "Area"),
    Code("410668003", "SCT", "Length"),
    Code("118565006", "SCT", "Volume"),
)
_LONG, _SHORT = Code("103339001", "SCT", "Long axis"), Code("103340004", "SCT", "Short axis")
_ATTENUATION, _MEAN = Code("112031", "DCM", "Attenuation Coefficient"), Code("373098007", "SCT", "Mean")
_LESION, _LANDMARK = Code("52988006", "SCT", "Lesion"), Code("111214", "DCM", "Landmark")
_ORGAN = Code("113343008", "SCT", "Organ")
_LIVER, _SPLEEN = Code("10200004", "SCT", "Liver"), Code("78961009", "SCT", "Spleen")
_AORTA, _VERTEBRA = Code("15825003", "SCT", "Aorta"), Code("51282000", "SCT", "Vertebra")


@dataclass(frozen=True)
class Quantity:
    """A number of a finding, with its codes."""

    concept: Code
    value: float
    unit: Code
    derivation: Code | None = None


@dataclass(frozen=True, eq=False)
class Outline:
    """A shape of a finding: its Graphic Type, and (n, 3) LPS mm in the order which that type prescribes."""

    graphic: str
    points: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Finding:
    """One measurement group, as plain values.

    Attributes
    ----------
    label, uid
        Tracking Identifier and Tracking Unique Identifier.
    finding, site
        What it is, and where.
    quantities
        Its numbers.
    outlines
        Its shapes; of numbers that have one each, in their order.
    in_space
        Whether the shapes are written in patient coordinates, not on a slice.
    segment
        SOP Instance UID and number of the segment that it is about, where it has no shape.
    """

    label: str
    uid: str
    finding: Code
    site: Code | None
    quantities: tuple[Quantity, ...] = ()
    outlines: tuple[Outline, ...] = ()
    in_space: bool = False
    segment: tuple[str, int] | None = None


@dataclass(frozen=True)
class ReportTruth:
    """A report and what it says.

    Attributes
    ----------
    file
        The SR object.
    source
        The series that was measured.
    observer
        Name of the person.
    findings
        In the order of the document.
    """

    file: Path
    source: PhantomSeries
    observer: str
    findings: tuple[Finding, ...]


def write_report(directory: Path, source: PhantomSeries, organs: Truth) -> ReportTruth:
    """Write a report about a CT, and a segmentation on it, as Comprehensive 3D SR (PS3.16 TID 1500)."""
    import highdicom as hd
    from pydicom import dcmread

    directory.mkdir(parents=True, exist_ok=True)
    image, segmentation = (dcmread(path, stop_before_pixels=True) for path in (source.files[_SLICE], organs.file))
    findings = _findings(source, organs, segmentation)
    person = hd.sr.PersonObserverIdentifyingAttributes(_READER)
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(hd.sr.ObserverContext(_code("121006", "Person"), person)),
        procedure_reported=Code("25045-6", "LN", "CT Unspecified body region"),
        imaging_measurements=[_WRITERS[_template(one)](one, image, source) for one in findings],
        referenced_images=[image],
    )
    dataset = hd.sr.Comprehensive3DSR(
        evidence=[image, segmentation],
        content=report[0],
        series_instance_uid=phantom_uid(f"series/{_NAME}"),
        series_number=40,
        sop_instance_uid=phantom_uid(f"instance/{_NAME}"),
        instance_number=1,
        manufacturer="highdicom",
        is_complete=True,
        series_description=_NAME,
    )
    set_time(dataset, image)
    file = directory / "report.dcm"
    dataset.save_as(file, enforce_file_format=True)
    return ReportTruth(file, source, _READER, findings)


def _code(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


def set_time(dataset: Dataset, image: Dataset) -> None:
    """Let the report be of the study's day: of the moment in which it is made, it would differ from run to run."""
    for keyword in ("ContentDate", "ContentTime", "SeriesDate", "SeriesTime"):
        if keyword in dataset:
            setattr(dataset, keyword, image[keyword].value)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        dataset.pop(keyword, None)
    for item in dataset.get("ContributingEquipmentSequence", []):
        item.ContributionDateTime = f"{image.ContentDate}{image.ContentTime}"


# What there is to say ----------------------------------------------------------------------------------------------


def _findings(source: PhantomSeries, organs: Truth, segmentation: Dataset) -> tuple[Finding, ...]:
    centre, (a, b, _) = np.array(_CENTRE), _RADII
    width, height = (np.array([centre - axis, centre + axis]) for axis in ((a, 0, 0), (0, b, 0)))
    spleen, vessel = _around("Spleen", source), _across_aorta()
    mask = organs.segments["Liver lesion"]
    voxel_mm3 = abs(float(np.linalg.det(source.affine[:3, :3])))
    in_lesion = (
        Quantity(_VOLUME, float(mask.sum()) * voxel_mm3, _MM3),
        Quantity(_ATTENUATION, float(source.values[mask].mean()), _HU, _MEAN),
    )
    segment = str(segmentation.SOPInstanceUID), list(organs.segments).index("Liver lesion") + 1
    return (
        _finding("Lesion", _LESION, _LIVER, [Quantity(_AREA, np.pi * a * b, _MM2)], _ellipse(width, height)),
        _finding(
            "Lesion axes",
            _LESION,
            _LIVER,
            [Quantity(_LONG, 2 * a, _MM), Quantity(_SHORT, 2 * b, _MM)],
            Outline("POLYLINE", width),
            Outline("POLYLINE", height),
        ),
        _finding("Aorta", _ORGAN, _AORTA, [Quantity(_LENGTH, _length(vessel), _MM)], Outline("POLYLINE", vessel)),
        _finding("Vertebra", _LANDMARK, _VERTEBRA, [], Outline("POINT", np.array([[0.0, 62.0, _CENTRE[2]]]))),
        _finding(
            "Spleen",
            _ORGAN,
            _SPLEEN,
            [Quantity(_AREA, _area(spleen), _MM2)],
            Outline("POLYGON", np.concatenate([spleen, spleen[:1]])),
            in_space=True,
        ),
        _finding("Lesion volume", _LESION, _LIVER, in_lesion, segment=segment),
    )


def _finding(
    label: str, finding: Code, site: Code, quantities: Any, *outlines: Outline, in_space: bool = False,
    segment: tuple[str, int] | None = None,
) -> Finding:  # fmt: skip
    uid = phantom_uid(f"tracking/report/{label}")
    rounded = tuple(Quantity(one.concept, round(one.value, 6), one.unit, one.derivation) for one in quantities)
    return Finding(label, uid, finding, site, rounded, outlines, in_space, segment)


def _ellipse(width: NDArray[np.float64], height: NDArray[np.float64]) -> Outline:
    """Return an ellipse by the ends of its major and of its minor axis (PS3.3 C.18.6.1.2)."""
    return Outline("ELLIPSE", np.concatenate([width, height]))


def _across_aorta() -> NDArray[np.float64]:
    """Return the ends of the aorta's diameter from right to left: where its formula says 1 (the surface)."""
    z = _CENTRE[2]
    x, radius = 14.0 - 10.0 * float(np.exp(-(((z + 90.0) / 70.0) ** 2))), 11.5 + 0.012 * z
    return np.array([[x - radius, 30.0 + 0.03 * z, z], [x + radius, 30.0 + 0.03 * z, z]])


def _around(organ: str, source: PhantomSeries) -> NDArray[np.float64]:
    """Return (n, 3) LPS mm of an organ's surface in the slice: found along rays, by halving the interval."""
    level = anatomy.ORGANS[organ]
    x, y, z = (axis[_SLICE] for axis in anatomy.points_of_grid(source.affine, source.values.shape))
    inside = level((x, y, z)) <= 1.0
    middle = np.array([x[inside].mean(), y[inside].mean(), z[0, 0]])
    angles = np.linspace(0.0, 2.0 * np.pi, _CORNERS, endpoint=False)
    rays = np.stack([np.cos(angles), np.sin(angles), np.zeros(_CORNERS)], axis=1)
    near, far = np.zeros((_CORNERS, 1)), np.full((_CORNERS, 1), 200.0)
    for _ in range(40):
        between = (near + far) / 2
        within = level(tuple((middle + between * rays).T))[:, None] <= 1.0
        near, far = np.where(within, between, near), np.where(within, far, between)
    return np.asarray(middle + near * rays)


def _length(ends: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(ends[1] - ends[0]))


def _area(corners: NDArray[np.float64]) -> float:
    """Return the area (mm2) of an axial polygon, by the shoelace formula."""
    x, y, _ = corners.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


# Measurement groups of highdicom ------------------------------------------------------------------------------------


def _template(finding: Finding) -> str:
    if finding.segment is not None:
        return "1411"
    return "1501" if finding.outlines[0].graphic == "POLYLINE" else "1410"


def _common(finding: Finding, measurements: list[Any]) -> dict[str, Any]:
    import highdicom as hd

    return {
        "tracking_identifier": hd.sr.TrackingIdentifier(finding.uid, finding.label),
        "finding_type": finding.finding,
        "finding_sites": [hd.sr.FindingSite(finding.site)],
        "measurements": measurements or None,
    }


def _number(one: Quantity, coordinates: Any = None) -> Any:
    import highdicom as hd

    return hd.sr.Measurement(
        one.concept, one.value, one.unit, derivation=one.derivation, referenced_coordinates=coordinates
    )


def _on_slice(outline: Outline, image: Dataset, source: PhantomSeries, kind: Any) -> Any:
    """Return coordinates of a shape on the slice: columns and rows from the corner of the top left pixel."""
    import highdicom as hd

    _, rows, columns = (np.linalg.inv(source.affine) @ np.c_[outline.points, np.ones(len(outline.points))].T)[:3]
    pixels = np.stack([columns, rows], axis=1) + 0.5
    return kind(outline.graphic, pixels, hd.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID))


def _planar(finding: Finding, image: Dataset, source: PhantomSeries) -> Any:
    import highdicom as hd

    (outline,) = finding.outlines
    if finding.in_space:
        region = hd.sr.ImageRegion3D(outline.graphic, outline.points, image.FrameOfReferenceUID)
    else:
        region = _on_slice(outline, image, source, hd.sr.ImageRegion)
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_region=region, **_common(finding, [_number(one) for one in finding.quantities])
    )


def _lines(finding: Finding, image: Dataset, source: PhantomSeries) -> Any:
    import highdicom as hd

    numbers = [
        _number(quantity, [_on_slice(outline, image, source, hd.sr.CoordinatesForMeasurement)])
        for quantity, outline in zip(finding.quantities, finding.outlines, strict=True)
    ]
    return hd.sr.MeasurementsAndQualitativeEvaluations(**_common(finding, numbers))


def _volumetric(finding: Finding, image: Dataset, source: PhantomSeries) -> Any:
    import highdicom as hd
    from pydicom.uid import SegmentationStorage

    assert finding.segment is not None
    segment = hd.sr.ReferencedSegment(
        SegmentationStorage, *finding.segment, source_series=hd.sr.SourceSeriesForSegmentation(source.uid)
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=segment, **_common(finding, [_number(one) for one in finding.quantities])
    )


_WRITERS: dict[str, Callable[[Finding, Any, PhantomSeries], Any]] = {
    "1410": _planar,
    "1411": _volumetric,
    "1501": _lines,
}
"""What makes the group of a template."""
