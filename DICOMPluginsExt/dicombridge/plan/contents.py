"""Which tables a plan becomes, the summary of its beams or channels first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from dicombridge.plan.sheets import Field, Sheet, column, others, records_sheet, shown
from dicombridge.plan.values import Accessory, Beam, Channel, ControlPoint, Plan, Setting
from dicombridge.tables import Column

__all__ = ["MOST_SPOTS", "sheets_of"]

MOST_SPOTS = 250_000
"""Rows of the table of scan spots; the plan itself keeps all of them."""

_DOSE_REFERENCES = (
    Field("DoseReferenceNumber", "Number"),
    Field("DoseReferenceDescription", "Description", editable=True),
    Field("DoseReferenceType", "Type"),
    Field("DoseReferenceStructureType", "Given for"),
    Field("ReferencedROINumber", "ROI number"),
    Field("DoseReferencePointCoordinates", "Point (LPS)"),
    Field("TargetPrescriptionDose", "Prescription dose", editable=True),
    Field("TargetMinimumDose", "Target minimum dose", editable=True),
    Field("TargetMaximumDose", "Target maximum dose", editable=True),
    Field("TargetUnderdoseVolumeFraction", "Target underdose volume", editable=True),
    Field("DeliveryWarningDose", "Delivery warning dose", editable=True),
    Field("DeliveryMaximumDose", "Delivery maximum dose", editable=True),
    Field("OrganAtRiskFullVolumeDose", "Organ at risk full volume dose", editable=True),
    Field("OrganAtRiskLimitDose", "Organ at risk limit dose", editable=True),
    Field("OrganAtRiskMaximumDose", "Organ at risk maximum dose", editable=True),
    Field("OrganAtRiskOverdoseVolumeFraction", "Organ at risk overdose volume", editable=True),
    Field("NominalPriorDose", "Nominal prior dose"),
    Field("ConstraintWeight", "Constraint weight"),
    Field("DoseReferenceUID", "Dose Reference UID"),
)
_FRACTION_GROUPS = (
    Field("FractionGroupNumber", "Number"),
    Field("FractionGroupDescription", "Description", editable=True),
    Field("NumberOfFractionsPlanned", "Fractions planned", editable=True),
    Field("NumberOfFractionPatternDigitsPerDay", "Pattern digits per day"),
    Field("RepeatFractionCycleLength", "Cycle length (weeks)"),
    Field("FractionPattern", "Pattern"),
    Field("NumberOfBeams", "Beams"),
    Field("NumberOfBrachyApplicationSetups", "Application setups"),
)
_DELIVERIES = (
    Field("BeamMeterset", "Meterset"),
    Field("BeamDose", "Dose"),
    Field("BeamDoseType", "Dose type"),
    Field("BeamDoseSpecificationPoint", "Dose point (LPS)"),
    Field("BeamDeliveryDurationLimit", "Delivery limit (s)"),
    Field("BrachyApplicationSetupDose", "Setup dose"),
    Field("BrachyApplicationSetupDoseSpecificationPoint", "Setup dose point (LPS)"),
)
_SETUPS = (
    Field("PatientSetupNumber", "Number"),
    Field("PatientSetupLabel", "Label"),
    Field("PatientPosition", "Patient position"),
    Field("PatientAdditionalPosition", "Additional position"),
    Field("SetupTechnique", "Technique"),
    Field("SetupTechniqueDescription", "Technique description"),
)
_TOLERANCES = (
    Field("ToleranceTableNumber", "Number"),
    Field("ToleranceTableLabel", "Label"),
    Field("GantryAngleTolerance", "Gantry angle"),
    Field("BeamLimitingDeviceAngleTolerance", "Collimator angle"),
    Field("PatientSupportAngleTolerance", "Couch angle"),
    Field("TableTopVerticalPositionTolerance", "Table vertical"),
    Field("TableTopLongitudinalPositionTolerance", "Table longitudinal"),
    Field("TableTopLateralPositionTolerance", "Table lateral"),
)
_SOURCES = (
    Field("SourceNumber", "Number"),
    Field("SourceType", "Type"),
    Field("SourceIsotopeName", "Isotope"),
    Field("SourceIsotopeHalfLife", "Half-life"),
    Field("SourceStrengthUnits", "Strength is"),
    Field("ReferenceAirKermaRate", "Reference air kerma rate"),
    Field("SourceStrength", "Strength"),
    Field("SourceStrengthReferenceDate", "Reference date"),
    Field("SourceStrengthReferenceTime", "Reference time"),
)
_ACCESSORIES = (
    Field("WedgeNumber", "Wedge"),
    Field("WedgeID", "Wedge ID"),
    Field("WedgeType", "Wedge type"),
    Field("WedgeAngle", "Wedge angle"),
    Field("WedgeFactor", "Wedge factor"),
    Field("WedgeOrientation", "Wedge orientation"),
    Field("BlockNumber", "Block"),
    Field("BlockName", "Block name"),
    Field("BlockType", "Block type"),
    Field("BlockThickness", "Block thickness"),
    Field("MaterialID", "Material"),
    Field("ApplicatorID", "Applicator ID"),
    Field("ApplicatorType", "Applicator type"),
    Field("ApplicatorOpening", "Applicator opening"),
    Field("CompensatorNumber", "Compensator"),
    Field("CompensatorID", "Compensator ID"),
    Field("RangeShifterNumber", "Range shifter"),
    Field("RangeShifterID", "Range shifter ID"),
    Field("RangeShifterType", "Range shifter type"),
    Field("RangeModulatorNumber", "Range modulator"),
    Field("RangeModulatorID", "Range modulator ID"),
    Field("RangeModulatorType", "Range modulator type"),
    Field("SnoutID", "Snout"),
    Field("AccessoryCode", "Accessory code"),
)
# Numeric settings of control points: keyword, header, unit.
_AT_CONTROL_POINTS = (
    ("NominalBeamEnergy", "Energy", ""),
    ("KVP", "Tube voltage", "kV"),
    ("DoseRateSet", "Dose rate", "MU/min"),
    ("MetersetRate", "Meterset rate", ""),
    ("GantryAngle", "Gantry angle", "deg"),
    ("GantryRotationDirection", "Gantry rotation", ""),
    ("GantryPitchAngle", "Gantry pitch", "deg"),
    ("BeamLimitingDeviceAngle", "Collimator angle", "deg"),
    ("BeamLimitingDeviceRotationDirection", "Collimator rotation", ""),
    ("PatientSupportAngle", "Couch angle", "deg"),
    ("PatientSupportRotationDirection", "Couch rotation", ""),
    ("TableTopEccentricAngle", "Table eccentric angle", "deg"),
    ("TableTopPitchAngle", "Table pitch", "deg"),
    ("TableTopRollAngle", "Table roll", "deg"),
    ("TableTopVerticalPosition", "Table vertical", "mm"),
    ("TableTopLongitudinalPosition", "Table longitudinal", "mm"),
    ("TableTopLateralPosition", "Table lateral", "mm"),
    ("IsocenterPosition", "Isocentre (LPS)", "mm"),
    ("SourceToSurfaceDistance", "Source to surface", "mm"),
    ("SnoutPosition", "Snout position", "mm"),
    ("ScanningSpotSize", "Spot size", "mm"),
    ("NumberOfPaintings", "Paintings", ""),
)
_SHOWN_OF_BEAMS = (
    "BeamNumber",
    "BeamName",
    "BeamDescription",
    "BeamType",
    "RadiationType",
    "TreatmentDeliveryType",
    "TreatmentMachineName",
    "SourceAxisDistance",
    "VirtualSourceAxisDistances",
    "PrimaryDosimeterUnit",
    "ScanMode",
)
_SHOWN_OF_CHANNELS = (
    "ChannelNumber",
    "ChannelLength",
    "ChannelTotalTime",
    "NumberOfControlPoints",
    "NumberOfPulses",
    "SourceMovementType",
)
# What tells an accessory from another one, the best first.
_NAMES_OF_ACCESSORIES = (
    "WedgeID",
    "BlockName",
    "ApplicatorID",
    "CompensatorID",
    "RangeShifterID",
    "RangeModulatorID",
    "SnoutID",
    "LateralSpreadingDeviceID",
    "GeneralAccessoryID",
    "BolusID",
    "BlockTrayID",
    "WedgeNumber",
    "BlockNumber",
)


def sheets_of(plan: Plan) -> list[Sheet]:
    """Return the tables of a plan, the main one first; those that would be empty are left out, but not that one."""
    beams, channels = _beams(plan), _channels(plan)
    main = channels if plan.channels and not plan.beams else beams
    candidates = [
        beams,
        channels,
        _control_points(plan),
        records_sheet("fractionGroups", "fraction groups", plan.fraction_groups, _FRACTION_GROUPS),
        _deliveries(plan),
        records_sheet("prescriptions", "prescriptions", plan.dose_references, _DOSE_REFERENCES),
        _accessories(plan),
        records_sheet("patientSetups", "patient setups", plan.setups, _SETUPS),
        records_sheet("toleranceTables", "tolerance tables", plan.tolerance_tables, _TOLERANCES),
        _spots(plan),
        records_sheet("sources", "sources", plan.sources, _SOURCES),
        records_sheet("machines", "treatment machines", plan.machines, (Field("TreatmentMachineName", "Name"),)),
        _dwells(plan),
    ]
    return [main, *(sheet for sheet in candidates if sheet is not main and sheet.rows)]


def _numbers(values: Iterable[object]) -> list[Any]:
    """Return a column of numbers, also where none has a value."""
    return [value if isinstance(value, int | float) else math.nan for value in values]


def _first(beam: Beam, keyword: str) -> Setting | None:
    return beam.control_points[0].settings.get(keyword) if beam.control_points else None


def _beams(plan: Plan) -> Sheet:
    beams = plan.beams

    def said(title: str, keyword: str, unit: str = "") -> Column:
        return column(title, [shown(beam.settings.get(keyword)) for beam in beams], unit, keyword=keyword)

    points = [beam.isocentre or (math.nan,) * 3 for beam in beams]
    columns = [
        column("Beam number", [beam.number if beam.number is not None else math.nan for beam in beams]),
        said("Name", "BeamName"),
        said("Description", "BeamDescription"),
        said("Type", "BeamType"),
        said("Radiation", "RadiationType"),
        said("Scan mode", "ScanMode"),
        said("Delivery", "TreatmentDeliveryType"),
        said("Machine", "TreatmentMachineName"),
        column("Energy", _numbers(_first(beam, "NominalBeamEnergy") for beam in beams), "", "MV, or MeV (per nucleon)"),
        column("Energies", [_energies(beam) for beam in beams], "", "All energies, in the order of their use"),
        column("Meterset", _numbers(beam.meterset for beam in beams), "", "Of one fraction"),
        said("Meterset unit", "PrimaryDosimeterUnit"),
        column("Dose", _numbers(beam.dose for beam in beams), "Gy", "At the dose point of the beam, in one fraction"),
        column("Dose rate", _numbers(_first(beam, "DoseRateSet") for beam in beams), "MU/min"),
        column("Fractions", [_fractions(plan, beam) for beam in beams]),
        column("Control points", [len(beam.control_points) for beam in beams]),
        column("Gantry angle", [_range(beam, "GantryAngle") for beam in beams], "deg", "First and last"),
        column("Gantry rotation", [shown(_first(beam, "GantryRotationDirection")) for beam in beams]),
        column("Collimator angle", [_range(beam, "BeamLimitingDeviceAngle") for beam in beams], "deg"),
        column("Couch angle", [_range(beam, "PatientSupportAngle") for beam in beams], "deg"),
        *[
            column(f"Isocentre {axis}", [point[place] for point in points], "mm", "Patient coordinates (LPS)")
            for place, axis in enumerate("LPS")
        ],
        column("Source to surface", _numbers(_first(beam, "SourceToSurfaceDistance") for beam in beams), "mm"),
        column("Source to axis", [_source_distance(beam) for beam in beams], "mm", "Two values: in x and in y"),
        column("Patient position", [beam.patient_position for beam in beams]),
        column("Accessories", [_accessories_of(plan, beam) for beam in beams]),
        column("Others", [others(beam.settings, _SHOWN_OF_BEAMS) for beam in beams]),
    ]
    editable = {"Name": "BeamName", "Description": "BeamDescription"}
    return Sheet("beams", "beams", columns, [beam.path for beam in beams], editable)


def _energies(beam: Beam) -> str:
    found = [shown(point.settings.get("NominalBeamEnergy")) for point in beam.control_points]
    return " ".join(dict.fromkeys(filter(None, found)))


def _range(beam: Beam, keyword: str) -> str:
    values = [shown(point.settings.get(keyword)) for point in beam.control_points]
    if not values or values[0] == values[-1]:
        return values[0] if values else ""
    return f"{values[0]} to {values[-1]}"


def _source_distance(beam: Beam) -> str:
    return shown(beam.settings.get("VirtualSourceAxisDistances" if beam.ion else "SourceAxisDistance"))


def _fractions(plan: Plan, beam: Beam) -> str:
    """Return the number of fractions of each group that delivers a beam."""
    found = [one.fractions for one in plan.references if one.kind == "beam" and one.number == beam.number]
    return " ".join(str(fractions) for fractions in found if fractions is not None)


def _accessories_of(plan: Plan, beam: Beam) -> str:
    found = [f"{one.kind} {_name(one)}".strip() for one in plan.accessories if one.beam_number == beam.number]
    return "; ".join(found)


def _name(accessory: Accessory) -> str:
    said = accessory.settings
    return shown(next((said[name] for name in _NAMES_OF_ACCESSORIES if name in said), None))


def _control_points(plan: Plan) -> Sheet:
    rows = [(beam, place, point) for beam in plan.beams for place, point in enumerate(beam.control_points)]
    columns = [
        column("Beam number", [beam.number if beam.number is not None else math.nan for beam, _, _ in rows]),
        column("Beam", [beam.name for beam, _, _ in rows]),
        column("Index", [place if point.index is None else point.index for _, place, point in rows]),
        column("Cumulative meterset weight", _numbers(point.weight for _, _, point in rows)),
        column("Cumulative meterset", _numbers(point.meterset for _, _, point in rows), "", "In the beam's own unit"),
    ]
    points = [point for _, _, point in rows]
    for keyword, title, unit in _AT_CONTROL_POINTS:
        values = [point.settings.get(keyword) for point in points]
        given = [value for value in values if value is not None]
        if given and all(isinstance(value, float) for value in given):
            columns.append(column(title, _numbers(values), unit, keyword=keyword))
        elif given:
            columns.append(column(title, [shown(value) for value in values], unit, keyword=keyword))
    for device in dict.fromkeys(kind for point in points for kind in point.positions):
        columns.append(column(device, [shown(point.positions.get(device)) for point in points], "mm"))
    columns.append(column("Wedges", [_wedges(point) for point in points]))
    named = {keyword for keyword, _, _ in _AT_CONTROL_POINTS} | {"ControlPointIndex"}
    columns.append(column("Others", [others(point.settings, named) for point in points]))
    empty = {one.name for one in columns[-2:] if not any(one.values)}
    return Sheet("controlPoints", "control points", [one for one in columns if one.name not in empty])


def _wedges(point: ControlPoint) -> str:
    return "; ".join(f"{number}={position}" for number, position in sorted(point.wedges.items()))


def _deliveries(plan: Plan) -> Sheet:
    first = [
        column("Fraction group", [_known(one.group) for one in plan.references]),
        column("Delivers", [one.kind for one in plan.references]),
        column("Number", [_known(one.number) for one in plan.references]),
        column("Name", [_name_of(plan, one.kind, one.number) for one in plan.references]),
        column("Fractions planned", [_known(one.fractions) for one in plan.references]),
    ]
    return records_sheet("deliveries", "deliveries", plan.references, _DELIVERIES, first)


def _known(value: int | None) -> float | int:
    return math.nan if value is None else value


def _name_of(plan: Plan, kind: str, number: int | None) -> str:
    if kind == "beam":
        return next((beam.name for beam in plan.beams if beam.number == number), "")
    return next(
        (
            shown(one.settings.get("ApplicationSetupName") or one.settings.get("ApplicationSetupType"))
            for one in plan.application_setups
            if one.settings.get("ApplicationSetupNumber") == number
        ),
        "",
    )


def _accessories(plan: Plan) -> Sheet:
    first = [
        column("Beam number", [_known(one.beam_number) for one in plan.accessories]),
        column("Beam", [_name_of(plan, "beam", one.beam_number) for one in plan.accessories]),
        column("Accessory", [one.kind for one in plan.accessories]),
    ]
    return records_sheet("accessories", "accessories", plan.accessories, _ACCESSORIES, first)


def _spots(plan: Plan) -> Sheet:
    numbers: list[float | int] = []
    indices: list[int] = []
    energies: list[Any] = []
    x: list[float] = []
    y: list[float] = []
    weights: list[float] = []
    for beam in plan.beams:
        for place, point in enumerate(beam.control_points):
            spots = point.spots
            count = 0 if spots is None else min(len(spots.x), MOST_SPOTS - len(x))
            if spots is None or not count:
                continue
            numbers += [_known(beam.number)] * count
            indices += [place if point.index is None else point.index] * count
            energies += [point.settings.get("NominalBeamEnergy", math.nan)] * count
            x += spots.x[:count]
            y += spots.y[:count]
            weights += spots.weights[:count]
    columns = [
        Column("Beam number", numbers),
        Column("Control point", indices),
        Column("Energy", energies, "", "MeV (per nucleon)"),
        Column("x", x, "mm", "IEC gantry system, in the plane of the isocentre"),
        Column("y", y, "mm", "IEC gantry system, in the plane of the isocentre"),
        Column("Weight", weights, "", "Scan Spot Meterset Weight"),
    ]
    return Sheet("spots", "scan spots", columns)


# --- Brachytherapy -------------------------------------------------------------------------------------------------


def _channels(plan: Plan) -> Sheet:
    channels = plan.channels

    def from_setup(title: str, keyword: str, unit: str = "") -> Column:
        return column(title, [shown(one.setup.get(keyword)) for one in channels], unit, keyword=keyword)

    columns = [
        column("Application setup", [_known(one.setup_number) for one in channels]),
        from_setup("Setup type", "ApplicationSetupType"),
        column("Channel number", [_known(one.number) for one in channels]),
        column(
            "Total time",
            _numbers(one.settings.get("ChannelTotalTime") for one in channels),
            "s",
            "Of one pulse in pulsed treatment",
        ),
        column("Pulses", _numbers(one.settings.get("NumberOfPulses") for one in channels)),
        column("Dwell positions", [len(one.dwells) for one in channels]),
        column("Length", _numbers(one.settings.get("ChannelLength") for one in channels), "mm"),
        column("Movement", [shown(one.settings.get("SourceMovementType")) for one in channels]),
        column("Isotope", [shown(one.source.get("SourceIsotopeName")) for one in channels]),
        column("Half-life", _numbers(one.source.get("SourceIsotopeHalfLife") for one in channels), "d"),
        column(
            "Reference air kerma rate",
            _numbers(one.source.get("ReferenceAirKermaRate") for one in channels),
            "uGy/h",
            "Of the source, at its reference date",
        ),
        column("Total reference air kerma", _of_setup(channels, "TotalReferenceAirKerma"), "uGy", "Of the whole setup"),
        column("Setup dose", _numbers(one.dose for one in channels), "Gy", "Of one fraction"),
        column("Others", [others(one.settings, _SHOWN_OF_CHANNELS) for one in channels]),
    ]
    return Sheet("channels", "channels", columns)


def _of_setup(channels: Sequence[Channel], keyword: str) -> list[Any]:
    return _numbers(one.setup.get(keyword) for one in channels)


def _dwells(plan: Plan) -> Sheet:
    rows = [(channel, number, one) for channel in plan.channels for number, one in enumerate(channel.dwells, start=1)]
    places = [one.position or (math.nan,) * 3 for _, _, one in rows]
    columns = [
        column("Application setup", [_known(channel.setup_number) for channel, _, _ in rows]),
        column("Channel number", [_known(channel.number) for channel, _, _ in rows]),
        column("Dwell position", [number for _, number, _ in rows]),
        column("Relative position", _numbers(one.relative for _, _, one in rows), "mm", "Along the channel"),
        *[column(axis, [place[index] for place in places], "mm", "LPS") for index, axis in enumerate("LPS")],
        column("Time", _numbers(one.seconds for _, _, one in rows), "s", "Of one pulse in pulsed treatment"),
        column("Weight", _numbers(_difference(one.weights) for _, _, one in rows), "", "Of the channel's time weights"),
        column("Transit", _numbers(one.transit for _, _, one in rows), "s", "From the position before"),
    ]
    return Sheet("dwellPositions", "dwell positions", columns)


def _difference(weights: tuple[float | None, float | None]) -> float | None:
    start, stop = weights
    return None if start is None or stop is None else stop - start
