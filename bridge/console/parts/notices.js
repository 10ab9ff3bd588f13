/** What people should read in passing. */
import { h, Part } from "../lib/dom.js";

const SHOWN_FOR = 6_000;

export class Notices extends Part {
  constructor(app) {
    super();
    this.app = app;
    this.className = "notices";
    this.role = "status";
  }

  shown() {
    this.until(this.app.on("notice", (text, kind) => this.#show(text, kind)));
  }

  #show(text, kind) {
    const notice = h("div", { class: "notice", "data-kind": kind }, text);
    this.append(notice);
    setTimeout(() => notice.remove(), SHOWN_FOR);
  }
}
customElements.define("hub-notices", Notices);
