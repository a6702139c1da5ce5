"""What the self tests share: a temporary database, and the steps of the DICOM browser and of the export dialog.

It stands beside the tests, whose folder ``slicer.testing.runUnitTest`` puts on the path. Tests import this module and
not the class, which unittest would take for a test of theirs.
"""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

SERIES_DESCRIPTION = "Edited in Slicer"


class DatabaseTestCase(unittest.TestCase):
    """A test with objects of its own in a temporary DICOM database. Needs a running Slicer with our modules."""

    def setUp(self) -> None:
        import slicer
        from DICOMLib import DICOMUtils

        if getattr(slicer, "dicomDatabase", None) is None:
            # The DICOM module makes the database after the start-up; a test script may come before that.
            slicer.modules.DICOMInstance.performPostModuleDiscoveryTasks()
        slicer.mrmlScene.Clear()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        incoming = self.folder / "incoming"
        incoming.mkdir()
        self.write(incoming)
        temporary = DICOMUtils.TemporaryDICOMDatabase(str(self.folder / "database"))
        self.database = temporary.__enter__()
        self.addCleanup(temporary.__exit__, None, None, None)
        DICOMUtils.importDicom(str(incoming), self.database)

    def write(self, directory: Path) -> None:
        """Write the objects of the test; the subclass knows them."""
        self.fail(f"{type(self).__name__} writes no objects into {directory}.")

    def offered(self, dataset: Any) -> dict[Any, list[Any]]:
        """Return plugin -> loadables of a series, the surest selected, as the DICOM browser does it."""
        from DICOMLib import DICOMUtils

        files = list(self.database.filesForSeries(str(dataset.SeriesInstanceUID)))
        self.assertTrue(files)
        by_plugin, _ = DICOMUtils.getLoadablesFromFileLists([files])
        DICOMUtils.selectHighestConfidenceLoadables(by_plugin)
        return dict(by_plugin)

    def assert_chosen(self, dataset: Any, plugin: str) -> Any:
        """Return the one loadable of a series that is selected, after a look whether it is of this plugin."""
        import slicer

        chosen = [(owner, one) for owner, many in self.offered(dataset).items() for one in many if one.selected]
        self.assertEqual([type(owner) for owner, _ in chosen], [slicer.modules.dicomPlugins[plugin]])
        return chosen[0][1]

    def load(self, *datasets: Any) -> None:
        """Load series as the DICOM browser does."""
        from DICOMLib import DICOMUtils

        DICOMUtils.loadSeriesByUID([str(dataset.SeriesInstanceUID) for dataset in datasets])

    def nodes(self, name: str) -> list[Any]:
        """Return the nodes of a class in the scene."""
        import slicer

        return list(slicer.util.getNodesByClass(name))

    def voxels(self, node: Any) -> Any:
        """Return the voxels of a volume node, [slice, row, column]."""
        from vtk.util.numpy_support import vtk_to_numpy

        image = node.GetImageData()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])

    def copied(self, node: Any, name: str) -> Any:
        """Add a volume with the voxels of another one, which never saw DICOM, to the study of that."""
        import slicer

        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        copy = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        copy.CopyOrientation(node)
        copy.SetAndObserveImageData(node.GetImageData())
        study = hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(node), "Study")
        hierarchy.CreateItem(study, copy)
        return copy

    def export(self, node: Any, plugin_name: str, **tags: str) -> Any:
        """Export as the dialog does: ask the plugin, give a folder, set tags; return the dataset that was written.

        It is put into the database.
        """
        import pydicom
        import slicer
        from DICOMLib import DICOMUtils

        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        plugin = slicer.modules.dicomPlugins[plugin_name]()
        exportables = plugin.examineForExport(hierarchy.GetItemByDataNode(node))
        self.assertEqual([exportable.pluginClass for exportable in exportables], [plugin_name])
        outgoing = self.folder / f"outgoing{len(list(self.folder.iterdir()))}"
        outgoing.mkdir()
        exportables[0].directory = str(outgoing)
        for name, value in {"SeriesDescription": SERIES_DESCRIPTION, **tags}.items():
            exportables[0].setTag(name, value)
        self.assertEqual(plugin.export(tuple(exportables)), "")
        (path,) = [path for path in outgoing.rglob("*") if path.is_file()]
        dataset = pydicom.dcmread(path)
        self.assertEqual(dataset.SeriesDescription, SERIES_DESCRIPTION)
        DICOMUtils.importDicom(str(outgoing), self.database)
        return dataset


def matrix_of(volume: Any) -> Any:
    """Return the matrix of a volume node from indices to RAS."""
    from vtk import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def inverted(matrix: Any) -> Any:
    """Return the inverse of a matrix."""
    from vtk import vtkMatrix4x4

    inverse = vtkMatrix4x4()
    vtkMatrix4x4.Invert(matrix, inverse)
    return inverse
