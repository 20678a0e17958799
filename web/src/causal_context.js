/**
 * What is decoded of a tile so far: it gives the features of each coding pass and takes its symbols
 * ("Trellis" and "Context of a symbol" in docs/format.md).
 *
 * All numbers that are features lie in planes of 16-bit integers in the memory of `products.js`. A
 * plane has a number for each cell of 2x2 symbols, so the symbols of a pass, which are one phase of
 * a band, see contiguous parts of planes. Planes of symbols have a border of one cell of zeros; the
 * distance between rows, the stride, is that of the columns of cells with their border in all planes.
 */

import { allocate } from "./errors.js";
import { ORIENTATIONS, bandSize } from "./geometry.js";
import { COMPANDED, LOW_COUNTS, LOW_OFFSETS, PHASES, SQUARE, WINDOWS, compand, phaseAt } from "./neighbourhood.js";
import { bandStep } from "./wavelet.js";

const BORDER = 1; // cells
const READ_BEYOND = 16; // numbers that a block of symbols may read beyond the last plane
const BYTES = 2; // of a number
const PHASE_COUNT = PHASES.length;
const LOW_REACH = 2; // of differences in the low-pass band
const LAST_MAGNITUDE = COMPANDED.length - 1;
/** The next state from a state and the parity of the symbol, as 2 * state + parity. */
const NEXT_STATE = Uint8Array.of(0, 2, 5, 7, 1, 3, 6, 4, 2, 0, 4, 6, 3, 1, 7, 5);

const cellsOf = ([height, width]) => [(height + 1) >> 1, (width + 1) >> 1];
const strideOf = (columns) => columns + 2 * BORDER;
const planeLength = ([rows, columns]) => (rows + 2 * BORDER) * strideOf(columns);

/** How many planes of each sort a tile has. */
function planeCounts(channels) {
  return {
    symbols: channels * ORIENTATIONS * PHASE_COUNT,
    coarser: channels * ORIENTATIONS,
    differences: channels * PHASE_COUNT * LOW_OFFSETS.length,
  };
}

/** The numbers of all planes of a tile whose finest level has bands of at most this many cells. */
function planeNumbers(cells, channels) {
  const { symbols, coarser, differences } = planeCounts(channels);
  return (symbols + coarser + differences) * planeLength(cells) + READ_BEYOND;
}

/** The bytes that the context of a tile takes in a workspace, from the size of its finest low-pass band. */
export function contextBytes(lowSize, channels) {
  return BYTES * planeNumbers(cellsOf(lowSize), channels) + 64;
}

/** A plane [height, width] with its edges repeated `LOW_REACH` times. */
function paddedPlane(samples, [height, width]) {
  const paddedWidth = width + 2 * LOW_REACH;
  const padded = allocate(() => new Int32Array((height + 2 * LOW_REACH) * paddedWidth));
  for (let row = 0; row < height + 2 * LOW_REACH; row++) {
    const source = Math.min(Math.max(row - LOW_REACH, 0), height - 1) * width;
    const start = row * paddedWidth;
    padded.fill(samples[source], start, start + LOW_REACH);
    padded.set(samples.subarray(source, source + width), start + LOW_REACH);
    padded.fill(samples[source + width - 1], start + LOW_REACH + width, start + paddedWidth);
  }
  return { samples: padded, width: paddedWidth };
}

/**
 * The companded differences, in quarters of the step, of all differences -reach..reach; larger ones
 * have that of the reach.
 * @param {number} range no difference is larger
 * @param {number} step of the level's bands of orientation 0, in 2^-8 units
 */
function differenceTable(range, step) {
  const reach = Math.min(Math.max(1, step >> 1), range); // 128 steps, in units: the last one of the companding
  const factor = Math.floor(2 ** 24 / step);
  const table = new Int16Array(2 * reach + 1);
  for (let difference = 1; difference <= reach; difference++) {
    const quarters = Math.imul(difference, factor) >> 14;
    const k = COMPANDED[quarters < LAST_MAGNITUDE ? quarters : LAST_MAGNITUDE];
    table[reach + difference] = k;
    table[reach - difference] = -k;
  }
  return { table, reach };
}

