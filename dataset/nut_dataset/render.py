"""A check's report for people: a table of counts, the findings by weight, one line to conclude."""

import re
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nut_dataset.check_report import CheckReport, FolderSummary
from nut_dataset.findings import Finding, Severity

__all__ = ["print_report", "report_lines"]

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_MAX_DETAILS = {Severity.ERROR: 10, Severity.WARNING: 3, Severity.NOTE: 3}
_INDENT = 9  # the width of "warning  "


def print_report(report: CheckReport, console: Console) -> None:
    """Print `report` on `console`; the console decides about colour and width."""
    if report.folders:
        console.print(_table(report, console))
        console.print()
    for finding in report.findings:
        _print_finding(finding, console)
    style = "bold green" if report.is_usable and not report.count(Severity.WARNING) else "bold"
    if report.findings:
        console.print()
    console.print(_text(f"{report.root}: {report.conclusion}", console, style), soft_wrap=not console.is_terminal)


def report_lines(report: CheckReport) -> Iterator[str]:
    """Yield the errors and warnings as plain lines, for stderr beside the JSON."""
    for finding in report.findings:
        if finding.severity is not Severity.NOTE:
            yield f"{finding.severity}: {finding.what}{f'; {finding.action}' if finding.action else ''}"
            for line in _shown(finding):
                yield f"  {line}"


def _table(report: CheckReport, console: Console) -> Table:
    """Return the table of folders; columns that say nothing are left out."""
    table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("folder", overflow="fold")
    table.add_column("files", justify="right")
    has_masks = any(folder.n_masks for folder in report.folders)
    has_unusable = any(folder.n_unusable for folder in report.folders)
    if has_unusable:
        table.add_column("unusable", justify="right")
    if has_masks:
        table.add_column("masks", justify="right")
    for name in ("size in px", "channels", "format"):
        table.add_column(name)
    for folder in report.folders:
        table.add_row(
            _text(f"{folder.split}/{folder.kind}", console),
            str(folder.n_pictures),
            *([Text(str(folder.n_unusable), "bold red" if folder.n_unusable else "")] if has_unusable else []),
            *([str(folder.n_masks or "-")] if has_masks else []),
            _sizes(folder),
            _counts(folder.modes),
            _counts(folder.formats),
        )
    return table


def _sizes(folder: FolderSummary) -> str:
    """Return the only size, the range of sizes, or both: `200x200 (56), 165-238x132-256 (20)`."""
    sizes = dict(folder.sizes)
    if not sizes:
        return "-"
    common, count = next(iter(sizes.items()))
    if len(sizes) == 1:
        return common
    if count == 1 or count * 2 < sum(sizes.values()):
        return _range(sizes)
    del sizes[common]
    return f"{common} ({count}), {_range(sizes)} ({sum(sizes.values())})"


def _range(sizes: dict[str, int]) -> str:
    """Return the range of widths and heights of `640x480` like keys."""
    pairs = [size.split("x") for size in sizes]
    widths, heights = zip(*((int(width), int(height)) for width, height in pairs), strict=True)
    return "x".join(
        str(min(values)) if min(values) == max(values) else f"{min(values)}-{max(values)}"
        for values in (widths, heights)
    )


def _counts(counts: dict[str, int]) -> str:
    """Return `RGB 56, RGBA 20`, or the one name where there is one."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _print_finding(finding: Finding, console: Console) -> None:
    """Print one finding: weight and headline, details, what to do."""
    weight = Text(f"{finding.severity:{_INDENT}}", _STYLES[finding.severity])
    _print_hanging(weight, _text(finding.what, console), console)
    for line in _shown(finding):
        # Never wrapped by us, so that a file name can be copied.
        console.print(Text(" " * _INDENT) + _text(line, console, "dim"), soft_wrap=True)
    if finding.action:
        _print_hanging(Text(" " * _INDENT), _text(f"-> {finding.action}", console), console)


def _print_hanging(head: Text, text: Text, console: Console) -> None:
    """Print `text` beside `head`: wrapped on a terminal, on one line in a pipe, where `grep` wants it so."""
    if not console.is_terminal:
        console.print(head + text, soft_wrap=True)
        return
    row = Table.grid()
    row.add_column(width=_INDENT, no_wrap=True)
    row.add_column()
    row.add_row(head, text)
    console.print(row)


def _shown(finding: Finding) -> Iterator[str]:
    """Yield the first few details and how many more there are."""
    limit = _MAX_DETAILS[finding.severity]
    # One line more is as long as saying that there is one more.
    shown = finding.details if len(finding.details) <= limit + 1 else finding.details[:limit]
    yield from shown
    if len(shown) < len(finding.details):
        yield f"and {len(finding.details) - len(shown)} more (--json lists all)"


def _text(text: str, console: Console, style: str = "") -> Text:
    """Return `text` as it is, brackets included, less what the terminal cannot show."""
    text = re.sub(r"[\x00-\x1f\x7f]", "?", text)
    return Text(text.encode(console.encoding, "replace").decode(console.encoding), style)
