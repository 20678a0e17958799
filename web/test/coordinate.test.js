import assert from "node:assert/strict";
import { test } from "node:test";

import { layerShapes } from "../src/architecture.js";
import { frequenciesOf } from "../src/coordinate/frequencies.js";
import { CoordinateSynthesis } from "../src/coordinate/network.js";
import { readWeights } from "../src/coordinate/weights.js";
import { loadKernels } from "../src/kernels.js";
import { TABLE_SIZE, laplaceTables } from "../src/range_coder.js";
import { randomNumbers } from "./random.js";

const KERNELS = await loadKernels();
const NETWORKS = [
  { channels: 1, depth: 1, layer_width: 7, order: 1 },
  { channels: 3, depth: 1, layer_width: 1, order: 2 },
  { channels: 3, depth: 3, layer_width: 4, order: 4 },
  { channels: 3, depth: 2, layer_width: 7, order: 64 },
  { channels: 3, depth: 3, layer_width: 6, order: 3 },
  { channels: 1, depth: 4, layer_width: 9, order: 1 },
  { channels: 3, depth: 3, layer_width: 1, order: 5 },
  { channels: 3, depth: 2, layer_width: 64, order: 2 },
];

const onesOf = (value) => [...value.toString(2)].filter((bit) => bit === "1").length;

/** The frequencies of a layer as the document says it: binary values, in the order of the rows. */
function valuesByDocument(inputs, order) {
  let values = new Set([0n]);
  for (let i = 0; i < order; i++) {
    const withOneMore = (v) => Array.from({ length: inputs }, (_, j) => v | (1n << BigInt(j)));
    values = new Set([...values].flatMap((v) => [v, ...withOneMore(v)]));
  }
  const byOnes = (a, b) => (order < inputs ? onesOf(a) - onesOf(b) : 0);
  return [...values].sort((a, b) => byOnes(a, b) || (a < b ? -1 : 1));
}

test("frequencies have the order of the document", () => {
  for (const [inputs, order] of [[1, 1], [2, 1], [2, 2], [5, 5], [6, 3], [9, 1], [8, 8], [64, 2]]) {
    const values = valuesByDocument(inputs, order);
    const { parents, tops, ones } = frequenciesOf(inputs, order, values.length);
    const found = [0n];
    for (let row = 1; row < values.length; row++) {
      assert.ok(parents[row] < row && found[parents[row]] < 1n << BigInt(tops[row]));
      found.push(found[parents[row]] | (1n << BigInt(tops[row])));
    }
    assert.deepEqual(found, values);
    assert.deepEqual(Array.from(ones), values.map(onesOf));
  }
});

/** The range coder's words for symbols of at most 64 under a Laplace index of at most 28. */
function encode(symbols, index) {
  const cumulative = laplaceTables().cumulative.subarray(index * (TABLE_SIZE + 1), (index + 1) * (TABLE_SIZE + 1));
  let [lower, range, bytes] = [0n, (1n << 64n) - 1n, 8];
  for (const symbol of symbols) {
    const scale = range >> 24n;
    lower += scale * BigInt(cumulative[symbol + 64]);
    range = scale * BigInt(cumulative[symbol + 65] - cumulative[symbol + 64]);
    if (range >= 1n << 32n) continue;
    [lower, range, bytes] = [lower << 32n, range << 32n, bytes + 4];
  }
  const digits = lower.toString(16).padStart(2 * bytes, "0");
  const bigEndian = Uint8Array.from({ length: bytes }, (_, at) => parseInt(digits.slice(2 * at, 2 * at + 2), 16));
  return bigEndian.map((_, at) => bigEndian[4 * (at >> 2) + 3 - (at & 3)]);
}

/** A weights section with the same step and Laplace index everywhere. */
function makeSection(layers, stepIndex, tableIndex, random) {
  const side = layers.flatMap(({ order }) => [stepIndex, ...Array(order + 1).fill(tableIndex)]);
  const count = layers.reduce((sum, { weightCount }) => sum + weightCount, 0);
  const symbols = Array.from({ length: count }, () => Math.floor(7 * random()) + Math.floor(7 * random()) - 6);
  return { section: Uint8Array.from([...side, ...encode(symbols, tableIndex)]), symbols };
}

