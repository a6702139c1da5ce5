"""The table of studies, with their series below: the first ones of the results, and more as one scrolls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import local_state, toolkit
from DICOMwebBrowserLib.columns import COLUMNS, INDEX, sort_key
from DICOMwebBrowserLib.pacing import Delay, Pacer
from DICOMwebBrowserLib.session import Session
from DICOMwebBrowserLib.signals import Connections

__all__ = ["ResultsTree"]

STUDY_ROLE = qt.Qt.UserRole
SERIES_ROLE = qt.Qt.UserRole + 1
STATE_ROLE = qt.Qt.UserRole + 2

_SHOWN = 300
"""Studies that are made into rows to begin with, and each time that one scrolls to the end."""

_STATE_ICONS = {
    local_state.HERE: ("verified", "good"),
    local_state.PART: ("part", "warning"),
    local_state.ABSENT: ("absent", ""),
}
Place = tuple[str, str]


class ResultsTree:
    """Shows :class:`~DICOMwebBrowserLib.results.Results` in a QTreeWidget.

    Rows are made in slices of time. However many studies there are, only those that somebody scrolled to have rows, so
    that sorting and filling cost the same for two hundred and for a hundred thousand.
    """

    def __init__(self, tree: Any, session: Session, selected: Callable[[], Any], activated: Callable[[], Any]) -> None:
        self.tree, self.session, self._selected, self._activated = tree, session, selected, activated
        self._pacer, self._connections = Pacer(), Connections()
        self._rows: dict[str, Any] = {}
        self._series_rows: dict[str, Any] = {}
        self._limit = _SHOWN
        self._sorting: tuple[int, bool] | None = None
        self._resort = Delay(300, self._sort_again)
        self._check = Delay(200, self.check_states)
        self._keep_layout = Delay(500, self._save_layout)
        self._set_up()
        results = session.results
        for signal, function in (
            (results.cleared, self._clear),
            (results.added, self._more_came),
            (results.ordered, self._rebuild),
            (results.series_changed, self._show_series),
            (session.indexing.indexed, lambda count: self._check.start()),
        ):
            self._connections.connect(signal, function)
        self._more_came(0)

    def close(self) -> None:
        """Let go of the session, which goes on."""
        self._connections.end()
        self._pacer.stop()
        for delay in (self._resort, self._check, self._keep_layout):
            delay.stop()

    # ------------------------------------------------------------------ what is chosen

    def places(self) -> list[Place]:
        """Return the selected (study, series), series "" for whole studies; a study's own series are not repeated."""
        found = [self._place(item) for item in self.tree.selectedItems()]
        studies = {study for study, series in found if not series}
        return [(study, series) for study, series in found if not series or study not in studies]

    def current_place(self) -> Place | None:
        """Return what the keyboard is at."""
        item = self.tree.currentItem()
        return self._place(item) if item is not None else None

    def select(self, study: str, series: str = "") -> bool:
        """Select a study, or a series of one that is open."""
        item = self._series_rows.get(series) if series else self._rows.get(study)
        if item is None:
            return False
        self.tree.clearSelection()
        self.tree.setCurrentItem(item)
        item.setSelected(True)
        self.tree.scrollToItem(item)
        return True

    def open_or_close(self) -> None:
        """Do what Enter does: open or close the study that the keyboard is at."""
        item = self.tree.currentItem()
        if item is not None and not self._place(item)[1]:
            item.setExpanded(not item.isExpanded())

    def expand(self, study: str) -> None:
        """Open a study; its series are fetched."""
        if study in self._rows:
            self._rows[study].setExpanded(True)

    def is_made(self, study: str) -> bool:
        """Whether a study has a row already."""
        return study in self._rows

    @property
    def made(self) -> int:
        """Number of studies that have a row."""
        return len(self._rows)

    @property
    def is_busy(self) -> bool:
        """Whether rows are still being made or sorted."""
        return any(self._pacer.is_running(name) for name in ("fill", "sort"))

    def text(self, study: str, column: str, series: str = "") -> str:
        """Return what a row shows in a column."""
        item = self._series_rows[series] if series else self._rows[study]
        return str(item.text(INDEX[column]))

    # ------------------------------------------------------------------ columns

    def sort_by(self, column: int, descending: bool) -> None:
        """Sort all studies, also those without rows."""
        self._sorting = (column, descending)
        self.tree.header().setSortIndicator(column, qt.Qt.DescendingOrder if descending else qt.Qt.AscendingOrder)
        self.session.state["sorting"] = self._sorting
        self._pacer.run("sort", self.session.results.sort(sort_key(COLUMNS[column]), descending))

    def column_menu(self) -> Any:
        """Return a menu in which columns are chosen."""
        menu = qt.QMenu(self.tree)
        for index, column in enumerate(COLUMNS[1:], start=1):
            entry = menu.addAction(column.title())
            entry.checkable = True
            entry.checked = not self.tree.isColumnHidden(index)
            entry.toggled.connect(lambda shown, index=index: self._show_column(index, shown))
        return menu

    def set_wide(self, is_wide: bool) -> None:
        """Give names more room where there is some, unless the person chose a width."""
        widths = [int(characters * toolkit.unit()) for characters in (COLUMNS[0].width, 1.6 * COLUMNS[0].width)]
        if self.tree.columnWidth(0) == widths[not is_wide]:
            self.tree.setColumnWidth(0, widths[is_wide])

    def _show_column(self, index: int, shown: bool) -> None:
        self.tree.setColumnHidden(index, not shown)
        self._save_layout()

    def _set_up(self) -> None:
        tree, header = self.tree, self.tree.header()
        tree.columnCount = len(COLUMNS)
        tree.indentation = 2 * toolkit.unit()
        tree.setHeaderLabels([column.title() for column in COLUMNS])
        toolkit.put(header, "sectionsClickable", True)
        toolkit.put(header, "sectionsMovable", True)
        header.showSortIndicator = True
        header.setSortIndicator(-1, qt.Qt.AscendingOrder)
        header.stretchLastSection = True
        kept = self.session.settings.value("Columns", {})
        for index, column in enumerate(COLUMNS):
            width, shown, position = kept.get(column.key) or (column.width * toolkit.unit(), column.shown, index)
            tree.setColumnWidth(index, int(width))
            tree.setColumnHidden(index, not shown and index > 0)
            header.moveSection(header.visualIndex(index), min(int(position), len(COLUMNS) - 1))
        header.sectionClicked.connect(self._header_clicked)
        header.sectionResized.connect(lambda *_args: self._keep_layout.start())
        header.sectionMoved.connect(lambda *_args: self._keep_layout.start())
        tree.itemExpanded.connect(self._expanded)
        tree.itemSelectionChanged.connect(lambda: self._selected())
        tree.itemDoubleClicked.connect(lambda item, _column: self._double_clicked(item))
        tree.verticalScrollBar().valueChanged.connect(self._scrolled)
        if "sorting" in self.session.state:
            self._sorting = tuple(self.session.state["sorting"])
            place, descending = self._sorting
            header.setSortIndicator(place, qt.Qt.DescendingOrder if descending else qt.Qt.AscendingOrder)

    def _save_layout(self) -> None:
        self._keep_layout.stop()
        header = self.tree.header()
        kept = self.session.settings.value("Columns", {})
        for index, column in enumerate(COLUMNS):
            hidden = bool(self.tree.isColumnHidden(index))
            before = kept.get(column.key) or (column.width * toolkit.unit(), True, index)
            width = before[0] if hidden else header.sectionSize(index)  # that of a hidden column is 0
            kept[column.key] = (int(width), not hidden, header.visualIndex(index))
        self.session.settings.set_value("Columns", kept)

    def _header_clicked(self, column: int) -> None:
        if COLUMNS[column].key == "here":
            return
        again = self._sorting is not None and self._sorting[0] == column
        descending = not self._sorting[1] if again and self._sorting else COLUMNS[column].key == "date"
        self.sort_by(column, descending)

    # ------------------------------------------------------------------ rows

    def _clear(self) -> None:
        self._pacer.stop()
        self._rows.clear()
        self._series_rows.clear()
        self._limit = _SHOWN
        self.tree.clear()

    def _more_came(self, _count: int) -> None:
        if self._sorting is not None and self.session.results.order:
            self._resort.soon()
        if not self._pacer.is_running("fill"):
            self._pacer.run("fill", self._fill())

    def _sort_again(self) -> None:
        self._resort.stop()
        if self._sorting is not None:
            self.sort_by(*self._sorting)

    def _fill(self) -> Iterator[None]:
        """Make rows for the first studies, in the order of the results."""
        place = self.tree.topLevelItemCount
        while place < min(self._limit, len(self.session.results.order)):
            uid = self.session.results.order[place]
            if uid not in self._rows:
                self._rows[uid] = item = self._study_row(uid)
                self.tree.addTopLevelItem(item)
                # Only what has children can be opened; the series are not known yet.
                item.setChildIndicatorPolicy(qt.QTreeWidgetItem.ShowIndicator)
            place += 1
            yield
        self._check.start()

    def _rebuild(self) -> None:
        """Show the other order; what was open and selected stays so."""
        expanded = [uid for uid, item in self._rows.items() if item.isExpanded()]
        selected = self.places()
        self._pacer.drop("fill")
        self.tree.clear()
        self._rows.clear()
        self._series_rows.clear()

        def work() -> Iterator[None]:
            yield from self._fill()
            for uid in expanded:
                self.expand(uid)
                yield
            for study, series in selected:
                item = self._series_rows.get(series) if series else self._rows.get(study)
                if item is not None:
                    item.setSelected(True)
                yield

        self._pacer.run("fill", work())

    def _study_row(self, uid: str) -> Any:
        study = self.session.results.studies[uid]
        item = qt.QTreeWidgetItem([column.study(study) for column in COLUMNS])
        _finish(item, uid, "")
        return item

    def _expanded(self, item: Any) -> None:
        study, series = self._place(item)
        if series or item.childCount():
            return
        if study in self.session.results.series:
            self._show_series(study)
        else:
            waiting = qt.QTreeWidgetItem([_("Asking for the series...")])
            waiting.setData(0, STUDY_ROLE, study)
            waiting.setData(0, SERIES_ROLE, "")
            waiting.setFlags(qt.Qt.NoItemFlags)
            item.addChild(waiting)
            self.session.query.fetch_series(study)

    def _show_series(self, study: str) -> None:
        item = self._rows.get(study)
        if item is None:
            return
        for index in reversed(range(item.childCount())):
            item.takeChild(index)
        for uid, series in self.session.results.series.get(study, {}).items():
            row = qt.QTreeWidgetItem([column.series(series) for column in COLUMNS])
            _finish(row, study, uid)
            item.addChild(row)
            self._series_rows[uid] = row
        if study in self.session.results.series and not item.childCount():
            item.setChildIndicatorPolicy(qt.QTreeWidgetItem.DontShowIndicatorWhenChildless)
        elif study not in self.session.results.series:
            item.setExpanded(False)  # it failed; opening it asks again
        self._check.start()

    def _place(self, item: Any) -> Place:
        return str(item.data(0, STUDY_ROLE) or ""), str(item.data(0, SERIES_ROLE) or "")

    def _double_clicked(self, item: Any) -> None:
        if self._place(item)[1]:
            self._activated()
        else:
            item.setExpanded(not item.isExpanded())

    def _scrolled(self, value: int) -> None:
        bar = self.tree.verticalScrollBar()
        is_near_end = value > bar.maximum - 3 * bar.pageStep
        if is_near_end and self._limit < len(self.session.results.order) and not self._pacer.is_running("fill"):
            self._limit += _SHOWN
            self._pacer.run("fill", self._fill())

    # ------------------------------------------------------------------ what is here

    def check_states(self) -> None:
        """Ask the database again what of these series is here."""
        self._check.stop()
        if local_state.database() is not None:
            self._pacer.run("states", self._checked())

    def _checked(self) -> Iterator[None]:
        column = INDEX["here"]
        for uid, item in list(self._series_rows.items()):
            study = self._place(item)[0]
            expected = self.session.results.series_item(study, uid).get("NumberOfSeriesRelatedInstances")
            _show_state(item, column, local_state.of_series(uid, expected))
            yield
        for uid, item in list(self._rows.items()):
            if uid not in self._rows:
                return  # cleared meanwhile
            expected = self.session.results.studies.get(uid, {}).get("NumberOfStudyRelatedInstances")
            _show_state(item, column, local_state.of_study(uid, expected))
            yield


def _show_state(item: Any, column: int, state: str) -> None:
    """Show beside the name, and in words in the column for it, what is here."""
    text = local_state.words(state)
    if item.text(column) == text and item.data(0, STATE_ROLE) == state:
        return
    item.setText(column, text)
    item.setData(0, STATE_ROLE, state)
    name, kind = _STATE_ICONS[state]
    item.setIcon(0, toolkit.icon(name, 16, toolkit.accent(kind) if kind else toolkit.blended(0.25)))
    item.setToolTip(0, local_state.explanation(state))


def _finish(item: Any, study: str, series: str) -> None:
    item.setData(0, STUDY_ROLE, study)
    item.setData(0, SERIES_ROLE, series)
    item.setSizeHint(0, qt.QSize(0, int(3.6 * toolkit.unit())))
    for index, column in enumerate(COLUMNS):
        if column.is_number:
            item.setTextAlignment(index, qt.Qt.AlignRight | qt.Qt.AlignVCenter)
