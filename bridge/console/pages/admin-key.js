/** A station's device key, which the hub tells once. */
import { h, setText } from "../lib/dom.js";
import { openDialog } from "../parts/dialog.js";

/**
 * Shows a key, and what a station is connected with by hand. When the dialog is closed, nothing of it is left on the page.
 * @param {HTMLElement} page
 * @param {import("../core/app.js").App} app
 * @param {{stationId: string, key: string, ports?: {mqtt: number}}} issued `ports`: of the hub's own broker; none: it is somebody else's.
 */
export function showKey(page, app, { stationId, key, ports }) {
  const { t } = app;
  const { hostname } = new URL(app.base);
  const host = ports ? hostname : "BROKER";
  const port = ports?.mqtt ?? 1883;
  const publish = `mosquitto_pub -h ${host.replace(/[[\]]/g, "")} -p ${port} -u ${stationId} -P '${key}' -t stations/${stationId}/status -m '{"devices":[{"deviceId":"cam-1","status":"online"}]}'`;
  const sdk = `from devices import Station\n\nasync with Station("mqtt://${host}:${port}", "${stationId}", token="${key}"):\n    ...`;
  const entry = h("input", { id: "issued-key", readOnly: true, value: key, autocomplete: "off", spellcheck: false, onfocus: () => entry.select() });
  const copied = h("span", { class: "small", role: "status" });
  const copy = h("button", { type: "button", class: "primary", onclick: async () => setText(copied, t((await copyFrom(entry)) ? "key.copied" : "key.not-copied")) }, t("key.copy"));
  const dialog = openDialog(
    page,
    { title: t("key.title", { id: stationId }), class: "key-dialog", onclose: () => (entry.value = "") },
    h("p", { class: "told" }, t("key.once")),
    h("div", { class: "field" }, h("label", { htmlFor: entry.id }, t("key.label")), h("div", { class: "row key-row" }, entry, copy), copied),
    h("p", {}, t("key.try")),
    h("pre", { tabIndex: 0, role: "region", "aria-label": "mosquitto_pub" }, publish),
    h("p", {}, t("key.sdk")),
    h("pre", { tabIndex: 0, role: "region", "aria-label": "Python" }, sdk),
    h("div", { class: "row end" }, h("button", { type: "button", onclick: () => dialog.close() }, t("key.close"))),
  );
  copy.focus();
}

/** Whether what is in an entry is on the clipboard now; without TLS a page has no clipboard but the old command. */
async function copyFrom(entry) {
  try {
    await navigator.clipboard.writeText(entry.value);
    return true;
  } catch {
    entry.select();
    return document.execCommand("copy");
  }
}
