/**
 * The latents section: symbols of wavelet coefficients, tile after tile and coarse to fine, and their
 * linear synthesis ("Latents section" in docs/format.md).
 */

import { CausalContext, contextBytes } from "./causal_context.js";
import { bandNumber } from "./context.js";
import { crc32, littleEndianBytes } from "./crc32.js";
import { allocate, damaged } from "./errors.js";
import { ORIENTATIONS, bandSize, lowSizes } from "./geometry.js";
import { readUint32 } from "./header.js";
import { wrongSymbols } from "./integrity.js";
import { PHASES } from "./neighbourhood.js";
import { networkBytes } from "./products.js";
import { LAPLACE_COUNT, MAX_SYMBOL, RangeDecoder, laplaceTables } from "./range_coder.js";
import { bandStep, coefficientLimit, dequantize, lowStep, synthesiseLevel } from "./wavelet.js";

const LENGTH_BYTES = 4; // of the length of a tile stream
const BATCH = 8192; // symbols of a batch, unless a row has more

/**
 * Cuts the latents section into the streams of all tiles.
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
 * @property {number[]|null} checks of the low-pass band, then of the levels from the coarsest on
 */

/** The part of a tile's symbols that are decoded after a level. */
const partAfter = (level) => 4 ** -level;

/** Decodes the tiles of an image, one after the other, in one memory. */
export class TileDecoder {
  #model;
  #header;
  #context;
  #networks;

  /**
   * @param {import("./header.js").Header} header
   * @param {ReturnType<typeof import("./context.js").contextModelOf>} model with the adaptation of the image
   * @param {import("./products.js").Products} products
   * @param {[number, number]} tileSize the largest height and the largest width of a tile
   * @throws {import("./errors.js").DfmError} "limit": there is not so much memory
   */
  constructor(header, model, products, [height, width]) {
    this.#header = header;
    this.#model = model;
    const channels = header.codedChannels;
    const lowSize = lowSizes(height, width, 1)[1];
    const columns = (lowSize[1] + 1) >> 1;
    const capacity = 8 * Math.ceil(Math.max(BATCH, columns + 2) / 8);
    const weights = PHASES.map((_, phase) => model.weightsOf(phase));
    const networksBytes = weights.reduce((sum, network) => sum + networkBytes(network, capacity), 0);
    const space = products.workspace(contextBytes(lowSize, channels) + networksBytes);
    this.#context = new CausalContext(space, lowSize, channels);
    this.#networks = weights.map((network) => space.network(network, capacity));
  }

  /**
   * Decodes a tile level by level.
   * @param {Tile} tile
   * @param {number} [finestLevel] finer levels are left out
   * @yields {{part: number, level?: number, size?: [number, number], planes?: Int32Array[]}} the part of the
   *   symbols that is decoded; and after each level from the coarsest on its number and the low-pass band of each
   *   channel, that is, the samples after level 0; units
   * @throws {import("./errors.js").DfmError}
   */
  *levels(tile, finestLevel = 0) {
    const { levels, q_step: qStep } = this.#header.values;
    const sizes = lowSizes(tile.height, tile.width, levels);
    const reader = this.#readerOf(tile);
    let planes = this.#readLow(reader, tile, sizes[levels]);
    yield { part: partAfter(levels), level: levels, size: sizes[levels], planes };
    this.#context.reset();
    for (let level = levels - 1; level >= finestLevel; level--) {
      this.#context.enter(level, sizes[level + 1], planes, qStep);
      const bands = yield* this.#readLevel(reader, level, sizes[level]);
      this.#compareCheck(tile, levels - level, reader.crc, `decomposition level ${level}`);
      if (level > finestLevel) this.#context.leave(sizes[level]);
      const [height, width] = sizes[level];
      planes = planes.map((low, channel) => synthesiseLevel(low, bands[channel], height, width));
      yield { part: partAfter(level), level, size: sizes[level], planes };
    }
  }

