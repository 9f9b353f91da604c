// Zoom and pan of an SVG by its viewBox: wheel, two fingers, buttons.

export class View extends EventTarget {
  constructor(svg, whole) {
    super();
    this.svg = svg;
    this.whole = whole;
    this.fit(whole);
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), this.at(event));
    }, { passive: false });
    new ResizeObserver(() => this.#show()).observe(svg);
  }

  /** Screen pixels of one unit of the drawing. */
  get scale() {
    const { width, height } = this.svg.getBoundingClientRect();
    return Math.min(width / this.box[2], height / this.box[3]) || 1;
  }

  fit([x1, y1, x2, y2], margin = 0.02) {
    const pad = Math.max(x2 - x1, y2 - y1) * margin;
    this.box = [x1 - pad, y1 - pad, x2 - x1 + 2 * pad, y2 - y1 + 2 * pad];
    this.#show();
  }

  /** Where in the drawing an event is. */
  at(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [point.x, point.y];
  }

  zoom(factor, at = [this.box[0] + this.box[2] / 2, this.box[1] + this.box[3] / 2]) {
    const largest = Math.max(this.whole[2] - this.whole[0], this.whole[3] - this.whole[1]) * 3;
    const width = Math.min(Math.max(this.box[2] / factor, largest / 600), largest), by = width / this.box[2];
    this.box = [at[0] - (at[0] - this.box[0]) * by, at[1] - (at[1] - this.box[1]) * by, width, this.box[3] * by];
    this.#show();
  }

  pan(dx, dy) { this.box[0] -= dx; this.box[1] -= dy; this.#show(); }

  /** Bring a box into view if it is not. */
  reveal([x1, y1, x2, y2]) {
    const [x, y, w, h] = this.box;
    if (x1 >= x && y1 >= y && x2 <= x + w && y2 <= y + h) return;
    this.box[0] = (x1 + x2) / 2 - w / 2;
    this.box[1] = (y1 + y2) / 2 - h / 2;
    this.#show();
  }

  #show() {
    this.svg.setAttribute("viewBox", this.box.join(" "));
    this.dispatchEvent(new Event("moved"));
  }
}

/** Two fingers zoom and pan; returns whether a second finger is down. */
export function pinch(svg, view) {
  const fingers = new Map();
  let before = null;
  const measure = () => {
    const [a, b] = [...fingers.values()];
    return { distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
  };
  svg.addEventListener("pointerdown", (event) => { if (event.pointerType === "touch") fingers.set(event.pointerId, event); before = fingers.size === 2 ? measure() : null; });
  svg.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, event);
    if (fingers.size !== 2 || !before) return;
    const now = measure(), from = view.at(before), to = view.at(now);
    view.pan(to[0] - from[0], to[1] - from[1]);
    view.zoom(now.distance / before.distance, view.at(now));
    before = now;
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, (event) => { fingers.delete(event.pointerId); before = null; });
  return () => fingers.size > 1;
}
