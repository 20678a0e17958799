/**
 * The network of the coordinate codec: maps positions to colours (docs/format.md, "Network").
 *
 * Positions are computed in blocks. Each number of the network has a row with one float per position.
 *
 * A layer over all of {0,1}^m is split. Let k_A be the first half of the coordinates of k, k_B the others, and c = a -
 * i b. Then
 *
 *     h = Re sum over k_A of e^(2 pi i k_A.v) (sum over k_B of e^(2 pi i k_B.v) c),
 *
 * where the inner sums are one matrix product, and the outer sum is short. In a layer with a smaller order, k_A is 0.
 *
 * @module coordinate/network
 */

import { allocate } from "../errors.js";
import { matrixBytes } from "../float_rows.js";
import { frequenciesOf } from "./frequencies.js";

/** @typedef {import("../architecture.js").LayerShape} LayerShape */
/** @typedef {import("./weights.js").LayerWeights} LayerWeights */
/** @typedef {import("../kernels.js").Kernels} Kernels */
/** @typedef {ReturnType<Kernels["workspace"]>} Workspace */

const MOST_POSITIONS = 256; // maximum per block
const MOST_FLOATS = 2 ** 23; // maximum per block, in all layers
const TAU = 2 * Math.PI;

/** Returns the number of coordinates in k_A. @param {LayerShape} layer */
const splitOf = ({ inputs, order }) => (order < inputs ? 0 : inputs >> 1);

/** Returns the numbers of frequencies in k_A and k_B. @param {LayerShape} layer */
function partsOf(layer) {
  const first = 2 ** splitOf(layer);
  return { first, second: layer.frequencyCount / first };
}

/**
 * Returns the rows and columns of the matrix of a layer's inner sums. @param {LayerShape} layer @returns {[number,
 * number]}
 */
function matrixSize(layer) {
  const { first, second } = partsOf(layer);
  return [(first === 1 ? 1 : 2 * first) * layer.outputs, 2 * second];
}

/** Returns the number of rows that a layer needs: angles, factors, inner sums, results. @param {LayerShape} layer */
function rowsOf(layer) {
  const { first, second } = partsOf(layer);
  return 3 * layer.inputs + 2 * (first + second) + matrixSize(layer)[0] + 3 + layer.outputs;
}

/** A layer of the network, for blocks of positions. */
class FourierLayer {
  #space;
  #shape;
  #length;
  #halves;
  #matrix;
  #inner;
  #angles;
  #cosines;
  #sines;

  /**
   * @param {Workspace} space
   * @param {LayerShape} shape
   * @param {LayerWeights} weights
   * @param {number} length - The number of positions, a multiple of 8.
   */
  constructor(space, shape, weights, length) {
    this.#space = space;
    this.#shape = shape;
    this.#length = length;
    const split = splitOf(shape);
    const { first, second } = partsOf(shape);
    this.#halves = [
      new PhaseFactors(space, frequenciesOf(split, split, first), length),
      new PhaseFactors(space, frequenciesOf(shape.inputs - split, shape.order, second), length),
    ];
    [this.#angles, this.#cosines, this.#sines] = [0, 1, 2].map(() => space.float32(shape.inputs * length));
    const [rows] = matrixSize(shape);
    this.#matrix = space.matrix({ weights: innerWeights(shape, weights), constants: new Float32Array(rows) });
    this.#matrix.setInputs(this.#halves[1].places());
    this.#inner = space.float32((rows + 3) * length);
    /** The results, row by row. */
    this.results = space.float32(shape.outputs * length);
  }

  /** Computes `results`. @param {Float32Array} inputs - Row by row. */
  run(inputs) {
    const length = this.#length;
    for (let i = 0; i < inputs.length; i++) this.#angles[i] = (inputs[i] - Math.round(inputs[i])) * TAU;
    this.#space.turn(this.#angles, this.#cosines, this.#sines);
    for (let i = 0; i < inputs.length; i++) this.#cosines[i] += 1;
    const start = splitOf(this.#shape) * length;
    this.#halves[0].multiply(this.#cosines, this.#sines);
    this.#halves[1].multiply(this.#cosines.subarray(start), this.#sines.subarray(start));
    this.#matrix.run(this.#inner, length, length);
    this.#addOuter();
    if (this.#shape.inputs !== this.#shape.outputs) return;
    for (let i = 0; i < inputs.length; i++) this.results[i] += inputs[i];
  }

  /** Computes the outer sums. */
  #addOuter() {
    const length = this.#length;
    const { outputs } = this.#shape;
    const size = outputs * length;
    if (splitOf(this.#shape) === 0) {
      this.results.set(this.#inner.subarray(0, size));
      return;
    }
    this.results.fill(0);
    this.#halves[0].rows.forEach((factors, index) => {
      for (let output = 0; output < outputs; output++) {
        const row = output * length;
        const inner = index * size + row;
        for (let i = 0; i < length; i++) this.results[row + i] += factors[i] * this.#inner[inner + i];
      }
    });
  }
}

/**
 * Returns the matrix of the inner sums. Its columns are for the cosines of all k_B and then for their sines. Its rows
 * contain, for all k_A and outputs, the factors of the cosine of k_A, and then those of its sine.
 *
 * @param {LayerShape} shape @param {LayerWeights} weights
 */
function innerWeights(shape, { a, b }) {
  const { outputs } = shape;
  const { first, second } = partsOf(shape);
  const [rows, columns] = matrixSize(shape);
  const matrix = new Float32Array(rows * columns);
  for (let kB = 0; kB < second; kB++) {
    for (let i = 0; i < first * outputs; i++) {
      const from = kB * first * outputs + i;
      const [cosine, sine] = [i * columns, (first * outputs + i) * columns];
      matrix[cosine + kB] = a[from];
      matrix[cosine + second + kB] = b[from];
      if (first === 1) continue; // k_A is 0 and has no sine
      matrix[sine + kB] = b[from];
      matrix[sine + second + kB] = -a[from];
    }
  }
  return matrix;
}

/** The cosines and sines of 2 pi k.v of some frequencies k. */
class PhaseFactors {
  #frequencies;
  #length;
  #cosines;
  #sines;

