"""Images do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from conformance import Example, KindConformance
from image_support import write_slice
from pydicom.uid import DeflatedExplicitVRLittleEndian
from support.volumes import array_of, matrix_of


def write_series(folder: Path, slices: int) -> None:
    for number in range(slices):
        pixels = np.arange(20, dtype=np.int16).reshape(4, 5) + number
        write_slice(folder, number + 1, (0, 0, 2.5 * number), pixels=pixels)


class TestImage(KindConformance):
    kind = "IMAGE"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("ct", "seg/highdicom/source_ct", damages="tfae", flips=100),
        Example("ct-implicit", "seg/dcmqi_23x38x3/ct", damages="f", flips=30),
        Example("ct-deflated", make=lambda folder: write_series(folder, 3), damages="tf", flips=15,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("mr-rle", "images/compressed/rle", damages="tf", flips=15),
        Example("mr-enhanced", "images/enhanced_mr/hyperfine_enhanced.dcm", damages="tfae", flips=40),
        Example("ct-legacy-enhanced", "seg/dcmqi_23x38x3/legacy_converted_enhanced_ct.dcm", damages="f", flips=30),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        return [{"voxels": array_of(node), "ijk to ras": matrix_of(node)} for node in nodes]

    def write_large(self, folder: Path, size: int) -> object:
        return write_series(folder, size)
