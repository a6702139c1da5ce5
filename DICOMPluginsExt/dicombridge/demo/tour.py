"""The tour: a study is written, loaded, compared with its truth, drawn, exported again and compared again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import dicombridge
from dicombridge import preview
from dicombridge.demo import comparison, finding_checks, motion_checks, quantity_checks, slide_checks, treatment_checks
from dicombridge.demo.phantom import PhantomSeries, Truth, write_study
from dicombridge.errors import DicomBridgeError

__all__ = ["Row", "Tour"]

_SUMMARY = "summary.txt"
_MADE = ("dicom", "exported", "previews")
_PYDICOM_FILES = ("liver_1frame.dcm", "liver_expb_1frame.dcm")


@dataclass
class Row:
    """One line of the summary.

    Attributes
    ----------
    name
        The object.
    type
        Kind of object, or the segmentation type.
    segments
        Number of segments, structures or beams; None for images.
    voxels
        Number of voxels compared (images) or set (segments; for FRACTIONAL, above 0).
    checks
        What was compared -> whether it was equal.
    problem
        The error, where one ended it.
    """

    name: str
    type: str
    segments: int | None = None
    voxels: int = 0
    checks: dict[str, bool] = field(default_factory=dict)
    problem: str = ""

    @property
    def good(self) -> bool:
        """Everything that was compared was equal, and something was."""
        return bool(self.checks) and all(self.checks.values()) and not self.problem


class Tour:
    """One run of the demo in one folder.

    Parameters
    ----------
    directory
        New, empty, or of an earlier run (whose results are replaced).
    say
        Called with one line about each step.
    """

    def __init__(self, directory: str | Path, say: Callable[[str], Any] = print) -> None:
        self.directory = Path(directory)
        self.say = say
        self.rows: list[Row] = []
        self.files: list[Path] = []

    def run(self) -> bool:
        """Do it all; True where everything was equal."""
        self._prepare_folder()
        self.study = write_study(self.directory / "dicom")
        self.say(f"Phantom study: {len(list((self.directory / 'dicom').rglob('*.dcm')))} files in dicom/")
        self.scene = dicombridge.new_scene()
        self.database = dicombridge.open_folder(self.directory / "dicom")
        self.loaded = self._load_study()
        motion = self.study.motion
        for series in (self.study.ct, self.study.mr, self.study.pet, motion.moved, motion.breathed):
            self._check(Row(series.name, "IMAGE"), self._compare_image, series)
        for truth in self.study.segmentations:
            self._check(Row(truth.name, truth.type), self._compare_loaded, truth)
        for truth in self.study.segmentations:
            for kind in _types_to_export(truth):
                self._check(Row(f"{truth.name}, exported", kind), self._compare_exported, truth)
        self._check_quantities()
        self._check_treatment()
        self._check_motion()
        self._check_findings()
        self._check_slide()
        self._check(Row("Scene, saved and read again", "MRB"), self._compare_scene)
        for name in _PYDICOM_FILES:
            self._check(Row(f"pydicom's {name}", "BINARY"), self._compare_pydicom, name)
        self._draw_study()
        (self.directory / _SUMMARY).write_text(self.summary() + "\n", encoding="utf-8")
        return all(row.good for row in self.rows)

    def _check_quantities(self) -> None:
        pet, diffusion = self.study.pet, self.study.diffusion
        self._check(Row(f"{pet.name} as SUVbw", "RWVM"), quantity_checks.compare_uptake, self)
        self._check(Row(f"{pet.name} as SUVbw, exported", "RWVM"), quantity_checks.compare_uptake_exported, self)
        self._check(Row(diffusion.name, "PM"), quantity_checks.compare_map, self, diffusion)
        self._check(Row(f"{diffusion.name}, exported", "PM"), quantity_checks.compare_map_exported, self, diffusion)

    def _check_treatment(self) -> None:
        organs = self.study.segmentations[0]
        checks: tuple[tuple[str, str, Callable[..., None]], ...] = (
            ("Structures", "RTSTRUCT", treatment_checks.compare_structures),
            ("Structures, exported", "RTSTRUCT", treatment_checks.compare_structures_exported),
            ("Dose", "RTDOSE", treatment_checks.compare_dose),
            ("Dose, exported", "RTDOSE", treatment_checks.compare_dose_exported),
            ("Plan", "RTPLAN", treatment_checks.compare_plan),
            ("Plan, exported", "RTPLAN", treatment_checks.compare_plan_exported),
        )
        for name, kind, compare in checks:
            self._check(Row(name, kind), compare, self)
        self._check(Row(f"{organs.name} as structures", "RTSTRUCT"), treatment_checks.compare_converted, self, organs)

    def _check_motion(self) -> None:
        checks: tuple[tuple[str, str, Callable[..., None]], ...] = (
            ("CT moved, registered", "REG", motion_checks.compare_registration),
            ("Registration, exported", "REG", motion_checks.compare_registration_exported),
            ("CT breathed out, registered", "DEFORM", motion_checks.compare_deformation),
        )
        for name, kind, compare in checks:
            self._check(Row(name, kind), compare, self)

    def _check_findings(self) -> None:
        checks: tuple[tuple[str, str, Callable[..., None]], ...] = (
            ("Report", "SR", finding_checks.compare_report),
            ("Report, exported", "SR", finding_checks.compare_report_exported),
            ("Report for OHIF", "SR", finding_checks.compare_report_for_ohif),
            ("Key slices", "KOS", finding_checks.compare_key_slices),
        )
        for name, kind, compare in checks:
            self._check(Row(name, kind), compare, self)

    def _check_slide(self) -> None:
        checks: tuple[tuple[str, str, Callable[..., None]], ...] = (
            ("Slide", "SLIDE", slide_checks.compare_slide),
            ("Nuclei", "ANN", slide_checks.compare_nuclei),
            ("Nuclei, exported", "ANN", slide_checks.compare_nuclei_exported),
            ("Glands", "SEG", slide_checks.compare_glands),
            ("Glands, exported", "SEG", slide_checks.compare_glands_exported),
        )
        for name, kind, compare in checks:
            self._check(Row(name, kind), compare, self)

    def _prepare_folder(self) -> None:
        if self.directory.exists() and any(self.directory.iterdir()) and not (self.directory / _SUMMARY).exists():
            raise DicomBridgeError(f"{self.directory}: not empty, and not of an earlier demo; choose another folder.")
        for name in _MADE:
            shutil.rmtree(self.directory / name, ignore_errors=True)
        (self.directory / "previews").mkdir(parents=True)
        (self.directory / _SUMMARY).write_text("not finished\n", encoding="utf-8")

    def _check(self, row: Row, compare: Callable[..., None], *arguments: Any) -> None:
        """Fill a row; an error of the library is written down there, and the tour goes on."""
        self.rows.append(row)
        try:
            compare(row, *arguments)
        except DicomBridgeError as error:
            row.problem = " ".join(str(error).split())

    # Loading --------------------------------------------------------------------------------------------------

    def _load_study(self) -> dict[str, list[Any]]:
        """Return the nodes of each series, by SeriesInstanceUID; images first, as segmentations refer to them."""
        loadables = [loadable for loadable in dicombridge.examine(self.database) if loadable.selected]
        loadables.sort(key=lambda loadable: loadable.kind not in ("IMAGE", "SLIDE"))
        loaded = {}
        for loadable in loadables:
            nodes = dicombridge.load(loadable, scene=self.scene, database=self.database)
            loaded[loadable.seriesInstanceUID] = nodes
            self.say(
                f"Loaded {loadable.kind:5} {loadable.name}" + (f"  ! {loadable.warning}" if loadable.warning else "")
            )
        return loaded

    def nodes_of(self, file: Path) -> list[Any]:
        """Return what was loaded from a file; an error where nothing was."""
        return self.loaded.get(self.database.seriesForFile(str(file.resolve())), []) or self._missing(file)

    def _missing(self, file: Path) -> list[Any]:
        raise DicomBridgeError(f"{file.name}: nothing was loaded from it.")

    # Comparing ------------------------------------------------------------------------------------------------

    def _compare_image(self, row: Row, series: PhantomSeries) -> None:
        node = self.nodes_of(series.files[0])[0]
        values, affine = comparison.node_grid(node)
        row.voxels = values.size
        row.checks["truth"] = values.shape == series.values.shape and bool(
            np.allclose(values, series.values, rtol=1e-6, atol=0.0) and np.allclose(affine, series.affine, atol=1e-4)
        )

    def _compare_loaded(self, row: Row, truth: Truth) -> None:
        got = _arrays(self.nodes_of(truth.file), truth)
        row.segments, row.voxels = len(got), _count(got)
        row.checks["truth"] = comparison.equal(got, truth.segments)
        affine, shape = truth.source.affine, truth.source.values.shape
        row.checks["highdicom"] = comparison.equal(got, comparison.arrays_of_file(truth.file, affine, shape))

    def _compare_exported(self, row: Row, truth: Truth) -> None:
        nodes = self.nodes_of(truth.file)
        folder = self.directory / "exported" / f"{truth.file.stem}_{row.type.lower()}"
        paths = dicombridge.export(
            nodes,
            folder,
            kind="SEG",
            database=self.database,
            segmentation_type=row.type,
            SeriesDescription=f"{truth.name} again",
        )
        again = dicombridge.load(str(paths[0]), scene=dicombridge.new_scene(), database=self.database)
        got = _arrays(again, truth)
        row.segments, row.voxels = len(got), _count(got)
        row.checks["truth"] = comparison.equal(got, truth.segments)
        affine, shape = truth.source.affine, truth.source.values.shape
        row.checks["highdicom"] = comparison.equal(comparison.arrays_of_file(paths[0], affine, shape), truth.segments)

    def _compare_scene(self, row: Row) -> None:
        from dicombridge.cli.common import read_scene, save_scene

        path = save_scene(self.scene, self.directory / "scene.mrb")
        again = read_scene(str(path))
        row.checks["truth"] = True
        row.segments = 0
        for truth in self.study.segmentations:
            before = _arrays(self.nodes_of(truth.file)[:1], None)
            node = again.GetFirstNodeByName(self.nodes_of(truth.file)[0].GetName())
            after = _arrays([node], None) if node is not None else {}
            row.segments, row.voxels = row.segments + len(after), row.voxels + _count(after)
            same = set(before) == set(after) and all(before[name].sum() == after[name].sum() for name in before)
            row.checks["truth"] = row.checks["truth"] and same
        self.files.append(path)

    def _compare_pydicom(self, row: Row, name: str) -> None:
        """Real objects, made by others: one frame each, so pydicom's own pixels are the truth."""
        from pydicom import dcmread
        from pydicom.data import get_testdata_file

        path = get_testdata_file(name, download=False)
        if path is None:
            raise DicomBridgeError(f"This pydicom comes without {name}.")
        dataset = dcmread(path)
        nodes = dicombridge.load(str(path), scene=dicombridge.new_scene())
        got = _arrays(nodes, None)
        pixels = np.atleast_3d(dataset.pixel_array.astype(bool)).reshape(1, dataset.Rows, dataset.Columns)
        row.segments, row.voxels = len(got), _count(got)
        label = dataset.SegmentSequence[0].SegmentLabel
        row.checks["truth"] = set(got) == {label} and _same_cropped(got[label], pixels)
        if dataset.file_meta.TransferSyntaxUID.is_little_endian:  # highdicom reads no others
            by_highdicom = comparison.arrays_of_file(path, None, None)
            row.checks["highdicom"] = set(got) == set(by_highdicom) and _same_cropped(got[label], by_highdicom[label])
        self._draw(nodes, f"pydicom_{Path(name).stem}")

    # Drawing --------------------------------------------------------------------------------------------------

    def _draw_study(self) -> None:
        for truth in self.study.segmentations:
            try:
                nodes = self.nodes_of(truth.file)
            except DicomBridgeError:
                continue
            self._draw(nodes, truth.file.stem)
            if truth.type == "LABELMAP":
                self._draw(nodes, f"{truth.file.stem}_3d", views=("3d",))
        study, treatment = self.study, self.study.treatment
        pictures = {
            "pet_suv": [*self._loaded(study.ct.uid), *self._loaded(f"{study.pet.uid} SUVbw")],
            "mr_diffusion": [*self._loaded(study.mr.uid), *self._nodes_or_none(study.diffusion.file)],
            "treatment": [
                *self._loaded(study.ct.uid),
                *self._nodes_or_none(treatment.structure_set),
                *self._nodes_or_none(treatment.dose),
                *self._nodes_or_none(treatment.plan),
            ],
        }
        for name, nodes in pictures.items():
            self._draw(nodes, name)
        markups = finding_checks.markups_of(self._nodes_or_none(study.report.file))
        self._draw([*self._loaded(study.ct.uid), *markups], "findings", views=("axial",))
        on_slide = [self._nodes_or_none(file) for file in (study.slide.annotations, study.slide.segmentation)]
        self._draw([*self._loaded(study.slide.uid), *on_slide[0], *on_slide[1]], "slide")
        self.files += motion_checks.draw_motion(self)

    def _loaded(self, key: str) -> list[Any]:
        return self.loaded.get(key, [])

    def _nodes_or_none(self, file: Path) -> list[Any]:
        return self._loaded(self.database.seriesForFile(str(file.resolve())))

    def _draw(self, nodes: list[Any], name: str, views: tuple[str, ...] | None = None) -> None:
        path = preview.render(nodes, self.directory / "previews" / f"{name}.png", views=views)
        self.files.append(path)

    # Telling --------------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """Return the table, one line an object."""
        names = ("truth", "highdicom", "pydicom")
        rows = [("Object", "Type", "Parts", "Voxels", *(f"= {name}" for name in names))]
        for row in self.rows:
            marks = ["" if name not in row.checks else "yes" if row.checks[name] else "NO" for name in names]
            rows.append(
                (row.name, row.type, "" if row.segments is None else str(row.segments), str(row.voxels), *marks)
            )
        widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
        lines = []
        for cells, source in zip(rows, [None, *self.rows], strict=True):
            aligned = [
                cell.rjust(width) if column in (2, 3) else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append("  ".join(aligned).rstrip())
            if source is not None and source.problem:
                lines.append(f"    FAILED: {source.problem}")
        lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
        good = sum(row.good for row in self.rows)
        lines += ["", f"{good} of {len(self.rows)} equal"]
        return "\n".join(lines)


def _types_to_export(truth: Truth) -> list[str]:
    """Return the types that can hold the segments: no label map where they overlap, fractions only where there are."""
    return {"BINARY": ["BINARY"], "LABELMAP": ["LABELMAP", "BINARY"], "FRACTIONAL": ["FRACTIONAL"]}[truth.type]


def _arrays(nodes: list[Any], truth: Truth | None) -> comparison.Arrays:
    """Return the segments' voxels on the truth's grid; where there is no truth, each on its own layer's."""
    if truth is None:
        return {
            region.name: grid.values == region.label
            for grid, regions in preview.label_layers(nodes[0], hidden=True)
            for region in regions
        }
    target, shape = truth.source.affine, truth.source.values.shape
    if truth.type == "FRACTIONAL":
        return comparison.arrays_of_fractions(nodes, target, shape)
    return comparison.arrays_of_node(nodes[0], target, shape)


def _count(arrays: comparison.Arrays) -> int:
    return sum(int(np.count_nonzero(values)) for values in arrays.values())


def _same_cropped(one: Any, other: Any) -> bool:
    """Whether two arrays are equal once empty borders are cut off (a node may keep its effective extent only)."""
    crops = []
    for values in (one, other):
        found = np.nonzero(values)
        crops.append(values[tuple(slice(index.min(), index.max() + 1) for index in found)] if len(found[0]) else None)
    if crops[0] is None or crops[1] is None:
        return crops[0] is crops[1]
    return bool(np.array_equal(crops[0], crops[1]))
