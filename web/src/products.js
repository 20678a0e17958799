/**
 * Products of small matrices for many positions at a time: exact integers for the context networks, float32 for the
 * synthesis. WebAssembly computes them (`assembler.js` writes it); where there is none, or none with SIMD, plain
 * JavaScript computes the same integers.
 *
 *     const products = await loadProducts();
 *     const space = products.workspace(bytes);         // one memory of a fixed size; its arrays never move
 *
 * A context network has three layers (docs/format.md, "Context of a symbol", "Context of a grid symbol"):
 *
 *     h1 = clip((w1 f + c1) >> 6, 0, largest)
 *     h2 = clip((w2 h1 + c2) >> 6, 0, largest)
 *     outputs = (w3 h2 + bypass f + c3) >> 8          (without `bypass` in model 1)
 *
 * Features, weights and h1, h2 fit into 16 bits (they are at most 127, 1023 and 255), and all sums into 32 bits (the
 * format keeps them below 2^24), so products of 16 bits that are added up in 32 bits are exact.
 *
 *     const plane = space.int16(length);               // companded symbols, one after the other
 *     const network = space.network({ inputs, w1, w2, w3, outputs: 2, largest: 127 }, capacity);
 *     network.setConstants(c1, c2, c3);
 *     network.setSources([0, plane.byteOffset + 2 * start, 0, ...]);  // features 0 and 1: a number and its magnitude
 *     network.run(count);                              // then network.outputs[0][i], network.outputs[1][i]
 *
 * The features of `count` symbols are read from memory where they lie: feature k of symbol i is number i after the
 * place that its source names. So a plane serves all offsets of a neighbourhood, if the symbols of a batch follow
 * each other in it.
 *
 * A matrix of float32 works alike: it takes rows of inputs from where they lie, and writes rows of results.
 *
 *     const matrix = space.matrix({ weights, constants });
 *     matrix.setInputs([row.byteOffset, ...]);         // of each column
 *     matrix.run(out, stride, count);                  // out[stride * r + i] = constants[r] + sum of weights * inputs
 *     space.turn(angles, cosines, sines);              // cos a - 1 and sin a
 *
 * @module products
 */

import { assembleModule } from "./assembler.js";
import { allocate } from "./errors.js";
import { MATRIX, POSITIONS, ROWS, floatFunctions, plainFloatKernels } from "./float_kernels.js";
import {
  BLOCK, GROUP, ITEM_BYTES, LAYER, PAIR_BYTES, integerFunctions, plainIntegerKernels,
} from "./integer_kernels.js";

/** @typedef {import("./float_kernels.js").FloatKernels & import("./integer_kernels.js").IntegerKernels} Kernels */

const PAGE_BYTES = 1 << 16;
const MOST_PAGES = 1 << 16;
const SLACK_BYTES = 32; // a block may read or write so far beyond its positions
const ALIGNMENT = 16;

/**
 * The weights of a network, row by row, and its sizes. The numbers fit into 16 bits.
 *
 * @typedef {object} NetworkWeights
 * @property {number} inputs - The number of features.
 * @property {number} largest - The largest hidden number: 127 or 255.
 * @property {ArrayLike<number>} w1 - [h1, inputs].
 * @property {ArrayLike<number>} w2 - [h2, h1].
 * @property {ArrayLike<number>} w3 - [outputs, h2].
 * @property {ArrayLike<number>} [bypass] - [outputs, inputs]; none in model 1.
 * @property {number} outputs - The number of outputs.
 */

/** @param {number} count @param {number} unit */
const roundUp = (count, unit) => Math.ceil(count / unit) * unit;

/** The sizes of the layers of a network. @param {NetworkWeights} network */
function sizesOf({ inputs, w1, w2, bypass, outputs }) {
  const first = w1.length / inputs;
  const second = w2.length / first;
  const lastInputs = (bypass ? roundUp(inputs, 2) : 0) + second;
  return [
    { inputs, outputs: first },
    { inputs: first, outputs: second },
    { inputs: lastInputs, outputs },
  ];
}

/** The number of features that a block has at most: in pairs, with what the last layer sees. */
const mostPairs = (/** @type {NetworkWeights} */ network) =>
  Math.max(...sizesOf(network).map(({ inputs }) => roundUp(inputs, 2) / 2));

/**
 * The memory that a network takes in a workspace.
 *
 * @param {NetworkWeights} network
 * @param {number} capacity - The largest number of symbols of a batch.
 */
