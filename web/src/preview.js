/**
 * Small images of what is decoded so far: low-pass bands look like the image, with less detail.
 */

import { samplesArray } from "./colour.js";

export const BIT_DEPTH = 8;
export const LEAST_PIXELS = 64; // of a preview that is worth showing

/**
 * A preview: samples of 8 bits.
 * @typedef {{height: number, width: number, channels: number, pixels: Uint8ClampedArray}} PreviewImage
 */

/** A preview with nothing in it. @returns {PreviewImage} */
export function emptyPreview(height, width, channels) {
  return { height, width, channels, pixels: samplesArray(BIT_DEPTH, channels * height * width) };
}

/** Previews of an image that is one tile: each low-pass band as it is. */
export class LevelPreview {
  #colours;

  /** @param {import("./colour.js").ColourTransform} colours for 8 bits */
  constructor(colours) {
    this.#colours = colours;
  }

  /**
   * @param {import("./geometry.js").Region} _tile
   * @param {{level: number, size: [number, number], planes: Int32Array[]}} step of `TileDecoder.levels`
   * @returns {PreviewImage|undefined} the preview, if there is a new one
   */
  add(_tile, { level, size: [height, width], planes }) {
    if (level === 0 || height * width < LEAST_PIXELS) return undefined;
    const preview = emptyPreview(height, width, planes.length);
    this.#colours.write(planes, 0, height * width, preview.pixels, 0);
    return preview;
  }
}

/** Previews of an image in tiles, at the size of the low-pass bands after one level. */
export class TilePreview {
  #colours;
  #covered;
  #level;
  #image;

  /**
   * @param {import("./colour.js").ColourTransform} colours for 8 bits
   * @param {number} channels 1 or 3
   * @param {import("./geometry.js").Region} covered the rectangle of the tiles; it starts at a multiple of 2^level
   * @param {number} level
   */
  constructor(colours, channels, covered, level) {
    this.#colours = colours;
    this.#covered = covered;
    this.#level = level;
    const [height, width] = [covered.height, covered.width].map((side) => Math.ceil(side / 2 ** level));
    this.#image = emptyPreview(height, width, channels);
  }

  /** The same at a coarser level, with nothing in it. */
  coarser(level) {
    return new TilePreview(this.#colours, this.#image.channels, this.#covered, level);
  }

  /** Fills the image with that of a coarser preview. */
  startFrom(coarser) {
    const { height, width, channels, pixels } = this.#image;
    const source = coarser.#image;
    const shift = coarser.#level - this.#level;
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = channels * ((y >> shift) * source.width + (x >> shift));
        for (let channel = 0; channel < channels; channel++) pixels[at++] = source.pixels[from + channel];
      }
    }
  }

  /**
   * Adds a tile when its level is decoded.
   * @param {import("./geometry.js").Region} tile
   * @param {{level: number, size: [number, number], planes: Int32Array[]}} step of `TileDecoder.levels`
   * @returns {PreviewImage|undefined} the preview, if it has changed
   */
  add(tile, { level, size: [rows, columns], planes }) {
    if (level !== this.#level) return undefined;
    const { width, channels, pixels } = this.#image;
    const [top, left] = [tile.top - this.#covered.top, tile.left - this.#covered.left].map((at) => at >> level);
    for (let row = 0; row < rows; row++) {
      this.#colours.write(planes, row * columns, columns, pixels, channels * ((top + row) * width + left));
    }
    return this.#image;
  }
}
