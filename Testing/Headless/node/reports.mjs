// What the scripts for structured reports share beside common.mjs.
import { dcmjs, read as readFile } from "./common.mjs";

// dcmjs forgets Specific Character Set in sequences: `more` makes a stream that takes the bytes for Latin-1. A viewer
// that has its metadata from DICOMweb does not see that, so neither shall we.
const { ReadBufferStream } = dcmjs.data;
const { more } = ReadBufferStream.prototype;
ReadBufferStream.prototype.more = function (length) {
  const part = more.call(this, length);
  part.setDecoder(this.decoder);
  return part;
};

export const read = readFile;
