/**
 * The cost of the network of a coordinate codec file, computed before memory is allocated (docs/format.md, "Refusals
 * and limits").
 */

import { DfmError } from "./errors.js";

const MAX_FREQUENCIES = 2 ** 16;
const MAX_WEIGHTS = 2 ** 22;
export const MAX_MULTIPLY_ADDS = 2 ** 37;
const POSITION_DIMENSION = 2;
const PHASE_FACTOR_MULTIPLY_ADDS = 64;

/**
 * A Fourier layer with m inputs and n outputs and the frequencies |k|_1 <= order of {0,1}^m.
 * @typedef {{inputs: number, outputs: number, order: number, frequencyCount: number, weightCount: number}} LayerShape
 */

/** Returns the exact number of vectors of `inputs` zeros and ones with at most `order` ones. */
function countFrequencies(inputs, order) {
  let combinations = 1n;
  let sum = 0n;
  for (let ones = 0; ones <= order; ones++) {
    sum += combinations;
    combinations = (combinations * BigInt(inputs - ones)) / BigInt(ones + 1);
  }
  return sum;
}

/**
 * Returns the layers of a coordinate network, first to last.
 * @param {{channels: number, depth: number, layer_width: number, order: number}} values fields of the header
 * @returns {LayerShape[]}
 * @throws {DfmError} "corrupt": the network exceeds the limits
 */
export function layerShapes(values) {
  const dimensions = [POSITION_DIMENSION, ...Array(values.depth - 1).fill(values.layer_width), values.channels];
  const sizes = dimensions.slice(1).map((outputs, index) => {
    const inputs = dimensions[index];
    const order = Math.min(values.order, inputs);
    return { inputs, outputs, order, count: countFrequencies(inputs, order) };
  });
  const largest = sizes.reduce((most, { count }) => (count > most ? count : most), 0n);
  if (largest > BigInt(MAX_FREQUENCIES)) {
    throw invalid(
      `width ${values.layer_width} with order ${values.order} needs ${largest} frequencies a layer, ` +
        `more than ${MAX_FREQUENCIES}; lower the width or the order`,
    );
  }
  const layers = sizes.map(({ inputs, outputs, order, count }) => {
    const frequencyCount = Number(count);
    return { inputs, outputs, order, frequencyCount, weightCount: (2 * frequencyCount - 1) * outputs };
  });
  const weights = layers.reduce((sum, layer) => sum + layer.weightCount, 0);
  if (weights > MAX_WEIGHTS) throw invalid(`the network has ${weights} weights, more than ${MAX_WEIGHTS}`);
  return layers;
}

/**
 * Returns the multiply-adds of a coordinate network per position.
 * @param {LayerShape[]} layers
 * @returns {number}
 */
export function multiplyAdds(layers) {
  let sum = 0;
  for (const { inputs, order, frequencyCount, weightCount } of layers) {
    const half = Math.floor(inputs / 2);
    const phaseFactors = order < inputs ? frequencyCount : 2 ** half + 2 ** (inputs - half);
    sum += weightCount + PHASE_FACTOR_MULTIPLY_ADDS * phaseFactors;
  }
  return sum;
}

function invalid(why) {
  return new DfmError("corrupt", `the header is invalid: ${why}`);
}
