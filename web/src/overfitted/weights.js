/**
 * The pretrained weights of the overfitted codec: what the networks of an image start from (docs/format.md, "Weights of model 3").
 *
 * It needs these arrays, with h and g the numbers of hidden outputs, n the width of the synthesis network, and N the number of
 * weights that can change, that is, of all numbers before the last two arrays:
 *
 *     machine_filters [6, 4]      machine_lift [n, 7]         machine_lift_constants [n]
 *     machine_layer [3, 2 n]      machine_bypass [3, 7]       machine_constants [3]
 *     machine_stages [2, 3, 27]   machine_stage_constants [2, 3]
 *     context_w1 [h, 29]          context_c1 [7, h]           context_w2 [g, h]       context_c2 [g]
 *     context_w3 [2, g]           context_bypass [2, 29]      context_c3 [7, 2]
 *     change_steps [N]            change_tables [N]
 *
 * @module overfitted/weights
 */

import { DfmError } from "../errors.js";

/** The number of grids. */
export const GRIDS = 7;
/** The number of features of a symbol. */
export const FEATURES = 29;

const SYNTHESIS_KINDS = [
  "filters", "lift", "lift_constants", "layer", "bypass", "constants", "stages", "stage_constants",
];
const SYNTHESIS_LIMITS = Object.fromEntries(SYNTHESIS_KINDS.map((name) => [name, Infinity]));
const MAX_WEIGHT = 1023;
const MAX_CONSTANT = 1 << 19;
const CONTEXT_LIMITS = {
  w1: MAX_WEIGHT, c1: MAX_CONSTANT, w2: MAX_WEIGHT, c2: MAX_CONSTANT, w3: MAX_WEIGHT, bypass: MAX_WEIGHT,
  c3: MAX_CONSTANT,
};

/**
 * A kind of weights with deltas, in the order of the networks section.
 *
 * @typedef {object} Kind
 * @property {string} network - "synthesis" or "context".
 * @property {string} name
 * @property {number} limit - The maximum magnitude; infinite for the synthesis network.
 * @property {ArrayLike<number>} weights
 * @property {number} start - The index of its first weight.
 */

/**
 * @typedef {object} ContextWeights
 * @property {ArrayLike<number>} w1 @property {ArrayLike<number>} c1 @property {ArrayLike<number>} w2
 * @property {ArrayLike<number>} c2 @property {ArrayLike<number>} w3 @property {ArrayLike<number>} bypass
 * @property {ArrayLike<number>} c3
 */

/**
 * @typedef {object} SynthesisWeights
 * @property {Float32Array} filters @property {Float32Array} lift @property {Float32Array} lift_constants
 * @property {Float32Array} layer @property {Float32Array} bypass @property {Float32Array} constants
 * @property {Float32Array} stages @property {Float32Array} stage_constants
 */

/** The networks of an image. @typedef {{ context: ContextWeights, synthesis: SynthesisWeights }} Networks */

export class OverfittedWeights {
  /**
   * @param {Record<string, { shape: number[], data: ArrayLike<number> }>} arrays - As listed above.
   * @throws {DfmError} The arrays are inconsistent.
   */
  constructor(arrays) {
    const data = (/** @type {string} */ name) => arrays[name]?.data ?? [];
    /** @type {Kind[]} */
    this.kinds = [];
    let start = 0;
    for (const [network, limits] of Object.entries({ synthesis: SYNTHESIS_LIMITS, context: CONTEXT_LIMITS })) {
      for (const [name, limit] of Object.entries(limits)) {
        const weights = data(`${network === "synthesis" ? "machine" : network}_${name}`);
        this.kinds.push({ network, name, limit, weights, start });
        start += weights.length;
      }
    }
    /** The number of weights with deltas. */
    this.weightCount = start;
    /** The step size and the Laplace index of each delta. */
    this.steps = data("change_steps");
    this.tables = data("change_tables");
    if (!this.#isConsistent()) throw new DfmError("corrupt", "the weights of the overfitted codec are damaged");
  }

  #isConsistent() {
    const sizes = Object.fromEntries(this.kinds.map(({ network, name, weights }) => [network + name, weights.length]));
    const [h, g, n] = [sizes.contextw1 / FEATURES, sizes.contextc2, sizes.synthesislift_constants];
    const expected = {
      synthesisfilters: 4 * (GRIDS - 1), synthesislift: n * GRIDS, synthesislayer: 6 * n, synthesisbypass: 3 * GRIDS,
      synthesisconstants: 3, synthesisstages: 2 * 3 * 27, synthesisstage_constants: 6, contextc1: GRIDS * h,
      contextw2: g * h, contextw3: 2 * g, contextbypass: 2 * FEATURES, contextc3: GRIDS * 2,
    };
    const fits = Object.entries(expected).every(([name, size]) => sizes[name] === size);
    const isWithin = this.kinds.every(({ weights, limit }) =>
      Array.from(weights).every((weight) => Math.abs(weight) <= limit),
    );
    const deltas = [this.steps.length, this.tables.length];
    const hasAllWeights = deltas.every((count) => count === this.weightCount);
    return n > 0 && h > 0 && g > 0 && fits && isWithin && hasAllWeights;
  }
}
