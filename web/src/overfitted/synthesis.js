/**
 * The synthesis of the overfitted codec: converts grids of symbols to colours (docs/format.md, "Synthesis").
 *
 * An image is computed in blocks, and each block with the matrices of `float_rows.js` for many pixels at a time. The
 * colour of a pixel does not depend on its block.
 *
 * @module overfitted/synthesis
 */

import { allocate } from "../errors.js";
import { matrixBytes } from "../float_rows.js";
import { GRIDS } from "./weights.js";

/** @typedef {import("./weights.js").SynthesisWeights} SynthesisWeights */
/** @typedef {import("../kernels.js").Kernels} Kernels */

const CHANNELS = 3;
const TAPS = 4;
const HALO = 4; // samples around each grid: two for each upsampling, two for the stages
const STAGE_HALO = 2; // pixels around a block that the stages need
const BLOCK_ROWS = 64;
const BLOCK_COLUMNS = 256;
const ARRAYS = 16; // number of arrays of a block, each aligned to 16 bytes
const AT_A_TIME = 512; // number of pixels whose angles are in memory

/**
 * A plane of numbers, row by row.
 *
 * @typedef {{ rows: number, columns: number, data: Float32Array }} Plane
 */

/**
 * Returns a grid with replicated edges, multiplied by the step size.
 *
 * @param {Int32Array} grid @param {[number, number]} size @param {number} step
 * @returns {Plane}
 */
function padGrid(grid, [rows, columns], step) {
  const side = { rows: rows + 2 * HALO, columns: columns + 2 * HALO };
  const padded = { ...side, data: allocate(() => new Float32Array(side.rows * side.columns)) };
  for (let y = 0; y < padded.rows; y++) {
    const row = padded.data.subarray(y * padded.columns, (y + 1) * padded.columns);
    const start = Math.min(Math.max(y - HALO, 0), rows - 1) * columns;
    for (let x = 0; x < columns; x++) row[x + HALO] = grid[start + x] * step;
    row.fill(row[HALO], 0, HALO);
    row.fill(row[columns + HALO - 1], columns + HALO);
  }
  return padded;
}

/**
 * Upsamples a part of a plane along both axes, by the filter of four taps.
 *
 * @param {Plane} plane
 * @param {Float32Array} taps
 * @param {{ top: number, left: number, rows: number, columns: number }} part - Of the upsampled plane.
 * @param {Float32Array} out - Receives the part.
 * @param {number} stride - The distance between rows of `out`.
 */
function doublePart(plane, taps, { top, left, rows, columns }, out, stride) {
  const first = left >> 1; // the first column of the plane that the part depends on
  const pairs = ((left + columns - 1) >> 1) - first + 1;
  const count = Math.min(pairs + TAPS, plane.columns - first); // the last pair may be half beyond the plane
  const along = new Float32Array(pairs + TAPS); // a row of the part, upsampled horizontally
  const upsampled = new Float32Array(2 * pairs);
  const [t0, t1, t2, t3] = taps;
  const { data } = plane;
  for (let y = top; y < top + rows; y++) {
    const line0 = ((y >> 1) + (y & 1)) * plane.columns + first;
    const [line1, line2, line3] = [1, 2, 3].map((tap) => line0 + tap * plane.columns);
    const [a, b, c, d] = y & 1 ? [t3, t2, t1, t0] : [t0, t1, t2, t3];
    for (let x = 0; x < count; x++) {
      along[x] = a * data[line0 + x] + b * data[line1 + x] + c * data[line2 + x] + d * data[line3 + x];
    }
    for (let i = 0; i < pairs; i++) {
      const [x1, x2, x3] = [along[i + 1], along[i + 2], along[i + 3]];
      upsampled[2 * i] = t0 * along[i] + t1 * x1 + t2 * x2 + t3 * x3;
      upsampled[2 * i + 1] = t3 * x1 + t2 * x2 + t1 * x3 + t0 * along[i + 4];
    }
    out.set(upsampled.subarray(left & 1, (left & 1) + columns), (y - top) * stride);
  }
}

/**
 * Returns the grids coarser than a level, upsampled to the size of grid `level + 1`, with their halo.
 *
 * @param {Int32Array[]} grids @param {[number, number][]} sizes @param {SynthesisWeights} synthesis
 * @param {number} step @param {number} level
 */
function joinCoarser(grids, sizes, synthesis, step, level) {
  /** @type {Plane[]} */
  let joined = [];
  for (let l = GRIDS - 1; l > level; l--) {
    const grid = padGrid(grids[l], sizes[l], step);
    const taps = synthesis.filters.subarray(TAPS * l, TAPS * (l + 1));
    const complete = { top: 0, left: 0, rows: grid.rows, columns: grid.columns };
    const upsampled = joined.map((plane) => {
      const data = allocate(() => new Float32Array(grid.data.length));
      doublePart(plane, taps, complete, data, grid.columns);
      return { ...complete, data };
    });
    joined = [grid, ...upsampled];
  }
  return joined;
}

