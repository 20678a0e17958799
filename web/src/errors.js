/**
 * The error thrown by decoding. Messages have one line and use the words of `dfm`.
 *
 * @module errors
 */

/**
 * What is wrong with a file:
 * - "not-dfm": it does not start as a `.dfm` file does;
 * - "truncated": it ends before its contents do;
 * - "corrupt": its contents contradict each other or their checksum;
 * - "unsupported-version": it needs a version, pretrained weights or a feature that this decoder does not have;
 * - "limit": it declares more than the limits of this decoder allow.
 *
 * @typedef {"not-dfm" | "truncated" | "corrupt" | "unsupported-version" | "limit"} ErrorKind
 */

/** A file that cannot be decoded. */
export class DfmError extends Error {
  /**
   * @param {ErrorKind} kind - The kind of the error.
   * @param {string} message - One line: what was found, and what to do.
   */
  constructor(kind, message) {
    super(message);
    this.name = "DfmError";
    /** @type {ErrorKind} */
    this.kind = kind;
  }
}

/** Creates the error for contents that must be damaged. @param {string} what - What was found. */
export function damaged(what) {
  return new DfmError("corrupt", `${what}; the file is damaged`);
}

/**
 * Allocates arrays, and converts lack of memory to an error of the file.
 *
 * @template T
 * @param {() => T} make - Allocates, without other effects.
 * @returns {T}
 * @throws {DfmError} "limit": memory is insufficient.
 */
export function allocate(make) {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DfmError("limit", "out of memory; decode a region or a smaller image");
  }
}
