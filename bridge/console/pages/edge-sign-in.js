/** Who this station is, and how it shows it: a device key, a token, or somebody's account. */
import { isStationId, STATION_ID } from "../core/ids.js";
import { claimsOf } from "../core/session.js";
import { fill, h, Part } from "../lib/dom.js";
import { LanguageChoice, ThemeChoice } from "../parts/choices.js";
import { setTitle } from "../parts/title.js";

export class EdgeSignIn extends Part {
  constructor(app) {
    super();
    this.app = app;
  }

  make() {
    const { t, ended, stationId } = this.app;
    setTitle(t("edge.title"));
    this.told = h("p", { class: "told bad", role: "alert", hidden: true });
    this.stationId = h("input", { name: "stationId", required: true, pattern: STATION_ID, maxLength: 64, value: stationId, autocomplete: "off", spellcheck: false, title: t("edge.id-hint") });
    fill(
      this,
      h(
        "main",
        { class: "sign-in card" },
        h("div", { class: "brand" }, h("img", { src: "console/icon.svg", alt: "" }), h("h1", {}, t("edge.title"))),
        h("p", { class: "small soft" }, t("edge.about")),
        ended && h("p", { class: "told", role: "alert" }, t(ended)),
        this.told,
        h(
          "form",
          { id: "edge-key", onsubmit: (event) => this.#submit(event, this.#byKey) },
          h("label", {}, t("edge.id"), this.stationId),
          h("label", {}, t("edge.key"), h("input", { name: "key", type: "password", required: true, maxLength: 128, autocomplete: "off" })),
          h("label", { class: "check" }, h("input", { name: "keep", type: "checkbox", checked: true }), t("edge.keep")),
          h("button", { class: "primary" }, t("edge.start")),
        ),
        this.#other("edge.by-token", this.#byToken, h("label", {}, t("signin.token-label"), h("input", { name: "token", type: "password", required: true, autocomplete: "off" }))),
        this.#other(
          "edge.by-account",
          this.#byAccount,
          h("label", {}, t("signin.email"), h("input", { name: "email", type: "email", required: true, autocomplete: "username" })),
          h("label", {}, t("signin.password"), h("input", { name: "password", type: "password", required: true, autocomplete: "current-password" })),
        ),
        this.#other("edge.by-guest", this.#byGuest),
        h("div", { class: "row end" }, new ThemeChoice(this.app), new LanguageChoice(this.app)),
      ),
    );
  }

  #other(title, how, ...fields) {
    const { t } = this.app;
    const open = title === "edge.by-token" ? null : h("p", { class: "small soft" }, t("edge.open-only"));
    return h("details", {}, h("summary", {}, t(title)), h("form", { onsubmit: (event) => this.#submit(event, how) }, open, fields, h("button", {}, t("edge.start"))));
  }

  #byKey = ({ stationId, key, keep }) => this.app.signInByKey(stationId, key.trim(), Boolean(keep));

  #byToken = ({ stationId, token }) => {
    const own = claimsOf(token.trim())?.stationId; // a station's token is for that station alone
    return this.app.signIn(typeof own === "string" ? own : stationId, (session) => session.use(token.trim()));
  };

  #byAccount = ({ stationId, email, password }) => this.app.signIn(stationId, (session) => session.signIn(email.trim(), password));

  #byGuest = ({ stationId }) => this.app.signIn(stationId, (session) => session.guest(stationId));

  async #submit(event, how) {
    event.preventDefault();
    const form = event.target;
    this.told.hidden = true;
    const stationId = this.stationId.value.trim();
    const token = form.elements.token?.value.trim();
    if (!(token && claimsOf(token)?.stationId) && !isStationId(stationId)) {
      this.stationId.focus();
      return this.#tell(this.app.t("edge.id-hint"));
    }
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await how({ ...Object.fromEntries(new FormData(form)), stationId });
    } catch (error) {
      this.#tell(this.#explain(error, form));
    } finally {
      button.disabled = false;
    }
  }

  #explain(error, form) {
    const { app } = this;
    const byKey = form.id === "edge-key";
    if (error.status === 401 || (byKey && error.status === 400)) return app.t(byKey ? "edge.wrong-key" : "signin.wrong");
    return app.explain(error);
  }

  #tell(text) {
    this.told.hidden = false;
    this.told.textContent = text;
  }
}
customElements.define("hub-edge-sign-in", EdgeSignIn);
