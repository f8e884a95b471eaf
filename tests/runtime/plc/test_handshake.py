"""The handshake, step by step and in every order that a PLC may come up with."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nut_runtime.plc.handshake import Commands, Handshake
from nut_runtime.plc.registers import REASON_CODES, Status
from nut_runtime.plc.result import Outcome, Result, result_of

WITHIN_S = 5.0
NONE = Commands()
TRIGGER = Commands(trigger=True)
ACK = Commands(results_ack=True)
RESET = Commands(reset=True)
GOOD = Result(outcome=Outcome.OK, sequence=7, score=2500)
KINDS = {Status.OK, Status.NG, Status.REVIEW, Status.NO_VERDICT, Status.ERROR}


class Line:
    """A handshake with a clock and a PLC's wire."""

    def __init__(self) -> None:
        self.handshake = Handshake(answer_within_s=WITHIN_S)
        self.now = 100.0
        self.is_free = True

    def write(self, commands: Commands, part_id: int = 0) -> int | None:
        return self.handshake.command(commands, part_id=part_id, is_free=self.is_free, now=self.now)

    def answer(self, ticket: int | None, result: Result = GOOD) -> bool:
        assert ticket is not None
        return self.handshake.answer(ticket, result, now=self.now)

    @property
    def on(self) -> set[Status]:
        self.handshake.expire(self.now)
        word = self.handshake.status_bits(is_free=self.is_free)
        return {bit for bit in Status if word >> bit & 1}


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_part_goes_through_the_whole_handshake(line):
    assert line.on == {Status.TRIGGER_READY}
    ticket = line.write(TRIGGER, 4711)
    assert line.on == {Status.TRIGGER_ACK, Status.BUSY}
    line.write(NONE)
    assert line.on == {Status.BUSY}
    line.now += 0.12
    assert line.answer(ticket)
    assert line.on == {Status.RESULTS_READY, Status.OK}
    values = line.handshake.values()
    assert (values["ResultPartId"], values["Sequence"], values["Score"]) == (4711, 7, 2500)
    assert (values["Milliseconds"], values["Reason"]) == (120, 0)
    line.write(ACK)
    assert line.on == set()
    line.write(NONE)
    assert line.on == {Status.TRIGGER_READY}


def test_results_may_come_before_the_plc_takes_its_trigger_back(line):
    line.answer(line.write(TRIGGER))
    assert line.on == {Status.TRIGGER_ACK, Status.RESULTS_READY, Status.OK}
    line.write(Commands(trigger=True, results_ack=True))
    assert line.on == {Status.TRIGGER_ACK}
    line.write(TRIGGER)
    assert line.on == {Status.TRIGGER_ACK}  # held high: neither ready nor a second part
    line.write(NONE)
    assert line.on == {Status.TRIGGER_READY}


def test_a_trigger_that_is_held_or_written_again_announces_one_part(line):
    assert line.write(TRIGGER) is not None
    assert [line.write(TRIGGER, part_id) for part_id in range(5)] == [None] * 5
    assert line.handshake.counts["Accepted"] == 1
    assert line.handshake.counts["Missed"] == 0


@pytest.mark.parametrize("state", ["busy", "results", "ack high", "not free"])
def test_a_trigger_while_not_ready_is_refused_and_counted(line, state):
    if state in {"busy", "results"}:
        ticket = line.write(TRIGGER, 1)
        line.write(NONE)
        if state == "results":
            line.answer(ticket)
    elif state == "ack high":
        line.write(ACK)
    line.is_free = state != "not free"
    before = line.on
    assert line.write(Commands(trigger=True, results_ack=state == "ack high"), 2) is None
    assert line.on == before | {Status.TRIGGER_MISSED}
    assert line.handshake.counts["Missed"] == 1
    assert line.handshake.values()["ResultPartId"] == (1 if state in {"busy", "results"} else 0)


def test_a_refused_trigger_does_not_become_one_when_the_station_is_free_again(line):
    line.is_free = False
    line.write(TRIGGER)
    line.is_free = True
    assert line.write(TRIGGER) is None
    assert line.on == {Status.TRIGGER_MISSED}
    line.write(NONE)
    assert line.write(TRIGGER) is not None
    assert Status.TRIGGER_MISSED not in line.on  # the next accepted one takes it back


def test_an_ack_that_was_there_before_the_results_does_not_take_them(line):
    ticket = line.write(TRIGGER)
    line.write(ACK)
    line.answer(ticket)
    line.write(ACK)
    assert line.on == {Status.RESULTS_READY, Status.OK}
    line.write(NONE)
    line.write(ACK)
    assert line.on == set()


