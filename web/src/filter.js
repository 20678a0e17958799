/**
 * The image filter: a linear correction of the synthesis with coefficients for one image ("Filter section" in
 * docs/format.md). At pixel p it adds to channel i
 *
 *     sum over t, j of w[i, t, j] (s_j(p + t) - s_j(p)),    t != 0, |t|_1 <= radius.
 */

import { damaged } from "./errors.js";
import { LAPLACE_COUNT, RangeDecoder, laplaceTables } from "./range_coder.js";

const MAX_RADIUS = 5;
const SIZE_BYTES = 2; // radius and step index

/**
 * A filter.
 * @typedef {object} ImageFilter
 * @property {number} radius
 * @property {[number, number][]} taps the offsets (dy, dx) by distance, then dy, then dx
 * @property {Float32Array[]} weights for each distance [output channel, tap, input channel]
 */

/** Returns the offsets at a distance, by row, then column. */
function tapsAt(distance) {
  const taps = [];
  for (let dy = -distance; dy <= distance; dy++) {
    const dx = distance - Math.abs(dy);
    taps.push(...(dx ? [[dy, -dx], [dy, dx]] : [[dy, 0]]));
  }
  return taps;
}

/**
 * Reads the filter section.
 * @param {Uint8Array} body
 * @param {number} channels 1 or 3
 * @returns {ImageFilter}
 * @throws {import("./errors.js").DfmError}
 */
export function readFilter(body, channels) {
  const radius = body[0] ?? 0;
  const indices = body.subarray(SIZE_BYTES, SIZE_BYTES + radius);
  const isPossible = radius >= 1 && radius <= MAX_RADIUS && indices.length === radius;
  if (!isPossible || indices.some((index) => index >= LAPLACE_COUNT)) {
    throw damaged("the filter section does not start with a radius and its tables");
  }
  const step = 2 ** (-body[1] / 8);
  const decoder = new RangeDecoder(body.subarray(SIZE_BYTES + radius));
  const rings = Array.from(indices, (_, ring) => tapsAt(ring + 1));
  const weights = rings.map((taps, ring) => {
    const symbols = decoder.decodeArray(channels * taps.length * channels, indices[ring], laplaceTables());
    return Float32Array.from(symbols, (symbol) => symbol * step);
  });
  return { radius, taps: rings.flat(), weights };
}

/**
 * Returns the weights of a filter tap by tap: [tap, input channel, output channel].
 * @param {ImageFilter} filter
 * @param {number} channels
 * @returns {Float32Array}
 */
export function weightsByTap({ taps, weights }, channels) {
  const byTap = new Float32Array(taps.length * channels * channels);
  let start = 0;
  for (const ring of weights) {
    const size = ring.length / channels; // per output channel
    for (let output = 0; output < channels; output++) {
      for (let n = 0; n < size; n++) byTap[(start + n) * channels + output] = ring[output * size + n];
    }
    start += size;
  }
  return byTap;
}
