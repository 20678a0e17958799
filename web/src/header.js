/**
 * The header of a .dfm file: all properties of an image that are known before decoding ("Header", "Section table" and
 * "Refusals and limits" in docs/format.md).
 */

import { layerShapes } from "./architecture.js";
import { crc32 } from "./crc32.js";
import { DfmError, damaged } from "./errors.js";
import { TILE_GRID } from "./geometry.js";

export const MAX_PIXELS = 89478485;
const MAGIC = [0x89, 0x44, 0x46, 0x4d];
const MAX_SIDE = 65535;
const SECTION_ENTRY_BYTES = 5;
export const CRC_BYTES = 4;

export const COORDINATE = 0;
export const WAVELET = 1;
export const OVERFITTED = 3;
const MODEL_NAMES = ["coordinate", "wavelet", null, "overfitted"];
const MAIN_SECTIONS = ["weights", "latents", null, "grids"];
/** Sections of specific codecs; the others can occur with all. */
const OWN_SECTIONS = [["weights"], ["latents", "filter", "adaptation"], [], ["grids", "networks"]];
/** Sections from this id on do not affect samples; unknown ones are skipped. */
const FIRST_SKIPPED = 128;
/** The names of sections by their ids. */
const SECTION_NAMES = [
  null,
  "weights",
  "metadata",
  "latents",
  "filter",
  "adaptation",
  "alpha",
  "rgb",
  "checks",
  null,
  "grids",
  "networks",
];

/** The number of bytes of a stored number, by its code in FIELDS. */
const SIZES = { B: 1, H: 2, I: 4 };
const isCoordinate = (values) => values.model === COORDINATE;
const isWavelet = (values) => values.model === WAVELET;
const isOverfitted = (values) => values.model === OVERFITTED;
const namesWeights = (values) => isWavelet(values) || isOverfitted(values);
const isTiled = (values) => isWavelet(values) && values.further_bytes > 8;
const between = (low, high) => (value) => low <= value && value <= high;
const oneOf =
  (...allowed) =>
  (value) =>
    allowed.includes(value);
const any = () => true;

/**
 * A field of the header. It is present if `when` returns true for the previous fields.
 * @typedef {object} Field
 * @property {string} name
 * @property {"B"|"H"|"I"} code
 * @property {(value: number) => boolean} allowed
 * @property {(values: object) => boolean} when
 * @property {number} less the difference between a value and the stored number
 * @property {string} refusal the kind of the error for a value that is not allowed
 */

/** @returns {Field} */
function field(name, code, allowed, when = any, { less = 0, refusal = "corrupt" } = {}) {
  return { name, code, allowed, when, less, refusal };
}

const NEWER = { refusal: "unsupported-version" };
const TOO_LARGE = { refusal: "limit" };
const FIELDS = [
  field("version", "B", oneOf(1), any, NEWER),
  field("model", "B", oneOf(COORDINATE, WAVELET, OVERFITTED), any, NEWER),
  field("channels", "B", oneOf(1, 3)),
  field("bit_depth", "B", oneOf(8, 16), any, NEWER),
  field("width", "H", between(1, MAX_SIDE), any, TOO_LARGE),
  field("height", "H", between(1, MAX_SIDE), any, TOO_LARGE),
  field("depth", "B", between(1, 64), isCoordinate),
  field("layer_width", "B", between(1, 64), isCoordinate),
  field("order", "B", between(1, 64), isCoordinate),
  field("depth", "B", any, namesWeights),
  field("layer_width", "B", any, namesWeights),
  field("order", "B", any, isOverfitted),
  field("luma", "B", oneOf(1, 2), isWavelet, NEWER),
  field("further_bytes", "B", oneOf(0), isCoordinate, NEWER),
  field("further_bytes", "B", oneOf(8, 10), isWavelet, NEWER),
  field("further_bytes", "B", oneOf(6), isOverfitted, NEWER),
  field("section_count", "B", between(1, 255)),
  field("levels", "B", between(1, 6), isWavelet),
  field("grids", "B", oneOf(7), isOverfitted),
  field("lmbda_code", "B", between(-24, 32), isOverfitted, { less: -24 }),
  field("q_step", "H", between(1, 65535), isWavelet),
  field("chroma_angle", "B", any, isWavelet),
  field("weights_id", "I", any, namesWeights),
  field("tile_rows", "B", between(1, 64), isTiled),
  field("tile_columns", "B", between(1, 64), isTiled),
];

