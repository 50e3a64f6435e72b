// The lanes: a row for each slot, below a row for its worker. Jobs narrower than a pixel share one.

const HEAD = 20; // pixels of a worker's row
const MARK = 7; // pixels of the mark of a failure
const laneHeight = raw.lanes.length <= 12 ? 20 : raw.lanes.length <= 40 ? 14 : raw.lanes.length <= 100 ? 10 : 8;

/** Rows from top to bottom: a worker's name (lane -1) before its first slot. */
const rows = [];
let rowsHeight = 0;
function addRow(lane, text, height) {
  rows.push({ lane, text, y: rowsHeight, height });
  rowsHeight += height;
}
raw.lanes.forEach(([worker, text], lane) => {
  if (!lane || raw.lanes[lane - 1][0] !== worker) addRow(-1, raw.worker_names[worker], HEAD);
  addRow(lane, text, laneHeight);
});

let highlighted = -1; // colour that is brought out, or none
let chosen = -1; // job whose facts are kept
const faded = (colour) => highlighted !== -1 && colour !== highlighted;

/** Place in a lane of the first job that ends after t; ends ascend with starts, but for the clock's doubt. */
function firstAfter(list, t) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (end[list[middle]] <= t) low = middle + 1; else high = middle;
  }
  return low;
}

function drawLanes() {
  const scroller = document.getElementById("scroller");
  const height = Math.max(1, Math.min(rowsHeight, scroller.clientHeight || rowsHeight)), top = scroller.scrollTop;
  const g = begin("lanes", height);
  grid(g, 0, height);
  for (const row of rows) {
    const y = row.y - top;
    if (y + row.height < 0 || y > height) continue;
    if (row.lane === -1) drawHead(g, row, y); else drawLane(g, row, y);
  }
  if (top > 0) drawHead(g, headOf(rowAt(0)), 0); // the worker whose slots are at the top stays named
}

function drawHead(g, row, y) {
  g.fillStyle = theme.panel;
  g.fillRect(0, y, GUTTER + view.width + RIGHT, row.height);
  g.fillStyle = theme.text;
  g.fillText(fitted(g, row.text, GUTTER + view.width - 20), 10, y + row.height / 2);
}

function drawLane(g, row, y) {
  const [, , leads] = raw.lanes[row.lane], roomy = row.height >= 12;
  if (roomy || leads) { // where rows are too low for a name each, the first one of a child has the child's
    g.save();
    const crowded = raw.lanes[row.lane + 1]?.[2]; // the next row has a name too
    if (!roomy) g.font = `${crowded ? row.height + 1 : 11}px system-ui, "DejaVu Sans", sans-serif`;
    g.fillStyle = theme.dim;
    g.fillText(fitted(g, roomy ? row.text : row.text.split(",")[0], GUTTER - 30), 20, y + row.height / 2);
    g.restore();
  }
  g.save();
  g.beginPath();
  g.rect(GUTTER, y, view.width, row.height);
  g.clip();
  const pen = new Pen(g, y + 1, row.height - 2);
  const list = laneJobs[row.lane], first = Math.max(0, firstAfter(list, view.from) - 1);
  let before = first ? end[list[first - 1]] : -Infinity;
  for (let k = first; k < list.length && before <= view.to; k++) {
    pen.job(list[k], before);
    before = end[list[k]];
  }
  pen.finish();
  g.restore();
}

/** Draws the jobs of one lane, in order. */
class Pen {
  constructor(g, y, height) {
    Object.assign(this, { g, y, height, column: -1, failures: [], lastFailure: -Infinity });
    this.busy = new Float64Array(COLOURS + 1);
  }

