/**
 * The kernels in plain JavaScript: the same integers as those in C, and the same floats but for how they are rounded.
 * See `kernels.js`, and `packaging/kernels/kernel_interface.py` for what they do. They check no arguments.
 *
 * @module plain_kernels
 */

import {
  ALPHA, BETA, CELLS_AROUND, CELL_SAMPLES, CHANNELS, CORRECTION_FEATURES, DELTA, DIMENSIONS_PER_MOVED, DIRECT_TABLES,
  FINE, GAMMA, LAPLACE_COUNT, LAST_DIRECT, LOW_GAIN, MAX_MEAN, MAX_UNITS, MEANS_PER_SYMBOL, OFFSET_SYMBOLS, SYMBOL_MEANS,
  TABLES_PER_QUANTIZER, UNIT_SCALE_INDEX,
} from "./kernel_interface.js";

const ACTIVATION_SHIFT = 6;
const LARGEST_ACTIVATION = 127;
const LARGEST_GRID_ACTIVATION = 255;
const OUTPUT_SHIFT = 8;
const CHANNEL_SAMPLES = CELL_SAMPLES / CHANNELS; // of a cell

/** @param {number} value @param {number} least @param {number} most */
const limited = (value, least, most) => (value < least ? least : value > most ? most : value);

// ------------------------------------------------------------------------------------ context networks

/** @type {WeakMap<object, Int32Array>} transposed matrices, shared by passes */
const turned = new WeakMap();

/**
 * Returns the columns of a matrix [rows, columns], one after another. @param {ArrayLike<number>} matrix @param {number}
 * rows
 */
function columnsOf(matrix, rows) {
  const columns = matrix.length / rows;
  if (!turned.has(matrix)) {
    turned.set(matrix, Int32Array.from(matrix, (_, at) => matrix[(at % rows) * columns + Math.floor(at / rows)]));
  }
  return turned.get(matrix);
}

/**
 * Adds the contributions of inputs to sums: weights [inputs, sums] by columns.
 *
 * @param {Int32Array} sums @param {Int32Array} weights @param {number} column @param {number} input
 */
function addColumn(sums, weights, column, input) {
  for (let j = 0, at = column * sums.length; j < sums.length; j++, at++) sums[j] += weights[at] * input;
}

/** Computes the sums of a layer from the activations of the previous one. */
function sumLayer(sums, constants, weights, before, largest) {
  sums.set(constants);
  for (let k = 0; k < before.length; k++) {
    const activation = limited(before[k] >> ACTIVATION_SHIFT, 0, largest);
    if (activation !== 0) addColumn(sums, weights, k, activation);
  }
}

/** Selects the tables of symbols of a pass. Symbols whose context is empty get the first table of their quantiser. */
export function chooseTables({ codingPass, table, sign }) {
  const { w1, c1, w2, c2, w3, c3, available, signedCount, views, rows, columns, quantizers, classOfMean } = codingPass;
  const planes = [codingPass.symbols, codingPass.coarser, codingPass.differences];
  const [first, second, third] = [columnsOf(w1, c1.length), columnsOf(w2, c2.length), columnsOf(w3, 2)];
  const [hidden1, hidden2, outputs] = [c1.length, c2.length, 2].map((length) => new Int32Array(length));
  const seen = Array.from({ length: views.length / 3 }, (_, k) => ({
    plane: planes[Number(views[3 * k])],
    index: Number(views[3 * k + 1]),
    stride: Number(views[3 * k + 2]),
  }));
  const signedViews = seen.slice(0, signedCount);
  const classCount = classOfMean.at(-1) + 1;
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      const isZero = ({ plane, index, stride }) => plane[index + row * stride + column] === 0;
      if (signedCount > 0 && signedViews.every(isZero)) {
        table[at] = quantizers[at] * TABLES_PER_QUANTIZER;
        sign[at] = 1;
        continue;
      }
      hidden1.set(c1);
      for (let k = 0; k < seen.length; k++) {
        const { plane, index, stride } = seen[k];
        const feature = plane[index + row * stride + column];
        if (feature === 0) continue;
        addColumn(hidden1, first, available[k < signedCount ? k : signedCount + k], feature);
        if (k < signedCount) addColumn(hidden1, first, available[signedCount + k], Math.abs(feature));
      }
      sumLayer(hidden2, c2, second, hidden1, LARGEST_ACTIVATION);
      sumLayer(outputs, c3, third, hidden2, LARGEST_ACTIVATION);
      const [scaleOutput, mean] = [0, 1].map((output) => (outputs[output] + 128) >> OUTPUT_SHIFT);
      const scale = limited(scaleOutput + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1);
      const meanClass = classOfMean[Math.min(Math.abs(mean), classOfMean.length - 1)];
      const direct = quantizers[at] * TABLES_PER_QUANTIZER + scale * classCount + meanClass;
      table[at] = scale <= LAST_DIRECT ? direct : DIRECT_TABLES + scale - LAST_DIRECT - 1;
      sign[at] = mean < 0 ? -1 : 1;
    }
  }
}

