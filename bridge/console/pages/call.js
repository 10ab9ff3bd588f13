/** The page of the call that goes on; the call itself is in the frame, and stays there when one goes elsewhere. */
import { fill, h, Part, setText } from "../lib/dom.js";
import { nameOf } from "../parts/calling.js";

export class CallPage extends Part {
  constructor(app) {
    super();
    this.app = app;
  }

  make() {
    const { t } = this.app;
    this.heading = h("h1", { class: "visually-hidden" });
    this.none = h("div", { class: "empty" }, h("p", {}, t("call.none")), h("a", { href: "#/calls" }, t("nav.calls")));
    fill(this, this.heading, this.none);
    this.#draw();
  }

  shown() {
    this.until(this.app.line.on("change", () => this.#draw()));
    this.#draw();
  }

  #draw() {
    const { app } = this;
    const { call } = app.line;
    this.none.hidden = call !== null;
    setText(this.heading, call ? app.t("call.with", { name: nameOf(app, call.stationId) }) : app.t("call.view"));
  }
}
customElements.define("hub-call-page", CallPage);
