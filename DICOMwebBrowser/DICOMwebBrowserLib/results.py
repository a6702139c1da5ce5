"""What a search found: studies and their series as plain values, in the order in which they are shown."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any

from DICOMwebBrowserLib.signals import Signal

__all__ = ["Results"]

_SORTED_AT_ONCE = 1000  # about 3 ms
_MERGED_AT_ONCE = 1000

Item = dict[str, Any]


class Results:
    """Studies, and series by study. It outlives the window, which shows the first ones of :attr:`order`.

    Attributes
    ----------
    cleared, added, ordered, series_changed
        Signals: nothing is left; studies were added at the end (their number); the order is another one; the series of
        a study are known (its UID).
    """

    def __init__(self) -> None:
        self.cleared, self.added, self.ordered, self.series_changed = Signal(), Signal(), Signal(), Signal()
        self.studies: dict[str, Item] = {}
        self.series: dict[str, dict[str, Item]] = {}
        self.order: list[str] = []

    def clear(self) -> None:
        """Forget everything."""
        self.studies, self.series, self.order = {}, {}, []
        self.cleared.emit()

    def add_studies(self, items: list[Item]) -> int:
        """Add studies; one that is there keeps its place. Returns how many are new."""
        new = 0
        for item in items:
            uid = str(item.get("StudyInstanceUID") or "")
            if not uid:
                continue
            if uid not in self.studies:
                self.order.append(uid)
                new += 1
            self.studies[uid] = _flat(item)
        if new:
            self.added.emit(new)
        return new

    def set_series(self, study: str, items: list[Item]) -> None:
        """Set the series of a study, in the order of their numbers."""
        self.series[study] = {str(item["SeriesInstanceUID"]): item for item in sorted(items, key=_series_place)}
        self.series_changed.emit(study)

    def series_item(self, study: str, series: str) -> Item:
        """Return a series, empty where it is not known."""
        return self.series.get(study, {}).get(series, {})

    def study_of_series(self, series: str) -> str:
        """Return the study that has a series, "" where none is known to."""
        return next((study for study, all_series in self.series.items() if series in all_series), "")

    def sort(self, key: Callable[[Item], Any], descending: bool = False) -> Iterator[None]:
        """Put the studies in order, a few thousand a step; for a :class:`~DICOMwebBrowserLib.pacing.Pacer`.

        Equal ones stay as they are. Studies that come in meanwhile stay at the end.
        """
        uids = list(self.order)
        runs = []
        for start in range(0, len(uids), _SORTED_AT_ONCE):
            part = [(key(self.studies.get(uid, {})), uid) for uid in uids[start : start + _SORTED_AT_ONCE]]
            runs.append(sorted(part, key=_first, reverse=descending))
            yield
        merged: list[str] = []
        for _key, uid in heapq.merge(*runs, key=_first, reverse=descending):
            merged.append(uid)
            if len(merged) % _MERGED_AT_ONCE == 0:
                yield
        if len(self.order) >= len(uids) and self.order[: len(uids)] == uids:
            self.order = merged + self.order[len(uids) :]
            self.ordered.emit()


def _flat(item: Item) -> Item:
    """Return the values without lists: Python's garbage collector passes over such dictionaries, of which there may be
    a hundred thousand, and would stop the window for a good part of a second to look at them."""
    return {key: "\\".join(map(str, value)) if isinstance(value, list) else value for key, value in item.items()}


def _first(pair: tuple[Any, str]) -> Any:
    return pair[0]


def _series_place(item: Item) -> tuple[bool, int, str]:
    number = str(item.get("SeriesNumber") or "").strip()
    is_number = number.lstrip("-").isdigit()
    return (not is_number, int(number) if is_number else 0, str(item.get("SeriesInstanceUID") or ""))
