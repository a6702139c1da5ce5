"""Deformations through Slicer's own DICOM module: load, and export of what was loaded and of what was made in Slicer.

Slicer runs it with ``slicer.testing.runUnitTest``. The images are those of the self test of registrations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeRegistrationSelfTest as registration
import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeDeformationPlugin"
DIMENSIONS = (6, 5, 4)
RESOLUTION = (20.0, 20.0, 15.0)
POSITION = (-50.0, -40.0, -15.0)
STEP = (0.5, -0.25, 1.0)
"""LPS mm by which the offset grows from one vector to the next along x, y and z."""


def vectors() -> Any:
    """Return the offsets, LPS mm, [k, j, i, component]: linear, so that every interpolation gives the same."""
    import numpy as np

    k, j, i = np.indices(DIMENSIONS[::-1])
    return np.stack([STEP[0] * i, STEP[1] * j, STEP[2] * k], axis=-1).astype("<f4")


def sampled_at(point: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the point of the moving frame that belongs to a point of the fixed one, LPS mm."""
    x, y, z = (
        value + step * (value - begin) / length
        for value, step, begin, length in zip(point, STEP, POSITION, RESOLUTION, strict=True)
    )
    return x, y, z


def write_deformation(directory: Path, study: str) -> Any:
    """Write a deformation of the moving images onto the fixed ones and return it."""
    from pydicom.dataset import Dataset

    ds = registration.registration("1.2.840.10008.5.1.4.1.1.66.3", study, "Warped")
    grid, item = Dataset(), Dataset()
    grid.ImagePositionPatient, grid.ImageOrientationPatient = list(POSITION), [1, 0, 0, 0, 1, 0]
    grid.GridDimensions, grid.GridResolution = list(DIMENSIONS), list(RESOLUTION)
    grid.add_new(0x00640009, "OF", vectors().tobytes())
    item.SourceFrameOfReferenceUID, item.RegistrationTypeCodeSequence = registration.MOVING, []
    item.DeformableRegistrationGridSequence = [grid]
    ds.DeformableRegistrationSequence = [item]
    ds.save_as(directory / "deformation.dcm", enforce_file_format=True)
    return ds


class DICOMBridgeDeformationSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        from pydicom.uid import generate_uid

        study = generate_uid()
        self.fixed = registration.write_ct(directory, study, registration.FIXED, 1)
        self.moving = registration.write_ct(directory, study, registration.MOVING, 2)
        self.deformation = write_deformation(directory, study)

    def loaded(self) -> Any:
        self.load(self.fixed[0], self.moving[0], self.deformation)
        (node,) = self.nodes("vtkMRMLGridTransformNode")
        return node

    def test_load(self) -> None:
        """The transform from parent leads from the fixed to the moving frame, in RAS."""
        node = self.loaded()
        for point in ((-30.0, -20.0, 0.0), (17.0, 11.0, 9.0)):
            x, y, z = node.GetTransformFromParent().TransformPoint(-point[0], -point[1], point[2])
            for found, expected in zip((-x, -y, z), sampled_at(point), strict=True):
                self.assertAlmostEqual(found, expected, places=4)

    def test_export(self) -> None:
        """Unedited, the vectors come back to the last bit."""
        exported = self.export(self.loaded(), PLUGIN)
        (item,) = exported.DeformableRegistrationSequence
        self.assertEqual(item.SourceFrameOfReferenceUID, registration.MOVING)
        self.assertEqual(item.DeformableRegistrationGridSequence[0].VectorGridData, vectors().tobytes())
        self.assert_chosen(exported, registration.PLUGIN)

    def test_export_of_a_spline(self) -> None:
        """A transform that was made in Slicer is sampled over the fixed images."""
        import numpy as np
        import slicer
        from vtk import vtkImageData

        self.load(self.fixed[0], self.moving[0])
        knots = vtkImageData()
        knots.SetDimensions(8, 8, 8)
        knots.SetSpacing(40, 40, 40)
        knots.SetOrigin(-140, -140, -140)
        knots.AllocateScalars(11, 3)  # VTK_DOUBLE
        for component, value in enumerate((3.0, -2.0, 1.0)):
            knots.GetPointData().GetScalars().FillComponent(component, value)
        transform = slicer.vtkOrientedBSplineTransform()
        transform.SetCoefficientData(knots)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Shifted")
        node.SetAndObserveTransformFromParent(transform)
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        volumes = self.nodes("vtkMRMLScalarVolumeNode")
        study = hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(volumes[0]), "Study")
        hierarchy.CreateItem(study, node)
        for role, ds in (("spatialRegistrationFixed", self.fixed[0]), ("spatialRegistrationMoving", self.moving[0])):
            item = hierarchy.GetItemByUID("DICOM", str(ds.SeriesInstanceUID))
            node.SetNodeReferenceID(role, hierarchy.GetItemDataNode(item).GetID())
        exported = self.export(node, PLUGIN, spacing_mm="20")
        grid = exported.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
        self.assertEqual(list(grid.GridResolution), [20.0, 20.0, 20.0])
        offsets = np.frombuffer(grid.VectorGridData, "<f4").reshape(-1, 3)
        np.testing.assert_allclose(offsets, np.broadcast_to([-3.0, 2.0, 1.0], offsets.shape), atol=1e-5)
