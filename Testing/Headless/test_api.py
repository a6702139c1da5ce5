"""The public functions where several kinds meet: options, what a node was loaded as, alternative readings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dicombridge
from dicombridge.demo import comparison, phantom
from dicombridge.errors import UnsupportedError
from dicombridge.suv.values import MissingInput
from dicombridge.tolerance import naming


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.PhantomStudy:
    return phantom.write_study(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def database(study: phantom.PhantomStudy) -> Iterator[Any]:
    with dicombridge.open_folder(study.directory, index=":memory:") as opened:
        yield opened


def test_images_come_first_then_what_refers_to_them(database: Any) -> None:
    kinds = [loadable.kind for loadable in dicombridge.examine(database) if loadable.selected]
    others = ["SLIDE", "ANN", "RTSTRUCT", "RTPLAN", "RTDOSE", "PM"]
    assert kinds == ["IMAGE"] * 5 + others + ["SEG"] * 5 + ["SR", "REG", "DEFORM"]


def test_references_of_a_treatment(study: phantom.PhantomStudy, database: Any) -> None:
    """A plan needs its structures, and those the images that they were drawn on; a dose needs its plan."""
    by_kind = {loadable.kind: loadable for loadable in dicombridge.examine(database)}
    images = set(database.instancesForSeries(study.ct.uid))
    structures, plan = (phantom.phantom_uid(f"instance/{modality}") for modality in ("RTSTRUCT", "RTPLAN"))
    assert set(by_kind["RTSTRUCT"].referencedInstanceUIDs) == images
    assert structures in by_kind["RTPLAN"].referencedInstanceUIDs
    assert plan in by_kind["RTDOSE"].referencedInstanceUIDs


def test_an_option_of_one_kind_does_not_disturb_the_others(study: phantom.PhantomStudy) -> None:
    """A folder may hold several kinds; each takes what it knows."""
    nodes = dicombridge.load(study.directory, mapping="SUVbw", threshold=0.3, beam_models=False)
    (uptake,) = [node for node in nodes if node.GetName() == "4: PET FDG as SUVbw"]
    values, _ = comparison.node_grid(uptake)
    np.testing.assert_allclose(values, study.uptake, rtol=1e-6, atol=1e-9)
    (fractional,) = [node for node in nodes if node.GetName() == "13: CT liver probability"]
    assert fractional.GetAttribute("DICOMBridge.FractionThreshold") == "0.3"
    assert not [node for node in nodes if node.GetName() == "21: Plan - Gantry 200"]


def test_options_that_no_kind_has_are_refused(study: phantom.PhantomStudy, scene: Any) -> None:
    before = scene.GetNumberOfNodes()
    with pytest.raises(UnsupportedError, match=r"Unknown option maping of load; there are: .*mapping"):
        dicombridge.load(study.ct.directory, scene=scene, maping="SUVbw")
    assert scene.GetNumberOfNodes() == before


def test_nodes_go_out_as_what_they_came_in_as(study: phantom.PhantomStudy, database: Any, tmp_path: Path) -> None:
    """Three kinds are made of scalar volumes, two of segmentations."""
    files = {
        "PM": study.diffusion.file,
        "RTDOSE": study.treatment.dose,
        "RTPLAN": study.treatment.plan,
        "RTSTRUCT": study.treatment.structure_set,
        "SEG": study.segmentations[0].file,
    }
    for kind, file in files.items():
        nodes = dicombridge.load(file, scene=dicombridge.new_scene(), database=database)
        (path,) = dicombridge.export(nodes, tmp_path / kind, database=database)
        assert path.name.startswith(f"{kind}_")


def test_a_mapped_image_goes_out_as_a_mapping(study: phantom.PhantomStudy, database: Any, tmp_path: Path) -> None:
    nodes = dicombridge.load(study.pet.uid, scene=dicombridge.new_scene(), database=database, mapping="SUVbw")
    (path,) = dicombridge.export(nodes, tmp_path, database=database)
    assert path.name.startswith("RWVM_")


def test_errors_keep_what_they_know() -> None:
    """A file's name is put before the text of any error of ours, whatever it is made from."""
    with pytest.raises(MissingInput, match=r"^pet\.dcm: The weight is missing\.$") as caught, naming(["pet.dcm"]):
        raise MissingInput(("The weight is missing.",), ("weight_kg",))
    assert caught.value.options == ("weight_kg",)
