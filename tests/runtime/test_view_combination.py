"""One verdict of several: the same in any order, and never better for what was not seen."""

from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nut_runtime.errors import InputError
from nut_runtime.parts import View
from nut_runtime.review import label_with_review
from nut_runtime.sources.base import Frame
from nut_runtime.station_file.config import Combine
from nut_runtime.verdict import Label, Reason
from nut_runtime.view_combination import combine

G, R, D, N = Label.GOOD, Label.REVIEW, Label.DEFECT, Label.NO_VERDICT
ORDER = [G, R, D]
FRAME = Frame(source="a", name="a", timestamp=datetime(2026, 11, 24, tzinfo=UTC), capture_ms=1.0)


def view(label: Label, reason: Reason = Reason.NO_FRAME) -> View:
    return View(frame=FRAME, label=label, reason=reason if label is N else None)


def part(labels: tuple[Label, ...] | list[Label], rule: Combine, at_least: int = 1) -> Label:
    label, reason = combine([view(one) for one in labels], rule, at_least)
    assert (label is N) == (reason is not None)
    return label


@st.composite
def parts(draw: st.DrawFn, labels: tuple[Label, ...] = (G, R, D, N)) -> tuple[list[Label], Combine, int]:
    views = draw(st.lists(st.sampled_from(labels), min_size=1, max_size=6))
    return views, draw(st.sampled_from(Combine)), draw(st.integers(1, len(views)))


@pytest.mark.parametrize(
    ("labels", "any_view", "all_views", "two_views"),
    [
        ((G, G, G), G, G, G),
        ((G, G, R), R, G, G),
        ((G, R, R), R, G, R),
        ((R, R, R), R, R, R),
        ((G, G, D), D, G, G),
        ((G, R, D), D, G, R),
        ((R, R, D), D, R, R),
        ((G, D, D), D, G, D),
        ((R, D, D), D, R, D),
        ((D, D, D), D, D, D),
        ((G, G, N), N, G, G),
        ((G, R, N), N, G, N),
        ((R, R, N), N, N, R),
        ((G, D, N), D, G, N),
        ((R, D, N), D, N, N),
        ((D, D, N), D, N, D),
        ((G, N, N), N, G, N),
        ((R, N, N), N, N, N),
        ((D, N, N), D, N, N),
        ((N, N, N), N, N, N),
    ],
)
def test_the_truth_table_of_three_views(labels, any_view, all_views, two_views):
    assert part(labels, Combine.ANY) is any_view
    assert part(labels, Combine.ALL) is all_views
    assert part(labels, Combine.AT_LEAST, 2) is two_views


@settings(deadline=None, max_examples=200)
@given(parts(), st.randoms())
def test_the_order_of_the_views_does_not_matter(one, random):
    labels, rule, at_least = one
    shuffled = random.sample(labels, len(labels))
    assert part(labels, rule, at_least) is part(shuffled, rule, at_least)


@settings(deadline=None, max_examples=200)
@given(parts())
def test_a_part_has_the_verdict_that_all_completions_of_its_views_share_and_none_where_they_differ(one):
    labels, rule, at_least = one
    choices = [ORDER if label is N else [label] for label in labels]
    outcomes = {part(completed, rule, at_least) for completed in product(*choices)}
    assert part(labels, rule, at_least) is (outcomes.pop() if len(outcomes) == 1 else N)


@settings(deadline=None, max_examples=200)
@given(parts((G, R, D)), st.data())
def test_a_worse_view_never_makes_a_better_part(one, data):
    labels, rule, at_least = one
    place = data.draw(st.integers(0, len(labels) - 1))
    worse = list(labels)
    worse[place] = data.draw(st.sampled_from(ORDER[ORDER.index(labels[place]) :]))
    assert ORDER.index(part(worse, rule, at_least)) >= ORDER.index(part(labels, rule, at_least))


@settings(deadline=None, max_examples=200)
@given(parts(), st.data())
def test_a_view_that_goes_missing_leaves_the_verdict_or_takes_it_away(one, data):
    labels, rule, at_least = one
    less = list(labels)
    less[data.draw(st.integers(0, len(labels) - 1))] = N
    assert part(less, rule, at_least) in {part(labels, rule, at_least), N}


@settings(deadline=None, max_examples=200)
@given(parts((G, D)))
def test_without_doubt_and_gaps_a_part_is_defective_where_enough_views_are(one):
    labels, rule, at_least = one
    needed = {Combine.ANY: 1, Combine.ALL: len(labels), Combine.AT_LEAST: at_least}[rule]
    assert part(labels, rule, at_least) is (D if labels.count(D) >= needed else G)


@pytest.mark.parametrize("label", Label)
@pytest.mark.parametrize("rule", Combine)
def test_the_verdict_of_a_single_view_is_the_parts(label, rule):
    assert part([label], rule) is label


def test_the_reason_is_that_of_the_first_view_that_has_none():
    views = [view(G), view(N, Reason.FROZEN), view(N, Reason.DARK)]
    assert combine(views, Combine.ANY) == (N, Reason.FROZEN)


@pytest.mark.parametrize("at_least", [0, 3])
def test_a_number_of_views_that_cannot_be_is_refused(at_least):
    with pytest.raises(InputError, match="from 1 to the 2 views"):
        part([G, G], Combine.AT_LEAST, at_least)


def test_a_part_without_views_is_refused():
    with pytest.raises(InputError, match="without views"):
        part([], Combine.ANY)


@pytest.mark.parametrize(
    ("score", "is_defective", "review_from", "label"),
    [
        (0.45, False, 0.45, R),
        (0.4499, False, 0.45, G),
        (0.5, False, 0.45, R),
        (0.5, False, None, G),
        (0.51, True, 0.45, D),
        (0.51, True, None, D),
        (0.0, False, 0.0, R),
    ],
)
def test_a_view_is_for_review_from_its_score_on_up_to_the_threshold(score, is_defective, review_from, label):
    assert label_with_review(score, is_defective=is_defective, review_from=review_from) is label