  job(i, before) {
    const x = xOf(start[i]), right = xOf(end[i]), colour = colourOf(jobs.task[i]);
    if (failed(i) || !ran(i)) this.fail(Math.max(right, x));
    if (!ran(i)) return;
    this.wait(i, before, x);
    if (right - x >= 1.5) {
      this.flush();
      this.rect(colour, x, Math.max(1, right - x - (right - x > 4 ? 1 : 0)), 1);
    } else {
      if (Math.floor(x) !== this.column) this.flush();
      this.column = Math.floor(x);
      this.busy[colour] += Math.max(right - x, 0.02);
    }
    if (i === chosen) this.outline = [x, right];
  }

  /** A thin pale bar while the job waited and its slot was free. */
  wait(i, before, x) {
    if (!hasWait(i)) return;
    const from = xOf(i === chosen ? enqueued[i] : Math.max(enqueued[i], before));
    if (x - from < 2) return;
    const left = Math.max(from, GUTTER - 2), thick = i === chosen ? Math.max(3, this.height / 2) : Math.max(2, this.height / 5);
    this.g.fillStyle = theme.wait;
    this.g.globalAlpha = faded(colourOf(jobs.task[i])) ? 0.2 : 1;
    this.g.fillRect(left, this.y + (this.height - thick) / 2, x - left, thick);
    this.g.globalAlpha = 1;
  }

  rect(colour, x, width, alpha) {
    this.g.fillStyle = theme.tasks[colour];
    this.g.globalAlpha = faded(colour) ? 0.15 * alpha : alpha;
    this.g.fillRect(x, this.y, width, this.height);
    this.g.globalAlpha = 1;
  }

  /** Draw the column of short jobs: in the colour of most of the time, the paler the idler. */
  flush() {
    if (this.column === -1) return;
    let most = 0, total = 0;
    this.busy.forEach((busy, colour) => {
      total += busy;
      if (busy > this.busy[most] || (highlighted === colour && busy)) most = colour;
    });
    this.rect(most, this.column, 1, 0.3 + 0.7 * Math.min(1, total));
    this.busy.fill(0);
    this.column = -1;
  }

  fail(x) {
    if (x - this.lastFailure < 3) return;
    this.lastFailure = x;
    this.failures.push(x);
  }

  finish() {
    this.flush();
    const g = this.g, size = Math.min(MARK, this.height);
    for (const x of this.failures) { // a triangle that points at the end, with a rim of the background
      g.beginPath();
      g.moveTo(x - size * 0.6, this.y);
      g.lineTo(x + size * 0.6, this.y);
      g.lineTo(x, this.y + size);
      g.closePath();
      g.strokeStyle = theme.bg;
      g.lineWidth = 2;
      g.stroke();
      g.fillStyle = theme.mark;
      g.fill();
    }
    if (this.outline) {
      g.strokeStyle = theme.text;
      g.lineWidth = 2;
      g.strokeRect(this.outline[0] - 1, this.y, Math.max(3, this.outline[1] - this.outline[0] + 2), this.height);
    }
  }
}

/** The row of the worker that a row belongs to. */
function headOf(row) {
  let at = rows.indexOf(row);
  while (rows[at].lane !== -1) at--;
  return rows[at];
}

/** The row at a height inside the lanes' canvas. */
function rowAt(y) {
  const at = y + document.getElementById("scroller").scrollTop;
  let low = 0, high = rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (rows[middle].y <= at) low = middle; else high = middle - 1;
  }
  return rows[low];
}

/** The job at a point of the lanes' canvas, or -1; what is too thin to hit is found within some pixels. */
function jobAt(x, y) {
  const row = rowAt(y);
  const hidden = y < HEAD && document.getElementById("scroller").scrollTop > 0; // under the name that stays
  if (!row || row.lane === -1 || x < GUTTER || hidden) return -1;
  const list = laneJobs[row.lane], k = firstAfter(list, timeAt(x));
  let best = -1, nearest = 4; // pixels
  for (let n = Math.max(0, k - 2); n < Math.min(list.length, k + 2); n++) {
    const distance = Math.max(xOf(start[list[n]]) - x, x - xOf(end[list[n]]), 0);
    if (distance < nearest) [best, nearest] = [list[n], distance];
  }
  return best;
}
