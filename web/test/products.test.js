import assert from "node:assert/strict";
import { test } from "node:test";

import { loadProducts, matrixBytes, networkBytes } from "../src/products.js";
import { randomIntegers } from "./random.js";

const BOTH = [await loadProducts(), await loadProducts({ simd: false })];

test("node has WebAssembly with SIMD", () => {
  assert.deepEqual(BOTH.map(({ isSimd }) => isSimd), [true, false]);
});

test("where a page's policy forbids WebAssembly, plain JavaScript computes", async (t) => {
  t.mock.method(WebAssembly, "compile", async () => {
    throw new WebAssembly.CompileError("forbidden");
  });
  assert.equal((await loadProducts()).isSimd, false);
});

/** A network of the format with random weights and constants. */
function makeNetwork(random, { inputs, first, second, limit, largest, isBypassed }) {
  const list = (count, bound) => Array.from({ length: count }, () => random(-bound, bound));
  return {
    inputs,
    largest,
    outputs: 2,
    w1: list(first * inputs, limit),
    w2: list(second * first, limit),
    w3: list(2 * second, limit),
    bypass: isBypassed ? list(2 * inputs, limit) : undefined,
    constants: [list(first, 5000), list(second, 5000), list(2, 5000)],
  };
}

/** What the format says, for one symbol. */
function outputsOf({ w1, w2, w3, bypass, constants, largest }, features) {
  const sums = (weights, inputs, added) =>
    added.map((constant, j) =>
      inputs.reduce((sum, input, k) => sum + input * weights[j * inputs.length + k], constant),
    );
  const hidden = (sum) => Math.min(Math.max(sum >> 6, 0), largest);
  const h1 = sums(w1, features, constants[0]).map(hidden);
  const h2 = sums(w2, h1, constants[1]).map(hidden);
  const direct = bypass ? sums(bypass, features, [0, 0]) : [0, 0];
  return sums(w3, h2, constants[2]).map((sum, j) => (sum + direct[j]) >> 8);
}

const SHAPES = [
  { inputs: 170, first: 128, second: 32, limit: 127, largest: 127, isBypassed: false },
  { inputs: 29, first: 24, second: 24, limit: 1023, largest: 255, isBypassed: true },
  { inputs: 3, first: 5, second: 7, limit: 1023, largest: 255, isBypassed: true },
  { inputs: 1, first: 1, second: 1, limit: 127, largest: 127, isBypassed: false },
];

for (const [number, shape] of SHAPES.entries()) {
  test(`networks give the integers of the format: ${JSON.stringify(shape)}`, () => {
    const random = randomIntegers(number);
    const weights = makeNetwork(random, shape);
    const count = 37;
    // half of the features are 0, in runs, as in images
    const planes = Array.from({ length: shape.inputs }, () => {
      let isZero = false;
      return Array.from({ length: count }, (_, i) => {
        if (i % 8 === 0) isZero = random(0, 1) === 1;
        return isZero ? 0 : random(-127, 127);
      });
    });
    const expected = Array.from({ length: count }, (_, i) => outputsOf(weights, planes.map((plane) => plane[i])));
    for (const products of BOTH) {
      const space = products.workspace(networkBytes(weights, 64) + shape.inputs * (2 * count + 64));
      const network = space.network(weights, 64);
      network.setConstants(...weights.constants);
      const rows = planes.map((plane) => {
        const row = space.int16(count + 8);
        row.set(plane);
        return row;
      });
      const sources = rows.flatMap((row, k) => (k % 2 ? [] : [k / 2, row.byteOffset, rows[k + 1]?.byteOffset ?? 0]));
      network.setSources(sources);
      network.run(count);
      const got = Array.from({ length: count }, (_, i) => network.outputs.map((output) => output[i]));
      assert.deepEqual(got, expected);
    }
  });
}

test("features are magnitudes, some have no source, and batches start anywhere", () => {
  const shape = { inputs: 6, first: 8, second: 4, limit: 127, largest: 127, isBypassed: false };
  const random = randomIntegers(9);
  const weights = makeNetwork(random, shape);
  const plane = Array.from({ length: 64 }, () => random(-127, 127));
  const features = (i) => [plane[i], Math.abs(plane[i]), 0, 0, plane[i + 5], plane[i + 9]];
  for (const products of BOTH) {
    const space = products.workspace(networkBytes(weights, 40) + 1024);
    const network = space.network(weights, 40);
    network.setConstants(...weights.constants);
    const row = space.int16(96);
    row.set(plane);
    network.setSources([0, row.byteOffset, 0, 2, row.byteOffset + 10, row.byteOffset + 18]);
    network.run(11, 0, 0);
    network.run(13, 2 * 20, 16);
    for (const [place, i] of [[0, 0], [10, 10], [16, 20], [28, 32]]) {
      assert.deepEqual(network.outputs.map((output) => output[place]), outputsOf(weights, features(i)));
    }
    network.setSources([]);
    network.run(1);
    assert.deepEqual(network.outputs.map((output) => output[0]), outputsOf(weights, Array(6).fill(0)));
    assert.throws(() => network.run(41), RangeError);
  }
});

test("matrices multiply, add and limit", () => {
  const random = randomIntegers(3);
  const [rows, columns, count, stride] = [7, 10, 21, 24];
  const list = (length) => Float32Array.from({ length }, () => random(-1000, 1000) / 1000);
  const [weights, constants] = [list(rows * columns), list(rows)];
  const [inputs, before] = [list(columns * stride), list(8 * stride)];
  for (const products of BOTH) {
    const space = products.workspace(2 * matrixBytes(rows, columns) + 4 * (columns + 8 + 8) * stride + 256);
    const given = space.float32(columns * stride);
    given.set(inputs);
    const places = Array.from({ length: columns }, (_, k) => given.byteOffset + 4 * k * stride);
    for (const [adds, least] of [[false, undefined], [true, -0.5]]) {
      const matrix = space.matrix({ weights, constants, adds, least });
      matrix.setInputs(places);
      const out = space.float32(8 * stride);
      out.set(before);
      matrix.run(out, stride, count);
      for (let row = 0; row < rows; row++) {
        for (let i = 0; i < count; i++) {
          let sum = constants[row] + (adds ? before[row * stride + i] : 0);
          for (let k = 0; k < columns; k++) sum += weights[row * columns + k] * inputs[k * stride + i];
          assert.ok(Math.abs(out[row * stride + i] - Math.max(sum, least ?? -Infinity)) < 2e-6);
        }
      }
    }
  }
});

test("cosines and sines are those of Math", () => {
  const angles = Float32Array.from({ length: 4000 }, (_, i) => (i - 2000) / (i % 2 ? 100 : 600));
  for (const products of BOTH) {
    const space = products.workspace(3 * 4 * angles.length + 256);
    const [given, cosines, sines] = [0, 1, 2].map(() => space.float32(angles.length));
    given.set(angles);
    space.turn(given, cosines, sines);
    angles.forEach((angle, i) => {
      const error = 4e-7 + Math.abs(angle) * 1.2e-7; // turns are rounded, too
      assert.ok(Math.abs(cosines[i] - (Math.cos(angle) - 1)) < error);
      assert.ok(Math.abs(sines[i] - Math.sin(angle)) < error);
    });
  }
});

test("too much memory is an error of the file", () => {
  for (const products of BOTH) assert.throws(() => products.workspace(2 ** 50), { kind: "limit" });
});

test("arrays beyond the workspace are refused", () => {
  for (const products of BOTH) assert.throws(() => products.workspace(16).int16(1 << 20), RangeError);
});
