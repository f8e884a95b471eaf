// How cameras and outputs are, what has drifted, and what the model is.

import { byId, make, mark, setMark, setText } from "./dom.js";
import { age, count, percent } from "./words.js";

export class Station {
  constructor() {
    this.health = { ok: true, components: {}, counters: {}, gauges: {} };
    this.warnings = [];
    this.bundle = null;
    setInterval(() => this.drawHealth(), 15000);
  }

  showHealth(health) {
    this.health = health;
    this.drawHealth();
  }

  drawHealth() {
    const { components, counters, gauges } = this.health;
    const rows = Object.entries(components).map(([name, one]) => {
      const since = one.since ? age(Date.now() / 1000 - one.since) : "";
      return make(
        "li",
        { data: { ok: String(one.ok) } },
        mark(one.ok ? "well" : "ill", one.ok ? "works" : "does not work"),
        make("span", { class: "row-name", text: name }),
        make("span", { class: "row-note", text: one.message || (one.ok ? "well" : "not well"), title: one.message }),
        make("span", { class: "row-age number", text: since, title: "since" })
      );
    });
    byId("components").replaceChildren(...rows);
    byId("no-components").hidden = rows.length > 0;
    const figures = [...Object.entries(gauges), ...Object.entries(counters)].map(([name, value]) =>
      make("div", {}, make("dt", { text: name.replaceAll("_", " ") }), make("dd", { class: "number", text: Number.isInteger(value) ? count(value) : Number(value).toFixed(2) }))
    );
    byId("figures").replaceChildren(...figures);
    byId("figures-box").hidden = figures.length === 0;
    this.summarise();
  }

  showWarnings(news) {
    const found = new Map();
    for (const camera of news.cameras || []) {
      for (const warning of camera.warnings || []) found.set(`${camera.name}\n${warning}`, [camera.name, warning]);
    }
    const told = [...found.values()].map((pair) => pair[1]);
    for (const warning of (news.part && news.part.warnings) || []) {
      if (!told.includes(warning)) found.set(`\n${warning}`, ["", warning]);
    }
    const warnings = [...found.values()];
    if (JSON.stringify(warnings) === JSON.stringify(this.warnings) && byId("warnings").children.length) return;
    this.warnings = warnings;
    const rows = warnings.map(([camera, warning]) =>
      make("li", { data: { ok: "false" } }, mark("ill", "warning"), make("span", { class: "row-name", text: camera || "view" }), make("span", { class: "row-note", text: warning }))
    );
    if (!rows.length) rows.push(make("li", { data: { ok: "true" } }, mark("well"), make("span", { class: "row-note", text: "the view is as it was calibrated" })));
    byId("warnings").replaceChildren(...rows);
    this.summarise();
  }

  summarise() {
    const ill = Object.values(this.health.components).filter((one) => !one.ok).length;
    const parts = [];
    if (ill) parts.push(ill === 1 ? "1 problem" : `${ill} problems`);
    if (this.warnings.length) parts.push(this.warnings.length === 1 ? "1 drift warning" : `${this.warnings.length} drift warnings`);
    const summary = byId("summary");
    summary.dataset.ok = String(parts.length === 0);
    setMark(summary, parts.length ? "ill" : "well");
    setText(byId("summary-text"), parts.join(", ") || "all well");
  }

  async follow(id) {
    if (id === this.bundle) return;
    this.bundle = id;
    try {
      const answer = await fetch("/api/bundle", { cache: "no-store" });
      if (answer.ok) this.showBundle(await answer.json());
    } catch (error) {
      this.bundle = null; // asked again with the next part
    }
  }

  showBundle(facts) {
    setText(byId("bundle-id"), facts.id || "");
    const rows = [];
    const row = (name, value) => {
      if (value !== undefined && value !== null && value !== "") rows.push(make("div", {}, make("dt", { text: name }), make("dd", { text: String(value), title: String(value) })));
    };
    const number = (value, digits) => (typeof value === "number" ? value.toFixed(digits) : value);
    row("Bundle", facts.id);
    row("Exported", typeof facts.created === "string" ? facts.created.slice(0, 16).replace("T", " ") : facts.created);
    row("Threshold", facts.raw_threshold === undefined ? undefined : `${number(facts.raw_threshold, 2)} raw${facts.threshold_moved ? ", moved" : ""}`);
    row("Precision", [facts.precision, facts.engine].filter(Boolean).join(", "));
    for (const [engine, figures] of Object.entries(facts.parity || {})) {
      row(`Parity ${engine}`, figures && typeof figures === "object" ? parityText(figures) : figures);
    }
    row("Backbone", facts.backbone);
    if (Array.isArray(facts.bank)) row("Memory bank", facts.bank.join(" × "));
    if (Array.isArray(facts.input_px)) row("Input", `${facts.input_px.join(" × ")} px`);
    if (typeof facts.false_reject_rate === "number") row("False rejects set", `${percent(facts.false_reject_rate)} %`);
    byId("facts").replaceChildren(...rows);
  }
}

function parityText(figures) {
  const difference = typeof figures.max_d_score === "number" ? figures.max_d_score.toExponential(0) : "?";
  return `${figures.flips} flips of ${figures.pictures}, ≤ ${difference}`;
}
