"""Sources, application setups, channels and dwell times of a session, as tables (PS3.3 C.8.8.22)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from dicombridge.attribute_values import number_of, seconds_of
from dicombridge.table_objects import Chain, Field, Table, chains, field_columns, sequence_table
from dicombridge.tables import Column
from dicombridge.treatment_record.beams import changes_tables

__all__ = ["SETUP_SEQUENCE", "brachy_tables"]

SETUP_SEQUENCE = "TreatmentSessionApplicationSetupSequence"
_CHANNELS_OF_SETUP = (SETUP_SEQUENCE, "RecordedChannelSequence")

_SETUP, _CHANNEL = 1, 2
"""Places in a chain; the record itself comes first."""

_SOURCES = (
    Field("Source", "SourceNumber"),
    Field("Type", "SourceType"),
    Field("Isotope", "SourceIsotopeName"),
    Field("Half-life", "SourceIsotopeHalfLife", "d"),
    Field("Reference air kerma rate", "ReferenceAirKermaRate", "uGy/h at 1 m"),
    Field("Strength", "SourceStrength"),
    Field("Strength units", "SourceStrengthUnits"),
    Field("Reference date", "SourceStrengthReferenceDate"),
    Field("Reference time", "SourceStrengthReferenceTime"),
    Field("Manufacturer", "SourceManufacturer"),
    Field("Serial number", "SourceSerialNumber"),
)

_SETUPS = (
    Field("Application setup", "ReferencedBrachyApplicationSetupNumber"),
    Field("Type", "ApplicationSetupType"),
    Field("Fraction", "CurrentFractionNumber"),
    Field("Delivery type", "TreatmentDeliveryType"),
    Field("Termination", "TreatmentTerminationStatus"),
    Field("Termination reason", "RTTreatmentTerminationReasonCodeSequence"),
    Field("Verification", "TreatmentVerificationStatus"),
    Field("Total reference air kerma", "TotalReferenceAirKerma", "uGy at 1 m"),
    Field("Check wire", "ApplicationSetupCheck"),
)

_CHANNELS = (
    Field("Application setup", "ReferencedBrachyApplicationSetupNumber", of=_SETUP),
    Field("Channel", "ChannelNumber"),
    Field("Length", "ChannelLength", "mm"),
    Field("Effective length", "ChannelEffectiveLength", "mm"),
    Field("Source", "ReferencedSourceNumber"),
    Field("Source movement", "SourceMovementType"),
    Field("Specified time", "SpecifiedChannelTotalTime", "s"),
    Field("Delivered time", "DeliveredChannelTotalTime", "s"),
    Field("Specified pulses", "SpecifiedNumberOfPulses"),
    Field("Delivered pulses", "DeliveredNumberOfPulses"),
    Field("Specified pulse interval", "SpecifiedPulseRepetitionInterval", "s"),
    Field("Delivered pulse interval", "DeliveredPulseRepetitionInterval", "s"),
    Field("Transfer tube", "TransferTubeNumber"),
    Field("Transfer tube length", "TransferTubeLength", "mm"),
    Field("Control points", "NumberOfControlPoints"),
    Field("Safe position left on", "SafePositionExitDate"),
    Field("Safe position left at", "SafePositionExitTime"),
    Field("Safe position reached on", "SafePositionReturnDate"),
    Field("Safe position reached at", "SafePositionReturnTime"),
)

_APPLICATORS = (
    Field("Channel", "ChannelNumber", of=_CHANNEL),
    Field("Applicator", "SourceApplicatorNumber"),
    Field("Identifier", "SourceApplicatorID"),
    Field("Type", "SourceApplicatorType"),
    Field("Length", "SourceApplicatorLength", "mm"),
    Field("Tip length", "SourceApplicatorTipLength", "mm"),
    Field("Step", "SourceApplicatorStepSize", "mm"),
    Field("Manufacturer", "SourceApplicatorManufacturer"),
)

_DWELLS = (
    Field("Application setup", "ReferencedBrachyApplicationSetupNumber", of=_SETUP),
    Field("Channel", "ChannelNumber", of=_CHANNEL),
    Field("Control point", "ReferencedControlPointIndex"),
    Field("Relative position", "ControlPointRelativePosition", "mm"),
    Field("Date", "TreatmentControlPointDate"),
    Field("Time", "TreatmentControlPointTime"),
)

_PULSES = (
    Field("Application setup", "ReferencedBrachyApplicationSetupNumber", of=_SETUP),
    Field("Channel", "ChannelNumber", of=_CHANNEL),
    Field("Pulse", "PulseNumber", of=3),
    Field("Control point", "ReferencedControlPointIndex"),
    Field("Relative position", "ControlPointRelativePosition", "mm"),
    Field("Date", "TreatmentControlPointDate"),
    Field("Time", "TreatmentControlPointTime"),
)


def brachy_tables(header: Dataset) -> list[Table]:
    """Return the tables of application setups, sources, channels, applicators, dwell positions, pulses, overrides."""
    points = list(chains(header, *_CHANNELS_OF_SETUP, "BrachyControlPointDeliveredSequence"))
    setups = list(chains(header, SETUP_SEQUENCE))
    pulses = list(
        chains(
            header,
            *_CHANNELS_OF_SETUP,
            "PulseSpecificBrachyControlPointDeliveredSequence",
            "BrachyPulseControlPointDeliveredSequence",
        )
    )
    return [
        Table("Application setups", field_columns(setups, _SETUPS)),
        sequence_table("Sources", header, ("RecordedSourceSequence",), _SOURCES),
        sequence_table("Channels", header, _CHANNELS_OF_SETUP, _CHANNELS),
        sequence_table("Applicators", header, (*_CHANNELS_OF_SETUP, "RecordedSourceApplicatorSequence"), _APPLICATORS),
        Table("Dwell positions", [*field_columns(points, _DWELLS), *_dwell_times(points)]),
        Table("Pulses", [*field_columns(pulses, _PULSES), *_dwell_times(pulses)]),
        *changes_tables([(chain[0], chain[2], chain[3]) for chain in points]),
    ]


def _dwell_times(points: Sequence[Chain]) -> list[Column]:
    """Return a column of the seconds that the source stayed at the position of each control point.

    A dwell is a pair of control points of one channel at one relative position; its time is the difference of their
    times and stands with the first one (PS3.3 C.8.8.22, C.8.8.15.10). Between dwells, where the source moves, and for
    the last control point, there is none.
    """
    times: list[float | None] = [None] * len(points)
    for number in range(len(points) - 1):
        one, other = points[number], points[number + 1]
        if one[_CHANNEL] is not other[_CHANNEL]:
            continue
        place = number_of(one[-1], "ControlPointRelativePosition")
        if place is None or place != number_of(other[-1], "ControlPointRelativePosition"):
            continue
        begin = seconds_of(one[-1], "TreatmentControlPointDate", "TreatmentControlPointTime")
        end = seconds_of(other[-1], "TreatmentControlPointDate", "TreatmentControlPointTime")
        if begin is not None and end is not None and end >= begin:
            times[number] = round(end - begin, 6)
    if all(time is None for time in times):
        return []
    return [Column("Dwell time", times, "s", "Until the next control point at the same position")]
