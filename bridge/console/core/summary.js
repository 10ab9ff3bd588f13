/** A station's status in few words: how many devices are how, and the numbers that tell most. */
import { DEVICE_STATES, deviceState, RANK } from "./states.js";

/** How bad a number is, from 0 to 1, of the metrics that are known; thresholds are the stations' own business. */
const BAD = Object.freeze({ battery: (percent) => 1 - percent / 100, temp: (celsius) => (celsius - 20) / 60, load: (percent) => percent / 100 - 0.1, signal: (dbm) => (-50 - dbm) / 60 });

/**
 * How many devices are how.
 * @returns {{online: number, warning: number, error: number, offline: number}}
 */
export function devicesOf(status) {
  const count = Object.fromEntries(DEVICE_STATES.map((state) => [state, 0]));
  for (const device of status?.devices ?? []) count[deviceState(device)]++;
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
      found.push({ metric, value, rank: RANK[deviceState(device)], bad: Object.hasOwn(BAD, metric) ? BAD[metric](value) : -Infinity });
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
