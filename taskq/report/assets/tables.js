// Everything that is text. What others wrote enters the page as text only, never as markup.

function make(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}
const byId = (id) => document.getElementById(id);

function fillHeader() {
  const name = `taskq report: ${raw.app}`;
  document.title = name;
  byId("title").textContent = name;
  byId("about").textContent = raw.about;
  byId("notes").textContent = raw.notes.join(" ");
  byId("notes").hidden = !raw.notes.length;
  for (const [label, value] of raw.figures) {
    const box = make("div");
    box.append(make("dt", label), make("dd", value));
    byId("figures").append(box);
  }
}

function swatch(task) {
  const made = make("i");
  made.style.background = `var(--c${colourOf(task)})`;
  return made;
}

/** A small picture for the legend. */
function key(text, draw) {
  const box = make("span", undefined, "key"), canvas = make("canvas");
  canvas.width = 44;
  canvas.height = 24;
  const g = canvas.getContext("2d");
  g.scale(2, 2);
  draw(g);
  box.append(canvas, make("span", text));
  return box;
}

function fillLegend() {
  const legend = byId("legend");
  legend.replaceChildren();
  raw.tasks.slice(0, COLOURS + 1).forEach((task, i) => {
    const many = i === COLOURS && raw.tasks.length > COLOURS + 1;
    const button = make("button");
    button.type = "button";
    button.setAttribute("aria-pressed", String(highlighted === i));
    button.append(swatch(i), make("span", many ? `${raw.tasks.length - COLOURS} other tasks` : task || "(unknown task)", "name"));
    button.addEventListener("click", () => {
      highlighted = highlighted === i ? -1 : i;
      [...legend.querySelectorAll("button")].forEach((b, n) => b.setAttribute("aria-pressed", String(n === highlighted)));
      requestDraw();
    });
    legend.append(button);
  });
  legend.append(
    key("running", (g) => { g.fillStyle = theme.tasks[0]; g.fillRect(0, 1, 22, 10); }),
    key("waiting while its slot is free", (g) => { g.fillStyle = theme.wait; g.fillRect(0, 4, 22, 3); }),
    key("failed, or ended unstarted", (g) => { g.fillStyle = theme.mark; g.beginPath(); g.moveTo(5, 1); g.lineTo(17, 1); g.lineTo(11, 11); g.fill(); }),
  );
}

/** The facts of a job as pairs. */
function factsOf(i) {
  const lane = raw.lanes[jobs.lane[i]], place = [raw.workers[lane[0]], raw.places ? raw.places[jobs.place[i]] : lane[1]].filter(Boolean).join(", ");
  const error = raw.errors[jobs.error[i]];
  const facts = [
    ["task", raw.tasks[jobs.task[i]] || "(unknown)"],
    ["job", `${raw.queues[jobs.queue[i]]}/${jobs.id[i]}`],
    ["ended", endingOf(i), failed(i) ? "failed" : ""],
  ];
  if (error) facts.push(["error", error[1] ? `${error[0]}: ${error[1]}` : error[0], "failed"]);
  if (hasWait(i)) facts.push([ran(i) ? "waited" : "lived", duration(jobs.wait[i])]);
  if (ran(i)) facts.push(["ran", duration(jobs.run[i])]);
  if (jobs.attempt[i]) facts.push(["attempt", String(jobs.attempt[i])]);
  facts.push(["where", place]);
  if (hasWait(i)) facts.push(["enqueued", moment(enqueued[i])]);
  if (jobs.claim[i] !== NEVER) facts.push(["claimed", moment(start[i] - jobs.claim[i])]);
  if (ran(i)) facts.push(["started", moment(start[i])]);
  facts.push(["finished", moment(end[i])]);
  return facts;
}

function factList(facts) {
  const list = make("dl", undefined, "facts");
  for (const [label, value, className] of facts) list.append(make("dt", label), make("dd", value, className));
  return list;
}

function choose(i, show) {
  chosen = i;
  const box = byId("chosen");
  box.hidden = i === -1;
  box.replaceChildren();
  if (i !== -1) {
    box.append(factList(factsOf(i)));
    if (show) reveal(i);
  }
  requestDraw();
}

/** A table; a cell is a text, a number with how to write it, or a node. */
function table(heads, lines, none) {
  if (!lines.length) return make("p", none, "none");
  const made = make("table"), head = make("tr"), body = make("tbody"), top = make("thead");
  for (const [text, number] of heads) {
    const cell = make("th", text, number ? "number" : "");
    cell.scope = "col";
    head.append(cell);
  }
  for (const line of lines) {
    const row = make("tr");
    line.forEach((value, i) => {
      const cell = make("td", undefined, heads[i][1] ? "number" : "");
      cell.append(value);
      row.append(cell);
    });
    body.append(row);
  }
  top.append(head);
  made.append(top, body);
  return made;
}

function jobButton(i) {
  const button = make("button", `${raw.queues[jobs.queue[i]]}/${jobs.id[i]}`);
  button.type = "button";
  button.title = "Show it in the timeline";
  button.addEventListener("click", () => {
    choose(i, true);
    byId("stack").scrollIntoView({ block: "nearest" });
  });
  return button;
}

function taskCell(task) {
  const cell = make("span");
  cell.append(swatch(task), raw.tasks[task] || "(unknown)");
  return cell;
}

const time = (us) => (us === null ? "-" : duration(us));

function fillTables() {
  const number = (text) => [text, true];
  byId("tasks").append(table(
    [["task"], ...["jobs", "failed", "wait p50", "wait p95", "run p50", "run p95", "longest run", "ran in all"].map(number)],
    raw.task_rows.map(([task, jobs_, failed_, ...times]) => [taskCell(task), count(jobs_), count(failed_), ...times.map(time)]),
    "No jobs.",
  ));
  byId("slowest").append(table(
    [["task"], ["job"], number("ran"), number("waited"), ["ended"]],
    raw.slowest.map((i) => [taskCell(jobs.task[i]), jobButton(i), duration(jobs.run[i]), hasWait(i) ? duration(jobs.wait[i]) : "-", endingOf(i)]),
    "No job that ran has kept its times.",
  ));
  byId("failures").append(table(
    [["task"], ["ended"], ["error"], number("jobs"), ["last message"], ["last one"]],
    raw.failures.map(([task, ending, error, n, message, id, i]) => [taskCell(task), ending, error, count(n), message, i === null ? id : jobButton(i)]),
    "None failed.",
  ));
}
