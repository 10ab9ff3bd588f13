/** A moving picture that no camera makes. */

const WIDTH = 640;
const HEIGHT = 360;
const RATE = 10;

/**
 * Draws a picture with a name and the time on it, until its track is stopped.
 * @param {string} name
 * @returns {MediaStream}
 */
export function testPicture(name) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: WIDTH, height: HEIGHT });
  const pen = canvas.getContext("2d");
  const stream = canvas.captureStream(RATE);
  const [track] = stream.getVideoTracks();
  let at = 0;
  const timer = setInterval(() => (track.readyState === "ended" ? clearInterval(timer) : draw(pen, name, at++)), 1000 / RATE);
  draw(pen, name, at++);
  return stream;
}

function draw(pen, name, at) {
  const colours = ["#c8ccd2", "#c9b037", "#2fa6a6", "#3f9b4f", "#a552a5", "#b8433f", "#3d5bb5"];
  colours.forEach((colour, band) => {
    pen.fillStyle = colour;
    pen.fillRect(Math.floor((band * WIDTH) / colours.length), 0, Math.ceil(WIDTH / colours.length), HEIGHT);
  });
  pen.fillStyle = "#10141a";
  pen.fillRect(0, HEIGHT / 2 - 50, WIDTH, 100);
  pen.fillStyle = "#f2f4f7";
  pen.fillRect(((at * 12) % (WIDTH + 60)) - 60, HEIGHT - 40, 60, 20);
  pen.textAlign = "center";
  pen.font = "600 34px system-ui, sans-serif";
  pen.fillText(name, WIDTH / 2, HEIGHT / 2 - 6, WIDTH - 40);
  pen.font = "26px ui-monospace, monospace";
  pen.fillText(new Date().toLocaleTimeString("en-GB"), WIDTH / 2, HEIGHT / 2 + 34);
}
