import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";

import { DfmClient } from "../src/client.js";
import { DfmError } from "../src/errors.js";

const BYTES = Uint8Array.of(1, 2, 3);

/** Workers that do nothing by themselves: a test says what they answer. */
class Workers {
  made = [];
  create = () => {
    const worker = {
      heard: [],
      isEnded: false,
      postMessage: (message) => worker.heard.push(message),
      terminate: () => (worker.isEnded = true),
      say: (message) => worker.onmessage({ data: message }),
      jobs: () => worker.heard.filter(({ type }) => type === "decode"),
    };
    this.made.push(worker);
    return worker;
  };
}

function clientOf(workers, options = {}) {
  let loads = 0;
  const loadWeights = async () => Uint8Array.of(++loads);
  return new DfmClient({ createWorker: workers.create, loadWeights, ...options });
}

test("a worker gets the pretrained weights first, then one job after the other", async () => {
  const workers = new Workers();
  const client = clientOf(workers);
  const images = [client.decode(BYTES), client.decode(BYTES)];
  await wait(1);
  const [worker] = workers.made;
  assert.deepEqual(worker.heard.map(({ type }) => type), ["weights", "decode"]);
  worker.say({ type: "image", id: worker.jobs()[0].id, image: "first" });
  await wait(1);
  worker.say({ type: "image", id: worker.jobs()[1].id, image: "second" });
  assert.deepEqual(await Promise.all(images), ["first", "second"]);
  assert.equal(workers.made.length, 1);
});

test("several workers share the jobs, and the pretrained weights are loaded once", async () => {
  const workers = new Workers();
  const client = clientOf(workers, { workers: 2 });
  const images = [1, 2, 3].map(() => client.decode(BYTES));
  await wait(1);
  assert.equal(workers.made.length, 2);
  assert.deepEqual(workers.made.map(({ heard }) => heard[0].bytes[0]), [1, 1]);
  workers.made[1].say({ type: "image", id: 2, image: "b" });
  await wait(1);
  workers.made[1].say({ type: "image", id: 3, image: "c" });
  workers.made[0].say({ type: "image", id: 1, image: "a" });
  assert.deepEqual(await Promise.all(images), ["a", "b", "c"]);
});

test("header, progress and previews are handed on until the answer", async () => {
  const workers = new Workers();
  const client = clientOf(workers);
  const reported = [];
  const region = { x: 0, y: 0, width: 1, height: 1 };
  const image = client.decode(BYTES, {
    region,
    onHeader: (header) => reported.push(header),
    onProgress: (part) => reported.push(part),
    onPreview: (coarse) => reported.push(coarse),
  });
  await wait(1);
  const [worker] = workers.made;
  const { id, wants } = worker.jobs()[0];
  assert.deepEqual(wants, { png: false, previewPixels: Infinity, options: { region } });
  worker.say({ type: "header", id, header: "header" });
  worker.say({ type: "progress", id, part: 0.5 });
  worker.say({ type: "preview", id, image: "coarse" });
  worker.say({ type: "image", id, image: "image" });
  worker.say({ type: "preview", id, image: "late" });
  assert.equal(await image, "image");
  assert.deepEqual(reported, ["header", 0.5, "coarse"]);
});

test("the header alone", async () => {
  const workers = new Workers();
  const header = clientOf(workers).inspect(BYTES, { maxPixels: 100 });
  await wait(1);
  const [worker] = workers.made;
  assert.deepEqual(worker.jobs()[0].wants, { headerOnly: true, options: { maxPixels: 100 } });
  worker.say({ type: "header", id: 1, header: { width: 3 } });
  worker.say({ type: "image", id: 1, image: null });
  assert.deepEqual(await header, { width: 3 });
});

test("an error keeps its kind; one that no file should cause is no DfmError", async () => {
  const workers = new Workers();
  const client = clientOf(workers);
  const [bad, broken] = [client.decode(BYTES), client.decode(BYTES)];
  await wait(1);
  workers.made[0].say({ type: "failure", id: 1, kind: "corrupt", message: "the file is damaged" });
  await assert.rejects(bad, { name: "DfmError", kind: "corrupt", message: "the file is damaged" });
  await wait(1);
  workers.made[0].say({ type: "failure", id: 2, kind: null, message: "x is not a function" });
  await assert.rejects(broken, (error) => !(error instanceof DfmError) && error.message === "x is not a function");
});

/** A worker has a job that was cancelled; a second job waits. */
async function withCancelled() {
  const workers = new Workers();
  const client = clientOf(workers);
  const controller = new AbortController();
  const first = client.decode(BYTES, { signal: controller.signal });
  const second = client.decode(BYTES);
  await wait(1);
  controller.abort();
  await assert.rejects(first, { name: "AbortError" });
  return { workers, second };
}

test("a job that is cancelled ends at once, and its worker goes on if it stops in time", async () => {
  const { workers, second } = await withCancelled();
  const [worker] = workers.made;
  assert.deepEqual(worker.heard.at(-1), { type: "cancel", id: 1 });
  worker.say({ type: "failure", id: 1, kind: null, message: "aborted" });
  await wait(150);
  worker.say({ type: "image", id: 2, image: "second" });
  assert.equal(await second, "second");
  assert.equal(worker.isEnded, false);
});

test("a worker that does not stop is ended, and another one takes the next job", async () => {
  const { workers, second } = await withCancelled();
  await wait(150);
  assert.deepEqual(workers.made.map(({ isEnded }) => isEnded), [true, false]);
  workers.made[1].say({ type: "image", id: 2, image: "second" });
  assert.equal(await second, "second");
});

