/**
 * Decodes .dfm files in workers, to keep the page responsive.
 *
 *     const client = new DfmClient({ workerUrl: "worker.js", weightsUrl: "weights.bin" });
 *     const image = await client.decode(bytes, { onPreview: show });
 *
 * Each worker decodes one file at a time; further files wait in order. A cancelled job is rejected immediately. Its
 * worker is asked to stop, and is ended if it does not. An image with several tiles is decoded by a worker and its
 * helpers, if helpers are allowed.
 *
 * @typedef {import("../types/index").DecodeOptions} DecodeOptions
 * @typedef {import("../types/index").DfmImage} DfmImage
 */

import { DfmError } from "./errors.js";

const GRACE_MS = 100; // time for a cancelled job to stop before its worker is ended

export class DfmClient {
  #createWorker;
  #loadWeights;
  #most;
  #mostHelpers;
  /** @type {Promise<Uint8Array>|null} the file of the pretrained weights, for all workers */
  #weights = null;
  /** @type {Desk[]} */
  #desks = [];
  /** @type {Job[]} jobs without a worker */
  #queue = [];
  #jobs = 0;

  /**
   * @param {object} options
   * @param {string|URL} [options.workerUrl] URL of worker.js
   * @param {() => Worker} [options.createWorker] creates a worker, instead of the URL
   * @param {string|URL} [options.weightsUrl] URL of weights.bin
   * @param {() => Promise<Uint8Array>} [options.loadWeights] loads weights.bin, instead of the URL
   * @param {number} [options.workers] the maximum number of workers, each with a copy of the weights
   * @param {number} [options.helpers] the maximum number of helpers of each worker for large images
   */
  constructor({ workerUrl, createWorker, weightsUrl, loadWeights, workers = 1, helpers = 0 }) {
    this.#createWorker = createWorker ?? (() => new Worker(workerUrl, { type: "module" }));
    this.#loadWeights = loadWeights ?? (() => fetched(weightsUrl));
    this.#most = workers;
    this.#mostHelpers = helpers;
  }

