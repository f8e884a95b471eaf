"""The table over all parts: as JSON, as CSV and as a page for people."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nut_benchmarks.train_all.job import BUNDLE
from nut_benchmarks.train_all.status import State, Status
from nut_runtime.atomic import write_json, write_text
from nut_runtime.manifest import MANIFEST

__all__ = ["Row", "Summary", "row_line", "write_summary"]

_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One part of the summary.

    Attributes:
        name: The part.
        state: `done`, `kept` (done by an earlier call), `failed` or `waiting`.
        status: What is known of it; None of one that was never begun.
        has_older_bundle: Whether a bundle of an earlier call lies there that is not of these arguments and pictures.
        is_changed: Whether the bundle of a part that is kept was changed since its export.
    """

    name: str
    state: str
    status: Status | None
    has_older_bundle: bool = False
    is_changed: bool = False

    @classmethod
    def of(cls, name: str, status: Status | None, out: Path, *, pass_id: str, is_changed: bool = False) -> "Row":
        """Return the row of a part in the output folder `out`, as it stands during the pass `pass_id`."""
        state = "waiting"
        if status is not None and status.state is State.DONE:
            state = "done" if status.pass_id == pass_id else "kept"
        elif status is not None and status.state is State.FAILED and status.pass_id == pass_id:
            state = "failed"
        is_older = state in {"failed", "waiting"} and _is_file(out / name / BUNDLE / MANIFEST)
        return cls(
            name=name, state=state, status=status, has_older_bundle=is_older, is_changed=is_changed and state == "kept"
        )

    @property
    def figures(self) -> Mapping[str, Any]:
        """The figures of a part that is done."""
        return self.status.figures if self.status is not None and self.state in {"done", "kept"} else {}

    @property
    def reason(self) -> str:
        """Why it failed, and what besides its own new bundle lies there; empty where there is nothing to say."""
        said = []
        if self.status is not None and self.state == "failed" and self.status.reason:
            said.append(self.status.reason)
        if self.has_older_bundle:
            said.append("the bundle there is an older one")
        if self.is_changed:
            said.append("its bundle was changed since; the figures are those of its export")
        if self.status is not None and self.state == "done" and self.status.bundle_aside:
            said.append(f"the bundle that was there had been changed and is now {self.status.bundle_aside}")
        return "; ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All parts.

    Attributes:
        root: The data sets.
        rows: One a part, by name.
        command: What repeats it.
        version: Of nut-toolchain.
        written: When, UTC.
    """

    root: Path
    rows: Sequence[Row]
    command: str
    version: str
    written: str

    def count(self, *states: str) -> int:
        """Return how many parts are in one of these states."""
        return sum(row.state in states for row in self.rows)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be looked into
        return False


def _number(key: str, form: str) -> Callable[[Row], str]:
    return lambda row: "" if row.figures.get(key) is None else format(row.figures[key], form)


def _pictures(row: Row) -> str:
    figures = row.figures
    return f"{figures['train_good']} + {figures['test_good']} + {figures['defective']}" if figures else ""


def _auroc(row: Row) -> str:
    ends = row.figures.get("auroc_interval")
    return _number("auroc", ".4f")(row) + ("" if ends is None else f" ({ends[0]:.3f} to {ends[1]:.3f})")


def _seconds(row: Row) -> str:
    seconds = None if row.status is None or row.state == "waiting" else row.status.seconds
    return "" if seconds is None else f"{seconds:.0f}"


_COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "part": lambda row: row.name,
    "status": lambda row: row.state,
    "pictures": _pictures,
    "leaked": _number("leaked", "d"),
    "image AUROC": _auroc,
    "defects found": _number("recall", ".3f"),
    "threshold": _number("threshold", ".4g"),
    "promised reject rate": _number("promised_rate", ".2%"),
    "bank rows": _number("bank_rows", "d"),
    "precision": lambda row: str(row.figures.get("precision", "")),
    "flips": _number("flips", "d"),
    "max |d score|": _number("max_d_score", ".1e"),
    "seconds": _seconds,
}
_WORDS = frozenset({"part", "status", "precision"})
_CSV = (
    "train_good",
    "test_good",
    "defective",
    "leaked",
    "auroc",
    "auroc_low",
    "auroc_high",
    "recall",
    "threshold",
    "asked_rate",
    "promised_rate",
    "bank_rows",
    "precision",
    "flips",
    "max_d_score",
)


def row_line(row: Row) -> str:
    """Return a part that has just been finished as a line."""
    if row.state == "failed":
        return f"{row.name}: failed: {row.reason}"
    auroc = _number("auroc", ".4f")(row)
    told = [
        f"AUROC {auroc}" if auroc else "no test pictures",
        *([f"defects found {text}"] if (text := _number("recall", ".3f")(row)) else []),
        f"{_seconds(row)} s",
    ]
    return f"{row.name}: {row.state}: {', '.join(told)}{f'; {row.reason}' if row.reason else ''}"


def write_summary(out: Path, summary: Summary) -> None:
    """Write `summary.json`, `summary.csv` and `summary.html` into a folder.

    Raises:
        OutputError: If one cannot be written.
    """
    write_json(out / "summary.json", _json(summary))
    write_text(out / "summary.csv", _csv(summary))
    write_text(out / "summary.html", _html(summary))


def _json(summary: Summary) -> dict[str, Any]:
    counts = {state: summary.count(state) for state in ("done", "kept", "failed", "waiting")}
    return {
        "schema": _SCHEMA,
        "written": summary.written,
        "root": str(summary.root),
        "command": summary.command,
        "version": summary.version,
        "counts": counts,
        "parts": [
            {
                "part": row.name,
                "status": row.state,
                **row.figures,
                "seconds": None if row.status is None else row.status.seconds,
                "attempts": None if row.status is None else row.status.attempt,
                "host": None if row.status is None else row.status.host,
                "reason": row.reason or None,
                "has_older_bundle": row.has_older_bundle,
            }
            for row in summary.rows
        ],
    }


def _csv(summary: Summary) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["part", "status", *_CSV, "seconds", "reason"])
    for row in summary.rows:
        low, high = row.figures.get("auroc_interval") or (None, None)
        figures = {**row.figures, "auroc_low": low, "auroc_high": high}
        seconds = None if row.status is None else row.status.seconds
        writer.writerow([row.name, row.state, *(figures.get(key) for key in _CSV), seconds, row.reason])
    return text.getvalue()


def _html(summary: Summary) -> str:
    from jinja2 import Environment, PackageLoader, PrefixLoader, select_autoescape

    loader = PrefixLoader(
        {
            "ours": PackageLoader("nut_benchmarks.train_all", "templates"),
            "train": PackageLoader("nut_train", "templates"),
        }
    )
    environment = Environment(loader=loader, autoescape=select_autoescape())
    has_leaked = any(row.figures.get("leaked") for row in summary.rows)
    columns = {name: text for name, text in _COLUMNS.items() if name != "leaked" or has_leaked}
    style = environment.loader.get_source(environment, "train/page.css")[0] if environment.loader is not None else ""
    return environment.get_template("ours/summary.html").render(
        summary=summary,
        style=style,
        columns=list(columns),
        words=_WORDS,
        rows=[(row, [(name, text(row)) for name, text in columns.items()]) for row in summary.rows],
    )
