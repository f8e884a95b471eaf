// The connection to the station: the whole state once, then what changes; and the truth about it when it is gone.

const SILENCE_MS = 6500; // the station says something every two seconds
const RETRY_MS = [500, 1000, 2000, 3000];

export class Link {
  constructor(handlers) {
    this.handlers = handlers;
    this.source = null;
    this.failures = 0;
    this.lastHeard = 0;
    this.waiting = null; // parts that come while the state is on its way
    this.isLive = false;
    setInterval(() => this.watch(), 1000);
  }

  open() {
    this.waiting = [];
    this.lastHeard = performance.now();
    const source = new EventSource("/api/events");
    this.source = source;
    source.addEventListener("open", () => this.load(source));
    source.addEventListener("error", () => this.lose(source));
    source.addEventListener("beat", () => this.hear());
    source.addEventListener("health", (event) => {
      this.hear();
      this.handlers.health(JSON.parse(event.data));
    });
    source.addEventListener("part", (event) => {
      this.hear();
      const news = JSON.parse(event.data);
      if (this.waiting) this.waiting.push(news);
      else this.handlers.news(news);
    });
  }

  hear() {
    this.lastHeard = performance.now();
  }

  async load(source) {
    try {
      const answer = await fetch("/api/state", { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const state = await answer.json();
      if (source !== this.source) return;
      this.failures = 0;
      this.isLive = true;
      this.handlers.state(state);
      const parts = this.waiting || [];
      this.waiting = null;
      for (const news of parts) {
        news.points = news.points.filter((point) => point[0] > state.n);
        if (news.n >= state.n) this.handlers.news(news);
      }
      this.handlers.link("live");
    } catch (error) {
      this.lose(source);
    }
  }

  watch() {
    if (this.source && performance.now() - this.lastHeard > SILENCE_MS) this.lose(this.source);
  }

  async lose(source) {
    if (source !== this.source) return;
    this.source = null;
    source.close();
    this.isLive = false;
    this.handlers.link("lost");
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    await new Promise((done) => setTimeout(done, wait));
    try {
      const answer = await fetch("/api/rejects", { cache: "no-store", signal: AbortSignal.timeout(3000) });
      if (answer.status === 401) {
        location.reload(); // the session has ended: the front page asks for the token
        return;
      }
    } catch (error) {
      // still away; the stream will tell
    }
    this.open();
  }
}
