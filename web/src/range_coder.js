/**
 * Entropy coding: probability tables, and the range decoder that reads arrays of symbols with them.
 *
 * See "Entropy coding" in docs/format.md. The decoders of other modules use it like this:
 *
 *     const decoder = new RangeDecoder(bytes);                   // throws if bytes are no complete words
 *     decoder.decodeArray(count, 20, laplaceTables());           // `count` symbols under Laplace index 20
 *     decoder.decodePass(numbers, tables, out);                  // sorted by table, as in models 1 and 3
 *     decoder.decodeEach(numbers, tables, out);                  // in their own order, as in wavefronts
 *
 * @module range_coder
 */

import { damaged } from "./errors.js";

export const MAX_SYMBOL = 1 << 23;
const RADIUS = 64;
const ESCAPE = 2 * RADIUS + 1;
/** The number of entries of a table: symbols -64..64 and the escape. */
export const TABLE_SIZE = 2 * RADIUS + 2;
/** The last Laplace index whose symbols have no low parts. */
export const LAST_DIRECT = 28;
export const LAPLACE_COUNT = 112;
const LONGEST_EXCESS = 26; // binary digits of what an escaped symbol exceeds 64 by
const TOTAL = 1 << 24; // the sum of the frequencies of a table
const GUIDE_BITS = 8;
const GUIDE_SHIFT = 24 - GUIDE_BITS;

const SPARE_BITS = 128; // trailing zero words, which the encoder omits

/**
 * Throws an error for a stream that is too short for its symbols, before memory is allocated. The most probable entry
 * of any table leaves at least 2^-24 for each of the 129 others, so a symbol takes at least 1.1e-5 bits.
 *
 * @param {number} bytes - The length of the stream.
 * @param {number} symbolCount
 * @throws {import("./errors.js").DfmError} The stream is too short.
 */
export function checkLength(bytes, symbolCount) {
  const leastBits = -symbolCount * Math.log2(1 - (TABLE_SIZE - 1) / TOTAL);
  if (8 * bytes + SPARE_BITS < leastBits) throw damaged(`${bytes} bytes cannot hold ${symbolCount} symbols`);
}

// ------------------------------------------------------------------------------------------ tables

/** A set of tables; each symbol of an array selects one by its number. */
export class TableSet {
  /**
   * @param {ArrayLike<number>[]} rows - The frequencies of each table, which sum to 2^24.
   * @param {ArrayLike<number>} shifts - The number of low bits of the symbols of each table.
   */
  constructor(rows, shifts) {
    this.count = rows.length;
    /** The number of low bits for each table. */
    this.shifts = Int32Array.from(shifts);
    /** For each table the frequency before each entry, and 2^24 at the end. */
    this.cumulative = new Uint32Array(rows.length * (TABLE_SIZE + 1));
    /** For each table and each value of the highest 8 bits of a quantile: the first possible entry. */
    this.guide = new Uint8Array(rows.length << GUIDE_BITS);
    rows.forEach((row, number) => this.#fill(number, row));
  }

  /** @param {number} number @param {ArrayLike<number>} row */
  #fill(number, row) {
    const base = number * (TABLE_SIZE + 1);
    for (let entry = 0; entry < TABLE_SIZE; entry++) {
      this.cumulative[base + entry + 1] = this.cumulative[base + entry] + row[entry];
    }
    if (this.cumulative[base + TABLE_SIZE] !== TOTAL) throw new RangeError("a table does not sum to 2^24");
    let entry = 0;
    for (let part = 0; part < 1 << GUIDE_BITS; part++) {
      while (this.cumulative[base + entry + 1] <= part << GUIDE_SHIFT) entry++;
      this.guide[(number << GUIDE_BITS) + part] = entry;
    }
  }
}

/** Returns the Laplace index nearest to a number. @param {number} index */
export function limitedIndex(index) {
  return Math.min(Math.max(index, 0), LAPLACE_COUNT - 1);
}

/**
 * Returns a set of given tables without low parts, followed by those of Laplace indices 29..111.
 *
 * @param {ArrayLike<number>[]} rows - The frequencies of the given tables, `TABLE_SIZE` each.
 */
export function tablesWithLaplace(rows) {
  const beyond = Array.from({ length: LAPLACE_COUNT - LAST_DIRECT - 1 }, (_, i) => LAST_DIRECT + 1 + i);
  const shifts = beyond.map((index) => Math.ceil((index - LAST_DIRECT) / 4));
  return new TableSet(
    [...rows, ...beyond.map((index, i) => directFrequencies(index - 4 * shifts[i]))],
    [...rows.map(() => 0), ...shifts],
  );
}

/** @type {TableSet | undefined} */
let laplaceSet;

