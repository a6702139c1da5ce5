"""Parametric maps made element by element: a test can have any of them, right or wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from support.items import code, frame_reference
from support.seg_objects import AXIAL, SPACING, dataset_of_class, decimals

__all__ = [
    "PARAMETRIC_MAP",
    "MapFrame",
    "group",
    "mapping_item",
    "parametric_map",
    "planes_of",
    "set_pixels",
    "write",
]

PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
NO_UNITS = ("1", "UCUM", "no units")
PIXELS = {"float32": "FloatPixelData", "float64": "DoubleFloatPixelData"}


@dataclass
class MapFrame:
    """A frame to be written; ``groups`` are its functional groups beside position and derivation."""

    position: Sequence[float]
    pixels: NDArray[Any]
    groups: Mapping[str, Sequence[Dataset]] = field(default_factory=dict)
    orientation: Sequence[float] | None = None
    sources: Sequence[tuple[str, int]] = ()
    indices: Sequence[int] = ()
    """Dimension Index Values."""


def group(**attributes: Any) -> list[Dataset]:
    """A functional group with one item."""
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def mapping_item(
    slope: float | None = 1.0,
    intercept: float | None = 0.0,
    *,
    label: str = "MAP",
    explanation: str = "A map",
    units: tuple[str, str, str] = NO_UNITS,
    quantity: tuple[str, str, str] | None = None,
    definitions: Sequence[tuple[tuple[str, str, str], object]] = (),
    values: tuple[float, float] | None = None,
    lut: Sequence[float] | None = None,
    vr: str = "US",
) -> Dataset:
    """An item of a Real World Value Mapping Sequence; ``values`` is the range that it maps."""
    item = Dataset()
    item.LUTExplanation, item.LUTLabel = explanation, label
    item.MeasurementUnitsCodeSequence = [code(*units)]
    if values is not None and vr == "FD":
        item.DoubleFloatRealWorldValueFirstValueMapped, item.DoubleFloatRealWorldValueLastValueMapped = values
    elif values is not None:
        for keyword, value in zip(("First", "Last"), values, strict=True):
            element = DataElement(f"RealWorldValue{keyword}ValueMapped", vr, int(value))
            item[element.tag] = element
    if lut is not None:
        item.RealWorldValueLUTData = [float(value) for value in lut]
    elif slope is not None:
        item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    pairs = [] if quantity is None else [(("246205007", "SCT", "Quantity"), quantity)]
    parts = [_definition(concept, value) for concept, value in [*pairs, *definitions]]
    if parts:
        item.QuantityDefinitionSequence = parts
    return item


def _definition(concept: tuple[str, str, str], value: Any) -> Dataset:
    part = Dataset()
    part.ConceptNameCodeSequence = [code(*concept)]
    if isinstance(value, tuple):
        part.ValueType, part.ConceptCodeSequence = "CODE", [code(*value)]
    elif isinstance(value, str):
        part.ValueType, part.TextValue = "TEXT", value
    else:
        part.ValueType, part.NumericValue = "NUMERIC", str(value)
        part.MeasurementUnitsCodeSequence = [code("s/mm2", "UCUM", "s/mm2")]
    return part


def parametric_map(
    frames: Sequence[MapFrame],
    *,
    mappings: Sequence[Dataset] | None = None,
    window: tuple[float, float] | None = None,
    rescale: tuple[float, float] = (1, 0),
    dimensions: Sequence[tuple[int, int, str]] = (),
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = SPACING,
    **attributes: Any,
) -> Dataset:
    """Return a map, its stored type that of the frames' pixels; without SliceThickness and SpacingBetweenSlices.

    ``mappings`` are shared ones; frames can have their own. ``dimensions`` are pointer, group pointer and label.
    """
    dataset = dataset_of_class(PARAMETRIC_MAP)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SeriesNumber = "1.2.3.60", "MR", 60
    dataset.SeriesDescription, dataset.InstanceNumber, dataset.ContentLabel = "Maps", 1, "MAPS"
    dataset.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]
    dataset.ContentCreatorName, dataset.Manufacturer, dataset.ManufacturerModelName = "DOE^JOHN", "Acme", "Map 1"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = frames[0].pixels.shape
    dataset.NumberOfFrames = len(frames)
    dataset.DimensionIndexSequence = [_dimension(*dimension) for dimension in dimensions]
    dataset.SharedFunctionalGroupsSequence = [_shared(mappings, window, rescale, orientation, spacing)]
    dataset.PerFrameFunctionalGroupsSequence = [_groups(frame) for frame in frames]
    set_pixels(dataset, np.stack([frame.pixels for frame in frames]))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def set_pixels(dataset: Dataset, pixels: NDArray[Any]) -> None:
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    content = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    if pixels.dtype.kind == "f":
        setattr(dataset, PIXELS[pixels.dtype.name], content)
        return
    dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW"


def _dimension(pointer: int, group_pointer: int, label: str) -> Dataset:
    item = Dataset()
    item.DimensionIndexPointer, item.FunctionalGroupPointer = pointer, group_pointer
    item.DimensionDescriptionLabel = label
    return item


def _shared(
    mappings: Sequence[Dataset] | None,
    window: tuple[float, float] | None,
    rescale: tuple[float, float],
    orientation: Sequence[float],
    spacing: Sequence[float],
) -> Dataset:
    shared = Dataset()
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=decimals(orientation))
    shared.PixelMeasuresSequence = group(PixelSpacing=decimals(spacing))
    slope, intercept = decimals(rescale)
    shared.PixelValueTransformationSequence = group(RescaleIntercept=intercept, RescaleSlope=slope, RescaleType="US")
    if mappings is not None:
        shared.RealWorldValueMappingSequence = list(mappings)
    if window is not None:
        centre, width = decimals(window)
        shared.FrameVOILUTSequence = group(WindowCenter=centre, WindowWidth=width)
    return shared


def _groups(frame: MapFrame) -> Dataset:
    groups = Dataset()
    groups.PlanePositionSequence = group(ImagePositionPatient=decimals(frame.position))
    if frame.orientation is not None:
        groups.PlaneOrientationSequence = group(ImageOrientationPatient=decimals(frame.orientation))
    if frame.sources:
        derivation = group(
            DerivationCodeSequence=[code("110816", "DCM", "Time Course of Signal")],
            SourceImageSequence=[frame_reference(MRImageStorage, uid, number) for uid, number in frame.sources],
        )
        groups.DerivationImageSequence = derivation
    content = Dataset()
    if frame.indices:
        content.DimensionIndexValues = list(frame.indices)
    groups.FrameContentSequence = [content]
    for keyword, items in frame.groups.items():
        if keyword == "FrameContentSequence":
            content.update(items[0])
        else:
            setattr(groups, keyword, list(items))
    return groups


def planes_of(count: int, shape: tuple[int, int] = (6, 8), dtype: Any = np.float32, seed: int = 0) -> NDArray[Any]:
    """Random stored values, [slice, row, column]."""
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.normal(size=(count, *shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, size=(count, *shape), endpoint=True, dtype=dtype)


def write(dataset: Dataset, folder: Path, name: str = "map.dcm") -> Path:
    path = folder / name
    dataset.save_as(path, enforce_file_format=True)
    return path
