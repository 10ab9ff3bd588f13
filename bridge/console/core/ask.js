/** Asking a station how it is, and how long the answer takes. */
import { HubError } from "./hub.js";

const ANSWERS_WITHIN = 10_000;

/**
 * Asks a station for its status, which the fleet gets as any other.
 * @param {{hub: import("./hub.js").HubSocket, clock: any}} app
 * @param {string} stationId
 * @returns {Promise<{via: "mqtt" | "websocket", ms: number}>} milliseconds from asking until its status was here.
 * @throws {HubError} STATION_UNREACHABLE, STATION_TIMEOUT and others.
 */
export async function askStatus({ hub, clock }, stationId) {
  const asked = clock.now();
  let timer = null;
  let stop = () => {};
  const answered = new Promise((resolve, reject) => {
    stop = hub.on("station-status-update", (status) => status.stationId === stationId && resolve(clock.now() - asked));
    timer = clock.setTimeout(() => reject(new HubError("STATION_TIMEOUT: The station did not answer in time")), ANSWERS_WITHIN);
  });
  answered.catch(() => {}); // the request itself may fail first
  try {
    const { via } = await hub.request("station-request-status", { stationId });
    return { via, ms: await answered };
  } finally {
    clock.clearTimeout(timer);
    stop();
  }
}
