"""RT images: where their planes lie, computed by hand, and what their volumes hold.

The image of the tests has 3 x 5 pixels, 2 mm between rows and 3 mm between columns. Its first pixel lies at (-6, 2) in
the image receptor, so that pixel (column, row) lies at x = -6 + 3 column, y = 2 - 2 row, and the middle one on the beam
axis. Source to axis is 1000 mm, source to image 1500 mm: the plane lies at z = 1000 - 1500 = -500 of the gantry. The
isocentre is at (10, 20, 30) LPS, and the patient lies head first and supine: LPS = isocentre + (x, -z, y) of the fixed
system.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from support.items import item, reference
from support.rt_images import loaded, lps, of_plan, plan, write_image
from support.rt_records import PLAN_UID, write

import dicombridge

FIRST, MIDDLE = (0, 0), (2, 1)


# --- Placement -------------------------------------------------------------------------------------------------------

# The axes of the gantry at angle g are x = (cos g, 0, -sin g), y = (0, 1, 0), z = (sin g, 0, cos g) of the fixed
# system. A receptor point (x, y) lies at x * xg + y * yg - 500 * zg.
GANTRY = {
    # fixed = (x, y, -500), LPS = (x, 500, y): behind the patient, seen from the front
    0: ((10 - 6, 20 + 500, 30 + 2), (10, 520, 30)),
    # x = (0, 0, -1), z = (1, 0, 0): fixed = (-500, y, -x), LPS = (-500, x, y): at the right, seen from the left
    90: ((10 - 500, 20 - 6, 30 + 2), (-490, 20, 30)),
    # x = (-1, 0, 0), z = (0, 0, -1): fixed = (-x, y, 500), LPS = (-x, -500, y)
    180: ((10 + 6, 20 - 500, 30 + 2), (10, -480, 30)),
    # x = (0, 0, 1), z = (-1, 0, 0): fixed = (500, y, x), LPS = (500, -x, y)
    270: ((10 + 500, 20 + 6, 30 + 2), (510, 20, 30)),
}


@pytest.mark.parametrize("angle", GANTRY)
def test_gantry(angle: int, tmp_path: Path, scene: Any) -> None:
    node = loaded(tmp_path, scene, GantryAngle=angle)
    first, middle = GANTRY[angle]
    assert (lps(node, *FIRST), lps(node, *MIDDLE)) == (list(first), list(middle))


# All at gantry 0, where fixed = (x, y, -500) and the first pixel is (-6, 2, -500).
OTHERS: dict[str, tuple[dict[str, Any], tuple[float, float, float]]] = {
    # The table's axes in the fixed system: x = (0, 1, 0), y = (-1, 0, 0). On the table (y, -x, -500), LPS (y, 500, -x)
    "couch 90": ({"PatientSupportAngle": 90}, (10 + 2, 520, 30 + 6)),
    # x = (0, -1, 0), y = (1, 0, 0): on the table (-y, x, -500), LPS (-y, 500, x)
    "couch 270": ({"PatientSupportAngle": 270}, (10 - 2, 520, 30 - 6)),
    # Turns about the same axis add up: 60 + 30 degrees are the first case.
    "couch 60, eccentric 30": ({"PatientSupportAngle": 60, "TableTopEccentricAngle": 30}, (12, 520, 36)),
    # Receptor axes in the gantry: x = (0, 1, 0), y = (-1, 0, 0): (-y, x, -500), LPS (-y, 500, x)
    "receptor 90": ({"XRayImageReceptorAngle": 90}, (10 - 2, 520, 30 - 6)),
    # The collimator turns, the receptor does not.
    "collimator 90": ({"BeamLimitingDeviceAngle": 90}, (4, 520, 32)),
    # Gantry y = (0, 0, 1), z = (0, -1, 0): fixed (x, 500, y), LPS (x, -y, 500)
    "gantry pitch 90": ({"GantryPitchAngle": 90}, (10 - 6, 20 - 2, 30 + 500)),
    # Table y = (0, 0, 1), z = (0, -1, 0): on the table (x, -500, -y), LPS (x, y, -500)
    "table pitch 90": ({"TableTopPitchAngle": 90}, (10 - 6, 20 + 2, 30 - 500)),
    # Table x = (0, 0, -1), z = (1, 0, 0): on the table (500, y, x), LPS (500, -x, y)
    "table roll 90": ({"TableTopRollAngle": 90}, (10 + 500, 20 + 6, 30 + 2)),
    # 7 mm along x, -8 mm along y of the gantry: LPS + (7, 0, -8)
    "translation": ({"XRayImageReceptorTranslation": [7, -8, -500]}, (4 + 7, 520, 32 - 8)),
    # Translation is in the gantry's system, so it does not turn with the receptor: (8, 520, 24) + (7, 0, -8)
    "translation and receptor": (
        {"XRayImageReceptorTranslation": [7, -8, -500], "XRayImageReceptorAngle": 90},
        (8 + 7, 520, 24 - 8),
    ),
    # Between source and isocentre: 1000 - 600 = 400, LPS = (x, -400, y)
    "SID 600": ({"RTImageSID": 600}, (4, 20 - 400, 32)),
    # The orientation of a normal plane turns its rows, but not its first pixel.
    "rows down": ({"RTImageOrientation": [0, -1, 0, -1, 0, 0]}, (4, 520, 32)),
    # Feet first, supine: x to the right, y to the feet: LPS = (-x, 500, -y)
    "FFS": ({"PatientPosition": "FFS"}, (10 + 6, 520, 30 - 2)),
    # Prone: z to the back: LPS = (-x, -500, y) and, feet first, (x, -500, -y)
    "HFP": ({"PatientPosition": "HFP"}, (10 + 6, 20 - 500, 32)),
    "FFP": ({"PatientPosition": "FFP"}, (10 - 6, 20 - 500, 30 - 2)),
    # On the left side, x to the front, z to the right: LPS = (500, -x, y); on the right side (-500, x, y)
    "HFDL": ({"PatientPosition": "HFDL"}, (10 + 500, 20 + 6, 32)),
    "HFDR": ({"PatientPosition": "HFDR"}, (10 - 500, 20 - 6, 32)),
    # Feet first on the left side, x to the back, y to the feet: LPS = (500, x, -y)
    "FFDL": ({"PatientPosition": "FFDL"}, (10 + 500, 20 - 6, 30 - 2)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_any_angle(case: str, tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """SlicerRT refuses translation, receptor angle and pitch, and ignores the couch."""
    values, first = OTHERS[case]
    node = loaded(tmp_path, scene, **values)
    assert lps(node, *FIRST) == list(first)
    assert caplog.messages == []


def test_the_plane_is_seen_from_the_source(tmp_path: Path, scene: Any) -> None:
    """An image from the front shows the patient's left at its right, the head at its top."""
    node = loaded(tmp_path, scene)
    first = np.array(lps(node, 0, 0))
    assert (np.array(lps(node, 1, 0)) - first).tolist() == [3, 0, 0]
    assert (np.array(lps(node, 0, 1)) - first).tolist() == [0, 0, -2]
    assert node.GetSpacing() == (3.0, 2.0, 1.0)


