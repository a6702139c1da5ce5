"""Doses do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian
from support.rt_doses import dose, faults, numbers, voxels, written
from support.volumes import matrix_of

from dicombridge.tables import column_values

ATTRIBUTES = (
    "DicomRtImport.DoseVolume",
    "DICOMBridge.DoseUnits",
    "DICOMBridge.DoseType",
    "DICOMBridge.DoseSummationType",
    "DICOMBridge.DoseGridScaling",
    "DICOMBridge.ReferencedPlanUIDs",
    "DICOMBridge.ReferencedStructureSetUIDs",
    "DICOMBridge.TissueHeterogeneityCorrection",
)
BREAST_CT = "rt/eclipse_breast"


def write_planes(folder: Path, frames: int) -> Path:
    stored = numbers(frames, 2, 3)
    return written(dose(stored, offsets=[2.5 * number for number in range(frames)]), folder / "large.dcm")


def write_single_planes(folder: Path) -> None:
    """Each plane of a dose in a file of its own."""
    for number, stored in enumerate(numbers(4)):
        one = dose(stored[None], position=(-20, -30, 3.0 * number), SeriesInstanceUID="1.2.3.6")
        written(one, folder / f"{number}.dcm")


def table_values(node: Any) -> dict[str, Any]:
    names = [node.GetColumnName(number) for number in range(node.GetNumberOfColumns())]
    columns = {name: column_values(node, name) for name in names}
    return {
        name: np.array(values) if isinstance(values[0], float) else values
        for name, values in columns.items()
        if values is not None
    }


class TestDose(KindConformance):
    kind = "RTDOSE"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("relative-32-bit-implicit", "rt/pydicom/rtdose.dcm", damages="tf", flips=40),
        Example("rle-32-bit", "rt/pydicom/rtdose_rle.dcm", damages="f", flips=15),
        Example("16-bit", "rt/topas_abdomen/rtdose.dcm", damages="tfae", flips=40),
        Example("deflated", "rt/topas_abdomen/rtdose.dcm", transfer_syntax=DeflatedExplicitVRLittleEndian,
                damages="f", flips=15),
        Example("big-endian", make=lambda folder: written(dose(), folder / "big.dcm", ExplicitVRBigEndian)),
        Example("effective-beam", "rt/raystation_proton/rtdose_beam1.dcm"),
        Example("histograms-32-bit", "rt/eclipse_breast/rtdose.dcm"),
        Example("pinnacle", "rt/pinnacle/RTDOSE.dcm"),
        Example("descending", make=lambda folder: written(
            dose(offsets=[0, -2.5, -5, -7.5, -10]), folder / "descending.dcm")),
        Example("plane-by-plane", make=write_single_planes, damages="t"),
        Example("single-frame", make=lambda folder: written(dose(numbers(1)), folder / "single.dcm")),
        Example("signed-error", make=lambda folder: written(
            dose(numbers(dtype="<i4") - 200, DoseType="ERROR"), folder / "error.dcm"), damages="a"),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        found: list[Any] = []
        for node in nodes:
            if node.IsA("vtkMRMLScalarVolumeNode"):
                said = {name: node.GetAttribute(name) for name in ATTRIBUTES}
                found.append({"doses": voxels(node), "ijk to ras": matrix_of(node), "said": said})
            elif node.IsA("vtkMRMLTableNode"):
                found.append(table_values(node))
        return found

    def write_large(self, folder: Path, size: int) -> object:
        return write_planes(folder, size)

    def test_exports_pass_dciodvfy(self, example: Example, study: Any, tmp_path: Path) -> None:
        """As everywhere, but dciodvfy ends itself at pixels of 32 bits, and would be taken for content."""
        _, paths = self.export(example, study, tmp_path / "out")
        for path in paths:
            # pydicom's own example has UIDs with an impossible root and with leading zeros.
            allowed = "UID" if "rt/pydicom" in example.files else "-"
            assert [error for error in faults(path, tmp_path) if allowed not in error] == []
