"""Fraction groups, fractions and doses of a whole course, as tables (PS3.3 C.8.8.23)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from dicombridge.table_objects import Field, Table, sequence_table

__all__ = ["summary_tables"]

_GROUPS = (
    Field("Fraction group", "ReferencedFractionGroupNumber"),
    Field("Type", "FractionGroupType"),
    Field("Fractions planned", "NumberOfFractionsPlanned"),
    Field("Fractions delivered", "NumberOfFractionsDelivered"),
)
_FRACTIONS = (
    Field("Fraction group", "ReferencedFractionGroupNumber", of=1),
    Field("Fraction", "ReferencedFractionNumber"),
    Field("Date", "TreatmentDate"),
    Field("Time", "TreatmentTime"),
    Field("Termination", "TreatmentTerminationStatus"),
)
_DOSES = (
    Field("Dose reference", "ReferencedDoseReferenceNumber"),
    Field("Description", "DoseReferenceDescription"),
    Field("Cumulative dose", "CumulativeDoseToDoseReference", "Gy"),
)


def summary_tables(header: Dataset) -> list[Table]:
    """Return the tables of fraction groups, their fractions, and the doses that were measured and calculated."""
    tables = (
        ("Fraction groups", ("FractionGroupSummarySequence",), _GROUPS),
        ("Fractions", ("FractionGroupSummarySequence", "FractionStatusSummarySequence"), _FRACTIONS),
        ("Cumulative measured doses", ("TreatmentSummaryMeasuredDoseReferenceSequence",), _DOSES),
        ("Cumulative calculated doses", ("TreatmentSummaryCalculatedDoseReferenceSequence",), _DOSES),
    )
    return [sequence_table(title, header, sequence, fields) for title, sequence, fields in tables]
