/**
 * The inverse wavelet in integers, and the steps of its bands ("Bands" and "Quantisation steps" in
 * docs/format.md). All operations are in signed 32 bits, where sums and products wrap around.
 */

import { allocate } from "./errors.js";

const MAX_UNITS = 65536; // the largest magnitude of a sample
const [ALPHA, BETA, GAMMA, DELTA, LOW_GAIN] = [-6497, -217, 3616, 1817, 5039]; // in units of 2^-12

/** The norm of the bands of orientations 0, 1 and 2, by level. */
const BAND_NORMS = [
  [319, 319, 201],
  [630, 630, 375],
  [1322, 1322, 809],
  [2702, 2702, 1677],
  [5484, 5484, 3369],
  [10971, 10971, 6842],
];
const LOW_NORMS = [504, 1056, 2162, 4362, 8767, 17661];

function stepOf(qStep, norm) {
  return Math.max(1, Math.floor((65536 * qStep + (norm >> 1)) / norm));
}

/** The step of a band in 2^-8 units. */
export function bandStep(qStep, level, orientation) {
  return stepOf(qStep, BAND_NORMS[level][orientation]);
}

/** The step of the low-pass band after all levels, in 2^-8 units. */
export function lowStep(qStep, levels) {
  return Math.floor((3 * stepOf(qStep, LOW_NORMS[levels - 1])) / 2);
}

/** The largest magnitude of a coefficient, in 1/64 of its band's step. */
export function coefficientLimit(step) {
  return Math.floor(2 ** 30 / step);
}

/** A coefficient in units, from v / 64 of its band's step. */
export function dequantize(v, step, limit) {
  const limited = v < -limit ? -limit : v > limit ? limit : v;
  return (Math.imul(limited, step) + 8192) >> 14;
}

/** round(x c / 2^12) */
function scaled(x, c) {
  return (Math.imul(x, c) + 2048) >> 12;
}

/**
 * Joins low-pass and high-pass samples of a row, which lie alternately from `start` on.
 * @param {Int32Array} x
 * @param {number} start
 * @param {number} length of the row
 */
function joinRow(x, start, length) {
  const n = (length + 1) >> 1;
  const m = length >> 1;
  if (m === 0) return;
  for (let i = 0; i < n; i++) x[start + 2 * i] = scaled(x[start + 2 * i], LOW_GAIN);
  liftLow(x, start, n, m, DELTA);
  liftHigh(x, start, n, m, GAMMA);
  liftLow(x, start, n, m, BETA);
  liftHigh(x, start, n, m, ALPHA);
}

/** l[i] -= S(d[i-1] + d[i]) along a row. */
function liftLow(x, start, n, m, c) {
  x[start] -= scaled((2 * x[start + 1]) | 0, c);
  for (let at = start + 2; at < start + 2 * m; at += 2) x[at] -= scaled((x[at - 1] + x[at + 1]) | 0, c);
  if (n > m) x[start + 2 * m] -= scaled((2 * x[start + 2 * m - 1]) | 0, c);
}

/** d[i] -= S(l[i] + l[i+1]) along a row. */
function liftHigh(x, start, n, m, c) {
  const end = start + 2 * n - 2; // the last low-pass sample
  for (let at = start + 1; at < start + 2 * m; at += 2) {
    const after = at < end ? at + 1 : end;
    x[at] -= scaled((x[at - 1] + x[after]) | 0, c);
  }
}

/** row -= S(first + second), sample by sample, for rows that start at these places. */
function liftRow(x, width, row, first, second, c) {
  for (let i = 0; i < width; i++) x[row + i] -= scaled((x[first + i] + x[second + i]) | 0, c);
}

/** Joins low-pass and high-pass rows, which lie alternately. */
function joinRows(x, height, width) {
  const n = (height + 1) >> 1;
  const m = height >> 1;
  if (m === 0) return;
  const low = (i) => 2 * Math.min(i, n - 1) * width;
  const high = (i) => (2 * Math.min(Math.max(i, 0), m - 1) + 1) * width;
  const liftLows = (c) => {
    for (let i = 0; i < n; i++) liftRow(x, width, low(i), high(i - 1), high(i), c);
  };
  const liftHighs = (c) => {
    for (let i = 0; i < m; i++) liftRow(x, width, high(i), low(i), low(i + 1), c);
  };
  for (let i = 0; i < n; i++) {
    for (let at = low(i); at < low(i) + width; at++) x[at] = scaled(x[at], LOW_GAIN);
  }
  liftLows(DELTA);
  liftHighs(GAMMA);
  liftLows(BETA);
  liftHighs(ALPHA);
}

/** Writes the rows of two bands alternately into every second row, and joins each of them. */
function joinBands(x, height, width, firstRow, low, high) {
  const n = (width + 1) >> 1;
  const m = width >> 1;
  for (let row = firstRow, i = 0; row < height; row += 2, i++) {
    const start = row * width;
    for (let j = 0; j < n; j++) x[start + 2 * j] = low[i * n + j];
    for (let j = 0; j < m; j++) x[start + 2 * j + 1] = high[i * m + j];
    joinRow(x, start, width);
  }
}

/**
 * Synthesises a decomposition level of one channel.
 * @param {Int32Array} low the low-pass band, [ceil(h/2), ceil(w/2)], units
 * @param {Int32Array[]} bands the three orientations, units
 * @param {number} height of the result
 * @param {number} width
 * @returns {Int32Array} [height, width], units
 */
export function synthesiseLevel(low, bands, height, width) {
  const x = allocate(() => new Int32Array(height * width));
  joinBands(x, height, width, 0, low, bands[0]);
  joinBands(x, height, width, 1, bands[1], bands[2]);
  joinRows(x, height, width);
  for (let at = 0; at < x.length; at++) {
    if (x[at] > MAX_UNITS) x[at] = MAX_UNITS;
    else if (x[at] < -MAX_UNITS) x[at] = -MAX_UNITS;
  }
  return x;
}
