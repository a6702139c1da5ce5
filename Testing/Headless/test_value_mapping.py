"""Items of a Real World Value Mapping Sequence, read, applied to stored values, and written again."""

from __future__ import annotations

import math
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sr.coding import Code
from support.rwv_objects import ADC_UNITS, group, mapping_item, write_object, write_pet

from dicombridge.errors import UnreadableError
from dicombridge.shadow import dataset_from_text, dataset_to_text
from dicombridge.value_mapping import (
    QUANTITY,
    ValueMapping,
    apply_all,
    count_outside,
    families,
    item_of_mapping,
    mapping_of_item,
    mappings_of_sequence,
)

STORED = np.array([[-5, 0, 3], [100, 4095, 65535]], dtype=np.int32)


def encoded_anew(item: Dataset, implicit: bool) -> Dataset:
    """The item as it comes out of a file of explicit or implicit VR."""
    output = DicomBytesIO()
    output.is_little_endian, output.is_implicit_VR = True, implicit
    write_dataset(output, item)
    content = output.getvalue()
    return read_dataset(BytesIO(content), implicit, True, bytelength=len(content))


# --- Reading -------------------------------------------------------------------------------------------------------


def test_a_linear_item_is_read_with_all_that_it_says() -> None:
    mapping = mapping_of_item(mapping_item(0.25, -3.0, first=2, last=4095))
    assert (mapping.slope, mapping.intercept, mapping.first, mapping.last) == (0.25, -3.0, 2, 4095)
    assert (mapping.label, mapping.explanation, mapping.lut) == ("SUVbw", "Test SUVbw", None)
    assert mapping.units == Code("{SUVbw}g/ml", "UCUM", "")
    assert mapping.quantity == Code("126400", "DCM", "")
    assert not mapping.is_identity
    assert mapping_of_item(mapping_item(1.0, 0.0)).is_identity


def test_the_quantity_may_be_named_in_retired_codes() -> None:
    mapping = mapping_of_item(mapping_item(concept=("G-C1C6", "SRT", "Quantity")))
    assert mapping.quantity == Code("126400", "DCM", "")
    assert mapping.definitions[0][0] == QUANTITY


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("vr", "first", "last"),
    [("US", 0, 65535), ("US", 40000, 50000), ("SS", -32768, 32767), ("SS", -10, 10), ("FD", -1e5, 1e5)],
)
def test_ranges_of_every_vr_survive_both_encodings(vr: str, first: float, last: float, implicit: bool) -> None:
    """In implicit VR nothing says whether an end is US or SS, and a mapping object has no Pixel Representation."""
    item = encoded_anew(mapping_item(vr=vr, first=first, last=last), implicit)
    mapping = mapping_of_item(item, signed=vr == "SS")
    assert (mapping.first, mapping.last) == (first, last)
    if (first, vr) != (40000, "US"):
        unknown = mapping_of_item(encoded_anew(mapping_item(vr=vr, first=first, last=last), implicit))
        assert (unknown.first, unknown.last) == (first, last)


def test_negative_ends_of_signed_images_may_stand_as_us() -> None:
    item = mapping_item(first=65336, last=65436)
    assert mapping_of_item(item, signed=True).first == -200
    assert mapping_of_item(item, signed=False).first == 65336
    both = mapping_of_item(mapping_item(first=64512, last=1000))
    assert (both.first, both.last) == (-1024, 1000)
    full = mapping_of_item(mapping_item(first=0, last=65535), signed=True)
    assert (full.first, full.last) == (0, 65535)


def test_a_range_may_be_absent() -> None:
    item = mapping_item()
    del item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped
    mapping = mapping_of_item(item)
    assert (mapping.first, mapping.last) == (-math.inf, math.inf)
    assert count_outside([mapping], STORED) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"RealWorldValueSlope": None, "RealWorldValueIntercept": None}, "neither a slope nor a table"),
        ({"RealWorldValueSlope": None}, "neither a slope nor a table"),
        ({"RealWorldValueSlope": math.nan}, "slope nan"),
        ({"RealWorldValueSlope": math.inf}, "slope inf"),
        ({"RealWorldValueIntercept": math.nan}, "intercept nan"),
        ({"RealWorldValueLUTData": [1.0, 2.0]}, "table of 2 values"),
        ({"DoubleFloatRealWorldValueFirstValueMapped": math.nan}, "from nan"),
        ({"DoubleFloatRealWorldValueFirstValueMapped": 1e9}, "from 1e\\+09 to"),
        ({"DoubleFloatRealWorldValueLastValueMapped": math.inf, "RealWorldValueLUTData": [1.0]}, "table of 1 values"),
    ],
)
def test_damaged_items_are_errors_that_say_why(change: dict[str, Any], reason: str) -> None:
    item = mapping_item()
    for keyword, value in change.items():
        if value is None:
            delattr(item, keyword)
        else:
            setattr(item, keyword, value)
    with pytest.raises(UnreadableError, match=rf"a\.dcm: .*'SUVbw'.*{reason}"):
        mappings_of_sequence([item], path="a.dcm")


