/**
 * The decoded part of a tile: it provides the features of each coding pass and receives its symbols ("Trellis" and
 * "Context of a symbol" in docs/format.md).
 *
 * All features are companded numbers, stored as bytes in planes of a workspace. Symbols of the level and differences in
 * the low-pass band have a plane for each phase, so that the features of a pass are contiguous parts of planes. Planes
 * of phases have a border of one cell of zeros; those of the coarser level have two numbers before and four after each
 * row. Coefficients are stored in separate planes, and become samples with the last pass of a level.
 *
 * @module causal_context
 */

import { ORIENTATIONS, bandSize } from "./geometry.js";
import { bytesOfArrays } from "./kernels.js";
import { COMPANDED, LOW_COUNTS, LOW_OFFSETS, PHASES, SQUARE, WINDOWS, symbolFeatures } from "./neighbourhood.js";
import { bandStep } from "./wavelet.js";

const BORDER = 1; // cells around a phase
const PAD = 2; // numbers before those of the coarser level
const BEYOND = 4; // and after them
const PHASE_COUNT = PHASES.length;
/** The next state from a state and the parity of the symbol, at index 2 state + parity. */
const NEXT_STATE = Int8Array.of(0, 2, 5, 7, 1, 3, 6, 4, 2, 0, 4, 6, 3, 1, 7, 5);
const COMPANDED_BYTES = Int8Array.from(COMPANDED);
const COMPANDED_NUMBERS = Int32Array.from(COMPANDED);
const LOW_OFFSET_NUMBERS = Int32Array.from(LOW_OFFSETS.flat());

const area = ([rows, columns]) => rows * columns;
const cellsOf = ([height, width]) => [(height + 1) >> 1, (width + 1) >> 1];
const phaseSize = (lowSize) => cellsOf(lowSize).map((side) => side + 2 * BORDER);
const coarserSize = (lowSize) => lowSize.map((side) => side + PAD + BEYOND);
/** Returns the index of a phase in planes: by row and column. */
const placeOf = ([y, x]) => 2 * y + x;

/** Returns the sizes of the planes of a level, from the size of its low-pass band. */
function lengthsOf(lowSize, channels) {
  return {
    symbols: channels * ORIENTATIONS * PHASE_COUNT * area(phaseSize(lowSize)),
    coarser: channels * ORIENTATIONS * area(coarserSize(cellsOf(lowSize))),
    differences: channels * PHASE_COUNT * LOW_OFFSETS.length * area(cellsOf(lowSize)),
    states: area(cellsOf(lowSize)),
    coefficients: channels * ORIENTATIONS * area(lowSize),
  };
}

/** Returns the number of bytes of a tile's context in a workspace, from the size of its finest low-pass band. */
export function contextBytes(lowSize, channels) {
  const { symbols, coarser, differences, states, coefficients } = lengthsOf(lowSize, channels);
  return bytesOfArrays([symbols, coarser, differences, states, 4 * coefficients]);
}

export class CausalContext {
  #run;
  #arrays;
  #channels;
  #qStep;
  #level = 0;
  #hasCoarser = false;
  #lowSize = [0, 0];
  #levelSize = [0, 0];
  #planes;
  /** @type {Int32Array[][]} by channel and orientation */
  #coefficients = [];