export function networkBytes(network, capacity) {
  const layers = sizesOf(network).map(({ inputs, outputs }) => {
    const rows = roundUp(outputs, GROUP);
    return LAYER.bytes + 2 * rows * roundUp(inputs, 2) + 4 * rows + 3 * ALIGNMENT;
  });
  const blocks = 2 * mostPairs(network) * (PAIR_BYTES + 4) + 4 * ALIGNMENT;
  const sources = 12 * mostPairs(network) + ALIGNMENT;
  const outputs = 4 * roundUp(network.outputs, GROUP) * roundUp(capacity, BLOCK) + ALIGNMENT;
  return layers.reduce((sum, bytes) => sum + bytes, 0) + blocks + sources + outputs;
}

/**
 * A matrix of float32.
 *
 * @typedef {object} MatrixWeights
 * @property {ArrayLike<number>} weights - [rows, columns], row by row.
 * @property {ArrayLike<number>} constants - [rows]: what is added to the results.
 * @property {boolean} [adds] - Whether results are also added to what is there.
 * @property {number} [least] - What smaller results become; none if undefined.
 */

/**
 * The memory that a matrix takes in a workspace.
 *
 * @param {number} rows @param {number} columns
 */
export function matrixBytes(rows, columns) {
  return 4 * roundUp(rows, ROWS) * (columns + 1) + 4 * columns + MATRIX.bytes + 4 * ALIGNMENT;
}

/** @param {number} pages */
function newMemory(pages) {
  if (pages > MOST_PAGES) throw new RangeError("the memory is beyond 4 GiB");
  return new WebAssembly.Memory({ initial: pages, maximum: pages });
}

/** Products with WebAssembly or without. */
export class Products {
  #module;

  /** @param {WebAssembly.Module | null} module - The kernels; null for those in plain JavaScript. */
  constructor(module) {
    this.#module = module;
  }

  /** Whether the products are computed by WebAssembly. */
  get isSimd() {
    return this.#module !== null;
  }

  /**
   * A memory for arrays and networks.
   *
   * @param {number} bytes - What its arrays and networks take in all, each array rounded up to 16 bytes.
   * @throws {DfmError} There is not so much memory.
   */
  workspace(bytes) {
    const pages = Math.ceil((bytes + 2 * SLACK_BYTES) / PAGE_BYTES);
    const compiled = this.#module;
    if (!compiled) {
      const buffer = allocate(() => new ArrayBuffer(pages * PAGE_BYTES));
      return new Workspace(buffer, { ...plainIntegerKernels(buffer), ...plainFloatKernels(buffer) });
    }
    const memory = allocate(() => newMemory(pages));
    const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
    return new Workspace(memory.buffer, /** @type {Kernels} */ (/** @type {unknown} */ (exports)));
  }
}

/**
 * Compiles the kernels.
 *
 * @param {object} [options]
 * @param {boolean} [options.simd] - false for plain JavaScript, also where there is WebAssembly.
 * @returns {Promise<Products>}
 */
export async function loadProducts({ simd = true } = {}) {
  const hasWasm = simd && typeof WebAssembly === "object";
  const forms = [true, false].map((isRelaxed) => assembleModule({ ...integerFunctions(), ...floatFunctions(isRelaxed) }));
  const bytes = hasWasm && forms.find((form) => WebAssembly.validate(form));
  if (!bytes) return new Products(null);
  try {
    return new Products(await WebAssembly.compile(bytes));
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
    return new Products(null); // the policy of the page forbids WebAssembly
  }
}

/** @type {Promise<Products>|null} */
let shared = null;

/** The kernels, which are compiled once. */
export function sharedProducts() {
  shared ??= loadProducts();
  return shared;
}

/** A memory of a fixed size. The place of an array in it is its `byteOffset`. */
class Workspace {
  #end = ALIGNMENT; // no array is at place 0, which has a meaning in sources

  /** @param {ArrayBuffer} buffer @param {Kernels} kernels */
  constructor(buffer, kernels) {
    this.buffer = buffer;
    this.kernels = kernels;
  }

  /** @param {number} bytes @returns {number} The place of the new bytes. */
  #place(bytes) {
    const place = this.#end;
    this.#end += roundUp(bytes, ALIGNMENT);
    if (this.#end + SLACK_BYTES > this.buffer.byteLength) throw new RangeError("the workspace is too small");
    return place;
  }

