import assert from "node:assert/strict";
import { test } from "node:test";

import { compand } from "../src/overfitted/context.js";
import { decodeGrids, gridSizes } from "../src/overfitted/grids.js";
import { readNetworks } from "../src/overfitted/networks.js";
import { OverfittedWeights } from "../src/overfitted/weights.js";
import { stepOf, synthesiseBlocks } from "../src/overfitted/synthesis.js";
import { loadKernels } from "../src/kernels.js";
import { RangeDecoder, frequenciesWithMean, laplaceTables, tablesWithLaplace } from "../src/range_coder.js";
import { randomIntegers } from "./random.js";

const KERNELS = await loadKernels();
const [HIDDEN_1, HIDDEN_2, WIDTH] = [10, 6, 5];
const SIZES = [[1, 1], [1, 9], [9, 1], [2, 2], [3, 17], [21, 2], [33, 47]];

const randomBytes = (random, length) => Uint8Array.from({ length }, () => random(0, 255));

/** The arrays of pretrained weights with random weights. */
function makeArrays(seed) {
  const random = randomIntegers(seed);
  const integers = (bound) => (length) => Int32Array.from({ length }, () => random(-bound, bound));
  const floats = (bound) => (length) => Float32Array.from({ length }, () => (random(-1000, 1000) / 1000) * bound);
  const filters = new Float32Array(24).map((_, i) => [-0.04, 0.3, 0.7, 0.04][i % 4] + random(-9, 9) / 1000);
  const data = {
    machine_filters: filters,
    machine_lift: floats(0.3)(WIDTH * 7),
    machine_lift_constants: floats(0.1)(WIDTH),
    machine_layer: floats(0.3)(6 * WIDTH),
    machine_bypass: floats(0.1)(21),
    machine_constants: floats(0.5)(3),
    machine_stages: floats(0.1)(162),
    machine_stage_constants: floats(0.1)(6),
    context_w1: integers(90)(HIDDEN_1 * 29),
    context_c1: integers(3000)(7 * HIDDEN_1),
    context_w2: integers(60)(HIDDEN_2 * HIDDEN_1),
    context_c2: integers(3000)(HIDDEN_2),
    context_w3: integers(12)(2 * HIDDEN_2),
    context_bypass: integers(8)(58),
    context_c3: integers(1200)(14),
  };
  const count = Object.values(data).reduce((sum, { length }) => sum + length, 0);
  data.change_steps = Float32Array.from({ length: count }, (_, i) => (i < 290 ? 2 ** random(-10, -4) : random(1, 8)));
  data.change_tables = Uint8Array.from({ length: count }, () => random(4, 34));
  return Object.fromEntries(Object.entries(data).map(([name, numbers]) => [name, { shape: [], data: numbers }]));
}

test("arrays that do not fit each other are no weights", () => {
  assert.equal(new OverfittedWeights(makeArrays(1)).kinds.length, 15);
  for (const name of Object.keys(makeArrays(1))) {
    const arrays = makeArrays(1);
    arrays[name].data = arrays[name].data.slice(1);
    assert.throws(() => new OverfittedWeights(arrays), { kind: "corrupt" }, name);
  }
  const arrays = makeArrays(1);
  arrays.context_w2.data[0] = 1024;
  assert.throws(() => new OverfittedWeights(arrays), { kind: "corrupt" });
  assert.throws(() => new OverfittedWeights({}), { kind: "corrupt" });
});

// --------------------------------------------------------------------------------- networks section

/** The networks of an image, kind by kind as the document says it. */
function networksByDocument(arrays, section) {
  const names = Object.keys(arrays).filter((name) => !name.startsWith("change"));
  const clip = (value, low, high) => Math.min(Math.max(value, low), high);
  const weights = names.flatMap((name, kind) => Array.from(arrays[name].data, (w) => ({ name, kind, w })));
  const indices = weights.map(({ kind }, i) => {
    const [e, o] = [(section[kind] & 15) - 8, (section[kind] >> 4) - 8];
    return clip(clip(arrays.change_tables.data[i] - 4 * e, 0, 111) + o, 0, 111);
  });
  const order = indices.map((_, i) => i).sort((a, b) => indices[a] - indices[b] || a - b);
  const decoder = new RangeDecoder(section.subarray(15));
  const symbols = new Int32Array(order.length);
  const sorted = new Int32Array(order.length);
  decoder.decodePass(Uint16Array.from(order, (i) => indices[i]), laplaceTables(), sorted);
  order.forEach((i, place) => (symbols[i] = sorted[place]));
  const changed = {};
  weights.forEach(({ name, kind, w }, i) => {
    const step = 2 ** ((section[kind] & 15) - 8) * arrays.change_steps.data[i];
    const rounded = Math.max(1, step % 1 === 0.5 ? 2 * Math.round(step / 2) : Math.round(step));
    const limit = /_c\d$/.test(name) ? 2 ** 19 : 1023;
    const value = name.startsWith("machine")
      ? Math.fround(w + Math.fround(symbols[i] * Math.fround(step)))
      : clip(w + symbols[i] * rounded, -limit, limit);
    (changed[name] ??= []).push(value);
  });
  return changed;
}

