"""Measurement reports (PS3.16 TID 1500) by highdicom, each with what it says as plain values.

Points that are expected come from the equation of PS3.3 C.7.6.2.1.1 in :mod:`support.sr_images`, never from the
library. A case is a function that writes its images and its report below an empty folder::

    path, expected = CASES["planar axial"](folder)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from highdicom import sr
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from support.items import read
from support.rwv_objects import group as mapped_images
from support.rwv_objects import mapping_item, write_object
from support.sr_images import ORIENTATIONS, SeriesOfImages, write_multi_frame, write_series

Pair = tuple[str, str]
"""Value and scheme of a code."""


@dataclass
class ExpectedMeasurement:
    """A number; codes are (value, scheme)."""

    concept: Pair
    value: float
    units: Pair
    method: Pair | None = None
    derivation: Pair | None = None
    qualifier: Pair | None = None
    sites: list[tuple[Pair | None, ...]] = field(default_factory=list)
    algorithm: tuple[str, str] | None = None
    points: list[NDArray[np.float64]] = field(default_factory=list)
    """(n, 3) LPS mm of the coordinates that it was inferred from."""


@dataclass
class ExpectedRegion:
    """A region: Graphic Type, (n, 3) LPS mm in the order of the Graphic Data, and where it was drawn."""

    type: str
    points: NDArray[np.float64]
    is_3d: bool = False
    image: str = ""
    frame: int = 0
    purpose: Pair = ("111030", "DCM")


@dataclass
class ExpectedGroup:
    """A measurement group; sites are (site, laterality, topographical modifiers)."""

    tracking_identifier: str
    tracking_uid: str
    template: str = "1410"
    finding: Pair | None = None
    category: Pair | None = None
    sites: list[tuple[Pair | None, ...]] = field(default_factory=list)
    method: Pair | None = None
    session: str = ""
    time_point: dict[str, Any] = field(default_factory=dict)
    algorithm: tuple[str, str] | None = None
    measurements: list[ExpectedMeasurement] = field(default_factory=list)
    evaluations: list[tuple[Pair, Pair]] = field(default_factory=list)
    regions: list[ExpectedRegion] = field(default_factory=list)
    segments: list[tuple[str, int, list[int]]] = field(default_factory=list)
    """(SOP Instance UID, segment number, frame numbers)."""
    real_world_value_map: str = ""
    source_images: list[str] = field(default_factory=list)
    source_series: str = ""


@dataclass
class Expected:
    """What a report says, and the images that it is about."""

    images: SeriesOfImages
    groups: list[ExpectedGroup]
    persons: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    library: list[str] = field(default_factory=list)
    """SOP Instance UIDs of the image library."""
    faults: str = ""
    """Regular expression of the errors that dciodvfy finds in it and that are highdicom's."""


Case = Callable[[Path], tuple[Path, Expected]]

MASS = Code("4147007", "SCT", "Mass")
LIVER = Code("10200004", "SCT", "Liver")
LUNG = Code("39607008", "SCT", "Lung")
SIGNIFICANT = Code("386134007", "SCT", "Significant")
RIGHT = Code("24028007", "SCT", "Right")
UPPER_LOBE = Code("45653009", "SCT", "Upper lobe of lung")
MILLIMETRE, SQUARE_MILLIMETRE = codes.UCUM.Millimeter, codes.UCUM.SquareMillimeter
HOUNSFIELD = codes.UCUM.HounsfieldUnit
PERSON, DEVICE = "Müller-Lüdenscheidt^Günther", "Messgerät Ω"

SCOORDS: dict[str, tuple[str, list[tuple[float, float]]]] = {
    "point": ("POINT", [(12.25, 7.75)]),
    "first pixel": ("POINT", [(0.5, 0.5)]),
    "open line": ("POLYLINE", [(3.5, 4.0), (20.25, 9.5), (31.0, 22.75)]),
    "closed line": ("POLYLINE", [(5.0, 5.0), (25.5, 6.25), (22.0, 30.5), (6.75, 24.0), (5.0, 5.0)]),
    "circle": ("CIRCLE", [(20.0, 16.5), (26.5, 16.5)]),
    "ellipse": ("ELLIPSE", [(8.0, 20.0), (32.0, 20.0), (20.0, 14.0), (20.0, 26.0)]),
}
"""Graphic Type and (column, row) of regions in a plane; numbers that 32 bits hold."""


