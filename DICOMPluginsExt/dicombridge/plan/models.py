"""Beams as models: lines of a shape -> ``vtkMRMLModelNode``."""

from __future__ import annotations

import colorsys
from typing import Any

from dicombridge.geometry import lps_ras_points
from dicombridge.plan.shapes import PARTS, BeamShape
from dicombridge.plan.values import Beam
from dicombridge.text import node_name, plain_text

__all__ = ["add_beam_model", "colour_of"]

PARTS_ATTRIBUTE = "DICOMBridge.Parts"


def add_beam_model(scene: Any, name: str, beam: Beam, shape: BeamShape, place: int) -> Any:
    """Add a model of a beam's lines (RAS); ``place`` is its place in the plan, which gives its colour.

    The attributes ``DicomRtImport.*`` are those that SlicerRT's modules look for.
    """
    import slicer

    model = slicer.vtkMRMLModelNode()
    model.SetName(scene.GenerateUniqueName(node_name(name)))
    model.SetAndObservePolyData(_poly_data(shape))
    for key, value in _attributes(beam, shape).items():
        model.SetAttribute(key, plain_text(value))
    scene.AddNode(model)
    model.CreateDefaultDisplayNodes()
    display = model.GetDisplayNode()
    display.SetColor(*colour_of(place))
    display.SetLineWidth(2)
    display.SetLighting(False)
    display.SetScalarVisibility(False)
    return model


def colour_of(place: int) -> tuple[float, float, float]:
    """Return red, green, blue (0 to 1) that differ clearly between neighbours: hues by the golden ratio."""
    return colorsys.hsv_to_rgb(0.13 + 0.61803398875 * place, 0.75, 0.95)


def _poly_data(shape: BeamShape) -> Any:
    from vtkmodules.vtkCommonCore import vtkIntArray, vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    points, cells, parts = vtkPoints(), vtkCellArray(), vtkIntArray()
    points.SetDataTypeToDouble()
    parts.SetName("part")
    for part, line in shape.lines:
        ras = lps_ras_points(line)
        closed = len(ras) > 2
        first = points.GetNumberOfPoints()
        corners = ras[:-1] if closed else ras
        for corner in corners:
            points.InsertNextPoint(*corner)
        cells.InsertNextCell(len(corners) + closed)
        for number in range(len(corners)):
            cells.InsertCellPoint(first + number)
        if closed:
            cells.InsertCellPoint(first)
        parts.InsertNextValue(part)
    data = vtkPolyData()
    data.SetPoints(points)
    data.SetLines(cells)
    data.GetCellData().AddArray(parts)
    return data


def _attributes(beam: Beam, shape: BeamShape) -> dict[str, str]:
    first = beam.control_points[0].settings

    def number(value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else ""

    distance = float(((shape.source - shape.isocentre) ** 2).sum() ** 0.5)
    jaws = " ".join("" if value is None else f"{value:g}" for value in shape.opening.jaws).strip()
    return {
        "DicomRtImport.SourceAxisDistance": number(distance),
        "DicomRtImport.GantryAngle": number(first.get("GantryAngle")),
        "DicomRtImport.CouchAngle": number(first.get("PatientSupportAngle")),
        "DicomRtImport.CollimatorAngle": number(first.get("BeamLimitingDeviceAngle")),
        "DicomRtImport.JawPositions": jaws,
        "DicomRtImport.BeamNumber": "" if beam.number is None else str(beam.number),
        PARTS_ATTRIBUTE: ", ".join(f"{value} {name}" for value, name in enumerate(PARTS)),
    }
