"use strict";

// Every 2 seconds while somebody looks; not at all otherwise.
const PERIOD_MS = 2000;

const whole = new Intl.NumberFormat();
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

const number = (value) => whole.format(value);
const millis = (micros) => `${whole.format(Math.round(micros / 100) / 10)} ms`;
const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
};
const elapsed = (ms) => {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  return parts.slice(first < 0 ? 3 : first, (first < 0 ? 3 : first) + 2)
    .map(([value, unit]) => `${value} ${unit}`).join(" ");
};

// A cell is text, a number, or a text that is bad news. All of them become text nodes.
const text = (value) => ({ value });
const count = (value) => ({ value: number(value), kind: "number" });
const measured = (value) => ({ value, kind: "number" });
const alarm = (value) => ({ value: number(value), kind: value > 0 ? "number bad" : "number" });

// On narrow screens the style turns tables into lists, which costs elements their meaning to screen
// readers: the roles keep it.
const roles = { thead: "rowgroup", tbody: "rowgroup", tr: "row", td: "cell" };

function element(name, content, className) {
  const made = document.createElement(name);
  if (roles[name]) made.setAttribute("role", roles[name]);
  if (content !== undefined) made.textContent = content;
  if (className) made.className = className;
  return made;
}

function fill(id, columns, rows, nothing) {
  const head = element("thead");
  const heading = head.appendChild(element("tr"));
  const sample = rows[0] ?? [];
  columns.forEach((column, index) => {
    const cell = element("th", column, sample[index]?.kind?.startsWith("number") ? "number" : "");
    cell.scope = "col";
    cell.setAttribute("role", "columnheader");
    heading.append(cell);
  });
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    row.forEach((cell, index) => {
      const made = element(index === 0 ? "th" : "td", cell.value, cell.kind);
      if (index === 0) {
        made.scope = "row";
        made.setAttribute("role", "rowheader");
      } else {
        made.dataset.label = columns[index];
      }
      line.append(made);
    });
    body.append(line);
  }
  if (rows.length === 0) {
    const cell = element("td", nothing, "empty");
    cell.colSpan = columns.length;
    body.appendChild(element("tr")).append(cell);
  }
  const table = document.getElementById(id);
  table.setAttribute("role", "table");
  table.replaceChildren(head, body);
}

function show(data) {
  const sum = (rows, of) => rows.reduce((total, row) => total + of(row), 0);
  document.getElementById("server").textContent =
    `${data.version} · account ${data.account} · ${data.region} · up ${elapsed(data.now - data.started_at)}`;

  const totals = [
    ["Invocations", number(sum(data.functions, (row) => row.invocations))],
    ["Instances busy", number(sum(data.functions, (row) => row.instances_busy))],
    ["Instances warm", number(sum(data.functions, (row) => row.instances_idle))],
    ["Events waiting", number(sum(data.triggers, (row) => row.lag))],
    [`Bill (${data.billing.price_sheet})`, `${data.billing.total} ${data.billing.currency}`],
    ["GB-seconds", data.billing.gb_seconds],
    ["Usage not billed yet", number(data.billing.unbilled)],
    ["Log", bytes(data.log.bytes)],
  ].map(([name, value]) => {
    const pair = document.createElement("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  });
  document.getElementById("totals").replaceChildren(...totals);

  fill("functions",
    ["Function", "Runtime", "Memory", "Timeout", "Busy", "Warm", "Invocations", "Failed", "Billed"],
    data.functions.map((row) => [
      text(row.name), text(row.runtime), measured(`${number(row.memory_mib)} MiB`),
      measured(`${number(row.timeout_seconds)} s`), count(row.instances_busy), count(row.instances_idle),
      count(row.invocations), alarm(row.failed), measured(`${number(row.billed_ms)} ms`),
    ]),
    "No functions yet.");

  fill("triggers",
    ["Function", "Reads", "State", "Lag", "Received", "Succeeded", "Filtered", "Failed", "Expired", "In flight"],
    data.triggers.map((row) => [
      text(row.function), text(row.source), text(row.state), count(row.lag),
      count(row.tallies.received), count(row.tallies.succeeded), count(row.tallies.filtered),
      alarm(row.tallies.failed), alarm(row.tallies.expired), count(row.tallies.in_flight),
    ]),
    "No triggers yet.");

  fill("connectors",
    ["Connector", "Reads", "State", "Lag", "Delay", "Last error"],
    data.connectors.map((row) => [
      text(row.name), text(row.reads),
      { value: row.state, kind: ["degraded", "retrying", "failed"].includes(row.state) ? "bad" : "" },
      row.lag === null ? measured("–") : count(row.lag),
      measured(row.delay_ms === null ? "–" : `${number(row.delay_ms)} ms`),
      text(row.last_error ?? ""),
    ]),
    "No connectors yet.");

  fill("invocations",
    ["Function", "Ended", "Outcome", "Attempt", "Records", "Duration", "Init", "Billed"],
    data.invocations.map((row) => [
      text(row.function), text(clock.format(new Date(row.ended_at))),
      { value: row.outcome.replaceAll("_", " "), kind: row.outcome === "success" ? "" : "bad" },
      count(row.attempt), count(row.records), measured(millis(row.duration_us)),
      measured(row.init_us > 0 ? millis(row.init_us) : "–"), measured(`${number(row.billed_ms)} ms`),
    ]),
    "Nothing has run yet.");

  fill("topics",
    ["Topic", "Partitions", "Records"],
    data.log.topics.map((row) => [text(row.name), count(row.partitions), count(row.records)]),
    "No topics yet.");
}

function say(message) {
  const status = document.getElementById("status");
  // Only when it changes: it is read out to whoever cannot see it.
  if (status.textContent !== message) {
    status.textContent = message;
    status.className = message ? "bad" : "";
  }
}

let timer;
let asking = false;

async function refresh() {
  clearTimeout(timer);
  if (asking || document.visibilityState !== "visible") return;
  asking = true;
  let again = true;
  try {
    const answer = await fetch("/dashboard/data.json", { cache: "no-store" });
    if (answer.status === 401) {
      say("The server was restarted: open the link that it printed.");
      again = false;
    } else if (!answer.ok) {
      say(`The server answered ${answer.status}.`);
    } else {
      show(await answer.json());
      say("");
    }
  } catch {
    say("The server does not answer.");
  } finally {
    asking = false;
  }
  if (again) timer = setTimeout(refresh, PERIOD_MS);
}

document.addEventListener("visibilitychange", refresh);
refresh();
