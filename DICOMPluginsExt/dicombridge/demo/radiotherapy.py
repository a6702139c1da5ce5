"""A treatment of the phantom's lesion: structure set, plan and dose, written attribute by attribute with pydicom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.demo import anatomy
from dicombridge.demo.phantom import PhantomSeries, decimal, image_header, phantom_uid

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["Treatment", "write_treatment"]

_ISOCENTRE = (-88.0, -20.0, -2.0)  # LPS mm: the middle of the lesion
_GANTRY_ANGLES = (200.0, 270.0, 330.0)
_METERSETS = (96.4, 112.25, 88.1)
_FRACTIONS, _PRESCRIPTION_GY = 30, 60.0
_DOSE_SHAPE, _DOSE_SPACING = (44, 60, 84), (4.0, 4.0, 4.0)
_DOSE_ORIGIN = (-166.0, -118.0, -88.0)
# Name, interpreted type, colour of each structure; those of the phantom that a planner would draw.
_STRUCTURES = {
    "Liver lesion": ("GTV", (230, 40, 40)),
    "Liver": ("ORGAN", (221, 130, 101)),
    "Right kidney": ("ORGAN", (185, 102, 83)),
    "Aorta": ("ORGAN", (224, 97, 76)),
    "Body": ("EXTERNAL", (60, 200, 90)),
}
_POINTS = 240


@dataclass(frozen=True)
class Treatment:
    """The objects, and what they must contain.

    Attributes
    ----------
    structure_set, plan, dose
        Files.
    source
        The images that the structures were drawn on.
    masks
        Structure -> (slices, rows, columns) of the voxels of ``source`` whose centre is inside.
    contours
        Structure -> number of contours.
    isocentre
        LPS mm.
    metersets
        Of each beam, in MU.
    dose_values
        (slices, rows, columns) Gy.
    dose_affine
        (4, 4) maps ``(slice, row, column, 1)`` to LPS mm.
    """

    structure_set: Path
    plan: Path
    dose: Path
    source: PhantomSeries
    masks: dict[str, NDArray[np.bool_]]
    contours: dict[str, int]
    isocentre: tuple[float, float, float]
    metersets: tuple[float, ...]
    dose_values: NDArray[np.float64]
    dose_affine: NDArray[np.float64]


def write_treatment(directory: Path, source: PhantomSeries) -> Treatment:
    """Write structure set, plan and dose into a folder, on the images of a series."""
    directory.mkdir(parents=True, exist_ok=True)
    points = anatomy.points_of_grid(source.affine, source.values.shape)
    masks = {name: anatomy.ORGANS[name](points) <= 1.0 for name in _STRUCTURES}
    structures, counts = _structure_set(source)
    affine = np.eye(4)[:, [2, 1, 0, 3]] * np.array([*_DOSE_SPACING, 1.0])
    affine[:3, 3] = _DOSE_ORIGIN
    dose, values = _dose(affine)
    files = {"structures": structures, "plan": _plan(), "dose": dose}
    paths = {name: directory / f"{name}.dcm" for name in files}
    for name, dataset in files.items():
        dataset.save_as(paths[name], enforce_file_format=True)
    return Treatment(
        structure_set=paths["structures"],
        plan=paths["plan"],
        dose=paths["dose"],
        source=source,
        masks=masks,
        contours=counts,
        isocentre=_ISOCENTRE,
        metersets=_METERSETS,
        dose_values=values,
        dose_affine=affine,
    )


def _header(modality: str, sop_class: str, number: int, name: str) -> Dataset:
    """Return patient, study and series of an object that is no image of the patient."""
    dataset = image_header(
        phantom_uid(f"series/{modality}"),
        {
            "SOPClassUID": sop_class,
            "SOPInstanceUID": phantom_uid(f"instance/{modality}"),
            "Modality": modality,
            "SeriesNumber": number,
            "SeriesDescription": name,
            "InstanceNumber": 1,
            "OperatorsName": "",
        },
    )
    for keyword in (
        "AcquisitionDate",
        "AcquisitionNumber",
        "AcquisitionTime",
        "BitsAllocated",
        "BitsStored",
        "BodyPartExamined",
        "ContentDate",
        "ContentTime",
        "HighBit",
        "PatientPosition",
        "PhotometricInterpretation",
        "PixelRepresentation",
        "SamplesPerPixel",
    ):
        delattr(dataset, keyword)
    return dataset


def _item(**attributes: Any) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


# Structure set ----------------------------------------------------------------------------------------------------


def _structure_set(source: PhantomSeries) -> tuple[Dataset, dict[str, int]]:
    dataset = _header("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3", 20, "Structures")
    dataset.StructureSetLabel, dataset.StructureSetName = "Liver lesion", "Structures of the phantom"
    dataset.StructureSetDate, dataset.StructureSetTime = "20250102", "090000"
    dataset.ApprovalStatus = "UNAPPROVED"
    images = [
        _item(
            ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=phantom_uid(f"instance/CT/{n}")
        )
        for n in range(len(source.files))
    ]
    series = _item(SeriesInstanceUID=source.uid, ContourImageSequence=images)
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=phantom_uid("study"),
        RTReferencedSeriesSequence=[series],
    )
    frame = phantom_uid("frame of reference")
    dataset.ReferencedFrameOfReferenceSequence = [_item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    counts = {}
    for number, (name, (interpreted, colour)) in enumerate(_STRUCTURES.items(), start=1):
        contours = [_contour(images[place], outline) for place, outline in _outlines(name, source)]
        counts[name] = len(contours)
        dataset.StructureSetROISequence.append(
            _item(ROINumber=number, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm="MANUAL")
        )
        dataset.ROIContourSequence.append(
            _item(ROIDisplayColor=list(colour), ReferencedROINumber=number, ContourSequence=contours)
        )
        dataset.RTROIObservationsSequence.append(
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType=interpreted,
                ROIInterpreter="Phantom^Planner",
            )
        )
    return dataset, counts


def _contour(image: Dataset, outline: NDArray[np.float64]) -> Dataset:
    return _item(
        ContourImageSequence=[image],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(outline),
        ContourData=[decimal(value) for value in outline.ravel()],
    )


def _outlines(name: str, source: PhantomSeries) -> list[tuple[int, NDArray[np.float64]]]:
    """Return slice and (n, 3) LPS mm of the outlines of an organ: found along rays, by halving the interval.

    A ray starts at the organ's middle in the slice and meets its surface once in organs that are as round as these.
    """
    level = anatomy.ORGANS[name]
    points = anatomy.points_of_grid(source.affine, source.values.shape)
    inside = level(points) <= 1.0
    angles = np.linspace(0.0, 2.0 * np.pi, _POINTS, endpoint=False)
    found = []
    for place in np.flatnonzero(inside.any(axis=(1, 2))):
        x0, y0 = (float(axis[place][inside[place]].mean()) for axis in points[:2])
        z = float(points[2][place, 0, 0])
        near, far = np.zeros(_POINTS), np.full(_POINTS, 260.0)
        for _ in range(40):
            middle = (near + far) / 2
            ray = x0 + middle * np.cos(angles), y0 + middle * np.sin(angles), np.full(_POINTS, z)
            within = level(ray) <= 1.0
            near, far = np.where(within, middle, near), np.where(within, far, middle)
        outline = np.stack([x0 + near * np.cos(angles), y0 + near * np.sin(angles), np.full(_POINTS, z)], axis=1)
        if near.max() > 1.0:
            found.append((int(place), np.round(outline, 3)))
    return found


# Plan -------------------------------------------------------------------------------------------------------------


def _plan() -> Dataset:
    dataset = _header("RTPLAN", "1.2.840.10008.5.1.4.1.1.481.5", 21, "Plan")
    dataset.RTPlanLabel, dataset.RTPlanName = "Lesion", "Three fields on the lesion"
    dataset.RTPlanDate, dataset.RTPlanTime = "20250102", "093000"
    dataset.RTPlanGeometry, dataset.PlanIntent, dataset.ApprovalStatus = "PATIENT", "RESEARCH", "UNAPPROVED"
    dataset.DoseReferenceSequence = [
        _item(
            DoseReferenceNumber=1,
            DoseReferenceStructureType="VOLUME",
            DoseReferenceDescription="Lesion",
            ReferencedROINumber=1,
            DoseReferenceType="TARGET",
            TargetPrescriptionDose=decimal(_PRESCRIPTION_GY),
        )
    ]
    beams = [
        _item(ReferencedBeamNumber=number, BeamDose=decimal(2.0 / len(_METERSETS)), BeamMeterset=decimal(meterset))
        for number, meterset in enumerate(_METERSETS, start=1)
    ]
    dataset.FractionGroupSequence = [
        _item(
            FractionGroupNumber=1,
            NumberOfFractionsPlanned=_FRACTIONS,
            NumberOfBeams=len(beams),
            NumberOfBrachyApplicationSetups=0,
            ReferencedBeamSequence=beams,
        )
    ]
    dataset.BeamSequence = [_beam(number, angle) for number, angle in enumerate(_GANTRY_ANGLES, start=1)]
    dataset.PatientSetupSequence = [_item(PatientSetupNumber=1, PatientPosition="HFS", SetupTechnique="ISOCENTRIC")]
    dataset.ReferencedStructureSetSequence = [
        _item(
            ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.481.3",
            ReferencedSOPInstanceUID=phantom_uid("instance/RTSTRUCT"),
        )
    ]
    return dataset


def _beam(number: int, angle: float) -> Dataset:
    jaws = [_item(RTBeamLimitingDeviceType=kind, LeafJawPositions=["-28", "28"]) for kind in ("ASYMX", "ASYMY")]
    first = _item(
        ControlPointIndex=0,
        NominalBeamEnergy="6",
        DoseRateSet="400",
        BeamLimitingDevicePositionSequence=jaws,
        GantryAngle=decimal(angle),
        GantryRotationDirection="NONE",
        BeamLimitingDeviceAngle="0",
        BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle="0",
        PatientSupportRotationDirection="NONE",
        TableTopEccentricAngle="0",
        TableTopEccentricRotationDirection="NONE",
        TableTopVerticalPosition="",
        TableTopLongitudinalPosition="",
        TableTopLateralPosition="",
        IsocenterPosition=[decimal(value) for value in _ISOCENTRE],
        CumulativeMetersetWeight="0",
    )
    return _item(
        TreatmentMachineName="Phantom linac",
        PrimaryDosimeterUnit="MU",
        SourceAxisDistance="1000",
        BeamLimitingDeviceSequence=[
            _item(RTBeamLimitingDeviceType=kind, NumberOfLeafJawPairs=1) for kind in ("ASYMX", "ASYMY")
        ],
        BeamNumber=number,
        BeamName=f"Gantry {angle:g}",
        BeamType="STATIC",
        RadiationType="PHOTON",
        TreatmentDeliveryType="TREATMENT",
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        FinalCumulativeMetersetWeight="1",
        NumberOfControlPoints=2,
        ControlPointSequence=[first, _item(ControlPointIndex=1, CumulativeMetersetWeight="1")],
        ReferencedPatientSetupNumber=1,
    )


# Dose -------------------------------------------------------------------------------------------------------------


def _dose(affine: NDArray[np.float64]) -> tuple[Dataset, NDArray[np.float64]]:
    """Return a dose of 32 bits and its values in Gy: three fields that cross in the lesion."""
    points = anatomy.points_of_grid(affine, _DOSE_SHAPE)
    dose = np.zeros(_DOSE_SHAPE)
    for angle, meterset in zip(np.deg2rad(_GANTRY_ANGLES), _METERSETS, strict=True):
        x, y, z = (axis - centre for axis, centre in zip(points, _ISOCENTRE, strict=True))
        depth = -x * np.sin(angle) + y * np.cos(angle)  # away from the source
        across = x * np.cos(angle) + y * np.sin(angle)
        edge = 1.0 / (1.0 + np.exp((np.maximum(np.abs(across), np.abs(z)) - 28.0) / 2.5))
        dose += meterset * edge * np.exp(-depth / 230.0)
    dose *= anatomy.ORGANS["Body"](points) <= 1.0
    dose *= _PRESCRIPTION_GY / dose.max() * 1.04
    scaling = float(decimal(dose.max() / (2**31 - 1)))
    stored = np.rint(dose / scaling).astype(np.uint32)
    dataset = _header("RTDOSE", "1.2.840.10008.5.1.4.1.1.481.2", 22, "Dose")
    attributes = {
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 32,
        "BitsStored": 32,
        "HighBit": 31,
        "PixelRepresentation": 0,
        "Rows": _DOSE_SHAPE[1],
        "Columns": _DOSE_SHAPE[2],
        "NumberOfFrames": _DOSE_SHAPE[0],
        "FrameIncrementPointer": 0x3004000C,
        "ImagePositionPatient": [decimal(value) for value in _DOSE_ORIGIN],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "PixelSpacing": [decimal(value) for value in _DOSE_SPACING[1:]],
        "SliceThickness": "",
        "GridFrameOffsetVector": [decimal(n * _DOSE_SPACING[0]) for n in range(_DOSE_SHAPE[0])],
        "DoseUnits": "GY",
        "DoseType": "PHYSICAL",
        "DoseSummationType": "PLAN",
        "DoseGridScaling": decimal(scaling),
        "TissueHeterogeneityCorrection": "IMAGE",
        "ReferencedRTPlanSequence": [
            _item(
                ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.481.5",
                ReferencedSOPInstanceUID=phantom_uid("instance/RTPLAN"),
            )
        ],
        "PixelData": stored.astype("<u4").tobytes(),
    }
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset["PixelData"].VR = "OW"
    return dataset, stored.astype(np.float64) * scaling
