"""A slide of the phantom, the nuclei on it as bulk annotations, and its glands as a segmentation in tiles.

The slide is written with pydicom, what lies on it with highdicom: the library's readers meet others' objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.demo import tissue
from dicombridge.demo.findings import set_time
from dicombridge.demo.phantom import decimal, image_header, phantom_uid

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

__all__ = ["SlideLevel", "SlideTruth", "write_slide"]

_NAME = "Slide"
_SHAPE, _TILE = (768, 1024), 256
_SPACING = 0.0005
"""mm: as with an objective of 20 times."""
_ORIGIN = (21.5, 52.75)
_RIGHT, _DOWN = (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)
"""How most scanners see a slide: rows run along -y of the slide, columns along -x."""
_TIME = "20250102080600"


@dataclass(frozen=True)
class SlideLevel:
    """A level of the pyramid.

    Attributes
    ----------
    file
        Its image.
    pixels
        (rows, columns, 3) RGB.
    affine
        (3, 3) maps ``(row, column, 1)``, pixel centres, to slide mm.
    """

    file: Path
    pixels: NDArray[np.uint8] = field(repr=False)
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class SlideTruth:
    """What was written of a slide.

    Attributes
    ----------
    uid
        SeriesInstanceUID of the slide.
    levels
        The largest one first.
    annotations, segmentation
        The ANN and the SEG object.
    nuclei
        Each (n, 2): column and row, from the corner of the first pixel of the largest level.
    areas
        Of each nucleus, square micrometres.
    glands
        (rows, columns) of the largest level.
    """

    uid: str
    levels: tuple[SlideLevel, ...]
    annotations: Path
    segmentation: Path
    nuclei: tuple[NDArray[np.float32], ...] = field(repr=False)
    areas: NDArray[np.float32] = field(repr=False)
    glands: NDArray[np.bool_] = field(repr=False)


def write_slide(directory: Path) -> SlideTruth:
    """Write the slide and what lies on it into a folder, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    shown = tissue.scatter_nuclei(_SHAPE)
    pixels = [tissue.draw_tissue(_SHAPE, shown)]
    pixels.append(_halved(pixels[0]))
    levels = tuple(_write_level(directory, number, one) for number, one in enumerate(pixels))
    nuclei = tuple(np.asarray(one.outline + np.float32(0.5)) for one in shown)
    areas = np.array([_area(one) * (_SPACING * 1000) ** 2 for one in nuclei], dtype=np.float32)
    row, column = (axis.astype(np.float64) for axis in np.mgrid[: _SHAPE[0], : _SHAPE[1]])
    glands = np.min(tissue.gland_levels(column, row), axis=0) <= 1.0
    return SlideTruth(
        phantom_uid(f"series/{_NAME}"),
        levels,
        _write_annotations(directory / "nuclei.dcm", levels[0], nuclei, areas),
        _write_segmentation(directory / "glands.dcm", levels[0], glands),
        nuclei,
        areas,
        glands,
    )