def test_an_ack_and_the_next_trigger_in_one_write_take_the_results_and_refuse_the_trigger(line):
    ticket = line.write(TRIGGER)
    line.write(NONE)
    line.answer(ticket)
    assert line.write(Commands(trigger=True, results_ack=True)) is None
    assert line.on == {Status.TRIGGER_MISSED}


def test_no_answer_in_time_is_an_error_and_a_late_one_is_ignored(line):
    ticket = line.write(TRIGGER, 9)
    line.write(NONE)
    line.now += WITHIN_S - 0.001
    assert line.on == {Status.BUSY}
    line.now += 0.001
    assert line.on == {Status.RESULTS_READY, Status.ERROR}
    assert line.handshake.values()["Reason"] == REASON_CODES["timeout"]
    assert not line.answer(ticket)
    assert line.on == {Status.RESULTS_READY, Status.ERROR}
    assert line.handshake.counts["Late"] == 1
    assert line.handshake.values()["ResultPartId"] == 9


def test_an_overdue_answer_is_late_though_nobody_looked_in_between(line):
    ticket = line.write(TRIGGER)
    line.now += WITHIN_S
    assert not line.answer(ticket)
    assert Status.ERROR in line.on


def test_a_late_answer_is_not_taken_for_that_of_the_next_part(line):
    first = line.write(TRIGGER, 1)
    line.now += WITHIN_S
    line.write(ACK)  # the trigger falls as well
    line.write(NONE)
    second = line.write(TRIGGER, 2)
    assert not line.answer(first, Result(outcome=Outcome.OK))
    assert line.on == {Status.TRIGGER_ACK, Status.BUSY}
    assert line.answer(second, Result(outcome=Outcome.NG))
    assert Status.NG in line.on


@pytest.mark.parametrize("state", ["idle", "busy", "results", "error", "missed"])
def test_reset_leads_to_ready_from_everywhere(line, state):
    ticket = None
    if state != "idle":
        ticket = line.write(TRIGGER, 1)
        line.write(NONE)
    if state == "results":
        line.answer(ticket)
    elif state == "error":
        line.now += WITHIN_S
    elif state == "missed":
        line.write(TRIGGER)
        line.write(NONE)
    line.write(RESET)
    assert line.on == set()
    assert line.write(Commands(reset=True, trigger=True)) is None  # not while it is on
    line.write(NONE)
    assert Status.TRIGGER_READY in line.on
    if ticket is not None and state != "results":
        assert not line.answer(ticket)
        assert Status.RESULTS_READY not in line.on


def test_giving_up_ends_the_part_at_hand_in_an_error(line):
    line.write(TRIGGER)
    line.handshake.give_up(line.now)
    assert {Status.RESULTS_READY, Status.ERROR} <= line.on
    assert line.handshake.values()["Reason"] == REASON_CODES["stopped"]


def test_a_published_result_gives_way_to_the_next_and_is_counted_unread(line):
    assert line.handshake.publish(GOOD, now=line.now)
    assert line.on == {Status.RESULTS_READY, Status.OK}
    assert line.handshake.publish(Result(outcome=Outcome.NG, sequence=8), now=line.now)
    assert line.on == {Status.RESULTS_READY, Status.NG}
    assert line.handshake.counts["Unread"] == 1
    line.write(ACK)
    assert Status.RESULTS_READY not in line.on


@pytest.mark.parametrize(
    ("record", "outcome", "reason", "score"),
    [
        ({"label": "good", "reason": None, "pred_score": 0.25, "sequence": 3}, Outcome.OK, 0, 2500),
        ({"label": "defect", "reason": None, "pred_score": 0.75004}, Outcome.NG, 0, 7500),
        ({"label": "review", "reason": None, "pred_score": 0.49999}, Outcome.REVIEW, 0, 5000),
        ({"label": "no-verdict", "reason": "dark", "pred_score": None}, Outcome.NO_VERDICT, 4, 65535),
        ({"label": "no-verdict", "reason": "of tomorrow", "pred_score": None}, Outcome.NO_VERDICT, 99, 65535),
        ({"label": "no-verdict", "reason": None, "pred_score": float("nan")}, Outcome.NO_VERDICT, 99, 65535),
        ({"label": None}, Outcome.NO_VERDICT, 99, 65535),
        ({}, Outcome.NO_VERDICT, 99, 65535),
        ({"label": "defect", "pred_score": 1.7}, Outcome.NG, 0, 10000),
    ],
)
def test_a_record_becomes_the_result_that_the_plc_is_told(record, outcome, reason, score):
    result = result_of(record)
    assert (result.outcome, result.reason, result.score) == (outcome, reason, score)
    assert result.sequence == record.get("sequence", 0)


