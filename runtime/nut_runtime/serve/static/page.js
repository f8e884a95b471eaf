// Puts the page together.

import { LatencyChart, ScoreChart } from "./chart.js";
import { Cameras } from "./cameras.js";
import { byId, setText } from "./dom.js";
import { Gallery } from "./gallery.js";
import { Link } from "./link.js";
import { Station } from "./station.js";
import { VerdictPanel } from "./verdict.js";
import { clock } from "./words.js";

const POINTS_KEPT = 2000;

const verdict = new VerdictPanel();
const cameras = new Cameras();
const gallery = new Gallery();
const station = new Station();
const scores = new ScoreChart(byId("score-chart"), byId("score-readout"));
const latency = new LatencyChart(byId("latency-chart"), byId("latency-readout"));

let points = [];
let newest = null;
let span = 120;
let reviewFrom = null;

function drawCharts() {
  scores.show(points, span);
  latency.show(points, span);
}

function show(news) {
  newest = news.part;
  verdict.show(news, points, reviewFrom);
  verdict.tick(newest);
  cameras.show(news.cameras);
  station.showWarnings(news);
  drawCharts();
  gallery.follow(news.album);
  if (newest) station.follow(newest.bundle);
}

const link = new Link({
  state(state) {
    points = state.points;
    reviewFrom = typeof state.review_from === "number" ? state.review_from : null;
    scores.reviewFrom = reviewFrom;
    setText(byId("review-from"), reviewFrom === null ? "" : `review ${reviewFrom}`);
    byId("review-from").hidden = reviewFrom === null;
    gallery.version = -1;
    station.bundle = null;
    setText(byId("station"), state.station);
    document.title = `${state.station} – live`;
    setText(byId("version"), `nut-runtime ${state.version}`);
    byId("logout").hidden = !state.has_login;
    station.showHealth(state.health);
    show(state);
    if (!state.part) station.follow("");
  },
  news(news) {
    for (const point of news.points) points.push(point);
    if (points.length > POINTS_KEPT) points.splice(0, points.length - POINTS_KEPT);
    show(news);
  },
  health(health) {
    station.showHealth(health);
  },
  link(status) {
    document.body.dataset.link = status;
    const banner = byId("lost");
    if (status === "lost" && banner.hidden) {
      setText(byId("lost-since"), clock(Date.now()));
      banner.hidden = false;
    } else if (status === "live") {
      banner.hidden = true;
    }
  },
});

for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    span = Number(button.dataset.span);
    for (const one of document.querySelectorAll("[data-span]")) one.setAttribute("aria-pressed", String(one === button));
    drawCharts();
  });
}

const theme = byId("theme");
function nameTheme(choice) {
  setText(byId("theme-name"), choice);
  theme.setAttribute("aria-label", `Colours: ${choice}. Change`);
  verdict.drawTape();
  drawCharts();
}
theme.addEventListener("click", () => nameTheme(window.nutNextTheme()));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => nameTheme(document.documentElement.dataset.theme));
nameTheme(document.documentElement.dataset.theme);

byId("logout").addEventListener("click", async () => {
  await fetch("/logout", { method: "POST" });
  location.reload();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("viewer").open) return;
  if (event.key.toLowerCase() === "h") cameras.setHeat(cameras.kind !== "overlay");
});

setInterval(() => {
  setText(byId("clock"), clock(Date.now()));
  verdict.tick(newest);
}, 1000);
setText(byId("clock"), clock(Date.now()));

link.open();
