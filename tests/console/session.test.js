import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Api, ApiError } from "../../bridge/console/core/api.js";
import { claimsOf, Session, tokenProblem } from "../../bridge/console/core/session.js";
import { FakeClock, FakeStorage, settle, token } from "./fakes.js";

const DAY = 24 * 3600;
let clock, storage, calls, answers;

beforeEach(() => {
  clock = new FakeClock();
  storage = new FakeStorage();
  calls = [];
  answers = {};
});

function session() {
  const post = async (path, body) => {
    calls.push(path);
    const answer = answers[path];
    if (answer instanceof Error) throw answer;
    return typeof answer === "function" ? answer(body) : answer;
  };
  return new Session({ api: { post }, storage, clock });
}

const made = (fields = {}) => token({ userId: "u-1", sessionId: "s-1", nickname: "Zoë 夜", exp: clock.now() / 1000 + DAY, ...fields });

test("what a token says is read, in any language; what is none says nothing", () => {
  assert.equal(claimsOf(made()).nickname, "Zoë 夜");
  for (const nothing of ["", "x", "a.b.c", `x.${Buffer.from("null").toString("base64url")}.y`]) assert.equal(claimsOf(nothing), null);
});

test("what is no token of a person is found before the hub is asked", () => {
  assert.equal(tokenProblem(made()), null);
  assert.equal(tokenProblem(made({ type: "station" })), "signin.station-token");
  for (const nothing of ["garbage", "€.€.€", made({ nickname: "x".repeat(9_000) })]) assert.equal(tokenProblem(nothing), "signin.no-token");
});

test("it outlives the page, and what is kept by somebody else is no session", async () => {
  answers["auth/login"] = { accessToken: made() };
  await session().signIn("a@b.c", "secret");
  assert.equal(session().signedIn, true);
  assert.ok(![...storage.items.values()].some((kept) => kept.includes("secret")));
  for (const kept of ["{", "3", '{"token":7}']) {
    storage.setItem("stationhub.session", kept);
    assert.equal(session().signedIn, false);
  }
});

test("a token is changed for a new one at half its life; a hub that is away is asked again", async () => {
  answers["auth/login"] = { accessToken: made() };
  const signed = session();
  let changes = 0;
  signed.on("change", () => changes++);
  await signed.signIn("a@b.c", "secret");
  answers["auth/refresh"] = new ApiError(0, "");
  clock.pass(DAY * 500 - 1);
  assert.deepEqual(calls, ["auth/login"]);
  clock.pass(1);
  await settle();
  const fresh = made();
  answers["auth/refresh"] = { accessToken: fresh };
  clock.pass(60_000);
  await settle();
  assert.deepEqual(calls, ["auth/login", "auth/refresh", "auth/refresh"]);
  assert.equal(signed.token, fresh);
  assert.equal(session().token, fresh);
  assert.equal(changes, 1, "nobody signs in anew by that");
});

test("signing out ends a session that began here, not a token that was given", async () => {
  answers["auth/guest"] = { accessToken: made() };
  const signed = session();
  await signed.guest("Me");
  await signed.signOut();
  assert.deepEqual(calls, ["auth/guest", "auth/logout"]);
  signed.use(made());
  await signed.signOut();
  assert.deepEqual(calls, ["auth/guest", "auth/logout"]);
  assert.equal(session().signedIn, false);
});

test("an answer that comes after a sign-out, or after another sign-in, signs nobody in", async () => {
  const answer = {};
  answers["auth/station"] = answers["auth/guest"] = () => new Promise((resolve) => (answer.come = resolve));
  const signed = session();
  signed.use(made());
  const late = signed.station("st-1", "key");
  await signed.signOut();
  answer.come({ accessToken: made() });
  await late;
  assert.deepEqual([signed.signedIn, storage.items.size], [false, 0]);
  const guest = signed.guest("");
  signed.use(made({ userId: "u-2" }));
  answer.come({ accessToken: made({ userId: "u-3" }) });
  await guest;
  assert.equal(signed.claims.userId, "u-2");
});

test("another tab's sign-out is heard, its refreshed token taken without one; who signed in there later stays so", async () => {
  const [one, other] = [session(), session()];
  one.use(made());
  let changes = 0;
  other.on("change", () => changes++);
  other.stored();
  assert.equal(changes, 1);
  one.use(made({ iat: 5 }));
  other.stored();
  assert.equal(changes, 1, "the same session");
  assert.equal(other.token, one.token);
  one.use(made({ sessionId: "s-2" }));
  await other.signOut({ ended: true });
  assert.equal(session().claims.sessionId, "s-2");
});

test("the API names its failures, and says when the hub was not reached", async () => {
  const answer = (status, body) => async () => new Response(body === null ? null : JSON.stringify(body), { status });
  const asks = (fetch) => new Api({ base: "http://hub/", token: () => "t", fetch }).get("x");
  await assert.rejects(asks(answer(404, { statusCode: 404, message: "Not here", error: "Not Found" })), { status: 404, message: "Not here" });
  await assert.rejects(asks(answer(400, { message: ["a: wrong", "b: missing"] })), { message: "a: wrong; b: missing" });
  await assert.rejects(asks(async () => { throw new TypeError("failed"); }), { status: 0 });
  assert.equal(await asks(answer(204, null)), null);
});

test("a list is read page by page", async () => {
  const asked = [];
  const fetch = async (url, { headers }) => {
    asked.push(url);
    assert.equal(headers.Authorization, "Bearer t");
    const offset = Number(new URL(url).searchParams.get("offset"));
    return Response.json({ items: [1, 2, 3, 4, 5].slice(offset, offset + 2), total: 5 });
  };
  const items = await new Api({ base: "http://hub/", token: () => "t", fetch }).all("stations", { q: "", tag: "ä b" }, 2);
  assert.deepEqual(items, [1, 2, 3, 4, 5]);
  assert.deepEqual(asked, [0, 2, 4].map((offset) => `http://hub/stations?tag=%C3%A4+b&limit=2&offset=${offset}`));
});