/**
 * The result of `readHeader`.
 * @typedef {object} Header
 * @property {Record<string, number>} values the fields by their names in docs/format.md
 * @property {number} model COORDINATE, WAVELET or OVERFITTED
 * @property {string} modelName
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {number} bitDepth 8 or 16
 * @property {number} codedChannels the number of coded channels, 1 or 3
 * @property {number} channels the number of channels of the image without alpha, 1 or 3
 * @property {boolean} hasAlpha
 * @property {number} tileRows 1 for codecs without tiles
 * @property {number} tileColumns
 * @property {Map<string, {id: number, start: number, length: number}>} sections by name, in the order of the file
 * @property {number} fileBytes the length of the file according to the header
 */

/**
 * Reads the header without checking the sections and the CRC-32.
 * @param {Uint8Array} data the file, or a prefix with the complete header
 * @param {number} [maxPixels] the maximum number of pixels of an image
 * @returns {Header}
 * @throws {DfmError}
 */
export function readHeader(data, maxPixels = MAX_PIXELS) {
  requireMagic(data);
  const { values, at } = readFields(data);
  requireImageSize(values, maxPixels);
  if (isCoordinate(values)) layerShapes(values);
  const tileRows = values.tile_rows ?? 1;
  const tileColumns = values.tile_columns ?? 1;
  requireTiles(tileRows, values.height);
  requireTiles(tileColumns, values.width);
  const { sections, fileBytes } = readSectionTable(data, at, values);
  const codedChannels = values.channels;
  checkSections(sections, values.model, codedChannels);
  return {
    values,
    model: values.model,
    modelName: MODEL_NAMES[values.model],
    width: values.width,
    height: values.height,
    bitDepth: values.bit_depth,
    codedChannels,
    channels: sections.has("rgb") ? 3 : codedChannels,
    hasAlpha: sections.has("alpha"),
    tileRows,
    tileColumns,
    sections,
    fileBytes,
  };
}

/** Throws an error for invalid combinations of sections. */
function checkSections(sections, model, codedChannels) {
  const main = MAIN_SECTIONS[model];
  const others = OWN_SECTIONS.filter((_, other) => other !== model).flat();
  const foreign = [...sections.keys()].find((name) => others.includes(name));
  const rgb = sections.get("rgb");
  let problem = null;
  if (!sections.has(main)) problem = `no ${main} section`;
  else if (foreign) problem = `the ${foreign} section of another model`;
  else if (rgb && (rgb.length || codedChannels !== 1)) problem = "an rgb section that is not empty, or not of gray";
  if (problem) throw new DfmError("corrupt", `the file has ${problem}; it is damaged`);
}

function requireMagic(data) {
  if (data.length === 0) throw new DfmError("truncated", "the file is empty");
  const first = [...data.subarray(0, MAGIC.length)]; // a prefix of the magic bytes is a truncated file
  if (first.every((byte, index) => byte === MAGIC[index])) return;
  const what = `its first bytes are ${bytesText(first)}, not ${bytesText(MAGIC)}`;
  throw new DfmError("not-dfm", `not a .dfm file: ${what}; name a file that dfm encode wrote`);
}

