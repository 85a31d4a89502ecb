"use strict";
// The page's data: {width, height, layers: [{name, width, height, overview, tiles, facts}]}. `overview` is an image of the whole layer.
// `tiles`, if the layer is too large for one image, is {size, names: [[...], ...]}. All layers are shown at the size of the page.
// The page of a gallery, which shows any of its pictures, has its data and a title in its address.
const page = JSON.parse(document.getElementById("page").textContent || decodeURIComponent(location.hash.slice(1)));
document.title = document.querySelector("h1").textContent = page.title;
addEventListener("hashchange", () => location.reload());
const element = (id) => document.getElementById(id);
const view = element("view"), slider = element("slider");
const LENS_ZOOM = 4, LARGEST_ZOOM = 64, KEY_ZOOM = 1.25;

const last = page.layers.length - 1;
const state = { left: 0, right: last, split: 0.5, zoom: 1, x: 0, y: 0, difference: false, lens: false, pointer: null };

// One side of a view: a layer on a stage that is moved and scaled.
class Side {
  constructor(root) {
    this.stage = root.appendChild(document.createElement("div"));
    this.root = root;
    this.number = -1;
  }

  show(number) {
    if (number === this.number) return;
    this.number = number;
    this.layer = page.layers[number];
    this.tiles = new Map();
    this.stage.replaceChildren(image(this.layer.overview, 0, 0, page.width, page.height));
  }

  // Place the stage so that its pixel (0, 0) is at (x, y) of the view, and add the tiles that the view shows.
  place(x, y, zoom, width, height) {
    this.stage.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
    const scale = zoom * (page.width / this.layer.width) * devicePixelRatio;  // screen pixels per pixel of the layer
    this.stage.className = scale > 1.001 ? "stage pixels" : "stage";
    if (this.layer.tiles) this.addTiles({ left: -x / zoom, top: -y / zoom, right: (width - x) / zoom, bottom: (height - y) / zoom }, scale);
  }

  addTiles(shown, scale) {
    const { size, names, overviewScale } = this.layer.tiles;
    const step = size * page.width / this.layer.width;
    const needed = new Set();
    if (scale > overviewScale) {
      for (let row = Math.max(0, Math.floor(shown.top / step)); row < names.length && row * step < shown.bottom; row++)
        for (let column = Math.max(0, Math.floor(shown.left / step)); column < names[row].length && column * step < shown.right; column++)
          needed.add(`${row} ${column}`);
    }
    for (const [key, tile] of this.tiles) if (!needed.has(key)) { tile.remove(); this.tiles.delete(key); }
    for (const key of needed) {
      if (this.tiles.has(key)) continue;
      const [row, column] = key.split(" ").map(Number);
      const unit = step / size;
      const width = Math.min(size, this.layer.width - column * size), height = Math.min(size, this.layer.height - row * size);
      const tile = image(names[row][column], column * step, row * step, width * unit, height * unit);
      this.tiles.set(key, this.stage.appendChild(tile));
    }
  }
}

function image(source, left, top, width, height) {
  const made = new Image();
  made.alt = "";
  made.draggable = false;
  Object.assign(made.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
  made.src = source;
  return made;
}

// Two sides, the right one cut at the divider.
class Pair {
  constructor(root) {
    this.root = root;
    this.sides = [...root.querySelectorAll(".side")].map((side) => new Side(side));
  }

  draw(x, y, zoom, width, height, split_px) {
    const [left, right] = this.sides;
    left.show(state.left);
    right.show(state.right);
    for (const side of this.sides) side.place(x, y, zoom, width, height);
    right.root.style.clipPath = state.difference ? "none" : `inset(0 0 0 ${split_px}px)`;
    this.root.classList.toggle("difference", state.difference);
    this.root.style.filter = state.difference ? `brightness(${element("gain").value})` : "none";
  }
}

const pair = new Pair(view.querySelector(".sides"));
const glass = new Pair(element("glass").querySelector(".sides"));

function draw() {
  const width = view.clientWidth, height = view.clientHeight;
  keepInView(width, height);
  pair.draw(state.x, state.y, state.zoom, width, height, state.split * width);
  element("divider").style.left = `${state.split * 100}%`;
  element("divider").hidden = state.difference;
  drawGlass(width);
  slider.value = state.split * 100;
  element("left").value = state.left;
  element("right").value = state.right;
  for (const [id, on] of [["difference", state.difference], ["lens", state.lens]]) element(id).setAttribute("aria-pressed", on);
  element("gain-choice").hidden = !state.difference;
  const [left, right] = [page.layers[state.left].name, page.layers[state.right].name];
  const text = state.difference ? `Difference of ${left} and ${right}` : `${left} on the left, ${right} on the right`;
  say(element("status"), `${text}, ${Math.round(state.zoom * devicePixelRatio * 100)} %`);
  view.setAttribute("aria-label", text);
}

// Screen readers read a status aloud whenever it is written, so it is written only when it changes.
function say(place, text) { if (place.textContent !== text) place.textContent = text; }

function drawGlass(width) {
  const box = element("glass");
  box.hidden = !(state.lens && state.pointer);
  if (box.hidden) return;
  const { x, y } = state.pointer, side = box.clientWidth, zoom = state.zoom * LENS_ZOOM;
  Object.assign(box.style, { left: `${x - side / 2}px`, top: `${y - side / 2}px` });
  const at = (point, origin) => side / 2 - ((point - origin) / state.zoom) * zoom;
  const split_px = side / 2 + (state.split * width - x) * LENS_ZOOM;
  glass.draw(at(x, state.x), at(y, state.y), zoom, side, side, Math.min(Math.max(split_px, 0), side));
}

// A picture smaller than the view is centered; a larger one cannot leave it.
function keepInView(width, height) {
  const within = (offset, length, room) => length <= room ? (room - length) / 2 : Math.min(0, Math.max(room - length, offset));
  state.x = within(state.x, page.width * state.zoom, width);
  state.y = within(state.y, page.height * state.zoom, height);
}

function fitting() {
  return Math.min(view.clientWidth / page.width, view.clientHeight / page.height);
}

function zoomTo(zoom, x = view.clientWidth / 2, y = view.clientHeight / 2) {
  const next = Math.min(Math.max(zoom, Math.min(fitting(), 1 / devicePixelRatio)), LARGEST_ZOOM);
  state.x = x - (x - state.x) * next / state.zoom;
  state.y = y - (y - state.y) * next / state.zoom;
  state.zoom = next;
  draw();
}

function fit() { zoomTo(fitting()); }
function actual() { zoomTo(1 / devicePixelRatio); }
function setSplit(split) { state.split = Math.min(Math.max(split, 0), 1); draw(); }
function pan(x, y) { state.x += x; state.y += y; draw(); }
function choose(side, number) { if (number <= last) { state[side] = number; draw(); } }
function toggle(name) { state[name] = !state[name]; draw(); }

function toggleFigures() {
  element("table").hidden = !element("table").hidden;
  element("figures").setAttribute("aria-expanded", !element("table").hidden);
}

// The mouse, the pen and fingers

const pointers = new Map();
let dragged = null;

function position(event) {
  const box = view.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

view.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  view.setPointerCapture(event.pointerId);
  if (!pointers.size) dragged = event.target === element("divider") ? "divider" : "picture";
  pointers.set(event.pointerId, position(event));
});

