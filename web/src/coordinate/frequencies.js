/**
 * The frequencies of a Fourier layer: all k of {0,1}^m, or those with |k|_1 <= order (docs/format.md, "Network").
 *
 * Each frequency is a row. Row 0 is k = 0. Every other row is an earlier one with one more coordinate, its highest, so
 * e^(2 pi i k.v) is the product of that of the earlier row and one number.
 *
 * @module coordinate/frequencies
 */

/**
 * @typedef {object} Frequencies
 * @property {Uint32Array} parents - For each row the earlier row; 0 for row 0.
 * @property {Uint8Array} tops - For each row the highest coordinate; 0 for row 0.
 * @property {Uint8Array} ones - For each row |k|_1.
 */

/**
 * Returns the frequencies of a layer in the order of its rows.
 *
 * @param {number} inputs - m, 0..64.
 * @param {number} order - The largest |k|_1; values from m on select all of {0,1}^m.
 * @param {number} count - Their number, at most 2^16.
 * @returns {Frequencies}
 */
export function frequenciesOf(inputs, order, count) {
  const rows = { parents: new Uint32Array(count), tops: new Uint8Array(count), ones: new Uint8Array(count) };
  if (order >= inputs) fillAll(rows);
  else fillByOnes(rows, inputs, order);
  return rows;
}

/** Fills in all of {0,1}^m, ordered by the binary value of k. @param {Frequencies} rows */
function fillAll({ parents, tops, ones }) {
  for (let row = 1; row < parents.length; row++) {
    tops[row] = 31 - Math.clz32(row);
    parents[row] = row - 2 ** tops[row];
    ones[row] = ones[parents[row]] + 1;
  }
}

/**
 * Fills in the rows ordered by |k|_1, and by the binary value among equal sums, so rows with the lowest highest
 * coordinate come first. Without its highest coordinate, a row is a row of the previous sum, and these have the same
 * order.
 *
 * @param {Frequencies} rows @param {number} inputs @param {number} order
 */
function fillByOnes({ parents, tops, ones }, inputs, order) {
  let starts = new Uint32Array(inputs + 1); // of each highest coordinate: the number of rows of the sum before below it
  starts.fill(1);
  let first = 0; // first row of the previous sum
  let row = 1;
  for (let sum = 1; sum <= order; sum++) {
    const begin = row;
    const next = new Uint32Array(inputs + 1);
    for (let top = sum - 1; top < inputs; top++) {
      next[top] = row - begin;
      for (let below = 0; below < starts[top]; below++, row++) {
        parents[row] = first + below;
        tops[row] = top;
        ones[row] = sum;
      }
    }
    next[inputs] = row - begin;
    starts = next;
    first = begin;
  }
}
