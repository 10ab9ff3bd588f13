/** The stations: those that somebody entered, and those that were only heard of. */
import { eachFrame, h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { isStationId, stationAddress, stationPath } from "../core/ids.js";
import { openForm } from "../parts/form.js";
import { showKey } from "./admin-key.js";
import { AdminList } from "./admin-list.js";

/** As the hub takes them. */
const CAMERA_URL = /^(https?|rtsps?|rtmps?|wss?|srt):\/\/[^\s]+$/;

const tagsOf = (text) => [...new Set(text.split(/[,，]/).map((tag) => tag.trim()).filter(Boolean))];

export class AdminStations extends AdminList {
  constructor(app) {
    super(app, "stations");
  }

  make() {
    const { t, texts } = this.app;
    this.tags = h("datalist", { id: "admin-tags" });
    const any = ["", t("list.any")];
    this.build({
      tools: h("button", { type: "button", class: "primary", onclick: () => this.#create() }, t("stations.new")),
      filters: [
        this.typed("q", t("list.search"), { placeholder: t("stations.search") }),
        this.chosen("state", t("stations.state"), [any, ["online", t("stations.online")], ["offline", t("stations.offline")]]),
        this.typed("tag", t("stations.tag"), { list: this.tags.id, maxLength: 64 }),
        this.chosen("registered", t("stations.entered"), [any, ["true", t("stations.registered")], ["false", t("stations.heard-of")]]),
        this.tags,
      ],
      key: (station) => station.stationId,
      empty: t("stations.none"),
      columns: [
        { id: "id", title: t("stations.id"), sort: "id", cell: ({ stationId }) => h("a", { href: stationAddress(stationId) }, stationId) },
        { id: "name", title: t("stations.name"), sort: "name", cell: (station) => [station.name || "–", !station.registered && h("span", { class: "tag" }, t("stations.heard-of"))] },
        { id: "location", title: t("stations.location"), sort: "location", cell: (station) => station.location || "–" },
        { id: "tags", title: t("stations.tags"), cell: (station) => h("ul", { class: "plain-list tags" }, station.tags.map((tag) => h("li", { class: "tag" }, tag))) },
        { id: "state", title: t("stations.state"), sort: "lastSeen", cell: (station) => this.#state(station) },
        { id: "created", title: t("stations.created"), sort: "createdAt", cell: ({ createdAt }) => (createdAt === null ? "–" : moment(texts.language, createdAt)) },
        { id: "do", title: t("list.actions"), class: "actions", cell: (station) => this.#actions(station) },
      ],
    });
  }

  shown() {
    super.shown();
    const { fleet } = this.app;
    const tags = eachFrame(() => this.tags.replaceChildren(...fleet.tags().map((value) => h("option", { value }))));
    this.until(fleet.on("presence", () => this.drawSoon()), fleet.on("loaded", () => (tags(), this.drawSoon())));
    tags();
  }

  #online({ stationId, presence }) {
    return this.app.fleet.stations.get(stationId)?.online ?? presence.state === "online";
  }

  stamp(station) {
    return `${this.#online(station)} ${super.stamp(station)}`;
  }

  #state(station) {
    const online = this.#online(station);
    return h("span", { class: "state", "data-state": online ? "online" : "gone" }, this.app.t(online ? "stations.online" : "stations.offline"));
  }

  #actions(station) {
    const { t } = this.app;
    const name = station.stationId;
    const button = (text, label, onclick) => h("button", { type: "button", "aria-label": label, onclick }, text);
    const own = station.registered
      ? [button(t("list.change"), t("list.change-of", { name }), () => this.#change(station)), button(t("stations.rotate"), t("stations.rotate-of", { name }), () => this.#rotate(station))]
      : [button(t("stations.register"), t("stations.register-of", { name }), () => this.#create(name))];
    const edge = h("a", { class: "button", href: `edge?id=${encodeURIComponent(name)}`, target: "_blank", rel: "noopener", "aria-label": t("stations.edge-of", { name }) }, t("stations.edge"));
    return h("div", { class: "row" }, own, edge, button(t("list.delete"), t("list.delete-of", { name }), () => this.#delete(station)));
  }

  #fields({ name = "", location = "", tags = [], cameras = [] } = {}) {
    const { t } = this.app;
    const wrongTags = (text) => (tagsOf(text).length > 32 || tagsOf(text).some((tag) => [...tag].length > 64) ? t("stations.bad-tags") : null);
    const twice = (rows) => (new Set(rows.map((row) => row.cameraId)).size < rows.length ? t("stations.camera-twice") : rows.length > 64 ? t("stations.camera-many") : null);
    return [
      { name: "name", label: t("stations.name"), value: name, longest: 128 },
      { name: "location", label: t("stations.location"), value: location, longest: 256 },
      { name: "tags", label: t("stations.tags"), value: tags.join(", "), hint: t("stations.tags-hint"), check: wrongTags },
      {
        name: "cameras",
        kind: "rows",
        label: t("stations.cameras"),
        value: cameras,
        add: t("stations.camera-add"),
        remove: t("stations.camera-remove"),
        check: twice,
        columns: [
          { name: "cameraId", label: t("stations.camera-id"), required: true, longest: 256 },
          { name: "name", label: t("stations.camera-name"), longest: 128 },
          { name: "url", label: t("stations.camera-url"), longest: 2048, check: (url) => (url === "" || CAMERA_URL.test(url) ? null : t("stations.bad-url")) },
        ],
      },
    ];
  }

  #create(stationId = "") {
    const { t, api } = this.app;
    const check = (value) => (isStationId(value) && !/^\.+$/.test(value) ? null : t("stations.bad-id"));
    const id = { name: "stationId", label: t("stations.id"), value: stationId, readOnly: stationId !== "", required: true, longest: 64, hint: t("stations.id-hint"), check };
    openForm(this, this.app, {
      title: t("stations.new"),
      action: t("stations.create"),
      fields: [id, ...this.#fields()],
      submit: (values) => api.post("stations", { ...values, tags: tagsOf(values.tags) }),
      done: (made) => this.#keyed(made, t("stations.was-made", { id: made.stationId })),
      explain: (error) => this.explain(error, { field: "stationId", text: t("stations.exists") }),
    });
  }

  #change(station) {
    const { t, api } = this.app;
    openForm(this, this.app, {
      title: t("stations.change", { id: station.stationId }),
      action: t("form.save"),
      fields: this.#fields(station),
      submit: async (values) => {
        // what somebody else changed meanwhile, and this form did not, stays
        const given = Object.entries({ ...values, tags: tagsOf(values.tags) });
        const changes = Object.fromEntries(given.filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(station[name])));
        return Object.keys(changes).length ? api.patch(stationPath(station.stationId), changes) : station;
      },
      done: () => this.#done("stations.was-changed", station),
      explain: (error) => this.#failed(error),
    });
  }

  #rotate(station) {
    const { t, api } = this.app;
    openForm(this, this.app, {
      title: t("stations.rotate-title", { id: station.stationId }),
      text: [t("stations.rotate-text")],
      action: t("stations.rotate-do"),
      kind: "bad",
      submit: () => api.post(`${stationPath(station.stationId)}/key`),
      done: (made) => this.#keyed(made, t("stations.was-rotated", { id: made.stationId })),
      explain: (error) => this.#failed(error),
    });
  }

  #delete(station) {
    const { t, api } = this.app;
    const { stationId } = station;
    openForm(this, this.app, {
      title: t("stations.delete-title", { id: stationId }),
      text: [t("stations.delete-text")],
      action: t("stations.delete-do"),
      kind: "bad",
      fields: [{ name: "typed", label: t("stations.delete-typed", { id: stationId }), check: (value) => (value === stationId ? null : t("stations.delete-wrong")) }],
      submit: () => api.delete(stationPath(station.stationId)),
      done: () => this.#done("stations.was-deleted", station),
      explain: (error) => this.#failed(error),
    });
  }

  #keyed({ stationId, key }, text) {
    this.app.notice(text, "good");
    if (this.isConnected) showKey(this, this.app, { stationId, key, ports: this.models.monitor.update?.broker?.ports });
    else this.app.notice(this.app.t("key.lost", { id: stationId }), "bad");
    this.#reload();
  }

  #failed(error) {
    if (error.status === 404) this.#reload();
    return this.explain(error);
  }

  #done(text, { stationId }) {
    this.app.notice(this.app.t(text, { id: stationId }), "good");
    this.#reload();
  }

  /** The pages for everybody show names and tags, too. */
  #reload() {
    this.listing.load();
    this.app.fleet.load();
  }
}
customElements.define("hub-admin-stations", AdminStations);
