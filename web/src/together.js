/**
 * Several workers that decode an image with several tiles. One of them leads: it processes parts itself and assigns
 * others to its helpers, which may join at any time.
 *
 * To a helper:
 *   { type: "open", bytes, maxPixels, texture }         a file; its jobs follow
 *   { type: "tile", number, level, coarseLevel }        the samples of a tile, from a level on
 *   { type: "block", region, planes, seen }             the pixels of a region, from the samples that it is seen from
 * From a helper:
 *   { type: "ready" }                                   once, first
 *   { type: "done", result } or { type: "failed", kind, message }   for each job
 *
 * @module together
 */

import { DfmError } from "./errors.js";
import { Region } from "./geometry.js";
import { allPlanes, emptySynthesis, paste } from "./image_parts.js";
import { LATENTS_FRACTION } from "./wavelet_model.js";
import { previewsOf } from "./preview.js";
import { samplesArray } from "./colour.js";
import { inSlices } from "./slices.js";

/** A helper, as seen by the leading worker. It processes one job at a time. */
class Helper {
  #port;
  /** @type {{ resolve: Function, reject: Function }|null} */
  #waiting = null;

  /** @param {MessagePort} port @param {(helper: Helper) => void} onReady */
  constructor(port, onReady) {
    this.#port = port;
    port.onmessage = ({ data }) => {
      if (data.type === "ready") {
        onReady(this);
        return;
      }
      const { resolve, reject } = this.#waiting;
      this.#waiting = null;
      if (data.type === "done") resolve(data.result);
      else reject(data.kind ? new DfmError(data.kind, data.message) : new Error(data.message));
    };
  }

  get isFree() {
    return this.#waiting === null;
  }

  open(bytes, { maxPixels, texture }) {
    this.#port.postMessage({ type: "open", bytes, maxPixels, texture });
  }

  run(job) {
    this.#port.postMessage(job, buffersOf(job));
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }
}

/** The helpers of a worker. */
export class Team {
  /** @type {Helper[]} */
  #helpers = [];
  /** @type {((helper: Helper) => void)|null} */
  #onReady = null;

  /** @param {MessagePort} port to a worker that helps from now on */
  add(port) {
    new Helper(port, (helper) => {
      this.#helpers.push(helper);
      this.#onReady?.(helper);
    });
  }

  /** Calls back with each idle helper until `release`, including helpers that join later. */
  gather(onHelper) {
    this.#onReady = onHelper;
    this.#helpers.filter(({ isFree }) => isFree).forEach(onHelper);
  }

  release() {
    this.#onReady = null;
  }
}

/**
 * The side of the helper.
 * @param {MessagePort} port
 * @param {(bytes: Uint8Array, options: { maxPixels?: number, texture?: boolean }) => Promise<import("./image_parts.js").ImageParts>} open
 */
export function help(port, open) {
  /** @type {Promise<import("./image_parts.js").ImageParts>|null} */
  let parts = null;
  port.onmessage = async ({ data }) => {
    if (data.type === "open") {
      parts = open(data.bytes, { maxPixels: data.maxPixels, texture: data.texture });
      parts.catch(() => {}); // reported by the first job
      return;
    }
    try {
      const result = await run(await parts, data);
      port.postMessage({ type: "done", result }, buffersOf(result));
    } catch (error) {
      const kind = error instanceof DfmError ? error.kind : null;
      port.postMessage({ type: "failed", kind, message: String(error?.message ?? error) });
    }
  };
  port.postMessage({ type: "ready" });
}

/** Returns the buffers of a job or a result, which are transferred without copying. */
function buffersOf({ planes = [], samples = null }) {
  return [...planes, ...(samples ? [samples] : [])].map(({ buffer }) => buffer);
}

/** Performs a job, in slices. */
async function run(parts, job, signal) {
  if (job.type === "block") {
    const [region, seen] = [job.region, job.seen].map((r) => new Region(r.top, r.left, r.bottom, r.right));
    return { samples: await inSlices(parts.block({ planes: job.planes, region: seen }, region), { signal }) };
  }
  const result = { planes: [], size: [0, 0], coarse: null };
  const onStep = ({ level, size, planes, noise }) => {
    const copies = () => allPlanes({ planes, noise }).map((plane) => plane.slice());
    if (planes && level === job.level) Object.assign(result, { planes: copies(), size });
    if (planes && level === job.coarseLevel) result.coarse = { level, size, planes: planes.map((plane) => plane.slice()) };
    return false;
  };
  await inSlices(parts.tile(job.number, job.level), { onStep, signal });
  return result;
}

/**
 * Decodes a region.
 * @param {import("./image_parts.js").ImageParts} parts
 * @param {Region} region
 * @param {Team} team
 * @param {object} hooks
 * @param {Uint8Array} hooks.bytes the file
 * @param {number} [hooks.maxPixels]
 * @param {boolean} [hooks.texture]
 * @param {(part: number) => void} [hooks.onProgress]
 * @param {(preview: import("./preview.js").PreviewImage) => void} [hooks.showPreview]
 * @param {AbortSignal} [hooks.signal]
 * @returns {Promise<Uint8ClampedArray|Uint16Array>} the samples [H, W, C]
 * @throws {DfmError}
 */
