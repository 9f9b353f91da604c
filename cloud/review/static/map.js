// The map: zoom, pan, and a scale bar that stays right.

import { key } from "./console.js";
import { View, pinch } from "./view.js";

const svg = document.getElementById("ground");
if (svg) {
  const { x, y, width, height } = svg.viewBox.baseVal, whole = [x, y, x + width, y + height];
  const view = new View(svg, whole), isPinching = pinch(svg, view);
  const cameras = [...svg.querySelectorAll(".camera")], places = [...svg.querySelectorAll(".craft-place")], line = document.querySelector(".scale-line"), text = document.getElementById("scale-text");
  const grid = document.createElementNS(svg.namespaceURI, "path");
  grid.setAttribute("class", "grid");
  svg.prepend(grid);
  view.addEventListener("moved", show);
  view.fit(whole, 0);
  function show() {
    const scale = view.scale, about = 110 / scale, power = 10 ** Math.floor(Math.log10(about));
    const metres = [5, 2, 1].map((s) => s * power).find((length) => length <= about);
    line.style.width = `${metres * scale}px`;
    text.textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
    drawGrid(metres);
    for (const camera of cameras) camera.setAttribute("r", 3 / scale);
    for (const place of places) place.setAttribute("transform", `translate(${place.dataset.at}) scale(${1 / scale})`);
  }
  /** Lines as far apart as the scale bar is long. */
  function drawGrid(metres) {
    const [x0, y0, w, h] = view.box, lines = [];
    const reach = Math.max(w, h) * 2, from = (v) => Math.floor((v - reach) / metres) * metres;
    if (reach * 4 / metres > 400) return;
    for (let v = from(x0); v < x0 + w + reach; v += metres) lines.push(`M${v} ${y0 - reach}V${y0 + h + reach}`);
    for (let v = from(y0); v < y0 + h + reach; v += metres) lines.push(`M${x0 - reach} ${v}H${x0 + w + reach}`);
    grid.setAttribute("d", lines.join(""));
  }
  let drag = null, isFar = false;
  svg.addEventListener("pointerdown", (event) => { drag = { at: view.at(event), x: event.clientX, y: event.clientY }; isFar = false; });
  svg.addEventListener("pointermove", (event) => {
    if (!drag || isPinching()) return;
    isFar ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4;
    if (!isFar) return;
    const to = view.at(event);
    view.pan(to[0] - drag.at[0], to[1] - drag.at[1]);
  });
  addEventListener("pointerup", () => { drag = null; });
  svg.addEventListener("click", (event) => { if (isFar) event.preventDefault(); }, true);
  const group = "Map", move = (dx, dy) => () => view.pan(-dx * view.box[2] / 10, -dy * view.box[3] / 10);
  key("+", "zoom-in", "Zoom in", () => view.zoom(1.4), group);
  key("-", "zoom-out", "Zoom out", () => view.zoom(1 / 1.4), group);
  key("0", "zoom-fit", "Show all", () => view.fit(whole, 0), group);
  key("ArrowLeft", "left", "Move the map", move(-1, 0), group);
  for (const [name, dx, dy] of [["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]]) key(name, name, "", move(dx, dy), group);
}
