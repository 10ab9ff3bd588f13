/** What is to be seen and heard of a call, and what one does in it: of the console and of the edge page. */
import { fill, h, icon, Part, setText } from "../lib/dom.js";

const MIC = "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11a6 6 0 0 0 12 0M12 17v4";
const CAMERA = "M3 7h11v10H3zM14 11l7-4v10l-7-4z";
const HANG_UP = "M3 14c5-5 13-5 18 0l-3 3-3.5-1.5V13a9 9 0 0 0-5 0v2.5L6 17z";

/** A duration as on a telephone: `1:05`. */
function talkTime(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

export class CallStage extends Part {
  #videos = new Map();
  #ticking = null;

  /**
   * @param {{t: any, clock: any}} app
   * @param {import("../core/room.js").RoomCall} call
   * @param {string} name of the other side.
   */
  constructor(app, call, name) {
    super();
    Object.assign(this, { app, call, name });
    this.className = "call-stage";
  }

  make() {
    const { t } = this.app;
    const { call } = this;
    this.remote = h("div", { class: "call-remote" });
    this.own = h("video", { class: "call-own", autoplay: true, muted: true, playsInline: true, "aria-label": t("call.own") });
    this.words = h("p", { class: "call-words", role: "status" });
    this.time = h("span", { class: "number call-time", "aria-hidden": "true" });
    this.problem = h("p", { class: "small call-problem" });
    const button = (path, onclick, props = {}) => h("button", { type: "button", onclick, ...props }, icon(path), h("span", {}));
    this.mic = button(MIC, () => call.mute(!call.muted));
    this.camera = button(CAMERA, () => call.hide(!call.hidden));
    this.sound = h("button", { type: "button", class: "primary", hidden: true, onclick: () => this.#allowSound() }, t("call.sound-on"));
    this.end = button(HANG_UP, () => call.hangUp(), { class: "bad call-end" });
    setText(this.end.querySelector("span"), t("call.hang-up"));
    fill(this, h("div", { class: "call-screen" }, this.remote, this.own, this.words), this.problem, h("div", { class: "row call-controls" }, this.time, this.sound, this.mic, this.camera, this.end));
  }

  shown() {
    this.until(this.call.on("change", () => this.#draw()));
    this.#ticking = setInterval(() => this.#tick(), 500);
    this.#draw();
  }

  gone() {
    clearInterval(this.#ticking);
    this.own.srcObject = null;
    for (const video of this.#videos.values()) video.srcObject = null;
    this.#videos.clear();
    fill(this.remote);
  }

  #draw() {
    const { call, app } = this;
    const { t } = app;
    this.dataset.state = call.state;
    this.#drawRemote();
    if (this.own.srcObject !== call.stream) this.own.srcObject = call.stream;
    this.own.hidden = call.hidden || !call.has("video");
    this.mic.hidden = !call.has("audio");
    this.camera.hidden = !call.has("video");
    this.end.hidden = call.over;
    this.#toggle(this.mic, call.muted, "call.mic-off", "call.mic-on");
    this.#toggle(this.camera, call.hidden, "call.camera-off", "call.camera-on");
    setText(this.words, this.#said());
    this.problem.hidden = call.problem === null || call.over;
    if (call.problem !== null) setText(this.problem, `${t(`media.${call.problem}`)} ${t(call.has("audio") ? "media.sound-only" : call.has("video") ? "media.picture-only" : "media.receive-only")}`);
    this.#tick();
  }

  #toggle(button, off, offText, onText) {
    const text = this.app.t(off ? onText : offText);
    button.classList.toggle("off", off);
    setText(button.querySelector("span"), text);
  }

  #said() {
    const { call, app, name } = this;
    const { t } = app;
    if (call.state === "ended") return call.reason === "refused" ? t("call.ended.refused", { reason: app.explain(call.error) }) : t(`call.ended.${call.reason}`, { name });
    if (call.state !== "talking") return t(`call.state.${call.state}`, { name });
    if (call.troubled) return t("call.troubled");
    if (!call.signaling) return t("call.no-signaling");
    return call.others.some((peer) => peer.tracks.some((track) => track.kind === "video")) ? "" : t("call.no-picture");
  }

  #drawRemote() {
    const peers = new Map(this.call.others.filter((peer) => peer.tracks.length).map((peer) => [peer.peerId, peer]));
    for (const [id, video] of this.#videos) {
      if (peers.has(id)) continue;
      video.srcObject = null;
      video.remove();
      this.#videos.delete(id);
    }
    for (const [id, peer] of peers) {
      if (!this.#videos.has(id)) this.#addVideo(id);
      const video = this.#videos.get(id);
      const shown = video.srcObject.getTracks();
      for (const track of peer.tracks) if (!shown.includes(track)) video.srcObject.addTrack(track);
    }
    this.remote.dataset.count = String(this.#videos.size);
  }

  #addVideo(id) {
    const video = h("video", { autoplay: true, playsInline: true, "aria-label": this.app.t("call.picture-of", { name: this.name }) });
    video.srcObject = new MediaStream();
    this.#videos.set(id, video);
    this.remote.append(video);
    // without a click before it, a browser plays no sound
    video.play().catch((error) => {
      if (error.name !== "NotAllowedError") return;
      video.muted = true;
      video.play().catch(() => {});
      this.sound.hidden = false;
    });
  }

  #allowSound() {
    this.sound.hidden = true;
    for (const video of this.#videos.values()) {
      video.muted = false;
      video.play().catch(() => {});
    }
  }

  #tick() {
    const { call } = this;
    const since = call.startedAt;
    setText(this.time, since === null ? "" : talkTime((call.endedAt ?? this.app.clock.now()) - since));
  }
}
customElements.define("hub-call-stage", CallStage);
