/**
 * The state of a file: intact, truncated or damaged, and the affected sections ("Checks section" in docs/format.md).
 */

import { checkOf, crc32 } from "./crc32.js";
import { DfmError } from "./errors.js";
import { CRC_BYTES, readUint32, symbolCheckCount } from "./header.js";

const CHECK_BYTES = 2;
const BEST_EFFORT = "or decode what is left with dfm decode --best-effort";

/**
 * The state of a file, determined before decoding.
 * @typedef {object} FileState
 * @property {Uint8Array} data
 * @property {import("./header.js").Header} header
 * @property {number[]|null} symbolChecks the checks of the symbols; null if there are none
 * @property {boolean} headerDamaged whether the check of the header does not match
 * @property {string[]} problems descriptions of damage; empty for an intact file
 */

/**
 * Determines the state of a file.
 * @param {Uint8Array} data the file, or a prefix with the complete header
 * @param {import("./header.js").Header} header
 * @returns {FileState}
 */
export function examine(data, header) {
  const missing = header.fileBytes - data.length;
  const end = header.fileBytes - CRC_BYTES;
  const checks = readChecks(data, header);
  const state = { data, header, symbolChecks: checks?.symbols ?? null, headerDamaged: false, problems: [] };
  const isRight = missing <= 0 && crc32(data.subarray(0, end)) === readUint32(data, end);
  if (isRight && missing === 0) return state;
  const headEnd = Math.min(...[...header.sections.values()].map(({ start }) => start));
  if (isHeaderDamaged(data, header, headEnd)) {
    const problems = [`the header (${range(0, headEnd)}) is damaged`];
    return { ...state, symbolChecks: null, headerDamaged: true, problems };
  }
  const damaged = damagedSections(data, header, checks);
  if (missing > 0) state.problems.push(`${data.length} of ${header.fileBytes} bytes, ${missing} missing`);
  if (missing < 0) state.problems.push(`${-missing} extra bytes after the expected ${header.fileBytes}`);
  if (missing <= 0 && !isRight && damaged.length === 0) {
    if (checks) {
      state.problems.push(`only the CRC-32 (${range(end, header.fileBytes)}) is damaged`);
    } else if (header.sections.has("checks")) {
      damaged.push("checks");
    } else {
      state.problems.push("the CRC-32 does not match: the file is damaged, and has no checks that show where");
    }
  }
  state.problems.push(...damaged.map((name) => `${describe(header, name)} is damaged`));
  return state;
}

/**
 * Throws an error for a file that is not intact.
 * @param {FileState} state
 * @throws {DfmError}
 */
export function refuseDamage({ data, header, headerDamaged, problems }) {
  const what = problems.join("; ");
  if (headerDamaged) {
    throw new DfmError("corrupt", `${what}; nothing after it can be decoded, get another copy`);
  }
  if (data.length < header.fileBytes) {
    throw new DfmError("truncated", `the file is truncated: ${what}; get a complete copy, ${BEST_EFFORT}`);
  }
  if (problems.length) throw new DfmError("corrupt", `${what}; get another copy, ${BEST_EFFORT}`);
}

/**
 * Returns the available bytes of a section; null if the file has no section of this name.
 * @param {Pick<FileState, "data"|"header">} file
 * @param {string} name
 * @returns {Uint8Array|null}
 */
export function sectionOf({ data, header }, name) {
  const place = header.sections.get(name);
  return place ? data.subarray(place.start, place.start + place.length) : null;
}

/**
 * Creates the error for symbols of a complete file that do not match their check. @param {string} place their location
 */
export function wrongSymbols(place) {
  return new DfmError(
    "corrupt",
    `the file is intact, but the decoded symbols of ${place} are not those that were written: ` +
      "the encoder or the decoder computed wrong values; please report this",
  );
}

/** Returns the checks of a file; null if there are none or they are damaged. */
function readChecks(data, header) {
  const place = header.sections.get("checks");
  if (!place) return null;
  const others = [...header.sections.keys()].filter((name) => name !== "checks");
  const body = sectionOf({ data, header }, "checks");
  const count = 1 + others.length + symbolCheckCount(header) + 1;
  if (body.length < place.length || place.length !== CHECK_BYTES * count) return null;
  const checks = Array.from({ length: count }, (_, index) => checkAt(body, CHECK_BYTES * index));
  if (checkOf(body.subarray(0, -CHECK_BYTES)) !== checks[count - 1]) return null;
  const sections = others.map((name, index) => ({ name, check: checks[1 + index] }));
  return { sections, symbols: checks.slice(1 + others.length, -1) };
}

function isHeaderDamaged(data, header, headEnd) {
  const place = header.sections.get("checks");
  if (!place || place.length < CHECK_BYTES || data.length < place.start + CHECK_BYTES) return false;
  return checkAt(data, place.start) !== checkOf(data.subarray(0, headEnd));
}

/** Returns the names of sections that do not match their checks, by section id. */
function damagedSections(data, header, checks) {
  const isDamaged = ({ name, check }) => {
    const { start, length } = header.sections.get(name);
    return start + length <= data.length && checkOf(sectionOf({ data, header }, name)) !== check;
  };
  const damaged = (checks?.sections ?? []).filter(isDamaged).map(({ name }) => name);
  return damaged.sort((first, second) => header.sections.get(first).id - header.sections.get(second).id);
}

function checkAt(bytes, at) {
  return bytes[at] | (bytes[at + 1] << 8);
}

function describe(header, name) {
  const { start, length } = header.sections.get(name);
  return `the ${name} section (${range(start, start + length)})`;
}

function range(start, stop) {
  return stop > start ? `bytes ${start}..${stop - 1}` : `at ${start}`;
}
