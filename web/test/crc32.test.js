import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, littleEndianBytes } from "../src/crc32.js";

const bytes = new TextEncoder().encode("123456789");

test("the CRC-32 has its well-known value", () => {
  assert.equal(crc32(bytes), 0xcbf43926);
  assert.equal(crc32(new Uint8Array(0)), 0);
});

test("the CRC-32 of parts is that of the whole", () => {
  for (let at = 0; at <= bytes.length; at++) {
    assert.equal(crc32(bytes.subarray(at), crc32(bytes.subarray(0, at))), 0xcbf43926);
  }
});

test("integers are checked as little-endian bytes", () => {
  assert.deepEqual([...littleEndianBytes(Int32Array.of(1, -2))], [1, 0, 0, 0, 254, 255, 255, 255]);
});
