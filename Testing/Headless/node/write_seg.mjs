// node write_seg.mjs OUTPUT IMAGE...: a segmentation of two segments made by dcmjs on the images; prints what was painted.
import { writeFileSync } from "node:fs";
import { dcmjs, list, print, read } from "./common.mjs";

const [output, ...files] = process.argv.slice(2);
const multiframe = dcmjs.normalizers.Normalizer.normalizeToDataset(files.map(read));
const segmentation = new dcmjs.derivations.Segmentation([multiframe], { includeSliceSpacing: true });
const { Rows: rows, Columns: columns } = multiframe;
const frames = Number(multiframe.NumberOfFrames);
const code = (value, scheme, meaning) => ({ CodeValue: value, CodingSchemeDesignator: scheme, CodeMeaning: meaning });
const segment = (number, label, type) => ({
  SegmentNumber: number,
  SegmentLabel: label,
  SegmentAlgorithmType: "SEMIAUTOMATIC",
  SegmentAlgorithmName: "dcmjs",
  SegmentedPropertyCategoryCodeSequence: [code("123037004", "SCT", "Anatomical Structure")],
  SegmentedPropertyTypeCodeSequence: [type],
  RecommendedDisplayCIELabValue: [34885, 53485, 50171],
});
const painted = { 1: [], 2: [] };
const labelmaps = Array.from({ length: frames }, (_, frame) => {
  const labels = new Uint8Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const label = (row + 2 * column + frame) % 7 === 0 ? 1 : (row * column + frame) % 5 === 1 ? 2 : 0;
      if (!label) continue;
      labels[row * columns + column] = label;
      painted[label].push([frame, row, column]);
    }
  return labels;
});
const numbers = Array.from({ length: frames }, (_, frame) => frame + 1);
segmentation.setNumberOfFrames(2 * frames);
segmentation.addSegmentFromLabelmap(segment(1, "Liver", code("10200004", "SCT", "Liver")), labelmaps, 1, numbers);
segmentation.addSegmentFromLabelmap(segment(2, "Spleen", code("78961009", "SCT", "Spleen")), labelmaps, 2, numbers);
segmentation.bitPackPixelData();
writeFileSync(output, new Uint8Array(dcmjs.data.datasetToDict(segmentation.dataset).write()));
print({
  painted,
  positions: list(multiframe.PerFrameFunctionalGroupsSequence).map((group) =>
    list(group.PlanePositionSequence)[0].ImagePositionPatient.map(Number),
  ),
});
