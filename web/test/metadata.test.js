import assert from "node:assert/strict";
import { test } from "node:test";
import { DfmError } from "../src/errors.js";
import { readMetadata } from "../src/metadata.js";

const ICC = [0xa3, 0x69, 0x63, 0x63]; // "icc"
const XMP = [0xd9, 3, 0x78, 0x6d, 0x70]; // "xmp", with a length of its own

test("reads a map of names and bytes", () => {
  const metadata = readMetadata(Uint8Array.of(0x82, ...ICC, 0xc4, 2, 5, 6, ...XMP, 0xc5, 0, 1, 7), 16);
  assert.deepEqual(metadata, { icc: Uint8Array.of(5, 6), exif: null, xmp: Uint8Array.of(7), cicp: null, significantBits: null });
  assert.deepEqual(readMetadata(null, 16), { icc: null, exif: null, xmp: null, cicp: null, significantBits: null });
  const other = [0xa3, 0x61, 0x62, 0x63, 0xc4, 1, 9]; // of a later version
  const cicp = [0xa4, 0x63, 0x69, 0x63, 0x70, 0xc4, 4, 9, 16, 0, 1];
  const bits = [0xa4, 0x62, 0x69, 0x74, 0x73, 0xc4, 1, 12];
  const known = readMetadata(Uint8Array.of(0x83, ...other, ...cicp, ...bits), 16);
  assert.deepEqual(known, { icc: null, exif: null, xmp: null, cicp: Uint8Array.of(9, 16, 0, 1), significantBits: 12 });
});

test("refuses everything else", () => {
  const value = [0xc4, 1, 9];
  const bodies = [
    [], // nothing
    [0x90], // a list
    [0x81, ...ICC, 0xa1, 0x61], // text instead of bytes
    [0x81, 0xa3, 0x61, 0x62, 0x63, 0x80], // another name, of a map
    [0x81, 0xa1, 0xff, ...value], // no UTF-8
    [0x81, 0xa4, 0x63, 0x69, 0x63, 0x70, ...value], // code points of one byte
    [0x81, 0xa4, 0x62, 0x69, 0x74, 0x73, 0xc4, 1, 16], // no fewer bits than 16
    [0x82, ...ICC, ...value, ...ICC, ...value], // a name twice
    [0x81, ...ICC, 0xc4, 2, 9], // too short
    [0x81, ...ICC, 0xc6, 0xff, 0xff, 0xff, 0xff], // much too short
    [0x81, ...ICC, ...value, 0], // bytes after the map
    [0x84, ...ICC, ...value], // more entries than there are names
    [0xdf, 0xff, 0xff, 0xff, 0xff, ...ICC, ...value],
    [0x81, 0x80, ...value], // a map for a name
  ];
  for (const body of bodies) {
    assert.throws(() => readMetadata(Uint8Array.from(body), 16), { kind: "corrupt" }, String(body));
  }
  assert.throws(() => readMetadata(new Uint8Array(2 ** 24 + 1), 16), DfmError);
});

/** A map of names and values, each as text of Latin-1. */
function packed(...entries) {
  const bytes = (text) => [...text].map((character) => character.charCodeAt(0));
  const packedEntries = entries.map(([name, value]) => [0xd9, name.length, ...bytes(name), 0xc4, value.length, ...bytes(value)]);
  return Uint8Array.from([0x80 + entries.length, ...packedEntries.flat()]);
}

test("an Exif block has its prefix, also if the file leaves it out", () => {
  const exifOf = (exif) => Buffer.from(readMetadata(packed(["exif", exif]), 16).exif).toString("latin1");
  for (const stream of ["II*\0\x08", "MM\0*\x08"]) {
    assert.equal(exifOf(stream), `Exif\0\0${stream}`);
    assert.equal(exifOf(`Exif\0\0${stream}`), `Exif\0\0${stream}`);
  }
  assert.equal(exifOf("other"), "other");
});

// tests/golden/test_reference_decoder.py has the same cases.
test("means the same as the other decoders", () => {
  const none = { icc: null, exif: null, xmp: null, cicp: null, significantBits: null };
  const icc = Uint8Array.of(0x78);
  assert.deepEqual(readMetadata(packed(["icc", "x"], ["exif", ""]), 16), { ...none, icc });
  assert.deepEqual(readMetadata(packed(["bits", "\x0a"]), 16), { ...none, significantBits: 10 });
  assert.deepEqual(readMetadata(packed(["bits", "\x0a"]), 8), none);
  assert.deepEqual(readMetadata(packed(["\xef\xbb\xbficc", "y"]), 16), none);
  assert.deepEqual(readMetadata(packed(["\xef\xbb\xbficc", "y"], ["icc", "x"]), 16), { ...none, icc });
  assert.deepEqual(readMetadata(packed(["k".repeat(64), "x"]), 16), none);
  const names = ["k".repeat(65), "\xc3\xa9".repeat(32) + "k", "\xff", "\xed\xa0\x80", "\xc0\x80"];
  for (const name of names) assert.throws(() => readMetadata(packed([name, "x"]), 16), { kind: "corrupt" }, name);
  for (const value of ["\x09", ""]) assert.throws(() => readMetadata(packed(["cicp", value]), 16), { kind: "corrupt" });
  const points = (...values) => readMetadata(packed(["cicp", String.fromCharCode(...values)]), 16);
  for (const kept of [[22, 18, 0, 0], [1, 1, 0, 1], [2, 2, 0, 1]]) {
    assert.deepEqual(points(...kept), { ...none, cicp: Uint8Array.from(kept) });
  }
  const ignored = [[9, 16, 9, 1], [9, 16, 0, 7], [0, 16, 0, 1], [3, 1, 0, 1], [13, 1, 0, 1], [9, 3, 0, 1], [9, 19, 0, 1]];
  for (const values of ignored) assert.deepEqual(points(...values), none, String(values));
});
