"""Deformable Spatial Registrations do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from support.registrations import (
    AFFINE,
    MOVING,
    OTHER,
    RIGID,
    TRANSLATION,
    deformation,
    deformed,
    from_parent,
    grid_item,
    points_in,
    rotation,
    series,
    smooth_field,
    written,
)

from dicombridge.deformation.undefined import UNDEFINED_COUNT, UNDEFINED_VECTORS
from dicombridge.registration.attributes import REGISTERED_FRAME, SOURCE_FRAME
from dicombridge.registration.nodes import REGISTRATION_COMMENT, REGISTRATION_TYPE, SOURCE_IMAGES

ATTRIBUTES = (
    SOURCE_FRAME,
    REGISTERED_FRAME,
    REGISTRATION_TYPE,
    REGISTRATION_COMMENT,
    SOURCE_IMAGES,
    UNDEFINED_COUNT,
    UNDEFINED_VECTORS,
)
TURNED = rotation(0.4, -0.3, 0.6)
OBLIQUE = [*TURNED[:, 0], *TURNED[:, 1]]
SHAPE = (5, 6, 7)


def partly_undefined() -> Any:
    vectors = smooth_field(SHAPE)
    vectors[0] = np.nan
    return vectors


OBJECTS: dict[str, Any] = {
    "grid": lambda: deformation([deformed(MOVING, grid_item(smooth_field(SHAPE), orientation=OBLIQUE))]),
    "matrix-grid-matrix": lambda: deformation(
        [deformed(MOVING, grid_item(smooth_field(SHAPE), orientation=OBLIQUE), RIGID, TRANSLATION)]
    ),
    "undefined": lambda: deformation([deformed(MOVING, grid_item(partly_undefined()), post=RIGID)]),
    "several-frames": lambda: deformation([
        deformed(MOVING, grid_item(smooth_field(SHAPE)), RIGID, images=["1.2.5.1", "1.2.5.2"]),
        deformed(OTHER, grid_item(smooth_field((3, 4, 5)), resolution=(6, 6, 6))),
        deformed("1.2.3.77", None, AFFINE, matrix_type="AFFINE"),
    ], ReferencedSeriesSequence=series(moving=["1.2.5.1", "1.2.5.2"])),
}  # fmt: skip


def made(name: str, syntax: str = "") -> Any:
    def make(folder: Path) -> Path:
        return written(OBJECTS[name](), folder / "deform.dcm", *filter(None, [syntax]))

    return make


class TestDeformation(KindConformance):
    kind = "DEFORM"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("grid", make=made("grid"), damages="tfae", flips=100),
        Example("matrix-grid-matrix", make=made("matrix-grid-matrix"), damages="tfa", flips=60),
        Example("undefined", make=made("undefined"), damages="f", flips=30),
        Example("several-frames", make=made("several-frames"), damages="f", flips=60),
        Example("implicit", make=made("grid", ImplicitVRLittleEndian), damages="tf", flips=40),
        Example("deflated", make=made("grid", DeflatedExplicitVRLittleEndian), damages="tf", flips=20),
        Example("big-endian", make=made("grid", ExplicitVRBigEndian), damages="t"),
    )

    def values(self, nodes: Sequence[Any]) -> Any:
        places = points_in(grid_item(smooth_field(SHAPE), orientation=OBLIQUE), 50)
        return [
            {
                "points": np.round(from_parent(node, places), 3),
                "said": {name: node.GetAttribute(name) for name in ATTRIBUTES},
            }
            for node in nodes
        ]

    def write_large(self, folder: Path, size: int) -> object:
        items = [deformed(f"1.2.3.4.{number + 1}", grid_item(smooth_field((2, 2, 2)))) for number in range(size)]
        return written(deformation(items), folder / "large.dcm")
