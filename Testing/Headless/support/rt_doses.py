"""RT Dose objects and dose nodes for tests, made without the library."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

import dicombridge
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from support.items import read, reference
from support.peers import tool
from support.volumes import array_of, matrix_of, volume_node

RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
OFFSETS = 0x3004000C
PLAN = {"plan": "1.2.3.4.5"}
"""Options of an export that names a plan."""


def room() -> Any:
    return kind_named("RTDOSE").room


def numbers(frames: int = 5, rows: int = 3, columns: int = 4, dtype: str = "<u2") -> NDArray[Any]:
    """Stored numbers of which no two are equal: frame, row and column can be told from each."""
    count = frames * rows * columns
    return (np.arange(count).reshape(frames, rows, columns) * 7 + 3).astype(dtype)


def dose(
    stored: NDArray[Any] | None = None,
    offsets: Sequence[float] | None = (0, 2.5, 5, 7.5, 10),
    position: Sequence[float] = (-20.0, -30.0, 40.0),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    spacing: Sequence[float] = (2.0, 3.0),
    **values: Any,
) -> Dataset:
    """An RT Dose of these numbers, (frames, rows, columns); a value of None removes an attribute."""
    stored = numbers() if stored is None else stored
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = RT_DOSE, generate_uid()
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.Modality, ds.Manufacturer, ds.OperatorsName = "RTDOSE", "Planner", ""
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Dose^Test", "dose-1", "", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3.1", generate_uid(), "1.2.3.2"
    ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription, ds.PositionReferenceIndicator = 7, 1, "Plan dose", ""
    ds.ImagePositionPatient, ds.ImageOrientationPatient = list(position), list(orientation)
    ds.PixelSpacing, ds.SliceThickness = list(spacing), 99.0  # which nobody may take for a distance
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    if len(stored) > 1:
        ds.NumberOfFrames, ds.FrameIncrementPointer = len(stored), OFFSETS
    if offsets is not None and len(stored) > 1:
        ds.GridFrameOffsetVector = list(offsets)
    ds.Rows, ds.Columns = stored.shape[1:]
    bits = 8 * stored.dtype.itemsize
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    ds.DoseGridScaling = "0.001"
    ds.ReferencedRTPlanSequence = [reference(RT_PLAN, "1.2.3.4.5")]
    ds.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    for keyword, value in values.items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    return ds


def rle_frame(frame: NDArray[Any]) -> bytes:
    """A frame in RLE, all of it literal (PS3.5 annex G); pydicom encodes no numbers of 32 bits."""
    planes = frame.astype(frame.dtype.newbyteorder(">")).view("u1").reshape(frame.size, -1).T
    segments = []
    for plane in planes:
        content = plane.tobytes()
        parts = [content[at : at + 128] for at in range(0, len(content), 128)]
        segment = b"".join(bytes([len(part) - 1]) + part for part in parts)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = 64 + np.cumsum([0, *(len(segment) for segment in segments[:-1])])
    header = np.zeros(16, "<u4")
    header[0], header[1 : 1 + len(offsets)] = len(segments), offsets
    return header.tobytes() + b"".join(segments)


def written(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(path, enforce_file_format=True)
    return path


def loaded(path: Path | Sequence[Path], scene: Any = None, database: Any = None, **options: Any) -> list[Any]:
    """Load one file without examination; the nodes keep their scene alive."""
    scene = dicombridge.new_scene() if scene is None else scene
    files = [str(one) for one in ([path] if isinstance(path, Path) else path)]
    loadable = Loadable(files=files, name="7: Plan dose", kind="RTDOSE")
    nodes: list[Any] = room().load(loadable, scene, database, **options)
    nodes[0].scene_of_test = scene
    return nodes


def export(nodes: Sequence[Any], folder: Path, database: Any = None, **options: Any) -> list[Path]:
    return dicombridge.export(nodes, folder, "RTDOSE", database, **options)


def exported(node: Any, folder: Path, database: Any = None, **options: Any) -> Dataset:
    """The only file that is written for a node."""
    (path,) = export([node], folder, database, **options)
    return read(path)


def some_doses() -> NDArray[np.float32]:
    return np.random.default_rng(1).gamma(2.0, 10.0, (5, 6, 7)).astype(np.float32)


def examined(path: Path, cache: Path) -> list[Loadable]:
    database = dicombridge.open_folder(path)
    try:
        found: list[Loadable] = room().examine([str(path)], database)
        return found
    finally:
        database.close()


def voxels(node: Any) -> NDArray[Any]:
    """(slices, rows, columns), a copy"""
    return np.array(array_of(node))


def dose_at(node: Any, lps: Sequence[float]) -> float | None:
    """The voxel whose centre lies at a point (LPS mm), None where none does; only the node's matrix is asked."""
    x, y, z = lps
    index = np.linalg.inv(matrix_of(node)) @ [-x, -y, z, 1.0]
    column, row, place = np.rint(index[:3]).astype(int)
    if np.abs(index[:3] - (column, row, place)).max() > 0.01:
        return None
    array = voxels(node)
    if not (0 <= place < array.shape[0] and 0 <= row < array.shape[1] and 0 <= column < array.shape[2]):
        return None
    return float(array[place, row, column])


def volume(scene: Any, doses: NDArray[Any], matrix: Any = None, name: str = "dose", spacing: float = 2.0) -> Any:
    """A volume node of doses (slices, rows, columns); matrix is IJK to RAS."""
    given = np.array([[-spacing, 0, 0, 10], [0, -spacing, 0, 20], [0, 0, spacing, 30], [0, 0, 0, 1.0]])
    return volume_node(scene, doses, given if matrix is None else matrix, name)


def faults(path: Path, folder: Path) -> list[str]:
    """Errors of dciodvfy, which ends itself at 32-bit pixels: it is shown a copy with the lower half of each number."""
    ds = read(path)
    copy = path
    if ds.BitsAllocated == 32:
        pixels = ds.pixel_array
        ds.decompress() if ds.file_meta.TransferSyntaxUID.is_compressed else None
        ds.PixelData = (pixels.astype(np.int64) & 0x7FFF).astype("<u2").tobytes()
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit = 15
        copy = folder / f"short-{path.name}"
        written(ds, copy)
    done = subprocess.run(
        [tool("dciodvfy"), "-new", copy], capture_output=True, text=True, errors="replace", check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert "RTDose" in [line.strip() for line in lines], f"dciodvfy saw no dose: {lines}"
    return [line for line in lines if line.startswith("Error")]
