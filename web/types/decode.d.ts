import type { DecodeOptions, DfmHeader, DfmImage } from "./index.js";

export { DfmError } from "./index.js";

/** The priors of all files. */
export type Prior = object;

/**
 * Reads the bytes of prior.bin. Priors of older files are in files beside it: `loadFile` gives the bytes of one of them
 * by its name, when a file needs it. Without it such files are refused.
 */
export function loadPrior(bytes: Uint8Array, loadFile?: (name: string) => Promise<Uint8Array>): Promise<Prior>;

/** Decodes where it is called. Rejects with a DfmError. */
export function decode(
  bytes: Uint8Array,
  options: Omit<DecodeOptions, "onHeader" | "maxPreviewPixels"> & { prior: Prior },
): Promise<DfmImage>;

/** What the header says. Throws a DfmError. */
export function inspect(bytes: Uint8Array, options?: { maxPixels?: number }): DfmHeader;
