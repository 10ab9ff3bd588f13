/** What a station's metrics are measured in, and any value of one in words. */
import { number, shorten } from "../lib/format.js";

const UNITS = Object.freeze({ temp: "°C", battery: "%", signal: "dBm", load: "%" });
const LONGEST = 120;

/** The unit of a metric, with the space before it; "" where none is known. */
export function unitOf(metric) {
  return Object.hasOwn(UNITS, metric) ? ` ${UNITS[metric]}` : "";
}

/**
 * A value in words: a number with its unit, or whatever else a station says.
 * @param {string} language
 * @param {string} metric
 * @param {any} value any JSON value.
 */
export function reading(language, metric, value) {
  if (typeof value === "number" && Number.isFinite(value)) return `${number(language, value, Math.abs(value) < 1 ? 3 : 1)}${unitOf(metric)}`;
  if (value === null || value === undefined) return "–";
  const text = typeof value === "string" ? value : typeof value === "object" ? JSON.stringify(value) : String(value);
  return shorten(text, LONGEST);
}
