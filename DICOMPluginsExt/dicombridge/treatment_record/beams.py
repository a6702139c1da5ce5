"""Beams and control points of a session, as tables (PS3.3 C.8.8.21, C.8.8.26)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydicom.dataset import Dataset

from dicombridge.attribute_values import items_of, number_of, value_of
from dicombridge.table_objects import Chain, Field, Table, chains, field_columns
from dicombridge.tables import Column

__all__ = ["BEAM_SEQUENCES", "beam_tables"]

BEAM_SEQUENCES = ("TreatmentSessionBeamSequence", "TreatmentSessionIonBeamSequence")
_CONTROL_POINT_SEQUENCES = ("ControlPointDeliverySequence", "IonControlPointDeliverySequence")

_BEAM = 1
"""Place of the beam in a chain; the record itself comes first."""

_BEAMS = (
    Field("Beam", "ReferencedBeamNumber"),
    Field("Name", "BeamName"),
    Field("Description", "BeamDescription"),
    Field("Fraction", "CurrentFractionNumber"),
    Field("Type", "BeamType"),
    Field("Radiation", "RadiationType"),
    Field("Technique", "HighDoseTechniqueType"),
    Field("Scan mode", "ScanMode"),
    Field("Delivery type", "TreatmentDeliveryType"),
    Field("Termination", "TreatmentTerminationStatus"),
    Field("Termination reason", "RTTreatmentTerminationReasonCodeSequence"),
    Field("Termination code", "TreatmentTerminationCode"),
    Field("Verification", "TreatmentVerificationStatus"),
    Field("Specified meterset", "SpecifiedPrimaryMeterset"),
    Field("Delivered meterset", "DeliveredPrimaryMeterset"),
    Field("Specified secondary meterset", "SpecifiedSecondaryMeterset"),
    Field("Delivered secondary meterset", "DeliveredSecondaryMeterset"),
    Field("Specified time", "SpecifiedTreatmentTime", "s"),
    Field("Delivered time", "DeliveredTreatmentTime", "s"),
    Field("Source to axis", "SourceAxisDistance", "mm"),
    Field("Control points", "NumberOfControlPoints"),
    Field("Wedges", "NumberOfWedges"),
    Field("Compensators", "NumberOfCompensators"),
    Field("Boli", "NumberOfBoli"),
    Field("Blocks", "NumberOfBlocks"),
)

_CONTROL_POINTS = (
    Field("Beam", "ReferencedBeamNumber", of=_BEAM),
    Field("Control point", "ReferencedControlPointIndex"),
    Field("Date", "TreatmentControlPointDate"),
    Field("Time", "TreatmentControlPointTime"),
    Field("Specified meterset", "SpecifiedMeterset"),
    Field("Delivered meterset", "DeliveredMeterset"),
    Field("Dose rate set", "DoseRateSet"),
    Field("Dose rate delivered", "DoseRateDelivered"),
    Field("Meterset rate set", "MetersetRateSet"),
    Field("Meterset rate delivered", "MetersetRateDelivered"),
    Field("Energy", "NominalBeamEnergy"),
    Field("Energy unit", "NominalBeamEnergyUnit"),
    Field("Gantry angle", "GantryAngle", "deg"),
    Field("Gantry rotation", "GantryRotationDirection"),
    Field("Gantry pitch angle", "GantryPitchAngle", "deg"),
    Field("Collimator angle", "BeamLimitingDeviceAngle", "deg"),
    Field("Collimator rotation", "BeamLimitingDeviceRotationDirection"),
    Field("Patient support angle", "PatientSupportAngle", "deg"),
    Field("Table top eccentric axis", "TableTopEccentricAxisDistance", "mm"),
    Field("Table top eccentric angle", "TableTopEccentricAngle", "deg"),
    Field("Table top pitch", "TableTopPitchAngle", "deg"),
    Field("Table top roll", "TableTopRollAngle", "deg"),
    Field("Table top vertical", "TableTopVerticalPosition", "mm"),
    Field("Table top longitudinal", "TableTopLongitudinalPosition", "mm"),
    Field("Table top lateral", "TableTopLateralPosition", "mm"),
    Field("Snout", "SnoutPosition", "mm"),
    Field("Spots delivered", "NumberOfScanSpotPositions"),
)

_OF_DOSIMETER = frozenset({"Specified meterset", "Delivered meterset"})
"""Columns in the unit of the machine's primary dosimeter: MU, MINUTE, NP (PS3.3 C.8.8.21)."""

_DEVICE = 3
_DEVICE_POSITIONS = (
    Field("Beam", "ReferencedBeamNumber", of=_BEAM),
    Field("Control point", "ReferencedControlPointIndex", of=2),
    Field("Device", "RTBeamLimitingDeviceType"),
    Field("Leaf or jaw positions", "LeafJawPositions", "mm"),
)

_OVERRIDES = (
    Field("Beam", "ReferencedBeamNumber", of=_BEAM),
    Field("Control point", "ReferencedControlPointIndex", of=2),
    Field("Overridden parameter", "OverrideParameterPointer"),
    Field("Item", "ParameterItemIndex"),
    Field("Operators", "OperatorsName"),
    Field("Reason", "OverrideReason"),
)
_CORRECTIONS = (
    Field("Beam", "ReferencedBeamNumber", of=_BEAM),
    Field("Control point", "ReferencedControlPointIndex", of=2),
    Field("Corrected parameter", "ParameterPointer"),
    Field("Item", "ParameterItemIndex"),
    Field("Correction", "CorrectionValue"),
)

