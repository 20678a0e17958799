import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, inflateSync } from "node:zlib";

import { asEightBit, asRgba, encodePng } from "../src/png.js";

/** Pixels that no filter makes constant: a ramp with a pattern on it. */
function picture(width, height, channels, bitDepth) {
  const pixels = new (bitDepth === 8 ? Uint8Array : Uint16Array)(width * height * channels);
  for (let i = 0; i < pixels.length; i++) pixels[i] = (i * 2654435761) >>> (32 - bitDepth);
  for (let i = 0; i < pixels.length / 2; i++) pixels[i] = 3 * i;
  return { width, height, channels, bitDepth, pixels };
}

/** The chunks of a PNG, each with its CRC looked at: [name, data]. */
function chunksOf(png) {
  const view = new DataView(png.buffer, png.byteOffset, png.length);
  const chunks = [];
  let at = 8;
  while (at < png.length) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...png.subarray(at + 4, at + 8));
    const crc = crc32?.(png.subarray(at + 4, at + 8 + length));
    if (crc32) assert.equal(view.getUint32(at + 8 + length), crc);
    chunks.push([name, png.subarray(at + 8, at + 8 + length)]);
    at += 12 + length;
  }
  assert.equal(at, png.length);
  return chunks;
}

/** An independent PNG reader, written from the PNG specification: the raw bytes of all rows. */
function rowsOf(data, height, rowBytes, step) {
  const filtered = inflateSync(data);
  assert.equal(filtered.length, height * (rowBytes + 1));
  const rows = new Uint8Array(height * rowBytes);
  const at = (y, i) => (y < 0 || i < 0 ? 0 : rows[y * rowBytes + i]);
  for (let y = 0; y < height; y++) {
    const filter = filtered[y * (rowBytes + 1)];
    for (let i = 0; i < rowBytes; i++) {
      const [a, b, c] = [at(y, i - step), at(y - 1, i), i < step ? 0 : at(y - 1, i - step)];
      const p = a + b - c;
      const nearest = [a, b, c].reduce((best, x) => (Math.abs(p - x) < Math.abs(p - best) ? x : best));
      const prediction = { 0: 0, 1: a, 2: b, 3: (a + b) >> 1, 4: nearest }[filter];
      rows[y * rowBytes + i] = filtered[y * (rowBytes + 1) + 1 + i] + prediction;
    }
  }
  return rows;
}

for (const channels of [1, 2, 3, 4]) {
  for (const bitDepth of [8, 16]) {
    test(`${channels} channels of ${bitDepth} bits are in the file, bit by bit`, async () => {
      const image = picture(37, 23, channels, bitDepth);
      const chunks = new Map(chunksOf(await encodePng(image)));
      const header = chunks.get("IHDR");
      assert.deepEqual([...header.subarray(8)], [bitDepth, { 1: 0, 2: 4, 3: 2, 4: 6 }[channels], 0, 0, 0]);
      const step = (channels * bitDepth) / 8;
      const rows = rowsOf(chunks.get("IDAT"), 23, 37 * step, step);
      const view = new DataView(rows.buffer);
      for (let i = 0; i < image.pixels.length; i++) {
        assert.equal(bitDepth === 8 ? rows[i] : view.getUint16(2 * i), image.pixels[i]);
      }
    });
  }
}

test("samples of 10 bits are the nearest of 1024, and alpha keeps all of its own", async () => {
  const image = { width: 3, height: 1, channels: 2, bitDepth: 16, significantBits: 10 };
  const pixels = Uint16Array.of(0, 1, 40, 2, 65535, 3);
  const chunks = new Map(chunksOf(await encodePng({ ...image, pixels })));
  assert.deepEqual([...chunks.get("sBIT")], [10, 16]);
  const view = new DataView(rowsOf(chunks.get("IDAT"), 1, 12, 4).buffer);
  const written = Array.from(pixels, (_, i) => view.getUint16(2 * i));
  assert.deepEqual(written, [0, 1, 64, 2, 65535, 3]);
  const shallow = { ...image, bitDepth: 8, pixels: new Uint8Array(6) };
  assert.ok(!new Map(chunksOf(await encodePng(shallow))).has("sBIT"));
});

test("profile, Exif and XMP have their chunks, in PNG's order", async () => {
  const icc = Uint8Array.from({ length: 500 }, (_, i) => i % 7);
  const exif = Uint8Array.from("Exif\0\0MM\0*", (c) => c.charCodeAt(0));
  const xmp = new TextEncoder().encode("<x:xmpmeta/>");
  const chunks = chunksOf(await encodePng({ ...picture(5, 4, 3, 8), icc, exif, xmp }));
  assert.deepEqual(chunks.map(([name]) => name), ["IHDR", "iCCP", "eXIf", "iTXt", "IDAT", "IEND"]);
  const profile = chunks[1][1];
  assert.equal(Buffer.from(profile.subarray(0, 13)).toString("latin1"), "ICC profile\0\0");
  assert.deepEqual(new Uint8Array(inflateSync(profile.subarray(13))), icc);
  assert.equal(Buffer.from(chunks[2][1]).toString("latin1"), "MM\0*");
  assert.equal(Buffer.from(chunks[3][1]).toString("latin1"), "XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>");
});

test("only code points that are valid have a chunk", async () => {
  for (const [points, isKept] of [[[9, 16, 0, 1], true], [[9, 16, 9, 1], false], [[9, 16, 0, 7], false], [[], false]]) {
    const chunks = new Map(chunksOf(await encodePng({ ...picture(5, 4, 3, 8), cicp: Uint8Array.from(points) })));
    assert.equal(chunks.has("cICP"), isKept, String(points));
  }
});

test("an image wider than a strip, and one of many strips", async () => {
  for (const [width, height] of [[400_000, 2], [3, 200_000]]) {
    const image = picture(width, height, 3, 8);
    const chunks = new Map(chunksOf(await encodePng(image)));
    const filtered = inflateSync(chunks.get("IDAT"));
    assert.equal(filtered.length, height * (3 * width + 1));
  }
});

test("16 bits are shown as 8: 257 times a code value is that value", () => {
  const pixels = Uint16Array.of(0, 128, 129, 257, 65535, 65535 - 129);
  const image = asEightBit({ width: 6, height: 1, channels: 1, bitDepth: 16, pixels });
  assert.deepEqual([...image.pixels], [0, 0, 1, 1, 255, 254]);
  assert.equal(image.bitDepth, 8);
});

test("canvases get R, G, B and alpha from any channels", () => {
  const rgba = (channels, ...pixels) =>
    [...asRgba({ width: 1, height: 1, channels, bitDepth: 8, pixels: Uint8Array.from(pixels) })];
  assert.deepEqual(rgba(1, 7), [7, 7, 7, 255]);
  assert.deepEqual(rgba(2, 7, 9), [7, 7, 7, 9]);
  assert.deepEqual(rgba(3, 1, 2, 3), [1, 2, 3, 255]);
  assert.deepEqual(rgba(4, 1, 2, 3, 4), [1, 2, 3, 4]);
});
