// What is drawn and what the machines suggest, with every step undone and redone. Boxes are [x1, y1, x2, y2] in pixels
// of the full frame.

const SAME_IOU = 0.55;
const MOST_STEPS = 200;
const LEAST_SHOWN = 0.8; // of a box, in one picture: the server takes no less

const overlap = (a, b) => Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0) * Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
const shownShare = (box, region) => overlap(box, region) / Math.max(area(box), 1e-6);

export function iou(a, b) {
  const both = overlap(a, b);
  return both ? both / (area(a) + area(b) - both) : 0;
}

export class Boxes extends EventTarget {
  constructor(data) {
    super();
    this.labels = data.labels;
    this.question = data.question;
    this.count = 0;
    this.chosen = null;
    this.hidden = new Set();
    const regions = data.parts.map((part) => part.region);
    this.suggested = ["edge", "teacher"].flatMap((kind) => data[kind]
      .filter((item) => regions.some((region) => shownShare(item.box, region) >= LEAST_SHOWN))
      .map((item) => ({ ...item, kind, id: this.#id() })));
    this.items = data.person.map((item) => ({ ...item, box: [...item.box], id: this.#id() }));
    this.settled = new Set();
    for (const item of this.items) this.#settle(item.box);
    this.done = [];
    this.undone = [];
    this.merging = null;
  }

  #id() { this.count += 1; return this.count; }

  /** All that can be chosen now, from top to bottom. */
  get shown() {
    const open = this.suggested.filter((item) => !this.settled.has(item.id) && !this.hidden.has(item.kind));
    return [...this.items, ...open].sort((a, b) => a.box[1] - b.box[1] || a.box[0] - b.box[0]);
  }

  get current() { return this.shown.find((item) => item.id === this.chosen) ?? null; }
  isOwn(item) { return item.kind === "thing" || item.kind === "negative"; }

  choose(id) { this.chosen = id; this.#tell("chosen"); }

  step(by) {
    const shown = this.shown;
    if (!shown.length) return;
    const at = shown.findIndex((item) => item.id === this.chosen);
    this.choose(shown[at < 0 ? (by > 0 ? 0 : shown.length - 1) : (at + by + shown.length) % shown.length].id);
  }

  /** Change something; steps of one `merge` name in a row are undone at once. */
  change(work, merge = null) {
    if (merge === null || merge !== this.merging) {
      this.done.push(this.#state());
      if (this.done.length > MOST_STEPS) this.done.shift();
    }
    this.merging = merge;
    this.undone = [];
    work();
    this.#tell("changed");
  }

  undo() { this.#swap(this.done, this.undone); }
  redo() { this.#swap(this.undone, this.done); }

  add(box, label, kind = "thing", merge = null) {
    const item = { id: this.#id(), kind, label, box: box.map((value) => Math.round(value * 10) / 10) };
    this.change(() => { this.items.push(item); this.chosen = item.id; }, merge);
    return item;
  }

  confirm(item) {
    if (this.isOwn(item)) return;
    this.change(() => this.#take(item));
  }

  confirmAll(kind) {
    const open = this.shown.filter((item) => item.kind === kind);
    if (open.length) this.change(() => open.forEach((item) => { if (!this.settled.has(item.id)) this.#take(item); }));
    return open.length;
  }

  relabel(item, label) {
    this.labels = [label, ...this.labels.filter((name) => name !== label)];
    this.change(() => {
      const own = this.isOwn(item) ? item : this.#take(item);
      own.label = label;
      if (own.kind === "negative") own.kind = "thing";
    });
  }

  negative(item) {
    this.change(() => {
      const own = this.isOwn(item) ? item : this.#take(item);
      own.kind = own.kind === "negative" ? "thing" : "negative";
    });
  }

  remove(item) {
    const shown = this.shown, at = shown.indexOf(item);
    this.change(() => {
      if (this.isOwn(item)) this.items = this.items.filter((other) => other.id !== item.id);
      else this.settled.add(item.id);
      this.chosen = (shown[at + 1] ?? shown[at - 1])?.id ?? null;
    });
  }

  place(item, box, merge) {
    this.change(() => {
      const own = this.isOwn(item) ? item : this.#take(item);
      own.box = box.map((value) => Math.round(value * 10) / 10);
    }, merge);
  }

  /** Take a suggestion for the one thing that is meant. */
  only(item) {
    this.change(() => {
      this.items = [];
      this.settled = new Set();
      this.#take(item);
    });
  }

  replace(drawn) {
    this.change(() => {
      this.items = drawn.map((item) => ({ ...item, box: [...item.box], id: this.#id() }));
      this.chosen = null;
    });
  }

  /** Boxes of a draft, and the suggestions that it had dealt with, told by a name of their own. */
  restore(drawn, settled, nameOf) {
    this.change(() => {
      this.items = drawn.map((item) => ({ ...item, id: this.#id() }));
      this.settled = new Set(this.suggested.filter((item) => settled.has(nameOf(item))).map((item) => item.id));
      this.chosen = null;
    });
  }

  /** A thing that nobody has named yet: it cannot be sent. */
  get nameless() { return this.items.filter((item) => item.kind === "thing" && !item.label); }

  /** As the server reads it; what a hard negative is called is of no account. */
  toJSON() { return this.items.map(({ box, label, kind }) => ({ box, label: label || (kind === "negative" ? "not it" : ""), kind })); }

  #take(item) {
    const own = { id: this.#id(), kind: "thing", label: item.label, box: [...item.box] };
    this.items.push(own);
    this.settled.add(item.id);
    this.#settle(own.box);
    this.chosen = own.id;
    return own;
  }

  #settle(box) { for (const item of this.suggested) if (iou(item.box, box) > SAME_IOU) this.settled.add(item.id); }

  #state() { return { items: structuredClone(this.items), settled: [...this.settled], chosen: this.chosen }; }

  #swap(from, to) {
    const before = from.pop();
    if (!before) return;
    to.push(this.#state());
    this.items = before.items;
    this.settled = new Set(before.settled);
    this.chosen = before.chosen;
    this.merging = null;
    this.#tell("changed");
  }

  #tell(what) { this.dispatchEvent(new Event(what)); }
}
