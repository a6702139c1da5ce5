"""Structure sets through Slicer's own DICOM module: export of what was loaded, and of what was drawn in Slicer.

Slicer runs it with ``slicer.testing.runUnitTest``. The objects are those of the self test of radiotherapy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeRadiotherapySelfTest as radiotherapy
import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeStructureSetPlugin"


def contours(dataset: Any) -> list[list[float]]:
    """Return the coordinates of all contours of a structure set, LPS mm."""
    return [
        [float(value) for value in contour.ContourData]
        for item in dataset.ROIContourSequence
        for contour in item.ContourSequence
    ]


class DICOMBridgeStructureSetSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules, without SlicerRT."""

    def write(self, directory: Path) -> None:
        self.study = radiotherapy.Study(directory)

    def loaded(self) -> Any:
        """Load images and structures; return the segmentation."""
        self.load(self.study.ct[0], self.study.structures)
        (node,) = self.nodes("vtkMRMLSegmentationNode")
        return node

    def count(self, node: Any) -> int:
        """Return the number of voxels of the only segment."""
        import slicer
        from vtk.util.numpy_support import vtk_to_numpy

        (segment_id,) = node.GetSegmentation().GetSegmentIDs()
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment_id, image)
        return int((vtk_to_numpy(image.GetPointData().GetScalars()) != 0).sum())

    def test_export(self) -> None:
        """Structures that were not edited keep their contours, the images that these name, and their codes."""
        exported = self.export(self.loaded(), PLUGIN, StructureSetLabel="AGAIN")
        self.assertEqual(exported.StructureSetLabel, "AGAIN")
        self.assertEqual(exported.StudyInstanceUID, self.study.structures.StudyInstanceUID)
        self.assertNotEqual(exported.SOPInstanceUID, self.study.structures.SOPInstanceUID)
        self.assertEqual(contours(exported), contours(self.study.structures))
        self.assertEqual(exported.RTROIObservationsSequence[0].RTROIInterpretedType, "PTV")
        self.assert_chosen(exported, radiotherapy.PLUGIN)

    def test_export_of_a_segmentation(self) -> None:
        """What was drawn in Slicer comes back with the same voxels."""
        import slicer

        node = self.loaded()
        (segment_id,) = node.GetSegmentation().GetSegmentIDs()
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment_id, image)
        drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
        drawn.SetReferenceImageGeometryParameterFromVolumeNode(self.nodes("vtkMRMLScalarVolumeNode")[0])
        drawn.AddSegmentFromBinaryLabelmapRepresentation(image, "Box")
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        hierarchy.CreateItem(hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(node), "Study"), drawn)
        exported = self.export(drawn, PLUGIN)
        self.assertEqual([item.ROIName for item in exported.StructureSetROISequence], ["Box"])
        slicer.mrmlScene.Clear()
        self.load(self.study.ct[0], exported)
        (again,) = self.nodes("vtkMRMLSegmentationNode")
        self.assertEqual(self.count(again), radiotherapy.VOXELS_OF_TARGET)
