/**
 * The pretrained weights: what every file can rely on and none pays for ("Weights of model 1" in docs/format.md). They are
 * read from the file that make_weights.py writes, which describes its layout.
 */

import { crc32, littleEndianBytes } from "./crc32.js";
import { DfmError } from "./errors.js";
import { readUint32 } from "./header.js";

const MAGIC = [0x89, 0x44, 0x46, 0x4d, 0x50, 3];
const MAX_BYTES = 2 ** 25; // limit for the decompressed file
const TYPES = { i1: Int8Array, u1: Uint8Array, i4: Int32Array, u4: Uint32Array, f4: Float32Array };

/**
 * An array of pretrained weights.
 * @typedef {{shape: number[], data: Int8Array|Uint8Array|Int32Array|Uint32Array|Float32Array}} WeightArray
 */

/** The pretrained weights of all supported files. */
export class PretrainedWeights {
  #entries;
  #content;
  #bodies;
  #arrays = new Map();

  /** @param {Uint8Array} content the decompressed file */
  constructor(content) {
    if (content.length < 4) throw damaged();
    this.#content = content;
    this.#bodies = 4 + readUint32(content, 0);
    const { weights } = readHead(content.subarray(4, this.#bodies));
    this.#entries = new Map(weights.map((entry) => [entry.id, entry]));
  }

  /**
   * Returns the arrays of pretrained weights by name; the same objects at each call.
   * @param {string} model "wavelet" or "overfitted"
   * @param {number} id the weights id in a file
   * @returns {Record<string, WeightArray>}
   * @throws {DfmError} "unsupported-version": these weights do not exist; "corrupt": they are damaged
   */
  arraysOf(model, id) {
    const entry = this.#entries.get(id);
    if (entry?.model !== model) {
      const name = id.toString(16).padStart(8, "0");
      const what = `the file needs weights ${name}, which this version does not have`;
      const advice = "if it is from before version 0.1.0, encode its source again";
      const message = `${what}; if a later version wrote it, update dfmcodec; ${advice}`;
      throw new DfmError("unsupported-version", message);
    }
    if (!this.#arrays.has(id)) {
      const arrays = Object.fromEntries(entry.arrays.map(([name, ...rest]) => [name, this.#unpack(...rest)]));
      if (checksum(arrays) !== id) throw damaged();
      this.#arrays.set(id, arrays);
    }
    return this.#arrays.get(id);
  }

  /** Reads the numbers of an array, stored plane by plane. */
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

/** Returns the CRC-32 over the names and numbers of all arrays, in ascending order of names. */
function checksum(arrays) {
  let crc = 0;
  for (const name of Object.keys(arrays).sort()) {
    crc = crc32(littleEndianBytes(arrays[name].data), crc32(new TextEncoder().encode(name), crc));
  }
  return crc;
}

/**
 * Reads the file of the pretrained weights.
 * @param {Uint8Array} bytes of weights.bin
 * @returns {Promise<PretrainedWeights>}
 * @throws {DfmError} "corrupt": the file is damaged
 */
export async function loadWeights(bytes) {
  if (!MAGIC.every((byte, index) => bytes[index] === byte)) throw damaged();
  const packed = new Blob([bytes.subarray(MAGIC.length)]);
  return new PretrainedWeights(await unpacked(packed.stream().pipeThrough(new DecompressionStream("deflate"))));
}

/** Reads all bytes of a stream, up to the maximum size of the weights. */
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

function damaged() {
  return new DfmError("corrupt", "the file of the pretrained weights is damaged; get another copy of this decoder");
}
