/**
 * Decodes mutants of the golden files. Each must give an image or a documented error, in a limited
 * time.
 *
 *     node web/test/fuzz.js [--count 20000] [--seed 1] [--keep FOLDER]
 *
 * Two of three mutants get the right CRC-32 again, so that what follows it is reached. With --keep,
 * mutants and outcomes are written to a folder, for a comparison with another decoder.
 */

import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { crc32 } from "../src/crc32.js";
import { DfmError, decode, loadWeights } from "../src/decode.js";

const GOLDEN = fileURLToPath(new URL("../../tests/golden/v1/", import.meta.url));
const MAX_PIXELS = 2 ** 16;
const LIMIT_MS = 20000; // for a mutant
const EDGES = [0, 1, 2, 3, 4, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2 ** 24, 2 ** 31, 2 ** 32 - 1];
const HEADER_BYTES = 48;

/** A generator of numbers in 0..1 from a seed (xorshift). */
function randomOf(seed) {
  let state = (seed * 2654435761 + 1) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** The files that are changed. */
export function goldenFiles() {
  const names = readdirSync(GOLDEN).filter((name) => name.endsWith(".dfm"));
  return names.sort().map((name) => new Uint8Array(readFileSync(join(GOLDEN, name))));
}

/** A file that is changed in one or a few places. */
export function mutant(files, seed) {
  const random = randomOf(seed);
  const below = (limit) => Math.floor(random() * limit);
  let bytes = Array.from(files[below(files.length)]);
  for (let times = 1 + below(1 + below(6)); times > 0; times--) bytes = changed(bytes, below);
  const content = Uint8Array.from(bytes);
  const end = content.length - 4;
  if (end >= 0 && below(3)) new DataView(content.buffer).setUint32(end, crc32(content.subarray(0, end)), true);
  return content;
}

function changed(bytes, below) {
  if (bytes.length === 0) return [below(256)];
  const start = below(3) ? below(bytes.length) : below(Math.min(bytes.length, HEADER_BYTES));
  const length = 1 + below(1 + below(Math.min(1024, bytes.length - start)));
  const [before, after] = [bytes.slice(0, start), bytes.slice(start + length)];
  const here = bytes.slice(start, start + length);
  const noise = () => here.map(() => below(256));
  switch (below(8)) {
    case 0:
    case 1:
      return [...before, here[0] ^ (1 << below(8)), ...bytes.slice(start + 1)];
    case 2:
      return [...before, [0, 1, 127, 128, 255][below(5)], ...bytes.slice(start + 1)];
    case 3:
      return withNumber(bytes, start, EDGES[below(EDGES.length)], 2 + 2 * below(2));
    case 4:
      return [...before, ...noise(), ...after];
    case 5:
      return [...before, ...after];
    case 6:
      return [...before, ...(below(2) ? here : noise()), ...here, ...after];
    default:
      return before;
  }
}

/** The bytes with a number written over them, little-endian. */
function withNumber(bytes, start, number, size) {
  const result = [...bytes];
  for (let at = start; at < Math.min(start + size, bytes.length); at++) {
    result[at] = Math.floor(number / 256 ** (at - start)) % 256;
  }
  return result;
}

/** What a decoder makes of a file: "image", or the kind of the error. Other errors are let through. */
async function outcomeOf(bytes, weights) {
  try {
    const { width, height, channels, pixels } = await decode(bytes, { weights, maxPixels: MAX_PIXELS });
    if (pixels.length !== width * height * channels) throw new Error("an image has another size than it says");
    return "image";
  } catch (error) {
    if (error instanceof DfmError) return error.kind;
    throw error;
  }
}

/** In the worker: decodes what it is sent. */
async function work() {
  const bytesOf = (name) => new Uint8Array(readFileSync(join(workerData.weightsFolder, name)));
  const weights = await loadWeights(bytesOf("weights.bin"));
  parentPort.on("message", async (bytes) => {
    try {
      parentPort.postMessage({ outcome: await outcomeOf(bytes, weights) });
    } catch (error) {
      parentPort.postMessage({ failure: String(error.stack ?? error) });
    }
  });
}

/** Asks the worker for the outcome of a file. */
function ask(worker, bytes) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer in ${LIMIT_MS} ms`)), LIMIT_MS);
    worker.once("message", ({ outcome, failure }) => {
      clearTimeout(timer);
      if (failure) reject(new Error(failure));
      else resolve(outcome);
    });
    worker.postMessage(bytes);
  });
}

/**
 * Decodes so many mutants.
 * @param {string} weightsFolder the folder of weights.bin
 * @param {number} count
 * @param {number} seed
 * @param {string} [folder] where mutants and outcomes are written
 * @returns {Promise<Record<string, number>>} how often each outcome was met
 * @throws {Error} a mutant gave another error, or none in time; the message names it
 */
export async function fuzz(weightsFolder, count, seed, folder) {
  const files = goldenFiles();
  const worker = new Worker(new URL(import.meta.url), { workerData: { weightsFolder } });
  const outcomes = [];
  try {
    for (let number = 0; number < count; number++) {
      const bytes = mutant(files, seed * 1e6 + number);
      const outcome = await ask(worker, bytes).catch((error) => {
        throw new Error(`mutant ${seed * 1e6 + number}: ${error.message}`);
      });
      outcomes.push(outcome);
      if (folder) writeFileSync(join(folder, `${number}.dfm`), bytes);
    }
  } finally {
    await worker.terminate();
  }
  if (folder) writeFileSync(join(folder, "outcomes.json"), JSON.stringify(outcomes));
  const countOf = (kind) => outcomes.filter((outcome) => outcome === kind).length;
  return Object.fromEntries([...new Set(outcomes)].sort().map((kind) => [kind, countOf(kind)]));
}

async function main() {
  const { values } = parseArgs({
    options: {
      count: { type: "string", default: "20000" },
      seed: { type: "string", default: "1" },
      keep: { type: "string" },
      weightsFolder: { type: "string", default: fileURLToPath(new URL("..", import.meta.url)) },
    },
  });
  if (values.keep) mkdirSync(values.keep, { recursive: true });
  const found = await fuzz(values.weightsFolder, Number(values.count), Number(values.seed), values.keep);
  console.log(`${values.count} mutants:`, found);
}

if (!isMainThread && workerData?.weightsFolder) await work();
else if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
