"""From files to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicombridge.deformation.nodes import add_deformation, vectors_for
from dicombridge.deformation.reading import (
    DEFORMABLE_REGISTRATION_SEQUENCE,
    Deformation,
    copy_vectors,
    read_deformation,
)
from dicombridge.deformation.undefined import keep_undefined
from dicombridge.errors import UnsupportedError
from dicombridge.multiframe import MultiFrame, open_multiframe
from dicombridge.progress import Progress, silent
from dicombridge.registration.loading import attributes_of_registration, node_names
from dicombridge.registration.nodes import link
from dicombridge.registration.participants import participants
from dicombridge.scene import transaction
from dicombridge.shadow import dataset_to_text
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Vectors:
    """Vectors of one grid, and where they are undefined."""

    array: Any = None
    undefined: NDArray[Any] | None = None


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    interpolation: str = "linear",
    apply: bool = False,
    chain: bool = False,
) -> list[Any]:
    """Load a Deformable Spatial Registration into a scene (PS3.3 C.20.3).

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
    interpolation
        ``"linear"`` or ``"cubic"`` between the vectors of the grid, which the standard leaves open (PS3.3 C.20.3.1.2).
        Outside of the grid, the offset is that of its nearest border.
    apply
        Put what is in the scene, and lies in a source frame of reference, under its transform
        (:func:`dicombridge.apply_registration`).
    chain
        With ``apply``, also put the transform under that of its own registered frame, where there is one.

    Returns
    -------
    list of vtkMRMLTransformNode
        One for each item. The transform from parent maps points (RAS mm) of the registered frame, which is the world,
        to the item's source frame, as the standard's formula does; the transform to parent is its inverse, which VTK
        iterates, to 1e-4 mm. Where vectors are undefined (NaN) the offset is 0, and a warning says how many there are.

    Raises
    ------
    DicomBridgeError
        The file is damaged, a grid contradicts the length of its vectors, none of them is defined, a matrix is
        singular, or a frame of reference is missing.
    """
    if interpolation not in ("linear", "cubic"):
        raise UnsupportedError(f"There is no interpolation {interpolation!r}; please choose linear or cubic.")
    tell = progress or silent
    file = loadable.files[0]
    tell(0.0, "Reading the deformation")
    without = (DEFORMABLE_REGISTRATION_SEQUENCE,)
    with reading(file), open_multiframe(file, pixels=False, without=without) as opened:
        deformation = read_deformation(opened, file)
        header_text = dataset_to_text(deformation.header)
        attributes = attributes_of_registration(deformation.header, loadable, deformation.registered_frame_uid)
        vectors = _read_vectors(opened, deformation, file, lambda part: tell(0.1 + 0.7 * part, "Reading the vectors"))
    for warning in [*deformation.warnings, *_undefined_warnings(vectors)]:
        _log.warning("%s: %s", file, warning)
    tell(0.8, "Adding transforms")
    names = node_names(loadable, deformation.items, database)
    with transaction(scene):
        others = participants(scene)
        nodes = []
        for item, name, part in zip(deformation.items, names, vectors, strict=True):
            node = add_deformation(scene, name, item, part.array, interpolation)
            if part.undefined is not None:
                keep_undefined(node, part.undefined)
            link(scene, node, item, deformation.registered_frame_uid, header_text, attributes, others)
            nodes.append(node)
            tell(0.8 + 0.2 * len(nodes) / len(names), "Adding transforms")
        if apply:  # the last step: it changes nodes that were there before
            from dicombridge.registration.applying import apply_transforms

            apply_transforms(nodes, scene, chain=chain)
    return nodes


def _read_vectors(
    opened: MultiFrame, deformation: Deformation, file: str, tell: Callable[[float], None]
) -> list[_Vectors]:
    """Return the vectors of each item in memory of VTK."""
    found = []
    share = 1 / len(deformation.items)
    for number, span in enumerate(deformation.vectors):
        if span is None:
            found.append(_Vectors())
            continue
        tell(number * share)
        array, memory = vectors_for((span.stop - span.start) // 12)
        undefined = copy_vectors(
            opened,
            span,
            memory,
            file,
            lambda part, before=number: tell((before + part) * share),  # type: ignore[misc]
        )
        found.append(_Vectors(array, undefined))
    return found


def _undefined_warnings(vectors: list[_Vectors]) -> list[str]:
    return [
        f"Item {place}: {int(part.undefined.sum())} of {part.undefined.size} vectors are undefined (NaN); there, "
        "nothing is displaced by the grid."
        for place, part in enumerate(vectors, start=1)
        if part.undefined is not None
    ]
