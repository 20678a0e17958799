/**
 * Products of float32 matrices and rows of numbers, for the overfitted and the coordinate codec. Each number of a
 * network has a row with one float per position. Positions are computed in blocks of eight.
 *
 *     const matrix = space.matrix({ weights, constants });
 *     matrix.setInputs([row.byteOffset, ...]);         // of each column
 *     matrix.run(out, stride, count);                  // out[stride * r + i] = constants[r] + sum of weights * inputs
 *     space.turn(angles, cosines, sines);              // cos a - 1 and sin a
 *
 * @module float_rows
 */

const POSITIONS = 8; // per block
const ROWS = 4; // number of results computed together
const ALIGNMENT = 16;

/**
 * The functions in WebAssembly. All arguments are byte offsets in the memory, or numbers.
 *
 * @typedef {object} RowKernels
 * @property {(matrix: number, inputs: number, at: number, out: number, stride: number, blocks: number) => void}
 *   multiply - Computes the results of a matrix, as rows that are `stride` bytes apart. `inputs` is a list of the
 *   places of the rows of its inputs, to which `at` is added.
 * @property {(angles: number, cosines: number, sines: number, blocks: number) => void} turn - Computes cos a - 1 and
 *   sin a of a row of angles in radians.
 */

// Byte offsets of the fields that describe a matrix.
const MATRIX = {
  weights: 0, // by groups of four rows, and in them by columns: the four weights of a column
  columns: 4,
  groupCount: 8,
  constants: 12, // one for each row
  least: 16, // a float: the minimum of results
  adds: 20, // 1 if results are added to the existing ones, otherwise 0
  bytes: 24,
};

/**
 * A matrix.
 *
 * @typedef {object} MatrixWeights
 * @property {ArrayLike<number>} weights - [rows, columns], row by row.
 * @property {ArrayLike<number>} constants - [rows]: what is added to the results.
 * @property {boolean} [adds] - Whether results are added to the existing ones.
 * @property {number} [least] - The minimum of results; none if undefined.
 */

/** @param {number} count @param {number} unit */
const roundUp = (count, unit) => Math.ceil(count / unit) * unit;

/**
 * Returns the number of bytes of a matrix in a workspace.
 *
 * @param {number} rows @param {number} columns
 */
export function matrixBytes(rows, columns) {
  return 4 * roundUp(rows, ROWS) * (columns + 1) + 4 * columns + MATRIX.bytes + 4 * ALIGNMENT;
}

/** A matrix of float32 in a workspace. */
export class Matrix {
  #multiply;
  #inputs;
  #place;

  /** @param {import("./kernels.js").Workspace} space @param {MatrixWeights} weights */
  constructor(space, { weights, constants, adds = false, least = -Infinity }) {
    const columns = weights.length / constants.length;
    const rows = roundUp(constants.length, ROWS);
    this.#multiply = space.rows.multiply;
    this.#inputs = space.array(Int32Array, columns);
    const packed = space.float32(rows * columns);
    for (let i = 0; i < weights.length; i++) {
      const row = Math.floor(i / columns);
      packed[Math.floor(row / ROWS) * ROWS * columns + ROWS * (i % columns) + (row % ROWS)] = weights[i];
    }
    const added = space.float32(rows);
    added.set(constants);
    const description = space.array(Int32Array, MATRIX.bytes / 4);
    description[MATRIX.weights / 4] = packed.byteOffset;
    description[MATRIX.columns / 4] = columns;
    description[MATRIX.groupCount / 4] = rows / ROWS;
    description[MATRIX.constants / 4] = added.byteOffset;
    description[MATRIX.adds / 4] = Number(adds);
    new Float32Array(space.buffer, description.byteOffset)[MATRIX.least / 4] = least;
    this.#place = description.byteOffset;
  }

  /**
   * Sets the inputs.
   *
   * @param {ArrayLike<number>} places - For each column the byte offset of its input row.
   */
  setInputs(places) {
    this.#inputs.set(places);
  }

  /**
   * Computes the results for consecutive positions.
   *
   * @param {Float32Array} out - Receives the rows of results. Their number is that of the matrix rows, rounded up to a
   *   multiple of 4, and their length is the number of positions, rounded up to a multiple of 8.
   * @param {number} stride - The distance between rows of results, in floats.
   * @param {number} count - The number of positions.
   * @param {number} [at] - Bytes added to the offsets of all inputs.
   */
  run(out, stride, count, at = 0) {
    const blocks = Math.ceil(count / POSITIONS);
    this.#multiply(this.#place, this.#inputs.byteOffset, at, out.byteOffset, 4 * stride, blocks);
  }
}

/**
 * See `Workspace.turn`.
 *
 * @param {RowKernels} rows
 * @param {Float32Array} angles @param {Float32Array} cosines @param {Float32Array} sines
 */
export function turnRows({ turn }, angles, cosines, sines) {
  turn(angles.byteOffset, cosines.byteOffset, sines.byteOffset, angles.length / POSITIONS);
}
