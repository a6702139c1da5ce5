"""Scenes and nodes for tests that need any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dicombridge


def add_node(scene: Any, name: str = "node") -> Any:
    return scene.AddNewNodeByClass("vtkMRMLTextNode", name)


def saved_and_read(scene: Any, folder: Path) -> Any:
    path = folder / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    again = dicombridge.new_scene()
    assert again.ReadFromMRB(str(path))
    return again
