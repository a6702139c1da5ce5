"""RT plans made here: arcs, electrons, wedges, several isocentres; ions and brachytherapy: ``rt_ion_brachy_plans``.

Every function returns a Dataset that is valid by dciodvfy; :func:`written_plan` makes a file of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from support import items
from support.items import item

RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
RT_ION_PLAN = "1.2.840.10008.5.1.4.1.1.481.8"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
LEAF_PAIRS = 60
BOUNDARIES = [-200.0 + 400.0 / LEAF_PAIRS * number for number in range(LEAF_PAIRS + 1)]


def written_plan(path: Path, dataset: Dataset, implicit: bool = False) -> Path:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def plan_of(beams: Sequence[Dataset] = (), ion: bool = False, position: str = "HFS", **attributes: Any) -> Dataset:
    """A plan of these beams, 25 fractions of 2 Gy, with everything around them."""
    plan = item(
        SpecificCharacterSet="ISO_IR 100",
        SOPClassUID=RT_ION_PLAN if ion else RT_PLAN,
        SOPInstanceUID=generate_uid(),
        StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(),
        FrameOfReferenceUID=generate_uid(),
        PositionReferenceIndicator="",
        StudyDate="20240102",
        StudyTime="101112",
        StudyID="1",
        SeriesNumber=5,
        SeriesDate="20240103",
        SeriesTime="111213",
        InstanceCreationDate="20240103",
        InstanceCreationTime="111213",
        AccessionNumber="",
        Modality="RTPLAN",
        Manufacturer="Maker",
        ManufacturerModelName="Planner",
        SoftwareVersions="1.0",
        OperatorsName="",
        ReferringPhysicianName="",
        PatientName="Müller^Anna",
        PatientID="plan-1",
        PatientBirthDate="19600203",
        PatientSex="F",
        RTPlanLabel="Plan A",
        RTPlanName="First course",
        RTPlanDate="20240103",
        RTPlanTime="111213",
        RTPlanGeometry="PATIENT",
        PlanIntent="CURATIVE",
        ApprovalStatus="UNAPPROVED",
    )
    plan.ReferencedStructureSetSequence = [reference(STRUCTURE_SET)]
    plan.DoseReferenceSequence = [
        item(
            DoseReferenceNumber=1,
            DoseReferenceUID=generate_uid(),
            DoseReferenceStructureType="SITE",
            DoseReferenceDescription="PTV",
            DoseReferenceType="TARGET",
            TargetPrescriptionDose="50",
        ),
        item(
            DoseReferenceNumber=2,
            DoseReferenceStructureType="COORDINATES",
            DoseReferenceDescription="Spinal cord",
            DoseReferencePointCoordinates=["1.5", "20", "-30"],
            DoseReferenceType="ORGAN_AT_RISK",
            OrganAtRiskMaximumDose="45.25",
        ),
    ]
    plan.PatientSetupSequence = [item(PatientPosition=position, PatientSetupNumber=1, SetupTechnique="ISOCENTRIC")]
    plan.FractionGroupSequence = [fraction_group(beams)]
    if beams:
        setattr(plan, "IonBeamSequence" if ion else "BeamSequence", list(beams))
    plan.update({keyword: value for keyword, value in item(**attributes).items()})
    return plan


def reference(sop_class: str, **attributes: Any) -> Dataset:
    return items.reference(sop_class, generate_uid(), **attributes)


def fraction_group(beams: Sequence[Dataset], metersets: Sequence[float] = ()) -> Dataset:
    group = item(
        FractionGroupNumber=1,
        NumberOfFractionsPlanned=25,
        NumberOfBeams=len(beams),
        NumberOfBrachyApplicationSetups=0,
    )
    if beams:
        group.ReferencedBeamSequence = [
            item(
                ReferencedBeamNumber=beam.BeamNumber,
                BeamMeterset=str((metersets or [100.0 + 10 * place for place in range(len(beams))])[place]),
                BeamDose=str(round(2 / len(beams), 6)),
            )
            for place, beam in enumerate(beams)
        ]
    return group


# --- Photons and electrons -----------------------------------------------------------------------------------------


def control_points(settings: Dataset, changes: Sequence[Dataset]) -> list[Dataset]:
    """The first control point has all settings, those behind it only what changes; weights grow evenly."""
    points = [settings, *changes]
    for index, point in enumerate(points):
        point.ControlPointIndex = index
        point.CumulativeMetersetWeight = f"{index / (len(points) - 1):.10g}"
    return points


def first_settings(
    gantry: float = 0.0,
    collimator: float = 0.0,
    couch: float = 0.0,
    isocentre: Sequence[float] = (10.0, -20.0, 30.0),
    jaws: Sequence[float] = (-50.0, 40.0, -30.0, 60.0),
    energy: float = 6.0,
) -> Dataset:
    return item(
        NominalBeamEnergy=str(energy),
        DoseRateSet="600",
        GantryAngle=str(gantry),
        GantryRotationDirection="NONE",
        BeamLimitingDeviceAngle=str(collimator),
        BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle=str(couch),
        PatientSupportRotationDirection="NONE",
        TableTopEccentricAngle="0",
        TableTopEccentricRotationDirection="NONE",
        TableTopVerticalPosition=None,
        TableTopLongitudinalPosition=None,
        TableTopLateralPosition=None,
        IsocenterPosition=[str(value) for value in isocentre],
        SourceToSurfaceDistance="912.5",
        BeamLimitingDevicePositionSequence=[
            item(RTBeamLimitingDeviceType="ASYMX", LeafJawPositions=[str(value) for value in jaws[:2]]),
            item(RTBeamLimitingDeviceType="ASYMY", LeafJawPositions=[str(value) for value in jaws[2:]]),
        ],
    )


def beam(number: int = 1, name: str = "", points: Sequence[Dataset] = (), **attributes: Any) -> Dataset:
    """A photon beam of two control points, or of those given."""
    points = points or control_points(first_settings(), [Dataset()])
    dataset = item(
        BeamNumber=number,
        BeamName=name or f"Field {number}",
        BeamType="STATIC",
        RadiationType="PHOTON",
        TreatmentDeliveryType="TREATMENT",
        TreatmentMachineName="Linac 1",
        PrimaryDosimeterUnit="MU",
        SourceAxisDistance="1000",
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        FinalCumulativeMetersetWeight="1",
        NumberOfControlPoints=len(points),
        ControlPointSequence=list(points),
        ReferencedPatientSetupNumber=1,
        BeamLimitingDeviceSequence=[
            item(RTBeamLimitingDeviceType="ASYMX", NumberOfLeafJawPairs=1),
            item(RTBeamLimitingDeviceType="ASYMY", NumberOfLeafJawPairs=1),
        ],
    )
    dataset.update({keyword: value for keyword, value in item(**attributes).items()})
    return dataset


def leaves(index: int, width: float = 20.0) -> list[str]:
    """Positions of all leaves, a different opening for each pair and each control point."""
    left = [-width - (pair + index) % 7 for pair in range(LEAF_PAIRS)]
    right = [width + (pair * index) % 5 for pair in range(LEAF_PAIRS)]
    return [f"{value:g}" for value in left + right]


def arc(number: int, points: int = 200, start: float = 181.0, stop: float = 179.0) -> Dataset:
    """A VMAT arc with 120 leaves."""
    first = first_settings(gantry=start)
    first.GantryRotationDirection = "CW"
    turn = (stop - start) % 360
    changes = []
    for index in range(1, points):
        angle = (start + turn * index / (points - 1)) % 360
        changes.append(
            item(
                GantryAngle=f"{angle:.4f}",
                BeamLimitingDevicePositionSequence=[
                    item(RTBeamLimitingDeviceType="MLCX", LeafJawPositions=leaves(index))
                ],
            )
        )
    changes[-1].GantryRotationDirection = "NONE"
    first.BeamLimitingDevicePositionSequence.append(item(RTBeamLimitingDeviceType="MLCX", LeafJawPositions=leaves(0)))
    dataset = beam(number, f"Arc {number}", control_points(first, changes), BeamType="DYNAMIC")
    dataset.BeamLimitingDeviceSequence.append(
        item(
            RTBeamLimitingDeviceType="MLCX",
            NumberOfLeafJawPairs=LEAF_PAIRS,
            LeafPositionBoundaries=[f"{value:.10g}" for value in BOUNDARIES],
        )
    )
    return dataset


def vmat_plan(arcs: int = 2, points: int = 200) -> Dataset:
    return plan_of([arc(number + 1, points) for number in range(arcs)])


def wedge_plan() -> Dataset:
    """A static beam with a 45 degree wedge that goes in after the first of three control points, and a bolus."""
    first = first_settings(gantry=90.0, collimator=15.0)
    first.WedgePositionSequence = [item(ReferencedWedgeNumber=1, WedgePosition="OUT")]
    second = item(WedgePositionSequence=[item(ReferencedWedgeNumber=1, WedgePosition="IN")])
    wedge = item(
        WedgeNumber=1,
        WedgeType="STANDARD",
        WedgeID="W45",
        WedgeAngle=45,
        WedgeFactor="0.5",
        WedgeOrientation="180",
        SourceToWedgeTrayDistance="580",
    )
    wedged = beam(1, "Wedged", control_points(first, [second, Dataset()]), NumberOfWedges=1, WedgeSequence=[wedge])
    wedged.NumberOfBoli = 1
    wedged.ReferencedBolusSequence = [item(ReferencedROINumber=7, BolusID="B1")]
    return plan_of([wedged])


def electron_plan() -> Dataset:
    """9 MeV electrons through an applicator of 100 mm with a cut-out."""
    outline = ["-40", "-30", "40", "-30", "45.5", "20", "-35", "30"]
    block = item(
        BlockTrayID="T1",
        SourceToBlockTrayDistance="950",
        BlockType="APERTURE",
        BlockDivergence="ABSENT",
        BlockMountingPosition="SOURCE_SIDE",
        BlockNumber=1,
        BlockName="Cut-out",
        MaterialID="Cerrobend",
        BlockThickness="15",
        BlockTransmission="0.05",
        BlockNumberOfPoints=4,
        BlockData=outline,
    )
    applicator = item(
        ApplicatorID="A10",
        ApplicatorType="ELECTRON_SQUARE",
        ApplicatorGeometrySequence=[item(ApplicatorApertureShape="SYM_SQUARE", ApplicatorOpening=100.0)],
    )
    points = control_points(first_settings(energy=9.0, gantry=30.0), [Dataset()])
    electrons = beam(
        1,
        "Electrons",
        points,
        RadiationType="ELECTRON",
        NumberOfBlocks=1,
        BlockSequence=[block],
        ApplicatorSequence=[applicator],
    )
    return plan_of([electrons])


def two_isocentres_plan() -> Dataset:
    first = beam(1, "Neck", control_points(first_settings(isocentre=(0, 0, 0)), [Dataset()]))
    second = beam(2, "Pelvis", control_points(first_settings(gantry=180.0, isocentre=(5, -10, -250)), [Dataset()]))
    return plan_of([first, second])
