import assert from "node:assert/strict";
import { test } from "node:test";
import { Preferences } from "../../bridge/console/core/preferences.js";
import { FakeStorage } from "./fakes.js";

const KEY = "stationhub.preferences";

test("what is kept is there on the next page; what makes no sense counts as not set", () => {
  const storage = new FakeStorage();
  new Preferences(storage).set("language", "zh");
  assert.equal(new Preferences(storage).get("language"), "zh");
  for (const kept of ["{", "null", "[]", "7", '{"language": 5, "theme": {}, "muted": "yes", "other": 1}']) {
    storage.setItem(KEY, kept);
    const preferences = new Preferences(storage);
    assert.deepEqual(["language", "theme", "muted", "other"].map((name) => preferences.get(name)), [null, "auto", false, undefined], kept);
  }
});

test("a choice here undoes none of another tab, and that is told here", () => {
  const storage = new FakeStorage();
  const [one, other] = [new Preferences(storage), new Preferences(storage)];
  const told = [];
  other.on("change", (name) => told.push(name));
  one.set("muted", true);
  other.set("theme", "dark");
  assert.deepEqual(told, ["muted", "theme"]);
  one.set("view", "rows");
  one.set("language", "zh");
  other.changed();
  assert.equal(other.get("language"), null, "not under somebody's hands");
  assert.deepEqual([other.get("muted"), other.get("theme"), other.get("view")], [true, "dark", "rows"]);
  assert.equal(one.get("theme"), "dark");
  other.set("muted", false);
  assert.equal(new Preferences(storage).get("language"), "zh");
});
