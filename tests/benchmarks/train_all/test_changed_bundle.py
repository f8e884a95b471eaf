"""A bundle that somebody changed after its export: kept where nothing else changed, else beside the new one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from nut_benchmarks.cli import main
from nut_benchmarks.train_all.changed_bundle import aside_of, changed_manifest
from nut_benchmarks.train_all.every_part import do_parts, own_output
from nut_benchmarks.train_all.job import Job
from nut_benchmarks.train_all.standing import standing_of
from nut_benchmarks.train_all.status import State, read_status, write_failure
from nut_benchmarks.train_all.work import do_part
from nut_export.set_threshold import PointRequest, set_threshold
from nut_runtime.bundle import open_bundle
from nut_runtime.delta.contents import BundleName
from nut_runtime.delta.exchange import Places, Step, install, manifest_digest, new_step
from nut_train.run import open_run


def _move(bundle: Path) -> str:
    """Move the threshold, and return the bundle's new id."""
    raw = open_bundle(bundle).manifest.point.image.threshold
    set_threshold(bundle, PointRequest(raw=raw * 1.01, reason="by hand"))
    return open_bundle(bundle).manifest.bundle_id


def _rename(bundle: Path, bundle_id: str) -> None:
    """Give the bundle another id, as if another export had made it."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "bundle_id": bundle_id}))


def _extend(bundle: Path) -> None:
    """Exchange the bundle for another one as `nut bundle extend` does."""
    other = bundle.with_name("other")
    shutil.copytree(bundle, other)
    _rename(other, "nuts-grown")
    places = Places.of(bundle)
    names = [
        BundleName(bundle_id=open_bundle(one).manifest.bundle_id, manifest_sha256=manifest_digest(one) or "")
        for one in (bundle, other)
    ]
    shutil.copytree(other, new_step(places, Step(old=names[0], new=names[1])), dirs_exist_ok=True)
    shutil.rmtree(other)
    install(places)


class _None:
    """Does no part."""

    def finished(self, jobs):
        yield from ()


class _Fails:
    """Does no part well."""

    def finished(self, jobs):
        yield from (write_failure(job, "it was killed") for job in jobs)


class _Here:
    """Does parts in this process."""

    def finished(self, jobs):
        yield from map(do_part, jobs)


def _summary(job: Job, workers: object, *, said: list[str] | None = None):
    out = job.out.parent
    with own_output(job.data.parent, out):
        say = (said if said is not None else []).append
        return do_parts(job.data.parent, out, [standing_of(job)], workers, say=say)


def test_a_part_whose_bundle_was_moved_is_kept_and_says_so(done):
    bundle_id = _move(done.out / "bundle")
    standing = standing_of(done)
    assert (standing.why, standing.is_changed) == (None, True)
    summary = _summary(done, _None())
    (row,) = summary.rows
    assert (row.state, row.reason) == ("kept", "its bundle was changed since; the figures are those of its export")
    assert open_bundle(done.out / "bundle").manifest.bundle_id == bundle_id
    (part,) = json.loads((done.out.parent / "summary.json").read_text())["parts"]
    assert part["reason"] == row.reason
    assert row.reason in (done.out.parent / "summary.html").read_text()
    result = CliRunner().invoke(main, ["train-all", str(done.data.parent), "-o", str(done.out.parent), "--dry-run"])
    assert "nuts: kept, its bundle was changed since\n" in result.stdout


def test_a_bundle_from_a_delta_is_kept(done):
    _extend(done.out / "bundle")
    standing = standing_of(done)
    assert (standing.why, standing.is_changed) == (None, True)
    _rename(done.out / "bundle", "nuts-exported-by-hand-since")
    assert standing_of(done).why == "another bundle"


@pytest.mark.slow
def test_a_bundle_with_a_locator_is_kept(done, tray_bundle_folder):
    shutil.rmtree(done.out / "bundle")
    shutil.copytree(tray_bundle_folder, done.out / "bundle")
    standing = standing_of(done)
    assert (standing.why, standing.is_changed) == (None, True)


def test_a_bundle_that_was_only_signed_is_what_was_exported(done):
    (done.out / "bundle" / "manifest.sig").write_text("signed")
    standing = standing_of(done)
    assert (standing.why, standing.is_changed) == (None, False)
    assert aside_of(done.out / "bundle") is not None  # but lost it must not be
    assert standing_of(replace(done, forced_pass="now")).is_changed  # noqa: S106 - no password


def test_a_bundle_of_another_export_is_done_again(done):
    _rename(done.out / "bundle", "nuts-other")
    standing = standing_of(done)
    assert (standing.why, standing.is_changed) == ("another bundle", False)
    assert aside_of(done.out / "bundle") is None


def test_a_changed_bundle_is_told_and_stays_where_its_part_is_to_be_done(done):
    _move(done.out / "bundle")
    arguments = ["train-all", str(done.data.parent), "-o", str(done.out.parent), "--dry-run", "--force"]
    with own_output(done.data.parent, done.out.parent):
        pass
    result = CliRunner().invoke(main, arguments)
    assert "nuts: to do, forced; its bundle was changed since and will stay beside the new one\n" in result.stdout
    bundle_id = open_bundle(done.out / "bundle").manifest.bundle_id
    (row,) = _summary(replace(done, weights_sha256="another"), _Fails()).rows
    assert row.reason == "it was killed; the bundle there is an older one"
    assert open_bundle(done.out / "bundle").manifest.bundle_id == bundle_id


def test_a_changed_bundle_makes_room_for_a_new_one_and_is_not_lost(done, run_folder):
    job = replace(done, train=open_run(run_folder).record["arguments"])  # so that its run will do
    bundle_id = _move(job.out / "bundle")
    said: list[str] = []
    (row,) = _summary(job, _Here(), said=said).rows
    aside = f"bundle.before-{bundle_id.rpartition('-')[2][:8]}"
    assert row.reason == f"the bundle that was there had been changed and is now {aside}"
    assert said[0].endswith(f"; {row.reason}")
    assert open_bundle(job.out / aside).manifest.bundle_id == bundle_id
    assert changed_manifest(job.out / "bundle") is None
    status = read_status(job.out)
    assert status is not None
    assert (status.state, status.bundle_aside) == (State.DONE, aside)
    assert (standing_of(job).why, standing_of(job).is_changed) == (None, False)


def test_what_was_moved_aside_before_stays(done):
    place = aside_of(done.out / "bundle")
    assert place is None
    bundle_id = _move(done.out / "bundle")
    digits = bundle_id.rpartition("-")[2][:8]
    assert aside_of(done.out / "bundle") == done.out / f"bundle.before-{digits}"
    (done.out / f"bundle.before-{digits}").mkdir()
    assert aside_of(done.out / "bundle") == done.out / f"bundle.before-{digits}-2"


@pytest.mark.parametrize("text", ["", "{}", None])
def test_a_bundle_that_cannot_be_read_is_not_a_changed_one(done, text):
    manifest = done.out / "bundle" / "manifest.json"
    manifest.unlink()
    if text is not None:
        manifest.write_text(text)
    assert changed_manifest(done.out / "bundle") is None
    assert str(standing_of(done).why).startswith("not whole any more")
