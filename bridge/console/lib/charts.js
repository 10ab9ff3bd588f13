/** Lines on a canvas, in the colours of its style sheet. */

/** Tells when the colours change by themselves. */
export const dark = matchMedia("(prefers-color-scheme: dark)");

/** How long the line is that shows a lone value: one without any length is not drawn. */
const DOT = 0.01;

/**
 * An empty sheet, as sharp as the screen.
 * @param {HTMLCanvasElement} canvas
 * @param {number} height
 * @returns {{pen: CanvasRenderingContext2D, width: number, line: string, grid: string, mark: string} | null} null: the canvas is not shown.
 */
export function sheetOf(canvas, height) {
  const width = canvas.clientWidth;
  if (!width) return null;
  const ratio = devicePixelRatio;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  // custom properties are not resolved for scripts; these are
  const { color: line, borderBottomColor: grid, caretColor: mark } = getComputedStyle(canvas);
  return { pen, width, line, grid, mark };
}

/**
 * Draws a line through each run of points.
 * @param {{time: number, value: number}[][]} runs
 * @param {(time: number) => number} x
 * @param {(value: number) => number} y
 */
export function drawRuns({ pen, line }, runs, x, y) {
  Object.assign(pen, { strokeStyle: line, lineWidth: 1.6, lineJoin: "round", lineCap: "round" });
  pen.beginPath();
  for (const run of runs) {
    pen.moveTo(x(run[0].time), y(run[0].value));
    for (const { time, value } of run) pen.lineTo(x(time), y(value));
    if (run.length === 1) pen.lineTo(x(run[0].time) + DOT, y(run[0].value));
  }
  pen.stroke();
}
