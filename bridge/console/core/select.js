/** Which stations the wall shows, and in which order. */
import { RANK, STATES } from "./states.js";

export const SORTS = Object.freeze(["state", "id", "name", "since"]);
const LONGEST = 200;

const collator = new Intl.Collator(undefined, { numeric: true });
const ORDER = {
  name: (one, other) => collator.compare(one.name || one.id, other.name || other.id),
  state: (one, other) => RANK[one.state] - RANK[other.state],
  since: (one, other) => (other.since ?? 0) - (one.since ?? 0),
};
/** What is searched of a station, made once: a station is another object after each list. */
const texts = new WeakMap();

/**
 * What is looked for.
 * @typedef {object} Filter
 * @property {string} search somewhere in id, name, location or a tag, each word of it.
 * @property {Set<string>} states empty for all.
 * @property {string} tag "" for all.
 */

/** All stations, in the order of their ids: what `select` takes. */
export function byId(stations) {
  return [...stations].sort((one, other) => collator.compare(one.id, other.id));
}

/**
 * The stations that fit, in order; those that are equal in it stay as they came.
 * @param {Iterable<import("./fleet.js").Station>} stations in the order of their ids.
 * @param {Partial<Filter> & {sort?: string}} [filter]
 */
export function select(stations, { search = "", states = new Set(), tag = "", sort = "id" } = {}) {
  const words = wordsOf(search);
  const found = [...stations].filter((station) => {
    if (states.size && !states.has(station.state)) return false;
    if (tag && !station.tags.includes(tag)) return false;
    return !words.length || words.every((word) => textOf(station).includes(word));
  });
  return ORDER[sort] ? found.sort(ORDER[sort]) : found;
}

function wordsOf(search) {
  return search.toLowerCase().split(/\s+/).filter(Boolean);
}

function textOf(station) {
  let text = texts.get(station);
  if (text === undefined) texts.set(station, (text = [station.id, station.name, station.location, ...station.tags].join("\n").toLowerCase()));
  return text;
}

/** Whether a filter lets everything through. */
export function isEmpty({ search, states, tag }) {
  return !wordsOf(search).length && !states.size && !tag;
}

/**
 * A filter out of an address.
 * @param {string} hash such as `#/?q=north&state=error,gone&tag=garage`; what makes no sense in it is left out.
 * @returns {Filter}
 */
export function readFilter(hash) {
  const at = hash.indexOf("?");
  const query = new URLSearchParams(at < 0 ? "" : hash.slice(at + 1));
  const states = (query.get("state") ?? "").split(",").filter((state) => STATES.includes(state));
  return { search: (query.get("q") ?? "").slice(0, LONGEST), states: new Set(states), tag: (query.get("tag") ?? "").slice(0, LONGEST) };
}

/** The address of the wall with a filter. */
export function addressOf({ search, states, tag }) {
  const given = { q: search.trim(), state: STATES.filter((state) => states.has(state)).join(","), tag };
  const query = Object.entries(given).flatMap(([name, value]) => (value ? [`${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`] : []));
  return query.length ? `#/?${query.join("&")}` : "#/";
}
