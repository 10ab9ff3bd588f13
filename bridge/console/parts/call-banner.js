/** Stations that call: seen and heard on every page. */
import { fill, h, icon, Part, setText } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { stationAddress } from "../core/ids.js";
import { callStation, nameOf } from "./calling.js";
import { Ringer } from "./ringer.js";

export const PHONE = "M5 4h4l2 5-2.5 1.5a11 11 0 0 0 5 5L15 13l5 2v4a1 1 0 0 1-1 1A16 16 0 0 1 4 5a1 1 0 0 1 1-1z";
const MARK = "📞";
const MAX_SHOWN = 3;
/** Milliseconds after which a call is told by the station's id, where its name is still on its way. */
const NAMED_WITHIN = 3_000;
/** Moves between the page and the banner: Alt+C. */
const isShortcut = (event) => event.altKey && !event.ctrlKey && !event.metaKey && event.code === "KeyC";

export class CallBanner extends Part {
  #rows = new Map();
  #ticking = null;
  #before = null;
  #notification = null;
  #bright = true;
  #unsaid = new Set();

  constructor(app) {
    super();
    this.app = app;
    this.className = "call-banner";
    this.hidden = true;
  }

  make() {
    const { t, preferences } = this.app;
    this.role = "region";
    this.setAttribute("aria-label", t("call.banner"));
    this.said = h("p", { class: "visually-hidden", role: "alert" });
    this.list = h("ul", { class: "plain-list call-rows" });
    this.more = h("a", { class: "small", href: "#/calls" });
    this.rights = h("p", { class: "small call-role" }, t("call.needs-operator"));
    this.allow = h("button", { type: "button", hidden: true, onclick: () => this.ringer.allow() }, t("call.sound-on"));
    this.mute = h("button", { type: "button", class: "plain", onclick: () => preferences.set("muted", !preferences.get("muted")) });
    this.hint = h("span", { class: "small soft call-hint" }, t("call.shortcut"));
    fill(this, this.said, this.list, h("div", { class: "row call-more" }, this.more, this.rights, this.hint, this.allow, this.mute));
  }

