"""The same contours filled by others: plastimatch (ITK, C++) and rt-utils (OpenCV).

Rules differ at the rim. plastimatch fills pixels whose centre is inside, as we do, but decides ties by rounding; with
``--xor-contours`` it combines contours of a slice as we do. rt-utils rounds every vertex to a whole pixel and fills the
polygon with all pixels that its rim touches, so that a region grows by half a pixel all around: compared with it,
regions must lie within each other, up to that rim.
"""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.nrrd import read_nrrd
from support.rt_structures import Drawing, Drawn, Images, box, circle, write_images, write_structure_set
from support.seg_nodes import mask_of, segment_named

import dicombridge

REAL = (
    ("sts_002_mim/ct", "rtstruct.dcm", "image"),
    ("sts_002_mim/mr_t1", "rtstruct.dcm", "image"),
    ("innereye", "rtstruct_mod.dcm", "ct"),
    ("rt_utils", "invalid_reference_rt.dcm", "ct"),
)


def ours(path: Path, folder: Path, scene: Any) -> dict[str, np.ndarray]:
    database = dicombridge.open_folder(folder)
    series = database.seriesForFile(str(path))
    (loadable,) = [one for one in dicombridge.examine(database, [series]) if one.files == [str(path)]]
    node = dicombridge.load(loadable, scene=scene, database=database)[0]
    database.close()
    segmentation = node.GetSegmentation()
    found = [segmentation.GetNthSegment(number).GetName() for number in range(segmentation.GetNumberOfSegments())]
    return {name: mask_of(segment_named(node, name)) for name in found}


def of_plastimatch(path: Path, images: Path, folder: Path) -> dict[str, np.ndarray]:
    import plastimatch

    program = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
    command = [program, "convert", "--input", path, "--referenced-ct", images, "--xor-contours"]
    command += ["--output-prefix", folder / "masks", "--prefix-format", "nrrd"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file.stem: read_nrrd(file)[0] != 0 for file in (folder / "masks").iterdir()}


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(one & other) / max(np.count_nonzero(one) + np.count_nonzero(other), 1)


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """Return a mask with all pixels up to ``by`` away in its slices."""
    result = mask.copy()
    for rows in range(-by, by + 1):
        for columns in range(-by, by + 1):
            result |= np.roll(mask, (rows, columns), (1, 2))
    return result


def shapes(images: Images) -> list[Drawing]:
    """Regions of every kind that masks can show, in general position: no vertex on a pixel centre."""

    def drawn(polygons: list[np.ndarray], kind: str = "CLOSED_PLANAR") -> list[Drawn]:
        return [Drawn(np.round(images.lps(one), 3), kind, images.uids[round(one[0, 0])]) for one in polygons]

    places = range(1, 7)
    return [
        Drawing("disc", drawn([circle(place, 60.3, 60.2, 40.1, 200) for place in places])),
        Drawing("small", drawn([circle(place, 30.37, 90.21, 9.3, 50) for place in places])),
        Drawing("ring", drawn([circle(place, 60.3, 60.2, radius, 200) for place in places for radius in (40.1, 20.3)])),
        Drawing("two", drawn([circle(place, 60.3, column, 20.2, 90) for place in places for column in (30.3, 90.4)])),
        Drawing("box", drawn([box(place, 20.3, 20.4, 90.7, 70.6) for place in places])),
        Drawing(
            "xor",
            drawn([circle(place, 60.3, 60.2, r, 200) for place in places for r in (40.1, 20.3)], "CLOSEDPLANAR_XOR"),
        ),
    ]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    images = write_images(tmp_path / "ct", (8, 128, 128), spacing=(0.9, 0.9), step=2.5)
    write_structure_set(tmp_path / "rs.dcm", shapes(images), images)
    return tmp_path


def test_plastimatch(study: Path, scene: Any, tmp_path: Path) -> None:
    masks, theirs = ours(study / "rs.dcm", study, scene), of_plastimatch(study / "rs.dcm", study / "ct", tmp_path)
    assert set(masks) - set(theirs) == {"xor"}  # it passes over contours of that type
    assert {name: dice(masks[name], theirs[name]) >= 0.995 for name in theirs} == dict.fromkeys(theirs, True)
    np.testing.assert_array_equal(masks["xor"], masks["ring"])
    assert masks["ring"].any()


@pytest.mark.parametrize(("folder", "name", "images"), REAL, ids=[one[0] for one in REAL])
def test_plastimatch_on_real_files(data: Path, scene: Any, tmp_path: Path, folder: str, name: str, images: str) -> None:
    place = data / "rt" / folder
    masks = ours(place / name, place, scene)
    theirs = of_plastimatch(place / name, place / images, tmp_path)
    compared = 0
    for region, mask in masks.items():
        other = theirs[region]
        if mask.shape == other.shape:
            assert dice(mask, other) >= 0.995, region
            compared += 1
    assert compared or folder == "rt_utils"  # our grid is grown there, by the slices that are absent


def test_rt_utils(study: Path, scene: Any) -> None:
    """Its region has all our pixels, and at most a rim of one more."""
    masks = ours(study / "rs.dcm", study, scene)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rt_utils import RTStructBuilder

        structures = RTStructBuilder.create_from(
            dicom_series_path=str(study / "ct"), rt_struct_path=str(study / "rs.dcm")
        )
        for name in ("disc", "small", "two", "box"):
            theirs = np.moveaxis(structures.get_roi_mask_by_name(name), 2, 0)
            assert not (masks[name] & ~grown(theirs, 1)).any(), name
            assert not (theirs & ~grown(masks[name], 1)).any(), name
            assert dice(masks[name], theirs) >= 0.93, name
        assert dice(masks["disc"], np.moveaxis(structures.get_roi_mask_by_name("disc"), 2, 0)) >= 0.98
