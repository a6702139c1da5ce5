"""RT images do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from conformance import Example, KindConformance
from pydicom.uid import RLELossless
from support.items import item
from support.rt_images import ramp, write_image
from support.volumes import array_of, matrix_of


def write_frames(folder: Path, count: int) -> None:
    exposures = [item(ReferencedFrameNumber=number + 1, GantryAngle=number) for number in range(count)]
    write_image(folder, pixels=ramp(frames=count), ExposureSequence=exposures)


class TestRTImage(KindConformance):
    kind = "RTIMAGE"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("portal", "rt/rtimage/rtimage_elekta_iview.dcm", damages="tf", flips=20),
        Example("drr", make=write_image, damages="tfae", flips=60),
        Example("frames", make=lambda folder: write_frames(folder, 3), damages="tfa", flips=40),
        Example("rle", make=lambda folder: write_frames(folder, 2), damages="tf", flips=20,
                transfer_syntax=RLELossless),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        return [{"voxels": array_of(node), "ijk to ras": matrix_of(node)} for node in nodes]

    def write_large(self, folder: Path, size: int) -> object:
        return write_frames(folder, size)