def pair(code: Any) -> Pair:
    return code.value, code.scheme_designator


# --- The document --------------------------------------------------------------------------------------------------


def write_report(
    folder: Path,
    images: SeriesOfImages,
    groups: Sequence[Any],
    sop_class: Any = None,
    library: Sequence[Any] = (),
    evidence: Sequence[Any] = (),
    name: str = "sr.dcm",
    **values: Any,
) -> Path:
    """Write a report of highdicom's groups, observed by a person and a device whose names are not of ASCII alone."""
    report = sr.MeasurementReport(
        observation_context=_observers(),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=list(groups),
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=list(library) or None,
    )
    document = (sop_class or sr.Comprehensive3DSR)(
        evidence=[*images.datasets, *evidence],
        content=report[0],
        series_instance_uid=generate_uid(),
        series_number=50,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        is_complete=True,
        series_description="Messungen",
        **values,
    )
    document.SpecificCharacterSet = "ISO_IR 192"
    path = folder / "sr" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    document.save_as(path)
    return path


def _observers() -> Any:
    person = sr.PersonObserverIdentifyingAttributes(PERSON, organization_name="Überlingen")
    device = sr.DeviceObserverIdentifyingAttributes(
        "1.2.826.0.1.77", DEVICE, "Hersteller", "Modell", "S-1", role_in_procedure=None
    )
    return sr.ObservationContext(
        sr.ObserverContext(codes.DCM.Person, person), sr.ObserverContext(codes.DCM.Device, device)
    )


def _tracked(identifier: str) -> tuple[Any, ExpectedGroup]:
    uid = generate_uid()
    return sr.TrackingIdentifier(uid, identifier), ExpectedGroup(identifier, uid)


def _length(value: float) -> tuple[Any, ExpectedMeasurement]:
    return (
        sr.Measurement(codes.SCT.Length, value, MILLIMETRE),
        ExpectedMeasurement(pair(codes.SCT.Length), value, pair(MILLIMETRE)),
    )


def _image(images: SeriesOfImages, plane: int, of: Any = sr.SourceImageForRegion) -> Any:
    return of(images.sop_class, images.uid(plane), images.frames(plane))


def _expected(images: SeriesOfImages, groups: list[ExpectedGroup], **values: Any) -> Expected:
    return Expected(images, groups, [PERSON], [DEVICE], **values)


# --- Planar regions ------------------------------------------------------------------------------------------------


def planar_regions(
    folder: Path, orientation: str = "axial", multi_frame: bool = False, sop_class: Any = None
) -> tuple[Path, Expected]:
    """A planar group (TID 1410) for each of :data:`SCOORDS`, each on a plane of its own as far as there are."""
    write = write_multi_frame if multi_frame else write_series
    images = write(folder / "images", orientation)
    groups, expected = [], []
    for number, (name, (graphic, data)) in enumerate(SCOORDS.items()):
        plane = number % images.shape[0]
        tracking, said = _tracked(name)
        measured, measurement = _length(10.5 + number)
        region = sr.ImageRegion(graphic, np.array(data), _image(images, plane))
        groups.append(
            sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking, region, finding_type=MASS, finding_sites=[sr.FindingSite(LIVER)], measurements=[measured]
            )
        )
        points = images.of_graphic(plane, data)
        frame = plane + 1 if multi_frame else 0
        said.regions = [ExpectedRegion(graphic, points, image=images.uid(plane), frame=frame)]
        said.finding, said.sites, said.measurements = pair(MASS), [(pair(LIVER), None, None)], [measurement]
        expected.append(said)
    return write_report(folder, images, groups, sop_class), _expected(images, expected)


def planar_in_space(folder: Path, orientation: str = "oblique") -> tuple[Path, Expected]:
    """A planar group for each Graphic Type of an SCOORD3D that a region may have."""
    images = write_series(folder / "images", orientation)
    pixels = {
        "POINT": [(11, 7)],
        "POLYLINE": [(3, 4), (20, 9), (31, 22)],
        "POLYGON": [(5, 5), (25, 6), (22, 30), (5, 5)],
        "ELLIPSE": [(8, 20), (32, 20), (20, 14), (20, 26)],
    }
    groups, expected = [], []
    for number, (graphic, indices) in enumerate(pixels.items()):
        tracking, said = _tracked(f"{graphic} in space")
        points = _of_32_bits(images.of_pixels(number, indices))
        region = sr.ImageRegion3D(graphic, points, images.frame_of_reference)
        groups.append(sr.PlanarROIMeasurementsAndQualitativeEvaluations(tracking, region, finding_type=MASS))
        said.finding, said.regions = pair(MASS), [ExpectedRegion(graphic, points, is_3d=True)]
        expected.append(said)
    return write_report(folder, images, groups), _expected(images, expected)


