/**
 * The latent model: latents of all tiles -> samples ("Model 1: latents" in docs/format.md).
 */

import { ColourTransform, samplesArray } from "./colour.js";
import { contextModelOf, withAdaptation } from "./context.js";
import { allocate } from "./errors.js";
import { readFilter } from "./filter.js";
import { Tiling } from "./geometry.js";
import { sectionOf } from "./integrity.js";
import { TileDecoder, tileStreams } from "./latents.js";
import { reachOf } from "./machine.js";
import { BIT_DEPTH as PREVIEW_BIT_DEPTH, LevelPreview, TilePreview } from "./preview.js";
import { checkLength } from "./range_coder.js";
import { reconstruct, seenFrom } from "./reconstruct.js";

const LATENTS_PART = 0.7; // of the time; the rest is for reconstruction
const FIRST_LEVEL = 3; // of the first preview of an image of several tiles
const TILES_LEVEL = 2; // of the previews that show the tiles that are done

/**
 * Decodes a region.
 * @param {import("./integrity.js").FileState} state of a whole file
 * @param {import("./geometry.js").Region} region
 * @param {import("./prior.js").Prior} prior
 * @param {import("./products.js").Products} products
 * @param {boolean} hasPreviews whether previews are to be made, of the whole image
 * @returns {Generator<{part: number, preview?: object}, Uint8ClampedArray|Uint16Array>} yields the part that is done
 *   and perhaps a preview; gives the samples [H, W, C]
 * @throws {import("./errors.js").DfmError}
 */
export function* decodeLatents(state, region, prior, products, hasPreviews) {
  const { header } = state;
  const { codedChannels: channels, values } = header;
  const arrays = prior.arraysOf(header.modelName, values.prior_id);
  const filterSection = sectionOf(state, "filter");
  const filter = filterSection ? readFilter(filterSection, channels) : null;
  const image = new LatentImage(state, arrays, products);
  const needed = seenFrom(region, header, reachOf(arrays), filter?.radius ?? 0);
  const synthesis = yield* image.synthesise(needed, hasPreviews);
  const target = samplesArray(header.bitDepth, channels * region.height * region.width);
  for (const part of reconstruct(header, arrays, synthesis, filter, region, products, target)) {
    yield { part: LATENTS_PART + (1 - LATENTS_PART) * part };
  }
  return target;
}

/** The latents of an image in tiles. */
class LatentImage {
  #header;
  #tiling;
  #streams;
  #checks;
  #model;
  #products;
  #colours;

  constructor(state, arrays, products) {
    const { header, symbolChecks } = state;
    const { levels } = header.values;
    this.#header = header;
    this.#products = products;
    this.#tiling = new Tiling(header.height, header.width, header.tileRows, header.tileColumns);
    const adaptation = sectionOf(state, "adaptation");
    const model = contextModelOf(arrays);
    this.#model = adaptation ? withAdaptation(model, adaptation, levels, header.codedChannels) : model;
    this.#streams = tileStreams(sectionOf(state, "latents"), this.#tiling.tiles.length);
    this.#checks = symbolChecks;
    this.#colours = new ColourTransform(header.values, PREVIEW_BIT_DEPTH);
  }

  /** A tile as `TileDecoder` takes it. */
  #tile(number) {
    const { height, width } = this.#tiling.tiles[number];
    const each = this.#header.values.levels + 1;
    const checks = this.#checks?.slice(number * each, (number + 1) * each) ?? null;
    return { stream: this.#streams[number], height, width, checks };
  }

  /**
   * The linear synthesis of the tiles that a region touches.
   * @returns {Generator<{part: number, preview?: object}, import("./reconstruct.js").Synthesis>}
   */
  *synthesise(region, hasPreviews) {
    const { codedChannels: channels } = this.#header;
    const { covered, numbers } = this.#tiling.covering(region);
    const tiles = numbers.map((number) => this.#tiling.tiles[number]);
    numbers.forEach((number, at) => {
      checkLength(this.#streams[number].length, channels * tiles[at].height * tiles[at].width);
    });
    const largest = [Math.max(...tiles.map(({ height }) => height)), Math.max(...tiles.map(({ width }) => width))];
    const decoder = new TileDecoder(this.#header, this.#model, this.#products, largest);
    const preview = hasPreviews ? this.#previewOf(covered, numbers.length) : null;
    if (preview && tiles.length > 1) yield* this.#firstPreview(decoder, numbers, preview);
    const planes = allocate(() => this.#newPlanes(covered));
    const pixels = covered.height * covered.width;
    let done = 0;
    for (const [at, number] of numbers.entries()) {
      const count = tiles[at].height * tiles[at].width;
      for (const step of decoder.levels(this.#tile(number))) {
        const part = (LATENTS_PART * (done + count * step.part)) / pixels;
        yield { part, preview: step.planes ? preview?.add(tiles[at], step) : undefined };
        if (step.planes && step.level === 0) paste(planes, covered, step.planes, tiles[at]);
      }
      done += count;
    }
    return { planes, region: covered };
  }

  #newPlanes({ height, width }) {
    return Array.from({ length: this.#header.codedChannels }, () => new Int32Array(height * width));
  }

  #previewOf(covered, tileCount) {
    if (tileCount === 1) return new LevelPreview(this.#colours);
    const level = Math.min(TILES_LEVEL, this.#header.values.levels);
    return new TilePreview(this.#colours, this.#header.codedChannels, covered, level);
  }

  /** Decodes the coarse levels of all tiles, which take little of the time, for a first preview. */
  *#firstPreview(decoder, numbers, preview) {
    const level = Math.min(FIRST_LEVEL, this.#header.values.levels);
    const first = preview.coarser(level);
    let image;
    for (const number of numbers) {
      for (const step of decoder.levels(this.#tile(number), level)) {
        if (step.planes) image = first.add(this.#tiling.tiles[number], step);
        yield { part: 0 };
      }
    }
    preview.startFrom(first);
    yield { part: 0, preview: image };
  }
}

/** Copies the planes of a tile into those of a region. */
function paste(planes, region, tilePlanes, tile) {
  planes.forEach((plane, channel) => {
    for (let row = 0; row < tile.height; row++) {
      const samples = tilePlanes[channel].subarray(row * tile.width, (row + 1) * tile.width);
      plane.set(samples, (tile.top - region.top + row) * region.width + tile.left - region.left);
    }
  });
}