/** Writes the companded differences between every second sample and the one `offset` further. */
function fillDifferencePlane({ samples, width }, source, offset, { plane, at, stride }, { table, reach }) {
  for (let row = 0; row < source.rows; row++) {
    let from = source.at + 2 * row * width;
    let target = at + row * stride;
    for (const end = target + source.columns; target < end; target++, from += 2) {
      const difference = samples[from + offset] - samples[from] + reach;
      plane[target] = table[difference < 0 ? 0 : difference > 2 * reach ? 2 * reach : difference];
    }
  }
}

/** The largest difference between any two samples. */
function rangeOf(samples) {
  let [least, most] = [samples[0], samples[0]];
  for (const sample of samples) {
    if (sample < least) least = sample;
    if (sample > most) most = sample;
  }
  return most - least;
}

export class CausalContext {
  #numbers;
  #channels;
  #states = new Uint8Array(0);
  #hasCoarser = false;

  /**
   * @param {{int16: (length: number) => Int16Array}} space a workspace with `contextBytes` of room
   * @param {[number, number]} lowSize the size of the largest low-pass band whose level it serves
   * @param {number} channels 1 or 3
   */
  constructor(space, lowSize, channels) {
    this.#numbers = space.int16(planeNumbers(cellsOf(lowSize), channels));
    this.#channels = channels;
  }

  /** Starts a tile: nothing is decoded but its low-pass band. */
  reset() {
    this.#hasCoarser = false;
  }

  /**
   * Enters a decomposition level.
   * @param {number} level
   * @param {[number, number]} lowSize the size of its low-pass band
   * @param {Int32Array[]} low the low-pass band of each channel, units
   * @param {number} qStep
   */
  enter(level, lowSize, low, qStep) {
    this.cells = cellsOf(lowSize);
    this.stride = strideOf(this.cells[1]);
    this.#states = allocate(() => new Uint8Array(this.cells[0] * this.cells[1]));
    const length = planeLength(this.cells);
    const counts = planeCounts(this.#channels);
    const coarser = counts.coarser * length;
    const middle = coarser + counts.symbols * length;
    const end = middle + counts.differences * length;
    // `leave` of the level before has filled the planes of the coarser bands, which come first.
    this.#numbers.fill(0, this.#hasCoarser ? coarser : 0, end);
    this.coarser = this.#numbers.subarray(0, coarser);
    this.symbols = this.#numbers.subarray(coarser, middle);
    this.differences = this.#numbers.subarray(middle, end);
    this.planeLength = length;
    const step = bandStep(qStep, level, 0);
    low.forEach((samples, channel) => this.#fillDifferences(samples, lowSize, channel, step));
  }

  /** Where the plane of a phase of a band starts in `symbols`. */
  #symbolPlane(channel, orientation, phase) {
    return ((channel * ORIENTATIONS + orientation) * PHASE_COUNT + phase) * this.planeLength;
  }

  #coarserPlane(channel, orientation) {
    return (channel * ORIENTATIONS + orientation) * this.planeLength;
  }

