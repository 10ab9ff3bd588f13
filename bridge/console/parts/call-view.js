/** The call of this page: large on its own page, small in a corner of every other until it is hung up. */
import { fill, h, Part, setText } from "../lib/dom.js";
import { stationAddress } from "../core/ids.js";
import { CallStage } from "./call-stage.js";
import { CALL, leaveCall, nameOf } from "./calling.js";

export class CallView extends Part {
  #shown = null;

  constructor(app) {
    super();
    this.app = app;
    this.className = "call-view";
    this.hidden = true;
  }

  make() {
    const { app } = this;
    const { t } = app;
    this.role = "region";
    this.setAttribute("aria-label", t("call.view"));
    this.name = h("a", { class: "call-name" });
    this.enlarge = h("a", { class: "button small", href: CALL }, t("call.large"));
    this.again = h("button", { type: "button", class: "primary", onclick: () => app.line.start(this.#shown.stationId) }, t("call.again"));
    this.close = h("button", { type: "button", onclick: () => leaveCall(app) }, t("call.close"));
    this.place = h("div", { class: "call-place" });
    this.foot = h("div", { class: "row call-foot" }, this.again, this.close);
    fill(this, h("div", { class: "call-head" }, this.name, this.enlarge), this.place, this.foot);
  }

  shown() {
    const { app } = this;
    this.#shown = null;
    this.until(
      app.line.on("change", () => this.#draw()),
      app.fleet.on("change", () => this.#drawName()),
      app.hub.on("welcome", () => this.#draw()),
    );
    this.listen(window, "hashchange", () => this.#draw());
    // closing the page hangs up, so that the other side does not look at a still picture
    this.listen(window, "pagehide", () => app.line.call?.hangUp());
    this.#draw();
  }

  #draw() {
    const { line } = this.app;
    const { call } = line;
    this.hidden = call === null;
    if (call !== this.#shown) {
      const had = this.contains(document.activeElement);
      this.#shown = call;
      fill(this.place, call && new CallStage(this.app, call, nameOf(this.app, call.stationId)));
      if (had) document.getElementById("main")?.focus();
    }
    if (!call) return;
    this.dataset.size = location.hash === CALL ? "large" : "small";
    this.enlarge.hidden = location.hash === CALL;
    this.#drawName();
    if (call.reason === "hung-up") return leaveCall(this.app); // who hung up knows it
    const wasHidden = this.foot.hidden;
    // rooms are of a connection: whoever is to be reached by the hub again is called again
    const cut = !call.signaling && this.app.hub.state === "open";
    this.foot.hidden = !call.over && !cut;
    this.again.hidden = !this.app.may("operator");
    this.close.hidden = !call.over;
    if (wasHidden && call.over && document.activeElement === document.body) this.again.focus();
  }

  #drawName() {
    if (!this.#shown) return;
    const { stationId } = this.#shown;
    setText(this.name, nameOf(this.app, stationId));
    this.name.href = stationAddress(stationId);
  }
}
customElements.define("hub-call-view", CallView);
