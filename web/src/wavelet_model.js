/**
 * The wavelet codec: converts the latents section of all tiles to samples ("Model 1: latents" in docs/format.md).
 */

import { ImageParts, allPlanes, emptySynthesis, paste } from "./image_parts.js";
import { FIRST_PIXELS, mosaicOf, previewsOf } from "./preview.js";

export const LATENTS_FRACTION = 0.7; // fraction of the time; the rest is for reconstruction

/**
 * Decodes a region.
 * @param {import("./integrity.js").FileState} state of an intact file
 * @param {import("./geometry.js").Region} region
 * @param {import("./weights.js").PretrainedWeights} weights
 * @param {import("./kernels.js").Kernels} kernels
 * @param {boolean} hasPreviews whether to create previews of the entire image; they have no texture
 * @param {boolean} [hasTexture] whether noise replaces lost texture, if the file has a texture
 * @returns {Generator<{part: number, preview?: object}, Uint8ClampedArray|Uint16Array>} yields the finished fraction
 *   and sometimes a preview; returns the samples [H, W, C]
 * @throws {import("./errors.js").DfmError}
 */
export function* decodeLatents(state, region, weights, kernels, hasPreviews, hasTexture) {
  const parts = new ImageParts(state, weights, kernels, hasTexture);
  const { tiles } = parts.tiling;
  const { covered, numbers } = parts.tiling.covering(parts.seenFrom(region));
  parts.checkLengths(numbers);
  const previews = hasPreviews ? previewsOf(parts.header, covered, numbers.length) : null;
  if (previews?.first) {
    yield* coarseRound(parts, numbers, previews.first);
    yield { part: 0, preview: previews.start() };
  }
  const synthesis = emptySynthesis(covered, parts.planeCount);
  const pixels = covered.height * covered.width;
  let done = 0;
  for (const number of numbers) {
    const tile = tiles[number];
    const count = tile.height * tile.width;
    for (const step of parts.tile(number)) {
      const part = (LATENTS_FRACTION * (done + count * step.part)) / pixels;
      yield { part, preview: step.planes ? previews?.add(tile, step) : undefined };
      if (step.planes && step.level === 0) paste(synthesis, allPlanes(step), tile);
    }
    done += count;
  }
  const block = parts.block(synthesis, region);
  for (;;) {
    const { done: isDone, value } = block.next();
    if (isDone) return value;
    yield { part: LATENTS_FRACTION + (1 - LATENTS_FRACTION) * value };
  }
}

/**
 * Decodes a reduced image from the coarse levels, without texture.
 * @param {import("./integrity.js").FileState} state of an intact file
 * @param {number} mostPixels see `mosaicOf`
 * @param {import("./weights.js").PretrainedWeights} weights
 * @param {import("./kernels.js").Kernels} kernels
 * @returns {Generator<{part: number, preview?: object}, import("./preview.js").PreviewImage>} yields the finished
 *   fraction, a smaller image first, and the current image after each tile; returns the image
 * @throws {import("./errors.js").DfmError}
 */
export function* decodeCoarse(state, mostPixels, weights, kernels) {
  const parts = new ImageParts(state, weights, kernels, false);
  const { tiles } = parts.tiling;
  const numbers = [...tiles.keys()];
  parts.checkLengths(numbers);
  const mosaic = mosaicOf(parts.header, mostPixels);
  const first = mosaicOf(parts.header, Math.min(mostPixels, FIRST_PIXELS));
  if (first.level > mosaic.level) {
    yield* coarseRound(parts, numbers, first);
    mosaic.startFrom(first);
    yield { part: 0, preview: first.image };
  }
  for (const [number, tile] of tiles.entries()) {
    for (const step of parts.tile(number, mosaic.level)) {
      if (step.planes) mosaic.add(tile, step);
      yield { part: number / tiles.length };
    }
    yield { part: (number + 1) / tiles.length, preview: mosaic.image };
  }
  return mosaic.image;
}

/**
 * Fills a mosaic of a coarse level, which takes a small fraction of the time.
 * @param {ImageParts} parts
 * @param {number[]} numbers of the tiles
 * @param {import("./preview.js").Mosaic} mosaic
 */
function* coarseRound(parts, numbers, mosaic) {
  for (const number of numbers) {
    for (const step of parts.tile(number, mosaic.level)) {
      if (step.planes) mosaic.add(parts.tiling.tiles[number], step);
      yield { part: 0 };
    }
  }
}
