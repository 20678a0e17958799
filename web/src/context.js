/**
 * The context model of a prior: the networks and tables of latent symbols, with the adaptation that
 * an image may have for them ("Context of a symbol" and "Adaptation section" in docs/format.md).
 */

import { damaged } from "./errors.js";
import { ORIENTATIONS } from "./geometry.js";
import { LOW_COUNTS, PHASES, SQUARE, WINDOWS } from "./neighbourhood.js";
import {
  LAPLACE_COUNT,
  LAST_DIRECT,
  RangeDecoder,
  TABLE_SIZE,
  indexOfScale,
  laplaceTables,
  numberBeyond,
  tablesWithLaplace,
} from "./range_coder.js";

const CHANNELS = 3;
const LARGEST = 127; // of features, weights and hidden numbers
const MEANS = [0, 1, 2, 3, 4, 5, 6, 8, 11, 15]; // the least |mean| of each class
/** The class of each |mean|; larger ones have the last class. */
const CLASSES = Uint8Array.from({ length: MEANS.at(-1) + 1 }, (_, mean) => MEANS.findLastIndex((m) => m <= mean));
const TABLES_PER_QUANTIZER = (LAST_DIRECT + 1) * MEANS.length;
const OFFSET_SYMBOLS = 3; // larger symbols have the offsets of +-3
const ROUNDING = 128; // is added before the last shift
const CONSTANT_UNIT = 64;
const MAX_CONSTANT = 2 ** 14;
const OUTPUTS = 2; // scale and mean

/** The number of a band among all: p in docs/format.md. */
export function bandNumber(level, channel, orientation) {
  return CHANNELS * ORIENTATIONS * level + ORIENTATIONS * channel + orientation;
}

/** The logarithm K of the q_step. */
function logStep(qStep) {
  const octave = 31 - Math.clz32(qStep);
  return 8 * octave + ((8 * qStep) >> octave) - 80;
}

/** The number of features of a phase that are symbols: each has a magnitude, too. */
function symbolFeatures(phase) {
  return WINDOWS[phase].length + 5 * SQUARE.length;
}

/** The number of all features of a phase. */
function featureCount(phase) {
  return 2 * symbolFeatures(phase) + LOW_COUNTS.reduce((sum, count) => sum + count);
}

/** @type {WeakMap<object, ContextModel>} the models of priors, whose tables take time to make */
const models = new WeakMap();

/**
 * The context model of a prior.
 * @param {Record<string, import("./prior.js").PriorArray>} arrays
 * @returns {ContextModel}
 */
export function contextModelOf(arrays) {
  if (!models.has(arrays)) models.set(arrays, new ContextModel(arrays));
  return models.get(arrays);
}

/** Networks and tables of one prior. Images change copies of them. */
class ContextModel {
  /** @param {Record<string, import("./prior.js").PriorArray>} arrays */
  constructor(arrays) {
    const { data, shape } = arrays.context_frequencies;
    const rows = Array.from({ length: shape[0] }, (_, row) => data.subarray(row * TABLE_SIZE, (row + 1) * TABLE_SIZE));
    /** All tables: those of the prior, then those of Laplace indices beyond the direct ones. */
    this.tables = tablesWithLaplace(rows);
    this.directTables = rows.length;
    this.offsets = arrays.context_offsets.data;
    this.networks = PHASES.map((_, phase) => {
      const names = ["w1", "c1", "s1", "w2", "c2", "w3", "c3", "s3"];
      return Object.fromEntries(names.map((name) => [name, arrays[`context_${name}_${phase}`].data]));
    });
  }

  /** The same model with other last layers. */
  adapted(networks) {
    return Object.assign(Object.create(ContextModel.prototype), this, { networks });
  }

  /**
   * The weights of a phase's network as `products.js` takes them. Features come in pairs: each symbol
   * with its magnitude, then the differences two by two.
   */
  weightsOf(phase) {
    const { w1, w2, w3 } = this.networks[phase];
    const symbols = symbolFeatures(phase);
    const inputs = featureCount(phase);
    const paired = new Int16Array(w1.length);
    for (let row = 0; row < w1.length; row += inputs) {
      for (let feature = 0; feature < inputs; feature++) {
        const pair = feature % symbols;
        const place = feature < 2 * symbols ? 2 * pair + (feature < symbols ? 0 : 1) : feature;
        paired[row + place] = w1[row + feature];
      }
    }
    return { inputs, largest: LARGEST, w1: paired, w2, w3, outputs: OUTPUTS };
  }

  /** The constants of the three layers of a phase's network, for a band and a q_step. */
  constantsOf(phase, level, band, qStep) {
    const { c1, s1, c2, c3, s3 } = this.networks[phase];
    const step = logStep(qStep);
    const sum = (c, s, size, extra) =>
      Int32Array.from({ length: size }, (_, at) => c[band * size + at] + step * s[level * size + at] + extra);
    return [sum(c1, s1, this.hiddenSize(phase), 0), c2, sum(c3, s3, OUTPUTS, ROUNDING)];
  }

  hiddenSize(phase) {
    return this.networks[phase].w1.length / featureCount(phase);
  }

  /**
   * Chooses the table of a symbol.
   * @param {number} scale
   * @param {number} mean
   * @param {number} quantizer 0 or 1
   * @returns {number} the number of the table
   */
  tableOf(scale, mean, quantizer) {
    const index = indexOfScale(scale);
    if (index > LAST_DIRECT) return numberBeyond(this.directTables, index);
    const magnitude = Math.abs(mean);
    const last = CLASSES.length - 1;
    const meanClass = CLASSES[magnitude < last ? magnitude : last];
    return TABLES_PER_QUANTIZER * quantizer + MEANS.length * index + meanClass;
  }

  /** The offset of a coefficient from its multiple, for the symbol as it was coded. */
  offsetOf(table, coded) {
    if (table >= this.directTables) return 0;
    const column = Math.min(Math.max(coded, -OFFSET_SYMBOLS), OFFSET_SYMBOLS) + OFFSET_SYMBOLS;
    return this.offsets[table * (2 * OFFSET_SYMBOLS + 1) + column];
  }
}

/**
 * The context model with the adaptation of an image.
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
  const w3 = Int16Array.from(network.w3, (weight, at) => {
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

/** The numbers of all bands of an image, ascending. */
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
