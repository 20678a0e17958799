import assert from "node:assert/strict";
import { test } from "node:test";

import { PLAIN, RELAXED } from "../src/compiled_kernels.js";
import { COMPANDED, LOW_OFFSETS, SQUARE } from "../src/neighbourhood.js";
import { loadKernels } from "../src/kernels.js";
import { matrixBytes } from "../src/float_rows.js";
import { CELL_SAMPLES } from "../src/correction.js";
import { PlainReader, RangeDecoder, laplaceTables } from "../src/range_coder.js";
import { randomIntegers } from "./random.js";

const CORRECTION_FEATURES = 9 * CELL_SAMPLES;
const TABLES_PER_QUANTIZER = 290;

// The modules that this engine supports.
const ALL = [];
for (const module of [RELAXED, PLAIN]) {
  if (WebAssembly.validate(Buffer.from(module, "base64"))) ALL.push(await loadKernels([module]));
}

test("browsers without WebAssembly, and policies of pages that forbid it, are errors", async (t) => {
  await assert.rejects(loadKernels([btoa("no module")]), /this browser has no WebAssembly with SIMD/);
  t.mock.method(WebAssembly, "instantiate", async () => {
    throw new WebAssembly.CompileError("forbidden");
  });
  await assert.rejects(loadKernels(), /does not start: forbidden/);
});

test("a module that multiplies bytes the other way round is not taken", async () => {
  const swapped = Buffer.from(RELAXED, "base64");
  const place = swapped.indexOf(Buffer.from([129, 129, 127, 127, 129, 129])); // the numbers of its own check
  assert.ok(place > 0);
  swapped[place] = 0;
  await assert.rejects(loadKernels([swapped.toString("base64")]), /no WebAssembly/);
  await loadKernels([swapped.toString("base64"), PLAIN]);
});

// ------------------------------------------------------------------------- the same numbers by all modules

/** A copy of a kernel's arguments, with each array replaced. */
function replaced(values, arrayOf) {
  const isGroup = (value) => typeof value === "object" && !ArrayBuffer.isView(value);
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      if (isGroup(value)) return [name, replaced(value, arrayOf)];
      return [name, ArrayBuffer.isView(value) ? arrayOf(value) : value];
    }),
  );
}

/** Runs a kernel on copies of its arrays, within workspaces and without; gives what it has written. */
function outcomes(name, values, written) {
  return ALL.flatMap((kernels) =>
    [true, false].map((isWithin) => {
      const space = kernels.workspace(1 << 20);
      const isKept = (array) => isWithin && !(array instanceof BigInt64Array);
      const given = replaced(values, (array) => (isKept(array) ? space.copyOf(array) : array.slice()));
      space.run[name](given);
      return written.map((output) => Array.from(given[output]));
    }),
  );
}

/** Compares what kernels give, integers exactly, and returns it. */
function compare(name, values, written, tolerance = 0) {
  const [first, ...others] = outcomes(name, values, written);
  assert.ok(first.flat().some((number) => number !== 0), `${name} writes something`);
  for (const other of others) {
    other.forEach((numbers, at) =>
      numbers.forEach((number, i) => {
        assert.ok(Math.abs(number - first[at][i]) <= tolerance, `${name}: ${number} and ${first[at][i]} at ${i}`);
      }),
    );
  }
  return first;
}

const listOf = (random, Type) => (length, bound, least = -bound) => Type.from({ length }, () => random(least, bound));

