// What things are called, and how numbers are written.

export const WORDS = { good: "OK", defect: "NG", review: "REVIEW", "no-verdict": "NO VERDICT" };
export const MARKS = { good: "ok", defect: "ng", review: "review", "no-verdict": "none" };

const REASONS = {
  "no-frame": "no picture from the camera",
  stale: "picture older than the trigger",
  frozen: "camera is frozen",
  dark: "too dark",
  blurred: "too blurred",
  "washed-out": "washed out by light",
  "nothing-found": "no part found that can be judged",
  incomplete: "not all of it is seen",
  broken: "picture cannot be used",
  dropped: "line faster than the engine",
  failed: "engine failed",
};

export function reasonText(reason) {
  return reason ? REASONS[reason] || reason : "";
}

// How many parts of a tray came to what; nothing where a frame shows one part.
export function nutsText(nuts) {
  if (!nuts) return "";
  const others = ["defect", "review", "incomplete"].filter((name) => nuts[name]);
  return [`${nuts.good} of ${nuts.found} good`, ...others.map((name) => `${nuts[name]} ${name}`)].join(", ");
}

export function score(value) {
  return typeof value === "number" ? value.toFixed(3) : "–";
}

export function milliseconds(value) {
  if (typeof value !== "number") return "–";
  return value < 100 ? value.toFixed(1) : value.toFixed(0);
}

export function percent(value) {
  if (typeof value !== "number") return "–";
  return (100 * value).toFixed(value > 0 && value < 0.1 ? 2 : 1);
}

export function count(value) {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, " ");
}

export function clock(at) {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((n) => String(n).padStart(2, "0")).join(":");
}

export function age(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

export function median(sorted, q = 0.5) {
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : null;
}
