// The view, what moves it, and when to draw.

const MAX_LANES = 460; // pixels of lanes before they scroll
const LEAST = 20; // microseconds that a view spans at least
const stack = byId("stack"), scroller = byId("scroller"), tip = byId("tip"), cross = byId("cross");
let asked = false, pending = 0;

function draw() {
  drawCharts();
  drawLanes();
  byId("range").textContent = `${duration(view.to - view.from)} from ${moment(view.from)}`;
}

function requestDraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

function setView(from, to) {
  const [, last, earliest] = WHOLE;
  const span = Math.min(Math.max(to - from, LEAST), last - earliest);
  const begin = Math.min(Math.max(from, earliest), last - span);
  view.from = begin;
  view.to = begin + span;
  requestDraw();
}
const fit = () => setView(WHOLE[0], WHOLE[1]);
const whole = () => view.to - view.from >= (WHOLE[1] - WHOLE[2]) * 0.999;

/** Zoom around a time that keeps its place. */
function zoom(factor, around = (view.from + view.to) / 2) {
  setView(around - (around - view.from) * factor, around + (view.to - around) * factor);
}
const pan = (part) => setView(view.from + (view.to - view.from) * part, view.to + (view.to - view.from) * part);

/** Bring a job and its lane into sight; zoom in as far as is needed to see it. */
function reveal(i) {
  const length = Math.max(end[i] - start[i], 10);
  let span = view.to - view.from;
  if (length < span / 60) span = length * 60;
  if (length > span / 2) span = length * 2;
  if (start[i] < view.from || end[i] > view.to || span !== view.to - view.from) setView((start[i] + end[i] - span) / 2, (start[i] + end[i] + span) / 2);
  const row = rows.find((one) => one.lane === jobs.lane[i]);
  if (row.y < scroller.scrollTop || row.y + row.height > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = row.y - scroller.clientHeight / 2;
}

/** Choose the next or previous job by start: from the chosen one, else from the edge of the view. */
function walk(step) {
  let i = chosen + step;
  if (chosen === -1) {
    i = step > 0 ? 0 : N - 1;
    while (step > 0 && i < N && end[i] < view.from) i++;
  }
  if (i >= 0 && i < N) choose(i, true);
}

const KEYS = {
  ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6),
  0: fit, Home: fit, n: () => walk(1), p: () => walk(-1), Escape: () => choose(-1),
  ArrowUp: () => { scroller.scrollTop -= 60; }, ArrowDown: () => { scroller.scrollTop += 60; },
};
stack.addEventListener("keydown", (event) => {
  const act = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
for (const [id, act] of [["left", () => pan(-0.3)], ["right", () => pan(0.3)], ["in", () => zoom(0.5)], ["out", () => zoom(2)], ["fit", fit]]) {
  byId(id).addEventListener("click", act);
}

stack.addEventListener("wheel", (event) => {
  const outward = event.deltaY > 0;
  if (event.shiftKey) return; // the browser scrolls the lanes
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    pan(event.deltaX / view.width);
  } else if (!(outward && whole())) { // all is in view: let the page scroll on
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    zoom(Math.exp(Math.max(-1, Math.min(1, pixels * 0.002))), timeAt(event.clientX - stack.getBoundingClientRect().left));
  }
}, { passive: false });

let drag = null;
stack.addEventListener("pointerdown", (event) => {
  const edge = stack.getBoundingClientRect().right - RIGHT;
  if (event.button || event.clientX > edge) return; // the scroll bar
  drag = { x: event.clientX, y: event.clientY, from: view.from, to: view.to, top: scroller.scrollTop, moved: false };
  stack.setPointerCapture(event.pointerId);
});
stack.addEventListener("pointermove", (event) => {
  if (!drag) { hover(event); return; }
  const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
  if (!drag.moved && Math.abs(dx) + Math.abs(dy) < 4) return;
  drag.moved = true;
  stack.classList.add("dragging");
  hideTip();
  const shift = (dx / view.width) * (drag.to - drag.from);
  setView(drag.from - shift, drag.to - shift);
  scroller.scrollTop = drag.top - dy;
});
function drop(event) {
  if (drag && !drag.moved && event.type === "pointerup") choose(jobUnder(event));
  drag = null;
  stack.classList.remove("dragging");
}
stack.addEventListener("pointerup", drop);
stack.addEventListener("pointercancel", drop);
stack.addEventListener("pointerleave", hideTip);
stack.addEventListener("dblclick", (event) => zoom(0.3, timeAt(event.clientX - stack.getBoundingClientRect().left)));
scroller.addEventListener("scroll", requestDraw);

function jobUnder(event) {
  const box = scroller.getBoundingClientRect();
  if (event.clientY < box.top || event.clientY > box.bottom) return -1;
  return jobAt(event.clientX - box.left, event.clientY - box.top);
}

function hideTip() {
  tip.hidden = cross.hidden = true;
}

/** What the charts show at a time. */
function chartFacts(t) {
  const level = (rising, falling) => upTo(rising.times, t) - upTo(falling.times, t);
  return [["time", moment(t)], ["after", duration(t - ORIGIN)], ["waiting", count(level(arrivals, departures))], ["running", count(level(begins, ends))]];
}

function hover(event) {
  const box = stack.getBoundingClientRect(), x = event.clientX - box.left - stack.clientLeft;
  if (x < GUTTER || x > GUTTER + view.width) { hideTip(); return; }
  cross.hidden = false;
  cross.style.left = `${x}px`;
  const i = jobUnder(event);
  tip.replaceChildren(factList(i === -1 ? chartFacts(timeAt(x)) : factsOf(i)));
  tip.hidden = false;
  const room = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, event.clientX + 16 + room.width > innerWidth ? event.clientX - room.width - 16 : event.clientX + 16)}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - room.height - 6))}px`;
}

function resize() {
  view.width = Math.max(200, stack.clientWidth - GUTTER - RIGHT);
  byId("spacer").style.height = `${rowsHeight}px`;
  const print = document.documentElement.classList.contains("print");
  scroller.style.height = `${Math.min(rowsHeight, print ? 3000 : Math.max(MAX_LANES, innerHeight * 0.5)) + 2}px`;
}
function restyle(print) {
  document.documentElement.classList.toggle("print", print);
  readTheme();
  fillLegend();
  resize();
  draw();
}
window.addEventListener("resize", () => {
  clearTimeout(pending);
  pending = setTimeout(() => { resize(); draw(); }, 60);
});
window.addEventListener("beforeprint", () => restyle(true));
window.addEventListener("afterprint", () => restyle(false));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => restyle(false));

fillHeader();
readTheme();
fillLegend();
fillTables();
resize();
draw();
document.documentElement.dataset.drawn = String(Math.round(performance.now())); // milliseconds since the page was asked for
