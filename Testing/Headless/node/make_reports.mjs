// node make_reports.mjs IN.json FOLDER: structured reports as cornerstone's adapters write them, as OHIF asks for them.
// Prints {name: path}: a file for each kind of annotation, and one with all.
//
// IN.json: {"images": [...], "annotations": [...], "corrected": false}; see cornerstone.mjs for images and corrected.
// An annotation is, all points in millimetres of the patient's system (LPS):
//   tool            of cornerstone: Length, CircleROI, ...
//   points          handles.points; for contours (PlanarFreehandROI, LivewireContour, SplineROI) contour.polyline
//   image, frame    SOPInstanceUID of the image that it lies on, and its frame; without image the report has SCOORD3Ds
//   frameOfReference  of an annotation without image
//   label, finding, findingSites ({CodeValue, CodingSchemeDesignator, CodeMeaning}), textBox (a point)
//   stats           what cachedStats of the image or of the volume holds
//   closed, controlPoints, splineType  of contours; arrowFirst (true) of arrows; rotation of ellipses;
//   isPoint, seriesLevel of key images
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { print } from "./common.mjs";
import { complaints, dcmjs, imageIdOf, MeasurementReport, NO_IMAGE_ID, provide, volumeIdOf } from "./cornerstone.mjs";

const [input, folder] = process.argv.slice(2);
const { images, annotations, corrected } = JSON.parse(readFileSync(input, "utf8"));
const { metaData, instance } = provide(images, corrected);

const contour = (annotation) => annotation.closed !== undefined;

function toolData(annotation) {
  const { tool, image, frame, label, finding, findingSites, stats, textBox } = annotation;
  if (!MeasurementReport.measurementAdapterByToolType.has(tool)) throw new Error(`no adapter for ${tool}`);
  const referencedImageId = image ? imageIdOf(image, frame) : undefined;
  if (image && !instance(referencedImageId)) throw new Error(`no such image: ${referencedImageId}`);
  const frameOfReference = image ? instance(referencedImageId).FrameOfReferenceUID : annotation.frameOfReference;
  const volumeId = volumeIdOf(frameOfReference);
  const handles = {
    points: contour(annotation) ? annotation.controlPoints ?? [] : annotation.points,
    activeHandleIndex: null,
    textBox: textBox ? { hasMoved: true, worldPosition: textBox } : { hasMoved: false },
  };
  if (tool === "ArrowAnnotate") handles.arrowFirst = annotation.arrowFirst ?? true;
  const target = image ? `imageId:${referencedImageId}` : `volumeId:${volumeId}`;
  const data = { handles, cachedStats: stats ? { [target]: stats } : {} };
  if (label !== undefined) data.label = label;
  if (contour(annotation)) data.contour = { polyline: annotation.points, closed: annotation.closed };
  if (annotation.splineType) data.spline = { type: annotation.splineType };
  if (annotation.rotation !== undefined) data.initialRotation = annotation.rotation;
  for (const key of ["isPoint", "seriesLevel"]) if (annotation[key]) data[key] = true;
  const metadata = { toolName: tool, FrameOfReferenceUID: frameOfReference };
  if (image) metadata.referencedImageId = referencedImageId;
  else metadata.volumeId = volumeId;
  return { metadata, data, finding, findingSites };
}

function write(name, chosen) {
  const state = {};
  for (const annotation of chosen) {
    const made = toolData(annotation);
    const imageId = made.metadata.referencedImageId ?? NO_IMAGE_ID;
    ((state[imageId] ??= {})[annotation.tool] ??= { data: [] }).data.push(made);
  }
  // The last two are what OHIF adds, extensions/cornerstone-dicom-sr/src/commandsModule.ts.
  const { dataset } = MeasurementReport.generateReport(state, metaData, { SeriesDescription: name, SeriesNumber: 99 });
  dataset.SpecificCharacterSet ??= "ISO_IR 192";
  dataset.InstanceNumber ??= 1;
  const path = join(folder, `${name}.dcm`);
  writeFileSync(path, new Uint8Array(dcmjs.data.datasetToDict(dataset).write()));
  return path;
}

const kinds = {};
for (const annotation of annotations) {
  const open = contour(annotation) && !annotation.closed ? "Open" : "";
  const places = annotation.image ? "" : "3D";
  for (const name of [`${annotation.tool}${open}${places}`, `All${places}`]) (kinds[name] ??= []).push(annotation);
}
const paths = Object.fromEntries(Object.entries(kinds).map(([name, chosen]) => [name, write(name, chosen)]));
if (complaints.length) throw new Error(complaints.join("\n"));
print(paths);
