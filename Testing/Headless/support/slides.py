"""Images of slides with a known pattern: levels, tiles in every order, optical paths, focal planes, codecs.

Written with pydicom alone, so that what the library reads is not what it wrote. Pixels are known exactly; those that
went through a lossy codec are known to whoever decodes the same bytes.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from support.volumes import lps_of_volume

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
DEFLATED_IMAGE_FRAME = "1.2.840.10008.1.2.8.1"
LOSSLESS = (ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless, DEFLATED_IMAGE_FRAME)
"""Codecs that this environment writes and whose pixels come back as they were."""
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True)
class Series:
    """What the images of a slide share."""

    study: str = field(default_factory=generate_uid)
    series: str = field(default_factory=generate_uid)
    frame_of_reference: str = field(default_factory=generate_uid)
    number: int = 3
    description: str = ""


@dataclass(frozen=True)
class Level:
    """One image.

    Attributes
    ----------
    rows, columns, tile
        Of the total pixel matrix, and (rows, columns) of a tile.
    spacing
        mm between rows, between columns.
    origin
        mm on the slide of the first pixel's centre; z in micrometres, None for none.
    orientation
        Image Orientation (Slide).
    paths
        Identifier and description of each optical path.
    planes
        Height in micrometres of each focal plane.
    sparse
        Whether each tile says where it lies.
    omitted
        Numbers (from 0) of tiles that are not written.
    samples, bits
        1 or 3; 8 or 16.
    table
        Of the encapsulated frames: ``"basic"``, ``"empty"`` or ``"extended"``.
    fragments
        In how many parts each compressed frame is cut.
    """

    rows: int = 70
    columns: int = 100
    tile: tuple[int, int] = (16, 32)
    spacing: tuple[float, float] = (0.0005, 0.00025)
    origin: tuple[float, ...] | None = (10.0, 20.0)
    orientation: tuple[float, ...] = (0, -1, 0, -1, 0, 0)
    paths: tuple[tuple[str, str], ...] = (("1", "bright"),)
    planes: tuple[float, ...] = (0.0,)
    sparse: bool = False
    omitted: tuple[int, ...] = ()
    samples: int = 3
    bits: int = 8
    photometric: str = ""
    planar: int = 0
    syntax: str = ExplicitVRLittleEndian
    table: str = "basic"
    fragments: int = 1
    flavour: str = "VOLUME"
    icc: bytes = b""
    instance: int = 1

    @property
    def grid(self) -> tuple[int, int]:
        """Number of tiles down and across."""
        return -(-self.rows // self.tile[0]), -(-self.columns // self.tile[1])

    @property
    def dtype(self) -> Any:
        """Of the stored pixels."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    def pixels(self, path: int = 0, plane: int = 0) -> NDArray[Any]:
        """Return the total pixel matrix of a path and a plane: (rows, columns), or with 3 more for RGB."""
        return pattern(self.rows, self.columns, self.samples, self.dtype, path, plane)


