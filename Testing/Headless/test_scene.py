"""Scenes end with their last user: a batch of thousands of objects must not keep them all."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import vtk
from support.folders import write_ct

import dicombridge


def _watched(scene: Any, ended: list[str]) -> Any:
    scene.AddObserver(vtk.vtkCommand.DeleteEvent, lambda *_: ended.append("scene"))
    return scene


def test_a_new_scene_ends() -> None:
    ended: list[str] = []
    scene = _watched(dicombridge.new_scene(), ended)
    assert ended == []
    del scene
    gc.collect()
    assert ended == ["scene"]


def test_a_scene_that_was_loaded_into_ends(tmp_path: Path) -> None:
    ended: list[str] = []
    write_ct(tmp_path / "ct.dcm")
    scene = _watched(dicombridge.new_scene(), ended)
    nodes = dicombridge.load(tmp_path / "ct.dcm", scene=scene)
    assert nodes[0].GetScene() is scene
    del scene, nodes
    gc.collect()
    assert ended == ["scene"]


def test_a_scene_that_load_made_lives_with_its_node(tmp_path: Path) -> None:
    write_ct(tmp_path / "ct.dcm")
    (node,) = dicombridge.load(tmp_path / "ct.dcm")
    gc.collect()
    assert node.GetScene().GetNodeByID(node.GetID()) is node


def test_the_scene_of_the_application_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer reports objects that outlive it."""
    write_ct(tmp_path / "ct.dcm")
    ended: list[str] = []
    scenes = [_watched(dicombridge.new_scene(), ended)]
    application = {"scene": lambda: scenes[0], "database": lambda: None}
    monkeypatch.setattr("dicombridge.scene._application", application)
    (node,) = dicombridge.load(tmp_path / "ct.dcm")
    assert node.GetScene() is scenes[0]
    del node
    scenes.clear()
    gc.collect()
    assert ended == ["scene"]


def test_converters_are_registered_once() -> None:
    """The module's logic adds equal rules with every scene, and the search for a way through them grows fast."""
    import slicer

    def ways() -> int:
        paths = slicer.vtkSegmentationConversionPaths()
        slicer.vtkSegmentationConverter().GetPossibleConversions("Binary labelmap", "Closed surface", paths)
        return int(paths.GetNumberOfPaths())

    dicombridge.new_scene()
    before = ways()
    for _ in range(3):
        dicombridge.new_scene()
    assert ways() == before >= 1
