// The big verdict, its score on the scale, the tape of the last parts, and the counts.

import { byId, make, mark, setMark, setText } from "./dom.js";
import { MARKS, WORDS, age, clock, count, milliseconds, percent, nutsText, reasonText, score } from "./words.js";
import { colours, context } from "./chart.js";

const ANNOUNCE_MS = 3000;
const LABELS = ["good", "defect", "review", "no-verdict"];

export class VerdictPanel {
  constructor() {
    this.slab = byId("slab");
    this.cells = {};
    const rows = byId("count-rows");
    for (const label of LABELS) {
      const number = make("td", { class: "number", text: "0" });
      const share = make("td", { class: "share", text: "" });
      rows.append(
        make("tr", { data: { label } }, make("th", { scope: "row" }, mark(MARKS[label]), make("span", { text: WORDS[label] })), number, share)
      );
      this.cells[label] = { number, share };
    }
    this.announcedAt = -ANNOUNCE_MS;
    this.announced = 0;
    this.points = [];
    new ResizeObserver(() => this.drawTape()).observe(byId("tape"));
  }

  show(news, points, reviewFrom) {
    const part = news.part;
    this.points = points;
    this.counts(news);
    this.drawTape();
    if (!part) {
      this.slab.dataset.label = "";
      setText(byId("verdict-word"), "READY");
      setText(byId("verdict-reason"), "waiting for the first part");
      setMark(this.slab, "nut");
      return;
    }
    this.slab.dataset.label = part.label;
    const word = WORDS[part.label] || part.label;
    setText(byId("verdict-word"), word);
    this.slab.dataset.long = word.length > 6 ? "yes" : "no";
    setMark(this.slab, MARKS[part.label] || "none");
    const reason = part.label === "no-verdict" ? reasonText(part.reason) || part.error : nutsText(part.nuts);
    setText(byId("verdict-reason"), reason);
    byId("verdict-reason").title = part.error || "";
    setText(byId("score"), score(part.score));
    this.scale(part, reviewFrom);
    setText(byId("part-number"), `No. ${count(part.sequence)}`);
    setText(byId("part-trigger"), part.trigger);
    setText(byId("part-latency"), `${milliseconds(part.latency_ms)} ms`);
    this.announce(part, word, reason);
  }

  scale(part, reviewFrom) {
    const gauge = byId("gauge");
    gauge.style.setProperty("--at", typeof part.score === "number" ? part.score : 0);
    gauge.dataset.empty = typeof part.score === "number" ? "no" : "yes";
    gauge.style.setProperty("--from", typeof reviewFrom === "number" ? reviewFrom : 0.5);
    gauge.setAttribute("aria-label", `score ${score(part.score)}, threshold 0.5`);
  }

  counts(news) {
    const whole = LABELS.reduce((sum, label) => sum + (news.counts[label] || 0), 0);
    for (const label of LABELS) {
      const number = news.counts[label] || 0;
      setText(this.cells[label].number, count(number));
      setText(this.cells[label].share, whole ? `${percent(number / whole)} %` : "");
    }
    setText(byId("reject-rate"), percent(news.reject_rate));
    setText(byId("recent-rate"), percent(news.recent_reject_rate));
    setText(byId("recent-parts"), count(news.recent_parts));
    const reasons = Object.entries(news.reasons).map(([reason, n]) => `${reasonText(reason)} ${count(n)}`);
    setText(byId("reasons"), reasons.join(", "));
  }

  tick(part) {
    if (!part) return;
    const seconds = (Date.now() - part.at) / 1000;
    setText(byId("part-time"), seconds < 10 ? clock(part.at) : `${age(seconds)} ago`);
  }

  // A screen reader hears what is not OK, and no more than every three seconds.
  announce(part, word, reason) {
    const now = performance.now();
    if (part.label === "good" || part.n === this.announced || now - this.announcedAt < ANNOUNCE_MS) return;
    this.announced = part.n;
    this.announcedAt = now;
    byId("announcer").textContent = `Part ${part.sequence}: ${word}${reason ? `, ${reason}` : ""}, score ${score(part.score)}`;
  }

  drawTape() {
    const canvas = byId("tape");
    const [ctx, width, height] = context(canvas);
    if (!ctx) return;
    const colour = colours();
    const step = 8;
    const shown = this.points.slice(-Math.floor(width / step));
    shown.forEach((point, i) => {
      const x = width - (shown.length - i) * step + 1;
      const label = LABELS[point[4]];
      ctx.fillStyle = ctx.strokeStyle = colour[label];
      if (label === "good") ctx.fillRect(x, height - 8, step - 2, 8);
      else if (label === "defect") ctx.fillRect(x, 0, step - 2, height);
      else if (label === "review") {
        ctx.fillRect(x, height - 14, step - 2, 14);
        ctx.fillRect(x, height - 20, step - 2, 3);
      } else {
        ctx.lineWidth = 1.5;
        ctx.strokeRect(x + 0.75, height - 13.25, step - 3.5, 12.5);
      }
    });
  }
}
