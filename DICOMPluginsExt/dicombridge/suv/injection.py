"""When the radiopharmaceutical was given: DateTime, or a time without a date (PS3.3 C.8.9.2)."""

from __future__ import annotations

from datetime import datetime, timedelta

from dicombridge.suv.audit import Account, moment_text
from dicombridge.suv.times import seconds_between
from dicombridge.suv.values import Sourced, SuvInputs

__all__ = ["injection_moment"]

_MOST_HALF_LIVES = 10
_NIGHT_HALF_LIVES, _NIGHT_S = 5, 12 * 3600.0
"""How long ago an injection of the evening before can be."""
_SHORT_S = 6 * 3600.0
"""Radionuclides that decay faster are imaged within hours: their injection was on the day of the scan."""
_BEFORE_INJECTION_S = 600.0
"""A dynamic scan may begin so long before the injection."""
_CLOCK = "Radiopharmaceutical Start Time (0018,1072)"
_OPTION = "injection_datetime"


def injection_moment(
    inputs: SuvInputs, scan: Sourced[datetime], half_life_s: float, account: Account
) -> Sourced[datetime] | None:
    """Return when the dose was injected, None where nothing says so or what says so is absurd.

    Parameters
    ----------
    scan
        The earliest moment to which values are corrected.
    """
    moment, stated = scan.value, inputs.injection
    if stated is None:
        return _by_clock(inputs, moment, half_life_s, account)
    if stated.value.tzinfo is not None and moment.tzinfo is None and not _same_clock(inputs):
        account.lack(
            f"{stated.source} ({moment_text(stated.value)}) has a time zone, but the times of the series have none "
            "(Timezone Offset From UTC (0008,0201)): how much later the scan was is unknown.",
            _OPTION,
        )
        return None
    delay = seconds_between(stated.value, moment)
    if _plausible(inputs, delay, half_life_s):
        _remark(inputs, stated, delay, half_life_s, account)
        account.use("Injection", stated)
        return stated
    return _another_date(inputs, stated, moment, half_life_s, account)


def _plausible(inputs: SuvInputs, delay: float, half_life_s: float) -> bool:
    earliest = -_BEFORE_INJECTION_S if inputs.dynamic else 0.0
    return earliest <= delay <= _MOST_HALF_LIVES * half_life_s


def _remark(inputs: SuvInputs, stated: Sourced[datetime], delay: float, half_life_s: float, account: Account) -> None:
    if delay < 0:
        account.warn(f"The injection ({moment_text(stated.value)}) was after the start of this dynamic scan.")
    elif delay > _NIGHT_HALF_LIVES * half_life_s:
        account.warn(f"The scan started {delay / half_life_s:.1f} half-lives after the injection.")
    elif delay < 1 and not inputs.dynamic:
        account.warn("Injection and start of the scan are the same moment; is one of them altered?")
    both = inputs.injection is not None and inputs.injection_clock is not None
    if both and not stated.source.startswith("option") and not _same_clock(inputs):
        account.warn(f"{stated.source} was used; {_CLOCK} is another time of day.")


def _same_clock(inputs: SuvInputs) -> bool:
    """Tell whether time and DateTime of the injection are the same time of day."""
    if inputs.injection is None or inputs.injection_clock is None:
        return False
    return abs(_clock(inputs.injection.value) - inputs.injection_clock.value) <= 60


def _clock(moment: datetime) -> float:
    return moment.hour * 3600.0 + moment.minute * 60 + moment.second + moment.microsecond * 1e-6


def _another_date(
    inputs: SuvInputs, stated: Sourced[datetime], scan: datetime, half_life_s: float, account: Account
) -> Sourced[datetime] | None:
    """De-identification often alters the date of one attribute and not of the other: then the time of day holds."""
    delay = seconds_between(stated.value, scan)
    words = (
        f"The injection ({moment_text(stated.value)}, {stated.source}) and the scan ({moment_text(scan)}) do not fit: "
        f"{delay / 3600:.4g} hours lie between them, {delay / half_life_s:.3g} half-lives"
    )
    if stated.source.startswith("option") or half_life_s > _SHORT_S or not _same_clock(inputs):
        account.lack(f"{words}.", _OPTION)
        return None
    same_day = _on_day(stated.value.replace(tzinfo=None), scan)
    if not 0 < seconds_between(same_day, scan) <= _NIGHT_HALF_LIVES * half_life_s:
        account.lack(f"{words}.", _OPTION)
        return None
    account.warn(f"{words}. Only the time of day was used, on the day of the scan; a date seems to have been altered.")
    return _noted(Sourced(same_day, f"time of day of {stated.source} and {_CLOCK}, date of the scan"), account)


def _on_day(clock: datetime, scan: datetime) -> datetime:
    return datetime.combine(scan.date(), clock.time(), tzinfo=scan.tzinfo)


def _by_clock(inputs: SuvInputs, scan: datetime, half_life_s: float, account: Account) -> Sourced[datetime] | None:
    clock = inputs.injection_clock
    if clock is None:
        words = (
            "When the dose was injected is missing (Radiopharmaceutical Start DateTime (0018,1078), Time (0018,1072))."
        )
        account.lack(words, _OPTION)
        return None
    if clock.value == 0:
        account.lack(f"{_CLOCK} is exactly midnight: it was removed.", _OPTION)
        return None
    if half_life_s > _SHORT_S:
        words = (
            f"The header has no date of the injection ({_CLOCK} only), and with a half-life of {half_life_s / 3600:.3g}"
        )
        account.lack(f"{words} hours it may have been on another day.", _OPTION)
        return None
    moment = datetime.combine(scan.date(), datetime.min.time(), tzinfo=scan.tzinfo) + timedelta(seconds=clock.value)
    delay = seconds_between(moment, scan)
    source = f"{_CLOCK}, on the day of the scan"
    if delay < 0 and not _plausible(inputs, delay, half_life_s):
        moment, delay = moment - timedelta(days=1), delay + 86400
        if delay > min(_NIGHT_S, _NIGHT_HALF_LIVES * half_life_s):
            words = f"The injection ({_CLOCK}, {moment_text(moment)[11:19]}) is after the start of the scan"
            account.lack(f"{words} ({moment_text(scan)}), and the day before would be too early.", _OPTION)
            return None
        account.warn(f"The injection was taken to be on the evening before the scan, {moment_text(moment)}.")
        source = f"{_CLOCK}, on the day before the scan"
    if delay > _MOST_HALF_LIVES * half_life_s:
        words = f"The injection ({moment_text(moment)}) is {delay / half_life_s:.3g} half-lives before the scan"
        account.lack(f"{words} ({moment_text(scan)}).", _OPTION)
        return None
    stated = Sourced(moment, source)
    _remark(inputs, stated, delay, half_life_s, account)
    return _noted(stated, account)


def _noted(moment: Sourced[datetime], account: Account) -> Sourced[datetime]:
    account.use("Injection", moment)
    return moment
