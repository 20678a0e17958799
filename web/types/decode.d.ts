import type { DecodeOptions, DfmHeader, DfmImage } from "./index.js";

export { DfmError } from "./index.js";

/** The pretrained weights for all files. */
export type PretrainedWeights = object;

/** Reads the bytes of weights.bin. */
export function loadWeights(bytes: Uint8Array): Promise<PretrainedWeights>;

/** Decodes on the calling thread. Rejects with a DfmError. */
export function decode(
  bytes: Uint8Array,
  options: Omit<DecodeOptions, "onHeader" | "maxPreviewPixels"> & { weights: PretrainedWeights },
): Promise<DfmImage>;

/** Reads the header. Throws a DfmError. */
export function inspect(bytes: Uint8Array, options?: { maxPixels?: number }): DfmHeader;
