/**
 * PNG encoder: 8 and 16 bits, gray or RGB, with or without alpha, with ICC profile, Exif and XMP. The CompressionStream
 * of the browser (or node) performs the compression.
 *
 * @typedef {object} Pixels
 * @property {number} width
 * @property {number} height
 * @property {1|2|3|4} channels  gray, gray and alpha, RGB, RGB and alpha
 * @property {8|16} bitDepth
 * @property {Uint8Array|Uint16Array} pixels  interleaved, row by row
 * @property {Uint8Array|null} [icc]
 * @property {Uint8Array|null} [exif]
 * @property {Uint8Array|null} [xmp]
 * @property {Uint8Array|null} [cicp]
 * @property {number|null} [significantBits] the number of significant bits of 16-bit samples, which are rounded to this precision
 */

import { crc32 } from "./crc32.js";
import { EXIF_PREFIX, areCodePoints } from "./metadata.js";

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const COLOUR_TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 };
const STRIP_BYTES = 1 << 20; // size of the strips in which rows are filtered and compressed

/**
 * Encodes an image as PNG, losslessly.
 *
 * @param {Pixels} image
 * @returns {Promise<Uint8Array>}
 */
export async function encodePng(image) {
  const chunks = [SIGNATURE, chunk("IHDR", headerOf(image))];
  if (image.significantBits && image.bitDepth === 16) chunks.push(chunk("sBIT", significantBits(image)));
  if (image.cicp && areCodePoints(image.cicp)) chunks.push(chunk("cICP", image.cicp));
  if (image.icc?.length) {
    chunks.push(chunk("iCCP", joined([latin1("ICC profile\0\0"), await deflated([image.icc])])));
  }
  if (image.exif?.length) chunks.push(chunk("eXIf", withoutPrefix(image.exif)));
  // Keyword, no compression, no language, no translated keyword, then the text.
  if (image.xmp?.length) chunks.push(chunk("iTXt", joined([latin1("XML:com.adobe.xmp\0\0\0\0\0"), image.xmp])));
  chunks.push(chunk("IDAT", await deflated(filteredStrips(image))), chunk("IEND", new Uint8Array(0)));
  return joined(chunks);
}

/**
 * Converts the image to 8 bits per sample: a 16-bit sample is 257 times its code value.
 *
 * @param {Pixels} image
 * @returns {Pixels}
 */
export function asEightBit(image) {
  if (image.bitDepth === 8) return image;
  const pixels = new Uint8Array(image.pixels.length);
  for (let i = 0; i < pixels.length; i++) pixels[i] = Math.round(image.pixels[i] / 257);
  return { ...image, bitDepth: 8, pixels };
}

/**
 * Returns the pixels in the form of a canvas: 8 bits, R, G, B and alpha.
 *
 * @param {Pixels} image
 * @returns {Uint8ClampedArray<ArrayBuffer>}
 */
export function asRgba(image) {
  const { channels, pixels } = asEightBit(image);
  const count = image.width * image.height;
  const rgba = new Uint8ClampedArray(4 * count);
  const isGray = channels < 3;
  const hasAlpha = channels === 2 || channels === 4;
  for (let i = 0, from = 0, to = 0; i < count; i++, from += channels, to += 4) {
    rgba[to] = pixels[from];
    rgba[to + 1] = pixels[isGray ? from : from + 1];
    rgba[to + 2] = pixels[isGray ? from : from + 2];
    rgba[to + 3] = hasAlpha ? pixels[from + channels - 1] : 255;
  }
  return rgba;
}

/** @param {Pixels} image */
function headerOf({ width, height, channels, bitDepth }) {
  const header = new Uint8Array(13); // compression, filter and interlace are 0
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = bitDepth;
  header[9] = COLOUR_TYPES[channels];
  return header;
}

/** Returns the number of significant bits of each channel; 16 for alpha. */
function significantBits({ channels, significantBits: bits }) {
  const ofChannels = new Uint8Array(channels).fill(bits);
  if (channels % 2 === 0) ofChannels[channels - 1] = 16;
  return ofChannels;
}

/** A PNG stores an Exif block without its prefix. @param {Uint8Array} exif */
function withoutPrefix(exif) {
  return EXIF_PREFIX.every((byte, i) => exif[i] === byte) ? exif.subarray(EXIF_PREFIX.length) : exif;
}

