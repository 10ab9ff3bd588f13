/** The models of the pages for admins, made when one of them is first shown: they outlive a page, not a session. */
import { HubSocket } from "./hub.js";
import { PagedList } from "./paged-list.js";
import { Monitor } from "./monitor.js";

const made = new WeakMap();

const sessionOf = ({ session }) => (session.signedIn ? `${session.claims?.userId} ${session.claims?.sessionId}` : null);

/**
 * @param {import("./app.js").App} app
 * @returns {{monitor: Monitor, users: PagedList, stations: PagedList, audit: PagedList}} those of the session that there is now.
 */
export function adminOf(app) {
  forget(app);
  const known = made.get(app);
  if (known) return known.models;
  const { api, clock } = app;
  const monitor = new Monitor({ socket: new HubSocket({ url: app.socketUrl("ws/admin"), clock }), greeting: () => ({ token: app.session.token }), clock });
  const models = {
    monitor,
    users: new PagedList({ api, path: "users", query: { q: "", role: "", sort: "email" }, clock }),
    stations: new PagedList({ api, path: "stations", query: { q: "", tag: "", state: "", registered: "", sort: "id", status: false }, clock }),
    audit: new PagedList({ api, path: "audit", query: { actor: "", action: "", target: "", since: null, until: null }, clock }),
  };
  const ends = [app.hub.on("welcome", () => monitor.wake()), app.on("session", () => forget(app)), ...Object.values(models).map((model) => () => model.close())];
  made.set(app, { models, session: sessionOf(app), ends });
  return models;
}

/** Somebody else signs in: nothing of before is left. */
function forget(app) {
  const known = made.get(app);
  if (!known || known.session === sessionOf(app)) return;
  made.delete(app);
  known.ends.forEach((end) => end());
}
