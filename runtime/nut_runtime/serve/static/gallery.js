// The last rejects: a strip to walk along with the arrow keys, and a large view of each.

import { byId, make, mark, setMark, setText } from "./dom.js";
import { MARKS, WORDS, clock, count, score } from "./words.js";

const PAUSE_MS = 1000;

function address(reject, kind) {
  return `/api/reject/${encodeURIComponent(reject.id)}.jpg?kind=${kind}`;
}

export class Gallery {
  constructor() {
    this.strip = byId("strip");
    this.items = new Map();
    this.rejects = [];
    this.version = -1;
    this.isAsking = false;
    this.viewer = new Viewer(this);
    this.strip.addEventListener("keydown", (event) => this.walk(event));
  }

  // Asks for the list where it has changed, once a second at most.
  async follow(version) {
    this.wanted = version;
    if (this.isAsking || version === this.version) return;
    this.isAsking = true;
    try {
      const answer = await fetch("/api/rejects", { cache: "no-store" });
      if (answer.ok) {
        const listing = await answer.json();
        this.version = listing.version;
        this.show(listing.rejects);
      }
    } catch (error) {
      this.version = -1; // the connection is gone; it is asked again when it is back
    }
    setTimeout(() => {
      this.isAsking = false;
      if (this.wanted > this.version && this.version !== -1) this.follow(this.wanted);
    }, PAUSE_MS);
  }

  show(rejects) {
    this.rejects = rejects;
    const ids = new Set(rejects.map((reject) => reject.id));
    for (const [id, item] of this.items) {
      if (ids.has(id)) continue;
      item.row.remove();
      this.items.delete(id);
    }
    rejects.forEach((reject, place) => {
      let item = this.items.get(reject.id);
      if (!item) {
        item = this.item(reject);
        this.items.set(reject.id, item);
      }
      if (this.strip.children[place] !== item.row) this.strip.insertBefore(item.row, this.strip.children[place] || null);
      if (reject.picture === "ready" && item.image.hidden) {
        item.image.hidden = false;
        item.image.src = address(reject, "thumbnail");
      }
      item.row.dataset.picture = reject.picture;
    });
    byId("no-rejects").hidden = rejects.length > 0;
    setText(byId("reject-count"), rejects.length ? String(rejects.length) : "");
    this.keepOneStop();
    this.viewer.refresh();
  }

  item(reject) {
    const words = WORDS[reject.label] || reject.label;
    const image = make("img", { alt: "", hidden: true, decoding: "async" });
    const caption = make("span", { class: "thumb-caption" }, mark(MARKS[reject.label] || "none"), make("span", { class: "number", text: score(reject.score) }));
    const button = make(
      "button",
      { type: "button", class: "thumb", tabindex: "-1", data: { label: reject.label, id: reject.id }, "aria-label": `${words}, score ${score(reject.score)}, part ${reject.sequence}, ${clock(reject.at)}` },
      make("span", { class: "matte" }, image),
      caption
    );
    button.addEventListener("click", () => this.viewer.open(reject.id));
    return { row: make("li", {}, button), button, image };
  }

  buttons() {
    return [...this.strip.querySelectorAll("button")];
  }

  keepOneStop() {
    const buttons = this.buttons();
    if (buttons.length && !buttons.some((button) => button.tabIndex === 0)) buttons[0].tabIndex = 0;
  }

  focus(id) {
    for (const button of this.buttons()) button.tabIndex = button.dataset.id === id ? 0 : -1;
    this.keepOneStop();
    const item = this.items.get(id);
    if (item) item.button.focus();
  }

  walk(event) {
    const buttons = this.buttons();
    const at = buttons.indexOf(document.activeElement);
    const target = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || target === undefined || !buttons[target]) return;
    event.preventDefault();
    this.focus(buttons[target].dataset.id);
  }
}

class Viewer {
  constructor(gallery) {
    this.gallery = gallery;
    this.dialog = byId("viewer");
    this.image = byId("viewer-image");
    this.reject = null;
    this.kind = "overlay";
    byId("viewer-close").addEventListener("click", () => this.dialog.close());
    byId("viewer-newer").addEventListener("click", () => this.step(-1));
    byId("viewer-older").addEventListener("click", () => this.step(1));
    byId("viewer-heat").addEventListener("click", () => this.setHeat(this.kind !== "overlay"));
    this.image.addEventListener("error", () => this.missing("the picture is no longer kept"));
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // beside the sheet
    });
    this.dialog.addEventListener("close", () => this.gallery.focus(this.reject ? this.reject.id : ""));
  }

  open(id) {
    this.reject = this.gallery.rejects.find((reject) => reject.id === id) || null;
    if (!this.reject) return;
    if (!this.dialog.open) this.dialog.showModal();
    this.draw();
  }

  draw() {
    const reject = this.reject;
    const word = WORDS[reject.label] || reject.label;
    this.dialog.dataset.label = reject.label;
    setMark(byId("viewer-mark"), MARKS[reject.label] || "none");
    setText(byId("viewer-word"), word);
    setText(byId("viewer-score"), score(reject.score));
    setText(byId("viewer-part"), `No. ${count(reject.sequence)}`);
    setText(byId("viewer-time"), clock(reject.at));
    setText(byId("viewer-camera"), reject.camera);
    setText(byId("viewer-trigger"), reject.trigger || "–");
    setText(byId("viewer-source"), reject.source);
    byId("viewer-heat").setAttribute("aria-checked", String(this.kind === "overlay"));
    if (reject.picture === "ready") {
      this.image.hidden = false;
      byId("viewer-missing").hidden = true;
      this.image.alt = `${word}, part ${reject.sequence}, ${this.kind === "overlay" ? "with heat map" : "without heat map"}`;
      const source = address(reject, this.kind);
      if (this.image.getAttribute("src") !== source) this.image.src = source;
    } else {
      this.missing(reject.picture === "pending" ? "the picture is on its way" : "no picture: too many rejects at a time");
    }
    const at = this.gallery.rejects.findIndex((one) => one.id === reject.id);
    setText(byId("viewer-place"), at < 0 ? "" : `${at + 1} of ${this.gallery.rejects.length}`);
    byId("viewer-newer").disabled = at === 0;
    byId("viewer-older").disabled = at < 0 || at === this.gallery.rejects.length - 1;
  }

  missing(text) {
    this.image.hidden = true;
    byId("viewer-missing").hidden = false;
    setText(byId("viewer-missing"), text);
  }

  // The reject that is looked at stays, whatever comes meanwhile.
  refresh() {
    if (!this.dialog.open || !this.reject) return;
    this.reject = this.gallery.rejects.find((one) => one.id === this.reject.id) || this.reject;
    this.draw();
  }

  setHeat(isOn) {
    this.kind = isOn ? "overlay" : "plain";
    this.draw();
  }

  step(by) {
    const { rejects } = this.gallery;
    const at = rejects.findIndex((one) => one.id === this.reject.id);
    const next = rejects[at < 0 ? 0 : at + by];
    if (next) {
      this.reject = next;
      this.draw();
    }
  }

  key(event) {
    if (event.key === "ArrowRight") this.step(1);
    else if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key.toLowerCase() === "h" && !event.ctrlKey && !event.metaKey && !event.altKey) this.setHeat(this.kind !== "overlay");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
