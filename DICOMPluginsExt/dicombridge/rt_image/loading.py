"""From files to volume nodes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from dicombridge.attribute_values import items_of, value_of
from dicombridge.errors import UnreadableError, UnsupportedError
from dicombridge.geometry import ijk_to_ras, vtk_matrix
from dicombridge.kinds import kind_named
from dicombridge.progress import Progress
from dicombridge.rt_image.pixels import frame_count, read_frames
from dicombridge.rt_image.placement import place
from dicombridge.rt_image.settings import (
    MOST_VOLUMES,
    PlanBeam,
    Reading,
    exposures_of_frames,
    find_plan_beam,
    length_of,
    plan_uid_of,
    read_setting,
)
from dicombridge.text import node_name, plain_text
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dicombridge.database import Database
    from dicombridge.loadable import Loadable

__all__ = ["load"]

_log = logging.getLogger(__name__)

WARNING = "DICOMBridge.Warning"
_PREFIX = "DicomRtImport."
_GREY = "vtkMRMLColorTableNodeGrey"
_INVERTED_GREY = "vtkMRMLColorTableNodeInvertedGrey"


@dataclass(frozen=True, eq=False)
class _Frame:
    """One frame, read: what a volume node needs."""

    number: int
    pixels: NDArray[Any]
    placed: Any
    reading: Reading
    exposure: Dataset


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
    progress: Progress | None = None,
    *,
    frames: Sequence[int] | None = None,
) -> list[Any]:
    """Load an RT image as a volume of one slice, placed in the patient; a multi-frame one as a volume for each frame.

    Parameters
    ----------
    loadable
        One file.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where the plan is looked up, which tells the isocentre and the patient position where the image does not;
        may be None.
    progress
        Called with a fraction (0 to 1) and a message.
    frames
        Numbers (from 1) of the frames to load; all, but not more than 256, where none are given.

    Returns
    -------
    list of vtkMRMLScalarVolumeNode
        With the machine's settings as attributes ``DicomRtImport.*``, as SlicerRT names them.

    Raises
    ------
    DicomBridgeError
        The file is damaged, in colour, or cannot be placed.
    """
    tell = progress or (lambda _fraction, _message: None)
    path = loadable.files[0]
    with reading(path):
        header = _header(path)
        numbers = _chosen(path, frame_count(path, header), frames)
        plan = find_plan_beam(header, database)
        tell(0.1, "Header read")
        read = _read(path, header, plan, numbers, tell)
    for warning in dict.fromkeys(warning for frame in read for warning in frame.reading.warnings):
        _log.warning("%s: %s", path, warning)
    return _add_nodes(scene, loadable, header, read, tell)


def _header(path: str) -> Dataset:
    from dicombridge.multiframe import open_multiframe

    with open_multiframe(path, pixels=False) as opened:
        header: Dataset = opened.header
    if str(header.get("SOPClassUID") or "") not in kind_named("RTIMAGE").sop_classes:
        raise UnreadableError(path, "is no RT image; examine the series again.")
    return header


def _chosen(path: str, count: int, frames: Sequence[int] | None) -> list[int]:
    if frames is not None:
        wrong = [number for number in frames if not 1 <= number <= count]
        if wrong or not frames:
            raise UnsupportedError(f"{path}: has frames 1 to {count}; {wrong or 'none'} cannot be loaded.")
        return sorted(set(frames))[:MOST_VOLUMES]
    if count > MOST_VOLUMES:
        _log.warning(
            "%s: has %d frames, of which the first %d are loaded; give frames=range(...) for others.",
            path,
            count,
            MOST_VOLUMES,
        )
    return list(range(1, min(count, MOST_VOLUMES) + 1))


def _read(path: str, header: Dataset, plan: PlanBeam, numbers: Sequence[int], tell: Progress) -> list[_Frame]:
    settings = []
    for number, exposure in zip(numbers, exposures_of_frames(header, numbers), strict=True):
        found = read_setting(header, exposure, plan)
        settings.append((number, exposure, found, place(found.setting, found.frame_of_reference_uid or None)))
    read = []
    for (number, exposure, found, placed), pixels in zip(settings, read_frames(path, header, numbers), strict=True):
        read.append(_Frame(number, pixels, placed, found, exposure))
        tell(0.1 + 0.5 * len(read) / len(numbers), f"Frame {number}")
    return read


# --- Nodes ---------------------------------------------------------------------------------------------------------


def _add_nodes(scene: Any, loadable: Loadable, header: Dataset, read: Sequence[_Frame], tell: Progress) -> list[Any]:
    from dicombridge import hierarchy, shadow
    from dicombridge.scene import transaction

    description = hierarchy.attributes_of_dataset(header)
    description["ReferencedInstanceUIDs"] = [uid for uid in (plan_uid_of(header),) if uid]
    description["FrameOfReferenceUID"] = read[0].reading.frame_of_reference_uid or description["FrameOfReferenceUID"]
    with transaction(scene):
        nodes = []
        for frame in read:
            name = loadable.name if len(read) == 1 else f"{loadable.name} (frame {frame.number})"
            node = _add_volume(scene, name, header, frame)
            item = hierarchy.add_series(scene, node, description)
            node.SetAttribute("DICOM.instanceUIDs", " ".join(description["SOPInstanceUIDs"]))
            _set_attributes(scene, node, item, _attributes(header, frame))
            nodes.append(node)
            tell(0.6 + 0.4 * len(nodes) / len(read), f"Volume {len(nodes)} of {len(read)}")
        shadow.remember(nodes[0], header)
    return nodes


def _add_volume(scene: Any, name: str, header: Dataset, frame: _Frame) -> Any:
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    from dicombridge.image.quantities import windows

    rows, columns = frame.pixels.shape
    image = vtkImageData()
    image.SetDimensions(columns, rows, 1)
    scalars = numpy_to_vtk(frame.pixels.ravel(), deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    node = slicer.vtkMRMLScalarVolumeNode()
    node.SetName(scene.GenerateUniqueName(node_name(name)))
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(vtk_matrix(ijk_to_ras(frame.placed)))
    scene.AddNode(node)
    display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    inverted = value_of(header, "PhotometricInterpretation") == "MONOCHROME1"
    # Colour nodes belong to the application: outside Slicer, the reference waits for the scene to be opened there.
    display.SetAndObserveColorNodeID(_INVERTED_GREY if inverted else _GREY)
    found = windows(header)
    for centre, width in found:
        display.AddWindowLevelPreset(width, centre)
    if found:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelFromPreset(0)
    node.SetAndObserveDisplayNodeID(display.GetID())
    return node


def _set_attributes(scene: Any, node: Any, item: int, attributes: dict[str, str]) -> None:
    """Set attributes on the node, and those that SlicerRT looks for in the subject hierarchy there too."""
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for name, value in attributes.items():
        if value:
            node.SetAttribute(name, plain_text(value))
            if name.startswith(_PREFIX):
                hierarchy.SetItemAttribute(item, name, plain_text(value))


def _attributes(header: Dataset, frame: _Frame) -> dict[str, str]:
    found, setting = frame.reading, frame.reading.setting
    collimator = length_of(frame.exposure, "BeamLimitingDeviceAngle")
    collimator = length_of(header, "BeamLimitingDeviceAngle") if collimator is None else collimator
    first = setting.image_position
    return {
        f"{_PREFIX}RtImage": "1",
        f"{_PREFIX}RtImageSid": f"{found.image_distance:.10g}",
        f"{_PREFIX}RtImagePosition": f"{first[0]:.10g} {first[1]:.10g}" if first else "",
        f"{_PREFIX}SourceAxisDistance": f"{found.source_axis_distance:.10g}",
        f"{_PREFIX}GantryAngle": f"{setting.angles.get('GantryAngle', 0.0):.10g}",
        f"{_PREFIX}CouchAngle": f"{setting.angles.get('PatientSupportAngle', 0.0):.10g}",
        f"{_PREFIX}CollimatorAngle": "" if collimator is None else f"{collimator:.10g}",
        f"{_PREFIX}JawPositions": _jaws(header, frame.exposure),
        f"{_PREFIX}BeamNumber": str(value_of(header, "ReferencedBeamNumber") or ""),
        "DICOMBridge.ReferencedRTPlan": plan_uid_of(header),
        "DICOMBridge.FrameNumber": str(frame.number),
        "DICOMBridge.PatientPosition": setting.patient_position,
        "DICOMBridge.Isocenter": " ".join(f"{part:.10g}" for part in setting.isocentre or ()),
        "DICOMBridge.Meterset": str(value_of(frame.exposure, "MetersetExposure") or ""),
        WARNING: " ".join(found.warnings),
    }


def _jaws(header: Dataset, exposure: Dataset) -> str:
    """Return the positions of the jaws (mm) as SlicerRT writes them: those of x, then those of y."""
    positions = {
        str(value_of(item, "RTBeamLimitingDeviceType") or "").removeprefix("ASYM"): str(
            value_of(item, "LeafJawPositions")
        )
        for source in (header, exposure)
        for item in items_of(source, "BeamLimitingDeviceSequence")
        if value_of(item, "LeafJawPositions") is not None
    }
    return " ".join(positions[axis].replace("\\", " ") for axis in ("X", "Y") if axis in positions)
