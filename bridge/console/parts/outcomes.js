/** What came of a command, in words. */
import { shorten } from "../lib/format.js";

const LONGEST = 400;

/** Any JSON value as text; "": there is none. */
export function valueText(value) {
  if (value === null || value === undefined) return "";
  return shorten(typeof value === "string" ? value : JSON.stringify(value), LONGEST);
}

/** Why a command was not sent. */
export function refusalText(app, error) {
  return app.t("command.refused", { reason: error.status === 409 ? app.t("error.STATION_OFFLINE") : app.explain(error) });
}

/** `good`, `bad` or `sent`: it is not known yet. */
export function outcomeKind({ stage }) {
  return stage === "done" ? "good" : stage === "sent" ? "sent" : "bad";
}

/**
 * What came of it.
 * @param {import("../core/app.js").App} app
 * @param {any} outcome an Outcome of core/commands.js, or the details of a journal's entry.
 */
export function outcomeText(app, outcome) {
  const { t } = app;
  const { stage, result, error, delivered, ms } = outcome;
  const time = ms === null || ms === undefined ? "" : t("command.ms", { ms });
  switch (stage) {
    case "done":
      return [t("command.done", { time }), valueText(result)].filter(Boolean).join(" ");
    case "error":
      return t("command.error", { text: valueText(error) || "?" });
    case "timeout":
      return t(delivered ? "command.timeout-delivered" : "command.timeout");
    case "expired":
      return t("command.expired");
    case "refused":
      return refusalText(app, error);
    case "unknown":
      return t("command.unknown");
    default:
      return t("command.sent");
  }
}
