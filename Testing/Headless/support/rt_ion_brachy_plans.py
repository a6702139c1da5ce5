"""Ion and brachytherapy plans made here, and the list of all plans: one of each kind, and the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from support.items import item
from support.rt_plans import (
    control_points,
    electron_plan,
    first_settings,
    plan_of,
    two_isocentres_plan,
    vmat_plan,
    wedge_plan,
)

# --- Ions ----------------------------------------------------------------------------------------------------------


def ion_beam(number: int, name: str, points: Sequence[Dataset], **attributes: Any) -> Dataset:
    dataset = item(
        BeamNumber=number,
        BeamName=name,
        BeamType="STATIC",
        RadiationType="PROTON",
        TreatmentDeliveryType="TREATMENT",
        TreatmentMachineName="Gantry 2",
        PrimaryDosimeterUnit="MU",
        VirtualSourceAxisDistances=[2000.0, 2500.0],
        NumberOfWedges=0,
        NumberOfCompensators=0,
        NumberOfBoli=0,
        NumberOfBlocks=0,
        NumberOfRangeShifters=0,
        NumberOfLateralSpreadingDevices=0,
        NumberOfRangeModulators=0,
        PatientSupportType="TABLE",
        FinalCumulativeMetersetWeight="1",
        NumberOfControlPoints=len(points),
        IonControlPointSequence=list(points),
        ReferencedPatientSetupNumber=1,
    )
    dataset.update({keyword: value for keyword, value in item(**attributes).items()})
    return dataset


def ion_settings(energy: float = 150.0, gantry: float = 270.0) -> Dataset:
    settings = first_settings(gantry=gantry, energy=energy, isocentre=(0, -15, 5))
    del settings.DoseRateSet
    del settings.TableTopEccentricAngle
    del settings.TableTopEccentricRotationDirection
    del settings.BeamLimitingDevicePositionSequence
    settings.TableTopPitchAngle = 0.0
    settings.TableTopPitchRotationDirection = "NONE"
    settings.TableTopRollAngle = 0.0
    settings.TableTopRollRotationDirection = "NONE"
    settings.GantryPitchAngle = 0.0
    settings.GantryPitchRotationDirection = "NONE"
    settings.SnoutPosition = 300.0
    settings.MetersetRate = 100.0
    return settings


def scanned_plan(layers: int = 4, spots: int = 9) -> Dataset:
    """Scanned protons: two control points a layer, the second one without weight (PS3.3 C.8.8.25.7)."""
    points = []
    for layer in range(layers):
        for weight in (1.0, 0.0):
            point = ion_settings(energy=150.0 - 5 * layer) if not points else item()
            point.NominalBeamEnergy = str(150.0 - 5 * layer)
            point.ScanSpotTuneID = "T1"
            point.NumberOfScanSpotPositions = spots
            place = [value for spot in range(spots) for value in (10.0 * (spot % 3) - 10, 10.0 * (spot // 3) - 10)]
            point.ScanSpotPositionMap = place
            point.ScanSpotMetersetWeights = [weight * (spot + 1) for spot in range(spots)]
            point.ScanningSpotSize = [8.0, 9.0]
            point.NumberOfPaintings = 1
            points.append(point)
    for index, point in enumerate(points):
        point.ControlPointIndex = index
        point.CumulativeMetersetWeight = str(45.0 * ((index + 1) // 2) * spots / 9)
    scanned = ion_beam(
        1,
        "Scanned",
        points,
        ScanMode="MODULATED",
        ModulatedScanModeType="STATIONARY",
        FinalCumulativeMetersetWeight=str(45.0 * layers * spots / 9),
    )
    return plan_of([scanned], ion=True)


def passive_plan() -> Dataset:
    """Passively scattered protons: range shifter, modulator wheel, block, snout."""
    first = ion_settings(gantry=0.0)
    first.RangeShifterSettingsSequence = [
        item(
            RangeShifterSetting="IN",
            IsocenterToRangeShifterDistance=350.0,
            RangeShifterWaterEquivalentThickness=40.0,
            ReferencedRangeShifterNumber=1,
        )
    ]
    first.RangeModulatorSettingsSequence = [item(ReferencedRangeModulatorNumber=1)]
    points = control_points(first, [Dataset()])
    block = item(
        BlockTrayID="T",
        IsocenterToBlockTrayDistance=200.0,
        BlockType="APERTURE",
        BlockDivergence="PRESENT",
        BlockMountingPosition="PATIENT_SIDE",
        BlockNumber=1,
        BlockName="Aperture",
        MaterialID="Brass",
        BlockThickness="65",
        BlockNumberOfPoints=3,
        BlockData=["-30", "-30", "30", "-30", "0", "40"],
    )
    passive = ion_beam(
        1,
        "Passive",
        points,
        ScanMode="NONE",
        NumberOfBlocks=1,
        IonBlockSequence=[block],
        NumberOfRangeShifters=1,
        RangeShifterSequence=[item(RangeShifterNumber=1, RangeShifterID="RS40", RangeShifterType="BINARY")],
        NumberOfRangeModulators=1,
        RangeModulatorSequence=[
            item(
                RangeModulatorNumber=1,
                RangeModulatorID="Wheel 3",
                RangeModulatorType="WHL_MODWEIGHTS",
                BeamCurrentModulationID="M1",
            )
        ],
        SnoutSequence=[item(SnoutID="S180")],
    )
    return plan_of([passive], ion=True)


# --- Brachytherapy -------------------------------------------------------------------------------------------------


def brachy_plan(
    stops: Sequence[Sequence[float]] = ((5, 12.0), (10, 0.0), (15, 30.0)), treatment: str = "HDR", channels: int = 1
) -> Dataset:
    """An afterloader plan: for each channel, stops of (mm along the channel, seconds)."""
    plan = plan_of()
    del plan.PatientSetupSequence
    plan.BrachyTreatmentTechnique = "INTRACAVITARY"
    plan.BrachyTreatmentType = treatment
    plan.TreatmentMachineSequence = [item(TreatmentMachineName="Afterloader")]
    plan.SourceSequence = [
        item(
            SourceNumber=1,
            SourceType="LINE",
            SourceIsotopeName="Ir-192",
            SourceIsotopeHalfLife="73.83",
            ReferenceAirKermaRate="40800",
            SourceStrengthUnits="AIR_KERMA_RATE",
            SourceStrengthReferenceDate="20240101",
            SourceStrengthReferenceTime="120000",
        )
    ]
    plan.ApplicationSetupSequence = [
        item(
            ApplicationSetupType="VAGINAL",
            ApplicationSetupNumber=1,
            TotalReferenceAirKerma="4970.75",
            ChannelSequence=[channel(number + 1, stops) for number in range(channels)],
        )
    ]
    group = plan.FractionGroupSequence[0]
    group.NumberOfFractionsPlanned = 4
    group.NumberOfBrachyApplicationSetups = 1
    group.ReferencedBrachyApplicationSetupSequence = [
        item(ReferencedBrachyApplicationSetupNumber=1, BrachyApplicationSetupDose="7")
    ]
    return plan


def channel(number: int, stops: Sequence[Sequence[float]]) -> Dataset:
    points, weight = [], 0.0
    for place, seconds in stops:
        for more in (0.0, seconds):
            weight += more
            points.append(
                item(
                    ControlPointIndex=len(points),
                    CumulativeTimeWeight=str(weight),
                    ControlPointRelativePosition=str(place),
                    ControlPoint3DPosition=[str(10 * number), "-5.5", str(place)],
                )
            )
    return item(
        ChannelNumber=number,
        ChannelLength="1500",
        ChannelTotalTime=str(weight),
        SourceMovementType="STEPWISE",
        FinalCumulativeTimeWeight=str(weight),
        NumberOfControlPoints=len(points),
        ReferencedSourceNumber=1,
        SourceApplicatorNumber=number,
        SourceApplicatorID=f"A{number}",
        SourceApplicatorType="RIGID",
        SourceApplicatorLength="250",
        SourceApplicatorStepSize="5",
        TransferTubeNumber=None,
        ReferencedROINumber=None,
        BrachyControlPointSequence=points,
    )


def seeds_plan(seeds: int = 5) -> Dataset:
    """Permanent seeds: a manual low dose rate implant, one channel of fixed sources a seed."""
    plan = brachy_plan(treatment="MANUAL")
    plan.BrachyTreatmentTechnique = "INTERSTITIAL"
    plan.SourceSequence[0].SourceIsotopeName = "I-125"
    plan.SourceSequence[0].SourceIsotopeHalfLife = "59.4"
    plan.ApplicationSetupSequence[0].ChannelSequence = [
        channel(number + 1, [(5.0 * number, 3600.0)]) for number in range(seeds)
    ]
    for one in plan.ApplicationSetupSequence[0].ChannelSequence:
        one.SourceMovementType = "FIXED"
        del one.SourceApplicatorStepSize
    return plan


PLANS = {
    "vmat": lambda: vmat_plan(arcs=1, points=20),
    "wedge": wedge_plan,
    "electrons": electron_plan,
    "two isocentres": two_isocentres_plan,
    "scanned protons": scanned_plan,
    "passive protons": passive_plan,
    "afterloading": lambda: brachy_plan(channels=2),
    "seeds": seeds_plan,
}
"""One of each kind, by name."""

REAL = (
    "rt/plans/rtplan.dcm",
    "rt/plans/rtplan_monaco_06mv_nometa.dcm",
    "rt/plans/rtplan_oncentra_brachy_hdr.dcm",
    "rt/plans/rtionplan_topas_demo.dcm",
    "rt/eclipse_breast/rtplan.dcm",
    "rt/eclipse_proton/rtionplan_mono_implicit.dcm",
    "rt/raystation_proton/rtionplan_ramp_full.dcm",
    "rt/pinnacle/RTPLAN.dcm",
)
"""All plans of the shared data."""
