"""Bulk annotations through Slicer's own DICOM module: points on a slide are written, and loaded again.

Slicer runs it with ``slicer.testing.runUnitTest``. The slide is that of the self test of slides.
"""

from __future__ import annotations

from pathlib import Path

import DICOMBridgeSelfTestSupport as support
import DICOMBridgeSlideSelfTest as slide

PLUGIN = "DICOMBridgeAnnotationsPlugin"
IMPORTER = "DICOMBridgeSlidePlugin"
CELLS = ((10.5, 20.25, 0.0), (12.0, 21.75, 0.0), (11.25, 22.5, 0.0))
"""Slide mm."""


class DICOMBridgeAnnotationsSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        from pydicom.uid import generate_uid

        self.slide = slide.write_slide(directory, generate_uid())

    def test_export_and_load(self) -> None:
        """Points that were set in Slicer lie where they were after the way through a file."""
        import slicer

        self.load(self.slide)
        (volume,) = self.nodes("vtkMRMLVectorVolumeNode")
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Cells")
        for x, y, z in CELLS:
            points.AddControlPoint(-x, -y, z)
        points.SetNodeReferenceID("referenceImageGeometryRef", volume.GetID())
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        study = hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(volume), "Study")
        hierarchy.CreateItem(study, points)
        exported = self.export(points, PLUGIN)
        (group,) = exported.AnnotationGroupSequence
        self.assertEqual((group.GraphicType, int(group.NumberOfAnnotations)), ("POINT", len(CELLS)))
        slicer.mrmlScene.RemoveNode(points)
        self.assert_chosen(exported, IMPORTER)
        self.load(exported)
        again = [node for node in self.nodes("vtkMRMLModelNode") if node.GetAttribute("DICOMBridge.Kind") == "ANN"]
        points = again[0].GetPolyData().GetPoints()
        self.assertEqual((len(again), points.GetNumberOfPoints()), (1, len(CELLS)))
        for number, cell in enumerate(CELLS):
            x, y, z = points.GetPoint(number)
            for found, wanted in zip((-x, -y, z), cell, strict=True):
                self.assertAlmostEqual(found, wanted, places=4)
