"""What a plan says: table, sentences, Markdown, figure."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from nut_benchmarks.planner.choice import Row
from nut_benchmarks.planner.figure import plan_figure
from nut_benchmarks.planner.report import plan_markdown, plan_rows, plan_table, refusals, sorted_rows
from nut_benchmarks.planner.words import notes, plan_lines, plan_title


@pytest.fixture
def four(make_row) -> list[Row]:
    """Four candidates, of which three are on the front."""
    return [
        make_row(8.0, 0.93, side=160, recall=0.5),
        make_row(18.3, 0.97, recall=0.7, bank_rows=6240, ratio=0.1),
        make_row(61.0, 0.974, side=320, recall=0.7, bank_rows=9700, ratio=0.1),
        make_row(25.0, 0.96, side=224, recall=0.7),
    ]


@pytest.fixture
def refused(four) -> Row:
    return Row(
        candidate=replace(four[1].candidate, precision="int8"), reason="onnxruntime differs from anomalib's prediction"
    )


@pytest.fixture
def ruled_out(four) -> Row:
    return Row(candidate=replace(four[3].candidate, precision="int8"), reason="beaten", is_ruled_out=True)


def test_the_table_begins_with_the_most_accurate_and_ends_with_what_has_no_figures(make_plan, four, refused, ruled_out):
    plan = make_plan([refused, *four, ruled_out])
    assert sorted_rows(plan) == [four[2], four[1], four[3], four[0], refused]
    columns, rows = plan_rows(plan)
    assert [row[-1] for row in rows] == ["front", "proposed", "", "front", refused.reason]
    assert {len(row) for row in rows} == {len(columns)}


def test_columns_that_say_the_same_everywhere_or_nothing_are_left_out(make_row, make_plan, four):
    columns, _ = plan_rows(make_plan(four))
    assert not {"backbone", "engine", "pixel AUROC", "judged twice", "streams"} & set(columns)
    columns, _ = plan_rows(make_plan([*four, make_row(9.0, 0.9, backbone="lite2", engine="onnxruntime")], cameras=3))
    assert {"backbone", "engine", "all 3 ms", "streams"} <= set(columns)


def test_the_table_fits_a_terminal_of_80_columns_with_every_figure_in_it(make_plan, four, refused):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(plan_table(make_plan([*four, refused])))
    text = console.export_text()
    assert "…" not in text
    for figure in ("0.9740", "61.0", "proposed", "refused"):
        assert figure in text


def test_a_refusal_names_candidate_and_reason(make_plan, four, refused, ruled_out):
    (line,) = refusals(make_plan([*four, refused, ruled_out]))
    assert (
        line
        == "lite0 at 256 px, 10% bank (6240 rows), int8 in openvino: onnxruntime differs from anomalib's prediction"
    )


def test_the_proposal_states_time_accuracy_and_what_it_costs(make_plan, four):
    (line,) = plan_lines(make_plan(four))
    assert line == (
        "proposal: lite0 at 256 px, 10% bank (6240 rows), fp32 in openvino: 16.5 ms p50, 18.3 p95, image AUROC 0.9700, "
        "70% of defects found; costs 0.0040 of AUROC against the most accurate, which takes 61.0 ms"
    )


@pytest.mark.parametrize(
    ("target_ms", "end"),
    [
        pytest.param(100, "; none is more accurate", id="all-fit"),
        pytest.param(5, "; try smaller ones, fewer cameras or a faster machine", id="none-fits"),
    ],
)
def test_the_end_of_the_proposal_fits_the_case(target_ms, end, make_plan, four):
    (line,) = plan_lines(make_plan(four, target_ms=target_ms))
    assert line.endswith(end)
    assert line.startswith("nothing meets 5 ms; nearest: lite0 at 160 px") == (target_ms == 5)


def test_fewer_defects_found_at_the_same_auroc_is_a_cost(make_row, make_plan):
    rows = [make_row(8.0, 1.0, recall=0.5), make_row(61.0, 1.0, recall=0.75)]
    (line,) = plan_lines(make_plan(rows))
    assert line.endswith("; finds 25% of defects fewer against the most accurate, which takes 61.0 ms")


def test_cameras_are_told_with_the_way_they_are_served(make_row, make_plan):
    rows = [make_row(8.0, 0.9, all_ms=14.0, streams=2)]
    plan = make_plan(rows, cameras=3)
    proposal, served = plan_lines(plan)
    assert "7.2 ms p50, 8.0 p95; 3 cameras 14.0 ms p95, in 2 streams" in proposal
    assert 'Inspector("bundle", engine="openvino", threads=2, streams=2) for all cameras' in served
    assert "the parts of 3 cameras within 30 ms on 2 threads" in plan_title(plan)
    assert "as many streams as there are cameras" in " ".join(plan_markdown(plan).split())


def test_a_cascade_tells_how_often_it_judges_twice_and_what_that_takes(make_row, make_plan):
    plan = make_plan([make_row(8.0, 0.9, precision="cascade", rejudged=0.03, twice_ms=21.0)])
    assert plan_lines(plan)[1] == "3% of good parts are judged twice, which takes 21.0 ms (p95)"
    assert "judged twice" in plan_rows(plan)[0]


def test_notes_name_what_limits_the_figures(make_plan, four, ruled_out):
    plan = make_plan([*four, ruled_out], leaked=20, is_supported=False, pictures=60, good_pictures=400, load=2.1)
    told = notes(plan)
    assert "25 good and 6 defective test pictures tell an AUROC to about 0.0" in told[0]
    assert told.pop(1).startswith("the machine was busy when the plan began (2.1 processes a core)")
    assert told[1].startswith("banks were made from 60 of 400 good pictures")
    assert told[2].startswith("20 test pictures are byte-identical")
    assert told[3].startswith("15 held-out pictures cannot speak for a false-reject rate of 1%")
    assert told[4].startswith("int8 left out where in fp32 another bank is faster")
    assert len(notes(make_plan(four))) == 1


@pytest.mark.parametrize(
    ("good", "defective", "told"),
    [
        pytest.param(25, 0, "no defective test pictures: nothing tells which candidate finds defects", id="no-defects"),
        pytest.param(0, 6, "no good test pictures, so there is no AUROC", id="no-good"),
        pytest.param(0, 0, "nothing but time was measured", id="nothing"),
    ],
)
def test_without_pictures_of_both_kinds_no_accuracy_is_claimed(good, defective, told, make_row, make_plan):
    share = 0.04 if good else None
    rows = [
        make_row(ms, None, good=good, defective=defective, good_rejected=share, side=side)
        for ms, side in ((20, 320), (5, 160))
    ]
    plan = make_plan(rows)
    assert told in notes(plan)[0]
    assert sorted_rows(plan) == [rows[1], rows[0]]  # by time
    assert plan.front == []
    assert "since nothing tells which finds defects" in plan_lines(plan)[0]
    assert "image AUROC" not in plan_rows(plan)[0]
    assert plan_figure(plan).startswith(b"\x89PNG")


def test_markdown_names_machine_commands_and_what_repeats_it(make_plan, four, refused):
    plan = make_plan([*four, refused])
    text = plan_markdown(plan)
    assert plan.machine.cpu in " ".join(text.split())
    for command in plan.commands():
        assert command in text
    assert plan.command in text
    assert "640x480 frame" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert len(table) == 2 + 5


def test_the_commands_make_the_proposal(make_row, make_plan):
    row = make_row(8.0, 0.9, backbone="resnet18", weights="my weights.pth", precision="cascade", ratio=0.0125)
    train, export, run = make_plan([row], threads=999).commands()
    assert train == (
        "nut train parts -o run --backbone resnet18 --backbone-weights 'my weights.pth' --image-size 256 "
        "--coreset-ratio 0.0125"
    )
    assert export == "nut export run -o bundle --precision cascade"
    assert run == "nut-runtime --model bundle --camera 0 --engine openvino --threads 999"
    assert len(make_plan([row], cameras=2).commands()) == 2  # nut-runtime has one camera a process


def test_the_figure_is_drawn_for_many_candidates_of_several_backbones(make_row, make_plan):
    rows = [
        make_row(ms, 0.9 + place / 100, side=side, precision=precision, backbone=backbone)
        for place, (ms, side, precision, backbone) in enumerate(
            [
                (3, 160, "int8", "lite0"),
                (9, 224, "cascade", "lite0"),
                (40, 256, "fp32", "lite2"),
                (90, 320, "fp32", "lite2"),
            ]
        )
    ]
    assert plan_figure(make_plan(rows)).startswith(b"\x89PNG")
