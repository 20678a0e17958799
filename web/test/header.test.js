import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "../src/crc32.js";
import { DfmError } from "../src/errors.js";
import { readHeader } from "../src/header.js";
import { examine, refuseDamage } from "../src/integrity.js";

const MAGIC = [0x89, 0x44, 0x46, 0x4d];
const REST = [0, 0, 0, 0]; // of the file: its CRC-32
const WAVELET = [1, 1, 3, 8, 20, 0, 10, 0, 0, 0, 1, 8, 1, 2, 64, 0, 0, 1, 2, 3, 4];

/** A wavelet file of one section with the right CRC-32. */
function fileOf(fields, section = [3, 2, 0, 0, 0], body = [5, 6]) {
  const content = Uint8Array.from([...MAGIC, ...fields, ...section, ...body, ...REST]);
  new DataView(content.buffer).setUint32(content.length - 4, crc32(content.subarray(0, -4)), true);
  return content;
}

/** The section table of latents and an empty section. */
const TWO = (id) => [3, 2, 0, 0, 0, id, 0, 0, 0, 0];

/** The fields with another value at one place. */
const changed = (at, value) => WAVELET.map((byte, index) => (index === at ? value : byte));

test("reads the header of a file", () => {
  const header = readHeader(fileOf(WAVELET));
  assert.deepEqual([header.modelName, header.width, header.height, header.channels], ["wavelet", 20, 10, 3]);
  assert.deepEqual(header.values.weights_id, 0x04030201);
  assert.deepEqual([...header.sections], [["latents", { id: 3, start: 30, length: 2 }]]);
  assert.equal(header.fileBytes, 36);
});

test("refuses other values with the documented errors", () => {
  const refused = [
    [changed(0, 2), "unsupported-version", "version 2 (byte 4) is unknown to this program; update dfmcodec"],
    [changed(1, 4), "unsupported-version", "model 4 (byte 5) is unknown to this program; update dfmcodec"],
    [changed(2, 2), "corrupt", "the header is invalid: channels 2; the file is damaged"],
    [changed(4, 0), "limit", "the header is invalid: width 0; the file is damaged"],
    [changed(10, 3), "unsupported-version", "luma 3 (byte 14) is unknown to this program; update dfmcodec"],
    [changed(12, 1), "corrupt", "the file has no latents section; it is damaged", [2, 2, 0, 0, 0]],
    [changed(13, 7), "corrupt", "the header is invalid: levels 7; the file is damaged"],
    [WAVELET, "unsupported-version", "section 13 is unknown to this program; update dfmcodec", [13, 2, 0, 0, 0]],
    [WAVELET, "unsupported-version", "section 127 is unknown to this program; update dfmcodec", [127, 2, 0, 0, 0]],
    [WAVELET, "corrupt", "the file has no latents section; it is damaged", [128, 2, 0, 0, 0]],
    [changed(12, 2), "corrupt", "the file has the weights section of another model; it is damaged", TWO(1)],
    [changed(12, 2), "corrupt", "the file has an rgb section that is not empty, or not of gray; it is damaged", TWO(7)],
  ];
  for (const [fields, kind, message, section] of refused) {
    assert.throws(() => readHeader(fileOf(fields, section)), { kind, message });
  }
  assert.throws(() => readHeader(fileOf(WAVELET), 199), { kind: "limit" });
});

test("refuses every prefix of a header, and other files", () => {
  const file = fileOf(WAVELET);
  for (let length = 0; length < 30; length++) {
    assert.throws(() => readHeader(file.subarray(0, length)), { kind: "truncated" }, String(length));
  }
  const foreign = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10]);
  assert.throws(() => readHeader(foreign), (error) => {
    assert.ok(error instanceof DfmError);
    assert.equal(error.kind, "not-dfm");
    const what = "its first bytes are b'\\x89PNG', not b'\\x89DFM'";
    assert.equal(error.message, `not a .dfm file: ${what}; name a file that dfm encode wrote`);
    return true;
  });
});

test("tells an intact file from a damaged and from a truncated one", () => {
  const file = fileOf(WAVELET);
  const stateOf = (data) => examine(data, readHeader(data));
  assert.doesNotThrow(() => refuseDamage(stateOf(file)));
  const damaged = file.slice();
  damaged[31] ^= 1;
  assert.throws(() => refuseDamage(stateOf(damaged)), { kind: "corrupt" });
  assert.throws(() => refuseDamage(stateOf(file.subarray(0, 33))), { kind: "truncated" });
  assert.throws(() => refuseDamage(stateOf(Uint8Array.of(...file, 0))), { kind: "corrupt" });
});
