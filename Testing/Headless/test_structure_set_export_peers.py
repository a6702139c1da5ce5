"""What other programs read of structure sets: the masks that were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.rt_peers import contours_by_name, masks_of_plastimatch, masks_of_rt_utils, write_by_rt_utils
from support.rt_set_exports import OBLIQUE, SHAPE, loaded, masks_of_node, shapes, study
from support.rt_structures import AXIAL


@pytest.mark.parametrize("contours", ["smooth", "pixel"])
@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE], ids=["axial", "oblique"])
def test_plastimatch_reads_the_same_masks(contours: str, orientation: tuple[float, ...], tmp_path: Path) -> None:
    one = study(tmp_path, orientation=orientation)
    path = one.export(tmp_path / "out", contours=contours)
    masks = masks_of_plastimatch(path, one.images, SHAPE, tmp_path / "plastimatch")
    assert set(masks) == set(one.masks)
    for name, mask in one.masks.items():
        assert np.array_equal(masks[name], mask), name


@pytest.mark.parametrize("holes", ["keyhole", "xor"])
def test_rt_utils_reads_the_same_masks_of_outlines_of_pixels(holes: str, tmp_path: Path) -> None:
    """It rounds to whole pixels and fills these too, which is why the outlines lie a hair inside.

    It takes the two pixel spacings for each other, so these are the same here.
    """
    one = study(tmp_path, spacing=(0.9765625, 0.9765625))
    masks = masks_of_rt_utils(one.export(tmp_path / "out", contours="pixel", holes=holes), one.images.folder)
    for name, mask in one.masks.items():
        assert np.array_equal(masks[name], mask), name


def test_rt_utils_reads_smooth_contours_with_the_pixels_that_they_touch(tmp_path: Path) -> None:
    one = study(tmp_path, spacing=(0.9765625, 0.9765625))
    masks = masks_of_rt_utils(one.export(tmp_path / "out"), one.images.folder)
    for name, mask in one.masks.items():
        beside = np.zeros_like(mask)
        padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
        for row in range(3):
            for column in range(3):
                beside |= padded[:, row : row + SHAPE[1], column : column + SHAPE[2]]
        assert (masks[name] >= mask).all(), name
        assert (masks[name] <= beside).all(), name


def test_a_set_of_rt_utils_comes_back_as_it_was(tmp_path: Path) -> None:
    one = study(tmp_path, spacing=(0.9765625, 0.9765625))
    theirs = tmp_path / "theirs.dcm"
    write_by_rt_utils(theirs, one.images.folder, shapes())
    nodes = loaded(theirs, one)
    ours = one.export(tmp_path / "out", nodes)
    before, after = contours_by_name(theirs), contours_by_name(ours)
    assert list(before) == list(after)
    for name, contours in before.items():
        assert [kind for kind, _ in contours] == [kind for kind, _ in after[name]]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(contours, after[name], strict=True)), name
    again = masks_of_rt_utils(ours, one.images.folder)
    assert all(np.array_equal(again[name], mask) for name, mask in shapes().items())
    assert set(masks_of_node(nodes[0], one.images)) == set(shapes())
