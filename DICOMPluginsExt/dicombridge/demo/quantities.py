"""Images whose voxels are quantities: a PET of the phantom, and a map of its diffusion coefficient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.demo import anatomy
from dicombridge.demo.phantom import PhantomSeries, centred_affine, decimal, image_header, phantom_uid

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MapTruth", "window_options", "write_diffusion_map", "write_pet"]

_PET_SHAPE, _PET_SPACING = (40, 72, 72), (6.0, 4.8, 4.8)
_WEIGHT_KG, _DOSE_BQ, _HALF_LIFE_S, _UPTAKE_S = 75.0, 370e6, 6586.2, 3600.0

# Standardized uptake values by body weight; later rows paint over earlier ones.
_UPTAKE = {
    "Body": 0.6,
    "Right lung": 0.4,
    "Left lung": 0.4,
    "Liver": 2.1,
    "Spleen": 1.7,
    "Right kidney": 3.6,
    "Left kidney": 3.6,
    "Aorta": 1.5,
    "Spine": 1.1,
    "Liver lesion": 8.5,
}
# Apparent diffusion coefficient, in 1e-3 mm2/s; written in um2/s.
_DIFFUSION = {
    "Body": 0.2,
    "Liver": 1.05,
    "Spleen": 0.8,
    "Right kidney": 2.1,
    "Left kidney": 2.1,
    "Aorta": 2.6,
    "Spine": 0.5,
    "Liver lesion": 1.5,
}


@dataclass(frozen=True)
class MapTruth:
    """A parametric map and what it must contain.

    Attributes
    ----------
    name
        Series description.
    file
        The object.
    source
        The series whose grid it has.
    values
        (slices, rows, columns) float32, in the map's unit.
    """

    name: str
    file: Path
    source: PhantomSeries
    values: NDArray[np.float32]


def _painted(affine: NDArray[np.float64], shape: tuple[int, int, int], table: dict[str, float]) -> NDArray[np.float64]:
    points = anatomy.points_of_grid(affine, shape)
    values = np.zeros(shape)
    for organ, value in table.items():
        values[anatomy.ORGANS[organ](points) <= 1.0] = value
    return values


def _blurred(values: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    for _ in range(times):
        for axis in range(3):
            values = 0.5 * values + 0.25 * (np.roll(values, 1, axis) + np.roll(values, -1, axis))
    return values


def write_pet(directory: Path) -> tuple[PhantomSeries, NDArray[np.float64]]:
    """Write an FDG PET in Bq/ml, whose slope differs from slice to slice as scanners write it.

    Returns
    -------
    PhantomSeries
        With values in Bq/ml, as stored.
    ndarray
        The same as SUV by body weight, worked out here: activity x weight / dose that is left at the scan.
    """
    directory.mkdir(parents=True, exist_ok=True)
    affine = centred_affine(np.eye(3)[:, [2, 1, 0]], _PET_SPACING, _PET_SHAPE, (0.0, 0.0, 0.0))
    left = _DOSE_BQ * 2.0 ** (-_UPTAKE_S / _HALF_LIFE_S)
    random = np.random.default_rng(5)
    activity = _blurred(_painted(affine, _PET_SHAPE, _UPTAKE), 2) * left / (_WEIGHT_KG * 1000.0)
    activity *= 1.0 + 0.04 * random.standard_normal(_PET_SHAPE)
    activity = np.clip(activity, 0.0, None)
    values = np.zeros(_PET_SHAPE)
    files = []
    for index, plane in enumerate(activity):
        slope = float(decimal(max(float(plane.max()), 1.0) / 32767.0))
        stored = np.rint(plane / slope).astype(np.int16)
        values[index] = stored * slope
        dataset = _pet_header(affine, index, slope)
        dataset.PixelData = np.ascontiguousarray(stored, dtype="<i2").tobytes()
        files.append(directory / f"PT{index + 1:03d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    series = PhantomSeries("PET FDG", directory, tuple(files), phantom_uid("series/PT"), affine, values)
    return series, values * (_WEIGHT_KG * 1000.0) / left


def _pet_header(affine: NDArray[np.float64], index: int, slope: float) -> Any:
    specific = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128",
        "Modality": "PT",
        "SeriesNumber": 4,
        "SeriesDescription": "PET FDG",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "PatientWeight": decimal(_WEIGHT_KG),
        "PatientSize": "1.78",
        "SeriesTime": "080000",
        "AcquisitionTime": "080000",
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT", "NORM"],
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],
        "NumberOfSlices": _PET_SHAPE[0],
        "CollimatorType": "NONE",
        "FrameReferenceTime": "0",
        "ActualFrameDuration": 180000,
        "DecayFactor": "1",
        "ImageIndex": index + 1,
        "RescaleIntercept": "0",
        "RescaleSlope": decimal(slope),
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "InstanceNumber": index + 1,
        "SliceThickness": decimal(_PET_SPACING[0]),
        "PixelSpacing": [decimal(value) for value in _PET_SPACING[1:]],
        "ImagePositionPatient": [decimal(value) for value in affine[:3, 3] + index * affine[:3, 0]],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "Rows": _PET_SHAPE[1],
        "Columns": _PET_SHAPE[2],
        "SOPInstanceUID": phantom_uid(f"instance/PT/{index}"),
        "PatientOrientationCodeSequence": [_code("102538003", "SCT", "recumbent")],
        "PatientGantryRelationshipCodeSequence": [_code("102540008", "SCT", "headfirst")],
        "RadiopharmaceuticalInformationSequence": [_injection()],
    }
    dataset = image_header(phantom_uid("series/PT"), specific)
    del dataset.PatientPosition  # the codes below say it
    dataset.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [
        _code("40199007", "SCT", "supine")
    ]
    return dataset


def _injection() -> Any:
    from pydicom import Dataset

    item = Dataset()
    item.Radiopharmaceutical = "Fluorodeoxyglucose"
    item.RadiopharmaceuticalStartTime = "070000"
    item.RadionuclideTotalDose = decimal(_DOSE_BQ)
    item.RadionuclideHalfLife = decimal(_HALF_LIFE_S)
    item.RadionuclidePositronFraction = "0.97"
    item.RadionuclideCodeSequence = [_code("77004003", "SCT", "^18^Fluorine")]
    item.RadiopharmaceuticalCodeSequence = [_code("35321007", "SCT", "Fluorodeoxyglucose F^18^")]
    return item


def _code(value: str, scheme: str, meaning: str) -> Any:
    from dicombridge.codes import Code, code_item

    return code_item(Code(value, scheme, meaning))


def window_options(centre: float, width: float) -> dict[str, Any]:
    """Return the window of a map as ParametricMap takes it: highdicom 0.27 two numbers, 0.28 a transformation."""
    import inspect

    import highdicom as hd

    if "voi_lut_transformations" not in inspect.signature(hd.pm.ParametricMap).parameters:
        return {"window_center": centre, "window_width": width}
    return {"voi_lut_transformations": [hd.VOILUTTransformation(window_center=centre, window_width=width)]}


def write_diffusion_map(directory: Path, source: PhantomSeries) -> MapTruth:
    """Write a map of the diffusion coefficient on the planes of a series, with highdicom."""
    import highdicom as hd
    from pydicom import dcmread
    from pydicom.sr.coding import Code

    directory.mkdir(parents=True, exist_ok=True)
    name = "MR diffusion coefficient"
    values = _blurred(_painted(source.affine, source.values.shape, _DIFFUSION) * 1000.0, 1).astype(np.float32)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="ADC",
        lut_explanation="Apparent diffusion coefficient",
        unit=Code("um2/s", "UCUM", "square micrometer per second"),
        value_range=(0.0, 4000.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=Code("113041", "DCM", "Apparent Diffusion Coefficient"),
    )
    dataset = hd.pm.ParametricMap(
        [dcmread(file) for file in source.files],
        values,
        series_instance_uid=phantom_uid(f"series/{name}"),
        series_number=15,
        sop_instance_uid=phantom_uid(f"instance/{name}"),
        instance_number=1,
        manufacturer="highdicom",
        manufacturer_model_name="highdicom.pm.ParametricMap",
        software_versions=hd.__version__,
        device_serial_number="1",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        **window_options(1300, 2600),
        content_label="ADC",
        content_description=name,
        series_description=name,
    )
    dataset.Laterality = ""  # wanted where there is a Body Part Examined, which comes from the source images
    file = directory / "mr_diffusion_coefficient.dcm"
    dataset.save_as(file, enforce_file_format=True)
    return MapTruth(name, file, source, values)
