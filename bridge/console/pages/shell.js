/** The frame around the pages: where one goes, who is signed in, whether the hub is there. */
import { fill, h, Part, setText } from "../lib/dom.js";
import { clock } from "../lib/format.js";
import { CallBanner } from "../parts/call-banner.js";
import { CallView } from "../parts/call-view.js";
import { Connection } from "../parts/connection.js";
import { LanguageChoice, ThemeChoice } from "../parts/choices.js";
import { Notices } from "../parts/notices.js";
import { resolve } from "./routes.js";
import { setTitle } from "../parts/title.js";

export class Shell extends Part {
  constructor(app) {
    super();
    this.app = app;
  }

  make() {
    const { app } = this;
    const { t } = app;
    this.main = h("main", { id: "main", tabIndex: -1 });
    this.nav = h("nav", { "aria-label": t("nav.label") });
    this.who = h("span", { class: "who" });
    this.stale = h("div", { class: "stale", role: "status", hidden: true });
    fill(
      this,
      h("a", { class: "skip", href: "#main", onclick: (event) => (event.preventDefault(), this.main.focus()) }, t("nav.skip")),
      h(
        "header",
        { class: "bar" },
        h("a", { class: "brand", href: "#/" }, h("img", { src: "console/icon.svg", alt: "" }), "StationHub"),
        this.nav,
        h("span", { class: "grow" }),
        new Connection(app),
        new ThemeChoice(app),
        new LanguageChoice(app),
        this.who,
        h("button", { class: "plain", onclick: () => app.session.signOut() }, t("nav.sign-out")),
      ),
      this.stale,
      new CallBanner(app),
      h("div", { class: "stage" }, this.main, new CallView(app)),
      new Notices(app),
    );
  }

  shown() {
    const { app } = this;
    this.listen(window, "hashchange", () => this.#go(true));
    this.until(
      app.hub.on("welcome", () => this.#go(false)),
      app.hub.on("state", () => this.#showConnection()),
    );
    this.#go(false);
    this.#showConnection();
  }

  #go(moved) {
    const { app } = this;
    const { page, params, links, route } = resolve(location.hash, app);
    const name = app.session.claims?.nickname || app.session.claims?.userId || "";
    setText(this.who, `${name} · ${app.t(`role.${app.role}`)}`);
    this.who.title = this.who.textContent;
    this.#showLinks(links, route.link);
    const key = `${route.name} ${JSON.stringify(params)}`;
    if (key === this.key) return; // the role may have changed, the page has not
    this.key = key;
    fill(this.main, new page(app, params));
    setTitle(this.main.querySelector("h1")?.textContent ?? app.t(route.title));
    if (moved) this.main.focus();
  }

  /** Made anew only for another role: a link that has the focus keeps it. */
  #showLinks(links, current) {
    const { app } = this;
    const key = links.map(({ path }) => path).join(" ");
    if (key !== this.nav.dataset.links) {
      this.nav.dataset.links = key;
      fill(this.nav, links.map(({ path, text, badge: Badge }) => h("a", { href: `#/${path}`, "data-path": path }, app.t(text), Badge && new Badge(app))));
    }
    for (const link of this.nav.children) {
      if (link.dataset.path === current) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  #showConnection() {
    const { hub, t, texts, time } = this.app;
    this.stale.hidden = hub.lostAt === null;
    if (hub.lostAt !== null) setText(this.stale, t("connection.stale", { time: clock(texts.language, time.there(hub.lostAt)) }));
    this.main.toggleAttribute("data-stale", !this.stale.hidden);
  }
}
customElements.define("hub-shell", Shell);
