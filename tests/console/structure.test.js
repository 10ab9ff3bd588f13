import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { CONSOLE, modules } from "./fakes.js";

const MAY_IMPORT = { texts: [], lib: ["lib"], core: ["lib", "core"], parts: ["lib", "core", "parts"], pages: ["lib", "core", "parts", "pages", "texts"] };
const sources = new Map(modules());
const PAGES = ["index.html", "edge.html"].map((name) => [name, readFileSync(CONSOLE + name, "utf8")]);

test("imports go one way, name files that are there, and nothing comes from elsewhere", () => {
  for (const [name, source] of sources) {
    for (const [, from, bare] of source.matchAll(/^(?:import|export)\b[^;"]*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"/gm)) {
      const path = from ?? bare;
      assert.ok(path.startsWith("."), `${name} imports ${path}`);
      const target = normalize(join(dirname(name), path));
      assert.ok(sources.has(target), `${name} imports ${path}, which is not there`);
      assert.ok(MAY_IMPORT[name.split("/")[0]].includes(target.split("/")[0]), `${name} imports ${path}`);
    }
  }
});

test("models know no page: what a browser has is given to them", () => {
  for (const [name, code] of sources) {
    if (!name.startsWith("core/")) continue;
    assert.doesNotMatch(code, /\b(document|localStorage|window|navigator)\.|\blocation\.(hash|href|pathname|reload)|requestAnimationFrame|HTMLElement/, name);
  }
});

test("nothing is written as markup, and no style is in an attribute", () => {
  for (const [name, source] of [...sources, ...PAGES]) {
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|style="/, name);
  }
});
