/** How stations and their devices are. */

/** How a station is, worst first: `gone` of its connection, the others of the worst of its devices. A fleet has stations that are switched off for long: they do not hide an error. */
export const STATES = Object.freeze(["error", "gone", "offline", "warning", "online"]);

/** The place of each in that order. */
export const RANK = Object.freeze(Object.fromEntries(STATES.map((state, rank) => [state, rank])));

/** How a device may be, in the order in which they are counted. */
export const DEVICE_STATES = Object.freeze(["error", "warning", "offline", "online"]);

/** How a device is; one that says nothing of it, or what nobody knows, is well. */
export function deviceState({ status }) {
  return DEVICE_STATES.includes(status) ? status : "online";
}

/** The worst device state of a status. */
export function worstOf(status) {
  const found = new Set((status.devices ?? []).map(deviceState));
  return STATES.find((state) => found.has(state)) ?? "online";
}
