import assert from "node:assert/strict";
import { test } from "node:test";

import { crc32 } from "../src/crc32.js";
import { DfmError } from "../src/errors.js";
import {
  LAST_DIRECT, MAX_SYMBOL, RangeDecoder, TABLE_SIZE, TableSet, checkLength, frequenciesWithMean, laplaceTables,
  tablesWithLaplace,
} from "../src/range_coder.js";
import { randomIntegers } from "./random.js";

const MASK = (1n << 64n) - 1n;

/** The range decoder as the document has it, with integers of any size. */
class Reference {
  constructor(bytes) {
    this.words = Array.from({ length: bytes.length / 4 }, (_, i) =>
      [3, 2, 1, 0].reduce((word, at) => (word << 8n) | BigInt(bytes[4 * i + at]), 0n),
    );
    this.lower = 0n;
    this.range = MASK;
    this.point = (this.word() << 32n) | this.word();
  }

  word() {
    return this.words.shift() ?? 0n;
  }

  quantile() {
    const quantile = ((this.point - this.lower) & MASK) / (this.range >> 24n);
    if (quantile >= 1n << 24n) throw new DfmError("corrupt", "invalid");
    return Number(quantile);
  }

  take(before, frequency) {
    const scale = this.range >> 24n;
    this.lower = (this.lower + scale * BigInt(before)) & MASK;
    this.range = scale * BigInt(frequency);
    if (this.range < 1n << 32n) {
      this.lower = (this.lower << 32n) & MASK;
      this.range <<= 32n;
      this.point = ((this.point << 32n) & MASK) | this.word();
    }
  }

  /** The number of the entry whose interval [bounds[i], bounds[i + 1]) has the quantile. */
  entry(bounds) {
    const quantile = this.quantile();
    const entry = bounds.findLastIndex((bound) => bound <= quantile);
    this.take(bounds[entry], bounds[entry + 1] - bounds[entry]);
    return entry;
  }

  number(bits) {
    const value = Math.floor(this.quantile() / 2 ** (24 - bits));
    this.take(value * 2 ** (24 - bits), 2 ** (24 - bits));
    return value;
  }

  /** An array of symbols; `order` sorts those whose low parts follow. */
  symbols(numbers, tables, order) {
    const bounds = (number) => tables.cumulative.subarray(number * (TABLE_SIZE + 1), (number + 1) * (TABLE_SIZE + 1));
    const high = Array.from(numbers, (number) => this.entry(bounds(number)) - 64);
    const escapes = high.flatMap((entry, i) => (entry === 65 ? [i] : []));
    const lengths = escapes.map(() => this.number(5));
    if (lengths.some((length) => length < 1 || length > 26)) throw new DfmError("corrupt", "length");
    const signs = escapes.map(() => this.number(1));
    const excess = lengths.map((length) => 2 ** (length - 1));
    for (let length = 2; length <= Math.max(...lengths, 0); length++) {
      const these = lengths.flatMap((other, i) => (other === length ? [i] : []));
      for (const i of these) excess[i] += this.number(Math.min(12, length - 1));
      if (length > 13) for (const i of these) excess[i] += this.number(length - 13) * 2 ** 12;
    }
    escapes.forEach((at, i) => (high[at] = (signs[i] ? -1 : 1) * (64 + excess[i])));
    const shifts = Array.from(numbers, (number) => tables.shifts[number]);
    if (high.some((symbol, i) => Math.abs(symbol) * 2 ** shifts[i] > MAX_SYMBOL)) throw new DfmError("corrupt", "size");
    const symbols = high.map((symbol, i) => symbol * 2 ** shifts[i]);
    const withLow = shifts.flatMap((shift, i) => (shift ? [i] : []));
    for (const i of order(withLow, shifts)) symbols[i] += this.number(shifts[i]) - Math.floor(2 ** shifts[i] / 2);
    return symbols;
  }
}

const IN_ORDER = (places) => places;
const BY_SHIFT = (places, shifts) => [...places].sort((a, b) => shifts[a] - shifts[b] || a - b);

function gridTables() {
  const rows = [];
  for (let u = 0; u <= LAST_DIRECT; u++) {
    for (let n = 0; n <= 8; n++) rows.push(frequenciesWithMean(u, n));
  }
  return tablesWithLaplace(rows);
}

