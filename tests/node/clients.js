// npm's socket.io-client and mqtt, driven by commands: JSON lines on stdin, JSON lines on stdout.
//   {"do": "connect", "client": 1, "url": URL, "options": {...}}           a Socket.IO client
//   {"do": "connect", "client": 2, "url": "/admin", "beside": 1, ...}      one more, on the same connection
//   {"do": "emit", "client": 1, "name": EVENT, "args": [...], "ack": ID}   without "ack": none is wanted
//   {"do": "mqtt", "client": 2, "url": URL, "options": {...}}              an MQTT client
//   {"do": "publish" | "subscribe", "client": 2, "topic": TOPIC, "payload": JSON, "options": {...}}
//   {"do": "close" | "open", "client": 1}
// What happens is said as {"client", "kind": "life" | "push" | "ack", "name", "args"}. {"$bytes": BASE64} stands for bytes, both ways.
const readline = require("readline");
const { io } = require("socket.io-client");
const mqtt = require("mqtt");

const clients = new Map();

const isBytes = (value) => value !== null && typeof value === "object" && typeof value.$bytes === "string";
const revive = (_key, value) => (isBytes(value) ? Buffer.from(value.$bytes, "base64") : value);
const plain = (value) => {
  if (Buffer.isBuffer(value) || value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString("base64") };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
};
const say = (client, kind, name, args) =>
  process.stdout.write(JSON.stringify({ client, kind, name, args: args.map(plain) }) + "\n");

const commands = {
  connect({ client, url, beside, options }) {
    const socket = beside ? clients.get(beside).io.socket(url, options) : io(url, options);
    const life = (name, ...args) => say(client, "life", name, args);
    socket.on("connect", () => life("connect", socket.id, socket.io.engine.id, socket.io.engine.transport.name));
    socket.on("connect_error", (error) => life("connect_error", error.message, error.data ?? null, socket.active));
    socket.on("disconnect", (reason) => life("disconnect", reason, socket.active));
    socket.io.on("open", () => socket.io.engine.on("upgrade", (transport) => life("upgrade", transport.name)));
    socket.onAny((name, ...args) => say(client, "push", name, args));
    clients.set(client, socket);
  },
  emit({ client, name, args, ack }) {
    const wanted = ack === undefined ? [] : [(...values) => say(client, "ack", ack, values)];
    clients.get(client).emit(name, ...args, ...wanted);
  },
  mqtt({ client, url, options }) {
    const station = mqtt.connect(url, options);
    station.on("connect", () => say(client, "life", "connect", []));
    station.on("close", () => say(client, "life", "disconnect", []));
    station.on("error", (error) => say(client, "life", "connect_error", [error.message]));
    station.on("message", (topic, payload) => say(client, "push", topic, [JSON.parse(String(payload))]));
    clients.set(client, station);
  },
  publish({ client, topic, payload, options }) {
    clients.get(client).publish(topic, JSON.stringify(payload), options);
  },
  subscribe({ client, topic, options }) {
    clients.get(client).subscribe(topic, options, (error, granted) =>
      say(client, "life", "subscribe", [error ? error.message : granted[0].qos]));
  },
  open({ client }) {
    clients.get(client).connect();
  },
  close({ client }) {
    const gone = clients.get(client);
    if (gone.close) gone.close();
    else gone.end(true);
  },
};

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line, revive);
  commands[command.do](command);
});
lines.on("close", () => process.exit(0));