  /**
   * @param {import("./kernels.js").Workspace} space with at least `contextBytes`
   * @param {[number, number]} lowSize the size of the largest low-pass band
   * @param {number} channels 1 or 3
   * @param {number} qStep
   */
  constructor(space, lowSize, channels, qStep) {
    const { symbols, coarser, differences, states, coefficients } = lengthsOf(lowSize, channels);
    this.#run = space.run;
    this.#channels = channels;
    this.#qStep = qStep;
    const bytes = (length) => space.array(Int8Array, length);
    this.#arrays = {
      symbols: bytes(symbols),
      coarser: bytes(coarser),
      differences: bytes(differences),
      states: bytes(states),
      coefficients: space.array(Int32Array, coefficients),
    };
    this.#planes = this.#arrays;
  }

  /** Starts a tile of which only the low-pass band is decoded. */
  reset() {
    this.#hasCoarser = false;
  }

  /**
   * Starts a decomposition level.
   * @param {number} level
   * @param {[number, number]} levelSize the size of its image
   * @param {[number, number]} lowSize the size of its low-pass band
   * @param {Int32Array[]} low the low-pass band of each channel, units
   */
  enter(level, levelSize, lowSize, low) {
    [this.#level, this.#lowSize, this.#levelSize] = [level, lowSize, levelSize];
    const lengths = lengthsOf(lowSize, this.#channels);
    this.#planes = Object.fromEntries(
      Object.entries(lengths).map(([name, length]) => [name, this.#arrays[name].subarray(0, length)]),
    );
    for (const name of ["symbols", "differences", "states"]) this.#planes[name].fill(0);
    let start = 0;
    this.#coefficients = low.map(() =>
      Array.from({ length: ORIENTATIONS }, (_, orientation) => {
        const size = area(bandSize(levelSize, orientation));
        return this.#planes.coefficients.subarray(start, (start += size));
      }),
    );
    const step = bandStep(this.#qStep, level, 0);
    const length = lengths.differences / this.#channels;
    low.forEach((samples, channel) => {
      const out = this.#planes.differences.subarray(channel * length, (channel + 1) * length);
      const [height, width] = lowSize;
      this.#run.lowDifferences({
        low: samples, height, width, levelStep: step, offsets: LOW_OFFSET_NUMBERS, companded: COMPANDED_NUMBERS,
        firstRow: 0, lastRow: height, differences: out,
      });
    });
  }

  /** The planes of `viewsOf`: symbols of the level, of the coarser level, differences. */
  get planes() {
    const { symbols, coarser, differences } = this.#planes;
    return { symbols, coarser, differences };
  }

  /**
   * Returns the positions of the features of a pass, in the form of the kernel: for each feature that is not a
   * magnitude the index of its plane, the index for the first symbol, and the row stride; the number of features that
   * are symbols; and the numbers of all features of the pass.
   */
  featuresOf({ channel, orientation, phase }) {
    const [, columns] = phaseSize(this.#lowSize);
    const length = area(phaseSize(this.#lowSize));
    const symbols = [];
    const isDecoded = [];
    const add = (isThere, offsets, viewOf) => {
      offsets.forEach((offset) => {
        isDecoded.push(isThere);
        if (isThere) symbols.push(viewOf(offset));
      });
    };
    const inBand = (c, o) => ([dy, dx]) => {
      const [y, x] = [PHASES[phase][0] + dy, PHASES[phase][1] + dx];
      const plane = (c * ORIENTATIONS + o) * PHASE_COUNT + placeOf([y & 1, x & 1]);
      return [0, plane * length + (BORDER + (y >> 1)) * columns + BORDER + (x >> 1), columns];
    };
    add(true, WINDOWS[phase], inBand(channel, orientation));
    for (const other of [0, 1]) add(other < orientation, SQUARE, inBand(channel, other));
    for (const other of [0, 1]) add(other < channel, SQUARE, inBand(other, orientation));
    const [coarserRows, coarserColumns] = coarserSize(cellsOf(this.#lowSize));
    const coarser = (channel * ORIENTATIONS + orientation) * coarserRows;
    add(this.#hasCoarser, SQUARE, ([dy, dx]) => [
      1, (coarser + PAD + dy) * coarserColumns + PAD + dx, coarserColumns,
    ]);
    const available = isDecoded.flatMap((isThere, at) => (isThere ? [at] : []));
    available.push(...available.map((at) => at + isDecoded.length));
    const cells = cellsOf(this.#lowSize);
    const differences = [];
    let feature = symbolFeatures(phase);
    [channel, 0, 1].forEach((other, at) => {
      const isThere = at === 0 || other < channel;
      for (let number = 0; number < LOW_COUNTS[at]; number++, feature++) {
        if (!isThere) continue;
        available.push(feature);
        const plane = (other * PHASE_COUNT + placeOf(PHASES[phase])) * LOW_OFFSETS.length + number;
        differences.push([2, plane * area(cells), cells[1]]);
      }
    });
    return {
      views: BigInt64Array.from([...symbols, ...differences].flat(), BigInt),
      symbolCount: symbols.length,
      available: Int32Array.from(available),
    };
  }

  /** Writes the quantiser of each symbol of a pass, 0 or 1. */
  fillQuantizers([rows, columns], quantizers) {
    const { states } = this.#planes;
    const [, stride] = cellsOf(this.#lowSize);
    for (let row = 0, at = 0; row < rows; row++) {
      for (let place = row * stride; place < row * stride + columns; place++) quantizers[at++] = states[place] & 1;
    }
  }

  /**
   * Stores the symbols of a pass as context and as coefficients.
   * @param {{channel: number, orientation: number, phase: number}} pass
   * @param {[number, number]} shape the rows and columns of the pass
   * @param {Int32Array} symbols row by row
   * @param {Int16Array} tables the table of each symbol
   * @param {Int32Array} signs the sign of each symbol's table
   * @param {Int32Array} offsets the offsets of each table
   */
  accept({ channel, orientation, phase }, shape, symbols, tables, signs, offsets) {
    const [y, x] = PHASES[phase];
    const [rows, columns] = phaseSize(this.#lowSize);
    const plane = (channel * ORIENTATIONS + orientation) * PHASE_COUNT + placeOf(PHASES[phase]);
    const first = (plane * rows + BORDER) * columns + BORDER;
    const [, width] = bandSize(this.#levelSize, orientation);
    this.#run.acceptSymbols({
      symbols, table: tables, sign: signs, offsets, nextState: NEXT_STATE, rows: shape[0], columns: shape[1],
      states: this.#planes.states, stateStride: cellsOf(this.#lowSize)[1], companded: COMPANDED_BYTES,
      plane: this.#planes.symbols, planeStart: first, planeStride: columns,
      fine: this.#coefficients[channel][orientation], fineStart: y * width + x, fineStride: 2 * width,
    });
  }

  /**
   * Synthesises the level's image of a channel.
   * @param {number} channel
   * @param {Int32Array} low its low-pass band, units
   * @param {Int32Array} out receives the image, units
   */
  synthesise(channel, low, out) {
    const steps = Array.from({ length: ORIENTATIONS }, (_, o) => bandStep(this.#qStep, this.#level, o));
    const [[band0, band1, band2], [step0, step1, step2]] = [this.#coefficients[channel], steps];
    const [height, width] = this.#levelSize;
    this.#run.synthesiseChannel({ low, band0, band1, band2, step0, step1, step2, height, width, stride: width, samples: out });
  }

  /** Ends a level: its symbols become the coarser context of the next one. */
  leave() {
    const lengths = lengthsOf(this.#levelSize, this.#channels);
    const coarser = this.#arrays.coarser.subarray(0, lengths.coarser);
    const [rows, columns] = cellsOf(this.#lowSize);
    const [, from] = phaseSize(this.#lowSize);
    const [height, width] = coarserSize(cellsOf(this.#levelSize));
    const { symbols } = this.#planes;
    const length = area(phaseSize(this.#lowSize));
    coarser.fill(0);
    for (let band = 0; band < this.#channels * ORIENTATIONS; band++) {
      for (const [y, x] of PHASES) {
        const plane = (band * PHASE_COUNT + placeOf([y, x])) * length;
        for (let row = 0; row < rows; row++) {
          let source = plane + (BORDER + row) * from + BORDER;
          let target = (band * height + PAD + 2 * row + y) * width + PAD + x;
          for (const end = source + columns; source < end; source++, target += 2) coarser[target] = symbols[source];
        }
      }
    }
    this.#hasCoarser = true;
  }
}
