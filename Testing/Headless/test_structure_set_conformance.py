"""Structure sets do what every kind must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from support.rt_structures import Drawing, Drawn, box, circle, write_images, write_structure_set
from support.seg_nodes import segment_ids, segment_values

from dicombridge.structure_set.nodes import TEXT_TAGS

CT_PHANTOM = ("rt/rt_utils/ct",)
TAGS = ("TerminologyEntry", "DicomRtImport.RoiNumber", "DICOMBridge.ROIPhysicalProperties", *TEXT_TAGS.values())


def points_of_markups(node: Any) -> np.ndarray:
    return np.array([node.GetNthControlPointPosition(number) for number in range(node.GetNumberOfControlPoints())])


def write_all_types(folder: Path) -> None:
    """Write every geometric type, on images that lie beside it."""
    images = write_images(folder.parent / "ct", (5, 20, 24))

    def drawn(points: np.ndarray, kind: str) -> Drawn:
        return Drawn(images.lps(points), kind, images.uids[int(points[0, 0])])

    ring = [drawn(circle(1, 10, 11, 6), "CLOSED_PLANAR"), drawn(circle(1, 10, 11, 3), "CLOSED_PLANAR")]
    xor = [drawn(box(2, 3, 3, 12, 12), "CLOSEDPLANAR_XOR"), drawn(box(2, 6, 6, 9, 9), "CLOSEDPLANAR_XOR")]
    path = np.array([[1, 3, 3], [2, 5, 9], [3, 8, 12]], float)
    write_structure_set(
        folder / "rs.dcm",
        [
            Drawing("ring", ring, colour=(10, 20, 30), observation={"RTROIInterpretedType": "ORGAN"}),
            Drawing("xor", xor, colour=(200, 20, 30), observation={}),
            Drawing("empty", [], colour=(1, 2, 3), observation={}),
            Drawing("line", [drawn(path * (0, 1, 1) + (1, 0, 0), "OPEN_PLANAR")], observation={}),
            Drawing("path", [drawn(path, "OPEN_NONPLANAR")], observation={}),
            Drawing("point", [drawn(path[:1], "POINT")], observation={"RTROIInterpretedType": "ISOCENTER"}),
        ],
        images,
    )


def write_big_endian(folder: Path) -> None:
    write_all_types(folder)
    dataset = pydicom.dcmread(folder / "rs.dcm")
    for _ in dataset.iterall():
        pass  # decoded while its own encoding is known
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(folder / "rs.dcm", dataset, implicit_vr=False, little_endian=False, force_encoding=True)


class TestStructureSet(KindConformance):
    kind = "RTSTRUCT"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("mim", "rt/rt_utils/invalid_reference_rt.dcm", CT_PHANTOM, damages="tfa", flips=40),
        Example("frame-of-reference-made-up", "rt/rt_utils/rt.dcm", CT_PHANTOM),
        Example("implicit", make=write_all_types, damages="tf", flips=30, transfer_syntax=ImplicitVRLittleEndian),
        Example("deflated", make=write_all_types, damages="tf", flips=15,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("big-endian", make=write_big_endian, damages="tf", flips=15),
        Example("raystation", "rt/raystation_proton/rtstruct.dcm", damages="f", flips=20),
        Example("innereye", "rt/innereye/rtstruct_mod.dcm", ("rt/innereye/ct",), faults="Illegal root for UID"),
        Example("pinnacle", "rt/pinnacle/RTSTRUCT.dcm"),
        Example("all-types", make=write_all_types, damages="tfae", flips=50),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        segments: dict[str, Any] = {}
        markups: dict[str, Any] = {}
        for node in nodes:
            if node.IsA("vtkMRMLSegmentationNode"):
                found = [node.GetSegmentation().GetSegment(name) for name in segment_ids(node)]
                segments.update({segment.GetName(): segment_values(segment, TAGS) for segment in found})
            elif node.IsA("vtkMRMLMarkupsNode"):
                markups[node.GetName().removesuffix("_1")] = points_of_markups(node)
        return {"order": list(segments), "segments": segments, "markups": markups}

    def write_large(self, folder: Path, size: int) -> None:
        """Write so many regions, side by side, of ten contours each."""
        regions = [
            Drawing(
                f"Region {number}",
                [Drawn(circle(0, 0, 0, 2, 30)[:, ::-1] + (7 * number, 0, place)) for place in range(10)],
            )
            for number in range(size)
        ]
        write_structure_set(folder / "large.dcm", regions)
