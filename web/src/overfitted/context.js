/**
 * The context of the symbols of a grid: the features of the context network, and the tables that it selects
 * (docs/format.md, "Context of a grid symbol").
 *
 * @module overfitted/context
 */

import { allocate } from "../errors.js";
import { FEATURES, GRIDS } from "./weights.js";

/** @typedef {import("./weights.js").ContextWeights} ContextWeights */
/** @typedef {import("../kernels.js").Workspace} Workspace */

/** Offsets (dy, dx) of the context symbols in the same grid. */
const CAUSAL = [
  [-3, 0], [-2, -2], [-2, -1], [-2, 0], [-2, 1], [-2, 2], [-2, 3],
  [-1, -2], [-1, -1], [-1, 0], [-1, 1], [0, -3], [0, -2], [0, -1],
];
const SLOPE = 2; // one row equals this number of columns in the index of a wavefront
const PAD = 3; // border of a grid for context symbols
const CONSTANTS = 1; // index of the constants by grid in the arrays of a network
const SQUARE = 9; // the 3x3 context symbols of the next coarser grid
const PLANES = GRIDS - 1; // interpolated planes of the coarser grids
const COARSER = SQUARE + PLANES; // number of features from coarser grids
const LARGEST = 127;

const COMPANDED = Float32Array.from({ length: 64 }, (_, m) =>
  Math.min(8 * m, 6 * m + 2, 5 * m + 6, 4 * m + 12, 3 * m + 24, 2 * m + 44, m + 76, LARGEST),
);

/** Returns the function k of the format. @param {number} symbol */
export function compand(symbol) {
  const companded = COMPANDED[Math.min(Math.abs(symbol), COMPANDED.length - 1)];
  return symbol < 0 ? -companded : companded;
}

/**
 * Computes the context of a grid from the coarser grids: `COARSER` adjacent numbers for each symbol, the 3x3 symbols of
 * the next coarser grid and then one value of each plane.
 *
 * @param {Int32Array} grid - The symbols of the next coarser grid, row by row.
 * @param {[number, number]} size - Its rows and columns.
 * @param {Int8Array | null} own - The context of the coarser grid itself; null for the coarsest grid.
 * @param {[number, number]} finer - The rows and columns of the grid.
 * @returns {Int8Array}
 */
export function coarserOf(grid, [rows, columns], own, finer) {
  const companded = allocate(() => new Int8Array(grid.length));
  for (let i = 0; i < grid.length; i++) companded[i] = compand(grid[i]);
  const features = allocate(() => new Int8Array(finer[0] * finer[1] * COARSER));
  for (let y = 0, at = 0; y < finer[0]; y++) {
    for (let x = 0; x < finer[1]; x++, at += COARSER) {
      const [above, left] = [(y >> 1) - 1, (x >> 1) - 1];
      for (let n = 0; n < SQUARE; n++) {
        const [row, column] = [above + Math.floor(n / 3), left + (n % 3)];
        if (row >= 0 && column >= 0 && row < rows && column < columns) features[at + n] = companded[row * columns + column];
      }
    }
  }
  doublePlane(companded, 1, [rows, columns], features.subarray(SQUARE), finer);
  for (let n = 1; own && n < PLANES; n++) {
    doublePlane(own.subarray(SQUARE + n - 1), COARSER, [rows, columns], features.subarray(SQUARE + n), finer);
  }
  return features;
}

/**
 * Interpolates a plane, with 0 beyond its edges, to the size of the next finer grid.
 *
 * @param {Int8Array} plane
 * @param {number} step - The distance between numbers of the plane.
 * @param {[number, number]} size
 * @param {Int8Array} out - Receives the numbers, `COARSER` apart.
 * @param {[number, number]} finer
 */
function doublePlane(plane, step, [rows, columns], out, [finerRows, finerColumns]) {
  const along = new Int16Array(columns + 2); // 3 times a row plus one neighbouring row, between zeros
  for (let y = 0; y < finerRows; y++) {
    const near = (y >> 1) * columns;
    const isWithin = y & 1 ? (y >> 1) + 1 < rows : y > 0;
    const far = isWithin ? near + (y & 1 ? columns : -columns) : near;
    const part = isWithin ? 1 : 0;
    for (let j = 0; j < columns; j++) along[j + 1] = 3 * plane[(near + j) * step] + part * plane[(far + j) * step];
    const start = y * finerColumns;
    for (let x = 0; x < finerColumns; x++) {
      const j = (x >> 1) + 1;
      out[(start + x) * COARSER] = (3 * along[j] + along[j - 1 + 2 * (x & 1)] + 8) >> 4;
    }
  }
}

/** Returns the columns of a matrix, one after another. @param {ArrayLike<number>} matrix @param {number} columns */
function turned(matrix, columns) {
  const rows = matrix.length / columns;
  return Float32Array.from(matrix, (_, at) => matrix[(at % rows) * columns + Math.floor(at / rows)]);
}

/** Returns the constants of the network for a grid. @param {ContextWeights} weights @param {number} level */
function constantsOf({ w1, c1, c3 }, level) {
  const hidden = w1.length / FEATURES;
  const own = (/** @type {ArrayLike<number>} */ constants, /** @type {number} */ count) =>
    Array.from({ length: count }, (_, i) => constants[level * count + i]);
  return Float32Array.from([...own(c1, hidden), ...own(c3, 2)]);
}

