/**
 * The decoder: converts the bytes of a .dfm file to an image.
 *
 *     const weights = await loadWeights(bytesOfWeightsBin);
 *     const image = await decode(bytesOfFile, { weights, onProgress, onPreview });
 */

import { readAlpha } from "./alpha.js";
import { MAX_MULTIPLY_ADDS, layerShapes, multiplyAdds } from "./architecture.js";
import { decodeCoordinate } from "./coordinate_model.js";
import { DfmError, allocate } from "./errors.js";
import { decodeOverfitted } from "./overfitted_model.js";
import { Region } from "./geometry.js";
import { readHeader } from "./header.js";
import { COORDINATE, MAX_PIXELS, OVERFITTED, WAVELET } from "./header_table.js";
import { ImageParts } from "./image_parts.js";
import { examine, refuseDamage, sectionOf } from "./integrity.js";
import { decodeCoarse, decodeLatents } from "./wavelet_model.js";
import { readMetadata } from "./metadata.js";
import { BIT_DEPTH as PREVIEW_BIT_DEPTH } from "./preview.js";
import { sharedKernels } from "./kernels.js";
import { inSlices } from "./slices.js";
import { decodeTogether } from "./together.js";

export { DfmError } from "./errors.js";
export { loadWeights } from "./weights.js";

const UPRIGHT = 1; // orientation of all images in .dfm files
const PREVIEW_MS = 200; // interval between previews of the same size

const DECODERS = {
  [COORDINATE]: decodeCoordinate,
  [WAVELET]: decodeLatents,
  [OVERFITTED]: decodeOverfitted,
};

/**
 * An image.
 * @typedef {object} Image
 * @property {number} width
 * @property {number} height
 * @property {1|2|3|4} channels gray, gray and alpha, RGB, RGB and alpha
 * @property {8|16} bitDepth
 * @property {Uint8Array|Uint16Array} pixels interleaved
 * @property {Uint8Array|null} icc
 * @property {Uint8Array|null} exif
 * @property {Uint8Array|null} xmp
 * @property {Uint8Array|null} cicp
 * @property {number|null} significantBits
 * @property {number} orientation always 1
 * @property {{x: number, y: number, width: number, height: number}|null} region null for all of the image
 */

/**
 * Decodes a file.
 * @param {Uint8Array} bytes
 * @param {object} options
 * @param {import("./weights.js").PretrainedWeights} options.weights
 * @param {{x: number, y: number, width: number, height: number}|null} [options.region] the rectangle to decode; its
 *   pixels are exactly those of the entire image
 * @param {number} [options.coarsePixels] decodes a reduced image from the coarse levels instead, with at most this
 *   number of pixels, 8 bits and no alpha; files of other codecs than wavelet are decoded in full
 * @param {number} [options.maxPixels] the maximum number of pixels of an image
 * @param {number} [options.maxMultiplyAdds] the maximum for the network of a coordinate codec, at all positions
 * @param {boolean} [options.texture] false to leave out the noise that replaces lost texture; previews have none
 * @param {(part: number) => void} [options.onProgress] receives the finished fraction, 0..1
 * @param {(image: Image) => void} [options.onPreview] receives reduced images with less detail; not called if a region
 *   is given
 * @param {AbortSignal} [options.signal]
 * @param {import("./together.js").Team} [options.team] workers that decode parts of images with several tiles
 * @returns {Promise<Image>}
 * @throws {DfmError} with the message of `dfm decode`
 * @throws {RangeError} the region is not within the image
 */
export async function decode(bytes, options) {
  const { weights, region = null, maxPixels = MAX_PIXELS, maxMultiplyAdds = MAX_MULTIPLY_ADDS, onPreview } = options;
  const header = readHeader(bytes, maxPixels);
  const wanted = regionOf(region, header);
  requireLimitedWork(header, wanted, maxMultiplyAdds);
  const state = examine(bytes, header);
  refuseDamage(state);
  const isCoarse = options.coarsePixels !== undefined && header.model === WAVELET;
  const alphaSection = isCoarse ? null : sectionOf(state, "alpha");
  const alpha = alphaSection ? readAlpha(alphaSection, header, wanted) : null;
  const metadata = readMetadata(sectionOf(state, "metadata"), header.bitDepth);
  const hasPreviews = Boolean(onPreview) && region === null;
  const image = (size, samples, imageAlpha) => ({
    ...withAncillary(size, samples, imageAlpha, header),
    ...metadata,
    orientation: UPRIGHT,
    region: isCoarse ? null : region,
  });
  const showPreview = (preview) => onPreview(image({ ...preview, bitDepth: PREVIEW_BIT_DEPTH }, preview.pixels, null));
  const hooks = { ...options, bytes, showPreview: hasPreviews ? notTooOften(showPreview) : undefined };
  if (isCoarse) {
    const coarse = await run(decodeCoarse(state, options.coarsePixels, weights, await sharedKernels()), hooks);
    return image({ ...coarse, bitDepth: PREVIEW_BIT_DEPTH }, coarse.pixels, null);
  }
  const samples = await samplesOf(state, wanted, weights, await sharedKernels(), hooks);
  options.onProgress?.(1);
  const { height, width } = wanted;
  return image({ height, width, channels: header.codedChannels, bitDepth: header.bitDepth }, samples, alpha);
}

