/**
 * The correction network of the wavelet codec, a network that corrects the linear synthesis
 * ("Reconstruction" in docs/format.md). It works on cells of 2x2 samples.
 */

/** @type {WeakMap<object, {weights: Float32Array, width: number, depth: number, reach: number}>} */
const corrections = new WeakMap();

/**
 * Returns the correction network of pretrained weights: its weights in the layout of the kernel (lift, a and b of each
 * layer, bypass), its sizes, and its reach in cells on each side of a cell.
 * @param {Record<string, import("./weights.js").WeightArray>} arrays of the pretrained weights
 */
export function correctionOf(arrays) {
  if (!corrections.has(arrays)) {
    const depth = Object.keys(arrays).filter((name) => name.startsWith("machine_a_")).length;
    const layers = Array.from({ length: depth }, (_, at) => [`machine_a_${at}`, `machine_b_${at}`]);
    const parts = ["machine_lift", ...layers.flat(), "machine_bypass"].map((name) => arrays[name].data);
    const weights = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      weights.set(part, at);
      at += part.length;
    }
    corrections.set(arrays, { weights, width: arrays.machine_lift.shape[1], depth, reach: 1 + depth });
  }
  return corrections.get(arrays);
}