/** Returns the tables of all Laplace indices, in order. */
export function laplaceTables() {
  laplaceSet ??= tablesWithLaplace(Array.from({ length: LAST_DIRECT + 1 }, (_, u) => directFrequencies(u)));
  return laplaceSet;
}

// Fractions of 2^60, as in "Direct tables".
const ONE = 1n << 60n;
const FREE = BigInt(TOTAL - TABLE_SIZE); // each entry has at least 1
const DECAYS = [699282240786072831n, 757183956407387681n, 809568223467044053n, 856412934495134408n];

/** @param {bigint} value */
function squareRoot(value) {
  let root = 1n << BigInt(Math.ceil(value.toString(2).length / 2)); // initial value, not below the root
  for (;;) {
    const next = (root + value / root) >> 1n; // Newton's method descends to the root, rounded down
    if (next >= root) return root;
    root = next;
  }
}

/** Returns a memoised function of small integers. @template T @param {(number: number) => T} compute */
function remembered(compute) {
  /** @type {T[]} */
  const results = [];
  return (/** @type {number} */ number) => (results[number] ??= compute(number));
}

/** Returns the number t of direct table u. */
const decayOf = remembered((u) => {
  const octave = Math.floor((u - 16) / 4);
  let t = DECAYS[u - 16 - 4 * octave];
  for (let i = 0; i < octave; i++) t = squareRoot(t * ONE);
  for (let i = 0; i < -octave; i++) t = (t * t) >> 60n;
  return t;
});

/** Returns the eighth root of t of direct table u. */
const rootOf = remembered((u) => {
  let root = decayOf(u);
  for (let i = 0; i < 3; i++) root = squareRoot(root * ONE);
  return root;
});

/**
 * Returns the frequencies of one side of a table, for |high| = 1..64, and the next power.
 *
 * @param {bigint} first @param {bigint} square
 */
function sideOf(first, square) {
  const side = [];
  let power = first;
  for (let q = 1; q <= RADIUS; q++) {
    side.push(Number((((power * (ONE - square)) >> 61n) * FREE) >> 60n));
    power = (power * square) >> 60n;
  }
  return { side, power };
}

/** @param {number[]} below @param {number[]} above @param {number} escape */
function joinSides(below, above, escape) {
  const sum = (/** @type {number[]} */ side) => side.reduce((total, f) => total + f, 0);
  const centre = Number(FREE) - sum(below) - sum(above) - escape;
  return Uint32Array.from([...[...below].reverse(), centre, ...above, escape], (f) => f + 1);
}

/** Returns the frequencies of direct table u, 0..28. */
const directFrequencies = remembered((u) => {
  const t = decayOf(u);
  const { side, power } = sideOf(t, (t * t) >> 60n);
  return joinSides(side, side, Number((power * FREE) >> 60n));
});

/**
 * Returns the frequencies of direct table u with a mean, as in "Tables with a mean".
 *
 * @param {number} u - 0..28.
 * @param {number} n - The mean in sixteenths of a symbol, 0..8.
 */
export function frequenciesWithMean(u, n) {
  const t = decayOf(u);
  const square = (t * t) >> 60n;
  let towards = ONE;
  for (let i = 0; i < n; i++) towards = (towards * rootOf(u)) >> 60n;
  const below = sideOf((t * towards) >> 60n, square);
  const above = sideOf((t << 60n) / towards, square);
  const escape = [below, above].reduce((sum, { power }) => sum + Number(((power >> 1n) * FREE) >> 60n), 0);
  return joinSides(below.side, above.side, escape);
}

// ----------------------------------------------------------------------------------- range decoder

const LIMB = 1 << 24; // numbers of 64 bits are stored as `high` * 2^24 + `low`, so `high` has 40 bits
const PER_LIMB = 1 / LIMB;
const WORD = 2 ** 32;

/** Creates the error for words that no encoder can write. */
export function damagedStream() {
  return damaged("a coded section is not a valid range-coder stream");
}

/** Converts a stream to words, little-endian. @param {Uint8Array} bytes */
function wordsOf(bytes) {
  if (bytes.length % 4) throw damaged(`a coded section has ${bytes.length} bytes, not a multiple of 4`);
  const words = new Uint32Array(bytes.length / 4);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < words.length; i++) words[i] = view.getUint32(4 * i, true);
  return words;
}

/** Reads arrays of symbols from a range-coded stream. */
export class RangeDecoder {
  #reader;
  #order = new Int32Array(0);

  /**
   * @param {Uint8Array} bytes - The stream: words of 32 bits.
   * @param {(words: Uint32Array) => PlainReader} [readerOf] - Creates the reader of the words.
   * @param {Int32Array} [order] - Workspace for the longest array; allocated if it is too short.
   * @throws {import("./errors.js").DfmError} The length is not a multiple of 4 bytes.
   */
  constructor(bytes, readerOf = (words) => new PlainReader(words), order = new Int32Array(0)) {
    this.#reader = readerOf(wordsOf(bytes));
    this.#order = order;
  }

