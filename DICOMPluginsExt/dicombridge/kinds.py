"""The table of object kinds: the only registry.

A kind is a module (or package) of this package with these functions, called by :mod:`dicombridge.api` and by the
plugin base class in ``DICOMBridgeLib``::

    examine(files, database) -> list[Loadable]
    load(loadable, scene, database, progress=None, **options) -> list[vtkMRMLNode]
    export(nodes, directory, database=None, progress=None, **options) -> list[Path]     (where exports is True)

The images come last, so that :func:`dicombridge.examine` lists them first: what is loaded later refers to them. The
registrations come first, and are loaded last: with ``apply=True`` they move what is in the scene by then.
Adding a kind: its room, one row here, one hook, its test file, CMake lines, a README row. A test holds these together.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

__all__ = ["KINDS", "Kind", "kind_named", "kind_of_sop_class", "kinds_of_node_class", "kinds_that_examine"]


@dataclass(frozen=True)
class Kind:
    """One row of the table.

    Attributes
    ----------
    name
        Name in the public API and on the command line.
    title
        The same for a person.
    module
        The room, relative to this package.
    sop_classes
        SOP Class UIDs that the kind reads (PS3.4 B.5, I.4).
    node_classes
        MRML classes that the kind makes, the main one first; export accepts these.
    hook
        Module file of the Slicer plugin, also its registration key; None where Slicer's own plugin serves.
    confidence
        Of our loadables. Slicer takes the highest one of a series, and a tie loads the object twice.
    competitor
        Whom the confidence is measured against.
    exports
        Whether the kind can be written.
    also_examines
        SOP Class UIDs of another kind of which this one offers further readings, e.g. images in real world values.
    export_hook
        Module file of the plugin that exports, where it is not ``hook``: the export dialog groups by plugin.
    """

    name: str
    title: str
    module: str
    sop_classes: frozenset[str]
    node_classes: tuple[str, ...]
    hook: str | None
    confidence: float
    competitor: str
    exports: bool
    also_examines: frozenset[str] = frozenset()
    export_hook: str | None = None

    @property
    def room(self) -> ModuleType:
        """The kind's module, imported at first use."""
        return importlib.import_module(f"dicombridge.{self.module}")


_IMAGES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.4",  # MR Image Storage
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image Storage
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR Image Storage
        "1.2.840.10008.5.1.4.1.1.128",  # Positron Emission Tomography Image Storage
        "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET Image Storage
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET Image Storage
    }
)

_RADIOTHERAPY = 0.99
"""Below SlicerRT, so that it wins where a user installed it; the plugin raises it where the user prefers ours."""


