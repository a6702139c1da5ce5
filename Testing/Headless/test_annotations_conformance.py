"""What every kind must do, for annotations of slides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydicom
from conformance import Example, KindConformance
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from support import annotations as ann

from dicombridge.annotations.kept import kept_group


def every_type(coordinates: str, dtype: str = "f4", flat: bool = False) -> Callable[[Path], object]:
    return lambda folder: ann.write_every_type(folder, coordinates, dtype, flat)


class TestAnnotations(KindConformance):
    kind = "ANN"
    examples: ClassVar[tuple[Example, ...]] = (
        Example("pixels", make=every_type("2D"), damages="tfae", flips=60),
        Example("pixels-double", make=every_type("2D", "f8"), damages="tf", flips=30,
                transfer_syntax=ImplicitVRLittleEndian),
        Example("space", make=every_type("3D"), damages="tfe", flips=60),
        Example("space-flat", make=every_type("3D", "f8", True), damages="tf", flips=30,
                transfer_syntax=DeflatedExplicitVRLittleEndian),
        Example("highdicom", "ann/highdicom/sm_annotations.dcm", sources=("seg/highdicom_sm/source_sm",)),
    )  # fmt: skip

    def values(self, nodes: Sequence[Any]) -> Any:
        found = []
        for node in nodes:
            kept = kept_group(node)
            assert kept is not None
            data = node.GetPolyData()
            names = [
                data.GetCellData().GetArrayName(number) for number in range(data.GetCellData().GetNumberOfArrays())
            ]
            found.append(
                {
                    "name": node.GetName(),
                    "type": kept.graphic_type,
                    "dtype": kept.dtype,
                    "codes": {name: [list(code) for code in codes] for name, codes in kept.names.items()},
                    "terminology": kept.terminology,
                    "colour": list(kept.colour),
                    "points": ann.lps_of_model(node),
                    "cells": ann.cells_of_model(node),
                    "arrays": {name: ann.cell_values(node, name) for name in names},
                }
            )
        return found

    def places(self, nodes: Sequence[Any]) -> Any:
        """All points; an ellipse whose axes were found again begins where it did."""
        return np.concatenate([ann.lps_of_model(node) for node in ann.models_of(nodes)])

    def write_large(self, folder: Path, size: int) -> None:
        slide = ann.write_slide(folder.parent / f"{folder.name}-slide", levels=1)
        shapes = ann.shapes_of("POLYGON", 20)
        groups = [ann.group(number, "POLYGON", ann.in_space(shapes)) for number in range(1, size // 2 + 1)]
        ann.write(folder / "large.dcm", ann.annotations(slide, "3D", groups))
        assert len(pydicom.dcmread(folder / "large.dcm").AnnotationGroupSequence) == size // 2
