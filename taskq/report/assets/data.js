// The columns of the page's data as typed arrays, and what is counted from them. Times are microseconds from the base.

const raw = JSON.parse(document.getElementById("data").textContent);
const jobs = raw.jobs;
const N = jobs.id.length;

const start = new Float64Array(N); // of a job that never started: its end
const end = new Float64Array(N);
const enqueued = new Float64Array(N); // NaN where unknown
const NEVER = -1; // in a column: the time is unknown
for (let i = 0, at = 0; i < N; i++) {
  at += jobs.start[i];
  start[i] = at;
  end[i] = jobs.run[i] === NEVER ? at : at + jobs.run[i];
  enqueued[i] = jobs.wait[i] === NEVER ? NaN : at - jobs.wait[i];
}
const ran = (i) => jobs.run[i] !== NEVER;
const ENDINGS = { s: "succeeded", f: "failed", c: "crashed", e: "expired", x: "cancelled" };
const endingOf = (i) => ENDINGS[jobs.ending[i]];
const failed = (i) => "fce".includes(jobs.ending[i]);

function sorted(count, keep, value) {
  const found = new Float64Array(count);
  let n = 0;
  for (let i = 0; i < count; i++) if (keep(i)) found[n++] = value(i);
  return found.subarray(0, n).sort();
}

/** How many of the sorted times are at or before t. */
function upTo(times, t) {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1; else high = middle;
  }
  return low;
}

/** A number that rises by one at each of its times: exact at any zoom, without looking at every job. */
class Steps {
  constructor(times) {
    this.times = times;
    this.sums = new Float64Array(times.length + 1);
    for (let i = 0; i < times.length; i++) this.sums[i + 1] = this.sums[i] + times[i];
  }

  /** The area below it from a to b. */
  area(a, b) {
    const first = upTo(this.times, a), last = upTo(this.times, b);
    let rise = 0;
    if (last - first < 64) for (let i = first; i < last; i++) rise += b - this.times[i]; // the sums are too coarse here
    else rise = (last - first) * b - (this.sums[last] - this.sums[first]);
    return first * (b - a) + rise;
  }
}

const hasWait = (i) => jobs.wait[i] !== NEVER;
const arrivals = new Steps(sorted(N, hasWait, (i) => enqueued[i]));
const departures = new Steps(sorted(N, hasWait, (i) => start[i]));
const begins = new Steps(sorted(N, ran, (i) => start[i]));
const ends = new Steps(sorted(N, ran, (i) => end[i]));
const good = sorted(N, (i) => !failed(i), (i) => end[i]);
const bad = sorted(N, failed, (i) => end[i]);

const byEnd = Int32Array.from({ length: N }, (_, i) => i).sort((a, b) => end[a] - end[b]);
const endTimes = Float64Array.from(byEnd, (i) => end[i]);

/** Of each lane its jobs by start. */
const laneJobs = raw.lanes.map(() => []);
for (let i = 0; i < N; i++) laneJobs[jobs.lane[i]].push(i);

/** The whole: from where the first job starts, with as much of its waiting as leaves it half of the picture. */
function wholeSpan() {
  if (!N) return [0, 1e6, 0];
  let last = 0, first = Infinity, earliest = Infinity;
  for (let i = 0; i < N; i++) {
    last = Math.max(last, end[i]);
    first = Math.min(first, start[i]);
    if (hasWait(i)) earliest = Math.min(earliest, enqueued[i]);
  }
  earliest = Math.min(earliest, first);
  const from = Math.max(earliest, first - Math.max(last - first, 1000));
  const margin = Math.max((last - from) * 0.01, 50);
  return [from - margin, last + margin, Math.min(from - margin, earliest - margin)];
}
const WHOLE = wholeSpan();
const ORIGIN = N ? Math.max(WHOLE[0], 0) : 0; // what the axis calls 0

function duration(us) {
  const minus = us < 0 ? "\u2212" : "";
  const v = Math.abs(us);
  if (v < 1e3) return `${minus}${Math.round(v)} \u00b5s`;
  if (v < 1e6) return `${minus}${(v / 1e3).toPrecision(3)} ms`.replace("1.00e+3", "1000");
  if (v < 6e7) return `${minus}${(v / 1e6).toFixed(v < 1e7 ? 2 : 1)} s`;
  const s = Math.round(v / 1e6), pad = (n) => String(n).padStart(2, "0");
  if (s < 3600) return `${minus}${Math.floor(s / 60)}m${pad(s % 60)}s`;
  if (s < 86400) return `${minus}${Math.floor(s / 3600)}h${pad(Math.floor(s / 60) % 60)}m`;
  return `${minus}${Math.floor(s / 86400)}d${pad(Math.floor(s / 3600) % 24)}h`;
}

/** A moment by the server's clock, in the reader's time zone. */
function moment(us, digits = 3) {
  const total = raw.base_us + us;
  const date = new Date(total / 1000);
  const two = (n) => String(n).padStart(2, "0");
  const fraction = (((total % 1e6) + 1e6) % 1e6 / 1e6).toFixed(6).slice(2, 2 + digits);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}${digits ? "." + fraction : ""}`;
}

const count = (n) => Math.round(n).toLocaleString("en");
const few = (n) => (n >= 100 ? count(n) : n.toPrecision(3).replace(/\.?0+$/, ""));
