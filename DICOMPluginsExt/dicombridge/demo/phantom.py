"""The phantom study: CT, oblique MR and PET of the drawn torso, and what others make of them.

The images and the treatment are written with pydicom, the segmentations and the map with highdicom, so that the
library's readers meet objects that its own writers had no hand in. All UIDs are the same on every run.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.demo import anatomy

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from dicombridge.demo.findings import ReportTruth
    from dicombridge.demo.motion import Motion
    from dicombridge.demo.quantities import MapTruth
    from dicombridge.demo.radiotherapy import Treatment
    from dicombridge.demo.slides import SlideTruth

__all__ = [
    "PhantomSeries",
    "PhantomStudy",
    "Truth",
    "centred_affine",
    "decimal",
    "image_header",
    "phantom_uid",
    "write_study",
]


@dataclass(frozen=True)
class PhantomSeries:
    """An image series of the phantom.

    Attributes
    ----------
    name
        Series description.
    directory
        Where its files are.
    files
        In slice order.
    uid
        SeriesInstanceUID.
    affine
        (4, 4) maps ``(slice, row, column, 1)`` to LPS mm.
    values
        (slices, rows, columns) HU for CT, arbitrary for MR.
    """

    name: str
    directory: Path
    files: tuple[Path, ...]
    uid: str
    affine: NDArray[np.float64]
    values: NDArray[Any]


@dataclass(frozen=True)
class Truth:
    """A segmentation file and what its segments must contain.

    Attributes
    ----------
    name
        Series description.
    file
        The SEG object.
    type
        SegmentationType: BINARY, LABELMAP or FRACTIONAL.
    source
        The series that it lies on; arrays below have its shape.
    segments
        Label -> (slices, rows, columns); bool, or float 0 to 1 for FRACTIONAL.
    """

    name: str
    file: Path
    type: str
    source: PhantomSeries
    segments: dict[str, NDArray[Any]] = field(repr=False)


@dataclass(frozen=True)
class PhantomStudy:
    """Everything that :func:`write_study` wrote; ``uptake`` is the PET in SUV by body weight."""

    directory: Path
    ct: PhantomSeries
    mr: PhantomSeries
    segmentations: tuple[Truth, ...]
    pet: PhantomSeries
    uptake: NDArray[np.float64]
    diffusion: MapTruth
    treatment: Treatment
    motion: Motion
    report: ReportTruth
    slide: SlideTruth


def phantom_uid(name: str) -> str:
    """Return the UID of the thing of this name, always the same (PS3.5 B.2: ``2.25.`` and a UUID)."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_URL, 'https://dicombridge.invalid/phantom/' + name).int}"


def write_study(directory: str | Path) -> PhantomStudy:
    """Write the phantom study into a folder.

    Parameters
    ----------
    directory
        Made if it does not exist. Files of an earlier run are replaced.

    Returns
    -------
    PhantomStudy
        Files, geometry and true voxels.
    """
    from dicombridge.demo.findings import write_report
    from dicombridge.demo.motion import write_motion
    from dicombridge.demo.quantities import write_diffusion_map, write_pet
    from dicombridge.demo.radiotherapy import write_treatment
    from dicombridge.demo.slides import write_slide

    root = Path(directory)
    ct = _write_ct(root / "ct")
    mr = _write_mr(root / "mr")
    (root / "seg").mkdir(parents=True, exist_ok=True)
    segmentations = tuple(_write_segmentations(root / "seg", ct, mr))
    pet, uptake = write_pet(root / "pet")
    diffusion, treatment = write_diffusion_map(root / "map", mr), write_treatment(root / "rt", ct)
    motion = write_motion(root / "motion", ct)
    report = write_report(root / "sr", ct, segmentations[0])
    slide = write_slide(root / "slide")
    return PhantomStudy(root, ct, mr, segmentations, pet, uptake, diffusion, treatment, motion, report, slide)


# Images -----------------------------------------------------------------------------------------------------------

