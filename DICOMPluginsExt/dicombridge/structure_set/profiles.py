"""What planning systems are publicly known to insist on, as data: one rule a line, each with where it is known from.

A rule is here only with its source. ``"standard"`` rules hold for every file that is written; ``"guideline"`` ones are
recommended for all systems; ``"reported"`` ones were found by users of that system, and are not the maker's word. Where
nothing is publicly known of a system, its profile is the rules that hold for all of them, which keeps to what every
reader understands; the maker's conformance statement has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dicombridge.errors import ExportError

__all__ = ["PROFILES", "RULES", "Profile", "Rule", "profile_named"]

LONGEST_NAME = 64
"""Characters of ROI Name, VR LO (PS3.5 6.2)."""


@dataclass(frozen=True)
class Rule:
    """One thing that a system insists on.

    Attributes
    ----------
    systems
        Names of the profiles that follow it; ``"all"`` for every profile, ``"always"`` also for files without one.
    what
        In one sentence.
    evidence
        ``"standard"``, ``"guideline"`` or ``"reported"``.
    source
        Where that stands.
    settings
        Attributes of :class:`Profile` that it sets; empty for what every file follows anyway.
    """

    systems: tuple[str, ...]
    what: str
    evidence: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)


RULES: tuple[Rule, ...] = (
    Rule(
        ("always",),
        "Coordinates have 16 characters at the most.",
        "standard",
        "PS3.5 6.2, DS; Eclipse logs every longer one: github.com/GSTT-CSC/TotalSegmentator-AIDE/issues/11",
    ),
    Rule(
        ("always",),
        "Structure Set Label and ROI Observation Label have 16 characters at the most.",
        "standard",
        "PS3.5 6.2, SH; longer ones made trouble in Eclipse: github.com/pytrip/pytrip/pull/291",
    ),
    Rule(
        ("always",),
        "Names of ROIs differ by more than upper and lower case.",
        "guideline",
        "AAPM Report 263 (Mayo et al., 2018), doi:10.1016/j.ijrobp.2017.12.013",
    ),
    Rule(
        ("always",),
        "Structure set and images share study and frame of reference.",
        "reported",
        "Refused otherwise: github.com/qurit/rt-utils/issues/29, github.com/pytrip/pytrip/issues/254 (Eclipse)",
    ),
    Rule(
        ("always",),
        "Implicit VR Little Endian, in which a contour may have any number of points.",
        "standard",
        "PS3.5 10.1: the transfer syntax that every system understands; 7.1.2: DS has 65534 bytes in explicit VR",
    ),
    Rule(
        ("all",),
        "Holes are keyholes: one closed contour with a channel.",
        "reported",
        "Many write XOR, all seem to read keyholes: groups.google.com/g/dicomforum/c/6MSgKXaZMA0",
        {"holes": "keyhole"},
    ),
    Rule(
        ("all",),
        "Every contour names the image in whose plane it lies, so there have to be images.",
        "reported",
        "Missing in an import by Eclipse: github.com/pytrip/pytrip/issues/188",
        {"needs_images": True, "grid": "source"},
    ),
    Rule(
        ("all",),
        "ROIs without contours are left out.",
        "reported",
        "Readers stumble over them: github.com/e0404/matRad/issues/45; RayStation itself writes no contour item for "
        "them: github.com/pyplati/platipy/pull/143",
        {"empty": False},
    ),
    Rule(
        ("all",),
        "Names of ROIs have 16 characters at the most.",
        "guideline",
        "AAPM Report 263: so that the majority of the makers' systems accept them",
        {"name_length": 16},
    ),
)
"""All rules. What is not listed is not publicly known."""


@dataclass(frozen=True)
class Profile:
    """How a structure set is written for a system.

    Attributes
    ----------
    title
        Name of the system.
    name_length
        Characters of ROI Name.
    holes
        ``"keyhole"``, ``"xor"``, or None: what the caller says.
    grid
        ``"source"``: contours in planes of the images alone; None: in further planes too, where labels lie there.
    needs_images
        Whether nothing is written without images.
    empty
        Whether ROIs without contours are written.
    """

    title: str = ""
    name_length: int = LONGEST_NAME
    holes: str | None = None
    grid: str | None = None
    needs_images: bool = False
    empty: bool = True


_TITLES = {"eclipse": "Eclipse (Varian)", "mim": "MIM", "monaco": "Monaco (Elekta)", "raystation": "RayStation"}


def _profile(name: str) -> Profile:
    settings: dict[str, Any] = {}
    for rule in RULES:
        if "all" in rule.systems or name in rule.systems:
            settings.update(rule.settings)
    return Profile(_TITLES[name], **settings)


PROFILES: Mapping[str, Profile] = {name: _profile(name) for name in _TITLES}


def profile_named(name: Any) -> Profile:
    """Return a profile; for None the one that asks for nothing beyond the standard.

    Raises
    ------
    ExportError
        There is no such profile.
    """
    if not name:
        return Profile()
    try:
        return PROFILES[str(name).strip().lower()]
    except KeyError:
        raise ExportError(f"There is no profile {name!r}; there are: {', '.join(PROFILES)}.") from None