  shown() {
    const { app } = this;
    this.ringer = new Ringer(() => this.#draw());
    this.until(
      app.calls.on("change", () => this.#draw()),
      app.calls.on("ring", (call) => this.#rang(call)),
      app.fleet.on("loaded", () => this.#say()),
      app.line.on("change", () => this.#draw()),
      app.hub.on("welcome", () => this.#draw()),
      app.fleet.on("change", () => app.calls.ringing.length && this.#draw()),
      app.preferences.on("change", (name) => name === "muted" && this.#draw()),
    );
    this.listen(document, "keydown", (event) => this.#key(event));
    this.#draw();
  }

  gone() {
    this.ringer.close();
    this.#stop();
  }

  /** A station began to call: told once, and not at each second; by its name, which a page that was opened a moment ago does not know yet. */
  #rang(call) {
    this.#unsaid.add(call);
    if (this.app.fleet.loaded) this.#say();
    else setTimeout(() => this.#say(), NAMED_WITHIN);
  }

  #say() {
    const { app } = this;
    const calls = [...this.#unsaid].filter(({ outcome }) => outcome === "ringing");
    this.#unsaid.clear();
    if (!calls.length || !this.isConnected) return;
    const text = app.t("call.from", { name: calls.map(({ stationId }) => nameOf(app, stationId)).join(", ") });
    setText(this.said, `${text} ${app.t("call.shortcut")}`);
    // only where somebody allowed it before: nobody is asked because a telephone rings
    if (!document.hidden || globalThis.Notification?.permission !== "granted") return;
    this.#notification = new Notification(text, { tag: "stationhub-call" });
    this.#notification.onclick = () => window.focus();
  }

  #draw() {
    const { app } = this;
    const ringing = app.calls.ringing;
    const had = this.contains(document.activeElement);
    this.hidden = ringing.length === 0;
    this.#drawRows(ringing.slice(0, MAX_SHOWN));
    const more = ringing.length - MAX_SHOWN;
    this.more.hidden = more <= 0;
    setText(this.more, app.t("call.more", { n: more }));
    this.rights.hidden = app.may("operator");
    this.#drawSound(ringing.length > 0);
    if (this.hidden) this.#stop();
    else this.#ticking ??= setInterval(() => this.#tick(), 1_000);
    if (!this.hidden) this.#tick();
    if (had && !this.contains(document.activeElement)) this.#keepFocus();
  }

  /** The row that had it is gone: the next one's refusal takes it, which a key that is pressed once more does least harm to. */
  #keepFocus() {
    const [next] = this.#rows.values();
    if (next) next.decline.focus();
    else this.#giveBack();
  }

  #drawSound(rings) {
    const { preferences, line, t } = this.app;
    const muted = preferences.get("muted") === true;
    if (rings && !muted) this.ringer.ring(line.busy);
    else this.ringer.stop();
    this.dataset.sound = !rings ? "none" : muted ? "muted" : this.ringer.blocked ? "blocked" : "on";
    this.allow.hidden = muted || !this.ringer.blocked;
    setText(this.mute, t(muted ? "call.unmute-ring" : "call.mute-ring"));
  }

  #drawRows(calls) {
    const wanted = new Set(calls.map((call) => call.id));
    for (const [id, row] of this.#rows) {
      if (wanted.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    for (const call of calls) {
      if (!this.#rows.has(call.id)) this.#addRow(call);
      const { name, accept, decline } = this.#rows.get(call.id);
      const text = nameOf(this.app, call.stationId);
      setText(name, text);
      accept.hidden = !this.app.may("operator");
      accept.setAttribute("aria-label", this.app.t("call.accept-of", { name: text }));
      // who cannot answer declines nothing
      setText(decline, this.app.t(accept.hidden ? "call.hide" : "call.decline"));
      if (accept.hidden) decline.removeAttribute("aria-label");
      else decline.setAttribute("aria-label", this.app.t("call.decline-of", { name: text }));
    }
  }

  #addRow(call) {
    const { app } = this;
    const { t } = app;
    const { stationId } = call;
    const name = h("a", { class: "call-name", href: stationAddress(stationId) });
    const time = h("span", { class: "small number soft" });
    const accept = h("button", { type: "button", class: "good", onclick: () => callStation(app, stationId) }, icon(PHONE), t("call.accept"));
    const decline = h("button", { type: "button", onclick: () => app.calls.decline(stationId) });
    const element = h("li", { class: "call-row" }, h("span", { class: "call-bell" }, icon(PHONE)), h("span", { class: "call-who" }, h("span", { class: "small" }, t("call.incoming")), name, time), accept, decline);
    this.#rows.set(call.id, { element, call, name, time, accept, decline });
    this.list.append(element);
  }

  /** Once a second: how long it has rung, and the title of a page that may be in another tab. */
  #tick() {
    const { time: hub, texts, calls } = this.app;
    for (const { call, time } of this.#rows.values()) setText(time, duration(texts.language, hub.ago(call.time)));
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#bright = still || !this.#bright;
    const plain = plainTitle();
    document.title = this.#bright ? `${MARK} (${calls.ringing.length}) ${plain}` : `${MARK} ${plain}`;
  }

  #stop() {
    clearInterval(this.#ticking);
    this.#ticking = null;
    const plain = plainTitle();
    if (document.title !== plain) document.title = plain;
    this.#notification?.close();
    this.#notification = null;
    if (this.said) setText(this.said, "");
  }

  #key(event) {
    if (this.hidden) return;
    if (isShortcut(event)) {
      event.preventDefault();
      if (this.contains(document.activeElement)) return this.#giveBack();
      this.#before = document.activeElement;
      this.querySelector(".call-row button:not([hidden])")?.focus();
    } else if (event.key === "Escape" && this.contains(document.activeElement)) {
      this.#giveBack();
    }
  }

  /** The focus goes back to where it was taken from. */
  #giveBack() {
    const next = this.hidden ? null : this.querySelector(".call-row button:not([hidden])");
    const target = this.#before?.isConnected ? this.#before : (next ?? document.getElementById("main"));
    this.#before = null;
    target?.focus();
  }
}
customElements.define("hub-call-banner", CallBanner);

function plainTitle() {
  return document.title.replace(new RegExp(`^${MARK} (\\(\\d+\\) )?`, "u"), "");
}