def test_a_tilted_plane(tmp_path: Path, scene: Any) -> None:
    """Columns along the beam: the plane was turned about the receptor's origin, and its first pixel with it.

    (x, y) becomes x * row - y * column = (x, 0, y) of the receptor: z = -500 + 2 there, 502 - 4 = 498 mm behind.
    """
    node = loaded(tmp_path, scene, RTImagePlane="NON_NORMAL", RTImageOrientation=[1, 0, 0, 0, 0, -1])
    assert lps(node, *FIRST) == [10 - 6, 20 + 498, 30]
    assert lps(node, *MIDDLE) == [10, 520, 30]


def test_oblique_angles_together(tmp_path: Path, scene: Any) -> None:
    """Gantry 30, couch 90: the middle pixel lies at -500 * (sin 30, 0, cos 30) = (-250, 0, -433.0127), fixed.

    On the table (y, -x, z) = (0, 250, -433.0127), LPS + (0, 433.0127, 250).
    """
    node = loaded(tmp_path, scene, GantryAngle=30, PatientSupportAngle=90)
    assert lps(node, *MIDDLE) == [10, 453.012702, 280]


# --- Guesses ---------------------------------------------------------------------------------------------------------

MISSING: dict[str, tuple[dict[str, Any], tuple[float, float, float], str]] = {
    "isocentre": ({"IsocenterPosition": None}, (-6, 500, 2), "has no isocentre"),
    "image position": ({"RTImagePosition": None}, (4, 520, 32), "no image position"),
    "SID": ({"RTImageSID": None}, (4, 20, 32), "no distance of the image plane"),
    "SAD": ({"RadiationMachineSAD": None}, (4, 520, 32), "1000 mm are assumed"),
    "gantry": ({"GantryAngle": None}, (4, 520, 32), "no gantry angle"),
    "patient position": ({"PatientPosition": None}, (4, 520, 32), "no patient position; HFS"),
    "known position": ({"PatientPosition": "UPSIDE"}, (4, 520, 32), "UPSIDE, which is not known"),
    "agreement": ({"XRayImageReceptorTranslation": [0, 0, -600]}, (4, 520, 32), "told to be -600 mm"),
    "spacing": ({"ImagePlanePixelSpacing": None, "RTImagePosition": [0, 0]}, (10, 520, 30), "1 mm is assumed"),
    "tilt": ({"RTImagePlane": "NON_NORMAL"}, (4, 520, 32), "does not say how"),
    "true tilt": ({"RTImageOrientation": [1, 0, 0, 0, 0, -1]}, (4, 518, 30), "its orientation is not"),
}


