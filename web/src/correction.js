/**
 * The correction network of the wavelet codec, a network that corrects the linear synthesis
 * ("Reconstruction" in docs/format.md). It works on cells of 2x2 samples.
 */

export const CELL_SAMPLES = 12;

/**
 * The weights of a correction network in the layout of the kernel.
 * @typedef {object} CorrectionNetwork
 * @property {Int8Array} weights of the lift, each layer, and the bypass
 * @property {Int32Array} factors of the lift, factors and constants of each layer, and factors of the bypass
 * @property {Int32Array} liftConstants
 * @property {Int32Array} liftSlopes
 * @property {number} depth the number of layers
 * @property {number} reach in cells on each side of a cell
 */

/** @type {WeakMap<object, CorrectionNetwork>} */
const corrections = new WeakMap();

/**
 * Returns the correction network of pretrained weights.
 * @param {Record<string, import("./weights.js").WeightArray>} arrays of the pretrained weights
 * @returns {CorrectionNetwork}
 */
export function correctionOf(arrays) {
  if (!corrections.has(arrays)) corrections.set(arrays, createNetwork(arrays));
  return corrections.get(arrays);
}

function createNetwork(arrays) {
  const dataOf = (name) => arrays[`correction_${name}`].data;
  const depth = Object.keys(arrays).filter((name) => name.startsWith("correction_weights_")).length;
  const ofLayers = (...names) => Array.from({ length: depth }, (_, at) => names.map((name) => `${name}_${at}`)).flat();
  const joined = (names) => names.flatMap((name) => Array.from(dataOf(name)));
  return {
    weights: Int8Array.from(joined(["lift", ...ofLayers("weights"), "bypass"])),
    factors: Int32Array.from(joined(["lift_factors", ...ofLayers("factors", "constants"), "bypass_factors"])),
    liftConstants: dataOf("lift_constants"),
    liftSlopes: dataOf("lift_slopes"),
    depth,
    reach: 1 + depth,
  };
}

/**
 * Returns the constants of the lift.
 * @param {CorrectionNetwork} network
 * @param {number} logStep see `logStep` in wavelet.js
 * @returns {Int32Array}
 */
export function firstConstants({ liftConstants, liftSlopes }, logStep) {
  return liftConstants.map((constant, at) => constant + liftSlopes[at] * logStep);
}
