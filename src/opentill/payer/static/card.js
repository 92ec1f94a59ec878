// The card form: groups the number as it stands on the card, knows the brand, and fills in test cards.

const BRANDS = [
  ["Visa", /^4/],
  ["Mastercard", /^(5[1-5]|2(22[1-9]|2[3-9]|[3-6]|7[01]|720))/],
  ["Verve", /^(506[01]|6500)/],
];

export function enhanceCard(page) {
  const form = page.querySelector("form[data-card]");
  if (!form || form.dataset.ready) return;
  form.dataset.ready = "yes";
  const { number, expiry } = form.elements;
  number.addEventListener("input", () => {
    rewrite(number, grouped);
    form.querySelector("[data-brand]").textContent = brandOf(number.value);
  });
  expiry.addEventListener("input", (event) => {
    if (event.inputType !== "deleteContentBackward") rewrite(expiry, slashed);
  });
  for (const chip of form.querySelectorAll("[data-number]")) chip.addEventListener("click", (event) => fill(form, chip, event));
}

function fill(form, chip, event) {
  event.preventDefault();
  for (const name of ["number", "expiry", "cvv", "pin"]) form.elements[name].value = chip.dataset[name];
  form.elements.number.dispatchEvent(new Event("input"));
  form.querySelector("button.primary").focus();
}

function brandOf(text) {
  const digits = text.replace(/\D/g, "");
  return BRANDS.find(([, begins]) => begins.test(digits))?.[0] ?? "";
}

const digitsOf = (text) => text.replace(/\D/g, "");
const grouped = (text) => digitsOf(text).slice(0, 19).replace(/(.{4})(?=.)/g, "$1 ");

function slashed(text) {
  const digits = digitsOf(text).slice(0, 4);
  return digits.length > 1 ? `${digits.slice(0, 2)}/${digits.slice(2)}` : digits;
}

// Rewrites what was typed and leaves the cursor behind the same digit.
function rewrite(field, form) {
  const before = digitsOf(field.value.slice(0, field.selectionStart)).length;
  const atEnd = field.selectionStart === field.value.length;
  field.value = form(field.value);
  if (atEnd || document.activeElement !== field) return;
  let place = 0;
  for (let seen = 0; seen < before && place < field.value.length; place += 1) {
    if (/\d/.test(field.value[place])) seen += 1;
  }
  field.setSelectionRange(place, place);
}
