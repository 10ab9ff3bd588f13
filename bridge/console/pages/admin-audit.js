/** Who changed what, newest first. */
import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { detailLines } from "../core/details.js";
import { AdminList } from "./admin-list.js";

const ACTIONS = ["station.create", "station.change", "station.key", "station.delete", "user.create", "user.change", "user.delete", "user.register", "user.password"];

export class AdminAudit extends AdminList {
  constructor(app) {
    super(app, "audit");
  }

  make() {
    const { t, texts } = this.app;
    this.build({
      filters: [
        this.chosen("action", t("audit.what"), [["", t("list.any")], ...ACTIONS.map((action) => [action, t(`audit.action.${action}`)])]),
        this.typed("actor", t("audit.actor")),
        this.typed("target", t("audit.target")),
        this.#time("since", t("audit.since")),
        this.#time("until", t("audit.until")),
      ],
      key: (entry) => entry.id,
      empty: t("audit.none"),
      columns: [
        { id: "at", title: t("audit.at"), cell: (entry) => h("time", { dateTime: new Date(entry.at).toISOString(), class: "number" }, moment(texts.language, entry.at)) },
        { id: "who", title: t("audit.who"), cell: (entry) => this.#who(entry) },
        { id: "what", title: t("audit.what"), cell: (entry) => texts.word("audit.action", entry.action) },
        { id: "target", title: t("audit.on"), cell: (entry) => this.#only("target", entry.target, entry.target) },
        { id: "detail", title: t("audit.detail"), cell: (entry) => this.#detail(entry.detail) },
      ],
    });
  }

  /** The hub compares ids whole: who wants those of one entry takes them from there. */
  #only(name, value, text) {
    const { t } = this.app;
    if (!value) return text || "–";
    return h("button", { type: "button", class: "plain only", title: t("audit.only", { id: value }), onclick: () => this.#filter(name, value) }, text);
  }

  #filter(name, value) {
    const input = this.querySelector(`input[name=${name}]`);
    input.value = value;
    this.listing.set({ [name]: value });
    input.focus();
  }

  #who({ actor, nickname, address }) {
    return [this.#only("actor", actor, nickname || actor), h("span", { class: "small soft under" }, [nickname && actor, address].filter(Boolean).join(" · "))];
  }

  #detail(detail) {
    const { t, texts } = this.app;
    const lines = detailLines(detail, { yes: t("audit.yes"), no: t("audit.no"), none: "–", more: (n) => t("audit.more", { n }) });
    if (lines.length === 0) return "–";
    return h("ul", { class: "plain-list details" }, lines.map(({ name, from, to }) => h("li", {}, h("b", {}, texts.word("audit.field", name)), from === undefined ? `: ${to}` : `: ${from} → ${to}`)));
  }

  typed(name, label) {
    return super.typed(name, label, { name });
  }

  #time(name, label) {
    const { query } = this.listing;
    const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    // before 1970, and what is no time: as if nothing was entered
    const chosen = () => Math.max(0, new Date(input.value).getTime()) || null;
    const input = h("input", { type: "datetime-local", value: query[name] === null ? "" : local(query[name]), onchange: () => this.listing.set({ [name]: chosen() }) });
    return h("label", {}, label, input);
  }
}
customElements.define("hub-admin-audit", AdminAudit);
