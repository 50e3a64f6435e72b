// What every canvas shares: the colours of the theme, the axis of time, the left margin.

const GUTTER = 158; // pixels left of the plots, for names and numbers
const RIGHT = 14; // pixels right of them; the lanes' scroll bar lies here
const COLOURS = 7; // tasks with a colour of their own; the eighth is for all others

let theme = {};
function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  theme = {};
  for (const name of ["bg", "panel", "text", "dim", "line", "wait", "run", "ok", "fail", "mark", "focus"]) theme[name] = read(name);
  theme.tasks = Array.from({ length: COLOURS + 1 }, (_, i) => read(`c${i}`));
}
const colourOf = (task) => Math.min(task, COLOURS); // tasks come by their total time

const view = { from: WHOLE[0], to: WHOLE[1], width: 800 };
const xOf = (t) => GUTTER + ((t - view.from) / (view.to - view.from)) * view.width;
const timeAt = (x) => view.from + ((x - GUTTER) / view.width) * (view.to - view.from);

const canvases = {};
/** Fit a canvas to its place and the screen's pixels, cleared; returns its context. */
function begin(id, height) {
  const canvas = canvases[id] ?? (canvases[id] = document.getElementById(id));
  const width = GUTTER + view.width + RIGHT;
  const ratio = window.devicePixelRatio || 1;
  const w = Math.round(width * ratio), h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = '12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  g.textBaseline = "middle";
  return g;
}

/** A text that ends with an ellipsis where it would be wider than the room. */
function fitted(g, text, room) {
  if (g.measureText(text).width <= room) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (g.measureText(text.slice(0, middle) + "\u2026").width <= room) low = middle; else high = middle - 1;
  }
  return text.slice(0, low) + "\u2026";
}

const SIXTIES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]; // seconds
/** Round distance of time marks, at least so many pixels apart. */
function timeStep(pixels) {
  const least = ((view.to - view.from) * pixels) / view.width;
  if (least < 1e6) return roundUp(least);
  return (SIXTIES.find((s) => s * 1e6 >= least) ?? Math.ceil(least / 8.64e10) * 86400) * 1e6;
}
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((digit) => digit * power >= value * 0.999999) * power;
}

/** A time mark, with as many digits as its distance to the next needs. */
function tickText(t, step) {
  if (Math.abs(t) < step / 1e3) return "0";
  if (step >= 1e6 && (step >= 6e7 || Math.abs(t) >= 6e8)) return duration(t);
  const [unit, name] = step >= 1e3 ? [1e6, "s"] : [1e3, "ms"];
  return `${(t / unit).toFixed(decimals(step / unit))} ${name}`.replace("-", "\u2212");
}
const decimals = (step) => Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));

function eachTick(draw) {
  const step = timeStep(90);
  for (let t = Math.ceil((view.from - ORIGIN) / step) * step; t + ORIGIN <= view.to; t += step) draw(xOf(t + ORIGIN), t, step);
}

function grid(g, top, bottom) {
  g.fillStyle = theme.line;
  g.globalAlpha = 0.6;
  eachTick((x) => g.fillRect(Math.round(x), top, 1, bottom - top));
  g.globalAlpha = 1;
}

function drawAxis() {
  const g = begin("axis", 22);
  g.fillStyle = theme.dim;
  eachTick((x, t, step) => {
    g.fillRect(Math.round(x), 0, 1, 5);
    const text = tickText(t, step), half = g.measureText(text).width / 2;
    if (x - half >= GUTTER - 20 && x + half <= GUTTER + view.width + RIGHT) g.fillText(text, x - half, 14);
  });
  g.fillText("time", 10, 14);
}

/** Title and scale in the margin of a chart. */
function margin(g, height, title, top, bottom, lines = []) {
  g.fillStyle = theme.line;
  g.fillRect(0, 0, GUTTER + view.width + RIGHT, 1);
  g.fillStyle = theme.text;
  g.fillText(title, 10, 12);
  let y = 28;
  for (const [text, colour, dash] of lines) {
    g.strokeStyle = colour;
    g.lineWidth = 2;
    g.setLineDash(dash);
    g.beginPath();
    g.moveTo(10, y);
    g.lineTo(30, y);
    g.stroke();
    g.setLineDash([]);
    g.fillStyle = theme.dim;
    g.fillText(text, 36, y);
    y += 15;
  }
  g.fillStyle = theme.dim;
  g.textAlign = "right";
  g.fillText(top, GUTTER - 6, 12);
  g.fillText(bottom, GUTTER - 6, height - 8);
  g.textAlign = "left";
}