KINDS: tuple[Kind, ...] = (
    Kind(
        name="DEFORM",
        title="Deformable spatial registration",
        module="deformation",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.66.3"}),  # Deformable Spatial Registration Storage
        node_classes=(
            "vtkMRMLTransformNode",
            "vtkMRMLGridTransformNode",
            "vtkMRMLLinearTransformNode",
            "vtkMRMLBSplineTransformNode",
        ),
        hook="DICOMBridgeRegistrationPlugin",
        confidence=0.97,
        competitor="SlicerRT 0.9",
        exports=True,
        export_hook="DICOMBridgeDeformationPlugin",
    ),
    Kind(
        name="REG",
        title="Spatial registration",
        module="registration",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.66.1"}),  # Spatial Registration Storage
        node_classes=("vtkMRMLLinearTransformNode",),
        hook="DICOMBridgeRegistrationPlugin",
        confidence=0.97,
        competitor="SlicerRT 0.9",
        exports=True,
    ),
    Kind(
        name="FID",
        title="Spatial fiducials",
        module="fiducials",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.66.2"}),  # Spatial Fiducials Storage
        node_classes=(
            "vtkMRMLMarkupsFiducialNode",
            "vtkMRMLMarkupsLineNode",
            "vtkMRMLMarkupsCurveNode",
            "vtkMRMLMarkupsClosedCurveNode",
        ),
        hook="DICOMBridgeRegistrationPlugin",
        confidence=0.97,
        competitor="SlicerRT 0.9, which does not load them",
        exports=True,
        export_hook="DICOMBridgeFiducialsPlugin",
    ),
    Kind(
        name="SR",
        title="Structured report",
        module="report",
        sop_classes=frozenset(
            {
                "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR Storage
                "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR Storage
                "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR Storage
                "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR Storage
                "1.2.840.10008.5.1.4.1.1.88.35",  # Extensible SR Storage
                "1.2.840.10008.5.1.4.1.1.88.40",  # Procedure Log Storage
                "1.2.840.10008.5.1.4.1.1.88.50",  # Mammography CAD SR Storage
                "1.2.840.10008.5.1.4.1.1.88.65",  # Chest CAD SR Storage
                "1.2.840.10008.5.1.4.1.1.88.67",  # X-Ray Radiation Dose SR Storage
                "1.2.840.10008.5.1.4.1.1.88.68",  # Radiopharmaceutical Radiation Dose SR Storage
                "1.2.840.10008.5.1.4.1.1.88.69",  # Colon CAD SR Storage
                "1.2.840.10008.5.1.4.1.1.88.70",  # Implantation Plan SR Storage
                "1.2.840.10008.5.1.4.1.1.88.71",  # Acquisition Context SR Storage
                "1.2.840.10008.5.1.4.1.1.88.72",  # Simplified Adult Echo SR Storage
                "1.2.840.10008.5.1.4.1.1.88.73",  # Patient Radiation Dose SR Storage
                "1.2.840.10008.5.1.4.1.1.88.74",  # Planned Imaging Agent Administration SR Storage
                "1.2.840.10008.5.1.4.1.1.88.75",  # Performed Imaging Agent Administration SR Storage
                "1.2.840.10008.5.1.4.1.1.88.76",  # Enhanced X-Ray Radiation Dose SR Storage
                "1.2.840.10008.5.1.4.1.1.88.77",  # Waveform Annotation SR Storage
                "1.2.840.10008.5.1.4.1.1.79.1",  # Macular Grid Thickness and Volume Report Storage
                "1.2.840.10008.5.1.4.1.1.78.6",  # Spectacle Prescription Report Storage
            }
        ),
        node_classes=(
            "vtkMRMLTableNode",
            "vtkMRMLMarkupsFiducialNode",
            "vtkMRMLMarkupsLineNode",
            "vtkMRMLMarkupsAngleNode",
            "vtkMRMLMarkupsCurveNode",
            "vtkMRMLMarkupsClosedCurveNode",
            "vtkMRMLMarkupsPlaneNode",
            "vtkMRMLMarkupsROINode",
            "vtkMRMLModelNode",
            "vtkMRMLTextNode",
            "vtkMRMLSegmentationNode",
        ),
        hook="DICOMBridgeReportPlugin",
        confidence=0.97,
        competitor="Slicer core DICOMTID1500Plugin 0.95, up to 0.96",
        exports=True,
    ),
    Kind(
        name="KOS",
        title="Key object selection",
        module="key_objects",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.88.59"}),  # Key Object Selection Document Storage
        node_classes=("vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLScalarVolumeNode", "vtkMRMLMarkupsFiducialNode"),
        hook="DICOMBridgeReportPlugin",
        confidence=0.97,
        competitor="none; Slicer core guesses a scalar volume at 0.2",
        exports=True,
        export_hook="DICOMBridgeKeyObjectsPlugin",
    ),
    Kind(
        name="SEG",
        title="Segmentation",
        module="segmentation",
        sop_classes=frozenset(
            {
                "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation Storage
                "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation Storage
            }
        ),
        node_classes=("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode"),
        hook="DICOMBridgeSegmentationPlugin",
        confidence=0.97,
        competitor="Slicer core DICOMSegmentationPlugin 0.95",
        exports=True,
    ),
    Kind(
        name="PM",
        title="Parametric map",
        module="parametric_map",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.30"}),  # Parametric Map Storage
        node_classes=("vtkMRMLScalarVolumeNode", "vtkMRMLSequenceNode"),
        hook="DICOMBridgeParametricMapPlugin",
        confidence=0.97,
        competitor="Slicer core DICOMParametricMapPlugin 0.95",
        exports=True,
    ),
    Kind(
        name="RWVM",
        title="Real world values",
        module="real_world_value",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.67"}),  # Real World Value Mapping Storage
        node_classes=("vtkMRMLScalarVolumeNode",),
        hook="DICOMBridgeRealWorldValuePlugin",
        confidence=0.97,
        competitor="PETDICOM DICOMRWVMPlugin 0.90",
        exports=True,
        also_examines=_IMAGES,
    ),
    Kind(
        name="RTSECOND",
        title="Second-generation radiotherapy object",
        module="second_generation_rt",
        sop_classes=frozenset(
            {
                "1.2.840.10008.5.1.4.1.1.481.10",  # RT Physician Intent Storage
                "1.2.840.10008.5.1.4.1.1.481.11",  # RT Segment Annotation Storage
                "1.2.840.10008.5.1.4.1.1.481.12",  # RT Radiation Set Storage
                "1.2.840.10008.5.1.4.1.1.481.13",  # C-Arm Photon-Electron Radiation Storage
                "1.2.840.10008.5.1.4.1.1.481.14",  # Tomotherapeutic Radiation Storage
                "1.2.840.10008.5.1.4.1.1.481.15",  # Robotic-Arm Radiation Storage
                "1.2.840.10008.5.1.4.1.1.481.16",  # RT Radiation Record Set Storage
                "1.2.840.10008.5.1.4.1.1.481.17",  # RT Radiation Salvage Record Storage
                "1.2.840.10008.5.1.4.1.1.481.18",  # Tomotherapeutic Radiation Record Storage
                "1.2.840.10008.5.1.4.1.1.481.19",  # C-Arm Photon-Electron Radiation Record Storage
                "1.2.840.10008.5.1.4.1.1.481.20",  # Robotic Radiation Record Storage
                "1.2.840.10008.5.1.4.1.1.481.21",  # RT Radiation Set Delivery Instruction Storage
                "1.2.840.10008.5.1.4.1.1.481.22",  # RT Treatment Preparation Storage
                "1.2.840.10008.5.1.4.1.1.481.25",  # RT Patient Position Acquisition Instruction Storage
                "1.2.840.10008.5.1.4.34.7",  # RT Beams Delivery Instruction Storage
                "1.2.840.10008.5.1.4.34.10",  # RT Brachy Application Setup Delivery Instruction Storage
            }
        ),
        node_classes=("vtkMRMLTableNode",),
        hook="DICOMBridgeRadiotherapyPlugin",
        confidence=_RADIOTHERAPY,
        competitor="none",
        exports=False,
    ),
    Kind(
        name="RTRECORD",
        title="RT treatment record",
        module="treatment_record",
        sop_classes=frozenset(
            {
                "1.2.840.10008.5.1.4.1.1.481.4",  # RT Beams Treatment Record Storage
                "1.2.840.10008.5.1.4.1.1.481.6",  # RT Brachy Treatment Record Storage
                "1.2.840.10008.5.1.4.1.1.481.7",  # RT Treatment Summary Record Storage
                "1.2.840.10008.5.1.4.1.1.481.9",  # RT Ion Beams Treatment Record Storage
            }
        ),
        node_classes=("vtkMRMLTableNode",),
        hook="DICOMBridgeRadiotherapyPlugin",
        confidence=_RADIOTHERAPY,
        competitor="none",
        exports=False,
    ),
    Kind(
        name="RTIMAGE",
        title="RT image",
        module="rt_image",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.481.1"}),  # RT Image Storage
        node_classes=("vtkMRMLScalarVolumeNode",),
        hook="DICOMBridgeRadiotherapyPlugin",
        confidence=_RADIOTHERAPY,
        competitor="SlicerRT 1.0",
        exports=False,
    ),
    Kind(
        name="RTDOSE",
        title="RT dose",
        module="dose",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.481.2"}),  # RT Dose Storage
        node_classes=(
            "vtkMRMLScalarVolumeNode",
            "vtkMRMLTableNode",
            "vtkMRMLPlotChartNode",
            "vtkMRMLPlotSeriesNode",
        ),
        hook="DICOMBridgeRadiotherapyPlugin",
        confidence=_RADIOTHERAPY,
        competitor="SlicerRT 1.0",
        exports=True,
        export_hook="DICOMBridgeDosePlugin",
    ),
    Kind(
        name="RTPLAN",
        title="RT plan",
        module="plan",
        sop_classes=frozenset(
            {
                "1.2.840.10008.5.1.4.1.1.481.5",  # RT Plan Storage
                "1.2.840.10008.5.1.4.1.1.481.8",  # RT Ion Plan Storage
            }
        ),
        node_classes=("vtkMRMLTableNode", "vtkMRMLMarkupsFiducialNode", "vtkMRMLModelNode"),
        hook="DICOMBridgeRadiotherapyPlugin",
        confidence=_RADIOTHERAPY,
        competitor="SlicerRT 1.0",
        exports=True,
    ),
    Kind(
        name="RTSTRUCT",
        title="RT structure set",
        module="structure_set",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.481.3"}),  # RT Structure Set Storage
        node_classes=(
            "vtkMRMLSegmentationNode",
            "vtkMRMLMarkupsFiducialNode",
            "vtkMRMLMarkupsCurveNode",
            "vtkMRMLModelNode",
        ),
        hook="DICOMBridgeRadiotherapyPlugin",
        confidence=_RADIOTHERAPY,
        competitor="SlicerRT 1.0",
        exports=True,
        export_hook="DICOMBridgeStructureSetPlugin",
    ),
    Kind(
        name="ANN",
        title="Microscopy bulk annotations",
        module="annotations",
        sop_classes=frozenset({"1.2.840.10008.5.1.4.1.1.91.1"}),  # Microscopy Bulk Simple Annotations Storage
        node_classes=(
            "vtkMRMLModelNode",
            "vtkMRMLMarkupsFiducialNode",
            "vtkMRMLMarkupsLineNode",
            "vtkMRMLMarkupsCurveNode",
            "vtkMRMLMarkupsClosedCurveNode",
        ),
        hook="DICOMBridgeSlidePlugin",
        confidence=0.97,
        competitor="none; Slicer core guesses a scalar volume at 0.2",
        exports=True,
        export_hook="DICOMBridgeAnnotationsPlugin",
    ),
    Kind(
        name="SLIDE",
        title="Whole slide image",
        module="slide",
        sop_classes=frozenset(
            {
                "1.2.840.10008.5.1.4.1.1.77.1.1",  # VL Endoscopic Image Storage
                "1.2.840.10008.5.1.4.1.1.77.1.2",  # VL Microscopic Image Storage
                "1.2.840.10008.5.1.4.1.1.77.1.3",  # VL Slide-Coordinates Microscopic Image Storage
                "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic Image Storage
                "1.2.840.10008.5.1.4.1.1.77.1.6",  # VL Whole Slide Microscopy Image Storage
                "1.2.840.10008.5.1.4.1.1.77.1.8",  # Confocal Microscopy Image Storage
                "1.2.840.10008.5.1.4.1.1.77.1.9",  # Confocal Microscopy Tiled Pyramidal Image Storage
            }
        ),
        node_classes=("vtkMRMLVectorVolumeNode", "vtkMRMLScalarVolumeNode"),
        hook="DICOMBridgeSlidePlugin",
        confidence=0.97,
        competitor="Slicer core DICOMScalarVolumePlugin 0.5, which loads tiles as slices",
        exports=False,
    ),
    Kind(
        name="IMAGE",
        title="Image volume",
        module="image",
        sop_classes=_IMAGES,
        node_classes=("vtkMRMLScalarVolumeNode",),
        hook=None,
        confidence=0.5,
        competitor="Slicer core DICOMScalarVolumePlugin 0.5, which loads images inside Slicer",
        exports=False,
    ),
)

