/**
 * Converts the linear synthesis to samples: correction network and image filter block by block, then the colour
 * transform ("Reconstruction" in docs/format.md).
 */

import { ColourTransform } from "./colour.js";
import { weightsByTap } from "./filter.js";
import { Region } from "./geometry.js";
import { bytesOfArrays } from "./kernels.js";
import { CELL_SAMPLES, correctionOf, firstConstants } from "./correction.js";
import { noiseFactors } from "./texture.js";
import { logStep } from "./wavelet.js";

const CELL = 2; // pixels
const BLOCK_ROWS = 256; // pixels
const BLOCK_COLUMNS = 512;
const ROW_PADDING = 129; // cells, at most

/**
 * The linear synthesis of a region of an image.
 * @typedef {object} Synthesis
 * @property {Int32Array[]} planes of each channel, and of the noise of a texture, units
 * @property {Region} region
 */

/**
 * Copies rows of samples around a block. Beyond the region, its edges are replicated. At image borders this is defined
 * by the format; elsewhere no pixel depends on these samples.
 */
class SampleRows {
  #synthesis;

  /** @param {Synthesis} synthesis */
  constructor(synthesis) {
    this.#synthesis = synthesis;
  }

  /** Indicates whether there is noise, after the given number of channels. */
  hasNoise(channels) {
    return this.#synthesis.planes.length > channels;
  }

  /** Copies the samples of a channel in a region to a plane. */
  copy(channel, { top, left, bottom, right }, plane) {
    const { planes, region } = this.#synthesis;
    const [first, last] = [Math.max(left, region.left), Math.min(right, region.right)];
    const width = right - left;
    for (let row = top, at = 0; row < bottom; row++, at += width) {
      const inside = Math.min(Math.max(row, region.top), region.bottom - 1) - region.top;
      const start = inside * region.width - region.left;
      plane.set(planes[channel].subarray(start + first, start + last), at + first - left);
      plane.fill(planes[channel][start + first], at, at + first - left);
      plane.fill(planes[channel][start + last - 1], at + last - left, at + width);
    }
  }
}

/** The computation of the blocks of an image, in one memory. */
class BlockSynthesis {
  #space;
  #correction;
  #filter;
  #channels;
  #qStep;
  #colours;
  #arrays;
  #noiseFactors;

  /**
   * @param {import("./header.js").Header} header
   * @param {Record<string, import("./weights.js").WeightArray>} arrays of the pretrained weights
   * @param {import("./filter.js").ImageFilter|null} filter
   * @param {[number, number]} block the maximum numbers of rows and columns of a block
   * @param {import("./kernels.js").Kernels} kernels
   */
  constructor(header, arrays, filter, [rows, columns], kernels) {
    const { codedChannels: channels, bitDepth, values } = header;
    const correction = correctionOf(arrays);
    const margin = 2 * Math.max(CELL * correction.reach, filter?.radius ?? 0);
    const around = channels * (rows + margin) * (columns + margin);
    const size = channels * rows * columns;
    const pixelBytes = bitDepth === 8 ? 1 : 2;
    const { weights, factors, depth, reach } = correction;
    const constants = firstConstants(correction, logStep(values.q_step));
    const ofNetwork = [weights, factors, constants];
    const networkBytes = ofNetwork.map(({ byteLength }) => byteLength);
    const bytes = bytesOfArrays([4 * around, 4 * size, 4 * size, pixelBytes * size, ...networkBytes]);
    // memory that the kernels use: the filter's samples as floats, and the correction network's rows of cells
    const cellBytes = 16 * CELL_SAMPLES + 18 * depth * constants.length;
    const callBytes = Math.max(4 * around, cellBytes * ((columns + margin) / CELL + ROW_PADDING));
    const space = kernels.workspace(bytes, callBytes);
    this.#space = space;
    const [ownWeights, ownFactors, ownConstants] = ofNetwork.map((array) => space.copyOf(array));
    this.#correction = { weights: ownWeights, factors: ownFactors, firstConstants: ownConstants, depth, reach };
    this.#filter = filter && { ...filter, offsets: Int32Array.from(filter.taps.flat()), byTap: weightsByTap(filter, channels) };
    this.#channels = channels;
    this.#qStep = values.q_step;
    this.#colours = new ColourTransform(values, bitDepth);
    this.#noiseFactors = noiseFactors(this.#colours.basis, channels, bitDepth);
    this.#arrays = {
      around: space.array(Int32Array, around),
      planes: space.float32(size),
      change: space.float32(size),
      pixels: space.array(bitDepth === 8 ? Uint8Array : Uint16Array, size),
    };
  }

  /** Computes the pixels of a block, interleaved. The next call overwrites them. */
  run(rows, part) {
    const { height, width } = part;
    const size = this.#channels * height * width;
    const [planes, change] = [this.#arrays.planes, this.#arrays.change].map((array) => array.subarray(0, size));
    planes.set(this.#around(rows, part, 0));
    const { reach, ...network } = this.#correction;
    const margin = CELL * reach;
    const channels = this.#channels;
    this.#space.run.correctionResidual({
      ...network, samples: this.#around(rows, part, margin), channels, height: height + 2 * margin,
      width: width + 2 * margin, stepSize: this.#qStep, blockHeight: height, blockWidth: width, residual: change,
    });
    for (let at = 0; at < size; at++) planes[at] += change[at];
    if (this.#filter) {
      const { byTap, offsets, radius } = this.#filter;
      this.#space.run.filterResidual({
        weights: byTap, taps: offsets, radius, samples: this.#around(rows, part, radius), channels, height, width,
        residual: change,
      });
      for (let at = 0; at < size; at++) planes[at] += change[at];
    }
    const pixels = this.#arrays.pixels.subarray(0, size);
    const { perUnit: scale, middle, peak } = this.#colours;
    const basis = Float32Array.from(this.#colours.basis.flat());
    this.#space.run.planesToPixels({ planes, channels, height, width, basis, scale, middle, peak, pixels });
    if (rows.hasNoise(channels)) {
      const [count, factors, noise] = [height * width, this.#noiseFactors, this.#arrays.around.subarray(0, size)];
      for (let channel = 0; channel < channels; channel++) {
        rows.copy(channels + channel, part, noise.subarray(channel * count, (channel + 1) * count));
      }
      this.#space.run.addNoise({ noise, channels, count, factors, peak, pixels });
    }
    return pixels;
  }

  /** Copies the samples of a block and its margin, one plane per channel. */
  #around(rows, { top, left, bottom, right }, margin) {
    const seen = new Region(top - margin, left - margin, bottom + margin, right + margin);
    const size = seen.height * seen.width;
    const around = this.#arrays.around.subarray(0, this.#channels * size);
    for (let channel = 0; channel < this.#channels; channel++) {
      rows.copy(channel, seen, around.subarray(channel * size, (channel + 1) * size));
    }
    return around;
  }
}