/** Decodes the samples of a region, on this worker alone or with a team. */
async function samplesOf(state, region, weights, kernels, hooks) {
  const { header } = state;
  const { showPreview, team } = hooks;
  if (team && header.model === WAVELET && header.tileRows * header.tileColumns > 1) {
    return decodeTogether(new ImageParts(state, weights, kernels, hooks.texture), region, team, hooks);
  }
  return run(DECODERS[header.model](state, region, weights, kernels, Boolean(showPreview), hooks.texture), hooks);
}

/** Runs a decoder in slices and reports its progress. */
function run(decoder, { showPreview, onProgress, signal }) {
  const onStep = ({ preview }) => {
    if (preview) showPreview?.(preview);
    return Boolean(preview);
  };
  return inSlices(decoder, { onStep, onSlice: ({ part }) => onProgress?.(part), signal });
}

/** Returns a function that shows previews, with a minimum interval between previews of the same size. */
function notTooOften(showPreview) {
  let [size, shownAt] = [0, 0];
  return (preview) => {
    if (preview.pixels.length === size && performance.now() - shownAt < PREVIEW_MS) return;
    showPreview(preview);
    [size, shownAt] = [preview.pixels.length, performance.now()];
  };
}

/** Returns the requested region. */
function regionOf(region, { height, width }) {
  if (!region) return new Region(0, 0, height, width);
  const { x, y } = region;
  const wanted = new Region(y, x, y + region.height, x + region.width);
  const isComplete = [x, y, wanted.right, wanted.bottom].every(Number.isInteger);
  if (isComplete && x >= 0 && y >= 0 && !wanted.isEmpty && wanted.right <= width && wanted.bottom <= height) return wanted;
  const size = `${region.width}x${region.height} at (${x}, ${y})`;
  throw new RangeError(`the region ${size} is not within the image of ${width}x${height}`);
}

/** Throws an error if the network in the file takes too long, before it is evaluated. */
function requireLimitedWork(header, region, limit) {
  if (header.model !== COORDINATE) return;
  const each = multiplyAdds(layerShapes(header.values));
  const positions = region.height * region.width;
  if (each * positions <= limit) return;
  throw new DfmError(
    "limit",
    `the network takes ${each} multiply-adds at each of ${positions} positions, more than the limit of ${limit} ` +
      "in all; decode a region or a smaller size, or raise the limit (--max-multiply-adds) if you trust the file",
  );
}

/** Returns size and pixels of an image for display, with alpha if present. */
function withAncillary({ height, width, channels, bitDepth }, samples, alpha, header) {
  const shown = header.channels;
  const total = shown + (alpha ? 1 : 0);
  const size = { width, height, channels: total, bitDepth };
  const Type = bitDepth === 8 ? Uint8Array : Uint16Array;
  if (total === channels) return { ...size, pixels: new Type(samples.buffer, 0, samples.length) };
  const pixels = allocate(() => new Type(total * height * width));
  for (let at = 0, from = 0, pixel = 0; at < pixels.length; at += total, from += channels, pixel++) {
    for (let channel = 0; channel < shown; channel++) {
      pixels[at + channel] = samples[from + Math.min(channel, channels - 1)];
    }
    if (alpha) pixels[at + shown] = alpha[pixel];
  }
  return { ...size, pixels };
}

/**
 * Reads the header of a file without decoding the image.
 * @param {Uint8Array} bytes the file, or a prefix with the complete header
 * @param {object} [options]
 * @param {number} [options.maxPixels]
 * @returns {{width: number, height: number, bitDepth: number, channels: number, hasAlpha: boolean, model: string,
 *   formatVersion: number, orientation: number, sections: {name: string, bytes: number}[], losses: string[],
 *   fields: Record<string, number>}} channels are those without alpha; the bytes of all sections, with "container" for
 *   header, table and CRC-32, add up to the file; losses are sentences about what is missing or damaged
 * @throws {DfmError}
 */
export function inspect(bytes, { maxPixels = MAX_PIXELS } = {}) {
  const header = readHeader(bytes, maxPixels);
  const sections = [...header.sections].map(([name, { length }]) => ({ name, bytes: length }));
  const container = header.fileBytes - sections.reduce((sum, section) => sum + section.bytes, 0);
  return {
    width: header.width,
    height: header.height,
    bitDepth: header.bitDepth,
    channels: header.channels,
    hasAlpha: header.hasAlpha,
    model: header.modelName,
    formatVersion: header.values.version,
    orientation: UPRIGHT,
    sections: [{ name: "container", bytes: container }, ...sections],
    losses: examine(bytes, header).problems,
    fields: header.values,
  };
}
