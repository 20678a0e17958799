/**
 * Texture: noise in place of the detail that quantisation removed ("Texture section" in docs/format.md). The encoder
 * gives amplitudes for each cell of the image: of luma's bands in the two finest levels, and of the chroma axes.
 */

import { damaged } from "./errors.js";
import { ORIENTATIONS, bandSize } from "./geometry.js";
import { bytesOfArrays } from "./kernels.js";
import { PHASES } from "./neighbourhood.js";
import { LAPLACE_COUNT, RangeDecoder, laplaceTables } from "./range_coder.js";

const LEVELS = 2; // levels with noise, from the finest on
const LUMA_BANDS = LEVELS * ORIENTATIONS;
const CHROMA_LEVEL = 1;
const NOISES = LUMA_BANDS + 2 * ORIENTATIONS; // of a seed
const CELL_BITS = [6, 7, 8];
const MAX_CODE = 8;
const BAND_FACTOR = 0xc2b2ae3d;
const SAME_STEP = 1 << 14; // with which the synthesis takes coefficients in units
const FACTOR = (1 << 12) / 64; // code values per unit, in 2^-12

/**
 * A texture.
 * @typedef {object} Texture
 * @property {number} seed 0..255
 * @property {number} cellBits base-2 logarithm of the side of a cell, in pixels
 * @property {[number, number]} cells the rows and columns of cells
 * @property {Int32Array[]} amplitudes of the cells, units: of each band of luma, then of each chroma axis
 */

/**
 * Reads the texture section.
 * @param {Uint8Array} body
 * @param {number} height of the image
 * @param {number} width
 * @param {number} channels that are coded
 * @returns {Texture}
 * @throws {import("./errors.js").DfmError}
 */
export function readTexture(body, height, width, channels) {
  const [seed, , cellBits] = body;
  const count = LUMA_BANDS + channels - 1;
  const tables = body.subarray(3, 3 + count);
  const isPossible = tables.length === count && CELL_BITS.includes(cellBits);
  if (!isPossible || tables.some((index) => index >= LAPLACE_COUNT)) {
    throw damaged("the texture section does not start with the size of its cells and its tables");
  }
  const [rows, columns] = [height, width].map((side) => Math.ceil(side / 2 ** cellBits));
  const decoder = new RangeDecoder(body.subarray(3 + count));
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

/** Returns the samples of each colour per unit of each plane, in 2^-12. The axes of the planes are those in RGB. */
export function noiseFactors(axes, channels, bitDepth) {
  const ofPlanes = channels === 1 ? [1] : axes.flat();
  return Int32Array.from(ofPlanes, (x) => Math.round(Math.fround(x) * FACTOR * (bitDepth === 8 ? 1 : 257)));
}

/** Returns the number of bytes of `TileNoise` in a workspace, from the sizes of the image after each level. */
export function noiseBytes(sizes, channels) {
  const [complete, half = 0] = sizes.map(([rows, columns]) => rows * columns);
  return bytesOfArrays([complete, half, 4 * complete, 4 * channels * complete, 4 * channels * half]);
}

/** The noise of tiles, one after another in the same memory. */
export class TileNoise {
  #texture;
  #run;
  #arrays;
  #sizes;
  #at;
  #masks = [];
  #noise = [];

  /**
   * @param {Texture} texture
   * @param {import("./kernels.js").Workspace} space with at least `noiseBytes`
   * @param {[number, number][]} sizes of the largest tile, after each level
   * @param {number} channels that are coded
   */
  constructor(texture, space, sizes, channels) {
    this.#texture = texture;
    this.#run = space.run;
    const [complete, half = 0] = sizes.map(([rows, columns]) => rows * columns);
    const planes = (size) => Array.from({ length: channels }, () => space.array(Int32Array, size));
    this.#arrays = {
      masks: space.array(Uint8Array, complete),
      none: space.array(Uint8Array, half), // a mask of chroma, in which no symbol counts
      bands: space.array(Int32Array, complete),
      images: [planes(complete), planes(half)],
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
    this.#noise = this.#arrays.images[0].map(() => new Int32Array(rows * columns));
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

  /** Ends a level. @returns {Int32Array[]|null} the noise of the tile's planes after level 0, units; null before */
  leave(level) {
    if (level >= LEVELS) return null;
    const [height, width] = this.#sizes[level];
    this.#noise = this.#noise.map((low, channel) => {
      const [band0, band1, band2] = this.#bandsOf(level, channel);
      const samples = this.#arrays.images[level][channel].subarray(0, height * width);
      this.#run.synthesiseChannel({
        low, band0, band1, band2, step0: SAME_STEP, step1: SAME_STEP, step2: SAME_STEP, height, width, stride: width,
        samples,
      });
      return samples;
    });
    return level === 0 ? this.#noise : null;
  }

  /** Computes the noise coefficients of a channel's bands. The next call overwrites them. */
  #bandsOf(level, channel) {
    const { seed, cellBits, cells, amplitudes } = this.#texture;
    const bands = this.#partsOf(this.#arrays.bands, level);
    bands.forEach((noise, orientation) => {
      const [height, width] = bandSize(this.#sizes[level], orientation);
      if (height * width === 0) return;
      if (channel > 0 && level !== CHROMA_LEVEL) {
        noise.fill(0);
        return;
      }
      const ofLuma = level * ORIENTATIONS + orientation;
      const number = channel === 0 ? ofLuma : LUMA_BANDS + (channel - 1) * ORIENTATIONS + orientation;
      const [top, left] = this.#at.map((at) => at >> (level + 1));
      this.#run.textureBand({
        amplitudes: amplitudes[channel === 0 ? ofLuma : LUMA_BANDS + channel - 1], cellRows: cells[0],
        cellColumns: cells[1], sideBits: cellBits - level - 1, key: Math.imul(NOISES * seed + number + 1, BAND_FACTOR) >>> 0,
        top, left, height, width, nonzero: channel === 0 ? this.#masks[orientation] : this.#arrays.none.subarray(0, height * width),
        noise,
      });
    });
    return bands;
  }
}
