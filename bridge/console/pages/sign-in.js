/** Signing in: an account, a guest, or a token. */
import { tokenProblem } from "../core/session.js";
import { fill, h, Part } from "../lib/dom.js";
import { LanguageChoice, ThemeChoice } from "../parts/choices.js";
import { setTitle } from "../parts/title.js";

export class SignIn extends Part {
  /**
   * @param {import("../core/app.js").App} app
   * @param {{registering?: boolean}} [before] the same page, in another language.
   */
  constructor(app, { registering = false } = {}) {
    super();
    Object.assign(this, { app, registering });
  }

  make() {
    const { t, ended } = this.app;
    setTitle(t("signin.title"));
    this.told = h("p", { class: "told bad", role: "alert", hidden: true });
    this.account = h("form", { onsubmit: (event) => this.#submit(event, this.#account) });
    this.#showAccount();
    fill(
      this,
      h(
        "main",
        { class: "sign-in card" },
        h("div", { class: "brand" }, h("img", { src: "console/icon.svg", alt: "" }), h("h1", {}, "StationHub")),
        ended && h("p", { class: "told", role: "alert" }, t(ended)),
        this.told,
        this.account,
        this.#other(
          "signin.guest",
          "signin.as-guest",
          ({ nickname }) => this.app.session.guest(nickname.trim()),
          h("label", {}, t("signin.nickname"), h("input", { name: "nickname", maxLength: 64, autocomplete: "nickname" })),
        ),
        this.#other(
          "signin.token",
          "signin.use-token",
          this.#token,
          h("label", {}, t("signin.token-label"), h("input", { name: "token", type: "password", autocomplete: "off", required: true })),
          h("p", { class: "small soft" }, t("signin.token-hint")),
        ),
        h("div", { class: "row end" }, new ThemeChoice(this.app), new LanguageChoice(this.app)),
      ),
    );
  }

  /** Another way in. */
  #other(title, action, how, ...fields) {
    const { t } = this.app;
    return h("details", {}, h("summary", {}, t(title)), h("form", { onsubmit: (event) => this.#submit(event, how) }, fields, h("button", {}, t(action))));
  }

  #showAccount() {
    const { t } = this.app;
    const registering = this.registering;
    fill(
      this.account,
      h("label", {}, t("signin.email"), h("input", { name: "email", type: "email", autocomplete: "username", required: true })),
      registering && h("label", {}, t("signin.nickname"), h("input", { name: "nickname", maxLength: 64, required: true, autocomplete: "nickname" })),
      h("label", {}, t("signin.password"), h("input", { name: "password", type: "password", autocomplete: registering ? "new-password" : "current-password", required: true, minLength: registering ? 8 : 1 })),
      h("button", { class: "primary" }, t(registering ? "signin.register" : "signin.submit")),
      h("button", { type: "button", class: "plain", onclick: () => this.#turn() }, t(registering ? "signin.have-account" : "signin.no-account")),
    );
  }

  #turn() {
    this.registering = !this.registering;
    this.#showAccount();
    this.account.querySelector("input").focus();
  }

  #account = ({ email, password, nickname }) => {
    const { session } = this.app;
    return this.registering ? session.register(email.trim(), password, nickname.trim()) : session.signIn(email.trim(), password);
  };

  #token = async ({ token }) => {
    const problem = tokenProblem(token.trim());
    if (problem !== null) throw new Error(this.app.t(problem));
    this.app.session.use(token.trim());
  };

  async #submit(event, how) {
    event.preventDefault();
    const form = event.target;
    const button = form.querySelector("button");
    button.disabled = true;
    this.told.hidden = true;
    try {
      await how(Object.fromEntries(new FormData(form)));
    } catch (error) {
      this.told.hidden = false;
      this.told.textContent = error.status === 401 ? this.app.t(this.registering ? "signin.taken" : "signin.wrong") : this.app.explain(error);
    } finally {
      button.disabled = false;
    }
  }
}
customElements.define("hub-sign-in", SignIn);
