"""What every kind must do, for spatial fiducials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from support import fiducials as fid
from support.fiducials import Mark, MarkSet, labels_of, lps_of
from support.rt_structures import write_images

from dicombridge.fiducials.kept import kept_set


def write_every_shape(folder: Path) -> None:
    fid.write_fiducials(folder / "f.dcm", [fid.every_shape()])


def write_two_sets(folder: Path) -> None:
    other = MarkSet([Mark("NASION", points=[(5.5, 6.25, -7.125)], code=fid.NASION)], frame="1.2.3.4.5")
    fid.write_fiducials(folder / "f.dcm", [fid.every_shape(), other])


def write_pixels(folder: Path) -> None:
    """Write fiducials with pixel coordinates, their images beside the folder of the object."""
    images = write_images(folder.parent / "images", orientation=(0, 1, 0, 0, 0, -1), spacing=(0.75, 1.25))
    points = MarkSet([Mark("A", points=[(1, 2, 3)])], frame=images.frame_of_reference)
    fid.write_fiducials(folder / "f.dcm", [fid.in_images(images), points], images.study)


def write_big_endian(folder: Path) -> None:
    write_two_sets(folder)
    dataset = pydicom.dcmread(folder / "f.dcm")
    for _ in dataset.iterall():
        pass  # decoded while its own encoding is known
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(folder / "f.dcm", dataset, implicit_vr=False, little_endian=False, force_encoding=True)


class TestFiducials(KindConformance):
    kind = "FID"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("every-shape", make=write_every_shape, damages="tfae", flips=60),
        Example("implicit", make=write_two_sets, damages="tf", flips=30, transfer_syntax=ImplicitVRLittleEndian),
        Example("deflated", make=write_two_sets, damages="tf", flips=15,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("big-endian", make=write_big_endian, damages="tf", flips=15),
        Example("pixels", make=write_pixels, damages="tfae", flips=40),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        return [
            {
                "class": node.GetClassName(),
                "points": lps_of(node),
                "labels": labels_of(node) if node.GetAttribute("DICOMBridge.FiducialShape") == "POINT" else [],
                "kept": _kept(node),
            }
            for node in nodes
        ]

    def write_large(self, folder: Path, size: int) -> None:
        marks = [Mark(f"F{number}", points=[(number, 1.5, 2)]) for number in range(size)]
        marks += [Mark(f"L{number}", "LINE", [(number, 0, 0), (number, 1, 1)]) for number in range(size // 4)]
        fid.write_fiducials(folder / "large.dcm", [MarkSet(marks)])


def _kept(node: Any) -> Any:
    kept = kept_set(node)
    assert kept is not None
    ones = sorted(kept.fiducials.values(), key=lambda one: one.number)
    return [
        kept.frame_of_reference_uid,
        [[one.identifier, one.label, one.description, one.uid, one.shape, np.array(one.points)] for one in ones],
    ]