def pattern(rows: int, columns: int, samples: int, dtype: Any, path: int = 0, plane: int = 0) -> NDArray[Any]:
    """Return an image in which every pixel tells where it is, and of which path and plane."""
    row, column = np.mgrid[:rows, :columns]
    top = 250 if np.dtype(dtype).itemsize == 1 else 60000
    red = (row * 3 + path * 40) % top
    if samples == 1:
        return ((row * 7 + column * 11 + path * 401 + plane * 97) % top).astype(dtype)
    blue = (row // 4 + column // 4 + plane * 60 + path * 20) % top
    return np.stack([red, (column * 2) % top, blue], axis=-1).astype(dtype)


def smooth(rows: int, columns: int) -> NDArray[np.uint8]:
    """Return an image with structure and some noise, as a JPEG of tissue has it."""
    row, column = np.mgrid[:rows, :columns].astype(np.float32)
    waves = [np.sin(column / 9 + row / 17) * 60 + 150, np.cos(column / 23) * 70 + 120, np.sin(row / 11) * 40 + 180]
    noise = np.random.default_rng(0).normal(0, 6, (rows, columns, 3)).astype(np.float32)
    return np.clip(np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)


HTJ2K_TILE = base64.b64decode(
    "/0//UQAvQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAADBwEBBwEBBwEB/1AACAACAAAAA/9SAAwAAgABAQUEBEAB"
    "/1wAEyBQWFhYWFhYWFhYWFhYUFBQ/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAPQAAf+TwBKA7QEHdADAEoD9AEd0"
    "AMASgPgAR3QAAAAAwAlgBKDyAMd0APoAR3QAwAkgBIAAx3QA/hdzAMAJYASg4wAHdAD2AAd0AMAJoASQAkAA/gBIdADYCJMA+AYz"
    "AMAJIASAAEJ0APwAEwDACWAEgBEAwnQAWjNTAMAJYAVEAJjItPh0ACKCA0usXHYAwgF8XHUAwAkAqeJ0AMAJIATgqeJ0AEzywEns"
    "tQDAFRAFVAEwAP6fhSl8JgAAwK8ALdTVUOgA8K+iJCUAwBOA59T09PJ3AMATwBVA59T09PJ3AAQA/v3Xv3XstwD/2Q=="
)
"""``pattern(16, 16, 3, np.uint8)`` as imagecodecs 2026.3.6 encodes it without loss: nothing here writes HTJ2K."""


# --- Frames --------------------------------------------------------------------------------------------------------


def tiles_of(level: Level) -> Iterator[tuple[int, int, int, int, NDArray[Any]]]:
    """Yield path, plane, first row, first column and the pixels of each tile, in the order of TILED_FULL."""
    down, across = level.grid
    height, width = level.tile
    for path in range(len(level.paths)):
        for plane in range(len(level.planes)):
            image = level.pixels(path, plane)
            padding = [(0, down * height - level.rows), (0, across * width - level.columns)]
            padded = np.pad(image, padding + [(0, 0)] * (image.ndim - 2), mode="edge")
            for row in range(0, down * height, height):
                for column in range(0, across * width, width):
                    yield path, plane, row, column, padded[row : row + height, column : column + width]


def _pillow(kind: str, **options: Any) -> Callable[[NDArray[Any], Level], bytes]:
    def encode(tile: NDArray[Any], level: Level) -> bytes:
        from PIL import Image

        output = BytesIO()
        Image.fromarray(np.ascontiguousarray(tile)).save(output, kind, **options)
        return output.getvalue()

    return encode


def _native(tile: NDArray[Any], level: Level) -> bytes:
    return (tile.transpose(2, 0, 1) if level.planar else tile).tobytes()


def _with_pydicom(syntax: str) -> Callable[[NDArray[Any], Level], bytes]:
    def encode(tile: NDArray[Any], level: Level) -> bytes:
        from pydicom.pixels import get_encoder

        encoded = get_encoder(syntax).encode(
            np.ascontiguousarray(tile),
            rows=tile.shape[0],
            columns=tile.shape[1],
            number_of_frames=1,
            samples_per_pixel=level.samples,
            bits_allocated=level.bits,
            bits_stored=level.bits,
            pixel_representation=0,
            photometric_interpretation="RGB" if level.samples == 3 else "MONOCHROME2",
            planar_configuration=0,
        )
        return bytes(encoded)

    return encode


def _deflated(tile: NDArray[Any], level: Level) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(_native(tile, level)) + packer.flush()


ENCODERS: dict[str, Callable[[NDArray[Any], Level], bytes]] = {
    RLELossless: _with_pydicom(RLELossless),
    JPEGLSLossless: _with_pydicom(JPEGLSLossless),
    JPEG2000Lossless: _pillow("JPEG2000", irreversible=False, no_jp2=True, mct=1),
    JPEG2000: _pillow("JPEG2000", irreversible=True, no_jp2=True, quality_mode="rates", quality_layers=[8]),
    JPEGBaseline8Bit: _pillow("JPEG", quality=85, subsampling=1),
    DEFLATED_IMAGE_FRAME: _deflated,
}
PHOTOMETRIC = {JPEGBaseline8Bit: "YBR_FULL_422", JPEG2000Lossless: "YBR_RCT", JPEG2000: "YBR_ICT"}
"""Of RGB pixels that a codec stores otherwise."""


def stored(tile: NDArray[Any], level: Level) -> bytes:
    """Return a tile as its transfer syntax stores it."""
    return ENCODERS.get(level.syntax, _native)(tile, level)


# --- Files ---------------------------------------------------------------------------------------------------------


def dataset_of(series: Series, sop_class: str = WHOLE_SLIDE) -> Dataset:
    """Return what every image has."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = series.study, series.series
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = series.frame_of_reference, "SLIDE_CORNER"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex, dataset.PatientBirthDate = "Slide^Test", "S1", "O", ""
    dataset.StudyDate = dataset.ContentDate = "20260101"
    dataset.StudyTime = dataset.ContentTime = "120000"
    dataset.AcquisitionDateTime = "20260101120000"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", "", ""
    dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "SM", series.number, series.description
    dataset.Manufacturer, dataset.ManufacturerModelName = "test", "test"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1"
    dataset.VolumetricProperties = "VOLUME"
    return dataset


def describe_pixels(dataset: Dataset, level: Level) -> None:
    """Set the Image Pixel module."""
    dataset.file_meta.TransferSyntaxUID = level.syntax
    dataset.SamplesPerPixel = level.samples
    otherwise = PHOTOMETRIC.get(level.syntax, "RGB") if level.samples == 3 else "MONOCHROME2"
    dataset.PhotometricInterpretation = level.photometric or otherwise
    if level.samples == 3:
        dataset.PlanarConfiguration = level.planar
    dataset.Rows, dataset.Columns = level.tile
    dataset.BitsAllocated = dataset.BitsStored = level.bits
    dataset.HighBit, dataset.PixelRepresentation = level.bits - 1, 0
    dataset.LossyImageCompression = "01" if level.syntax in (JPEGBaseline8Bit, JPEG2000) else "00"


def describe_slide(dataset: Dataset, level: Level) -> None:
    """Set what says where the pixels lie."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", level.flavour, "NONE"]
    dataset.InstanceNumber = level.instance
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = level.rows, level.columns
    dataset.TotalPixelMatrixFocalPlanes = len(level.planes)
    dataset.ImagedVolumeHeight = level.rows * level.spacing[0]
    dataset.ImagedVolumeWidth = level.columns * level.spacing[1]
    dataset.ImagedVolumeDepth, dataset.SpecimenLabelInImage = 1.0, "NO"
    dataset.FocusMethod, dataset.ExtendedDepthOfField, dataset.BurnedInAnnotation = "AUTO", "NO", "NO"
    dataset.ImageOrientationSlide = [float(value) for value in level.orientation]
    if level.origin is not None:
        item = Dataset()
        for axis, value in zip("XYZ", level.origin, strict=False):
            setattr(item, f"{axis}OffsetInSlideCoordinateSystem", pydicom.valuerep.DSfloat(value, auto_format=True))
        dataset.TotalPixelMatrixOriginSequence = [item]
    dataset.OpticalPathSequence = [_optical_path(*path, level) for path in level.paths]
    dataset.NumberOfOpticalPaths = len(level.paths)
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [pydicom.valuerep.DSfloat(value, auto_format=True) for value in level.spacing]
    measures.SliceThickness = 0.001
    if len(level.planes) > 1:
        measures.SpacingBetweenSlices = (level.planes[1] - level.planes[0]) / 1000
    shared.PixelMeasuresSequence = [measures]
    frame_type = Dataset()
    frame_type.FrameType = dataset.ImageType
    shared.WholeSlideMicroscopyImageFrameTypeSequence = [frame_type]
    dataset.SharedFunctionalGroupsSequence = [shared]
    organization, pointer = Dataset(), generate_uid()
    organization.DimensionOrganizationUID = pointer
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionOrganizationType = "TILED_SPARSE" if level.sparse else "TILED_FULL"
    dataset.DimensionIndexSequence = [
        _index(pointer, 0x0048021E, 0x0048021A),  # columns, in the Plane Position (Slide) Sequence
        _index(pointer, 0x0048021F, 0x0048021A),
    ]
    dataset.AcquisitionContextSequence, dataset.ContainerIdentifier = [], "1"
    dataset.SpecimenDescriptionSequence, dataset.ContainerTypeCodeSequence = [], []
    dataset.IssuerOfTheContainerIdentifierSequence = []