  /**
   * @param {Workspace} space
   * @param {import("./frequencies.js").Frequencies} frequencies
   * @param {number} length
   */
  constructor(space, frequencies, length) {
    const count = frequencies.parents.length;
    this.#frequencies = frequencies;
    this.#length = length;
    this.#cosines = space.float32(count * length);
    this.#sines = space.float32(count * length);
    this.#cosines.fill(1, 0, length); // cosines of k = 0
    /** The rows of all cosines, then of all sines. */
    this.rows = [this.#cosines, this.#sines].flatMap((numbers) =>
      Array.from({ length: count }, (_, row) => numbers.subarray(row * length, (row + 1) * length)),
    );
  }

  /** The byte offsets of the rows. */
  places() {
    return this.rows.map((row) => row.byteOffset);
  }

  /** Computes the rows. @param {Float32Array} cosines - Of each coordinate. @param {Float32Array} sines */
  multiply(cosines, sines) {
    const [c, s, length] = [this.#cosines, this.#sines, this.#length];
    const { parents, tops } = this.#frequencies;
    for (let row = 1; row < parents.length; row++) {
      const [target, parent, top] = [row * length, parents[row] * length, tops[row] * length];
      for (let i = 0; i < length; i++) {
        const [c1, s1, c2, s2] = [c[parent + i], s[parent + i], cosines[top + i], sines[top + i]];
        c[target + i] = c1 * c2 - s1 * s2;
        s[target + i] = s1 * c2 + c1 * s2;
      }
    }
  }
}

/**
 * @typedef {object} CoordinateImage
 * @property {number} height - Of the entire image.
 * @property {number} width
 * @property {LayerShape[]} layers
 * @property {LayerWeights[]} weights
 */

/** The network of an image, which computes colours of any region. */
export class CoordinateSynthesis {
  #image;
  #layers;
  #positions;

  /** @param {CoordinateImage} image @param {Kernels} kernels */
  constructor(image, kernels) {
    const { layers, weights } = image;
    const most = MOST_FLOATS / layers.reduce((sum, layer) => sum + rowsOf(layer), 0);
    const length = 8 * Math.max(1, Math.floor(Math.min(MOST_POSITIONS, most) / 8));
    const bytes = layers.map((layer) => matrixBytes(...matrixSize(layer)) + 4 * length * rowsOf(layer) + 256);
    const space = kernels.workspace(bytes.reduce((sum, size) => sum + size, 0));
    this.#image = image;
    this.#layers = layers.map((layer, i) => new FourierLayer(space, layer, weights[i], length));
    this.#positions = new Float32Array(2 * length); // columns, then rows
  }

  /**
   * Computes the colours of a region.
   *
   * @param {{ top: number, left: number, bottom: number, right: number }} region
   * @returns {Float32Array} [C, H, W]: a plane for each channel, 0 for black and 1 for white.
   */
  colours(region) {
    const length = this.#positions.length / 2;
    const count = (region.bottom - region.top) * (region.right - region.left);
    const channels = this.#image.layers[this.#image.layers.length - 1].outputs;
    const planes = allocate(() => new Float32Array(channels * count));
    for (let start = 0; start < count; start += length) {
      const numbers = this.#run(region, start);
      for (let channel = 0; channel < channels; channel++) {
        const target = channel * count + start;
        const pixels = Math.min(length, count - start);
        for (let i = 0; i < pixels; i++) planes[target + i] = (Math.tanh(numbers[channel * length + i]) + 1) / 2;
      }
    }
    return planes;
  }

  /**
   * Computes the last layer for the pixels of a region from index `start` on. Values after the last pixel are
   * undefined.
   *
   * @param {{ top: number, left: number, right: number }} region @param {number} start
   */
  #run({ top, left, right }, start) {
    const { height, width } = this.#image;
    const length = this.#positions.length / 2;
    for (let i = 0; i < length; i++) {
      this.#positions[i] = (left + ((start + i) % (right - left))) / width;
      this.#positions[length + i] = (top + Math.floor((start + i) / (right - left))) / height;
    }
    let numbers = this.#positions;
    for (const layer of this.#layers) {
      layer.run(numbers);
      numbers = layer.results;
    }
    return numbers;
  }
}
