import assert from "node:assert/strict";
import { test } from "node:test";

import { OpenFile } from "../page/open_file.js";

const HEADER = { width: 5000, height: 4000, model: "wavelet", fields: {}, sections: [], losses: [] };
const COARSE = { width: 2, height: 1, channels: 3, bitDepth: 8, pixels: new Uint8Array(6), icc: null };

/** A client that decodes when it is told to. */
function makeClient() {
  const jobs = [];
  return {
    jobs,
    inspect: async () => HEADER,
    decode: (_, { signal, ...options }) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        jobs.push({ options, resolve });
      }),
  };
}

const turns = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

test("the coarse image of a large one that was interrupted comes when the file is shown again", async (t) => {
  Object.assign(globalThis, { ImageData: class {}, createImageBitmap: async () => ({ width: 2, height: 1, close() {} }) });
  t.after(() => ["ImageData", "createImageBitmap"].forEach((name) => delete globalThis[name]));
  const client = makeClient();
  const blob = new Blob([Uint8Array.of(0x89, 0x44, 0x46, 0x4d, 0)]);
  const file = new OpenFile("a.dfm", blob, client, { completePixels: 1e6 }, () => {});
  file.load();
  await turns();
  assert.deepEqual(Object.keys(client.jobs[0].options), ["coarsePixels", "onPreview", "onProgress"]);
  file.loadPart({ x: 0, y: 0, width: 9, height: 9 }); // waits for the coarse image
  file.stop();
  assert.equal(file.state, "new");
  file.load();
  await turns();
  assert.equal(client.jobs.length, 2);
  client.jobs[1].resolve(COARSE);
  await turns();
  assert.deepEqual([file.state, file.layers.length, file.layers[0].isCoarse], ["ready", 1, true]);
  file.loadPart({ x: 300, y: 300, width: 9, height: 9 });
  await turns();
  assert.deepEqual(client.jobs[2].options.region, { x: 256, y: 256, width: 256, height: 256 });
  file.stop();
  assert.equal(file.state, "ready");
});
