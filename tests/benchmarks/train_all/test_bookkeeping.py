"""What is to be done, what is kept, and the table: without a training."""

import csv
import errno
import html
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_benchmarks.train_all.config import read_config
from nut_benchmarks.train_all.every_part import do_parts, forced_pass_of, look_at_parts, make_jobs, own_output
from nut_benchmarks.train_all.parts import find_parts
from nut_benchmarks.train_all.processes import Processes, Share, share_machine, visible_gpus
from nut_benchmarks.train_all.standing import reusable_run, standing_of
from nut_benchmarks.train_all.status import State, Status, read_status, write_failure, write_status
from nut_benchmarks.train_all.work import _figures, do_part
from nut_export.export import Exported
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import InputError
from nut_train.config import PointConfig
from nut_train.recalibrate import recalibrate
from nut_train.run import Run, open_run

EARLIER, NOW = "earlier", "now"  # passes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two parts without a single readable picture."""
    for name in ("a", "deep/b"):
        good = tmp_path / "root" / name / "train" / "good"
        good.mkdir(parents=True)
        (good / "0.png").write_bytes(b"no picture")
    return tmp_path / "root"


def _nut(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train-all", *map(str, arguments)])


def _jobs(root: Path, out: Path):
    parts = find_parts(root)
    return make_jobs(parts, read_config(None, [part.name for part in parts]), out, attempts=2)


class _Here:
    """Does parts in this process."""

    def finished(self, jobs):
        yield from map(do_part, jobs)


def test_a_part_that_is_done_is_kept(done):
    assert standing_of(done).why is None


def test_another_argument_makes_a_part_to_do(done):
    assert standing_of(replace(done, train={**done.train, "seed": 7})).why == "other arguments"
    assert standing_of(replace(done, weights_sha256="another")).why == "other arguments"


def test_another_picture_makes_a_part_to_do(done):
    picture = next((done.data / "train" / "good").iterdir())
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert standing_of(done).why == "other pictures"


@pytest.mark.parametrize("file", ["run/run.json", "run/model.ckpt", "bundle/manifest.json", "bundle/model.onnx"])
def test_a_run_or_bundle_that_lacks_a_file_makes_a_part_to_do(done, file):
    (done.out / file).unlink()
    assert str(standing_of(done).why).startswith("not whole any more")


@pytest.mark.parametrize("point", [PointConfig(false_reject_rate=0.4), PointConfig(review_rate=0.4)])
def test_a_run_that_was_calibrated_anew_is_exported_and_not_trained_anew(done, point):
    run = recalibrate(open_run(done.out / "run"), point)
    assert standing_of(done).why == "another run"
    its_own = replace(done, train=run.record["arguments"])
    assert reusable_run(its_own, read_status(done.out)) is not None


def test_a_checkpoint_of_another_training_makes_a_part_to_do(done):
    checkpoint = done.out / "run" / "model.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    assert standing_of(done).why == "another run"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 9}', '{"schema": 1, "state": "done"}'])
def test_a_status_that_cannot_be_read_makes_a_part_to_do(done, text):
    (done.out / "part.json").write_text(text)
    assert standing_of(done).why == "new"


def test_force_makes_every_part_to_do(done):
    assert standing_of(replace(done, forced_pass=NOW)).why == "forced"
    before = read_status(done.out)
    assert before is not None
    write_status(done.out, replace(before, forced_pass=EARLIER))
    assert standing_of(replace(done, forced_pass=NOW)).why == "forced"


def test_a_part_that_the_same_forced_pass_has_done_is_kept_unless_something_changed(done):
    before = read_status(done.out)
    assert before is not None
    write_status(done.out, replace(before, forced_pass=NOW))
    again = replace(done, forced_pass=NOW)
    assert standing_of(again).why is None
    assert standing_of(replace(again, weights_sha256="another")).why == "other arguments"
    write_status(done.out, replace(before, forced_pass=NOW, state=State.STARTED))
    assert standing_of(again).why == "was stopped"


def test_a_forced_pass_goes_on_until_it_has_ended(root, tmp_path):
    out = tmp_path / "out"
    with own_output(root, out) as none:
        assert none is None
    with pytest.raises(KeyboardInterrupt), own_output(root, out, is_forced=True) as first:
        raise KeyboardInterrupt
    with own_output(root, out):  # a call without --force does not end it
        pass
    with pytest.raises(KeyboardInterrupt), own_output(tmp_path / "other", out) as other:
        raise KeyboardInterrupt
    assert (first is not None, other) == (True, None)
    assert forced_pass_of(root, out) is None  # the output is of other data sets since
    with pytest.raises(KeyboardInterrupt), own_output(root, out, is_forced=True) as second:
        raise KeyboardInterrupt
    with own_output(root, out, is_forced=True) as again:
        assert forced_pass_of(root, out) == again == second != first
    assert forced_pass_of(root, out) is None
    with own_output(root, out, is_forced=True) as third:
        assert third != second


@pytest.mark.slow
def test_a_forced_pass_that_was_interrupted_is_told_and_gone_on_with_by_force_alone(root, tmp_path):
    out = tmp_path / "out"
    says = "a pass with --force was interrupted; give --force again to go on with it"
    with pytest.raises(KeyboardInterrupt), own_output(root, out, is_forced=True) as forced_pass:
        raise KeyboardInterrupt
    job = replace(_jobs(root, out)[0], forced_pass=forced_pass)
    assert do_part(job).state is State.FAILED
    assert _nut(root, "-o", out, "--dry-run").stdout.splitlines()[0] == says
    with_force = _nut(root, "-o", out, "--force", "--dry-run").stdout.splitlines()
    assert with_force == ["a: to do, failed before", "deep/b: to do, forced", "2 parts, 2 to do"]
    assert _nut(root, "-o", out, "--force").exit_code == 1
    assert says not in _nut(root, "-o", out, "--dry-run").stdout


@pytest.mark.parametrize(
    ("forced_pass", "trained"),
    [
        pytest.param(None, 1, id="no-force"),
        pytest.param(NOW, 1, id="same-forced-pass"),
        pytest.param(EARLIER, 2, id="another-forced-pass"),
    ],
)
def test_a_retry_of_the_export_keeps_the_run_that_its_own_pass_has_trained(
    done, run_folder, forced_pass, trained, monkeypatch
):
    trainings, exports = [], []

    def train(data: Path, out: Path, *_: object, **__: object) -> Run:
        trainings.append(data)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(run_folder, out)
        return open_run(out)

    def dies(*_: object, **__: object) -> None:
        exports.append(read_status(done.out))
        raise ZeroDivisionError

    monkeypatch.setattr("nut_train.train.train", train)
    monkeypatch.setattr("nut_export.export.export_bundle", dies)
    shutil.rmtree(done.out / "run")
    arguments = open_run(run_folder).record["arguments"]
    for number, forced in enumerate((forced_pass, forced_pass and NOW, forced_pass and NOW)):
        with pytest.raises(ZeroDivisionError):  # as a process that dies, whose call has tried it often enough
            do_part(replace(done, train=arguments, forced_pass=forced, attempts=1, pass_id=f"call {number}"))
    assert len(trainings) == trained
    assert [status.attempt for status in exports] == [1, 1, 1]  # each call has all its attempts


def test_a_forced_pass_trains_anew_what_it_has_not_trained(done, run_folder):
    job = replace(done, train=open_run(run_folder).record["arguments"], forced_pass=NOW)
    before = read_status(done.out)
    assert before is not None
    assert reusable_run(replace(job, forced_pass=None), before) is not None
    assert reusable_run(job, before) is None
    assert reusable_run(job, None) is None
    assert reusable_run(job, replace(before, forced_pass=NOW)) is not None
    assert reusable_run(job, replace(before, forced_pass=NOW, checkpoint={"sha256": "0", "size_bytes": 1})) is None


def test_a_part_that_this_pass_finished_is_not_done_again(done):
    before = read_status(done.out)
    assert before is not None
    mine = replace(before, pass_id=done.pass_id)
    write_status(done.out, mine)
    assert do_part(done) == mine  # at once, and the file as it was


def test_a_part_whose_worker_died_too_often_fails(done):
    died = Status(
        name="nuts",
        state=State.STARTED,
        pass_id=done.pass_id,
        attempt=2,
        arguments=done.arguments,
        host="",
        pid=1,
        began="",
    )
    write_status(done.out, died)
    status = do_part(done)
    assert (status.state, status.reason) == (State.FAILED, "its worker died 2 times, perhaps for want of memory")


def test_the_only_bundle_that_a_kill_left_is_put_back_and_other_left_overs_go(root, tmp_path):
    job, _ = _jobs(root, tmp_path / "out")
    for name in (".bundle.7.old", ".bundle.x.part", "run", ".run.7.old"):
        (job.out / name).mkdir(parents=True)
    (job.out / ".bundle.7.old" / "manifest.json").touch()
    assert do_part(job).state is State.FAILED  # its pictures cannot be read, and the older bundle stays
    assert (job.out / "bundle" / "manifest.json").exists()
    assert {path.name for path in job.out.iterdir()} == {"bundle", "run", "part.json"}


def test_of_several_bundles_that_kills_left_none_is_removed_before_there_is_a_new_one(root, tmp_path):
    job, _ = _jobs(root, tmp_path / "out")
    for name in (".bundle.7.old", ".bundle.8.old"):
        (job.out / name).mkdir(parents=True)
    assert do_part(job).state is State.FAILED
    assert {path.name for path in job.out.iterdir()} == {".bundle.7.old", ".bundle.8.old", "part.json"}


def test_parts_that_fail_do_not_stop_the_others_and_stand_in_the_summary(root, tmp_path):
    out = tmp_path / "out"
    said: list[str] = []
    with own_output(root, out):
        summary = do_parts(
            root, out, look_at_parts(_jobs(root, out)), _Here(), command="nut train-all <x>", say=said.append
        )
    assert [row.state for row in summary.rows] == ["failed", "failed"]
    assert [line.split(":")[0] for line in said] == ["a", "deep/b"]
    assert all("failed: " in line and "\n" not in line for line in said)
    record = json.loads((out / "summary.json").read_text())
    assert record["counts"] == {"done": 0, "kept": 0, "failed": 2, "waiting": 0}
    with (out / "summary.csv").open() as file:
        assert [row["part"] for row in csv.DictReader(file)] == ["a", "deep/b"]
    page = (out / "summary.html").read_text()
    assert "nut train-all &lt;x&gt;" in page
    for row in summary.rows:  # below the part, where no width of the page hides it
        assert f'<td class="why" colspan="11">{row.reason}</td>' in html.unescape(page)
    assert "://" not in page  # it loads nothing


def test_a_failed_part_says_that_the_bundle_there_is_an_older_one(done):
    out = done.out.parent
    status = write_failure(done, "its process\nwas killed")
    assert status.reason == "its process was killed"
    standing = replace(standing_of(done), why="failed before")

    class Fails:
        def finished(self, jobs):
            yield from (write_failure(job, "it was killed") for job in jobs)

    with own_output(done.data.parent, out):
        summary = do_parts(done.data.parent, out, [standing], Fails())
    assert summary.rows[0].reason == "it was killed; the bundle there is an older one"


def test_a_kept_part_shows_its_figures(done):
    out = done.out.parent
    with own_output(done.data.parent, out):
        do_parts(done.data.parent, out, [standing_of(done)], _Here())
    (part,) = json.loads((out / "summary.json").read_text())["parts"]
    assert (part["status"], part["auroc"]) == ("kept", 0.9)
    assert "0.9000 (0.800 to 1.000)" in (out / "summary.html").read_text()


@pytest.mark.parametrize(
    ("evaluation", "counted"),
    [
        pytest.param({"image": {"good": 2, "defective": 6}, "leaked": ["test/good/0.png"]}, (2, 6, 1), id="one-leaked"),
        pytest.param({"image": {"good": 3, "defective": 6}, "leaked": []}, (3, 6, 0), id="none-leaked"),
        pytest.param(None, (0, 0, 9), id="all-leaked"),
    ],
)
def test_the_test_pictures_that_are_counted_are_those_that_were_judged(run_folder, bundle_folder, evaluation, counted):
    run = open_run(run_folder)
    assert (run.record["dataset"]["test_good"], sum(run.record["dataset"]["defects"].values())) == (3, 6)
    exported = Exported(bundle=open_bundle(bundle_folder), parity={}, fast={}, tolerance=None)
    figures = _figures(replace(run, record={**run.record, "evaluation": evaluation}), exported)
    assert (figures["test_good"], figures["defective"], figures["leaked"]) == counted


@pytest.mark.parametrize(("leaked", "is_told"), [(2, True), (0, False), (None, False)])
def test_leaked_pictures_have_a_column_where_there_are_any(done, leaked, is_told):
    before = read_status(done.out)
    assert before is not None
    write_status(done.out, replace(before, figures={**before.figures, "leaked": leaked}))
    out = done.out.parent
    with own_output(done.data.parent, out):
        do_parts(done.data.parent, out, [standing_of(done)], _Here())
    page = (out / "summary.html").read_text()
    assert ("leaked</th>" in page, "Leaked:" in page) == (is_told, is_told)
    with (out / "summary.csv").open() as file:
        assert [row["leaked"] for row in csv.DictReader(file)] == ["" if leaked is None else str(leaked)]
    assert json.loads((out / "summary.json").read_text())["parts"][0]["leaked"] == leaked


def test_a_dry_run_lists_the_parts_and_writes_nothing(root, tmp_path):
    result = _nut(root, "-o", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["a: to do, new", "deep/b: to do, new", "2 parts, 2 to do"]
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_ours_is_not_written_to(root, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").touch()
    result = _nut(root, "-o", tmp_path / "out")
    assert (result.exit_code, "is not an output of nut train-all" in result.stderr) == (2, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["holiday.jpg"]


def test_an_output_of_other_data_sets_is_not_written_to(root, tmp_path):
    with own_output(tmp_path / "elsewhere", tmp_path / "out"):
        pass
    result = _nut(root, "-o", tmp_path / "out")
    assert (result.exit_code, "was made of" in result.stderr) == (2, True)


def test_an_output_that_holds_the_data_sets_is_refused(root):
    result = _nut(root, "-o", root.parent)
    assert (result.exit_code, "holds the data sets" in result.stderr) == (2, True)


def test_two_commands_do_not_work_in_one_output(root, tmp_path):
    with own_output(root, tmp_path / "out"):
        result = _nut(root, "-o", tmp_path / "out")
    assert (result.exit_code, "is in use by process" in result.stderr) == (2, True)


def test_a_mistake_in_the_configuration_ends_before_any_work(root, tmp_path):
    (tmp_path / "c.toml").write_text("[part.a.train]\nholdout = 5\n")
    result = _nut(root, "-o", tmp_path / "out", "--config", tmp_path / "c.toml")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "part.a.train: holdout 5" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_part_whose_folder_cannot_be_written_fails_and_the_others_are_done(root, tmp_path):
    out = tmp_path / "out"
    jobs = _jobs(root, out)
    with own_output(root, out):
        (out / "a").touch()  # in the way of its folder
        summary = do_parts(root, out, look_at_parts(jobs), Processes(Share(jobs=1, threads=1)))
    assert [(row.name, row.state) for row in summary.rows] == [("a", "failed"), ("deep/b", "failed")]
    assert summary.rows[0].reason == f"cannot write {out / 'a'}: File exists"
    assert "different good pictures" in summary.rows[1].reason  # it was looked at: its own mistake is told
    assert json.loads((out / "summary.json").read_text())["parts"][0]["reason"] == summary.rows[0].reason


def test_a_process_that_the_system_does_not_start_is_a_part_that_failed(root, tmp_path, monkeypatch):
    def no_process(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", no_process)
    found = list(Processes(Share(jobs=1, threads=1)).finished(_jobs(root, tmp_path / "out")))
    assert [status.state for status in found] == [State.FAILED, State.FAILED]
    assert found[0].reason == "cannot start its process: Resource temporarily unavailable"


@pytest.mark.parametrize(
    ("given", "count", "names"),
    [
        pytest.param(None, 2, ("0", "1"), id="all"),
        pytest.param("", 0, (), id="none"),
        pytest.param("3, 5", 2, ("3", "5"), id="some"),
        pytest.param("GPU-8a1f,GPU-77c0", 2, ("GPU-8a1f", "GPU-77c0"), id="ids"),
        pytest.param("MIG-0a,MIG-1b", 1, ("MIG-0a", "MIG-1b"), id="parts-of-one"),
        pytest.param("4,-1,5", 1, ("4",), id="cut-off"),  # CUDA stops at what is no GPU
    ],
)
def test_parts_take_turns_with_the_gpus_that_the_command_may_use(given, count, names, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus(count) == names


def test_each_process_sees_one_of_the_gpus(root, tmp_path, monkeypatch):
    seen = []

    def no_process(*_: object, env: dict[str, str], **__: object) -> None:
        seen.append(env["CUDA_VISIBLE_DEVICES"])
        raise OSError

    monkeypatch.setattr("subprocess.Popen", no_process)
    processes = Processes(Share(jobs=2, threads=1), gpus=("5", "7"))
    list(processes.finished(_jobs(root, tmp_path / "out")))
    assert seen == ["5", "7"]


@pytest.mark.parametrize(
    ("parts", "options", "share"),
    [
        pytest.param(300, {"cores": 16, "memory_bytes": 10**12}, Share(jobs=8, threads=2), id="by-cores"),
        pytest.param(300, {"cores": 16, "memory_bytes": 5 * 10**9}, Share(jobs=2, threads=8), id="by-memory"),
        pytest.param(2, {"cores": 16, "memory_bytes": 10**12}, Share(jobs=2, threads=8), id="by-parts"),
        pytest.param(300, {"cores": 16, "jobs": 5}, Share(jobs=5, threads=3), id="asked-for"),
        pytest.param(300, {"cores": 2, "jobs": 6}, Share(jobs=6, threads=1), id="more-than-cores"),
        pytest.param(300, {"cores": 16, "memory_bytes": 10**12, "gpus": 1}, Share(jobs=1, threads=16), id="one-gpu"),
        pytest.param(
            300, {"cores": 16, "memory_bytes": 10**12, "threads": 4}, Share(jobs=4, threads=4), id="by-threads"
        ),
        pytest.param(0, {"cores": 1, "memory_bytes": 1}, Share(jobs=1, threads=1), id="least"),
    ],
)
def test_a_machine_is_shared_by_cores_memory_and_parts(parts, options, share):
    assert share_machine(parts, **options) == share


def test_no_jobs_at_a_time_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        share_machine(3, jobs=0)


def test_without_ray_one_line_says_what_to_install(root, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not (Path(path) / "ray").is_dir()])
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    result = _nut(root, "-o", tmp_path / "out", "--address", "auto")
    assert result.exit_code == 2
    assert result.stderr == "error: ray is not installed; run: pip install 'nut-toolchain[ray]'\n"
