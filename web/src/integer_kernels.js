/**
 * The kernels of integer networks, in WebAssembly and in plain JavaScript; see `products.js` for what they are for.
 *
 * Symbols are computed in blocks of eight. A block has its inputs as pairs: inputs 2 p and 2 p + 1 of the eight
 * symbols, side by side, as 16 numbers of 16 bits. Pairs that are zero for all eight symbols are left out. A list
 * names the pairs that a block has, by the places of their weights.
 *
 * @module integer_kernels
 */

import { Assembly, control, i16x8, i32, i32x4, v128 } from "./assembler.js";

/** @typedef {import("./assembler.js").Code} Code */
/** @typedef {import("./assembler.js").Local} Local */

export const BLOCK = 8; // symbols
export const PAIR_BYTES = 2 * BLOCK * 2;
export const GROUP = 4; // outputs that are computed together
export const ITEM_BYTES = GROUP * 2 * 2; // the weights of a pair of inputs in a group of outputs
const HIDDEN_SHIFT = 6;
const OUTPUT_SHIFT = 8;

/**
 * The three functions that exist in WebAssembly and in JavaScript. All arguments are places in the memory, in bytes,
 * or numbers. They read and write blocks, that is, pairs and a list.
 *
 * @typedef {object} IntegerKernels
 * @property {(sources: number, count: number, at: number, pairs: number, list: number) => number} gather -
 *   Gathers the features of a block. A source is three 32-bit integers: the place of the pair's weights within a
 *   group, and the places of its two features, to which `at` is added; 0 in place of the second stands for the
 *   magnitude of the first. Returns the end of the list.
 * @property {(pairs: number, list: number, end: number, layer: number, pairsOut: number, listOut: number)
 *   => number} hidden - Computes a hidden layer of a block. Returns the end of the list of its results.
 * @property {(pairs: number, list: number, end: number, layer: number, out: number, stride: number) => void} last -
 *   Computes the last layer of a block, as one row of 32-bit integers for each output, `stride` bytes apart.
 */

// ------------------------------------------------------------------------------- layers in the memory
//
// A layer is described by six 32-bit integers; here are their places.
export const LAYER = {
  weights: 0, // group by group, pair by pair: for each of four outputs the weights of both inputs, 16 bits each
  groupBytes: 4, // the size of a group
  groupCount: 8,
  constants: 12, // 32 bits each
  largest: 16, // of a hidden number
  firstItem: 20, // where the results of a hidden layer stand within a group of the next layer
  bytes: 24,
};

// ----------------------------------------------------------------------------- kernels in WebAssembly

const HALVES = [0, 16]; // a pair is two vectors: of symbols 0..3 and 4..7
// Interleave the numbers of two vectors, of their first and of their second halves.
const INTERLEAVED = [
  [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23],
  [8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31],
];

/**
 * Adds a pair to a block, unless it is 0.
 *
 * @param {Local} pairs - Where the pair goes; moves on.
 * @param {Local} list - Where its entry goes; moves on.
 * @param {Local[]} values - The two vectors of the pair.
 * @param {Code} item - What the list says of it.
 */
const append = (pairs, list, values, item) =>
  control.when(v128.isAny(v128.or(values[0].value, values[1].value)), [
    HALVES.map((offset, half) => v128.store(pairs.value, values[half].value, offset)),
    i32.store(list.value, item),
    pairs.raise(i32.constant(PAIR_BYTES)),
    list.raise(i32.constant(4)),
  ]);

function assembleGather() {
  const f = new Assembly();
  const [source, count, at, pairs, list] = f.parameters(5);
  const [first, second, ...values] = f.vectors(4);
  const [place] = f.integers(1);
  const code = f.codeBytes([
    control.repeat(
      [
        first.set(v128.load(i32.add(i32.load(source.value, 4), at.value))),
        second.set(i16x8.magnitude(first.value)),
        place.set(i32.load(source.value, 8)),
        control.when(place.value, [second.set(v128.load(i32.add(place.value, at.value)))]),
        values.map((value, half) => value.set(v128.shuffle(INTERLEAVED[half])(first.value, second.value))),
        append(pairs, list, values, i32.load(source.value)),
        source.raise(i32.constant(12)),
        count.raise(i32.constant(-1)),
      ],
      count.value,
    ),
    list.value,
  ]);
  return { type: f.typeBytes(true), code };
}

