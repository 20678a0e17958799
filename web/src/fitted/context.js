/**
 * The context of the symbols of a grid: the features that the context network sees (docs/format.md, "Context of a
 * grid symbol").
 *
 * @module fitted/context
 */

import { allocate } from "../errors.js";
import { GRIDS } from "./prior.js";

/** @typedef {import("./wavefronts.js").Wavefronts} Wavefronts */

/** Offsets (dy, dx) of the symbols of the same grid that are seen. */
const CAUSAL = [
  [-3, 0], [-2, -2], [-2, -1], [-2, 0], [-2, 1], [-2, 2], [-2, 3],
  [-1, -2], [-1, -1], [-1, 0], [-1, 1], [0, -3], [0, -2], [0, -1],
];
const SQUARE = 9; // the 3x3 symbols that are seen of the next coarser grid
const PLANES = GRIDS - 1; // interpolated planes of the coarser grids
/** The features that are not of the same grid. */
export const COARSER_FEATURES = SQUARE + PLANES;
const LARGEST = 127;

const COMPANDED = Int16Array.from({ length: 52 }, (_, m) =>
  Math.min(8 * m, 6 * m + 2, 5 * m + 6, 4 * m + 12, 3 * m + 24, 2 * m + 44, m + 76, LARGEST),
);

/** The function k of the format. @param {number} symbol */
export function compand(symbol) {
  const magnitude = Math.abs(symbol);
  const companded = magnitude < COMPANDED.length ? COMPANDED[magnitude] : LARGEST;
  return symbol < 0 ? -companded : companded;
}

/**
 * What is decoded of the coarser grids, for the symbols of one grid.
 *
 * @typedef {object} Coarser
 * @property {Int8Array} planes - The six planes, which have the size of this grid, row by row: for each symbol the six
 *   numbers side by side, and `PLANE_STEP` numbers from a symbol to the next one.
 * @property {Int8Array} square - The symbols of the next coarser grid, companded, with a zero on each side.
 * @property {number} squareColumns - The columns of `square`.
 */

const PLANE_STEP = 8; // a symbol's numbers are in one line of the processor's cache

/**
 * The coarser grids as the next finer grid sees them.
 *
 * @param {Int32Array} grid - The symbols of the grid that is decoded, row by row.
 * @param {[number, number]} size - Its rows and columns.
 * @param {Coarser | null} own - What this grid saw itself; null for the coarsest grid.
 * @param {[number, number]} finer - The rows and columns of the next finer grid.
 * @returns {Coarser}
 */
export function coarserOf(grid, [rows, columns], own, finer) {
  const companded = allocate(() => new Int8Array(grid.length));
  for (let i = 0; i < grid.length; i++) companded[i] = compand(grid[i]);
  const squareColumns = columns + 2;
  const square = allocate(() => new Int8Array((rows + 2) * squareColumns));
  for (let y = 0; y < rows; y++) {
    square.set(companded.subarray(y * columns, (y + 1) * columns), (y + 1) * squareColumns + 1);
  }
  const planes = allocate(() => new Int8Array(finer[0] * finer[1] * PLANE_STEP));
  doublePlane(companded, 1, [rows, columns], planes, finer);
  for (let n = 1; own && n < PLANES; n++) {
    doublePlane(own.planes.subarray(n - 1), PLANE_STEP, [rows, columns], planes.subarray(n), finer);
  }
  return { planes, square, squareColumns };
}

/**
 * Interpolates a plane, which is 0 beyond its edges, to the rows and columns of the next finer grid.
 *
 * @param {Int8Array} plane
 * @param {number} step - From a number of the plane to the next one.
 * @param {[number, number]} size
 * @param {Int8Array} out - Gets the numbers, `PLANE_STEP` apart.
 * @param {[number, number]} finer
 */