@pytest.mark.parametrize("what", MISSING)
def test_guesses_are_told(what: str, tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Examination says what is missing; so do the log and the node."""
    values, first, words = MISSING[what]
    write_image(tmp_path, **values)
    with dicombridge.open_folder(tmp_path) as database:
        (offered,) = dicombridge.examine(database)
        (node,) = dicombridge.load(offered, scene=scene, database=database)
    assert words in offered.warning
    assert offered.selected
    assert lps(node, *FIRST) == list(first)
    assert [words in message for message in caplog.messages] == [True]
    assert words in node.GetAttribute("DICOMBridge.Warning")


def test_translation_stands_in_for_the_distance(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    node = loaded(tmp_path, scene, RTImageSID=None, XRayImageReceptorTranslation=[0, 0, -400])
    assert lps(node, *FIRST) == [4, 420, 32]
    assert node.GetAttribute("DicomRtImport.RtImageSid") == "1400"
    assert caplog.messages == []


# --- The plan --------------------------------------------------------------------------------------------------------

SILENT = {"IsocenterPosition": None, "PatientPosition": None, "GantryAngle": None, "FrameOfReferenceUID": None}


def with_plan(folder: Path, scene: Any, beam: int | None, *arguments: Any, **values: Any) -> tuple[Any, Any]:
    """Return what is offered and the node of an image that leaves all to its plan."""
    write_image(folder, **{**SILENT, **of_plan(beam), **values})
    write(plan(*arguments), folder, "plan.dcm")
    with dicombridge.open_folder(folder) as database:
        (offered,) = [one for one in dicombridge.examine(database) if one.kind == "RTIMAGE"]
        (node,) = dicombridge.load(offered, scene=scene, database=database)
    return offered, node


def test_the_plan_tells(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Gantry 90: fixed = (-500, y, -x); feet first, supine: LPS = (-x, -z, -y) of it = (500, x, -y)."""
    offered, node = with_plan(tmp_path, scene, 1, [(1, 2, 3), (4, 5, 6)])
    assert lps(node, *FIRST) == [1 + 500, 2 - 6, 3 - 2]
    assert (offered.warning, caplog.messages) == ("", [])
    assert offered.referencedInstanceUIDs == [PLAN_UID]
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode")
    described = hierarchy.GetItemByDataNode(node)
    assert hierarchy.GetItemAttribute(described, "DICOM.ReferencedInstanceUIDs") == PLAN_UID
    assert hierarchy.GetItemAttribute(described, "DICOM.FrameOfReferenceUID").endswith(".71")


def test_the_second_beam_of_the_plan(tmp_path: Path, scene: Any) -> None:
    """The second setup is HFS: LPS = (-500, x, y) from the second isocentre."""
    _, node = with_plan(tmp_path, scene, 2, [(1, 2, 3), (4, 5, 6)])
    assert lps(node, *FIRST) == [4 - 500, 5 - 6, 6 + 2]


def test_what_the_image_says_comes_first(tmp_path: Path, scene: Any) -> None:
    """Gantry 0, HFS: LPS = (x, 500, y) from the plan's isocentre."""
    _, node = with_plan(tmp_path, scene, 1, [(1, 2, 3)], GantryAngle=0, PatientPosition="HFS")
    assert lps(node, *FIRST) == [1 - 6, 2 + 500, 3 + 2]


def test_a_table_that_was_moved_is_told(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The isocentre stays that of the plan: whether the patient moved with the table, nobody knows."""
    positions = {"TableTopVerticalPosition": -100, "TableTopLongitudinalPosition": 500, "TableTopLateralPosition": 0}
    write_image(tmp_path, **{**SILENT, **of_plan(), **positions, "TableTopLongitudinalPosition": 512.5})
    planned = plan([(1, 2, 3)])
    planned.BeamSequence[0].ControlPointSequence[0].update(item(**positions))
    write(planned, tmp_path, "plan.dcm")
    with dicombridge.open_folder(tmp_path) as database:
        (offered,) = [one for one in dicombridge.examine(database) if one.kind == "RTIMAGE"]
        (node,) = dicombridge.load(offered, scene=scene, database=database)
    assert lps(node, *FIRST) == [501, -4, 1]
    assert ["12.5 mm" in message for message in caplog.messages] == [True]


PLANS: dict[str, tuple[int | None, tuple[Any, ...], tuple[float, float, float], list[str]]] = {
    "no beam named, several isocentres": (
        None,
        ([(1, 2, 3), (4, 5, 6)],),
        (-6, 500, 2),
        ["several isocentres", "HFS", "0"],
    ),
    "no beam named, one isocentre": (None, ([(1, 2, 3)],), (501, -4, 1), []),
    "a beam that is not there": (9, ([(1, 2, 3)],), (-6, 500, 2), ["no beam 9", "HFS is assumed", "0 is assumed"]),
    # An arc: which of its angles it was, only the image could say. Feet first at gantry 0: LPS = (-x, 500, -y)
    "an arc": (1, ([(1, 2, 3)], "FFS", (170, 10)), (1 + 6, 2 + 500, 3 - 2), ["no gantry angle"]),
}


@pytest.mark.parametrize("case", PLANS)
def test_plans_that_do_not_tell(case: str, tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    beam, arguments, first, words = PLANS[case]
    _, node = with_plan(tmp_path, scene, beam, *arguments)
    assert lps(node, *FIRST) == list(first)
    assert len(caplog.messages) == len(words)
    for word in words:
        assert any(word in message for message in caplog.messages)


def test_an_absent_plan_is_named(tmp_path: Path) -> None:
    write_image(tmp_path, **of_plan(), IsocenterPosition=None)
    with dicombridge.open_folder(tmp_path) as database:
        (offered,) = dicombridge.examine(database)
    assert "not in the database" in offered.warning
    assert offered.referencedInstanceUIDs == [PLAN_UID]


def test_a_damaged_plan_is_named(tmp_path: Path, scene: Any, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path, **{**SILENT, **of_plan()})
    path = write(plan([(1, 2, 3)]), tmp_path, "plan.dcm")
    with dicombridge.open_folder(tmp_path) as database:
        (offered,) = [one for one in dicombridge.examine(database) if one.kind == "RTIMAGE"]
        path.write_bytes(b"nothing")
        (node,) = dicombridge.load(offered, scene=scene, database=database)
    assert lps(node, *FIRST) == [-6, 500, 2]
    assert "Its plan cannot be read" in " ".join(caplog.messages)


@pytest.mark.parametrize("path", ["rt/eclipse_breast/rtplan.dcm", "rt/pinnacle/RTPLAN.dcm"])
def test_beams_of_real_plans(path: str, data: Path, tmp_path: Path, scene: Any) -> None:
    """Images of all beams, seen along their axes: the middle lies at -500 * (sin g, 0, cos g) of the fixed system.

    Head first and supine, with the couch at c: on the table (x, y, z) = (-500 sin g cos c, 500 sin g sin c,
    -500 cos g), and LPS = isocentre + (x, -z, y).
    """
    planned = dcmread(data / path)
    shutil.copy(data / path, tmp_path / "plan.dcm")
    named = [reference(planned.SOPClassUID, planned.SOPInstanceUID)]
    expected = {}
    for beam in planned.BeamSequence:
        first, name = beam.ControlPointSequence[0], f"{beam.BeamNumber}.dcm"
        values = {**SILENT, "ReferencedRTPlanSequence": named, "ReferencedBeamNumber": beam.BeamNumber}
        values.update(GantryAngle=first.GantryAngle, PatientSupportAngle=None, RTImageLabel=str(beam.BeamNumber))
        write_image(tmp_path, name, **values)
        gantry, couch = np.radians([float(first.GantryAngle), float(first.PatientSupportAngle)])
        away = 500 * np.array([-np.sin(gantry) * np.cos(couch), np.cos(gantry), np.sin(gantry) * np.sin(couch)])
        expected[name] = np.array(first.IsocenterPosition, dtype=float) + away
    with dicombridge.open_folder(tmp_path) as database:
        offered = {Path(one.files[0]).name: one for one in dicombridge.examine(database) if one.kind == "RTIMAGE"}
        assert set(offered) == set(expected)
        for name, middle in expected.items():
            (node,) = dicombridge.load(offered[name], scene=scene, database=database)
            np.testing.assert_allclose(lps(node, *MIDDLE), middle, atol=1e-4)
