/**
 * The wavefronts of a grid, and a plane that holds them one after the other (docs/format.md, "Grids").
 *
 * Wavefront t has the symbols at row y and column x with x + 2 y = t, from the top on. In the plane, symbols of a
 * wavefront follow each other, and so do their neighbours at any offset (dy, dx), which are all in wavefront
 * t + dx + 2 dy. Between wavefronts there are zeros, which stand for positions beyond the grid.
 *
 * @module fitted/wavefronts
 */

const GAP = 4; // zeros between wavefronts; those of an offset within +-3 are at most 3 rows beyond its wavefront
const REACH = 9; // t - t' of neighbours is at most 9, for offsets within +-3
const HEAD = 32; // zeros before the first wavefront, for the neighbours of the first ones: they have at most 5 symbols

export class Wavefronts {
  #offsets;

  /** @param {number} rows @param {number} columns - Of the grid. */
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.count = columns + 2 * (rows - 1);
    // Where row 0 of each wavefront is in the plane, or would be.
    this.#offsets = new Int32Array(this.count + REACH).fill(HEAD / 2);
    let end = HEAD;
    for (let t = 0; t < this.count; t++) {
      this.#offsets[t + REACH] = end - this.firstRow(t);
      end += this.length(t) + GAP;
    }
    /** The number of symbols and zeros in the plane; some are read beyond the last wavefront. */
    this.planeLength = end + GAP;
  }

  /** The first row of wavefront t. @param {number} t */
  firstRow(t) {
    return Math.max(0, (t - this.columns + 2) >> 1);
  }

  /** The number of symbols of wavefront t: 0 for odd t in a grid of one column. @param {number} t */
  length(t) {
    return Math.min(this.rows - 1, t >> 1) - this.firstRow(t) + 1;
  }

  /** The largest number of symbols of a wavefront. */
  get longest() {
    return Math.min(this.rows, (this.columns + 1) >> 1);
  }

  /**
   * The place in the plane of what is at an offset from the first symbol of wavefront t.
   *
   * @param {number} t @param {number} dy @param {number} dx - x + 2 y is at most 0 and at least -9.
   */
  place(t, dy = 0, dx = 0) {
    return this.#offsets[t + dx + 2 * dy + REACH] + this.firstRow(t) + dy;
  }
}