  /** Loads the pretrained weights and starts a worker in advance. */
  start() {
    if (this.#desks.length === 0) this.#open();
  }

  /**
   * Decodes a file.
   *
   * @param {Uint8Array} bytes
   * @param {DecodeOptions} [options]
   * @returns {Promise<DfmImage>}  with `png`, its form is { width, height, png }
   * @throws {DfmError} with the message of `dfm decode`
   * @throws {unknown} the signal's reason, if the job was cancelled
   */
  decode(bytes, { onHeader, onProgress, onPreview, signal, png = false, ...rest } = {}) {
    const { maxPreviewPixels = Infinity, ...options } = rest;
    const wants = { png, previewPixels: onPreview ? maxPreviewPixels : 0, options };
    return this.#ask(bytes, wants, { header: onHeader, progress: onProgress, preview: onPreview }, signal);
  }

  /**
   * Reads the header of a file without decoding the image.
   *
   * @param {Uint8Array} bytes
   * @param {{ maxPixels?: number, signal?: AbortSignal }} [options]
   * @returns {Promise<import("../types/index").DfmHeader>}
   * @throws {DfmError} if the header cannot be read
   */
  inspect(bytes, { signal, ...options } = {}) {
    return new Promise((resolve, reject) => {
      this.#ask(bytes, { headerOnly: true, options }, { header: resolve }, signal).catch(reject);
    });
  }

  #ask(bytes, wants, heard, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const cancel = () => this.#cancel(job, signal.reason);
      const settling = (settle) => (outcome) => {
        signal?.removeEventListener("abort", cancel);
        settle(outcome);
      };
      const job = { id: ++this.#jobs, bytes, wants, heard, resolve: settling(resolve), reject: settling(reject) };
      signal?.addEventListener("abort", cancel, { once: true });
      this.#queue.push(job);
      this.#next();
    });
  }

  /** Ends all workers and rejects unfinished jobs. */
  close() {
    const jobs = [...this.#queue.splice(0), ...this.#desks.flatMap((desk) => desk.job ?? [])];
    for (const desk of this.#desks.splice(0)) endWorkers(desk);
    for (const job of jobs) job.reject(new DOMException("the decoder was closed", "AbortError"));
  }

  /** Assigns waiting jobs to free workers. */
  #next() {
    while (this.#queue.length > 0) {
      const free = this.#desks.find((desk) => desk.job === null);
      if (!free && this.#desks.length >= this.#most) return;
      const desk = free ?? this.#open();
      const job = (desk.job = this.#queue.shift());
      desk.ready.then(
        () => desk.worker.postMessage(orderOf(job)),
        (error) => this.#shut(desk, error),
      );
    }
  }

  /** Starts a worker. */
  #open() {
    const worker = this.#createWorker();
    const ready = this.#weightsBytes().then((bytes) => worker.postMessage({ type: "weights", bytes }));
    ready.catch(() => {}); // each job that needs it reports the error
    const desk = { worker, ready, job: null, helpers: [] };
    worker.onmessage = ({ data }) => this.#hear(desk, data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#shut(desk, new Error(`the decoder did not start: ${event.message || "its script cannot be loaded"}`));
    };
    this.#desks.push(desk);
    return desk;
  }

  /** Returns the bytes of the pretrained weights, which are loaded once. */
  #weightsBytes() {
    if (!this.#weights) {
      this.#weights = this.#loadWeights();
      this.#weights.catch(() => (this.#weights = null)); // the next request tries again
    }
    return this.#weights;
  }

  /** Handles messages of a worker. For a cancelled job, only the answer matters: the worker is free. */
  #hear(desk, { type, id, ...message }) {
    const { job } = desk;
    if (job?.id !== id) return;
    if (type === "header" && !job.wants.headerOnly) this.#engageHelpers(desk, message.header.fields);
    if (type !== "image" && type !== "failure") {
      if (!job.isCancelled) job.heard[type]?.(Object.values(message)[0]);
      return;
    }
    desk.job = null;
    if (type === "image") job.resolve(message.image);
    else job.reject(message.kind ? new DfmError(message.kind, message.message) : new Error(message.message));
    this.#next();
  }

  /** Starts helpers of a worker, one for each further tile of an image. */
  #engageHelpers(desk, fields) {
    const tiles = (fields?.tile_rows ?? 1) * (fields?.tile_columns ?? 1);
    while (desk.helpers.length < Math.min(this.#mostHelpers, tiles - 1)) {
      const helper = this.#createWorker();
      helper.onerror = (event) => {
        event.preventDefault();
        this.#shut(desk, new Error(`a helper of the decoder ended: ${event.message || "its script cannot be loaded"}`));
      };
      desk.helpers.push(helper);
      const { port1, port2 } = new MessageChannel();
      this.#weightsBytes().then((bytes) => {
        helper.postMessage({ type: "weights", bytes });
        helper.postMessage({ type: "help", port: port1 }, [port1]);
        desk.worker.postMessage({ type: "helper", port: port2 }, [port2]);
      });
    }
  }

  #cancel(job, reason) {
    job.reject(reason);
    job.isCancelled = true;
    const place = this.#queue.indexOf(job);
    if (place >= 0) this.#queue.splice(place, 1);
    const desk = this.#desks.find((one) => one.job === job);
    if (!desk) return;
    desk.worker.postMessage({ type: "cancel", id: job.id });
    setTimeout(() => desk.job === job && this.#shut(desk, reason), GRACE_MS);
  }

  /** Ends a worker and rejects its job. */
  #shut(desk, reason) {
    endWorkers(desk);
    this.#desks = this.#desks.filter((one) => one !== desk);
    desk.job?.reject(reason);
    desk.job = null;
    this.#next();
  }
}

/**
 * @typedef {{ id: number, bytes: Uint8Array, wants: object, heard: Record<string, Function|undefined>,
 *   resolve: Function, reject: Function, isCancelled?: boolean }} Job
 * @typedef {{ worker: Worker, ready: Promise<void>, job: Job|null, helpers: Worker[] }} Desk a worker and its job
 */

/** @param {Desk} desk */
function endWorkers({ worker, helpers }) {
  for (const each of [worker, ...helpers]) each.terminate();
}

/** @param {Job} job */
function orderOf({ id, bytes, wants }) {
  return { type: "decode", id, bytes, wants };
}

/** Loads the file of the pretrained weights. */
async function fetched(weightsUrl) {
  const url = new URL(weightsUrl, globalThis.document?.baseURI ?? globalThis.location?.href);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the pretrained weights cannot be loaded: ${url} gives ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