/** Computes the colours of blocks of a fixed maximum size. */
class BlockSynthesis {
  #space;
  #positions;
  #planes;
  #synthesis;
  #stages;

  /**
   * @param {Kernels} kernels
   * @param {SynthesisWeights} weights
   * @param {number} level - The finest level of the feature vectors: values of finer grids are 0.
   * @param {[number, number]} size - The maximum numbers of rows and columns of blocks.
   */
  constructor(kernels, weights, level, [rows, columns]) {
    /** The row stride of a block. */
    this.stride = 8 * Math.ceil((columns + 2 * STAGE_HALO) / 8);
    // one more row than the halo, because neighbours beyond the last pixel are read
    this.#positions = (rows + 2 * STAGE_HALO + 1) * this.stride;
    this.#space = kernels.workspace(blockBytes(weights.lift_constants.length, this.#positions));
    /** The values of grids `level`, `level + 1`, .. for the pixels of a block and its halo. */
    this.vectors = Array.from({ length: GRIDS - level }, () => this.#space.float32(this.#positions));
    this.#synthesis = new PixelNetwork(this.#space, weights, level, this.vectors);
    // before, between and after the stages; matrices write four rows of results
    this.#planes = [0, 1, 2].map(() => this.#space.float32((CHANNELS + 1) * this.#positions));
    this.#stages = [0, 1].map((stage) => this.#stageOf(weights, stage));
    /** The red, green and blue values of a block. */
    this.colours = [0, 1, 2].map((channel) => this.#planes[2].subarray(channel * this.#positions));
  }

  /**
   * Creates a residual stage: the identity is added to its weights.
   *
   * @param {SynthesisWeights} weights @param {number} stage
   */
  #stageOf(weights, stage) {
    const size = CHANNELS * 9 * CHANNELS;
    const mapped = weights.stages.slice(stage * size, (stage + 1) * size);
    const centre = 4 * CHANNELS;
    for (let c = 0; c < CHANNELS; c++) mapped[c * 9 * CHANNELS + centre + c] += 1;
    const constants = weights.stage_constants.subarray(stage * CHANNELS, (stage + 1) * CHANNELS);
    const matrix = this.#space.matrix({ weights: mapped, constants, least: stage === 0 ? 0 : undefined });
    const places = [];
    for (let dy = 0; dy < 3; dy++) {
      for (let dx = 0; dx < 3; dx++) {
        for (let c = 0; c < CHANNELS; c++) {
          places.push(this.#planes[stage].byteOffset + 4 * (c * this.#positions + dy * this.stride + dx));
        }
      }
    }
    matrix.setInputs(places);
    return matrix;
  }

  /**
   * Computes `colours` from `vectors`, which start two rows above and two columns to the left of the block.
   *
   * @param {number} rows - Of the block.
   */
  run(rows) {
    const count = (/** @type {number} */ halo) => (rows + 2 * halo) * this.stride;
    this.#synthesis.run(this.#planes[0], this.#positions, count(STAGE_HALO));
    this.#stages[0].run(this.#planes[1], this.#positions, count(1));
    this.#stages[1].run(this.#planes[2], this.#positions, count(0));
  }
}

/**
 * Returns the number of bytes for a block. @param {number} width - Of the synthesis network. @param {number} positions
 */
function blockBytes(width, positions) {
  const matrices =
    matrixBytes(width, GRIDS) + matrixBytes(CHANNELS, 2 * width) + matrixBytes(CHANNELS, GRIDS) +
    2 * matrixBytes(CHANNELS, 9 * CHANNELS);
  const floats = (GRIDS + 3 * (CHANNELS + 1)) * positions + (3 * width + 3) * AT_A_TIME;
  return matrices + 4 * floats + ARRAYS * 16;
}

/** The Fourier layer and the bypass: converts feature vectors to colours. */
class PixelNetwork {
  #space;
  #lift;
  #layer;
  #bypass;
  #angles;
  #cosines;
  #sines;

  /**
   * @param {ReturnType<Kernels["workspace"]>} space
   * @param {SynthesisWeights} weights
   * @param {number} level
   * @param {Float32Array[]} vectors - The numbers of grids `level`, `level + 1`, ..
   */
  constructor(space, weights, level, vectors) {
    const width = weights.lift_constants.length;
    const seen = (/** @type {Float32Array} */ rows) => rows.filter((_, i) => i % GRIDS >= level);
    this.#space = space;
    this.#lift = space.matrix({ weights: seen(weights.lift), constants: weights.lift_constants });
    this.#layer = space.matrix({ weights: weights.layer, constants: weights.constants });
    this.#bypass = space.matrix({ weights: seen(weights.bypass), constants: [0, 0, 0], adds: true });
    this.#angles = space.float32((width + 3) * AT_A_TIME); // matrices write four rows at a time
    [this.#cosines, this.#sines] = [0, 1].map(() => space.float32(width * AT_A_TIME));
    const places = vectors.map((vector) => vector.byteOffset);
    this.#lift.setInputs(places);
    this.#bypass.setInputs(places);
    this.#layer.setInputs(
      [this.#cosines, this.#sines].flatMap((rows) =>
        Array.from({ length: width }, (_, i) => rows.byteOffset + 4 * AT_A_TIME * i),
      ),
    );
  }

  /**
   * @param {Float32Array} colours - Receives the planes of red, green and blue, and an unused fourth plane.
   * @param {number} stride - The distance between planes.
   * @param {number} count - The number of pixels.
   */
  run(colours, stride, count) {
    for (let start = 0; start < count; start += AT_A_TIME) {
      const pixels = Math.min(AT_A_TIME, count - start);
      const out = colours.subarray(start);
      this.#lift.run(this.#angles, AT_A_TIME, pixels, 4 * start);
      this.#space.turn(this.#angles.subarray(0, this.#cosines.length), this.#cosines, this.#sines);
      this.#layer.run(out, stride, pixels);
      this.#bypass.run(out, stride, pixels, 4 * start);
    }
  }
}

/**
 * Computes the colours of a region, block by block.
 *
 * @param {object} image
 * @param {Int32Array[]} image.grids - The symbols of the entire image, from the finest grid on.
 * @param {[number, number][]} image.sizes - Their rows and columns.
 * @param {SynthesisWeights} image.synthesis - The synthesis network of the image.
 * @param {number} image.step - The step size of symbols; see `stepOf`.
 * @param {{ top: number, left: number, bottom: number, right: number }} [image.region] - In samples of grid `level`;
 *   all of them if undefined.
 * @param {number} [image.level] - 0 for the image. A larger value gives a reduced image from the coarser grids: one
 *   pixel for each symbol of grid `level`, with 0 for the values of finer grids.
 * @param {Kernels} kernels
 * @yields {{ top: number, left: number, rows: number, columns: number, stride: number, colours: Float32Array[] }} A
 *   block: its place, and red, green and blue of its pixels, 0 for black and 1 for white; the rows of a plane are
 *   `stride` apart. The next block overwrites them.
 */
export function* synthesiseBlocks({ grids, sizes, synthesis, step, region, level = 0 }, kernels) {
  const [height, width] = sizes[level];
  const { top, left, bottom, right } = region ?? { top: 0, left: 0, bottom: height, right: width };
  const coarser = joinCoarser(grids, sizes, synthesis, step, level);
  const taps = synthesis.filters.subarray(TAPS * level, TAPS * (level + 1));
  const largest = /** @type {[number, number]} */ ([
    Math.min(BLOCK_ROWS, bottom - top), Math.min(BLOCK_COLUMNS, right - left),
  ]);
  const blockSynthesis = new BlockSynthesis(kernels, synthesis, level, largest);
  const { stride, vectors, colours } = blockSynthesis;
  for (let y = top; y < bottom; y += BLOCK_ROWS) {
    for (let x = left; x < right; x += BLOCK_COLUMNS) {
      const rows = Math.min(BLOCK_ROWS, bottom - y);
      const columns = Math.min(BLOCK_COLUMNS, right - x);
      const part = {
        top: y + HALO - STAGE_HALO,
        left: x + HALO - STAGE_HALO,
        rows: rows + 2 * STAGE_HALO,
        columns: columns + 2 * STAGE_HALO,
      };
      copyPart(grids[level], sizes[level], step, part, vectors[0], stride);
      coarser.forEach((plane, i) => doublePart(plane, taps, part, vectors[i + 1], stride));
      blockSynthesis.run(rows);
      yield { top: y, left: x, rows, columns, stride, colours };
    }
  }
}

/**
 * Copies a part of a grid with replicated edges, multiplied by the step size.
 *
 * @param {Int32Array} grid @param {[number, number]} size @param {number} step
 * @param {{ top: number, left: number, rows: number, columns: number }} part - With the halo counted.
 * @param {Float32Array} out @param {number} stride
 */
function copyPart(grid, [height, width], step, { top, left, rows, columns }, out, stride) {
  for (let i = 0; i < rows; i++) {
    const start = Math.min(Math.max(top + i - HALO, 0), height - 1) * width;
    for (let j = 0; j < columns; j++) {
      out[i * stride + j] = grid[start + Math.min(Math.max(left + j - HALO, 0), width - 1)] * step;
    }
  }
}

/** Returns the step size of symbols for an image. @param {number} lmbdaCode - -24..32. */
export const stepOf = (lmbdaCode) => Math.fround(2 ** (lmbdaCode / 8));
