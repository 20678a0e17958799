/**
 * The header of a .dfm file: all properties of an image that are known before decoding ("Header", "Section table" and
 * "Refusals and limits" in docs/format.md).
 */

import { layerShapes } from "./architecture.js";
import { crc32 } from "./crc32.js";
import { DfmError, damaged } from "./errors.js";
import { TILE_GRID } from "./geometry.js";
import { COORDINATE, OVERFITTED, WAVELET } from "./header_table.js";
import { FIRST_FIELDS, FIRST_SKIPPED, MAGIC, MAX_PIXELS, MODELS, SECTIONS } from "./header_table.js";

const SECTION_ENTRY_BYTES = 5;
export const CRC_BYTES = 4;
const SECTION_BY_ID = new Map(SECTIONS.map((section) => [section.id, section]));

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
  if (values.model === COORDINATE) layerShapes(values);
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
    modelName: MODELS[values.model].name,
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
  const { main } = MODELS[model];
  const ofOthers = SECTIONS.filter(({ models }) => !models.includes(model)).map(({ name }) => name);
  const foreign = [...sections.keys()].find((name) => ofOthers.includes(name));
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

/** Yields the fields of a header in order. The values of earlier fields decide which follow. */
function* presentFields(values) {
  yield* FIRST_FIELDS;
  const { fields, further } = MODELS[values.model];
  yield* fields;
  let end = 0;
  for (const item of further) {
    end += item.bytes;
    if (end <= values.further_bytes) yield item;
  }
}

/** Reads the values of the fields, and returns them with the offset after them. */
function readFields(data) {
  const values = {};
  let at = MAGIC.length;
  for (const item of presentFields(values)) {
    const value = readNumber(data, at, item.bytes) + item.less;
    if (!item.allowed.some(([low, high]) => low <= value && value <= high)) throw refusalOf(item, value, at, data);
    values[item.name] = value;
    at += item.bytes;
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
  if (item.refusal === "unsupported-version") return unknown(`${title} ${value} (byte ${at})`, data);
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
    const name = SECTION_BY_ID.get(data[at])?.name ?? (data[at] >= FIRST_SKIPPED ? `unknown ${data[at]}` : null);
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
