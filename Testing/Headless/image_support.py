"""Reading of image nodes and making of small image series for tests."""

from __future__ import annotations

import gzip
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from support.volumes import array_of, matrix_of

from dicombridge import image
from dicombridge.image.headers import TAGS, text_of
from dicombridge.loadable import Loadable

LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
AXIAL = (1, 0, 0, 0, 1, 0)


class HeaderDatabase:
    """A tag cache and nothing else; the files behind it need not exist."""

    def __init__(self, headers: dict[str, Dataset]) -> None:
        self.headers = headers
        self.asked: set[str] = set()

    def fileValue(self, path: str, tag: str, /) -> str:
        self.asked.add(tag)
        assert tag == tag.upper()
        keywords = [keyword for keyword, known in TAGS.items() if known == tag]
        return text_of(self.headers[path], keywords[0]) if path in self.headers else ""


def database_of(files: Sequence[str]) -> HeaderDatabase:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return HeaderDatabase({file: pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in files})


def files_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.iterdir() if path.is_file())


def load(files: Sequence[str], scene: Any, name: str = "image") -> list[Any]:
    return image.load(Loadable(files=list(files), name=name), scene, None)


def assert_same_voxels(node: Any, voxels_ijk: NDArray[Any], ijk_to_ras: NDArray[np.float64], tolerance: float) -> None:
    """Every voxel of another reading has the value of the node's voxel at that place (within ``tolerance`` voxels)."""
    mine = array_of(node)
    assert mine.size == voxels_ijk.size
    index = np.indices(voxels_ijk.shape).reshape(3, -1)
    world = ijk_to_ras @ np.vstack([index, np.ones(index.shape[1])])
    place = (np.linalg.inv(matrix_of(node)) @ world)[:3]
    nearest = np.rint(place).astype(int)
    assert np.abs(place - nearest).max() <= tolerance
    i, j, k = nearest
    np.testing.assert_array_equal(mine[k, j, i], voxels_ijk[tuple(index)])


def quaternion_form(content: bytes) -> NDArray[np.float64]:
    """The qform of a NIfTI-1 file, see its nifti1.h."""
    assert struct.unpack_from("<h", content, 252)[0] > 0
    b, c, d, x, y, z = struct.unpack_from("<6f", content, 256)
    a = max(0.0, 1 - b * b - c * c - d * d) ** 0.5
    handedness, *spacing = struct.unpack_from("<4f", content, 76)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.multiply(spacing, [1, 1, -1 if handedness < 0 else 1])
    affine[:3, 3] = x, y, z
    return affine


def read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Voxels [i, j, k] and the sform, else the qform (index to RAS mm) of a little endian NIfTI-1 file."""
    content = gzip.decompress(path.read_bytes())
    assert struct.unpack_from("<i", content, 0) == (348,)
    dimensions = struct.unpack_from("<8h", content, 40)
    (datatype,) = struct.unpack_from("<h", content, 70)
    (offset,) = struct.unpack_from("<f", content, 108)
    (sform_code,) = struct.unpack_from("<h", content, 254)
    affine = np.vstack([np.array(struct.unpack_from("<12f", content, 280)).reshape(3, 4), [0, 0, 0, 1]])
    if not sform_code:
        affine = quaternion_form(content)
    element_type = {2: "<u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}[datatype]
    count = int(np.prod(dimensions[1:4]))
    voxels = np.frombuffer(content, element_type, count, int(offset)).reshape(dimensions[1:4], order="F")
    return voxels, affine


# --- Synthetic series ----------------------------------------------------------------------------------------------


def as_text(value: float) -> str:
    return pydicom.valuerep.format_number_as_ds(float(value))


def write_slice(
    folder: Path,
    number: int,
    position: Sequence[float],
    *,
    pixels: NDArray[Any] | None = None,
    orientation: Sequence[float] = AXIAL,
    series: str = "1.2.3.4",
    sop_class: str = CTImageStorage,
    **attributes: Any,
) -> str:
    """Write a small single-frame image; its default pixels hold its number."""
    array = np.full((4, 5), number, np.int16) if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", series
    dataset.FrameOfReferenceUID = "1.2.3.9"
    dataset.PatientID, dataset.PatientName = "P-1", "DOE^JANE"
    dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "CT", 7, "Test"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [as_text(value) for value in position]
    dataset.ImageOrientationPatient = [as_text(value) for value in orientation]
    dataset.PixelSpacing = ["0.5", "0.75"]
    dataset.SliceThickness = "99"  # wrong on purpose: nobody may read it
    dataset.Rows, dataset.Columns = array.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = array.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = array.tobytes()
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{number:04}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return str(path)


def stacks(files: Sequence[str]) -> list[Loadable]:
    return image.examine(files, database_of(files))


def random_pixels(element_type: Any, low: int, high: int) -> NDArray[Any]:
    return np.random.default_rng(4).integers(low, high, (4, 5), endpoint=True).astype(element_type)


def of_frame(dataset: Dataset, number: int, sequence: str) -> Dataset:
    own = dataset.PerFrameFunctionalGroupsSequence[number]
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    return (own.get(sequence) or shared[0].get(sequence))[0]