/**
 * The start of both layer functions: for each group of four outputs the sums of the eight symbols, then `finish`.
 *
 * @param {Assembly} f
 * @param {Local[]} parameters - pairs, list, end, layer.
 * @param {(sums: Local[][]) => Code[]} finish - Takes the sums of each output in two vectors.
 */
function forEachGroup(f, [pairs, list, end, layer], finish) {
  const [pair, entry, weights, constants, groups, item] = f.integers(6);
  const sums = Array.from({ length: GROUP }, () => f.vectors(HALVES.length));
  const inputs = f.vectors(HALVES.length);
  const [weight] = f.vectors(1);
  const multiply = [
    item.set(i32.add(weights.value, i32.load(entry.value))),
    inputs.map((input, half) => input.set(v128.load(pair.value, HALVES[half]))),
    sums.map((halves, output) => [
      weight.set(v128.loadSplat(item.value, 4 * output)),
      halves.map((sum, half) => sum.set(i32x4.add(sum.value, i32x4.dot(inputs[half].value, weight.value)))),
    ]),
    pair.raise(i32.constant(PAIR_BYTES)),
    entry.raise(i32.constant(4)),
  ];
  return [
    weights.set(i32.load(layer.value, LAYER.weights)),
    constants.set(i32.load(layer.value, LAYER.constants)),
    groups.set(i32.load(layer.value, LAYER.groupCount)),
    control.repeat(
      [
        sums.map((halves, output) => halves.map((sum) => sum.set(v128.loadSplat(constants.value, 4 * output)))),
        pair.set(pairs.value),
        entry.set(list.value),
        control.when(i32.isNot(list.value, end.value), [
          control.repeat(multiply, i32.isNot(entry.value, end.value)),
        ]),
        finish(sums),
        weights.raise(i32.load(layer.value, LAYER.groupBytes)),
        constants.raise(i32.constant(4 * GROUP)),
        groups.raise(i32.constant(-1)),
      ],
      groups.value,
    ),
  ];
}

function assembleHidden() {
  const f = new Assembly();
  const [pairs, list, end, layer, pairsOut, listOut] = f.parameters(6);
  const [item] = f.integers(1);
  const [none, largest] = f.vectors(2);
  const limited = (/** @type {Local} */ sum) =>
    i32x4.smaller(i32x4.larger(i32x4.shiftRight(sum.value, i32.constant(HIDDEN_SHIFT)), none.value), largest.value);
  /** Two outputs side by side: the second one in the upper 16 bits. @param {Local[]} even @param {Local[]} odd */
  const join = (even, odd) => [
    even.map((sum, half) =>
      sum.set(v128.or(sum.value, i32x4.shiftLeft(odd[half].value, i32.constant(16)))),
    ),
    append(pairsOut, listOut, even, item.value),
    item.raise(i32.constant(ITEM_BYTES)),
  ];
  const code = f.codeBytes([
    item.set(i32.load(layer.value, LAYER.firstItem)),
    largest.set(v128.loadSplat(layer.value, LAYER.largest)),
    none.set(i32x4.splat(i32.constant(0))),
    forEachGroup(f, [pairs, list, end, layer], (sums) => [
      sums.flat().map((sum) => sum.set(limited(sum))),
      join(sums[0], sums[1]),
      join(sums[2], sums[3]),
    ]),
    listOut.value,
  ]);
  return { type: f.typeBytes(true), code };
}

function assembleLast() {
  const f = new Assembly();
  const [pairs, list, end, layer, out, stride] = f.parameters(6);
  const code = f.codeBytes([
    forEachGroup(f, [pairs, list, end, layer], (sums) =>
      sums.map((halves) => [
        halves.map((sum, half) =>
          v128.store(out.value, i32x4.shiftRight(sum.value, i32.constant(OUTPUT_SHIFT)), HALVES[half]),
        ),
        out.raise(stride.value),
      ]),
    ),
  ]);
  return { type: f.typeBytes(false), code };
}

/** The kernels in WebAssembly. */
export const integerFunctions = () => ({ gather: assembleGather(), hidden: assembleHidden(), last: assembleLast() });

// --------------------------------------------------------------------------- kernels in plain JavaScript

/**
 * The same functions on the same memory.
 *
 * @param {ArrayBuffer} buffer
 * @returns {IntegerKernels}
 */
