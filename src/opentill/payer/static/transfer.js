// The transfer panel: copies numbers, and watches once the payer says that the money is on its way.

export function enhanceTransfer(page) {
  for (const button of page.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.onclick = () => copy(button);
  }
  const form = page.querySelector("form[data-watch]");
  if (!form) return;
  form.onsubmit = (event) => {
    event.preventDefault();
    form.hidden = true;
    const watching = form.parentElement.querySelector("[data-watching]");
    watching.hidden = false;
    document.getElementById("announcer").textContent = watching.textContent.trim();
  };
}

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  const label = button.firstChild;
  label.textContent = "Copied";
  document.getElementById("announcer").textContent = "Copied";
  setTimeout(() => (label.textContent = "Copy"), 2000);
}
