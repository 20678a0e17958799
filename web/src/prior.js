/**
 * The priors: what every file can rely on and none pays for ("Prior" in docs/format.md). They are
 * read from the files that make_prior.py writes, which describes their layout. The first one lists
 * the priors of older files, which are loaded when a file needs them.
 */

import { crc32, littleEndianBytes } from "./crc32.js";
import { DfmError } from "./errors.js";
import { readUint32 } from "./header.js";

const MAGIC = [0x89, 0x44, 0x46, 0x4d, 0x50, 2];
const MAX_BYTES = 2 ** 25; // of an unpacked file
const TYPES = { i1: Int8Array, u1: Uint8Array, i4: Int32Array, u4: Uint32Array, f4: Float32Array };

/**
 * An array of a prior.
 * @typedef {{shape: number[], data: Int8Array|Uint8Array|Int32Array|Uint32Array|Float32Array}} PriorArray
 */

/** The priors of all readable files. */
export class Prior {
  /** @type {PriorFile[]} the first one lists those that are beside it */
  #files;
  #loadFile;
  /** @type {Map<number, Promise<void>>} what is being loaded, by prior id */
  #loads = new Map();

  /**
   * @param {PriorFile} first
   * @param {(name: string) => Promise<Uint8Array>} loadFile
   */
  constructor(first, loadFile) {
    this.#files = [first];
    this.#loadFile = loadFile;
  }

  /**
   * The arrays of a prior by name. Those of older priors are there when `load` has loaded them.
   * @param {string} model "latent" or "fitted"
   * @param {number} id the prior id that a file names
   * @returns {Record<string, PriorArray>}
   * @throws {DfmError} "unsupported-version": there is no such prior
   */
  arraysOf(model, id) {
    const file = this.#files.find((one) => one.has(model, id));
    if (file) return file.arraysOf(id);
    throw new DfmError("unsupported-version", `${needOf(id)}; update dfmcodec`);
  }

  /**
   * Loads a prior, if it is one of those beside the first file and is not there yet. No other id is
   * ever made a name of a file.
   * @param {string} model
   * @param {number} id the prior id that a file names
   * @throws {DfmError} "unsupported-version": it cannot be loaded; "corrupt": it is damaged
   */
  async load(model, id) {
    if (!this.#files[0].isBeside(model, id) || this.#files.some((file) => file.has(model, id))) return;
    if (!this.#loads.has(id)) this.#loads.set(id, this.#add(model, id).finally(() => this.#loads.delete(id)));
    await this.#loads.get(id);
  }

  async #add(model, id) {
    const bytes = await this.#loadFile(`prior-${nameOf(id)}.bin`).catch(({ message }) => {
      throw new DfmError("unsupported-version", `${needOf(id)}: ${message}`);
    });
    const file = await readPriorFile(bytes);
    if (!file.has(model, id)) throw damaged();
    this.#files.push(file);
  }
}

/** The priors of one file. */
class PriorFile {
  #entries;
  #beside;
  #content;
  #bodies;
  #arrays = new Map();

  /** @param {Uint8Array} content the unpacked file */
  constructor(content) {
    if (content.length < 4) throw damaged();
    this.#content = content;
    this.#bodies = 4 + readUint32(content, 0);
    const { priors, beside } = readHead(content.subarray(4, this.#bodies));
    this.#entries = new Map(priors.map((entry) => [entry.id, entry]));
    this.#beside = new Map(beside.map(({ model, id }) => [id, model]));
  }

  /** Whether a prior is in this file. */
  has(model, id) {
    return this.#entries.get(id)?.model === model;
  }

  /** Whether this file says that a prior is in a file beside it. */
  isBeside(model, id) {
    return this.#beside.get(id) === model;
  }

  /** The arrays of a prior that is in this file, always the same ones. */
  arraysOf(id) {
    if (!this.#arrays.has(id)) {
      const { arrays: entries } = this.#entries.get(id);
      const arrays = Object.fromEntries(entries.map(([name, ...rest]) => [name, this.#unpack(...rest)]));
      if (checksum(arrays) !== id) throw damaged();
      this.#arrays.set(id, arrays);
    }
    return this.#arrays.get(id);
  }

  /** The numbers of an array, whose bytes lie plane by plane. */
  #unpack(type, shape, offset) {
    const data = new TYPES[type](shape.reduce((product, side) => product * side, 1));
    const size = data.BYTES_PER_ELEMENT;
    const start = this.#bodies + offset;
    const planes = this.#content.subarray(start, start + data.byteLength);
    if (planes.length !== data.byteLength) throw damaged();
    const numbers = size === 1 ? data : new Int32Array(data.buffer);
    for (let at = 0; at < data.length; at++) {
      let stored = 0;
      for (let plane = size - 1; plane >= 0; plane--) stored = (stored << 8) | planes[plane * data.length + at];
      numbers[at] = type === "i4" ? (stored >>> 1) ^ -(stored & 1) : stored;
    }
    return { shape, data };
  }
}

function readHead(bytes) {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw damaged();
  }
}

/** The CRC-32 over the names and numbers of all arrays, in ascending order of their names. */
function checksum(arrays) {
  let crc = 0;
  for (const name of Object.keys(arrays).sort()) {
    crc = crc32(littleEndianBytes(arrays[name].data), crc32(new TextEncoder().encode(name), crc));
  }
  return crc;
}

/**
 * Reads the first file of the priors.
 * @param {Uint8Array} bytes of prior.bin, or of a file with all priors
 * @param {(name: string) => Promise<Uint8Array>} [loadFile] gives the bytes of a file that is beside it
 * @returns {Promise<Prior>}
 * @throws {DfmError} "corrupt": it is damaged
 */
export async function loadPrior(bytes, loadFile = loadNothing) {
  return new Prior(await readPriorFile(bytes), loadFile);
}

async function loadNothing(name) {
  throw new Error(`${name} was not given`);
}

/** @param {Uint8Array} bytes */
async function readPriorFile(bytes) {
  if (!MAGIC.every((byte, index) => bytes[index] === byte)) throw damaged();
  const packed = new Blob([bytes.subarray(MAGIC.length)]);
  return new PriorFile(await unpacked(packed.stream().pipeThrough(new DecompressionStream("deflate"))));
}

/** All bytes of a stream, as long as it is no longer than a prior can be. */
async function unpacked(stream) {
  const parts = [];
  let size = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => Promise.reject(damaged()));
    if (done) break;
    parts.push(value);
    size += value.length;
    if (size > MAX_BYTES) throw damaged();
  }
  const content = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    content.set(part, at);
    at += part.length;
  }
  return content;
}

/** A prior id as names of files and messages have it. */
function nameOf(id) {
  return id.toString(16).padStart(8, "0");
}

function needOf(id) {
  return `the file needs prior ${nameOf(id)}, which this program does not have`;
}

function damaged() {
  return new DfmError("corrupt", "the file of the priors is damaged; get another copy of this decoder");
}
