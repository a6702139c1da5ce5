"""The radiations of a radiation set, with what their own objects say of them (PS3.3 C.36.8)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicombridge.attribute_values import items_of, value_of
from dicombridge.errors import DicomBridgeError
from dicombridge.table_objects import Chain, Field, Table, field_columns
from dicombridge.tables import Column

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["radiation_table"]

MOST_OPENED = 64
"""Radiations whose objects are opened; a set has a handful."""

_SEQUENCES = ("RTRadiationSequence", "ReferencedRTRadiationSequence", "ReferencedRTRadiationRecordSequence")
_IN_SET = (
    Field("Order", "RadiationOrderIndex", of=0),
    Field("Radiation", "ReferencedSOPInstanceUID", of=0),
    Field("Treatment position group", "TreatmentPositionGroupLabel", of=0),
    Field("Usage", "RTRadiationUsage", of=0),
)
_OF_OBJECT = (
    Field("Label", "UserContentLabel", of=1),
    Field("Control points", "NumberOfRTControlPoints", of=1),
    Field("Radiation type", "RadiationTypeCodeSequence", of=2),
    Field("Nominal energy", "NominalEnergy", of=2),
    Field("Energy unit", "EnergyUnitCodeSequence", of=2),
)


def radiation_table(header: Dataset, database: Database | None) -> Table:
    """Return the table of the radiations that an object refers to: order, modality and, where it is at hand, energy.

    Parameters
    ----------
    header
        Of a radiation set, or a record or instruction for one.
    database
        Where the objects of the radiations are looked up; without them, the table has what the set says.
    """
    items = [item for keyword in _SEQUENCES for item in items_of(header, keyword)]
    rows: list[Chain] = []
    for item in items:
        opened = _opened(item, database) if len(rows) < MOST_OPENED else Dataset()
        modes = items_of(opened, "RadiationGenerationModeSequence")
        rows += [(item, opened, mode) for mode in islice(modes, MOST_OPENED)] or [(item, opened, Dataset())]
    modalities = [
        UID(str(value_of(row[0], "ReferencedSOPClassUID") or "")).name.removesuffix(" Storage") for row in rows
    ]
    columns = field_columns(rows, _IN_SET)
    columns.insert(1, Column("Modality", modalities, "", "SOP class of the radiation"))
    told = [one for one in field_columns(rows, _OF_OBJECT) if any(value is not None for value in one.values)]
    return Table("Radiations", [*columns, *told])


def _opened(item: Dataset, database: Database | None) -> Dataset:
    """Return the header of a referenced radiation; an empty dataset where it is not at hand or cannot be read."""
    from dicombridge.multiframe import read_header

    uid = value_of(item, "ReferencedSOPInstanceUID")
    file = database.fileForInstance(str(uid)) if database is not None and uid else ""
    if not file:
        return Dataset()
    try:
        header: Dataset = read_header(file)
    except DicomBridgeError:
        return Dataset()
    return header