test("networks change as the document says", () => {
  const random = randomIntegers(5);
  const arrays = makeArrays(7);
  const pretrained = new OverfittedWeights(arrays);
  let decoded = 0;
  for (let round = 0; round < 40; round++) {
    const section = randomBytes(random, 15 + 4 * random(0, 400));
    let networks;
    try {
      networks = readNetworks(pretrained, section);
    } catch (error) {
      assert.equal(error.kind, "corrupt");
      assert.throws(() => networksByDocument(arrays, section), { kind: "corrupt" });
      continue;
    }
    decoded++;
    for (const [name, values] of Object.entries(networksByDocument(arrays, section))) {
      const [network, kind] = [name.split("_")[0], name.slice(name.indexOf("_") + 1)];
      assert.deepEqual(Array.from(networks[network === "machine" ? "synthesis" : network][kind]), values, name);
    }
  }
  assert.ok(decoded > 4, String(decoded));
});

test("without a section, networks are the pretrained ones", () => {
  const arrays = makeArrays(3);
  const { synthesis, context } = readNetworks(new OverfittedWeights(arrays), null);
  assert.deepEqual(Array.from(context.w2), Array.from(arrays.context_w2.data));
  assert.deepEqual(synthesis.stages, arrays.machine_stages.data);
});

test("a networks section that ends within its first bytes is refused", () => {
  const pretrained = new OverfittedWeights(makeArrays(3));
  assert.throws(() => readNetworks(pretrained, new Uint8Array(14)), { kind: "corrupt", message: /does not start with/ });
  assert.throws(() => readNetworks(pretrained, new Uint8Array(18)), { kind: "corrupt", message: /multiple of 4/ });
});

// ------------------------------------------------------------------------------------ grids section

const CAUSAL = [
  [-3, 0], [-2, -2], [-2, -1], [-2, 0], [-2, 1], [-2, 2], [-2, 3],
  [-1, -2], [-1, -1], [-1, 0], [-1, 1], [0, -3], [0, -2], [0, -1],
];

/** The grids of a section, symbol by symbol as the document says it. */
function gridsByDocument(section, height, width, network) {
  const rows = [];
  for (let u = 0; u <= 28; u++) for (let n = 0; n <= 8; n++) rows.push(frequenciesWithMean(u, n));
  const tables = tablesWithLaplace(rows);
  const decoder = new RangeDecoder(section);
  const sizes = gridSizes(height, width);
  const grids = sizes.map(([m, n]) => Array.from({ length: m }, () => Array(n).fill(0)));
  const k = (level, y, x) => compand(grids[level]?.[y]?.[x] ?? 0);
  const planes = {}; // of each grid: six functions of row and column
  planes[6] = Array(6).fill(() => 0);
  for (let level = 6; level >= 0; level--) {
    const [m, n] = sizes[level];
    if (level < 6) {
      const [above, aboveColumns] = sizes[level + 1];
      const sources = [(y, x) => k(level + 1, y, x), ...planes[level + 1].slice(0, 5)];
      planes[level] = sources.map((p) => {
        const at = (y, x) => (y < 0 || x < 0 || y >= above || x >= aboveColumns ? 0 : p(y, x));
        const values = Array.from({ length: m }, (_, y) =>
          Array.from({ length: n }, (__, x) => {
            const [i, j] = [y >> 1, x >> 1];
            const [i2, j2] = [y % 2 ? i + 1 : i - 1, x % 2 ? j + 1 : j - 1];
            return (9 * at(i, j) + 3 * at(i, j2) + 3 * at(i2, j) + at(i2, j2) + 8) >> 4;
          }),
        );
        return (y, x) => values[y][x];
      });
    }
    for (let t = 0; t <= n - 1 + 2 * (m - 1); t++) {
      const front = [];
      for (let y = 0; y < m; y++) if (t - 2 * y >= 0 && t - 2 * y < n) front.push([y, t - 2 * y]);
      const choices = front.map(([y, x]) => choiceOf(network, level, [
        ...CAUSAL.map(([dy, dx]) => k(level, y + dy, x + dx)),
        ...[-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => k(level + 1, (y >> 1) + dy, (x >> 1) + dx))),
        ...planes[level].map((plane) => plane(y, x)),
      ]));
      const symbols = new Int32Array(front.length);
      decoder.decodeEach(Uint16Array.from(choices, ({ table }) => table), tables, symbols);
      front.forEach(([y, x], i) => (grids[level][y][x] = symbols[i] * choices[i].sign + choices[i].middle));
    }
  }
  return grids.map((grid) => grid.flat());
}

