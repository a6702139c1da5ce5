// node segments.mjs FILE: the segments as dcmjs's own segmentation reader gives them, as JSON.
import { checksum, dcmjs, print, read } from "./common.mjs";

const dataset = read(process.argv[2]);
dataset.PixelData = Array.isArray(dataset.PixelData) ? dataset.PixelData[0] : dataset.PixelData;
const segments = dcmjs.adapters.VTKjs.Segmentation.generateSegments(dataset);
print(
  Object.fromEntries(
    Object.entries(segments).map(([number, segment]) => [
      number,
      {
        checksum: checksum(segment.pixelData.map((value) => (value ? 1 : 0))),
        dimensions: segment.geometry.dimensions,
        spacing: segment.geometry.spacing,
        origin: segment.geometry.origin,
      },
    ]),
  ),
);
