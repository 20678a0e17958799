/**
 * The Deep Fourier Machine of a prior, which corrects the linear synthesis ("Reconstruction" in docs/format.md). It
 * works on cells of 2x2 samples.
 */

/** @type {WeakMap<object, {weights: Float32Array, width: number, depth: number, reach: number}>} */
const machines = new WeakMap();

/**
 * The machine of a prior: its weights as the kernel takes them (lift, a and b of each layer, bypass), its sizes, and how
 * many cells it sees on each side of a cell.
 * @param {Record<string, import("./prior.js").PriorArray>} arrays of the prior
 */
export function machineOf(arrays) {
  if (!machines.has(arrays)) {
    const depth = Object.keys(arrays).filter((name) => name.startsWith("machine_a_")).length;
    const layers = Array.from({ length: depth }, (_, at) => [`machine_a_${at}`, `machine_b_${at}`]);
    const parts = ["machine_lift", ...layers.flat(), "machine_bypass"].map((name) => arrays[name].data);
    const weights = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      weights.set(part, at);
      at += part.length;
    }
    machines.set(arrays, { weights, width: arrays.machine_lift.shape[1], depth, reach: 1 + depth });
  }
  return machines.get(arrays);
}