/**
 * Yields the rows in the form of PNG, strip by strip, each row preceded by its filter number.
 *
 * @param {Pixels} image
 */
function* filteredStrips(image) {
  const step = (image.channels * image.bitDepth) / 8;
  const rowBytes = image.width * step;
  const candidates = [new Uint8Array(rowBytes), new Uint8Array(rowBytes), new Uint8Array(rowBytes)];
  const rowsOfStrip = Math.max(1, Math.floor(STRIP_BYTES / rowBytes));
  let above = new Uint8Array(rowBytes);
  for (let top = 0; top < image.height; top += rowsOfStrip) {
    const rows = Math.min(rowsOfStrip, image.height - top);
    const strip = new Uint8Array(rows * (rowBytes + 1));
    for (let y = 0; y < rows; y++) {
      const row = bytesOfRow(image, top + y);
      writeFiltered(row, above, step, candidates, strip.subarray(y * (rowBytes + 1), (y + 1) * (rowBytes + 1)));
      above = row;
    }
    yield strip;
  }
}

/** Returns one row as bytes; 16-bit samples are big-endian. */
function bytesOfRow({ width, channels, bitDepth, pixels, significantBits: bits }, y) {
  let samples = pixels.subarray(y * width * channels, (y + 1) * width * channels);
  if (bitDepth === 8) return /** @type {Uint8Array} */ (samples);
  if (bits) {
    const peak = 2 ** bits - 1;
    const isAlpha = (i) => channels % 2 === 0 && i % channels === channels - 1;
    const rounded = (sample) => Math.round((Math.round((sample * peak) / 65535) * 65535) / peak);
    samples = samples.map((sample, i) => (isAlpha(i) ? sample : rounded(sample)));
  }
  const bytes = new Uint8Array(2 * samples.length);
  for (let i = 0; i < samples.length; i++) {
    bytes[2 * i] = samples[i] >> 8;
    bytes[2 * i + 1] = samples[i] & 255;
  }
  return bytes;
}

/**
 * Filters a row with the one of three filters (Sub, Up, Paeth) that gives the smallest magnitudes.
 *
 * @param {Uint8Array} row
 * @param {Uint8Array} above  the row before it, unfiltered
 * @param {number} step  bytes of a pixel
 * @param {Uint8Array[]} candidates workspace for three filtered rows
 * @param {Uint8Array} out  the number of the filter, then the filtered row
 */
function writeFiltered(row, above, step, [sub, up, paeth], out) {
  let subSum = 0;
  let upSum = 0;
  let paethSum = 0;
  for (let i = 0; i < row.length; i++) {
    const x = row[i];
    const left = i < step ? 0 : row[i - step];
    const top = above[i];
    const corner = i < step ? 0 : above[i - step];
    subSum += magnitude((sub[i] = x - left));
    upSum += magnitude((up[i] = x - top));
    paethSum += magnitude((paeth[i] = x - paethPredictor(left, top, corner)));
  }
  const least = Math.min(subSum, upSum, paethSum);
  const [number, filtered] = least === paethSum ? [4, paeth] : least === upSum ? [2, up] : [1, sub];
  out[0] = number;
  out.set(filtered, 1);
}

/** Returns the magnitude of a byte in two's complement, from a difference modulo 256. */
function magnitude(difference) {
  const signed = (difference << 24) >> 24;
  return signed < 0 ? -signed : signed;
}

/**
 * PNG filter 4 (Paeth): left, above or corner, whichever is closest to left + above - corner, preferring them in this
 * order.
 */
function paethPredictor(left, top, corner) {
  const fromLeft = Math.abs(top - corner);
  const fromTop = Math.abs(left - corner);
  const fromCorner = Math.abs(left + top - 2 * corner);
  if (fromLeft <= fromTop && fromLeft <= fromCorner) return left;
  return fromTop <= fromCorner ? top : corner;
}

/**
 * Compresses the parts to one zlib stream.
 *
 * @param {Iterable<Uint8Array>} parts
 */
async function deflated(parts) {
  const source = parts[Symbol.iterator]();
  const stream = new ReadableStream({
    pull(controller) {
      const { done, value } = source.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  const compressed = stream.pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(compressed).arrayBuffer());
}

/** Returns a chunk: length, name, data, and the CRC-32 of name and data. */
function chunk(name, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(latin1(name), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
  return bytes;
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function latin1(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
