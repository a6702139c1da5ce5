"""Parametric maps through Slicer's own DICOM module: import, choice of the plugin, load, export.

Slicer runs it with ``slicer.testing.runUnitTest``; the functions above the test case need no Slicer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeSegmentationSelfTest as segmentation
import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeParametricMapPlugin"


def diffusion() -> Any:
    """Return the map's values ``[slice, row, column]``, float32: each voxel has one of its own."""
    import numpy as np

    return (np.arange(np.prod(segmentation.SHAPE), dtype=np.float32) / 7 - 100).reshape(segmentation.SHAPE)


def write_map(directory: Path, sources: list[Any]) -> Any:
    """Write a map of the diffusion coefficient on the grid of the sources, and return it."""
    import highdicom as hd
    from pydicom.sr.coding import Code
    from pydicom.uid import generate_uid

    from dicombridge.demo.quantities import window_options

    values = diffusion()
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="ADC",
        lut_explanation="Apparent diffusion coefficient",
        unit=Code("um2/s", "UCUM", "square micrometer per second"),
        value_range=(float(values.min()), float(values.max())),
        slope=1,
        intercept=0,
        quantity_definition=Code("113041", "DCM", "Apparent Diffusion Coefficient"),
    )
    parametric_map = hd.pm.ParametricMap(
        source_images=sources,
        pixel_array=values,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="DICOMBridge",
        manufacturer_model_name="Self test",
        software_versions="1",
        device_serial_number="1",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        **window_options(0, 400),
        content_qualification=hd.ContentQualificationValues.RESEARCH,
        series_description="Diffusion",
    )
    parametric_map.save_as(directory / "map.dcm")
    return parametric_map


class DICOMBridgeParametricMapSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules."""

    def write(self, directory: Path) -> None:
        self.sources = segmentation.write_ct(directory)
        self.map = write_map(directory, self.sources)

    def test_plugin_is_chosen(self) -> None:
        """Ours has the highest confidence, and refers to every slice of the CT."""
        loadable = self.assert_chosen(self.map, PLUGIN)
        uids = sorted(source.SOPInstanceUID for source in self.sources)
        self.assertEqual(sorted(loadable.referencedInstanceUIDs), uids)

    def test_load(self) -> None:
        """The volume has the map's values and units, and lies where the CT does."""
        import numpy as np

        self.load(self.map)
        (node,) = self.nodes("vtkMRMLScalarVolumeNode")
        np.testing.assert_array_equal(self.voxels(node), diffusion())
        self.assertEqual(node.GetVoxelValueUnits().GetCodeValue(), "um2/s")
        self.load(self.sources[0])
        bounds = []
        for volume in self.nodes("vtkMRMLScalarVolumeNode"):
            corners = [0.0] * 6
            volume.GetRASBounds(corners)
            bounds.append(corners)
        np.testing.assert_allclose(bounds[0], bounds[1], atol=1e-3)

    def test_export(self) -> None:
        """What was loaded and what was made here are written, and load again with the same values."""
        import numpy as np
        import slicer

        self.load(self.map)
        (node,) = self.nodes("vtkMRMLScalarVolumeNode")
        for volume in (node, self.copied(node, "Made here")):
            exported = self.export(volume, PLUGIN, SeriesNumber="301", ContentLabel="ADC")
            self.assertEqual(exported.StudyInstanceUID, self.map.StudyInstanceUID)
            self.assertNotEqual(exported.SeriesInstanceUID, self.map.SeriesInstanceUID)
            self.assertEqual((exported.SeriesNumber, exported.ContentLabel), (301, "ADC"))
            before = {one.GetID() for one in self.nodes("vtkMRMLScalarVolumeNode")}
            self.load(exported)
            (again,) = [one for one in self.nodes("vtkMRMLScalarVolumeNode") if one.GetID() not in before]
            np.testing.assert_array_equal(self.voxels(again), diffusion())
            slicer.mrmlScene.RemoveNode(again)
