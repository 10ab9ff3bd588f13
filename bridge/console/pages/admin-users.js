/** The accounts. */
import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { openForm } from "../parts/form.js";
import { AdminList } from "./admin-list.js";

const ROLES = ["viewer", "operator", "admin"];
const EMAIL = /^[^@\s]+@[^@\s]+$/;
const PASSWORD_MIN = 8;

export class AdminUsers extends AdminList {
  constructor(app) {
    super(app, "users");
  }

  make() {
    const { t, texts } = this.app;
    this.build({
      tools: h("button", { type: "button", class: "primary", onclick: () => this.#create() }, t("users.new")),
      filters: [this.typed("q", t("list.search"), { placeholder: t("users.search"), maxLength: 254 }), this.chosen("role", t("users.role"), [["", t("list.any")], ...this.#roles()])],
      key: (user) => user.id,
      empty: t("users.none"),
      columns: [
        { id: "email", title: t("users.email"), sort: "email", cell: (user) => user.email },
        { id: "nickname", title: t("users.nickname"), sort: "nickname", cell: (user) => [user.nickname, this.#own(user) && h("span", { class: "tag" }, t("users.you"))] },
        { id: "role", title: t("users.role"), sort: "role", cell: (user) => t(`role.${user.role}`) },
        { id: "state", title: t("users.state"), cell: (user) => h("span", { class: "state", "data-state": user.disabled ? "gone" : "online" }, t(user.disabled ? "users.disabled" : "users.active")) },
        { id: "created", title: t("users.created"), sort: "createdAt", cell: (user) => moment(texts.language, user.createdAt) },
        { id: "do", title: t("list.actions"), class: "actions", cell: (user) => this.#actions(user) },
      ],
    });
  }

  #roles() {
    return ROLES.map((role) => [role, this.app.t(`role.${role}`)]);
  }

  #own(user) {
    return user.id === this.app.session.claims?.userId;
  }

  #actions(user) {
    const { t } = this.app;
    return h(
      "div",
      { class: "row" },
      h("button", { type: "button", "aria-label": t("list.change-of", { name: user.email }), onclick: () => this.#change(user) }, t("list.change")),
      h("button", { type: "button", "aria-label": t("list.delete-of", { name: user.email }), onclick: () => this.#delete(user) }, t("list.delete")),
    );
  }

  #nickname(value = "") {
    return { name: "nickname", label: this.app.t("users.nickname"), value, required: true, longest: 64 };
  }

  #password(spec) {
    const { t } = this.app;
    const check = (value) => (value && [...value].length < PASSWORD_MIN ? t("users.short", { n: PASSWORD_MIN }) : null);
    return { name: "password", kind: "password", autocomplete: "new-password", longest: 256, check, ...spec };
  }

  #create() {
    const { t, api } = this.app;
    openForm(this, this.app, {
      title: t("users.new"),
      action: t("users.create"),
      fields: [
        { name: "email", kind: "email", label: t("users.email"), required: true, longest: 254, check: (value) => (EMAIL.test(value) ? null : t("users.no-email")) },
        this.#nickname(),
        { name: "role", kind: "select", label: t("users.role"), value: "viewer", options: this.#roles() },
        this.#password({ label: t("users.password"), required: true, hint: t("users.password-hint", { n: PASSWORD_MIN }) }),
      ],
      submit: (values) => api.post("users", values),
      done: (user) => this.#done("users.was-made", user),
      explain: (error) => this.explain(error, { field: "email", text: t("users.taken") }),
    });
  }

  #change(user) {
    const { t, api } = this.app;
    const text = [t("users.ends")];
    if (this.#own(user)) text.push(t("users.own"));
    openForm(this, this.app, {
      title: t("users.change", { name: user.email }),
      action: t("form.save"),
      text,
      fields: [
        this.#nickname(user.nickname),
        { name: "role", kind: "select", label: t("users.role"), value: user.role, options: this.#roles() },
        this.#password({ label: t("users.new-password"), hint: t("users.keep-password") }),
        { name: "disabled", kind: "checkbox", label: t("users.disable"), value: user.disabled },
      ],
      submit: async ({ password, ...values }) => {
        // a role that stays as it is ends the sessions, too: only what is another is sent
        const changes = Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== user[name]));
        if (password) changes.password = password;
        return Object.keys(changes).length ? api.patch(`users/${user.id}`, changes) : user;
      },
      done: (changed) => this.#done("users.was-changed", changed),
      explain: (error) => this.#failed(error),
    });
  }

  #delete(user) {
    const { t, api } = this.app;
    const text = [t("users.delete-text", { nickname: user.nickname, email: user.email })];
    if (this.#own(user)) text.push(t("users.own"));
    openForm(this, this.app, {
      title: t("users.delete"),
      action: t("users.delete-do"),
      kind: "bad",
      text,
      submit: () => api.delete(`users/${user.id}`),
      done: () => this.#done("users.was-deleted", user),
      explain: (error) => this.#failed(error),
    });
  }

  #failed(error) {
    if (error.status === 404) this.listing.load();
    return this.explain(error, { text: this.app.t("users.last-admin") });
  }

  #done(text, { email }) {
    this.app.notice(this.app.t(text, { name: email }), "good");
    this.listing.load();
  }
}
customElements.define("hub-admin-users", AdminUsers);
