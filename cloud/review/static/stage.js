// The picture with its boxes, as SVG in pixels of the full frame; what is chosen has handles.

const NS = "http://www.w3.org/2000/svg";
const CORNERS = [["nw", 0, 1], ["n", null, 1], ["ne", 2, 1], ["e", 2, null], ["se", 2, 3], ["s", null, 3], ["sw", 0, 3], ["w", 0, null]];

export function make(name, attributes = {}, ...children) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const rectOf = ([x1, y1, x2, y2]) => ({ x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0) });

export class Stage {
  constructor(svg, data, boxes, view) {
    Object.assign(this, { svg, data, boxes, view });
    const pictures = data.parts.filter((part) => part.picture).map((part) => make("image", { href: part.picture, preserveAspectRatio: "none", ...rectOf(part.region) }));
    this.maps = make("g", { class: "map" });
    this.layer = make("g");
    const frame = make("rect", { class: "frame", x: 0, y: 0, width: data.frame[0], height: data.frame[1] });
    svg.replaceChildren(frame, ...pictures, this.maps, this.layer);
    view.addEventListener("moved", () => this.draw());
    boxes.addEventListener("changed", () => this.draw());
    boxes.addEventListener("chosen", () => this.draw());
    this.draw();
  }

  draw() {
    const px = 1 / this.view.scale;
    const shown = [...this.boxes.shown].sort((a, b) => this.#depth(a) - this.#depth(b));
    const named = this.#namable(shown, px);
    const nodes = shown.map((item) => this.#box(item, px, named.get(item.id)));
    if (this.data.question) nodes.unshift(this.#ghost(this.data.question.box, "question"));
    this.layer.replaceChildren(...nodes);
  }

  #depth(item) { return (item.id === this.boxes.chosen ? 4 : 0) + (this.boxes.isOwn(item) ? 2 : 0); }

  #ghost(box, kind) { return make("g", {}, make("rect", { class: "halo", ...rectOf(box) }), make("rect", { class: `line ${kind}`, ...rectOf(box) })); }

  /** Names that hide no other: those of the chosen box and of people's come first, then the surest. */
  #namable(shown, px) {
    const placed = [], named = new Map();
    const order = [...shown].sort((a, b) => this.#depth(b) - this.#depth(a) || (b.score ?? 1) - (a.score ?? 1));
    for (const item of order) {
      const tag = this.#tag(item, px), [x1, y1, x2, y2] = tag.at;
      const hides = placed.some((other) => x1 < other[2] && x2 > other[0] && y1 < other[3] && y2 > other[1]);
      if (hides && item.id !== this.boxes.chosen) continue;
      placed.push(tag.at);
      named.set(item.id, tag.node);
    }
    return named;
  }

  #box(item, px, tag) {
    const isChosen = item.id === this.boxes.chosen, [x1, y1, x2, y2] = item.box;
    const group = make("g", { class: `box ${isChosen ? "chosen movable" : ""}`, "data-id": item.id });
    const grip = 6 * px;
    group.append(
      make("rect", { class: "grip", ...rectOf([x1 - grip, y1 - grip, x2 + grip, y2 + grip]) }),
      make("rect", { class: "halo", ...rectOf(item.box) }),
      make("rect", { class: `line ${item.kind}`, ...rectOf(item.box) }),
    );
    if (item.kind === "negative") group.append(make("path", { class: "cross", d: `M${x1} ${y1}L${x2} ${y2}M${x2} ${y1}L${x1} ${y2}` }));
    if (tag) group.append(tag);
    if (isChosen && this.canEdit) group.append(...this.#handles(item.box, px));
    return group;
  }

  #tag(item, px) {
    const words = [item.kind === "negative" ? "not" : "", item.label || (item.kind === "negative" ? "it" : "no label"), item.score === undefined ? "" : item.score.toFixed(2)].filter(Boolean).join(" ");
    const size = 12 * px, width = (words.length * 6.7 + 10) * px, height = 17 * px;
    const y = item.box[1] - height - 2 * px > this.view.box[1] ? item.box[1] - height - 2 * px : item.box[3] + 2 * px;
    const text = make("text", { class: "name", x: item.box[0] + 5 * px, y: y + 12.6 * px, "font-size": size, textLength: width - 10 * px, lengthAdjust: "spacingAndGlyphs" });
    text.style.fontSize = `${size}px`;
    text.textContent = words;
    const node = make("g", { class: "name-tag" }, make("rect", { class: "plate", x: item.box[0], y, width, height, rx: 3 * px }), text);
    return { node, at: [item.box[0], y, item.box[0] + width, y + height] };
  }

  #handles([x1, y1, x2, y2], px) {
    const at = [x1, y1, x2, y2], side = 9 * px, touch = 22 * px;
    return CORNERS.flatMap(([name, column, row]) => {
      const x = column === null ? (x1 + x2) / 2 : at[column], y = row === null ? (y1 + y2) / 2 : at[row];
      return [
        make("rect", { class: "handle", x: x - side / 2, y: y - side / 2, width: side, height: side, rx: 2 * px }),
        make("rect", { class: "grip", "data-handle": name, x: x - touch / 2, y: y - touch / 2, width: touch, height: touch, cursor: `${name}-resize` }),
      ];
    });
  }

  /** Lay maps over the pictures; `isWanted` says whether nobody has asked for others meanwhile. */
  async showMaps(isOn, like, isWanted) {
    if (!isOn) { this.maps.replaceChildren(); return null; }
    const told = [], images = [];
    for (const part of this.data.parts) {
      if (!part.map) continue;
      const answer = await fetch(`${part.map}?${like}`, { headers: { "HX-Request": "true" } });
      if (!isWanted()) return null;
      if (!answer.ok) {
        this.maps.replaceChildren();
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        throw new Error(page.body.querySelector("p")?.textContent ?? `the map could not be made (${answer.status})`);
      }
      told.push([Number(answer.headers.get("X-Low")), Number(answer.headers.get("X-High"))]);
      const address = URL.createObjectURL(await answer.blob());
      const image = make("image", { href: address, preserveAspectRatio: "none", ...rectOf(part.region) });
      image.addEventListener("load", () => URL.revokeObjectURL(address));
      images.push(image);
    }
    if (isWanted()) this.maps.replaceChildren(...images);
    return told;
  }
}

/** A box after one of its handles was dragged. */
export function dragged(box, handle, dx, dy) {
  let [x1, y1, x2, y2] = box;
  if (handle.includes("w")) x1 += dx;
  if (handle.includes("e")) x2 += dx;
  if (handle.includes("n")) y1 += dy;
  if (handle.includes("s")) y2 += dy;
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

/** A box moved back into the frame, and cut where it is larger. */
export function inside([x1, y1, x2, y2], [width, height]) {
  const w = Math.min(x2 - x1, width), h = Math.min(y2 - y1, height);
  const x = Math.min(Math.max(x1, 0), width - w), y = Math.min(Math.max(y1, 0), height - h);
  return [x, y, x + w, y + h];
}
