"""RT images and plans that tell where they are, made from the text of the standard (PS3.3 C.8.8.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from vtkmodules.vtkCommonMath import vtkMatrix4x4

import dicombridge
from support.items import item, reference
from support.rt_records import PLAN, PLAN_UID, new_object, write

RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
ROWS, COLUMNS = 3, 5


def ramp(frames: int = 1, dtype: Any = np.uint16) -> NDArray[Any]:
    """Return (frames, 3, 5) of values that are all different."""
    return np.arange(frames * ROWS * COLUMNS).astype(dtype).reshape(frames, ROWS, COLUMNS)


def rt_image(pixels: NDArray[Any] | None = None, seed: str = "image", **values: Any) -> Dataset:
    """Return an RT image; its isocentre is (10, 20, 30), its machine 1000 mm, its plane 1500 mm from the source.

    A value of None takes the attribute away.
    """
    pixels = ramp() if pixels is None else pixels
    frames, rows, columns = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    common: dict[str, Any] = {
        "ImageType": ["DERIVED", "SECONDARY", "DRR"],
        "SeriesDescription": "DRR",
        "RTImageLabel": "AP",
        "RTImagePlane": "NORMAL",
        "ConversionType": "WSD",
        "XRayImageReceptorAngle": 0,
        "ImagePlanePixelSpacing": [2, 3],
        "RTImagePosition": [-6, 2],
        "RadiationMachineName": "Linac 1",
        "PrimaryDosimeterUnit": "MU",
        "RadiationMachineSAD": 1000,
        "RTImageSID": 1500,
        "GantryAngle": 0,
        "PatientSupportAngle": 0,
        "BeamLimitingDeviceAngle": 0,
        "PatientPosition": "HFS",
        "IsocenterPosition": [10, 20, 30],
        "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.70",
        "PositionReferenceIndicator": "",
        "PatientOrientation": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.astype(pixels.dtype.newbyteorder("<")).tobytes() + b"\0" * (pixels.nbytes % 2),
    }
    if frames > 1:
        common["NumberOfFrames"], common["FrameIncrementPointer"] = frames, 0x00200013
    dataset = new_object(RT_IMAGE, "RTIMAGE", seed, **{**common, **values})
    del dataset.OperatorsName
    dataset.OperatorsName = ""
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in values.items():
        if value is None:
            del dataset[keyword]
    return dataset


def of_plan(beam: int | None = 1) -> dict[str, Any]:
    """Return the attributes by which an image names its plan and beam."""
    values: dict[str, Any] = {"ReferencedRTPlanSequence": [reference(PLAN, PLAN_UID)]}
    if beam is not None:
        values["ReferencedBeamNumber"] = beam
    return values


def plan(isocentres: Sequence[Sequence[float]], position: str = "FFS", gantry: Sequence[float] = (90,)) -> Dataset:
    """Return a plan of a beam for each isocentre; ``gantry`` is told at the control points of each."""
    beams = [
        item(
            BeamNumber=number,
            BeamName=f"Beam {number}",
            BeamType="STATIC" if len(gantry) == 1 else "DYNAMIC",
            RadiationType="PHOTON",
            SourceAxisDistance=1000,
            ReferencedPatientSetupNumber=number,
            ControlPointSequence=[
                item(
                    ControlPointIndex=index,
                    GantryAngle=angle,
                    **({} if index else {"IsocenterPosition": list(isocentre)}),
                )
                for index, angle in enumerate(gantry)
            ],
        )
        for number, isocentre in enumerate(isocentres, start=1)
    ]
    setups = [
        item(PatientSetupNumber=number + 1, PatientPosition=position if number == 0 else "HFS")
        for number in range(len(isocentres))
    ]
    return new_object(
        PLAN,
        "RTPLAN",
        "plan",
        SOPInstanceUID=PLAN_UID,
        FrameOfReferenceUID="1.2.826.0.1.3680043.8.498.71",
        RTPlanLabel="Plan",
        RTPlanGeometry="PATIENT",
        SeriesDescription="Plan",
        BeamSequence=beams,
        PatientSetupSequence=setups,
    )


def write_image(folder: Path, name: str = "image.dcm", pixels: NDArray[Any] | None = None, **values: Any) -> Path:
    return write(rt_image(pixels, name, **values), folder, name)


def loaded(folder: Path, scene: Any, **values: Any) -> Any:
    """The node of an image that is written into a folder."""
    (node,) = dicombridge.load(write_image(folder, **values), scene=scene)
    return node


def lps(node: Any, column: float, row: float) -> list[float]:
    """Return where a pixel's centre of a volume of one slice lies, LPS mm, rounded."""
    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    x, y, z, _ = matrix.MultiplyPoint((column, row, 0, 1))
    return [round(value, 6) + 0.0 for value in (-x, -y, z)]
