// A bare Socket.IO server that does nothing but answer: what `python -m benchmarks.acks` compares with.
// Prints its port once it accepts. NODE_PATH names where socket.io is installed.
const { createServer } = require("http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket", "polling"] });
io.on("connection", (socket) => {
  socket.on("ping", (_data, ack) => ack({ pong: true, ts: Date.now() }));
});
http.listen(0, "127.0.0.1", 1024, () => console.log(http.address().port));