export function plainIntegerKernels(buffer) {
  const int16 = new Int16Array(buffer);
  const int32 = new Int32Array(buffer);
  const sums = new Int32Array(GROUP * BLOCK); // of the outputs of a group, for each symbol

  /**
   * Sums up a group of outputs.
   *
   * @param {number} pairs @param {number} list @param {number} end @param {number} layer @param {number} group
   */
  function sumGroup(pairs, list, end, layer, group) {
    const weights = int32[(layer + LAYER.weights) >>> 2] + group * int32[(layer + LAYER.groupBytes) >>> 2];
    const constants = (int32[(layer + LAYER.constants) >>> 2] >>> 2) + GROUP * group;
    for (let i = 0; i < BLOCK; i++) {
      let sum0 = int32[constants];
      let sum1 = int32[constants + 1];
      let sum2 = int32[constants + 2];
      let sum3 = int32[constants + 3];
      let pair = (pairs >>> 1) + 2 * i;
      for (let entry = list >>> 2; entry < end >>> 2; entry++) {
        const item = (weights + int32[entry]) >>> 1;
        const even = int16[pair];
        const odd = int16[pair + 1];
        sum0 = (sum0 + Math.imul(even, int16[item]) + Math.imul(odd, int16[item + 1])) | 0;
        sum1 = (sum1 + Math.imul(even, int16[item + 2]) + Math.imul(odd, int16[item + 3])) | 0;
        sum2 = (sum2 + Math.imul(even, int16[item + 4]) + Math.imul(odd, int16[item + 5])) | 0;
        sum3 = (sum3 + Math.imul(even, int16[item + 6]) + Math.imul(odd, int16[item + 7])) | 0;
        pair += PAIR_BYTES / 2;
      }
      sums[i] = sum0;
      sums[BLOCK + i] = sum1;
      sums[2 * BLOCK + i] = sum2;
      sums[3 * BLOCK + i] = sum3;
    }
  }

  /** @param {number} first - Of 16 numbers. */
  function isZeroPair(first) {
    for (let i = first; i < first + 2 * BLOCK; i++) if (int16[i] !== 0) return false;
    return true;
  }

  return {
    gather(sources, count, at, pairs, list) {
      for (let source = sources >>> 2; source < (sources >>> 2) + 3 * count; source += 3) {
        const isMagnitude = int32[source + 2] === 0;
        const first = (int32[source + 1] + at) >>> 1;
        const second = (int32[source + 2] + at) >>> 1;
        const pair = pairs >>> 1;
        for (let i = 0; i < BLOCK; i++) {
          int16[pair + 2 * i] = int16[first + i];
          int16[pair + 2 * i + 1] = isMagnitude ? Math.abs(int16[first + i]) : int16[second + i];
        }
        if (isZeroPair(pair)) continue;
        int32[list >>> 2] = int32[source];
        pairs += PAIR_BYTES;
        list += 4;
      }
      return list;
    },
    hidden(pairs, list, end, layer, pairsOut, listOut) {
      const groupCount = int32[(layer + LAYER.groupCount) >>> 2];
      const largest = int32[(layer + LAYER.largest) >>> 2];
      let item = int32[(layer + LAYER.firstItem) >>> 2];
      for (let group = 0; group < groupCount; group++) {
        sumGroup(pairs, list, end, layer, group);
        for (let first = 0; first < GROUP * BLOCK; first += 2 * BLOCK) {
          const pair = pairsOut >>> 1;
          for (let i = 0; i < BLOCK; i++) {
            int16[pair + 2 * i] = Math.min(Math.max(sums[first + i] >> HIDDEN_SHIFT, 0), largest);
            int16[pair + 2 * i + 1] = Math.min(Math.max(sums[first + BLOCK + i] >> HIDDEN_SHIFT, 0), largest);
          }
          if (!isZeroPair(pair)) {
            int32[listOut >>> 2] = item;
            pairsOut += PAIR_BYTES;
            listOut += 4;
          }
          item += ITEM_BYTES;
        }
      }
      return listOut;
    },
    last(pairs, list, end, layer, out, stride) {
      const groupCount = int32[(layer + LAYER.groupCount) >>> 2];
      for (let group = 0; group < groupCount; group++) {
        sumGroup(pairs, list, end, layer, group);
        for (let output = 0; output < GROUP; output++) {
          const row = (out + (group * GROUP + output) * stride) >>> 2;
          for (let i = 0; i < BLOCK; i++) int32[row + i] = sums[output * BLOCK + i] >> OUTPUT_SHIFT;
        }
      }
    },
  };
}
