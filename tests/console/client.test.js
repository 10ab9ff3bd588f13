import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError } from "../../bridge/console/core/api.js";
import { Client } from "../../bridge/console/core/client.js";
import { HubError } from "../../bridge/console/core/hub.js";
import en from "../../bridge/console/texts/en.js";
import { FakeClock, FakeStorage, token } from "./fakes.js";

const clientOf = () => new Client({ base: "http://hub/", storage: new FakeStorage(), tables: { en }, languages: ["en"], clock: new FakeClock() });

test("what went wrong is told in the reader's words where its kind is known, else in the hub's", () => {
  const client = clientOf();
  const told = (status, message = "the hub's words") => client.explain(new ApiError(status, message));
  assert.equal(told(403), en["signin.not-offered"]);
  client.hub.connect = () => ({ close() {} });
  client.session.use(token({}));
  for (const [status, key] of [[0, "unreachable"], [403, "FORBIDDEN"], [429, "RESOURCE_EXHAUSTED"], [503, "busy"]]) assert.equal(told(status), en[`error.${key}`]);
  assert.equal(told(400), "the hub's words");
  assert.equal(client.explain(new HubError("STATION_OFFLINE: It is off")), en["error.STATION_OFFLINE"]);
  assert.equal(client.explain(new HubError("SOMETHING_NEW: It is new")), "It is new");
  client.hub.close();
});
