/**
 * A small assembler: WebAssembly modules, written as expressions in JavaScript.
 *
 * Every function of `i32`, `f32x4`, `v128` and `control` gives code: the bytes of its operands and then those of its
 * instruction. So `i32.add(a.value, i32.constant(4))` is the code that leaves a + 4. The instructions are those of
 * the WebAssembly specification, with their names in words.
 *
 * @module assembler
 */

/**
 * Bytes, nested as they come.
 *
 * @typedef {number | Code[]} Code
 */

/** @param {number} value @returns {number[]} LEB128, unsigned */
const unsigned = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)]);

/** @param {number} value @returns {number[]} LEB128, signed */
const signed = (value) => (value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)]);

/** @param {Code} code @returns {number[]} */
const flat = (code) => /** @type {number[]} */ ([code].flat(Infinity));

const TYPE = { i32: 0x7f, v128: 0x7b };

/** @param {number} code @returns {(...operands: Code[]) => Code} */
const plain = (code) => (...operands) => [...operands, code];

/** @param {number} code @returns {(...operands: Code[]) => Code} */
const vector = (code) => (...operands) => [...operands, 0xfd, unsigned(code)];

/** @param {Code} operation @param {number} alignment @returns {(address: Code, offset?: number) => Code} */
const load = (operation, alignment) => (address, offset = 0) => [address, operation, alignment, unsigned(offset)];

/**
 * @param {Code} operation @param {number} alignment
 * @returns {(address: Code, value: Code, offset?: number) => Code}
 */
const store = (operation, alignment) => (address, value, offset = 0) => [
  address, value, operation, alignment, unsigned(offset),
];

export const i32 = {
  constant: (/** @type {number} */ value) => [0x41, signed(value)],
  load: load(0x28, 2),
  store: store(0x36, 2),
  add: plain(0x6a),
  isNot: plain(0x47),
};

export const v128 = {
  load: load([0xfd, 0x00], 1),
  loadSplat: load([0xfd, 0x09], 2), // the same 32 bits in all four parts
  store: store([0xfd, 0x0b], 2),
  or: vector(0x50),
  isAny: vector(0x53), // whether any bit is 1
  /** @param {number[]} lanes - Bytes of both operands, 0..31. @returns {(a: Code, b: Code) => Code} */
  shuffle: (lanes) => (a, b) => [a, b, 0xfd, 0x0d, lanes],
};

/** Eight integers of 16 bits. */
export const i16x8 = {
  magnitude: vector(0x80),
};

/** Four integers of 32 bits. */
export const i32x4 = {
  splat: vector(0x11),
  shiftLeft: vector(0xab),
  shiftRight: vector(0xac),
  add: vector(0xae),
  smaller: vector(0xb6),
  larger: vector(0xb8),
  dot: vector(0xba), // of two vectors of 16 bits: the sums of two products each
};

/** Four floats of 32 bits. */
export const f32x4 = {
  /** @param {number} value - In all four parts. */
  constant: (value) => [0xfd, 0x0c, Array(4).fill([...new Uint8Array(Float32Array.of(value).buffer)])],
  nearest: vector(0x6a),
  magnitude: vector(0xe0),
  add: vector(0xe4),
  subtract: vector(0xe5),
  multiply: vector(0xe6),
  smaller: vector(0xe8),
  larger: vector(0xe9),
  multiplyAdd: vector(0x105), // a b + c, rounded once or twice (relaxed SIMD)
};

export const control = {
  /** Repeats while the condition holds, at least once. @param {Code[]} body @param {Code} condition */
  repeat: (body, condition) => [0x03, 0x40, body, condition, 0x0d, 0, 0x0b],
  /** @param {Code} condition @param {Code[]} body */
  when: (condition, body) => [condition, 0x04, 0x40, body, 0x0b],
};

/**
 * A function of WebAssembly: its parameters are integers, and its locals are declared as they are needed.
 */
export class Assembly {
  /** @type {number[]} */
  #types = [];
  #parameters = 0;

  /** @param {number} count @returns {Local[]} */
  parameters(count) {
    this.#parameters = count;
    return this.integers(count);
  }

  /** @param {number} type @returns {Local} */
  #local(type) {
    const index = this.#types.push(type) - 1;
    return {
      value: [0x20, unsigned(index)],
      set: (/** @type {Code} */ value) => [value, 0x21, unsigned(index)],
      raise: (/** @type {Code} */ by) => [0x20, unsigned(index), by, 0x6a, 0x21, unsigned(index)],
    };
  }

  /** @param {number} count */
  integers(count) {
    return Array.from({ length: count }, () => this.#local(TYPE.i32));
  }

  /** @param {number} count */
  vectors(count) {
    return Array.from({ length: count }, () => this.#local(TYPE.v128));
  }

  /** The function's type: parameters and a result, if there is one. @param {boolean} hasResult */
  typeBytes(hasResult) {
    const parameters = Array(this.#parameters).fill(TYPE.i32);
    return [0x60, listed(parameters), hasResult ? [1, TYPE.i32] : [0]];
  }

  /** @param {Code[]} body */
  codeBytes(body) {
    const locals = this.#types.slice(this.#parameters).map((type) => [1, type]);
    return sized([listed(locals), body, 0x0b]);
  }
}

/** @typedef {{ value: Code, set: (value: Code) => Code, raise: (by: Code) => Code }} Local */

/** @param {Code[]} items @returns {Code} */
const listed = (items) => [unsigned(items.length), items];

/** @param {Code} code @returns {Code} */
const sized = (code) => [unsigned(flat(code).length), code];

/** @param {string} text @returns {Code} */
const named = (text) => listed([...text].map((letter) => letter.charCodeAt(0)));

/**
 * A module that imports a memory, `env.memory`, and exports functions.
 *
 * @param {Record<string, { type: Code, code: Code }>} functions
 * @returns {Uint8Array}
 */
export function assembleModule(functions) {
  const names = Object.keys(functions);
  const all = Object.values(functions);
  const section = (/** @type {number} */ id, /** @type {Code[]} */ items) => [id, sized(listed(items))];
  return Uint8Array.from(
    flat([
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, all.map(({ type }) => type)),
      section(2, [[named("env"), named("memory"), 2, 0, 1]]),
      section(3, all.map((_, index) => index)),
      section(7, names.map((name, index) => [named(name), 0, index])),
      section(10, all.map(({ code }) => code)),
    ]),
  );
}
