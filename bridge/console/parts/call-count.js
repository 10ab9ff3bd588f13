/** How many calls were missed since somebody looked. */
import { Part, setText } from "../lib/dom.js";

export class CallCount extends Part {
  constructor(app) {
    super();
    this.app = app;
    this.className = "count";
    this.role = "img"; // so that its name is read, not the bare number
  }

  shown() {
    this.until(this.app.calls.on("change", () => this.#draw()));
    this.#draw();
  }

  #draw() {
    const { calls, t } = this.app;
    const { unseen } = calls;
    this.hidden = unseen === 0;
    setText(this, unseen > 99 ? "99+" : unseen);
    this.title = this.ariaLabel = t("calls.unseen", { n: unseen });
  }
}
customElements.define("hub-call-count", CallCount);