def _of_32_bits(points: Any) -> NDArray[np.float64]:
    """Return points as Graphic Data (VR FL) holds them; what coincides still does."""
    return np.asarray(points, np.float32).astype(np.float64)


# --- Volumetric regions --------------------------------------------------------------------------------------------


def volumetric(folder: Path, orientation: str = "sagittal") -> tuple[Path, Expected]:
    """Volumetric groups (TID 1411) by image regions and by volume surfaces of each Graphic Type."""
    images = write_series(folder / "images", orientation)
    square = np.array([(5, 5), (20, 5), (20, 16), (5, 16), (5, 5)])
    ring = np.array([(8, 20), (32, 20), (20, 14), (20, 26)])
    middle = images.of_pixels(2, [(20, 20)])
    reach = np.array([-1, 1])[:, None]
    normal = np.cross(images.row, images.column)
    axes = zip((images.row, images.column, normal), (9.0, 6.0, 4.0), strict=True)
    ball = np.concatenate([middle + reach * axis * size for axis, size in axes])
    shapes: list[tuple[str, list[Any]]] = [
        ("POLYGON", [images.of_pixels(plane, square + plane) for plane in range(4)]),
        ("ELLIPSE", [images.of_pixels(plane, ring + plane) for plane in range(3)]),
        ("ELLIPSOID", [ball]),
        ("POINT", [middle]),
    ]
    series = sr.SourceSeriesForSegmentation(images.series)
    groups, expected = [], []
    for number, (graphic, given) in enumerate(shapes):
        data = [_of_32_bits(points) for points in given]
        # Half of them name their images, the others their series.
        sources = None if number % 2 else [_image(images, plane, sr.SourceImageForSegmentation) for plane in (0, 1)]
        surface = sr.VolumeSurface(
            graphic, data if len(data) > 1 else data[0], images.frame_of_reference, sources, None if sources else series
        )
        tracking, said = _tracked(f"{graphic} surface")
        measured, measurement = _volume(1200.5 + number)
        groups.append(
            sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking, referenced_volume_surface=surface, finding_type=MASS, measurements=[measured]
            )
        )
        regions = [ExpectedRegion(graphic, points, is_3d=True, purpose=("121231", "DCM")) for points in data]
        said = replace(said, template="1411", finding=pair(MASS), measurements=[measurement], regions=regions)
        said.source_images = images.uids[:2] if sources else []
        said.source_series = "" if sources else images.series
        expected.append(said)
    group, said = _by_image_regions(images)
    return write_report(folder, images, [*groups, group]), _expected(images, [*expected, said])


def _volume(value: float) -> tuple[Any, ExpectedMeasurement]:
    units = codes.UCUM.CubicMillimeter
    return (
        sr.Measurement(codes.SCT.Volume, value, units),
        ExpectedMeasurement(pair(codes.SCT.Volume), value, pair(units)),
    )


def _by_image_regions(images: SeriesOfImages) -> tuple[Any, ExpectedGroup]:
    tracking, said = _tracked("contours in images")
    regions, found = [], []
    for plane in range(3):
        data = np.array([(5, 5), (20 + plane, 5), (20, 16.5), (5, 5)], float)
        regions.append(sr.ImageRegion("POLYLINE", data, _image(images, plane)))
        found.append(ExpectedRegion("POLYLINE", images.of_graphic(plane, data), image=images.uid(plane)))
    measured, measurement = _volume(333.25)
    group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking, referenced_regions=regions, finding_type=MASS, measurements=[measured]
    )
    return group, replace(said, template="1411", finding=pair(MASS), measurements=[measurement], regions=found)