export async function decodeTogether(parts, region, team, hooks) {
  const { bytes, signal } = hooks;
  const plan = new Plan(parts, region, hooks);
  const work = async (takeJob) => {
    while (!plan.isDone) {
      const job = plan.next();
      if (job === null) await plan.change();
      else plan.take(job, await takeJob(job));
    }
  };
  const workers = [];
  const engage = (takeJob) => {
    const worker = work(takeJob);
    worker.catch((error) => plan.fail(error)); // ends the others
    workers.push(worker);
  };
  team.gather((helper) => {
    helper.open(bytes, hooks);
    engage((job) => helper.run(job));
  });
  engage((job) => run(parts, job, signal));
  try {
    for (let at = 0; at < workers.length; at++) await workers[at]; // more may join
  } finally {
    team.release();
  }
  signal?.throwIfAborted();
  return plan.target;
}

/** The plan of a region: pending parts and their results. */
class Plan {
  #parts;
  #region;
  #hooks;
  #previews;
  /** @type {object[]} */
  #coarse = [];
  #coarseLeft = 0;
  /** @type {object[]} */
  #tiles;
  /** @type {{ region: Region, seen: Region, tiles: number[] }[]} blocks that wait for tiles */
  #blocks;
  #blocksLeft;
  /** @type {Map<number, Int32Array[]>} samples of tiles for which blocks wait */
  #samples = new Map();
  #done = 0;
  #pixels;
  /** @type {unknown} */
  #error = null;
  /** @type {(() => void)[]} */
  #waiting = [];

  constructor(parts, region, hooks) {
    this.#parts = parts;
    this.#region = region;
    this.#hooks = hooks;
    const { tiling, header } = parts;
    const { covered, numbers } = tiling.covering(parts.seenFrom(region));
    parts.checkLengths(numbers);
    this.#pixels = covered.height * covered.width;
    this.#previews = hooks.showPreview ? previewsOf(header, covered, numbers.length) : null;
    const coarseLevel = this.#previews?.level ?? null;
    this.#tiles = numbers.map((number) => ({ type: "tile", number, level: 0, coarseLevel }));
    if (this.#previews?.first) {
      this.#coarse = this.#tiles.map((job) => ({ ...job, level: this.#previews.first.level, coarseLevel: null }));
    }
    this.#coarseLeft = this.#coarse.length;
    this.#blocks = numbers
      .map((number) => tiling.tiles[number].common(region))
      .filter((block) => !block.isEmpty)
      .map((block) => {
        const seen = parts.seenFrom(block);
        return { region: block, seen, tiles: tiling.covering(seen).numbers };
      });
    this.#blocksLeft = this.#blocks.length;
    this.target = samplesArray(header.bitDepth, header.codedChannels * region.height * region.width);
  }

  /** Whether nothing is pending. */
  get isDone() {
    return this.#blocksLeft === 0 || this.#error !== null;
  }

  /** Returns a job that can start now, or null. */
  next() {
    if (this.#coarse.length > 0) return this.#coarse.shift();
    const at = this.#blocks.findIndex(({ tiles }) => tiles.every((number) => this.#samples.has(number)));
    if (at >= 0) return this.#jobOf(this.#blocks.splice(at, 1)[0]);
    return this.#tiles.shift() ?? null;
  }

  /** Waits until a job may be available, or nothing is pending. */
  change() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Stores the result of a job. */
  take(job, result) {
    if (job.type === "block") this.#takeBlock(job.region, result.samples);
    else if (job.level > 0) this.#takeCoarse(job, result);
    else this.#takeTile(job, result);
    this.#hooks.onProgress?.(this.#done / this.#pixels);
    this.#wake();
  }

  fail(error) {
    this.#error ??= error;
    this.#wake();
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #jobOf({ region, seen, tiles }) {
    const synthesis = emptySynthesis(seen, this.#parts.planeCount);
    for (const number of tiles) paste(synthesis, this.#samples.get(number), this.#parts.tiling.tiles[number]);
    const waited = new Set(this.#blocks.flatMap((block) => block.tiles));
    for (const number of tiles) if (!waited.has(number)) this.#samples.delete(number);
    return { type: "block", region, seen, planes: synthesis.planes };
  }

  #takeCoarse({ number, level }, { planes, size }) {
    this.#previews.first.add(this.#parts.tiling.tiles[number], { level, size, planes });
    this.#coarseLeft--;
    if (this.#coarseLeft === 0) this.#hooks.showPreview(this.#previews.start());
  }

  #takeTile({ number }, { planes, coarse }) {
    const tile = this.#parts.tiling.tiles[number];
    this.#samples.set(number, planes);
    const preview = coarse && this.#previews?.add(tile, coarse);
    if (preview) this.#hooks.showPreview(preview);
    this.#done += LATENTS_FRACTION * tile.height * tile.width;
  }

  #takeBlock(block, samples) {
    const region = this.#region;
    const { codedChannels: channels } = this.#parts.header;
    for (let row = block.top; row < block.bottom; row++) {
      const from = channels * (row - block.top) * block.width;
      const to = channels * ((row - region.top) * region.width + block.left - region.left);
      this.target.set(samples.subarray(from, from + channels * block.width), to);
    }
    this.#done += (1 - LATENTS_FRACTION) * block.height * block.width;
    this.#blocksLeft--;
  }
}
