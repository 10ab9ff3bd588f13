/** Commands to stations, by HTTP: the hub writes those down, so that everybody finds later what came of them. */
import { ApiError } from "./api.js";
import { browserClock } from "./hub.js";
import { stationPath } from "./ids.js";

/** Milliseconds between two questions for the outcome: the first ones are quick, as most gates are. */
const LOOKS = [40, 60, 100, 200, 400, 800, 1_000];
/** Milliseconds past its deadline after which nobody asks for the outcome any more. */
const PATIENCE = 15_000;

/**
 * What came of a command, as the hub has it.
 * @typedef {object} Outcome
 * @property {string} id
 * @property {string} type
 * @property {any} params
 * @property {"sent" | "done" | "error" | "timeout" | "expired"} stage
 * @property {boolean | null} delivered null: not known.
 * @property {any} result
 * @property {string | null} error the station's own words.
 * @property {number | null} ms
 * @property {number} createdAt
 * @property {string} requestedBy
 */

/** Sends commands, and writes them and their outcome into the journal. */
export class Commands {
  /** @param {{api: import("./api.js").Api, journal: import("./journal.js").Journal, clock?: any}} options */
  constructor({ api, journal, clock = browserClock }) {
    Object.assign(this, { api, journal, clock });
  }

  /**
   * Sends one, and waits for its outcome.
   * @param {string} stationId
   * @param {string} type
   * @param {any} [params]
   * @param {number} [timeoutMs]
   * @returns {Promise<Outcome>} its stage is `unknown` where nobody can say what came of it.
   * @throws {ApiError} it was refused.
   */
  async send(stationId, type, params = null, timeoutMs = 5_000) {
    const entry = this.journal.add(stationId, "command", { type, params, stage: "sent" });
    let outcome = { type, params, stage: "unknown" };
    try {
      const sent = await this.api.post(`${path(stationId)}?wait=false`, { type, params, timeoutMs });
      this.journal.tell(entry, { id: sent.id });
      outcome = await this.#follow(stationId, sent, timeoutMs).catch(() => ({ ...outcome, id: sent.id }));
    } catch (error) {
      // a hub that went away meanwhile may have sent it
      if (error.status !== 0) {
        this.journal.tell(entry, { stage: "refused", error });
        throw error;
      }
    }
    this.journal.tell(entry, outcome);
    return outcome;
  }

  /**
   * The newest commands that a station was sent, by whomever.
   * @returns {Promise<Outcome[]>}
   */
  async past(stationId, limit = 30) {
    return (await this.api.get(path(stationId), { limit })).items;
  }

  async #follow(stationId, outcome, timeoutMs) {
    const until = this.clock.now() + timeoutMs + PATIENCE;
    for (let look = 0; outcome.stage === "sent"; look++) {
      await new Promise((resolve) => this.clock.setTimeout(resolve, LOOKS[Math.min(look, LOOKS.length - 1)]));
      try {
        outcome = await this.api.get(`${path(stationId)}/${outcome.id}`);
      } catch (error) {
        // a hub that is away for a while still knows it afterwards
        if (!(error instanceof ApiError) || (error.status !== 0 && error.status < 500) || this.clock.now() > until) throw error;
      }
      if (this.clock.now() > until) throw new ApiError(504, "");
    }
    return outcome;
  }
}

const path = (stationId) => `${stationPath(stationId)}/commands`;
