/**
 * The latents section of the wavelet codec: symbols of wavelet coefficients, tile by tile from coarse to fine, and
 * their linear synthesis ("Latents section" in docs/format.md).
 */

import { CausalContext, contextBytes } from "./causal_context.js";
import { crc32, littleEndianBytes } from "./crc32.js";
import { damaged } from "./errors.js";
import { ORIENTATIONS, bandSize, lowSizes } from "./geometry.js";
import { readUint32 } from "./header.js";
import { wrongSymbols } from "./integrity.js";
import { bytesOfArrays, tableBytes } from "./kernels.js";
import { PHASES } from "./neighbourhood.js";
import { LAPLACE_COUNT, MAX_SYMBOL, RangeDecoder, laplaceTables } from "./range_coder.js";
import { TileNoise, noiseBytes } from "./texture.js";
import { coefficientLimit, dequantize, lowStep } from "./wavelet.js";

const LENGTH_BYTES = 4; // size of the length of a tile stream

/**
 * Splits the latents section into the streams of all tiles.
 * @param {Uint8Array} body
 * @param {number} count the number of tiles
 * @returns {Uint8Array[]}
 * @throws {import("./errors.js").DfmError}
 */
export function tileStreams(body, count) {
  if (count === 1) return [body];
  let start = LENGTH_BYTES * count;
  const isLongEnough = body.length >= start;
  const lengths = Array.from({ length: isLongEnough ? count : 0 }, (_, at) => readUint32(body, LENGTH_BYTES * at));
  if (!isLongEnough || lengths.reduce((sum, length) => sum + length, start) !== body.length) {
    throw damaged("the lengths of the tiles do not add up to the latents section");
  }
  return lengths.map((length) => {
    start += length;
    return body.subarray(start - length, start);
  });
}

/**
 * A tile of an image.
 * @typedef {object} Tile
 * @property {Uint8Array} stream
 * @property {number} height
 * @property {number} width
 * @property {number} top the row of its first pixel
 * @property {number} left its column
 * @property {number[]|null} checks of the low-pass band, then of the levels from the coarsest on
 */

/** Returns the fraction of a tile's symbols that are decoded after a level. */
const partAfter = (level) => 4 ** -level;

/** Decoder of the tiles of an image, one after another in the same memory. */
export class TileDecoder {
  #model;
  #header;
  #space;
  #context;
  #tables;
  #words;
  #pass;
  #images;
  /** @type {TileNoise|null} */
  #noise = null;