_MODIFIERS = (
    ("Wedge", "RecordedWedgeSequence", "WedgeNumber", "WedgeID"),
    ("Compensator", "RecordedCompensatorSequence", "ReferencedCompensatorNumber", "CompensatorID"),
    ("Bolus", "ReferencedBolusSequence", "ReferencedROINumber", "BolusDescription"),
    ("Block", "RecordedBlockSequence", "ReferencedBlockNumber", "BlockName"),
    ("Applicator", "ApplicatorSequence", "ApplicatorType", "ApplicatorID"),
    ("Accessory", "GeneralAccessorySequence", "GeneralAccessoryNumber", "GeneralAccessoryID"),
    ("Snout", "RecordedSnoutSequence", "SnoutID", "AccessoryCode"),
    ("Range shifter", "RecordedRangeShifterSequence", "ReferencedRangeShifterNumber", "RangeShifterID"),
    ("Range modulator", "RecordedRangeModulatorSequence", "ReferencedRangeModulatorNumber", "RangeModulatorID"),
    (
        "Lateral spreader",
        "RecordedLateralSpreadingDeviceSequence",
        "ReferencedLateralSpreadingDeviceNumber",
        "LateralSpreadingDeviceID",
    ),
)


def beam_tables(header: Dataset) -> list[Table]:
    """Return the tables of beams, control points, device positions, beam modifiers, overrides and corrections."""
    beams = _all(header, BEAM_SEQUENCES)
    points = [chain for beam in beams for chain in _below(beam, _CONTROL_POINT_SEQUENCES)]
    positions = [chain for point in points for chain in _below(point, ("BeamLimitingDevicePositionSequence",))]
    return [
        Table("Beams", _with_difference(beams, _BEAMS, "SpecifiedPrimaryMeterset", "DeliveredPrimaryMeterset")),
        Table("Control points", _with_difference(points, _CONTROL_POINTS, "SpecifiedMeterset", "DeliveredMeterset")),
        Table("Leaves and jaws", field_columns(positions, _DEVICE_POSITIONS)),
        _modifier_table(beams),
        *changes_tables([*beams, *points]),
    ]


def changes_tables(chains_with_changes: Sequence[Chain]) -> list[Table]:
    """Return the tables of overrides and corrections of beams and control points.

    A chain is record, beam, and, where the change belongs to one, control point.
    """
    overrides = [_padded(chain) for chain in chains_with_changes for chain in _below(chain, ("OverrideSequence",))]
    corrections = [
        _padded(chain) for chain in chains_with_changes for chain in _below(chain, ("CorrectedParameterSequence",))
    ]
    return [
        Table("Overrides", field_columns(overrides, _OVERRIDES)),
        Table("Corrections", field_columns(corrections, _CORRECTIONS)),
    ]


def _padded(chain: Chain) -> Chain:
    """Put nothing in the place of the control point where a change belongs to the beam."""
    return chain if len(chain) > _DEVICE else (*chain[:2], Dataset(), chain[-1])


def _all(header: Dataset, sequences: Sequence[str]) -> list[Chain]:
    return [chain for keyword in sequences for chain in chains(header, keyword)]


def _below(chain: Chain, sequences: Sequence[str]) -> list[Chain]:
    return [(*chain, item) for keyword in sequences for item in items_of(chain[-1], keyword)]


def _with_difference(rows: Sequence[Chain], fields: Sequence[Field], specified: str, delivered: str) -> list[Column]:
    """Return columns, and delivered minus specified where a row has both."""
    unit = str(value_of(rows[0][0], "PrimaryDosimeterUnit") or "") if rows else ""
    columns = [
        replace(column, unit=unit) if column.name in _OF_DOSIMETER else column for column in field_columns(rows, fields)
    ]
    differences = []
    for row in rows:
        wanted, given = number_of(row[-1], specified), number_of(row[-1], delivered)
        differences.append(None if wanted is None or given is None else round(given - wanted, 9))
    if any(value is not None for value in differences):
        place = next(number for number, column in enumerate(columns) if column.name == "Delivered meterset") + 1
        columns.insert(place, Column("Meterset difference", differences, unit, "Delivered minus specified"))
    return columns


def _modifier_table(beams: Sequence[Chain]) -> Table:
    rows = [
        (value_of(beam[-1], "ReferencedBeamNumber"), title, value_of(item, number), value_of(item, name), item)
        for beam in beams
        for title, sequence, number, name in _MODIFIERS
        for item in items_of(beam[-1], sequence)
    ]
    return Table(
        "Beam modifiers",
        [
            Column("Beam", [row[0] for row in rows]),
            Column("Modifier", [row[1] for row in rows]),
            Column("Number", ["" if row[2] is None else str(row[2]) for row in rows]),
            Column("Identifier", ["" if row[3] is None else str(row[3]) for row in rows]),
            Column("Accessory code", [value_of(row[4], "AccessoryCode") for row in rows]),
        ],
    )
