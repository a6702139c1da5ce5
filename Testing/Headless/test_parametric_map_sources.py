"""The source images of maps that are written together: each map names its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from image_support import write_slice
from support.rwv_objects import write_enhanced_dynamic_pet
from test_parametric_map_export import written

import dicombridge


def sources_of(dataset: pydicom.Dataset) -> list[list[tuple[str, int]]]:
    """Instance and frame number that each frame names."""
    return [
        [
            (str(one.ReferencedSOPInstanceUID), int(one.get("ReferencedFrameNumber") or 0))
            for one in groups.DerivationImageSequence[0].SourceImageSequence
        ]
        for groups in dataset.PerFrameFunctionalGroupsSequence
    ]


def write_series(folder: Path, series: str, **attributes: Any) -> list[str]:
    """Three slices; their SOP Instance UIDs."""
    for number in range(3):
        pixels = np.full((4, 5), 10 * number, np.int16)
        write_slice(folder, number + 1, (0, 0, 3 * number), pixels=pixels, series=series, **attributes)
    return [f"{series}.{number + 1}" for number in range(3)]


def test_time_points_of_a_multi_frame_image_name_their_own_frames(tmp_path: Path) -> None:
    """They are of one instance and on one grid; the frames of the first one were named for all."""
    pixels = np.random.default_rng(2).integers(0, 30000, (3, 2, 4, 5)).astype(np.uint16)
    image = write_enhanced_dynamic_pet(tmp_path / "dynamic.dcm", pixels)
    with dicombridge.open_folder(tmp_path) as database:
        nodes = dicombridge.load(tmp_path)
        _, second = written(nodes[1], tmp_path / "second", database=database)
        _, together = written(nodes, tmp_path / "together", database=database)
    assert sources_of(second) == [[(image.SOPInstanceUID, 3)], [(image.SOPInstanceUID, 4)]]
    assert sources_of(together) == [[(image.SOPInstanceUID, frame)] for frame in range(1, 7)]


def test_maps_from_several_series_name_the_images_of_their_own(tmp_path: Path) -> None:
    first = write_series(tmp_path / "images" / "first", "1.2.3.51")
    second = write_series(tmp_path / "images" / "second", "1.2.3.52", SeriesNumber=8)
    with dicombridge.open_folder(tmp_path / "images") as database:
        nodes = dicombridge.load(tmp_path / "images")
        nodes.sort(key=lambda node: node.GetAttribute("DICOM.instanceUIDs"))
        _, dataset = written(nodes, tmp_path, database=database)
    assert sources_of(dataset) == [[(uid, 0)] for uid in [*first, *second]]
    assert {
        one.SeriesInstanceUID: {named.ReferencedSOPInstanceUID for named in one.ReferencedInstanceSequence}
        for one in dataset.ReferencedSeriesSequence
    } == {"1.2.3.51": set(first), "1.2.3.52": set(second)}