def test_the_real_record_of_a_part_becomes_its_result(judged_part):
    assert result_of(judged_part(12, score=0.3).record) == Result(outcome=Outcome.OK, sequence=12, score=3000)


class AnyOrder(RuleBasedStateMachine):
    """Any PLC, any station, any order and any time between, compared with what was promised."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line()
        self.last = NONE
        self.tickets: list[int] = []
        self.open: int | None = None  # the ticket that is owed a result
        self.due = 0.0
        self.shown: set[Status] | None = None  # the result that must stay
        self.results = self.resets = self.missed = self.late = 0

    def _time_passes(self) -> None:
        if self.open is not None and self.line.now >= self.due:
            self.open, self.shown = None, {Status.ERROR}
            self.results += 1

    @rule(
        trigger=st.booleans(),
        ack=st.booleans(),
        reset=st.sampled_from([False, False, False, True]),
        part_id=st.integers(0, 2**32 - 1),
    )
    def write(self, trigger, ack, reset, part_id):
        self._write(Commands(trigger=trigger, results_ack=ack, reset=reset), part_id)

    def _write(self, commands, part_id):
        was_ready = Status.TRIGGER_READY in self.line.on
        ticket = self.line.write(commands, part_id)
        last, self.last = self.last, commands
        if commands.reset and not last.reset:
            self.resets += self.open is not None
            self.open = self.shown = None
        if commands.results_ack and not last.results_ack:
            self.shown = None
        if commands.trigger and not last.trigger:
            assert (ticket is not None) == (was_ready and not commands.reset)
            self.missed += ticket is None
            assert (Status.TRIGGER_MISSED in self.line.on) == (ticket is None)
        else:
            assert ticket is None
        if ticket is not None:
            assert ticket not in self.tickets
            self.tickets.append(ticket)
            self.open, self.due = ticket, self.line.now + WITHIN_S
            assert self.line.handshake.values()["ResultPartId"] == part_id

    @rule(which=st.integers(0, 3), label=st.sampled_from(["good", "defect", "review", "no-verdict", "?"]))
    def answer(self, which, label):
        if which < len(self.tickets):
            ticket = self.tickets[-1 - which]
            result = result_of({"label": label})
            told = self.line.answer(ticket, result)
            assert told == (ticket == self.open)
            if told:
                self.open = None
                self.results += 1
                self.shown = {
                    {"good": Status.OK, "defect": Status.NG, "review": Status.REVIEW}.get(label, Status.NO_VERDICT)
                }
            else:
                self.late += 1

    @rule(seconds=st.sampled_from([0.01, 1.0, 4.99, 5.0, 60.0]))
    def wait(self, seconds):
        self.line.now += seconds
        self._time_passes()

    @rule(is_free=st.booleans())
    def station_stops_or_goes_on(self, is_free):
        self.line.is_free = is_free

    @rule()
    def another_client_goes_on(self):
        """Whatever the one before it left: no command, acknowledge what is there, and the next part is accepted."""
        self._write(NONE, 0)
        self.wait(5.0)
        self._write(ACK, 0)
        self._write(NONE, 0)
        self.line.is_free = True
        assert Status.TRIGGER_READY in self.line.on
        self._write(TRIGGER, 1)
        assert {Status.TRIGGER_ACK, Status.BUSY} <= self.line.on

    @invariant()
    def bits_say_what_is_so(self):
        on = self.line.on
        assert on & KINDS == (self.shown or set())
        assert (Status.RESULTS_READY in on) == (self.shown is not None)
        assert (Status.BUSY in on) == (self.open is not None)
        assert not (Status.TRIGGER_ACK in on and not self.last.trigger)
        assert (Status.TRIGGER_READY in on) == (
            self.line.is_free and self.open is None and self.shown is None and self.last == NONE
        )

    @invariant()
    def every_accepted_trigger_has_one_result_or_is_owed_one_or_was_given_up(self):
        counts = self.line.handshake.counts
        assert counts["Accepted"] == len(self.tickets)
        assert len(self.tickets) == self.results + self.resets + (self.open is not None)
        assert sum(counts[outcome] for outcome in Outcome) == self.results
        assert (counts["Reset"], counts["Missed"], counts["Late"]) == (self.resets, self.missed, self.late)


AnyOrder.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
