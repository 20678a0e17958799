import type { DecodeOptions, DfmHeader, DfmImage } from "./index.js";

export { DfmError } from "./index.js";

/** The pretrained weights for all files. */
export type Prior = object;

/** Reads the bytes of prior.bin. */
export function loadPrior(bytes: Uint8Array): Promise<Prior>;

/** Decodes on the calling thread. Rejects with a DfmError. */
export function decode(
  bytes: Uint8Array,
  options: Omit<DecodeOptions, "onHeader" | "maxPreviewPixels"> & { prior: Prior },
): Promise<DfmImage>;

/** Reads the header. Throws a DfmError. */
export function inspect(bytes: Uint8Array, options?: { maxPixels?: number }): DfmHeader;
