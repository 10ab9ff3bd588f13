/** Candidates of the other side, in the order that a browser takes them. */

const MAX_WAITING = 64;

/** The user name fragment that a candidate is of; null: it does not say. */
export function candidateFragment(candidate) {
  const { usernameFragment, candidate: line } = candidate ?? {};
  if (typeof usernameFragment === "string" && usernameFragment) return usernameFragment;
  return (typeof line === "string" && / ufrag (\S+)/.exec(line)?.[1]) || null;
}

/** Those of one connection: each waits for the description that it is of. Others of the same sender are told apart by the user name fragment. */
export class Candidates {
  #pc = null;
  #fragments = new Set();
  #waiting = [];

  /** The connection has a description of the other side. */
  described(pc, sdp) {
    this.#pc = pc;
    this.#fragments = new Set([...sdp.matchAll(/^a=ice-ufrag:(\S+)/gm)].map((found) => found[1]));
    for (const candidate of this.#waiting.splice(0)) this.take(candidate);
  }

  take(candidate) {
    // what is no candidate is the other side's mistake; the connection may come about without it
    if (this.#isCurrent(candidate)) this.#pc.addIceCandidate(candidate).catch(() => {});
    else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(candidate);
  }

  #isCurrent(candidate) {
    if (this.#pc === null) return false;
    const fragment = candidateFragment(candidate);
    return fragment === null || this.#fragments.has(fragment);
  }
}
