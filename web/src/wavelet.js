/**
 * The step sizes of the wavelet bands ("Bands" and "Quantisation steps" in docs/format.md).
 */

/** The norms of the bands of orientations 0, 1 and 2, by level. */
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

/** Returns the step size of a band in 2^-8 units. */
export function bandStep(qStep, level, orientation) {
  return stepOf(qStep, BAND_NORMS[level][orientation]);
}

/** Returns the step size of the low-pass band after all levels, in 2^-8 units. */
export function lowStep(qStep, levels) {
  return Math.floor((3 * stepOf(qStep, LOW_NORMS[levels - 1])) / 2);
}

/** The maximum magnitude of a coefficient, in 1/64 of its band's step size. */
export function coefficientLimit(step) {
  return Math.floor(2 ** 30 / step);
}

/** Converts v, in 1/64 of the band's step size, to a coefficient in units. */
export function dequantize(v, step, limit) {
  const limited = v < -limit ? -limit : v > limit ? limit : v;
  return (Math.imul(limited, step) + 8192) >> 14;
}

/** Returns the logarithm K of the q_step. */
export function logStep(qStep) {
  const octave = 31 - Math.clz32(qStep);
  return 8 * octave + ((8 * qStep) >> octave) - 80;
}
