"""Whole slide images through Slicer's own DICOM module: a slide of four tiles becomes one picture at its place.

Slicer runs it with ``slicer.testing.runUnitTest``. The slide serves the self test of annotations, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeRegistrationSelfTest as registration
import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeSlidePlugin"
TILE, TILES = 8, 2
SPACING = 0.25
ORIGIN = (10.0, 20.0)
"""mm on the slide: centre of the first pixel."""


def colour(row: int, column: int) -> tuple[int, int, int]:
    """Return the colour of a pixel of the total pixel matrix: no two are alike."""
    return row * 10, column * 10, 7


def write_slide(directory: Path, study: str) -> Any:
    """Write a slide of 2 x 2 tiles, uncompressed, and return it."""
    from pydicom.dataset import Dataset

    ds = registration.common("1.2.840.10008.5.1.4.1.1.77.1.6", "SM", study)
    ds.SeriesNumber, ds.SeriesDescription = 3, "Slide"
    ds.FrameOfReferenceUID = registration.FIXED
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.Rows = ds.Columns = TILE
    ds.TotalPixelMatrixRows = ds.TotalPixelMatrixColumns = TILE * TILES
    ds.NumberOfFrames, ds.DimensionOrganizationType = TILES * TILES, "TILED_FULL"
    ds.NumberOfOpticalPaths = ds.TotalPixelMatrixFocalPlanes = 1
    ds.ImageOrientationSlide = [1, 0, 0, 0, 1, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = ORIGIN
    ds.TotalPixelMatrixOriginSequence = [origin]
    measures, shared, path = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [SPACING, SPACING], 0.01
    shared.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    path.OpticalPathIdentifier = "1"
    ds.OpticalPathSequence = [path]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = bytes(
        value
        for tile_row in range(TILES)
        for tile_column in range(TILES)
        for row in range(TILE)
        for column in range(TILE)
        for value in colour(tile_row * TILE + row, tile_column * TILE + column)
    )
    ds.save_as(directory / "slide.dcm", enforce_file_format=True)
    return ds


class DICOMBridgeSlideSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        from pydicom.uid import generate_uid

        self.slide = write_slide(directory, generate_uid())

    def test_load(self) -> None:
        """Tiles are put together, and the first pixel lies where the slide says."""
        self.assert_chosen(self.slide, PLUGIN)
        self.load(self.slide)
        (volume,) = self.nodes("vtkMRMLVectorVolumeNode")
        image = volume.GetImageData()
        self.assertEqual(image.GetDimensions(), (TILE * TILES, TILE * TILES, 1))
        matrix = support.matrix_of(volume)
        x, y, _, _ = matrix.MultiplyPoint((0.0, 0.0, 0.0, 1.0))
        self.assertEqual((-x, -y), ORIGIN)
        corners = [(0, 0), (3, 12), (15, 4)]
        inverse = support.inverted(matrix)
        for row, column in corners:
            place = (-(ORIGIN[0] + column * SPACING), -(ORIGIN[1] + row * SPACING), 0.0, 1.0)
            i, j, k, _ = (round(value) for value in inverse.MultiplyPoint(place))
            found = tuple(int(image.GetScalarComponentAsDouble(i, j, k, part)) for part in range(3))
            self.assertEqual(found, colour(row, column))

    def test_refine(self) -> None:
        """What a region encloses is loaded by itself, in the same place."""
        import slicer

        self.load(self.slide)
        (volume,) = self.nodes("vtkMRMLVectorVolumeNode")
        roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Part")
        roi.SetCenter(-(ORIGIN[0] + 5.5 * SPACING), -(ORIGIN[1] + 3.5 * SPACING), 0.0)
        roi.SetSize(4 * SPACING, 2 * SPACING, 1.0)
        (part,) = slicer.modules.dicomPlugins[PLUGIN]().refine(volume, roi)
        self.assertEqual(part.GetImageData().GetDimensions(), (4, 2, 1))
        x, y, _, _ = support.matrix_of(part).MultiplyPoint((0.0, 0.0, 0.0, 1.0))
        self.assertEqual((-x, -y), (ORIGIN[0] + 4 * SPACING, ORIGIN[1] + 3 * SPACING))
