/** The sound of a call: made here, no file is fetched for it. */

const EVERY = 3_000;
/** Seconds from the start of a ring: when a tone begins, and when it ends. */
const TONES = [[0, 0.4], [0.6, 1]];
const PITCHES = [440, 554];
const LOUD = 0.16;
const SOFT = 0.03;

export class Ringer {
  #context = null;
  #out = null;
  #timer = null;
  #soft = false;

  /** @param {() => void} changed called when the browser lets it sound, or does not: see `blocked`. */
  constructor(changed) {
    this.changed = changed;
    this.blocked = false;
  }

  /** Rings until `stop`. `soft`: somebody is on the phone. */
  ring(soft) {
    this.#soft = soft;
    if (this.#timer !== null) return;
    if (!globalThis.AudioContext) return;
    this.#context ??= new AudioContext();
    this.#out = this.#context.createGain();
    this.#out.connect(this.#context.destination);
    this.#timer = setInterval(() => this.#once(), EVERY);
    this.#once();
  }

  stop() {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    this.#out.disconnect(); // what was planned is not heard
  }

  /** Somebody pressed a button: now a browser allows it. */
  async allow() {
    await this.#context?.resume().catch(() => {});
    this.#look();
  }

  /** Nothing is left of it. */
  close() {
    this.stop();
    this.#context?.close().catch(() => {});
    this.#context = null;
  }

  #once() {
    this.#look();
    if (this.blocked) return void this.allow(); // a click anywhere may have changed its mind
    const { currentTime } = this.#context;
    for (const [from, to] of TONES) for (const pitch of PITCHES) this.#tone(pitch, currentTime + from, currentTime + to);
  }

  #tone(pitch, from, to) {
    const tone = new OscillatorNode(this.#context, { frequency: pitch });
    const level = new GainNode(this.#context, { gain: 0 });
    level.gain.setValueAtTime(0, from);
    level.gain.linearRampToValueAtTime((this.#soft ? SOFT : LOUD) / PITCHES.length, from + 0.02);
    level.gain.setValueAtTime((this.#soft ? SOFT : LOUD) / PITCHES.length, to - 0.05);
    level.gain.linearRampToValueAtTime(0, to);
    tone.connect(level).connect(this.#out);
    tone.start(from);
    tone.stop(to);
  }

  #look() {
    const blocked = this.#context?.state === "suspended";
    if (blocked === this.blocked) return;
    this.blocked = blocked;
    this.changed();
  }
}
