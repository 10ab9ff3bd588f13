/** Beginning a call, from wherever on the page. */
import { confirm } from "./confirm.js";

/** The address of the call. */
export const CALL = "#/call";

/** How a station is called here: by its name, if it has one. */
export function nameOf(app, stationId) {
  return app.fleet.stations.get(stationId)?.name || stationId;
}

/**
 * Calls a station, or answers it, and shows the call. Only one call at a time: where somebody is spoken with, it asks first.
 * @param {import("../core/app.js").App} app
 * @param {string} stationId
 */
export async function callStation(app, stationId) {
  if (!app.may("operator")) return app.notice(app.t("error.FORBIDDEN"), "bad");
  const { line, t } = app;
  const here = line.busy && line.call.stationId === stationId;
  // one that calls again while it is spoken with has lost the call
  if (here && !app.calls.ringing.some((call) => call.stationId === stationId)) return void (location.hash = CALL);
  if (line.busy && !here) {
    const names = { now: nameOf(app, line.call.stationId), next: nameOf(app, stationId) };
    if (!(await confirm(app, { title: t("call.switch-title"), text: t("call.switch", names), action: t("call.switch-action"), kind: "good" }))) return;
  }
  line.from = location.hash === CALL ? (line.from ?? "#/") : location.hash || "#/";
  line.start(stationId);
  location.hash = CALL;
}

/** Leaves the page of the call for that where it began. */
export function leaveCall(app) {
  app.line.dismiss();
  if (location.hash === CALL) location.hash = app.line.from ?? "#/";
}