/** Selects the tables of symbols of a wavefront of a grid. */
export function chooseWavefrontTables({
  network, plane, causal, planeStart, planeStride, coarser, coarserStart, coarserStride, count, table, sign, middle,
}) {
  const { first, constants, second, secondConstants, last } = network;
  const [size1, size2] = [constants.length - 2, secondConstants.length];
  const [sums, hidden, outputs] = [constants.length, size2, 2].map((length) => new Int32Array(length));
  const coarserFeatures = first.length / constants.length - causal.length;
  for (let n = 0; n < count; n++) {
    sums.set(constants);
    for (let k = 0; k < causal.length; k++) {
      const feature = plane[planeStart + n * planeStride + Number(causal[k])];
      if (feature !== 0) addColumn(sums, first, k, feature);
    }
    for (let k = 0, at = (coarserStart + n * coarserStride) * coarserFeatures; k < coarserFeatures; k++, at++) {
      if (coarser[at] !== 0) addColumn(sums, first, causal.length + k, coarser[at]);
    }
    sumLayer(hidden, secondConstants, second, sums.subarray(0, size1), LARGEST_GRID_ACTIVATION);
    sumLayer(outputs, sums.subarray(size1), last, hidden, LARGEST_GRID_ACTIVATION);
    const scale = limited((outputs[0] >> OUTPUT_SHIFT) + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1);
    const mean = limited(outputs[1] >> (OUTPUT_SHIFT - 1), -MAX_MEAN, MAX_MEAN);
    const integer = Math.floor((mean + MEANS_PER_SYMBOL / 2) / MEANS_PER_SYMBOL);
    const rest = mean - MEANS_PER_SYMBOL * integer; // -MEANS_PER_SYMBOL / 2 .. MEANS_PER_SYMBOL / 2 - 1
    const beyond = SYMBOL_MEANS * (LAST_DIRECT + 1) + scale - LAST_DIRECT - 1;
    table[n] = scale > LAST_DIRECT ? beyond : SYMBOL_MEANS * scale + Math.abs(rest);
    sign[n] = rest < 0 ? -1 : 1;
    middle[n] = integer;
  }
}

/** Stores the symbols of a wavefront. */
export function acceptWavefront({
  symbols, companded, grid, gridStart, gridStride, plane, planeStart, planeStride,
}) {
  for (let n = 0; n < symbols.length; n++) {
    const value = companded[Math.min(Math.abs(symbols[n]), companded.length - 1)];
    grid[gridStart + n * gridStride] = symbols[n];
    plane[planeStart + n * planeStride] = symbols[n] < 0 ? -value : value;
  }
}

/** Stores the symbols of a pass. */
export function acceptSymbols({
  symbols, table, sign, offsets, nextState, rows, columns, states, stateStride, companded, plane, planeStart,
  planeStride, fine, fineStart, fineStride,
}) {
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      const symbol = symbols[at];
      const place = row * stateStride + column;
      const entry = limited(symbol * sign[at], -OFFSET_SYMBOLS, OFFSET_SYMBOLS) + OFFSET_SYMBOLS;
      const multiple = 2 * symbol - Math.sign(symbol) * (states[place] & 1);
      states[place] = nextState[2 * states[place] + (symbol & 1)];
      const value = companded[Math.min(Math.abs(multiple), companded.length - 1)];
      plane[planeStart + row * planeStride + column] = multiple < 0 ? -value : value;
      fine[fineStart + row * fineStride + 2 * column] =
        multiple * FINE + offsets[table[at] * (2 * OFFSET_SYMBOLS + 1) + entry] * sign[at];
    }
  }
}

// ------------------------------------------------------------------------------------------- wavelet
// All operations are in signed 32 bits, where sums and products wrap around.

/** round(x c / 2^12) */
function scaled(x, c) {
  return (Math.imul(x, c) + 2048) >> 12;
}

/** target[i] -= scaled(first[i] + second[i]), for numbers that start at these indices with a stride of `step`. */
function lift(x, target, first, second, count, step, c) {
  for (let i = 0; i < count * step; i += step) x[target + i] -= scaled((x[first + i] + x[second + i]) | 0, c);
}

