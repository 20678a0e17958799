/**
 * The Deep Fourier Machine of a prior, which corrects the linear synthesis ("Reconstruction" in
 * docs/format.md). It works on cells of 2x2 samples.
 *
 * A block of cells is computed at a time. Each number of the machine has a plane, with one float for
 * each cell of the block and of a margin around it. So the cell at (dy, dx) is always the same
 * distance away, and what the layers take from other cells is read in place. Layer by layer the
 * cells that are right become fewer, by one on each side; those beyond are computed and not used.
 *
 * The angles of a layer are 2 pi h. The planes hold h in radians, that is, times 2 pi, and the
 * weights are scaled accordingly.
 */

import { SQUARE } from "./neighbourhood.js";
import { matrixBytes } from "./products.js";

const CHANNELS = 3;
const CELL_SAMPLES = 4; // of a channel
const NEIGHBOURS = SQUARE.filter(([dy, dx]) => dy || dx);
const INPUT_LIMIT = 4; // steps; differences approach it smoothly
const MOVED_PART = 16; // one dimension in 16 comes from each cell around
const TURN = 2 * Math.PI;
const LINE = 16; // floats in a line of the processor's cache
export const BLOCK_ROWS = 64; // cells
export const BLOCK_COLUMNS = 256;

/** The sizes and weights of the machine of a prior. */
class MachineWeights {
  /** @param {Record<string, import("./prior.js").PriorArray>} arrays of the prior */
  constructor(arrays) {
    this.depth = Object.keys(arrays).filter((name) => name.startsWith("machine_a_")).length;
    this.width = arrays.machine_lift.shape[1];
    this.lift = arrays.machine_lift.data;
    this.bypass = arrays.machine_bypass.data;
    this.layers = Array.from({ length: this.depth }, (_, at) => ({
      a: arrays[`machine_a_${at}`].data,
      b: arrays[`machine_b_${at}`].data,
    }));
  }

  /** How many cells the machine sees on each side of a cell. */
  get reach() {
    return 1 + this.depth;
  }
}

/** How many cells the machine of a prior sees on each side of a cell. */
export function reachOf(arrays) {
  return new MachineWeights(arrays).reach;
}

/** A matrix [rows, columns] of a function of row and column. */
function matrixOf(rows, columns, weight) {
  return Float32Array.from({ length: rows * columns }, (_, at) => weight(Math.floor(at / columns), at % columns));
}

/**
 * The lift, for the differences of the given number of channels. Its last two inputs are constants.
 * @returns {{weights: Float32Array, constants: Float32Array}}
 */
function liftMatrix({ lift, width }, channels, qStep) {
  const samples = CELL_SAMPLES * channels;
  const of = (row, input) => TURN * lift[input * width + row];
  const input = (column) => Math.floor(column / samples) * CELL_SAMPLES * CHANNELS + (column % samples);
  const logStep = (Math.log2(qStep) - 9) / 3;
  const last = SQUARE.length * CELL_SAMPLES * CHANNELS;
  return {
    weights: matrixOf(width, SQUARE.length * samples, (row, column) => of(row, input(column))),
    constants: Float32Array.from({ length: width }, (_, row) => of(row, last) * logStep + of(row, last + 1)),
  };
}

/**
 * A Fourier layer of order 1. Its inputs are cos - 1 of all dimensions, then sin of them; those of
 * `bypass` follow, if there are any.
 * @returns {{weights: Float32Array, constants: Float32Array}}
 */
function layerMatrix({ a, b }, width, { rows, scale, bypass }) {
  const outputs = a.length / (width + 1);
  const weight = (row, column) => {
    if (column < width) return scale * a[(column + 1) * outputs + row];
    if (column < 2 * width) return scale * b[(column - width + 1) * outputs + row];
    return (scale / TURN) * bypass[(column - 2 * width) * outputs + row];
  };
  const constant = (row) => {
    let sum = 0;
    for (let k = 0; k <= width; k++) sum += a[k * outputs + row];
    return scale * sum;
  };
  return {
    weights: matrixOf(rows, (bypass ? 3 : 2) * width, weight),
    constants: Float32Array.from({ length: rows }, (_, row) => constant(row)),
  };
}

