// node read_groups.mjs REPORT: the measurement groups of a report as dcmjs reads it, wherever they are, as JSON.
// Nothing of the adapters takes part: content items are only copied.
import { list, print } from "./common.mjs";
import { read } from "./reports.mjs";

const dataset = read(process.argv[2]);

const code = (sequence) => {
  const { CodeValue: value, CodingSchemeDesignator: scheme, CodeMeaning: meaning } = list(sequence)[0] ?? {};
  return list(sequence).length ? { value: value ?? null, scheme: scheme ?? null, meaning: meaning ?? null } : null;
};
const name = (item) => code(item.ConceptNameCodeSequence);
const children = (item) => list(item.ContentSequence);
const named = (items, value) => items.find((item) => name(item)?.value === value);
const numbers = (values) => list(values).map(Number);

const references = (item) =>
  list(item.ReferencedSOPSequence).map((reference) => ({
    relationship: item.RelationshipType ?? null,
    class: reference.ReferencedSOPClassUID,
    image: reference.ReferencedSOPInstanceUID,
    frames: numbers(reference.ReferencedFrameNumber),
    segments: numbers(reference.ReferencedSegmentNumber),
  }));

const coordinates = (item) => ({
  relationship: item.RelationshipType ?? null,
  type: item.ValueType,
  name: name(item),
  graphic: item.GraphicType,
  data: numbers(item.GraphicData),
  frameOfReference: item.ReferencedFrameOfReferenceUID ?? null,
  images: children(item).filter((child) => child.ValueType === "IMAGE").flatMap(references),
});
const spatial = (item) => ["SCOORD", "SCOORD3D"].includes(item.ValueType);

const coded = (item) => ({
  relationship: item.RelationshipType,
  name: name(item),
  code: code(item.ConceptCodeSequence),
});

function measurement(item) {
  const measured = list(item.MeasuredValueSequence)[0];
  return {
    relationship: item.RelationshipType ?? null,
    name: name(item),
    value: measured?.NumericValue === undefined ? null : Number(measured.NumericValue),
    units: measured ? code(measured.MeasurementUnitsCodeSequence) : null,
    modifiers: children(item).filter((child) => child.ValueType === "CODE").map(coded),
    coordinates: children(item).filter(spatial).map(coordinates),
    images: children(item).filter((child) => child.ValueType === "IMAGE").flatMap(references),
  };
}

function group(item) {
  const items = children(item);
  const codes = items.filter((child) => child.ValueType === "CODE");
  return {
    trackingIdentifier: named(items, "112039")?.TextValue ?? null,
    trackingUID: named(items, "112040")?.UID ?? null,
    finding: code(named(codes, "121071")?.ConceptCodeSequence),
    findingSites: codes
      .filter((child) => ["363698007", "G-C0E3"].includes(name(child)?.value))
      .map((child) => code(child.ConceptCodeSequence)),
    codes: codes.map(coded),
    texts: items
      .filter((child) => child.ValueType === "TEXT")
      .map((child) => ({ relationship: child.RelationshipType, name: name(child), text: child.TextValue })),
    measurements: items.filter((child) => child.ValueType === "NUM").map(measurement),
    coordinates: items.filter(spatial).map(coordinates),
    images: items.filter((child) => child.ValueType === "IMAGE").flatMap(references),
  };
}

function* groups(item) {
  for (const child of children(item)) {
    if (child.ValueType === "CONTAINER" && name(child)?.value === "125007") yield group(child);
    yield* groups(child);
  }
}

print([...groups(dataset)]);
