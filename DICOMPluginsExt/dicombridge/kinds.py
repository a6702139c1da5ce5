"""The table of object kinds: the only registry.

A kind is a module (or package) of this package with these functions, called by :mod:`dicombridge.api` and by the
plugin base class in ``DICOMBridgeLib``::

    examine(files, database) -> list[Loadable]
    load(loadable, scene, database, progress=None, **options) -> list[vtkMRMLNode]
    export(nodes, directory, database=None, progress=None, **options) -> list[Path]     (where exports is True)

Adding a kind: its room, one row here, one hook, its test file, CMake lines, a README row. A test holds these together.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

__all__ = ["KINDS", "Kind", "kind_named", "kind_of_sop_class", "kinds_of_node_class"]


@dataclass(frozen=True)
class Kind:
    """One row of the table.

    Attributes
    ----------
    name
        Name in the public API and on the command line.
    title
        The same for a person.
    module
        The room, relative to this package.
    sop_classes
        SOP Class UIDs that the kind reads (PS3.4 B.5, I.4).
    node_classes
        MRML classes that the kind makes, the main one first; export accepts these.
    hook
        Module file of the Slicer plugin, also its registration key; None where Slicer's own plugin serves.
    confidence
        Of our loadables. Slicer takes the highest one of a series, and a tie loads the object twice.
    competitor
        Whom the confidence is measured against.
    exports
        Whether the kind can be written.
    """

    name: str
    title: str
    module: str
    sop_classes: frozenset[str]
    node_classes: tuple[str, ...]
    hook: str | None
    confidence: float
    competitor: str
    exports: bool

    @property
    def room(self) -> ModuleType:
        """The kind's module, imported at first use."""
        return importlib.import_module(f"dicombridge.{self.module}")


KINDS: tuple[Kind, ...] = (
    Kind(
        name="SEG",
        title="Segmentation",
        module="segmentation",
        sop_classes=frozenset(
            {
                "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation Storage
                "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation Storage
            }
        ),
        node_classes=("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode"),
        hook="DICOMBridgeSegmentationPlugin",
        confidence=0.97,
        competitor="Slicer core DICOMSegmentationPlugin 0.95",
        exports=True,
    ),
    Kind(
        name="IMAGE",
        title="Image volume",
        module="image",
        sop_classes=frozenset(
            {
                "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
                "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
                "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
                "1.2.840.10008.5.1.4.1.1.4",  # MR Image Storage
                "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image Storage
                "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR Image Storage
                "1.2.840.10008.5.1.4.1.1.128",  # Positron Emission Tomography Image Storage
                "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET Image Storage
                "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET Image Storage
            }
        ),
        node_classes=("vtkMRMLScalarVolumeNode",),
        hook=None,
        confidence=0.5,
        competitor="Slicer core DICOMScalarVolumePlugin 0.5, which loads images inside Slicer",
        exports=False,
    ),
)

_BY_NAME = {kind.name: kind for kind in KINDS}
_BY_SOP_CLASS = {uid: kind for kind in KINDS for uid in kind.sop_classes}


def kind_named(name: str) -> Kind:
    """Return the kind of that name, in any case.

    Raises
    ------
    UnsupportedError
        There is no such kind.
    """
    from dicombridge.errors import UnsupportedError

    try:
        return _BY_NAME[name.upper()]
    except KeyError:
        raise UnsupportedError(f"There is no kind {name!r}; there are: {', '.join(_BY_NAME)}.") from None


def kind_of_sop_class(sop_class_uid: str) -> Kind | None:
    """Return the kind that reads this SOP class, or None."""
    return _BY_SOP_CLASS.get(sop_class_uid)


def kinds_of_node_class(node_class: str) -> list[Kind]:
    """Return the kinds that can export a node of this MRML class, those whose main class it is first."""
    fitting = [kind for kind in KINDS if kind.exports and node_class in kind.node_classes]
    return sorted(fitting, key=lambda kind: kind.node_classes.index(node_class))
