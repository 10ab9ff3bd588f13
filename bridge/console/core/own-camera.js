/** The camera of this browser, as a station's: opened once, and lent to calls and streams. */
import { Emitter } from "../lib/emitter.js";
import { openMedia, stopMedia } from "./media.js";

/**
 * The camera. Where there is none it is a test picture, so that a station without one can be tried.
 *
 * Emits `change`; and `track` (video track) when another picture takes the place of the one that was lent.
 * `stream`: what it shows; `real`: whether by a camera; `problem`: why not, or why without sound, see core/media.js.
 */
export class OwnCamera extends Emitter {
  stream = null;
  real = false;
  problem = null;
  /** @type {{id: string, label: string}[]} */
  cameras = [];
  chosen = null;
  #opening = 0;

  /**
   * @param {object} options
   * @param {MediaDevices | undefined} options.devices
   * @param {() => MediaStream} options.testPicture makes one.
   */
  constructor({ devices, testPicture }) {
    super();
    Object.assign(this, { devices, testPicture });
    devices?.addEventListener?.("devicechange", () => this.#changed());
  }

  get video() {
    return this.stream?.getVideoTracks()[0] ?? null;
  }

  get heard() {
    return Boolean(this.stream?.getAudioTracks().length);
  }

  /** Opens it, or another one. Never fails: `problem` tells. */
  async open(deviceId = this.chosen) {
    const mine = ++this.#opening;
    // two cameras at once are more than some browsers give
    stopMedia(this.stream);
    const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
    const { stream, problem } = await openMedia(this.devices, { video: deviceId ? { ...size, deviceId: { exact: deviceId } } : size });
    if (mine !== this.#opening) return stopMedia(stream);
    this.chosen = deviceId;
    this.#show(stream, problem);
    await this.#list();
    this.emit("change");
    this.emit("track", this.video);
  }

  /** It is shown no more. */
  close() {
    this.#opening++;
    stopMedia(this.stream);
    this.stream = null;
  }

  /** A picture to send, and a sound where it is a call's; whoever borrows it stops it. */
  lend({ sound }) {
    const stream = this.stream?.clone() ?? null;
    for (const track of stream?.getAudioTracks() ?? []) {
      if (sound) continue;
      track.stop();
      stream.removeTrack(track);
    }
    return stream;
  }

  #show(stream, problem) {
    this.real = Boolean(stream?.getVideoTracks().length);
    this.problem = problem;
    if (!this.real) {
      const picture = this.testPicture();
      for (const track of stream?.getAudioTracks() ?? []) picture.addTrack(track);
      stream = picture;
    }
    this.stream = stream;
    for (const track of stream.getTracks()) track.addEventListener?.("ended", () => stream === this.stream && this.open(null)); // unplugged
  }

  async #list() {
    const all = (await this.devices?.enumerateDevices?.().catch(() => [])) ?? [];
    this.cameras = all.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId).map(({ deviceId: id, label }) => ({ id, label }));
  }

  async #changed() {
    if (this.stream === null) return;
    await this.#list();
    if (!this.real && this.cameras.length) await this.open(null);
    else this.emit("change");
  }
}