/** The sizes of the planes of a block. */
function planesOf({ width, reach }, channels, [rows, columns]) {
  const stride = columns + 2 * reach;
  const cells = (rows + 2 * reach) * stride;
  // Before and after the cells there is room for what the outermost ones read of cells around them. An odd number of
  // lines keeps planes from falling on the same places of the cache.
  const guard = LINE * Math.ceil((stride + 1) / LINE);
  const lines = Math.ceil((cells + LINE + 2 * guard) / LINE);
  const length = LINE * (lines + 1 - (lines % 2));
  const samples = CELL_SAMPLES * channels;
  const inputs = SQUARE.length * samples;
  return { reach, stride, guard, length, samples, inputs, count: inputs + 3 * width + samples };
}

/** The bytes that the machine of a prior takes in a workspace, for blocks of a size in cells. */
export function machineBytes(arrays, channels, block) {
  const weights = new MachineWeights(arrays);
  const { length, inputs, samples, count } = planesOf(weights, channels, block);
  const { width, depth } = weights;
  const matrices = matrixBytes(width, inputs) + (depth - 1) * matrixBytes(width, 2 * width);
  return 4 * length * count + matrices + matrixBytes(samples, 3 * width) + 64;
}

/** The machine of a prior, for one image. */
export class Machine {
  #space;
  #planes;
  #arrays;
  #matrices;
  #lastMatrix;
  #lift;
  #qStep;
  #channels;
  #moved;

  /**
   * @param {ReturnType<import("./products.js").Products["workspace"]>} space
   * @param {Record<string, import("./prior.js").PriorArray>} arrays of the prior
   * @param {number} channels 1 or 3; gray has no chroma, whose samples would be 0
   * @param {number} qStep
   * @param {[number, number]} block the largest rows and columns of a block, in cells
   */
  constructor(space, arrays, channels, qStep, block) {
    const weights = new MachineWeights(arrays);
    const { width, layers, bypass } = weights;
    this.#space = space;
    this.#planes = planesOf(weights, channels, block);
    this.#qStep = qStep;
    this.#channels = channels;
    const { inputs, samples, length } = this.#planes;
    const make = (count) => space.float32(count * length);
    const layer = { h: make(width), cosines: make(width), sines: make(width) };
    this.#arrays = { inputs: make(inputs), ...layer, out: make(samples) };
    this.#lift = space.matrix(liftMatrix(weights, channels, qStep));
    const inner = { rows: width, scale: TURN, bypass: null };
    this.#matrices = layers
      .slice(0, -1)
      .map((layer) => space.matrix({ ...layerMatrix(layer, width, inner), adds: true }));
    const last = { rows: samples, scale: qStep, bypass };
    this.#lastMatrix = space.matrix(layerMatrix(layers.at(-1), width, last));
    this.#moved = Math.floor(width / MOVED_PART);
    this.width = width;
    const angles = this.#angles();
    this.#lift.setInputs(this.#placesOf(this.#arrays.inputs, inputs, () => 0));
    this.#matrices.forEach((matrix) => matrix.setInputs(angles));
    this.#lastMatrix.setInputs([...angles, ...this.#placesOf(this.#arrays.h, width, () => 0)]);
  }

  /** How many cells the machine sees on each side of a cell. */
  get reach() {
    return this.#planes.reach;
  }

  /** The distance of rows of cells in the planes of results. */
  get stride() {
    return this.#planes.stride;
  }