/** Table, sign and middle of a symbol. */
function choiceOf({ w1, c1, w2, c2, w3, bypass, c3 }, level, f) {
  const clip = (value, low, high) => Math.min(Math.max(value, low), high);
  const sums = (weights, inputs) =>
    Array.from({ length: weights.length / inputs.length }, (_, j) =>
      inputs.reduce((sum, input, i) => sum + input * weights[j * inputs.length + i], 0),
    );
  const h1 = sums(w1, f).map((sum, j) => clip((sum + c1[level * HIDDEN_1 + j]) >> 6, 0, 255));
  const h2 = sums(w2, h1).map((sum, j) => clip((sum + c2[j]) >> 6, 0, 255));
  const direct = sums(bypass, f);
  const [a, b] = sums(w3, h2).map((sum, j) => sum + direct[j] + c3[2 * level + j]);
  const T = clip((a >> 8) + 16, 0, 111);
  const mean = clip(b >> 7, -8192, 8192);
  const middle = Math.floor((mean + 8) / 16);
  const rest = mean - 16 * middle;
  return { table: T <= 28 ? 9 * T + Math.abs(rest) : 29 * 9 + T - 29, sign: rest < 0 ? -1 : 1, middle };
}

test("grids of any section are those of the document", () => {
  const random = randomIntegers(11);
  const outcomes = { symbols: 0, corrupt: 0 };
  for (const [number, [height, width]] of SIZES.entries()) {
    for (let seed = 0; seed < 4; seed++) {
      const { context } = readNetworks(new OverfittedWeights(makeArrays(50 * number + seed)), null);
      const section = randomBytes(random, 4 * random(0, 20 + height * width));
      let grids;
      try {
        const steps = [...decodeGrids({ height, width, section }, context, KERNELS)];
        assert.equal(steps.at(-1).done, 1);
        assert.deepEqual(steps.flatMap(({ level }) => (level === null ? [] : [level])), [6, 5, 4, 3, 2, 1, 0]);
        grids = steps.at(-1).grids.map((grid) => Array.from(grid));
      } catch (error) {
        assert.equal(error.kind, "corrupt");
        outcomes.corrupt++;
        assert.throws(() => gridsByDocument(section, height, width, context), { kind: "corrupt" });
        continue;
      }
      outcomes.symbols++;
      assert.deepEqual(grids, gridsByDocument(section, height, width, context));
    }
  }
  assert.ok(outcomes.symbols > 10, JSON.stringify(outcomes));
});

test("a section that is too short for its grids is refused before memory is spent", () => {
  const { context } = readNetworks(new OverfittedWeights(makeArrays(1)), null);
  const steps = decodeGrids({ height: 9000, width: 9000, section: new Uint8Array(8) }, context, KERNELS);
  assert.throws(() => steps.next(), { kind: "corrupt", message: /cannot hold/ });
});

// ---------------------------------------------------------------------------------------- synthesis