  /**
   * Returns the next `count` symbols, all with one table.
   *
   * @param {number} count
   * @param {number} number - The number of the table.
   * @param {TableSet} tables
   * @returns {Int32Array}
   * @throws {import("./errors.js").DfmError} No encoder can write such a stream.
   */
  decodeArray(count, number, tables) {
    const symbols = new Int32Array(count);
    this.decodeEach(new Int16Array(count).fill(number), tables, symbols);
    return symbols;
  }

  /**
   * Reads the next symbols, coded in the order of their table numbers, and in array order among equal numbers.
   *
   * @param {Int16Array} numbers - The number of the table of each symbol.
   * @param {TableSet} tables
   * @param {Int32Array} out - Receives the symbols in array order; as long as `numbers`.
   * @throws {import("./errors.js").DfmError} No encoder can write such a stream.
   */
  decodePass(numbers, tables, out) {
    this.#decode(numbers, tables, true, out);
  }

  /**
   * Reads the next symbols, coded in array order.
   *
   * @param {Int16Array} numbers - The number of the table of each symbol.
   * @param {TableSet} tables
   * @param {Int32Array} out - Receives the symbols; as long as `numbers`.
   * @throws {import("./errors.js").DfmError} No encoder can write such a stream.
   */
  decodeEach(numbers, tables, out) {
    this.#decode(numbers, tables, false, out);
  }

  /** @param {Int16Array} numbers @param {TableSet} tables @param {boolean} isSorted @param {Int32Array} out */
  #decode(numbers, tables, isSorted, out) {
    if (this.#order.length < numbers.length) this.#order = new Int32Array(numbers.length);
    const order = this.#order.subarray(0, numbers.length);
    const unfinished = this.#reader.highs(numbers, tables, isSorted, order, out);
    if (unfinished === 0) return;
    const escaped = order.filter((at) => out[at] === ESCAPE - RADIUS);
    if (escaped.length > 0) this.#decodeEscapes(out, escaped);
    const shifts = Int32Array.from(order, (at) => tables.shifts[numbers[at]]);
    if (order.some((at, i) => Math.abs(out[at]) > MAX_SYMBOL >> shifts[i])) {
      throw damaged(`a coded section holds a symbol beyond ${MAX_SYMBOL}`);
    }
    const longest = shifts.reduce((a, b) => Math.max(a, b), 0);
    for (let shift = 1; shift <= longest; shift++) {
      const these = order.filter((_, i) => shifts[i] === shift);
      const low = this.#bits(these.length, shift);
      these.forEach((at, i) => (out[at] = (out[at] << shift) + low[i] - ((1 << shift) >> 1)));
    }
  }

  /**
   * Replaces escapes among high parts by their values. @param {Int32Array} out @param {Int32Array} escaped - Their
   * positions.
   */
  #decodeEscapes(out, escaped) {
    const lengths = this.#bits(escaped.length, 5);
    const longest = lengths.reduce((a, b) => Math.max(a, b));
    if (lengths.some((length) => length < 1 || length > LONGEST_EXCESS)) {
      throw damaged("a coded section holds an impossible symbol");
    }
    const negative = this.#bits(escaped.length, 1);
    const excess = lengths.map((length) => 1 << (length - 1));
    for (let length = 2; length <= longest; length++) {
      const these = Int32Array.from(lengths.keys()).filter((i) => lengths[i] === length);
      // in two parts, because a number has at most 24 bits
      for (const [first, bits] of [[0, Math.min(12, length - 1)], [12, length - 13]]) {
        const parts = this.#bits(these.length, bits);
        these.forEach((i, n) => (excess[i] += parts[n] << first));
      }
    }
    escaped.forEach((at, i) => (out[at] = negative[i] ? -RADIUS - excess[i] : RADIUS + excess[i]));
  }

  /** Reads numbers of 1..24 bits; returns zeros for fewer. @param {number} count @param {number} bits */
  #bits(count, bits) {
    const numbers = new Int32Array(count);
    if (count > 0 && bits > 0) this.#reader.bits(bits, numbers);
    return numbers;
  }
}

/**
 * Reader of the words of a range-coded stream, in plain JavaScript.
 *
 * Its two numbers of 64 bits, the range and the distance `point - lower`, are each kept as two doubles: the
 * highest 40 bits and the lowest 24. The highest 40 bits of the range are the `scale` of the format. Products of a
 * half of the scale (at most 24 bits) and a frequency (24 bits) are below 2^48, so all numbers here are exact.
 */
