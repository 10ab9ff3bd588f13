/** Where the edge page begins: a browser as a station. */
import { EdgeApp } from "../core/edge.js";
import { testPicture } from "../parts/test-picture.js";
import en from "../texts/en.js";
import zh from "../texts/zh.js";
import { EdgePage } from "./edge.js";
import { EdgeSignIn } from "./edge-sign-in.js";
import { adopt } from "./frame.js";

const stationId = new URLSearchParams(location.search).get("id") ?? "";
const base = new URL("./", location.href).href;

let battery = null;
navigator.getBattery?.().then((found) => (battery = found), () => {});

/** What a browser knows of itself, as devices of a status. */
function sense({ camera, t }) {
  const metrics = { visible: document.visibilityState === "visible" };
  // a machine without one says that it is full and will never be empty
  const has = battery && !(battery.charging && battery.level === 1 && battery.dischargingTime === Infinity);
  if (has) Object.assign(metrics, { battery: Math.round(battery.level * 100), charging: battery.charging });
  const network = navigator.connection?.type ?? navigator.connection?.effectiveType;
  if (network) metrics.network = network;
  const low = has && battery.level < 0.15 && !battery.charging;
  const video = { deviceId: "camera", name: (camera.real && camera.video.label) || t("edge.test-picture"), type: "camera", status: camera.real ? "online" : "warning", metrics: {} };
  return [
    ...(camera.stream === null ? [] : [video]),
    { deviceId: "browser", name: t("edge.browser"), type: "browser", status: low ? "warning" : "online", metrics },
  ];
}

const app = new EdgeApp({
  base,
  stationId,
  storage: localStorage,
  tables: { en, zh },
  languages: navigator.languages,
  devices: navigator.mediaDevices,
  testPicture: () => testPicture(stationId),
  channel: new BroadcastChannel(`stationhub.edge ${base}`),
  sense,
  move: (id) => location.assign(`?id=${encodeURIComponent(id)}`),
});
app.start();
adopt(app, () => (app.session.signedIn ? new EdgePage(app) : new EdgeSignIn(app)));
