/** The hub's HTTP API. */

/** Milliseconds after which a hub that took a request and does not answer counts as not reached. */
const ANSWERS_WITHIN = 30_000;

/** A failure; `status` is 0 where the hub was not reached, `message` is for people. */
export class ApiError extends Error {
  constructor(status, message, body = null) {
    super(message);
    this.name = "ApiError";
    Object.assign(this, { status, body });
  }
}

/**
 * The API at one address.
 *
 *     await api.get("stations", { limit: 500 })
 */
export class Api {
  /**
   * @param {object} options
   * @param {string} options.base the address that paths are added to; ends with a slash.
   * @param {() => string | null} [options.token]
   * @param {typeof fetch} [options.fetch]
   */
  constructor({ base, token = () => null, fetch = (...args) => globalThis.fetch(...args) }) {
    Object.assign(this, { base, token, fetch });
  }

  get(path, query = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
    const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    return this.#call("GET", search ? `${path}?${search}` : path);
  }

  post(path, body) {
    return this.#call("POST", path, body);
  }

  patch(path, body) {
    return this.#call("PATCH", path, body);
  }

  delete(path) {
    return this.#call("DELETE", path);
  }

  /**
   * All items of a list that comes in pages.
   * @param {number} [limit] of a page.
   */
  async all(path, query = {}, limit = 500) {
    const items = [];
    for (;;) {
      const page = await this.get(path, { ...query, limit, offset: items.length });
      items.push(...page.items);
      if (page.items.length === 0 || items.length >= page.total) return items;
    }
  }

  async #call(method, path, body) {
    const token = this.token();
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await this.fetch(this.base + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store", signal: AbortSignal.timeout(ANSWERS_WITHIN) });
    } catch {
      throw new ApiError(0, "");
    }
    const value = answer.status === 204 ? null : await answer.json().catch(() => null);
    if (answer.ok) return value;
    const message = Array.isArray(value?.message) ? value.message.join("; ") : value?.message;
    throw new ApiError(answer.status, message ?? answer.statusText, value);
  }
}
