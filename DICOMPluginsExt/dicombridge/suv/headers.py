"""From the headers of a PET series to what an SUV is made of (PS3.3 C.8.9, C.8.22)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, TypeVar

from dicombridge.image.headers import text_of
from dicombridge.suv.attributes import MULTI_FRAME_PET, Header, finite, frames_of, items, label
from dicombridge.suv.mapping import unit_mapping
from dicombridge.suv.radiopharmaceutical import radiopharmaceutical, single_photon
from dicombridge.suv.times import date_and_time, parse_datetime, parse_offset, seconds_between
from dicombridge.suv.values import FrameInputs, Sourced, SuvInputs
from dicombridge.tolerance import quiet

__all__ = ["inputs_of_header", "inputs_of_series"]

PT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.128",
    "1.2.840.10008.5.1.4.1.1.128.1",
    "1.2.840.10008.5.1.4.1.1.130",
)
ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.130"

SUV_TYPE_TERMS: Mapping[str, str] = {
    "BW": "SUVbw",
    "LBM": "SUVlbm",
    "LBMJAMES128": "SUVlbm(James128)",
    "LBMJANMA": "SUVlbm(Janma)",
    "BSA": "SUVbsa",
    "IBW": "SUVibw",
}
"""Defined terms of SUV Type (0054,1006) (PS3.3 C.8.9.1)."""

_PHILIPS = "Philips PET Private Group"
_GE = "GEMS_PETD_01"

T = TypeVar("T")


@quiet()
def inputs_of_series(headers: Iterable[Any]) -> SuvInputs:
    """Read all that SUVs of a series need.

    Never raises for damaged headers: what cannot be read is None, and contradictions stand in
    :attr:`SuvInputs.problems`.

    Parameters
    ----------
    headers
        One Dataset per instance, pixels not needed: PET, Legacy Converted Enhanced PET or Enhanced PET images with
        their per-frame functional groups. (Without these, a multi-frame image counts as one frame.)
    """
    frames = [frame for header in headers for frame in frames_of(header)]
    if not frames:
        return SuvInputs(problems=("The series has no images.",))
    first, problems = frames[0], _not_pet(frames)
    zone = parse_offset(first.text("TimezoneOffsetFromUTC"))
    common = _Common(frames, problems)
    enhanced = first.text("SOPClassUID") == ENHANCED_PET
    agent, remarks = radiopharmaceutical(frames, zone)
    problems += remarks
    problems += single_photon(first, agent)
    units, suv_type, mapped = _units(frames, common, problems)
    counts = units is not None and units.value == "CNTS"
    series_start = _same([_date_time(frame, "SeriesDate", "SeriesTime", zone) for frame in frames])
    reference = common.value("DecayCorrectionDateTime", lambda frame: _moment(frame, "DecayCorrectionDateTime", zone))
    return SuvInputs(
        units=units,
        suv_type=suv_type,
        decay_correction=_decay_correction(enhanced, common),
        corrected=_corrected(enhanced, common),
        weight_kg=common.value("PatientWeight", lambda frame: frame.number_of("PatientWeight")),
        height_m=common.value("PatientSize", lambda frame: frame.number_of("PatientSize")),
        sex=common.value("PatientSex", lambda frame: frame.sourced_text("PatientSex")),
        injected_dose_bq=agent.dose_bq,
        half_life_s=agent.half_life_s,
        nuclide=agent.nuclide,
        injection=agent.injection,
        injection_clock=agent.clock,
        series_start=series_start,
        ge_scan_start=_ge_scan_start(first, zone),
        decay_reference=reference,
        dynamic=_is_dynamic(first),
        frames=tuple(_frame(frame, zone, counts, scale) for frame, scale in zip(frames, mapped, strict=True)),
        problems=tuple(problems),
        manufacturer=first.text("Manufacturer"),
    )


def inputs_of_header(header: Any) -> SuvInputs:
    """Read from the header of one instance what can be said of its whole series, before the others are read.

    What only the other slices or the per-frame functional groups can tell is taken to be right: the units of a
    multi-frame image, and decay factors of a series that was processed after its acquisition.
    """
    inputs = inputs_of_series([header])
    multi_frame = text_of(header, "SOPClassUID") in MULTI_FRAME_PET
    start = inputs.series_start
    if multi_frame and not items(header, "PerFrameFunctionalGroupsSequence"):
        unseen = "per-frame functional groups"
        frames = tuple(replace(frame, acquisition=frame.acquisition or start) for frame in inputs.frames)
        inputs = replace(inputs, units=inputs.units or Sourced("BQML", unseen), frames=frames)
    acquired = inputs.frames[0].acquisition if inputs.frames else None
    if start is None or acquired is None or seconds_between(start.value, acquired.value) < 0:
        inputs = replace(inputs, frames=tuple(replace(frame, decay_factor=None) for frame in inputs.frames))
    return inputs


class _Common:
    """Values that must be the same in all headers of a series; those that are not become problems."""

    def __init__(self, frames: Sequence[Header], problems: list[str]) -> None:
        self.frames = frames
        self.problems = problems

    def value(self, keyword: str, read: Callable[[Header], Sourced[T] | None]) -> Sourced[T] | None:
        found = {value for frame in self.frames if (value := read(frame)) is not None}
        if len(found) > 1:
            several = ", ".join(sorted(_words(value.value) for value in found)[:4])
            self.problems.append(
                f"The slices contradict each other: {label(keyword)} is {several}. Load the slices of one series only."
            )
        return next(iter(found)) if len(found) == 1 else None


def _is_dynamic(frame: Header) -> bool:
    slices = frame.number_of("NumberOfTimeSlices")
    return frame.text("SeriesType").upper().startswith("DYNAMIC") or (slices is not None and slices.value > 1)


def _words(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _same(values: Sequence[Sourced[T] | None]) -> Sourced[T] | None:
    """Return the value that all have, None where they differ: then nobody knows which one counts."""
    return values[0] if values and all(value == values[0] for value in values) else None


# --- moments -------------------------------------------------------------------------------------------------------


def _moment(frame: Header, keyword: str, zone: timezone | None) -> Sourced[datetime] | None:
    moment = parse_datetime(frame.text(keyword), zone)
    return None if moment is None else Sourced(moment, label(keyword))


def _date_time(frame: Header, date: str, time: str, zone: timezone | None) -> Sourced[datetime] | None:
    moment = date_and_time(frame.text(date), frame.text(time), zone)
    return None if moment is None else Sourced(moment, f"{label(date)}, {label(time)}")


def _acquisition(frame: Header, zone: timezone | None) -> Sourced[datetime] | None:
    return (
        _moment(frame, "FrameAcquisitionDateTime", zone)
        or _date_time(frame, "AcquisitionDate", "AcquisitionTime", zone)
        or _moment(frame, "AcquisitionDateTime", zone)
        or _date_time(frame, "SeriesDate", "AcquisitionTime", zone)
    )


def _ge_scan_start(frame: Header, zone: timezone | None) -> Sourced[datetime] | None:
    moment = parse_datetime(frame.private(0x0009, _GE, 0x0D), zone)
    return None if moment is None else Sourced(moment, f"GE private scan date and time (0009,100D) of {_GE}")


def _frame(frame: Header, zone: timezone | None, counts: bool, to_units: Sourced[float]) -> FrameInputs:
    return FrameInputs(
        sop_instance_uid=frame.text("SOPInstanceUID"),
        number=frame.number,
        acquisition=_acquisition(frame, zone),
        reference_s=_seconds(frame, "FrameReferenceTime"),
        duration_s=_seconds(frame, "ActualFrameDuration") or _seconds(frame, "FrameAcquisitionDuration"),
        decay_factor=frame.number_of("DecayFactor"),
        # Philips writes its factors beside BQML too, where they must not be used.
        philips_suv=_philips(frame, 0x00, "SUV Scale Factor (7053,1000)") if counts else None,
        philips_activity=_philips(frame, 0x09, "Activity Concentration Scale Factor (7053,1009)") if counts else None,
        to_units=to_units,
    )


def _seconds(frame: Header, keyword: str) -> Sourced[float] | None:
    """Return milliseconds as seconds, None where they are negative or more than any scan takes."""
    found = frame.number_of(keyword, 0.001)
    return found if found is not None and 0 <= found.value <= 1e6 else None


def _philips(frame: Header, element: int, name: str) -> Sourced[float] | None:
    found = finite(frame.private(0x7053, _PHILIPS, element), f"{name} of {_PHILIPS}")
    return found if found is not None and found.value > 0 else None


# --- what the values are -------------------------------------------------------------------------------------------


def _units(
    frames: Sequence[Header], common: _Common, problems: list[str]
) -> tuple[Sourced[str] | None, Sourced[str] | None, list[Sourced[float]]]:
    """Return units, kind of SUV, and for each frame what takes rescaled values to these units."""
    units = common.value("Units", lambda frame: frame.sourced_text("Units"))
    if units is not None or any(frame.text("Units") for frame in frames):
        suv_type = common.value("SUVType", lambda frame: frame.sourced_text("SUVType"))
        if suv_type is not None:
            suv_type = Sourced(SUV_TYPE_TERMS.get(suv_type.value, suv_type.value), suv_type.source)
        return units, suv_type, [Sourced(1.0, "rescaled values")] * len(frames)
    mapped = [unit_mapping(frame) for frame in frames]
    found = {(one.units, one.suv_type) for one in mapped}
    if len(found) > 1:
        several = ", ".join(sorted(str(unit.value if unit else "none") for unit, _ in found))
        problems.append(f"The frames contradict each other: their units are {several}.")
    problems += dict.fromkeys(one.problem for one in mapped if one.problem)
    return mapped[0].units, mapped[0].suv_type, [one.scale for one in mapped]


def _decay_correction(enhanced: bool, common: _Common) -> Sourced[str] | None:
    if not enhanced:
        return common.value("DecayCorrection", lambda frame: frame.sourced_text("DecayCorrection"))
    found = common.value("DecayCorrected", lambda frame: frame.sourced_text("DecayCorrected"))
    terms = {"YES": "REFERENCE", "NO": "NONE"}
    return Sourced(terms[found.value], found.source) if found is not None and found.value in terms else None


def _corrected(enhanced: bool, common: _Common) -> Sourced[tuple[str, ...]] | None:
    if not enhanced:
        return common.value("CorrectedImage", _corrected_image)
    parts = {"AttenuationCorrected": "ATTN", "DecayCorrected": "DECY"}
    found = {keyword: common.value(keyword, _reader(keyword)) for keyword in parts}
    if found["AttenuationCorrected"] is None:
        return None
    terms = tuple(term for keyword, term in parts.items() if (value := found[keyword]) and value.value == "YES")
    return Sourced(terms, " and ".join(label(keyword) for keyword in parts))


def _reader(keyword: str) -> Callable[[Header], Sourced[str] | None]:
    return lambda frame: frame.sourced_text(keyword)


def _corrected_image(frame: Header) -> Sourced[tuple[str, ...]] | None:
    terms = tuple(sorted(part.strip().upper() for part in frame.text("CorrectedImage").split("\\") if part.strip()))
    return Sourced(terms, label("CorrectedImage")) if terms else None


def _not_pet(frames: Sequence[Header]) -> list[str]:
    classes = {frame.text("SOPClassUID") for frame in frames}
    if not classes <= set(PT_CLASSES):
        return ["These are no PET images, so there is no SUV of them."]
    modality = frames[0].text("Modality").upper()
    if modality in ("NM", "ST"):
        words = f"These are images of a gamma camera (Modality (0008,0060) {modality}) stored as PET"
        return [f"{words}, whose values are no activity concentration."]
    if any(frame.text("CountsSource").upper() == "TRANSMISSION" for frame in frames):
        return ["This is a transmission image (Counts Source (0054,1002)): it shows attenuation, not uptake."]
    return []
