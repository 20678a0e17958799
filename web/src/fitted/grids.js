/**
 * The grids section of the fitted model (docs/format.md, "Grids section").
 *
 * @module fitted/grids
 */

import { allocate, damaged } from "../errors.js";
import { networkBytes } from "../products.js";
import {
  LAST_DIRECT, MAX_SYMBOL, RangeDecoder, checkLength, frequenciesWithMean, indexOfScale, numberBeyond,
  tablesWithLaplace,
} from "../range_coder.js";
import { COARSER_FEATURES, GridContext, coarserOf } from "./context.js";
import { FEATURES, GRIDS } from "./prior.js";
import { Wavefronts } from "./wavefronts.js";

/** @typedef {import("./prior.js").ContextWeights} ContextWeights */
/** @typedef {import("../products.js").Products} Products */

const MEAN_PARTS = 16; // of a symbol, which means are counted in
const MEANS = MEAN_PARTS / 2 + 1; // of a table, which are at most half a symbol from an integer
const MAX_MEAN = 512 * MEAN_PARTS; // 512 symbols
const LARGEST_HIDDEN = 255;
const SYMBOLS_PER_STEP = 1 << 15; // a step, after which the caller has its turn

/** @type {import("../range_coder.js").TableSet | undefined} */
let tables;

/** The tables of symbols: those of scale u and mean n / MEAN_PARTS at MEANS u + n, then those of larger scales. */
function gridTables() {
  tables ??= tablesWithLaplace(
    Array.from({ length: (LAST_DIRECT + 1) * MEANS }, (_, i) => frequenciesWithMean(Math.floor(i / MEANS), i % MEANS)),
  );
  return tables;
}

/**
 * The rows of scale and mean, one after the other, as a network takes them whose outputs have 8 fractional bits; those
 * of means have 7.
 *
 * @param {ArrayLike<number>} rows
 */
function withMeansTwice(rows) {
  return Array.from(rows, (weight, i) => (2 * i < rows.length ? weight : 2 * weight));
}

/**
 * The rows and columns of the grids of an image, from the finest on.
 *
 * @param {number} height @param {number} width
 * @returns {[number, number][]}
 */
export function gridSizes(height, width) {
  return Array.from({ length: GRIDS }, (_, level) => [
    Math.ceil(height / 2 ** level), Math.ceil(width / 2 ** level),
  ]);
}

/**
 * Decodes the grids, step by step.
 *
 * @param {object} file
 * @param {number} file.height
 * @param {number} file.width
 * @param {Uint8Array} file.section - The grids section.
 * @param {ContextWeights} context - The context network of the image.
 * @param {Products} products
 * @yields {{ done: number, level: number | null, grids: Int32Array[] }} The part of the symbols that are decoded; the
 *   number of the grid that has just become complete, or null; and all grids from the finest on, row by row, where
 *   symbols that are not yet decoded are 0.
 * @throws {import("../errors.js").DfmError} The section is not valid.
 */
export function* decodeGrids({ height, width, section }, context, products) {
  const sizes = gridSizes(height, width);
  const total = sizes.reduce((sum, [rows, columns]) => sum + rows * columns, 0);
  checkLength(section.length, total);
  const grids = allocate(() => sizes.map(([rows, columns]) => new Int32Array(rows * columns)));
  const decoder = new GridDecoder(section, sizes[0], context, products);
  let decoded = 0;
  let yielded = 0;
  /** @type {import("./context.js").Coarser | null} */
  let coarser = null;
  for (let level = GRIDS - 1; level >= 0; level--) {
    const fronts = new Wavefronts(...sizes[level]);
    decoder.enter(level, fronts, coarser);
    for (let t = 0; t < fronts.count; t++) {
      decoded += decoder.decodeFront(t, grids[level]);
      if (decoded - yielded < SYMBOLS_PER_STEP) continue;
      yielded = decoded;
      yield { done: decoded / total, level: null, grids };
    }
    if (level) coarser = coarserOf(grids[level], sizes[level], coarser, sizes[level - 1]);
    yield { done: decoded / total, level, grids };
  }
}

