"""Slides in the suite that all kinds share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit
from support import slides
from support.volumes import lps_of_volume
from vtkmodules.util.numpy_support import vtk_to_numpy

SMALL = slides.Level(rows=40, columns=60, tile=(16, 32))
PHOTOGRAPH = "1.2.840.10008.5.1.4.1.1.77.1.4"


def level(**changes: Any) -> Callable[[Path], object]:
    """Return what writes one image."""
    return lambda folder: slides.write_level(folder / "a.dcm", replace(SMALL, **changes))


def write_photograph(folder: Path) -> None:
    one = slides.Level(rows=24, columns=32, tile=(24, 32))
    dataset = slides.dataset_of(slides.Series(), PHOTOGRAPH)
    slides.describe_pixels(dataset, one)
    slides.set_frames(dataset, one, [one.pixels().tobytes()])
    slides.save(dataset, folder / "a.dcm")


class TestSlide(KindConformance):
    kind = "SLIDE"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("native", make=level(), damages="tfae", flips=60),
        Example("sparse", make=level(sparse=True), damages="tfae", flips=60),
        Example("jpeg", make=level(syntax=JPEGBaseline8Bit), damages="tfa", flips=60),
        Example("jpeg2000", make=level(syntax=JPEG2000Lossless), damages="tf", flips=40),
        Example("rle", make=level(syntax=slides.RLELossless), damages="tf", flips=40),
        Example("fragments", make=level(syntax=JPEGBaseline8Bit, fragments=2), damages="tf", flips=40),
        Example("implicit", make=level(sparse=True), damages="tf", flips=30, transfer_syntax=ImplicitVRLittleEndian),
        Example("deflated", make=level(), damages="tf", flips=15, transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("concatenation", make=lambda folder: slides.write_level(folder / "a.dcm", SMALL, parts=2)),
        Example("pyramid", make=lambda folder: slides.write_pyramid(folder, SMALL, levels=2)),
        Example("photograph", make=write_photograph, damages="tfa", flips=30),
        Example("highdicom", "sm/highdicom/sm_image.dcm", damages="tf", flips=30),
        Example("camelyon", "sm/misc/multiframe_camelyon_challenge_image.dcm"),
        Example("panimg", "sm/panimg/full_no_bot.dcm", damages="tf", flips=30),
        Example("control", "seg/highdicom_sm/source_sm/sm_image_control.dcm"),
    )
    sizes: ClassVar[tuple[int, int]] = (400, 800)
    """Numbers of tiles, in rows of 20."""

    def values(self, nodes: Sequence[Any]) -> Any:
        return [
            {
                "pixels": vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()),
                "place": lps_of_volume(node),
            }
            for node in nodes
        ]

    def write_large(self, folder: Path, size: int) -> None:
        one = slides.Level(rows=8 * max(size // 20, 1), columns=160, tile=(8, 8), sparse=True, syntax=JPEGBaseline8Bit)
        slides.write_level(folder / "large.dcm", one)
