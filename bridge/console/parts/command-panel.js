/** Commands to a station: its gates, and any other. */
import { fill, h, Part, setText } from "../lib/dom.js";
import { confirm } from "./confirm.js";
import { outcomeKind, outcomeText, refusalText } from "./outcomes.js";

const GATES = new Set(["controller", "gate"]);
const MAX_GATES = 20;

export class CommandPanel extends Part {
  /** @type {Map<string, {row: HTMLElement, name: HTMLElement, button: HTMLButtonElement, told: HTMLElement, busy: boolean}>} */
  #gates = new Map();
  #sending = false;

  constructor(app, stationId) {
    super();
    Object.assign(this, { app, stationId, refusal: null, devices: [] });
    this.className = "card commands";
  }

  make() {
    const { t } = this.app;
    this.reason = h("p", { class: "small soft", id: "command-refusal", hidden: true });
    this.list = h("ul", { class: "plain-list gates" });
    this.none = h("p", { class: "small soft" }, t("command.no-gates"));
    this.type = h("input", { name: "type", required: true, maxLength: 64, autocomplete: "off", spellcheck: false });
    this.params = h("textarea", { name: "params", rows: 3, spellcheck: false, placeholder: '{"lane": 1}', oninput: () => this.#check() });
    this.wrong = h("p", { class: "small field-error", id: "command-params-error", role: "alert", hidden: true });
    this.timeout = h("input", { name: "timeout", type: "number", min: "0.1", max: "60", step: "any", value: "5", required: true });
    this.submit = h("button", { class: "primary" }, t("command.send"));
    this.told = h("p", { class: "outcome", role: "status" });
    fill(
      this,
      h("h2", {}, t("command.title")),
      this.reason,
      this.list,
      this.none,
      h(
        "details",
        {},
        h("summary", {}, t("command.other")),
        h(
          "form",
          { class: "command-form", onsubmit: (event) => (event.preventDefault(), this.#sendOther()) },
          h("label", {}, t("command.type"), this.type),
          h("label", {}, t("command.params"), this.params),
          this.wrong,
          h("label", {}, t("command.deadline"), this.timeout),
          this.submit,
          this.told,
        ),
      ),
    );
    this.#draw();
  }

  /**
   * What is there, and whether one may.
   * @param {any[]} devices of the newest status.
   * @param {string | null} refusal why no command may be sent now.
   */
  update(devices, refusal) {
    this.devices = devices.filter((device) => GATES.has(device.type)).slice(0, MAX_GATES);
    this.refusal = refusal;
    if (this.list) this.#draw();
  }

  #draw() {
    this.reason.hidden = this.refusal === null;
    setText(this.reason, this.refusal ?? "");
    this.none.hidden = this.devices.length > 0;
    const there = new Set(this.devices.map((device) => device.deviceId));
    for (const [id, { row, busy }] of this.#gates) {
      if (there.has(id) || busy) continue;
      row.remove();
      this.#gates.delete(id);
    }
    for (const device of this.devices) {
      const gate = this.#gates.get(device.deviceId) ?? this.#add(device.deviceId);
      setText(gate.name, device.name || device.deviceId);
      gate.button.setAttribute("aria-label", this.app.t("command.open-gate-of", { gate: device.name || device.deviceId }));
    }
    this.#enable();
  }

  #enable() {
    const refused = this.refusal !== null;
    const allow = (button, busy) => {
      button.disabled = refused;
      // not disabled: it would lose the focus
      button.setAttribute("aria-disabled", String(busy));
      if (refused) button.setAttribute("aria-describedby", this.reason.id);
      else button.removeAttribute("aria-describedby");
    };
    for (const { button, busy } of this.#gates.values()) allow(button, busy);
    allow(this.submit, this.#sending);
  }

  #add(id) {
    const name = h("span", { class: "gate-name" });
    const button = h("button", { type: "button", onclick: () => this.#openGate(id) }, this.app.t("command.open-gate"));
    const told = h("p", { class: "outcome small", role: "status" });
    const row = h("li", { class: "gate" }, h("div", { class: "row" }, name, button), told);
    const gate = { row, name, button, told, busy: false };
    this.#gates.set(id, gate);
    this.list.append(row);
    return gate;
  }

  async #openGate(id) {
    const { app, stationId } = this;
    const gate = this.#gates.get(id);
    if (gate.busy) return;
    const station = app.fleet.stations.get(stationId)?.name;
    const names = { gate: gate.name.textContent === id ? id : `${gate.name.textContent} (${id})`, station: station ? `${station} (${stationId})` : stationId };
    if (!(await confirm(app, { title: app.t("command.confirm-title"), text: app.t("command.confirm", names), action: app.t("command.confirm-action") }))) return;
    gate.busy = true;
    this.#enable();
    await this.#send(gate.told, "open-gate", { deviceId: id });
    gate.busy = false;
    this.#enable();
  }

  // ---- any other

  /** The params as a value, undefined: they are no JSON. */
  #check() {
    const text = this.params.value.trim();
    let value = null;
    let wrong = "";
    try {
      if (text) value = JSON.parse(text);
    } catch (error) {
      value = undefined;
      wrong = this.app.t("command.bad-json", { text: error.message });
    }
    this.wrong.hidden = !wrong;
    setText(this.wrong, wrong);
    this.params.setAttribute("aria-invalid", String(Boolean(wrong)));
    if (wrong) this.params.setAttribute("aria-describedby", this.wrong.id);
    else this.params.removeAttribute("aria-describedby");
    return value;
  }

  async #sendOther() {
    if (this.#sending) return;
    const params = this.#check();
    if (params === undefined) return this.params.focus();
    this.#sending = true;
    this.#enable();
    await this.#send(this.told, this.type.value.trim(), params, Math.round(Number(this.timeout.value) * 1000));
    this.#sending = false;
    this.#enable();
  }

  async #send(told, type, params, timeoutMs) {
    const { app } = this;
    told.dataset.kind = "sent";
    setText(told, app.t("command.sent"));
    try {
      const outcome = await app.commands.send(this.stationId, type, params, timeoutMs);
      told.dataset.kind = outcomeKind(outcome);
      setText(told, outcomeText(app, outcome));
    } catch (error) {
      told.dataset.kind = "bad";
      setText(told, refusalText(app, error));
    }
  }
}
customElements.define("hub-commands", CommandPanel);