for (const [rows, columns, h1, h2, symbols] of [
  [1, 1, 4, 4, 21], [5, 13, 24, 12, 21], [7, 64, 128, 32, 21], [3, 130, 9, 5, 21], [2, 70, 24, 12, 0],
]) {
  test(`tables of a pass of ${rows}x${columns} symbols, networks of ${h1} and ${h2}, ${symbols} symbols as features`, () => {
    const random = randomIntegers(rows);
    const bytes = listOf(random, Int8Array);
    const int32 = listOf(random, Int32Array);
    const low = 9;
    const stride = columns + 4;
    const planes = [0, 1, 2].map((plane) => {
      let isZero = false; // half of the features are 0, in runs, as in images
      return Int8Array.from({ length: 12 * (rows + 3) * stride }, (_, i) => {
        if (i % 16 === 0) isZero = random(0, 1) === 1;
        const isEmpty = plane < 2 && (i % stride) % 10 >= 5; // so that there are empty contexts
        return isZero || isEmpty ? 0 : random(-127, 127);
      });
    });
    const views = Array.from({ length: symbols + low }, (_, k) => [
      k < symbols ? k % 2 : 2, (k % 11) * (rows + 2) * stride + random(0, 2), stride,
    ]);
    const count = rows * columns;
    const inputs = 2 * symbols + low;
    const rowLength = inputs + 5; // there are features that the pass does not have
    const codingPass = {
      w1: bytes(h1 * rowLength, 127), c1: int32(h1, 3000), w2: bytes(h2 * h1, 127), c2: int32(h2, 3000),
      w3: bytes(2 * h2, 127), c3: int32(2, 9000),
      available: Int32Array.from({ length: inputs }, (_, i) => i + Math.floor(i / 10)), signedCount: symbols,
      symbols: planes[0], coarser: planes[1], differences: planes[2],
      views: BigInt64Array.from(views.flat(), BigInt), rows, columns, quantizers: bytes(count, 1, 0),
      classOfMean: Int16Array.from([0, 1, 2, 3, 3, 4]),
    };
    const outputs = { table: new Int16Array(count), sign: new Int32Array(count), hidden: new Uint8Array(0) };
    const [table, sign] = compare("chooseTables", { codingPass, ...outputs }, ["table", "sign"]);
    const isZero = ([plane, index], at) => planes[plane][index + Math.floor(at / columns) * stride + (at % columns)] === 0;
    const empty = Array.from(table.keys()).filter((at) => symbols && views.slice(0, symbols).every((view) => isZero(view, at)));
    assert.equal(empty.length > 0, symbols > 0 && columns > 1);
    for (const at of empty) {
      assert.deepEqual([table[at], sign[at]], [codingPass.quantizers[at] * TABLES_PER_QUANTIZER, 1], String(at));
    }
  });
}

for (const [count, h1, h2] of [[1, 4, 4], [5, 24, 24], [37, 36, 12]]) {
  test(`tables and symbols of a wavefront of ${count}, networks of ${h1} and ${h2}`, () => {
    const random = randomIntegers(count);
    const floats = listOf(random, Float32Array);
    const [stride, start] = [40, 130];
    const offsets = BigInt64Array.from([-120, -82, -81, -80, -79, -78, -77, -42, -41, -40, -39, -3, -2, -1], BigInt);
    const plane = floats(start + 50 * stride, 127);
    const coarser = listOf(random, Int8Array)(15 * (3 + 4 * count), 127);
    const network = {
      first: floats(29 * (h1 + 2), 300), constants: floats(h1 + 2, 20000), second: floats(h1 * h2, 300),
      secondConstants: floats(h2, 20000), last: floats(2 * h2, 50),
    };
    const inPlane = { plane, planeStart: start, planeStride: stride - 2 };
    compare("chooseWavefrontTables", {
      network, ...inPlane, causal: offsets, coarser, coarserStart: 3, coarserStride: 4, count,
      table: new Int16Array(count), sign: new Int32Array(count), middle: new Int32Array(count),
    }, ["table", "sign", "middle"]);
    const symbols = listOf(random, Int32Array)(count, 90);
    const companded = Float32Array.from({ length: 64 }, (_, m) => 2 * m);
    const grid = new Int32Array(9 + 5 * count);
    const inGrid = { grid, gridStart: 4, gridStride: 5 };
    compare("acceptWavefront", { symbols, companded, ...inGrid, ...inPlane }, ["grid", "plane"]);
  });
}

