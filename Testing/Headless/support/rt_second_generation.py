"""Second-generation radiotherapy objects made from the text of the standard (PS3.3 C.36, C.8.8.29)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from support.items import code, item, reference
from support.rt_records import BEAMS, new_object

BASE = "1.2.840.10008.5.1.4.1.1.481"
INTENT, ANNOTATION, RADIATION_SET, C_ARM, TOMOTHERAPY, ROBOTIC = (f"{BASE}.{number}" for number in range(10, 16))
RECORD_SET, SALVAGE, TOMOTHERAPY_RECORD, C_ARM_RECORD, ROBOTIC_RECORD, SET_INSTRUCTION, PREPARATION = (
    f"{BASE}.{number}" for number in range(16, 23)
)
POSITION_INSTRUCTION = f"{BASE}.25"
BEAMS_INSTRUCTION, BRACHY_INSTRUCTION = "1.2.840.10008.5.1.4.34.7", "1.2.840.10008.5.1.4.34.10"
INTENT_UID, RADIATION_UID = "1.2.826.0.1.3680043.8.498.11", "1.2.826.0.1.3680043.8.498.12"
TARGET_UID = "1.2.826.0.1.3680043.8.498.20"

MEGAVOLT = code("MV", "UCUM", "MV")
GRAY = code("Gy", "UCUM", "Gy")


def new_second(sop_class: str, seed: str, **values: Any) -> Dataset:
    common = {
        "SeriesDescription": "Second generation",
        "ContentDate": "20260103",
        "ContentTime": "101500",
        "UserContentLabel": seed.upper()[:16],
        "AuthorIdentificationSequence": [],
    }
    return new_object(sop_class, "PLAN", f"second {seed}", **{**common, **values})


def physician_intent() -> Dataset:
    """Two prescriptions of one intent, in two phases, with objectives for a target and an organ at risk."""
    objective = item(
        DosimetricObjectiveTypeCodeSequence=[code("130037", "DCM", "Minimum dose to volume")],
        DosimetricObjectiveUID="1.2.826.0.1.3680043.8.498.30",
        DosimetricObjectivePurpose="TREATMENT",
        AbsoluteDosimetricObjectiveFlag="YES",
        ConceptualVolumeSequence=[item(ConceptualVolumeUID=TARGET_UID)],
        DosimetricObjectiveParameterSequence=[
            item(
                ValueType="NUMERIC",
                ConceptNameCodeSequence=[code("113725", "DCM", "Dose")],
                NumericValue=60.5,
                MeasurementUnitsCodeSequence=[GRAY],
            )
        ],
    )
    target = item(
        ConceptualVolumeUID=TARGET_UID,
        EntityLabel="PTV",
        ConceptualVolumeTypeCodeSequence=[code("130028", "DCM", "Planning target volume")],
        ConceptualVolumeDescription="Prostate and 5 mm",
    )
    anatomy = item(
        TherapeuticRoleCategoryCodeSequence=[code("130058", "DCM", "Target")],
        TherapeuticRoleTypeCodeSequence=[code("130059", "DCM", "Treat")],
        EntityLabel="PTV",
        ConceptualVolumeSequence=[target],
    )
    return new_second(
        INTENT,
        "intent",
        RTTreatmentPhaseIntentPresenceFlag="YES",
        RTPhysicianIntentSequence=[
            item(
                RTPhysicianIntentIndex=1,
                TreatmentSite="Prostate",
                RTTreatmentIntentType="CURATIVE",
                RTPhysicianIntentNarrative="Dose to the prostate. " * 80,
                RTDiagnosisCodeSequence=[code("399068003", "SCT", "Malignant tumor of prostate")],
            )
        ],
        RTPrescriptionSequence=[
            item(
                RTPrescriptionIndex=1,
                RTPrescriptionLabel="Main",
                ReferencedRTPhysicianIntentIndex=1,
                PrescriptionNotes="Five days a week",
                RTAnatomicPrescriptionSequence=[anatomy],
                FractionPatternSequence=[item(ReferencedRTTreatmentPhaseIndex=1, NumberOfFractions=20)],
                DosimetricObjectiveSequence=[objective],
            ),
            item(RTPrescriptionIndex=2, RTPrescriptionLabel="Boost", ReferencedParentRTPrescriptionIndex=1),
        ],
        IntendedRTTreatmentPhaseSequence=[
            item(
                RTTreatmentPhaseIndex=1,
                RTTreatmentPhaseUID="1.2.826.0.1.3680043.8.498.41",
                EntityLabel="Phase 1",
                RadiotherapyTreatmentType="TELETHERAPY",
                TeletherapyRadiationType=["PHOTON", "ELECTRON"],
                IntendedPhaseStartDate="20260105",
                IntendedPhaseEndDate="20260130",
            ),
            item(RTTreatmentPhaseIndex=2, EntityLabel="Phase 2"),
        ],
    )


def radiation_set() -> Dataset:
    """Two radiations of one set, for a prescription."""
    return new_second(
        RADIATION_SET,
        "set",
        RTRadiationSetIntent="TREATMENT",
        IntendedNumberOfFractions=20,
        ReferencedRTPhysicianIntentSequence=[reference(INTENT, INTENT_UID)],
        RTRadiationSequence=[
            reference(C_ARM, RADIATION_UID, RadiationOrderIndex=1, TreatmentPositionGroupLabel="Supine"),
            reference(C_ARM, f"{RADIATION_UID}.2", RadiationOrderIndex=2, TreatmentPositionGroupLabel="Supine"),
        ],
        ReferencedSeriesSequence=[
            item(
                SeriesInstanceUID="1.2.826.0.1.3680043.8.498.50",
                ReferencedInstanceSequence=[reference(INTENT, INTENT_UID)],
            )
        ],
    )


def c_arm_radiation(points: int = 3, sop_class: str = C_ARM) -> Dataset:
    """A photon radiation of so many control points, with private elements in their items."""
    sequence = []
    for index in range(points):
        point = item(
            RTControlPointIndex=index + 1,
            CumulativeMeterset=10.0 * index,
            SourceRollAngle=180.0 - index,
            ReferencedRadiationGenerationModeIndex=1,
        )
        if index == 0:
            point.DeliveryRate, point.DeliveryRateUnitSequence = 600.0, [code("MU/min", "UCUM", "MU/min")]
            point.private_block(0x3287, "MAKER PRIVATE", create=True).add_new(0x20, "FD", 1.5)
        sequence.append(point)
    return new_second(
        sop_class,
        f"c-arm {sop_class[-2:]}",
        RTRecordFlag="NO",
        RTTreatmentTechniqueCodeSequence=[code("130813", "DCM", "Arc therapy")],
        TreatmentDeviceIdentificationSequence=[item(DeviceLabel="Linac 2", Manufacturer="Maker")],
        RadiationDosimeterUnitSequence=[code("[MU]", "UCUM", "Monitor units")],
        RadiationSourceAxisDistance=1000.0,
        EquipmentFrameOfReferenceUID="1.2.840.10008.1.4.3.1",
        NumberOfRTControlPoints=points,
        NumberOfRadiationGenerationModes=1,
        RadiationGenerationModeSequence=[
            item(
                RadiationGenerationModeIndex=1,
                RadiationGenerationModeLabel="6X",
                RadiationTypeCodeSequence=[code("40540006", "SCT", "Photons")],
                NominalEnergy=6,
                EnergyUnitCodeSequence=[MEGAVOLT],
            )
        ],
        CArmPhotonElectronControlPointSequence=sequence,
        ReferencedRTPhysicianIntentSequence=[reference(INTENT, INTENT_UID)],
    )


def tomotherapy() -> Dataset:
    """A helical radiation: its control points are in a sequence of their own, with as many durations as leaves."""
    points = [
        item(RTControlPointIndex=index + 1, CumulativeMeterset=index / 2, TomotherapeuticLeafOpenDurations=[0.125] * 64)
        for index in range(2)
    ]
    return new_second(TOMOTHERAPY, "helix", NumberOfRTControlPoints=2, TomotherapeuticControlPointSequence=points)


def beams_instruction() -> Dataset:
    """What a treatment management system tells the machine to deliver, the rest of an interrupted beam first."""
    return new_second(
        BEAMS_INSTRUCTION,
        "instruction",
        ReferencedRTPlanSequence=[reference("1.2.840.10008.5.1.4.1.1.481.5", "1.2.826.0.1.3680043.8.498.1")],
        BeamTaskSequence=[
            item(
                BeamTaskType="TREAT",
                ReferencedBeamNumber=2,
                BeamOrderIndex=1,
                CurrentFractionNumber=3,
                TreatmentDeliveryType="CONTINUATION",
                ContinuationStartMeterset=20.0,
                ContinuationEndMeterset=50.0,
            )
        ],
    )


def bare(sop_class: str) -> Dataset:
    """An object that has only what every object has, and a reference."""
    return new_second(
        sop_class, sop_class[-12:], ReferencedInstanceSequence=[reference(BEAMS, "1.2.826.0.1.3680043.8.498.60")]
    )


MAKERS = {
    "physician-intent": physician_intent,
    "radiation-set": radiation_set,
    "c-arm-radiation": c_arm_radiation,
    "c-arm-record": lambda: c_arm_radiation(sop_class=C_ARM_RECORD),
    "tomotherapy": tomotherapy,
    "beams-instruction": beams_instruction,
}
OTHERS = (
    ANNOTATION,
    ROBOTIC,
    RECORD_SET,
    SALVAGE,
    TOMOTHERAPY_RECORD,
    ROBOTIC_RECORD,
    SET_INSTRUCTION,
    PREPARATION,
    POSITION_INSTRUCTION,
    BRACHY_INSTRUCTION,
)
