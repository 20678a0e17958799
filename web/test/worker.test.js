import assert from "node:assert/strict";
import { test } from "node:test";

import { goldenFiles } from "./fuzz.js";

/** The worker's side of its messages: what it answers to a job. */
async function answersTo(job) {
  const said = [];
  const done = new Promise((resolve) => {
    globalThis.self = {
      postMessage: (message) => {
        said.push(message);
        if (message.type === "image" || message.type === "failure") resolve();
      },
    };
  });
  await import(`../worker.js?${JSON.stringify(job.wants)}`); // each a worker of its own
  globalThis.self.onmessage({ data: { type: "decode", id: 1, ...job } });
  await done;
  return said;
}

test("the limit of pixels holds for the header too", async () => {
  const [bytes] = goldenFiles();
  const said = await answersTo({ bytes, wants: { headerOnly: true } });
  assert.deepEqual(said.map(({ type }) => type), ["header", "image"]);
  const { width, height } = said[0].header;
  const wants = { headerOnly: true, options: { maxPixels: width * height - 1 } };
  const [{ type, kind }] = await answersTo({ bytes, wants });
  assert.deepEqual([type, kind], ["failure", "limit"]);
});
