// What the pages can do beyond being read: sorting, filters and columns of the table, and two models compared.
// State is kept in the address, so that a view can be linked. Texts are only ever set as text.
// Longer than 250 lines, since a page is to load one script.
"use strict";

const LEVELS = ["reported", "rescored", "spot-checked", "re-run"];
const byId = (id) => document.getElementById(id);

// Browsers refuse to change the address many times in a short while: it follows when the hand rests, or on leaving.
const REST = 250; // milliseconds
let unkept = null;
let timer = 0;

function keep(parameters) {
  unkept = parameters;
  clearTimeout(timer);
  timer = setTimeout(flush, REST);
}

function flush() {
  clearTimeout(timer);
  if (!unkept) return;
  const query = unkept.toString();
  unkept = null;
  history.replaceState(null, "", location.pathname + (query ? "?" + query : "") + location.hash);
}

addEventListener("pagehide", flush);

function board(table, form) {
  const heads = [...table.tHead.rows[1].cells];
  const rows = [...table.tBodies[0].rows];
  const order = new Map(rows.map((row, place) => [row, place]));
  const state = { sort: "", descending: false, hidden: new Set() };
  const texts = ["model", "verification"];
  const verification = (row) => row.cells[1].firstChild.data.trim();

  const disputed = (row) => (row.cells[1].querySelector("em") ? "disputed" : "");

  // The number or text that a cell is sorted by; null if it has none. Partial results come after whole ones.
  function key(row, place, name) {
    const cell = row.cells[place];
    if (name === "model") return cell.querySelector("a").textContent.toLowerCase();
    if (name === "verification") return LEVELS.indexOf(verification(row));
    const text = cell.textContent.trim();
    return text ? parseFloat(text.replace("\u2212", "-")) : null;
  }

  function sort() {
    const place = heads.findIndex((head) => head.dataset.key === state.sort);
    heads.forEach((head, at) => {
      if (at === place) head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const sign = state.descending ? -1 : 1;
    const keyed = rows.map((row) => {
      const value = place < 0 ? 0 : key(row, place, state.sort);
      const rest = value === null ? 2 : place >= 0 && row.cells[place].classList.contains("p") ? 1 : 0;
      return { row, value, rest };
    });
    keyed.sort((a, b) => {
      if (a.rest !== b.rest) return a.rest - b.rest;
      if (a.value !== b.value && a.rest < 2) return a.value < b.value ? -sign : sign;
      return order.get(a.row) - order.get(b.row);
    });
    table.tBodies[0].append(...keyed.map((one) => one.row));
  }

  // Whether a row has a whole result on every split of a task.
  function whole(row, task) {
    const places = heads.flatMap((head, at) => ((head.dataset.key || "").startsWith(task + ".") ? [at] : []));
    return places.every((at) => row.cells[at].textContent && !row.cells[at].classList.contains("p"));
  }

  function filter() {
    const given = new FormData(form);
    const words = given.get("q").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const name = row.cells[0].textContent.toLowerCase();
      const fits =
        words.every((word) => name.includes(word)) &&
        (!given.get("division") || row.cells[1].lastChild.textContent === given.get("division")) &&
        (!given.get("verification") || [verification(row), disputed(row)].includes(given.get("verification"))) &&
        (!given.get("size") || row.dataset.z === given.get("size")) &&
        (!given.get("family") || row.dataset.f === given.get("family")) &&
        (!given.get("task") || whole(row, given.get("task")));
      row.hidden = !fits;
      shown += fits;
    }
    byId("count").textContent = `${shown} of ${rows.length} ${rows.length === 1 ? "row" : "rows"} shown`;
  }

  function columns() {
    heads.forEach((head, at) => {
      const hidden = state.hidden.has(head.dataset.group);
      if (head.hidden === hidden) return;
      head.hidden = hidden;
      for (const row of [...rows, ...table.tFoot.rows]) row.cells[at].hidden = hidden;
    });
    for (const head of table.tHead.rows[0].querySelectorAll("th")) head.hidden = state.hidden.has(head.textContent);
    for (const button of form.querySelectorAll("[data-group]")) {
      button.setAttribute("aria-pressed", String(!state.hidden.has(button.dataset.group)));
    }
  }

  function remember() {
    const parameters = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) parameters.set(name, value);
    if (state.sort) parameters.set("sort", (state.descending ? "-" : "") + state.sort);
    if (state.hidden.size) parameters.set("hide", [...state.hidden].join(","));
    keep(parameters);
  }

  function restore() {
    const parameters = new URLSearchParams(location.search);
    for (const field of form.elements) {
      if (field.name && parameters.has(field.name)) field.value = parameters.get(field.name);
      if (field.tagName === "SELECT" && field.selectedIndex < 0) field.selectedIndex = 0;
    }
    const sorted = parameters.get("sort") || "";
    state.descending = sorted.startsWith("-");
    state.sort = sorted.replace(/^-/, "");
    state.hidden = new Set((parameters.get("hide") || "").split(",").filter(Boolean));
  }

  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const name = head.dataset.key;
      // Names and places begin with the first, numbers with the largest.
      const begin = !texts.includes(name) && name !== "memory";
      state.descending = state.sort === name ? !state.descending : begin;
      state.sort = name;
      sort();
      remember();
    });
  }
  // What the keyboard reaches is to be seen whole; left alone, a browser may scroll no further than to a part of it.
  table.tHead.addEventListener("focusin", (event) => {
    if (event.target.matches(":focus-visible")) event.target.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  for (const button of form.querySelectorAll("[data-group]")) {
    button.addEventListener("click", () => {
      const name = button.dataset.group;
      if (!state.hidden.delete(name)) state.hidden.add(name);
      columns();
      remember();
    });
  }
  form.addEventListener("input", () => {
    filter();
    remember();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const field of form.elements) if (field.name) field.value = "";
    Object.assign(state, { sort: "", descending: false, hidden: new Set() });
    sort();
    columns();
    filter();
    remember();
  });
  restore();
  form.hidden = false;
  if (state.sort) sort();
  columns();
  filter();
  // Rows have moved since the browser looked for the one in the address.
  if (location.hash && byId(location.hash.slice(1))) byId(location.hash.slice(1)).scrollIntoView({ block: "center" });
}

