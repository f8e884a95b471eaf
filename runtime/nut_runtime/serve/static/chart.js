// Two small charts on canvas: parts from left to right, the newest at the right edge, as on a chart recorder.

import { setText } from "./dom.js";
import { WORDS, clock, median, milliseconds, score } from "./words.js";

const LABELS = ["good", "defect", "review", "no-verdict"];
const LEFT = 30;
const RIGHT = 6;
const TOP = 8;
const BOTTOM = 16;

export function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ink: read("--ink"),
    quiet: read("--ink-2"),
    line: read("--line"),
    font: read("--narrow"),
    good: read("--dot-ok"),
    defect: read("--dot-ng"),
    review: read("--dot-review"),
    "no-verdict": read("--dot-none"),
  };
}

export function context(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return [null, 0, 0];
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return [ctx, width, height];
}

function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 1.5, 2, 3, 4, 5, 7.5, 10].map((n) => n * power).find((n) => n >= value) || value;
}

class Chart {
  constructor(canvas, readout) {
    this.canvas = canvas;
    this.readout = readout;
    this.points = [];
    this.span = 120;
    this.hovered = null;
    this.isDirty = false;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointermove", (event) => this.hover(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.hover(null));
  }

  show(points, span) {
    this.points = points.slice(-span);
    this.span = span;
    this.later();
  }

  later() {
    if (this.isDirty) return;
    this.isDirty = true;
    requestAnimationFrame(() => {
      this.isDirty = false;
      this.draw();
    });
  }

  hover(x) {
    this.hovered = x;
    this.canvas.parentElement.dataset.hover = x === null ? "no" : "yes";
    this.later();
  }

  x(i, width) {
    const step = (width - LEFT - RIGHT) / this.span;
    return width - RIGHT - (this.points.length - i - 0.5) * step;
  }

  frame(ctx, width, height, colour) {
    ctx.font = `11px ${colour.font}`;
    ctx.fillStyle = colour.quiet;
    ctx.textBaseline = "alphabetic";
    if (this.points.length) {
      ctx.textAlign = "right";
      ctx.fillText(clock(this.points.at(-1)[1]), width - RIGHT, height - 3);
      const first = this.x(0, width);
      if (width - first > 140) {
        ctx.textAlign = "left";
        ctx.fillText(clock(this.points[0][1]), Math.max(LEFT, first), height - 3);
      }
    }
    ctx.textBaseline = "middle";
  }

  level(ctx, width, y, text, colour) {
    ctx.strokeStyle = colour.line;
    ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(LEFT, Math.round(y) + 0.5);
    ctx.lineTo(width - RIGHT, Math.round(y) + 0.5);
    ctx.stroke();
    ctx.fillStyle = colour.quiet;
    ctx.textAlign = "right";
    ctx.fillText(text, LEFT - 5, y);
  }

  tell(width, describe, summary) {
    if (this.hovered === null || !this.points.length) {
      setText(this.readout, summary);
      return null;
    }
    const step = (width - LEFT - RIGHT) / this.span;
    const i = this.points.length - 1 - Math.floor((width - RIGHT - this.hovered) / step);
    const point = this.points[Math.max(0, Math.min(this.points.length - 1, i))];
    setText(this.readout, describe(point));
    return this.points.indexOf(point);
  }
}

export class ScoreChart extends Chart {
  constructor(canvas, readout) {
    super(canvas, readout);
    this.reviewFrom = null;
  }

  draw() {
    const [ctx, width, height] = context(this.canvas);
    if (!ctx) return;
    const colour = colours();
    const values = this.points.filter((point) => point[2] !== null).map((point) => point[2]);
    // Whole tenths around what there is, the threshold always among them: it moves seldom.
    const low = Math.max(0, Math.floor(Math.min(0.38, ...values) * 10 - 0.2) / 10);
    const high = Math.min(1, Math.ceil(Math.max(0.62, ...values) * 10 + 0.2) / 10);
    const y = (value) => TOP + ((high - value) / (high - low)) * (height - TOP - BOTTOM);
    this.frame(ctx, width, height, colour);
    this.level(ctx, width, y(high), high.toFixed(1), colour);
    this.level(ctx, width, y(low), low.toFixed(1), colour);
    const last = values.length ? score(values.at(-1)) : "–";
    const highest = values.length ? score(Math.max(...values)) : "–";
    const chosen = this.tell(
      width,
      (point) => `No. ${point[0]}  ${score(point[2])}  ${WORDS[LABELS[point[4]]]}  ${clock(point[1])}`,
      `highest ${highest}`
    );
    this.threshold(ctx, width, y, colour);
    const size = this.span > 600 ? 1.1 : this.span > 200 ? 1.5 : 2;
    this.points.forEach((point, i) => {
      const label = LABELS[point[4]];
      if (label !== "good") return;
      ctx.fillStyle = colour.good;
      ctx.beginPath();
      ctx.arc(this.x(i, width), y(point[2] ?? low), size, 0, 7);
      ctx.fill();
    });
    this.points.forEach((point, i) => this.notable(ctx, this.x(i, width), point, y(point[2] ?? low), colour, size + 1.4));
    if (chosen !== null) this.cursor(ctx, this.x(chosen, width), height, colour);
    this.canvas.setAttribute(
      "aria-label",
      `Score of the last ${this.points.length} parts: newest ${last}, highest ${highest}, threshold 0.5`
    );
  }

