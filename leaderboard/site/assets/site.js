// Interaction of the pages: sorting, filters and columns of the table, and the comparison of two models.
// State is kept in the address, so that a view can be linked. Texts are only set as text, never as HTML.
// Longer than 250 lines, because a page loads a single script.
"use strict";

const LEVELS = ["reported", "rescored", "spot-checked", "re-run"];
const byId = (id) => document.getElementById(id);

// Browsers limit changes of the address: it is updated after a pause, or on leaving the page.
const PAUSE = 250; // milliseconds
let pending = null;
let timer = 0;

function updateAddress(parameters) {
  pending = parameters;
  clearTimeout(timer);
  timer = setTimeout(flush, PAUSE);
}

function flush() {
  clearTimeout(timer);
  if (!pending) return;
  const query = pending.toString();
  pending = null;
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

  // Returns the number or text that a cell is sorted by, null if it is empty. Partial results sort after whole ones.
  function sortKey(row, place, name) {
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
      const value = place < 0 ? 0 : sortKey(row, place, state.sort);
      const rest = value === null ? 2 : place >= 0 && row.cells[place].classList.contains("p") ? 1 : 0;
      return { row, value, rest };
    });
    keyed.sort((a, b) => {
      if (a.rest !== b.rest) return a.rest - b.rest;
      if (a.value !== b.value && a.rest < 2) return a.value < b.value ? -sign : sign;
      return order.get(a.row) - order.get(b.row);
    });
    table.tBodies[0].append(...keyed.map((entry) => entry.row));
  }

  // Returns whether a row has a whole result on every split of a task.
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
      const matches =
        words.every((word) => name.includes(word)) &&
        (!given.get("division") || row.cells[1].lastChild.textContent === given.get("division")) &&
        (!given.get("verification") || [verification(row), disputed(row)].includes(given.get("verification"))) &&
        (!given.get("size") || row.dataset.z === given.get("size")) &&
        (!given.get("family") || row.dataset.f === given.get("family")) &&
        (!given.get("task") || whole(row, given.get("task")));
      row.hidden = !matches;
      shown += matches;
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
    updateAddress(parameters);
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
      // Names and ranks begin ascending, other numbers descending.
      const descending = !texts.includes(name) && name !== "memory";
      state.descending = state.sort === name ? !state.descending : descending;
      state.sort = name;
      sort();
      remember();
    });
  }
  // Scrolls a focused header fully into view. Browsers may show only a part of it.
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
  // Sorting has moved the row that the address names. A seed is in the list of its row.
  const named = location.hash && byId(location.hash.slice(1));
  if (named) {
    named.closest("details")?.setAttribute("open", "");
    named.scrollIntoView({ block: "center" });
  }
}

function points(value) {
  let text = "0.00";
  for (let digits = 2; value && digits < 7 && Number(text) === 0; digits += 1) text = (100 * value).toFixed(digits);
  return value === 0 ? text : text.startsWith("-") ? "\u2212" + text.slice(1) : "+" + text;
}

// Newcombe's method 10 (1998, Statistics in Medicine 17) on the intervals of the two models.
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
    byId("count").textContent = "index.json cannot be read. Open this page over HTTP: harness leaderboard serve.";
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
    // An unknown model leaves its field empty.
    if (parameters.get(select.name)) select.value = parameters.get(select.name);
  });
  if (!parameters.get("b") && form.a.value === form.b.value) form.b.selectedIndex = 0;

  function addCell(row, name, text, ...details) {
    const cell = document.createElement(name);
    cell.append(text);
    for (const text of details.filter(Boolean)) {
      const detail = document.createElement("small");
      detail.textContent = text;
      cell.append(" ", detail);
    }
    row.append(cell);
    return cell;
  }

  function show() {
    const [first, second] = [form.a, form.b].map((select) => bySlug.get(select.value));
    if (!first || !second) {
      const unknown = [form.a, form.b].filter((select) => !bySlug.has(select.value)).map((select) => parameters.get(select.name));
      byId("count").textContent = `Not on the leaderboard: ${[...new Set(unknown)].join(", ").slice(0, 200)}. Choose another model.`;
      return;
    }
    const body = target.querySelector("tbody");
    body.replaceChildren();
    for (const a of first.cells) {
      const b = second.cells.find((cell) => cell.task === a.task && cell.split === a.split);
      if (!b) continue;
      const result = difference(a, b);
      const row = body.insertRow();
      addCell(row, "th", a.task, a.split).scope = "row";
      for (const cell of [a, b]) {
        const part = cell.rows < cell.split_rows && `first ${[cell.rows, cell.split_rows].map((n) => n.toLocaleString("en")).join(" of ")}`;
        addCell(row, "td", cell.percent, cell.percent_interval, part);
      }
      const last = addCell(row, "td", points(result.value), `${points(result.low)} to ${points(result.high)}`);
      last.className = result.low > 0 ? "a" : result.high < 0 ? "b" : "";
    }
    const count = body.rows.length;
    target.hidden = count === 0;
    byId("count").textContent = `${count} common ${count === 1 ? "result" : "results"} of ${first.id} and ${second.id}`;
  }

  if (!models.length) return;
  form.addEventListener("input", () => {
    show();
    updateAddress(new URLSearchParams(new FormData(form)));
  });
  form.hidden = false;
  show();
}

if (byId("board")) board(byId("board"), byId("controls"));
if (byId("pick")) comparison(byId("pick"), byId("difference"));
