"""Node references to DICOM instances, which may be loaded later: a report may come before what it names.

Which instances a node still waits for is kept in its attribute ``DICOMBridge.AwaitedInstances`` as JSON, SOP Instance
UIDs by node reference role. :func:`dicombridge.load` looks, after each load, whether they have come.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dicombridge.hierarchy import nodes_by_instance
from dicombridge.scene import nodes_in

__all__ = ["AWAITED_ATTRIBUTE", "link_awaited", "link_instances"]

AWAITED_ATTRIBUTE = "DICOMBridge.AwaitedInstances"
"""Attribute of nodes: the instances that are to be linked when they are loaded, as JSON: role -> UIDs."""


def link_instances(node: Any, role: str, uids: Iterable[str]) -> None:
    """Let a node refer to the nodes of instances: to those in its scene now, to the others when they are loaded.

    Parameters
    ----------
    node
        In a scene.
    role
        Node reference role.
    uids
        SOP Instance UIDs; an instance may have several nodes, and several instances one.
    """
    _link(node, {role: list(dict.fromkeys(filter(None, uids)))}, nodes_by_instance(node.GetScene()))


def link_awaited(scene: Any) -> None:
    """Let nodes that wait for instances refer to those that have been loaded since."""
    waiting = [(node, awaited) for node in nodes_in(scene) if (awaited := _awaited(node))]
    if waiting:
        loaded = nodes_by_instance(scene)
        for node, awaited in waiting:
            _link(node, awaited, loaded)


def _awaited(node: Any) -> dict[str, list[str]]:
    """Return what a node waits for; nothing, where somebody edited it beyond use."""
    text = node.GetAttribute(AWAITED_ATTRIBUTE)
    try:
        values = json.loads(text) if text else {}
        return {str(role): [str(uid) for uid in uids] for role, uids in values.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def _link(node: Any, wanted: dict[str, list[str]], loaded: dict[str, list[Any]]) -> None:
    missing: dict[str, list[str]] = {}
    for role, uids in wanted.items():
        known = {node.GetNthNodeReferenceID(role, place) for place in range(node.GetNumberOfNodeReferences(role))}
        found = dict.fromkeys(one.GetID() for uid in uids for one in loaded.get(uid, ()) if one is not node)
        for identifier in found:
            if identifier not in known:
                node.AddNodeReferenceID(role, identifier)
        missing[role] = [uid for uid in uids if uid not in loaded]
    missing = {role: uids for role, uids in missing.items() if uids}
    text = json.dumps(missing, separators=(",", ":")) if missing else None
    if text != node.GetAttribute(AWAITED_ATTRIBUTE):
        node.SetAttribute(AWAITED_ATTRIBUTE, text)