test("weights are in the order of the file", () => {
  const step = 2 ** (-43 / 8);
  for (const [number, values] of NETWORKS.entries()) {
    const layers = layerShapes(values);
    const { section, symbols } = makeSection(layers, 43, 14, randomNumbers(number));
    const weights = readWeights(section, layers);
    let next = 0;
    layers.forEach(({ inputs, outputs, order, frequencyCount }, i) => {
      const { a, b } = weights[i];
      assert.deepEqual(b.subarray(0, outputs), new Float32Array(outputs));
      const ones = valuesByDocument(inputs, order).map(onesOf);
      for (let sum = 0; sum <= order; sum++) {
        for (const array of sum ? [a, b] : [a]) {
          for (let row = 0; row < frequencyCount; row++) {
            if (ones[row] !== sum) continue;
            const found = array.subarray(row * outputs, (row + 1) * outputs);
            assert.deepEqual(found, Float32Array.from(found, () => symbols[next++] * step));
          }
        }
      }
    });
    assert.equal(next, symbols.length);
  }
});

/** The colours [C] of a position as the document says it, in double precision. */
function coloursByDocument(layers, weights, position) {
  let v = position;
  layers.forEach(({ inputs, outputs, order }, i) => {
    const { a, b } = weights[i];
    const sums = Array(outputs).fill(0);
    valuesByDocument(inputs, order).forEach((value, row) => {
      const angle = v.reduce((sum, number, j) => sum + ((value >> BigInt(j)) & 1n ? 2 * Math.PI * number : 0), 0);
      for (let output = 0; output < outputs; output++) {
        const at = row * outputs + output;
        sums[output] += a[at] * Math.cos(angle) + b[at] * Math.sin(angle);
      }
    });
    v = inputs === outputs ? sums.map((sum, output) => sum + v[output]) : sums;
  });
  return v.map((number) => (Math.tanh(number) + 1) / 2);
}

test("colours are those of the document", () => {
  const [height, width] = [5, 7];
  for (const [number, values] of NETWORKS.entries()) {
    const layers = layerShapes(values);
    // weights that are the smaller the more there are, so that float32 is near double precision
    const most = Math.max(...layers.map(({ frequencyCount }) => frequencyCount));
    const stepIndex = Math.round(28 + 4 * Math.log2(most));
    const weights = readWeights(makeSection(layers, stepIndex, 14, randomNumbers(number)).section, layers);
    const synthesis = new CoordinateSynthesis({ height, width, layers, weights }, KERNELS);
    const planes = synthesis.colours({ top: 0, left: 0, bottom: height, right: width });
    assert.equal(planes.length, values.channels * height * width);
    for (let i = 0; i < height * width; i++) {
      const position = [(i % width) / width, Math.floor(i / width) / height];
      const expected = coloursByDocument(layers, weights, position);
      expected.forEach((colour, channel) => {
        const error = Math.abs(planes[channel * height * width + i] - colour);
        assert.ok(error < 2e-4, `network ${number}: ${error}`);
      });
    }
  }
});

test("pixels of a region are those of the image", () => {
  const layers = layerShapes(NETWORKS[2]);
  const weights = readWeights(makeSection(layers, 24, 10, randomNumbers(1)).section, layers);
  const [height, width] = [23, 31];
  const synthesis = new CoordinateSynthesis({ height, width, layers, weights }, KERNELS);
  const complete = synthesis.colours({ top: 0, left: 0, bottom: height, right: width });
  const region = { top: 4, left: 9, bottom: 20, right: 30 };
  const part = synthesis.colours(region);
  const [rows, columns] = [16, 21];
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < rows; y++) {
      const row = (channel * height + y + region.top) * width + region.left;
      const start = (channel * rows + y) * columns;
      assert.deepEqual(part.subarray(start, start + columns), complete.subarray(row, row + columns));
    }
  }
});

test("weights sections that are not valid are refused", () => {
  const layers = layerShapes(NETWORKS[2]);
  assert.throws(() => readWeights(new Uint8Array(3), layers), { kind: "corrupt", message: /fewer than the/ });
  const { section } = makeSection(layers, 24, 14, randomNumbers(1));
  section[1] = 112;
  const message = "probability table 112 does not exist; the file is damaged";
  assert.throws(() => readWeights(section, layers), { kind: "corrupt", message });
});
