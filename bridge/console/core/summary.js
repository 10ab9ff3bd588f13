/** A station's status in few words: how many devices are how, and the numbers that tell most. */
import { STATES } from "./fleet.js";

const DEVICE_STATES = Object.freeze(["online", "warning", "error", "offline"]);
const RANK = Object.fromEntries(STATES.map((state, rank) => [state, rank]));
/** How bad a number is, from 0 to 1, of the metrics that are known; thresholds are the stations' own business. */
const BAD = Object.freeze({ battery: (percent) => 1 - percent / 100, temp: (celsius) => (celsius - 20) / 60, load: (percent) => percent / 100 - 0.1, signal: (dbm) => (-50 - dbm) / 60 });

/**
 * How many devices are how.
 * @returns {{online: number, warning: number, error: number, offline: number}}
 */
export function devicesOf(status) {
  const count = { online: 0, warning: 0, error: 0, offline: 0 };
  for (const { status: state } of status?.devices ?? []) count[DEVICE_STATES.includes(state) ? state : "online"]++;
  return count;
}

/**
 * The numbers that tell most: those of the worst device first, of its own the worst first; each metric once.
 * @param {any} status
 * @param {number} [many] at most.
 * @returns {[metric: string, value: number][]}
 */
export function salient(status, many = 2) {
  const found = [];
  for (const device of status?.devices ?? []) {
    for (const [metric, value] of Object.entries(device.metrics ?? {})) {
      if (typeof value !== "number" || !Number.isFinite(value)) continue;
      found.push({ metric, value, rank: RANK[device.status] ?? STATES.length, bad: Object.hasOwn(BAD, metric) ? BAD[metric](value) : -Infinity });
    }
  }
  found.sort((one, other) => one.rank - other.rank || (one.bad === other.bad ? 0 : other.bad - one.bad));
  const chosen = new Map();
  for (const { metric, value } of found) {
    if (chosen.size === many) break;
    if (!chosen.has(metric)) chosen.set(metric, value);
  }
  return [...chosen];
}
