"""A table of texts, for a terminal and as Markdown: words to the left, figures to the right."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["command_block", "markdown_table", "terminal_table"]


def terminal_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str] = ("",)) -> "Table":
    """Return a table for a terminal.

    Args:
        columns: Heads of the columns.
        rows: Cells, one a column.
        words: Heads of the columns that hold no figures.
    """
    from rich.table import Table

    table = Table(box=None)
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def markdown_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str] = ("",)
) -> list[str]:
    """Return the lines of a table in Markdown, whose cells end at a bar; arguments as of `terminal_table`.

    Example:
        >>> markdown_table(("", "ms"), [["openvino", "6.3"]])
        ['|  | ms |', '|---|---:|', '| openvino | 6.3 |']
    """
    lines = [list(columns), *rows]
    texts = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return [texts[0], "|" + "".join("---|" if column in words else "---:|" for column in columns), *texts[1:]]


def command_block(command: str) -> list[str]:
    """Return the lines of a Markdown page's end: the command that repeats it."""
    return ["", "```", command, "```", ""]
