"""What one sees of a series before it is downloaded: pictures, a few facts, and what it refers to."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DICOMwebBrowserLib import local_state, texts, toolkit
from DICOMwebBrowserLib.columns import COLUMNS, INDEX
from DICOMwebBrowserLib.pacing import Delay
from DICOMwebBrowserLib.session import Session

__all__ = ["Preview"]

_FRAMES = 12
_SIZES = (256, 512, 1024)
"""Pixels of a side that are asked for: few different ones, so that servers and proxies can keep the pictures."""
_NARROW, _WIDE = 22, 42  # characters
_KEPT = 200
"""Series of which it is kept what the server said."""
_KEPT_PIXELS = 16_000_000
"""Pixels of pictures that are kept, of four bytes each: those of some twenty series, or of five on a fine screen."""

_SELDOM_WITH_PICTURES = frozenset(
    {"SR", "KO", "PR", "RTSTRUCT", "RTPLAN", "REG", "FID", "RWV", "ANN", "PLAN", "DOC", "SEG", "M3D"}
)
"""Modalities that are named until a picture comes; of some of them, like SEG, one often does."""


class Hover(qt.QObject):
    """Tells whether the mouse is over a widget."""

    def __init__(self, widget: Any, told: Callable[[bool], Any]) -> None:
        qt.QObject.__init__(self)
        self._told = told
        widget.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Look, and let everything go on."""
        if event.type() in (qt.QEvent.Enter, qt.QEvent.Leave):
            self._told(event.type() == qt.QEvent.Enter)
        return False


