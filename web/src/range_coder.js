/**
 * Entropy coding: probability tables, and the range decoder that reads arrays of symbols under them.
 *
 * See "Entropy coding" in docs/format.md. What a decoder of the other modules does:
 *
 *     const decoder = new RangeDecoder(bytes);                   // throws if bytes are no whole words
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
const UNIT_SCALE = 16; // the Laplace index of scale 0
const LONGEST_EXCESS = 26; // binary digits of what an escaped symbol exceeds 64 by
const TOTAL = 1 << 24; // the sum of the frequencies of a table
const GUIDE_BITS = 8;
const GUIDE_SHIFT = 24 - GUIDE_BITS;

const SPARE_BITS = 128; // the last words of zeros, which the coder leaves out

/**
 * Refuses, before memory is spent, a stream that is too short for its symbols. The likeliest entry of any table
 * leaves one of 2^24 parts to each of the 129 others, so a symbol takes at least 1.1e-5 bits.
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

/** Tables among which each symbol of an array has one by its number. */
export class TableSet {
  /**
   * @param {ArrayLike<number>[]} rows - The frequencies of each table, which sum to 2^24.
   * @param {ArrayLike<number>} shifts - The number of low bits of the symbols of each table.
   */
  constructor(rows, shifts) {
    this.count = rows.length;
    /** Number of low bits by table. */
    this.shifts = Uint8Array.from(shifts);
    /** Table by table the frequency before each entry, and 2^24 at the end. */
    this.cumulative = new Uint32Array(rows.length * (TABLE_SIZE + 1));
    /** For each table and each value of the highest 8 bits of a quantile: the first entry that it can have. */
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

/** The Laplace index that is nearest to a number. @param {number} index */
export function limitedIndex(index) {
  return Math.min(Math.max(index, 0), LAPLACE_COUNT - 1);
}

/** The Laplace index of a scale that a network gives. @param {number} scale */
export function indexOfScale(scale) {
  return limitedIndex(scale + UNIT_SCALE);
}

/**
 * The number of the table of a Laplace index beyond the direct ones in `tablesWithLaplace`.
 *
 * @param {number} given - The number of given tables.
 * @param {number} index - 29..111.
 */
export function numberBeyond(given, index) {
  return given + index - LAST_DIRECT - 1;
}

/**
 * A set of given tables without low parts, followed by those of Laplace indices 29..111; see `numberBeyond`.
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

/** The tables of all Laplace indices: number t is that of index t. */
export function laplaceTables() {
  laplaceSet ??= tablesWithLaplace(Array.from({ length: LAST_DIRECT + 1 }, (_, u) => directFrequencies(u)));
  return laplaceSet;
}

// Fractions of 2^60, as in "Direct tables".
const ONE = 1n << 60n;
const FREE = BigInt(TOTAL - TABLE_SIZE); // every entry has 1 beforehand
const DECAYS = [699282240786072831n, 757183956407387681n, 809568223467044053n, 856412934495134408n];

/** @param {bigint} value */
function squareRoot(value) {
  let root = 1n << BigInt(Math.ceil(value.toString(2).length / 2)); // not below the root
  for (;;) {
    const next = (root + value / root) >> 1n; // Newton's step descends to the root, rounded down
    if (next >= root) return root;
    root = next;
  }
}

/** A function of small integers that keeps its results. @template T @param {(number: number) => T} compute */
function remembered(compute) {
  /** @type {T[]} */
  const results = [];
  return (/** @type {number} */ number) => (results[number] ??= compute(number));
}

/** The number t of direct table u. */
const decayOf = remembered((u) => {
  const octave = Math.floor((u - 16) / 4);
  let t = DECAYS[u - 16 - 4 * octave];
  for (let i = 0; i < octave; i++) t = squareRoot(t * ONE);
  for (let i = 0; i < -octave; i++) t = (t * t) >> 60n;
  return t;
});

/** The eighth root of t of direct table u. */
const rootOf = remembered((u) => {
  let root = decayOf(u);
  for (let i = 0; i < 3; i++) root = squareRoot(root * ONE);
  return root;
});

/**
 * The frequencies of one side of a table, for |high| = 1..64, and the power after them.
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

/** The frequencies of direct table u, 0..28. */
const directFrequencies = remembered((u) => {
  const t = decayOf(u);
  const { side, power } = sideOf(t, (t * t) >> 60n);
  return joinSides(side, side, Number((power * FREE) >> 60n));
});

/**
 * The frequencies of direct table u with a mean, by "Tables with a mean".
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

const LIMB = 1 << 24; // numbers of 64 bits are kept as `high` * 2^24 + `low`, so `high` has 40 bits
const PART = 1 / LIMB;
const WORD = 2 ** 32;

/**
 * Reads a range-coded stream.
 *
 * Its two numbers of 64 bits, the range and the distance `point - lower`, are each kept as two doubles: the
 * highest 40 bits and the lowest 24. The highest 40 bits of the range are the `scale` of the format. Products of a
 * half of the scale (at most 24 bits) and a frequency (24 bits) are below 2^48, so all numbers here are exact.
 */
export class RangeDecoder {
  #words;
  #next = 0;
  #scale = 2 ** 40 - 1;
  #rangeLow = LIMB - 1;
  #distance = 0;
  #distanceLow = 0;

  /**
   * @param {Uint8Array} bytes - The stream: words of 32 bits, little-endian.
   * @throws {import("./errors.js").DfmError} It does not consist of whole words.
   */
  constructor(bytes) {
    if (bytes.length % 4) throw damaged(`a coded section has ${bytes.length} bytes, not a multiple of 4`);
    this.#words = new Uint32Array(bytes.length / 4);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < this.#words.length; i++) this.#words[i] = view.getUint32(4 * i, true);
    const [first, second] = [this.#word(), this.#word()];
    this.#distance = first * 256 + (second >>> 24);
    this.#distanceLow = second & (LIMB - 1);
  }

  /** The next word; words beyond the end are 0. */
  #word() {
    const at = this.#next++;
    return at < this.#words.length ? this.#words[at] : 0;
  }

  /**
   * The next `count` symbols, all under one table.
   *
   * @param {number} count
   * @param {number} number - The number of the table.
   * @param {TableSet} tables
   * @returns {Int32Array}
   * @throws {import("./errors.js").DfmError} No encoder wrote such a stream.
   */
  decodeArray(count, number, tables) {
    const symbols = new Int32Array(count);
    this.#decodeInOrder(new Uint16Array(count).fill(number), tables, symbols);
    return symbols;
  }

  /**
   * The next symbols, coded in the order of the numbers of their tables and in their own order among equals.
   *
   * @param {Uint16Array} numbers - The number of the table of each symbol.
   * @param {TableSet} tables
   * @param {Int32Array} out - Gets the symbols in their own order; as long as `numbers`.
   * @throws {import("./errors.js").DfmError} No encoder wrote such a stream.
   */
  decodePass(numbers, tables, out) {
    const starts = new Uint32Array(tables.count + 1);
    for (const number of numbers) starts[number + 1]++;
    for (let number = 0; number < tables.count; number++) starts[number + 1] += starts[number];
    const places = new Uint32Array(numbers.length); // of each symbol in the sorted order
    const sorted = new Uint16Array(numbers.length);
    for (let i = 0; i < numbers.length; i++) {
      places[i] = starts[numbers[i]]++;
      sorted[places[i]] = numbers[i];
    }
    const symbols = new Int32Array(numbers.length);
    this.#decodeInOrder(sorted, tables, symbols);
    for (let i = 0; i < numbers.length; i++) out[i] = symbols[places[i]];
  }

  /**
   * The next symbols in their own order, whose low parts come by their number of bits.
   *
   * @param {Uint16Array} numbers - The number of the table of each symbol.
   * @param {TableSet} tables
   * @param {Int32Array} out - Gets the symbols; as long as `numbers`.
   * @throws {import("./errors.js").DfmError} No encoder wrote such a stream.
   */
  decodeEach(numbers, tables, out) {
    let shifts = this.#decodeHigh(numbers, tables, out);
    for (let shift = 1; shifts >> shift; shift++) {
      if (!((shifts >> shift) & 1)) continue;
      for (let i = 0; i < numbers.length; i++) {
        if (tables.shifts[numbers[i]] === shift) out[i] = this.#joinLow(out[i], shift);
      }
    }
  }

  /** The next symbols in their own order, low parts too. @type {RangeDecoder["decodeEach"]} */
  #decodeInOrder(numbers, tables, out) {
    if (this.#decodeHigh(numbers, tables, out) <= 1) return; // no table has low parts
    for (let i = 0; i < numbers.length; i++) {
      const shift = tables.shifts[numbers[i]];
      if (shift) out[i] = this.#joinLow(out[i], shift);
    }
  }

  /** @param {number} high @param {number} shift */
  #joinLow(high, shift) {
    return (high << shift) + this.#number(shift) - ((1 << shift) >> 1);
  }

  /**
   * Reads the high parts of symbols: their entries, and what follows escapes.
   *
   * @param {Uint16Array} numbers @param {TableSet} tables @param {Int32Array} out
   * @returns {number} The shifts of the tables, bit by bit: bit s is 1 where a symbol has s low bits.
   */
  #decodeHigh(numbers, tables, out) {
    const escapes = this.#decodeEntries(numbers, tables, out);
    if (escapes) this.#decodeEscapes(out, escapes);
    let shifts = 0;
    for (let i = 0; i < numbers.length; i++) {
      const shift = tables.shifts[numbers[i]];
      shifts |= 1 << shift;
      if (Math.abs(out[i]) > MAX_SYMBOL >> shift) throw damaged(`a coded section holds a symbol beyond ${MAX_SYMBOL}`);
    }
    return shifts;
  }