  threshold(ctx, width, y, colour) {
    ctx.strokeStyle = colour.ink;
    ctx.lineWidth = 1.5;
    ctx.setLineDash([6, 3]);
    ctx.beginPath();
    ctx.moveTo(LEFT, y(0.5));
    ctx.lineTo(width - RIGHT, y(0.5));
    ctx.stroke();
    if (this.reviewFrom !== null) {
      ctx.strokeStyle = colour.review;
      ctx.setLineDash([2, 3]);
      ctx.beginPath();
      ctx.moveTo(LEFT, y(this.reviewFrom));
      ctx.lineTo(width - RIGHT, y(this.reviewFrom));
      ctx.stroke();
    }
    ctx.setLineDash([]);
    ctx.fillStyle = colour.ink;
    ctx.textAlign = "right";
    ctx.fillText("0.5", LEFT - 5, y(0.5));
  }

  // What is not OK has a shape of its own besides its colour.
  notable(ctx, x, point, at, colour, size) {
    const label = LABELS[point[4]];
    if (label === "good") return;
    ctx.fillStyle = ctx.strokeStyle = colour[label];
    ctx.beginPath();
    if (label === "defect") {
      ctx.rect(x - size, at - size, 2 * size, 2 * size);
      ctx.fill();
    } else if (label === "review") {
      ctx.moveTo(x, at - size - 1);
      ctx.lineTo(x + size + 0.5, at + size);
      ctx.lineTo(x - size - 0.5, at + size);
      ctx.fill();
    } else {
      ctx.lineWidth = 1.5;
      ctx.moveTo(x - size, at - size);
      ctx.lineTo(x + size, at + size);
      ctx.moveTo(x + size, at - size);
      ctx.lineTo(x - size, at + size);
      ctx.stroke();
    }
  }

  cursor(ctx, x, height, colour) {
    ctx.strokeStyle = colour.ink;
    ctx.lineWidth = 1;
    ctx.globalAlpha = 0.5;
    ctx.beginPath();
    ctx.moveTo(x, TOP);
    ctx.lineTo(x, height - BOTTOM);
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
}

export class LatencyChart extends Chart {
  draw() {
    const [ctx, width, height] = context(this.canvas);
    if (!ctx) return;
    const colour = colours();
    const sorted = this.points.map((point) => point[3]).sort((a, b) => a - b);
    const typical = median(sorted);
    const high = median(sorted, 0.95);
    // One slow part must not flatten all others; it is cut off with a mark.
    const top = niceCeiling(Math.max(1.25 * (high || 1), 1.5 * (typical || 1)));
    const y = (value) => TOP + (1 - Math.min(1, value / top)) * (height - TOP - BOTTOM);
    this.frame(ctx, width, height, colour);
    this.level(ctx, width, y(top), milliseconds(top).replace(".0", ""), colour);
    this.level(ctx, width, y(0), "0", colour);
    const chosen = this.tell(
      width,
      (point) => `No. ${point[0]}  ${milliseconds(point[3])} ms  ${clock(point[1])}`,
      sorted.length ? `median ${milliseconds(typical)}, 95% within ${milliseconds(high)} ms` : "–"
    );
    const bar = Math.max(0.75, (width - LEFT - RIGHT) / this.span - 1);
    this.points.forEach((point, i) => {
      const x = this.x(i, width);
      ctx.fillStyle = i === chosen ? colour.ink : colour.quiet;
      ctx.fillRect(x - bar / 2, y(point[3]), bar, height - BOTTOM - y(point[3]));
      if (point[3] > top) {
        ctx.fillStyle = colour.ink;
        ctx.fillRect(x - Math.max(1.5, bar / 2), TOP - 5, Math.max(3, bar), 3);
      }
    });
    this.canvas.setAttribute(
      "aria-label",
      `Latency of the last ${this.points.length} parts: median ${milliseconds(typical)} ms, 95% within ${milliseconds(high)} ms`
    );
  }
}
