/**
 * The kernels of float32 networks, in WebAssembly and in plain JavaScript; see `products.js` for what they are for.
 *
 * A number of the network has a row, with one float for each position. Positions are computed in blocks of eight.
 *
 * @module float_kernels
 */

import { Assembly, control, f32x4, i32, v128 } from "./assembler.js";

/** @typedef {import("./assembler.js").Code} Code */
/** @typedef {import("./assembler.js").Local} Local */

export const POSITIONS = 8; // of a block
export const ROWS = 4; // results that are computed together
const HALVES = [0, 16]; // a block of a row is two vectors

/**
 * The functions. All arguments are places in the memory, in bytes, or numbers.
 *
 * @typedef {object} FloatKernels
 * @property {(matrix: number, inputs: number, at: number, out: number, stride: number, blocks: number) => void}
 *   multiply - Computes the results of a matrix, as rows that are `stride` bytes apart. `inputs` is a list of the
 *   places of the rows of its inputs, to which `at` is added.
 * @property {(angles: number, cosines: number, sines: number, blocks: number) => void} turn - Computes cos a - 1 and
 *   sin a of a row of angles in radians.
 */

// A matrix is described by six numbers of 32 bits; here are their places.
export const MATRIX = {
  weights: 0, // by groups of four rows, and in them by columns: the four weights of a column
  columns: 4,
  groupCount: 8,
  constants: 12, // one for each row
  least: 16, // a float: what smaller results become
  adds: 20, // 1 where results are added to what the rows of results hold; otherwise 0
  bytes: 24,
};

// sin(2 pi x) = x (S0 + S1 x^2 + ... + S5 x^10) for |x| <= 1/4, with an error below 2e-11 before float32 rounds.
const SINE = [
  6.283185306487446, -41.341701929751586, 81.60520942889275, -76.70366773704704, 41.99998820833139,
  -14.337014287256451,
];

// ----------------------------------------------------------------------------- kernels in WebAssembly

/**
 * The code of a b + c.
 *
 * @typedef {(a: Code, b: Code, c: Code) => Code} MultiplyAdd
 */

/** @type {MultiplyAdd} */
const inTwoSteps = (a, b, c) => f32x4.add(c, f32x4.multiply(a, b));

function assembleMultiply(/** @type {MultiplyAdd} */ multiplyAdd) {
  const f = new Assembly();
  const [matrix, inputs, at, out, stride, blocks] = f.parameters(6);
  const [weights, constants, groups, columns, entry, input, place, target] = f.integers(8);
  const sums = Array.from({ length: ROWS }, () => f.vectors(HALVES.length));
  const values = f.vectors(HALVES.length);
  const [weight, least] = f.vectors(2);
  const field = (/** @type {number} */ offset) => i32.load(matrix.value, offset);

  /** Does something with each vector of the group's results, from `place` on. */
  const forEachSum = (/** @type {(sum: Local, offset: number) => Code} */ body) => [
    target.set(place.value),
    sums.map((halves) => [halves.map((sum, half) => body(sum, HALVES[half])), target.raise(stride.value)]),
  ];
  const startGroup = [
    sums.map((halves, row) => halves.map((sum) => sum.set(v128.loadSplat(constants.value, 4 * row)))),
    control.when(field(MATRIX.adds), [
      forEachSum((sum, offset) => sum.set(f32x4.add(sum.value, v128.load(target.value, offset)))),
    ]),
  ];
  const addColumn = [
    input.set(i32.add(i32.load(entry.value), at.value)),
    values.map((value, half) => value.set(v128.load(input.value, HALVES[half]))),
    sums.map((halves, row) => [
      weight.set(v128.loadSplat(weights.value, 4 * row)),
      halves.map((sum, half) => sum.set(multiplyAdd(values[half].value, weight.value, sum.value))),
    ]),
    entry.raise(i32.constant(4)),
    weights.raise(i32.constant(4 * ROWS)),
    columns.raise(i32.constant(-1)),
  ];
  const computeGroup = [
    startGroup,
    entry.set(inputs.value),
    columns.set(field(MATRIX.columns)),
    control.repeat(addColumn, columns.value),
    forEachSum((sum, offset) => v128.store(target.value, f32x4.larger(sum.value, least.value), offset)),
    place.set(target.value),
    constants.raise(i32.constant(4 * ROWS)),
    groups.raise(i32.constant(-1)),
  ];
  const computeBlock = [
    weights.set(field(MATRIX.weights)),
    constants.set(field(MATRIX.constants)),
    groups.set(field(MATRIX.groupCount)),
    place.set(out.value),
    control.repeat(computeGroup, groups.value),
    at.raise(i32.constant(4 * POSITIONS)),
    out.raise(i32.constant(4 * POSITIONS)),
    blocks.raise(i32.constant(-1)),
  ];
  const code = f.codeBytes([
    least.set(v128.loadSplat(matrix.value, MATRIX.least)),
    control.repeat(computeBlock, blocks.value),
  ]);
  return { type: f.typeBytes(false), code };
}

