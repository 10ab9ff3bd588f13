/** The station itself: its picture, its state, and a large button that calls the centre. */
import { CALLS_FOR, IDENTIFIES_FOR } from "../core/edge-station.js";
import { fill, h, icon, Part, setText } from "../lib/dom.js";
import { clock as timeOf } from "../lib/format.js";
import { PHONE } from "../parts/call-banner.js";
import { CallStage } from "../parts/call-stage.js";
import { LanguageChoice, ThemeChoice } from "../parts/choices.js";
import { Connection } from "../parts/connection.js";
import { Notices } from "../parts/notices.js";
import { setTitle } from "../parts/title.js";

/** Milliseconds that a call which ended is still told of. */
const ENDED_FOR = 4_000;

export class EdgePage extends Part {
  #call = null;
  #ticking = null;
  #flashing = null;
  #ending = null;

  constructor(app) {
    super();
    this.app = app;
    this.className = "edge";
  }

  make() {
    const { app } = this;
    const { t, stationId } = app;
    setTitle(stationId);
    this.state = h("span", { class: "state", role: "status" });
    this.refusal = h("div", { class: "told bad edge-refusal", role: "alert", hidden: true });
    this.retry = h("button", { type: "button", onclick: () => this.#again() });
    this.picture = h("video", { class: "edge-picture", autoplay: true, muted: true, playsInline: true, "aria-label": t("edge.preview") });
    this.cameras = h("select", { "aria-label": t("edge.camera"), onchange: () => app.camera.open(this.cameras.value || null) });
    this.problem = h("p", { class: "told edge-problem", hidden: true });
    this.watched = h("p", { class: "edge-watched", role: "status" });
    this.reported = h("p", { class: "small soft number" });
    this.callButton = h("button", { type: "button", class: "edge-call", onclick: () => app.station.callCenter() }, icon(PHONE), (this.callText = h("span", {})));
    this.callNote = h("p", { class: "edge-note", role: "status" });
    this.flash = h("div", { class: "edge-flash", role: "alert", hidden: true });
    this.overlay = h("div", { class: "edge-talk", role: "region", "aria-label": t("call.view"), hidden: true });
    fill(
      this,
      h(
        "header",
        { class: "bar" },
        h("span", { class: "brand" }, h("img", { src: "console/icon.svg", alt: "" }), h("h1", {}, stationId)),
        this.state,
        h("span", { class: "grow" }),
        new Connection(app),
        new ThemeChoice(app),
        new LanguageChoice(app),
        h("button", { type: "button", class: "plain", onclick: () => app.leave() }, t("edge.leave")),
      ),
      h(
        "main",
        { id: "main", class: "edge-main" },
        this.refusal,
        h("section", { class: "edge-center", "aria-label": t("edge.call-center") }, this.callButton, this.callNote),
        h("section", { class: "card edge-card", "aria-label": t("edge.preview") }, this.picture, this.problem, h("div", { class: "row" }, this.cameras, this.watched), this.reported),
      ),
      this.overlay,
      this.flash,
      new Notices(app),
    );
  }

  shown() {
    const { app } = this;
    const { station, camera, hub } = app;
    this.until(
      station.on("change", () => this.#draw()),
      station.on("identify", () => this.#identify()),
      station.on("failed", (error) => app.notice(app.explain(error), "bad")),
      camera.on("change", () => this.#draw()),
      hub.on("state", () => this.#draw()),
    );
    this.listen(window, "pagehide", () => station.clear());
    this.listen(document, "visibilitychange", () => station.report());
    this.#ticking = setInterval(() => this.#tick(), 500);
    if (camera.stream === null) camera.open();
    this.#call = null;
    this.#draw();
  }

  gone() {
    for (const timer of [this.#ticking, this.#flashing, this.#ending]) clearInterval(timer);
    this.picture.srcObject = null;
    if (!this.app.session.signedIn) this.app.camera.close();
  }

  // ---- what is to be seen

  #draw() {
    this.#drawState();
    this.#drawCamera();
    this.#drawCalling();
    this.#drawCall();
  }

  #drawState() {
    const { station, t } = this.app;
    const { registration } = station;
    this.state.dataset.state = { registered: "online", refused: "error", taken: "error" }[registration] ?? "gone";
    setText(this.state, t(`edge.state.${registration}`));
    const refused = registration === "refused" || registration === "taken";
    this.refusal.hidden = !refused;
    if (refused && this.refusal.dataset.text !== this.#refusal()) {
      this.refusal.dataset.text = this.#refusal();
      setText(this.retry, t(registration === "taken" ? "edge.use-here" : "edge.retry"));
      fill(this.refusal, h("p", {}, this.#refusal()), this.retry);
    }
    if (!refused) delete this.refusal.dataset.text;
  }

  #refusal() {
    const { app } = this;
    const { station, t, stationId: id } = app;
    if (station.registration === "taken") return t("edge.taken-page");
    const { code } = station.refusal ?? {};
    if (code === "FORBIDDEN") return t("edge.refused.FORBIDDEN", { id });
    if (code === "STATION_ALREADY_REGISTERED") return t("edge.refused.taken", { id });
    if (code === "INVALID_ARGUMENT") return t("edge.id-hint");
    return station.refusal ? app.explain(station.refusal) : "";
  }

  #drawCamera() {
    const { camera, station, t } = this.app;
    if (this.picture.srcObject !== camera.stream) this.picture.srcObject = camera.stream;
    this.problem.hidden = camera.problem === null;
    if (camera.problem !== null) setText(this.problem, `${t(`media.${camera.problem}`)} ${t(camera.real ? "edge.no-sound" : "edge.shows-test")}`);
    const listed = camera.cameras.map(({ id, label }) => [id, label || id]);
    const key = JSON.stringify([listed, camera.chosen]);
    if (this.cameras.dataset.listed !== key) {
      this.cameras.dataset.listed = key;
      const chosen = camera.chosen ?? camera.video?.getSettings?.().deviceId;
      fill(this.cameras, listed.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
    }
    this.cameras.hidden = listed.length < 1;
    setText(this.watched, station.senders.count ? t("edge.watched", { n: station.senders.count }) : t("edge.unwatched"));
    this.watched.classList.toggle("on", station.senders.count > 0);
  }

  #drawCalling() {
    const { station, t } = this.app;
    const { calling, unanswered, registration } = station;
    this.callButton.disabled = registration !== "registered" || calling !== null || station.talking;
    this.callButton.toggleAttribute("data-calling", calling !== null);
    setText(this.callText, t(calling === null ? "edge.call" : "edge.calling"));
    const note = calling !== null ? "edge.wait" : unanswered ? "edge.unanswered" : registration === "registered" ? "edge.ready" : "edge.not-ready";
    setText(this.callNote, t(note));
    this.#tick();
  }

  #drawCall() {
    const { station, t } = this.app;
    if (station.call !== this.#call) {
      this.#call = station.call;
      clearTimeout(this.#ending);
      this.#ending = null;
      fill(this.overlay, this.#call && new CallStage(this.app, this.#call, t("edge.centre")));
      this.overlay.hidden = this.#call === null;
      if (this.#call) this.overlay.querySelector(".call-end")?.focus();
      else this.callButton.focus();
    }
    if (this.#call?.over) this.#ending ??= setTimeout(() => station.dismiss(), this.#call.reason === "hung-up" ? 0 : ENDED_FOR);
  }

  #tick() {
    const { station, clock, texts, t } = this.app;
    if (station.calling !== null) {
      const left = Math.max(0, Math.ceil((CALLS_FOR - (clock.now() - station.calling)) / 1000));
      setText(this.callText, `${t("edge.calling")} ${left}`);
    }
    setText(this.reported, station.reported === null ? "" : t("edge.reported", { time: timeOf(texts.language, station.reported) }));
  }

  // ---- what happens

  /** Whoever looks for this station among others sees which one it is. */
  #identify() {
    const { t, stationId } = this.app;
    clearTimeout(this.#flashing);
    setText(this.flash, t("edge.identify", { id: stationId }));
    this.flash.hidden = false;
    this.#flashing = setTimeout(() => (this.flash.hidden = true), IDENTIFIES_FOR);
  }

  #again() {
    const { app } = this;
    if (app.station.registration === "taken") app.takeBack();
    else app.station.register();
  }
}
customElements.define("hub-edge", EdgePage);
