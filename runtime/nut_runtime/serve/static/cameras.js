// What each camera sees. A picture is asked for when the one before it has come, so a slow line is never flooded.

import { byId, make, mark, setMark, setText } from "./dom.js";
import { MARKS, WORDS, reasonText, score } from "./words.js";

const PAUSE_MS = 200;

class Tile {
  constructor(name, onSolo) {
    this.name = name;
    this.facts = null;
    this.shown = "";
    this.isLoading = false;
    this.image = make("img", { alt: "", decoding: "async", hidden: true });
    this.empty = make("span", { class: "empty", text: "no picture yet" });
    this.mark = mark("none");
    this.label = make("span", { class: "tile-word" });
    this.score = make("span", { class: "tile-score number" });
    this.note = make("span", { class: "tile-note" });
    const caption = make("span", { class: "tile-caption" }, this.mark, make("span", { class: "tile-name", text: name }), this.note, this.label, this.score);
    this.button = make("button", { class: "tile", type: "button", "aria-pressed": "false" }, make("span", { class: "matte" }, this.image, this.empty), caption);
    this.button.addEventListener("click", () => onSolo(name));
    this.image.addEventListener("load", () => this.loaded(true));
    this.image.addEventListener("error", () => this.loaded(false));
  }

  show(facts, kind) {
    this.facts = facts;
    this.button.dataset.label = facts.label || "";
    setMark(this.mark, MARKS[facts.label] || "none");
    setText(this.label, facts.label ? WORDS[facts.label] || facts.label : "waiting");
    setText(this.score, facts.score === undefined || facts.score === null ? "" : score(facts.score));
    const notes = [reasonText(facts.reason), ...(facts.warnings || [])].filter(Boolean).join(", ");
    setText(this.note, notes);
    this.note.title = [notes, facts.error].filter(Boolean).join(": ");
    this.image.alt = `${this.name}: ${facts.label ? WORDS[facts.label] || facts.label : "waiting"}${notes ? `, ${notes}` : ""}`;
    if (facts.has_picture) this.load(kind);
    else if (facts.n) this.blank(reasonText(facts.reason) || "no picture");
  }

  load(kind) {
    this.kind = kind;
    const wanted = `${kind} ${this.facts.n}`;
    if (this.isLoading || this.shown === wanted || document.hidden) return;
    this.isLoading = true;
    this.shown = wanted;
    this.image.src = `/api/frame/${encodeURIComponent(this.name)}.jpg?kind=${kind}&n=${this.facts.n}`;
  }

  loaded(isThere) {
    if (isThere && this.facts && this.facts.has_picture) {
      this.image.hidden = false;
      this.empty.hidden = true;
    } else if (!isThere) {
      this.blank("no picture");
    }
    setTimeout(() => {
      this.isLoading = false;
      if (this.facts && this.facts.has_picture) this.load(this.kind);
    }, isThere ? PAUSE_MS : 5 * PAUSE_MS);
  }

  blank(text) {
    this.image.hidden = true;
    this.empty.hidden = false;
    setText(this.empty, text);
  }
}

export class Cameras {
  constructor() {
    this.place = byId("cameras");
    this.tiles = new Map();
    this.facts = [];
    this.solo = null;
    this.toggle = byId("heat");
    this.toggle.addEventListener("click", () => this.setHeat(this.kind !== "overlay"));
    this.setHeat(true);
    document.addEventListener("visibilitychange", () => this.show(this.facts));
  }

  setHeat(isOn) {
    this.kind = isOn ? "overlay" : "plain";
    this.toggle.setAttribute("aria-checked", String(isOn));
    this.show(this.facts);
  }

  show(facts) {
    this.facts = facts;
    const names = new Set(facts.map((one) => one.name));
    for (const [name, tile] of this.tiles) {
      if (names.has(name)) continue;
      tile.button.remove();
      this.tiles.delete(name);
    }
    for (const one of facts) {
      if (!this.tiles.has(one.name)) {
        const tile = new Tile(one.name, (name) => this.setSolo(name));
        this.tiles.set(one.name, tile);
        this.place.append(tile.button);
      }
      this.tiles.get(one.name).show(one, this.kind);
    }
    this.place.dataset.count = facts.length > 9 ? "many" : String(facts.length);
    byId("no-cameras").hidden = facts.length > 0;
  }

  setSolo(name) {
    if (this.tiles.size < 2) return;
    this.solo = this.solo === name ? null : name;
    this.place.dataset.solo = this.solo === null ? "no" : "yes";
    for (const [one, tile] of this.tiles) tile.button.setAttribute("aria-pressed", String(one === this.solo));
  }
}
