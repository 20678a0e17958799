/**
 * Kernels: the inner loops of the decoder. They run in WebAssembly with SIMD, compiled from the package's C
 * (`kernels/make_kernels.py`).
 *
 *     const kernels = await loadKernels();
 *     const space = kernels.workspace(bytes);          // one memory of a fixed size; its arrays never move
 *     const pixels = space.array(Uint8Array, length);
 *     space.run.planesToPixels({ planes, channels: 3, height, width, basis, scale, middle, peak, pixels });
 *
 * `dfmcodec/kernels/_compiled.pyi` describes the kernels and their arguments. Arrays of the workspace are read and
 * written where they are; others are copied, so they should be small.
 *
 * @module kernels
 */

import { KERNELS, PLAIN, RELAXED } from "./compiled_kernels.js";
import { allocate } from "./errors.js";
import { Matrix, turnRows } from "./float_rows.js";
import { damagedStream } from "./range_coder.js";

/** @typedef {import("./float_rows.js").RowKernels} RowKernels */

const PAGE_BYTES = 1 << 16;
const MOST_PAGES = (1 << 16) - 1; // limits the end to a 32-bit number
const SLACK_BYTES = 64; // a kernel may read this far beyond an array
const ALIGNMENT = 16;
const CALL_BYTES = 3 << 20; // of what a call may need: its arguments, arrays that are copied, and its own numbers
const OWN_PAGES = 10; // of the module itself, more than it has

/** @param {number} bytes */
const aligned = (bytes) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** @param {number} pages */
function newMemory(pages) {
  if (pages > MOST_PAGES) throw new RangeError("the memory is beyond 4 GiB");
  return new WebAssembly.Memory({ initial: pages, maximum: pages });
}

/** The compiled kernels. */
export class Kernels {
  #module;

  /** @param {WebAssembly.Module} module */
  constructor(module) {
    this.#module = module;
  }

