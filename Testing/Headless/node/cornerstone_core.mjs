// The part of @cornerstonejs/core that the adapters for structured reports use, from its own files.
const core = new URL("./node_modules/@cornerstonejs/core/dist/esm/", import.meta.url);
const metadata = new URL("./node_modules/@cornerstonejs/metadata/dist/esm/", import.meta.url);
const from = (folder, path) => import(new URL(path, folder).href);

const [metaData, modules, logger, toImage, toWorld, restriction, calibrated] = await Promise.all([
  from(core, "metaData.js"),
  from(core, "enums/MetadataModules.js"),
  from(core, "utilities/logger.js"),
  from(core, "utilities/worldToImageCoords.js"),
  from(core, "utilities/imageToWorldCoords.js"),
  from(core, "utilities/updatePlaneRestriction.js"),
  from(metadata, "utilities/metadataProvider/imagePlaneCalibrated.js"),
]);

export { metaData };
export const Enums = { MetadataModules: modules.default };
export const cache = {};
export const utilities = {
  logger,
  worldToImageCoords: toImage.default,
  imageToWorldCoords: toWorld.default,
  updatePlaneRestriction: restriction.updatePlaneRestriction,
};
export const { getImagePlaneCalibrated } = calibrated;
