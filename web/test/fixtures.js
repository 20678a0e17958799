/**
 * The fixtures of the tests: files, and what the package decodes them to; see make_fixtures.py.
 *
 * They are made anew for each run, by the one test file that uses all of them (node runs each file in
 * a process of its own), which takes the package and a minute; DFM_FIXTURES names a folder that has
 * them already. DFM_PYTHON is the Python that has the package; by default that of the
 * repository's virtual environment. Without the package there are none.
 */

import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadWeights } from "../src/decode.js";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const OWN_PYTHON = join(HERE, "../../.venv/bin/python");
const PYTHON = process.env.DFM_PYTHON ?? (existsSync(OWN_PYTHON) ? OWN_PYTHON : "python3");

/** Whether there can be fixtures: a reason to skip tests, or false. */
export const skip = process.env.DFM_FIXTURES || hasPackage() ? false : `${PYTHON} does not have dfmcodec`;

function hasPackage() {
  try {
    execFileSync(PYTHON, ["-c", "import dfmcodec, skimage"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The folder of the fixtures, once it is there. */
let folder = process.env.DFM_FIXTURES;

function folderOfFixtures() {
  folder ??= made("make_fixtures.py");
  return folder;
}

/** The folder of weights.bin, for tests that need no other fixtures. */
export function folderOfWeights() {
  return folder ?? made("../make_weights.py", "-o");
}

/** A folder that a script fills. It is removed in the end. */
function made(script, ...options) {
  const result = mkdtempSync(join(tmpdir(), "dfm-fixtures-"));
  process.on("exit", () => rmSync(result, { recursive: true, force: true }));
  execFileSync(PYTHON, [join(HERE, script), ...options, result], { stdio: ["ignore", "ignore", "inherit"] });
  return result;
}

/** The bytes of a file of the fixtures. */
export function bytesOf(name) {
  return new Uint8Array(readFileSync(join(folderOfFixtures(), name)));
}

/** The pretrained weights. */
export function pretrainedWeights() {
  return loadWeights(bytesOf("weights.bin"));
}

/** What is expected of each file. */
export function fixtures() {
  return JSON.parse(readFileSync(join(folderOfFixtures(), "fixtures.json"), "utf8"));
}

/** The samples that the package decodes a file to. */
export function samplesOf({ name, image }) {
  const bytes = bytesOf(`${name}.raw`);
  if (image.bitDepth === 8) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint16Array.from({ length: bytes.length / 2 }, (_, at) => view.getUint16(2 * at, true));
}
