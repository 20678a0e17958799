/**
 * The context model of the wavelet codec: networks and tables of symbols, and their adaptation to an image ("Context of
 * a symbol" and "Adaptation section" in docs/format.md).
 */

import { damaged } from "./errors.js";
import { ORIENTATIONS } from "./geometry.js";
import { LOW_COUNTS, PHASES, symbolFeatures } from "./neighbourhood.js";
import { LAPLACE_COUNT, RangeDecoder, TABLE_SIZE, laplaceTables, tablesWithLaplace } from "./range_coder.js";
import { logStep } from "./wavelet.js";

const CHANNELS = 3;
const LARGEST = 127; // maximum magnitude of weights
const MEANS = [0, 1, 2, 3, 4, 5, 6, 8, 11, 15]; // minimum |mean| of each class
/** The class of each |mean|; larger ones have the last class. */
const CLASSES = Int16Array.from({ length: MEANS.at(-1) + 1 }, (_, mean) => MEANS.findLastIndex((m) => m <= mean));
const OFFSETS = 7; // of a table, for symbols -3..3
const NOTHING = new Uint8Array(0);
const CONSTANT_UNIT = 64;
const MAX_CONSTANT = 2 ** 14;
const OUTPUTS = 2; // scale and mean

/** Returns the number of a band: p in docs/format.md. */
function bandNumber(level, channel, orientation) {
  return CHANNELS * ORIENTATIONS * level + ORIENTATIONS * channel + orientation;
}

/** Returns the number of features of a phase. */
function featureCount(phase) {
  return symbolFeatures(phase) + LOW_COUNTS.reduce((sum, count) => sum + count);
}

/** @type {WeakMap<object, ContextModel>} cached context models, because creating the tables takes time */
const models = new WeakMap();

/**
 * Returns the context model of pretrained weights.
 * @param {Record<string, import("./weights.js").WeightArray>} arrays
 * @returns {ContextModel}
 */
export function contextModelOf(arrays) {
  if (!models.has(arrays)) models.set(arrays, new ContextModel(arrays));
  return models.get(arrays);
}

/** Networks and tables of pretrained weights. Images use modified copies. */
class ContextModel {
  /** @param {Record<string, import("./weights.js").WeightArray>} arrays */
  constructor(arrays) {
    const { data, shape } = arrays.context_frequencies;
    const rows = Array.from({ length: shape[0] }, (_, row) => data.subarray(row * TABLE_SIZE, (row + 1) * TABLE_SIZE));
    /** All tables: first the trained ones, then those of Laplace indices without a direct table. */
    this.tables = tablesWithLaplace(rows);
    /** The reconstruction offsets of all tables; those of Laplace tables are 0. */
    this.offsets = new Int32Array(OFFSETS * this.tables.count);
    this.offsets.set(arrays.context_offsets.data);
    this.networks = PHASES.map((_, phase) => {
      const numbersOf = (name) => arrays[`context_${name}_${phase}`].data;
      const weights = ["w1", "w2", "w3"].map((name) => [name, Int8Array.from(numbersOf(name))]);
      const constants = ["c1", "s1", "c2", "c3", "s3"].map((name) => [name, Int32Array.from(numbersOf(name))]);
      return Object.fromEntries([...weights, ...constants]);
    });
  }

  /** Returns the same model with other last layers. */
  adapted(networks) {
    return Object.assign(Object.create(ContextModel.prototype), this, { networks });
  }

  /** Returns the constants of the three layers of a phase's network, for a band and a q_step. */
  constantsOf(phase, level, band, qStep) {
    const { c1, s1, c2, c3, s3 } = this.networks[phase];
    const step = logStep(qStep);
    const sum = (c, s, size) =>
      Int32Array.from({ length: size }, (_, at) => c[band * size + at] + step * s[level * size + at]);
    return [sum(c1, s1, this.hiddenSize(phase)), c2, sum(c3, s3, OUTPUTS)];
  }

