"""SUV of PET, and mapping objects, through Slicer's own DICOM module: import, choice of the plugin, load, export.

Slicer runs it with ``slicer.testing.runUnitTest``; the functions above the test case need no Slicer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import DICOMBridgeSelfTestSupport as support

PLUGIN = "DICOMBridgeRealWorldValuePlugin"
SHAPE = (6, 12, 10)
SLOPES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
WEIGHT_KG, DOSE_BQ = 70.0, 350e6


def stored() -> Any:
    """Return stored values ``[slice, row, column]``, int16."""
    import numpy as np

    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def activities() -> Any:
    """Return the activity concentrations in Bq/ml; each slice has a slope of its own, as scanners write it."""
    import numpy as np

    return stored() * np.array(SLOPES).reshape(-1, 1, 1)


def uptakes() -> Any:
    """Return SUV by body weight, in g/ml: the dose is corrected to the time of the injection."""
    return activities() * WEIGHT_KG * 1000 / DOSE_BQ


def write_pet(directory: Path) -> list[Any]:
    """Write a PET series, one file a slice, and return its datasets in slice order."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

    study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
    datasets = []
    for number, plane in enumerate(stored()):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = PositronEmissionTomographyImageStorage
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame_of_reference
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Self^Test", "SELFTEST", "", "F"
        ds.PatientWeight = WEIGHT_KG
        ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "1", "20260101", "090000", ""
        ds.ReferringPhysicianName = ds.PositionReferenceIndicator = ds.Manufacturer = ""
        ds.SeriesDate = ds.AcquisitionDate = "20260101"
        ds.SeriesTime = ds.AcquisitionTime = "100000"
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = "PT", 4, number + 1, "FDG"
        ds.ImageType, ds.SeriesType = ["ORIGINAL", "PRIMARY"], ["STATIC", "IMAGE"]
        ds.Units, ds.CountsSource, ds.DecayCorrection = "BQML", "EMISSION", "ADMIN"
        ds.CorrectedImage = ["DECY", "ATTN"]
        ds.FrameReferenceTime, ds.ActualFrameDuration, ds.ImageIndex, ds.NumberOfSlices = 0, 60000, number + 1, SHAPE[0]
        injection = Dataset()
        injection.RadionuclideTotalDose, injection.RadionuclideHalfLife = DOSE_BQ, 6586.2
        injection.RadiopharmaceuticalStartTime = "090000"
        injection.RadiopharmaceuticalStartDateTime = "20260101090000"
        ds.RadiopharmaceuticalInformationSequence = [injection]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [10, -20, 30 + number * 3]
        ds.PixelSpacing, ds.SliceThickness = [4, 4], 3
        ds.Rows, ds.Columns = plane.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = SLOPES[number], 0
        ds.PixelData = plane.astype("<i2").tobytes()
        ds.save_as(directory / f"pt{number}.dcm", enforce_file_format=True)
        datasets.append(ds)
    return datasets


class DICOMBridgeRealWorldValueSelfTest(support.DatabaseTestCase):
    """Needs a running Slicer with the extension's modules, without PETDICOMExtension."""

    def write(self, directory: Path) -> None:
        self.sources = write_pet(directory)

    def load_as_uptake(self) -> Any:
        """Load the PET as SUV by body weight, which a person selects in the browser, and return the volume."""
        (plugin,) = [one for one in self.offered(self.sources[0]) if type(one).__module__ == PLUGIN]
        files = list(self.database.filesForSeries(str(self.sources[0].SeriesInstanceUID)))
        (loadable,) = [one for one in plugin.examineForImport([files]) if one.name == "4: FDG as SUVbw"]
        (node,) = plugin.load(loadable)
        return node

    def test_plain_images_are_chosen(self) -> None:
        """SUV is offered beside what Slicer makes of the images, and does not take its place."""
        offered = self.offered(self.sources[0])
        chosen = [type(plugin).__module__ for plugin, many in offered.items() for one in many if one.selected]
        self.assertNotIn(PLUGIN, chosen)
        self.assertEqual(len(chosen), 1)
        names = [one.name for plugin, many in offered.items() if type(plugin).__module__ == PLUGIN for one in many]
        self.assertIn("4: FDG as SUVbw", names)

    def test_load(self) -> None:
        """Activity times weight over dose, of each slice by its own slope."""
        import numpy as np

        node = self.load_as_uptake()
        np.testing.assert_allclose(self.voxels(node), uptakes(), rtol=1e-5)
        self.assertEqual(node.GetVoxelValueUnits().GetCodeValue(), "{SUVbw}g/ml")

    def test_export(self) -> None:
        """The mapping object is chosen for itself, and gives the same values when it is applied to the images."""
        import numpy as np
        import slicer

        exported = self.export(self.load_as_uptake(), PLUGIN, ContentLabel="SUV")
        self.assertEqual(exported.StudyInstanceUID, self.sources[0].StudyInstanceUID)
        self.assertEqual(exported.ContentLabel, "SUV")
        slicer.mrmlScene.Clear()
        loadable = self.assert_chosen(exported, PLUGIN)
        uids = sorted(source.SOPInstanceUID for source in self.sources)
        self.assertEqual(sorted(loadable.referencedInstanceUIDs), uids)
        self.load(exported)
        (node,) = self.nodes("vtkMRMLScalarVolumeNode")
        np.testing.assert_allclose(self.voxels(node), uptakes(), rtol=1e-5)