def test_an_intercept_may_be_absent() -> None:
    assert mapping_of_item(mapping_item(2.0, None)).apply(STORED)[1, 0] == 200


# --- Applying ------------------------------------------------------------------------------------------------------


def test_a_single_line_is_applied_beyond_its_range_and_counts_it() -> None:
    mapping = mapping_of_item(mapping_item(0.5, 1.0, last=4095))
    np.testing.assert_array_equal(apply_all([mapping], STORED), [[-1.5, 1, 2.5], [51, 2048.5, 32768.5]])
    assert count_outside([mapping], STORED) == 2


def test_a_table_gives_nan_beyond_its_range() -> None:
    mapping = mapping_of_item(mapping_item(first=2, last=4, lut=[7.0, 8.0, math.nan]))
    np.testing.assert_array_equal(mapping.apply(np.array([1, 2, 3, 4, 5])), [math.nan, 7, 8, math.nan, math.nan])
    signed = mapping_of_item(mapping_item(first=-1, last=1, lut=[7.0, 8.0, 9.0], vr="SS"))
    np.testing.assert_array_equal(signed.apply(np.array([-2, -1, 0, 1], np.int16)), [math.nan, 7, 8, 9])


def test_a_table_that_is_too_long_for_its_vr_in_a_file(tmp_path: Path) -> None:
    """More than 65534 bytes: pydicom writes, and reads, UN."""
    table = np.linspace(-1, 1, 65536)
    images = write_pet(tmp_path / "pet", 1)
    path = write_object(tmp_path / "map.dcm", images, [group(images, mapping_item(lut=table))])
    item = pydicom.dcmread(path).ReferencedImageRealWorldValueMappingSequence[0].RealWorldValueMappingSequence[0]
    assert isinstance(item.RealWorldValueLUTData, bytes)
    mapping = mapping_of_item(item)
    np.testing.assert_array_equal(mapping.apply(np.arange(65536)), table)
    again = dataset_from_text(dataset_to_text(mapping.item))  # which leaves out long bytes
    assert again is not None
    np.testing.assert_array_equal(mapping_of_item(again).apply(np.arange(65536)), table)


def test_several_ranges_together_and_nan_between_them() -> None:
    """PETDICOM applied item [0] to everything."""
    low = mapping_of_item(mapping_item(1.0, 0.0, first=0, last=10))
    high = mapping_of_item(mapping_item(2.0, -10.0, first=20, last=100))
    stored = np.array([-1, 0, 10, 15, 20, 100, 101])
    nan = math.nan
    np.testing.assert_array_equal(apply_all([low, high], stored), [nan, 0, 10, nan, 30, 190, nan])
    assert count_outside([low, high], stored) == 3


@pytest.mark.parametrize(
    ("ranges", "sizes"),
    [
        ([(0, 10), (11, 20)], [2]),
        ([(0, 10), (10, 20)], [2]),  # pieces of a curve of floating point values share their ends
        ([(0, 10), (5, 20)], [1, 1]),
        ([(0, 0), (0, 0)], [1, 1]),  # what dcmqi writes for floating point values
        ([(0, 10), (0, 10), (11, 20)], [2, 1]),
    ],
)
def test_pieces_of_a_curve_belong_together_and_alternatives_do_not(ranges: Any, sizes: list[int]) -> None:
    mappings = [mapping_of_item(mapping_item(2.0, first=first, last=last, vr="FD")) for first, last in ranges]
    assert [len(family) for family in families(mappings)] == sizes


def test_other_units_or_quantities_are_no_pieces_of_one_curve() -> None:
    low = mapping_of_item(mapping_item(1.0, first=0, last=10))
    units = mapping_of_item(mapping_item(1.0, first=11, last=20, units=ADC_UNITS))
    quantity = mapping_of_item(mapping_item(1.0, first=11, last=20, quantity=None))
    assert [len(family) for family in families([low, units, quantity])] == [1, 1, 1]


def test_labels_are_cut_to_what_counts_bytes_too() -> None:
    item = item_of_mapping(ValueMapping(label="Größenänderungen", explanation="µ" * 40))
    assert (item.LUTLabel, item.LUTExplanation) == ("Größenänderun", "µ" * 32)


def test_of_overlapping_ranges_the_first_item_counts() -> None:
    first = mapping_of_item(mapping_item(1.0, 0.0, first=0, last=10))
    second = mapping_of_item(mapping_item(2.0, 0.0, first=5, last=20))
    np.testing.assert_array_equal(apply_all([first, second], np.array([5, 10, 11])), [5, 10, 22])


