/**
 * The CRC-32 of ISO 3309, as in zlib and PNG ("CRC-32" in docs/format.md).
 */

const POLYNOMIAL = 0xedb88320;
const SLICES = 8; // number of bytes processed at a time

/** Table s contains, for each byte, the remainder of this byte followed by s zero bytes. */
const TABLES = makeTables();

function makeTables() {
  const tables = new Uint32Array(SLICES * 256);
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? POLYNOMIAL : 0);
    tables[byte] = remainder;
  }
  for (let index = 256; index < tables.length; index++) {
    const before = tables[index - 256];
    tables[index] = (before >>> 8) ^ tables[before & 255];
  }
  return tables;
}

/**
 * Returns the CRC-32 of bytes.
 * @param {Uint8Array} bytes
 * @param {number} [before] the CRC-32 of the preceding bytes; 0 for none
 * @returns {number} 0..2^32 - 1
 */
export function crc32(bytes, before = 0) {
  const t = TABLES;
  const sliced = bytes.length - (bytes.length % SLICES);
  let crc = ~before;
  let at = 0;
  for (; at < sliced; at += SLICES) {
    const low = crc ^ (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24));
    crc =
      t[1792 | (low & 255)] ^
      t[1536 | ((low >>> 8) & 255)] ^
      t[1280 | ((low >>> 16) & 255)] ^
      t[1024 | (low >>> 24)] ^
      t[768 | bytes[at + 4]] ^
      t[512 | bytes[at + 5]] ^
      t[256 | bytes[at + 6]] ^
      t[bytes[at + 7]];
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]) & 255];
  return ~crc >>> 0;
}

/**
 * Returns a check of the checks section: the lower half of the CRC-32.
 * @param {Uint8Array} bytes
 * @returns {number} 0..65535
 */
export function checkOf(bytes) {
  return crc32(bytes) & 0xffff;
}

/**
 * Returns the bytes of numbers for checksums: little-endian.
 * @param {Int32Array|Uint32Array|Float32Array|Int8Array|Uint8Array} numbers
 * @returns {Uint8Array} a view of the numbers if possible
 */
export function littleEndianBytes(numbers) {
  const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  if (IS_LITTLE_ENDIAN || numbers.BYTES_PER_ELEMENT === 1) return bytes;
  const turned = bytes.slice();
  const size = numbers.BYTES_PER_ELEMENT;
  for (let at = 0; at < turned.length; at += size) turned.subarray(at, at + size).reverse();
  return turned;
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
