/**
 * The overfitted codec: converts latent grids to samples ("Model 3: overfitted codec" in docs/format.md).
 */

import { roundingOf, samplesArray } from "./colour.js";
import { checkOf, littleEndianBytes } from "./crc32.js";
import { decodeGrids, gridSizes } from "./overfitted/grids.js";
import { readNetworks } from "./overfitted/networks.js";
import { OverfittedWeights } from "./overfitted/weights.js";
import { stepOf, synthesiseBlocks } from "./overfitted/synthesis.js";
import { Region } from "./geometry.js";
import { sectionOf, wrongSymbols } from "./integrity.js";
import { BIT_DEPTH as PREVIEW_BIT_DEPTH, LEAST_PIXELS, emptyPreview } from "./preview.js";

const GRIDS_FRACTION = 0.7; // fraction of the time; the rest is for the synthesis

/**
 * Decodes a region.
 * @param {import("./integrity.js").FileState} state of an intact file
 * @param {Region} region
 * @param {import("./weights.js").PretrainedWeights} weights
 * @param {import("./kernels.js").Kernels} kernels
 * @param {boolean} hasPreviews whether to create previews of the entire image
 * @returns {Generator<{part: number, preview?: object}, Uint8ClampedArray|Uint16Array>} yields the finished fraction
 *   and sometimes a preview; returns the samples [H, W, C]
 * @throws {import("./errors.js").DfmError}
 */
export function* decodeOverfitted(state, region, weights, kernels, hasPreviews) {
  const { height, width, modelName, values, bitDepth, codedChannels } = state.header;
  const { synthesis, context } = readNetworks(
    new OverfittedWeights(weights.arraysOf(modelName, values.weights_id)),
    sectionOf(state, "networks"),
  );
  const image = { sizes: gridSizes(height, width), synthesis, step: stepOf(values.lmbda_code), grids: [] };
  const file = { height, width, section: sectionOf(state, "grids") };
  for (const { done, level, grids } of decodeGrids(file, context, kernels)) {
    image.grids = grids;
    const isShown = hasPreviews && level && image.sizes[level][0] * image.sizes[level][1] >= LEAST_PIXELS;
    yield { part: GRIDS_FRACTION * done, preview: isShown ? previewOf(image, level, codedChannels, kernels) : undefined };
  }
  compareChecks(image.grids, state.symbolChecks);
  const target = samplesArray(bitDepth, codedChannels * region.height * region.width);
  const writer = new ColourWriter(target, region, codedChannels, bitDepth);
  for (const block of synthesiseBlocks({ ...image, region }, kernels)) {
    writer.write(block);
    yield { part: GRIDS_FRACTION + (1 - GRIDS_FRACTION) * ((block.top + block.rows - region.top) / (region.height + 1)) };
  }
  return target;
}

/** Creates a reduced image from the grids starting with a level. */
function previewOf(image, level, channels, kernels) {
  const [height, width] = image.sizes[level];
  const preview = emptyPreview(height, width, channels);
  const writer = new ColourWriter(preview.pixels, new Region(0, 0, height, width), channels, PREVIEW_BIT_DEPTH);
  for (const block of synthesiseBlocks({ ...image, level }, kernels)) writer.write(block);
  return preview;
}

/** Compares the symbols of all grids with their checks, from coarsest to finest. */
function compareChecks(grids, checks) {
  if (!checks) return;
  const last = grids.length - 1;
  const wrong = checks.findIndex((check, at) => check !== checkOf(littleEndianBytes(grids[last - at])));
  if (wrong >= 0) throw wrongSymbols(`grid ${last - wrong}`);
}

/** Converts colours in 0..1 to samples of a region; gray is their mean. */
class ColourWriter {
  #target;
  #region;
  #channels;
  #peak;
  #round;

  constructor(target, region, channels, bitDepth) {
    this.#target = target;
    this.#region = region;
    this.#channels = channels;
    this.#peak = 2 ** bitDepth - 1;
    this.#round = roundingOf(bitDepth);
  }

  /** Writes a block of `synthesiseBlocks`. */
  write({ top, left, rows, columns, stride, colours }) {
    for (let row = 0; row < rows; row++) {
      const at = (top + row - this.#region.top) * this.#region.width + left - this.#region.left;
      if (this.#channels === 1) this.#writeGray(colours, row * stride, columns, at);
      else this.#writeColour(colours, row * stride, columns, 3 * at);
    }
  }

  #writeGray([red, green, blue], start, count, at) {
    const [target, round, scale] = [this.#target, this.#round, this.#peak / 3];
    for (let n = start; n < start + count; n++, at++) {
      target[at] = round(scale * (finite(red[n]) + finite(green[n]) + finite(blue[n])));
    }
  }

  #writeColour([red, green, blue], start, count, at) {
    const [target, round, peak] = [this.#target, this.#round, this.#peak];
    for (let n = start; n < start + count; n++, at += 3) {
      target[at] = round(peak * finite(red[n]));
      target[at + 1] = round(peak * finite(green[n]));
      target[at + 2] = round(peak * finite(blue[n]));
    }
  }
}

const LARGEST_COLOUR = 2 ** 16; // only damaged or hostile files exceed this

/** Limits a colour, because infinities could cancel to NaN. NaN becomes 0. */
function finite(colour) {
  if (colour > LARGEST_COLOUR) return LARGEST_COLOUR;
  if (colour >= -LARGEST_COLOUR) return colour;
  return colour < 0 ? -LARGEST_COLOUR : 0;
}