view.addEventListener("pointermove", (event) => {
  const now = position(event), before = pointers.get(event.pointerId);
  state.pointer = now;
  if (!before) { if (state.lens) draw(); return; }
  const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
  pointers.set(event.pointerId, now);
  if (others.length) pinch(others[0], before, now);
  else if (dragged === "divider") setSplit(now.x / view.clientWidth);
  else pan(now.x - before.x, now.y - before.y);
});

// One finger stays at `fixed` and another one moves: the picture follows both.
function pinch(fixed, before, now) {
  const distance = (point) => Math.max(1, Math.hypot(point.x - fixed.x, point.y - fixed.y));
  state.x += (now.x - before.x) / 2;
  state.y += (now.y - before.y) / 2;
  zoomTo(state.zoom * distance(now) / distance(before), (fixed.x + now.x) / 2, (fixed.y + now.y) / 2);
}

for (const name of ["pointerup", "pointercancel"]) view.addEventListener(name, (event) => pointers.delete(event.pointerId));
view.addEventListener("pointerleave", () => { state.pointer = null; drawGlass(view.clientWidth); });

view.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
  const { x, y } = position(event);
  zoomTo(state.zoom * Math.exp(-event.deltaY * lines / 500), x, y);
}, { passive: false });

// Controls and keys

for (const side of ["left", "right"]) {
  page.layers.forEach((layer, number) => element(side).add(new Option(layer.name, number)));
  element(side).addEventListener("change", (event) => choose(side, Number(event.target.value)));
}
slider.addEventListener("input", () => setSplit(slider.value / 100));
element("gain").addEventListener("input", draw);

const actions = {
  fit, actual,
  in: () => zoomTo(state.zoom * KEY_ZOOM), out: () => zoomTo(state.zoom / KEY_ZOOM),
  difference: () => toggle("difference"), lens: () => toggle("lens"), figures: toggleFigures,
};
for (const [id, action] of Object.entries(actions)) element(id).addEventListener("click", action);

const keys = { f: "fit", 0: "actual", "+": "in", "=": "in", "-": "out", d: "difference", m: "lens", i: "figures" };
const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("select, input")) return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit) choose(event.shiftKey ? "left" : "right", Number(digit[1]) - 1);
  else if (event.key in arrows) moved(...arrows[event.key], event.shiftKey);
  else if (event.key in keys) actions[keys[event.key]]();
  else return;
  event.preventDefault();
});

function moved(x, y, shift) {
  if (shift || y) pan(x * view.clientWidth / 10, y * view.clientHeight / 10);
  else setSplit(state.split - x / 50);
}

// The figures

function fillTable() {
  const names = [...new Set(page.layers.flatMap((layer) => Object.keys(layer.facts)))];
  const table = document.querySelector("table");
  const head = table.createTHead().insertRow();
  const body = table.createTBody();
  for (const text of ["", ...names]) head.append(cell("th", text, "col"));
  for (const layer of page.layers) {
    const row = body.insertRow();
    row.append(cell("th", layer.name, "row"), ...names.map((name) => cell("td", layer.facts[name] ?? "")));
  }
}

function cell(tag, text, scope) {
  const made = document.createElement(text || tag === "td" ? tag : "td");
  made.textContent = text;
  if (scope && text) made.scope = scope;
  return made;
}

fillTable();
new ResizeObserver(draw).observe(view);
fit();