  /** The range decoder of a tile, with the Laplace indices of its low-pass band. */
  #readerOf({ stream }) {
    const channels = this.#header.codedChannels;
    const indices = stream.subarray(0, channels);
    if (indices.length < channels || indices.some((index) => index >= LAPLACE_COUNT)) {
      throw damaged("the latents section does not start with its tables");
    }
    return { indices, coder: new RangeDecoder(stream.subarray(channels)), crc: 0 };
  }

  /** The coarsest low-pass band of each channel, units. */
  #readLow(reader, tile, [rows, columns]) {
    const { levels, q_step: qStep } = this.#header.values;
    const step = lowStep(qStep, levels);
    const limit = coefficientLimit(step);
    reader.crc = 0;
    const bands = Array.from(reader.indices, (index) => {
      const symbols = reader.coder.decodeArray(rows * columns, index, laplaceTables());
      undoDifferences(symbols, columns);
      reader.crc = crc32(littleEndianBytes(symbols), reader.crc);
      return symbols;
    });
    this.#compareCheck(tile, 0, reader.crc, "the low-pass band");
    return bands.map((symbols) => symbols.map((symbol) => dequantize(64 * symbol, step, limit)));
  }

  /** The coefficients of all bands of a level, by channel and orientation, units. */
  *#readLevel(reader, level, levelSize) {
    const channels = this.#header.codedChannels;
    const bands = [];
    reader.crc = 0;
    for (let channel = 0; channel < channels; channel++) {
      bands.push([]);
      for (let orientation = 0; orientation < ORIENTATIONS; orientation++) {
        const size = bandSize(levelSize, orientation);
        const units = allocate(() => new Int32Array(size[0] * size[1]));
        for (let phase = 0; phase < PHASES.length; phase++) {
          this.#readPass(reader, { level, channel, orientation, phase, size }, units);
        }
        bands[channel].push(units);
        const done = (channel * ORIENTATIONS + orientation + 1) / (channels * ORIENTATIONS);
        yield { part: partAfter(level + 1) + done * (partAfter(level) - partAfter(level + 1)) };
      }
    }
    return bands;
  }

  /** Decodes a coding pass, and writes its coefficients into those of the band. */
  #readPass(reader, pass, units) {
    const { channel, orientation, phase, size } = pass;
    const [y, x] = PHASES[phase];
    const shape = [(size[0] - y + 1) >> 1, (size[1] - x + 1) >> 1];
    const count = shape[0] * shape[1];
    if (count === 0) return;
    const [tables, signs] = allocate(() => [new Uint16Array(count), new Int8Array(count)]);
    this.#chooseTables(pass, shape, tables, signs);
    const [coded, symbols] = allocate(() => [new Int32Array(count), new Int32Array(count)]);
    reader.coder.decodePass(tables, this.#model.tables, coded);
    for (let at = 0; at < count; at++) symbols[at] = coded[at] * signs[at];
    reader.crc = crc32(littleEndianBytes(symbols), reader.crc);
    this.#context.accept(channel, orientation, phase, shape, symbols);
    this.#writeCoefficients(pass, shape, { multiples: symbols, coded, tables, signs }, units);
  }

  /** Chooses table and sign of each symbol of a pass, in batches of whole rows. */
  #chooseTables({ level, channel, orientation, phase }, [rows, columns], tables, signs) {
    const context = this.#context;
    const network = this.#networks[phase];
    const band = bandNumber(level, channel, orientation);
    network.setConstants(...this.#model.constantsOf(phase, level, band, this.#header.values.q_step));
    network.setSources(context.sourcesOf(channel, orientation, phase));
    const [scales, means] = network.outputs;
    const { stride } = context;
    const batchRows = Math.floor(network.capacity / stride);
    for (let first = 0; first < rows; first += batchRows) {
      const last = Math.min(rows, first + batchRows);
      network.run((last - first - 1) * stride + columns, 2 * first * stride);
      for (let row = first; row < last; row++) {
        let output = (row - first) * stride;
        for (let column = 0, at = row * columns; column < columns; column++, at++, output++) {
          tables[at] = this.#model.tableOf(scales[output], means[output], context.quantizerOf(row, column));
          signs[at] = means[output] < 0 ? -1 : 1;
        }
      }
    }
  }

  #writeCoefficients({ level, orientation, phase, size }, [rows, columns], symbols, units) {
    const { multiples, coded, tables, signs } = symbols;
    const step = bandStep(this.#header.values.q_step, level, orientation);
    const limit = coefficientLimit(step);
    const [y, x] = PHASES[phase];
    for (let row = 0, at = 0; row < rows; row++) {
      let target = (2 * row + y) * size[1] + x;
      for (let column = 0; column < columns; column++, at++, target += 2) {
        const v = 64 * multiples[at] + signs[at] * this.#model.offsetOf(tables[at], coded[at]);
        if (v !== 0) units[target] = dequantize(v, step, limit);
      }
    }
  }

  #compareCheck({ checks }, number, crc, place) {
    if (checks && checks[number] !== (crc & 0xffff)) throw wrongSymbols(place);
  }
}

/** Replaces differences from the symbol above, or in the first row from the one before, by the symbols. */
function undoDifferences(symbols, columns) {
  for (let at = 0; at < symbols.length; at++) {
    const sum = symbols[at] + (at ? symbols[at < columns ? at - 1 : at - columns] : 0);
    symbols[at] = sum;
    if (Math.abs(sum) > MAX_SYMBOL) throw damaged("the low-pass band exceeds its range");
  }
}