def segments(folder: Path) -> tuple[Path, Expected]:
    """Groups whose regions are a segment, and frames of a segment."""
    images = write_series(folder / "images", "coronal")
    seg = write_segmentation(folder / "seg" / "seg.dcm", images)
    whole, said = _tracked("whole segment")
    measured, measurement = _volume(77.5)
    one = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        whole,
        referenced_segment=sr.ReferencedSegment(
            seg.SOPClassUID, seg.SOPInstanceUID, 2, source_series=sr.SourceSeriesForSegmentation(images.series)
        ),
        finding_type=MASS,
        measurements=[measured],
    )
    said = replace(said, template="1411", finding=pair(MASS), measurements=[measurement], source_series=images.series)
    said.segments = [(seg.SOPInstanceUID, 2, [])]
    part, other = _tracked("frame of a segment")
    measured, measurement = _length(4.75)
    image = _image(images, 1, sr.SourceImageForSegmentation)
    two = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        part,
        referenced_segment=sr.ReferencedSegmentationFrame(seg.SOPClassUID, seg.SOPInstanceUID, 2, 1, image),
        finding_type=MASS,
        measurements=[measured],
    )
    other = replace(other, finding=pair(MASS), measurements=[measurement], source_images=[images.uid(1)])
    other.segments = [(seg.SOPInstanceUID, 1, [2])]
    # highdicom names segment and frame, of which PS3.3 Table 10-3 wants the frame alone.
    faults = "ReferencedSegmentNumber.* Shall not be present when ReferencedFrameNumber"
    return write_report(folder, images, [one, two], evidence=[seg]), _expected(images, [said, other], faults=faults)


def write_segmentation(path: Path, images: SeriesOfImages) -> Any:
    """Two segments on all planes, boxes that lie apart; frames are sorted by segment, then plane."""
    mask = np.zeros((*images.shape, 2), np.uint8)
    mask[:, 5:15, 6:20, 0] = 1
    mask[:, 20:35, 22:40, 1] = 1
    described = [
        hd.seg.SegmentDescription(
            number, f"Segment {number}", codes.SCT.Tissue, MASS, hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            tracking_uid=generate_uid(), tracking_id=f"Segment {number}",
        )
        for number in (1, 2)
    ]  # fmt: skip
    seg = hd.seg.Segmentation(
        images.datasets, mask, hd.seg.SegmentationTypeValues.BINARY, described, generate_uid(), 20, generate_uid(), 1,
        "test", "test", "1", "1", omit_empty_frames=False, content_label="SEG",
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return seg


# --- All that a group can say --------------------------------------------------------------------------------------


def everything(folder: Path, multi_frame: bool = False) -> tuple[Path, Expected]:
    """A planar and a plain group (TID 1501) with whatever TID 1500 has a place for, and an image library."""
    images = (write_multi_frame if multi_frame else write_series)(folder / "images", "oblique")
    tracking, said = _tracked("Läsion №1: Größe")
    measured = [_full_measurement(images, said)]
    point_type = Code("C0441471", "UMLS", "Event")
    context: dict[str, Any] = {
        "finding_type": MASS,
        "finding_category": codes.SCT.MorphologicallyAbnormalStructure,
        "method": Code("120.1", "99TEST", "By hand"),
        "algorithm_id": sr.AlgorithmIdentification("Größenmesser", "2.0", ["--fast"]),
        "finding_sites": [sr.FindingSite(LUNG, RIGHT, UPPER_LOBE)],
        "session": "1",
        "time_point_context": sr.TimePointContext("Baseline", point_type, 0, "S1", "P1"),
        "qualitative_evaluations": [sr.QualitativeEvaluation(codes.DCM.LevelOfSignificance, SIGNIFICANT)],
    }
    data = SCOORDS["circle"][1]
    region = sr.ImageRegion("CIRCLE", np.array(data), _image(images, 2))
    planar = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking, region, measurements=measured, geometric_purpose=Code("75958009", "SCT", "Bounded by"), **context
    )
    points = images.of_graphic(2, data)
    said = replace(
        said, finding=pair(MASS), category=pair(codes.SCT.MorphologicallyAbnormalStructure), method=("120.1", "99TEST"),
        sites=[(pair(LUNG), pair(RIGHT), pair(UPPER_LOBE))], session="1", algorithm=("Größenmesser", "2.0"),
        time_point={"label": "Baseline", "type": pair(point_type), "order": 0, "subject": "S1", "protocol": "P1"},
        evaluations=[(pair(codes.DCM.LevelOfSignificance), pair(SIGNIFICANT))], source_images=[images.uid(2)],
        regions=[ExpectedRegion("CIRCLE", points, image=images.uid(2), frame=3 if multi_frame else 0)],
    )  # fmt: skip
    item = mapping_item(0.5, -10.0, first=-1024, last=3071, vr="SS")
    values = read(write_object(folder / "rwvm" / "rwvm.dcm", images.datasets, [mapped_images(images.datasets, item)]))
    plain, other = _plain_group(images, values.SOPInstanceUID)
    # Of multi-frame images, highdicom's library looks for attributes that only images of one frame have.
    library = [] if multi_frame else images.datasets[:2]
    path = write_report(folder, images, [planar, plain], library=library, evidence=[values])
    return path, _expected(images, [said, other], library=[one.SOPInstanceUID for one in library])


