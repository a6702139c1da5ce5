"""Faults of others that are not repeated here, and damaged doses: each a clear error or a warning, nothing lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance import outcomes_of
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless
from support.damage import Case
from support.items import read
from support.peers import tool
from support.rt_doses import (
    PLAN,
    dose,
    examined,
    export,
    loaded,
    numbers,
    rle_frame,
    some_doses,
    volume,
    voxels,
    written,
)

import dicombridge
from dicombridge.errors import DicomBridgeError, UnreadableError
from dicombridge.tolerance import quiet

# --- SlicerRT, import ------------------------------------------------------------------------------------------------


def test_missing_scaling_is_not_taken_for_0_0001(tmp_path: Path) -> None:
    path = written(dose(DoseGridScaling=None), tmp_path / "dose.dcm")
    (loadable,) = examined(path, tmp_path)
    assert "DoseGridScaling is missing" in loadable.warning
    with pytest.raises(UnreadableError, match="what its stored numbers mean is unknown"):
        loaded(path)


def test_second_dose_of_a_study_keeps_its_scaling(tmp_path: Path) -> None:
    """Units and scaling that are the study's alone make the second dose wrong, in tables and on export."""
    scene = dicombridge.new_scene()
    loaded(written(dose(), tmp_path / "one.dcm"), scene)
    (second,) = loaded(written(dose(DoseGridScaling="0.25", DoseUnits="RELATIVE"), tmp_path / "two.dcm"), scene)
    (path,) = export([second], tmp_path / "out")
    ds = read(path)
    assert (ds.DoseUnits, float(ds.DoseGridScaling)) == ("RELATIVE", 0.25)
    np.testing.assert_array_equal(ds.pixel_array, numbers())


def test_voxels_have_units(tmp_path: Path) -> None:
    (node,) = loaded(written(dose(), tmp_path / "dose.dcm"))
    assert node.GetVoxelValueUnits().GetCodeValue() == "Gy"


def test_offsets_are_read(tmp_path: Path) -> None:
    """Not the thickness of a slice, and not the number of a frame."""
    offsets = (0, -4, -8, -12, -16)
    (node,) = loaded(written(dose(offsets=offsets, SliceThickness=1), tmp_path / "dose.dcm"))
    assert node.GetSpacing()[2] == pytest.approx(4)
    assert node.GetOrigin()[2] == pytest.approx(40 - 16)
    np.testing.assert_allclose(voxels(node)[::-1], numbers() * 0.001, rtol=1e-6)


def test_type_summation_and_histograms_are_kept(data: Path) -> None:
    nodes = loaded(data / "rt/eclipse_breast/rtdose.dcm")
    assert nodes[0].GetAttribute("DICOMBridge.DoseSummationType") == "PLAN"
    assert nodes[0].GetAttribute("DICOMBridge.DoseType") == "PHYSICAL"
    assert [node.GetClassName() for node in nodes].count("vtkMRMLPlotSeriesNode") == 9


# --- SlicerRT, export ------------------------------------------------------------------------------------------------


def test_dose_alone_is_exported(tmp_path: Path, scene: Any) -> None:
    """No image has to be among the nodes, and none is written anew."""
    paths = export([volume(scene, some_doses())], tmp_path, **PLAN)
    assert [path.name.partition("_")[0] for path in sorted(tmp_path.iterdir())] == ["RTDOSE"]
    assert len(paths) == 1


def test_several_doses_are_exported(tmp_path: Path, scene: Any) -> None:
    nodes = [volume(scene, some_doses() + number, name=f"{number}") for number in range(3)]
    assert len({read(path).SOPInstanceUID for path in export(nodes, tmp_path, **PLAN)}) == 3


def test_plan_images_and_their_uids_are_named(data: Path, tmp_path: Path, scene: Any) -> None:
    """Planning systems refuse a dose without its plan; the images are the original ones."""
    folder = data / "rt/topas_abdomen/ct"
    with dicombridge.open_folder(folder) as database:
        (path,) = export([volume(scene, some_doses())], tmp_path, database, source=folder, **PLAN)
    ds = read(path)
    assert ds.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID == PLAN["plan"]
    originals = {str(read(image).SOPInstanceUID) for image in folder.iterdir()}
    assert {str(one.ReferencedSOPInstanceUID) for one in ds.ReferencedImageSequence} == originals


def test_last_slice_is_written(tmp_path: Path, scene: Any) -> None:
    given = some_doses()
    (path,) = export([volume(scene, given)], tmp_path, **PLAN)
    assert read(path).NumberOfFrames == len(given)
    np.testing.assert_allclose(voxels(loaded(path)[0])[-1], given[-1], rtol=1e-6)


def test_consistent_with_its_sources(data: Path, tmp_path: Path) -> None:
    """dcentvfy finds patient, study and frame of reference of an export as in its images, plan and structure set."""
    folder = data / "rt/eclipse_breast"
    with dicombridge.open_folder(folder) as database:
        node = loaded(folder / "rtdose.dcm", database=database)[0]
        (path,) = export([node], tmp_path, database)
    others = [folder / name for name in ("ct.0.dcm", "rtss.dcm", "rtplan.dcm")]
    done = subprocess.run([tool("dcentvfy"), path, *others], capture_output=True, text=True, check=False)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    assert [line for line in errors if "for file" not in line or str(path) in line] == []


