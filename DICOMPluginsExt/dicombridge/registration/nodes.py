"""Items of a registration -> transform nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.belonging import images_of
from dicombridge.geometry import ras_transform_of_lps, vtk_matrix
from dicombridge.hierarchy import add_series
from dicombridge.references import Reference
from dicombridge.registration.attributes import (
    FIXED_ROLE,
    MOVING_ROLE,
    REGISTERED_FRAME,
    REGISTRATION_ITEM,
    SOURCE_FRAME,
)
from dicombridge.registration.participants import Participant, volumes_of
from dicombridge.registration.values import DeformedFrame, RegisteredFrame, code_text
from dicombridge.shadow import HEADER_ATTRIBUTE
from dicombridge.tags import SERIES_DESCRIPTION
from dicombridge.text import node_name, plain_text

if TYPE_CHECKING:
    from dicombridge.database import Database

__all__ = [
    "MATRIX_TYPE",
    "REGISTRATION_COMMENT",
    "REGISTRATION_TYPE",
    "SOURCE_IMAGES",
    "add_linear_transform",
    "link",
    "source_description",
]

MATRIX_TYPE = "DICOMBridge.MatrixType"
"""RIGID, RIGID_SCALE or AFFINE, as the object says."""
REGISTRATION_TYPE = "DICOMBridge.RegistrationType"
"""What the registration is based on, ``value^scheme^meaning`` (CID 7100)."""
REGISTRATION_COMMENT = "DICOMBridge.RegistrationComment"
"""Frame of Reference Transformation Comment."""
SOURCE_IMAGES = "DICOMBridge.SourceInstanceUIDs"
"""SOP Instance UIDs, separated by spaces, of the images that an item names; without them it is for all of a frame."""


def add_linear_transform(scene: Any, name: str, lps: Any) -> Any:
    """Add a ``vtkMRMLLinearTransformNode`` whose transform to parent is this 4x4 matrix: LPS, source -> registered."""
    import slicer

    node = slicer.vtkMRMLLinearTransformNode()
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    node.SetMatrixTransformToParent(vtk_matrix(ras_transform_of_lps(lps)))
    scene.AddNode(node)
    return node


def link(
    scene: Any,
    node: Any,
    item: RegisteredFrame | DeformedFrame,
    registered_frame: str,
    header_text: str,
    attributes: Mapping[str, Any],
    others: Sequence[Participant],
) -> None:
    """Say on a transform node where it comes from and between what it leads.

    Parameters
    ----------
    header_text
        The object's header (:func:`dicombridge.shadow.dataset_to_text`).
    attributes
        Of the subject hierarchy item.
    others
        What is in the scene; its volumes of both frames are named by node references.
    """
    images = [image.sop_instance_uid for image in item.images]
    said = {
        SOURCE_FRAME: item.frame_of_reference_uid,
        REGISTERED_FRAME: registered_frame,
        REGISTRATION_ITEM: str(item.index),
        MATRIX_TYPE: item.matrix_type,
        REGISTRATION_TYPE: code_text(item.type_code),
        REGISTRATION_COMMENT: item.comment,
        SOURCE_IMAGES: " ".join(images),
        "DICOM.instanceUIDs": " ".join(attributes.get("SOPInstanceUIDs") or ()),
    }
    for name, value in said.items():
        if value:
            node.SetAttribute(name, plain_text(value))
    node.SetAttribute(HEADER_ATTRIBUTE, header_text)
    refer_to_volumes(node, others)
    add_series(scene, node, attributes)


def refer_to_volumes(node: Any, others: Sequence[Participant]) -> None:
    """Let a transform refer to the volumes of both of its frames of reference, where it does not yet.

    Parameters
    ----------
    others
        What is in the scene.
    """
    source, registered_frame = node.GetAttribute(SOURCE_FRAME) or "", node.GetAttribute(REGISTERED_FRAME) or ""
    moving = volumes_of(others, source, (node.GetAttribute(SOURCE_IMAGES) or "").split())
    if not moving and source != registered_frame:  # other images of the frame than the named ones
        moving = volumes_of(others, source)
    fixed = [one for one in volumes_of(others, registered_frame) if one not in moving]
    for role, volumes in ((MOVING_ROLE, moving), (FIXED_ROLE, fixed)):
        known = {node.GetNthNodeReferenceID(role, place) for place in range(node.GetNumberOfNodeReferences(role))}
        for identifier in dict.fromkeys(volume.GetID() for volume in volumes):
            if identifier not in known:
                node.AddNodeReferenceID(role, identifier)


def source_description(item: RegisteredFrame | DeformedFrame, database: Database | None, own: str) -> str:
    """Return what a person would call the source of an item: its series, else its frame of reference.

    Parameters
    ----------
    own
        Series Instance UID of the registration, whose description says nothing of the source.
    """
    if database is not None:
        for uid in _series_of(item, database):
            files = database.filesForSeries(uid) if uid != own else ()
            description = database.fileValue(files[0], SERIES_DESCRIPTION) if files else ""
            if description:
                return description
    return item.frame_of_reference_uid or f"{len(item.images)} images"


def _series_of(item: RegisteredFrame | DeformedFrame, database: Database) -> list[str]:
    """Return the series of an item's images, else the image series of its frame of reference."""
    references = [Reference(image.sop_instance_uid, image.sop_class_uid) for image in item.images[:1]]
    return list(images_of(references, database, item.frame_of_reference_uid).series)