  /**
   * Creates a memory for arrays, with the kernels that work on it.
   *
   * @param {number} bytes - The total size of its arrays, each rounded up to 16 bytes.
   * @param {number} [callBytes] - The memory of a call beyond 3 MB.
   * @throws {DfmError} Memory is insufficient.
   */
  workspace(bytes, callBytes = 0) {
    const end = OWN_PAGES * PAGE_BYTES + aligned(bytes) + SLACK_BYTES;
    const pages = Math.ceil((end + CALL_BYTES + callBytes) / PAGE_BYTES);
    const memory = allocate(() => newMemory(pages));
    return new Workspace(memory.buffer, end, new CompiledModule(this.#module, memory, end));
  }
}

/**
 * Loads the kernels.
 *
 * @param {string[]} [modules] - The modules in base64, the best first.
 * @returns {Promise<Kernels>}
 * @throws {Error} The browser or the policy of the page does not permit WebAssembly with SIMD, or memory is insufficient.
 */
export async function loadKernels(modules = [RELAXED, PLAIN]) {
  let reason = "this browser has no WebAssembly with SIMD, which decoding needs";
  const possible = typeof WebAssembly === "object" ? modules.map(bytesOf) : [];
  for (const bytes of possible.filter((module) => WebAssembly.validate(module))) {
    try {
      const { module, instance } = await WebAssembly.instantiate(bytes, { env: { memory: newMemory(OWN_PAGES) } });
      if (/** @type {any} */ (instance.exports).is_exact()) return new Kernels(module);
    } catch (error) {
      reason = `WebAssembly, which decoding needs, does not start: ${/** @type {Error} */ (error).message}`;
    }
  }
  throw new Error(reason);
}

/** @param {string} base64 */
const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** @type {Promise<Kernels>|null} */
let shared = null;

/** Returns the kernels, which are compiled once. */
export function sharedKernels() {
  shared ??= loadKernels();
  return shared;
}

/** The WebAssembly module with its memory. */
class CompiledModule {
  #bytes;
  #view;
  #free;

  /**
   * @param {WebAssembly.Module} compiled @param {WebAssembly.Memory} memory
   * @param {number} free - Start of the memory for calls; it extends to the end.
   */
  constructor(compiled, memory, free) {
    const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
    this.exports = /** @type {Record<string, any>} */ (exports);
    /** Offset of the first byte after the memory of the module itself. */
    this.start = this.exports.__heap_base.value;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
    this.#free = free;
    /** @type {any} */
    this.kernels = {};
    KERNELS.forEach(({ name, bytes, fields }, number) => {
      this.kernels[name] = (/** @type {any} */ values) => this.#call(number, bytes, fields, values);
    });
  }

  /** @param {number} place - Offset of zero-terminated text. */
  #text(place) {
    return String.fromCharCode(...this.#bytes.subarray(place, this.#bytes.indexOf(0, place)));
  }

  /** @param {number} number @param {number} bytes @param {any[][]} fields @param {any} values */
  #call(number, bytes, fields, values) {
    const room = { end: aligned(this.#free + bytes), copies: /** @type {[Uint8Array, number][]} */ ([]) };
    this.#write(fields, values, this.#free, room);
    if (!this.exports.call_kernel(number, this.#free, room.end, this.#bytes.length)) throw this.#error();
    for (const [copy, place] of room.copies) copy.set(this.#bytes.subarray(place, place + copy.length));
    return this.exports.result();
  }

  /**
   * Writes the struct of a kernel or of a group.
   *
   * @param {any[][]} fields @param {any} values @param {number} start - Where it is.
   * @param {{ end: number, copies: [Uint8Array, number][] }} room - Where copies can be; those that the kernel writes.
   */
  #write(fields, values, start, room) {
    for (const [name, kind, offset, inner] of fields) {
      const value = values[name];
      if (value === undefined) throw new TypeError(`a kernel is called without ${name}`);
      const place = start + offset;
      if (kind === "group") this.#write(inner, value, place, room);
      else if (kind === "real") this.#view.setFloat64(place, value, true);
      else if (kind === "number") this.#view.setInt32(place, value, true);
      else {
        this.#view.setInt32(place, this.#placeOf(value, kind !== "read", room), true);
        this.#view.setInt32(place + 4, kind === "bytes" ? value.byteLength : value.length, true);
      }
    }
  }

  /** @param {any} array @param {boolean} isWritten @param {{ end: number, copies: [Uint8Array, number][] }} room */
  #placeOf(array, isWritten, room) {
    if (array.buffer === this.#bytes.buffer) return array.byteOffset;
    const place = room.end;
    room.end += aligned(array.byteLength + SLACK_BYTES);
    if (room.end > this.#bytes.length) throw new RangeError("the arrays of a call take too much room");
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    this.#bytes.set(bytes, place);
    if (isWritten) room.copies.push([bytes, place]);
    return place;
  }

  #error() {
    const text = this.exports.error();
    return new RangeError(text ? this.#text(text) : "a kernel has too little memory");
  }
}

/** @typedef {import("./range_coder.js").PlainReader} PlainReader */

/** Reader of the words of a stream with the kernel. */
class CompiledReader {
  #run;
  #state = new BigUint64Array(4);
  #words;

  /** @param {any} run @param {Uint32Array} words */
  constructor(run, words) {
    this.#run = run;
    this.#words = words;
    run.startDecoding({ state: this.#state, words });
  }

  /** @type {PlainReader["highs"]} */
  highs(numbers, { cumulative, guide, shifts }, isSorted, order, out) {
    const unfinished = this.#run.decodeHighs({
      state: this.#state, words: this.#words, cumulative, guide, shifts, numbers, isSorted, order, highs: out,
    });
    if (unfinished < 0) throw damagedStream();
    return unfinished;
  }

  /** @type {PlainReader["bits"]} */
  bits(bits, out) {
    const isValid = this.#run.decodeBits({ state: this.#state, words: this.#words, bits, values: out });
    if (!isValid) throw damagedStream();
  }
}

/** A memory of fixed size. The `byteOffset` of an array is its location in this memory. */
export class Workspace {
  #next;
  #end;

  /**
   * @param {ArrayBuffer} buffer
   * @param {number} end - The end of the range for arrays.
   * @param {CompiledModule} module
   */
  constructor(buffer, end, module) {
    this.buffer = buffer;
    this.#next = aligned(module.start);
    this.#end = end;
    /** The kernels. @type {any} */
    this.run = module.kernels;
    /** @type {RowKernels} */
    this.rows = /** @type {any} */ (module.exports);
  }

  /**
   * Allocates an array of zeros.
   *
   * @template {Int8Array|Uint8Array|Int16Array|Int32Array|Uint32Array|Float32Array} T
   * @param {{ new (buffer: ArrayBuffer, place: number, length: number): T, BYTES_PER_ELEMENT: number }} Type
   * @param {number} length
   * @returns {T}
   */
  array(Type, length) {
    const place = this.#next;
    this.#next += aligned(Type.BYTES_PER_ELEMENT * length);
    if (this.#next > this.#end) throw new RangeError("the workspace is too small");
    return new Type(this.buffer, place, length);
  }

  /** Copies an array to this memory. */
  copyOf(/** @type {any} */ array) {
    const copy = this.array(array.constructor, array.length);
    copy.set(array);
    return copy;
  }

  /** Copies tables, of `tableBytes`, to this memory. @param {import("./range_coder.js").TableSet} tables */
  tables({ count, cumulative, guide, shifts }) {
    const [sums, first, low] = [cumulative, guide, shifts].map((array) => this.copyOf(array));
    return { count, cumulative: sums, guide: first, shifts: low };
  }

  /** Allocates an array of zeros. @param {number} length */
  float32(length) {
    return this.array(Float32Array, length);
  }

  /** Creates a matrix. @param {import("./float_rows.js").MatrixWeights} weights */
  matrix(weights) {
    return new Matrix(this, weights);
  }

  /**
   * Computes cos a - 1 and sin a for angles a in radians. The arrays must be in this workspace, and their lengths must
   * be multiples of 8.
   *
   * @param {Float32Array} angles @param {Float32Array} cosines @param {Float32Array} sines
   */
  turn(angles, cosines, sines) {
    turnRows(this.rows, angles, cosines, sines);
  }

  /** Creates a reader of the words of a stream, for `RangeDecoder`. @param {Uint32Array} words */
  reader(words) {
    return new CompiledReader(this.run, words);
  }
}

/** Returns the number of bytes of tables in a workspace. @param {import("./range_coder.js").TableSet} tables */
export function tableBytes({ cumulative, guide, shifts }) {
  return bytesOfArrays([cumulative, guide, shifts].map(({ byteLength }) => byteLength));
}

/** Returns the number of bytes of arrays with these sizes in a workspace. @param {number[]} sizes - In bytes. */
export function bytesOfArrays(sizes) {
  return sizes.reduce((sum, size) => sum + aligned(size), 0);
}