class Preview:
    """Pictures of the selected series; they are asked for once the selection rests, and dropped when it moves on.

    Parameters
    ----------
    place
        Widget to fill; it is hidden while no series is selected.
    """

    def __init__(self, session: Session, place: Any) -> None:
        self.session, self.widget = session, place
        self.place = ("", "")
        self.frames: list[Any] = []
        self._middle = 0
        self.references: list[dict[str, Any]] = []
        self._pictures: OrderedDict[str, list[Any]] = session.state.setdefault("pictures", OrderedDict())
        self._details: dict[str, dict[str, Any]] = session.state.setdefault("details", {})
        self._asked: list[Any] = []
        self._delay = Delay(250, self._ask)
        self._cine = qt.QTimer()
        self._cine.interval = 120
        self._cine.timeout.connect(self._next_frame)
        self._make()

    def close(self) -> None:
        """Stop everything that could still call."""
        self._cine.stop()
        self._delay.stop()
        self._drop_requests()

    def set_wide(self, is_wide: bool) -> None:
        """Stand beside the results with a large picture, or below them with a small one."""
        side = (_WIDE if is_wide else _NARROW) * toolkit.unit()
        self.picture.setFixedSize(side, side)
        toolkit.put(self._layout, "direction", qt.QBoxLayout.TopToBottom if is_wide else qt.QBoxLayout.LeftToRight)
        self._show_frame(self.slider.value)

    def show(self, study: str, series: str) -> None:
        """Show a series; "" shows what there is to say of the study."""
        if (study, series) == self.place:
            return
        if self._is_playing:
            self.play_or_stop()
        self._drop_requests()
        self.place, self.frames, self.references = (study, series), [], []
        self.reference_box.hide()
        if not series:
            self.widget.hide()
            self._delay.stop()
            return
        self.widget.show()
        self._describe()
        if self._pictures.get(series):
            self._show_pictures(self._pictures[series])
        else:
            self._show_word(self._word(series in self._pictures))
        self._delay.start()

    @property
    def pixels(self) -> int:
        """Pixels of a side with which a picture is sharp on this screen, beside the results as well as below them."""
        needed = _WIDE * toolkit.unit() * self.picture.devicePixelRatioF()
        return next((size for size in _SIZES if size >= 0.75 * needed), _SIZES[-1])

    def wanted_references(self) -> list[tuple[str, str]]:
        """Return the series that the selected one needs, where the person wants them to come along."""
        if self.reference_box.isHidden() or not self.reference_box.checked:
            return []
        return [(one["study"], one["series"]) for one in self.references]

    # ------------------------------------------------------------------ widgets

    def _make(self) -> None:
        self._layout = row = qt.QHBoxLayout()
        row.spacing = 10
        self.widget.layout().addLayout(row)
        self.picture = qt.QLabel()
        self.picture.setFixedSize(_NARROW * toolkit.unit(), _NARROW * toolkit.unit())
        self.picture.alignment = qt.Qt.AlignCenter
        self.picture.accessibleName = _("Picture of the series")
        self.picture.styleSheet = "background: #101418; color: #8a949e; border-radius: 4px;"
        self._hover = Hover(self.picture, self._hovered)
        column = qt.QVBoxLayout()
        column.spacing = 4
        self.title = qt.QLabel()
        self.title.wordWrap = True
        self.title.sizePolicy = qt.QSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Preferred)
        self.title.textFormat = qt.Qt.PlainText
        font = qt.QFont(self.title.font)
        font.setBold(True)
        self.title.font = font
        self.facts = toolkit.dimmed(qt.QLabel())
        self.facts.wordWrap = True
        self.facts.textFormat = qt.Qt.PlainText
        self.slider = qt.QSlider()
        self.slider.orientation = qt.Qt.Horizontal
        self.slider.accessibleName = _("Slice of the preview")
        self.slider.valueChanged.connect(self._show_frame)
        self.play_button = toolkit.button("play", "", _("Play the slices"), self.play_or_stop)
        cine = qt.QHBoxLayout()
        cine.spacing = 2
        cine.addWidget(self.play_button)
        cine.addWidget(self.slider, 1)
        self.reference_box = qt.QCheckBox()
        self.reference_box.checked = True
        self.reference_box.accessibleName = _("Get what it refers to, too")
        self.reference_box.hide()
        column.addWidget(self.title)
        column.addWidget(self.facts)
        column.addWidget(self.reference_box)
        column.addStretch(1)
        column.addLayout(cine)
        row.addWidget(self.picture, 0, qt.Qt.AlignTop | qt.Qt.AlignLeft)
        row.addLayout(column, 1)
        self.widget.hide()

    @property
    def _item(self) -> dict[str, Any]:
        return self.session.results.series_item(*self.place)

    def _word(self, is_answered: bool) -> str:
        """Return what stands in the place of a picture."""
        modality = texts.first_of(self._item.get("Modality"))
        if modality in _SELDOM_WITH_PICTURES:
            return modality
        return _("no picture") if is_answered else ""

    def _describe(self) -> None:
        item, details = self._item, self._details.get(self.place[1], {})
        self.title.text = COLUMNS[INDEX["name"]].series(item)
        number = details.get("instances") or item.get("NumberOfSeriesRelatedInstances")
        facts = [texts.listed(item.get("Modality"))]
        if number:
            facts.append(texts.count(int(number), _("{n} object"), _("{n} objects")))
        if details.get("size_bytes"):
            facts.append(_("about {size}").format(size=texts.size(details["size_bytes"])))
        if item.get("Manufacturer"):
            facts.append(texts.first_of(item["Manufacturer"]))
        self.facts.text = " \N{MIDDLE DOT} ".join(fact for fact in facts if fact)

    # ------------------------------------------------------------------ questions

    def _ask(self) -> None:
        self._delay.stop()
        place = study, series = self.place
        if not series:
            return
        server = self.session.query.server
        if series in self._details:
            self._details_came(place, self._details[series])
        else:
            self._asked.append(
                self.session.worker.ask(
                    "details",
                    {"done": lambda event: self._details_came(place, event.get("result") or {})},
                    server=server,
                    study=study,
                    series=series,
                )
            )
        if series not in self._pictures:
            found: list[Any] = []
            self._asked.append(
                self.session.worker.ask(
                    "thumbnails",
                    {
                        "results": lambda event: self._pictures_came(place, found, event["items"]),
                        "done": lambda event: self._all_pictures_came(place, found),
                        "failed": lambda event: self._no_pictures(place),
                    },
                    server=server,
                    study=study,
                    series=series,
                    frames=_FRAMES,
                    size=self.pixels,
                )
            )

    def _drop_requests(self) -> None:
        for sent in self._asked:
            if not sent.ended:
                sent.cancel()
        self._asked.clear()

    def _details_came(self, place: tuple[str, str], details: dict[str, Any]) -> None:
        self._details[place[1]] = details
        while len(self._details) > _KEPT:
            self._details.pop(next(iter(self._details)))
        if place != self.place:
            return
        self._describe()
        found = [one for one in details.get("references") or [] if one.get("series") and one["series"] != place[1]]
        for one in found:
            one["study"] = one.get("study") or place[0]
        self.references = [
            one for one in found if local_state.of_series(one["series"], one.get("instances")) != local_state.HERE
        ]
        if found:
            self._offer(found)

    def check_references(self) -> None:
        """Look again what is here: what came meanwhile need not be offered."""
        series = self.place[1]
        if series in self._details:
            self._details_came(self.place, self._details[series])

    def _offer(self, found: list[dict[str, Any]]) -> None:
        names = [self._name_of(one) for one in found[:3]] + (["..."] if len(found) > 3 else [])
        modality = texts.first_of(self._item.get("Modality")) or _("It")
        if self.references:
            self.reference_box.text = _("Get {names} too, which this {what} needs").format(
                names=", ".join(names), what=modality
            )
        self.reference_box.toolTip = _("The objects that it refers to: without them it may not be placed.")
        self.reference_box.visible = bool(self.references)

    def _name_of(self, reference: dict[str, Any]) -> str:
        item = self.session.results.series_item(reference["study"], reference["series"])
        if not item:
            return _("a series of another study") if reference["study"] != self.place[0] else _("a series")
        number, modality = texts.first_of(item.get("SeriesNumber")), texts.first_of(item.get("Modality"))
        return _("{modality} series {number}").format(modality=modality, number=number)

    # ------------------------------------------------------------------ pictures

    def _pictures_came(self, place: tuple[str, str], found: list[Any], items: list[dict[str, Any]]) -> None:
        for item in items:
            pixmap = qt.QPixmap()
            if pixmap.loadFromData(qt.QByteArray(base64.b64decode(item.get("data") or ""))):
                found.append(pixmap)
        if place == self.place and found:
            self._show_pictures(found)

    def _all_pictures_came(self, place: tuple[str, str], found: list[Any]) -> None:
        if not found:
            self._no_pictures(place)
        self._pictures[place[1]] = found  # that there is none is remembered, too
        kept = sum(one.width() * one.height() for many in self._pictures.values() for one in many)
        while kept > _KEPT_PIXELS and len(self._pictures) > 1:
            _series, dropped = self._pictures.popitem(last=False)
            kept -= sum(one.width() * one.height() for one in dropped)

    def _no_pictures(self, place: tuple[str, str]) -> None:
        if place == self.place:
            self._show_word(self._word(True))

    def _show_word(self, word: str) -> None:
        self.frames = []
        self.picture.clear()
        self.picture.text = word
        self.slider.hide()
        self.play_button.hide()

    def _show_pictures(self, pictures: list[Any]) -> None:
        was_in_the_middle = not self.frames or self.slider.value == self._middle
        self.frames = list(pictures)
        self._middle = len(self.frames) // 2
        several = len(self.frames) > 1
        self.slider.visible = several
        self.play_button.visible = several
        self.slider.setRange(0, len(self.frames) - 1)
        if was_in_the_middle:  # nobody moved it
            self.slider.value = self._middle
        self._show_frame(self.slider.value)

    def _show_frame(self, index: int) -> None:
        if not 0 <= index < len(self.frames):
            return
        frame = self.frames[index]
        ratio = self.picture.devicePixelRatioF()
        side = int(self.picture.width * ratio)
        scaled = frame.scaled(side, side, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)
        scaled.setDevicePixelRatio(ratio)
        self.picture.pixmap = scaled

    def play_or_stop(self) -> None:
        """Play the slices one after the other, or stop."""
        if self._is_playing:
            self._cine.stop()
        elif len(self.frames) > 1:
            self._cine.start()
        self.play_button.icon = toolkit.icon("pause" if self._is_playing else "play")

    def _hovered(self, is_over: bool) -> None:
        """Play while the mouse rests on the picture."""
        if is_over != self._is_playing:
            self.play_or_stop()

    @property
    def _is_playing(self) -> bool:
        return bool(self._cine.active)

    def _next_frame(self) -> None:
        if self.frames:
            self.slider.value = (self.slider.value + 1) % len(self.frames)
