// Hears of changes by a stream; while it is cut, asks every two seconds and says so.
import { trouble } from "./trouble.js";

const POLL_MILLISECONDS = 2000;
const SILENCE_MILLISECONDS = 40000; // the server gives a sign of life every 15 seconds
const AGAIN_MILLISECONDS = 10000;
const CUT = "Live updates are interrupted. This page checks every few seconds instead.";

export class Watch {
  constructor(url, refresh) {
    this.url = url;
    this.refresh = refresh;
    this.mark = "";
    this.polling = null;
  }

  begin(mark) {
    this.mark = mark;
    this.open();
  }

  // The page now shows its order at this mark.
  at(mark) {
    this.mark = mark;
  }

  open() {
    this.source?.close();
    this.source = new EventSource(`${this.url}?mark=${encodeURIComponent(this.mark)}`);
    this.source.addEventListener("open", () => {
      this.stopPolling();
      this.heard();
    });
    this.source.addEventListener("beat", () => this.heard());
    this.source.addEventListener("message", (event) => {
      this.heard();
      if (event.data !== this.mark) this.refresh();
    });
    this.source.addEventListener("error", () => this.cut());
    this.heard();
  }

  heard() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      this.cut();
      this.open();
    }, SILENCE_MILLISECONDS);
  }

  cut() {
    if (this.source.readyState === EventSource.CLOSED) {
      clearTimeout(this.again);
      this.again = setTimeout(() => this.open(), AGAIN_MILLISECONDS);
    }
    if (this.polling) return;
    trouble.say("cut", CUT);
    this.polling = setInterval(() => this.refresh(), POLL_MILLISECONDS);
  }

  stopPolling() {
    trouble.clear("cut");
    if (!this.polling) return;
    clearInterval(this.polling);
    this.polling = null;
    this.refresh(); // whatever happened between the last question and the stream
  }

  // An answer did not come: ask again, unless that happens anyway.
  askSoon() {
    if (this.polling) return;
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.refresh(), POLL_MILLISECONDS);
  }
}
