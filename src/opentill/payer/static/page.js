// The payer's page comes whole from the server and works by forms alone. What stands here makes it quicker:
// forms are sent without leaving the page, and the page replaces itself whenever its order has changed.
import { enhanceCard } from "./card.js";
import { enhanceTimes } from "./times.js";
import { enhanceTransfer } from "./transfer.js";
import { trouble } from "./trouble.js";
import { swap } from "./swap.js";
import { Watch } from "./watch.js";

// A form that was answered here left its own address behind the page's.
const PAGE = location.pathname.split("/").slice(0, 3).join("/");
const REDIRECT_SECONDS = 8;
const LOST =
  "We can not reach the server. If you have just paid, do not pay again: this page keeps asking, and will tell.";

const main = () => document.getElementById("page");
let returning = null;
let sending = 0;

async function ask(url, options = {}) {
  const answer = await fetch(url, { credentials: "same-origin", cache: "no-store", ...options });
  if (answer.status >= 500) throw new Error(`HTTP ${answer.status}`);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// Back to the shop by itself leads only a page on which the payment happened, not one that was opened after it.
const seesPayment = () => returning !== null || main().dataset.stage !== "paid";

// Ask for the page as it is now. Answers that come while a form is under way are left to the form.
async function refresh() {
  const before = sending;
  try {
    const page = await ask(seesPayment() ? `${PAGE}?return=auto` : PAGE);
    trouble.clear("lost");
    if (before === sending) show(page, { keep: true });
  } catch {
    trouble.say("lost", LOST);
    watch.askSoon();
  }
}

function show(page, { keep }) {
  if (!page.getElementById("page")) return;
  const bank = page.querySelector("form[data-to-bank]");
  // Only a page that was loaded for it may send a form to another origin.
  if (bank && main().dataset.stage !== page.getElementById("page").dataset.stage && new URL(bank.action).origin !== location.origin) {
    location.replace(PAGE);
    return;
  }
  document.title = page.title;
  swap(main(), page.getElementById("page"), { keep });
  enhance();
  watch.at(main().dataset.mark);
}

async function send(form, submitter) {
  const body = new URLSearchParams(new FormData(form, submitter));
  setBusy(form, submitter);
  sending += 1;
  try {
    const page = await ask(form.action, { method: "POST", body });
    trouble.clear("lost");
    show(page, { keep: "keep" in form.dataset });
    announce(form.dataset.said);
    toBank();
  } catch {
    trouble.say("lost", LOST);
    watch.askSoon();
  } finally {
    sending += 1;
    for (const button of form.querySelectorAll("button")) button.disabled = false;
    form.querySelector(".busy")?.classList.remove("busy");
  }
}

function setBusy(form, submitter) {
  const button = submitter ?? form.querySelector("button");
  if (button?.classList.contains("primary")) button.classList.add("busy");
  for (const each of form.querySelectorAll("button")) each.disabled = true;
  if (form.dataset.busy) announce(form.dataset.busy);
}

function announce(text) {
  if (text) document.getElementById("announcer").textContent = text;
}

// The payer has just entered a card that needs its bank: nothing is left to decide here.
function toBank() {
  document.querySelector("form[data-to-bank]")?.requestSubmit();
}

function enhance() {
  const page = main();
  enhanceCard(page);
  enhanceTransfer(page);
  enhanceTimes(page, refresh);
  for (const button of page.querySelectorAll("[data-fill]")) {
    button.disabled = false;
    button.onclick = () => {
      const field = page.querySelector("#otp");
      field.value = button.dataset.fill;
      field.focus();
    };
  }
  for (const button of page.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.onclick = () => window.print();
  }
  enhanceReturn(page.querySelector("[data-returns]"));
}

function enhanceReturn(part) {
  if (!part) {
    clearTimeout(returning);
    returning = null;
    return;
  }
  const stay = part.querySelector("[data-stay]");
  stay.hidden = false;
  stay.onclick = () => {
    clearTimeout(returning);
    part.querySelector("[data-return-text]").remove();
  };
  returning ??= setTimeout(() => location.assign(part.dataset.returns), REDIRECT_SECONDS * 1000);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-send]")) {
    event.preventDefault();
    send(form, event.submitter);
  }
});
addEventListener("pageshow", (event) => event.persisted && refresh());

const watch = new Watch(`${PAGE}/live`, refresh);
enhance();
watch.begin(main().dataset.mark);