/** Decodes one grid after the other. */
class GridDecoder {
  #decoder;
  #weights;
  #network;
  #own;
  #rows;
  #numbers;
  #middles;
  #signs;
  #symbols;
  /** @type {Wavefronts} */
  #fronts;
  /** @type {GridContext} of the grid that is entered */
  #context;

  /**
   * @param {Uint8Array} section
   * @param {[number, number]} size - Of the finest grid, which takes the most memory.
   * @param {ContextWeights} weights
   * @param {Products} products
   */
  constructor(section, size, weights, products) {
    this.#decoder = new RangeDecoder(section);
    this.#weights = weights;
    this.#fronts = new Wavefronts(...size);
    const { longest, planeLength } = this.#fronts;
    const { w1, w2 } = weights;
    const [w3, bypass] = [weights.w3, weights.bypass].map(withMeansTwice);
    const network = { inputs: FEATURES, outputs: 2, largest: LARGEST_HIDDEN, w1, w2, w3, bypass };
    const arraysBytes = 2 * (planeLength + COARSER_FEATURES * longest) + 64;
    const space = products.workspace(networkBytes(network, longest) + arraysBytes);
    this.#network = space.network(network, longest);
    this.#own = space.int16(planeLength);
    this.#rows = space.int16(COARSER_FEATURES * longest);
    this.#numbers = new Uint16Array(longest);
    this.#middles = new Int16Array(longest);
    this.#signs = new Int8Array(longest);
    this.#symbols = new Int32Array(longest);
  }

  /**
   * Starts a grid.
   *
   * @param {number} level @param {Wavefronts} fronts @param {import("./context.js").Coarser | null} coarser
   */
  enter(level, fronts, coarser) {
    const { w1, c1, c2, c3 } = this.#weights;
    const own = (/** @type {ArrayLike<number>} */ constants, /** @type {number} */ count) =>
      Array.from({ length: count }, (_, i) => constants[level * count + i]);
    this.#network.setConstants(own(c1, w1.length / FEATURES), c2, withMeansTwice(own(c3, 2)));
    this.#fronts = fronts;
    this.#context = new GridContext(fronts, this.#own.fill(0), this.#rows, coarser);
  }

  /**
   * Decodes a wavefront.
   *
   * @param {number} t
   * @param {Int32Array} grid - Gets its symbols.
   * @returns {number} The number of its symbols.
   */
  decodeFront(t, grid) {
    const count = this.#fronts.length(t);
    if (count === 0) return 0;
    this.#network.setSources(this.#context.sources(t));
    this.#network.run(count);
    this.#chooseTables(count);
    const symbols = this.#symbols.subarray(0, count);
    this.#decoder.decodeEach(this.#numbers.subarray(0, count), gridTables(), symbols);
    const step = this.#fronts.columns - 2; // from a symbol to the next one in the grid
    const first = this.#fronts.firstRow(t) * step + t;
    for (let i = 0; i < count; i++) {
      const symbol = symbols[i] * this.#signs[i] + this.#middles[i];
      if (Math.abs(symbol) > MAX_SYMBOL) throw damaged(`the grids section holds a symbol beyond ${MAX_SYMBOL}`);
      symbols[i] = symbol;
      grid[first + i * step] = symbol;
    }
    this.#context.accept(t, symbols);
    return count;
  }

  /** The table, the sign and the middle of each symbol, by scale and mean. @param {number} count */
  #chooseTables(count) {
    const [scales, means] = this.#network.outputs;
    for (let i = 0; i < count; i++) {
      const index = indexOfScale(scales[i]);
      const mean = Math.min(Math.max(means[i], -MAX_MEAN), MAX_MEAN);
      const middle = Math.floor((mean + MEAN_PARTS / 2) / MEAN_PARTS);
      const rest = mean - MEAN_PARTS * middle; // -MEAN_PARTS / 2 .. MEAN_PARTS / 2 - 1
      this.#middles[i] = middle;
      this.#signs[i] = rest < 0 ? -1 : 1;
      this.#numbers[i] =
        index <= LAST_DIRECT ? MEANS * index + Math.abs(rest) : numberBeyond(MEANS * (LAST_DIRECT + 1), index);
    }
  }
}
