"""Treatment records made from the text of the standard (PS3.3 C.8.8.17 to C.8.8.26), in the manners of producers.

``conventional``: everything filled in, private elements, angles at the first control point only. ``sparse``: empty
values, two control points, no times, a machine without name. ``helical``: minutes for a dosimeter unit. Beside them an
ion record, an HDR and a PDR brachy record, and the summary of a course.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from support.items import item, reference

BEAMS, BRACHY, SUMMARY, ION = (f"1.2.840.10008.5.1.4.1.1.481.{number}" for number in (4, 6, 7, 9))
PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
PLAN_UID = "1.2.826.0.1.3680043.8.498.1"
IMAGE_UID = "1.2.826.0.1.3680043.8.498.2"


def new_object(sop_class: str, modality: str, seed: str, **values: Any) -> Dataset:
    """Return an object with patient, study, series, equipment and SOP common modules; ``seed`` makes its UIDs."""
    dataset = item(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=sop_class,
        SOPInstanceUID=generate_uid(entropy_srcs=[seed]),
        StudyInstanceUID=generate_uid(entropy_srcs=["rt study"]),
        SeriesInstanceUID=generate_uid(entropy_srcs=[seed, "series"]),
        PatientName="Kröger^Test",
        PatientID="RT1",
        PatientBirthDate="19500101",
        PatientSex="O",
        StudyDate="20260102",
        StudyTime="080000",
        StudyID="1",
        AccessionNumber="",
        ReferringPhysicianName="",
        SeriesNumber=7,
        SeriesDescription="Treatment",
        InstanceNumber=1,
        Modality=modality,
        Manufacturer="Maker",
        OperatorsName="Smith^Ann",
    )
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def write(dataset: Dataset, folder: Path, name: str = "object.dcm", implicit: bool = False) -> Path:
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / name, enforce_file_format=True)
    return folder / name


def new_record(sop_class: str, seed: str, **values: Any) -> Dataset:
    common = {
        "TreatmentDate": "20260102",
        "TreatmentTime": "081500.5",
        "ReferencedRTPlanSequence": [reference(PLAN, PLAN_UID)],
        "TreatmentMachineSequence": [
            item(
                TreatmentMachineName="Linac 1",
                Manufacturer="Maker",
                InstitutionName="Clinic",
                ManufacturerModelName="Model",
                DeviceSerialNumber="42",
            )
        ],
    }
    return new_object(sop_class, "RTRECORD", seed, **{**common, **values})


# --- Beams ---------------------------------------------------------------------------------------------------------


def control_point(index: int, specified: float, delivered: float, **values: Any) -> Dataset:
    return item(
        ReferencedControlPointIndex=index,
        TreatmentControlPointDate="20260102",
        TreatmentControlPointTime=f"0815{index % 60:02}",
        SpecifiedMeterset=specified,
        DeliveredMeterset=delivered,
        DoseRateSet=600,
        DoseRateDelivered=598.5,
        **values,
    )


def first_control_point(**values: Any) -> Dataset:
    return control_point(
        0,
        0,
        0,
        NominalBeamEnergy=6,
        NominalBeamEnergyUnit="MV",
        BeamLimitingDevicePositionSequence=[
            item(RTBeamLimitingDeviceType="ASYMX", LeafJawPositions=[-50, 50]),
            item(RTBeamLimitingDeviceType="MLCX", LeafJawPositions=[-10.5, -11, 10.5, 11]),
        ],
        GantryAngle=179.9,
        GantryRotationDirection="CC",
        BeamLimitingDeviceAngle=30,
        BeamLimitingDeviceRotationDirection="NONE",
        PatientSupportAngle=0,
        PatientSupportRotationDirection="NONE",
        TableTopEccentricAngle=0,
        TableTopEccentricRotationDirection="NONE",
        TableTopPitchAngle=0,
        TableTopPitchRotationDirection="NONE",
        TableTopRollAngle=0,
        TableTopRollRotationDirection="NONE",
        TableTopVerticalPosition=-120.5,
        TableTopLongitudinalPosition=1000,
        TableTopLateralPosition=0,
        **values,
    )


def beam(number: int, points: list[Dataset], **values: Any) -> Dataset:
    common = {
        "ReferencedBeamNumber": number,
        "BeamName": f"Arc {number}",
        "BeamType": "DYNAMIC",
        "RadiationType": "PHOTON",
        "SourceAxisDistance": 1000,
        "CurrentFractionNumber": 3,
        "TreatmentDeliveryType": "TREATMENT",
        "TreatmentTerminationStatus": "NORMAL",
        "TreatmentVerificationStatus": "VERIFIED",
        "SpecifiedPrimaryMeterset": 100,
        "DeliveredPrimaryMeterset": 99.75,
        "BeamLimitingDeviceLeafPairsSequence": [
            item(RTBeamLimitingDeviceType="ASYMX", NumberOfLeafJawPairs=1),
            item(RTBeamLimitingDeviceType="MLCX", NumberOfLeafJawPairs=2),
        ],
        "NumberOfWedges": 0,
        "NumberOfCompensators": 0,
        "NumberOfBoli": 0,
        "NumberOfBlocks": 0,
        "NumberOfControlPoints": len(points),
        "ControlPointDeliverySequence": points,
    }
    return item(**{**common, **values})


def conventional(points: int = 3) -> Dataset:
    """A session of two beams with an override, a correction, measured and calculated doses and private elements."""
    first = first_control_point(
        OverrideSequence=[
            item(
                OverrideParameterPointer=0x300A011E,
                ParameterItemIndex=1,
                OperatorsName="Lee^Bo",
                OverrideReason="Wrong table",
            )
        ],
        CorrectedParameterSequence=[
            item(
                ParameterSequencePointer=0x30080040,
                ParameterPointer=0x300A0128,
                ParameterItemIndex=1,
                CorrectionValue=2.5,
            )
        ],
    )
    arc = [first] + [
        control_point(index, 100 * index / (points - 1), 99.75 * index / (points - 1)) for index in range(1, points)
    ]
    record = new_record(
        BEAMS,
        "conventional",
        InstanceNumber=12,
        NumberOfFractionsPlanned=25,
        ReferencedFractionGroupNumber=1,
        PrimaryDosimeterUnit="MU",
        TreatmentSessionBeamSequence=[
            beam(
                1,
                arc,
                ReferencedVerificationImageSequence=[reference("1.2.840.10008.5.1.4.1.1.481.1", IMAGE_UID)],
                ReferencedCalculatedDoseReferenceSequence=[
                    item(ReferencedCalculatedDoseReferenceNumber=1, CalculatedDoseReferenceDoseValue=1.25)
                ],
            ),
            beam(
                2,
                [first_control_point(), control_point(1, 50, 20)],
                TreatmentTerminationStatus="MACHINE",
                SpecifiedPrimaryMeterset=50,
                DeliveredPrimaryMeterset=20,
                NumberOfWedges=1,
                RecordedWedgeSequence=[item(WedgeNumber=1, WedgeType="STANDARD", WedgeAngle=15, WedgeOrientation=0)],
            ),
        ],
        MeasuredDoseReferenceSequence=[
            item(
                MeasuredDoseReferenceNumber=1,
                MeasuredDoseDescription="Diode",
                MeasuredDoseType="DIODE",
                MeasuredDoseValue=1.98,
                DoseUnits="GY",
            )
        ],
        CalculatedDoseReferenceSequence=[
            item(
                CalculatedDoseReferenceNumber=1,
                CalculatedDoseReferenceDescription="Target",
                CalculatedDoseReferenceDoseValue=2.01,
            )
        ],
    )
    block = record.private_block(0x3287, "MAKER PRIVATE", create=True)
    block.add_new(0x10, "LO", "Session note")
    return record


def sparse() -> Dataset:
    """A record of one beam with little in it, as record and verify systems write for manual treatments."""
    points = [
        item(
            TreatmentControlPointDate="", TreatmentControlPointTime="", SpecifiedMeterset=None, DeliveredMeterset=value
        )
        for value in (0, 80)
    ]
    record = new_record(
        BEAMS,
        "sparse",
        TreatmentTime="",
        NumberOfFractionsPlanned=None,
        PrimaryDosimeterUnit="MU",
        TreatmentMachineSequence=[item(TreatmentMachineName="")],
        TreatmentSessionBeamSequence=[
            beam(
                4,
                points,
                BeamName="",
                CurrentFractionNumber=None,
                SpecifiedPrimaryMeterset=None,
                DeliveredPrimaryMeterset=80,
            )
        ],
    )
    del record.SeriesDescription
    return record


def helical() -> Dataset:
    """A helical treatment: its dosimeter counts minutes."""
    points = [first_control_point(), control_point(1, 4.5, 4.5)]
    return new_record(
        BEAMS,
        "helical",
        PrimaryDosimeterUnit="MINUTE",
        NumberOfFractionsPlanned=10,
        TreatmentSessionBeamSequence=[
            beam(
                1,
                points,
                BeamName="Helix",
                SpecifiedPrimaryMeterset=4.5,
                DeliveredPrimaryMeterset=4.5,
                DeliveredTreatmentTime=270,
            )
        ],
    )


def ion() -> Dataset:
    """A proton session of a scanned beam."""
    points = []
    for index, (specified, delivered) in enumerate(((0, 0), (30, 29.5))):
        point = control_point(index, specified, delivered, MetersetRateSet=10, MetersetRateDelivered=9.5)
        del point.DoseRateSet, point.DoseRateDelivered
        points.append(point)
    points[0].update(first_control_point(SnoutPosition=250))
    del points[0].DoseRateSet, points[0].DoseRateDelivered, points[0].NominalBeamEnergyUnit
    points[0].NominalBeamEnergy = 150.5
    points[0].MetersetRateSet = 10
    for point, meterset in zip(points, ([0, 0], [14.5, 15]), strict=True):
        point.ScanSpotTuneID, point.NumberOfPaintings = "4.0", 1
        point.NumberOfScanSpotPositions, point.ScanSpotPositionMap = 2, [0, 0, 5, 0]
        point.ScanSpotMetersetsDelivered = meterset
    session = beam(
        1,
        points,
        RadiationType="PROTON",
        ScanMode="MODULATED",
        ModulatedScanModeType="STATIONARY",
        NumberOfRangeShifters=1,
    )
    session.update(
        item(
            NumberOfLateralSpreadingDevices=0,
            NumberOfRangeModulators=0,
            PatientSupportType="TABLE",
            IonControlPointDeliverySequence=points,
            RecordedRangeShifterSequence=[item(ReferencedRangeShifterNumber=1, RangeShifterID="RS5")],
        )
    )
    del session.ControlPointDeliverySequence, session.BeamLimitingDeviceLeafPairsSequence, session.SourceAxisDistance
    return new_record(
        ION,
        "ion",
        PrimaryDosimeterUnit="NP",
        NumberOfFractionsPlanned=5,
        TreatmentSessionIonBeamSequence=[session],
    )


# --- Brachytherapy -------------------------------------------------------------------------------------------------


def dwell_points(begin: int, times: list[tuple[float, float]]) -> list[Dataset]:
    """Return two control points for each (position, seconds), half a second apart for the source to move."""
    points, clock = [], float(begin)
    for position, seconds in times:
        for _ in range(2):
            minutes, rest = divmod(clock, 60)
            points.append(
                item(
                    ReferencedControlPointIndex=len(points),
                    TreatmentControlPointDate="20260102",
                    TreatmentControlPointTime=f"09{int(minutes):02}{rest:06.3f}",
                    ControlPointRelativePosition=position,
                )
            )
            clock += seconds
        clock += 0.5 - seconds
    return points


def channel(number: int, points: list[Dataset], **values: Any) -> Dataset:
    common = {
        "ChannelNumber": number,
        "ChannelLength": 1300,
        "SpecifiedChannelTotalTime": 30,
        "DeliveredChannelTotalTime": 29.5,
        "SourceMovementType": "STEPWISE",
        "TransferTubeNumber": None,
        "ReferencedSourceNumber": 1,
        "SafePositionExitDate": "20260102",
        "SafePositionExitTime": "090000",
        "SafePositionReturnDate": "20260102",
        "SafePositionReturnTime": "090100",
        "NumberOfControlPoints": len(points),
        "BrachyControlPointDeliveredSequence": points,
    }
    return item(**{**common, **values})


def brachy(treatment_type: str = "HDR") -> Dataset:
    """Two channels with dwell times of 10, 12.5 and 7 seconds; PDR adds a pulse."""
    first = channel(1, dwell_points(0, [(0, 10), (5, 12.5)]))
    if treatment_type == "PDR":
        first.update(
            item(
                SpecifiedNumberOfPulses=2,
                DeliveredNumberOfPulses=1,
                SpecifiedPulseRepetitionInterval=3600,
                DeliveredPulseRepetitionInterval=3601,
                PulseSpecificBrachyControlPointDeliveredSequence=[
                    item(
                        PulseNumber=1,
                        SafePositionExitDate="20260102",
                        SafePositionExitTime="090000",
                        SafePositionReturnDate="20260102",
                        SafePositionReturnTime="090100",
                        BrachyPulseControlPointDeliveredSequence=dwell_points(0, [(0, 4)]),
                    )
                ],
            )
        )
    setup = item(
        ReferencedBrachyApplicationSetupNumber=1,
        ApplicationSetupType="VAGINAL",
        CurrentFractionNumber=2,
        TreatmentDeliveryType="TREATMENT",
        TreatmentTerminationStatus="NORMAL",
        TreatmentVerificationStatus="VERIFIED",
        TotalReferenceAirKerma=1234.5,
        RecordedChannelSequence=[first, channel(2, dwell_points(60, [(2.5, 7)]))],
    )
    return new_record(
        BRACHY,
        f"brachy {treatment_type}",
        NumberOfFractionsPlanned=4,
        BrachyTreatmentTechnique="INTRACAVITARY",
        BrachyTreatmentType=treatment_type,
        RecordedSourceSequence=[
            item(
                SourceNumber=1,
                SourceType="LINE",
                SourceManufacturer="Maker",
                SourceSerialNumber="S1",
                SourceIsotopeName="Ir-192",
                SourceIsotopeHalfLife=73.83,
                ReferenceAirKermaRate=40700,
                SourceStrengthReferenceDate="20260101",
                SourceStrengthReferenceTime="120000",
            )
        ],
        TreatmentSessionApplicationSetupSequence=[setup],
    )


# --- Summary -------------------------------------------------------------------------------------------------------


def summary() -> Dataset:
    """A course of two fraction groups, the second one of which was not begun."""
    record = new_record(
        SUMMARY,
        "summary",
        CurrentTreatmentStatus="ON_BREAK",
        TreatmentStatusComment="Holiday",
        FirstTreatmentDate="20251230",
        MostRecentTreatmentDate="20260102",
        FractionGroupSummarySequence=[
            item(
                ReferencedFractionGroupNumber=1,
                FractionGroupType="EXTERNAL_BEAM",
                NumberOfFractionsPlanned=25,
                NumberOfFractionsDelivered=2,
                FractionStatusSummarySequence=[
                    item(
                        ReferencedFractionNumber=1,
                        TreatmentDate="20251230",
                        TreatmentTime="081000",
                        TreatmentTerminationStatus="NORMAL",
                    ),
                    item(
                        ReferencedFractionNumber=2,
                        TreatmentDate="20260102",
                        TreatmentTime="081500",
                        TreatmentTerminationStatus="OPERATOR",
                    ),
                ],
            ),
            item(
                ReferencedFractionGroupNumber=2,
                FractionGroupType="BRACHY",
                NumberOfFractionsPlanned=4,
                NumberOfFractionsDelivered=0,
            ),
        ],
        TreatmentSummaryCalculatedDoseReferenceSequence=[
            item(ReferencedDoseReferenceNumber=1, DoseReferenceDescription="Target", CumulativeDoseToDoseReference=4.02)
        ],
        TreatmentSummaryMeasuredDoseReferenceSequence=[
            item(ReferencedDoseReferenceNumber=1, DoseReferenceDescription="Skin", CumulativeDoseToDoseReference=1.5)
        ],
    )
    del record.TreatmentMachineSequence
    return record


MAKERS = {
    "conventional": conventional,
    "sparse": sparse,
    "helical": helical,
    "ion": ion,
    "brachy-hdr": brachy,
    "brachy-pdr": lambda: brachy("PDR"),
    "summary": summary,
}
