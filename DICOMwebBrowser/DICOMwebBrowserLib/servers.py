"""The servers that a person can choose from: their own, and presets."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from slicer.i18n import tr as _

from DICOMwebBrowserLib.settings import Settings
from DICOMwebBrowserLib.signals import Signal
from DICOMwebBrowserLib.worker import Worker

__all__ = ["Servers", "from_template", "missing_words", "title_of"]

Values = dict[str, Any]
_WORD = re.compile(r"\{(\w+)\}")


def title_of(server: Values) -> str:
    """Return what a server is called."""
    return str(server.get("name") or server.get("url") or _("(no server)"))


def from_template(template: Values, words: Values) -> Values:
    """Return the server of a preset, with the words of its address put in; those that are missing stay in braces."""
    usual = template.get("words") or {}
    given = {word: _part(str(words.get(word) or usual[word] or "")) or f"{{{word}}}" for word in usual}
    server = {"name": template["title"], "url": template["address"].format(**given)}
    ways = template.get("ways") or ["none"]
    texts = {key: text.format(**given) for key, text in (template.get("fields") or {}).items()}
    # A field that is nothing but a missing word is an empty field.
    fields = {key: text for key, text in texts.items() if not _WORD.fullmatch(text)}
    if ways[0] != "none":
        server["authentication"] = {"kind": ways[0], **fields}
    return server | ({"profile": template["profile"]} if template.get("profile") else {})


def missing_words(text: str) -> list[str]:
    """Return the words in braces: what an address of a preset still lacks.

    >>> missing_words("https://{workspace}-images.example.org/{workspace}")
    ['workspace']
    """
    return list(dict.fromkeys(_WORD.findall(text)))


def _part(word: str) -> str:
    """Return a word as part of an address: it must not bring a host or a path of its own."""
    return quote(word, safe=":[]" if word.startswith("[") else ".-_~")


def _complete(template: Values) -> Values | None:
    """Return the server of a preset of which nothing is missing."""
    return from_template(template, {}) if not template.get("words") else None


class Servers:
    """The list of servers, in the settings, and which one is chosen.

    Attributes
    ----------
    changed
        Signal: the list is another one.
    chosen
        Signal: another one is chosen.
    """

    def __init__(self, settings: Settings, worker: Worker) -> None:
        self._settings, self._worker = settings, worker
        self.changed, self.chosen = Signal(), Signal()
        self.own: list[Values] = settings.servers
        self.presets: list[Values] = []
        self.templates: list[Values] = []
        self._are_presets_asked = False
        self._current = settings.text("Server")

    def ask_presets(self) -> None:
        """Fetch the presets, and the servers that the command line knows, from the worker; once."""
        if not self._are_presets_asked:
            self._are_presets_asked = True
            self._worker.ask("servers", {"done": lambda event: self._came(event["result"])})

    @property
    def all(self) -> list[Values]:
        """Own servers, then presets that are complete enough to be asked."""
        names = {title_of(server) for server in self.own}
        return [*self.own, *(preset for preset in self.presets if title_of(preset) not in names)]

    @property
    def current(self) -> Values:
        """The chosen one; an empty value where there is none.

        Nobody's name is to be sent to a public server by mistake, so that only an own server is chosen by itself.
        """
        found = next((server for server in self.all if title_of(server) == self._current), None)
        return found or (self.own[0] if self.own else {})

    def choose(self, name: str) -> None:
        """Choose a server by its name."""
        if name != self._current:
            self._current = name
            self._settings.set_text("Server", name)
            self.chosen.emit()

    def is_own(self, server: Values) -> bool:
        """Whether a server is one of the person's, and not a preset."""
        return any(title_of(one) == title_of(server) for one in self.own)

    def put(self, server: Values, instead_of: str = "") -> None:
        """Add a server, or replace the one that had a name; and choose it."""
        name = title_of(server)
        kept = [one for one in self.own if title_of(one) not in (name, instead_of or name)]
        place = next((i for i, one in enumerate(self.own) if title_of(one) == (instead_of or name)), len(kept))
        kept.insert(min(place, len(kept)), server)
        self._keep(kept)
        self._current = name
        self._settings.set_text("Server", name)
        self.chosen.emit()

    def remove(self, server: Values) -> None:
        """Take one of the person's servers off the list."""
        self._keep([one for one in self.own if title_of(one) != title_of(server)])
        self.chosen.emit()

    def _keep(self, servers: list[Values]) -> None:
        self._settings.servers = servers
        self.own = self._settings.servers
        self.changed.emit()

    def _came(self, result: Values) -> None:
        self.templates = list(result.get("presets", []))
        self.presets = [*result.get("servers", []), *filter(None, map(_complete, self.templates))]
        self.changed.emit()
        self.chosen.emit()