function points(value) {
  let text = "0.00";
  for (let digits = 2; value && digits < 7 && Number(text) === 0; digits += 1) text = (100 * value).toFixed(digits);
  return value === 0 ? text : text.startsWith("-") ? "\u2212" + text.slice(1) : "+" + text;
}

// Newcombe's method 10 (1998, Statistics in Medicine 17) with the intervals that each model has.
function difference(a, b) {
  const value = a.value - b.value;
  return {
    value,
    low: value - Math.hypot(a.value - a.low, b.high - b.value),
    high: value + Math.hypot(a.high - a.value, b.value - b.low),
  };
}

async function comparison(form, target) {
  let models;
  try {
    models = (await (await fetch("index.json")).json()).models;
  } catch {
    byId("count").textContent = "index.json cannot be read here: open this page over HTTP (harness leaderboard serve).";
    return;
  }
  const bySlug = new Map(models.map((model) => [model.slug, model]));
  const names = models.map((model) => model.id);
  const parameters = new URLSearchParams(location.search);
  [form.a, form.b].forEach((select, place) => {
    for (const model of models) {
      const option = document.createElement("option");
      option.value = model.slug;
      option.textContent = names.filter((name) => name === model.id).length > 1 ? model.slug : model.id;
      select.append(option);
    }
    select.selectedIndex = Math.min(place, models.length - 1);
    // One that is not there leaves its field empty.
    if (parameters.get(select.name)) select.value = parameters.get(select.name);
  });
  if (!parameters.get("b") && form.a.value === form.b.value) form.b.selectedIndex = 0;

  function add(row, name, text, ...details) {
    const cell = document.createElement(name);
    cell.append(text);
    for (const one of details.filter(Boolean)) {
      const detail = document.createElement("small");
      detail.textContent = one;
      cell.append(" ", detail);
    }
    row.append(cell);
    return cell;
  }

  function show() {
    const [first, second] = [form.a, form.b].map((select) => bySlug.get(select.value));
    if (!first || !second) {
      const gone = [form.a, form.b].filter((select) => !bySlug.has(select.value)).map((select) => parameters.get(select.name));
      byId("count").textContent = `Not on the leaderboard: ${[...new Set(gone)].join(", ").slice(0, 200)}. Choose another model.`;
      return;
    }
    const body = target.querySelector("tbody");
    body.replaceChildren();
    for (const a of first.cells) {
      const b = second.cells.find((cell) => cell.task === a.task && cell.split === a.split);
      if (!b) continue;
      const found = difference(a, b);
      const row = body.insertRow();
      add(row, "th", a.task, a.split).scope = "row";
      for (const cell of [a, b]) {
        const part = cell.rows < cell.of && `first ${[cell.rows, cell.of].map((n) => n.toLocaleString("en")).join(" of ")}`;
        add(row, "td", cell.shown, cell.shown_interval, part);
      }
      const last = add(row, "td", points(found.value), `${points(found.low)} to ${points(found.high)}`);
      last.className = found.low > 0 ? "a" : found.high < 0 ? "b" : "";
    }
    const count = body.rows.length;
    target.hidden = count === 0;
    byId("count").textContent = `${count} common ${count === 1 ? "result" : "results"} of ${first.id} and ${second.id}`;
  }

  if (!models.length) return;
  form.addEventListener("input", () => {
    show();
    keep(new URLSearchParams(new FormData(form)));
  });
  form.hidden = false;
  show();
}

if (byId("board")) board(byId("board"), byId("controls"));
if (byId("pick")) comparison(byId("pick"), byId("difference"));
