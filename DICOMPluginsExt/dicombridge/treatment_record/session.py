"""What all treatment records have, as tables (PS3.3 C.8.8.17 to C.8.8.20)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from dicombridge.attribute_values import value_of
from dicombridge.outline import named_references, reference_columns
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

__all__ = ["dose_tables", "reference_table", "session_table", "title_of"]

_TITLES = {
    "1.2.840.10008.5.1.4.1.1.481.4": "RT beams treatment record",
    "1.2.840.10008.5.1.4.1.1.481.6": "RT brachy treatment record",
    "1.2.840.10008.5.1.4.1.1.481.7": "RT treatment summary record",
    "1.2.840.10008.5.1.4.1.1.481.9": "RT ion beams treatment record",
}

_SESSION = (
    Field("Treatment date", "TreatmentDate"),
    Field("Treatment time", "TreatmentTime"),
    Field("Operators", "OperatorsName"),
    Field("Fraction group", "ReferencedFractionGroupNumber"),
    Field("Fractions planned", "NumberOfFractionsPlanned"),
    Field("Primary dosimeter unit", "PrimaryDosimeterUnit"),
    Field("Brachy treatment technique", "BrachyTreatmentTechnique"),
    Field("Brachy treatment type", "BrachyTreatmentType"),
    Field("Treatment status", "CurrentTreatmentStatus"),
    Field("Treatment status comment", "TreatmentStatusComment"),
    Field("First treatment date", "FirstTreatmentDate"),
    Field("Most recent treatment date", "MostRecentTreatmentDate"),
)

# Of each beam or application setup, but the same for all of a session.
_SESSION_ITEM = (
    Field("Fraction", "CurrentFractionNumber"),
    Field("Delivery type", "TreatmentDeliveryType"),
)

_MACHINE = (
    Field("Treatment machine", "TreatmentMachineName"),
    Field("Manufacturer of the machine", "Manufacturer"),
    Field("Model of the machine", "ManufacturerModelName"),
    Field("Serial number of the machine", "DeviceSerialNumber"),
    Field("Institution", "InstitutionName"),
    Field("Department", "InstitutionalDepartmentName"),
    Field("Address", "InstitutionAddress"),
)

_OBJECT = (
    Field("Patient", "PatientName"),
    Field("Patient ID", "PatientID"),
    Field("Instance number", "InstanceNumber"),
    Field("Recording system", "Manufacturer"),
    Field("Recording system model", "ManufacturerModelName"),
)


def title_of(sop_class_uid: str) -> str:
    """Return the name of a record for a person."""
    return _TITLES.get(sop_class_uid, "RT treatment record")


def session_table(header: Dataset, items: Sequence[Dataset]) -> Table:
    """Return the table of a session: an attribute a row, those without a value left out.

    Parameters
    ----------
    header
        Of the record.
    items
        Its beams or application setups, which repeat the fraction.
    """
    rows: list[AttributeRow] = [("Record", title_of(str(header.get("SOPClassUID") or "")), "")]
    rows += attribute_rows(header, _SESSION)
    rows += [row for field in _SESSION_ITEM for row in _first(items, field)]
    rows += [row for chain in chains(header, "TreatmentMachineSequence") for row in attribute_rows(chain[-1], _MACHINE)]
    for chain in chains(header, "ReferencedRTPlanSequence"):
        rows.append(("Plan", value_of(chain[-1], "ReferencedSOPInstanceUID"), ""))
    for chain in chains(header, "ReferencedTreatmentRecordSequence"):
        rows.append(("Other record", value_of(chain[-1], "ReferencedSOPInstanceUID"), ""))
    rows += attribute_rows(header, _OBJECT)
    return attribute_table("Session", rows)


def _first(items: Sequence[Dataset], field: Field) -> list[AttributeRow]:
    """Return what items say, all values where they say different things."""
    found = dict.fromkeys(value for item in items if (value := value_of(item, field.keyword)) is not None)
    return [(field.title, ", ".join(map(str, found)), field.unit)] if found else []


# --- Doses and references ------------------------------------------------------------------------------------------

_MEASURED = (
    Field("Measured dose reference", "MeasuredDoseReferenceNumber"),
    Field("Dose reference", "ReferencedDoseReferenceNumber"),
    Field("Description", "MeasuredDoseDescription"),
    Field("Type", "MeasuredDoseType"),
    Field("Dose", "MeasuredDoseValue"),
    Field("Dose units", "DoseUnits"),
)
_CALCULATED = (
    Field("Calculated dose reference", "CalculatedDoseReferenceNumber"),
    Field("Dose reference", "ReferencedDoseReferenceNumber"),
    Field("Description", "CalculatedDoseReferenceDescription"),
    Field("Dose", "CalculatedDoseReferenceDoseValue", "Gy"),
)
# Doses by beam or application setup refer to the two lists above, or stand for themselves.
_BEAM_MEASURED = (
    Field("Measured dose reference", "ReferencedMeasuredDoseReferenceNumber"),
    Field("Dose reference", "ReferencedDoseReferenceNumber"),
    Field("Dose", "MeasuredDoseValue"),
)
_BEAM_CALCULATED = (
    Field("Calculated dose reference", "ReferencedCalculatedDoseReferenceNumber"),
    Field("Dose reference", "ReferencedDoseReferenceNumber"),
    Field("Dose", "CalculatedDoseReferenceDoseValue", "Gy"),
)


def dose_tables(header: Dataset, within: Sequence[str], parent: Field) -> list[Table]:
    """Return the tables of measured and calculated doses, of the record and of its beams or application setups.

    Parameters
    ----------
    header
        Of the record.
    within
        Keywords of the sequences whose items have doses of their own.
    parent
        What tells such an item, shown in front of its doses.
    """
    tables = [
        sequence_table("Measured doses", header, ("MeasuredDoseReferenceSequence",), _MEASURED),
        sequence_table("Calculated doses", header, ("CalculatedDoseReferenceSequence",), _CALCULATED),
    ]
    for title, keyword, fields in (
        ("Measured doses by item", "ReferencedMeasuredDoseReferenceSequence", _BEAM_MEASURED),
        ("Calculated doses by item", "ReferencedCalculatedDoseReferenceSequence", _BEAM_CALCULATED),
    ):
        rows: list[Chain] = [chain for sequence in within for chain in chains(header, sequence, keyword)]
        tables.append(Table(title, field_columns(rows, (parent, *fields))))
    return tables


def reference_table(header: Dataset) -> Table:
    """Return the table of all objects that a record refers to, with what for."""
    return Table("References", reference_columns(named_references(header)))
