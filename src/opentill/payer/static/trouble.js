// The line at the top of the page that says what does not work right now; of several, the worst.
const RANK = ["lost", "cut"];
const said = new Map();

function draw() {
  const line = document.getElementById("trouble");
  const worst = RANK.find((word) => said.has(word));
  const text = worst ? said.get(worst) : "";
  if (line.textContent !== text) line.textContent = text;
  line.hidden = !text;
}

export const trouble = {
  say(word, text) {
    said.set(word, text);
    draw();
  },
  clear(word) {
    said.delete(word);
    draw();
  },
};
