/**
 * The grids section of the overfitted codec (docs/format.md, "Grids section").
 *
 * @module overfitted/grids
 */

import { allocate, damaged } from "../errors.js";
import { tableBytes } from "../kernels.js";
import {
  LAST_DIRECT, MAX_SYMBOL, RangeDecoder, checkLength, frequenciesWithMean, tablesWithLaplace,
} from "../range_coder.js";
import { GridContext, coarserOf, contextBytes } from "./context.js";
import { GRIDS } from "./weights.js";

/** @typedef {import("./weights.js").ContextWeights} ContextWeights */
/** @typedef {import("../kernels.js").Kernels} Kernels */

const MEANS = 9; // per table: sixteenths of a symbol up to a half
const SYMBOLS_PER_STEP = 1 << 15; // symbols decoded before other tasks may run

/** @type {import("../range_coder.js").TableSet | undefined} */
let tables;

/** Returns the tables of symbols: scale u and mean n / 16 at MEANS u + n, then those of larger scales. */
function gridTables() {
  tables ??= tablesWithLaplace(
    Array.from({ length: (LAST_DIRECT + 1) * MEANS }, (_, i) => frequenciesWithMean(Math.floor(i / MEANS), i % MEANS)),
  );
  return tables;
}

/**
 * Returns the rows and columns of the grids of an image, from the finest on.
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
 * @param {Kernels} kernels
 * @yields {{ done: number, level: number | null, grids: Int32Array[] }} The decoded fraction of the symbols; the index
 *   of a grid that has just been completed, or null; and all grids from the finest on, row by row, with 0 for grids
 *   that are incomplete.
 * @throws {import("../errors.js").DfmError} The section is not valid.
 */
export function* decodeGrids({ height, width, section }, context, kernels) {
  const sizes = gridSizes(height, width);
  const total = sizes.reduce((sum, [rows, columns]) => sum + rows * columns, 0);
  checkLength(section.length, total);
  const grids = allocate(() => sizes.map(([rows, columns]) => new Int32Array(rows * columns)));
  const decoder = new GridDecoder(section, sizes[0], context, kernels);
  let decoded = 0;
  let yielded = 0;
  /** @type {Int8Array | null} */
  let coarser = null;
  for (let level = GRIDS - 1; level >= 0; level--) {
    decoder.enter(level, sizes[level], coarser);
    for (let t = 0; t < decoder.frontCount; t++) {
      decoded += decoder.decodeFront(t);
      if (decoded - yielded < SYMBOLS_PER_STEP) continue;
      yielded = decoded;
      yield { done: decoded / total, level: null, grids };
    }
    grids[level].set(decoder.grid);
    if (level) coarser = coarserOf(grids[level], sizes[level], coarser, sizes[level - 1]);
    yield { done: decoded / total, level, grids };
  }
}

/** Decoder of the grids, one after another. */
class GridDecoder {
  #decoder;
  #weights;
  #context;
  #arrays;
  #tables;

  /**
   * @param {Uint8Array} section
   * @param {[number, number]} size - The size of the finest grid, which takes the most memory.
   * @param {ContextWeights} weights
   * @param {Kernels} kernels
   */
  constructor(section, size, weights, kernels) {
    const longest = Math.min(size[0], (size[1] + 1) >> 1); // of the wavefronts
    const arrayBytes = section.length + (2 + 4 * 4) * longest + 256;
    const space = kernels.workspace(contextBytes(size, weights) + tableBytes(gridTables()) + arrayBytes);
    this.#tables = space.tables(gridTables());
    const int32 = () => space.array(Int32Array, longest);
    this.#arrays = {
      tables: space.array(Int16Array, longest), signs: int32(), middles: int32(), symbols: int32(),
    };
    this.#decoder = new RangeDecoder(section, (words) => space.reader(space.copyOf(words)), int32());
    this.#weights = weights;
    this.#context = new GridContext(space, size, weights);
  }

  /**
   * Starts a grid.
   *
   * @param {number} level @param {[number, number]} size @param {Int8Array | null} coarser - See `coarserOf`.
   */
  enter(level, size, coarser) {
    this.#context.enter(this.#weights, level, size, coarser);
  }

  /** Returns the number of wavefronts. */
  get frontCount() {
    return this.#context.count;
  }

  /** Returns the symbols of the grid, row by row. The next grid overwrites them. */
  get grid() {
    return this.#context.grid;
  }

  /**
   * Decodes a wavefront.
   *
   * @param {number} t
   * @returns {number} The number of its symbols.
   */
  decodeFront(t) {
    const count = this.#context.lengthOf(t);
    if (count === 0) return 0;
    const [tables, signs, middles, symbols] = Object.values(this.#arrays).map((array) => array.subarray(0, count));
    this.#context.choose(t, tables, signs, middles);
    this.#decoder.decodeEach(/** @type {Int16Array} */ (tables), this.#tables, symbols);
    for (let i = 0; i < count; i++) {
      symbols[i] = symbols[i] * signs[i] + middles[i];
      if (Math.abs(symbols[i]) > MAX_SYMBOL) throw damaged(`the grids section holds a symbol beyond ${MAX_SYMBOL}`);
    }
    this.#context.accept(t, symbols);
    return count;
  }
}
