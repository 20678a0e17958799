/** The declarations in types/ against the modules that they declare. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as decoder from "../src/decode.js";
import * as page from "../index.js";

const text = (name) => readFileSync(new URL(`../types/${name}`, import.meta.url), "utf8");

/** The names of values that a declaration exports: no types, which a module has not. */
function declaredValues(declaration) {
  const own = [...declaration.matchAll(/^export (?:class|function|const) (\w+)/gm)].map(([, name]) => name);
  const passedOn = [...declaration.matchAll(/^export \{ (.*) \} from/gm)].flatMap(([, names]) => names.split(", "));
  return [...own, ...passedOn].sort();
}

test("what the declarations export is what the modules export", () => {
  assert.deepEqual(declaredValues(text("index.d.ts")), Object.keys(page).sort());
  assert.deepEqual(declaredValues(text("decode.d.ts")), Object.keys(decoder).sort());
});

test("declarations import each other by the names of modules, as node's resolution asks", () => {
  for (const name of ["index.d.ts", "decode.d.ts"]) {
    for (const [, path] of text(name).matchAll(/ from "(\.[^"]*)"/g)) {
      assert.match(path, /\.js$/);
      text(path.replace(/\.js$/, ".d.ts"));
    }
  }
});