export class PlainReader {
  #words;
  #next = 0;
  #scale = 2 ** 40 - 1;
  #rangeLow = LIMB - 1;
  #distance = 0;
  #distanceLow = 0;

  /** @param {Uint32Array} words */
  constructor(words) {
    this.#words = words;
    const [first, second] = [this.#word(), this.#word()];
    this.#distance = first * 256 + (second >>> 24);
    this.#distanceLow = second & (LIMB - 1);
  }

  /** Returns the next word; words beyond the end are 0. */
  #word() {
    const at = this.#next++;
    return at < this.#words.length ? this.#words[at] : 0;
  }

  /**
   * Reads the high parts of the next symbols: table entries minus 64. Escapes are 65.
   *
   * @param {Int16Array} numbers - The number of the table of each symbol.
   * @param {TableSet} tables
   * @param {boolean} isSorted - Whether they are coded in the order of their table numbers instead of array order.
   * @param {Int32Array} order - Receives the coding order of the symbols.
   * @param {Int32Array} out - Receives the high parts in array order.
   * @returns {number} The number of incomplete symbols: escapes, and symbols with low parts.
   * @throws {import("./errors.js").DfmError} No encoder can write such a stream.
   */
  highs(numbers, { count, cumulative, guide, shifts }, isSorted, order, out) {
    putInOrder(numbers, count, isSorted, order);
    let unfinished = 0;
    for (let i = 0; i < order.length; i++) {
      const number = numbers[order[i]];
      const quantile = this.#quantile();
      const base = number * (TABLE_SIZE + 1);
      let entry = guide[(number << GUIDE_BITS) + (quantile >>> GUIDE_SHIFT)];
      while (cumulative[base + entry + 1] <= quantile) entry++;
      const before = cumulative[base + entry];
      this.#take(before, cumulative[base + entry + 1] - before);
      if (entry === ESCAPE || shifts[number] > 0) unfinished++;
      out[order[i]] = entry - RADIUS;
    }
    return unfinished;
  }

  /** Reads numbers of a given number of bits. @param {number} bits - 1..24. @param {Int32Array} out */
  bits(bits, out) {
    for (let i = 0; i < out.length; i++) {
      out[i] = this.#quantile() >>> (24 - bits);
      this.#take(out[i] << (24 - bits), 1 << (24 - bits));
    }
  }

  /** Returns the quantile: the distance divided by the scale, rounded down. */
  #quantile() {
    const scale = this.#scale;
    let quantile = Math.floor((this.#distance * LIMB + this.#distanceLow) / scale);
    // The distance has up to 64 bits, so its double and the quotient are rounded; but the remainder is exact.
    const scaleHigh = Math.floor(scale * PER_LIMB);
    const scaleLow = scale - scaleHigh * LIMB;
    const rest = (this.#distance - quantile * scaleHigh) * LIMB + (this.#distanceLow - quantile * scaleLow);
    if (rest < 0) quantile--;
    else if (rest >= scale) quantile++;
    if (quantile >= TOTAL) throw damagedStream();
    return quantile;
  }

  /** Narrows the range to an entry. @param {number} before - c. @param {number} frequency - f. */
  #take(before, frequency) {
    const scaleHigh = Math.floor(this.#scale * PER_LIMB);
    const scaleLow = this.#scale - scaleHigh * LIMB;

    const low = this.#distanceLow - before * scaleLow;
    const borrow = Math.floor(low * PER_LIMB);
    this.#distance += borrow - before * scaleHigh;
    this.#distanceLow = low - borrow * LIMB;

    const rangeLow = frequency * scaleLow;
    const carry = Math.floor(rangeLow * PER_LIMB);
    this.#scale = frequency * scaleHigh + carry;
    this.#rangeLow = rangeLow - carry * LIMB;

    if (this.#scale < 256) this.#refill(); // the range is below 2^32
  }

  /** Shifts range and distance by a word. */
  #refill() {
    const word = this.#word();
    this.#scale = this.#scale * WORD + this.#rangeLow * 256;
    this.#rangeLow = 0;
    this.#distance = this.#distance * WORD + this.#distanceLow * 256 + (word >>> 24);
    this.#distanceLow = word & (LIMB - 1);
  }
}

/**
 * Returns the positions of symbols in coding order.
 *
 * @param {Int16Array} numbers @param {number} tableCount @param {boolean} isSorted @param {Int32Array} order
 */
function putInOrder(numbers, tableCount, isSorted, order) {
  if (!isSorted) {
    for (let i = 0; i < order.length; i++) order[i] = i;
    return;
  }
  const starts = new Uint32Array(tableCount + 1);
  for (const number of numbers) starts[number + 1]++;
  for (let number = 0; number < tableCount; number++) starts[number + 1] += starts[number];
  for (let i = 0; i < numbers.length; i++) order[starts[numbers[i]]++] = i;
}
