// Replaces the page by what the server says it is now. Parts whose key is the same stay as they are when asked
// to, so that a payer who is typing a card number goes on typing while the sentence above it changes.

export function swap(old, fresh, { keep }) {
  const stage = old.dataset.stage;
  const focus = document.activeElement;
  const inside = old.contains(focus);
  const selection = inside && "selectionStart" in focus ? [focus.selectionStart, focus.selectionEnd] : null;
  const truth = textOf(old);
  if (keep) keepParts(old, fresh);
  const parts = document.importNode(fresh, true);
  if (keep) giveBack(old, parts);
  old.replaceChildren(...parts.childNodes);
  old.dataset.mark = fresh.dataset.mark;
  old.dataset.stage = fresh.dataset.stage;
  if (textOf(old) !== truth) document.getElementById("announcer").textContent = textOf(old);
  if (inside && focus.isConnected) restore(focus, selection);
  else if (inside || !keep || stage !== fresh.dataset.stage) land(old);
}

const kept = (name) => `[data-part="${CSS.escape(name)}"]`;

function textOf(page) {
  const part = page.querySelector('[data-part="decline"]') ?? page.querySelector('[data-part="truth"]');
  return part ? part.textContent.trim().replace(/\s+/g, " ") : "";
}

// Marks, in the fresh page, the parts that are the same as in the old one.
function keepParts(old, fresh) {
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const same = old.querySelector(kept(part.dataset.part));
    if (same && same.dataset.key === part.dataset.key) part.dataset.same = "";
  }
}

function giveBack(old, parts) {
  for (const part of parts.querySelectorAll("[data-same]")) {
    const mine = old.querySelector(kept(part.dataset.part));
    if (mine.querySelector(".method[open]")) {
      // Of several methods one is open: the one that the payer has open, not the one that a fresh page would open.
      for (const other of parts.querySelectorAll(".method[open]")) other.open = false;
    }
    part.replaceWith(mine);
  }
}

function restore(focus, selection) {
  focus.focus({ preventScroll: true });
  if (selection && selection[0] !== null) focus.setSelectionRange(...selection);
}

// What the payer looked at is gone: begin where the page begins to say something new.
function land(page) {
  const target =
    page.querySelector('[aria-invalid="true"]') ??
    page.querySelector('[data-part="otp"] input:not([type="hidden"])') ??
    page.querySelector("h2[tabindex]") ??
    page.querySelector('input:not([type="hidden"])');
  target?.focus();
}
