// A station in a browser, as the old pages have it: npm's mqtt over WebSocket.
//   node station.js URL STATION_ID TOKEN
// Reports once, answers report-status and open-gate, says what it does, ends on "quit" from stdin.
const mqtt = require("mqtt");
const [url, id, token] = process.argv.slice(2);
const client = mqtt.connect(url, {
  clientId: `web-${id}`,
  username: id,
  password: token,
  reconnectPeriod: 0,
  will: { topic: `stations/${id}/offline`, payload: JSON.stringify({ stationId: id, sessionId: "web-1" }), qos: 1, retain: false },
});
const say = (text) => process.stdout.write(text + "\n");
let number = 0;
const report = () =>
  client.publish(`stations/${id}/status`, JSON.stringify({
    stationId: id,
    updatedAt: Date.now(),
    number: number++,
    devices: [{ deviceId: "cam", name: "Camera", type: "camera", status: "online", metrics: { temp: 40 } }],
  }));
client.on("connect", () => client.subscribe(`stations/${id}/cmd`, { qos: 1 }, (error, granted) => {
  say(error ? `error ${error.message}` : `subscribed ${granted[0].qos}`);
  report();
}));
client.on("error", (error) => { say(`error ${error.message}`); client.end(true); });
client.on("message", (topic, payload) => {
  const command = JSON.parse(payload);
  say(`command ${command.type}`);
  if (command.type === "report-status") report();
  if (command.type === "open-gate") {
    client.publish(`stations/${id}/reply`, JSON.stringify({ id: command.id, stage: "done", result: { by: "node" } }), { qos: 1 });
  }
});
process.stdin.on("data", (text) => {
  if (String(text).startsWith("die")) process.exit(0);
  client.end(false, {}, () => process.exit(0));
});
