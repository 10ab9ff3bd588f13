/** What happened at a station, newest first: what this page saw, and the commands that the hub wrote down. */
import { eachFrame, fill, h, Part } from "../lib/dom.js";
import { clock, moment } from "../lib/format.js";
import { outcomeKind, outcomeText, valueText } from "./outcomes.js";

const MAX_SHOWN = 80;
const RELOAD_AFTER = 400;
/** Milliseconds until it is looked whether others sent commands. */
const LOOKS_EVERY = 20_000;
const DAY = 86_400_000;

export class EventList extends Part {
  #past = [];
  #failed = null;
  #timer = null;

  constructor(app, stationId) {
    super();
    Object.assign(this, { app, stationId });
    this.className = "card events";
  }

  make() {
    this.list = h("ol", { class: "plain-list event-list", tabIndex: 0, "aria-label": this.app.t("event.title") });
    this.told = h("p", { class: "small soft" });
    fill(this, h("h2", {}, this.app.t("event.title")), this.told, this.list);
  }

  shown() {
    const draw = eachFrame(() => this.isConnected && this.#draw());
    this.until(
      this.app.journal.on("change", (entry) => {
        if (entry.stationId !== this.stationId) return;
        draw();
        if (entry.kind === "command" && entry.details.stage !== "sent") this.#reloadSoon();
      }),
      this.app.fleet.on("loaded", () => this.#reloadSoon()), // after each connection
      () => clearTimeout(this.#timer),
    );
    this.#draw();
    this.#reload();
  }

  #reloadSoon(after = RELOAD_AFTER) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (document.hidden ? this.#reloadSoon(LOOKS_EVERY) : this.#reload()), after);
  }

  async #reload() {
    const { app } = this;
    // nobody but operators may, and of an unknown station there are none
    if (!app.may("operator") || !app.fleet.stations.has(this.stationId)) return;
    if (app.hub.state !== "open") return this.#reloadSoon(LOOKS_EVERY);
    try {
      this.#past = await app.commands.past(this.stationId);
      this.#failed = null;
    } catch (error) {
      this.#failed = error;
    }
    if (!this.isConnected) return;
    this.#draw();
    this.#reloadSoon(LOOKS_EVERY);
  }

  /** The station's events of both sources, each command once: the hub knows most of it. */
  #events() {
    const past = this.#past.filter(({ type }) => type !== "stop-stream").map((command) => ({ time: command.createdAt, key: command.id, kind: "command", details: command }));
    const known = new Set(past.map(({ key }) => key));
    const seen = this.app.journal.of(this.stationId).filter(({ details }) => !known.has(details.id));
    return [...seen, ...past].sort((one, other) => other.time - one.time).slice(0, MAX_SHOWN);
  }

  #draw() {
    const { app } = this;
    const events = this.#events();
    fill(this.list, events.map((event) => this.#item(event)));
    this.list.hidden = events.length === 0;
    this.told.hidden = events.length > 0 && !this.#failed;
    this.told.textContent = this.#failed ? app.t("event.failed", { reason: app.explain(this.#failed) }) : app.t("event.none");
  }

  #item(event) {
    const { texts } = this.app;
    const [kind, text, more] = this.#words(event);
    const today = this.app.time.ago(event.time) < DAY / 2;
    const time = h("time", { class: "small soft number", dateTime: new Date(event.time).toISOString(), title: moment(texts.language, event.time) }, (today ? clock : moment)(texts.language, event.time));
    return h("li", { class: "event", "data-kind": kind }, time, h("span", { class: "event-text" }, text, more && h("span", { class: "small soft event-more" }, more)));
  }

  /** @returns {[string, string, string?]} kind, what, and more of it. */
  #words({ kind, details }) {
    const { t } = this.app;
    switch (kind) {
      case "connected":
        return ["good", t("event.connected")];
      case "disconnected":
        return ["off", t("event.disconnected")];
      case "call":
        return ["info", t("event.call")];
      case "answered":
        return ["info", t("event.answered")];
      case "stream":
        return this.#stream(details);
      default:
        return [outcomeKind(details), t("event.command", { type: details.type, params: valueText(details.params) }).trim(), this.#outcome(details)];
    }
  }

  #outcome(details) {
    const { app } = this;
    const { requestedBy } = details;
    const others = requestedBy && requestedBy !== app.session.claims?.userId;
    return [outcomeText(app, details), others && app.t("event.by", { who: requestedBy })].filter(Boolean).join(" ");
  }

  #stream({ cameraId, state, reason }) {
    const { app } = this;
    const text = app.t(`event.stream.${state}`, { camera: cameraId });
    if (state !== "failed") return ["info", text];
    return ["bad", text, reason.error ? app.explain(reason.error) : app.t(`stream.failed.${reason.kind}`, { text: reason.text })];
  }
}
customElements.define("hub-events", EventList);
