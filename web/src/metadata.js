/**
 * The metadata section: a msgpack map of ICC profile, Exif block, XMP packet, colour code points and significant bits
 * ("Metadata section" in docs/format.md).
 */

import { DfmError, damaged } from "./errors.js";

const MAX_METADATA_BYTES = 2 ** 24;
const NAMES = ["icc", "exif", "xmp", "cicp"];
const CICP_BYTES = 4;
/** The bytes before the TIFF stream of an Exif block, which files may leave out. */
export const EXIF_PREFIX = Uint8Array.from("Exif\0\0", (letter) => letter.charCodeAt(0));
const TIFF_SIGNATURES = ["II*\0", "MM\0*"];
// Defined values of ITU-T H.273.
const COLOUR_PRIMARIES = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 22];
const TRANSFER_CHARACTERISTICS = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];
const RGB_MATRIX = 0;
const MOST_BITS = 15; // of samples that are scaled to 16 bits
const SHALLOW = 8; // bit depth at which all bits are significant
const [MOST_ENTRIES, LONGEST_NAME] = [64, 64]; // limits of a map; later versions may have further entries
const FIX_MAP = 0x80;
const [MAP_16, MAP_32] = [0xde, 0xdf];
const FIX_STRING = 0xa0;
const STRINGS = [0xd9, 0xda, 0xdb]; // with lengths of 1, 2 and 4 bytes
const BINARIES = [0xc4, 0xc5, 0xc6];

/** Reader of consecutive numbers and bytes. Throws an error beyond the end. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  take(count) {
    if (count > this.bytes.length - this.at) throw unreadable();
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }

  /** Reads a number of the given bytes, big-endian. */
  number(count) {
    return this.take(count).reduce((number, byte) => 256 * number + byte, 0);
  }

  mapLength() {
    const tag = this.number(1);
    if (tag >> 4 === FIX_MAP >> 4) return tag & 15;
    if (tag === MAP_16 || tag === MAP_32) return this.number(tag === MAP_16 ? 2 : 4);
    throw unreadable();
  }

  string() {
    const tag = this.number(1);
    const kind = STRINGS.indexOf(tag);
    if (tag >> 5 !== FIX_STRING >> 5 && kind < 0) throw unreadable();
    const bytes = this.take(kind < 0 ? tag & 31 : this.number(1 << kind));
    if (bytes.length > LONGEST_NAME) throw unreadable();
    return decodedText(bytes);
  }

  binary() {
    const kind = BINARIES.indexOf(this.number(1));
    if (kind < 0) throw unreadable();
    return this.take(this.number(1 << kind));
  }
}

/**
 * Reads the metadata section. Exif blocks get their prefix if they have none.
 *
 * @param {Uint8Array|null} body the section; null if there is none
 * @param {number} bitDepth of the samples
 * @returns {{icc: Uint8Array|null, exif: Uint8Array|null, xmp: Uint8Array|null, cicp: Uint8Array|null, significantBits: number|null}}
 * @throws {DfmError}
 */
export function readMetadata(body, bitDepth) {
  const metadata = { icc: null, exif: null, xmp: null, cicp: null, significantBits: null };
  if (!body) return metadata;
  if (body.length > MAX_METADATA_BYTES) {
    throw new DfmError("limit", `${body.length} bytes of metadata, more than the limit of ${MAX_METADATA_BYTES}`);
  }
  const reader = new Reader(body);
  const count = reader.mapLength();
  if (count > MOST_ENTRIES) throw unreadable();
  const seen = new Set();
  for (let entry = 0; entry < count; entry++) {
    const name = reader.string();
    if (seen.has(name)) throw unreadable();
    seen.add(name);
    const value = reader.binary();
    if (name === "cicp" && value.length !== CICP_BYTES) throw unreadable();
    if (name === "bits") {
      if (value.length !== 1 || value[0] < 1 || value[0] > MOST_BITS) throw unreadable();
      metadata.significantBits = bitDepth === SHALLOW ? null : value[0];
    }
    if (name === "cicp" && !areCodePoints(value)) continue;
    if (NAMES.includes(name) && value.length) metadata[name] = value.slice();
  }
  if (reader.at !== body.length) throw unreadable();
  return { ...metadata, exif: metadata.exif && withPrefix(metadata.exif) };
}

/** @param {Uint8Array} exif */
function withPrefix(exif) {
  if (!TIFF_SIGNATURES.includes(String.fromCharCode(...exif.subarray(0, 4)))) return exif;
  const block = new Uint8Array(EXIF_PREFIX.length + exif.length);
  block.set(EXIF_PREFIX);
  block.set(exif, EXIF_PREFIX.length);
  return block;
}

/**
 * Whether bytes are defined code points of RGB samples.
 *
 * @param {Uint8Array} cicp
 */
export function areCodePoints(cicp) {
  const [primaries, transfer, matrix, fullRange] = cicp;
  const areDefined = COLOUR_PRIMARIES.includes(primaries) && TRANSFER_CHARACTERISTICS.includes(transfer);
  return cicp.length === CICP_BYTES && areDefined && matrix === RGB_MATRIX && fullRange <= 1;
}

/** Decodes UTF-8 and throws an error if it is invalid. A byte order mark is kept as a character. */
function decodedText(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw unreadable();
  }
}

function unreadable() {
  return damaged("the metadata section cannot be read");
}