  /**
   * @param {import("./header.js").Header} header
   * @param {ReturnType<typeof import("./context.js").contextModelOf>} model with the adaptation of the image
   * @param {import("./kernels.js").Kernels} kernels
   * @param {[number, number]} tileSize the maximum height and maximum width of a tile
   * @param {number} streamBytes of the longest stream of a tile
   * @param {import("./texture.js").Texture|null} texture
   * @throws {import("./errors.js").DfmError} "limit": memory is insufficient
   */
  constructor(header, model, kernels, [height, width], streamBytes, texture) {
    this.#header = header;
    this.#model = model;
    const channels = header.codedChannels;
    const sizes = lowSizes(height, width, 2);
    const areas = sizes.map(([rows, columns]) => channels * rows * columns);
    const longest = Math.ceil(sizes[1][0] / 2) * Math.ceil(sizes[1][1] / 2); // of a pass
    const passes = [longest, 2 * longest, ...Array(4).fill(4 * longest)];
    const arrays = tableBytes(model.tables) + bytesOfArrays([streamBytes, ...passes, 4 * areas[0], 4 * areas[1]]);
    const [lowRows, lowColumns] = lowSizes(height, width, header.values.levels).at(-1);
    const callBytes = 64 * (height + width) + 16 * lowRows * lowColumns + 4 * longest; // some arrays are copied
    const noise = texture ? noiseBytes(sizes, channels) : 0;
    const space = kernels.workspace(contextBytes(sizes[1], channels) + arrays + noise, callBytes + noise / 8);
    const int32 = (length) => space.array(Int32Array, length);
    this.#space = space;
    this.#context = new CausalContext(space, sizes[1], channels, header.values.q_step);
    this.#tables = space.tables(model.tables);
    this.#words = space.array(Uint32Array, streamBytes >> 2);
    this.#pass = {
      quantizers: space.array(Int8Array, longest),
      tables: space.array(Int16Array, longest),
      signs: int32(longest),
      coded: int32(longest),
      symbols: int32(longest),
      order: int32(longest),
    };
    // Level images: level 0 and every second one in the first array, the others in the second.
    this.#images = [int32(areas[0]), int32(areas[1])];
    if (texture) this.#noise = new TileNoise(texture, space, sizes, channels);
  }

  /**
   * Decodes a tile level by level.
   * @param {Tile} tile
   * @param {number} [finestLevel] finer levels are not decoded
   * @yields {{part: number, level?: number, size?: [number, number], planes?: Int32Array[], noise?: Int32Array[]|null}}
   *   the decoded fraction of the symbols; and after each level, from the coarsest on, its number and the low-pass band
   *   of each channel (the samples after level 0) in units; after level 0 also the noise of a texture. The next step
   *   overwrites them.
   * @throws {import("./errors.js").DfmError}
   */
  *levels(tile, finestLevel = 0) {
    const { levels } = this.#header.values;
    const sizes = lowSizes(tile.height, tile.width, levels);
    const reader = this.#readerOf(tile);
    let planes = this.#planesOf(levels, sizes[levels]);
    this.#readLow(reader, tile, sizes[levels], planes);
    yield { part: partAfter(levels), level: levels, size: sizes[levels], planes };
    this.#context.reset();
    this.#noise?.start([tile.top, tile.left], sizes);
    for (let level = levels - 1; level >= finestLevel; level--) {
      this.#context.enter(level, sizes[level], sizes[level + 1], planes);
      this.#noise?.enter(level);
      yield* this.#readLevel(reader, level, sizes[level]);
      this.#compareCheck(tile, levels - level, reader.crc, `decomposition level ${level}`);
      if (level > finestLevel) this.#context.leave();
      const low = planes;
      planes = this.#planesOf(level, sizes[level]);
      planes.forEach((plane, channel) => this.#context.synthesise(channel, low[channel], plane));
      const noise = this.#noise?.leave(level) ?? null;
      yield { part: partAfter(level), level, size: sizes[level], planes, noise };
    }
  }

  /** Allocates the image of a level, one plane per channel. @returns {Int32Array[]} */
  #planesOf(level, [rows, columns]) {
    const size = rows * columns;
    return Array.from({ length: this.#header.codedChannels }, (_, channel) =>
      this.#images[level & 1].subarray(channel * size, (channel + 1) * size),
    );
  }

  /** Creates the range decoder of a tile, with the Laplace indices of its low-pass band. */
  #readerOf({ stream, checks }) {
    const channels = this.#header.codedChannels;
    const indices = stream.subarray(0, channels);
    if (indices.length < channels || indices.some((index) => index >= LAPLACE_COUNT)) {
      throw damaged("the latents section does not start with its tables");
    }
    const readerOf = (words) => {
      const kept = this.#words.subarray(0, words.length);
      kept.set(words);
      return this.#space.reader(kept);
    };
    const coder = new RangeDecoder(stream.subarray(channels), readerOf, this.#pass.order);
    return { indices, coder, crc: 0, isChecked: checks !== null };
  }

  /** Decodes the coarsest low-pass band of each channel, in units. */
  #readLow(reader, tile, [rows, columns], planes) {
    const { levels, q_step: qStep } = this.#header.values;
    const step = lowStep(qStep, levels);
    const limit = coefficientLimit(step);
    reader.crc = 0;
    const bands = Array.from(reader.indices, (index) => {
      const symbols = reader.coder.decodeArray(rows * columns, index, laplaceTables());
      undoDifferences(symbols, columns);
      addToCheck(reader, symbols);
      return symbols;
    });
    this.#compareCheck(tile, 0, reader.crc, "the low-pass band");
    bands.forEach((symbols, channel) => {
      planes[channel].set(symbols.map((symbol) => dequantize(64 * symbol, step, limit)));
    });
  }

  /** Decodes the symbols of a level. */
  *#readLevel(reader, level, levelSize) {
    const channels = this.#header.codedChannels;
    reader.crc = 0;
    for (let channel = 0; channel < channels; channel++) {
      for (let orientation = 0; orientation < ORIENTATIONS; orientation++) {
        const size = bandSize(levelSize, orientation);
        for (let phase = 0; phase < PHASES.length; phase++) {
          this.#readPass(reader, { level, channel, orientation, phase }, size);
        }
        const done = (channel * ORIENTATIONS + orientation + 1) / (channels * ORIENTATIONS);
        yield { part: partAfter(level + 1) + done * (partAfter(level) - partAfter(level + 1)) };
      }
    }
  }

  /** Decodes a coding pass. */
  #readPass(reader, pass, size) {
    const [y, x] = PHASES[pass.phase];
    const shape = [(size[0] - y + 1) >> 1, (size[1] - x + 1) >> 1];
    const count = shape[0] * shape[1];
    if (count === 0) return;
    const arrays = Object.entries(this.#pass).map(([name, array]) => [name, array.subarray(0, count)]);
    const { quantizers, tables, signs, coded, symbols } = Object.fromEntries(arrays);
    const { q_step: qStep } = this.#header.values;
    this.#context.fillQuantizers(shape, quantizers);
    this.#model.chooseTables(this.#space.run, this.#context, pass, shape, qStep, { quantizers, tables, signs });
    reader.coder.decodePass(tables, this.#tables, coded);
    for (let at = 0; at < count; at++) symbols[at] = coded[at] * signs[at];
    addToCheck(reader, symbols);
    this.#noise?.accept(pass, shape, symbols);
    this.#context.accept(pass, shape, symbols, tables, signs, this.#model.offsets);
  }

  #compareCheck({ checks }, number, crc, place) {
    if (checks && checks[number] !== (crc & 0xffff)) throw wrongSymbols(place);
  }
}

/** Updates the checksum of symbols, if there is one to compare with. */
function addToCheck(reader, symbols) {
  if (reader.isChecked) reader.crc = crc32(littleEndianBytes(symbols), reader.crc);
}

/** Replaces differences by symbols. The reference is the symbol above, or in the first row the previous one. */
function undoDifferences(symbols, columns) {
  for (let at = 0; at < symbols.length; at++) {
    const sum = symbols[at] + (at ? symbols[at < columns ? at - 1 : at - columns] : 0);
    symbols[at] = sum;
    if (Math.abs(sum) > MAX_SYMBOL) throw damaged("the low-pass band exceeds its range");
  }
}