function frequenciesOf(tables) {
  const { count, cumulative } = tables;
  return Uint32Array.from({ length: count * TABLE_SIZE }, (_, i) => {
    const at = i + Math.floor(i / TABLE_SIZE); // a table has a cumulative frequency more than it has entries
    return cumulative[at + 1] - cumulative[at];
  });
}

test("tables have the frequencies of the package", () => {
  const checksum = (tables) => crc32(new Uint8Array(frequenciesOf(tables).buffer)) >>> 0;
  assert.equal(checksum(laplaceTables()), 2471476762);
  assert.equal(checksum(gridTables()), 1160638057);
});

test("a table whose frequencies do not sum to 2^24 is refused", () => {
  assert.throws(() => new TableSet([new Uint32Array(TABLE_SIZE).fill(1)], [0]), RangeError);
});

/** What decoding gives: symbols, or "corrupt". */
function outcome(decode) {
  try {
    return Array.from(decode());
  } catch (error) {
    assert.ok(error instanceof DfmError, String(error));
    return error.kind;
  }
}

test("symbols of any words are those of the document", () => {
  const random = randomIntegers(1);
  const tables = gridTables();
  const outcomes = { symbols: 0, corrupt: 0 };
  for (let round = 0; round < 300; round++) {
    const byte = () => (round % 3 ? random(0, 255) : random(0, 3) ? 0 : 255);
    const bytes = Uint8Array.from({ length: 4 * random(0, 39) }, byte);
    const numbers = Uint16Array.from({ length: 1 + random(0, 59) }, () => random(0, tables.count - 1));
    const [decoder, reference] = [new RangeDecoder(bytes), new Reference(bytes)];
    const each = outcome(() => {
      const out = new Int32Array(numbers.length);
      decoder.decodeEach(numbers, tables, out);
      return out;
    });
    assert.deepEqual(each, outcome(() => reference.symbols(numbers, tables, BY_SHIFT)));
    outcomes[each === "corrupt" ? "corrupt" : "symbols"]++;
    if (each === "corrupt") continue;
    const index = random(0, 111);
    const array = outcome(() => decoder.decodeArray(20, index, laplaceTables()));
    assert.deepEqual(array, outcome(() => reference.symbols(Array(20).fill(index), laplaceTables(), IN_ORDER)));
    if (array === "corrupt") continue;
    const pass = outcome(() => {
      const out = new Int32Array(numbers.length);
      decoder.decodePass(numbers, tables, out);
      return out;
    });
    assert.deepEqual(pass, outcome(() => passOf(reference, numbers, tables)));
  }
  assert.ok(outcomes.symbols > 50 && outcomes.corrupt > 50, JSON.stringify(outcomes));
});

/** Symbols that are coded in the order of their tables. */
function passOf(reference, numbers, tables) {
  const order = Array.from(numbers, (_, i) => i).sort((a, b) => numbers[a] - numbers[b] || a - b);
  const sorted = reference.symbols(order.map((i) => numbers[i]), tables, IN_ORDER);
  const symbols = [];
  order.forEach((place, i) => (symbols[place] = sorted[i]));
  return symbols;
}

test("escapes of many lengths are decoded", () => {
  const tables = laplaceTables();
  const random = randomIntegers(2);
  let largest = 0;
  for (let round = 0; round < 400; round++) {
    // the first word is in the last 2^-12 of all quantiles, which are the escape's
    const bytes = Uint8Array.from({ length: 24 }, () => random(0, 255));
    bytes[3] = 255;
    bytes[2] |= 0xf0;
    const numbers = Uint16Array.of(28);
    const got = outcome(() => new RangeDecoder(bytes).decodeArray(1, 28, tables));
    assert.deepEqual(got, outcome(() => new Reference(bytes).symbols(numbers, tables, IN_ORDER)));
    if (got !== "corrupt") largest = Math.max(largest, Math.abs(got[0]));
  }
  assert.ok(largest > 2 ** 21, String(largest));
});

test("a stream that ends within a word is refused", () => {
  assert.throws(() => new RangeDecoder(new Uint8Array(7)), { kind: "corrupt" });
});

test("streams that are too short for their symbols are refused", () => {
  checkLength(0, 10_000_000);
  assert.throws(() => checkLength(100, 90_000_000), { kind: "corrupt", message: /cannot hold/ });
});