function assembleTurn(/** @type {MultiplyAdd} */ multiplyAdd) {
  const f = new Assembly();
  const [angles, cosines, sines, blocks] = f.parameters(4);
  const [turns, x, square, sum] = f.vectors(4);
  const constant = (/** @type {number} */ value) => f32x4.constant(value);

  /** sin(2 pi x) of x, which is changed to it. */
  const sine = [
    square.set(f32x4.multiply(x.value, x.value)),
    sum.set(constant(SINE[SINE.length - 1])),
    SINE.slice(0, -1)
      .reverse()
      .map((coefficient) => sum.set(multiplyAdd(sum.value, square.value, constant(coefficient)))),
    x.set(f32x4.multiply(x.value, sum.value)),
  ];
  const turnVector = (/** @type {number} */ offset) => [
    turns.set(f32x4.multiply(v128.load(angles.value, offset), constant(1 / (2 * Math.PI)))),
    turns.set(f32x4.subtract(turns.value, f32x4.nearest(turns.value))), // in -1/2..1/2
    x.set(f32x4.subtract(constant(1 / 4), f32x4.magnitude(turns.value))), // cos(2 pi t) = sin(2 pi (1/4 - |t|))
    sine,
    v128.store(cosines.value, f32x4.subtract(x.value, constant(1)), offset),
    // sin(2 pi t) = sin(2 pi (1/2 - t)) = sin(2 pi (-1/2 - t))
    x.set(f32x4.smaller(turns.value, f32x4.subtract(constant(1 / 2), turns.value))),
    x.set(f32x4.larger(x.value, f32x4.subtract(constant(-1 / 2), turns.value))),
    sine,
    v128.store(sines.value, x.value, offset),
  ];
  const code = f.codeBytes([
    control.repeat(
      [
        HALVES.map(turnVector),
        [angles, cosines, sines].map((row) => row.raise(i32.constant(4 * POSITIONS))),
        blocks.raise(i32.constant(-1)),
      ],
      blocks.value,
    ),
  ]);
  return { type: f.typeBytes(false), code };
}

/**
 * The kernels in WebAssembly.
 *
 * @param {boolean} isRelaxed - Whether products are added to sums by one instruction, which not all browsers have.
 */
export function floatFunctions(isRelaxed) {
  const multiplyAdd = isRelaxed ? f32x4.multiplyAdd : inTwoSteps;
  return { multiply: assembleMultiply(multiplyAdd), turn: assembleTurn(multiplyAdd) };
}

// --------------------------------------------------------------------------- kernels in plain JavaScript

/**
 * The same functions on the same memory. Their results differ by how float32 rounds.
 *
 * @param {ArrayBuffer} buffer
 * @returns {FloatKernels}
 */
export function plainFloatKernels(buffer) {
  const int32 = new Int32Array(buffer);
  const float32 = new Float32Array(buffer);
  return {
    multiply(matrix, inputs, at, out, stride, blocks) {
      const field = (/** @type {number} */ offset) => int32[(matrix + offset) >>> 2];
      const columns = field(MATRIX.columns);
      const least = float32[(matrix + MATRIX.least) >>> 2];
      const kept = field(MATRIX.adds); // 0 or 1
      const step = stride >>> 2;
      for (let group = 0; group < field(MATRIX.groupCount); group++) {
        const weights = (field(MATRIX.weights) >>> 2) + group * ROWS * columns;
        const constants = (field(MATRIX.constants) >>> 2) + group * ROWS;
        const results = (out >>> 2) + group * ROWS * step;
        for (let i = 0; i < POSITIONS * blocks; i++) {
          let [sum0, sum1, sum2, sum3] = [0, 0, 0, 0];
          for (let column = 0; column < columns; column++) {
            const input = float32[((int32[(inputs >>> 2) + column] + at) >>> 2) + i];
            const weight = weights + ROWS * column;
            sum0 += float32[weight] * input;
            sum1 += float32[weight + 1] * input;
            sum2 += float32[weight + 2] * input;
            sum3 += float32[weight + 3] * input;
          }
          [sum0, sum1, sum2, sum3].forEach((sum, row) => {
            const target = results + row * step + i;
            float32[target] = Math.max(sum + float32[constants + row] + (kept ? float32[target] : 0), least);
          });
        }
      }
    },
    turn(angles, cosines, sines, blocks) {
      for (let i = 0; i < POSITIONS * blocks; i++) {
        const angle = float32[(angles >>> 2) + i];
        float32[(cosines >>> 2) + i] = Math.cos(angle) - 1;
        float32[(sines >>> 2) + i] = Math.sin(angle);
      }
    },
  };
}