_CT_SHAPE, _CT_SPACING = (60, 128, 128), (4.0, 2.7, 2.7)
_MR_SHAPE, _MR_SPACING = (24, 96, 128), (6.0, 2.6, 2.6)


def centred_affine(
    directions: NDArray[np.float64], spacing: Sequence[float], shape: Sequence[int], centre: Sequence[float]
) -> NDArray[np.float64]:
    """Return the affine of a grid around a centre; the columns of ``directions`` are slice, row and column axes."""
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(spacing)
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    # Exactly what fits into a decimal string: readers then see the very numbers that the truth was computed with.
    return np.array([[float(f"{value:.10g}") for value in line] for line in affine])


def _oblique_directions() -> NDArray[np.float64]:
    """Return axes of the MR planes: coronal, turned by 25 degrees about z and tipped by 15 degrees about x."""
    turn, tip = np.deg2rad([25.0, 15.0])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]])
    column_of_pixel, row_of_pixel = np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
    coronal = np.stack([np.cross(column_of_pixel, row_of_pixel), row_of_pixel, column_of_pixel], axis=1)
    return about_z @ about_x @ coronal


def _write_ct(directory: Path) -> PhantomSeries:
    affine = centred_affine(np.eye(3)[:, [2, 1, 0]], _CT_SPACING, _CT_SHAPE, (0.0, 0.0, 0.0))
    values = anatomy.ct_values(anatomy.points_of_grid(affine, _CT_SHAPE), seed=1)
    specific = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "Modality": "CT",
        "SeriesNumber": 2,
        "SeriesDescription": "CT abdomen portal venous",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "KVP": "120",
        "XRayTubeCurrent": "210",
        "ExposureTime": "500",
        "ConvolutionKernel": "STANDARD",
        "WindowCenter": "50",
        "WindowWidth": "400",
        "WindowCenterWidthExplanation": "ABDOMEN",
    }
    return _write_series(directory, "CT", specific, values, (values.astype(np.int32) + 1024).astype(np.uint16), affine)


def _write_mr(directory: Path) -> PhantomSeries:
    affine = centred_affine(_oblique_directions(), _MR_SPACING, _MR_SHAPE, (-12.0, 12.0, -10.0))
    values = anatomy.mr_values(anatomy.points_of_grid(affine, _MR_SHAPE), seed=2)
    specific = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
        "Modality": "MR",
        "SeriesNumber": 3,
        "SeriesDescription": "MR T1 oblique",
        "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "ScanOptions": "",
        "MRAcquisitionType": "2D",
        "RepetitionTime": "120",
        "EchoTime": "2.3",
        "FlipAngle": "70",
        "EchoTrainLength": "1",
        "MagneticFieldStrength": "1.5",
        "WindowCenter": "420",
        "WindowWidth": "900",
    }
    return _write_series(directory, "MR", specific, values, values, affine)