  hiddenSize(phase) {
    return this.networks[phase].w1.length / featureCount(phase);
  }

  /**
   * Selects the tables of the symbols of a pass.
   * @param {any} run the kernels
   * @param {import("./causal_context.js").CausalContext} context the symbols decoded before the pass
   * @param {{level: number, channel: number, orientation: number, phase: number}} pass
   * @param {[number, number]} shape its rows and columns
   * @param {number} qStep
   * @param {{quantizers: Int8Array, tables: Int16Array, signs: Int32Array}} symbols provides the quantisers; receives
   *   tables and signs
   */
  chooseTables(run, context, pass, shape, qStep, { quantizers, tables, signs }) {
    const { level, channel, orientation, phase } = pass;
    const { w1, w2, w3 } = this.networks[phase];
    const [c1, c2, c3] = this.constantsOf(phase, level, bandNumber(level, channel, orientation), qStep);
    const { views, symbolCount, available } = context.featuresOf(pass);
    const [planes, [rows, columns]] = [context.planes, shape];
    const codingPass = {
      w1, c1, w2, c2, w3, c3, available, signedCount: symbolCount, ...planes, views, rows, columns, quantizers,
      classOfMean: CLASSES,
    };
    run.chooseTables({ codingPass, table: tables, sign: signs, hidden: NOTHING });
  }
}

/**
 * Returns the context model adapted to an image.
 * @param {ContextModel} model
 * @param {Uint8Array} body the adaptation section
 * @param {number} levels
 * @param {number} channels
 * @returns {ContextModel}
 * @throws {import("./errors.js").DfmError}
 */
export function withAdaptation(model, body, levels, channels) {
  const indices = body.subarray(0, 2 * OUTPUTS);
  if (indices.length < 2 * OUTPUTS || indices.some((index) => index >= LAPLACE_COUNT)) {
    throw damaged("the adaptation section does not start with its tables");
  }
  const decoder = new RangeDecoder(body.subarray(2 * OUTPUTS));
  const bands = bandsOf(levels, channels);
  const hidden = model.networks[0].w3.length / OUTPUTS;
  const sizes = [hidden, hidden, bands.length, bands.length];
  const parts = sizes.map((size, part) => decoder.decodeArray(PHASES.length * size, indices[part], laplaceTables()));
  if (parts.slice(OUTPUTS).some((part) => part.some((symbol) => Math.abs(symbol) > MAX_CONSTANT))) {
    const what = `an adaptation changes a constant by more than ${MAX_CONSTANT} units`;
    throw damaged(`the adaptation section is invalid: ${what}`);
  }
  return model.adapted(model.networks.map((network, phase) => adaptedNetwork(network, phase, parts, bands)));
}

function adaptedNetwork(network, phase, parts, bands) {
  const hidden = network.w3.length / OUTPUTS;
  const w3 = Int8Array.from(network.w3, (weight, at) => {
    const output = Math.floor(at / hidden);
    const changed = weight + parts[output][phase * hidden + (at % hidden)];
    return Math.min(Math.max(changed, -LARGEST), LARGEST);
  });
  const c3 = Int32Array.from(network.c3);
  bands.forEach((band, at) => {
    for (let output = 0; output < OUTPUTS; output++) {
      c3[OUTPUTS * band + output] += CONSTANT_UNIT * parts[OUTPUTS + output][phase * bands.length + at];
    }
  });
  return { ...network, w3, c3 };
}

/** Returns the numbers of all bands of an image, ascending. */
function bandsOf(levels, channels) {
  const numbers = [];
  for (let level = 0; level < levels; level++) {
    for (let channel = 0; channel < channels; channel++) {
      for (let orientation = 0; orientation < ORIENTATIONS; orientation++) {
        numbers.push(bandNumber(level, channel, orientation));
      }
    }
  }
  return numbers;
}
