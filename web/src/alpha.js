/**
 * The alpha section: lossless alpha in tiles, each a constant value or a lossless WebP ("Alpha section" in
 * docs/format.md).
 */

import { allocate, damaged } from "./errors.js";
import { Tiling, defaultTiles } from "./geometry.js";
import { readUint32 } from "./header.js";
import { WebpError, decodeLossless } from "./webp.js";

const ENTRY_BYTES = 5;
const [CONSTANT, WEBP] = [0, 1];
const RIFF_HEAD_BYTES = 8;
const CHUNK_START = 20;
const WEBP_HEAD_BYTES = 25;
const VP8L_SIGNATURE = 0x2f;

/**
 * Decodes the alpha of a region.
 * @param {Uint8Array} body the section
 * @param {import("./header.js").Header} header
 * @param {import("./geometry.js").Region} region
 * @returns {Uint8Array|Uint16Array} [H, W] of the region
 * @throws {import("./errors.js").DfmError}
 */
export function readAlpha(body, header, region) {
  const { height, width, bitDepth } = header;
  const tiling = new Tiling(height, width, defaultTiles(height), defaultTiles(width));
  const contents = readContents(body, tiling, bitDepth);
  const Samples = bitDepth === 8 ? Uint8Array : Uint16Array;
  const alpha = allocate(() => new Samples(region.height * region.width));
  tiling.tiles.forEach((tile, number) => {
    const part = tile.common(region);
    if (!part.isEmpty) fillPart(alpha, part, region, tile, contents[number], bitDepth);
  });
  return alpha;
}

/** Returns the constant value or the WebP file of each tile. Headers are checked before anything is decompressed. */
function readContents(body, tiling, bitDepth) {
  let start = ENTRY_BYTES * tiling.tiles.length;
  if (body.length < start) throw damaged("the alpha section is shorter than its table");
  const contents = tiling.tiles.map((tile, number) => {
    const kind = body[ENTRY_BYTES * number];
    const value = readUint32(body, ENTRY_BYTES * number + 1);
    if (kind === CONSTANT && value < 2 ** bitDepth) return value;
    const webp = body.subarray(start, start + value);
    if (kind !== WEBP || webp.length !== value || !isWebpOf(webp, tile)) {
      throw damaged(`the alpha section has an invalid tile (number ${number + 1})`);
    }
    start += value;
    return webp;
  });
  if (start !== body.length) throw damaged("bytes follow the end of the alpha section");
  return contents;
}

/** Whether bytes are a lossless WebP file with the size of a tile and without alpha of its own. */
function isWebpOf(bytes, tile) {
  if (bytes.length < WEBP_HEAD_BYTES) return false;
  const name = (start, end) => String.fromCharCode(...bytes.subarray(start, end));
  const chunkBytes = readUint32(bytes, 16);
  return (
    name(0, 4) === "RIFF" &&
    readUint32(bytes, 4) === bytes.length - RIFF_HEAD_BYTES &&
    name(8, 16) === "WEBPVP8L" &&
    bytes.length === CHUNK_START + chunkBytes + (chunkBytes % 2) &&
    bytes[CHUNK_START] === VP8L_SIGNATURE &&
    readUint32(bytes, CHUNK_START + 1) === ((tile.width - 1) | ((tile.height - 1) << 14)) >>> 0
  );
}

/** Writes the part of a tile that is in the region. */
function fillPart(alpha, part, region, tile, content, bitDepth) {
  const pixels = typeof content === "number" ? null : unpack(content, tile);
  for (let y = part.top; y < part.bottom; y++) {
    const target = (y - region.top) * region.width - region.left;
    if (!pixels) {
      alpha.fill(content, target + part.left, target + part.right);
      continue;
    }
    const source = (y - tile.top) * tile.width - tile.left;
    for (let x = part.left; x < part.right; x++) {
      const pixel = pixels[source + x];
      const red = (pixel >>> 16) & 255;
      alpha[target + x] = bitDepth === 8 ? red : red | (pixel & 0xff00);
    }
  }
}

function unpack(webp, tile) {
  try {
    const chunkBytes = readUint32(webp, 16);
    return decodeLossless(webp.subarray(WEBP_HEAD_BYTES, CHUNK_START + chunkBytes), tile.width, tile.height);
  } catch (error) {
    if (!(error instanceof WebpError)) throw error;
    throw damaged(`the alpha section cannot be read (${error.message})`);
  }
}
