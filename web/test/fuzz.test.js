import assert from "node:assert/strict";
import { test } from "node:test";
import { folderOfWeights, skip } from "./fixtures.js";
import { fuzz } from "./fuzz.js";

test("mutants give images or documented errors", { skip }, async () => {
  const found = await fuzz(folderOfWeights(), 300, 1);
  for (const kind of ["image", "corrupt", "truncated", "not-dfm", "unsupported-version"]) assert.ok(found[kind], kind);
});
