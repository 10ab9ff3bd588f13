/** The rooms that there are now, and who is in them. */
import { eachFrame, h, setText } from "../lib/dom.js";
import { duration, moment, number } from "../lib/format.js";
import { Table } from "../parts/table.js";
import { AdminPage } from "./admin-page.js";

const MAX_ROWS = 200;
const MAX_PEERS = 20;

export class AdminRooms extends AdminPage {
  constructor(app) {
    super(app, "rooms");
  }

  make() {
    const { t, texts } = this.app;
    this.count = h("p", { class: "small soft", role: "status" });
    this.empty = h("p", { class: "empty", hidden: true });
    this.table = new Table(this.app, {
      label: t("admin.page.rooms"),
      key: (room) => room.roomId,
      columns: [
        { id: "room", title: t("room.id"), cell: (room) => h("code", {}, room.roomId) },
        { id: "count", title: t("room.members"), class: "number", cell: (room) => number(texts.language, room.userCount) },
        { id: "peers", title: t("room.peers"), cell: (room) => h("span", { class: "small soft peers" }, this.#peers(room) || "–") },
        { id: "created", title: t("room.created"), cell: (room) => moment(texts.language, room.createdAt) },
        { id: "age", title: t("room.age"), class: "number", cell: (room) => h("span", { "data-since": String(room.createdAt) }) },
      ],
    });
    this.frame(null, this.count, this.table, this.empty);
  }

  #peers({ users }) {
    const more = users.length - MAX_PEERS;
    return users.slice(0, MAX_PEERS).join(", ") + (more > 0 ? ` ${this.app.t("audit.more", { n: more })}` : "");
  }

  shown() {
    super.shown();
    const draw = eachFrame(() => this.isConnected && this.#draw());
    this.until(this.models.monitor.on("change", draw));
    this.#draw();
  }

  #draw() {
    const { t, texts } = this.app;
    const { update } = this.models.monitor;
    const rooms = update?.rooms ?? [];
    const shown = rooms.slice(0, MAX_ROWS);
    this.table.update(shown);
    this.table.hidden = shown.length === 0;
    for (const age of this.table.querySelectorAll("[data-since]")) setText(age, duration(texts.language, update.timestamp - Number(age.dataset.since)));
    this.empty.hidden = shown.length > 0;
    setText(this.empty, update ? t("room.none") : t("admin.waiting"));
    const text = rooms.length > shown.length ? t("room.some", { n: shown.length, total: rooms.length }) : rooms.length ? t("room.count", { n: rooms.length }) : "";
    setText(this.count, text);
  }
}
customElements.define("hub-admin-rooms", AdminRooms);
