"""Doses through Slicer's own DICOM module: load, and export of what was loaded and of what was made in Slicer.

Slicer runs it with ``slicer.testing.runUnitTest``. The objects are those of the self test of radiotherapy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeRadiotherapySelfTest as radiotherapy
import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeDosePlugin"


def doses(dataset: Any) -> Any:
    """Return the doses of an object in its unit, [slice, row, column], as pydicom reads them."""
    return dataset.pixel_array * float(dataset.DoseGridScaling)


class DICOMBridgeDoseSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules, without SlicerRT."""

    def write(self, directory: Path) -> None:
        self.study = radiotherapy.Study(directory)

    def loaded(self) -> Any:
        """Load the dose and return its volume."""
        self.load(self.study.dose)
        (node,) = self.nodes("vtkMRMLScalarVolumeNode")
        return node

    def test_load(self) -> None:
        """Volume and study say what SlicerRT's modules look for."""
        import numpy as np
        import slicer

        node = self.loaded()
        np.testing.assert_allclose(self.voxels(node), doses(self.study.dose), atol=1e-6)
        self.assertEqual(node.GetAttribute("DicomRtImport.DoseVolume"), "1")
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        study = hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(node), "Study")
        self.assertEqual(hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitName"), "GY")

    def test_export(self) -> None:
        """A dose that was loaded keeps its plan and its kind."""
        import numpy as np

        exported = self.export(self.loaded(), PLUGIN)
        np.testing.assert_allclose(doses(exported), doses(self.study.dose), atol=1e-6)
        for name in ("DoseUnits", "DoseType", "DoseSummationType", "FrameOfReferenceUID", "StudyInstanceUID"):
            self.assertEqual(exported[name].value, self.study.dose[name].value)
        (plan,) = exported.ReferencedRTPlanSequence
        self.assertEqual(plan.ReferencedSOPInstanceUID, self.study.plan.SOPInstanceUID)
        self.assert_chosen(exported, radiotherapy.PLUGIN)

    def test_export_of_a_volume(self) -> None:
        """What was made in Slicer becomes a dose that needs no plan."""
        import numpy as np

        exported = self.export(self.copied(self.loaded(), "Made here"), PLUGIN, DoseType="EFFECTIVE")
        np.testing.assert_allclose(doses(exported), doses(self.study.dose), atol=1e-6)
        self.assertEqual((exported.DoseUnits, exported.DoseType), ("GY", "EFFECTIVE"))
        self.assertEqual(exported.DoseSummationType, "PLAN_OVERVIEW")
        self.assert_chosen(exported, radiotherapy.PLUGIN)
