"use strict";
// The page's data: {facts, remarks, slider, entries: [{name, state, facts, px, bytes, seconds, problem, notes, small, page, file}]}. `small` is the
// address of a small picture, `page` the data of the page with the slider, which are handed to it in its address, and `file` a file.
const gallery = JSON.parse(document.getElementById("page").textContent);
const element = (id) => document.getElementById(id);
const STATES = { done: "", kept: "", failed: "failed", left: "not done" };

function made(tag, text = "", name = "") {
  const node = document.createElement(tag);
  node.append(...text.split(/(?<=\s)(--?\w\S*)/).map((part) => part.startsWith("-") ? option(part) : part));
  if (name) node.className = name;
  return node;
}

// A line does not end at the hyphens of an option, such as --quality.
function option(text) {
  const node = document.createElement("span");
  node.className = "option";
  node.textContent = text;
  return node;
}

function definitions(list, facts) {
  for (const [name, text] of Object.entries(facts)) list.append(made("dt", name), made("dd", text));
  return list;
}

// Cards

function card(entry) {
  const node = made("li", "", `card ${entry.state}`);
  const picture = entry.small ? image(entry.small) : noPreview();
  const name = made("h2");
  const address = entry.page ? sliderAddress(entry.page) : entry.state !== "failed" && entry.file;
  if (address) {
    const link = made("a");
    link.href = address;
    link.append(picture, entry.name);
    name.append(link);
  } else {
    name.append(picture, entry.name);
  }
  node.append(name);
  if (STATES[entry.state]) node.append(made("span", STATES[entry.state], "badge"));
  for (const sentence of entry.problem) node.append(made("p", sentence, "problem"));
  node.append(definitions(made("dl"), facts(entry)));
  if (entry.notes.length) {
    const notes = made("ul");
    notes.append(...entry.notes.map((note) => made("li", note)));
    node.append(notes);
  }
  return node;
}

function noPreview() { return made("span", "no preview", "empty"); }

function facts({ facts, bytes, seconds }) {
  const more = {};
  if (bytes !== null) more.file = bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  if (seconds !== null) more.time = `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return { ...facts, ...more };
}

function image(address) {
  const node = new Image();
  node.loading = "lazy";
  node.decoding = "async";
  node.alt = "";
  node.onerror = () => node.replaceWith(noPreview());  // a rare kind of its format, or a file that is gone
  node.src = address;
  return node;
}

// The page with the slider lies in another folder, so addresses are made absolute.
function sliderAddress(page) {
  const absolute = (address) => new URL(address, document.baseURI).href;
  const layers = page.layers.map((layer) => ({
    ...layer,
    overview: absolute(layer.overview),
    tiles: layer.tiles && { ...layer.tiles, names: layer.tiles.names.map((row) => row.map(absolute)) },
  }));
  return `${gallery.slider}#${encodeURIComponent(JSON.stringify({ ...page, layers }))}`;
}

// Order and choice. Ten thousand cards would take seconds at each step, so only some are on the page.

const PART = 200;
const entries = gallery.entries.map((entry, number) => ({
  ...entry, number,
  text: [entry.name, STATES[entry.state], ...Object.values(entry.facts), ...entry.problem, ...entry.notes].join("\n").toLowerCase(),
}));
const names = new Intl.Collator(undefined, { numeric: true });
let chosen = [];

// What has no such figure comes last in either direction.
function compared(key) {
  if (key === "name") return (a, b) => names.compare(a.name, b.name);
  const sign = key.startsWith("-") ? -1 : 1, figure = key.replace("-", "");
  return (a, b) => (a[figure] === null) - (b[figure] === null) || sign * (a[figure] - b[figure]) || a.number - b.number;
}

function choose() {
  const words = element("filter").value.toLowerCase().split(/\s+/);
  const failures = element("failures").value, rank = failures === "last" ? 1 : -1;
  const order = compared(element("order").value);
  const hasFailed = (entry) => entry.state === "failed";
  chosen = entries.filter((entry) => words.every((word) => entry.text.includes(word)) && (failures !== "only" || hasFailed(entry)));
  chosen.sort((a, b) => rank * (hasFailed(a) - hasFailed(b)) || order(a, b));
  element("status").textContent = chosen.length === entries.length ? `${entries.length} in all` : `${chosen.length} of ${entries.length}`;
  element("parts").hidden = chosen.length <= PART;
  showPart(0);
}

function showPart(number) {
  const last = Math.max(0, Math.ceil(chosen.length / PART) - 1);
  const part = Math.min(Math.max(number, 0), last), begin = part * PART, end = Math.min(begin + PART, chosen.length);
  element("list").replaceChildren(...chosen.slice(begin, end).map(card));
  element("part").textContent = `${begin + 1} to ${end} of ${chosen.length}`;
  for (const [id, target] of [["first", 0], ["previous", part - 1], ["next", part + 1], ["last", last]]) {
    element(id).disabled = target < 0 || target > last || target === part;
    element(id).onclick = () => { showPart(target); element("list").scrollIntoView(); element("list").focus({ preventScroll: true }); };
  }
}

let waiting = 0;
element("filter").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(choose, 120); });
for (const id of ["order", "failures"]) element(id).addEventListener("change", choose);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
element("failures").closest("label").hidden = !entries.some((entry) => entry.state === "failed");

definitions(element("facts"), gallery.facts);
element("remarks").append(...gallery.remarks.map((remark) => made("p", remark)));
choose();
addEventListener("pageshow", (event) => { if (!event.persisted) choose(); });  // the browser may have restored the choices
