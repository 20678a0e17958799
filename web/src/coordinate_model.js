/**
 * The coordinate codec: a network that maps positions to samples ("Model 0: coordinate network" in
 * docs/format.md).
 */

import { layerShapes, multiplyAdds } from "./architecture.js";
import { roundingOf, samplesArray } from "./colour.js";
import { CoordinateSynthesis } from "./coordinate/network.js";
import { readWeights } from "./coordinate/weights.js";
import { Region } from "./geometry.js";
import { sectionOf } from "./integrity.js";

const STRIP_MULTIPLY_ADDS = 2 ** 28; // number of multiply-adds computed at a time, unless one row takes more

/**
 * Decodes a region.
 * @param {import("./integrity.js").FileState} state of an intact file
 * @param {Region} region
 * @param {import("./weights.js").PretrainedWeights} _prior unused by this codec
 * @param {import("./kernels.js").Kernels} kernels
 * @returns {Generator<{part: number}, Uint8ClampedArray|Uint16Array>} yields the finished fraction; returns the samples
 *   [H, W, C]
 * @throws {import("./errors.js").DfmError}
 */
export function* decodeCoordinate(state, region, _prior, kernels) {
  const { height, width, values, bitDepth, codedChannels } = state.header;
  const layers = layerShapes(values);
  const weights = readWeights(sectionOf(state, "weights"), layers);
  const target = samplesArray(bitDepth, codedChannels * region.height * region.width);
  const synthesis = new CoordinateSynthesis({ height, width, layers, weights }, kernels);
  const rows = Math.max(1, Math.floor(STRIP_MULTIPLY_ADDS / (multiplyAdds(layers) * region.width)));
  for (let top = region.top; top < region.bottom; top += rows) {
    const strip = new Region(top, region.left, Math.min(region.bottom, top + rows), region.right);
    const start = codedChannels * (top - region.top) * region.width;
    interleave(synthesis.colours(strip), target, start, codedChannels, bitDepth);
    yield { part: (strip.bottom - region.top) / (region.height + 1) };
  }
  return target;
}

/** Writes planes of numbers in 0..1 as interleaved samples. */
function interleave(planes, target, start, channels, bitDepth) {
  const [round, peak] = [roundingOf(bitDepth), 2 ** bitDepth - 1];
  const count = planes.length / channels;
  for (let channel = 0; channel < channels; channel++) {
    for (let n = 0, at = start + channel; n < count; n++, at += channels) {
      target[at] = round(peak * planes[channel * count + n]);
    }
  }
}
