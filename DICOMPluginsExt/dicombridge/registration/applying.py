"""The registration graph: frames of reference are its nodes, transforms its edges, and data hangs under the transforms.

The world of a scene is the registered frame. What lies in a source frame, or comes from images that an item names, is
put under the item's transform; MRML does the rest, so that nothing is resampled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicombridge.deformation.nodes import restore_interpolation
from dicombridge.errors import MissingReferenceError
from dicombridge.loadable import Loadable
from dicombridge.registration.attributes import REGISTERED_FRAME, SOURCE_FRAME
from dicombridge.registration.nodes import SOURCE_IMAGES, refer_to_volumes
from dicombridge.registration.participants import Participant, participants
from dicombridge.scene import default_scene, nodes_in

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = ["Applied", "apply_registration", "apply_transforms"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Applied:
    """What :func:`apply_registration` did.

    Attributes
    ----------
    transforms
        The transform nodes that were looked at.
    moved
        (node, transform node): the node is now under the transform.
    chained
        (transform node, transform node): the first one is now under the second.
    left
        (node, reason): the node belongs to a source but stays where it is.
    """

    transforms: list[Any] = field(default_factory=list)
    moved: list[tuple[Any, Any]] = field(default_factory=list)
    chained: list[tuple[Any, Any]] = field(default_factory=list)
    left: list[tuple[Any, str]] = field(default_factory=list)


def apply_registration(
    what: Any = None, scene: Any = None, database: Database | None = None, *, chain: bool = False
) -> Applied:
    """Put all nodes of the source frames of reference under their transforms: what was registered shows fused.

    Parameters
    ----------
    what
        Transform nodes that were loaded from registrations (other nodes among them are passed over); or a loadable, a
        path or a Series Instance UID, which is loaded first. Without it, all registrations in the scene.
    scene
        ``vtkMRMLScene`` with the data; by default that of the nodes, else the application's.
    database
        For loading.
    chain
        Where the registered frame B of a registration A -> B is itself the source of another one in the scene, B -> C,
        also put the transform of A under that of B, and apply that, too.

    Returns
    -------
    Applied
        What was moved, and what was left and why. Nodes that have another parent transform already are left; so are
        nodes that cannot be deformed (e.g. a region of interest) under a deformation. What is left is also logged.

    Raises
    ------
    MissingReferenceError
        There is no registration to apply.
    DicomBridgeError
        Loading failed.

    Examples
    --------
    >>> import dicombridge
    >>> dicombridge.apply_registration(scene=dicombridge.new_scene())
    Traceback (most recent call last):
    ...
    dicombridge.errors.MissingReferenceError: There is no registration in the scene; load one first.
    """
    nodes, scene = _nodes_of(what, scene, database)
    transforms = [node for node in nodes if _is_registration(node)]
    if not transforms:
        where = "in the scene" if what is None else "among what was given"
        raise MissingReferenceError(f"There is no registration {where}; load one first.")
    return apply_transforms(transforms, scene, chain=chain)


def _nodes_of(what: Any, scene: Any, database: Database | None) -> tuple[list[Any], Any]:
    """Return nodes and the scene that they are in, loaded where they are not nodes yet."""
    if what is None:
        scene = default_scene() if scene is None else scene
        return registrations_in(scene), scene
    if hasattr(what, "GetClassName"):
        what = [what]
    if not isinstance(what, str | Path | Loadable):
        what = list(what)
    if isinstance(what, list) and not any(isinstance(one, Loadable) for one in what):
        return what, scene if scene is not None or not what else what[0].GetScene()
    from dicombridge.api import load

    scene = default_scene() if scene is None else scene
    return load(what, scene=scene, database=database), scene


def registrations_in(scene: Any) -> list[Any]:
    """Return the transform nodes of a scene that were loaded from registrations."""
    return [node for node in nodes_in(scene, "vtkMRMLTransformNode") if _is_registration(node)]


def _is_registration(node: Any) -> bool:
    return bool(node.IsA("vtkMRMLTransformNode") and (_source(node) or _images(node)))


def apply_transforms(transforms: Sequence[Any], scene: Any, *, chain: bool = False) -> Applied:
    """Do what :func:`apply_registration` says, for transform nodes of one scene; nothing raises once a node changed."""
    applied = Applied(transforms=list(transforms))
    everything = registrations_in(scene)
    if chain:
        _plan_chain(applied, everything)
    found = participants(scene)
    planned: dict[str, Any] = {}
    for transform in applied.transforms:
        for one in found:
            _plan(one, transform, everything, planned, applied)
    for node, transform in [*applied.moved, *applied.chained]:
        node.SetAndObserveTransformNodeID(transform.GetID())
    for transform in applied.transforms:
        restore_interpolation(transform)
        refer_to_volumes(transform, found)  # they may have been loaded after it
        if transform not in [used for _, used in applied.moved] and transform not in [
            one for one, _ in applied.chained
        ]:
            _log.info("%s moved nothing: the scene has no data of its source.", transform.GetName())
    if not chain:
        _warn_of_moved_worlds(applied, everything)
    for node, reason in applied.left:
        _log.warning("%s was left where it is: %s", node.GetName(), reason)
    return applied


def _plan(
    one: Participant, transform: Any, everything: Sequence[Any], planned: dict[str, Any], applied: Applied
) -> None:
    """Decide on one node and one transform."""
    if not _is_meant(one, transform, everything):
        return
    node, parent = one.node, planned.get(one.node.GetID()) or one.node.GetParentTransformNode()
    reason = ""
    if parent is transform:
        return
    if parent is not None:
        reason = f"it is under the transform {parent.GetName()} already, so that {transform.GetName()} was not applied."
    elif len(one.frames) > 1:
        reason = f"it names {len(one.frames)} frames of reference, of which {transform.GetName()} moves one."
    elif not transform.IsLinear() and not node.CanApplyNonLinearTransforms():
        reason = f"a {node.GetNodeTagName()} cannot be deformed by {transform.GetName()}."
    if reason:
        applied.left.append((node, reason))
        return
    images = _images(transform)
    if (
        images
        and not one.instances.isdisjoint(images)
        and not one.instances <= images
        and _is_part(transform, everything)
    ):
        count = len(one.instances & images)
        _log.warning(
            "%s names %d of the %d images of %s; all of it was moved.",
            transform.GetName(),
            count,
            len(one.instances),
            node.GetName(),
        )
    planned[node.GetID()] = transform
    applied.moved.append((node, transform))


def _is_meant(one: Participant, transform: Any, everything: Sequence[Any]) -> bool:
    """Whether a node belongs to the source of a transform."""
    images = _images(transform)
    if images and one.is_from(images):
        return True
    return not _is_part(transform, everything) and bool(_source(transform)) and _source(transform) in one.frames


def _is_part(transform: Any, everything: Sequence[Any]) -> bool:
    """Whether an item is for its images only and not for all of their frame of reference.

    Many objects name both, the frame and all images of a series; structure sets and doses in that frame move, too. But
    where a frame is registered to itself, or its images differently, only the images tell.
    """
    source = _source(transform)
    if not _images(transform):
        return source == _registered(transform)  # contradicts itself: it would move the world
    twins = [
        other
        for other in everything
        if other is not transform and _source(other) == source and _registered(other) == _registered(transform)
    ]
    return not source or source == _registered(transform) or bool(twins)


# --- Chains --------------------------------------------------------------------------------------------------------


def _plan_chain(applied: Applied, everything: Sequence[Any]) -> None:
    """Put transforms under those of their registered frames; those that lie on the way are applied, too."""
    parents = {node.GetID(): node.GetParentTransformNode() for node in everything}
    for transform in everything:
        onward = [
            other
            for other in everything
            if other is not transform and _source(other) and _source(other) == _registered(transform)
            and not _is_part(other, everything)
        ]  # fmt: skip
        concerned = transform in applied.transforms or any(other in applied.transforms for other in onward)
        if not concerned or not onward or parents[transform.GetID()] in onward:
            continue
        reason = ""
        if parents[transform.GetID()] is not None:
            reason = f"it is under the transform {parents[transform.GetID()].GetName()} already."
        elif len(onward) > 1:
            reason = f"{len(onward)} registrations lead on from where it leads to; please choose one."
        elif _comes_back(transform, onward[0], parents):
            reason = f"{onward[0].GetName()} leads back to where it comes from."
        if reason:
            applied.left.append((transform, reason))
            continue
        parents[transform.GetID()] = onward[0]
        applied.chained.append((transform, onward[0]))
    for transform in applied.transforms:  # grows as it goes
        onward_one = parents[transform.GetID()]
        if onward_one is not None and onward_one in everything and onward_one not in applied.transforms:
            applied.transforms.append(onward_one)


def _comes_back(transform: Any, onward: Any, parents: dict[str, Any]) -> bool:
    """Whether following the transforms from ``onward`` leads to the source of ``transform``."""
    seen = {_source(transform)}
    one: Any = onward
    while one is not None:
        if _registered(one) in seen:
            return True
        seen.add(_registered(one))
        one = parents.get(one.GetID())
    return False


def _warn_of_moved_worlds(applied: Applied, everything: Sequence[Any]) -> None:
    """Say where the registered frame of a transform was moved itself, so that both do not meet any more."""
    users = {id(transform) for _, transform in applied.moved}
    for transform in everything:
        for other in everything:
            meets = other is not transform and _source(other) == _registered(transform) and id(other) in users
            if meets and id(transform) in users and transform.GetParentTransformNode() is None:
                _log.warning(
                    "%s leads into a frame of reference that %s moves on; apply both with chain=True.",
                    transform.GetName(),
                    other.GetName(),
                )


def _source(transform: Any) -> str:
    return transform.GetAttribute(SOURCE_FRAME) or ""


def _registered(transform: Any) -> str:
    return transform.GetAttribute(REGISTERED_FRAME) or ""


def _images(transform: Any) -> set[str]:
    return set((transform.GetAttribute(SOURCE_IMAGES) or "").split())
