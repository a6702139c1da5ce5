"""Profiles: what planning systems are known to insist on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from support.rt_set_exports import SHAPE, disc, study

from dicombridge.errors import ExportError
from dicombridge.structure_set.profiles import PROFILES, RULES, profile_named

LONG = "A name of far more than sixteen characters"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.what)
def test_every_rule_says_where_it_is_known_from(rule: object) -> None:
    assert rule.evidence in ("standard", "guideline", "reported")  # type: ignore[attr-defined]
    assert any(text in rule.source for text in ("PS3.", "AAPM", "github.com/", "groups.google.com/"))  # type: ignore[attr-defined]
    assert set(rule.systems) <= {*PROFILES, "all", "always"}  # type: ignore[attr-defined]


def test_profiles_are_the_four_systems() -> None:
    assert set(PROFILES) == {"eclipse", "mim", "monaco", "raystation"}
    assert profile_named(None).name_length == 64
    assert profile_named(" Eclipse ").name_length == 16
    with pytest.raises(ExportError, match="eclipse"):
        profile_named("pinnacle")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_followed(profile: str, tmp_path: Path) -> None:
    masks = {LONG: np.zeros(SHAPE, bool), f"{LONG} too": np.zeros(SHAPE, bool), "Empty": np.zeros(SHAPE, bool)}
    masks[LONG][2:4] = disc(9) & ~disc(3)
    masks[f"{LONG} too"][2] = disc(4, (5, 5))
    one = study(tmp_path, masks)
    dataset = pydicom.dcmread(one.export(tmp_path / "out", profile=profile))
    names = [str(item.ROIName) for item in dataset.StructureSetROISequence]
    assert names == ["A name of far mo", "A name of far_2"]
    assert len(dataset.StructureSetLabel) <= 16
    numbers = [int(item.ROINumber) for item in dataset.StructureSetROISequence]
    assert [int(item.ReferencedROINumber) for item in dataset.ROIContourSequence] == numbers
    assert [int(item.ReferencedROINumber) for item in dataset.RTROIObservationsSequence] == numbers
    contours = [contour for item in dataset.ROIContourSequence for contour in item.ContourSequence]
    assert {contour.ContourGeometricType for contour in contours} == {"CLOSED_PLANAR"}
    assert len(contours) == 3  # the hole is part of its contour
    assert all(len(contour.ContourImageSequence) == 1 for contour in contours)


def test_a_profile_refuses_what_it_excludes(tmp_path: Path) -> None:
    one = study(tmp_path)
    with pytest.raises(ExportError, match="Monaco"):
        one.export(tmp_path / "out", profile="monaco", holes="xor")
    assert not (tmp_path / "out").exists()


def test_a_profile_asks_for_images(tmp_path: Path) -> None:
    one = study(tmp_path, load_volume=False)
    with pytest.raises(ExportError, match="source"):
        one.export(tmp_path / "out", profile="eclipse")
    assert list((tmp_path / "out").iterdir()) == []
    assert one.export(tmp_path / "out", profile="eclipse", source=one.images.folder).exists()
