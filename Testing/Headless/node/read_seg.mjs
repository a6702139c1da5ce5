// node read_seg.mjs FILE: a segmentation as dcmjs reads it, as JSON.
import { checksum, dcmjs, list, print, read } from "./common.mjs";

const dataset = read(process.argv[2]);
const pixels = new Uint8Array(list(dataset.PixelData)[0]);
const size = dataset.Rows * dataset.Columns;
const bits = Number(dataset.BitsAllocated);
const frames = Number(dataset.NumberOfFrames);
const values = bits === 1 ? dcmjs.data.BitArray.unpack(pixels.buffer).map((value) => (value ? 1 : 0)) : pixels;
const width = bits === 16 ? 2 : 1;
const shared = list(dataset.SharedFunctionalGroupsSequence)[0];

print({
  sopClass: dataset.SOPClassUID,
  patient: list(dataset.PatientName).map((name) => name.Alphabetic ?? String(name))[0] ?? "",
  type: dataset.SegmentationType,
  segments: list(dataset.SegmentSequence).map((segment) => ({
    number: segment.SegmentNumber,
    label: segment.SegmentLabel,
    type: list(segment.SegmentedPropertyTypeCodeSequence)[0]?.CodeMeaning,
    colour: segment.RecommendedDisplayCIELabValue ?? null,
  })),
  orientation: list(shared.PlaneOrientationSequence)[0].ImageOrientationPatient,
  spacing: list(shared.PixelMeasuresSequence)[0].PixelSpacing,
  references: list(dataset.ReferencedSeriesSequence).flatMap((series) =>
    list(series.ReferencedInstanceSequence).map((instance) => instance.ReferencedSOPInstanceUID),
  ),
  frames: list(dataset.PerFrameFunctionalGroupsSequence).map((group, number) => {
    const frame = values.slice(number * size * width, (number + 1) * size * width);
    const source = list(list(group.DerivationImageSequence)[0]?.SourceImageSequence)[0];
    return {
      segment: list(group.SegmentIdentificationSequence)[0]?.ReferencedSegmentNumber ?? null,
      position: list(group.PlanePositionSequence)[0].ImagePositionPatient.map(Number),
      source: source?.ReferencedSOPInstanceUID ?? null,
      sourceFrame: source?.ReferencedFrameNumber ?? null,
      set: frame.reduce((count, value) => count + (value !== 0 ? 1 : 0), 0),
      checksum: checksum(frame),
    };
  }),
  complete: values.length >= frames * size * width,
});
