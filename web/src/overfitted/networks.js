/**
 * The networks section of the overfitted codec: the weight deltas of an image relative to the pretrained weights
 * (docs/format.md, "Networks section").
 *
 * @module overfitted/networks
 */

import { damaged } from "../errors.js";
import { RangeDecoder, laplaceTables, limitedIndex } from "../range_coder.js";

/** @typedef {import("./weights.js").OverfittedWeights} OverfittedWeights */
/** @typedef {import("./weights.js").Kind} Kind */
/** @typedef {import("./weights.js").Networks} Networks */

const MIDDLE = 8; // offset of four-bit numbers, which represent -8..7

/**
 * Returns the networks of an image.
 *
 * @param {OverfittedWeights} pretrained
 * @param {Uint8Array | null} section - The networks section; null if the file has none.
 * @returns {Networks}
 * @throws {import("../errors.js").DfmError} The section is not valid.
 */
export function readNetworks(pretrained, section) {
  const deltas = section && readDeltas(pretrained, section);
  const networks = { synthesis: {}, context: {} };
  pretrained.kinds.forEach((kind, index) => {
    const { network, name, weights, start } = kind;
    const changed = network === "synthesis" ? Float32Array.from(weights) : Int32Array.from(weights);
    if (deltas) {
      const steps = stepsOf(pretrained, kind, deltas.exponents[index]);
      const change = network === "synthesis" ? changeFloat : changeInteger;
      for (let i = 0; i < changed.length; i++) {
        changed[i] = change(weights[i], deltas.symbols[start + i], steps[i], kind.limit);
      }
    }
    networks[network][name] = changed;
  });
  return /** @type {Networks} */ (networks);
}

/**
 * Decodes the symbols of all weight deltas, and the exponent of each kind.
 *
 * @param {OverfittedWeights} pretrained @param {Uint8Array} section
 */
function readDeltas(pretrained, section) {
  const kindCount = pretrained.kinds.length;
  if (section.length < kindCount) throw damaged("the networks section does not start with its steps and tables");
  const exponents = Array.from(section.subarray(0, kindCount), (byte) => (byte & 15) - MIDDLE);
  const offsets = Array.from(section.subarray(0, kindCount), (byte) => (byte >> 4) - MIDDLE);
  const numbers = new Uint16Array(pretrained.weightCount);
  pretrained.kinds.forEach(({ weights, start }, kind) => {
    for (let i = start; i < start + weights.length; i++) {
      numbers[i] = limitedIndex(limitedIndex(pretrained.tables[i] - 4 * exponents[kind]) + offsets[kind]);
    }
  });
  const symbols = new Int32Array(pretrained.weightCount);
  new RangeDecoder(section.subarray(kindCount)).decodePass(numbers, laplaceTables(), symbols);
  return { exponents, symbols };
}

/**
 * Returns the step sizes of a kind of weights; integers for the context network.
 *
 * @param {OverfittedWeights} pretrained @param {Kind} kind @param {number} exponent
 */
function stepsOf(pretrained, { network, weights, start }, exponent) {
  return Float32Array.from({ length: weights.length }, (_, i) => {
    const step = 2 ** exponent * pretrained.steps[start + i];
    return network === "synthesis" ? step : Math.max(1, roundToEven(step));
  });
}

/** Rounds a positive number to the nearest integer, halves to even. @param {number} value */
function roundToEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/**
 * Returns a weight of the synthesis network in float32. @param {number} weight @param {number} symbol @param {number}
 * step
 */
function changeFloat(weight, symbol, step) {
  return Math.fround(weight + Math.fround(symbol * step));
}

/**
 * Returns a weight of the context network.
 *
 * @param {number} weight @param {number} symbol @param {number} step @param {number} limit
 */
function changeInteger(weight, symbol, step, limit) {
  return Math.min(Math.max(weight + symbol * step, -limit), limit);
}
