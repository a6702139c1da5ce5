"""From files to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.hierarchy import attributes_of_dataset
from dicombridge.multiframe import open_multiframe
from dicombridge.progress import Progress, silent
from dicombridge.references import references_of
from dicombridge.registration.nodes import add_linear_transform, link, source_description
from dicombridge.registration.participants import participants
from dicombridge.registration.reading import check_complete, read_registration
from dicombridge.registration.values import DeformedFrame, RegisteredFrame
from dicombridge.scene import transaction
from dicombridge.shadow import dataset_to_text
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["attributes_of_registration", "load", "node_names"]

_log = logging.getLogger(__name__)


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    apply: bool = False,
    chain: bool = False,
) -> list[Any]:
    """Load a Spatial Registration into a scene (PS3.3 C.20.2).

    Parameters
    ----------
    loadable
        One file.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where the source series are looked up, after which the nodes are called; may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    apply
        Put what is in the scene, and lies in a source frame of reference, under its transform
        (:func:`dicombridge.apply_registration`).
    chain
        With ``apply``, also put the transform under that of its own registered frame, where there is one.

    Returns
    -------
    list of vtkMRMLLinearTransformNode
        One for each item but the identity of the registered frame. The transform to parent maps points (RAS mm) of the
        item's frame of reference to the registered one, which is the world; node references
        ``spatialRegistrationMoving`` and ``spatialRegistrationFixed`` name the volumes in the scene of both.

    Raises
    ------
    DicomBridgeError
        The file is damaged, a matrix is singular, or a frame of reference is missing.
    """
    tell = progress or silent
    file = loadable.files[0]
    tell(0.0, "Reading the registration")
    with reading(file), open_multiframe(file, pixels=False) as opened:
        check_complete(opened, file)
        header = opened.header
        registration = read_registration(header, file)
        header_text = dataset_to_text(header)
        attributes = attributes_of_registration(header, loadable, registration.registered_frame_uid)
    for warning in registration.warnings:
        _log.warning("%s: %s", file, warning)
    tell(0.5, "Adding transforms")
    items = registration.to_load
    names = node_names(loadable, items, database)
    with transaction(scene):
        others = participants(scene)
        nodes = []
        for item, name in zip(items, names, strict=True):
            node = add_linear_transform(scene, name, item.matrix)
            link(scene, node, item, registration.registered_frame_uid, header_text, attributes, others)
            nodes.append(node)
            tell(0.5 + 0.4 * len(nodes) / len(items), "Adding transforms")
        tell(1.0, "Loaded")
        if apply:  # the last step: it changes nodes that were there before
            from dicombridge.registration.applying import apply_transforms

            apply_transforms(nodes, scene, chain=chain)
    return nodes


def node_names(
    loadable: Loadable, items: Sequence[RegisteredFrame] | Sequence[DeformedFrame], database: Database | None
) -> list[str]:
    """Return ``<series number>: <label> - <source>`` for each item."""
    return [f"{loadable.name} - {source_description(item, database, loadable.seriesInstanceUID)}" for item in items]


def attributes_of_registration(header: Any, loadable: Loadable, registered_frame: str) -> dict[str, Any]:
    """Return what the subject hierarchy shows: the object's values, and the instances that it needs."""
    attributes = attributes_of_dataset(header)
    attributes["FrameOfReferenceUID"] = registered_frame
    named = [one.sop_instance_uid for one in references_of(header) if one.sop_instance_uid]
    # Slicer highlights in its tree what these are; an object may name frames of reference only.
    attributes["ReferencedInstanceUIDs"] = list(dict.fromkeys([*named, *loadable.referencedInstanceUIDs]))
    return attributes