/**
 * Merges low-pass and high-pass numbers, which alternate: `length` of them with a stride of `step`, for `count`
 * adjacent columns.
 */
function join(x, start, length, step, count, beside) {
  const [lows, highs] = [(length + 1) >> 1, length >> 1];
  if (highs === 0) return;
  const low = (i) => start + 2 * Math.min(i, lows - 1) * step;
  const high = (i) => start + (2 * Math.min(Math.max(i, 0), highs - 1) + 1) * step;
  for (let i = 0; i < lows; i++) {
    for (let n = 0; n < count; n++) x[low(i) + n * beside] = scaled(x[low(i) + n * beside], LOW_GAIN);
  }
  const liftLows = (c) => {
    for (let i = 0; i < lows; i++) lift(x, low(i), high(i - 1), high(i), count, beside, c);
  };
  const liftHighs = (c) => {
    for (let i = 0; i < highs; i++) lift(x, high(i), low(i), low(i + 1), count, beside, c);
  };
  liftLows(DELTA);
  liftHighs(GAMMA);
  liftLows(BETA);
  liftHighs(ALPHA);
}

/** Inverts a decomposition level of a channel. */
export function synthesiseChannel({
  low, band0, band1, band2, step0, step1, step2, height, width, stride, samples: out,
}) {
  const columns = (width + 1) >> 1;
  const highColumns = width >> 1;
  const dequantized = (fine, step) => {
    const limit = Math.floor((MAX_UNITS * 2 ** 14) / step);
    return (Math.imul(limited(fine, -limit, limit), step) + (1 << 13)) >> 14;
  };
  for (let row = 0; row < height; row++) {
    const half = row >> 1;
    const [even, odd] = row & 1 ? [band1, band2] : [low, band0];
    for (let n = 0; n < columns; n++) {
      const number = even[half * columns + n];
      out[row * stride + 2 * n] = row & 1 ? dequantized(number, step1) : number;
    }
    for (let n = 0; n < highColumns; n++) {
      out[row * stride + 2 * n + 1] = dequantized(odd[half * highColumns + n], row & 1 ? step2 : step0);
    }
    join(out, row * stride, width, 1, 1, 1);
  }
  join(out, 0, height, stride, width, 1);
  for (let row = 0; row < height; row++) {
    for (let at = row * stride; at < row * stride + width; at++) out[at] = limited(out[at], -MAX_UNITS, MAX_UNITS);
  }
}

/** Computes companded differences in the rows `first` .. `last` - 1 of a low-pass band. */
export function lowDifferences({
  low, height, width, levelStep, offsets, companded, firstRow, lastRow, differences: out,
}) {
  const limit = Math.max(1, levelStep >> 1);
  const factor = Math.floor(2 ** 24 / levelStep);
  const [rows, columns] = [(height + 1) >> 1, (width + 1) >> 1];
  const count = offsets.length / 2;
  for (let y = firstRow; y < lastRow; y++) {
    for (let number = 0; number < count; number++) {
      const other = limited(y + offsets[2 * number], 0, height - 1) * width;
      for (let x = 0; x < width; x++) {
        const difference = low[other + limited(x + offsets[2 * number + 1], 0, width - 1)] - low[y * width + x];
        const quarters = Math.imul(Math.min(Math.abs(difference), limit), factor) >> 14;
        const value = companded[Math.min(quarters, companded.length - 1)];
        const target = ((2 * (y & 1) + (x & 1)) * count + number) * rows + (y >> 1);
        out[target * columns + (x >> 1)] = difference < 0 ? -value : value;
      }
    }
  }
}

// -------------------------------------------------------------------------------------- reconstruction

/** The sines of phases in 2^-8 turns, times 127. */
const SINES = Int8Array.from({ length: 256 }, (_, phase) => Math.round(127 * Math.sin((2 * Math.PI * phase) / 256)));
const QUARTER_TURN = 1 << 14;
const LARGEST_PHASE = 127 << 7;

/** Returns views of the weights and factors of a correction network; see `CorrectionNetwork` in correction.js. */
function partsOf(weights, factors, width, depth) {
  let [weightAt, factorAt] = [0, 0];
  const nextWeights = (size) => weights.subarray(weightAt, (weightAt += size));
  const nextFactors = (size) => factors.subarray(factorAt, (factorAt += size));
  const lift = { weights: nextWeights(CORRECTION_FEATURES * width), factors: nextFactors(width) };
  const layers = Array.from({ length: depth }, (_, layer) => {
    const outputs = layer < depth - 1 ? width : CELL_SAMPLES;
    return { weights: nextWeights(2 * width * outputs), factors: nextFactors(outputs), constants: nextFactors(outputs) };
  });
  return { lift, layers, bypass: { weights: nextWeights(width * CELL_SAMPLES), factors: nextFactors(CELL_SAMPLES) } };
}

