"""Key object selections through Slicer's own DICOM module: slices of a volume are chosen, written, and loaded again.

Slicer runs it with ``slicer.testing.runUnitTest``. The images are those of the self test of registrations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeRegistrationSelfTest as registration
import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeKeyObjectsPlugin"
IMPORTER = "DICOMBridgeReportPlugin"


def named(dataset: Any) -> list[str]:
    """Return the SOP Instance UIDs of the images that a selection names."""
    items = [one for one in dataset.ContentSequence if one.ValueType == "IMAGE"]
    return [str(one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for one in items]


class DICOMBridgeKeyObjectsSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        from pydicom.uid import generate_uid

        self.images = registration.write_ct(directory, generate_uid(), registration.FIXED, 1)

    def test_export_and_load(self) -> None:
        """Two slices of four are chosen; what is loaded names them."""
        self.load(self.images[0])
        (volume,) = self.nodes("vtkMRMLScalarVolumeNode")
        uids = volume.GetAttribute("DICOM.instanceUIDs").split()
        exported = self.export(volume, PLUGIN, slices="1,3")
        self.assertEqual(named(exported), [uids[1], uids[3]])
        self.assert_chosen(exported, IMPORTER)
        self.load(exported)
        tables = [node for node in self.nodes("vtkMRMLTableNode") if node.GetTable().GetColumnByName("Reference")]
        (references,) = [node.GetTable().GetColumnByName("Reference") for node in tables]
        found = [references.GetValue(row) for row in range(references.GetNumberOfValues())]
        self.assertEqual([uid for uid in found if uid], [uids[1], uids[3]])