def _full_measurement(images: SeriesOfImages, said: ExpectedGroup) -> Any:
    mean, method = Code("373098007", "SCT", "Mean"), Code("126410", "DCM", "SUV body weight calculation method")
    said.measurements.append(
        ExpectedMeasurement(
            pair(codes.DCM.AttenuationCoefficient), -12.5, pair(HOUNSFIELD), pair(method), pair(mean),
            sites=[(pair(LUNG), pair(RIGHT), pair(UPPER_LOBE))], algorithm=("Mittelwert", "1.0"),
        )
    )  # fmt: skip
    return sr.Measurement(
        codes.DCM.AttenuationCoefficient, -12.5, HOUNSFIELD,
        derivation=mean,
        method=method,
        algorithm_id=sr.AlgorithmIdentification("Mittelwert", "1.0"),
        finding_sites=[sr.FindingSite(LUNG, RIGHT, UPPER_LOBE)],
        properties=sr.MeasurementProperties(
            normality=Code("17621005", "SCT", "Normal"), level_of_significance=SIGNIFICANT,
            upper_measurement_uncertainty=1.5, lower_measurement_uncertainty=0.5,
        ),
        referenced_images=[_image(images, 2, sr.SourceImageForMeasurement)],
    )  # fmt: skip


def _inferred_measurement(images: SeriesOfImages, said: ExpectedGroup) -> Any:
    """Return a length of two points in an image, with a qualifier."""
    data = [(4.5, 8.25), (30.0, 8.25)]
    qualifier = Code("114008", "DCM", "Measurement attempted")
    said.measurements.append(
        ExpectedMeasurement(
            pair(codes.SCT.Length), 33.15, pair(MILLIMETRE), qualifier=pair(qualifier),
            points=[images.of_graphic(2, data)],
        )
    )  # fmt: skip
    coordinates = sr.CoordinatesForMeasurement("MULTIPOINT", np.array(data), _image(images, 2))
    return sr.Measurement(
        codes.SCT.Length, 33.15, MILLIMETRE, qualifier=qualifier, referenced_coordinates=[coordinates]
    )


def _plain_group(images: SeriesOfImages, rwvm: str) -> tuple[Any, ExpectedGroup]:
    """Return a group of TID 1501, which alone has coordinates of its measurements; MULTIPOINT is not for regions."""
    tracking, said = _tracked("plain")
    points = _of_32_bits(images.of_pixels(1, [(3, 4), (9, 14), (22, 7)]))
    coordinates = sr.CoordinatesForMeasurement3D("MULTIPOINT", points, images.frame_of_reference)
    said.measurements.append(ExpectedMeasurement(pair(codes.SCT.Length), 21.0, pair(MILLIMETRE), points=[points]))
    in_space = sr.Measurement(codes.SCT.Length, 21.0, MILLIMETRE, referenced_coordinates=[coordinates])
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking,
        finding_type=MASS,
        referenced_real_world_value_map=sr.RealWorldValueMap(rwvm),
        measurements=[in_space, _inferred_measurement(images, said)],
        source_images=[_image(images, 1, sr.SourceImageForMeasurementGroup)],
    )
    return group, replace(
        said, template="1501", finding=pair(MASS), real_world_value_map=rwvm, source_images=[images.uid(1)]
    )


CASES: dict[str, Case] = {
    **{f"planar {name}": partial(planar_regions, orientation=name) for name in ORIENTATIONS},
    "planar multi-frame": partial(planar_regions, orientation="oblique", multi_frame=True),
    "planar Comprehensive SR": partial(planar_regions, sop_class=sr.ComprehensiveSR),
    "planar Enhanced SR": partial(planar_regions, sop_class=sr.EnhancedSR),
    "planar in space": planar_in_space,
    "volumetric": volumetric,
    "segments": segments,
    "everything": everything,
    "everything multi-frame": partial(everything, multi_frame=True),
}
"""All reports by name."""
