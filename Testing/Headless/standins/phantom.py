"""The demo's phantom study in the database of the running application, with all hooks: what tests of plugins need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.volumes import array_of, elements_of
from vtkmodules.vtkCommonMath import vtkMatrix4x4

import dicombridge
from dicombridge.demo.phantom import PhantomStudy
from dicombridge.geometry import lps_ras_points
from standins.application import SlicerStandIn, discover, install
from standins.core_plugins import add_volume_plugin
from standins.ctk_database import CtkDatabase
from standins.dialogs import Browser, exportables_of_item, fill_tags, run_export
from standins.fake_kind import HOOKS


class Session:
    """The application with a study in its database, our hooks, and a volume plugin like Slicer's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, phantom: PhantomStudy, database: Any) -> None:
        self.phantom, self.database = phantom, database
        self.app: SlicerStandIn = install(monkeypatch, dicombridge.new_scene(), database)
        monkeypatch.setattr("dicombridge.scene._application", {})
        for hook in sorted(HOOKS.glob("*.py")):
            discover(HOOKS, hook.stem, monkeypatch)
        add_volume_plugin(self.app)

    @property
    def all_series(self) -> list[Any]:
        """The file lists of all series."""
        database = self.database
        studies = [study for patient in database.patients() for study in database.studiesForPatient(patient)]
        return [database.filesForSeries(uid) for study in studies for uid in database.seriesForStudy(study)]

    def files(self, *paths: Path) -> list[Any]:
        """Return the file list of each series that one of these files is of."""
        uids = [self.database.seriesForFile(str(path.absolute())) for path in paths]
        return [self.database.filesForSeries(uid) for uid in dict.fromkeys(uids)]

    def plugin(self, hook: str) -> Any:
        """Return a new instance of a plugin."""
        return self.app.modules.dicomPlugins[hook]()

    def chosen(self, *paths: Path) -> list[tuple[str, str]]:
        """Return the plugin and the name of what the browser selects of the series of these files."""
        browser = Browser()
        browser.examine(self.files(*paths))
        keys = {plugin_class: key for key, plugin_class in self.app.modules.dicomPlugins.items()}
        return [
            (keys[type(plugin)], loadable.name)
            for plugin, loadables in browser.loadables.items()
            for loadable in loadables
            if loadable.selected
        ]

    def load(self, *paths: Path) -> list[Any]:
        """Load the series of these files as the browser does; return the nodes that the scene got."""
        browser, messages = Browser(), list[str]()
        browser.examine(self.files(*paths))
        ids = browser.load(messages=messages)
        assert messages == []
        nodes = [self.app.scene.GetNodeByID(node_id) for node_id in ids]
        return [node for node in nodes if node is not None and self.app.hierarchy.GetItemByDataNode(node)]

    def item(self, node: Any) -> int:
        """Return the node's item, below the study."""
        return int(self.app.hierarchy.GetItemByDataNode(node))

    def new_node(self, class_name: str, name: str, volume: Any = None) -> Any:
        """Add a node that never saw DICOM below the study that is there, with the voxels of a volume."""
        hierarchy = self.app.hierarchy
        node = self.app.scene.AddNewNodeByClass(class_name, name)
        if volume is not None:
            node.CopyOrientation(volume)
            node.SetAndObserveImageData(volume.GetImageData())
        (study,) = {
            hierarchy.GetItemAncestorAtLevel(hierarchy.GetItemByDataNode(one), "Study")
            for one in map(self.app.scene.GetNthNode, range(self.app.scene.GetNumberOfNodes()))
            if hierarchy.GetItemByDataNode(one)
        }
        hierarchy.CreateItem(study, node)
        return node

    def offers(self, node: Any) -> dict[str, float]:
        """Return plugin class -> confidence of our exporters of a node, the surest first."""
        offered = exportables_of_item(self.item(node))
        return {name: one.confidence for name, (one,) in offered.items() if name.startswith("DICOMBridge")}

    def export(self, node: Any, hook: str, directory: Path, **edits: str) -> tuple[str, list[Path]]:
        """Export a node as the dialog does; return its error text and the files."""
        exportables = exportables_of_item(self.item(node))[hook]
        assert self.app.modules.dicomPlugins[exportables[0].pluginClass].__module__ == hook
        fill_tags(exportables, edits)
        error = run_export(hook, exportables, directory)
        return error, sorted(path for path in directory.rglob("*") if path.is_file())


def copy_of(database: CtkDatabase) -> CtkDatabase:
    """Return a database with the same objects, for one test."""
    copy = CtkDatabase()
    copy._headers = dict(database._headers)
    return copy


def values_on(node: Any, affine: Any, shape: Any) -> Any:
    """Return the voxels of a volume node where the grid ``affine``, (slice, row, column) to LPS mm, has its own.

    Raises
    ------
    AssertionError
        They lie in different places.
    """
    points = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    ras = np.column_stack([lps_ras_points(points), np.ones(len(points))])
    ras_to_ijk = vtkMatrix4x4()
    node.GetRASToIJKMatrix(ras_to_ijk)
    ijk = (ras @ elements_of(ras_to_ijk).T)[:, :3]
    assert np.abs(ijk - np.rint(ijk)).max() < 1e-3
    array = array_of(node)
    assert sorted(array.shape) == sorted(shape)
    columns, rows, slices = np.rint(ijk).astype(int).T
    assert min(columns.min(), rows.min(), slices.min()) == 0
    return array[slices, rows, columns].reshape(shape)