  #differencePlane(channel, phase, number) {
    return ((channel * PHASE_COUNT + phase) * LOW_OFFSETS.length + number) * this.planeLength;
  }

  /**
   * The differences in the low-pass band of a channel, from each sample to those around it, by the
   * phase of the sample. They are in quarters of the step, then companded.
   */
  #fillDifferences(samples, size, channel, step) {
    const [rows, columns] = size;
    const padded = paddedPlane(samples, size);
    const companded = differenceTable(rangeOf(samples), step);
    PHASES.forEach(([y, x], phase) => {
      const source = { at: (LOW_REACH + y) * padded.width + LOW_REACH + x, rows: (rows - y + 1) >> 1 };
      source.columns = (columns - x + 1) >> 1;
      LOW_OFFSETS.forEach(([dy, dx], number) => {
        const target = { plane: this.differences, at: this.#differencePlane(channel, phase, number) };
        fillDifferencePlane(padded, source, dy * padded.width + dx, { ...target, stride: this.stride }, companded);
      });
    });
  }

  /**
   * Where the features of a pass are, as `setSources` of `products.js` takes them. Number n of a
   * source belongs to the cell of row floor(n / stride) and column n mod stride.
   */
  sourcesOf(channel, orientation, phase) {
    const sources = [];
    let pair = 0;
    const place = (array, index) => array.byteOffset + BYTES * index;
    const add = (isDecoded, offsets, placeOf) => {
      if (isDecoded) offsets.forEach((offset, at) => sources.push(pair + at, placeOf(offset), 0));
      pair += offsets.length;
    };
    const inBand = (c, o) => (offset) => place(this.symbols, this.#symbolAt(c, o, phase, offset));
    add(true, WINDOWS[phase], inBand(channel, orientation));
    for (const other of [0, 1]) add(other < orientation, SQUARE, inBand(channel, other));
    for (const other of [0, 1]) add(other < channel, SQUARE, inBand(other, orientation));
    const coarser = this.#coarserPlane(channel, orientation);
    add(this.#hasCoarser, SQUARE, ([dy, dx]) =>
      place(this.coarser, coarser + (BORDER + dy) * this.stride + BORDER + dx),
    );
    [channel, 0, 1].forEach((other, at) => {
      const isDecoded = at === 0 || other < channel;
      for (let number = 0; isDecoded && number < LOW_COUNTS[at]; number += 2) {
        const [first, second] = [0, 1].map((n) => this.#differencePlane(other, phase, number + n));
        sources.push(pair + number / 2, place(this.differences, first), place(this.differences, second));
      }
      pair += LOW_COUNTS[at] / 2;
    });
    return sources;
  }

  /** Where in `symbols` the neighbour at an offset is of the first symbol of a phase. */
  #symbolAt(channel, orientation, phase, [dy, dx]) {
    const [y, x] = [PHASES[phase][0] + dy, PHASES[phase][1] + dx];
    const plane = this.#symbolPlane(channel, orientation, phaseAt(PHASES[phase], [dy, dx]));
    return plane + (BORDER + (y >> 1)) * this.stride + BORDER + (x >> 1);
  }

  /** The quantiser of the symbol of a cell: 0 or 1. */
  quantizerOf(row, column) {
    return this.#states[row * this.cells[1] + column] & 1;
  }

  /**
   * Takes the symbols of a pass, which become context.
   * @param {number} channel
   * @param {number} orientation
   * @param {number} phase
   * @param {[number, number]} shape the rows and columns of the pass
   * @param {Int32Array} symbols row by row; become the multiples of the step that they stand for
   */
  accept(channel, orientation, phase, [rows, columns], symbols) {
    const plane = this.#symbolPlane(channel, orientation, phase);
    for (let row = 0, at = 0; row < rows; row++) {
      let cell = row * this.cells[1];
      let target = plane + (BORDER + row) * this.stride + BORDER;
      for (let column = 0; column < columns; column++, at++, cell++, target++) {
        const symbol = symbols[at];
        const state = this.#states[cell];
        const multiple = state & 1 ? 2 * symbol - Math.sign(symbol) : 2 * symbol;
        this.#states[cell] = NEXT_STATE[2 * state + (symbol & 1)];
        symbols[at] = multiple;
        if (multiple !== 0) this.symbols[target] = compand(multiple); // otherwise the plane has a 0 there
      }
    }
  }

  /**
   * Leaves a level: its symbols become the coarser context of the next one.
   * @param {[number, number]} levelSize the size of the level's image, the next low-pass band
   */
  leave(levelSize) {
    const nextCells = cellsOf(levelSize);
    const nextStride = strideOf(nextCells[1]);
    const nextLength = planeLength(nextCells);
    const bands = this.#channels * ORIENTATIONS;
    const joined = allocate(() => new Int16Array(bands * nextLength));
    for (let band = 0; band < bands; band++) {
      const [rows, columns] = bandSize(levelSize, band % ORIENTATIONS);
      PHASES.forEach(([y, x], phase) => {
        const plane = (band * PHASE_COUNT + phase) * this.planeLength;
        for (let row = y; row < rows; row += 2) {
          let source = plane + (BORDER + (row >> 1)) * this.stride + BORDER;
          const target = band * nextLength + (BORDER + row) * nextStride + BORDER;
          for (let column = x; column < columns; column += 2) joined[target + column] = this.symbols[source++];
        }
      });
    }
    this.#numbers.set(joined);
    this.#hasCoarser = true;
  }
}
