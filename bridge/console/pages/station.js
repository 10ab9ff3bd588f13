/** One station: how it is, what it measures, what happened, its cameras and commands. */
import { eachFrame, fill, h, icon, Part, setText } from "../lib/dom.js";
import { duration, moment } from "../lib/format.js";
import { askStatus } from "../core/ask.js";
import { stationPath } from "../core/ids.js";
import { callStation } from "../parts/calling.js";
import { CameraView } from "../parts/camera-view.js";
import { CommandPanel } from "../parts/command-panel.js";
import { DeviceCard } from "../parts/device-card.js";
import { EventList } from "../parts/event-list.js";
import { setTitle } from "../parts/title.js";

const MAX_DEVICES = 100;
const MAX_CAMERAS = 32;
const BACK = "M15 5l-7 7 7 7";

export class StationPage extends Part {
  #cards = new Map();
  #cameras = new Map();
  #via = null;
  #ticking = null;
  #asking = false;
  #recalled = false;

  constructor(app, { id }) {
    super();
    Object.assign(this, { app, stationId: id });
    this.className = "station-page";
  }

  make() {
    const { app, stationId } = this;
    const { t } = app;
    this.heading = h("h1", {}, stationId);
    this.state = h("span", { class: "state" });
    this.facts = h("dl", { class: "facts" });
    this.tags = h("ul", { class: "plain-list tags", "aria-label": t("station.tags") });
    this.ask = h("button", { type: "button", onclick: () => this.#ask() }, t("station.ask"));
    this.call = h("button", { type: "button", onclick: () => callStation(app, stationId) }, t("station.call"));
    this.asked = h("span", { class: "small number asked", role: "status" });
    this.cameraList = h("div", { class: "camera-grid" });
    this.cameraSection = h("section", { class: "station-cameras", "aria-label": t("station.cameras") }, h("h2", {}, t("station.cameras")), this.cameraList);
    this.deviceNote = h("p", { class: "small soft" });
    this.deviceList = h("div", { class: "device-grid" });
    this.commands = new CommandPanel(app, stationId);
    this.body = h(
      "div",
      { class: "station-body" },
      h("div", { class: "station-main" }, this.cameraSection, h("section", { "aria-label": t("station.devices") }, h("h2", {}, t("station.devices")), this.deviceNote, this.deviceList)),
      h("aside", { class: "station-side", "aria-label": t("station.side") }, this.commands, new EventList(app, stationId)),
    );
    this.missing = h("p", { class: "empty", role: "status", hidden: true });
    fill(
      this,
      h("a", { class: "back", href: "#/" }, icon(BACK), t("station.back")),
      h("div", { class: "page-head station-head" }, this.heading, this.state, this.tags, h("span", { class: "grow" }), this.asked, this.ask, this.call),
      this.facts,
      this.missing,
      this.body,
    );
    this.#makeFacts();
  }

  #makeFacts() {
    this.fact = {};
    for (const name of ["id", "location", "since", "via", "age"]) {
      const value = h("dd");
      this.fact[name] = value;
      this.facts.append(h("div", { class: "fact" }, h("dt", {}, this.app.t(`station.${name}`)), value));
    }
  }

  shown() {
    const { app, stationId } = this;
    const draw = eachFrame(() => this.isConnected && this.#draw());
    app.fleet.watch(this, [stationId]);
    if (app.fleet.loaded) this.#recall();
    this.until(
      app.fleet.on("change", (ids) => (ids === null || ids.has(stationId)) && draw()),
      app.fleet.on("presence", (station) => station.id === stationId && this.#readVia()),
      app.fleet.on("loaded", () => {
        this.#readVia();
        this.#recall();
      }),
      app.hub.on("state", draw),
      app.hub.on("welcome", () => {
        this.#recalled = false;
        if (!this.#asking) setText(this.asked, ""); // an answer, or a failure, of before
        draw();
      }),
      app.streams.hold(stationId),
      () => app.fleet.watch(this, []),
    );
    // else the stations would send until they notice by themselves
    this.listen(window, "pagehide", () => app.streams.clear());
    this.#ticking = setInterval(() => this.#drawAge(), 1_000);
    this.#draw();
    if (app.fleet.loaded) this.#readVia();
  }

  gone() {
    clearInterval(this.#ticking);
  }

  get #station() {
    return this.app.fleet.stations.get(this.stationId);
  }

  /** Once a connection, of a station that the hub knows: what it reported before this page looked. */
  #recall() {
    if (this.#recalled || !this.app.fleet.stations.has(this.stationId)) return;
    this.#recalled = true;
    this.app.history.recall(this.stationId);
  }

  /** Which way a station came that was not there in the last list. */
  async #readVia() {
    this.#via = null;
    const station = this.#station;
    if (!station?.online || station.via) return;
    const found = await this.app.api.get(stationPath(this.stationId)).catch(() => null);
    this.#via = found?.presence?.via ?? null;
    if (this.isConnected) this.#draw();
  }

  /** Why nothing can be asked of the station now; null: it can. */
  #refusal(role) {
    const { app } = this;
    if (role && !app.may(role)) return app.t("station.needs-operator", { role: app.t(`role.${app.role}`) });
    if (app.hub.state !== "open") return app.t("error.UNAVAILABLE");
    if (!this.#station?.online) return app.t("error.STATION_OFFLINE");
    return null;
  }

  #draw() {
    const station = this.#station;
    const { app } = this;
    const { t } = app;
    this.body.hidden = this.facts.hidden = this.ask.hidden = this.call.hidden = !station;
    this.state.hidden = !station;
    this.missing.hidden = Boolean(station);
    if (!station) {
      const failed = app.fleet.error && !app.fleet.loaded;
      return setText(this.missing, failed ? app.explain(app.fleet.error) : app.fleet.loaded ? t("station.unknown", { id: this.stationId }) : t("station.loading"));
    }
    this.#drawHead(station);
    const devices = Array.isArray(station.status?.devices) ? station.status.devices : [];
    this.#drawDevices(devices, station);
    this.#drawCameras(station, devices);
    this.commands.update(devices, this.#refusal("operator"));
  }

  #drawHead(station) {
    const { t, texts } = this.app;
    const via = station.via ?? this.#via;
    setText(this.heading, station.name || station.id);
    setTitle(this.heading.textContent); // a link opens the page before the list of names is there
    this.state.dataset.state = station.state;
    setText(this.state, t(`state.${station.state}`));
    setText(this.fact.id, station.id);
    setText(this.fact.location, station.location || "–");
    setText(this.fact.since, station.since ? moment(texts.language, station.since) : "–");
    setText(this.fact.via, station.online && via ? t(`via.${via}`) : "–");
    const shown = [...this.tags.children].map((tag) => tag.textContent);
    if (shown.join("\n") !== station.tags.join("\n")) fill(this.tags, station.tags.map((tag) => h("li", { class: "tag" }, tag)));
    this.tags.hidden = station.tags.length === 0;
    this.#allow(this.ask, this.#refusal(null));
    this.ask.setAttribute("aria-disabled", String(this.#asking)); // not disabled: it would lose the focus
    this.#allow(this.call, this.#refusal("operator"));
    this.#drawAge();
  }

  #allow(button, refusal) {
    button.disabled = refusal !== null;
    button.title = refusal ?? "";
  }

  #drawAge() {
    const station = this.#station;
    if (!station || !this.fact) return;
    const { t, texts, clock, time } = this.app;
    const { status, heard } = station;
    if (!status) return setText(this.fact.age, t("station.no-status"));
    setText(this.fact.age, t("station.ago", { time: duration(texts.language, clock.now() - heard) }));
    this.fact.age.title = moment(texts.language, time.there(heard));
  }

  #drawDevices(devices, station) {
    const { app } = this;
    const left = Math.max(0, devices.length - MAX_DEVICES);
    setText(this.deviceNote, !station.status ? app.t("station.no-status") : devices.length === 0 ? app.t("station.no-devices") : left ? app.t("station.more-devices", { n: left }) : "");
    this.deviceNote.hidden = !this.deviceNote.textContent;
    const shown = new Map(devices.slice(0, MAX_DEVICES).map((device) => [device.deviceId, device]));
    this.#keep(this.#cards, this.deviceList, shown, (device) => new DeviceCard(app, this.stationId, device));
    for (const [id, device] of shown) this.#cards.get(id).update(device);
  }

  #drawCameras(station, devices) {
    const cameras = new Map(station.cameras.map(({ cameraId, name }) => [cameraId, { cameraId, name }]));
    for (const { deviceId, name, type } of devices) {
      if (type === "camera" && deviceId && !cameras.get(deviceId)?.name) cameras.set(deviceId, { cameraId: deviceId, name: name ?? "" });
    }
    const shown = new Map([...cameras].slice(0, MAX_CAMERAS));
    // a camera that is watched stays, even if the station has not reported since the hub came back
    for (const { cameraId } of this.app.streams.of(this.stationId)) if (!shown.has(cameraId)) shown.set(cameraId, this.#cameras.get(cameraId)?.camera ?? { cameraId, name: "" });
    this.cameraSection.hidden = shown.size === 0;
    this.#keep(this.#cameras, this.cameraList, shown, (camera) => new CameraView(this.app, this.stationId, camera));
    for (const view of this.#cameras.values()) view.refuse(this.#refusal("operator"));
  }

  /** Makes elements for what is new, takes away those of what is gone; the rest stays as it is. */
  #keep(elements, list, wanted, make) {
    for (const [id, element] of elements) {
      if (wanted.has(id)) continue;
      element.remove();
      elements.delete(id);
    }
    for (const [id, value] of wanted) {
      if (elements.has(id)) continue;
      const element = make(value);
      elements.set(id, element);
      list.append(element);
    }
  }

  async #ask() {
    const { app } = this;
    const { t } = app;
    if (this.#asking) return;
    this.#asking = true;
    this.#draw();
    this.asked.dataset.kind = "sent";
    setText(this.asked, t("station.asking"));
    try {
      const { via, ms } = await askStatus(app, this.stationId);
      this.asked.dataset.kind = "good";
      setText(this.asked, t("station.answered", { ms, via: t(`via.${via}`) }));
    } catch (error) {
      this.asked.dataset.kind = "bad";
      setText(this.asked, app.explain(error));
    } finally {
      this.#asking = false;
      this.#draw();
    }
  }
}
customElements.define("hub-station", StationPage);