test("symbols of a pass become context and coefficients", () => {
  const random = randomIntegers(2);
  const int32 = listOf(random, Int32Array);
  const [rows, columns] = [6, 11];
  const count = rows * columns;
  const signs = int32(count, 1).map((sign) => sign || 1);
  const next = Int8Array.of(0, 2, 5, 7, 1, 3, 6, 4, 2, 0, 4, 6, 3, 1, 7, 5);
  compare("acceptSymbols", {
    symbols: int32(count, 12), table: listOf(random, Int16Array)(count, 8, 0), sign: signs, offsets: int32(7 * 9, 20),
    nextState: next, rows, columns, states: listOf(random, Int8Array)(rows * 14, 7, 0), stateStride: 14,
    companded: Int8Array.from(COMPANDED), plane: new Int8Array(9 + rows * 13), planeStart: 9, planeStride: 13,
    fine: new Int32Array(3 + rows * 40), fineStart: 3, fineStride: 40,
  }, ["states", "plane", "fine"]);
});

for (const [height, width] of [[1, 1], [1, 6], [7, 1], [2, 2], [9, 13], [32, 20]]) {
  test(`a level of ${height}x${width} samples, and differences in it`, () => {
    const random = randomIntegers(height + width);
    const int32 = listOf(random, Int32Array);
    const [rows, columns, highRows, highColumns] = [(height + 1) >> 1, (width + 1) >> 1, height >> 1, width >> 1];
    const bands = [rows * highColumns, highRows * columns, highRows * highColumns].map((size) => int32(size, 90000));
    const out = new Int32Array(height * width);
    const [band0, band1, band2] = bands;
    compare("synthesiseChannel", {
      low: int32(rows * columns, 60000), band0, band1, band2, step0: 700, step1: 900, step2: 1, height, width, stride: width, samples: out,
    }, ["samples"]);
    const differences = new Int8Array(4 * LOW_OFFSETS.length * rows * columns);
    const low = int32(height * width, 60000, -9000);
    if (height * width === 1) return;
    compare("lowDifferences", {
      low, height, width, levelStep: 5001, offsets: Int32Array.from(LOW_OFFSETS.flat()),
      companded: Int32Array.from(COMPANDED), firstRow: 0, lastRow: height, differences,
    }, ["differences"]);
  });
}

/** Random weights of a correction network, with sums in the range of exact integers. */
function networkOf(random, width, depth) {
  const layers = Array.from({ length: depth }, (_, i) => (i < depth - 1 ? width : CELL_SAMPLES));
  const factors = (count, bound) => Array.from({ length: count }, () => random(1, bound));
  const constants = (count) => Array.from({ length: count }, () => random(-60000, 60000));
  const outputs = layers.reduce((sum, count) => sum + count);
  return {
    weights: listOf(random, Int8Array)(CORRECTION_FEATURES * width + 2 * width * outputs + CELL_SAMPLES * width, 127),
    firstConstants: Int32Array.from(constants(width)),
    factors: Int32Array.from([
      ...factors(width, 600), ...layers.flatMap((count) => [...factors(count, 500), ...constants(count)]),
      ...factors(CELL_SAMPLES, 1000),
    ]),
    depth,
  };
}

for (const [channels, width, depth, height, columns] of [[1, 32, 2, 10, 18], [3, 60, 3, 7, 141], [3, 9, 1, 4, 4]]) {
  test(`the correction network of width ${width} for ${channels} channels gives equal numbers`, () => {
    const random = randomIntegers(width);
    const around = 4 * (1 + depth);
    const samples = listOf(random, Int32Array)(channels * (height + around) * (columns + around), 4000);
    compare("correctionResidual", {
      ...networkOf(random, width, depth), samples, channels, height: height + around, width: columns + around,
      stepSize: 321, blockHeight: height, blockWidth: columns, residual: new Float32Array(channels * height * columns),
    }, ["residual"]);
  });
}

