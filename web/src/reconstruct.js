/**
 * Linear synthesis -> samples of the image: machine and image filter block by block, then the
 * channels ("Reconstruction" in docs/format.md).
 */

import { ColourTransform } from "./colour.js";
import { filterMatrix } from "./filter.js";
import { ROWS as MATRIX_ROWS } from "./float_kernels.js";
import { Region } from "./geometry.js";
import { BLOCK_COLUMNS, BLOCK_ROWS, Machine, machineBytes } from "./machine.js";
import { matrixBytes } from "./products.js";

const CELL = 2; // pixels
const ROUNDED = 16; // floats that are written beyond the last position at most

/**
 * The linear synthesis of a region of an image.
 * @typedef {object} Synthesis
 * @property {Int32Array[]} planes of each channel, units
 * @property {Region} region
 */

/**
 * Gives rows of samples around a block. Beyond the region its edges are repeated: where it ends with
 * the image, that is what the format says, and elsewhere no pixel depends on it.
 */
class SampleRows {
  #synthesis;
  #row = new Float32Array(0);

  /** @param {Synthesis} synthesis */
  constructor(synthesis) {
    this.#synthesis = synthesis;
  }

  /** The samples of a channel at columns left..right of a row. The next call overwrites them. */
  read(channel, row, left, right) {
    const { planes, region } = this.#synthesis;
    if (this.#row.length < right - left) this.#row = new Float32Array(right - left);
    const inside = Math.min(Math.max(row, region.top), region.bottom - 1) - region.top;
    const start = inside * region.width - region.left;
    const [first, last] = [Math.max(left, region.left), Math.min(right, region.right)];
    this.#row.set(planes[channel].subarray(start + first, start + last), first - left);
    this.#row.fill(planes[channel][start + first], 0, first - left);
    this.#row.fill(planes[channel][start + last - 1], last - left, right - left);
    return this.#row;
  }

  /** Copies the samples of a channel in a region into a plane, whose rows are `stride` apart. */
  copy(channel, { top, left, bottom, right }, plane, stride) {
    for (let row = top; row < bottom; row++) {
      const samples = this.read(channel, row, left, right);
      plane.set(samples.subarray(0, right - left), (row - top) * stride);
    }
  }
}

/** The image filter in a workspace. */
class BlockFilter {
  #planes;
  #out;
  #matrix;
  #filter;
  #channels;

  static sizes(radius, [rows, columns]) {
    const stride = CELL * columns + 2 * radius;
    return { stride, length: (CELL * rows + 2 * radius) * stride + ROUNDED };
  }

  static bytes({ radius, taps }, channels, block) {
    const { length } = BlockFilter.sizes(radius, block);
    return 4 * length * (channels + MATRIX_ROWS) + matrixBytes(channels, (taps.length + 1) * channels) + 64;
  }

  constructor(space, filter, channels, block) {
    const { stride, length } = BlockFilter.sizes(filter.radius, block);
    this.stride = stride;
    this.#filter = filter;
    this.#channels = channels;
    this.#planes = Array.from({ length: channels }, () => space.float32(length));
    this.#out = space.float32(MATRIX_ROWS * length);
    this.length = length;
    this.#matrix = space.matrix({ weights: filterMatrix(filter, channels), constants: new Float32Array(channels) });
    const offsets = [...filter.taps, [0, 0]].map(([dy, dx]) => dy * stride + dx);
    this.#matrix.setInputs(offsets.flatMap((offset) => this.#planes.map((plane) => plane.byteOffset + 4 * offset)));
  }