def _index(organization: str, tag: int, group: int) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID, item.DimensionIndexPointer, item.FunctionalGroupPointer = organization, tag, group
    return item


def _optical_path(identifier: str, description: str, level: Level) -> Dataset:
    item = Dataset()
    item.OpticalPathIdentifier, item.OpticalPathDescription = identifier, description
    item.IlluminationTypeCodeSequence = [_code("111744", "Brightfield illumination")]
    item.IlluminationColorCodeSequence = [_code("414298005", "Full Spectrum", "SCT")]
    if level.icc:
        item.ICCProfile = level.icc
    return item


def _code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _position(level: Level, path: int, plane: int, row: int, column: int) -> Dataset:
    """Return the per-frame groups of a tile (PS3.3 C.8.12.6)."""
    item, place, optical = Dataset(), Dataset(), Dataset()
    place.RowPositionInTotalImagePixelMatrix = row + 1
    place.ColumnPositionInTotalImagePixelMatrix = column + 1
    origin = np.array([*(level.origin or (0, 0)), 0][:2], dtype=float)
    cosines = np.array(level.orientation, dtype=float)
    there = origin + cosines[:2] * column * level.spacing[1] + cosines[3:5] * row * level.spacing[0]
    place.XOffsetInSlideCoordinateSystem = pydicom.valuerep.DSfloat(float(there[0]), auto_format=True)
    place.YOffsetInSlideCoordinateSystem = pydicom.valuerep.DSfloat(float(there[1]), auto_format=True)
    place.ZOffsetInSlideCoordinateSystem = pydicom.valuerep.DSfloat(level.planes[plane], auto_format=True)
    optical.OpticalPathIdentifier = level.paths[path][0]
    item.PlanePositionSlideSequence, item.OpticalPathIdentificationSequence = [place], [optical]
    content = Dataset()
    content.DimensionIndexValues = [column // level.tile[1] + 1, row // level.tile[0] + 1]
    item.FrameContentSequence = [content]
    return item


def write_level(path: Path, level: Level, series: Series | None = None, parts: int = 1) -> list[Path]:
    """Write an image; in several parts it is a concatenation, whose files are numbered."""
    series = series or Series()
    tiles = [tile for number, tile in enumerate(tiles_of(level)) if number not in level.omitted]
    size = -(-len(tiles) // parts)
    concatenation, paths = generate_uid(), []
    for part in range(parts):
        dataset = dataset_of(series)
        describe_pixels(dataset, level)
        describe_slide(dataset, level)
        own = tiles[part * size : (part + 1) * size]
        if parts > 1:
            dataset.ConcatenationUID, dataset.SOPInstanceUIDOfConcatenationSource = concatenation, generate_uid()
            dataset.ConcatenationFrameOffsetNumber, dataset.InConcatenationNumber = part * size, part + 1
            dataset.InConcatenationTotalNumber = parts
        if level.sparse:
            dataset.PerFrameFunctionalGroupsSequence = [_position(level, *tile[:4]) for tile in own]
        set_frames(dataset, level, [stored(tile[4], level) for tile in own])
        paths.append(path.with_stem(f"{path.stem}{part}") if parts > 1 else path)
        save(dataset, paths[-1])
    return paths


def set_frames(dataset: Dataset, level: Level, frames: Sequence[bytes]) -> None:
    """Set the pixel data."""
    dataset.NumberOfFrames = len(frames)
    if level.syntax in NATIVE:
        content = b"".join(frames)
        dataset.PixelData = content + b"\0" * (len(content) % 2)
    elif level.table == "extended":
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(
            list(frames)
        )
    else:
        dataset.PixelData = encapsulate(list(frames), level.fragments, has_bot=level.table == "basic")
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW" if level.syntax in NATIVE and level.bits > 8 else "OB"


def save(dataset: Dataset, path: Path) -> Path:
    """Write a dataset as it is."""
    if dataset.file_meta.TransferSyntaxUID != DEFLATED_IMAGE_FRAME:
        dataset.save_as(path, enforce_file_format=True)
    else:  # pydicom does not know it, so it is told the encoding
        dataset.preamble = b"\0" * 128
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    return path


def write_pyramid(folder: Path, level: Level, levels: int = 3, extras: bool = True) -> Series:
    """Write a pyramid into a folder, each level half as large as the one before, with overview and label."""
    series = Series()
    for number in range(levels):
        write_level(folder / f"level{number}.dcm", smaller(level, 2**number, number + 1), series)
    if extras:
        overview = replace(
            level, rows=40, columns=60, tile=(40, 60), flavour="OVERVIEW", spacing=(0.5, 0.5), instance=levels + 1,
            omitted=(), origin=(0.0, 0.0), orientation=(1, 0, 0, 0, 1, 0), planes=(0.0,), sparse=False,
        )  # fmt: skip
        write_level(folder / "overview.dcm", overview, series)
        label = replace(overview, flavour="LABEL", rows=20, columns=30, tile=(20, 30), instance=levels + 2)
        write_level(folder / "label.dcm", label, series)
    return series


def smaller(level: Level, factor: int, instance: int = 1) -> Level:
    """Return a level of fewer pixels for the same part of the slide."""
    rows, columns = level.rows // factor, level.columns // factor
    spacing = level.spacing[0] * level.rows / rows, level.spacing[1] * level.columns / columns
    return replace(level, rows=rows, columns=columns, spacing=spacing, instance=instance)


# --- What was loaded -------------------------------------------------------------------------------------------------


def array_of(node: Any) -> NDArray[Any]:
    """Return (slices, rows, columns), with 3 more for RGB."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    image = node.GetImageData()
    shape = image.GetDimensions()[::-1]
    colours = (3,) if image.GetNumberOfScalarComponents() == 3 else ()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*shape, *colours)


def expected_point(level: Level, row: float, column: float) -> list[float]:
    """Return the slide's mm of a pixel's centre, written down here anew (PS3.3 C.8.12.4.1.4, C.7.6.2.1.1)."""
    along_row, along_column = level.orientation[:3], level.orientation[3:]
    assert level.origin is not None
    origin = [*level.origin[:2], 0.0]
    between_rows, between_columns = level.spacing
    return [
        origin[axis] + along_row[axis] * between_columns * column + along_column[axis] * between_rows * row
        for axis in range(3)
    ]


def in_scene(node: Any, row: int, column: int, slice_: int = 0) -> NDArray[Any]:
    """Return the slide's mm (LPS) of a voxel's centre."""
    return (lps_of_volume(node) @ [column, row, slice_, 1])[:3]
