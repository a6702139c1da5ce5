"""Registrations of plastimatch, and ours beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from support.peers import run, tool
from support.registration_exports import (
    ASYMMETRIC,
    FIXED,
    FLIP,
    MOVING,
    Study,
    applied,
    item_matrix,
    item_of,
    random_points,
    through_node,
)

import dicombridge

AS_TEXT = 2e-6
"""plastimatch writes six digits after the point; of points 350 mm away that is 1e-3 mm."""


def itk_transform(path: Path, lps: NDArray[Any]) -> Path:
    """A transform file of ITK: it resamples, i.e. maps the fixed onto the moving side, in LPS."""
    numbers = " ".join(repr(float(value)) for value in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        f"Parameters: {numbers}\nFixedParameters: 0 0 0\n"
    )
    return path


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "in")


@pytest.fixture
def theirs(study: Study, tmp_path: Path) -> Path:
    """The registration that plastimatch writes of moving -> fixed by ASYMMETRIC."""
    given = itk_transform(tmp_path / "given.txt", np.linalg.inv(ASYMMETRIC))
    fixed, moving = (study.files[frame][0].parent for frame in (FIXED, MOVING))
    out = tmp_path / "plastimatch"
    options = ("--input", given, "--fixed-rcs", fixed, "--moving-rcs", moving, "--output-dicom", out)
    run(tool("plastimatch"), "xf-convert", *options)
    (path,) = out.glob("sro_*.dcm")
    return path


def test_registration_of_plastimatch_is_read(study: Study, theirs: Path) -> None:
    nodes = dicombridge.load(theirs, scene=study.scene, database=study.database)
    (node,) = [one for one in nodes if one.IsA("vtkMRMLLinearTransformNode")]
    points = random_points()
    assert np.abs(through_node(node, points) - applied(ASYMMETRIC, points)).max() < 200 * 3 * AS_TEXT


def test_ours_says_what_that_of_plastimatch_says(study: Study, theirs: Path) -> None:
    """The same frames of reference, in the same roles, and the same matrix: no inverse, no transpose."""
    node = study.linear(ASYMMETRIC)
    ours = study.export(node, kind="REG", moving=study.volumes[MOVING], fixed=study.volumes[FIXED])
    other = pydicom.dcmread(theirs)
    assert ours.FrameOfReferenceUID == other.FrameOfReferenceUID == FIXED
    for frame in (FIXED, MOVING):
        assert np.abs(item_matrix(item_of(ours, frame)) - item_matrix(item_of(other, frame))).max() < AS_TEXT
    named = [{series.SeriesInstanceUID for series in one.ReferencedSeriesSequence} for one in (ours, other)]
    assert named[0] == named[1]
    assert (ours.StudyInstanceUID, ours.PatientID) == (other.StudyInstanceUID, other.PatientID)


def test_registration_of_plastimatch_comes_back(study: Study, theirs: Path) -> None:
    (node,) = dicombridge.load(theirs, scene=study.scene, database=study.database)
    ours, other = study.export(node, kind="REG"), pydicom.dcmread(theirs)
    assert list(ours.RegistrationSequence) == list(other.RegistrationSequence)


def test_plastimatch_warps_by_our_vectors_as_slicer_does(study: Study, tmp_path: Path) -> None:
    """A deformation that we wrote, taken by plastimatch as a vector field, resamples as the node does in Slicer."""
    from test_deformation_export import spline_node

    node = spline_node(study)
    sides = {"moving": study.volumes[MOVING], "fixed": study.volumes[FIXED], "spacing_mm": 2.0}
    dataset = study.export(node, kind="DEFORM", **sides)
    grid = dataset.DeformableRegistrationSequence[0].DeformableRegistrationGridSequence[0]
    axes = np.eye(3)  # the fixed volume is not oblique
    assert np.array_equal(np.array(grid.ImageOrientationPatient, dtype=float), axes[:2].ravel())
    field, source, warped = (tmp_path / name for name in ("field.mha", "source.mha", "warped.mha"))
    write_mha(field, np.frombuffer(grid.VectorGridData, "<f4"), grid, 3)
    voxels = smooth_image(grid)
    write_mha(source, voxels.astype("<f4").ravel(), grid, 1)
    run(tool("plastimatch"), "convert", "--input", source, "--xf", field, "--output-img", warped,
        "--default-value", "-1", "--output-type", "float")  # fmt: skip
    theirs = np.frombuffer(warped.read_bytes()[-voxels.size * 4 :], "<f4").reshape(voxels.shape)
    index = np.argwhere(np.ones(voxels.shape, dtype=bool))[:, ::-1] * 2.0
    places = index + np.array(grid.ImagePositionPatient, dtype=float)
    moved = through_node(node, places, to_parent=False)
    last = np.array(grid.GridDimensions) - 1
    inside = ((moved - places[0] >= 1) & (moved - places[0] <= 2.0 * last - 1)).all(axis=1)
    assert inside.mean() > 0.5
    expected = value_at(moved)
    assert np.abs(theirs.ravel() - expected)[inside].max() < 0.05


def value_at(points: NDArray[Any]) -> NDArray[np.float64]:
    """A value that changes linearly, so that interpolation adds no error; different along all axes."""
    return np.asarray((points * FLIP) @ [0.5, -0.25, 1.0] + 200)


def smooth_image(grid: Any) -> NDArray[np.float64]:
    columns, rows, slices = (int(size) for size in grid.GridDimensions)
    index = np.stack(np.meshgrid(range(slices), range(rows), range(columns), indexing="ij"), axis=-1)[..., ::-1]
    places = index * np.array(grid.GridResolution) + np.array(grid.ImagePositionPatient, dtype=float)
    return value_at(places.reshape(-1, 3)).reshape(slices, rows, columns)


def write_mha(path: Path, values: NDArray[Any], grid: Any, channels: int) -> None:
    """MetaImage: LPS, x fastest."""
    join = " ".join
    header = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1",
        f"Offset = {join(str(float(value)) for value in grid.ImagePositionPatient)}",
        f"ElementSpacing = {join(str(value) for value in grid.GridResolution)}",
        f"DimSize = {join(str(value) for value in grid.GridDimensions)}",
        f"ElementNumberOfChannels = {channels}",
        "ElementType = MET_FLOAT",
        "ElementDataFile = LOCAL",
    ]
    path.write_bytes(("\n".join(header) + "\n").encode() + np.ascontiguousarray(values, dtype="<f4").tobytes())
