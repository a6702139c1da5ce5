"""Dose-volume histograms as tables and plots."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from support.items import read, reference
from support.rt_doses import RT_STRUCTURE_SET, dose, examined, loaded, written
from support.scenes import saved_and_read

import dicombridge
from dicombridge.errors import UnreadableError
from dicombridge.tables import column_values


def histogram(rois: list[tuple[int, str]], data: list[float], kind: str = "CUMULATIVE", **values: Any) -> Dataset:
    item = Dataset()
    item.DVHType, item.DoseUnits, item.DoseType = kind, "GY", "PHYSICAL"
    item.DVHDoseScaling, item.DVHVolumeUnits = "1", "CM3"
    item.DVHNumberOfBins, item.DVHData = len(data) // 2, data
    parts = []
    for number, how in rois:
        part = Dataset()
        part.ReferencedROINumber, part.DVHROIContributionType = number, how
        parts.append(part)
    item.DVHReferencedROISequence = parts
    for keyword, value in values.items():
        if value is None:
            item.pop(keyword, None)
        else:
            setattr(item, keyword, value)
    return item


def structure_set(path: Path, names: dict[int, str], uid: str = "1.2.3.9") -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = RT_STRUCTURE_SET, uid, "RTSTRUCT"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID, ds.PatientName = (
        "1.2.3.1",
        "1.2.3.8",
        "dose-1",
        "Dose^Test",
    )
    rois, contours = [], []
    for number, name in names.items():
        roi, contour = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, "1.2.3.2"
        contour.ReferencedROINumber, contour.ROIDisplayColor = number, [10 * number, 20, 255]
        rois.append(roi)
        contours.append(contour)
    ds.StructureSetROISequence, ds.ROIContourSequence = rois, contours
    written(ds, path)


def with_histograms(items: list[Dataset], **values: Any) -> Dataset:
    sets = [reference(RT_STRUCTURE_SET, "1.2.3.9")]
    return dose(DVHSequence=items, ReferencedStructureSetSequence=sets, **values)


def by_class(nodes: list[Any], name: str) -> list[Any]:
    return [node for node in nodes if node.GetClassName() == f"vtkMRML{name}Node"]


def tables_of(nodes: list[Any]) -> tuple[Any, Any]:
    curves, figures = by_class(nodes, "Table")
    return curves, figures


def values_of(table: Any, name: str) -> list[float]:
    values = column_values(table, name)
    assert values is not None, f"no column {name}"
    return [value for value in values if not math.isnan(value)]


# --- Curves ----------------------------------------------------------------------------------------------------------


def test_cumulative(tmp_path: Path) -> None:
    """Bins of 0.5, 1 and 2 in units of 10 Gy: they begin at 0, 5 and 15 Gy."""
    items = [histogram([(3, "INCLUDED")], [0.5, 80, 1, 60, 2, 10], DVHDoseScaling="10")]
    curves, _ = tables_of(loaded(written(with_histograms(items), tmp_path / "dose.dcm")))
    assert values_of(curves, "Dose") == pytest.approx([0, 5, 15])
    assert values_of(curves, "ROI 3") == [80, 60, 10]
    assert curves.GetColumnUnitLabel("ROI 3") == "cm3"
    assert curves.GetColumnUnitLabel("Dose") == "Gy"
    assert curves.GetColumnProperty("ROI 3", "DVHType") == "CUMULATIVE"


def test_differential_and_natural(tmp_path: Path) -> None:
    """The dose of a bin is the one in its middle."""
    items = [
        histogram([(1, "INCLUDED")], [2, 5, 2, 6], "DIFFERENTIAL", DVHVolumeUnits="PERCENT"),
        histogram([(1, "INCLUDED")], [2, 5, 2, 7], "NATURAL", DVHVolumeUnits="PER_U"),
    ]
    nodes = loaded(written(with_histograms(items), tmp_path / "dose.dcm"))
    curves, _ = tables_of(nodes)
    assert values_of(curves, "Dose") == [1, 3]
    assert values_of(curves, "ROI 1 (differential)") == [5, 6]
    assert values_of(curves, "ROI 1 (natural)") == [5, 7]
    assert curves.GetColumnUnitLabel("ROI 1 (differential)") == "%"
    charts = by_class(nodes, "PlotChart")
    assert [chart.GetYAxisTitle() for chart in charts] == ["Volume [%]", "Volume [per u]"]


def test_bins_of_their_own(tmp_path: Path) -> None:
    """Histograms that only end elsewhere share a column of doses; others have their own."""
    items = [
        histogram([(1, "INCLUDED")], [1, 9, 1, 8]),
        histogram([(2, "INCLUDED")], [1, 7, 1, 6, 1, 5]),
        histogram([(4, "INCLUDED")], [0.25, 4, 0.25, 3]),
    ]
    nodes = loaded(written(with_histograms(items), tmp_path / "dose.dcm"))
    curves, _ = tables_of(nodes)
    names = [curves.GetColumnName(number) for number in range(curves.GetNumberOfColumns())]
    assert names == ["Dose", "ROI 1", "ROI 2", "Dose 2", "ROI 4"]
    assert values_of(curves, "Dose") == [0, 1, 2]
    assert values_of(curves, "Dose 2") == [0, 0.25]
    assert len(column_values(curves, "ROI 1") or ()) == 3
    series = {node.GetYColumnName(): node.GetXColumnName() for node in by_class(nodes, "PlotSeries")}
    assert series == {"ROI 1": "Dose", "ROI 2": "Dose", "ROI 4": "Dose 2"}


def test_names_colours_and_contributions(tmp_path: Path) -> None:
    items = [
        histogram([(1, "INCLUDED"), (2, "EXCLUDED")], [1, 9]),
        histogram([(3, "INCLUDED")], [1, 8]),
        histogram([(4, "INCLUDED")], [1, 7]),
    ]
    path = written(with_histograms(items), tmp_path / "study" / "dose.dcm")
    structure_set(tmp_path / "study" / "rs.dcm", {1: "Body & all", 2: "PTV", 3: "Dose ring", 4: "PTV"})
    database = dicombridge.open_folder(tmp_path / "study")
    nodes = loaded(path, database=database)
    database.close()
    curves, figures = tables_of(nodes)
    names = [curves.GetColumnName(number) for number in range(curves.GetNumberOfColumns())]
    assert names == ["Dose", "Body & all - PTV", "Volume of Dose ring", "PTV"]
    assert column_values(figures, "Structure") == ["Body & all - PTV", "Dose ring", "PTV"]
    first = by_class(nodes, "PlotSeries")[0]
    assert first.GetColor() == pytest.approx((10 / 255, 20 / 255, 1))
    assert [curves.GetColumnProperty(names[1], name) for name in ("ReferencedROINumber", "ExcludedROINumber")] == [
        "1",
        "2",
    ]


def test_real_histograms(data: Path) -> None:
    """Nine of a real plan; the mean of each curve is that which the planning system says (in percent of 14 Gy)."""
    folder = data / "rt/eclipse_breast"
    database = dicombridge.open_folder(folder)
    nodes = loaded(folder / "rtdose.dcm", database=database)
    database.close()
    ds = read(folder / "rtdose.dcm")
    curves, figures = tables_of(nodes)
    names = column_values(figures, "Structure") or []
    rois = {roi.ROINumber: str(roi.ROIName) for roi in read(folder / "rtss.dcm").StructureSetROISequence}
    for item, name in zip(ds.DVHSequence, names, strict=True):
        assert name == rois[item.DVHReferencedROISequence[0].ReferencedROINumber]
        assert values_of(curves, name) == pytest.approx([float(value) for value in item.DVHData[1::2]])
    said = np.array(column_values(figures, "Mean dose")) * 0.14
    means = np.array(column_values(figures, "Mean of the curve"))
    np.testing.assert_allclose(means[1:], said[1:], atol=0.006)
    # A third of the body received less than its first bin is wide, which a curve cannot tell.
    assert means[0] == pytest.approx(said[0], abs=0.025)
    assert column_values(figures, "Maximum dose") == pytest.approx(
        [float(one.DVHMaximumDose) for one in ds.DVHSequence]
    )
    (chart,) = by_class(nodes, "PlotChart")
    assert chart.GetNumberOfPlotSeriesNodes() == 9
    assert chart.GetXAxisTitle() == "Dose [Gy]"


def test_means_of_the_curve(tmp_path: Path) -> None:
    """All volume between 1 and 2: the mean is 1.5, whichever type says so; a natural histogram does not tell."""
    items = [
        histogram([(1, "INCLUDED")], [1, 10, 1, 10]),
        histogram([(1, "INCLUDED")], [1, 0, 1, 10], "DIFFERENTIAL"),
        histogram([(1, "INCLUDED")], [1, 0, 1, 10], "NATURAL"),
    ]
    _, figures = tables_of(loaded(written(with_histograms(items), tmp_path / "dose.dcm")))
    means = column_values(figures, "Mean of the curve") or []
    assert means[:2] == [1.5, 1.5]
    assert math.isnan(means[2])
    assert (column_values(figures, "Volume") or [])[:2] == [10, 10]


# --- Nodes -----------------------------------------------------------------------------------------------------------


def test_survive_in_a_scene_file(tmp_path: Path) -> None:
    items = [histogram([(1, "INCLUDED")], [1, 9, 1, 8]), histogram([(2, "INCLUDED")], [1, 7, 1, 6, 1, 5])]
    nodes = loaded(written(with_histograms(items), tmp_path / "dose.dcm"))
    scene = saved_and_read(nodes[0].GetScene(), tmp_path)
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    table = volume.GetNodeReference("dvhTable")
    assert values_of(table, "ROI 2") == [7, 6, 5]
    assert values_of(table, "ROI 1") == [9, 8]
    chart = scene.GetFirstNodeByClass("vtkMRMLPlotChartNode")
    series = [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [one.GetTableNode().GetID() for one in series] == [table.GetID()] * 2
    assert [one.GetYColumnName() for one in series] == ["ROI 1", "ROI 2"]


def test_stand_below_their_dose(tmp_path: Path) -> None:
    nodes = loaded(written(with_histograms([histogram([(1, "INCLUDED")], [1, 9])]), tmp_path / "dose.dcm"))
    hierarchy = nodes[0].GetScene().GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    item = hierarchy.GetItemByDataNode(nodes[0])
    assert {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in nodes[1:]} == {item}


def test_histograms_without_a_dose_grid(tmp_path: Path) -> None:
    """An RT Dose may hold histograms alone (PS3.3 A.18.3)."""
    ds = with_histograms([histogram([(1, "INCLUDED")], [1, 9, 1, 4])])
    for keyword in ("PixelData", "Rows", "Columns", "NumberOfFrames", "GridFrameOffsetVector", "FrameIncrementPointer",
                    "DoseGridScaling", "BitsAllocated", "ImagePositionPatient"):  # fmt: skip
        ds.pop(keyword)
    path = written(ds, tmp_path / "dose.dcm")
    (loadable,) = examined(path, tmp_path)
    assert loadable.warning == ""
    nodes = loaded(path)
    assert by_class(nodes, "ScalarVolume") == []
    curves, _ = tables_of(nodes)
    assert values_of(curves, "ROI 1") == [9, 4]
    hierarchy = curves.GetScene().GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    assert hierarchy.GetItemUID(hierarchy.GetItemByDataNode(curves), "DICOM") == ds.SeriesInstanceUID


def test_neither_doses_nor_histograms(tmp_path: Path) -> None:
    path = written(dose(PixelData=None), tmp_path / "dose.dcm")
    with pytest.raises(UnreadableError, match="neither doses"):
        loaded(path)


# --- Damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"DVHData": [1, 2, 3]}, "pairs of numbers"),
        ({"DVHData": None}, "pairs of numbers"),
        ({"DVHType": "STRANGE"}, "DVHType is 'STRANGE'"),
        ({"DVHDoseScaling": "0"}, "DVHDoseScaling is 0"),
        ({"DVHDoseScaling": None}, "DVHDoseScaling is missing"),
        ({"DVHData": [-1, 9, 1, 8]}, "no lengths of dose"),
    ],
)
def test_one_damaged_histogram_costs_only_itself(
    values: dict[str, Any], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [histogram([(1, "INCLUDED")], [1, 9], **values), histogram([(2, "INCLUDED")], [1, 7])]
    path = written(with_histograms(items), tmp_path / "dose.dcm")
    nodes = loaded(path)
    curves, _ = tables_of(nodes)
    assert [curves.GetColumnName(number) for number in range(curves.GetNumberOfColumns())] == ["Dose", "ROI 2"]
    assert words in caplog.text
    (loadable,) = examined(path, tmp_path)
    assert words in loadable.warning


def test_a_wrong_number_of_bins_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = [histogram([(1, "INCLUDED")], [1, 9, 1, 8], DVHNumberOfBins=7)]
    curves, _ = tables_of(loaded(written(with_histograms(items), tmp_path / "dose.dcm")))
    assert values_of(curves, "ROI 1") == [9, 8]
    assert "2 bins, where DVHNumberOfBins is 7" in caplog.text
