"use strict";
// The page of a map: layers that can be moved, zoomed, faded and split. Nothing is requested; pictures are in the page.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const view = byId("view"), divider = byId("divider"), readout = byId("readout");
  const figures = Object.fromEntries([...document.querySelectorAll("figure")].map((one) => [one.dataset.layer, one]));
  const keys = Object.keys(figures).reverse(); // the first is on top
  const state = { x: 0, y: 0, zoom: 1, top: keys[0], below: keys.includes("colour") ? "colour" : keys[1] || "", split: null, alone: null };
  const MOST_ZOOM = 32;
  const pixels = {}; // layer -> RGBA of a picture of values

  // --- drawing -------------------------------------------------------------------------------------------------------

  const fitZoom = () => Math.min(view.clientWidth / data.width, view.clientHeight / data.height, MOST_ZOOM);

  function draw() {
    // A corner of the map stays in sight.
    const w = data.width * state.zoom, h = data.height * state.zoom, seen = 24;
    state.x = Math.min(Math.max(state.x, seen - w), view.clientWidth - seen);
    state.y = Math.min(Math.max(state.y, seen - h), view.clientHeight - seen);
    for (const [key, figure] of Object.entries(figures)) {
      const on = key === state.top || key === state.below;
      figure.classList.toggle("shown", on);
      figure.classList.toggle("pixels", state.zoom > 1.5);
      if (!on) continue;
      figure.style.zIndex = key === state.top ? 2 : 1;
      figure.style.opacity = key === state.top ? byId("opacity").value / 100 : 1;
      figure.style.clipPath = key === state.top && state.split !== null ? `inset(0 ${100 - state.split}% 0 0)` : "none";
      for (const part of figure.querySelectorAll("img, canvas")) {
        part.style.width = `${data.width}px`;
        part.style.height = `${data.height}px`;
        part.style.transform = `translate(${state.x}px, ${state.y}px) scale(${state.zoom})`;
      }
    }
    divider.hidden = state.split === null;
    if (state.split !== null) {
      divider.style.left = `${state.split}%`;
      divider.setAttribute("aria-valuenow", Math.round(state.split));
    }
    drawScale();
  }

  function drawScale() {
    const metres = data.metres / state.zoom;
    byId("scale").hidden = !metres;
    if (!metres) return;
    let length = 10 ** Math.floor(Math.log10(metres * 160));
    length *= [5, 2, 1].find((step) => length * step <= metres * 160);
    const bar = byId("scale").firstElementChild;
    bar.style.width = `${length / metres}px`;
    bar.textContent = length >= 1000 ? `${length / 1000} km` : `${length} m`;
  }

  function zoomAt(x, y, factor) {
    const before = state.zoom;
    state.zoom = Math.min(Math.max(before * factor, Math.min(fitZoom(), 1) * 0.5), MOST_ZOOM);
    state.x = x - (x - state.x) * (state.zoom / before);
    state.y = y - (y - state.y) * (state.zoom / before);
    draw();
  }

  function fit() {
    // As high as the map is at this width, within what the window shows.
    view.style.height = `${Math.max(300, Math.min((view.clientWidth * data.height) / data.width, 0.74 * window.innerHeight, 1000))}px`;
    state.zoom = fitZoom();
    state.x = (view.clientWidth - data.width * state.zoom) / 2;
    state.y = (view.clientHeight - data.height * state.zoom) / 2;
    draw();
  }

  const middle = (factor) => zoomAt(view.clientWidth / 2, view.clientHeight / 2, factor);

  // --- values under the pointer, and one class alone -----------------------------------------------------------------

  const hex = (rgba, at) => [0, 1, 2].map((n) => rgba[at + n].toString(16).padStart(2, "0")).join("");

  async function readValues(key) {
    const image = figures[key].querySelector("img");
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = data.width;
    canvas.height = data.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    pixels[key] = context.getImageData(0, 0, data.width, data.height).data;
  }

  function valueAt(key, column, row) {
    if (!pixels[key]) return "";
    const at = 4 * (row * data.width + column);
    return pixels[key][at + 3] ? data.values[key][hex(pixels[key], at)] || "" : "no data";
  }

  function degreesAt(u, v) {
    const last = data.nodes.length - 1;
    const i = Math.min(Math.floor(v * last), last - 1), j = Math.min(Math.floor(u * last), last - 1);
    const b = v * last - i, a = u * last - j;
    const mix = (n) => (1 - b) * ((1 - a) * data.nodes[i][j][n] + a * data.nodes[i][j + 1][n]) + b * ((1 - a) * data.nodes[i + 1][j][n] + a * data.nodes[i + 1][j + 1][n]);
    const lon = ((mix(0) + 540) % 360) - 180, lat = mix(1);
    return `${Math.abs(lat).toFixed(4)}° ${lat < 0 ? "S" : "N"}, ${Math.abs(lon).toFixed(4)}° ${lon < 0 ? "W" : "E"}`;
  }

  function say(x, y) {
    const column = Math.floor((x - state.x) / state.zoom), row = Math.floor((y - state.y) / state.zoom);
    if (column < 0 || row < 0 || column >= data.width || row >= data.height) {
      readout.textContent = "\u00a0";
      return;
    }
    const name = valueAt("classes", column, row), sure = data.values.confidence ? valueAt("confidence", column, row) : "";
    const outside = data.values.outside ? valueAt("outside", column, row) : "";
    const words = [name, sure && name !== "no data" ? `confidence ${sure}` : "", outside && outside !== "no data" ? `${outside} outside the training range` : "", degreesAt((column + 0.5) / data.width, (row + 0.5) / data.height)];
    readout.textContent = words.filter(Boolean).join(" · ");
  }

  function showAlone(colour) {
    if (!pixels.classes) return; // the picture is still being read
    state.alone = state.alone === colour ? null : colour;
    for (const button of document.querySelectorAll("#classes button")) button.setAttribute("aria-pressed", button.dataset.colour === state.alone);
    const figure = figures.classes, old = figure.querySelector("canvas"), image = figure.querySelector("img");
    if (old) old.remove();
    image.hidden = state.alone !== null;
    if (state.alone !== null) {
      const canvas = document.createElement("canvas");
      canvas.width = data.width;
      canvas.height = data.height;
      const context = canvas.getContext("2d"), shown = new ImageData(new Uint8ClampedArray(pixels.classes), data.width, data.height);
      const wanted = [0, 2, 4].map((n) => parseInt(state.alone.slice(n, n + 2), 16));
      for (let at = 0; at < shown.data.length; at += 4) {
        const same = shown.data[at] === wanted[0] && shown.data[at + 1] === wanted[1] && shown.data[at + 2] === wanted[2];
        if (!same) shown.data[at + 3] = 0;
      }
      context.putImageData(shown, 0, 0);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${data.values.classes[state.alone]} alone`);
      figure.append(canvas);
    }
    draw();
  }

  // --- pointers, wheel, keys -----------------------------------------------------------------------------------------

  const held = new Map();
  const place = (event) => {
    const box = view.getBoundingClientRect();
    return [event.clientX - box.left - view.clientLeft, event.clientY - box.top - view.clientTop];
  };

  view.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, #divider")) return;
    held.set(event.pointerId, place(event));
    view.setPointerCapture(event.pointerId);
    view.classList.add("moving");
    say(...place(event)); // a finger has no hover
  });
  view.addEventListener("pointermove", (event) => {
    const now = place(event), before = held.get(event.pointerId);
    if (!before) {
      say(...now);
      return;
    }
    const other = [...held].find(([id]) => id !== event.pointerId);
    if (other) {
      const apart = (one) => Math.hypot(one[0] - other[1][0], one[1] - other[1][1]) || 1;
      zoomAt((now[0] + other[1][0]) / 2, (now[1] + other[1][1]) / 2, apart(now) / apart(before));
    } else {
      state.x += now[0] - before[0];
      state.y += now[1] - before[1];
      draw();
    }
    held.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, (event) => {
    held.delete(event.pointerId);
    view.classList.toggle("moving", held.size > 0);
  });
  view.addEventListener("pointerleave", () => { if (!held.size) readout.textContent = "\u00a0"; });
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(...place(event), 2 ** (-event.deltaY / (event.deltaMode ? 10 : 300)));
  }, { passive: false });
  view.addEventListener("dblclick", (event) => { if (!event.target.closest("button, #divider")) zoomAt(...place(event), 2); });
  view.addEventListener("keydown", (event) => {
    if (event.target !== view || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
    if (moves[event.key]) {
      state.x += moves[event.key][0];
      state.y += moves[event.key][1];
      draw();
    } else if (event.key === "+" || event.key === "=") middle(1.5);
    else if (event.key === "-") middle(1 / 1.5);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
    say(view.clientWidth / 2, view.clientHeight / 2);
  });

  const splitTo = (percent) => { state.split = Math.min(Math.max(percent, 0), 100); draw(); };
  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => {
    if (divider.hasPointerCapture(event.pointerId)) splitTo((100 * place(event)[0]) / view.clientWidth);
  });
  divider.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -2, ArrowRight: 2, ArrowDown: -2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 }[event.key];
    if (!step) return;
    splitTo(state.split + step);
    event.preventDefault();
  });

  // --- controls ------------------------------------------------------------------------------------------------------

  for (const name of ["top", "below"]) {
    const select = byId(name);
    if (!select) continue;
    select.value = state[name];
    select.addEventListener("change", () => { state[name] = select.value; draw(); });
  }
  byId("opacity").addEventListener("input", (event) => { event.target.setAttribute("aria-valuetext", `${event.target.value} per cent`); draw(); });
  const split = byId("split");
  if (split) split.addEventListener("click", () => {
    state.split = state.split === null ? 50 : null;
    split.setAttribute("aria-pressed", state.split !== null);
    draw();
  });
  byId("in").addEventListener("click", () => middle(1.5));
  byId("out").addEventListener("click", () => middle(1 / 1.5));
  byId("fit").addEventListener("click", fit);
  for (const button of document.querySelectorAll("#classes button")) button.addEventListener("click", () => showAlone(button.dataset.colour));

  document.documentElement.classList.add("live");
  for (const one of document.querySelectorAll(".bar, .zoom, #scale")) one.hidden = false;
  let width = 0;
  new ResizeObserver(() => { if (view.clientWidth !== width) { width = view.clientWidth; fit(); } }).observe(view);
  for (const key of Object.keys(data.values)) readValues(key);
})();