@pytest.mark.parametrize("element_type", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_stored_values_of_every_type_into_a_given_array(element_type: Any) -> None:
    stored = np.array([[0, 3], [100, 127]], element_type)
    out = np.empty((2, 2), np.float32)
    for item in (mapping_item(0.1, 1.0), mapping_item(first=0, last=127, lut=0.1 * np.arange(128) + 1.0)):
        out[...] = 77
        assert apply_all([mapping_of_item(item)], stored, out) is out
        np.testing.assert_allclose(out, [[1.0, 1.3], [11, 13.7]], rtol=1e-6)


# --- Writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item",
    [
        mapping_item(0.25, -3.0, first=2, last=4095),
        mapping_item(0.25, -3.0, first=-100, last=100, vr="SS"),
        mapping_item(0.25, -3.0, first=-1e6, last=0.5, vr="FD"),
        mapping_item(first=3, last=5, lut=[1.5, -2.5, 1e-9], label="ADC", units=ADC_UNITS),
    ],
    ids=["US", "SS", "FD", "table"],
)
def test_what_was_read_is_written_the_same(item: Dataset) -> None:
    assert item_of_mapping(mapping_of_item(item)) == item


@pytest.mark.parametrize(
    ("first", "last", "signed", "vr"),
    [(0, 65535, None, "US"), (0, 4095, True, "SS"), (-5, 5, None, "SS"), (-5, 65535, None, "FD"), (0.5, 9, None, "FD")],
)
def test_the_vr_of_a_range_follows_pixel_representation(first: float, last: float, signed: Any, vr: str) -> None:
    item = item_of_mapping(ValueMapping(label="A", first=first, last=last), signed)
    if vr == "FD":
        assert item.DoubleFloatRealWorldValueFirstValueMapped == first
        assert "RealWorldValueFirstValueMapped" not in item
    else:
        assert vr == item["RealWorldValueLastValueMapped"].VR
        assert item.RealWorldValueFirstValueMapped == first


def test_an_endless_range_is_written_in_numbers() -> None:
    again = mapping_of_item(item_of_mapping(ValueMapping(label="A")))
    assert math.isfinite(again.first)
    assert math.isfinite(again.last)
    assert count_outside([again], np.array([-1e300, 1e300])) == 0


def test_units_and_quantity_of_a_new_mapping() -> None:
    item = item_of_mapping(ValueMapping(label="A", quantity=Code("113041", "DCM", "ADC")))
    assert item.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    definition = item.QuantityDefinitionSequence[0]
    assert definition.ConceptNameCodeSequence[0].CodeValue == "246205007"
    assert definition.ConceptCodeSequence[0].CodeValue == "113041"


def test_definitions_of_text_and_number_survive() -> None:
    item = mapping_item()
    text, number = Dataset(), Dataset()
    for part in (text, number):
        part.ConceptNameCodeSequence = item.QuantityDefinitionSequence[0].ConceptNameCodeSequence
    text.ValueType, text.TextValue = "TEXT", "by hand"
    number.ValueType, number.NumericValue = "NUMERIC", "2.5"
    number.MeasurementUnitsCodeSequence = item.MeasurementUnitsCodeSequence
    item.QuantityDefinitionSequence.extend([text, number])
    mapping = mapping_of_item(item)
    assert [value for _, value in mapping.definitions[1:]] == ["by hand", 2.5]
    assert item_of_mapping(mapping) == item
    new = item_of_mapping(replace(mapping, item=Dataset()))
    assert new.QuantityDefinitionSequence[2].MeasurementUnitsCodeSequence[0].CodeValue == "1"


def test_highdicom_computes_the_same_from_what_is_written() -> None:
    from highdicom.pm import RealWorldValueMapping

    stored = np.array([[0, 3], [100, 127]], np.uint16)
    for given in (mapping_item(0.1, 1.0, last=4095), mapping_item(last=127, lut=np.sqrt(np.arange(128)))):
        mapping = mapping_of_item(given)
        theirs = item_of_mapping(mapping)
        theirs.__class__ = RealWorldValueMapping
        np.testing.assert_allclose(theirs.apply(stored), mapping.apply(stored), rtol=1e-12)
        assert theirs.value_range == (0, mapping.last)


def test_what_highdicom_writes_is_read() -> None:
    from highdicom.pm import RealWorldValueMapping

    units, quantity = Code("mm2/s", "UCUM", "mm2/s"), Code("113041", "DCM", "Apparent Diffusion Coefficient")
    theirs = RealWorldValueMapping("ADC", "A map", units, (-10, 1000), 1e-6, 0.5, quantity_definition=quantity)
    mapping = mapping_of_item(theirs)
    assert (mapping.first, mapping.last, mapping.slope, mapping.intercept) == (-10, 1000, 1e-6, 0.5)
    assert (mapping.units, mapping.quantity) == (units, quantity)
    table = RealWorldValueMapping("ADC", "A map", units, (0, 3), lut_data=[1.0, 4.0, 9.0, 16.0])
    np.testing.assert_array_equal(mapping_of_item(table).apply(np.array([3, 0, 4])), [16, 1, math.nan])