/** The colours of an image [H][W][3], pixel by pixel as the document says it, in double precision. */
function coloursByDocument(grids, sizes, synthesis, step) {
  const [height, width] = sizes[0];
  // samples of grid l, upsampled l times, at any row and column
  const upsampled = (sample, taps) => {
    const along = (at, x) => {
      const i = Math.floor(x / 2);
      return x % 2 === 0
        ? taps[0] * at(i - 2) + taps[1] * at(i - 1) + taps[2] * at(i) + taps[3] * at(i + 1)
        : taps[3] * at(i - 1) + taps[2] * at(i) + taps[1] * at(i + 1) + taps[0] * at(i + 2);
    };
    const known = new Map();
    return (y, x) => {
      const key = `${y} ${x}`;
      if (!known.has(key)) known.set(key, along((i) => along((j) => sample(i, j), x), y));
      return known.get(key);
    };
  };
  const samples = grids.map((grid, level) => {
    const [m, n] = sizes[level];
    const clamp = (i, size) => Math.min(Math.max(i, 0), size - 1);
    let sample = (y, x) => grid[clamp(y, m) * n + clamp(x, n)] * step;
    for (let row = level - 1; row >= 0; row--) sample = upsampled(sample, synthesis.filters.subarray(4 * row, 4 * row + 4));
    return sample;
  });
  const colourAt = (y, x) => {
    const v = samples.map((sample) => sample(y, x));
    const a = Array.from(synthesis.lift_constants, (constant, j) =>
      v.reduce((sum, s, l) => sum + synthesis.lift[7 * j + l] * s, constant),
    );
    const turned = [...a.map((angle) => Math.cos(angle) - 1), ...a.map(Math.sin)];
    return Array.from(synthesis.constants, (constant, c) => {
      const layer = turned.reduce((sum, t, j) => sum + synthesis.layer[2 * WIDTH * c + j] * t, constant);
      return v.reduce((sum, s, l) => sum + synthesis.bypass[7 * c + l] * s, layer);
    });
  };
  const remembered = (compute) => {
    const known = new Map();
    return (y, x) => {
      const key = `${y} ${x}`;
      if (!known.has(key)) known.set(key, compute(y, x));
      return known.get(key);
    };
  };
  let colours = remembered(colourAt);
  for (const stage of [0, 1]) {
    const before = colours;
    colours = remembered((y, x) => {
      const around = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].flatMap((dx) => before(y + dy, x + dx)));
      return before(y, x).map((own, c) => {
        const weights = synthesis.stages.subarray(81 * stage + 27 * c, 81 * stage + 27 * (c + 1));
        const constant = own + synthesis.stage_constants[3 * stage + c];
        const sum = around.reduce((total, q, i) => total + weights[i] * q, constant);
        return stage === 0 ? Math.max(sum, 0) : sum;
      });
    });
  }
  return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (__, x) => colours(y, x)));
}

/** All blocks of a synthesis as one image [H][W][3]. */
function collect(image, kernels) {
  const pixels = [];
  for (const { top, left, rows, columns, stride, colours } of synthesiseBlocks(image, kernels)) {
    for (let y = 0; y < rows; y++) {
      pixels[top + y] ??= [];
      for (let x = 0; x < columns; x++) pixels[top + y][left + x] = colours.map((plane) => plane[y * stride + x]);
    }
  }
  return pixels;
}

function imageOf(seed, height, width) {
  const random = randomIntegers(seed);
  const sizes = gridSizes(height, width);
  const grids = sizes.map(([m, n]) => Int32Array.from({ length: m * n }, () => (random(0, 2) ? 0 : random(-4, 4))));
  const { synthesis } = readNetworks(new OverfittedWeights(makeArrays(seed)), null);
  return { grids, sizes, synthesis, step: stepOf(-5) };
}

test("colours are those of the document", () => {
  for (const [number, [height, width]] of SIZES.entries()) {
    const image = imageOf(number, height, width);
    const expected = coloursByDocument(image.grids, image.sizes, image.synthesis, image.step);
    const got = collect(image, KERNELS);
    expected.forEach((row, y) =>
      row.forEach((colour, x) => colour.forEach((c, i) => assert.ok(Math.abs(c - got[y][x][i]) < 1e-5))),
    );
  }
});

test("pixels of a region are those of the image, also across blocks", () => {
  const image = imageOf(3, 70, 300);
  const complete = collect(image, KERNELS);
  for (const region of [
    { top: 60, left: 250, bottom: 70, right: 300 },
    { top: 3, left: 1, bottom: 70, right: 280 },
    { top: 69, left: 299, bottom: 70, right: 300 },
  ]) {
    const part = collect({ ...image, region }, KERNELS);
    for (let y = region.top; y < region.bottom; y++) {
      assert.deepEqual(part[y].slice(region.left), complete[y].slice(region.left, region.right));
    }
  }
});

test("a small image is what the coarser grids say", () => {
  const image = imageOf(4, 41, 70);
  for (const level of [1, 3, 6]) {
    // it is the image whose grids 0, 1, .. are grids `level`, `level + 1`, .., with their weights
    const synthesis = {
      ...image.synthesis,
      filters: image.synthesis.filters.subarray(4 * level),
      lift: image.synthesis.lift.subarray(level),
      bypass: image.synthesis.bypass.subarray(level),
    };
    const expected = coloursByDocument(image.grids.slice(level), image.sizes.slice(level), synthesis, image.step);
    const got = collect({ ...image, level }, KERNELS);
    assert.deepEqual([got.length, got[0].length], image.sizes[level]);
    expected.forEach((row, y) =>
      row.forEach((colour, x) => colour.forEach((c, i) => assert.ok(Math.abs(c - got[y][x][i]) < 1e-5))),
    );
  }
});

test("numbers that are not finite do no harm", () => {
  const image = imageOf(5, 20, 20);
  image.synthesis.lift.fill(1e38);
  image.grids[0].fill(1 << 23);
  assert.equal(collect(image, KERNELS).length, 20);
});
