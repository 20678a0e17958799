/**
 * Converts planes of luma and two chroma axes to samples ("Reconstruction" in docs/format.md).
 */

import { allocate } from "./errors.js";

const UNITS = 64; // per code value
const MIDDLE = 128; // code value for 0 in a plane

const dot = (a, b) => a.reduce((sum, x, at) => sum + x * b[at], 0);
const unit = (a) => a.map((x) => x / Math.sqrt(dot(a, a)));
/** Removes the components of an axis along other axes, which are orthonormal. */
const without = (a, ...others) => unit(a.map((x, at) => others.reduce((left, b) => left - dot(a, b) * b[at], x)));

/** The weights of red, green and blue in luma, by the value of the header field. */
const LUMAS = { 1: [1, 1, 1], 2: [0.299, 0.587, 0.114] };

/** Returns the axes in RGB, from the chroma angle and the weights of luma: [axis][channel]. */
function basisOf(chromaAngle, weights) {
  const angle = (chromaAngle * Math.PI) / 256;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const normal = unit(weights);
  const first = without([1, 0, -1], normal);
  const second = without([1, -2, 1], normal, first);
  return [
    [1, 1, 1].map((x) => x / Math.sqrt(3)),
    first.map((x, at) => x * cos + second[at] * sin),
    first.map((x, at) => -x * sin + second[at] * cos),
  ];
}

/** Allocates samples of a bit depth. An array of 8-bit samples rounds and clips when written. */
export function samplesArray(bitDepth, length) {
  return allocate(() => (bitDepth === 8 ? new Uint8ClampedArray(length) : new Uint16Array(length)));
}

/** Returns a function that rounds a sample to the nearest integer and clips it to the bit depth. */
export function roundingOf(bitDepth) {
  if (bitDepth === 8) return (value) => value; // done by Uint8ClampedArray
  return (value) => (value <= 0 ? 0 : value >= 65535 ? 65535 : Math.floor(value + 0.5));
}

/** Converts planes in units to samples. */
export class ColourTransform {
  #round;

  /**
   * @param {Record<string, number>} values fields of the header
   * @param {number} bitDepth 8 or 16
   */
  constructor({ chroma_angle: chromaAngle, luma }, bitDepth) {
    const perCodeValue = bitDepth === 8 ? 1 : 257;
    /** The sample value for 0 in a plane. */
    this.middle = MIDDLE * perCodeValue;
    /** The sample value of a unit. */
    this.perUnit = perCodeValue / UNITS;
    /** The axes in RGB: [axis][channel]. */
    this.basis = basisOf(chromaAngle, LUMAS[luma]);
    /** The maximum sample value. */
    this.peak = 255 * perCodeValue;
    this.#round = roundingOf(bitDepth);
  }

  /**
   * Writes the samples of consecutive pixels.
   * @param {ArrayLike<number>[]} planes of each channel, in units
   * @param {number} start the index of the first pixel in them
   * @param {number} count
   * @param {Uint8ClampedArray|Uint16Array} target interleaved
   * @param {number} at the index of the first sample
   */
  write(planes, start, count, target, at) {
    if (planes.length === 1) this.#writeGray(planes[0], start, count, target, at);
    else this.#writeColour(planes, start, count, target, at);
  }

  #writeGray(plane, start, count, target, at) {
    const [perUnit, middle, round] = [this.perUnit, this.middle, this.#round];
    for (let n = 0; n < count; n++) target[at + n] = round(plane[start + n] * perUnit + middle);
  }

  #writeColour([luma, first, second], start, count, target, at) {
    const [perUnit, middle, round] = [this.perUnit, this.middle, this.#round];
    const [[r0, g0, b0], [r1, g1, b1], [r2, g2, b2]] = this.basis.map((axis) => axis.map((x) => x * perUnit));
    for (let n = start; n < start + count; n++, at += 3) {
      const [y, u, v] = [luma[n], first[n], second[n]];
      target[at] = round(y * r0 + u * r1 + v * r2 + middle);
      target[at + 1] = round(y * g0 + u * g1 + v * g2 + middle);
      target[at + 2] = round(y * b0 + u * b1 + v * b2 + middle);
    }
  }
}