def _write_series(
    directory: Path,
    key: str,
    specific: dict[str, Any],
    values: NDArray[Any],
    stored: NDArray[np.uint16],
    affine: NDArray[np.float64],
) -> PhantomSeries:
    """Write one single-frame file a slice; ``stored`` are the pixel values before rescale."""
    directory.mkdir(parents=True, exist_ok=True)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    series_uid = phantom_uid(f"series/{key}")
    files = []
    for index, pixels in enumerate(stored):
        dataset = image_header(series_uid, specific)
        dataset.SOPInstanceUID = phantom_uid(f"instance/{key}/{index}")
        dataset.InstanceNumber = index + 1
        position = affine[:3, 3] + index * affine[:3, 0]
        dataset.ImagePositionPatient = [decimal(value) for value in position]
        cosines = np.concatenate([affine[:3, 2] / spacing[2], affine[:3, 1] / spacing[1]])
        dataset.ImageOrientationPatient = [decimal(value) for value in cosines]
        dataset.PixelSpacing = [decimal(spacing[1]), decimal(spacing[2])]
        dataset.SliceThickness = decimal(spacing[0])
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.SmallestImagePixelValue = int(pixels.min())
        dataset.LargestImagePixelValue = int(pixels.max())
        dataset["SmallestImagePixelValue"].VR = dataset["LargestImagePixelValue"].VR = "US"
        dataset.PixelData = np.ascontiguousarray(pixels, dtype="<u2").tobytes()
        files.append(directory / f"{key}{index + 1:03d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return PhantomSeries(specific["SeriesDescription"], directory, tuple(files), series_uid, affine, values)


def decimal(value: float) -> str:
    """Return a number as a decimal string (PS3.5 6.2: at most 16 characters)."""
    return f"{value:.10g}" if abs(value) > 1e-9 else "0"


def image_header(series_uid: str, specific: dict[str, Any]) -> Dataset:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    common = {
        "PatientName": "Phantom^Torso",
        "PatientID": "DICOMBRIDGE-PHANTOM",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
        "PatientAge": "055Y",
        "PatientPosition": "HFS",
        "StudyInstanceUID": phantom_uid("study"),
        "StudyID": "1",
        "StudyDate": "20250102",
        "StudyTime": "080000",
        "StudyDescription": "DICOMBridge phantom",
        "AccessionNumber": "1",
        "ReferringPhysicianName": "",
        "SeriesInstanceUID": series_uid,
        "SeriesDate": "20250102",
        "SeriesTime": "080500",
        "ContentDate": "20250102",
        "ContentTime": "080600",
        "AcquisitionDate": "20250102",
        "AcquisitionTime": "080600",
        "AcquisitionNumber": 1,
        "FrameOfReferenceUID": phantom_uid("frame of reference"),
        "PositionReferenceIndicator": "",
        "Manufacturer": "DICOMBridge",
        "ManufacturerModelName": "Phantom",
        "DeviceSerialNumber": "1",
        "SoftwareVersions": "1",
        "BodyPartExamined": "ABDOMEN",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
    }
    for keyword, value in (common | specific).items():
        setattr(dataset, keyword, value)
    return dataset


# Segmentations ----------------------------------------------------------------------------------------------------

# Label -> codes of property type, laterality (or none), CIELab colour as sRGB.
_SEGMENTS: dict[str, tuple[tuple[str, str], str, tuple[int, int, int]]] = {
    "Liver": (("10200004", "Liver"), "", (221, 130, 101)),
    "Liver lesion": (("52988006", "Lesion"), "", (144, 238, 144)),
    "Spleen": (("78961009", "Spleen"), "", (157, 108, 162)),
    "Right kidney": (("64033007", "Kidney"), "Right", (185, 102, 83)),
    "Left kidney": (("64033007", "Kidney"), "Left", (212, 188, 102)),
    "Aorta": (("15825003", "Aorta"), "", (224, 97, 76)),
    "Spine": (("421060004", "Spine"), "", (226, 202, 134)),
    "Right lung": (("39607008", "Lung"), "Right", (125, 180, 214)),
    "Left lung": (("39607008", "Lung"), "Left", (108, 142, 191)),
    "Pancreas": (("15776009", "Pancreas"), "", (249, 180, 111)),
}
_LATERALITY = {"Right": ("24028007", "Right"), "Left": ("7771000", "Left")}


def _write_segmentations(directory: Path, ct: PhantomSeries, mr: PhantomSeries) -> list[Truth]:
    overlapping = ["Liver", "Liver lesion", "Right kidney", "Left kidney", "Aorta", "Pancreas"]
    partition = ["Right lung", "Left lung", "Liver", "Spleen", "Right kidney", "Left kidney", "Aorta", "Spine"]
    return [
        _write_seg(directory, "CT organs and lesion", 11, "BINARY", ct, _masks(ct, overlapping)),
        _write_seg(directory, "CT organ map", 12, "LABELMAP", ct, _disjoint(_masks(ct, partition))),
        _write_seg(directory, "CT liver probability", 13, "FRACTIONAL", ct, _probabilities(ct, ["Liver"])),
        _write_seg(directory, "MR organs", 14, "BINARY", mr, _masks(mr, ["Liver", "Liver lesion", "Spleen", "Aorta"])),
    ]


def _masks(series: PhantomSeries, labels: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Return the voxels whose centre is inside; an organ that the phantom does not have stays empty."""
    shape = series.values.shape
    points = anatomy.points_of_grid(series.affine, shape)
    nothing = np.zeros(shape, dtype=bool)
    return {label: anatomy.ORGANS[label](points) <= 1.0 if label in anatomy.ORGANS else nothing for label in labels}


def _disjoint(masks: dict[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
    taken = np.zeros(next(iter(masks.values())).shape, dtype=bool)
    result = {}
    for label, mask in masks.items():
        result[label] = mask & ~taken
        taken |= mask
    return result


def _probabilities(series: PhantomSeries, labels: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return probabilities that fall off softly around the organ's surface, in the 256 steps that a file can hold."""
    points = anatomy.points_of_grid(series.affine, series.values.shape)
    result = {}
    for label in labels:
        level = anatomy.ORGANS[label](points)
        probability = 1.0 / (1.0 + np.exp(np.clip((level - 1.0) * 22.0, -50.0, 50.0)))
        result[label] = np.rint(probability * 255.0) / 255.0
    return result


def _write_seg(
    directory: Path, name: str, number: int, kind: str, source: PhantomSeries, segments: dict[str, NDArray[Any]]
) -> Truth:
    import highdicom as hd
    from pydicom import dcmread

    labels = list(segments)
    pixels: NDArray[Any]
    if kind == "LABELMAP":
        pixels = np.zeros(source.values.shape, dtype=np.uint8)
        for label_number, mask in enumerate(segments.values(), start=1):
            pixels[mask] = label_number
    else:
        pixels = np.stack([segments[label] for label in labels], axis=-1)
    dataset = hd.seg.Segmentation(
        source_images=[dcmread(file) for file in source.files],
        pixel_array=pixels.astype(np.float64) if kind == "FRACTIONAL" else pixels.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=[_description(index, label) for index, label in enumerate(labels, start=1)],
        series_instance_uid=phantom_uid(f"series/{name}"),
        series_number=number,
        sop_instance_uid=phantom_uid(f"instance/{name}"),
        instance_number=1,
        manufacturer="highdicom",
        manufacturer_model_name="highdicom.seg.Segmentation",
        software_versions=hd.__version__,
        device_serial_number="1",
        content_label="PHANTOM",
        content_description=name,
        content_creator_name="Phantom^Maker",
        series_description=name,
    )
    file = directory / f"{name.lower().replace(' ', '_')}.dcm"
    dataset.save_as(file, enforce_file_format=True)
    return Truth(name, file, kind, source, segments)


def _description(number: int, label: str) -> Any:
    import highdicom as hd
    from highdicom.color import CIELabColor
    from pydicom.sr.coding import Code

    (value, meaning), side, colour = _SEGMENTS[label]
    is_lesion = label == "Liver lesion"
    category = (
        Code("49755003", "SCT", "Morphologically Altered Structure")
        if is_lesion
        else Code("123037004", "SCT", "Anatomical Structure")
    )
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=category,
        segmented_property_type=Code(value, "SCT", meaning),
        algorithm_type="MANUAL" if is_lesion else "AUTOMATIC",
        algorithm_identification=None
        if is_lesion
        else hd.AlgorithmIdentificationSequence(
            name="Phantom formula", family=Code("123110", "DCM", "Artificial Intelligence"), version="1"
        ),
        tracking_uid=phantom_uid(f"tracking/{label}"),
        tracking_id=f"{label} of the phantom",
        anatomic_regions=[Code("10200004", "SCT", "Liver")] if is_lesion else None,
        display_color=CIELabColor.from_rgb(*colour),
    )
    if side:
        modifier = hd.sr.CodedConcept(*_LATERALITY[side][:1], "SCT", _LATERALITY[side][1])
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return description
