// What the scripts share: dcmjs itself, quiet, and files in and out.
import { readFileSync } from "node:fs";
import dcmjs from "dcmjs";

dcmjs.log?.setLevel?.("error");
// The scripts print JSON; what dcmjs prints goes elsewhere.
console.log = (...parts) => console.error(...parts);

export { dcmjs };

export function read(path) {
  const bytes = readFileSync(path);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const file = dcmjs.data.DicomMessage.readFile(buffer);
  const dataset = dcmjs.data.DicomMetaDictionary.naturalizeDataset(file.dict);
  dataset._meta = dcmjs.data.DicomMetaDictionary.namifyDataset(file.meta);
  return dataset;
}

export const list = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

// FNV-1a
export function checksum(bytes) {
  let result = 0x811c9dc5;
  for (const value of bytes) result = Math.imul(result ^ value, 0x01000193) >>> 0;
  return result;
}

export const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
