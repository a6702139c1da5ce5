"""Parametric maps do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from conformance import LONGEST, MOST_MEMORY, Example, KindConformance, outcomes_of
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from support.damage import absurd_attributes, flips, truncations
from support.pm_objects import MapFrame, group, mapping_item, parametric_map, planes_of, write
from support.volumes import array_of, lps_of_volume

CT = ("pm/highdicom/source_ct",)
ADC = ("113041", "DCM", "Apparent Diffusion Coefficient")


def write_integers(folder: Path, count: int = 5) -> None:
    """16 bits with a slope, in two channels whose frames alternate from top to bottom."""
    items = [
        mapping_item(0.5, -10.0, label="ADC", quantity=ADC, units=("um2/s", "UCUM", "um2/s"), values=(0, 65535)),
        mapping_item(0.001, 0.0, label="FA", quantity=("110808", "DCM", "Fractional Anisotropy"), values=(0, 65535)),
    ]
    pixels = planes_of(2 * count, (12, 10), np.uint16)
    frames = [
        MapFrame((1.5, -2.5, 3.0 * k), pixels[2 * k + n], {"RealWorldValueMappingSequence": [items[n]]})
        for k in reversed(range(count))
        for n in range(2)
    ]
    write(parametric_map(frames), folder)


class TestParametricMap(KindConformance):
    kind = "PM"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("float", "pm/highdicom/parametric_map_float.dcm", CT, damages="tfae", flips=50),
        Example("double-float", "pm/highdicom/parametric_map_double_float.dcm", CT, damages="tfa", flips=30),
        Example("float-implicit", "pm/highdicom/parametric_map_float.dcm", CT, damages="tf", flips=15,
                transfer_syntax=ImplicitVRLittleEndian),
        Example("float-deflated", "pm/highdicom/parametric_map_float.dcm", CT, damages="tf", flips=15,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("integers", make=write_integers, damages="tfae", flips=50),
        Example("integers-rle", make=write_integers, damages="tf", flips=15, transfer_syntax=RLELossless),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        found: dict[str, Any] = {}
        for node in nodes:
            quantity, units = node.GetVoxelValueQuantity(), node.GetVoxelValueUnits()
            found[node.GetAttribute("DICOMBridge.MapNumber")] = {
                "voxels": array_of(node).astype(np.float64),
                "to LPS": lps_of_volume(node),
                "quantity": quantity.GetCodeValue() if quantity is not None else "",
                "units": units.GetCodeValue() if units is not None else "",
                "definitions": node.GetAttribute("DICOMBridge.Definitions") or "",
            }
        return found

    def write_large(self, folder: Path, size: int) -> None:
        write_integers(folder, size)


def test_damaged_maps_in_time(tmp_path: Path) -> None:
    """As the suite does it for volumes: sequences bring nodes of their own, which must not stay behind."""
    pixels = planes_of(2 * 3 * 4, (12, 10)).reshape(2, 3, 4, 12, 10)
    frames = []
    for channel, time, k in np.ndindex(2, 3, 4):
        groups = {
            "TemporalPositionSequence": group(TemporalPositionTimeOffset=2.5 * time),
            "RealWorldValueMappingSequence": [mapping_item(label=f"M{channel}", quantity=ADC)],
        }
        indices = (k + 1, time + 1, channel + 1)
        frames.append(MapFrame((0, 0, 3.0 * k), pixels[channel, time, k], groups, indices=indices))
    dimensions = [(0x00200032, 0x00209113, "Position"), (0x0020930D, 0x00209310, "Time"),
                  (0x00409210, 0x00409096, "Label")]  # fmt: skip
    content = write(parametric_map(frames, dimensions=dimensions), tmp_path).read_bytes()
    (tmp_path / "map.dcm").unlink()
    cases = [*flips(content, 120), *truncations(content), *absurd_attributes(content)]
    (tmp_path / "sources").mkdir()
    outcomes = outcomes_of("PM", cases, tmp_path / "sources", tmp_path)
    assert [f"{case.name}: {one}" for case, one in zip(cases, outcomes, strict=True) if not one.ours] == []
    assert [one for one in outcomes if one.changed or one.seconds > LONGEST] == []
    assert max(one.memory for one in outcomes) < MOST_MEMORY
