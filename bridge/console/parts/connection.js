/** Whether the hub is there, and when it is tried next. */
import { fill, h, Part, setText } from "../lib/dom.js";

export class Connection extends Part {
  #ticking = null;

  constructor(app) {
    super();
    this.app = app;
  }

  make() {
    this.text = h("span", { class: "connection", role: "status" });
    this.again = h("button", { class: "plain", hidden: true, onclick: () => this.app.hub.retry() }, this.app.t("connection.retry"));
    fill(this, this.text, this.again);
  }

  shown() {
    this.until(this.app.hub.on("state", () => this.#draw()));
    this.#draw();
  }

  gone() {
    clearInterval(this.#ticking);
  }

  #draw() {
    const { hub, clock, t } = this.app;
    this.text.dataset.connection = hub.state;
    this.again.hidden = hub.state !== "waiting";
    setText(this.text, t(`connection.${hub.state}`));
    // the seconds are not announced: a screen reader would never be silent
    clearInterval(this.#ticking);
    if (hub.state !== "waiting") return void this.again.removeAttribute("title");
    const tick = () => (this.again.title = t("connection.next", { s: Math.max(0, Math.ceil((hub.retryAt - clock.now()) / 1000)) }));
    tick();
    this.#ticking = setInterval(tick, 1000);
  }
}
customElements.define("hub-connection", Connection);
