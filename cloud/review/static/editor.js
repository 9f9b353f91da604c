// The editor of a case's boxes: pointer, keys and the list beside the picture all do the same few actions.

import { Boxes } from "./boxes.js";
import { clearNotice, key, say, showNotice } from "./console.js";
import { keepDraft } from "./draft.js";
import { Stage, dragged, inside } from "./stage.js";
import { View, pinch } from "./view.js";

const root = document.getElementById("editor");
if (root) edit(root);

function edit(editor) {
  const data = JSON.parse(editor.dataset.case), mode = editor.dataset.mode;
  const canEdit = mode !== "look", isOne = mode === "target";
  const svg = document.getElementById("stage"), form = document.getElementById("answer");
  const boxes = new Boxes(data);
  const regions = data.parts.map((part) => part.region);
  const whole = [0, 1].map((i) => Math.min(...regions.map((r) => r[i]))).concat([2, 3].map((i) => Math.max(...regions.map((r) => r[i]))));
  const view = new View(svg, whole);
  const stage = new Stage(svg, data, boxes, view);
  stage.canEdit = canEdit;
  stage.draw();
  const $ = (id) => document.getElementById(id);
  let isDrawing = false, step = null, drag = null, isMapOn = false;
  const isPinching = pinch(svg, view);

  // --- actions ---
  const words = (item) => `${{ edge: "craft's", teacher: "teacher's", thing: "", negative: "hard negative," }[item.kind]} ${item.label || "no label"}`.trim();
  const place = ([x1, y1, x2, y2]) => `${Math.round(x1)}, ${Math.round(y1)}, ${Math.round(x2 - x1)} by ${Math.round(y2 - y1)} pixels`;
  const onChosen = (work) => () => {
    if (!canEdit) return;
    const item = boxes.current;
    if (item) work(item); else say("No box is chosen: N goes to the next one.");
  };
  const addBox = (box) => {
    if (isOne && boxes.items.length) boxes.place(boxes.items[0], inside(box, data.frame));
    else boxes.add(inside(box, data.frame), isOne ? "target" : ""); // no guess at what it is: whoever drew it says so
    if (isOne) boxes.choose(boxes.items[0].id);
  };
  const setDrawing = (on) => {
    isDrawing = on && canEdit;
    svg.classList.toggle("drawing", isDrawing);
    press("draw", isDrawing);
  };
  const press = (act, on) => document.querySelector(`[data-act="${act}"]`)?.setAttribute("aria-pressed", String(on));
  const stepSize = () => step ?? Math.max(1, Math.round(view.box[2] / 100));
  const arrow = (dx, dy, isSize) => {
    const item = boxes.current;
    if (!item || !canEdit) { view.pan(-dx * view.box[2] / 12, -dy * view.box[3] / 12); return; }
    const by = stepSize(), [x1, y1, x2, y2] = item.box;
    const next = isSize ? [x1, y1, Math.max(x2 + dx * by, x1 + 1), Math.max(y2 + dy * by, y1 + 1)] : [x1 + dx * by, y1 + dy * by, x2 + dx * by, y2 + dy * by];
    boxes.place(item, isSize ? next : inside(next, data.frame), `arrow ${item.id} ${isSize}`);
    view.reveal(boxes.current.box);
    say(place(boxes.current.box));
  };
  const tellChosen = () => {
    const item = boxes.current, shown = boxes.shown;
    if (!item) return;
    view.reveal(item.box);
    say(`Box ${shown.indexOf(item) + 1} of ${shown.length}: ${words(item)}, ${place(item.box)}`);
  };
  const goBy = (by) => () => { boxes.step(by); tellChosen(); };
  const toggleKind = (kind) => () => {
    boxes.hidden.has(kind) ? boxes.hidden.delete(kind) : boxes.hidden.add(kind);
    press(`show-${kind}`, !boxes.hidden.has(kind));
    boxes.choose(boxes.chosen);
  };
  const add = () => {
    const [x, y, w, h] = view.box, side = Math.min(w, h) / 6, cx = x + w / 2, cy = y + h / 2;
    addBox([cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2]);
    say(`A box is added at ${place(boxes.current.box)}. Arrows move it, with Shift they resize it.${isOne ? "" : " R or 1 to 9 give it a label."}`);
    svg.focus({ preventScroll: true });
  };
  const call = (item, label) => { boxes.relabel(item, label); say(`It is ${label} now.`); };
  const relabel = (label) => onChosen((item) => call(item, label))();
  let meant = null; // the box that the label field is about: a click on another may come before the field is left
  const askLabel = (item) => {
    const field = $("label");
    field.value = "";
    field.focus({ preventScroll: true });
    meant = item.id;
    say("What is it? Enter confirms, 1 to 9 give a label, Escape returns to the picture.");
  };

  const edits = "Boxes", shows = "Picture";
  key("n", "next-box", "Next box", goBy(1), edits);
  key("N", "box-before", "Box before", goBy(-1), edits);
  key(["ArrowLeft"], "left", "Move the box, or the picture", () => arrow(-1, 0), edits);
  for (const [name, dx, dy] of [["ArrowRight", 1, 0], ["ArrowUp", 0, -1], ["ArrowDown", 0, 1]]) key(name, name, "", () => arrow(dx, dy), edits);
  document.addEventListener("keydown", shifted, true); // before the keys without Shift
  function shifted(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move || !event.shiftKey || event.target.closest("input, select, textarea, dialog")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    arrow(...move, true);
  }
  key("+", "zoom-in", "Zoom in", () => view.zoom(1.4), shows);
  key(["-", "−"], "zoom-out", "Zoom out", () => view.zoom(1 / 1.4), shows);
  key("0", "zoom-fit", "Show all", () => view.fit(whole), shows);
  key("z", "zoom-box", "Zoom to the box", () => boxes.current && view.fit(boxes.current.box, 1), shows);
  key("e", "show-edge", "The craft's boxes", toggleKind("edge"), shows);
  if (mode !== "target") {
    key("t", "show-teacher", "The teacher's boxes", toggleKind("teacher"), shows);
    key("m", "map", "Where the student looked", () => showMap(!isMapOn), shows);
  }
  if (canEdit) {
    key(["Shift+↑"], "resize", "Resize the box", () => {}, edits);
    key([",", "."], "steps", "Finer, coarser steps", (event) => { step = Math.max(0.5, stepSize() * (event?.key === "," ? 0.5 : 2)); say(`Steps of ${step} pixels`); }, edits);
    key("a", "add", "Add a box in the middle", add, edits);
    key("d", "draw", "Draw by dragging", () => setDrawing(!isDrawing), edits);
    key(["x", "Delete", "Backspace"], "delete", "Delete", onChosen((item) => { boxes.remove(item); say(`${words(item)} is deleted.`); }), edits);
    key(["u", "Ctrl+z"], "undo", "Undo", () => { boxes.undo(); say("Undone."); }, edits);
    key(["U", "Ctrl+y", "Ctrl+Z"], "redo", "Redo", () => { boxes.redo(); say("Done again."); }, edits);
    key("s", "send", "Send", () => $("send").click(), "Answer");
  }
  if (isOne) key("c", "confirm", "Take the chosen box", onChosen((item) => { boxes.only(item); say(`${item.label} is taken.`); }), edits);
  if (mode === "review") {
    key("c", "confirm", "Confirm", onChosen((item) => { boxes.confirm(item); say(`${item.label} is confirmed.`); }), edits);
    key("C", "confirm-all", "Confirm all of the teacher", () => say(`${boxes.confirmAll("teacher")} boxes are confirmed.`), edits);
    key("r", "relabel", "Relabel", () => { const field = $("label"); field.value = boxes.current?.label ?? field.value; field.focus(); field.select(); }, edits);
    key("h", "negative", "Hard negative, and back", onChosen((item) => { boxes.negative(item); say(`${item.label}: ${boxes.current.kind === "negative" ? "a hard negative" : "a thing"} now.`); }), edits);
    for (let digit = 1; digit <= 9; digit += 1) key(String(digit), `label-${digit}`, digit === 1 ? "Relabel by number (1 to 9)" : "", () => numbered[digit - 1] && relabel(numbered[digit - 1]), edits);
    key("p", "make-prompt", "Make a prompt, or none", () => { $("makes-prompt").click(); }, "Answer");
    key("v", "preview", "Try it on recent cases", () => { if (!$("makes-prompt").checked) $("makes-prompt").click(); $("try").click(); }, "Answer");
  }
  if (document.querySelector('button[data-act="refine"]')) key("b", "refine", "Ask for a better picture", () => document.querySelector('button[data-act="refine"]').click(), "Answer");
  if ($("not-there")) key("g", "not-there", "Nothing here", () => $("not-there").click(), "Answer");
  key("w", "look-at-picture", "To the picture", () => svg.focus(), shows);
  document.addEventListener("keydown", (event) => { 
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input, select")) { svg.focus({ preventScroll: true }); return; }
    setDrawing(false);
    boxes.choose(null);
  });

  // --- pointer ---
  svg.addEventListener("pointerdown", (event) => {
    if (event.button > 1 || isPinching()) { drag = null; return; }
    const at = view.at(event), handle = event.target.dataset?.handle, group = event.target.closest(".box");
    const id = group ? Number(group.dataset.id) : null;
    svg.setPointerCapture(event.pointerId);
    if (canEdit && handle && !isDrawing) drag = { kind: "handle", handle, at, box: [...boxes.current.box], name: `drag ${Date.now()}` };
    else if (canEdit && (isDrawing || event.shiftKey)) drag = { kind: "draw", at, preview: null };
    else if (id !== null) {
      const isSame = id === boxes.chosen;
      if (!isSame) boxes.choose(id);
      drag = { kind: canEdit && event.button === 0 && (isSame || event.pointerType === "mouse") ? "move" : "pan", at, box: [...boxes.current.box], name: `drag ${Date.now()}`, far: false };
    } else drag = { kind: "pan", at, empty: true, x: event.clientX, y: event.clientY };
  });
  svg.addEventListener("pointermove", (event) => {
    if (!drag || isPinching()) return;
    const to = view.at(event), dx = to[0] - drag.at[0], dy = to[1] - drag.at[1];
    if (drag.kind === "pan") { if (!drag.x || Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4) { drag.empty = false; view.pan(dx, dy); } }
    else if (drag.kind === "handle") boxes.place(boxes.current, dragged(drag.box, drag.handle, dx, dy), drag.name);
    else if (drag.kind === "move") {
      drag.far ||= Math.hypot(dx, dy) * view.scale > 4;
      if (drag.far) boxes.place(boxes.current, inside([drag.box[0] + dx, drag.box[1] + dy, drag.box[2] + dx, drag.box[3] + dy], data.frame), drag.name);
    } else drawTo(to);
  });
  svg.addEventListener("pointerup", (event) => {
    if (drag?.kind === "draw") {
      drag.preview?.remove();
      const to = view.at(event), box = [Math.min(drag.at[0], to[0]), Math.min(drag.at[1], to[1]), Math.max(drag.at[0], to[0]), Math.max(drag.at[1], to[1])];
      if ((box[2] - box[0]) * view.scale > 4 && (box[3] - box[1]) * view.scale > 4) {
        addBox(box);
        if (event.pointerType === "touch" || isOne) setDrawing(false);
        if (event.pointerType !== "touch" && mode === "review") askLabel(boxes.current); // a finger would open a keyboard over the picture
      }
    } else if (drag?.empty) boxes.choose(null);
    drag = null;
  });
  svg.addEventListener("pointercancel", () => { drag?.preview?.remove(); drag = null; });
  function drawTo(to) {
    drag.preview ??= svg.appendChild(document.createElementNS(svg.namespaceURI, "rect"));
    const values = { class: "line thing", x: Math.min(drag.at[0], to[0]), y: Math.min(drag.at[1], to[1]), width: Math.abs(to[0] - drag.at[0]), height: Math.abs(to[1] - drag.at[1]) };
    for (const [name, value] of Object.entries(values)) drag.preview.setAttribute(name, value);
  }
  for (const button of document.querySelectorAll("[data-part]")) button.addEventListener("click", () => view.fit(regions[Number(button.dataset.part)]));

  // --- the list, the labels and the form ---
  let numbered = [];
  const list = $("box-list");
  const button = (text, label, act, name = "do") => {
    const node = document.createElement("button");
    node.type = "button";
    node.className = `quiet ${name}`;
    node.textContent = text;
    node.setAttribute("aria-label", label);
    node.title = label;
    node.addEventListener("click", act);
    return node;
  };
  function drawList() {
    const focused = document.activeElement?.closest("#box-list li")?.dataset.id;
    list.replaceChildren(...boxes.shown.map((item, index) => {
      const line = document.createElement("li"), isChosen = item.id === boxes.chosen;
      line.dataset.id = item.id;
      line.classList.toggle("chosen", isChosen);
      const pick = button("", `Box ${index + 1}: ${words(item)}`, () => { boxes.choose(item.id); tellChosen(); }, "pick");
      const swatch = document.createElement("i"), name = document.createElement("span"), note = document.createElement("small");
      swatch.className = `swatch ${item.kind}`;
      name.textContent = item.label || (item.kind === "negative" ? "not it" : "no label");
      name.classList.toggle("soft", !item.label);
      note.textContent = { edge: "craft ", teacher: "teacher ", thing: "you", negative: "hard negative" }[item.kind] + (item.score === undefined ? "" : item.score.toFixed(2));
      pick.append(swatch, name, note);
      pick.setAttribute("aria-pressed", String(isChosen));
      line.append(pick);
      if (mode === "review" && !boxes.isOwn(item)) line.append(button("✓", `Confirm ${item.label}`, () => { boxes.choose(item.id); boxes.confirm(item); }));
      if (isOne && !boxes.isOwn(item)) line.append(button("✓", `Take ${item.label}`, () => { boxes.choose(item.id); boxes.only(item); }));
      if (canEdit && (!isOne || boxes.isOwn(item))) line.append(button("✕", `Delete ${item.label}`, () => boxes.remove(item)));
      return line;
    }));
    if (!boxes.shown.length) list.append(Object.assign(document.createElement("li"), { className: "none", textContent: canEdit ? "None yet: draw one (d)." : "None." }));
    if (focused) list.querySelector(`li[data-id="${focused}"] .pick, li .pick`)?.focus({ preventScroll: true });
  }
  function drawLabels() {
    const place = $("label-keys");
    if (!place) return;
    numbered = boxes.labels.slice(0, 9);
    place.replaceChildren(...numbered.map((label, index) => {
      const node = button("", `Relabel: ${label}`, () => relabel(label), "label");
      node.className = "";
      const text = document.createElement("span"), hint = document.createElement("kbd");
      text.textContent = label;
      hint.textContent = index + 1;
      node.append(text, hint);
      return node;
    }));
  }
  function drawForm() {
    if (!form) return;
    $("boxes").value = JSON.stringify(boxes);
    const select = $("prompt-label");
    if (!select) return;
    const names = [...new Set(boxes.items.filter((item) => item.kind === "thing" && item.label).map((item) => item.label))], before = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    // Unless somebody chose: a prompt is worth most where the student knows no class of that name.
    const isNew = (name) => !(data.known ?? []).some((known) => known.toLowerCase() === name.toLowerCase());
    select.value = select.dataset.chosen && names.includes(before) ? before : names.find(isNew) ?? names[0] ?? "";
    $("preview-card")?.classList.add("outdated");
    clearTimeout(drawForm.later);
    if ($("preview-card") && $("makes-prompt").checked && names.length && !boxes.nameless.length) drawForm.later = setTimeout(() => htmx.trigger("#try", "click"), 700);
  }
  let mapLater = null;
  const numberLabels = boxes.labels.slice();
  for (const what of ["changed", "chosen"]) boxes.addEventListener(what, () => clearNotice("boxes"));
  boxes.addEventListener("changed", () => { drawList(); drawForm(); if (isMapOn && !$("map-like").value) { clearTimeout(mapLater); mapLater = setTimeout(() => showMap(true), 250); } });
  boxes.addEventListener("chosen", drawList);
  drawList();
  drawLabels();
  drawForm();
  const field = $("label");
  if (field && mode === "review") {
    const take = () => { const label = field.value.trim(), item = boxes.shown.find((one) => one.id === meant); if (label && item && item.label !== label) { call(item, label); if (!numberLabels.includes(label)) { numberLabels.push(label); drawLabels(); } } };
    field.addEventListener("focus", () => { meant = boxes.chosen; });
    field.addEventListener("keydown", (event) => {
      const label = !field.value && /^[1-9]$/.test(event.key) && !event.ctrlKey ? numbered[Number(event.key) - 1] : null;
      if (event.key !== "Enter" && !label) return;
      event.preventDefault();
      if (label) field.value = label;
      take();
      svg.focus({ preventScroll: true });
    });
    field.addEventListener("change", take);
  }
  $("prompt-label")?.addEventListener("change", (event) => { event.target.dataset.chosen = "yes"; });
  $("makes-prompt")?.addEventListener("change", (event) => { $("prompt-fields").hidden = !event.target.checked; });
  if ($("makes-prompt")) $("prompt-fields").hidden = !$("makes-prompt").checked;

  if (form) keepDraft(form, boxes);

  // --- what the server would refuse is told here, before it is asked ---
  function fault(isNothing, isTry) {
    const things = boxes.items.filter((item) => item.kind === "thing"), nameless = boxes.nameless[0];
    if (isNothing) return things.length ? "A box is drawn, and you say that nothing is there: delete it, or send it." : null;
    if (isTry && !things.length) return "No box is drawn or confirmed: a prompt is made of at least one.";
    if (!boxes.items.length && isOne) return `No box is drawn: draw one around it${data.question ? ", or say that it is not in the picture" : ""}.`;
    if (!boxes.items.length) return "No box is drawn or confirmed: draw one, confirm one, or say that nothing is there.";
    if (!nameless || isOne) return null;
    boxes.choose(nameless.id);
    askLabel(nameless);
    return `${boxes.nameless.length === 1 ? "A box has" : `${boxes.nameless.length} boxes have`} no label: say what it is, by name or by 1 to 9.`;
  }
  form?.addEventListener("htmx:confirm", (event) => {
    const isTry = event.detail.elt.id === "try";
    if (event.detail.elt !== form && !isTry) return; // what became of an answer is asked from within the form
    const text = fault(!isTry && event.detail.triggeringEvent?.submitter?.id === "not-there", isTry);
    if (!text) return;
    event.preventDefault();
    showNotice(text, "error", "boxes");
  });

  // --- where the student looked ---
  let turn = 0;
  async function showMap(on) {
    const mine = ++turn;
    const prompt = $("map-like")?.value, legend = $("map-legend"), chosen = boxes.current ? [boxes.current] : boxes.items.filter((item) => item.kind === "thing");
    const isAnything = Boolean(prompt || chosen.length);
    if (on && !isAnything) showNotice("Draw or choose a box first, or choose a prompt: the map shows what is like it.", "error", "boxes");
    on &&= isAnything;
    isMapOn = on;
    press("map", on);
    const like = prompt ? new URLSearchParams({ prompt }) : new URLSearchParams(chosen.slice(0, 32).map(({ box: [x1, y1, x2, y2] }) => ["box", [x1, y1, x2 - x1, y2 - y1].map((v) => v.toFixed(1)).join(",")]));
    try {
      const told = await stage.showMaps(on, like, () => mine === turn);
      if (mine !== turn) return;
      legend.hidden = !told;
      if (told) legend.textContent = `dark to bright: cosine ${Math.min(...told.map((t) => t[0])).toFixed(2)} to ${Math.max(...told.map((t) => t[1])).toFixed(2)} with ${prompt ? "the prompt" : boxes.current ? "the chosen box" : "the boxes"}`;
      say(on ? legend.textContent : "The map is off.");
    } catch (error) {
      if (mine !== turn) return;
      isMapOn = false;
      press("map", false);
      legend.hidden = true;
      if (on) showNotice(error.message);
    }
  }
  $("map-like")?.addEventListener("change", () => { if (isMapOn || $("map-like").value) showMap(true); });

  // --- somebody was faster ---
  document.addEventListener("click", (event) => {
    if (event.target.dataset?.act !== "take-other") return;
    boxes.replace(JSON.parse(event.target.closest("[data-other]").dataset.other));
    $("other").replaceChildren();
    $("notices").replaceChildren();
    say("You go on with their boxes; undo brings yours back.");
  });
}