def _halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a level of half as many rows and columns: means of 2 x 2 pixels."""
    rows, columns, _ = pixels.shape
    blocks = pixels.reshape(rows // 2, 2, columns // 2, 2, 3).astype(np.float64)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def _area(corners: NDArray[np.float32]) -> float:
    """Return the area of a polygon in pixels, by the shoelace formula."""
    x, y = corners.astype(np.float64).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


# The slide ---------------------------------------------------------------------------------------------------------


def _write_level(directory: Path, number: int, pixels: NDArray[np.uint8]) -> SlideLevel:
    """Write a level; all have their corner, not the centre of their first pixel, at one place."""
    spacing = _SPACING * 2**number
    steps = np.array([_DOWN[:2], _RIGHT[:2]]).T
    origin = np.array(_ORIGIN) + steps.sum(axis=1) * (spacing - _SPACING) / 2
    dataset = image_header(phantom_uid(f"series/{_NAME}"), _SPECIFIC)
    for keyword in ("PatientPosition", "BodyPartExamined", "AcquisitionDate", "AcquisitionTime", "AcquisitionNumber"):
        del dataset[keyword]
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.6"
    dataset.SOPInstanceUID = phantom_uid(f"instance/{_NAME}/{number}")
    dataset.InstanceNumber = number + 1
    dataset.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"] if number else _SPECIFIC["ImageType"]
    _describe_tiles(dataset, pixels.shape[:2], spacing, origin)
    _describe_glass(dataset)
    dataset.PixelData = _tiles(pixels)
    file = directory / f"level{number}.dcm"
    dataset.save_as(file, enforce_file_format=True)
    affine = np.eye(3)
    affine[:2, :2], affine[:2, 2] = steps * spacing, origin
    return SlideLevel(file, pixels, affine)


_SPECIFIC: dict[str, Any] = {
    "Modality": "SM",
    "SeriesNumber": 50,
    "SeriesDescription": _NAME,
    "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
    "FrameOfReferenceUID": phantom_uid("frame of reference/slide"),
    "PositionReferenceIndicator": "SLIDE_CORNER",
    "AcquisitionDateTime": _TIME,
    "VolumetricProperties": "VOLUME",
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "PlanarConfiguration": 0,
    "BitsAllocated": 8,
    "BitsStored": 8,
    "HighBit": 7,
    "LossyImageCompression": "00",
    "BurnedInAnnotation": "NO",
    "SpecimenLabelInImage": "NO",
    "FocusMethod": "AUTO",
    "ExtendedDepthOfField": "NO",
    "ImagedVolumeDepth": 0.004,
    "ContainerIdentifier": "PHANTOM-1",
    "IssuerOfTheContainerIdentifierSequence": [],
    "AcquisitionContextSequence": [],
}


def _describe_tiles(dataset: Dataset, shape: tuple[int, ...], spacing: float, origin: NDArray[np.float64]) -> None:
    """Set where the pixels lie (PS3.3 C.8.12.4)."""
    rows, columns = shape
    dataset.Rows = dataset.Columns = _TILE
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = rows, columns
    dataset.TotalPixelMatrixFocalPlanes = dataset.NumberOfOpticalPaths = 1
    dataset.NumberOfFrames = -(-rows // _TILE) * -(-columns // _TILE)
    dataset.ImagedVolumeHeight, dataset.ImagedVolumeWidth = rows * spacing, columns * spacing
    dataset.ImageOrientationSlide = [decimal(value) for value in (*_RIGHT, *_DOWN)]
    x, y = (decimal(float(value)) for value in origin)
    dataset.TotalPixelMatrixOriginSequence = [_item(XOffsetInSlideCoordinateSystem=x, YOffsetInSlideCoordinateSystem=y)]
    measures = _item(PixelSpacing=[decimal(spacing)] * 2, SliceThickness=decimal(0.004))
    frame_type = _item(FrameType=dataset.ImageType)
    shared = _item(PixelMeasuresSequence=[measures], WholeSlideMicroscopyImageFrameTypeSequence=[frame_type])
    dataset.SharedFunctionalGroupsSequence = [shared]
    organization = phantom_uid(f"dimensions/{_NAME}")
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=organization)]
    dataset.DimensionOrganizationType = "TILED_FULL"


def _describe_glass(dataset: Dataset) -> None:
    """Set what is on the glass, and through which light it was seen."""
    dataset.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]
    specimen = _item(SpecimenIdentifier="PHANTOM-1-A", SpecimenUID=phantom_uid("specimen"))
    specimen.IssuerOfTheSpecimenIdentifierSequence, specimen.SpecimenPreparationSequence = [], []
    dataset.SpecimenDescriptionSequence = [specimen]
    path = _item(OpticalPathIdentifier="1", ICCProfile=_profile())
    path.IlluminationTypeCodeSequence = [_code("111744", "DCM", "Brightfield illumination")]
    path.IlluminationColorCodeSequence = [_code("414298005", "SCT", "Full Spectrum")]
    dataset.OpticalPathSequence = [path]


def _profile() -> bytes:
    """Return the ICC profile of sRGB, without the moment in which it is made (ICC.1 7.2.8)."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(value for number in (2025, 1, 2, 8, 6, 0) for value in number.to_bytes(2, "big"))
    return bytes(profile) + bytes(len(profile) % 2)


