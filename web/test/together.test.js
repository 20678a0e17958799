import assert from "node:assert/strict";
import { afterEach, before, describe, test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";

import { DfmError, decode } from "../src/decode.js";
import { readHeader } from "../src/header.js";
import { openParts } from "../src/image_parts.js";
import { Team, help } from "../src/together.js";
import { bytesOf, fixtures, pretrainedWeights, skip } from "./fixtures.js";

describe("workers that decode an image together", { skip }, () => {
  let weights;
  let tiled;
  const ports = [];

  before(async () => {
    weights = await pretrainedWeights();
    const isTiled = ({ tileRows, tileColumns }) => tileRows * tileColumns > 1;
    const names = fixtures().filter(({ image }) => image).map(({ name }) => `${name}.dfm`);
    tiled = names.map(bytesOf).filter((bytes) => isTiled(readHeader(bytes)));
    const pixels = (bytes) => readHeader(bytes).height * readHeader(bytes).width;
    tiled.sort((a, b) => pixels(a) - pixels(b));
  });

  afterEach(() => ports.splice(0).forEach((port) => port.close())); // an open one keeps the process alive

  /** A team with helpers in this thread; `opened` gets what each was given. */
  function teamOf(count, { open = (bytes, options) => openParts(bytes, { weights, ...options }) } = {}) {
    const team = new Team();
    const join = () => {
      const { port1, port2 } = new MessageChannel();
      ports.push(port1, port2);
      help(port1, open);
      team.add(port2);
    };
    for (let number = 0; number < count; number++) join();
    return { team, join };
  }

  for (const count of [0, 1, 3]) {
    test(`gives the pixels of one worker, with ${count} helpers`, async () => {
      assert.ok(tiled.length > 0);
      const { team } = teamOf(count);
      await wait(10); // the helpers are ready
      for (const bytes of count === 3 ? tiled : tiled.slice(0, 2)) {
        const alone = await decode(bytes, { weights });
        const parts = [];
        const previews = [];
        const onProgress = (part) => parts.push(part);
        const together = await decode(bytes, { weights, team, onProgress, onPreview: (image) => previews.push(image) });
        assert.deepEqual(together, alone);
        assert.deepEqual(parts, parts.toSorted((a, b) => a - b));
        assert.ok(Math.abs(parts.at(-1) - 1) < 1e-9);
        assert.ok(previews.length > 0);
        const region = { x: alone.width >> 1, y: alone.height >> 2, width: 5, height: alone.height >> 1 };
        assert.deepEqual(await decode(bytes, { weights, team, region }), await decode(bytes, { weights, region }));
      }
    });
  }

  test("a helper that comes late takes part", async (t) => {
    let now = 0;
    t.mock.method(performance, "now", () => (now += 1000)); // so each step is followed by other tasks
    let opened = 0;
    const open = (bytes) => {
      opened++;
      return openParts(bytes, { weights });
    };
    const { team, join } = teamOf(0, { open });
    const [bytes] = tiled;
    let isJoined = false;
    const onProgress = () => {
      if (isJoined) return;
      isJoined = true; // after the first part
      join();
    };
    assert.deepEqual(await decode(bytes, { weights, team, onProgress }), await decode(bytes, { weights }));
    assert.equal(opened, 1);
  });

  test("what a helper finds wrong with a file is reported", async () => {
    const open = async () => {
      throw new DfmError("corrupt", "a part is damaged");
    };
    const { team } = teamOf(1, { open });
    await wait(10);
    await assert.rejects(decode(tiled[0], { weights, team }), { kind: "corrupt", message: "a part is damaged" });
  });

  test("a job that is cancelled ends, and the helpers are there for the next one", async () => {
    const { team } = teamOf(1);
    await wait(10);
    const controller = new AbortController();
    const image = decode(tiled[0], { weights, team, signal: controller.signal });
    controller.abort();
    await assert.rejects(image, { name: "AbortError" });
    assert.deepEqual(await decode(tiled[0], { weights, team }), await decode(tiled[0], { weights }));
  });
});