  /**
   * Reads one entry under each table, as `entry - 64`; escapes are 65.
   *
   * @param {Uint16Array} numbers @param {TableSet} tables @param {Int32Array} out
   * @returns {number} The number of escapes.
   */
  #decodeEntries(numbers, tables, out) {
    const { cumulative, guide } = tables;
    let escapes = 0;
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i];
      const quantile = this.#quantile();
      const base = number * (TABLE_SIZE + 1);
      let entry = guide[(number << GUIDE_BITS) + (quantile >>> GUIDE_SHIFT)];
      while (cumulative[base + entry + 1] <= quantile) entry++;
      const before = cumulative[base + entry];
      this.#take(before, cumulative[base + entry + 1] - before);
      if (entry === ESCAPE) escapes++;
      out[i] = entry - RADIUS;
    }
    return escapes;
  }

  /** Replaces the escapes among high parts. @param {Int32Array} out @param {number} count */
  #decodeEscapes(out, count) {
    const lengths = this.#numbers(count, 5);
    const longest = lengths.reduce((a, b) => Math.max(a, b));
    if (lengths.some((length) => length < 1 || length > LONGEST_EXCESS)) {
      throw damaged("a coded section holds an impossible symbol");
    }
    const negative = this.#numbers(count, 1);
    const excess = lengths.map((length) => 1 << (length - 1));
    for (let length = 2; length <= longest; length++) {
      // in two parts: a number has at most 24 bits
      for (const [first, bits] of [[0, Math.min(12, length - 1)], [12, length - 13]]) {
        if (bits <= 0) continue;
        for (let i = 0; i < count; i++) if (lengths[i] === length) excess[i] += this.#number(bits) << first;
      }
    }
    let escape = 0;
    for (let i = 0; i < out.length; i++) {
      if (out[i] !== ESCAPE - RADIUS) continue;
      out[i] = negative[escape] ? -RADIUS - excess[escape] : RADIUS + excess[escape];
      escape++;
    }
  }

  /** The given number of numbers of the given bits. @param {number} count @param {number} bits */
  #numbers(count, bits) {
    return Int32Array.from({ length: count }, () => this.#number(bits));
  }

  /** A number of 1..24 bits. @param {number} bits */
  #number(bits) {
    const value = this.#quantile() >>> (24 - bits);
    this.#take(value << (24 - bits), 1 << (24 - bits));
    return value;
  }

  /** The quantile: the distance divided by the scale, rounded down. */
  #quantile() {
    const scale = this.#scale;
    let quantile = Math.floor((this.#distance * LIMB + this.#distanceLow) / scale);
    // The distance has up to 64 bits, so its double and the quotient are rounded; but the remainder is exact.
    const scaleHigh = Math.floor(scale * PART);
    const scaleLow = scale - scaleHigh * LIMB;
    const rest = (this.#distance - quantile * scaleHigh) * LIMB + (this.#distanceLow - quantile * scaleLow);
    if (rest < 0) quantile--;
    else if (rest >= scale) quantile++;
    if (quantile >= TOTAL) throw damaged("a coded section is not a valid range-coder stream");
    return quantile;
  }

  /** Narrows the range to an entry. @param {number} before - c. @param {number} frequency - f. */
  #take(before, frequency) {
    const scaleHigh = Math.floor(this.#scale * PART);
    const scaleLow = this.#scale - scaleHigh * LIMB;

    const low = this.#distanceLow - before * scaleLow;
    const borrow = Math.floor(low * PART);
    this.#distance += borrow - before * scaleHigh;
    this.#distanceLow = low - borrow * LIMB;

    const rangeLow = frequency * scaleLow;
    const carry = Math.floor(rangeLow * PART);
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
