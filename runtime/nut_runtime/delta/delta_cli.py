"""`extend` and `revert`, the same below `nut-runtime` and below `nut bundle`."""

import sys
from pathlib import Path

import click

from nut_runtime.cli_errors import NutCommand, say
from nut_runtime.cli_options import engine_options, key_option

__all__ = ["extend_command", "revert_command"]

_EXTEND = """Take BUNDLE to the next version that DELTA gives, made by nut bundle delta.

The new bundle is rebuilt beside the old one, every file compared with its SHA-256, and tested on this device: its own
golden frames must pass the self-test, and the old bundle's, good and defective, must keep their verdicts. Then the two
folders are exchanged at one instant; a running station takes the new one between two frames. The old one is kept.

\b
Exit codes: 0 extended, 2 refused: the old bundle is in its place, unless the
message says that the new one is (where the old one could not be kept).

\b
{program} extend bundle --with growth.nutdelta
{program} extend bundle --with growth.nutdelta --verify-key plant.pub.pem
"""

_REVERT = """Take BUNDLE back to what it was before it was extended.

Nothing is tested but hashes and, with a key, the signature. The newer bundle is removed; files in it that its manifest
does not list are named instead.

\b
{program} revert bundle
"""


def extend_command(program: str) -> click.Command:
    """Return `extend`, whose examples begin with `program`."""

    @click.command("extend", cls=NutCommand, help=_EXTEND.format(program=program))
    @click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path))
    @click.option(
        "--with",
        "delta",
        required=True,
        metavar="DELTA",
        type=click.Path(path_type=Path),
        help="The delta, for this very bundle.",
    )
    @key_option
    @engine_options
    @click.option("--force", is_flag=True, help="Take a new bundle that changes verdicts; lets nothing else pass.")
    def extend(
        folder: Path, delta: Path, verify_key: Path | None, engine: str | None, threads: int | None, force: bool
    ) -> None:
        from nut_runtime.bundle_words import signature_words
        from nut_runtime.delta.contents import size_words
        from nut_runtime.delta.extend import extend_bundle

        done = extend_bundle(
            folder, delta, verify_key=verify_key, engine=engine, threads=threads, force=force, on_step=_tell
        )
        rebuilt, gated = done.rebuilt, done.gated
        say(f"bundle   {done.before} -> {done.bundle.manifest.bundle_id}")
        say(f"delta    {size_words(done.delta_bytes)}; {rebuilt.same} of {rebuilt.files} files as they were")
        say(f"signed   {signature_words(done.bundle)}")
        say(f"tested   {gated.own_frames} golden frames as the reference, in {', '.join(gated.engines)}")
        trays = f", parts of {gated.trays} trays found" if gated.trays else ""
        kept = "verdicts kept" if not gated.changed else f"{len(gated.changed)} verdicts changed (--force)"
        good = f"{gated.good} good, {gated.review} for review" if gated.review else f"{gated.good} good"
        say(f"before   {good} and {gated.defective} defective frames{trays}: {kept}")
        say(f"kept     {done.before}, {size_words(done.kept_bytes)}, for {program} revert {folder}")
        for change in gated.changed:
            click.echo(f"warning: {change}", err=True)
        if done.left_behind:
            names = ", ".join(done.left_behind)
            click.echo(f"warning: not taken along, since the manifest does not list them: {names}", err=True)

    return extend


def revert_command(program: str) -> click.Command:
    """Return `revert`, whose examples begin with `program`."""

    @click.command("revert", cls=NutCommand, help=_REVERT.format(program=program))
    @click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path))
    @key_option
    @click.option(
        "--force",
        is_flag=True,
        help="Go back even where the newer bundle was changed since, or holds files of yours, which go with it.",
    )
    def revert(folder: Path, verify_key: Path | None, force: bool) -> None:
        from nut_runtime.bundle_words import signature_words
        from nut_runtime.delta.extend import revert_bundle

        done = revert_bundle(folder, verify_key=verify_key, force=force)
        say(f"bundle   {done.before} -> {done.bundle.manifest.bundle_id}")
        say(f"signed   {signature_words(done.bundle)}")

    return revert


def _tell(what: str) -> None:
    """Say on a terminal what takes its time."""
    if sys.stderr.isatty():
        click.echo(f"{what} ...", err=True)
