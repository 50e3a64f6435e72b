// The charts above and below the lanes. Each looks up what it shows for a column of pixels by binary search.

const CHART = 64, TALL = 84; // pixels
const TOP = 6, BOTTOM = 3; // pixels left free in a chart
const MAX_SAMPLE = 512; // jobs of one column whose times are sorted for a percentile

/** Mean of rising minus falling, for each of so many columns of the view. */
function levels(rising, falling, columns) {
  const found = new Float64Array(columns), width = (view.to - view.from) / columns;
  for (let i = 0; i < columns; i++) {
    const a = view.from + i * width, b = a + width;
    found[i] = Math.max(0, (rising.area(a, b) - falling.area(a, b)) / width);
  }
  return found;
}

function drawLevel(id, title, rising, falling, colour) {
  const g = begin(id, CHART), columns = Math.max(1, Math.floor(view.width));
  const values = levels(rising, falling, columns);
  const most = Math.max(1, values.reduce((a, b) => Math.max(a, b), 0));
  grid(g, 0, CHART);
  g.fillStyle = colour;
  g.beginPath();
  const base = CHART - BOTTOM, scale = (base - TOP) / most;
  g.moveTo(GUTTER, base);
  for (let i = 0; i < columns; i++) {
    g.lineTo(GUTTER + (i * view.width) / columns, base - values[i] * scale);
    g.lineTo(GUTTER + ((i + 1) * view.width) / columns, base - values[i] * scale);
  }
  g.lineTo(GUTTER + view.width, base);
  g.fill();
  margin(g, CHART, title, few(most), "0");
}

/** Columns of a chart of counts: as many as the jobs in view can fill, none narrower than the least. */
function columnsFor(shown, perColumn, least) {
  return Math.max(1, Math.min(Math.floor(view.width / least), Math.max(12, Math.floor(shown / perColumn))));
}

function drawFinished() {
  const g = begin("finished", TALL);
  const within = (times, a, b) => upTo(times, b) - upTo(times, a);
  const columns = columnsFor(within(good, view.from, view.to) + within(bad, view.from, view.to), 4, 4);
  const width = (view.to - view.from) / columns, rates = [];
  let most = 0;
  for (let i = 0; i < columns; i++) {
    const a = view.from + i * width, seconds = width / 1e6;
    rates.push([within(good, a, a + width) / seconds, within(bad, a, a + width) / seconds]);
    most = Math.max(most, rates[i][0] + rates[i][1]);
  }
  grid(g, 0, TALL);
  const base = TALL - BOTTOM, scale = most ? (base - TOP) / most : 0, step = view.width / columns;
  rates.forEach(([fine, wrong], i) => {
    const x = GUTTER + i * step, w = Math.max(1, step - (step > 3 ? 1 : 0));
    g.fillStyle = theme.ok;
    g.fillRect(x, base - fine * scale, w, fine * scale);
    if (!wrong) return;
    const height = Math.max(3, wrong * scale), y = Math.max(TOP, base - fine * scale - height);
    g.fillStyle = theme.fail;
    g.fillRect(x, y, w, height);
    g.fillStyle = theme.bg; // stripes: not told by colour alone
    for (let at = y + 2; at < y + height; at += 4) g.fillRect(x, at, w, 1);
  });
  margin(g, TALL, "finished per s", few(most), "0", [["not failed", theme.ok, []], ["failed, striped", theme.fail, [2, 2]]]);
}

/** Middle and 95th percentile of a time, of the jobs that ended in each column; NaN where none did. */
function percentiles(columns, value) {
  const found = [new Float64Array(columns).fill(NaN), new Float64Array(columns).fill(NaN)];
  const width = (view.to - view.from) / columns;
  for (let c = 0; c < columns; c++) {
    const a = view.from + c * width, first = upTo(endTimes, a), last = upTo(endTimes, a + width);
    const step = Math.max(1, Math.floor((last - first) / MAX_SAMPLE)), sample = [];
    for (let i = first; i < last; i += step) {
      const v = value(byEnd[i]);
      if (v !== NEVER && ran(byEnd[i])) sample.push(v);
    }
    if (!sample.length) continue;
    const times = Float64Array.from(sample).sort();
    found[0][c] = times[Math.ceil(times.length * 0.5) - 1];
    found[1][c] = times[Math.ceil(times.length * 0.95) - 1];
  }
  return found;
}

function drawLatency(id, title, value, colour) {
  const g = begin(id, TALL);
  const shown = upTo(endTimes, view.to) - upTo(endTimes, view.from);
  const columns = columnsFor(shown, 8, 8);
  const [middle, high] = percentiles(columns, value);
  grid(g, 0, TALL);
  let low = Infinity, most = 0;
  for (const v of [...middle, ...high]) if (!Number.isNaN(v)) [low, most] = [Math.min(low, Math.max(v, 1)), Math.max(most, v, 1)];
  const some = most > 0;
  low = some ? 10 ** Math.floor(Math.log10(low)) : 1;
  most = some ? 10 ** Math.ceil(Math.log10(most) + 1e-9) : 10;
  if (most <= low) most = low * 10;
  const base = TALL - BOTTOM - 2, span = Math.log10(most / low);
  const y = (v) => base - (Math.log10(Math.max(v, low) / low) / span) * (base - TOP);
  g.fillStyle = theme.line;
  for (let v = low * 10; v < most; v *= 10) g.fillRect(GUTTER, Math.round(y(v)), view.width, 1);
  line(g, middle, y, colour, []);
  line(g, high, y, colour, [4, 3]);
  margin(g, TALL, title, some ? duration(most) : "", some ? duration(low) : "", [["p50", colour, []], ["p95", colour, [4, 3]]]);
}

function line(g, values, y, colour, dash) {
  const step = view.width / values.length;
  g.strokeStyle = colour;
  g.lineWidth = 1.5;
  g.setLineDash(dash);
  g.beginPath();
  let open = false;
  values.forEach((v, i) => {
    if (Number.isNaN(v)) { open = false; return; }
    const x = GUTTER + i * step;
    if (open) g.lineTo(x, y(v)); else g.moveTo(x, y(v));
    g.lineTo(x + step, y(v));
    open = true;
  });
  g.stroke();
  g.setLineDash([]);
}

function drawCharts() {
  drawLevel("waiting", "waiting jobs", arrivals, departures, theme.wait);
  drawLevel("running", "running jobs", begins, ends, theme.run);
  drawAxis();
  drawFinished();
  drawLatency("waits", "waited", (i) => jobs.wait[i], theme.run);
  drawLatency("runs", "ran", (i) => jobs.run[i], theme.tasks[0]);
}
