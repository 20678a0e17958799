/**
 * The worker: decodes one file at a time, off the main thread. The other side is src/client.js.
 *
 * To the worker:
 *   { type: "weights", bytes }               once, first
 *   { type: "decode", id, bytes, wants }   after the answer to the job before it
 *   { type: "cancel", id }
 *   { type: "helper", port }               to another worker, which takes parts of large images
 *   { type: "help", port }                 instead of jobs: to the worker that it is to help
 * From the worker, for each job any number of "header", "progress" and "preview", then one answer:
 *   { type: "header", id, header }
 *   { type: "progress", id, part }         0..1
 *   { type: "preview", id, image }         a small image of all of it
 *   { type: "image", id, image }           the answer
 *   { type: "failure", id, kind, message } the answer: kind is that of a DfmError, otherwise null
 *
 * With `wants.headerOnly`, nothing is decoded, and the image is null. With `wants.png`, images are { width, height, png
 * } instead of pixels.
 */

import { decode, inspect, loadWeights } from "./src/decode.js";
import { DfmError } from "./src/errors.js";
import { openParts } from "./src/image_parts.js";
import { asEightBit, encodePng } from "./src/png.js";
import { Team, help } from "./src/together.js";

/** @type {Promise<object>|null} */
let weights = null;
/** @type {{ id: number, controller: AbortController }|null} */
let running = null;
const team = new Team();

self.onmessage = ({ data }) => {
  if (data.type === "weights") {
    weights = loadWeights(data.bytes);
    weights.catch(() => {}); // each job that needs it reports the error
  } else if (data.type === "decode") {
    run(data);
  } else if (data.type === "cancel" && running?.id === data.id) {
    running.controller.abort();
  } else if (data.type === "helper") {
    team.add(data.port);
  } else if (data.type === "help") {
    help(data.port, async (file, options) => openParts(file, { weights: await weights, ...options }));
  }
};

/** Performs one job, and answers it in any case. */
async function run({ id, bytes, wants }) {
  const controller = new AbortController();
  running = { id, controller };
  try {
    await post({ type: "image", id, image: await result(id, bytes, wants, controller.signal) }, wants);
  } catch (error) {
    const kind = error instanceof DfmError ? error.kind : null;
    self.postMessage({ type: "failure", id, kind, message: String(error?.message ?? error) });
  }
  running = null;
}

async function result(id, bytes, wants, signal) {
  self.postMessage({ type: "header", id, header: inspect(bytes, wants.options) });
  if (wants.headerOnly) return null;
  return decode(bytes, {
    ...wants.options,
    weights: await weights,
    signal,
    team,
    onProgress: (part) => self.postMessage({ type: "progress", id, part }),
    onPreview: wants.previewPixels > 0 ? (image) => postPreview(id, image, wants) : undefined,
  });
}

/** Posts a copy of a preview, because the decoder may modify its pixels. */
function postPreview(id, image, wants) {
  if (image.width * image.height > wants.previewPixels) return;
  post({ type: "preview", id, image: { ...image, pixels: image.pixels.slice() } }, wants);
}

/** Posts an image. Its pixels are transferred without copying if they have their own buffer. */
async function post(message, wants) {
  const { image } = message;
  if (image === null) {
    self.postMessage(message);
    return;
  }
  if (wants.png) {
    const png = await encodePng({ ...asEightBit(image), exif: null, xmp: null });
    const { width, height } = image;
    self.postMessage({ ...message, image: { width, height, png } }, [png.buffer]);
    return;
  }
  const isComplete = image.pixels.byteLength === image.pixels.buffer.byteLength;
  const pixels = isComplete ? image.pixels : image.pixels.slice();
  self.postMessage({ ...message, image: { ...image, pixels } }, [pixels.buffer]);
}
