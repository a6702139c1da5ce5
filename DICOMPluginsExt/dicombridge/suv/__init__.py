"""Standardized Uptake Values (SUV) of PET images: from headers to factors, with an audit. No scene, no VTK here.

>>> from pydicom import Dataset
>>> header = Dataset()
>>> header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
>>> header.Units, header.DecayCorrection, header.CorrectedImage = "BQML", "ADMIN", ["ATTN", "DECY"]
>>> header.PatientWeight = "70"
>>> item = Dataset()
>>> item.RadionuclideTotalDose, item.RadionuclideHalfLife = "350000000", "6586.2"
>>> header.RadiopharmaceuticalInformationSequence = [item]
>>> result = factors(inputs_of_series([header]), "SUVbw")
>>> round(result.factor * 5000, 6)  # 5000 Bq/ml, 70 kg, 350 MBq
1.0
"""

from __future__ import annotations

from dicombridge.suv.factors import factors, offer
from dicombridge.suv.headers import inputs_of_header, inputs_of_series
from dicombridge.suv.values import (
    DICOM_UNITS,
    METHODS,
    QUANTITIES,
    SUV_TYPES,
    UNITS,
    FrameInputs,
    MissingInput,
    Sourced,
    SuvInputs,
    SuvResult,
    type_of_unit_code,
)

__all__ = [
    "DICOM_UNITS",
    "METHODS",
    "QUANTITIES",
    "SUV_TYPES",
    "UNITS",
    "FrameInputs",
    "MissingInput",
    "Sourced",
    "SuvInputs",
    "SuvResult",
    "factors",
    "inputs_of_header",
    "inputs_of_series",
    "offer",
    "type_of_unit_code",
]
