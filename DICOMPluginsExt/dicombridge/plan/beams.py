"""Beams of photons, electrons and ions: dataset -> values (PS3.3 C.8.8.14, C.8.8.25)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dicombridge.plan.items import Item, keyword_of
from dicombridge.plan.values import Accessory, Beam, Block, ControlPoint, Device, Reference, Setting, Spots

__all__ = ["read_accessories", "read_beams"]

# Sequence -> what its items are.
ACCESSORIES = {
    "WedgeSequence": "wedge",
    "IonWedgeSequence": "wedge",
    "CompensatorSequence": "compensator",
    "IonRangeCompensatorSequence": "range compensator",
    "ReferencedBolusSequence": "bolus",
    "BlockSequence": "block",
    "IonBlockSequence": "block",
    "ApplicatorSequence": "applicator",
    "GeneralAccessorySequence": "accessory",
    "SnoutSequence": "snout",
    "RangeShifterSequence": "range shifter",
    "LateralSpreadingDeviceSequence": "lateral spreading device",
    "RangeModulatorSequence": "range modulator",
    "FixationLightAzimuthalAngleSequence": "fixation light",
}

# What a control point has for itself; everything else is inherited.
_OWN = frozenset(
    {
        "ControlPointIndex",
        "CumulativeMetersetWeight",
        "NumberOfScanSpotPositions",
        "ScanSpotPositionMap",
        "ScanSpotMetersetWeights",
        "ScanSpotReordered",
        "ScanSpotTuneID",
    }
)
# Settings of accessories at a control point: sequence -> the attribute that says which one it is.
DEVICE_SETTINGS = {
    "RangeShifterSettingsSequence": "ReferencedRangeShifterNumber",
    "LateralSpreadingDeviceSettingsSequence": "ReferencedLateralSpreadingDeviceNumber",
    "RangeModulatorSettingsSequence": "ReferencedRangeModulatorNumber",
}
_BULKY = ("BlockData", "CompensatorTransmissionData", "CompensatorThicknessData")


def read_beams(plan: Item, references: tuple[Reference, ...], positions: Mapping[int | None, str]) -> tuple[Beam, ...]:
    """Return the beams of a plan.

    Parameters
    ----------
    references
        What the fraction groups deliver: metersets and doses stand there.
    positions
        Patient position by Patient Setup Number.
    """
    beams = []
    for sequence in ("BeamSequence", "IonBeamSequence"):
        for item in plan.items(sequence):
            beams.append(_beam(item, references, positions, sequence.startswith("Ion")))
    _report_repeats(plan, beams)
    return tuple(beams)


def _beam(item: Item, references: tuple[Reference, ...], positions: Mapping[int | None, str], ion: bool) -> Beam:
    number = item.whole("BeamNumber")
    delivered = next((one for one in references if one.kind == "beam" and one.number == number), None)
    settings = delivered.settings if delivered is not None else {}
    meterset, dose = _number(settings.get("BeamMeterset")), _number(settings.get("BeamDose"))
    final = item.number("FinalCumulativeMetersetWeight")
    if final is not None and final <= 0:
        final = None
    setup = item.whole("ReferencedPatientSetupNumber")
    position = positions.get(setup, "") if setup is not None or len(positions) != 1 else next(iter(positions.values()))
    return Beam(
        item.path,
        item.settings(),
        number=number,
        name=item.text("BeamName").strip(),
        meterset=meterset,
        dose=dose,
        patient_position=position,
        devices=tuple(_devices(item)),
        blocks=tuple(_blocks(item)),
        control_points=tuple(_control_points(item, meterset, final, ion)),
        ion=ion,
    )


def _report_repeats(plan: Item, beams: list[Beam]) -> None:
    numbers = [beam.number for beam in beams]
    for number in dict.fromkeys(numbers):
        if numbers.count(number) > 1:
            plan.problems.append(f"{numbers.count(number)} beams have the number {number}; it tells them not apart.")


def _number(value: Setting | None) -> float | None:
    return value if isinstance(value, float) else None


def _devices(item: Item) -> list[Device]:
    found = []
    for name in ("BeamLimitingDeviceSequence", "IonBeamLimitingDeviceSequence"):
        for device in item.items(name):
            kind = device.text("RTBeamLimitingDeviceType").strip()
            distance = device.number("SourceToBeamLimitingDeviceDistance")
            if distance is None:
                distance = device.number("IsocenterToBeamLimitingDeviceDistance")
            found.append(Device(kind, device.numbers("LeafPositionBoundaries"), distance))
    return found


def _blocks(item: Item) -> list[Block]:
    found = []
    for name in ("BlockSequence", "IonBlockSequence"):
        for block in item.items(name):
            numbers = block.numbers("BlockData")
            points = block.whole("BlockNumberOfPoints")
            if points is not None and len(numbers) != 2 * points:
                block.problems.append(f"A block has {len(numbers) // 2} points and says that it has {points}.")
            outline = tuple(zip(numbers[::2], numbers[1::2], strict=False))
            found.append(Block(block.text("BlockType").strip(), outline))
    return found


def read_accessories(plan: Item) -> tuple[Accessory, ...]:
    """Return what is put into the beams."""
    found = []
    for sequence in ("BeamSequence", "IonBeamSequence"):
        for beam in plan.items(sequence):
            number = beam.whole("BeamNumber")
            for name, kind in ACCESSORIES.items():
                for item in beam.items(name):
                    settings = item.settings(*_BULKY)
                    for inner in item.items("ApplicatorGeometrySequence"):
                        settings.update(inner.settings())
                    found.append(Accessory(item.path, settings, beam_number=number, kind=kind))
    return tuple(found)


# --- Control points ------------------------------------------------------------------------------------------------


@dataclass
class _Inherited:
    """What holds until a control point says otherwise."""

    settings: dict[str, Setting] = field(default_factory=dict)
    positions: dict[str, tuple[float, ...]] = field(default_factory=dict)
    wedges: dict[int, str] = field(default_factory=dict)


def _control_points(item: Item, meterset: float | None, final: float | None, ion: bool) -> list[ControlPoint]:
    state = _Inherited()
    points = item.items("IonControlPointSequence" if ion else "ControlPointSequence")
    announced = item.whole("NumberOfControlPoints")
    if announced is not None and announced != len(points):
        name = item.text("BeamName") or item.whole("BeamNumber")
        item.problems.append(f"Beam {name} has {len(points)} control points and says that it has {announced}.")
    found = []
    for point in points:
        own = _update(state, point)
        weight = point.number("CumulativeMetersetWeight")
        share = meterset * weight / final if None not in (meterset, weight, final) else None  # type: ignore[operator]
        found.append(
            ControlPoint(
                point.whole("ControlPointIndex"),
                weight,
                share,
                dict(state.settings),
                dict(state.positions),
                dict(state.wedges),
                _spots(point) if ion else None,
                own,
            )
        )
    return found


def _update(state: _Inherited, point: Item) -> frozenset[str]:
    """Take over what a control point says, and return which settings; what it leaves out or empty stays as it was."""
    own = set()
    for tag in list(point.dataset.keys()):
        keyword = keyword_of(int(tag))
        if not keyword or keyword in _OWN:
            continue
        if keyword == "BeamLimitingDevicePositionSequence":
            for device in point.items(keyword):
                numbers = device.numbers("LeafJawPositions")
                if numbers:
                    state.positions[device.text("RTBeamLimitingDeviceType").strip()] = numbers
        elif keyword in ("WedgePositionSequence", "IonWedgePositionSequence"):
            for wedge in point.items(keyword):
                state.wedges[wedge.whole("ReferencedWedgeNumber") or 0] = wedge.text("WedgePosition").strip()
        elif keyword in DEVICE_SETTINGS:
            for device in point.items(keyword):
                values = ", ".join(f"{name} {_shown(value)}" for name, value in device.settings().items())
                state.settings[f"{keyword}.{device.whole(DEVICE_SETTINGS[keyword]) or 0}"] = values
        elif not keyword.endswith("Sequence"):
            value = point.setting(keyword)
            if value is not None:
                state.settings[keyword] = value
                own.add(keyword)
    return frozenset(own)


def _shown(value: Setting) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{number:g}" for number in value)
    return value if isinstance(value, str) else f"{value:g}"


def _spots(point: Item) -> Spots | None:
    places, weights = point.numbers("ScanSpotPositionMap"), point.numbers("ScanSpotMetersetWeights")
    if not places:
        return None
    if len(places) != 2 * len(weights):
        index = point.whole("ControlPointIndex")
        point.problems.append(f"Control point {index} has {len(places) // 2} spots and {len(weights)} weights.")
    count = min(len(places) // 2, len(weights))
    return Spots(places[: 2 * count : 2], places[1 : 2 * count : 2], weights[:count])