/**
 * Computes the samples of a region.
 * @param {import("./header.js").Header} header
 * @param {Record<string, import("./weights.js").WeightArray>} arrays of the pretrained weights
 * @param {Synthesis} synthesis at least what the region is seen from
 * @param {import("./filter.js").ImageFilter|null} filter
 * @param {Region} region
 * @param {import("./kernels.js").Kernels} kernels
 * @param {Uint8ClampedArray|Uint16Array} target receives the samples [H, W, C] of the region
 * @yields {number} the finished fraction, 0..1
 */
export function* reconstruct(header, arrays, synthesis, filter, region, kernels, target) {
  const { codedChannels: channels } = header;
  const size = [Math.min(BLOCK_ROWS, even(region.height)), Math.min(BLOCK_COLUMNS, even(region.width))];
  const blocks = new BlockSynthesis(header, arrays, filter, size, kernels);
  const rows = new SampleRows(synthesis);
  const complete = new Region(0, 0, header.height, header.width);
  for (const part of blocksOf(region, size)) {
    const pixels = blocks.run(rows, part);
    const inside = part.common(region).common(complete);
    for (let y = inside.top; y < inside.bottom; y++) {
      const start = channels * ((y - part.top) * part.width + inside.left - part.left);
      const at = channels * ((y - region.top) * region.width + inside.left - region.left);
      target.set(pixels.subarray(start, start + channels * inside.width), at);
    }
    yield (part.bottom - region.top) / (region.height + CELL);
  }
}

/** Rounds a side to complete cells, also if they start before the region. */
const even = (side) => CELL * (Math.ceil(side / CELL) + 1);

/** Returns blocks of complete cells that cover a region. */
function* blocksOf(region, [rows, columns]) {
  const before = (at) => at - (at % CELL);
  for (let top = before(region.top); top < region.bottom; top += rows) {
    const bottom = Math.min(top + rows, before(region.bottom + 1));
    for (let left = before(region.left); left < region.right; left += columns) {
      yield new Region(top, left, bottom, Math.min(left + columns, before(region.right + 1)));
    }
  }
}

/** Returns the region of the linear synthesis on which the pixels of a region depend. */
export function seenFrom(region, header, reach, radius) {
  const even = new Region(
    region.top - (region.top % CELL),
    region.left - (region.left % CELL),
    region.bottom + (region.bottom % CELL),
    region.right + (region.right % CELL),
  );
  return even.grown(Math.max(CELL * reach, radius), header.height, header.width);
}
