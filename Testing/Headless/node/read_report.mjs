// node read_report.mjs REPORT IN.json: the annotations that cornerstone's adapters make of a report, as OHIF asks them.
// IN.json as for make_reports.mjs, of which images and corrected are used. Prints
// {"annotations": {tool: [annotation]}, "failures": [what the adapters could not read, and passed over]}.
import { readFileSync } from "node:fs";
import { list, print } from "./common.mjs";
import { complaints, MeasurementReport, provide } from "./cornerstone.mjs";
import { read } from "./reports.mjs";

const [path, input] = process.argv.slice(2);
const { images, corrected } = JSON.parse(readFileSync(input, "utf8"));
const { metaData, imageIds, instance } = provide(images, corrected);
const dataset = read(path);

const code = (found) => {
  const { CodeValue, CodingSchemeDesignator, CodeMeaning } = list(found)[0] ?? {};
  return CodeValue === undefined ? null : { CodeValue, CodingSchemeDesignator, CodeMeaning };
};
// null for a point that an adapter expected and the report has not, as the last of an angle of three points.
const points = (found) => (found ?? []).map((point) => (point ? Array.from(point, Number) : null));

// The tracking identifier is not in what generateToolState returns: asked for by the unique one.
const identifiers = {};
const seen = new Set();
function getToolClass(group) {
  const named = (meaning) =>
    list(group.ContentSequence).find((item) => list(item.ConceptNameCodeSequence)[0]?.CodeMeaning === meaning);
  const identifier = named("Tracking Identifier")?.TextValue;
  identifiers[named("Tracking Unique Identifier")?.UID] = identifier;
  seen.add(group);
  const adapter =
    MeasurementReport.getAdapterForTrackingIdentifier(identifier) ?? MeasurementReport.getAdapterForCodeType(group);
  if (!adapter) complaints.push(`no adapter for the tracking identifier ${identifier}`);
  return adapter;
}

function described(tool, { annotation, finding, findingSites, description, sopInstanceUid, TrackingUniqueIdentifier }) {
  const { data, metadata } = annotation;
  const { handles, contour, label, text, spline } = data;
  return {
    tool,
    points: points(contour ? contour.polyline : handles.points),
    controlPoints: contour ? points(handles.points) : null,
    closed: contour ? contour.closed : null,
    splineType: spline?.type ?? null,
    textBox: handles.textBox?.hasMoved ? points([handles.textBox.worldPosition])[0] : null,
    label: label ?? null,
    text: text ?? null,
    description: description ?? null,
    finding: code(finding),
    findingSites: (findingSites ?? []).map(code),
    stats: Object.values(data.cachedStats ?? {})[0] ?? null,
    image: sopInstanceUid ?? null,
    series: instance(metadata.referencedImageId)?.SeriesInstanceUID ?? null,
    frame: data.frameNumber === undefined ? null : Number(data.frameNumber),
    frameOfReference: metadata.FrameOfReferenceUID ?? null,
    trackingIdentifier: identifiers[TrackingUniqueIdentifier] ?? null,
    trackingUID: TrackingUniqueIdentifier ?? null,
  };
}

const state = MeasurementReport.generateToolState(dataset, imageIds, metaData, { getToolClass });
const annotations = Object.fromEntries(
  Object.entries(state).map(([tool, found]) => [tool, found.map((one) => described(tool, one))]),
);
if (!seen.size) complaints.push("no measurement group where the adapters look for them");
print({ annotations, failures: complaints });
