/** What the pages for admins have in common: their own navigation, what is live, and what went wrong. */
import { fill, h, Part } from "../lib/dom.js";
import { adminOf } from "../core/admin.js";

const PAGES = ["", "stations", "users", "rooms", "audit"];

export class AdminPage extends Part {
  /** @param {string} name of the page, as in its address; "": the first. */
  constructor(app, name) {
    super();
    Object.assign(this, { app, name, models: adminOf(app) });
    this.className = "admin-page";
  }

  /** Puts the page's own content under the navigation. */
  frame(tools, ...content) {
    const { t } = this.app;
    const links = PAGES.map((page) => h("a", { href: page ? `#/admin/${page}` : "#/admin", "aria-current": page === this.name ? "page" : null }, t(`admin.page.${page || "overview"}`)));
    const heading = h("h1", {}, t(`admin.page.${this.name || "overview"}`));
    fill(this, h("nav", { class: "admin-nav", "aria-label": t("admin.nav") }, links), h("div", { class: "page-head" }, heading, h("span", { class: "grow" }), tools), content);
  }

  shown() {
    this.until(this.models.monitor.hold());
  }

  /** What the API said no to, by field where it names one: `field: why`. */
  explain(error, conflict) {
    const { t } = this.app;
    if (error.status === 409 && conflict) return [conflict];
    if (error.status === 404) return [{ text: t("admin.gone") }];
    if (error.status === 400 && Array.isArray(error.body?.message)) return error.body.message.map(finding);
    return [{ text: this.app.explain(error) || t("admin.failed") }];
  }
}

function finding(text) {
  const [, field, why] = /^(\w+): (.*)$/s.exec(text) ?? [null, undefined, text];
  return { field, text: why };
}
