/** How long to wait before the next try: doubling, jittered, so that a thousand pages do not all come back at one moment. */
export class Backoff {
  #failures = 0;

  /** @param {{first?: number, cap?: number, random?: () => number}} [options] `first`, `cap`: milliseconds that the first wait, and any wait, takes at most. */
  constructor({ first = 500, cap = 15_000, random = Math.random } = {}) {
    Object.assign(this, { first, cap, random });
  }

  /** Milliseconds to wait, between half and all of `first` x 2^failures. */
  next() {
    const longest = Math.min(this.cap, this.first * 2 ** Math.min(this.#failures++, 30));
    return longest * (0.5 + this.random() / 2);
  }

  /** It worked. */
  reset() {
    this.#failures = 0;
  }
}
