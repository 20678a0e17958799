import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { contextModelOf, withAdaptation } from "../src/context.js";
import { crc32 } from "../src/crc32.js";
import { DfmError, decode, inspect, loadWeights } from "../src/decode.js";
import { decodeOverfitted } from "../src/overfitted_model.js";
import { Region, Tiling } from "../src/geometry.js";
import { readHeader } from "../src/header.js";
import { examine, sectionOf } from "../src/integrity.js";
import { TileDecoder, tileStreams } from "../src/latents.js";
import { loadKernels } from "../src/kernels.js";
import { bytesOf, fixtures, pretrainedWeights, samplesOf, skip } from "./fixtures.js";

/** The largest difference between samples. */
function largestDifference(first, second) {
  return first.reduce((largest, sample, at) => Math.max(largest, Math.abs(sample - second[at])), 0);
}

describe("the decoder", { skip }, () => {
  let weights;
  let images;
  let refused;

  before(async () => {
    weights = await pretrainedWeights();
    images = fixtures().filter(({ image }) => image);
    refused = fixtures().filter(({ error }) => error);
  });

  /** The bytes of a golden file. */
  function golden(name) {
    return bytesOf(`${name}.dfm`);
  }

  test("gives the images of the package, to within one level", async () => {
    assert.ok(images.length >= 30);
    for (const fixture of images) {
      const image = await decode(bytesOf(`${fixture.name}.dfm`), { weights });
      const { width, height, channels, bitDepth, pixels } = image;
      assert.deepEqual({ width, height, channels, bitDepth }, fixture.image, fixture.name);
      const samples = samplesOf(fixture);
      assert.equal(pixels.length, samples.length, fixture.name);
      assert.ok(largestDifference(pixels, samples) <= 1, fixture.name);
      for (const name of ["icc", "exif", "xmp"]) {
        assert.equal(image[name] && crc32(image[name]), fixture[name], `${fixture.name}: ${name}`);
      }
    }
  });

  test("refuses a first low-pass symbol that is beyond the range", async () => {
    const header = "8944464d010101080100010001010108010140000025daf2e70305000000";
    const data = Buffer.from(`${header}6f550e2bb95bbc75e3`, "hex"); // 2^23 + 1
    await assert.rejects(decode(new Uint8Array(data), { weights }), { kind: "corrupt", message: /exceeds its range/ });
  });

  test("gives the errors of the package, in its words", async () => {
    assert.ok(refused.length >= 20);
    for (const { name, error, message } of refused) {
      await assert.rejects(
        decode(bytesOf(`${name}.dfm`), { weights }),
        (thrown) => {
          assert.ok(thrown instanceof DfmError, `${name}: ${thrown.stack}`);
          assert.deepEqual([thrown.kind, thrown.message], [error, message], name);
          return true;
        },
        name,
      );
    }
  });

  test("decodes the symbols of the package", async () => {
    const kernels = await loadKernels();
    for (const { name, symbols } of images.filter((each) => each.symbols)) {
      const bytes = bytesOf(`${name}.dfm`);
      const header = readHeader(bytes);
      // The checks are those of the package's symbols, so the decoder itself compares them.
      const state = { ...examine(bytes, header), symbolChecks: symbols };
      const wrong = { ...state, symbolChecks: symbols.map((check) => check ^ 1) };
      assert.doesNotThrow(() => [...steps(state, kernels)], name);
      assert.throws(() => [...steps(wrong, kernels)], DfmError, name);
    }
  });

  /** All steps in which the symbols of a file are decoded. */
  function steps(state, kernels) {
    const isOverfitted = state.header.modelName === "overfitted";
    return isOverfitted ? decodeOverfitted(state, new Region(0, 0, 1, 1), weights, kernels, false) : tiles(state, kernels);
  }

  /** All steps of all tiles of a wavelet file. */
  function* tiles(state, kernels) {
    const { header, symbolChecks } = state;
    const model = contextModelOf(weights.arraysOf("wavelet", header.values.weights_id));
    const adaptation = sectionOf(state, "adaptation");
    const { levels } = header.values;
    const corrected = adaptation ? withAdaptation(model, adaptation, levels, header.codedChannels) : model;
    const tiling = new Tiling(header.height, header.width, header.tileRows, header.tileColumns);
    const streams = tileStreams(sectionOf(state, "latents"), tiling.tiles.length);
    const sides = ["height", "width"].map((side) => Math.max(...tiling.tiles.map((tile) => tile[side])));
    const longest = Math.max(...streams.map((stream) => stream.length));
    const decoder = new TileDecoder(header, corrected, kernels, sides, longest);
    for (const [number, { height, width }] of tiling.tiles.entries()) {
      const checks = symbolChecks.slice(number * (levels + 1), (number + 1) * (levels + 1));
      yield* decoder.levels({ stream: streams[number], height, width, checks });
    }
  }

  test("gives a small image of all of it, of the coarse levels", async () => {
    const isTiled = ({ name }) => readHeader(golden(name)).tileRows * readHeader(golden(name)).tileColumns > 1;
    const { name: tiled } = images.find(isTiled);
    for (const [name, most] of [[tiled, 300], ["wavelet-deep", 4000], ["wavelet-gray", 1], ["wavelet-alpha", 1e6]]) {
      const complete = await decode(golden(name), { weights });
      const previews = [];
      const onPreview = (image) => previews.push(image);
      const coarse = await decode(golden(name), { weights, coarsePixels: most, onPreview });
      const { width, height } = coarse;
      const { levels } = inspect(golden(name)).fields;
      const sizes = Array.from({ length: levels + 1 }, (_, level) =>
        [complete.width, complete.height].map((side) => Math.ceil(side / 2 ** level)),
      );
      assert.deepEqual([width, height], sizes.find(([across, down]) => across * down <= most) ?? sizes[levels], name);
      assert.equal(coarse.pixels.length, coarse.channels * width * height);
      assert.ok(previews.length > 0);
      // its mean is that of the image
      const meanOf = ({ pixels, channels, bitDepth }) => {
        const colours = pixels.filter((_, i) => channels % 2 || i % channels < channels - 1);
        return colours.reduce((sum, sample) => sum + sample, 0) / colours.length / (bitDepth === 16 ? 257 : 1);
      };
      assert.ok(Math.abs(meanOf(coarse) - meanOf(complete)) < 6, `${name}: ${meanOf(coarse)}, ${meanOf(complete)}`);
    }
    assert.deepEqual(
      await decode(golden("coordinate"), { weights, coarsePixels: 1 }), await decode(golden("coordinate"), { weights }),
    );
  });

  test("decodes a region to the pixels that it has in the complete image", async () => {
    for (const { name, image } of images.filter(({ image: { width, height } }) => width * height > 4)) {
      const bytes = bytesOf(`${name}.dfm`);
      const complete = await decode(bytes, { weights });
      const [x, y] = [Math.floor(image.width / 3), Math.floor(image.height / 2)];
      const region = { x, y, width: Math.min(11, image.width - x), height: Math.min(300, image.height - y) };
      const part = await decode(bytes, { weights, region });
      assert.deepEqual(part.region, region);
      assert.deepEqual([part.width, part.height], [region.width, region.height]);
      const rows = Array.from({ length: region.height }, (_, row) => {
        const start = image.channels * ((y + row) * image.width + x);
        return [...complete.pixels.subarray(start, start + image.channels * region.width)];
      });
      assert.deepEqual([...part.pixels], rows.flat(), name);
    }
  });

  test("refuses a region that is not within the image", async () => {
    const bytes = bytesOf(`${images[0].name}.dfm`);
    const { width, height } = images[0].image;
    for (const region of [
      { x: -1, y: 0, width: 2, height: 2 },
      { x: 0, y: 0, width: width + 1, height: 1 },
      { x: 0, y: 0, width: 0, height },
      { x: 0.5, y: 0, width: 1, height: 1 },
    ]) {
      await assert.rejects(decode(bytes, { weights, region }), RangeError);
    }
  });

  test("shows previews that sharpen, and tells its progress", async () => {
    for (const name of images.map((fixture) => fixture.name).filter((text) => /^(checked|tiles)/.test(text))) {
      const previews = [];
      const parts = [];
      const bytes = bytesOf(`${name}.dfm`);
      const options = { onPreview: (preview) => previews.push(preview), onProgress: (part) => parts.push(part) };
      const image = await decode(bytes, { weights, ...options });
      assert.ok(previews.length >= 2, name);
      const sizes = previews.map(({ width, height }) => width * height);
      assert.deepEqual(sizes, [...sizes].sort((a, b) => a - b), name);
      for (const preview of previews) {
        assert.equal(preview.pixels.length, preview.width * preview.height * preview.channels);
        assert.equal(preview.bitDepth, 8);
      }
      assert.ok(sizes.at(-1) < image.width * image.height);
      assert.deepEqual(parts, [...parts].sort((a, b) => a - b), name);
      assert.equal(parts.at(-1), 1);
    }
  });

  test("stops when it is told to", async () => {
    const bytes = golden("checked-all");
    const controller = new AbortController();
    const decoding = decode(bytes, { weights, signal: controller.signal, onPreview: () => controller.abort() });
    await assert.rejects(decoding, { name: "AbortError" });
  });

  test("tells what the header says without decoding", () => {
    for (const { name, image } of images) {
      const bytes = bytesOf(`${name}.dfm`);
      const said = inspect(bytes);
      assert.deepEqual([said.width, said.height, said.bitDepth], [image.width, image.height, image.bitDepth]);
      assert.equal(said.channels + Number(said.hasAlpha), image.channels);
      assert.equal(said.sections.reduce((sum, section) => sum + section.bytes, 0), bytes.length);
      assert.deepEqual(said.losses, []);
      assert.notDeepEqual(inspect(bytes.subarray(0, -1)).losses, []);
    }
  });

  test("keeps to its limits", async () => {
    const bytes = golden("coordinate");
    await assert.rejects(decode(bytes, { weights, maxPixels: 100 }), { kind: "limit" });
    assert.throws(() => inspect(bytes, { maxPixels: 100 }), { kind: "limit" });
    await assert.rejects(decode(bytes, { weights, maxMultiplyAdds: 1000 }), { kind: "limit" });
  });

  /** A file of other weights, its CRC-32 made right again. */
  function withWeights(name, id) {
    const bytes = golden(name);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const own = inspect(bytes).fields.weights_id;
    view.setUint32(bytes.findIndex((_, at) => view.getUint32(at, true) === own), id, true);
    view.setUint32(bytes.length - 4, crc32(bytes.subarray(0, -4)), true);
    return bytes;
  }

  test("refuses files of weights that there are not, or that are of another model", async () => {
    const [latent, fitted] = ["wavelet-gray", "overfitted-small"].map((name) => inspect(golden(name)).fields.weights_id);
    for (const [name, id] of [
      ["wavelet-gray", 1],
      ["wavelet-gray", 0xffffffff],
      ["wavelet-gray", fitted],
      ["overfitted-small", latent],
      ["overfitted-small", 0],
    ]) {
      const hex = id.toString(16).padStart(8, "0");
      const what = `the file needs weights ${hex}, which this version does not have`;
      const advice = "if it is from before version 0.1.0, encode its source again";
      const message = `${what}; if a later version wrote it, update dfmcodec; ${advice}`;
      await assert.rejects(decode(withWeights(name, id), { weights }), { kind: "unsupported-version", message });
    }
  });

  test("refuses a damaged file of weights", async () => {
    const bytes = bytesOf("weights.bin");
    await assert.rejects(loadWeights(bytes.subarray(0, 1000)), DfmError);
    await assert.rejects(loadWeights(bytes.subarray(1)), DfmError);
  });
});
