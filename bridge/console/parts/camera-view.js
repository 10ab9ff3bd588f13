/** One camera of a station: its stream, or why there is none. */
import { fill, h, Part, setText } from "../lib/dom.js";
import { number } from "../lib/format.js";

export class CameraView extends Part {
  #video = null;
  #showing = null;

  /**
   * @param {import("../core/app.js").App} app
   * @param {string} stationId
   * @param {{cameraId: string, name: string}} camera
   */
  constructor(app, stationId, camera) {
    super();
    Object.assign(this, { app, stationId, camera, refusal: null });
    this.className = "camera";
  }

  make() {
    const { t } = this.app;
    const { cameraId, name } = this.camera;
    const label = name || cameraId;
    const button = (text, onclick, props = {}) => h("button", { type: "button", onclick, "aria-label": `${t(text)}: ${label}`, ...props }, t(text));
    this.picture = h("div", { class: "camera-picture" });
    this.told = h("p", { class: "camera-told", role: "status" });
    this.numbers = h("span", { class: "small number soft camera-numbers" });
    this.view = button("stream.view", () => this.#open(), { class: "primary" });
    this.retry = button("stream.retry", () => this.#open(), { class: "primary" });
    this.sound = button("stream.sound", () => this.#turnSound(), { "aria-pressed": "false" });
    this.larger = button("stream.larger", () => this.#turnSize(), { "aria-pressed": "false" });
    this.full = button("stream.full", () => this.#fillScreen());
    this.end = button("stream.close", () => this.#stream?.close());
    fill(
      this,
      h("div", { class: "camera-head" }, h("h3", {}, label), name && name !== cameraId && h("span", { class: "small soft" }, cameraId), this.numbers),
      h("div", { class: "camera-stage" }, this.picture, this.told),
      h("div", { class: "row camera-foot" }, this.view, this.retry, this.sound, this.larger, this.full, this.end),
    );
  }

  shown() {
    this.until(this.app.streams.on("change", (stream) => this.#isMine(stream) && this.#draw()));
    this.#draw();
  }

  gone() {
    this.#drop();
  }

  /** Why nobody may look now; null: one may. */
  refuse(refusal) {
    if (refusal === this.refusal) return;
    this.refusal = refusal;
    if (this.view) this.#draw();
  }

  get #stream() {
    return this.app.streams.get(this.stationId, this.camera.cameraId);
  }

  #isMine(stream) {
    return stream.stationId === this.stationId && stream.cameraId === this.camera.cameraId;
  }

  #open() {
    const { app } = this;
    if (!this.#stream && !app.streams.room) return app.notice(app.t("stream.too-many"), "bad");
    app.streams.open(this.stationId, this.camera.cameraId);
  }

  // ---- what is to be seen

  #draw() {
    const stream = this.#stream;
    const state = stream?.state ?? "idle";
    const had = this.contains(document.activeElement);
    this.dataset.stream = state;
    this.view.hidden = state !== "idle";
    this.retry.hidden = state !== "failed";
    this.end.hidden = state === "idle" || state === "closed";
    this.larger.hidden = this.full.hidden = state !== "playing";
    this.sound.hidden = state !== "playing" || !stream.tracks.some((track) => track.kind === "audio");
    this.view.disabled = this.retry.disabled = this.refusal !== null;
    if (state === "idle") this.#resize(false);
    setText(this.told, this.#words(stream, state));
    setText(this.numbers, this.#figures(stream));
    this.#show(stream);
    // the button that was pressed may be gone
    if (had && (!this.contains(document.activeElement) || document.activeElement.hidden)) this.querySelector("button:not([hidden]):not(:disabled)")?.focus();
  }

  #words(stream, state) {
    const { t } = this.app;
    if (state === "failed") return this.#reason(stream.reason);
    if (state === "playing") return stream.troubled ? t(`stream.${stream.troubled}`) : "";
    if (state === "idle") return this.refusal ?? t("stream.idle");
    return t(`stream.${state}`);
  }

  #reason({ kind, text, error }) {
    const { app } = this;
    if (error) return app.t("stream.failed", { reason: app.explain(error) });
    return app.t("stream.failed", { reason: app.t(`stream.failed.${kind}`, { text }) });
  }

  #figures(stream) {
    const { texts, t } = this.app;
    const { width, height, fps } = stream?.numbers ?? {};
    if (stream?.state !== "playing" || !width) return "";
    if (stream.url) return t("stream.size", { width, height });
    return t("stream.numbers", { width, height, fps: number(texts.language, fps, 0) });
  }

  #show(stream) {
    const playable = stream && !stream.over && (stream.url || stream.tracks.length) ? stream : null;
    if (!playable) return this.#drop();
    if (this.#showing !== playable) {
      this.#drop();
      this.#showing = playable;
      this.#video = this.#screen(playable);
      fill(this.picture, this.#video);
      this.sound.setAttribute("aria-pressed", "false");
    }
    if (playable.url) return;
    const now = this.#video.srcObject.getTracks();
    for (const track of playable.tracks) if (!now.includes(track)) this.#video.srcObject.addTrack(track);
  }

  #screen(stream) {
    const video = h("video", {
      autoplay: true,
      muted: true,
      playsInline: true,
      controls: Boolean(stream.url),
      "aria-label": this.app.t("stream.of", { camera: this.camera.name || this.camera.cameraId }),
      onloadeddata: () => stream.showed(),
    });
    if (stream.url) {
      video.addEventListener("error", () => stream.fail({ kind: "unplayable", text: stream.url }));
      video.addEventListener("loadedmetadata", () => stream.measured(video.videoWidth, video.videoHeight));
      video.src = stream.url;
    } else {
      video.addEventListener("click", () => this.#turnSize());
      video.srcObject = new MediaStream(stream.tracks);
    }
    return video;
  }

  #drop() {
    const video = this.#video;
    this.#video = this.#showing = null;
    if (!video) return;
    video.srcObject = null;
    video.removeAttribute("src");
    video.load(); // else it goes on reading from the address
    video.remove();
  }

  // ---- what one may do with it

  #turnSound() {
    this.#video.muted = !this.#video.muted;
    this.sound.setAttribute("aria-pressed", String(!this.#video.muted));
  }

  #turnSize() {
    this.#resize(!this.hasAttribute("data-large"));
  }

  #resize(large) {
    this.toggleAttribute("data-large", large);
    this.larger.setAttribute("aria-pressed", String(large));
  }

  async #fillScreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await this.#video.requestFullscreen();
    } catch {
      this.app.notice(this.app.t("stream.no-full"), "bad"); // some browsers refuse, some have no such method
    }
  }
}
customElements.define("hub-camera", CameraView);
