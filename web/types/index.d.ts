/** Kinds of errors of a file; the message is that of `dfm decode`. */
export type DfmErrorKind = "not-dfm" | "truncated" | "corrupt" | "unsupported-version" | "limit";

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

/** Contents of the header of a file. */
export interface DfmHeader {
  width: number;
  height: number;
  bitDepth: 8 | 16;
  /** The number of channels without alpha: 1 or 3. */
  channels: 1 | 3;
  hasAlpha: boolean;
  model: "coordinate" | "wavelet" | "overfitted";
  formatVersion: number;
  /** Always 1: images are stored upright. */
  orientation: number;
  /** The bytes of all sections; header, section table and CRC-32 are the first entry, "container". */
  sections: DfmSection[];
  /** Descriptions of missing or damaged parts. */
  losses: string[];
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
  /** The number of significant bits, 1 to 15, of samples that were scaled to 16 bits. */
  significantBits: number | null;
  /** Always 1: images are stored upright. */
  orientation: number;
  /** The decoded region; null for the entire image. */
  region: Region | null;
}

/** An image as a PNG file of 8 bits per sample, with its ICC profile. */
export interface DfmPng {
  width: number;
  height: number;
  png: Uint8Array;
}

export interface DecodeLimits {
  /** Maximum number of pixels. The default is that of `dfm decode --max-pixels`. */
  maxPixels?: number;
  /** Maximum number of multiply-adds of a network for all pixels. The default is that of `dfm decode`. */
  maxMultiplyAdds?: number;
}

export interface DecodeOptions<Shown = DfmImage> extends DecodeLimits {
  /** Decode only this rectangle. Its pixels are exactly those of the entire image. */
  region?: Region;
  /**
   * Decode a reduced image from the coarse levels instead, with at most this number of pixels, 8 bits and no alpha.
   * Files of other codecs than wavelet are decoded in full.
   */
  coarsePixels?: number;
  /** False to leave out the noise that replaces lost texture; previews have none. */
  texture?: boolean;
  onHeader?: (header: DfmHeader) => void;
  /** Receives the finished fraction, 0..1. */
  onProgress?: (part: number) => void;
  /** Receives reduced images of increasing size, decoded from the coarse levels. */
  onPreview?: (image: Shown) => void;
  /** Previews with more pixels are skipped. */
  maxPreviewPixels?: number;
  signal?: AbortSignal;
}

export interface ClientOptions {
  /** The URL of worker.js. */
  workerUrl?: string | URL;
  /** Creates a worker that runs worker.js, instead of the URL. */
  createWorker?: () => Worker;
  /** The URL of weights.bin. */
  weightsUrl?: string | URL;
  /** Loads the bytes of weights.bin, instead of the URL. */
  loadWeights?: () => Promise<Uint8Array>;
  /** The maximum number of workers; the default is 1. */
  workers?: number;
  /** The maximum number of helper workers for each of them, for images with several tiles; the default is 0. */
  helpers?: number;
}

/** Decodes in workers. */
export class DfmClient {
  constructor(options: ClientOptions);
  /** Loads the pretrained weights and starts a worker in advance. */
  start(): void;
  /** Rejects with a DfmError, with the signal's reason, or with an Error if the decoder cannot be started. */
  decode(bytes: Uint8Array, options?: DecodeOptions & { png?: false }): Promise<DfmImage>;
  decode(bytes: Uint8Array, options: DecodeOptions<DfmPng> & { png: true }): Promise<DfmPng>;
  /** Reads the header, without decoding the image. */
  inspect(bytes: Uint8Array, options?: DecodeLimits & { signal?: AbortSignal }): Promise<DfmHeader>;
  /** Ends all workers and rejects their jobs. */
  close(): void;
}

/** Encodes an image as PNG with full bit depth, alpha, ICC profile and metadata. */
export function encodePng(image: Omit<DfmImage, "orientation" | "region">): Promise<Uint8Array>;
