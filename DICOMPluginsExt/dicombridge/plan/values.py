"""What a plan says, as plain values: lengths in mm, positions in LPS, angles in degrees; None where it says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "Accessory",
    "Beam",
    "Block",
    "Channel",
    "ControlPoint",
    "Device",
    "DwellPosition",
    "Path",
    "Plan",
    "Record",
    "Reference",
    "Setting",
    "Spots",
]

Path = tuple[tuple[str, int], ...]
"""Where an item stands in its dataset: sequence keyword and number of the item, level by level."""

Setting = float | str | tuple[float, ...]
"""The value of an attribute: a number, several, or text."""


@dataclass(frozen=True)
class Record:
    """An item whose attributes are shown as they are: a fraction group, a dose reference, a source, ...

    Attributes
    ----------
    path
        Where it stands in the dataset.
    settings
        Values by DICOM keyword, those that are absent or empty left out.
    """

    path: Path
    settings: Mapping[str, Setting]


@dataclass(frozen=True)
class Reference(Record):
    """A beam or an application setup as one fraction group delivers it (PS3.3 C.8.8.13).

    Attributes
    ----------
    group
        Fraction Group Number.
    kind
        ``"beam"`` or ``"application setup"``.
    number
        Number of the beam or of the application setup.
    fractions
        Number of Fractions Planned of the group.
    """

    group: int | None = None
    kind: str = "beam"
    number: int | None = None
    fractions: int | None = None


@dataclass(frozen=True)
class Accessory(Record):
    """What is put into a beam: a wedge, a block, an applicator, a compensator, a bolus, a range shifter, ...

    Attributes
    ----------
    beam_number
        Beam that it is put into.
    kind
        One word or two for a person, e.g. ``"wedge"``.
    """

    beam_number: int | None = None
    kind: str = ""


@dataclass(frozen=True)
class Device:
    """A pair of jaws or a multileaf collimator (PS3.3 C.8.8.14, Beam Limiting Device Sequence).

    Attributes
    ----------
    kind
        RT Beam Limiting Device Type, e.g. ``"ASYMX"``, ``"MLCX"``.
    boundaries
        Leaf Position Boundaries, mm across the leaves at the isocentre; empty for jaws.
    distance
        mm from the source (photons, electrons) or from the isocentre (ions).
    """

    kind: str
    boundaries: tuple[float, ...] = ()
    distance: float | None = None


@dataclass(frozen=True)
class Block:
    """A block or an aperture.

    Attributes
    ----------
    kind
        ``"SHIELDING"`` or ``"APERTURE"``.
    outline
        (x, y) mm in the plane of the isocentre, IEC beam limiting device system.
    """

    kind: str
    outline: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Spots:
    """The scan spots of one control point of an ion beam (PS3.3 C.8.8.25).

    Attributes
    ----------
    x, y
        mm in the plane of the isocentre, IEC gantry system.
    weights
        Scan Spot Meterset Weights.
    """

    x: Sequence[float]
    y: Sequence[float]
    weights: Sequence[float]


@dataclass(frozen=True)
class ControlPoint:
    """One control point of a beam, with what it inherits from those before it (PS3.3 C.8.8.14.5).

    Attributes
    ----------
    index
        Control Point Index.
    weight
        Cumulative Meterset Weight.
    meterset
        Cumulative meterset in the unit of the beam (nearly always MU), of one fraction.
    settings
        Values by DICOM keyword, inherited ones included.
    positions
        Leaf or jaw positions (mm) by the type of the device, inherited ones included.
    wedges
        Wedge positions by wedge number, inherited ones included.
    spots
        Scan spots of this control point alone.
    own
        Keywords of the settings that it says itself.
    """

    index: int | None
    weight: float | None
    meterset: float | None
    settings: Mapping[str, Setting]
    positions: Mapping[str, tuple[float, ...]]
    wedges: Mapping[int, str] = field(default_factory=dict)
    spots: Spots | None = None
    own: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Beam(Record):
    """A beam of photons, electrons or ions.

    Attributes
    ----------
    number, name
        Beam Number and Beam Name.
    meterset
        Of one fraction, as the first fraction group that delivers it says; None where none does.
    dose
        Gy at its specification point in one fraction.
    patient_position
        Of its patient setup, e.g. ``"HFS"``; empty where nothing is said.
    devices, blocks
        What limits the beam.
    control_points
        In their order.
    ion
        Whether it stands in the Ion Beam Sequence.
    """

    number: int | None = None
    name: str = ""
    meterset: float | None = None
    dose: float | None = None
    patient_position: str = ""
    devices: tuple[Device, ...] = ()
    blocks: tuple[Block, ...] = ()
    control_points: tuple[ControlPoint, ...] = ()
    ion: bool = False

    @property
    def isocentre(self) -> tuple[float, ...] | None:
        """Isocenter Position (LPS mm) of the first control point that has one."""
        for point in self.control_points:
            place = point.settings.get("IsocenterPosition")
            if isinstance(place, tuple) and len(place) == 3:
                return place
        return None


@dataclass(frozen=True)
class DwellPosition:
    """Where the source of a channel stops, or a seed lies (PS3.3 C.8.8.15).

    Attributes
    ----------
    position
        LPS mm; None where only the place along the channel is known.
    relative
        mm along the channel, Control Point Relative Position.
    weights
        Cumulative Time Weight when the source arrives and when it leaves.
    seconds
        Time that it stays.
    transit
        Seconds that it took from the position before; 0 in stepwise movement.
    control_points
        Numbers of the first and the last control point that stand for it.
    """

    position: tuple[float, ...] | None
    relative: float | None
    weights: tuple[float | None, float | None]
    seconds: float | None
    transit: float | None
    control_points: tuple[int, int]


@dataclass(frozen=True)
class Channel(Record):
    """A channel of an application setup.

    Attributes
    ----------
    setup_number
        Application Setup Number.
    number
        Channel Number.
    setup, source
        Values of its application setup and of its source, by DICOM keyword.
    dose
        Gy that the setup gives in one fraction.
    dwells
        In the order of delivery.
    """

    setup_number: int | None = None
    number: int | None = None
    setup: Mapping[str, Setting] = field(default_factory=dict)
    source: Mapping[str, Setting] = field(default_factory=dict)
    dose: float | None = None
    dwells: tuple[DwellPosition, ...] = ()

    @property
    def label(self) -> str:
        """Name for a person; channels of several setups have the same numbers."""
        name = "?" if self.number is None else str(self.number)
        return f"{'?' if self.setup_number is None else self.setup_number}/{name}"


@dataclass(frozen=True)
class Plan:
    """A whole plan.

    Attributes
    ----------
    settings
        Attributes of the RT General Plan module and others of the top level, by DICOM keyword.
    fraction_groups, dose_references, tolerance_tables, setups, sources, machines
        Items of these sequences.
    references
        What the fraction groups deliver.
    beams, accessories
        Of photons, electrons, ions.
    application_setups, channels
        Of brachytherapy.
    structure_sets, doses, plans
        SOP Instance UIDs that it names.
    problems
        What could not be read or contradicts itself, in sentences.
    """

    settings: Mapping[str, Setting]
    fraction_groups: tuple[Record, ...] = ()
    dose_references: tuple[Record, ...] = ()
    tolerance_tables: tuple[Record, ...] = ()
    setups: tuple[Record, ...] = ()
    sources: tuple[Record, ...] = ()
    machines: tuple[Record, ...] = ()
    references: tuple[Reference, ...] = ()
    beams: tuple[Beam, ...] = ()
    accessories: tuple[Accessory, ...] = ()
    application_setups: tuple[Record, ...] = ()
    channels: tuple[Channel, ...] = ()
    structure_sets: tuple[str, ...] = ()
    doses: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
