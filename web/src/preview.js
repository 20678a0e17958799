/**
 * Reduced images of the decoded part: low-pass bands show the image with less detail.
 */

import { ColourTransform, samplesArray } from "./colour.js";
import { Region } from "./geometry.js";

export const BIT_DEPTH = 8;
export const LEAST_PIXELS = 64; // minimum size of a useful preview
// Levels of the first preview of an image with several tiles: the finest that is small enough is
// used.
const FIRST_LEVELS = [3, 4, 5];
export const FIRST_PIXELS = 1 << 16;
const TILES_LEVEL = 2; // level of the previews that show finished tiles

/**
 * A preview: samples of 8 bits.
 * @typedef {{height: number, width: number, channels: number, pixels: Uint8ClampedArray}} PreviewImage
 */

/** Allocates an empty preview. @returns {PreviewImage} */
export function emptyPreview(height, width, channels) {
  return { height, width, channels, pixels: samplesArray(BIT_DEPTH, channels * height * width) };
}

/**
 * Creates the previews of an image whose tiles are being decoded.
 * @param {import("./header.js").Header} header
 * @param {import("./geometry.js").Region} covered the rectangle of the tiles
 * @param {number} tileCount
 * @returns {LevelPreviews|TilePreviews}
 */
export function previewsOf(header, covered, tileCount) {
  const colours = new ColourTransform(header.values, BIT_DEPTH);
  return tileCount === 1 ? new LevelPreviews(colours) : new TilePreviews(colours, header, covered);
}

/**
 * Creates a reduced image of all tiles.
 * @param {import("./header.js").Header} header
 * @param {number} mostPixels the maximum size, if the levels of the image allow it
 * @returns {Mosaic} with nothing in it
 */
export function mosaicOf(header, mostPixels) {
  const { height, width, values, codedChannels } = header;
  let level = 0;
  while (level < values.levels && Math.ceil(height / 2 ** level) * Math.ceil(width / 2 ** level) > mostPixels) level++;
  const colours = new ColourTransform(values, BIT_DEPTH);
  return new Mosaic(colours, codedChannels, new Region(0, 0, height, width), level);
}

/** Previews of an image with a single tile: each low-pass band. */
class LevelPreviews {
  #colours;
  first = null;

  /** @param {ColourTransform} colours for 8 bits */
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

/**
 * Previews of an image with several tiles: one from coarse levels, which take little time, then the tiles as they are
 * decoded.
 */
class TilePreviews {
  #tiles;

  constructor(colours, header, covered) {
    const { codedChannels: channels, values } = header;
    const isSmall = (level) => (covered.height * covered.width) / 4 ** level <= FIRST_PIXELS;
    const firstLevel = FIRST_LEVELS.find(isSmall) ?? FIRST_LEVELS.at(-1);
    /** The first preview. @type {Mosaic} */
    this.first = new Mosaic(colours, channels, covered, Math.min(firstLevel, values.levels));
    this.#tiles = new Mosaic(colours, channels, covered, Math.min(TILES_LEVEL, values.levels));
  }

  /** The level of the tiles in `add`. */
  get level() {
    return this.#tiles.level;
  }

  /** Returns the first preview when it has all tiles. @returns {PreviewImage} */
  start() {
    this.#tiles.startFrom(this.first);
    return this.first.image;
  }

  /** Adds a tile. @returns {PreviewImage|undefined} the preview, if it has changed */
  add(tile, step) {
    return this.#tiles.add(tile, step);
  }
}

/** An image composed of tiles, with the size of the low-pass bands after one level. */
export class Mosaic {
  #colours;
  #covered;

  /**
   * @param {ColourTransform} colours for 8 bits
   * @param {number} channels 1 or 3
   * @param {import("./geometry.js").Region} covered the rectangle of the tiles; it starts at a multiple of 2^level
   * @param {number} level
   */
  constructor(colours, channels, covered, level) {
    this.#colours = colours;
    this.#covered = covered;
    this.level = level;
    const [height, width] = [covered.height, covered.width].map((side) => Math.ceil(side / 2 ** level));
    this.image = emptyPreview(height, width, channels);
  }

  /** Fills it with the contents of a coarser one. */
  startFrom(coarser) {
    const { height, width, channels, pixels } = this.image;
    const source = coarser.image;
    const shift = coarser.level - this.level;
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
   * @returns {PreviewImage|undefined} the image, if it has changed
   */
  add(tile, { level, size: [rows, columns], planes }) {
    if (level !== this.level) return undefined;
    const { width, channels, pixels } = this.image;
    const [top, left] = [tile.top - this.#covered.top, tile.left - this.#covered.left].map((at) => at >> level);
    for (let row = 0; row < rows; row++) {
      this.#colours.write(planes, row * columns, columns, pixels, channels * ((top + row) * width + left));
    }
    return this.image;
  }
}
