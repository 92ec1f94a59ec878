// Counts down what is left, by the clock of this device's running time: nobody's wrong date matters.

export function enhanceTimes(page, over) {
  for (const clock of page.querySelectorAll("[data-seconds-left]")) {
    if (clock.dataset.running) continue;
    clock.dataset.running = "yes";
    run(clock, performance.now() + Number(clock.dataset.secondsLeft) * 1000, over);
  }
}

function run(clock, end, over) {
  const tick = () => {
    const seconds = Math.max(Math.ceil((end - performance.now()) / 1000), 0);
    clock.textContent = written(seconds);
    return seconds;
  };
  const timer = setInterval(() => {
    const gone = !clock.isConnected;
    const left = gone ? 1 : tick();
    if (gone || left === 0) clearInterval(timer);
    if (left === 0) over();
  }, 1000);
  tick();
}

function written(seconds) {
  if (seconds >= 172800) return `${Math.floor(seconds / 86400)} days`;
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  const rest = `${two(Math.floor((seconds % 3600) / 60))}:${two(seconds % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}