/** Computes the correction of a block of samples by the correction network. */
export function correctionResidual({
  weights, firstConstants, factors, depth, samples, channels, height, width: sampleWidth, stepSize: step,
  blockHeight: outHeight, blockWidth: outWidth, residual: out,
}) {
  const { lift, layers, bypass } = partsOf(weights, factors, firstConstants.length, depth);
  let [rows, columns] = [(height + 1) >> 1, (sampleWidth + 1) >> 1];
  const cells = new Int32Array(rows * columns * CELL_SAMPLES);
  for (let channel = 0, at = 0; channel < channels; channel++) {
    for (let y = 0; y < 2 * rows; y++) {
      const row = (channel * height + Math.min(y, height - 1)) * sampleWidth;
      for (let x = 0; x < 2 * columns; x++) {
        at = ((y >> 1) * columns + (x >> 1)) * CELL_SAMPLES + CHANNEL_SAMPLES * channel + 2 * (y & 1) + (x & 1);
        cells[at] = samples[row + Math.min(x, sampleWidth - 1)];
      }
    }
  }
  let phases = liftCells(lift, firstConstants, cells, rows, columns, step);
  [rows, columns] = [rows - 2, columns - 2];
  for (const layer of layers.slice(0, -1)) {
    phases = layerOf(layer, firstConstants.length, phases, rows, columns);
    [rows, columns] = [rows - 2, columns - 2];
  }
  const residuals = lastLayerOf(layers.at(-1), bypass, firstConstants.length, phases, rows, columns);
  const unit = Math.fround(step / 4096);
  for (let channel = 0; channel < channels; channel++) {
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++) {
        const sample = CHANNEL_SAMPLES * channel + 2 * (y & 1) + (x & 1);
        const cell = (y >> 1) * (columns - 2) + (x >> 1);
        out[(channel * outHeight + y) * outWidth + x] = Math.fround(residuals[cell * CELL_SAMPLES + sample]) * unit;
      }
    }
  }
}

/** Multiplies bytes by weights [sums, bytes]. */
function multiplyBytes(sums, weights, bytes) {
  for (let j = 0, at = 0; j < sums.length; j++) {
    let sum = 0;
    for (let k = 0; k < bytes.length; k++, at++) sum = (sum + Math.imul(weights[at], bytes[k])) | 0;
    sums[j] = sum;
  }
}

/** Multiplies a sum by the factor of its output, and shifts it. */
const rescaled = (sum, factor, shift) => (Math.imul(sum, factor) + (1 << (shift - 1))) >> shift;

/** Computes the first phases of cells, [rows - 2, columns - 2, width], in 2^-16 turns. */
function liftCells({ weights, factors }, constants, cells, rows, columns, step) {
  const width = constants.length;
  const phases = new Int32Array((rows - 2) * (columns - 2) * width);
  const features = new Int8Array(CORRECTION_FEATURES);
  const sums = new Int32Array(width);
  for (let row = 0, at = 0; row < rows - 2; row++) {
    for (let column = 0; column < columns - 2; column++, at += width) {
      const middle = ((row + 1) * columns + column + 1) * CELL_SAMPLES;
      for (let sample = 0; sample < CELL_SAMPLES; sample++) {
        const own = middle + sample - (sample % CHANNEL_SAMPLES);
        const sum = cells[own] + cells[own + 1] + cells[own + 2] + cells[own + 3];
        for (let around = 0; around < CELLS_AROUND; around++) {
          const cell = (row + Math.floor(around / 3)) * columns + column + (around % 3);
          const difference = CHANNEL_SAMPLES * cells[cell * CELL_SAMPLES + sample] - sum;
          features[around * CELL_SAMPLES + sample] = featureOf(difference, 16 * step);
        }
      }
      multiplyBytes(sums, weights, features);
      for (let j = 0; j < width; j++) phases[at + j] = rescaled(sums[j], factors[j], 8) + constants[j];
    }
  }
  return phases;
}

/** Returns a difference with a soft limit. All operations round to float32. */
function featureOf(difference, limit) {
  const { fround } = Math;
  const limited = fround(fround(difference * 124) / fround(Math.abs(difference) + limit));
  return Math.floor(fround(limited + 0.5));
}