test("a job that waits is cancelled without a worker's help", async () => {
  const workers = new Workers();
  const client = clientOf(workers);
  const controller = new AbortController();
  const first = client.decode(BYTES);
  const second = client.decode(BYTES, { signal: controller.signal });
  controller.abort();
  await assert.rejects(second, { name: "AbortError" });
  await assert.rejects(client.decode(BYTES, { signal: controller.signal }), { name: "AbortError" });
  await wait(1);
  workers.made[0].say({ type: "image", id: 1, image: "first" });
  assert.equal(await first, "first");
  assert.equal(workers.made[0].jobs().length, 1);
});

test("a signal no longer knows of jobs that are done", async () => {
  const workers = new Workers();
  const client = clientOf(workers);
  const { signal } = new AbortController();
  const jobs = [client.decode(BYTES, { signal }), client.decode(BYTES, { signal })];
  assert.equal(getEventListeners(signal, "abort").length, 2);
  await wait(1);
  workers.made[0].say({ type: "image", id: 1, image: "image" });
  assert.equal(getEventListeners(signal, "abort").length, 1);
  await wait(1);
  workers.made[0].say({ type: "failure", id: 2, kind: "corrupt", message: "the file is damaged" });
  assert.equal(getEventListeners(signal, "abort").length, 0);
  assert.equal(await jobs[0], "image");
  await assert.rejects(jobs[1], DfmError);
});

test("pretrained weights that cannot be loaded is reported, and loaded again for the next job", async () => {
  const workers = new Workers();
  let loads = 0;
  const loadWeights = async () => {
    if (++loads === 1) throw new Error("no network");
    return BYTES;
  };
  const client = clientOf(workers, { loadWeights });
  await assert.rejects(client.decode(BYTES), { message: "no network" });
  const image = client.decode(BYTES);
  await wait(1);
  workers.made[1].say({ type: "image", id: 2, image: "image" });
  assert.equal(await image, "image");
});

test("workers get the pretrained weights of an address, which is loaded once", async (context) => {
  const asked = [];
  context.mock.method(globalThis, "fetch", async (url) => {
    asked.push(String(url));
    return new Response(BYTES, { status: asked.length > 1 ? 200 : 404 });
  });
  const workers = new Workers();
  const weightsUrl = "https://example.org/dfm/weights.bin?v=1";
  const client = new DfmClient({ createWorker: workers.create, weightsUrl, workers: 2 });
  await assert.rejects(client.decode(BYTES), { message: `the pretrained weights cannot be loaded: ${weightsUrl} gives 404` });
  const images = [client.decode(BYTES), client.decode(BYTES)];
  while (!workers.made.slice(1).every(({ heard }) => heard.length > 1)) await wait(1);
  assert.deepEqual(asked, [weightsUrl, weightsUrl]);
  for (const worker of workers.made.slice(1)) assert.deepEqual(worker.heard[0], { type: "weights", bytes: BYTES });
  workers.made.slice(1).forEach((worker, i) => worker.say({ type: "image", id: i + 2, image: i }));
  assert.deepEqual(await Promise.all(images), [0, 1]);
});

test("a script that does not start is reported", async () => {
  const workers = new Workers();
  const image = clientOf(workers).decode(BYTES);
  workers.made[0].onerror({ message: "", preventDefault() {} });
  await assert.rejects(image, /the decoder did not start/);
});

test("closing ends the workers and what they do", async () => {
  const workers = new Workers();
  const client = clientOf(workers);
  const jobs = [client.decode(BYTES), client.decode(BYTES)];
  client.close();
  for (const job of jobs) await assert.rejects(job, { name: "AbortError" });
  assert.equal(workers.made[0].isEnded, true);
});

test("a worker gets helpers for an image of several tiles, with the pretrained weights first", async () => {
  const workers = new Workers();
  const client = clientOf(workers, { helpers: 3 });
  const image = client.decode(BYTES);
  await wait(1);
  const [worker] = workers.made;
  worker.say({ type: "header", id: 1, header: { fields: { tile_rows: 3, tile_columns: 1 } } });
  await wait(1);
  assert.equal(workers.made.length, 3); // a tile each
  for (const helper of workers.made.slice(1)) {
    assert.deepEqual(helper.heard.map(({ type }) => type), ["weights", "help"]);
    helper.heard[1].port.close();
  }
  assert.deepEqual(worker.heard.map(({ type }) => type), ["weights", "decode", "helper", "helper"]);
  worker.say({ type: "image", id: 1, image: "image" });
  assert.equal(await image, "image");
  const second = client.decode(BYTES);
  await wait(1);
  worker.say({ type: "header", id: 2, header: { fields: { tile_rows: 2, tile_columns: 4 } } });
  assert.equal(workers.made.length, 4); // the most
  workers.made[3].onerror({ message: "", preventDefault() {} });
  await assert.rejects(second, /a helper of the decoder ended/);
  assert.ok(workers.made.every(({ isEnded }) => isEnded));
});

test("images of one tile, headers and clients without helpers need none", async () => {
  const workers = new Workers();
  const client = clientOf(workers, { helpers: 3 });
  client.decode(BYTES);
  client.inspect(BYTES);
  await wait(1);
  const [worker] = workers.made;
  worker.say({ type: "header", id: 1, header: { fields: {} } });
  worker.say({ type: "image", id: 1, image: null });
  await wait(1);
  worker.say({ type: "header", id: 2, header: { fields: { tile_rows: 9, tile_columns: 9 } } });
  assert.equal(workers.made.length, 1);
});
