"""Radionuclides: which one a header means, its half-life (ENSDF), and whether it is seen by PET at all."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["HALF_LIFE_SOURCE", "HALF_LIVES", "SINGLE_PHOTON", "nuclide_of"]

HALF_LIFE_SOURCE = "Evaluated Nuclear Structure Data File (ENSDF)"

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

HALF_LIVES: Mapping[str, float] = {
    "C-11": 20.364 * _MINUTE,
    "N-13": 9.965 * _MINUTE,
    "O-15": 122.24,
    "F-18": 109.77 * _MINUTE,
    "K-38": 7.636 * _MINUTE,
    "Sc-44": 3.97 * _HOUR,
    "Mn-52": 5.591 * _DAY,
    "Cu-60": 23.7 * _MINUTE,
    "Cu-61": 3.339 * _HOUR,
    "Cu-62": 9.67 * _MINUTE,
    "Cu-64": 12.701 * _HOUR,
    "Ga-66": 9.49 * _HOUR,
    "Ga-68": 67.71 * _MINUTE,
    "Ge-68": 270.93 * _DAY,
    "Br-76": 16.2 * _HOUR,
    "Rb-82": 1.2575 * _MINUTE,
    "Y-86": 14.74 * _HOUR,
    "Y-90": 64.0 * _HOUR,
    "Zr-89": 78.41 * _HOUR,
    "I-124": 4.176 * _DAY,
}
"""Half-lives in seconds of radionuclides of PS3.16 CID 4020 "PET Radionuclide"."""

SINGLE_PHOTON: Mapping[str, float] = {
    "Cr-51": 27.704 * _DAY,
    "Ga-67": 3.2617 * _DAY,
    "Kr-81m": 13.10,
    "Tc-99m": 6.0067 * _HOUR,
    "In-111": 2.8047 * _DAY,
    "I-123": 13.2235 * _HOUR,
    "I-125": 59.4 * _DAY,
    "I-131": 8.0252 * _DAY,
    "Xe-133": 5.2475 * _DAY,
    "Sm-153": 46.284 * _HOUR,
    "Lu-177": 6.6443 * _DAY,
    "Tl-201": 3.0421 * _DAY,
}
"""Radionuclides that emit no positron, with half-lives (s): their images are SPECT, whatever the SOP class says."""

_CODES: Mapping[str, str] = {
    "C-105A1": "C-11",
    "40565003": "C-11",
    "C-107A1": "N-13",
    "21576001": "N-13",
    "C-B1038": "O-15",
    "129504001": "O-15",
    "C-111A1": "F-18",
    "77004003": "F-18",
    "C-135A4": "K-38",
    "423764008": "K-38",
    "126600": "Sc-44",
    "C-149A1": "Mn-52",
    "37225000": "Mn-52",
    "C-127A4": "Cu-60",
    "425364008": "Cu-60",
    "C-127A1": "Cu-61",
    "71425003": "Cu-61",
    "C-127A5": "Cu-62",
    "422934004": "Cu-62",
    "C-127A2": "Cu-64",
    "3932008": "Cu-64",
    "C-131A1": "Ga-66",
    "79477007": "Ga-66",
    "C-131A3": "Ga-68",
    "35337001": "Ga-68",
    "C-128A2": "Ge-68",
    "53315004": "Ge-68",
    "C-113A2": "Br-76",
    "79523006": "Br-76",
    "C-159A2": "Rb-82",
    "79197006": "Rb-82",
    "C-162A3": "Y-86",
    "10738001": "Y-86",
    "C-162A7": "Y-90",
    "14691008": "Y-90",
    "C-168A4": "Zr-89",
    "63360001": "Zr-89",
    "C-114A5": "I-124",
    "40937006": "I-124",
    "C-163A8": "Tc-99m",
    "72454006": "Tc-99m",
    "C-145A4": "In-111",
    "56609000": "In-111",
    "C-114A4": "I-123",
    "21572004": "I-123",
    "C-114B1": "I-131",
    "1368003": "I-131",
    "C-131A2": "Ga-67",
    "2008008": "Ga-67",
    "C-138A9": "Tl-201",
    "60057003": "Tl-201",
    "C-101ED": "Lu-177",
    "447553000": "Lu-177",
}
"""Codes of SNOMED CT and of the SRT codes that they replaced (PS3.16 CID 4020 and CID 18)."""

_ELEMENTS: Mapping[str, str] = {
    "CARBON": "C",
    "NITROGEN": "N",
    "OXYGEN": "O",
    "FLUORINE": "F",
    "POTASSIUM": "K",
    "SCANDIUM": "Sc",
    "CHROMIUM": "Cr",
    "MANGANESE": "Mn",
    "COPPER": "Cu",
    "GALLIUM": "Ga",
    "GERMANIUM": "Ge",
    "BROMINE": "Br",
    "KRYPTON": "Kr",
    "RUBIDIUM": "Rb",
    "YTTRIUM": "Y",
    "ZIRCONIUM": "Zr",
    "TECHNETIUM": "Tc",
    "INDIUM": "In",
    "IODINE": "I",
    "XENON": "Xe",
    "SAMARIUM": "Sm",
    "LUTETIUM": "Lu",
    "THALLIUM": "Tl",
}
_SYMBOLS = {symbol.upper(): symbol for symbol in _ELEMENTS.values()} | {
    name: symbol for name, symbol in _ELEMENTS.items()
}
_MASS_FIRST = re.compile(r"(?<![A-Z0-9])\^?(\d{2,3})(M?)\^?[ -]?\[?([A-Z]+)(?![A-Z])")
_MASS_LAST = re.compile(r"(?<![A-Z])([A-Z]+)[ -]?\^?(\d{2,3})(M?)\^?(?![A-Z0-9])")


def nuclide_of(code: str, meaning: str) -> str | None:
    """Return the radionuclide as e.g. ``F-18``: by its code, else by words such as ``18F``, ``^18^Fluorine``, ``F-18``.

    None where neither names a radionuclide of the tables here.

    >>> [nuclide_of(*pair) for pair in (("C-111A1", ""), ("", "^68^Gallium"), ("", "Tc-99m"), ("", "FDG"))]
    ['F-18', 'Ga-68', 'Tc-99m', None]
    """
    by_code = _CODES.get(code.strip().upper())
    if by_code is not None:
        return by_code
    text = meaning.upper()
    found = {(match[3], match[1], match[2]) for match in _MASS_FIRST.finditer(text)}
    found |= {(match[1], match[2], match[3]) for match in _MASS_LAST.finditer(text)}
    names = {f"{_SYMBOLS[name]}-{mass}{state.lower()}" for name, mass, state in found if name in _SYMBOLS}
    known = sorted(name for name in names if name in HALF_LIVES or name in SINGLE_PHOTON)
    return known[0] if len(known) == 1 else None
