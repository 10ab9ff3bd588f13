/** Numbers and times for people, in a language of theirs. */

const cache = new Map();

function made(language, kind, make) {
  const key = `${language} ${kind}`;
  let found = cache.get(key);
  if (!found) cache.set(key, (found = make()));
  return found;
}

/** Beyond these a number is written with an exponent: 1e308 has 309 digits. */
const LARGE = 1e12;
const SMALL = 1e-3;

/** A number with at most `digits` after the point. */
export function number(language, value, digits = 1) {
  const size = Math.abs(value);
  if (size >= LARGE || (size > 0 && size < SMALL)) {
    return made(language, "e", () => new Intl.NumberFormat(language, { notation: "scientific", maximumFractionDigits: 2 })).format(value);
  }
  return made(language, `n${digits}`, () => new Intl.NumberFormat(language, { maximumFractionDigits: digits })).format(value);
}

/** Bytes, as `12.3 MB`. */
export function bytes(language, value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${number(language, value, value < 100 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

/** The time of day. */
export function clock(language, ms) {
  return made(language, "clock", () => new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" })).format(ms);
}

/** Date and time. */
export function moment(language, ms) {
  return made(language, "moment", () => new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" })).format(ms);
}

/** How long, in one unit: `3 min`. */
export function duration(language, ms) {
  const seconds = Math.max(0, ms / 1000);
  const [value, unit] = seconds < 60 ? [Math.floor(seconds), "second"] : seconds < 3600 ? [Math.floor(seconds / 60), "minute"] : seconds < 86400 ? [Math.floor(seconds / 3600), "hour"] : [Math.floor(seconds / 86400), "day"];
  return made(language, unit, () => new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" })).format(value);
}

/** A text with at most so many characters of its beginning. */
export function shorten(text, longest) {
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
