"""Spatial Registrations do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from support.registrations import (
    AFFINE,
    FIXED,
    MOVING,
    OTHER,
    RIGID,
    SCALED,
    TRANSLATION,
    points,
    registered,
    registration,
    series,
    to_parent,
    written,
)

from dicombridge.registration.attributes import REGISTERED_FRAME, SOURCE_FRAME
from dicombridge.registration.nodes import MATRIX_TYPE, REGISTRATION_COMMENT, REGISTRATION_TYPE, SOURCE_IMAGES

ATTRIBUTES = (SOURCE_FRAME, REGISTERED_FRAME, MATRIX_TYPE, REGISTRATION_TYPE, REGISTRATION_COMMENT, SOURCE_IMAGES)

OBJECTS: dict[str, Any] = {
    "rigid": lambda: registration(),
    "affine-no-identity-item": lambda: registration([registered(MOVING, [AFFINE], "AFFINE")]),
    "several-frames-and-matrices": lambda: registration([
        registered(FIXED),
        registered(MOVING, [RIGID, TRANSLATION]),
        registered(OTHER, [SCALED], "RIGID_SCALE", FrameOfReferenceTransformationComment="by hand"),
    ]),
    "images-and-frame": lambda: registration(
        [registered(FIXED, images=["1.2.7.1"]), registered(MOVING, [RIGID], images=["1.2.5.1", "1.2.5.2"])],
        ReferencedSeriesSequence=series(fixed=["1.2.7.1"], moving=["1.2.5.1", "1.2.5.2"]),
    ),
}  # fmt: skip


def made(name: str, syntax: str = "") -> Any:
    def make(folder: Path) -> Path:
        return written(OBJECTS[name](), folder / "reg.dcm", *filter(None, [syntax]))

    return make


class TestRegistration(KindConformance):
    kind = "REG"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("rigid", make=made("rigid"), damages="tfae", flips=100),
        Example("affine-no-identity-item", make=made("affine-no-identity-item"), damages="f", flips=30),
        Example("several-frames-and-matrices", make=made("several-frames-and-matrices"), damages="tfa", flips=60),
        Example("images-and-frame", make=made("images-and-frame"), damages="f", flips=30),
        Example("implicit", make=made("rigid", ImplicitVRLittleEndian), damages="tf", flips=40),
        Example("deflated", make=made("rigid", DeflatedExplicitVRLittleEndian), damages="tf", flips=20),
        Example("big-endian", make=made("rigid", ExplicitVRBigEndian), damages="t"),
    )

    def values(self, nodes: Sequence[Any]) -> Any:
        return [
            {"points": to_parent(node, points(20)), "said": {name: node.GetAttribute(name) for name in ATTRIBUTES}}
            for node in nodes
        ]

    def write_large(self, folder: Path, size: int) -> object:
        items = [registered(f"1.2.3.4.{number + 1}", [RIGID, TRANSLATION]) for number in range(size)]
        return written(registration([registered(FIXED), *items]), folder / "large.dcm")