/** Calls `use(cell, own)` for each inner cell and the index of its own phases, with the waves around it in `waves`. */
function forWaves(width, phases, rows, columns, waves, use) {
  const moved = Math.floor(width / DIMENSIONS_PER_MOVED);
  const places = Int32Array.from({ length: width }, (_, k) => {
    const neighbour = moved && k >= width - 8 * moved ? Math.floor((k - width + 8 * moved) / moved) : -1;
    const place = neighbour < 0 ? 4 : neighbour < 4 ? neighbour : neighbour + 1; // index among the nine cells
    return (Math.floor(place / 3) * columns + (place % 3)) * width + k;
  });
  for (let row = 0, cell = 0; row < rows - 2; row++) {
    for (let column = 0; column < columns - 2; column++, cell++) {
      const first = (row * columns + column) * width;
      for (let k = 0; k < width; k++) {
        const phase = phases[first + places[k]];
        waves[k] = SINES[((phase + QUARTER_TURN + 128) >> 8) & 255];
        waves[width + k] = SINES[((phase + 128) >> 8) & 255];
      }
      use(cell, first + (columns + 1) * width);
    }
  }
}

/** Computes the phases of cells after a Fourier layer of order 1, [rows - 2, columns - 2, width]. */
function layerOf({ weights, factors, constants }, width, phases, rows, columns) {
  const result = new Int32Array((rows - 2) * (columns - 2) * width);
  const sums = new Int32Array(width);
  const waves = new Int8Array(2 * width);
  forWaves(width, phases, rows, columns, waves, (cell, own) => {
    multiplyBytes(sums, weights, waves);
    for (let j = 0; j < width; j++) {
      result[cell * width + j] = phases[own + j] + rescaled(sums[j], factors[j], 8) + constants[j];
    }
  });
  return result;
}

/** Computes the residuals of cells, [rows - 2, columns - 2, CELL_SAMPLES], in 2^-12 steps. */
function lastLayerOf({ weights, factors, constants }, bypass, width, phases, rows, columns) {
  const result = new Int32Array((rows - 2) * (columns - 2) * CELL_SAMPLES);
  const [sums, highSums, lowSums] = [0, 1, 2].map(() => new Int32Array(CELL_SAMPLES));
  const [waves, high, low] = [2 * width, width, width].map((length) => new Int8Array(length));
  forWaves(width, phases, rows, columns, waves, (cell, own) => {
    multiplyBytes(sums, weights, waves);
    for (let k = 0; k < width; k++) {
      const value = limited((phases[own + k] + 16) >> 5, -LARGEST_PHASE, LARGEST_PHASE);
      high[k] = (value + 64) >> 7;
      low[k] = value - (high[k] << 7);
    }
    multiplyBytes(highSums, bypass.weights, high);
    multiplyBytes(lowSums, bypass.weights, low);
    for (let j = 0; j < CELL_SAMPLES; j++) {
      const passed = rescaled(highSums[j] + ((lowSums[j] + 64) >> 7), bypass.factors[j], 12);
      result[cell * CELL_SAMPLES + j] = rescaled(sums[j], factors[j], 16) + constants[j] + passed;
    }
  });
  return result;
}

/** Computes the correction of a block of samples by the image filter. */
export function filterResidual({ weights, taps, radius, samples, channels, height, width, residual: out }) {
  const stride = width + 2 * radius;
  const plane = (height + 2 * radius) * stride;
  const sums = new Float64Array(channels);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const here = (row + radius) * stride + radius + column;
      sums.fill(0);
      for (let tap = 0, at = 0; tap < taps.length / 2; tap++) {
        const distance = taps[2 * tap] * stride + taps[2 * tap + 1];
        for (let from = 0; from < channels; from++) {
          const difference = samples[from * plane + here + distance] - samples[from * plane + here];
          for (let to = 0; to < channels; to++, at++) sums[to] += weights[at] * difference;
        }
      }
      for (let to = 0; to < channels; to++) out[(to * height + row) * width + column] = sums[to];
    }
  }
}

/** Converts planes to pixels. */
export function planesToPixels({ planes, channels, height, width, basis, scale, middle, peak, pixels: out }) {
  const size = height * width;
  for (let n = 0; n < size; n++) {
    for (let j = 0; j < channels; j++) {
      let value = planes[n];
      if (channels > 1) value = value * basis[j] + planes[size + n] * basis[3 + j] + planes[2 * size + n] * basis[6 + j];
      out[channels * n + j] = Math.round(limited(value * scale + middle, 0, peak));
    }
  }
}
