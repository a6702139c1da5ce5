"""Brachytherapy: application setups, channels, dwell positions: dataset -> values (PS3.3 C.8.8.15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dicombridge.plan.items import Item
from dicombridge.plan.values import Channel, DwellPosition, Record, Reference

__all__ = ["read_channels"]

SAME_PLACE_MM = 1e-3
"""Control points nearer than this stand for one stop of the source."""


def read_channels(plan: Item, references: Sequence[Reference], sources: Sequence[Record]) -> tuple[Channel, ...]:
    """Return the channels of all application setups.

    Parameters
    ----------
    references
        What the fraction groups deliver: the dose of a setup stands there.
    sources
        Items of the Source Sequence.
    """
    by_number = {source.settings.get("SourceNumber"): source.settings for source in sources}
    channels = []
    for setup in plan.items("ApplicationSetupSequence"):
        number = setup.whole("ApplicationSetupNumber")
        delivered = [one for one in references if one.kind != "beam" and one.number == number]
        dose = delivered[0].settings.get("BrachyApplicationSetupDose") if delivered else None
        settings = setup.settings()
        for item in setup.items("ChannelSequence"):
            source: Mapping[str, object] | None = by_number.get(item.number("ReferencedSourceNumber"))
            if source is None and "ReferencedSourceNumber" in item:
                plan.problems.append(f"The source of channel {item.text('ChannelNumber') or '?'} is not in the plan.")
            channels.append(
                Channel(
                    item.path,
                    item.settings(),
                    setup_number=number,
                    number=item.whole("ChannelNumber"),
                    setup=settings,
                    source=by_number.get(item.number("ReferencedSourceNumber")) or {},
                    dose=dose if isinstance(dose, float) else None,
                    dwells=tuple(_dwells(item)),
                )
            )
    return tuple(channels)


@dataclass
class _Stop:
    """Consecutive control points at one place."""

    first: int
    last: int
    position: tuple[float, ...] | None
    relative: float | None
    arrival: float | None
    leaving: float | None


def _dwells(channel: Item) -> list[DwellPosition]:
    """Return the stops of the source.

    Cumulative time weights count all time up to a control point; a stop is two control points at one place, between
    which the time passes (PS3.3 C.8.8.15.7, C.8.8.15.12). What passes between two places is the way from one to the
    other.
    """
    points = channel.items("BrachyControlPointSequence")
    announced = channel.whole("NumberOfControlPoints")
    if announced is not None and announced != len(points):
        name = channel.text("ChannelNumber") or "?"
        channel.problems.append(f"Channel {name} has {len(points)} control points and says that it has {announced}.")
    total, final = channel.number("ChannelTotalTime"), channel.number("FinalCumulativeTimeWeight")
    seconds = total / final if total is not None and final is not None and final > 0 else None
    stops = _stops(points)
    found = []
    before: _Stop | None = None
    for stop in stops:
        start = before.leaving if before is not None else 0.0
        found.append(
            DwellPosition(
                stop.position,
                stop.relative,
                (stop.arrival, stop.leaving),
                _time(stop.arrival, stop.leaving, seconds),
                _time(start, stop.arrival, seconds),
                (stop.first, stop.last),
            )
        )
        before = stop
    return found


def _stops(points: Sequence[Item]) -> list[_Stop]:
    stops: list[_Stop] = []
    for place, point in enumerate(points):
        position, relative = point.position("ControlPoint3DPosition"), point.number("ControlPointRelativePosition")
        weight = point.number("CumulativeTimeWeight")
        last = stops[-1] if stops else None
        if last is not None and _same(last, position, relative):
            last.last, last.leaving = place, weight if weight is not None else last.leaving
        else:
            stops.append(_Stop(place, place, position, relative, weight, weight))
    return stops


def _same(stop: _Stop, position: tuple[float, ...] | None, relative: float | None) -> bool:
    if stop.relative is not None and relative is not None and abs(stop.relative - relative) > SAME_PLACE_MM:
        return False
    if stop.position is not None and position is not None:
        return max(abs(a - b) for a, b in zip(stop.position, position, strict=True)) <= SAME_PLACE_MM
    return (stop.relative is None) == (relative is None) and (relative is not None or stop.position is position)


def _time(start: float | None, stop: float | None, seconds: float | None) -> float | None:
    return (stop - start) * seconds if start is not None and stop is not None and seconds is not None else None
