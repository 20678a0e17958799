/** The kinds of what can be wrong with a file; the message of the error is that of `dfm decode`. */
export type DfmErrorKind = "not-dfm" | "truncated" | "corrupt" | "unsupported-version" | "missing-model" | "limit";

export class DfmError extends Error {
  constructor(kind: DfmErrorKind, message: string);
  readonly kind: DfmErrorKind;
}

export interface Region {
  /** The left column. */
  x: number;
  /** The top row. */
  y: number;
  width: number;
  height: number;
}

export interface DfmSection {
  name: string;
  bytes: number;
}

/** What the header of a file says. */
export interface DfmHeader {
  width: number;
  height: number;
  bitDepth: 8 | 16;
  /** The channels without alpha: 1 or 3. */
  channels: 1 | 3;
  hasAlpha: boolean;
  model: "coordinate" | "wavelet" | "generative" | "overfitted";
  version: number;
  /** Always 1: images are stored upright. */
  orientation: number;
  /** All bytes of the file; header, section table and CRC-32 are the first one, "container". */
  sections: DfmSection[];
  /** Sentences about what is missing or damaged. */
  problems: string[];
  /** The fields of the header by their names in docs/format.md. */
  fields: Record<string, number>;
}

export interface DfmImage {
  width: number;
  height: number;
  /** Gray, gray and alpha, RGB, RGB and alpha. */
  channels: 1 | 2 | 3 | 4;
  bitDepth: 8 | 16;
  /** Interleaved, row by row. */
  pixels: Uint8Array | Uint16Array;
  icc: Uint8Array | null;
  exif: Uint8Array | null;
  xmp: Uint8Array | null;
  /** Colour primaries, transfer characteristics, matrix coefficients, full range (ITU-T H.273). */
  cicp: Uint8Array | null;
  /** The significant bits, 1 to 15, of samples that were scaled to fill 16 bits. */
  bits: number | null;
  /** Always 1: images are stored upright. */
  orientation: number;
  /** The part that was asked for, null for all of the image. */
  region: Region | null;
}

/** An image as a PNG file of 8 bits per sample, with its ICC profile. */
export interface DfmPng {
  width: number;
  height: number;
  png: Uint8Array;
}

export interface DecodeLimits {
  /** Refuse images with more pixels. The default is that of `dfm decode --max-pixels`. */
  maxPixels?: number;
  /** Refuse networks that need more multiply-adds at all pixels. The default is that of `dfm decode`. */
  maxMultiplyAdds?: number;
}

export interface DecodeOptions<Shown = DfmImage> extends DecodeLimits {
  /** Decode only this rectangle, exactly as it is in the whole image. */
  region?: Region;
  /**
   * Decode a small image of all of it instead, from its coarse levels, with at most so many pixels, 8 bits and no alpha.
   * Files of other models than the wavelet one are decoded as they are.
   */
  coarsePixels?: number;
  onHeader?: (header: DfmHeader) => void;
  /** How much is done, 0..1. */
  onProgress?: (part: number) => void;
  /** A small image of all of it, from its coarse levels; the next one is larger. */
  onPreview?: (image: Shown) => void;
  /** Previews with more pixels are left out. */
  maxPreviewPixels?: number;
  signal?: AbortSignal;
}

export interface ClientOptions {
  /** The address of worker.js. */
  workerUrl?: string | URL;
  /** Makes a worker that runs worker.js, instead of the address. */
  createWorker?: () => Worker;
  /** The address of prior.bin. */
  priorUrl?: string | URL;
  /** Gives the bytes of prior.bin, instead of the address. */
  loadPrior?: () => Promise<Uint8Array>;
  /** The most workers; the default is 1. */
  workers?: number;
  /** The most further workers that help each of them with images of several tiles; the default is 0. */
  helpers?: number;
}

/** Decodes in workers. */
export class DfmClient {
  constructor(options: ClientOptions);
  /** Loads the prior and starts a worker, so that the first file need not wait for them. */
  start(): void;
  /** Rejects with a DfmError, with the signal's reason, or with an Error if the decoder cannot be started. */
  decode(bytes: Uint8Array, options?: DecodeOptions & { png?: false }): Promise<DfmImage>;
  decode(bytes: Uint8Array, options: DecodeOptions<DfmPng> & { png: true }): Promise<DfmPng>;
  /** What the header says; nothing is decoded. */
  inspect(bytes: Uint8Array, options?: DecodeLimits & { signal?: AbortSignal }): Promise<DfmHeader>;
  /** Ends all workers; what they do is rejected. */
  close(): void;
}

/** A PNG file with all bits, alpha, profile and metadata of an image. */
export function encodePng(image: Omit<DfmImage, "orientation" | "region">): Promise<Uint8Array>;