  /** What the filter adds to each channel of a block; the rows are `stride` apart. */
  run(rows, block) {
    const { radius } = this.#filter;
    const { top, left, bottom, right } = block;
    const seen = new Region(top - radius, left - radius, bottom + radius, right + radius);
    this.#planes.forEach((plane, channel) => rows.copy(channel, seen, plane, this.stride));
    const first = radius * this.stride + radius;
    this.#matrix.run(this.#out, this.length, (block.height - 1) * this.stride + block.width, 4 * first);
    return Array.from({ length: this.#channels }, (_, channel) => this.#out.subarray(channel * this.length));
  }
}

/**
 * Computes the samples of a region.
 * @param {import("./header.js").Header} header
 * @param {Record<string, import("./prior.js").PriorArray>} arrays of the prior
 * @param {Synthesis} synthesis at least what the region is seen from
 * @param {import("./filter.js").ImageFilter|null} filter
 * @param {Region} region
 * @param {import("./products.js").Products} products
 * @param {Uint8ClampedArray|Uint16Array} target gets the samples [H, W, C] of the region
 * @yields {number} the part of the region that is done, 0..1
 */
export function* reconstruct(header, arrays, synthesis, filter, region, products, target) {
  const { codedChannels: channels, bitDepth, values } = header;
  const block = [Math.min(BLOCK_ROWS, cells(region.height)), Math.min(BLOCK_COLUMNS, cells(region.width))];
  const filterBytes = filter ? BlockFilter.bytes(filter, channels, block) : 0;
  const space = products.workspace(machineBytes(arrays, channels, block) + filterBytes);
  const machine = new Machine(space, arrays, channels, values.q_step, block);
  const blockFilter = filter ? new BlockFilter(space, filter, channels, block) : null;
  const colours = new ColourTransform(values, bitDepth);
  const rows = new SampleRows(synthesis);
  const whole = new Region(0, 0, header.height, header.width);
  for (const part of blocksOf(region, block)) {
    const planes = samplesOf(rows, part, channels);
    addMachine(planes, machine, rows, part);
    if (blockFilter) addFilter(planes, blockFilter, rows, part);
    const inside = part.common(region).common(whole);
    for (let y = inside.top; y < inside.bottom; y++) {
      const start = (y - part.top) * part.width + inside.left - part.left;
      const at = channels * ((y - region.top) * region.width + inside.left - region.left);
      colours.write(planes, start, inside.width, target, at);
    }
    yield (part.bottom - region.top) / (region.height + CELL);
  }
}

const cells = (side) => Math.ceil(side / CELL) + 1;

/** Blocks of whole cells that cover a region. */
function* blocksOf(region, [rows, columns]) {
  const even = (at) => at - (at % CELL);
  for (let top = even(region.top); top < region.bottom; top += CELL * rows) {
    const bottom = Math.min(top + CELL * rows, even(region.bottom + 1));
    for (let left = even(region.left); left < region.right; left += CELL * columns) {
      yield new Region(top, left, bottom, Math.min(left + CELL * columns, even(region.right + 1)));
    }
  }
}

/** The linear synthesis of a block, as a plane for each channel. */
function samplesOf(rows, part, channels) {
  return Array.from({ length: channels }, (_, channel) => {
    const plane = new Float32Array(part.height * part.width);
    rows.copy(channel, part, plane, part.width);
    return plane;
  });
}

function addMachine(planes, machine, rows, part) {
  const margin = CELL * machine.reach;
  const left = part.left - margin;
  const right = left + CELL * machine.stride;
  const read = (channel, row) => rows.read(channel, part.top - margin + row, left, right);
  const residuals = machine.run(read, part.height / CELL);
  residuals.forEach((residual, number) => {
    const plane = planes[Math.floor(number / CELL ** 2)];
    const [y, x] = [(number >> 1) & 1, number & 1];
    for (let row = 0; row < part.height / CELL; row++) {
      const source = row * machine.stride;
      const target = (CELL * row + y) * part.width + x;
      for (let column = 0; column < part.width / CELL; column++) {
        plane[target + CELL * column] += residual[source + column];
      }
    }
  });
}

function addFilter(planes, filter, rows, part) {
  filter.run(rows, part).forEach((change, channel) => {
    for (let row = 0; row < part.height; row++) {
      const [source, target] = [row * filter.stride, row * part.width];
      for (let column = 0; column < part.width; column++) planes[channel][target + column] += change[source + column];
    }
  });
}

/** The region of the linear synthesis that the pixels of a region depend on. */
export function seenFrom(region, header, reach, radius) {
  const even = new Region(
    region.top - (region.top % CELL),
    region.left - (region.left % CELL),
    region.bottom + (region.bottom % CELL),
    region.right + (region.right % CELL),
  );
  return even.grown(Math.max(CELL * reach, radius), header.height, header.width);
}
