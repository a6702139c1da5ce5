"""To which moment the voxel values are corrected: start of the scan, or each frame (QIBA's vendor-neutral variant)."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from dicombridge.suv.audit import Account, moment_text
from dicombridge.suv.times import average_count_rate_s, in_zone, seconds_between
from dicombridge.suv.values import FrameInputs, Sourced, SuvInputs

__all__ = ["check_decay_factors", "frame_moments", "scan_start"]

_LONGEST_WAIT_S = 12 * 3600.0
"""A series does not begin earlier than that before its first acquisition: then one of the dates was altered."""
_SPREAD_S = 60.0
_DOUBTFUL, _WRONG = 0.02, 0.10


def scan_start(inputs: SuvInputs, half_life_s: float, account: Account) -> Sourced[datetime] | None:
    """Return the moment to which values with Decay Correction START are corrected, None where nothing tells it.

    In this order: Decay Correction DateTime; series date and time, if no acquisition began before; GE's private scan
    date and time; computed back from Frame Reference Time; the earliest acquisition, but not of a dynamic scan.
    """
    stated = inputs.decay_reference
    if stated is not None:
        return _used(stated, account)
    if inputs.decay_correction is not None and inputs.decay_correction.value == "REFERENCE":
        account.lack("Decay Correction DateTime (0018,9701) is missing.", "scan_datetime")
        return None
    acquisitions = [frame.acquisition for frame in inputs.frames if frame.acquisition is not None]
    earliest = min(acquisitions, key=lambda found: found.value.replace(tzinfo=None), default=None)
    series = inputs.series_start
    if earliest is None:
        return _series_alone(inputs, account)
    if series is not None:
        wait = seconds_between(series.value, earliest.value)
        if 0 <= wait <= _LONGEST_WAIT_S:
            return _used(series, account, "no acquisition began before it")
        if wait > _LONGEST_WAIT_S:
            account.lack(
                f"The start of the series ({moment_text(series.value)}) and its first acquisition "
                f"({moment_text(earliest.value)}) do not fit; a date was altered. When did the scan start?",
                "scan_datetime",
            )
            return None
    private = inputs.ge_scan_start
    if private is not None:
        if abs(seconds_between(private.value, earliest.value)) <= _LONGEST_WAIT_S:
            return _used(private, account, "the series was processed after the acquisition")
        account.warn(f"{private.source} is {moment_text(private.value)}, far from the acquisition: it was not used.")
    computed = _computed(inputs, half_life_s, account)
    if computed is None and inputs.dynamic:
        # Each time point is a volume of its own, and only the first of them begins with the scan.
        account.lack(
            "The start of the series is after its acquisition or missing, and the time points of a dynamic scan do not "
            "tell when it started.",
            "scan_datetime",
        )
        return None
    return computed or _earliest(earliest, account)


def _used(moment: Sourced[datetime], account: Account, why: str = "") -> Sourced[datetime] | None:
    if (moment.value.hour, moment.value.minute, moment.value.second) == (0, 0, 0):
        words = (
            f"The scan starts at {moment_text(moment.value)}, exactly midnight ({moment.source}): its time was removed."
        )
        if not moment.source.startswith("option"):
            account.lack(words, "scan_datetime")
            return None
    account.use("Start of the scan", moment)
    if why:
        account.note(f"Start of the scan is taken from there because {why}")
    return moment


def _series_alone(inputs: SuvInputs, account: Account) -> Sourced[datetime] | None:
    for found in (inputs.ge_scan_start, inputs.series_start):
        if found is not None:
            account.warn(f"No acquisition time: the start of the scan was taken from {found.source}.")
            return _used(found, account)
    words = "When the scan started is missing (Series Time (0008,0031), Acquisition Time (0008,0032))."
    account.lack(words, "scan_datetime")
    return None


def _computed(inputs: SuvInputs, half_life_s: float, account: Account) -> Sourced[datetime] | None:
    """Return acquisition - Frame Reference Time + moment of the average count rate within the frame.

    That is the same moment for all frames; if it is not, Frame Reference Time means something else. GE counts it from
    the start of the scan to the start of the frame, so it is not used there.
    """
    if inputs.manufacturer.upper().startswith("GE"):
        return None
    starts: list[datetime] = []
    for frame in inputs.frames:
        acquisition, reference, duration = frame.acquisition, frame.reference_s, frame.duration_s
        if acquisition is None or reference is None or duration is None or min(reference.value, duration.value) <= 0:
            return None
        average = average_count_rate_s(duration.value, half_life_s)
        start = acquisition.value - timedelta(seconds=reference.value - average)
        starts.append(in_zone(start, starts[0]) if starts else start)
    first, last = min(starts), max(starts)
    if (last - first).total_seconds() > _SPREAD_S:
        account.warn(
            "Frame Reference Time (0054,1300) gives another start of the scan for each slice and was not used."
        )
        return None
    source = (
        "Acquisition Date and Time (0008,0022; 0008,0032) - Frame Reference Time (0054,1300) + time of the average "
    )
    source += "count rate, 1/k ln(kT / (1 - exp(-kT))) with k = ln 2 / half-life, T = Actual Frame Duration (0018,1242)"
    return _used(Sourced(first, source), account, "the series was processed after the acquisition")


def _earliest(acquisition: Sourced[datetime], account: Account) -> Sourced[datetime] | None:
    account.warn(
        "The start of the series is after its acquisition or missing, so the scan was taken to start with the earliest "
        f"acquisition ({moment_text(acquisition.value)}). If slices are missing, give the start as option "
        "scan_datetime."
    )
    return _used(acquisition, account, "it is the earliest acquisition of all slices")


def frame_moments(inputs: SuvInputs, half_life_s: float, account: Account) -> list[Sourced[datetime]]:
    """Return for every frame without decay correction when its count rate is the average; empty if nobody knows."""
    if inputs.decay_reference is not None and inputs.decay_reference.source.startswith("option"):
        return [Sourced(account.use("Moment of the images", inputs.decay_reference), "")] * len(inputs.frames)
    if any(frame.decay_factor is not None and frame.decay_factor.value > 1 + _DOUBTFUL for frame in inputs.frames):
        account.lack(
            "The header contradicts itself: the images are said not to be corrected for decay, but they have a Decay "
            "Factor (0054,1321) above 1. Which is right?",
            "decay_correction",
        )
        return []
    moments = []
    for frame in inputs.frames:
        if frame.acquisition is None:
            account.lack(
                "The time of acquisition (Acquisition Time (0008,0032)) of a slice is missing.", "scan_datetime"
            )
            return []
        moments.append(Sourced(frame.acquisition.value + timedelta(seconds=_average(frame, half_life_s, account)), ""))
    account.note(
        f"Moment of each frame: from {inputs.frames[0].acquisition.source if inputs.frames[0].acquisition else ''}"
    )
    account.note(
        "plus the time of the average count rate within the frame, 1/k ln(kT / (1 - exp(-kT))), k = ln 2 / half-life, "
        "T = Actual Frame Duration (0018,1242)"
    )
    return moments


def _average(frame: FrameInputs, half_life_s: float, account: Account) -> float:
    if frame.duration_s is None or frame.duration_s.value <= 0:
        account.warn("The duration of a frame is missing: its values were taken to be those of its beginning.")
        return 0.0
    return average_count_rate_s(frame.duration_s.value, half_life_s)


def check_decay_factors(
    inputs: SuvInputs, start: Sourced[datetime], half_life_s: float, account: Account
) -> float | None:
    """Compare Decay Factor (0054,1321) of the first frame with the one that the start of the scan gives.

    Returns
    -------
    float or None
        What the header says divided by what is expected; None where the header has no decay factors.
    """
    known = [
        frame
        for frame in inputs.frames
        if frame.acquisition is not None and frame.decay_factor is not None and frame.decay_factor.value > 1
    ]
    if not known or len(known) < len(inputs.frames):
        return None
    first = min(known, key=lambda frame: _order(frame, start.value))
    waits = _waits(first, start.value, half_life_s)
    factor = first.decay_factor.value if first.decay_factor is not None else 1.0
    ratios = [factor / 2.0 ** min(60.0, max(-60.0, wait / half_life_s)) for wait in waits]
    ratio = min(ratios, key=lambda value: abs(math.log(value)) if value > 0 else math.inf)
    words = (
        f"Decay Factor (0054,1321) of the first frame is {factor:g}, {ratio:.4g} of what the start of the scan gives"
    )
    error = abs(ratio - 1)
    if error > _WRONG and not start.source.startswith("option"):
        account.lack(f"{words}, so one of them is wrong. When did the scan start?", "scan_datetime")
    elif error > _DOUBTFUL:
        account.warn(f"{words}.")
    else:
        account.note(f"Check: {words}")
    return ratio


def _order(frame: FrameInputs, zone: datetime) -> tuple[datetime, float]:
    """Sort by acquisition, then by decay factor: some scanners give all beds the acquisition time of the first one."""
    moment = frame.acquisition.value if frame.acquisition is not None else zone
    return in_zone(moment, zone), frame.decay_factor.value if frame.decay_factor is not None else 1.0


def _waits(frame: FrameInputs, start: datetime, half_life_s: float) -> list[float]:
    """Return the seconds from the start of the scan that a decay factor may be for: scanners differ in what they mean.

    To the moment of the average count rate or to the beginning of the frame, which begins with its acquisition, or,
    where that is the start of the scan itself for all beds (GE), after its Frame Reference Time.
    """
    waited = seconds_between(start, frame.acquisition.value) if frame.acquisition is not None else 0.0
    average = average_count_rate_s(frame.duration_s.value, half_life_s) if frame.duration_s is not None else 0.0
    waits = [waited + average, waited]
    if waited == 0 and frame.reference_s is not None:
        waits += [frame.reference_s.value + average, frame.reference_s.value]
    return waits
