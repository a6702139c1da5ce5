"""Real world value mappings do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from support.rwv_objects import (
    ADC_QUANTITY,
    ADC_UNITS,
    CT_38,
    ENHANCED_CT,
    PET_27,
    data_folder,
    group,
    headers_in,
    mapping_item,
    quantity_of,
    units_of,
    write_object,
    write_pet,
)
from support.volumes import array_of, matrix_of


def make_linear(folder: Path) -> None:
    """A slope for each image, as PET have."""
    images = headers_in(data_folder() / CT_38)
    groups = [group([image], mapping_item(0.01 * (n + 1), n, last=4095)) for n, image in enumerate(images)]
    write_object(folder / "linear.dcm", images, groups)


def make_curve(folder: Path) -> None:
    """Two meanings; one of them is a curve of a table and a line."""
    images = headers_in(data_folder() / PET_27)
    table = mapping_item(lut=np.sqrt(np.arange(1000)), last=999, label="low")
    line = mapping_item(1.5, 2.0, first=1000, last=32767, label="high")
    other = mapping_item(2e-6, -1e-4, label="ADC", units=ADC_UNITS, quantity=ADC_QUANTITY)
    write_object(folder / "curve.dcm", images, [group(images, table, line, other)])


def make_frames(folder: Path) -> None:
    (image,) = headers_in((data_folder() / ENHANCED_CT).parent)
    groups = [group([image], mapping_item(n + 2.0, 0.5), frames=[n + 1]) for n in range(2)]
    write_object(folder / "frames.dcm", [image], groups)


class TestRealWorldValue(KindConformance):
    kind = "RWVM"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("linear", make=make_linear, sources=(CT_38,), damages="tfae", flips=60),
        Example("linear-implicit", make=make_linear, sources=(CT_38,), damages="f", flips=40,
                transfer_syntax=ImplicitVRLittleEndian),
        Example("linear-deflated", make=make_linear, sources=(CT_38,), damages="tf", flips=15,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("curve", make=make_curve, sources=(PET_27,), damages="f", flips=30,
                faults=r"StudyID"),  # of the images, which have one of 18 characters
        Example("frames", make=make_frames, sources=("images/enhanced_ct",), damages="f", flips=15),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        found = [
            {
                "voxels": array_of(node),
                "ijk to ras": matrix_of(node),
                "units": units_of(node),
                "quantity": quantity_of(node),
                "images": node.GetAttribute("DICOM.instanceUIDs"),
            }
            for node in nodes
        ]
        return sorted(found, key=lambda one: one["units"])

    def write_large(self, folder: Path, size: int) -> None:
        images = write_pet(folder / "images", size)
        groups = [group([image], mapping_item(0.1 * (n + 1))) for n, image in enumerate(images)]
        write_object(folder / "large.dcm", images, groups)