for (const channels of [1, 3]) {
  test(`filter and pixels of ${channels} channels`, () => {
    const random = randomIntegers(channels);
    const [height, columns] = [10, 18];
    const floats = (length, bound) => Float32Array.from({ length }, () => (random(-1000, 1000) / 1000) * bound);
    const residual = new Float32Array(channels * height * columns);
    const radius = 1;
    const taps = Int32Array.from(SQUARE.flat());
    const samples = listOf(random, Int32Array)(channels * (height + 2) * (columns + 2), 4000);
    compare("filterResidual", {
      weights: floats(9 * channels ** 2, 0.2), taps, radius, samples, channels, height, width: columns, residual,
    }, ["residual"], 0.02);
    const planes = listOf(random, Float32Array)(channels * height * columns, 9000);
    for (const [Type, peak] of [[Uint8Array, 255], [Uint16Array, 65535]]) {
      const pixels = new Type(channels * height * columns);
      const numbers = { basis: floats(9, 1), scale: peak / 255 / 64, middle: (128 * peak) / 255, peak };
      compare("planesToPixels", { planes, channels, height, width: columns, ...numbers, pixels }, ["pixels"], 1);
    }
  });
}

test("streams are read alike, also damaged ones", () => {
  const random = randomIntegers(12);
  const outcome = (decode) => {
    try {
      return decode();
    } catch (error) {
      return error.kind ?? String(error);
    }
  };
  let valid = 0;
  for (let round = 0; round < 60; round++) {
    const bytes = Uint8Array.from({ length: 4 * random(0, 60) }, () => random(0, 255));
    const numbers = Int16Array.from({ length: random(1, 90) }, () => random(0, round % 2 ? 111 : 24));
    const readers = ALL.map((kernels) => (words) => kernels.workspace(1 << 20).reader(words));
    const results = [(words) => new PlainReader(words), ...readers].map((readerOf) => {
      const decoder = new RangeDecoder(bytes, readerOf);
      return ["decodePass", "decodeEach"].map((method) =>
        outcome(() => {
          const out = new Int32Array(numbers.length);
          decoder[method](numbers, laplaceTables(), out);
          return Array.from(out);
        }),
      );
    });
    for (const result of results) assert.deepEqual(result, results[0]);
    valid += Array.isArray(results[0][1]);
  }
  assert.ok(valid > 5 && valid < 60, String(valid));
});

test("arguments that a kernel refuses, or that need too much room, are errors", () => {
  for (const kernels of ALL) {
    const { run } = kernels.workspace(8);
    const values = { channels: 3, height: 2, width: 2, basis: new Float32Array(9), scale: 1, middle: 0, peak: 255 };
    const few = { ...values, planes: new Float32Array(3), pixels: new Uint8Array(12) };
    assert.throws(() => run.planesToPixels({ planes: few.planes, channels: 3 }), /without height/);
    assert.throws(() => run.planesToPixels(few), /planes has too few items/);
    assert.throws(() => run.planesToPixels({ ...few, height: -1 }), /sizes/);
    const many = { ...values, planes: new Float32Array(1 << 22), channels: 1, height: 1, width: 1 << 22 };
    assert.throws(() => run.planesToPixels({ ...many, pixels: new Uint8Array(1 << 22) }), RangeError);
  }
});

test("matrices multiply, add and limit", () => {
  const random = randomIntegers(3);
  const [rows, columns, count, stride] = [7, 10, 21, 24];
  const list = (length) => Float32Array.from({ length }, () => random(-1000, 1000) / 1000);
  const [weights, constants] = [list(rows * columns), list(rows)];
  const [inputs, before] = [list(columns * stride), list(8 * stride)];
  for (const kernels of ALL) {
    const space = kernels.workspace(2 * matrixBytes(rows, columns) + 4 * (columns + 8 + 8) * stride + 256);
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
  for (const kernels of ALL) {
    const space = kernels.workspace(3 * 4 * angles.length + 256);
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
  for (const kernels of ALL) assert.throws(() => kernels.workspace(2 ** 50), { kind: "limit" });
});

test("arrays beyond the workspace are refused", () => {
  for (const kernels of ALL) assert.throws(() => kernels.workspace(16).array(Int16Array, 1 << 20), RangeError);
});
