// SUV factors of @cornerstonejs/calculate-suv: node suv.mjs cases.json, a list of lists of instances.
// Prints for each case what the package returns for each instance, or {"error": its words}.
import { readFileSync } from "node:fs";
import { print } from "./common.mjs";
import package_ from "@cornerstonejs/calculate-suv";

console.warn = () => {};

function factors(instances) {
  try {
    return package_.calculateSUVScalingFactors(instances);
  } catch (error) {
    return { error: error.message };
  }
}

print(JSON.parse(readFileSync(process.argv[2], "utf8")).map(factors));
