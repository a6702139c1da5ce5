// Where Node finds what @cornerstonejs/adapters imports; see cornerstone.mjs.
const ours = new URL("./cornerstone_core.mjs", import.meta.url).href;

export async function resolve(specifier, context, next) {
  if (specifier === "@cornerstonejs/core") return { url: ours, shortCircuit: true };
  // The package imports @babel/runtime, but what it requires is its twin.
  if (specifier.startsWith("@babel/runtime/")) return next(specifier.replace("runtime", "runtime-corejs2"), context);
  return next(specifier, context);
}
