/**
 * A wavelet codec image in independent parts: tiles of coefficients become samples, and blocks of samples become
 * pixels. A single worker processes all parts; several workers share them (`together.js`).
 */

import { samplesArray } from "./colour.js";
import { contextModelOf, withAdaptation } from "./context.js";
import { allocate } from "./errors.js";
import { readFilter } from "./filter.js";
import { Tiling } from "./geometry.js";
import { readHeader } from "./header.js";
import { MAX_PIXELS } from "./header_table.js";
import { examine, sectionOf } from "./integrity.js";
import { TileDecoder, tileStreams } from "./latents.js";
import { correctionOf } from "./correction.js";
import { sharedKernels } from "./kernels.js";
import { checkLength } from "./range_coder.js";
import { reconstruct, seenFrom } from "./reconstruct.js";
import { readTexture } from "./texture.js";

export class ImageParts {
  #arrays;
  #filter;
  #streams;
  #checks;
  #model;
  #kernels;
  #texture;
  /** @type {TileDecoder|null} */
  #decoder = null;

  /**
   * @param {import("./integrity.js").FileState} state of an intact file
   * @param {import("./weights.js").PretrainedWeights} weights
   * @param {import("./kernels.js").Kernels} kernels
   * @param {boolean} [hasTexture] whether noise replaces lost texture, if the file has a texture
   * @throws {import("./errors.js").DfmError}
   */
  constructor(state, weights, kernels, hasTexture = true) {
    const { header, symbolChecks } = state;
    this.header = header;
    this.tiling = new Tiling(header.height, header.width, header.tileRows, header.tileColumns);
    this.#arrays = weights.arraysOf(header.modelName, header.values.weights_id);
    const filterSection = sectionOf(state, "filter");
    this.#filter = filterSection ? readFilter(filterSection, header.codedChannels) : null;
    const textureSection = sectionOf(state, "texture");
    const texture = textureSection ? readTexture(textureSection, header.height, header.width, header.codedChannels) : null;
    this.#texture = hasTexture ? texture : null;
    const adaptation = sectionOf(state, "adaptation");
    const model = contextModelOf(this.#arrays);
    const { levels } = header.values;
    this.#model = adaptation ? withAdaptation(model, adaptation, levels, header.codedChannels) : model;
    this.#streams = tileStreams(sectionOf(state, "latents"), this.tiling.tiles.length);
    this.#checks = symbolChecks;
    this.#kernels = kernels;
  }

  /** The number of planes of a synthesis: of each channel, and of the noise of a texture. */
  get planeCount() {
    return this.header.codedChannels * (this.#texture ? 2 : 1);
  }

  /** Throws an error for tiles with streams that are too short, before decoding. */
  checkLengths(numbers) {
    for (const number of numbers) {
      const { height, width } = this.tiling.tiles[number];
      checkLength(this.#streams[number].length, this.header.codedChannels * height * width);
    }
  }

  /** Returns the region of the linear synthesis on which the pixels of a region depend. */
  seenFrom(region) {
    return seenFrom(region, this.header, correctionOf(this.#arrays).reach, this.#filter?.radius ?? 0);
  }

  /** Decodes a tile level by level; see `TileDecoder.levels`. */
  tile(number, finestLevel = 0) {
    const longest = () => Math.max(...this.#streams.map((stream) => stream.length));
    const ofImage = () => [this.#kernels, this.tiling.largest(), longest(), this.#texture];
    this.#decoder ??= new TileDecoder(this.header, this.#model, ...ofImage());
    const { height, width, top, left } = this.tiling.tiles[number];
    const each = this.header.values.levels + 1;
    const checks = this.#checks?.slice(number * each, (number + 1) * each) ?? null;
    return this.#decoder.levels({ stream: this.#streams[number], height, width, top, left, checks }, finestLevel);
  }

  /**
   * Computes the pixels of a region.
   * @param {import("./reconstruct.js").Synthesis} synthesis at least what the region is seen from
   * @param {import("./geometry.js").Region} region
   * @returns {Generator<number, Uint8ClampedArray|Uint16Array>} yields the finished fraction, 0..1; returns the samples
   *   [H, W, C]
   */
  *block(synthesis, region) {
    const { codedChannels: channels, bitDepth } = this.header;
    const target = samplesArray(bitDepth, channels * region.height * region.width);
    yield* reconstruct(this.header, this.#arrays, synthesis, this.#filter, region, this.#kernels, target);
    return target;
  }
}

/**
 * Creates the parts of a file, for a worker that helps another one.
 * @param {Uint8Array} bytes
 * @param {{ weights: import("./weights.js").PretrainedWeights, maxPixels?: number, texture?: boolean }} options
 * @returns {Promise<ImageParts>}
 * @throws {import("./errors.js").DfmError}
 */
export async function openParts(bytes, { weights, maxPixels = MAX_PIXELS, texture }) {
  return new ImageParts(examine(bytes, readHeader(bytes, maxPixels)), weights, await sharedKernels(), texture);
}

/** Allocates empty planes for a region of an image. @returns {import("./reconstruct.js").Synthesis} */
export function emptySynthesis(region, planeCount) {
  const size = region.height * region.width;
  return { planes: allocate(() => Array.from({ length: planeCount }, () => new Int32Array(size))), region };
}

/** Returns all planes of a step of `TileDecoder.levels`: of the channels, and of the noise of a texture. */
export const allPlanes = ({ planes, noise }) => (noise ? [...planes, ...noise] : planes);

/** Copies the planes of a tile into those of a region. */
export function paste({ planes, region }, tilePlanes, tile) {
  const inside = region.common(tile);
  planes.forEach((plane, channel) => {
    for (let row = inside.top; row < inside.bottom; row++) {
      const from = (row - tile.top) * tile.width + inside.left - tile.left;
      const samples = tilePlanes[channel].subarray(from, from + inside.width);
      plane.set(samples, (row - region.top) * region.width + inside.left - region.left);
    }
  });
}
