import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
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

test("what a module exports is imported, if only by a test", () => {
  const tests = readdirSync(new URL(".", import.meta.url)).map((name) => readFileSync(new URL(name, import.meta.url), "utf8"));
  const imported = new Set();
  for (const source of [...sources.values(), ...tests]) {
    for (const [, names] of source.matchAll(/^import \{([^}]*)\}/gm)) for (const name of names.split(",")) imported.add(name.trim().split(" ")[0]);
  }
  for (const [name, source] of sources) {
    for (const [, exported] of source.matchAll(/^export (?:async )?(?:class|function|const) (\w+)/gm)) assert.ok(imported.has(exported), `${name}: ${exported}`);
  }
});

test("what is emitted, somebody listens to", () => {
  const code = [...sources.values()].join("\n");
  for (const [, event] of code.matchAll(/\bemit\("([\w-]+)"/g)) assert.ok(code.includes(`on("${event}"`), event);
});

test("what style sheets name is made somewhere: classes, elements of ours, data- attributes", () => {
  const code = [...sources.values()].join("\n");
  for (const name of readdirSync(`${CONSOLE}styles`)) {
    const sheet = readFileSync(`${CONSOLE}styles/${name}`, "utf8").replace(/\/\*[\s\S]*?\*\/|\{[^{}]*\}/g, " ");
    for (const [, word] of sheet.matchAll(/\.([a-z][\w-]*)/g)) assert.match(code, new RegExp(`["\` ]${word}["\` ]`), `${name}: .${word}`);
    for (const [word] of sheet.matchAll(/\bhub-[\w-]+/g)) assert.ok(code.includes(`"${word}"`), `${name}: ${word}`);
    for (const [, word] of sheet.matchAll(/\[data-([\w-]+)/g)) {
      const property = word.replace(/-(\w)/g, (_, letter) => letter.toUpperCase());
      assert.match(code, new RegExp(`data-${word}|dataset\\.${property}\\b`), `${name}: [data-${word}]`);
    }
  }
});

test("colours are the tokens of base.css, and each token is used", () => {
  const sheets = readdirSync(`${CONSOLE}styles`).map((name) => [name, readFileSync(`${CONSOLE}styles/${name}`, "utf8")]);
  for (const [name, sheet] of sheets) if (name !== "base.css") assert.doesNotMatch(sheet, /#[\da-f]{3,8}\b|\brgb\(|light-dark\(/, name);
  const all = [...sheets.map(([, sheet]) => sheet), ...sources.values()].join("\n");
  for (const [, token] of all.matchAll(/(--[a-z][\w-]*):/g)) assert.ok(all.includes(`var(${token}`), token);
  for (const [, token] of all.matchAll(/var\((--[\w-]+)/g)) assert.ok(all.includes(`${token}:`) || all.includes(`"${token}"`), token);
});
