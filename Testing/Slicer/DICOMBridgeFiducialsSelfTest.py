"""Spatial fiducials through Slicer's own DICOM module: load, and export of what was loaded and of new points.

Slicer runs it with ``slicer.testing.runUnitTest``. The images are those of the self test of registrations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeRegistrationSelfTest as registration
import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeFiducialsPlugin"
POINTS = {"NASION": (1.25, -20.5, 10.125), "LEFT EAR": (17.5, 3.0, -2.25)}
"""LPS mm."""


def write_fiducials(directory: Path, study: str) -> Any:
    """Write points in the fixed frame of reference and return the object."""
    from pydicom.dataset import Dataset
    from pydicom.uid import generate_uid

    ds = registration.common("1.2.840.10008.5.1.4.1.1.66.2", "FID", study)
    ds.SeriesNumber, ds.SeriesDescription = 8, "Landmarks"
    ds.ContentDate, ds.ContentTime, ds.ContentLabel = "20260101", "120000", "LANDMARKS"
    ds.ContentDescription, ds.ContentCreatorName = "Landmarks", ""
    one = Dataset()
    one.FrameOfReferenceUID, one.FiducialSequence = registration.FIXED, []
    for name, point in POINTS.items():
        mark = Dataset()
        mark.FiducialIdentifier, mark.FiducialUID, mark.ShapeType = name, generate_uid(), "POINT"
        mark.NumberOfContourPoints, mark.ContourData = 1, list(point)
        one.FiducialSequence.append(mark)
    ds.FiducialSetSequence = [one]
    ds.save_as(directory / "fiducials.dcm", enforce_file_format=True)
    return ds


def points_of(dataset: Any) -> dict[str, tuple[float, ...]]:
    """Return the points of an object by their identifiers, LPS mm."""
    marks = [mark for one in dataset.FiducialSetSequence for mark in one.FiducialSequence]
    return {str(mark.FiducialIdentifier): tuple(float(value) for value in mark.ContourData) for mark in marks}


class DICOMBridgeFiducialsSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        from pydicom.uid import generate_uid

        study = generate_uid()
        self.images = registration.write_ct(directory, study, registration.FIXED, 1)
        self.fiducials = write_fiducials(directory, study)

    def loaded(self) -> Any:
        self.load(self.images[0], self.fiducials)
        (node,) = self.nodes("vtkMRMLMarkupsFiducialNode")
        return node

    def test_load(self) -> None:
        """Points lie where they were, in RAS, with their names."""
        node = self.loaded()
        found = {}
        for number in range(node.GetNumberOfControlPoints()):
            x, y, z = node.GetNthControlPointPositionVector(number)
            found[node.GetNthControlPointLabel(number)] = (-x, -y, z)
        self.assertEqual(found, POINTS)

    def test_export(self) -> None:
        """A point that was moved is written where it is now; the others come back."""
        node = self.loaded()
        x, y, z = POINTS["NASION"]
        node.SetNthControlPointPosition(0, -x, -y, z + 2.5)
        exported = self.export(node, PLUGIN)
        self.assertEqual(points_of(exported), {**POINTS, "NASION": (x, y, z + 2.5)})
        self.assertEqual(exported.FiducialSetSequence[0].FrameOfReferenceUID, registration.FIXED)
        self.assert_chosen(exported, registration.PLUGIN)
