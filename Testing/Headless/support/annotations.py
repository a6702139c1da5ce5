"""Slides, and annotations of them: with highdicom, and by hand with the habits of other producers."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from highdicom import UID, AlgorithmIdentificationSequence
from highdicom.ann import AnnotationGroup, Measurements, MicroscopyBulkSimpleAnnotations
from highdicom.color import CIELabColor
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

CATEGORY = Code("91723000", "SCT", "Anatomical Structure")
NUCLEUS = Code("84640000", "SCT", "Nucleus")
AREA = Code("42798000", "SCT", "Area")
LENGTH = Code("410668003", "SCT", "Length")
SQUARE_MICROMETER = Code("um2", "UCUM", "square micrometer")
MICROMETER = Code("um", "UCUM", "micrometer")
VL_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
TURNED = (0.0, -0.6, 0.8, -1.0, 0.0, 0.0)
"""Orientation of a slide that lies askew."""


@dataclass
class Slide:
    """A series of levels of a slide, largest first."""

    levels: list[Dataset]
    paths: list[Path] = field(default_factory=list)

    @property
    def first(self) -> Dataset:
        return self.levels[0]


def slide_level(
    series: str,
    study: str,
    frame: str,
    size: int,
    spacing: tuple[float, float],
    orientation: Sequence[float],
    sparse: bool = False,
) -> Dataset:
    """Return a level of ``size`` rows and twice as many columns, in tiles of 16, with pixels of one byte."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = VL_WHOLE_SLIDE
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = str(UID())
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Slide^Test", "S1", "", "O"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20260101", "101010", "1", ""
    dataset.ReferringPhysicianName, dataset.Manufacturer, dataset.Modality = "", "Test", "SM"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.PositionReferenceIndicator = 1, 1, "SLIDE_CORNER"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.ContainerIdentifier, dataset.IssuerOfTheContainerIdentifierSequence = "S1-A", []
    dataset.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "S1-A-1", str(UID())
    specimen.IssuerOfTheSpecimenIdentifierSequence, specimen.SpecimenPreparationSequence = [], []
    dataset.SpecimenDescriptionSequence = [specimen]
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = size, 2 * size
    dataset.Rows = dataset.Columns = 16
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = "20.5", "40.25"
    origin.ZOffsetInSlideCoordinateSystem = "0"  # highdicom takes it for mm
    dataset.TotalPixelMatrixOriginSequence = [origin]
    dataset.ImageOrientationSlide = list(orientation)
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = list(spacing), 0.001
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    rows, columns = -(-size // 16), -(-2 * size // 16)
    dataset.NumberOfFrames = rows * columns
    dataset.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    if sparse:  # listed backwards, as nobody forbids
        places = [(row, column) for row in range(rows) for column in range(columns)][::-1]
        dataset.PerFrameFunctionalGroupsSequence = [_frame(row * 16 + 1, column * 16 + 1) for row, column in places]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = bytes(256 * rows * columns)
    return dataset


def _frame(row: int, column: int) -> Dataset:
    place, item = Dataset(), Dataset()
    place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix = column, row
    place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = "0"
    place.ZOffsetInSlideCoordinateSystem = "0"
    item.PlanePositionSlideSequence = [place]
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def write_slide(
    folder: Path, orientation: Sequence[float] = TURNED, levels: int = 2, sparse: bool = False, ratio: float = 1.25
) -> Slide:
    """Write a pyramid; each level has its own pixels, half as many and twice as large, ``ratio`` as wide as high."""
    folder.mkdir(parents=True, exist_ok=True)
    series, study, frame = (str(UID()) for _ in range(3))
    made = [
        slide_level(series, study, frame, 64 >> level, (height, height * ratio), orientation, sparse)
        for level, height in enumerate(0.0005 * 2**number for number in range(levels))
    ]
    slide = Slide(made)
    for number, level in enumerate(made):
        level.InstanceNumber = number + 1
        slide.paths.append(folder / f"level{number}.dcm")
        pydicom.dcmwrite(slide.paths[-1], level, enforce_file_format=True)
    return slide


# --- Shapes ----------------------------------------------------------------------------------------------------------


def shapes_of(graphic_type: str, count: int, seed: int = 7, dtype: str = "f4") -> list[np.ndarray]:
    """Return so many shapes of a type, (points, 2) columns and rows within 64 rows and 128 columns."""
    random = np.random.default_rng(seed)
    centres = random.uniform(8, 56, (count, 2))
    sizes = {"POINT": [1], "POLYLINE": [2, 5, 3], "POLYGON": [3, 10, 4], "ELLIPSE": [4], "RECTANGLE": [4]}
    shapes = []
    for number, centre in enumerate(centres):
        points = sizes[graphic_type][number % len(sizes[graphic_type])]
        if graphic_type == "ELLIPSE":
            angle = random.uniform(0, np.pi)
            major, minor = 4 * np.array([np.cos(angle), np.sin(angle)]), 2 * np.array([-np.sin(angle), np.cos(angle)])
            shape = np.array([centre + major, centre - major, centre + minor, centre - minor])
        elif graphic_type == "RECTANGLE":
            shape = centre + np.array([(0, 0), (3, 0), (3, 2), (0, 2)])
        else:
            turns = np.linspace(0, 2 * np.pi, points, endpoint=False)
            shape = centre + np.stack([np.cos(turns), np.sin(turns)], axis=1) * random.uniform(1, 6, (points, 1))
        shapes.append(shape.astype(dtype))
    return shapes


def in_space(shapes: Sequence[np.ndarray], flat: bool = False) -> list[np.ndarray]:
    """Return shapes in slide mm, (points, 3): all in one plane, or each in its own."""
    found = []
    for number, shape in enumerate(shapes):
        z = np.full((len(shape), 1), 0.25 if flat else 0.25 + number / 1024)
        found.append(np.hstack([shape.astype(float) / 64, z]).astype(shape.dtype))
    return found


def group(
    number: int,
    graphic_type: str,
    shapes: Sequence[np.ndarray],
    measured: Mapping[Code, np.ndarray] | None = None,
    automatic: bool = False,
    **options: Any,
) -> AnnotationGroup:
    """Return a group, made by highdicom."""
    algorithm = AlgorithmIdentificationSequence("Finder", Code("123110", "DCM", "Artificial Intelligence"), "1.5")
    units = {AREA: SQUARE_MICROMETER}
    return AnnotationGroup(
        number=number,
        uid=UID(),
        label=options.pop("label", f"{graphic_type.lower()}s"),
        annotated_property_category=CATEGORY,
        annotated_property_type=NUCLEUS,
        graphic_type=graphic_type,
        graphic_data=list(shapes),
        algorithm_type="AUTOMATIC" if automatic else "MANUAL",
        algorithm_identification=algorithm if automatic else None,
        measurements=[
            Measurements(name=name, values=values, unit=units.get(name, MICROMETER))
            for name, values in (measured or {}).items()
        ],
        **options,
    )


def every_type(coordinates: str, dtype: str = "f4", count: int = 5, flat: bool = False) -> list[AnnotationGroup]:
    """Return a group of each graphic type; some have measurements, of which some are missing."""
    groups = []
    for number, graphic_type in enumerate(("POLYGON", "POINT", "POLYLINE", "ELLIPSE", "RECTANGLE"), start=1):
        shapes = shapes_of(graphic_type, count, seed=number, dtype=dtype)
        if coordinates == "3D":
            shapes = in_space(shapes, flat)
        area = np.arange(count, dtype=np.float32) * 1.25
        length = np.where(np.arange(count) % 2, np.float32(np.nan), area + 1)
        measured = {AREA: area, LENGTH: length} if number % 2 else None
        colour = CIELabColor(40 + 5 * number, 30, -20)
        groups.append(group(number, graphic_type, shapes, measured, automatic=number == 1, display_color=colour))
    return groups


def annotations(
    slide: Slide, coordinates: str, groups: Sequence[AnnotationGroup], **options: Any
) -> MicroscopyBulkSimpleAnnotations:
    """Return an object of highdicom."""
    sources = [slide.first] if coordinates == "2D" else slide.levels
    return MicroscopyBulkSimpleAnnotations(
        [copy.copy(one) for one in sources], coordinates, list(groups), UID(), 20, UID(), 1, "Maker", "Model", "1.0",
        "7", content_label="NUCLEI", **options,
    )  # fmt: skip


def write(path: Path, dataset: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> Path:
    """Write an object, however wrong its values are."""
    dataset.file_meta.TransferSyntaxUID = transfer_syntax_uid
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def write_every_type(folder: Path, coordinates: str, dtype: str = "f4", flat: bool = False) -> Path:
    """Write an object into a folder, its slide beside that folder."""
    slide = write_slide(folder.parent / "slide")
    return write(folder / "ann.dcm", annotations(slide, coordinates, every_type(coordinates, dtype, flat=flat)))


# --- What came of them -----------------------------------------------------------------------------------------------


def models_of(nodes: Sequence[Any]) -> list[Any]:
    return [node for node in nodes if node.IsA("vtkMRMLModelNode")]


def lps_of_model(node: Any) -> np.ndarray:
    """Return the points of a model in the world, (n, 3) slide mm."""
    import slicer
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

    points = node.GetPolyData().GetPoints()
    if not points.GetNumberOfPoints():
        return np.zeros((0, 3))
    if node.GetParentTransformNode() is not None:
        general, moved = vtkGeneralTransform(), vtkPoints()
        moved.SetDataTypeToDouble()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, general)
        general.TransformPoints(points, moved)
        points = moved
    return vtk_to_numpy(points.GetData()) * (-1.0, -1.0, 1.0)


def cell_values(node: Any, name: str) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(node.GetPolyData().GetCellData().GetArray(name)).copy()


def cells_of_model(node: Any) -> list[list[int]]:
    """Return the point numbers of each cell."""
    data = node.GetPolyData()
    cells = []
    for number in range(data.GetNumberOfCells()):
        ids = data.GetCell(number).GetPointIds()
        cells.append([ids.GetId(place) for place in range(ids.GetNumberOfIds())])
    return cells


def arrays_of(path: Path) -> list[dict[str, Any]]:
    """Return what each group of a file says, its arrays as bytes."""
    keywords = (
        "AnnotationGroupNumber", "AnnotationGroupUID", "AnnotationGroupLabel", "AnnotationGroupGenerationType",
        "NumberOfAnnotations", "GraphicType", "PointCoordinatesData", "DoublePointCoordinatesData",
        "LongPrimitivePointIndexList", "CommonZCoordinateValue", "AnnotationAppliesToAllZPlanes",
        "AnnotationAppliesToAllOpticalPaths", "ReferencedOpticalPathIdentifier", "RecommendedDisplayCIELabValue",
        "AnnotationGroupAlgorithmIdentificationSequence", "AnnotationPropertyCategoryCodeSequence",
        "AnnotationPropertyTypeCodeSequence", "AnatomicRegionSequence", "MeasurementsSequence",
    )  # fmt: skip
    dataset = pydicom.dcmread(path)
    return [{name: one.get(name) or None for name in keywords} for one in dataset.AnnotationGroupSequence]


def write_large(folder: Path, polygons: int, points: int) -> None:
    """Write ``slide/``, ``large.dcm`` with so many polygons of so many points, and ``small.dcm`` with a few."""
    slide = write_slide(folder / "slide", levels=1)
    dataset = annotations(slide, "2D", [group(1, "POLYGON", shapes_of("POLYGON", 3))])
    write(folder / "small.dcm", dataset)
    random = np.random.default_rng(1)
    turns = np.linspace(0, 2 * np.pi, points, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    coordinates = random.uniform(8, 56, (polygons, 1, 2)) + circle
    (item,) = dataset.AnnotationGroupSequence
    item.NumberOfAnnotations = polygons
    item.PointCoordinatesData = coordinates.astype("<f4").tobytes()
    item.LongPrimitivePointIndexList = (np.arange(polygons) * points * 2 + 1).astype("<u4").tobytes()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = str(UID())
    write(folder / "large.dcm", dataset)
