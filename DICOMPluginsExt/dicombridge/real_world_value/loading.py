"""From files to nodes: the load half of the kind."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicombridge.errors import MissingReferenceError, UnsupportedError
from dicombridge.image.headers import read_dataset, text_of
from dicombridge.image.series import Series, read_series
from dicombridge.image.volume import read_image
from dicombridge.multiframe import open_multiframe
from dicombridge.progress import part
from dicombridge.real_world_value.mapped import MappedSeries, mapped_series
from dicombridge.real_world_value.nodes import MAPPING_NAME, RWV_INSTANCE, add_mapped_volume
from dicombridge.real_world_value.readings import (
    ALL_IMAGES,
    MAPPINGS,
    STORAGE,
    Reading,
    chosen_reading,
    readings_of_object,
    readings_of_planes,
)
from dicombridge.real_world_value.uptake import PET_CLASSES, supplied_inputs, uptake_reading, uptake_type
from dicombridge.references import references_of
from dicombridge.scene import transaction
from dicombridge.suv import SUV_TYPES, type_of_unit_code
from dicombridge.tolerance import reading

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dicombridge.database import Database
    from dicombridge.loadable import Loadable
    from dicombridge.progress import Progress

__all__ = ["load", "load_images"]

_log = logging.getLogger(__name__)


@dataclass
class _Volume:
    """One volume, before it is a node."""

    series: MappedSeries
    label: str
    attributes: dict[str, str]
    image: Any = None


def load(
    loadable: Loadable,
    scene: Any,
    database: Database | None,
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
    """Load images in real world values as ``vtkMRMLScalarVolumeNode`` of float32, one for each volume they form.

    Mappings are applied to stored values (PS3.3 C.7.6.16.2.11). A single linear mapping is applied beyond its range
    too; with a table or several ranges, values that no range holds become NaN. Both are logged with their number.

    Parameters
    ----------
    loadable
        A Real World Value Mapping object, or image files that have mappings or are PET images.
    scene
        ``vtkMRMLScene``; unchanged where loading fails.
    database
        Where the images of a mapping object are looked up.
    progress
        Called with a fraction (0 to 1) and a message.
    mapping
        Name, label, units or quantity of the mapping, or a kind of SUV (:data:`dicombridge.suv.SUV_TYPES`); the first
        mapping where it is not given.
    weight_kg, height_m, sex, injected_dose_bq, injection_datetime, scan_datetime, half_life_s, decay_correction
        What an SUV needs and the headers lack, or say wrong (:func:`dicombridge.suv.factors`).
    options
        Not used: those of other kinds.

    Raises
    ------
    UnreadableError
        A file is damaged.
    UnsupportedError
        There is no such mapping, or the SUV cannot be computed; the message says what is missing.
    MissingReferenceError
        The images of a mapping object are not in the database.
    """
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
    file = loadable.files[0]
    if text_of(read_dataset(file, ("SOPClassUID",)), "SOPClassUID") == STORAGE:
        return _load_object(loadable, scene, database, progress, mapping)
    nodes = load_images(loadable, scene, progress, mapping, supplied)
    if nodes is None:
        raise UnsupportedError(f"{file}: is no PET image, and has no {mapping}.")
    return nodes


# --- Mapping objects -----------------------------------------------------------------------------------------------


def _load_object(
    loadable: Loadable, scene: Any, database: Database | None, progress: Progress | None, mapping: str | None
) -> list[Any]:
    file = loadable.files[0]
    with reading(file):
        with open_multiframe(file) as opened:
            header = opened.header
        readings = readings_of_object(header, file)
        chosen = _chosen(readings, mapping, file)
        of_series = _files_of(chosen, header, file, database)
    if progress is not None:
        progress(0.02, "Mapping")
    volumes: list[_Volume] = []
    for number, files in enumerate(of_series):
        found = read_series(files, part(progress, 0.02 + 0.2 * number / len(of_series), 0.2 / len(of_series)))
        volumes.extend(_volumes_of_object(found, header, chosen, file))
    return _finish(volumes, _named(loadable, chosen.name), scene, part(progress, 0.22, 0.78), header)


def _volumes_of_object(found: Sequence[Series], header: Dataset, chosen: Reading, file: str) -> list[_Volume]:
    volumes = []
    for one in found:
        # Only the images tell whether the ends of a range are signed.
        signed = one.encodings[0].signed
        known = (chosen_reading(readings_of_object(header, file, signed), chosen.name) if signed else None) or chosen
        mappings = [known.of_plane(plane) for plane in one.stack.planes]
        if any(mappings):
            attributes = {RWV_INSTANCE: text_of(header, "SOPInstanceUID"), MAPPING_NAME: chosen.name}
            label = one.stack.label or (one.header.get("SeriesDescription") or "")
            volumes.append(_Volume(_mapped(one, mappings), str(label), attributes))
    if not volumes:
        raise UnsupportedError(f"{file}: its mapping {chosen.name} is for none of the frames of the images.")
    return volumes


def _chosen(readings: Sequence[Reading], mapping: str | None, file: str) -> Reading:
    chosen = chosen_reading(readings, mapping)
    if chosen is None:
        names = ", ".join(one.name for one in readings)
        raise UnsupportedError(f"{file}: has no mapping {mapping!r}; there are: {names}.")
    return chosen


def _files_of(chosen: Reading, header: Dataset, file: str, database: Database | None) -> list[list[str]]:
    """Return the files of the images that a mapping is for, series by series.

    Raises
    ------
    MissingReferenceError
        None of them is in the database.
    """
    uids = dict.fromkeys(uid for uid, _ in chosen.items)
    if ALL_IMAGES[0] in uids:
        uids = dict.fromkeys(one.sop_instance_uid for one in references_of(header) if one.sop_instance_uid)
    files: dict[str, list[str]] = {}
    missing = 0
    for uid in uids:
        path = database.fileForInstance(uid) if database is not None else ""
        if path and database is not None:
            files.setdefault(database.seriesForFile(path), []).append(path)
        else:
            missing += 1
    if not files:
        raise MissingReferenceError(
            f"{file}: none of the {len(uids)} images that it maps is in the database; add them to the folder or "
            "database that is loaded from."
        )
    if missing:
        _log.warning("%s: %d of the %d images that it maps are not in the database.", file, missing, len(uids))
    return [list(dict.fromkeys(of_series)) for of_series in files.values()]


# --- Images --------------------------------------------------------------------------------------------------------


def load_images(
    loadable: Loadable,
    scene: Any,
    progress: Progress | None,
    mapping: str | None,
    supplied: Mapping[str, Any],
) -> list[Any] | None:
    """Load images in the values of a mapping that they carry themselves, or in SUV; parameters as :func:`load`.

    Returns
    -------
    list of nodes
        None where an SUV is asked for and the images are no PET.
    """
    file = loadable.files[0]
    found = read_series(loadable.files, part(progress, 0.0, 0.2))
    volumes = []
    for one in found:
        volume = _volume_in_mapping(one, mapping, supplied) or _volume_in_uptake(one, mapping, supplied)
        if volume is None:
            if uptake_type(mapping) and text_of(one.header, "SOPClassUID") not in PET_CLASSES:
                return None
            names = [each.name for each in readings_of_planes(one.stack.planes)]
            if text_of(one.header, "SOPClassUID") in PET_CLASSES:
                names += SUV_TYPES
            asked = f"mapping {mapping!r}" if mapping else "real world value mapping of its own"
            raise UnsupportedError(f"{file}: has no {asked}; there are: {', '.join(names) or 'none'}.")
        volumes.append(volume)
    name = volumes[0].attributes[MAPPING_NAME] if volumes else ""
    return _finish(volumes, _named(loadable, name), scene, part(progress, 0.2, 0.8))


def _volume_in_mapping(one: Series, mapping: str | None, supplied: Mapping[str, Any]) -> _Volume | None:
    """Return a volume in the values of a mapping that the images carry, None where they have none of that name."""
    if supplied and uptake_type(mapping):
        return None  # what the caller supplies is for computing it anew
    if not one.stack.planes[0].frame and MAPPINGS not in one.header:
        return None
    chosen = chosen_reading(readings_of_planes(one.stack.planes), mapping)
    if chosen is None:
        return None
    attributes = {RWV_INSTANCE: text_of(one.header, "SOPInstanceUID"), MAPPING_NAME: chosen.name}
    return _Volume(_mapped(one, [chosen.of_plane(plane) for plane in one.stack.planes]), one.stack.label, attributes)


def _volume_in_uptake(one: Series, mapping: str | None, supplied: Mapping[str, Any]) -> _Volume | None:
    """Return a volume in SUV, None where no SUV was asked for, or the images are no PET."""
    kind = uptake_type(mapping)
    if kind is None or text_of(one.header, "SOPClassUID") not in PET_CLASSES:
        return None
    uptake, attributes = uptake_reading(one, kind, supplied)
    mappings = [uptake.of_plane(plane) for plane in one.stack.planes]
    return _Volume(_mapped(one, mappings), one.stack.label, {**attributes, MAPPING_NAME: uptake.name})


def _named(loadable: Loadable, name: str) -> str:
    """Return what nodes are called: after the mapping that they were loaded with, whatever the loadable is for."""
    own = loadable.options.get("mapping")
    if own == name or (own is None and loadable.kind == "RWVM"):
        return loadable.name
    if own is not None and not loadable.name.endswith(f" as {own}"):
        return loadable.name  # an object with one mapping
    return f"{loadable.name.removesuffix(f' as {own}')} as {name}"


# --- Both ----------------------------------------------------------------------------------------------------------


def _mapped(one: Series, mappings: Sequence[Any]) -> MappedSeries:
    units = next(of_plane[0].units for of_plane in mappings if of_plane)
    return mapped_series(one, mappings, is_suv=units is not None and type_of_unit_code(units.value) is not None)


def _finish(
    volumes: Sequence[_Volume], name: str, scene: Any, progress: Progress | None, header: Dataset | None = None
) -> list[Any]:
    """Read the voxels of all volumes, then add their nodes."""
    share = 1 / max(len(volumes), 1)
    for number, volume in enumerate(volumes):
        volume.image = read_image(volume.series, part(progress, number * share, share))
    nodes = []
    with transaction(scene):
        for volume in volumes:
            own = f"{name} - {volume.label}" if volume.label and len(volumes) > 1 else name
            for warning in (volume.series.stack.warning, *volume.series.warnings):
                if warning:
                    _log.warning("%s: %s", own, warning)
            nodes.append(add_mapped_volume(scene, volume.series, volume.image, own, volume.attributes, header))
    return nodes