/** Returns the context network in the layout of the kernel, for the finest grid. @param {ContextWeights} weights */
function networkOf(weights) {
  const { w1, w2, c2, w3, bypass } = weights;
  return [
    turned([...Array.from(w1), ...Array.from(bypass)], FEATURES),
    constantsOf(weights, 0),
    turned(w2, w1.length / FEATURES),
    Float32Array.from(c2),
    turned(w3, c2.length),
  ];
}

/**
 * Returns the number of bytes of the context of grids in a workspace.
 *
 * @param {[number, number]} size - The rows and columns of the finest grid.
 * @param {ContextWeights} weights
 */
export function contextBytes([rows, columns], { w1, w2, bypass, c2, w3 }) {
  const weights = w1.length + bypass.length + w2.length + c2.length + w3.length + w1.length / FEATURES + 2;
  return rows * columns * (COARSER + 4) + 4 * ((rows + PAD) * (columns + 2 * PAD) + weights) + 1024;
}

/** The decoded part of a grid: it provides the table of each symbol of a wavefront and receives the symbols. */
export class GridContext {
  #run;
  #network;
  #plane;
  #coarser;
  #grid;
  #stride = 0;
  #columns = 0;
  #rows = 0;
  #offsets = new BigInt64Array(CAUSAL.length);
  #all;

  /**
   * @param {Workspace} space - With at least `contextBytes`.
   * @param {[number, number]} size - The rows and columns of the finest grid.
   * @param {ContextWeights} weights
   */
  constructor(space, [rows, columns], weights) {
    this.#run = space.run;
    this.#network = networkOf(weights).map((array) => space.copyOf(array));
    this.#all = {
      plane: space.float32((rows + PAD) * (columns + 2 * PAD)),
      coarser: space.array(Int8Array, rows * columns * COARSER),
      grid: space.array(Int32Array, rows * columns),
    };
    ({ plane: this.#plane, coarser: this.#coarser, grid: this.#grid } = this.#all);
  }

  /**
   * Starts a grid.
   *
   * @param {ContextWeights} weights @param {number} level @param {[number, number]} size
   * @param {Int8Array | null} coarser - See `coarserOf`; null for the coarsest grid.
   */
  enter(weights, level, [rows, columns], coarser) {
    this.#network[CONSTANTS].set(constantsOf(weights, level));
    [this.#rows, this.#columns, this.#stride] = [rows, columns, columns + 2 * PAD];
    this.#plane = this.#all.plane.subarray(0, (rows + PAD) * this.#stride).fill(0);
    this.#coarser = this.#all.coarser.subarray(0, rows * columns * COARSER);
    this.#grid = this.#all.grid.subarray(0, rows * columns);
    if (coarser) this.#coarser.set(coarser);
    else this.#coarser.fill(0);
    CAUSAL.forEach(([dy, dx], i) => (this.#offsets[i] = BigInt(dy * this.#stride + dx)));
  }

  /** Returns the decoded symbols of the grid, row by row. */
  get grid() {
    return this.#grid;
  }

  /** Returns the number of wavefronts. */
  get count() {
    return this.#columns + SLOPE * (this.#rows - 1);
  }

  /** Returns the first row of wavefront t. @param {number} t */
  #firstRow(t) {
    return Math.max(0, (t - this.#columns + SLOPE) >> 1);
  }

  /** Returns the number of symbols of wavefront t: 0 for odd t in a grid with one column. @param {number} t */
  lengthOf(t) {
    return Math.min(this.#rows - 1, t >> 1) - this.#firstRow(t) + 1;
  }

  /**
   * Returns the first index of a wavefront in an array with rows of a given length, and the distance to the next ones.
   */
  #places(/** @type {number} */ t, /** @type {number} */ columns) {
    const step = columns - SLOPE;
    return [this.#firstRow(t) * step + t, Math.max(step, 1)];
  }

  /** Returns the indices of wavefront t in the plane. @param {number} t */
  #inPlane(t) {
    const [first, step] = this.#places(t, this.#stride);
    return [PAD * this.#stride + PAD + first, step];
  }

  /**
   * Selects the table, the sign and the integer mean of each symbol of a wavefront.
   *
   * @param {number} t @param {Int16Array} tables @param {Int32Array} signs @param {Int32Array} middles
   */
  choose(t, tables, signs, middles) {
    const [first, constants, second, secondConstants, last] = this.#network;
    const [planeStart, planeStride] = this.#inPlane(t);
    const [coarserStart, coarserStride] = this.#places(t, this.#columns);
    this.#run.chooseWavefrontTables({
      network: { first, constants, second, secondConstants, last }, plane: this.#plane, causal: this.#offsets,
      planeStart, planeStride, coarser: this.#coarser, coarserStart, coarserStride, count: this.lengthOf(t),
      table: tables, sign: signs, middle: middles,
    });
  }

  /** Stores the symbols of a wavefront. @param {number} t @param {Int32Array} symbols */
  accept(t, symbols) {
    const [planeStart, planeStride] = this.#inPlane(t);
    const [gridStart, gridStride] = this.#places(t, this.#columns);
    this.#run.acceptWavefront({
      symbols, companded: COMPANDED, grid: this.#grid, gridStart, gridStride, plane: this.#plane, planeStart, planeStride,
    });
  }
}
