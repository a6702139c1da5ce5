"""What a person asks first of a second-generation radiotherapy object, as tables (PS3.3 C.36)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicombridge.attribute_values import items_of, value_of
from dicombridge.outline import MOST_DEPTH, MOST_ROWS
from dicombridge.table_objects import (
    AttributeRow,
    Chain,
    Field,
    Table,
    attribute_rows,
    attribute_table,
    chains,
    field_columns,
    sequence_table,
)

__all__ = ["MODES", "label_of", "object_table", "summary_tables", "title_of"]

_OBJECT = (
    Field("Label", "UserContentLabel"),
    Field("Long label", "UserContentLongLabel"),
    Field("Content label", "ContentLabel"),
    Field("Description", "ContentDescription"),
    Field("Modality", "Modality"),
    Field("Content date", "ContentDate"),
    Field("Content time", "ContentTime"),
    Field("Author", "ContentCreatorName"),
    Field("Patient", "PatientName"),
    Field("Patient ID", "PatientID"),
    Field("Treatment site", "TreatmentSite"),
    Field("Treatment site code", "TreatmentSiteCodeSequence"),
    Field("Intent of the radiation set", "RTRadiationSetIntent"),
    Field("Usage of the radiation set", "RTRadiationSetUsage"),
    Field("Fractions intended", "IntendedNumberOfFractions"),
    Field("Clinical fraction", "ClinicalFractionNumber"),
    Field("Delivery", "RTRadiationSetDeliveryNumber"),
    Field("Fraction completion", "RTTreatmentFractionCompletionStatus"),
    Field("Termination", "RTTreatmentTerminationStatus"),
    Field("Termination reason", "RTTreatmentTerminationReasonCodeSequence"),
    Field("Record", "RTRecordFlag"),
    Field("Geometric content", "RTRadiationPhysicalAndGeometricContentDetailFlag"),
    Field("Treatment technique", "RTTreatmentTechniqueCodeSequence"),
    Field("Treatment session", "TreatmentSessionUID"),
    Field("Control points", "NumberOfRTControlPoints"),
    Field("Dosimeter unit", "RadiationDosimeterUnitSequence"),
    Field("Source to axis", "RadiationSourceAxisDistance", "mm"),
    Field("Equipment frame of reference", "EquipmentFrameOfReferenceUID"),
)
_DEVICE = (
    Field("Treatment device", "DeviceLabel"),
    Field("Manufacturer of the device", "Manufacturer"),
    Field("Model of the device", "ManufacturerModelName"),
    Field("Serial number of the device", "DeviceSerialNumber"),
    Field("Identifier of the device", "ManufacturerDeviceIdentifier"),
)

_INTENTS = (
    Field("Intent", "RTPhysicianIntentIndex"),
    Field("Treatment site", "TreatmentSite"),
    Field("Site code", "TreatmentSiteCodeSequence"),
    Field("Intent type", "RTTreatmentIntentType"),
    Field("Approach", "RTTreatmentApproachLabel"),
    Field("Diagnosis", "RTDiagnosisCodeSequence"),
    Field("Protocol", "RTProtocolCodeSequence"),
    Field("Narrative", "RTPhysicianIntentNarrative"),
)
_PRESCRIPTIONS = (
    Field("Prescription", "RTPrescriptionIndex"),
    Field("Label", "RTPrescriptionLabel"),
    Field("Of intent", "ReferencedRTPhysicianIntentIndex"),
    Field("Of prescription", "ReferencedParentRTPrescriptionIndex"),
    Field("Technique", "RTTreatmentTechniqueCodeSequence"),
    Field("Technique notes", "TreatmentTechniqueNotes"),
    Field("Notes", "PrescriptionNotes"),
    Field("Prior treatment", "PriorTreatmentDoseDescription"),
)
_FRACTIONATIONS = (
    Field("Prescription", "RTPrescriptionIndex", of=1),
    Field("Treatment phase", "ReferencedRTTreatmentPhaseIndex"),
    Field("Fractions", "NumberOfFractions"),
    Field("Notes", "FractionationNotes"),
    Field("Start of the week", "IntendedStartDayOfWeek"),
)
_PHASES = (
    Field("Phase", "RTTreatmentPhaseIndex"),
    Field("Label", "EntityLabel"),
    Field("Name", "EntityName"),
    Field("Description", "EntityDescription"),
    Field("Treatment type", "RadiotherapyTreatmentType"),
    Field("Teletherapy radiation", "TeletherapyRadiationType"),
    Field("Brachytherapy source", "BrachytherapySourceType"),
    Field("Start", "IntendedPhaseStartDate"),
    Field("End", "IntendedPhaseEndDate"),
    Field("Phase UID", "RTTreatmentPhaseUID"),
)
_ANATOMY = (
    Field("Prescription", "RTPrescriptionIndex", of=1),
    Field("Role", "TherapeuticRoleCategoryCodeSequence"),
    Field("Role type", "TherapeuticRoleTypeCodeSequence"),
    Field("Label", "EntityLabel"),
    Field("Precedence", "ConceptualVolumeOptimizationPrecedence"),
    Field("Blocking", "ConceptualVolumeBlockingConstraint"),
)
_OBJECTIVES = (
    Field("Objective", "DosimetricObjectiveTypeCodeSequence", of=-2),
    Field("Purpose", "DosimetricObjectivePurpose", of=-2),
    Field("Absolute", "AbsoluteDosimetricObjectiveFlag", of=-2),
    Field("Scope", "DosimetricObjectiveEvaluationScope", of=-2),
    Field("Parameter", "ConceptNameCodeSequence"),
    Field("Value", "NumericValue"),
    Field("Unit", "MeasurementUnitsCodeSequence"),
    Field("Objective UID", "DosimetricObjectiveUID", of=-2),
)
_VOLUMES = (
    Field("Conceptual volume UID", "ConceptualVolumeUID"),
    Field("Label", "EntityLabel"),
    Field("Name", "EntityName"),
    Field("Long label", "EntityLongLabel"),
    Field("Category", "ConceptualVolumeCategoryCodeSequence"),
    Field("Type", "ConceptualVolumeTypeCodeSequence"),
    Field("Modifier", "ConceptualVolumeTypeModifierCodeSequence"),
    Field("Description", "ConceptualVolumeDescription"),
    Field("Combined", "ConceptualVolumeCombinationFlag"),
)
MODES = (
    Field("Generation mode", "RadiationGenerationModeIndex"),
    Field("Label", "RadiationGenerationModeLabel"),
    Field("Radiation type", "RadiationTypeCodeSequence"),
    Field("Nominal energy", "NominalEnergy"),
    Field("Lowest energy", "MinimumNominalEnergy"),
    Field("Highest energy", "MaximumNominalEnergy"),
    Field("Energy unit", "EnergyUnitCodeSequence"),
    Field("Fluence modifier", "RadiationFluenceModifierCodeSequence"),
    Field("Description", "RadiationGenerationModeDescription"),
)
_CONTROL_POINTS = (
    Field("Control point", "RTControlPointIndex"),
    Field("Of the radiation", "ReferencedRadiationRTControlPointIndex"),
    Field("Recorded at", "RecordedRTControlPointDateTime"),
    Field("Cumulative meterset", "CumulativeMeterset"),
    Field("Delivery rate", "DeliveryRate"),
    Field("Delivery rate unit", "DeliveryRateUnitSequence"),
    Field("Generation mode", "ReferencedRadiationGenerationModeIndex"),
    Field("Source roll angle", "SourceRollAngle", "deg"),
    Field("Beam limiting device angle", "RTBeamLimitingDeviceAngle", "deg"),
    Field("Source to patient surface", "SourceToPatientSurfaceDistance", "mm"),
    Field("Treatment position", "ReferencedTreatmentPositionIndex"),
    Field("Robotic node", "RoboticNodeIdentifier"),
    Field("Source coordinates", "RTTreatmentSourceCoordinates", "mm"),
)
_CONTROL_POINT_SEQUENCES = (
    "CArmPhotonElectronControlPointSequence",
    "TomotherapeuticControlPointSequence",
    "RoboticPathControlPointSequence",
    "RTRadiationSalvageRecordControlPointSequence",
)
_TASKS = (
    Field("Beam", "ReferencedBeamNumber"),
    Field("Task", "BeamTaskType"),
    Field("Order", "BeamOrderIndex"),
    Field("Fraction", "CurrentFractionNumber"),
    Field("Delivery type", "TreatmentDeliveryType"),
    Field("Continues from", "ContinuationStartMeterset"),
    Field("Continues to", "ContinuationEndMeterset"),
    Field("Delivery verification image", "DeliveryVerificationImageSequence"),
)


def title_of(header: Dataset) -> str:
    """Return what an object is, by its SOP class, for a person."""
    return UID(str(header.get("SOPClassUID") or "")).name.removesuffix(" Storage")


def label_of(header: Dataset) -> str:
    """Return the label that its author gave an object; empty where there is none."""
    for keyword in ("UserContentLabel", "ContentLabel", "ContentDescription"):
        label = value_of(header, keyword)
        if label:
            return str(label)
    return ""


def object_table(header: Dataset) -> Table:
    """Return the main table: what the object is, an attribute a row."""
    rows: list[AttributeRow] = [("Object", title_of(header), "")]
    rows += attribute_rows(header, _OBJECT)
    for chain in chains(header, "TreatmentDeviceIdentificationSequence"):
        rows += attribute_rows(chain[-1], _DEVICE)
    return attribute_table("Object", rows)


def summary_tables(header: Dataset) -> list[Table]:
    """Return the tables of what the object plans or records; those without rows are for the caller to leave out."""
    points = [chain for keyword in _CONTROL_POINT_SEQUENCES for chain in chains(header, keyword)]
    plain = (
        ("Intents", ("RTPhysicianIntentSequence",), _INTENTS),
        ("Prescriptions", ("RTPrescriptionSequence",), _PRESCRIPTIONS),
        ("Fractionation", ("RTPrescriptionSequence", "FractionPatternSequence"), _FRACTIONATIONS),
        ("Treatment phases", ("IntendedRTTreatmentPhaseSequence",), _PHASES),
        ("Prescribed anatomy", ("RTPrescriptionSequence", "RTAnatomicPrescriptionSequence"), _ANATOMY),
        ("Radiation generation modes", ("RadiationGenerationModeSequence",), MODES),
        ("Beam tasks", ("BeamTaskSequence",), _TASKS),
    )
    return [
        *(sequence_table(title, header, sequence, fields) for title, sequence, fields in plain),
        Table("Dosimetric objectives", field_columns(_objectives(header), _OBJECTIVES)),
        Table("Conceptual volumes", field_columns(_conceptual_volumes(header), _VOLUMES)),
        Table("Control points", field_columns(points, _CONTROL_POINTS)),
    ]


def _objectives(header: Dataset) -> list[Chain]:
    """Return the objectives with each of their parameters; an objective without any is kept too."""
    found: list[Chain] = []
    for item in islice(_anywhere(header, "DosimetricObjectiveSequence", MOST_DEPTH), MOST_ROWS):
        parameters = items_of(item, "DosimetricObjectiveParameterSequence")
        found += [(item, parameter) for parameter in parameters or [Dataset()]]
    return found


def _conceptual_volumes(header: Dataset) -> list[Chain]:
    """Return the items that identify conceptual volumes, each volume once, that with most attributes (PS3.3 10.33)."""
    by_uid: dict[object, Dataset] = {}
    for keyword in ("ConceptualVolumeSequence", "ConceptualVolumeIdentificationSequence"):
        for item in islice(_anywhere(header, keyword, MOST_DEPTH), MOST_ROWS):
            uid = value_of(item, "ConceptualVolumeUID")
            if uid is not None and (uid not in by_uid or len(item) > len(by_uid[uid])):
                by_uid[uid] = item
    return [(item,) for item in by_uid.values()]


def _anywhere(dataset: Dataset, keyword: str, depth: int) -> Iterator[Dataset]:
    """Yield the items of a sequence, at whatever level of the dataset it is."""
    yield from items_of(dataset, keyword)
    if depth <= 0:
        return
    for tag in sorted(dataset.keys()):
        try:
            element = dataset[tag]
            nested = list(element.value or ()) if element.VR == "SQ" else []
        except Exception:  # pydicom converts late and raises nearly every kind of error for damaged values
            continue
        for item in nested:
            yield from _anywhere(item, keyword, depth - 1)
