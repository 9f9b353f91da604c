// What is drawn and not sent yet, kept in this tab: neither a link, nor j and k, nor a reload loses it.

import { showNotice } from "./console.js";

const name = (item) => JSON.stringify([item.kind, item.box, item.label]);

/** Keep the boxes of a form until they are sent, and bring back those that were left. */
export function keepDraft(form, boxes) {
  const { case_id: shown, seen } = form.elements, who = document.querySelector(".person")?.firstChild.textContent;
  const key = `skyloop-draft ${who} ${form.getAttribute("action")} ${shown?.value ?? ""}`;
  const state = () => JSON.stringify({ items: boxes.items.map(({ box, label, kind }) => ({ box, label, kind })), settled: boxes.suggested.filter((item) => boxes.settled.has(item.id)).map(name) });
  let sent = state(), underway = sent;
  const save = () => {
    if (state() === sent) { sessionStorage.removeItem(key); return; }
    // With the number of answers that were known when it was drawn: who answered meanwhile is still told.
    try { sessionStorage.setItem(key, JSON.stringify({ state: state(), seen: form.elements.seen?.value })); }
    catch { showNotice("This browser has no room for a draft: send your boxes before you leave this page.", "calm", "draft"); }
  };
  const kept = sessionStorage.getItem(key);
  if (kept) {
    const draft = JSON.parse(kept), { items, settled } = JSON.parse(draft.state);
    boxes.restore(items, new Set(settled), name);
    if (seen && draft.seen !== undefined) seen.value = draft.seen;
    showNotice("Your boxes that were not sent are here again; undo brings back what was kept before.", "calm", "draft");
  }
  boxes.addEventListener("changed", save);
  form.addEventListener("htmx:beforeRequest", (event) => { if (event.detail.elt === form) underway = state(); });
  form.addEventListener("kept", () => { sent = underway; save(); }); // the server says so, see answering.py
}
