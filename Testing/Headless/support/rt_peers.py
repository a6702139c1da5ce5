"""Other programs that read structure sets: plastimatch and rt-utils."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from support.nrrd import read_nrrd
from support.peers import run, tool
from support.rt_structures import Images

Masks = dict[str, NDArray[np.bool_]]


def masks_of_plastimatch(
    path: Path, images: Images, shape: tuple[int, int, int], folder: Path, xor: bool = False
) -> Masks:
    """Masks, [slice, row, column], on the grid of the images, by the names that plastimatch makes of those of ROIs."""
    folder.mkdir(parents=True, exist_ok=True)
    axes = images.affine[:3, [2, 1, 0]]
    lengths = np.linalg.norm(axes, axis=0)
    options = ["--xor-contours"] if xor else []
    run(
        tool("plastimatch"),
        "convert",
        *("--input", path),
        *("--dim", " ".join(map(str, shape[::-1]))),
        *("--origin", " ".join(map(repr, images.affine[:3, 3].tolist()))),
        *("--spacing", " ".join(map(repr, lengths.tolist()))),
        *("--direction-cosines", " ".join(map(repr, (axes / lengths).ravel().tolist()))),
        *("--output-prefix", folder),
        *("--prefix-format", "nrrd"),
        *options,
    )
    return {file.stem: read_nrrd(file)[0] != 0 for file in sorted(folder.glob("*.nrrd"))}


def masks_of_rt_utils(path: Path, images: Path) -> Masks:
    """Masks, [slice, row, column] with slices upwards, by name of the ROI."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rt_utils import RTStructBuilder

        opened = RTStructBuilder.create_from(dicom_series_path=str(images), rt_struct_path=str(path))
        return {name: opened.get_roi_mask_by_name(name).transpose(2, 0, 1) for name in opened.get_roi_names()}


def write_by_rt_utils(path: Path, images: Path, masks: Masks) -> None:
    """Write masks, [slice, row, column], as rt-utils does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rt_utils import RTStructBuilder

        new = RTStructBuilder.create_new(dicom_series_path=str(images))
        for name, mask in masks.items():
            new.add_roi(mask=mask.transpose(1, 2, 0), name=name)
        new.save(str(path))


def contours_by_name(path: Path) -> dict[str, list[tuple[str, NDArray[np.float64]]]]:
    """Type and (n, 3) LPS points of the contours of each ROI, by pydicom."""
    dataset: Any = pydicom.dcmread(path)
    names = {int(item.ROINumber): str(item.ROIName) for item in dataset.StructureSetROISequence}
    found: dict[str, list[tuple[str, NDArray[np.float64]]]] = {name: [] for name in names.values()}
    for item in dataset.ROIContourSequence:
        for contour in item.get("ContourSequence") or ():
            points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
            found[names[int(item.ReferencedROINumber)]].append((str(contour.ContourGeometricType), points))
    return found


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Twice the common part over the sum of both; 1 for two empty masks."""
    both = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / both if both else 1.0