  /** A new array of zeros. @param {number} length */
  int16(length) {
    return new Int16Array(this.buffer, this.#place(2 * length), length);
  }

  /** A new array of zeros. @param {number} length */
  int32(length) {
    return new Int32Array(this.buffer, this.#place(4 * length), length);
  }

  /** A new array of zeros. @param {number} length */
  float32(length) {
    return new Float32Array(this.buffer, this.#place(4 * length), length);
  }

  /**
   * A new matrix.
   *
   * @param {MatrixWeights} weights
   */
  matrix(weights) {
    return new Matrix(this, weights);
  }

  /**
   * Computes cos a - 1 and sin a for angles a in radians. The arrays are of this workspace, and their lengths are
   * multiples of 8.
   *
   * @param {Float32Array} angles @param {Float32Array} cosines @param {Float32Array} sines
   */
  turn(angles, cosines, sines) {
    this.kernels.turn(angles.byteOffset, cosines.byteOffset, sines.byteOffset, angles.length / POSITIONS);
  }

  /**
   * A new network.
   *
   * @param {NetworkWeights} weights
   * @param {number} capacity - The largest number of symbols of a batch.
   */
  network(weights, capacity) {
    return new Network(this, weights, capacity);
  }
}

/** A layer in the memory. */
class Layer {
  #constants;

  /**
   * @param {Workspace} space
   * @param {{ inputs: number, outputs: number }} sizes
   * @param {number} largest
   * @param {number} firstItem - Where its results stand in the list of the next layer.
   */
  constructor(space, { inputs, outputs }, largest, firstItem) {
    const rows = roundUp(outputs, GROUP);
    const groupBytes = (roundUp(inputs, 2) / 2) * ITEM_BYTES;
    this.groupBytes = groupBytes;
    this.weights = space.int16(rows * roundUp(inputs, 2));
    this.#constants = space.int32(rows);
    const description = space.int32(LAYER.bytes / 4);
    description[LAYER.weights / 4] = this.weights.byteOffset;
    description[LAYER.groupBytes / 4] = groupBytes;
    description[LAYER.groupCount / 4] = rows / GROUP;
    description[LAYER.constants / 4] = this.#constants.byteOffset;
    description[LAYER.largest / 4] = largest;
    description[LAYER.firstItem / 4] = firstItem;
    this.place = description.byteOffset;
  }

  /** Writes the weights [outputs, columns] of inputs from `start` on. */
  fill(/** @type {ArrayLike<number>} */ rows, /** @type {number} */ columns, /** @type {number} */ start) {
    for (let i = 0; i < rows.length; i++) {
      const output = Math.floor(i / columns);
      const input = start + (i % columns);
      const group = (this.groupBytes / 2) * Math.floor(output / GROUP);
      this.weights[group + 2 * GROUP * (input >> 1) + 2 * (output % GROUP) + (input & 1)] = rows[i];
    }
  }

  /** @param {ArrayLike<number>} constants */
  setConstants(constants) {
    this.#constants.set(constants);
  }
}

/** A network of three layers in a workspace. */
class Network {
  #kernels;
  #layers;
  #sources;
  #sourceCount = 0;
  #blocks;
  #lists;
  #isBypassed;
  #stride;

  /** @param {Workspace} space @param {NetworkWeights} weights @param {number} capacity */
  constructor(space, weights, capacity) {
    const { inputs, largest, w1, w2, w3, bypass, outputs } = weights;
    const sizes = sizesOf(weights);
    const before = sizes[2].inputs - sizes[1].outputs; // what the last layer sees before h2: features, if any
    this.#kernels = space.kernels;
    this.#layers = [
      new Layer(space, sizes[0], largest, 0),
      new Layer(space, sizes[1], largest, (before / 2) * ITEM_BYTES),
      new Layer(space, sizes[2], largest, 0),
    ];
    this.#layers[0].fill(w1, inputs, 0);
    this.#layers[1].fill(w2, sizes[1].inputs, 0);
    this.#layers[2].fill(w3, sizes[1].outputs, before);
    if (bypass) this.#layers[2].fill(bypass, inputs, 0);
    this.#isBypassed = bypass !== undefined;
    this.#sources = space.int32(3 * mostPairs(weights));
    this.#blocks = [0, 1].map(() => space.int16((mostPairs(weights) * PAIR_BYTES) / 2).byteOffset);
    this.#lists = [0, 1].map(() => space.int32(mostPairs(weights)).byteOffset);
    this.#stride = roundUp(capacity, BLOCK);
    const out = space.int32(roundUp(outputs, GROUP) * this.#stride);
    /** The largest number of symbols of a batch. */
    this.capacity = capacity;
    /** The results of the last batch: for each output the numbers of all symbols. */
    this.outputs = Array.from({ length: outputs }, (_, i) => out.subarray(i * this.#stride, (i + 1) * this.#stride));
  }

  /**
   * Sets the constants that are added in each layer, c3 with what rounds the results.
   *
   * @param {ArrayLike<number>} c1 @param {ArrayLike<number>} c2 @param {ArrayLike<number>} c3
   */
  setConstants(c1, c2, c3) {
    [c1, c2, c3].forEach((constants, layer) => this.#layers[layer].setConstants(constants));
  }

  /**
   * Says where the features of the next batches are. Features without a source count as 0.
   *
   * @param {ArrayLike<number>} sources - Three numbers for each pair of features that is there: half the number of
   *   its first feature, which is even; the place of that feature of the first symbol, in bytes; and the place of the
   *   other feature, or 0 if it is the magnitude of the first. The features of the symbols that follow are beside it,
   *   16 bits each. There is room for as many symbols as fill the last block of eight.
   * @param {number} [length] - How many of these numbers to take.
   */
  setSources(sources, length = sources.length) {
    for (let i = 0; i < length; i += 3) {
      this.#sources[i] = sources[i] * ITEM_BYTES;
      this.#sources[i + 1] = sources[i + 1];
      this.#sources[i + 2] = sources[i + 2];
    }
    this.#sourceCount = length / 3;
  }

  /**
   * Computes a batch of symbols into `outputs`.
   *
   * @param {number} count - The number of symbols, at most the capacity.
   * @param {number} [at] - Bytes that are added to the places of all sources.
   * @param {number} [start] - Where in `outputs` the first symbol goes, a multiple of 8.
   */
  run(count, at = 0, start = 0) {
    const { gather, hidden, last } = this.#kernels;
    const [layer1, layer2, layer3] = this.#layers;
    const [pairs, others] = this.#blocks;
    const [list, otherList] = this.#lists;
    if (start + count > this.capacity) throw new RangeError("a batch is larger than the network's capacity");
    for (let done = 0; done < count; done += BLOCK) {
      let end = list;
      if (this.#sourceCount) end = gather(this.#sources.byteOffset, this.#sourceCount, at + 2 * done, pairs, list);
      const otherEnd = hidden(pairs, list, end, layer1.place, others, otherList);
      // h2 follows the features, or takes their place
      const kept = this.#isBypassed ? (end - list) / 4 : 0;
      const lastEnd = hidden(others, otherList, otherEnd, layer2.place, pairs + kept * PAIR_BYTES, list + 4 * kept);
      const out = this.outputs[0].byteOffset + 4 * (start + done);
      last(pairs, list, lastEnd, layer3.place, out, 4 * this.#stride);
    }
  }
}

/** A matrix of float32 in a workspace. */
class Matrix {
  #multiply;
  #inputs;
  #place;

  /** @param {Workspace} space @param {MatrixWeights} weights */
  constructor(space, { weights, constants, adds = false, least = -Infinity }) {
    const columns = weights.length / constants.length;
    const rows = roundUp(constants.length, ROWS);
    this.#multiply = space.kernels.multiply;
    this.#inputs = space.int32(columns);
    const packed = space.float32(rows * columns);
    for (let i = 0; i < weights.length; i++) {
      const row = Math.floor(i / columns);
      packed[Math.floor(row / ROWS) * ROWS * columns + ROWS * (i % columns) + (row % ROWS)] = weights[i];
    }
    const added = space.float32(rows);
    added.set(constants);
    const description = space.int32(MATRIX.bytes / 4);
    description[MATRIX.weights / 4] = packed.byteOffset;
    description[MATRIX.columns / 4] = columns;
    description[MATRIX.groupCount / 4] = rows / ROWS;
    description[MATRIX.constants / 4] = added.byteOffset;
    description[MATRIX.adds / 4] = Number(adds);
    new Float32Array(space.buffer, description.byteOffset)[MATRIX.least / 4] = least;
    this.#place = description.byteOffset;
  }

  /**
   * Says where the inputs are.
   *
   * @param {ArrayLike<number>} places - For each column the place of the row of its input, in bytes.
   */
  setInputs(places) {
    this.#inputs.set(places);
  }

  /**
   * Computes the results for positions that follow each other.
   *
   * @param {Float32Array} out - Gets the rows of results. There are as many as the matrix has rows, rounded up to a
   *   multiple of 4, and they are written for the number of positions, rounded up to a multiple of 8.
   * @param {number} stride - From a row of results to the next one, in floats.
   * @param {number} count - The number of positions.
   * @param {number} [at] - Bytes that are added to the places of all inputs.
   */
  run(out, stride, count, at = 0) {
    const blocks = Math.ceil(count / POSITIONS);
    this.#multiply(this.#place, this.#inputs.byteOffset, at, out.byteOffset, 4 * stride, blocks);
  }
}
