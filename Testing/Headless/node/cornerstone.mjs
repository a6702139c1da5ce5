// @cornerstonejs/adapters under plain Node, and the metadata of images as a viewer would give it to them.
//
// The adapters ask @cornerstonejs/core for a few functions, but the package as a whole needs a browser and vtk.js.
// The hooks (cornerstone_hooks.mjs) give them those functions from core's own files (cornerstone_core.mjs), so what
// turns pixels into millimetres is cornerstone's and not ours.
import { register } from "node:module";
import { dcmjs } from "./common.mjs";

// What they log goes to stderr; what they give up on (generateToolState only warns) is collected.
export const complaints = [];
for (const level of ["trace", "debug", "info"]) console[level] = () => {};
console.warn = (...parts) =>
  complaints.push(parts.filter((part) => typeof part === "string" || part instanceof Error).join(" "));

register("./cornerstone_hooks.mjs", import.meta.url);
const from = (name) => import(`@cornerstonejs/adapters/cornerstone3D/${name}`);
export const { default: MeasurementReport } = await from("MeasurementReport");
export const { NO_IMAGE_ID } = await from("constants/index");
// Those that index.js has, in its order; each registers itself with MeasurementReport.
const first = ["ArrowAnnotate", "Bidirectional", "Angle", "CobbAngle", "CircleROI", "EllipticalROI", "RectangleROI"];
const last = ["Length", "PlanarFreehandROI", "Probe", "UltrasoundDirectional", "KeyImage"];
for (const name of [...first, ...last]) await from(name);
const { cache, metaData, getImagePlaneCalibrated, utilities } = await import("./cornerstone_core.mjs");
utilities.logger.adaptersLog.getLogger("Cornerstone3D.MeasurementReport").setLevel("warn"); // common.mjs said "error"

export { dcmjs };

const instances = new Map();

export const imageIdOf = (uid, frame) => `peer:${uid}:${frame ?? 1}`;
export const volumeIdOf = (frameOfReference) => `volume:${frameOfReference}`;

// As OHIF and @cornerstonejs/metadata have it: rowPixelSpacing is PixelSpacing[0], the distance of rows. But core's
// worldToImageCoords and imageToWorldCoords multiply it with rowCosines, the direction along a row, where
// PixelSpacing[1] belongs: SCOORDs on pixels that are not square are wrong
// (https://github.com/cornerstonejs/cornerstone3D/issues/2758, open in 5.14.0). `corrected` exchanges the two, and
// makes of it what the standard says.
function plane(imageId, corrected) {
  const found = getImagePlaneCalibrated(() => undefined, imageId, instances.get(imageId), {});
  if (!corrected || !found) return found;
  return { ...found, rowPixelSpacing: found.columnPixelSpacing, columnPixelSpacing: found.rowPixelSpacing };
}

// `images`: instances with the attributes of naturalized datasets, one for each frame (FrameNumber, 1 if absent).
// Returns what generateReport and generateToolState want to have.
export function provide(images, corrected) {
  for (const image of images) instances.set(imageIdOf(image.SOPInstanceUID, image.FrameNumber), image);
  metaData.addProvider((type, imageId) => {
    const image = instances.get(imageId);
    if (!image) return;
    if (type === "instance") return image;
    if (type === "frameNumber") return image.FrameNumber ?? 1;
    if (type === "imagePlaneModule") return plane(imageId, corrected);
    if (type === "imagePixelModule") return { rows: image.Rows, columns: image.Columns };
    if (type === "sopCommonModule") return { sopInstanceUID: image.SOPInstanceUID, sopClassUID: image.SOPClassUID };
    if (type === "generalSeriesModule")
      return { studyInstanceUID: image.StudyInstanceUID, seriesInstanceUID: image.SeriesInstanceUID };
  });
  cache.getVolume = (volumeId) => {
    const ids = [...instances].filter(([, image]) => volumeIdOf(image.FrameOfReferenceUID) === volumeId);
    return ids.length ? { imageIds: ids.map(([imageId]) => imageId) } : undefined;
  };
  return {
    metaData,
    imageIds: Object.fromEntries(
      [...instances].map(([imageId, image]) => [`${image.SOPInstanceUID}:${image.FrameNumber ?? 1}`, imageId]),
    ),
    instance: (imageId) => instances.get(imageId),
  };
}
