import assert from "node:assert/strict";
import { test } from "node:test";
import { DfmError } from "../src/errors.js";
import { readMetadata } from "../src/metadata.js";

const ICC = [0xa3, 0x69, 0x63, 0x63]; // "icc"
const XMP = [0xd9, 3, 0x78, 0x6d, 0x70]; // "xmp", with a length of its own

test("reads a map of names and bytes", () => {
  const metadata = readMetadata(Uint8Array.of(0x82, ...ICC, 0xc4, 2, 5, 6, ...XMP, 0xc5, 0, 1, 7));
  assert.deepEqual(metadata, { icc: Uint8Array.of(5, 6), exif: null, xmp: Uint8Array.of(7), cicp: null, bits: null });
  assert.deepEqual(readMetadata(null), { icc: null, exif: null, xmp: null, cicp: null, bits: null });
  const other = [0xa3, 0x61, 0x62, 0x63, 0xc4, 1, 9]; // of a later version
  const cicp = [0xa4, 0x63, 0x69, 0x63, 0x70, 0xc4, 4, 9, 16, 0, 1];
  const bits = [0xa4, 0x62, 0x69, 0x74, 0x73, 0xc4, 1, 12];
  const known = readMetadata(Uint8Array.of(0x83, ...other, ...cicp, ...bits));
  assert.deepEqual(known, { icc: null, exif: null, xmp: null, cicp: Uint8Array.of(9, 16, 0, 1), bits: 12 });
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
    assert.throws(() => readMetadata(Uint8Array.from(body)), { kind: "corrupt" }, String(body));
  }
  assert.throws(() => readMetadata(new Uint8Array(2 ** 24 + 1)), DfmError);
});
