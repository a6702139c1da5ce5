"""Images: CT, MR and PET series, single-frame or enhanced multi-frame, as scalar volumes.

The path of an image: ``headers`` and ``enhanced`` (what a file says about its planes), ``stacks`` (which planes form
a grid), ``voxels`` and ``quantities`` (what the values are), ``series`` (all of it as values), ``volume`` (the node).
Other kinds place their objects with :func:`dicombridge.image.series.series_grid`.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dicombridge.examination import first_loadable, series_name
from dicombridge.kinds import kind_named
from dicombridge.loadable import Loadable
from dicombridge.tags import SERIES_INSTANCE_UID

if TYPE_CHECKING:
    from dicombridge.image.headers import Plane
    from dicombridge.image.stacks import Stack
    from dicombridge.progress import Progress

__all__ = ["examine", "load"]

log = logging.getLogger(__name__)


def examine(files: Sequence[str], database: Any) -> list[Loadable]:
    """Return a loadable for each volume that the images among these files form; header values only.

    Multi-frame files are one loadable each: their functional groups, which no database caches, are read at load.
    """
    from dicombridge.image.headers import MULTI_FRAME_CLASSES, database_values, plane_of_values
    from dicombridge.image.stacks import find_stacks

    single: dict[str, list[Plane]] = defaultdict(list)
    multi: list[Plane] = []
    for file in map(str, files):
        plane = plane_of_values(file, database_values(database, file))
        if plane.sop_class_uid not in kind_named("IMAGE").sop_classes:
            continue
        if plane.sop_class_uid in MULTI_FRAME_CLASSES:
            multi.append(plane)
        else:
            single[str(database.fileValue(file, SERIES_INSTANCE_UID) or "")].append(plane)
    series = Counter(database.fileValue(plane.path, SERIES_INSTANCE_UID) for plane in multi)
    loadables = [
        _multi_frame_loadable(plane, database, series[database.fileValue(plane.path, SERIES_INSTANCE_UID)] == 1)
        for plane in multi
    ]
    for planes in single.values():
        stacks = find_stacks(plane for plane in planes if not plane.lacks)
        loadables.extend(_stack_loadable(stack, database) for stack in stacks)
        placeless = [plane for plane in planes if plane.lacks]
        if placeless:
            loadables.append(_placeless_loadable(placeless, database))
    return loadables


def load(
    loadable: Loadable,
    scene: Any,
    database: Any,
    progress: Progress | None = None,
    *,
    mapping: str | None = None,
    weight_kg: float | None = None,
    height_m: float | None = None,
    sex: str | None = None,
    injected_dose_bq: float | None = None,
    injection_datetime: Any = None,
    scan_datetime: Any = None,
    half_life_s: float | None = None,
    decay_correction: str | None = None,
    **options: Any,
) -> list[Any]:
    """Load images as ``vtkMRMLScalarVolumeNode``, one for each volume that the loadable's files form.

    Parameters
    ----------
    loadable
        From :func:`examine`; only ``files`` and ``name`` matter.
    scene
        Where the nodes go; unchanged if loading fails.
    database
        Not needed: images refer to nothing.
    progress
        Called with a fraction from 0 to 1 and a message.
    mapping
        Real world values to load instead: a mapping that the images carry, or a kind of SUV, e.g. ``"SUVbw"``
        (:func:`dicombridge.real_world_value.load`). Images that are no PET have no SUV: they are loaded as they are.
    weight_kg, height_m, sex, injected_dose_bq, injection_datetime, scan_datetime, half_life_s, decay_correction
        What an SUV needs and the headers lack, or say wrong.
    options
        Not used.

    Raises
    ------
    UnreadableError
        A file is damaged, or contradicts itself.
    UnsupportedError
        Colour images, unknown compression, no such mapping, an SUV that cannot be computed.
    GeometryError
        An image cannot be placed in space.
    """
    from dicombridge.image.series import read_series
    from dicombridge.image.volume import add_volume, read_image
    from dicombridge.progress import part
    from dicombridge.scene import transaction

    if mapping is not None:
        from dicombridge.real_world_value import load_images
        from dicombridge.real_world_value.uptake import supplied_inputs

        supplied = supplied_inputs(
            weight_kg=weight_kg,
            height_m=height_m,
            sex=sex,
            injected_dose_bq=injected_dose_bq,
            injection_datetime=injection_datetime,
            scan_datetime=scan_datetime,
            half_life_s=half_life_s,
            decay_correction=decay_correction,
        )
        nodes = load_images(loadable, scene, progress, mapping, supplied)
        if nodes is not None:
            return nodes
        log.warning("%s: is no PET image and has no %s; it was loaded as it is.", loadable.name, mapping)
    series = read_series(loadable.files, part(progress, 0.0, 0.2))
    share = 0.8 / max(len(series), 1)
    images = [read_image(one, part(progress, 0.2 + n * share, share)) for n, one in enumerate(series)]
    nodes = []
    with transaction(scene):
        for one, image in zip(series, images, strict=True):
            label = one.stack.label if len(series) > 1 else ""
            name = f"{loadable.name} - {label}" if label else loadable.name
            if one.stack.warning:
                log.warning("%s: %s", name, one.stack.warning)
            nodes.append(add_volume(scene, one, image, name))
    return nodes


def _loadable(planes: Sequence[Plane], database: Any, label: str, tooltip: str, warning: str) -> Loadable:
    files = list(dict.fromkeys(plane.path for plane in planes))
    name = series_name(files[0], database, "Unnamed Series")
    loadable = first_loadable("IMAGE", files, database, f"{name} - {label}" if label else name, tooltip)
    loadable.warning = warning
    return loadable


def _stack_loadable(stack: Stack, database: Any) -> Loadable:
    slices, rows, columns = stack.shape
    tooltip = f"{slices} slices of {rows} x {columns}, {len(stack.planes)} files"
    return _loadable(stack.planes, database, stack.label, tooltip, stack.warning)


def _multi_frame_loadable(plane: Plane, database: Any, alone: bool) -> Loadable:
    label = "" if alone or plane.instance_number is None else f"instance {plane.instance_number}"
    return _loadable([plane], database, label, "One multi-frame file", "")


def _placeless_loadable(planes: Sequence[Plane], database: Any) -> Loadable:
    warning = f"{len(planes)} images cannot be placed in space and do not load: their headers lack {planes[0].lacks}."
    loadable = _loadable(planes, database, "not placed", "No volume", warning)
    loadable.selected, loadable.confidence = False, 0.1
    return loadable
