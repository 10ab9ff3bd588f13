// What the web app's pages do, one function each; the test calls them. Nothing here knows of the test.
const page = (() => {
  let socket, station, peer, channel;
  const pushes = [], waiting = [], candidates = [], heard = [];

  const arrived = (name, data) => {
    const index = waiting.findIndex((one) => one.name === name);
    if (index < 0) pushes.push({ name, data });
    else waiting.splice(index, 1)[0].resolve(data);
  };
  const next = (name) => {
    const index = pushes.findIndex((one) => one.name === name);
    if (index >= 0) return pushes.splice(index, 1)[0].data;
    return new Promise((resolve) => waiting.push({ name, resolve }));
  };

  async function http(method, url, token, body, credentials = "include") {
    const headers = {};
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== null) headers["Content-Type"] = "application/json";
    const answer = await fetch(url, { method, headers, body: body === null ? undefined : JSON.stringify(body), credentials });
    const text = await answer.text();
    return { status: answer.status, body: text ? JSON.parse(text) : null };
  }

  function connect(url, options) {
    socket = io(url, { forceNew: true, withCredentials: true, ...options });
    socket.onAny(arrived);
    socket.on("connect", () => arrived("connect", socket.id));
    socket.on("disconnect", (reason) => arrived("disconnect", reason));
    const wanted = options.transports.length > 1 ? new Promise((resolve) => socket.io.engine.once("upgrade", resolve)) : null;
    return new Promise((resolve) => {
      socket.on("connect", async () => {
        await wanted;
        resolve({ id: socket.id, transport: socket.io.engine.transport.name });
      });
      socket.on("connect_error", (error) => resolve({ error: error.message }));
    });
  }

  const ask = (event, data) => socket.timeout(15000).emitWithAck(event, data);
  const leave = () => { socket.disconnect(); };

  // ---- a call: RTCPeerConnection with a data channel, signaled as useVideoChat does

  function newPeer(to) {
    peer = new RTCPeerConnection();
    peer.onicecandidate = ({ candidate }) => candidate && socket.emit("ice-candidate", { to, candidate });
    socket.on("ice-candidate", ({ candidate }) => {
      if (peer.remoteDescription) peer.addIceCandidate(candidate);
      else candidates.push(candidate);
    });
  }
  async function described(description) {
    await peer.setRemoteDescription(description);
    for (const candidate of candidates.splice(0)) await peer.addIceCandidate(candidate);
  }
  function talk(on) {
    channel = on;
    channel.onmessage = ({ data }) => arrived("talk", data);
    if (channel.readyState === "open") arrived("open", true);
    else channel.onopen = () => arrived("open", true);
  }
  async function call(to) {
    newPeer(to);
    talk(peer.createDataChannel("talk"));
    socket.on("answer", ({ answer }) => described(answer));
    await peer.setLocalDescription(await peer.createOffer());
    await ask("offer", { to, offer: peer.localDescription });
    return next("open");
  }
  function takeCalls() {
    socket.on("offer", async ({ from, offer }) => {
      newPeer(from);
      peer.ondatachannel = (event) => talk(event.channel);
      await described(offer);
      await peer.setLocalDescription(await peer.createAnswer());
      await ask("answer", { to: from, answer: peer.localDescription });
    });
  }
  const say = (text) => { channel.send(text); };
  const hangUp = () => { peer.close(); };

  // ---- a station on MQTT over WebSocket

  const publish = (kind, payload) => station.publish(`stations/${station.options.username}/${kind}`, JSON.stringify(payload), { qos: 1 });
  const report = () => publish("status", { devices: [{ deviceId: "cam", name: "Camera", type: "camera", status: "online" }] });
  const answers = {
    "report-status": report,
    "open-gate": ({ id, params }) => publish("reply", { id, stage: "done", result: params }),
    "start-stream": ({ requesterId, cameraId }) => publish("stream", { requesterId, cameraId, status: "ready", url: "rtsp://192.0.2.1/cam" }),
    "join-room": ({ roomId }) => publish("room", { action: "join", roomId }),
  };
  function beStation(url, id, token) {
    station = mqtt.connect(url, {
      clientId: `web-${id}`,
      username: id,
      password: token,
      reconnectPeriod: 0,
      will: { topic: `stations/${id}/offline`, payload: JSON.stringify({ stationId: id, sessionId: "web" }), qos: 1, retain: false },
    });
    station.on("message", (_topic, payload) => {
      const command = JSON.parse(new TextDecoder().decode(payload));
      heard.push(command.type);
      answers[command.type](command);
    });
    return new Promise((resolve) => {
      station.on("error", (error) => resolve(error.message));
      station.on("close", () => resolve("closed"));
      station.on("connect", () => station.subscribe(`stations/${id}/cmd`, { qos: 1 }, (_error, granted) => {
        report();
        resolve(granted[0].qos);
      }));
    });
  }
  const stopStation = () => new Promise((resolve) => station.end(false, {}, resolve));

  return { ask, beStation, call, connect, hangUp, heard: () => heard, http, leave, next, say, stopStation, takeCalls };
})();
window.page = page;
