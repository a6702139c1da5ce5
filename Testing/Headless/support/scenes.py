"""Scenes and nodes for tests that need any."""

from __future__ import annotations

from collections.abc import Sequence
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


def under_turn(scene: Any, nodes: Sequence[Any]) -> str:
    """Put nodes below a new transform, a turn about the long axis and a shift; return its ID."""
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    matrix = vtkMatrix4x4()
    matrix.DeepCopy([0.8, -0.6, 0, 12.5, 0.6, 0.8, 0, -7.25, 0, 0, 1, 4, 0, 0, 0, 1])
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Turn")
    transform.SetMatrixTransformToParent(matrix)
    for node in nodes:
        if node.IsA("vtkMRMLTransformableNode"):
            node.SetAndObserveTransformNodeID(transform.GetID())
    return str(transform.GetID())
