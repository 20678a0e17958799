/**
 * The weights section of the coordinate codec (docs/format.md, "Weights section").
 *
 * @module coordinate/weights
 */

import { damaged } from "../errors.js";
import { LAPLACE_COUNT, RangeDecoder, laplaceTables } from "../range_coder.js";
import { frequenciesOf } from "./frequencies.js";

/** @typedef {import("../architecture.js").LayerShape} LayerShape */

// 2^(-i / 8), as literals so that they are equal on all hosts
const FRACTIONS = [
  1.0, 0.9170040432046712, 0.8408964152537145, 0.7711054127039704, 0.7071067811865476, 0.6484197773255048,
  0.5946035575013605, 0.5452538663326288,
];

/**
 * The weights of a layer.
 *
 * @typedef {object} LayerWeights
 * @property {Float32Array} a - [frequencies, outputs].
 * @property {Float32Array} b - The same, with zeros for k = 0.
 */

/**
 * Reads the weights of all layers.
 *
 * @param {Uint8Array} section
 * @param {LayerShape[]} layers
 * @returns {LayerWeights[]}
 * @throws {import("../errors.js").DfmError} The section is not valid.
 */
export function readWeights(section, layers) {
  const sideBytes = layers.reduce((sum, { order }) => sum + 1 + order + 1, 0);
  if (section.length < sideBytes) {
    throw damaged(`the weights section has ${section.length} bytes, fewer than the ${sideBytes} of its tables`);
  }
  const decoder = new RangeDecoder(section.subarray(sideBytes));
  let start = 0;
  return layers.map((layer) => {
    const side = section.subarray(start, (start += 1 + layer.order + 1));
    const symbols = readLayer(decoder, layer, side.subarray(1));
    const step = FRACTIONS[side[0] % 8] * 2 ** -(side[0] >> 3);
    const weights = Float32Array.from(symbols, (symbol) => symbol * step);
    const size = layer.frequencyCount * layer.outputs;
    const b = new Float32Array(size);
    b.set(weights.subarray(size), layer.outputs);
    return { a: weights.slice(0, size), b };
  });
}

/**
 * Reads the symbols of a layer in file order: one array for each |k|_1.
 *
 * @param {RangeDecoder} decoder
 * @param {LayerShape} layer
 * @param {Uint8Array} indices - The Laplace index of each array.
 */
function readLayer(decoder, { inputs, outputs, order, frequencyCount, weightCount }, indices) {
  const { ones } = frequenciesOf(inputs, order, frequencyCount);
  const symbols = new Int32Array(weightCount);
  for (let sum = 0; sum <= order; sum++) {
    if (indices[sum] >= LAPLACE_COUNT) throw damaged(`probability table ${indices[sum]} does not exist`);
    const rows = rowsWith(ones, sum);
    const group = decoder.decodeArray(rows.length * outputs, indices[sum], laplaceTables());
    rows.forEach((row, i) => symbols.set(group.subarray(i * outputs, (i + 1) * outputs), row * outputs));
  }
  return symbols;
}

/**
 * Returns the rows of a layer's weights in the file with this |k|_1: those of a, then those of b, which has none for k
 * = 0.
 *
 * @param {Uint8Array} ones @param {number} sum
 */
function rowsWith(ones, sum) {
  const rows = [];
  for (let row = 0; row < ones.length; row++) if (ones[row] === sum) rows.push(row);
  for (let row = 1; row < ones.length; row++) if (ones[row] === sum) rows.push(ones.length + row - 1);
  return rows;
}
