"""`nut bundle`: keys, signatures, thresholds, locators, what changed between two bundles, and deltas between them."""

import json
from pathlib import Path
from typing import Any

import click

from nut_export.locator.cli import add_locator_command
from nut_runtime.cli_errors import NutGroup, say
from nut_runtime.cli_options import read_review_from
from nut_runtime.delta.delta_cli import extend_command, revert_command

__all__ = ["bundle"]

EXIT_DIFFERENT = 1
EXIT_TROUBLE = 2


@click.group(cls=NutGroup)
def bundle() -> None:
    """Sign bundles, move their thresholds, add locators, say what changed between two, and bring it to the line."""


for _command in (add_locator_command, extend_command("nut bundle"), revert_command("nut bundle")):
    bundle.add_command(_command)


@bundle.command()
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    metavar="KEY.pem",
    type=click.Path(path_type=Path),
    help="File for the private key; the public one is written beside it as KEY.pub.pem.",
)
@click.option("--passphrase", is_flag=True, help="Protect the private key; asks, or takes $NUT_KEY_PASSPHRASE.")
@click.option("--force", is_flag=True, help="Replace older keys. Nothing can be signed with those any more.")
def keygen(out: Path, passphrase: bool, force: bool) -> None:
    """Make a key to sign bundles with.

    Keep KEY.pem where bundles are made, and give KEY.pub.pem to every line PC.

    \b
    nut bundle keygen -o plant.pem
    nut bundle keygen -o plant.pem --passphrase
    """
    from nut_export.passphrase import ask_passphrase
    from nut_export.signing import check_new_key, generate_key, public_path

    check_new_key(out, overwrite=force)  # before anything is asked
    secret = ask_passphrase(out, is_new=True) if passphrase else None
    key = generate_key(out, passphrase=secret, overwrite=force)
    say(f"private  {out} (keep it secret)\npublic   {public_path(out)}\nkey      {key.fingerprint}")


@bundle.command()
@click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "key_file",
    required=True,
    metavar="KEY.pem",
    type=click.Path(path_type=Path),
    help="Private key; a protected one is opened with $NUT_KEY_PASSPHRASE, or asks.",
)
@click.option("--force", is_flag=True, help="Replace another signature.")
def sign(folder: Path, key_file: Path, force: bool) -> None:
    """Sign a finished BUNDLE, after comparing every file with its SHA-256.

    \b
    nut bundle sign bundle --key plant.pem
    """
    from nut_export.passphrase import ask_passphrase
    from nut_export.signing import load_signing_key, sign_bundle
    from nut_runtime.signature import SIGNATURE

    key = load_signing_key(key_file, ask_passphrase)
    signed = sign_bundle(folder, key, overwrite=force)
    say(f"signed  {signed.manifest.bundle_id}\nby      {key.fingerprint}\nfile    {folder / SIGNATURE}")


@bundle.command("set-threshold")
@click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "--false-reject-rate", type=float, metavar="R", help="Reject this share of good parts, by the bundle's own scores."
)
@click.option("--raw", type=float, metavar="VALUE", help="Reject above this raw score.")
@click.option("--pred", type=float, metavar="SCORE", help="Reject above what has this score, 0 to 1, now.")
@click.option(
    "--review-from",
    callback=read_review_from,
    metavar="SCORE|off",
    help="Parts that are not defective but have this score at the new threshold, below 0.5, are for review.",
)
@click.option("--review-rate", type=float, metavar="R", help="Have this share of good parts for review or rejected.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the bundle's history.")
@click.option(
    "-o",
    "--output",
    "out",
    metavar="NEW",
    type=click.Path(path_type=Path),
    help="Write a changed copy there; the bundle itself is changed by default.",
)
@click.option(
    "--sign",
    "key_file",
    metavar="KEY.pem",
    type=click.Path(path_type=Path),
    help="Sign the result; a signed bundle needs it.",
)
@click.option("--force", is_flag=True, help="Replace an older bundle at NEW.")
def set_threshold(folder: Path, out: Path | None, key_file: Path | None, force: bool, **request: Any) -> None:
    """Move the thresholds of a finished BUNDLE; the model files stay as they are.

    What decides is the manifest, and its history says who moved what. The bundle gets another id, so that records tell
    the verdicts of before from those of after.

    \b
    nut bundle set-threshold bundle --false-reject-rate 0.005 --reason "false alarms in week 14"
    nut bundle set-threshold bundle --pred 0.55 --review-from 0.45
    nut bundle set-threshold bundle --raw 31.5 -o bundle-new --sign plant.pem
    """
    from nut_export.passphrase import ask_passphrase
    from nut_export.set_threshold import PointRequest
    from nut_export.set_threshold import set_threshold as move
    from nut_export.signing import load_signing_key
    from nut_train.promise_words import warnings_of

    asked = PointRequest(**request)
    key = None if key_file is None else load_signing_key(key_file, ask_passphrase)
    moved = move(folder, asked, out=out, signing_key=key, overwrite=force)
    before, after = moved.move.before, moved.move.after
    say(f"bundle  {moved.move.bundle_id} -> {moved.bundle.manifest.bundle_id}")
    say(f"reject  above raw score {before.image.threshold:.6g} -> {after.image.threshold:.6g}")
    say(f"pixel   above raw distance {before.pixel.threshold:.6g} -> {after.pixel.threshold:.6g}")
    texts = ("none" if one is None else f"from raw score {one:.6g}" for one in (before.review_from, after.review_from))
    say(f"review  {' -> '.join(texts)}")
    for line in (moved.calibration or {}).get("guarantee", ()):
        say(f"holds   {line}")
    if key is not None:
        say(f"signed  by {key.fingerprint}")
    say(f"files   {out or folder}")
    for line in (*moved.notes, *(warnings_of(moved.calibration) if moved.calibration else ())):
        click.echo(f"warning: {line}", err=True)


