"""MRML scenes: making one, finding the default one, and changing it all or nothing."""

from __future__ import annotations

import atexit
import functools
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "default_database",
    "default_scene",
    "in_application",
    "new_scene",
    "nodes_in",
    "register_converters",
    "transaction",
    "use_application",
]

_application: dict[str, Callable[[], Any]] = {}


def use_application(scene: Callable[[], Any], database: Callable[[], Any]) -> None:
    """Tell the library where Slicer keeps its scene and its database (called by ``DICOMBridgeLib``)."""
    _application.update(scene=scene, database=database)


def in_application() -> bool:
    """Whether there is a running Slicer, whose scene is the default."""
    return "scene" in _application


def default_scene() -> Any:
    """Return the application's scene inside Slicer, a new scene elsewhere."""
    return _application["scene"]() if in_application() else new_scene()


def default_database() -> Any | None:
    """Return the application's DICOM database inside Slicer, None elsewhere."""
    return _application["database"]() if "database" in _application else None


def new_scene() -> Any:
    """Return an empty ``vtkMRMLScene`` that knows all that the library uses.

    Outside Slicer a bare ``vtkMRMLScene()`` can neither convert segmentations nor read an ``.mrb``: the module logic
    that registers the converters, the nodes that no module registers, and the manager of cached files are set here.
    """
    import slicer

    scene = slicer.vtkMRMLScene()
    cache = slicer.vtkCacheManager()
    cache.SetMRMLScene(scene)
    cache.SetRemoteCacheDirectory(_cache_directory().name)
    scene.SetCacheManager(cache)
    data_io = slicer.vtkDataIOManager()
    data_io.SetCacheManager(cache)
    scene.SetDataIOManager(data_io)
    # Without it a scene cannot write or read points and curves. Slicer's markups logic, which registers it there, wants
    # a selection node.
    scene.RegisterNodeClass(slicer.vtkMRMLMarkupsJsonStorageNode())
    logic = segmentations_logic(scene)
    scene.RegisterNodeClass(slicer.vtkMRMLSequenceBrowserNode())  # the scene knows sequences, but not their browsers
    # The scene owns none of these: without this they end with this function.
    scene.dicombridge_keeps = (cache, data_io)
    # The logic holds the scene, so as an attribute it would keep the scene forever.
    weakref.finalize(scene, _let_go, logic)
    return scene


def _let_go(logic: Any) -> None:
    """End a logic together with its scene: this call's argument is all that holds it."""


def segmentations_logic(scene: Any) -> Any:
    """Return the segmentations module's logic for a scene.

    It registers the converters between representations, with every scene anew; those that there were already are taken
    back, because a search through hundreds of equal rules takes minutes.
    """
    import slicer

    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    before = len(factory.GetConverterRules())
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    if before:
        for rule in factory.GetConverterRules()[before:]:
            factory.UnregisterConverterRule(rule)
    return logic


def register_converters() -> None:
    """Let segmentations change their representations, where neither Slicer nor a scene of ours has seen to it."""
    import slicer

    if not slicer.vtkSegmentationConverterFactory.GetInstance().GetConverterRules():
        segmentations_logic(slicer.vtkMRMLScene())


@functools.cache
def _cache_directory() -> tempfile.TemporaryDirectory[str]:
    """One folder a process for what scenes unpack; it ends with the process."""
    directory = tempfile.TemporaryDirectory(prefix="dicombridge-")
    atexit.register(directory.cleanup)  # left to its finalizer, it would warn
    # vtkCacheManager warns and does not clean up in a folder that lacks its mark.
    (Path(directory.name) / ".slicer-cache").touch()
    return directory


@contextmanager
def transaction(scene: Any) -> Iterator[None]:
    """Change a scene all or nothing: on an exception every node that was added since is removed again.

    Subject hierarchy items that were added are removed too. Nodes that existed before must only be changed after the
    last step that can fail; the loaders keep to that.
    """
    before = {node.GetID() for node in nodes_in(scene)}
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    items_before = _items(hierarchy)
    try:
        yield
    except BaseException:
        hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
        for item in sorted(_items(hierarchy) - items_before, reverse=True):
            hierarchy.RemoveItem(item, False, False)
        for node in reversed(nodes_in(scene)):
            if node.GetID() not in before:
                scene.RemoveNode(node)
        raise


def nodes_in(scene: Any, class_name: str = "vtkMRMLNode") -> list[Any]:
    """Return the nodes of a scene that are of a class or made of it, in the order of the scene.

    ``GetNthNode`` counts from the first node each time: of ten thousand, that takes a second.
    """
    return [node for node in scene.GetNodes() if node.IsA(class_name)]


def _items(hierarchy: Any) -> set[int]:
    if hierarchy is None:
        return set()
    children: list[int] = []
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), children, True)
    return set(children)
