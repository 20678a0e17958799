/**
 * An opened file with its state: the header, the layers to draw, the pixels after decoding, or the error.
 *
 * .dfm files are decoded by the client. Other images are decoded by the browser, without header and pixels. Of an image
 * with more than `completePixels`, a coarse version is decoded first, then the visible parts.
 */

import { asRgba, encodePng } from "../src/png.js";

const MAGIC = [0x89, 0x44, 0x46, 0x4d];
const MOST_FILE_BYTES = 2 ** 30;
const MOST_FOREIGN_BYTES = 64; // first bytes of a file that is not an image, enough for the decoder's error message
const PART_GRID = 256; // tiles start at multiples of this
const MOST_PART_PIXELS = 6e6;
const MOST_PARTS = 8;
const COARSE_PIXELS = 1.5e6; // maximum size of the coarse version, about that of a screen

export class OpenFile {
  /** @type {"new"|"loading"|"ready"|"failed"} */
  state = "new";
  /** @type {import("../types/index").DfmHeader|null} */
  header = null;
  /** @type {{ width: number, height: number }|null} */
  size = null;
  /** @type {import("./stage.js").Layer[]} */
  layers = [];
  /** @type {import("../types/index").DfmImage|null} all pixels */
  image = null;
  problem = "";
  progress = 0;
  seconds = 0;
  isTiled = false;
  /** The time when it was last shown, as a counter of the page. */
  shownAt = 0;

  #client;
  #completePixels;
  #limits;
  #changed;
  /** @type {AbortController|null} */
  #controller = null;
  /** @type {Uint8Array|null} */
  #bytes = null;
  /** @type {import("./stage.js").Rectangle|null} the part that is being decoded */
  #part = null;

  /**
   * @param {string} name
   * @param {Blob} blob
   * @param {import("../src/client.js").DfmClient} client
   * @param {import("../types/index").DecodeLimits & { completePixels: number }} limits  images of more than `completePixels`
   *   are decoded by parts; those beyond the others are refused
   * @param {(file: OpenFile) => void} changed called when the state changes
   */
  constructor(name, blob, client, { completePixels, ...limits }, changed) {
    this.name = name;
    this.blob = blob;
    this.#client = client;
    this.#completePixels = completePixels;
    this.#limits = limits;
    this.#changed = changed;
  }

  /** Whether the file has, or will have, a coarse version of a large image. */
  get hasCoarse() {
    return this.isTiled && this.header?.model === "wavelet";
  }

  /** The number of pixels held in memory. */
  get heldPixels() {
    return this.layers.reduce((sum, { picture }) => sum + picture.width * picture.height, 0);
  }

