import assert from "node:assert/strict";
import { test } from "node:test";
import { Texts } from "../../bridge/console/lib/texts.js";
import en from "../../bridge/console/texts/en.js";
import zh from "../../bridge/console/texts/zh.js";
import { modules } from "./fakes.js";

const sources = modules().filter(([name]) => !name.startsWith("texts/"));
const plain = Object.keys(en).filter((key) => !key.endsWith(".one"));
const values = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort();

test("both languages have the same texts with the same values, and none is empty", () => {
  assert.deepEqual(Object.keys(zh).sort(), plain.sort());
  for (const key of plain) {
    assert.deepEqual(values(zh[key]), values(en[key]), key);
    assert.ok(zh[key] && en[key], key);
  }
});

test("every text that is named in the sources exists, and every text is named there", () => {
  const all = sources.map(([, source]) => source).join("\n");
  for (const [name, source] of sources) {
    for (const [, key] of source.matchAll(/\bt\("([\w.-]+)"/g)) assert.ok(key in en, `${name}: ${key}`);
  }
  // such as `state.${state}`, or an id of a table
  const made = [...all.matchAll(/`([\w.-]+\.)\$\{/g), ...all.matchAll(/\bword\("([\w.-]+)"/g)].map((found) => found[1]);
  for (const key of plain) assert.ok(all.includes(`"${key}"`) || made.some((start) => key.startsWith(start)), `${key} is not used`);
});

test("a language is chosen by the reader's wishes; values are put in; one is one", () => {
  const tables = { en: { "a.n": "{n} stations", "a.n.one": "{n} station" }, zh: { "a.n": "{n} 个站点" } };
  assert.equal(new Texts(tables, ["fr-FR", "zh-TW", "en"]).language, "zh");
  assert.equal(new Texts(tables, ["fr"]).language, "en");
  const texts = new Texts(tables, ["en"]);
  assert.equal(texts.get("a.n", { n: 1 }), "1 station");
  assert.equal(texts.get("a.n", { n: 2 }), "2 stations");
  texts.choose("zh");
  assert.equal(texts.get("a.n", { n: 1 }), "1 个站点");
  assert.equal(texts.get("a.m"), "a.m");
  assert.deepEqual([texts.word("a", "n"), texts.word("a", "m"), texts.word("a", "m", "another")], ["{n} 个站点", "m", "another"]);
});