function doublePlane(plane, step, [rows, columns], out, [finerRows, finerColumns]) {
  const along = new Int16Array(columns + 2); // three parts of a row and one of its neighbour, between zeros
  for (let y = 0; y < finerRows; y++) {
    const near = (y >> 1) * columns;
    const isWithin = y & 1 ? (y >> 1) + 1 < rows : y > 0;
    const far = isWithin ? near + (y & 1 ? columns : -columns) : near;
    const part = isWithin ? 1 : 0;
    for (let j = 0; j < columns; j++) along[j + 1] = 3 * plane[(near + j) * step] + part * plane[(far + j) * step];
    const start = y * finerColumns;
    for (let x = 0; x < finerColumns; x++) {
      const j = (x >> 1) + 1;
      out[(start + x) * PLANE_STEP] = (3 * along[j] + along[j - 1 + 2 * (x & 1)] + 8) >> 4;
    }
  }
}

/** The features of the symbols of a grid, wavefront by wavefront, where a network of `products.js` reads them. */
export class GridContext {
  #fronts;
  #own;
  #coarser;
  #rows;
  #stride;
  #sources;

  /**
   * @param {Wavefronts} fronts - Of the grid.
   * @param {Int16Array} own - A plane of the wavefronts in a workspace, all zeros.
   * @param {Int16Array} rows - A row for each feature of coarser grids, there, too; each as long as the longest
   *   wavefront at least.
   * @param {Coarser | null} coarser - null for the coarsest grid.
   */
  constructor(fronts, own, rows, coarser) {
    this.#fronts = fronts;
    this.#own = own;
    this.#rows = rows;
    this.#stride = rows.length / COARSER_FEATURES;
    this.#coarser = coarser;
    const features = CAUSAL.length + (coarser ? COARSER_FEATURES : 0);
    this.#sources = new Int32Array(3 * Math.ceil(features / 2));
    for (let pair = 0; 2 * pair < features; pair++) this.#sources[3 * pair] = pair;
    // The last feature has no other beside it: its magnitude takes the place, with weights of 0.
    if (coarser) for (let i = 0; i < COARSER_FEATURES; i++) this.#place(CAUSAL.length + i, this.#row(i));
  }

  /** Sets the place of a feature. @param {number} feature @param {number} place */
  #place(feature, place) {
    this.#sources[3 * (feature >> 1) + 1 + (feature & 1)] = place;
  }

  /** The place of the row of a feature of coarser grids. @param {number} i */
  #row(i) {
    return this.#rows.byteOffset + 2 * i * this.#stride;
  }

  /** Where the features of a wavefront are; see `Network.setSources`. @param {number} t */
  sources(t) {
    for (let i = 0; i < CAUSAL.length; i++) {
      this.#place(i, this.#own.byteOffset + 2 * this.#fronts.place(t, CAUSAL[i][0], CAUSAL[i][1]));
    }
    if (this.#coarser) this.#gather(t, this.#coarser);
    return this.#sources;
  }

  /** Gathers the features of coarser grids. @param {number} t @param {Coarser} coarser */
  #gather(t, { planes, square, squareColumns }) {
    const { columns } = this.#fronts;
    const [first, count] = [this.#fronts.firstRow(t), this.#fronts.length(t)];
    const [rows, stride] = [this.#rows, this.#stride];
    for (let i = 0; i < count; i++) {
      const y = first + i;
      const x = t - 2 * y;
      const corner = (y >> 1) * squareColumns + (x >> 1);
      let target = i;
      for (let above = corner; above <= corner + 2 * squareColumns; above += squareColumns) {
        rows[target] = square[above];
        rows[target + stride] = square[above + 1];
        rows[target + 2 * stride] = square[above + 2];
        target += 3 * stride;
      }
      const numbers = (y * columns + x) * PLANE_STEP;
      for (let n = 0; n < PLANES; n++, target += stride) rows[target] = planes[numbers + n];
    }
  }

  /** Takes the symbols of a wavefront. @param {number} t @param {Int32Array} symbols */
  accept(t, symbols) {
    const place = this.#fronts.place(t);
    for (let i = 0; i < symbols.length; i++) this.#own[place + i] = compand(symbols[i]);
  }
}