  /** Reads and decodes the file unless this is done. */
  async load() {
    if (this.state !== "new") return;
    await this.#work(async (signal) => {
      const start = await bytesOf(this.blob.slice(0, MAGIC.length));
      if (MAGIC.some((byte, i) => start[i] !== byte)) await this.#loadOther(signal);
      else await this.#loadDfm(signal);
    });
  }

  /** Decodes a large image completely. */
  async loadComplete() {
    this.stop();
    this.isTiled = false;
    this.#completePixels = Infinity;
    this.state = "new";
    await this.load();
  }

  /**
   * Decodes the visible part if it is small enough. Decoded parts are kept.
   *
   * @param {import("./stage.js").Rectangle} seen
   * @returns {Promise<void>}
   */
  async loadPart(seen) {
    const part = partAround(seen, this.size);
    const isThere = this.layers.some(({ place, isCoarse }) => !isCoarse && contains(place, part));
    const comes = this.#part !== null && contains(this.#part, part);
    const isCoarseToCome = this.state === "loading" && this.#part === null;
    if (isThere || comes || isCoarseToCome || this.isTooMuch(seen)) return;
    this.stop();
    this.#part = part;
    await this.#work(async (signal) => {
      const image = await this.#decode(signal, { region: part });
      const layer = { picture: await pictureOf(image), place: part, isCoarse: false };
      const parts = this.layers.filter(({ isCoarse }) => !isCoarse);
      this.#drop(parts.slice(0, Math.max(0, parts.length + 1 - MOST_PARTS)));
      this.layers = [...this.layers, layer];
    });
  }

  /** Whether too much is visible for decoding parts. */
  isTooMuch(seen) {
    const part = partAround(seen, this.size);
    return part.width * part.height > MOST_PART_PIXELS;
  }

  /** Stops decoding. Decoded parts are kept. */
  stop() {
    const isCoarseMissing = this.hasCoarse && this.#part === null;
    this.#controller?.abort();
    this.#controller = null;
    this.#part = null;
    if (this.state === "loading") this.state = this.isTiled && !isCoarseMissing ? "ready" : "new";
  }

  /** Stops decoding and frees memory. */
  forget() {
    this.stop();
    this.#drop(this.layers);
    this.image = null;
    this.#bytes = null;
    this.isTiled = false; // reset until the header is read again, so that the stage receives the size again
    this.size = null;
    if (this.state === "ready") this.state = "new";
  }

  /** Returns the decoded image as a PNG file. */
  async png() {
    return new Blob([await encodePng(this.image)], { type: "image/png" });
  }

  /** Runs a cancellable action and updates the state. */
  async #work(task) {
    const controller = new AbortController();
    this.#controller = controller;
    this.state = "loading";
    this.progress = 0;
    this.#changed(this);
    const started = performance.now();
    try {
      await task(controller.signal);
      controller.signal.throwIfAborted();
      this.seconds = (performance.now() - started) / 1000;
      this.state = "ready";
    } catch (error) {
      if (controller.signal.aborted) return;
      this.#drop(this.layers);
      this.problem = error.message;
      this.state = "failed";
    }
    this.#controller = null;
    this.#part = null;
    this.#changed(this);
  }

  async #loadDfm(signal) {
    if (this.blob.size > MOST_FILE_BYTES) {
      throw new Error(`the file is ${this.blob.size} bytes, more than this page's limit of ${MOST_FILE_BYTES}`);
    }
    this.#bytes = await bytesOf(this.blob);
    this.header = await this.#client.inspect(this.#bytes, { ...this.#limits, signal });
    const { width, height } = this.header;
    this.size = { width, height };
    this.isTiled = width * height > this.#completePixels;
    this.#changed(this);
    if (this.isTiled) {
      if (this.hasCoarse) await this.#loadCoarse(signal);
      return;
    }
    const image = await this.#decode(signal, { onPreview: (coarse) => this.#showPreview(coarse, signal) });
    const picture = await pictureOf(image);
    signal.throwIfAborted();
    this.image = image;
    this.#show(picture, false);
  }

  /** Shows the coarse version of a large image. */
  async #loadCoarse(signal) {
    const onPreview = (coarse) => this.#showPreview(coarse, signal);
    const coarse = await pictureOf(await this.#decode(signal, { coarsePixels: COARSE_PIXELS, onPreview }));
    signal.throwIfAborted();
    this.#show(coarse, true);
  }

  /** Opens an image with the browser. For any other file, the decoder gives the error message. */
  async #loadOther(signal) {
    try {
      const picture = await createImageBitmap(this.blob);
      signal.throwIfAborted();
      this.size = { width: picture.width, height: picture.height };
      this.#show(picture, false);
    } catch (error) {
      signal.throwIfAborted();
      await this.#client.inspect(await bytesOf(this.blob.slice(0, MOST_FOREIGN_BYTES)), { signal });
      throw error;
    }
  }

  #decode(signal, options) {
    const onProgress = (part) => {
      this.progress = part;
      this.#changed(this);
    };
    return this.#client.decode(this.#bytes, { ...this.#limits, ...options, signal, onProgress });
  }

  async #showPreview(image, signal) {
    const picture = await pictureOf(image);
    if (signal !== this.#controller?.signal) {
      picture.close(); // obsolete preview
      return;
    }
    this.#show(picture, true);
    this.#changed(this);
  }

  /** Replaces all layers by one picture of the entire image. */
  #show(picture, isCoarse) {
    this.#drop(this.layers);
    this.layers = [{ picture, place: { x: 0, y: 0, ...this.size }, isCoarse }];
  }

  #drop(layers) {
    for (const { picture } of layers) picture.close();
    this.layers = this.layers.filter((layer) => !layers.includes(layer));
  }
}

/** @param {Blob} blob */
async function bytesOf(blob) {
  return new Uint8Array(await blob.arrayBuffer());
}

/**
 * Returns the image for a canvas. An image with an ICC profile is converted through PNG, so that the browser manages
 * its colours.
 */
async function pictureOf(image) {
  if (image.icc?.length || image.cicp?.length) {
    const { width, height, channels, bitDepth, pixels, icc, cicp } = image;
    const png = await encodePng({ width, height, channels, bitDepth, pixels, icc, cicp });
    return createImageBitmap(new Blob([png], { type: "image/png" }));
  }
  return createImageBitmap(new ImageData(asRgba(image), image.width, image.height));
}

/** Returns the rectangle of tiles that contains the visible part. */
function partAround({ x, y, width, height }, size) {
  const down = (place) => Math.floor(place / PART_GRID) * PART_GRID;
  const up = (place, end) => Math.min(end, Math.ceil(place / PART_GRID) * PART_GRID);
  const left = down(x);
  const top = down(y);
  return { x: left, y: top, width: up(x + width, size.width) - left, height: up(y + height, size.height) - top };
}

function contains(outer, inner) {
  return (
    outer.x <= inner.x &&
    outer.y <= inner.y &&
    outer.x + outer.width >= inner.x + inner.width &&
    outer.y + outer.height >= inner.y + inner.height
  );
}