def _tiles(pixels: NDArray[np.uint8]) -> bytes:
    """Return the tiles, row by row; those at the far edges are filled up with white."""
    rows, columns, _ = pixels.shape
    margins = [(0, -rows % _TILE), (0, -columns % _TILE), (0, 0)]
    padded = np.pad(pixels, margins, constant_values=255)
    down, across = (size // _TILE for size in padded.shape[:2])
    return padded.reshape(down, _TILE, across, _TILE, 3).swapaxes(1, 2).tobytes()


def _item(**values: Any) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


# What lies on it ---------------------------------------------------------------------------------------------------


def _write_annotations(
    file: Path, level: SlideLevel, nuclei: tuple[NDArray[np.float32], ...], areas: NDArray[np.float32]
) -> Path:
    """Write the nuclei as polygons in pixels of the slide (PS3.3 A.86)."""
    import highdicom as hd
    from highdicom.color import CIELabColor
    from pydicom import dcmread
    from pydicom.sr.coding import Code

    area = hd.ann.Measurements(Code("42798000", "SCT", "Area"), areas, Code("um2", "UCUM", "square micrometer"))
    group = hd.ann.AnnotationGroup(
        number=1,
        uid=phantom_uid("annotations/Nuclei"),
        label="Nuclei",
        annotated_property_category=Code("91723000", "SCT", "Anatomical Structure"),
        annotated_property_type=Code("84640000", "SCT", "Nucleus"),
        graphic_type="POLYGON",
        graphic_data=list(nuclei),
        algorithm_type="AUTOMATIC",
        algorithm_identification=_algorithm(),
        measurements=[area],
        display_color=CIELabColor.from_rgb(255, 221, 64),
    )
    source = dcmread(level.file)
    dataset = hd.ann.MicroscopyBulkSimpleAnnotations(
        [source], "2D", [group], content_label="NUCLEI", **_series("Nuclei", 51)
    )
    set_time(dataset, source)
    dataset.save_as(file, enforce_file_format=True)
    return file


def _write_segmentation(file: Path, level: SlideLevel, glands: NDArray[np.bool_]) -> Path:
    """Write the glands; tiles without any are left out."""
    import highdicom as hd
    from highdicom.color import CIELabColor
    from pydicom import dcmread
    from pydicom.sr.coding import Code

    segment = hd.seg.SegmentDescription(
        1,
        "Glands",
        Code("91723000", "SCT", "Anatomical Structure"),
        Code("134358001", "SCT", "Glandular structure"),
        "AUTOMATIC",
        _algorithm(),
        tracking_uid=phantom_uid("tracking/Glands"),
        tracking_id="Glands of the phantom",
        display_color=CIELabColor.from_rgb(40, 140, 110),
    )
    source = dcmread(level.file)
    dataset = hd.seg.Segmentation(
        source_images=[source],
        pixel_array=glands[None].astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        tile_pixel_array=True,
        tile_size=(_TILE, _TILE),
        dimension_organization_type="TILED_SPARSE",
        omit_empty_frames=True,
        content_label="GLANDS",
        **_series("Glands", 52),
    )
    set_time(dataset, source)
    dataset.save_as(file, enforce_file_format=True)
    return file


def _algorithm() -> Any:
    import highdicom as hd
    from pydicom.sr.coding import Code

    family = Code("123110", "DCM", "Artificial Intelligence")
    return hd.AlgorithmIdentificationSequence(name="Phantom formula", family=family, version="1")


def _series(name: str, number: int) -> dict[str, Any]:
    import highdicom as hd

    return {
        "series_instance_uid": phantom_uid(f"series/{name}"),
        "series_number": number,
        "sop_instance_uid": phantom_uid(f"instance/{name}"),
        "instance_number": 1,
        "manufacturer": "highdicom",
        "manufacturer_model_name": "highdicom",
        "software_versions": hd.__version__,
        "device_serial_number": "1",
        "content_creator_name": "Phantom^Maker",
        "series_description": name,
    }