_BY_NAME = {kind.name: kind for kind in KINDS}
_BY_SOP_CLASS = {uid: kind for kind in KINDS for uid in kind.sop_classes}


def kind_named(name: str) -> Kind:
    """Return the kind of that name, in any case.

    Raises
    ------
    UnsupportedError
        There is no such kind.
    """
    from dicombridge.errors import UnsupportedError

    try:
        return _BY_NAME[name.upper()]
    except KeyError:
        raise UnsupportedError(f"There is no kind {name!r}; there are: {', '.join(_BY_NAME)}.") from None


def kind_of_sop_class(sop_class_uid: str) -> Kind | None:
    """Return the kind that reads this SOP class, or None."""
    return _BY_SOP_CLASS.get(sop_class_uid)


def kinds_that_examine(sop_class_uid: str) -> list[Kind]:
    """Return the kinds that offer a reading of this SOP class, the one that it belongs to first."""
    return sorted(
        (kind for kind in KINDS if sop_class_uid in kind.sop_classes | kind.also_examines),
        key=lambda kind: sop_class_uid not in kind.sop_classes,
    )


def kinds_of_node_class(node_class: str) -> list[Kind]:
    """Return the kinds that can export a node of this MRML class, those whose main class it is first."""
    fitting = [kind for kind in KINDS if kind.exports and node_class in kind.node_classes]
    return sorted(fitting, key=lambda kind: kind.node_classes.index(node_class))
