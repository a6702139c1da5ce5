"""Second-generation radiotherapy objects do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from conformance import Example, KindConformance
from support.rt_records import write
from support.rt_second_generation import c_arm_radiation, physician_intent, radiation_set


class TestSecondGeneration(KindConformance):
    kind = "RTSECOND"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("intent", make=lambda folder: write(physician_intent(), folder), damages="tfae", flips=80),
        Example("radiation", make=lambda folder: write(c_arm_radiation(), folder, implicit=True), damages="tf"),
        Example("set", make=lambda folder: write(radiation_set(), folder), damages="f", flips=20),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        return [node.GetName() for node in nodes]

    def write_large(self, folder: Path, size: int) -> object:
        return write(c_arm_radiation(points=size), folder)
