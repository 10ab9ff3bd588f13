/** What a station may be called, and where it is found by that. */

/** As the hub takes it; written so that it may be the `pattern` of an input, too. */
export const STATION_ID = "[A-Za-z0-9._\\-]{1,64}";

const WHOLE = new RegExp(`^${STATION_ID}$`);

/** Whether a text may be a station's id. */
export function isStationId(text) {
  return WHOLE.test(text);
}

/** The address of a station's page. */
export function stationAddress(id) {
  return `#/station/${encodeURIComponent(id)}`;
}

/** The path of a station in the API. */
export function stationPath(id) {
  return `stations/${encodeURIComponent(id)}`;
}
