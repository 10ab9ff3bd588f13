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
  const { line } = app;
  const here = line.busy && line.call.stationId === stationId;
  // one that calls again while it is spoken with has lost the call
  if (here && !app.calls.ringing.some((call) => call.stationId === stationId)) return void (location.hash = CALL);
  if (line.busy && !here) {
    if (!(await confirmSwitch(app, stationId))) return;
  }
  line.from = location.hash === CALL ? (line.from ?? "#/") : location.hash || "#/";
  line.start(stationId);
  location.hash = CALL;
}

/** Asks whether the call that goes on may end for another one; not any longer than there are both. */
function confirmSwitch(app, stationId) {
  const { line, calls, fleet, hub, t } = app;
  const { call } = line;
  const ringing = calls.ringing.find((one) => one.stationId === stationId);
  const names = () => ({ now: nameOf(app, call.stationId), next: nameOf(app, stationId) });
  const text = () => t(call.state === "talking" ? "call.switch" : "call.switch-calling", names());
  const pointless = () => {
    if (line.call !== call || call.over) return t("call.switch-over", names());
    if (hub.state !== "open") return t("error.UNAVAILABLE");
    if (ringing) return ringing.outcome === "ringing" ? null : t("call.switch-gone", { ...names(), outcome: t(`calls.outcome.${ringing.outcome}`) });
    return fleet.stations.get(stationId)?.online === false ? t("call.switch-offline", names()) : null;
  };
  const follow = (say, drop) => {
    const look = () => {
      const why = pointless();
      if (why === null) say(text());
      else drop(why);
    };
    return [line.on("change", look), calls.on("change", look), fleet.on("change", look), hub.on("state", look)];
  };
  return confirm(app, { title: t("call.switch-title"), text: text(), action: t("call.switch-action"), kind: "good", follow });
}

/** Leaves the page of the call for that where it began. */
export function leaveCall(app) {
  app.line.dismiss();
  if (location.hash === CALL) location.hash = app.line.from ?? "#/";
}
