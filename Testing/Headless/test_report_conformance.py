"""What every kind must do, for structured reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from support.sr_nodes import column_names, column_of, lps_points, markups_of
from support.sr_objects import CASES
from support.sr_odd import ODD
from support.sr_templates import write_large

from dicombridge.report.kept import group_values, kept_groups


def written(name: str) -> Any:
    """Return what writes a case into a folder: the report alone, its images beside that folder."""

    def write(folder: Path) -> None:
        path, _ = (CASES.get(name) or ODD[name])(folder.parent)
        path.rename(folder / path.name)

    return write


class TestReport(KindConformance):
    kind = "SR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("planar-oblique", make=written("planar oblique"), damages="tfae", flips=60),
        Example("planar-multi-frame", make=written("planar multi-frame")),
        Example("in-space", make=written("planar in space"), damages="tf", flips=30,
                transfer_syntax=ImplicitVRLittleEndian),
        Example("volumetric", make=written("volumetric")),
        Example("everything", make=written("everything"), damages="tf", flips=30,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("segments", make=written("segments"), faults="ReferencedSegmentNumber"),  # beside frames, of highdicom
        Example("bidirectional", make=written("bidirectional")),
        Example("dcmqi", "sr/dcmqi_liver/tid1500_dcmqi.dcm",
                sources=("seg/dcmqi_liver/ct",), faults="ContentTemplate"),
        Example("qiicr", "sr/qiicr_headneck_0003/sr.dcm"),
        Example("highdicom", "sr/highdicom/sr_document_with_multiple_groups.dcm", sources=("sr/highdicom/source_ct",)),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        found: dict[str, Any] = {}
        for node in nodes:
            if node.IsA("vtkMRMLTableNode"):
                names = column_names(node)
                found["groups" if "Group" in names else "content"] = {
                    name: column_of(node, name) for name in names if name != "Reference"
                }
        found["markups"] = [
            {"class": node.GetClassName(), "points": lps_points(node), "kept": _kept(node)}
            for node in markups_of(nodes)
            if node.IsA("vtkMRMLMarkupsNode")
        ]
        for table in ("groups", "content"):
            for name, values in found.get(table, {}).items():
                found[table][name] = [str(value) for value in values]  # NaN is not equal to itself
        return found

    def write_large(self, folder: Path, size: int) -> None:
        write_large(folder, size)


class TestReportUnderTransforms(KindConformance):
    """Places of what lies below a transform: shapes in images leave them for space."""

    kind = "SR"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("planar-oblique", make=written("planar oblique"), damages=""),
        Example("in-space", make=written("planar in space"), damages=""),
        Example("volumetric", make=written("volumetric"), damages=""),
    )
    test_damage = None  # type: ignore[assignment]  # the same files are damaged above

    def values(self, nodes: Sequence[Any]) -> Any:
        return [node.GetClassName() for node in nodes]

    def places(self, nodes: Sequence[Any]) -> Any:
        """Points of lists, and centres of shapes, because the points of a circle begin elsewhere once it was turned."""
        return np.concatenate(
            [
                lps_points(node) if node.IsA("vtkMRMLMarkupsFiducialNode") else lps_points(node).mean(axis=0)[None]
                for node in markups_of(nodes)
            ]
        )

    def write_large(self, folder: Path, size: int) -> None:
        write_large(folder, size)


def _kept(node: Any) -> Any:
    kept = kept_groups(node)
    assert kept is not None
    return {key or "whole": group_values(group) for key, group in kept.groups.items()}