# --- Damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"DoseGridScaling": "0"}, "DoseGridScaling is 0"),
        ({"DoseGridScaling": "1e300"}, "DoseGridScaling is 1e\\+300"),
        ({"DoseGridScaling": "1e-300"}, "DoseGridScaling is 1e-300"),
        ({"DoseGridScaling": ["1", "2"]}, "DoseGridScaling is missing or no number"),
        ({"Rows": 0}, "Rows is 0"),
        ({"Rows": 3000}, "frames need"),
        ({"NumberOfFrames": 6}, "frames need"),
        ({"NumberOfFrames": 2**31 - 1}, "frames need"),
        ({"NumberOfFrames": -3}, "NumberOfFrames is -3"),
        ({"BitsAllocated": 64}, "64 bits allocated"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "1 bit"),
        ({"BitsStored": 20}, "20 bits"),
        ({"HighBit": 3}, "bit 3"),
        ({"SamplesPerPixel": 3}, "several samples"),
    ],
)
def test_errors_say_what_is_wrong(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    """And examination says nothing worse than a warning."""
    path = written(dose(**values), tmp_path / "dose.dcm")
    with quiet(), pytest.raises(DicomBridgeError, match=rf"(?s)dose\.dcm.*{words}"):
        loaded(path)
    assert len(examined(path, tmp_path)) == 1


@pytest.mark.parametrize("text", [b"nan   ", b"inf   ", b"1,5e-3", b"      "])
def test_scaling_that_is_no_number(text: bytes, tmp_path: Path) -> None:
    path = written(dose(DoseGridScaling="0.0015"), tmp_path / "dose.dcm")
    path.write_bytes(path.read_bytes().replace(b"0.0015", text))
    with pytest.raises(UnreadableError, match="DoseGridScaling is"):
        loaded(path)
    (loadable,) = examined(path, tmp_path)
    assert "DoseGridScaling is missing, 0 or no number" in loadable.warning


def test_negative_scaling_is_loaded_as_it_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (node,) = loaded(written(dose(DoseGridScaling="-0.5"), tmp_path / "dose.dcm"))
    np.testing.assert_array_equal(voxels(node), numbers() * -0.5)
    assert "DoseGridScaling is negative, and so are its doses" in caplog.text


def test_given_scaling_stands_for_a_damaged_one(tmp_path: Path) -> None:
    path = written(dose(DoseGridScaling="0"), tmp_path / "dose.dcm")
    (node,) = loaded(path, dose_grid_scaling=0.5)
    np.testing.assert_array_equal(voxels(node), numbers() * 0.5)
    for bad in (0.0, float("nan"), float("inf")):
        with pytest.raises(UnreadableError, match="given scaling"):
            loaded(path, dose_grid_scaling=bad)


def test_fewer_compressed_frames_than_announced(tmp_path: Path) -> None:
    ds = dose()
    ds.PixelData = encapsulate([rle_frame(frame) for frame in numbers()[:3]])
    with pytest.raises(UnreadableError, match="3 compressed frames instead of 5"):
        loaded(written(ds, tmp_path / "dose.dcm", RLELossless))


def test_announced_sizes_take_no_memory(data: Path, tmp_path: Path) -> None:
    """A small compressed file that announces terabytes is an error, soon and in little memory."""
    ds = dose(Rows=65535, Columns=65535)
    ds.PixelData = encapsulate([rle_frame(frame) for frame in numbers()])
    large = written(ds, tmp_path / "in" / "large.dcm", RLELossless).read_bytes()
    many = dose(numbers(3000, 1, 1), offsets=list(range(3000)), NumberOfFrames=3000, Rows=3000, Columns=3000)
    many.PixelData = encapsulate([rle_frame(np.zeros((3000, 3000), "<u2"))])
    (tmp_path / "sources").mkdir()
    shutil.copyfile(data / "rt/topas_abdomen/ct" / next(iter((data / "rt/topas_abdomen/ct").iterdir())).name,
                    tmp_path / "sources" / "ct.dcm")  # fmt: skip
    cases = [Case("16 GB a frame", large)]
    cases.append(Case("54 GB of frames", written(many, tmp_path / "in" / "many.dcm", RLELossless).read_bytes()))
    for outcome in outcomes_of("RTDOSE", cases, tmp_path / "sources", tmp_path):
        assert outcome.loaded == "UnreadableError", outcome
        assert outcome.ours
        assert outcome.memory < 1 << 30
        assert outcome.seconds < 30


def test_values_that_break_their_rules_do_not_stop_a_dose(tmp_path: Path) -> None:
    """Comments of several lines, as RayStation writes, an empty type, a name with control characters."""
    ds = dose(DoseComment="/DPBNUM=X1\r\n/MCOPT=F1", DoseType="", SeriesDescription="a\x1bb & c")
    (node,) = loaded(written(ds, tmp_path / "dose.dcm"))
    np.testing.assert_allclose(voxels(node), numbers() * 0.001, rtol=1e-6)
    assert node.GetAttribute("DICOMBridge.DoseType") is None
    (path,) = export([node], tmp_path / "out")
    assert read(path).DoseType == "PHYSICAL"
