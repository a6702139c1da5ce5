"""Treatment records do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian
from support.rt_records import brachy, conventional, ion, sparse, summary, write


class TestTreatmentRecord(KindConformance):
    kind = "RTRECORD"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("beams", make=lambda folder: write(conventional(), folder), damages="tfae", flips=80),
        Example("beams-implicit", make=lambda folder: write(sparse(), folder, implicit=True), damages="tf", flips=40),
        Example("ion-deflated", make=lambda folder: write(ion(), folder), damages="tf", flips=15,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("brachy", make=lambda folder: write(brachy("PDR"), folder), damages="tfa", flips=40),
        Example("summary", make=lambda folder: write(summary(), folder), damages="f", flips=20),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        return [node.GetName() for node in nodes]

    def write_large(self, folder: Path, size: int) -> object:
        return write(conventional(points=size), folder)
