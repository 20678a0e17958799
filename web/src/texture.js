/**
 * Texture: noise of luma in place of the detail that quantisation removed ("Texture section" in docs/format.md). The
 * encoder gives an amplitude for each cell of the image and each band of the two finest levels.
 */

import { damaged } from "./errors.js";
import { ORIENTATIONS, bandSize } from "./geometry.js";
import { bytesOfArrays } from "./kernels.js";
import { PHASES } from "./neighbourhood.js";
import { LAPLACE_COUNT, RangeDecoder, laplaceTables } from "./range_coder.js";

const LEVELS = 2; // levels with noise, from the finest on
const BANDS = LEVELS * ORIENTATIONS;
const CELL_BITS = [6, 7, 8];
const MAX_CODE = 8;
const HEAD_BYTES = 3 + BANDS;
const BAND_FACTOR = 0xc2b2ae3d;
const SAME_STEP = 1 << 14; // with which the synthesis takes coefficients in units
const UNITS = 64; // per code value

/**
 * A texture.
 * @typedef {object} Texture
 * @property {number} seed 0..255
 * @property {number} cellBits base-2 logarithm of the side of a cell, in pixels
 * @property {[number, number]} cells the rows and columns of cells
 * @property {Int32Array[]} amplitudes of the cells of each band, units
 */

/**
 * Reads the texture section.
 * @param {Uint8Array} body
 * @param {number} height of the image
 * @param {number} width
 * @returns {Texture}
 * @throws {import("./errors.js").DfmError}
 */
export function readTexture(body, height, width) {
  const [seed, , cellBits] = body;
  const tables = body.subarray(3, HEAD_BYTES);
  const isPossible = tables.length === BANDS && CELL_BITS.includes(cellBits);
  if (!isPossible || tables.some((index) => index >= LAPLACE_COUNT)) {
    throw damaged("the texture section does not start with the size of its cells and its tables");
  }
  const [rows, columns] = [height, width].map((side) => Math.ceil(side / 2 ** cellBits));
  const decoder = new RangeDecoder(body.subarray(HEAD_BYTES));
  const amplitudes = Array.from(tables, (index) => {
    const codes = decoder.decodeArray(rows * columns, index, laplaceTables());
    addPredictions(codes, columns);
    return codes.map((code) => (code ? 8 << code : 0));
  });
  return { seed, cellBits, cells: [rows, columns], amplitudes };
}

/** Replaces differences by codes. The reference is the mean of the codes above and to the left, rounded down. */
function addPredictions(codes, columns) {
  for (let at = 0; at < codes.length; at++) {
    const above = at >= columns ? codes[at - columns] : null;
    const left = at % columns ? codes[at - 1] : null;
    const prediction = above !== null && left !== null ? (above + left) >> 1 : (above ?? left ?? 0);
    codes[at] = Math.min(Math.max(prediction + codes[at], 0), MAX_CODE);
  }
}

/** Returns samples per unit of luma, in 2^-12. */
export function noiseFactor(channels, bitDepth) {
  return Math.round(((bitDepth === 8 ? 1 : 257) / Math.sqrt(channels) / UNITS) * (1 << 12));
}

/** Returns the number of bytes of `TileNoise` in a workspace, from the sizes of the image after each level. */
export function noiseBytes(sizes) {
  const [complete, half] = sizes.map(([rows, columns]) => rows * columns);
  return bytesOfArrays([complete, 4 * complete, 4 * complete, 4 * (half ?? 0)]);
}

/** The noise of tiles, one after another in the same memory. */
export class TileNoise {
  #texture;
  #run;
  #arrays;
  #sizes;
  #at;
  #masks = [];
  #noise = new Int32Array();

  /**
   * @param {Texture} texture
   * @param {import("./kernels.js").Workspace} space with at least `noiseBytes`
   * @param {[number, number][]} sizes of the largest tile, after each level
   */
  constructor(texture, space, sizes) {
    this.#texture = texture;
    this.#run = space.run;
    const [complete, half] = sizes.map(([rows, columns]) => rows * columns);
    this.#arrays = {
      masks: space.array(Uint8Array, complete),
      bands: space.array(Int32Array, complete),
      images: [space.array(Int32Array, complete), space.array(Int32Array, half ?? 0)],
    };
  }

  /**
   * Starts a tile.
   * @param {[number, number]} place of its first pixel: row, column
   * @param {[number, number][]} sizes of the tile, after each level
   */
  start(place, sizes) {
    [this.#at, this.#sizes] = [place, sizes];
    const [rows, columns] = sizes[Math.min(LEVELS, sizes.length - 1)];
    this.#noise = new Int32Array(rows * columns);
  }

  /** Starts a level, of which no symbol is decoded yet. */
  enter(level) {
    if (level >= LEVELS) return;
    this.#masks = this.#partsOf(this.#arrays.masks, level);
    this.#masks.forEach((mask) => mask.fill(0));
  }

  /** Splits an array into the bands of a level. */
  #partsOf(array, level) {
    let start = 0;
    return Array.from({ length: ORIENTATIONS }, (_, orientation) => {
      const [rows, columns] = bandSize(this.#sizes[level], orientation);
      return array.subarray(start, (start += rows * columns));
    });
  }

  /** Marks the symbols of a pass of luma that are not zero. */
  accept({ level, channel, orientation, phase }, [rows, columns], symbols) {
    if (level >= LEVELS || channel > 0) return;
    const [y, x] = PHASES[phase];
    const [, width] = bandSize(this.#sizes[level], orientation);
    const mask = this.#masks[orientation];
    for (let row = 0, at = 0; row < rows; row++) {
      for (let column = 0, to = (2 * row + y) * width + x; column < columns; column++, at++, to += 2) {
        mask[to] = Number(symbols[at] !== 0);
      }
    }
  }

  /** Ends a level. @returns {Int32Array|null} the noise of the tile after level 0, units; null before */
  leave(level) {
    if (level >= LEVELS) return null;
    const { seed, cellBits, cells, amplitudes } = this.#texture;
    const bands = this.#partsOf(this.#arrays.bands, level);
    bands.forEach((noise, orientation) => {
      const [height, width] = bandSize(this.#sizes[level], orientation);
      if (height * width === 0) return;
      const band = level * ORIENTATIONS + orientation;
      const [top, left] = this.#at.map((at) => at >> (level + 1));
      this.#run.textureBand({
        amplitudes: amplitudes[band], cellRows: cells[0], cellColumns: cells[1], sideBits: cellBits - level - 1,
        key: Math.imul(BANDS * seed + band + 1, BAND_FACTOR) >>> 0, top, left, height, width,
        nonzero: this.#masks[orientation], noise,
      });
    });
    const [height, width] = this.#sizes[level];
    const samples = this.#arrays.images[level].subarray(0, height * width);
    const [band0, band1, band2] = bands;
    this.#run.synthesiseChannel({
      low: this.#noise, band0, band1, band2, step0: SAME_STEP, step1: SAME_STEP, step2: SAME_STEP, height, width,
      stride: width, samples,
    });
    this.#noise = samples;
    return level === 0 ? samples : null;
  }
}
