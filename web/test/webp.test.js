import assert from "node:assert/strict";
import { test } from "node:test";
import { WebpError, decodeLossless } from "../src/webp.js";

/** Packs bits, the lowest of each byte first. */
function packed(numbers) {
  const bits = numbers.flatMap(([value, count]) => Array.from({ length: count }, (_, at) => (value >> at) & 1));
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, at) => (bytes[at >> 3] |= bit << (at & 7)));
  return bytes;
}

const NO_TRANSFORM = [0, 1];
const NO_CACHE = [0, 1];
const ONE_GROUP = [0, 1];
/** A code of the single symbol `value`, which takes no bits. */
const only = (value) => [[1, 1], [0, 1], [1, 1], [value, 8]];
/** A code of two symbols, which take a bit each. */
const either = (first, second) => [[1, 1], [1, 1], [1, 1], [first, 8], [second, 8]];

test("decodes pixels of simple codes", () => {
  const codes = [...either(7, 200), ...only(3), ...only(9), ...only(255), ...only(0)];
  const chunk = packed([NO_TRANSFORM, NO_CACHE, ONE_GROUP, ...codes, [0, 1], [1, 1], [1, 1]]);
  assert.deepEqual([...decodeLossless(chunk, 3, 1)], [0xff030709, 0xff03c809, 0xff03c809]);
});

test("reads past groups that no pixel uses", () => {
  const codes = [...only(10), ...only(1), ...only(250), ...only(255), ...only(0)];
  const groups = 0x300; // of which the last is used
  const high = [...only((groups - 1) & 255), ...only((groups - 1) >> 8), ...only(0), ...only(0), ...only(0)];
  const several = [[1, 1], [0, 3], NO_CACHE, ...high];
  const chunk = packed([NO_TRANSFORM, NO_CACHE, ...several, ...Array(groups).fill(codes).flat()]);
  assert.deepEqual([...decodeLossless(chunk, 2, 2)], Array(4).fill(0xff010afa));
});

test("passes over a symbol beyond the alphabet beside another", () => {
  const codes = [...only(10), ...only(1), ...only(250), ...only(255), ...either(0, 41)];
  const chunk = packed([NO_TRANSFORM, NO_CACHE, ONE_GROUP, ...codes]);
  assert.deepEqual([...decodeLossless(chunk, 2, 1)], [0xff010afa, 0xff010afa]);
});

test("undoes the subtraction of green", () => {
  const codes = [...only(10), ...only(1), ...only(250), ...only(255), ...only(0)];
  const chunk = packed([[1, 1], [2, 2], NO_TRANSFORM, NO_CACHE, ONE_GROUP, ...codes]);
  assert.deepEqual([...decodeLossless(chunk, 2, 1)], [0xff0b0a04, 0xff0b0a04]);
});

test("refuses what is not valid", () => {
  const codes = [...only(10), ...only(1), ...only(250), ...only(255), ...only(0)];
  const refused = {
    "a transform twice": [[1, 1], [2, 2], [1, 1], [2, 2], NO_TRANSFORM, NO_CACHE, ONE_GROUP, ...codes],
    "a colour cache of one": [NO_TRANSFORM, [1, 1], [0, 4], ONE_GROUP, ...codes],
    "a colour cache of 2^12": [NO_TRANSFORM, [1, 1], [12, 4], ONE_GROUP, ...codes],
    "a distance beyond the alphabet": [NO_TRANSFORM, NO_CACHE, ONE_GROUP, ...codes.slice(0, -4), ...only(40)],
    "a code without symbols": [NO_TRANSFORM, NO_CACHE, ONE_GROUP, [0, 1], [0, 4], [0, 12], [0, 1]],
    "an early end": [NO_TRANSFORM, NO_CACHE, ONE_GROUP, ...codes.slice(0, 8)],
  };
  for (const [what, numbers] of Object.entries(refused)) {
    assert.throws(() => decodeLossless(packed(numbers), 4, 4), WebpError, what);
  }
});

test("noise ends in an image or an error, not in a loop", () => {
  let state = 1;
  const byte = () => (state = Math.imul(state, 1103515245) + 12345) >>> 24;
  for (let n = 0; n < 2000; n++) {
    const chunk = Uint8Array.from({ length: n % 97 }, byte);
    try {
      assert.equal(decodeLossless(chunk, 16, 8).length, 128);
    } catch (error) {
      assert.ok(error instanceof WebpError, error.stack);
    }
  }
});