/** Formats bytes as `dfm` does in messages. */
function bytesText(bytes) {
  const escapes = { 9: "\\t", 10: "\\n", 13: "\\r", 92: "\\\\" };
  const quote = bytes.includes(39) && !bytes.includes(34) ? '"' : "'";
  const text = bytes.map((byte) => {
    if (byte === 39 && quote === "'") return "\\'";
    if (escapes[byte]) return escapes[byte];
    return byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`;
  });
  return `b${quote}${text.join("")}${quote}`;
}

/** Reads the values of the fields, and returns them with the offset after them. */
function readFields(data) {
  const values = {};
  let at = MAGIC.length;
  for (const item of FIELDS) {
    if (!item.when(values)) continue;
    const value = readNumber(data, at, SIZES[item.code]) + item.less;
    if (!item.allowed(value)) throw refusalOf(item, value, at, data);
    values[item.name] = value;
    at += SIZES[item.code];
  }
  return { values, at };
}

function readNumber(data, at, size) {
  requireHeaderBytes(data, at + size);
  let stored = 0;
  for (let index = at + size - 1; index >= at; index--) stored = 256 * stored + data[index];
  return stored;
}

function refusalOf(item, value, at, data) {
  const title = item.name.replaceAll("_", " ");
  if (item.refusal === NEWER.refusal) return unknown(`${title} ${value} (byte ${at})`, data);
  return new DfmError(item.refusal, `the header is invalid: ${title} ${value}; the file is damaged`);
}

/**
 * Creates the error for contents that a newer program may have written. A wrong CRC-32 means that the file may be
 * damaged instead.
 */
function unknown(what, data) {
  const end = data.length - CRC_BYTES;
  const isComplete = end >= 0 && crc32(data.subarray(0, end)) === readUint32(data, end);
  const advice = isComplete ? "update dfmcodec" : "update dfmcodec, or get a complete copy: its CRC-32 does not match";
  return new DfmError("unsupported-version", `${what} is unknown to this program; ${advice}`);
}

function requireHeaderBytes(data, size) {
  if (data.length >= size) return;
  const what = `the file ends after ${data.length} bytes, inside its header`;
  throw new DfmError("truncated", `${what}; it is truncated; get a complete copy`);
}

function requireImageSize({ width, height }, maxPixels) {
  if (width * height <= maxPixels) return;
  const what = `the image is ${width}x${height}, more than the limit of ${maxPixels} pixels (--max-pixels)`;
  throw new DfmError("limit", what);
}

function requireTiles(count, side) {
  const most = Math.max(1, Math.floor(side / TILE_GRID));
  if (count <= most) return;
  const what = `${count} tiles along ${side} pixels; at most ${most} are possible`;
  throw new DfmError("corrupt", `the header is invalid: ${what}`);
}

/** Returns the position of each section, and the length of the file. */
function readSectionTable(data, table, values) {
  const count = values.section_count;
  let start = table + count * SECTION_ENTRY_BYTES;
  requireHeaderBytes(data, start);
  const sections = new Map();
  for (let at = table; at < table + count * SECTION_ENTRY_BYTES; at += SECTION_ENTRY_BYTES) {
    const name = SECTION_NAMES[data[at]] ?? (data[at] >= FIRST_SKIPPED ? `unknown ${data[at]}` : null);
    if (!name) throw unknown(`section ${data[at]}`, data);
    if (sections.has(name)) throw damaged(`section ${data[at]} occurs twice`);
    const length = readUint32(data, at + 1);
    sections.set(name, { id: data[at], start, length });
    start += length;
  }
  return { sections, fileBytes: start + CRC_BYTES };
}

/** @returns {number} the unsigned number of four bytes, little-endian */
export function readUint32(data, at) {
  return (data[at] | (data[at + 1] << 8) | (data[at + 2] << 16) | (data[at + 3] << 24)) >>> 0;
}

/** Returns the number of symbol checks in a checks section. */
export function symbolCheckCount(header) {
  if (header.model === OVERFITTED) return header.values.grids;
  return header.model === WAVELET ? header.tileRows * header.tileColumns * (header.values.levels + 1) : 0;
}
