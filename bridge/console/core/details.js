/** What the audit keeps of a change, as lines for people. */
import { shorten } from "../lib/format.js";

const LONGEST = 300;
const MOST = 20;

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function text(value, words) {
  if (value === null || value === undefined || value === "") return words.none;
  if (typeof value === "boolean") return value ? words.yes : words.no;
  if (Array.isArray(value)) {
    if (value.length === 0) return words.none;
    const rest = value.length - MOST;
    return shorten(value.slice(0, MOST).map((one) => text(one, words)).join(", "), LONGEST) + (rest > 0 ? ` ${words.more(rest)}` : "");
  }
  if (!isObject(value)) return shorten(String(value), LONGEST);
  // a camera, and whatever comes: each of its values that says something
  const parts = Object.values(value).filter((part) => part !== "" && part !== null).map((part) => (isObject(part) ? JSON.stringify(part) : text(part, words)));
  return shorten(parts.join(" · "), LONGEST) || words.none;
}

/**
 * One line a field.
 * @param {any} detail
 * @param {{yes: string, no: string, none: string, more: (n: number) => string}} words
 * @returns {{name: string, from?: string, to: string}[]} `from`: what it was, where that is known.
 */
export function detailLines(detail, words) {
  if (!isObject(detail)) return [];
  const lines = Object.entries(detail).map(([name, value]) => {
    const changed = isObject(value) && "from" in value && "to" in value;
    return changed ? { name, from: text(value.from, words), to: text(value.to, words) } : { name, to: text(value, words) };
  });
  return lines.filter((line) => line.from !== undefined || line.to !== words.none); // that there is nothing says nothing
}