@bundle.command()
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--pictures",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Judge these with both: a data set, a folder of pictures, a picture or a video.",
)
@click.option("--engine", metavar="NAME", help="openvino or onnxruntime; one that both have a model for by default.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
@click.option("-o", "--output", "out", metavar="FILE.html", type=click.Path(path_type=Path), help="Write a page too.")
@click.option("--force", is_flag=True, help="Replace an older page.")
@click.pass_context
def diff(
    context: click.Context,
    a: Path,
    b: Path,
    pictures: Path | None,
    engine: str | None,
    as_json: bool,
    out: Path | None,
    force: bool,
) -> None:
    """Say what changed from bundle A, in use, to bundle B, an update.

    Only what differs is listed; what a bundle does not state is "not stated". With --pictures both judge every
    picture, each at its own threshold, and the verdicts that flip are counted and named.

    \b
    Exit codes: 0 no verdict flips (without --pictures: no fact differs),
    1 some do, 2 a mistake, or a picture that could not be judged.

    \b
    nut bundle diff bundle-in-use bundle-new
    nut bundle diff bundle-in-use bundle-new --pictures my-parts -o diff.html
    """
    from nut_dataset.progress import progress_bars
    from nut_export.bundle_diff import diff_bundles
    from nut_export.bundle_diff_report import FlipGallery, check_report_path, write_diff_report
    from nut_export.bundle_diff_text import diff_lines
    from nut_export.verdict_diff import compare_verdicts, open_pictures
    from nut_runtime.bundle import open_bundle

    if out is not None:
        check_report_path(out, overwrite=force)
    old, new = open_bundle(a), open_bundle(b)
    found = diff_bundles(old, new)
    gallery = None if out is None else FlipGallery()
    if pictures is not None:
        with progress_bars() as progress:
            verdicts = compare_verdicts(
                old, new, open_pictures(pictures), engine=engine, progress=progress, on_flip=gallery
            )
        found = found.with_verdicts(verdicts)
    if out is not None:
        write_diff_report(out, found, gallery)
    if as_json:
        say(json.dumps(found.to_json(), indent=2, allow_nan=False))
    else:
        for line in diff_lines(found):
            say(line)
    if out is not None:
        click.echo(f"page  {out}", err=True)
    unjudged = () if found.verdicts is None else found.verdicts.unjudged
    for picture in unjudged:
        click.echo(f"error: {picture.reason}", err=True)
    context.exit(EXIT_TROUBLE if unjudged else EXIT_DIFFERENT if found.is_different else 0)


@bundle.command()
@click.argument("old", metavar="OLD", type=click.Path(path_type=Path))
@click.argument("new", metavar="NEW", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    metavar="NAME.nutdelta",
    type=click.Path(path_type=Path),
    help="File for the delta.",
)
@click.option("--force", is_flag=True, help="Replace an older delta.")
def delta(old: Path, new: Path, out: Path, force: bool) -> None:
    """Write what brings the bundle OLD, which is deployed, to NEW: a small file for nut-runtime extend.

    The delta is signed where NEW is, and NEW must be where OLD is. NEW is rebuilt from it before it is kept.

    \b
    nut bundle delta bundle-in-use bundle-grown -o growth.nutdelta
    """
    from nut_dataset.progress import progress_bars
    from nut_export.delta import write_delta
    from nut_runtime.bundle_words import signature_words
    from nut_runtime.delta.contents import size_words

    with progress_bars() as progress:
        made = write_delta(old, new, out, overwrite=force, progress=progress)
    share = made.size_bytes / made.bundle_bytes
    say(f"bundle  {made.old.manifest.bundle_id} -> {made.new.manifest.bundle_id}")
    say(f"delta   {size_words(made.size_bytes)}, {share:.2%} of the bundle's {size_words(made.bundle_bytes)}")
    say(f"files   {made.same} of {made.files} as they were; {size_words(made.literal_bytes)} are new")
    say(f"signed  {signature_words(made.new)}")
    say(f"file    {out}")
