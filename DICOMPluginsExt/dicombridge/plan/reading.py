"""Dataset -> plan: the values half of loading, put together."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from dicombridge.plan.beams import read_accessories, read_beams
from dicombridge.plan.brachy import read_channels
from dicombridge.plan.items import Item
from dicombridge.plan.values import Plan, Record, Reference

__all__ = ["read_plan"]


def read_plan(dataset: Dataset) -> Plan:
    """Return what a plan says.

    Parameters
    ----------
    dataset
        An RT Plan or an RT Ion Plan (PS3.3 A.20, A.49); whatever is missing in it is None or empty in the result, and
        what cannot be read is named in ``problems``.
    """
    top = Item(dataset)
    references = tuple(_references(top))
    setups = _records(top, "PatientSetupSequence")
    positions = {
        _whole(setup.settings.get("PatientSetupNumber")): str(setup.settings.get("PatientPosition") or "")
        for setup in setups
    }
    sources = _records(top, "SourceSequence")
    beams = read_beams(top, references, positions)
    plan = Plan(
        settings=top.settings(),
        fraction_groups=_records(top, "FractionGroupSequence"),
        dose_references=_records(top, "DoseReferenceSequence"),
        tolerance_tables=_records(top, "ToleranceTableSequence") + _records(top, "IonToleranceTableSequence"),
        setups=setups,
        sources=sources,
        machines=_records(top, "TreatmentMachineSequence"),
        references=references,
        beams=beams,
        accessories=read_accessories(top),
        application_setups=_records(top, "ApplicationSetupSequence"),
        channels=read_channels(top, references, sources),
        structure_sets=tuple(_instances(top, "ReferencedStructureSetSequence")),
        doses=tuple(_instances(top, "ReferencedDoseSequence")),
        plans=tuple(_instances(top, "ReferencedRTPlanSequence")),
        problems=tuple(top.problems),
    )
    return _with_contradictions(plan, top.problems)


def _records(top: Item, keyword: str) -> tuple[Record, ...]:
    return tuple(Record(item.path, item.settings()) for item in top.items(keyword))


def _instances(top: Item, keyword: str) -> Iterator[str]:
    for item in top.items(keyword):
        uid = item.text("ReferencedSOPInstanceUID").strip()
        if uid:
            yield uid


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, float) else None


def _references(top: Item) -> Iterator[Reference]:
    for group in top.items("FractionGroupSequence"):
        number, fractions = group.whole("FractionGroupNumber"), group.whole("NumberOfFractionsPlanned")
        for keyword, kind, name in (
            ("ReferencedBeamSequence", "beam", "ReferencedBeamNumber"),
            ("ReferencedBrachyApplicationSetupSequence", "application setup", "ReferencedBrachyApplicationSetupNumber"),
        ):
            for item in group.items(keyword):
                yield Reference(
                    item.path, item.settings(), group=number, kind=kind, number=item.whole(name), fractions=fractions
                )


def _with_contradictions(plan: Plan, problems: list[str]) -> Plan:
    """Add what does not fit together to the problems of a plan."""
    from dataclasses import replace

    beams = {beam.number for beam in plan.beams}
    setups = {_whole(setup.settings.get("ApplicationSetupNumber")) for setup in plan.application_setups}
    for reference in plan.references:
        there = beams if reference.kind == "beam" else setups
        if reference.number is not None and reference.number not in there:
            problems.append(
                f"Fraction group {reference.group} delivers {reference.kind} {reference.number}, which is not there."
            )
    for beam in plan.beams:
        name = beam.name or beam.number
        if not beam.control_points:
            problems.append(f"Beam {name} has no control points.")
        elif beam.isocentre is None:
            problems.append(f"Beam {name} has no isocentre, so that it cannot be shown in space.")
        if beam.meterset is None and beam.settings.get("TreatmentDeliveryType") not in ("SETUP", "OPEN_PORTFILM"):
            problems.append(f"No fraction group says the meterset of beam {name}.")
    if not plan.beams and not plan.channels:
        problems.append("The plan has neither beams nor channels: only its prescription can be shown.")
    return replace(plan, problems=tuple(dict.fromkeys(problems)))
