"""A plan that was really made: trained, exported, timed, written."""

import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from nut_benchmarks.cli import main
from nut_benchmarks.planner.config import BackboneChoice, PlanConfig
from nut_benchmarks.planner.plan import run_plan
from nut_runtime.errors import InputError, OutputError
from nut_runtime.pictures import read_picture

SMALL = PlanConfig(
    target_ms=30,
    backbones=(BackboneChoice(name="tf_efficientnet_lite0"),),  # others may be installed
    image_sizes=((64, 64),),
    coreset_ratios=(0.1,),
    precisions=("fp32",),
    device="cpu",
)


@pytest.fixture(scope="module")
def written(made) -> dict[str, Any]:
    """The content of plan.json."""
    out, _ = made
    content: dict[str, Any] = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    return content


def test_every_candidate_is_a_row_with_figures_or_the_reason_why_not(written):
    exact, quick = written["candidates"]
    assert (exact["candidate"]["precision"], quick["candidate"]["precision"]) == ("fp32", "int8")
    assert exact["reason"] is None
    assert quick["reason"].startswith("7 pictures to calibrate int8 with, at least 8 are needed")
    assert quick["speed"] is quick["accuracy"] is None


def test_times_are_those_of_one_part_and_of_both_cameras_parts(written):
    speed = written["candidates"][0]["speed"]
    assert 0 < speed["p50_ms"] <= speed["p95_ms"]
    assert set(speed["ways"]) == {"1", "2"}
    assert speed["all_ms"] == min(speed["ways"].values()) == speed["ways"][str(speed["streams"])]


def test_fp32_in_the_engine_is_as_accurate_as_nut_train_says(written, trained):
    accuracy, evaluation = written["candidates"][0]["accuracy"], trained.record["evaluation"]
    # float32 in another order moves none of 9 scores past another or the threshold
    assert accuracy["image_auroc"] == evaluation["image"]["auroc"]
    assert accuracy["recall"] == evaluation["image"]["recall"]
    assert accuracy["good_rejected"] == evaluation["image"]["false_reject_rate"]
    assert accuracy["pixel_auroc"] == evaluation["pixel"]["auroc"]


def test_the_command_says_beforehand_what_it_will_do_and_then_each_candidate(made):
    _, result = made
    assert result.exit_code == 0
    said = [
        line for line in result.stderr.splitlines() if "other processes" not in line
    ]  # where tests run side by side
    assert said[0] == "1 training, 1 bank, 2 precisions, 1 engine: 2 candidates"
    assert said[1] == "int8 only of banks that no other one clearly beats in fp32"
    assert [line[:5] for line in said if line.startswith("[")] == ["[2/3]", "[3/3]"]
    assert said[-1].endswith("about 0:00 to go)")


def test_the_command_prints_proposal_refusal_and_the_commands_that_make_it(made, written, nuts):
    out, result = made
    assert "proposal: tf_efficientnet_lite0 at 64 px, 5% bank (22 rows), fp32 in onnxruntime" in result.stdout
    assert "refused tf_efficientnet_lite0 at 64 px, 5% bank (22 rows), int8 in onnxruntime: 7 pictures" in result.stdout
    train, export = written["proposal"]["commands"]
    assert train == f"nut train {nuts} -o run --backbone tf_efficientnet_lite0 --image-size 64 --coreset-ratio 0.05"
    assert export == "nut export run -o bundle --precision fp32"
    for line in (train, export, str(out / "plan.png")):
        assert line in result.stdout


def test_json_markdown_and_figure_are_written_and_nothing_else(made, written):
    out, _ = made
    assert written["proposal"]["candidate"] == 0
    assert [row["is_proposed"] for row in written["candidates"]] == [True, False]
    assert [row["is_on_front"] for row in written["candidates"]] == [True, False]
    text = (out / "plan.md").read_text(encoding="utf-8")
    assert text.startswith("# nuts; tf_efficientnet_lite0; onnxruntime; the parts of 2 cameras within 1000 ms")
    assert written["command"] in text
    assert min(read_picture(out / "plan.png").shape[:2]) > 400
    assert sorted(path.name for path in out.iterdir()) == ["plan.json", "plan.md", "plan.png"]


def test_a_plan_that_is_stopped_leaves_nothing_behind(nuts, tmp_path):
    def stop(what: str, done: int, total: int) -> None:
        if what == "judging with anomalib":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(nuts, tmp_path / "plan", SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_which_nothing_could_be_measured_says_why(nuts, tmp_path):
    with pytest.raises(
        InputError, match=r"none of 1 candidates could be measured; the first: coreset ratio 0\.001 keeps"
    ):
        run_plan(nuts, tmp_path / "plan", replace(SMALL, coreset_ratios=(0.001,)))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_replaced(nuts, tmp_path):
    (tmp_path / "kept").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="--force"):
        run_plan(nuts, tmp_path, SMALL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--target-ms", "0"], "target 0.0 ms, expected above 0", id="no-time"),
        pytest.param(["--target-ms", "30", "--cameras", "0"], "cameras 0, expected at least 1", id="no-camera"),
        pytest.param(["--target-ms", "30", "--backbone", "resnet81"], "unknown backbone 'resnet81'", id="backbone"),
        pytest.param(["--target-ms", "30", "--backbone", "resnet18=no.pth"], "no.pth do not exist", id="weights"),
        pytest.param(["--target-ms", "30", "--image-size", "big"], "image size 'big'", id="size"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(nuts, tmp_path, arguments, message):
    result = CliRunner().invoke(main, ["plan", str(nuts), "-o", str(tmp_path / "plan"), *arguments])
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if line and "other processes" not in line]
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_good_pictures_is_one_line(tmp_path):
    (tmp_path / "parts").mkdir()
    result = CliRunner().invoke(main, ["plan", str(tmp_path / "parts"), "--target-ms", "30", "-o", str(tmp_path / "o")])
    assert result.exit_code == 2
    assert "train/good is missing" in result.stderr