  /**
   * Computes the residuals of a block.
   * @param {(channel: number, row: number) => Float32Array} samplesOf gives a row of samples of a channel in units, of
   *   the block and of `reach` cells around it; the next call overwrites it
   * @param {number} rows of the block, in cells
   * @returns {Float32Array[]} for each channel and each sample of a cell, row by row, a plane of residuals in units;
   *   that of the first cell of the block is at index 0
   */
  run(samplesOf, rows) {
    this.#fillInputs(samplesOf, rows);
    const { reach, length } = this.#planes;
    const margin = reach - 1;
    this.#runMatrix(this.#lift, this.#arrays.h, rows, margin);
    this.#matrices.forEach((matrix, layer) => {
      this.#turn(rows, margin - layer);
      this.#runMatrix(matrix, this.#arrays.h, rows, margin - layer - 1);
    });
    this.#turn(rows, 1);
    this.#runMatrix(this.#lastMatrix, this.#arrays.out, rows, 0);
    const first = this.#cellAt(0);
    return Array.from({ length: this.#planes.samples }, (_, sample) =>
      this.#arrays.out.subarray(sample * length + first, (sample + 1) * length),
    );
  }

  /** Where in a plane the first cell of the block is, or the one `around` rows above it. */
  #cellAt(around) {
    const { guard, reach, stride } = this.#planes;
    return guard + (reach - around) * stride + reach;
  }

  /** Computes a matrix at the cells of the block and of some rows around it. */
  #runMatrix(matrix, target, rows, around) {
    const { stride, length, reach } = this.#planes;
    const first = this.#cellAt(around) - reach; // whole rows
    matrix.run(target.subarray(first), length, (rows + 2 * around) * stride, 4 * first);
  }

  #turn(rows, around) {
    const { h, cosines, sines } = this.#arrays;
    const { stride, length, reach } = this.#planes;
    const first = this.#cellAt(around) - reach;
    const count = 8 * Math.ceil(((rows + 2 * around) * stride) / 8);
    for (let start = first; start < this.width * length; start += length) {
      const [angle, cosine, sine] = [h, cosines, sines].map((planes) => planes.subarray(start, start + count));
      this.#space.turn(angle, cosine, sine);
    }
  }

  /** The inputs of a layer: cosines and sines, the last dimensions of them from the cells around. */
  #angles() {
    const { stride } = this.#planes;
    const firstMoved = this.width - NEIGHBOURS.length * this.#moved;
    const offset = (dimension) => {
      if (dimension < firstMoved) return 0;
      const [dy, dx] = NEIGHBOURS[Math.floor((dimension - firstMoved) / this.#moved)];
      return dy * stride + dx;
    };
    const { cosines, sines } = this.#arrays;
    return [cosines, sines].flatMap((planes) => this.#placesOf(planes, this.width, offset));
  }

  #placesOf(planes, count, offsetOf) {
    return Array.from({ length: count }, (_, at) => planes.byteOffset + 4 * (at * this.#planes.length + offsetOf(at)));
  }

  /** The differences of the samples around each cell from the mean of the channel there, in steps. */
  #fillInputs(samplesOf, rows) {
    const { reach, stride, guard, length, samples } = this.#planes;
    const cellRows = rows + 2 * reach;
    const cells = { first: guard + stride, last: guard + (cellRows - 1) * stride };
    for (let channel = 0; channel < this.#channels; channel++) {
      const planes = this.#cellsOf(samplesOf, channel, cellRows);
      const mean = meanOf(planes);
      SQUARE.forEach(([dy, dx], around) => {
        planes.forEach((plane, sample) => {
          const start = (around * samples + channel * CELL_SAMPLES + sample) * length;
          const target = this.#arrays.inputs.subarray(start, start + length);
          fillDifferences(target, plane, mean, dy * stride + dx, cells);
        });
      });
    }
  }

  /** The samples of all cells of a channel in steps, as a plane for each sample of a cell. */
  #cellsOf(samplesOf, channel, cellRows) {
    const { stride, guard, length } = this.#planes;
    const planes = Array.from({ length: CELL_SAMPLES }, () => new Float32Array(length));
    const perUnit = 1 / this.#qStep;
    for (let row = 0; row < 2 * cellRows; row++) {
      const samples = samplesOf(channel, row);
      const [even, odd] = planes.slice(2 * (row & 1));
      const start = guard + (row >> 1) * stride;
      for (let column = 0; column < stride; column++) {
        even[start + column] = samples[2 * column] * perUnit;
        odd[start + column] = samples[2 * column + 1] * perUnit;
      }
    }
    return planes;
  }
}

function meanOf([first, second, third, fourth]) {
  return first.map((sample, at) => (sample + second[at] + third[at] + fourth[at]) / CELL_SAMPLES);
}

/** Writes the limited differences between the samples `offset` further and the means. */
function fillDifferences(target, plane, mean, offset, { first, last }) {
  for (let at = first; at < last; at++) {
    const difference = plane[at + offset] - mean[at];
    target[at] = difference / (1 + Math.abs(difference) * (1 / INPUT_LIMIT));
  }
}
