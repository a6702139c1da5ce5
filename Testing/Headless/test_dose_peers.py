"""Doses compared with other software, and with arithmetic of their own: dicompyler-core, plastimatch, pydicom."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.dicomio
import pytest
from pydicom.dataset import Dataset
from support.items import read
from support.nrrd import read_nrrd
from support.peers import tool
from support.rt_doses import dose, dose_at, export, loaded, numbers, voxels, written

import dicombridge
from dicombridge.tables import column_values

REAL = (
    "rt/pydicom/rtdose.dcm",
    "rt/topas_abdomen/rtdose.dcm",
    "rt/raystation_proton/rtdose_plan.dcm",
    "rt/raystation_proton/rtdose_beam1.dcm",
    "rt/eclipse_breast/rtdose.dcm",
    "rt/pinnacle/RTDOSE.dcm",
)


def sampled_points(ds: Dataset, count: int = 200) -> list[tuple[Any, float]]:
    """Points (LPS mm) and doses of a file, from its elements by the formulas of the standard alone."""
    stored = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    origin = np.array([float(value) for value in ds.ImagePositionPatient])
    cosines = np.array([float(value) for value in ds.ImageOrientationPatient])
    normal = np.cross(cosines[:3], cosines[3:])
    between_rows, between_columns = (float(value) for value in ds.PixelSpacing)
    generator = np.random.default_rng(3)
    points = []
    for _ in range(count):
        frame, row, column = (int(generator.integers(size)) for size in stored.shape)
        offset = float(ds.GridFrameOffsetVector[frame])
        point = origin + cosines[:3] * column * between_columns + cosines[3:] * row * between_rows + normal * offset
        points.append((point, int(stored[frame, row, column]) * float(ds.DoseGridScaling)))
    return points


@pytest.mark.parametrize("path", REAL)
def test_sampled_points_by_arithmetic(path: str, data: Path) -> None:
    node = loaded(data / path)[0]
    for point, expected in sampled_points(read(data / path)):
        assert dose_at(node, point) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("path", REAL)
def test_sampled_points_of_an_export(path: str, data: Path, tmp_path: Path) -> None:
    """What is written says the same doses at the same points, to those that never saw the library."""
    original = loaded(data / path)[0]
    (written_path,) = export([original], tmp_path)
    for point, expected in sampled_points(read(written_path)):
        assert dose_at(original, point) == pytest.approx(expected, rel=1e-6, abs=1e-12)


# --- dicompyler-core -------------------------------------------------------------------------------------------------


def by_dicompyler(path: Path) -> Any:
    # Its last release asks for a name that pydicom 3 no longer has; what it means is still there.
    if not hasattr(pydicom.dicomio, "read_file"):
        pydicom.dicomio.read_file = pydicom.dcmread
    from dicompylercore import dicomparser

    logging.getLogger("dicompylercore").setLevel(logging.ERROR)
    return dicomparser.DicomParser(str(path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", REAL)
def test_planes_as_dicompyler_finds_them(path: str, data: Path) -> None:
    """Plane by plane, found by z in millimetres; its grid counts in stored numbers and gives the scaling beside."""
    parser = by_dicompyler(data / path)
    node = loaded(data / path)[0]
    said = parser.GetDoseData()
    scaling = float(said["dosegridscaling"])
    array = voxels(node)
    across, down = parser.GetPatientToPixelLUT()
    for place, z in enumerate(sorted(float(z) for z in parser.ds.GridFrameOffsetVector)):
        z += float(parser.ds.ImagePositionPatient[2])
        plane = np.asarray(parser.GetDoseGrid(z)) * scaling
        np.testing.assert_allclose(array[place], plane, rtol=1e-6)
        assert dose_at(node, (across[3], down[2], z)) == pytest.approx(plane[2, 3], rel=1e-6)
    assert float(array.max()) == pytest.approx(float(said["dosemax"]) * scaling, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_offsets_as_dicompyler_understands_them(tmp_path: Path) -> None:
    """Relative ones; it takes absolute ones for relative ones."""
    path = written(dose(offsets=(0, 2.5, 5, 7.5, 10)), tmp_path / "dose.dcm")
    (node,) = loaded(path)
    parser = by_dicompyler(path)
    for place in range(5):
        plane = np.asarray(parser.GetDoseGrid(40 + 2.5 * place)) * 0.001
        np.testing.assert_allclose(voxels(node)[place], plane, rtol=1e-6)
        assert dose_at(node, (-20, -30, 40 + 2.5 * place)) == pytest.approx(plane[0, 0], rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_histograms_as_dicompyler_reads_them(data: Path) -> None:
    from dicompylercore import dvh

    folder = data / "rt/eclipse_breast"
    database = dicombridge.open_folder(folder)
    nodes = loaded(folder / "rtdose.dcm", database=database)
    database.close()
    curves, figures = (node for node in nodes if node.IsA("vtkMRMLTableNode"))
    ds = read(folder / "rtdose.dcm")
    for place, item in enumerate(ds.DVHSequence):
        theirs = dvh.DVH.from_dicom_dvh(ds, int(item.DVHReferencedROISequence[0].ReferencedROINumber))
        bins = len(theirs.counts)
        ours = np.array(column_values(curves, (column_values(figures, "Structure") or [])[place]))[:bins]
        np.testing.assert_allclose(ours, theirs.counts, rtol=1e-9)
        np.testing.assert_allclose(np.array(column_values(curves, "Dose"))[:bins], theirs.bins[:-1], atol=1e-9)
        assert (column_values(figures, "Mean of the curve") or [])[place] == pytest.approx(theirs.mean, rel=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_dicompyler_reads_what_is_written(tmp_path: Path, scene: Any) -> None:
    from support.rt_doses import volume

    given = np.random.default_rng(5).random((4, 5, 6)).astype(np.float32) * 60
    (path,) = export([volume(scene, given)], tmp_path, plan="1.2.3.4")
    parser = by_dicompyler(path)
    said = parser.GetDoseData()
    assert (said["doseunits"], said["dosesummationtype"]) == ("GY", "PLAN")
    assert str(parser.GetReferencedRTPlan()) == "1.2.3.4"
    for place in range(4):
        plane = np.asarray(parser.GetDoseGrid(30 + 2 * place)) * float(said["dosegridscaling"])
        np.testing.assert_allclose(plane, given[place], rtol=1e-6)


# --- plastimatch -----------------------------------------------------------------------------------------------------


def by_plastimatch(path: Path, folder: Path) -> tuple[Any, Any]:
    """Voxels [slice, row, column] and matrix (column, row, slice) to LPS, as plastimatch converts them."""
    folder.mkdir(parents=True, exist_ok=True)
    program = shutil.which("plastimatch") or tool("plastimatch")
    target = folder / "dose.nrrd"
    done = subprocess.run(
        [program, "convert", "--input-dose-img", path, "--output-dose-img", target],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert target.exists(), done.stdout[-1000:] + done.stderr[-1000:]
    return read_nrrd(target)


@pytest.mark.parametrize("path", ["rt/topas_abdomen/rtdose.dcm", "rt/pinnacle/RTDOSE.dcm", "rt/pydicom/rtdose.dcm"])
def test_as_plastimatch_converts_it(path: str, data: Path, tmp_path: Path) -> None:
    array, to_lps = by_plastimatch(data / path, tmp_path)
    node = loaded(data / path)[0]
    for index in np.random.default_rng(4).integers(0, array.shape, (100, 3)):
        place, row, column = index
        point = (to_lps @ [column, row, place, 1])[:3]
        assert dose_at(node, point) == pytest.approx(float(array[tuple(index)]), rel=1e-5)


@pytest.mark.parametrize("offsets", [(0, 2.5, 5, 7.5, 10), (40, 42.5, 45, 47.5, 50)], ids=["relative", "absolute"])
def test_offsets_as_plastimatch_understands_them(offsets: tuple[float, ...], tmp_path: Path) -> None:
    path = written(dose(offsets=offsets), tmp_path / "dose.dcm")
    array, to_lps = by_plastimatch(path, tmp_path / "peer")
    (node,) = loaded(path)
    for place, row, column in np.ndindex(array.shape):
        point = (to_lps @ [column, row, place, 1])[:3]
        assert dose_at(node, point) == pytest.approx(float(array[place, row, column]), rel=1e-5)


def test_plastimatch_reads_what_is_written(tmp_path: Path) -> None:
    (node,) = loaded(written(dose(offsets=[0, -2.5, -5, -7.5, -10]), tmp_path / "dose.dcm"))
    (path,) = export([node], tmp_path / "out")
    array, to_lps = by_plastimatch(path, tmp_path / "peer")
    assert array.shape == numbers().shape
    for place, row, column in np.ndindex(array.shape):
        point = (to_lps @ [column, row, place, 1])[:3]
        assert dose_at(node, point) == pytest.approx(float(array[place, row, column]), rel=1e-5)
