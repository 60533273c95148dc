"""Random faults under random load for a minute, every answer held against a model; and that the model refuses what it has to."""

import pytest

from faults import model
from faults.campaign import Campaign
from harness import postgres as pg

A, B, C = '"a"', '"b"', '"c"'


class Key:
    """A key under judgement, written and read one thing after another unless said otherwise."""

    def __init__(self, holds=None):
        self.wrongs = []
        self.judge = model.Judge("k", holds, self.wrongs.append)

    def begin(self, tag):
        return self.judge.begin(f"PUT {tag}", [tag])

    def end(self, op, tag, needs=None):
        self.judge.end(op, "200", needs, tag)

    def put(self, tag, needs=None):
        self.end(self.begin(tag), tag, needs)

    def doubt(self, tag):
        self.judge.doubt(self.begin(tag), "lost", None, [tag])

    def see(self, tag):
        self.saw(self.judge.begin("GET"), tag)

    def saw(self, op, tag):
        self.judge.end(op, f"200 {tag}", ("in", frozenset([tag])))


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setattr(model, "SLACK", 0)
    return Key()


def test_what_follows_in_order_is_right(key):
    for tag in (A, B, None, C):
        key.put(tag)
        key.see(tag)
    assert not key.wrongs


def test_a_lost_write_is_wrong(key):
    key.put(A)
    key.put(B)
    key.see(A)
    assert len(key.wrongs) == 1 and "cannot be" in key.wrongs[0]


def test_what_was_deleted_does_not_come_back(key):
    key.put(A)
    key.put(None)
    key.see(A)
    assert key.wrongs


def test_beside_a_write_both_are_right_but_never_back(key):
    key.put(A)
    writing, first, second = key.begin(B), key.judge.begin("GET"), key.judge.begin("GET")
    key.saw(first, A)
    key.saw(second, B)
    third = key.judge.begin("GET")
    key.saw(third, A)
    key.end(writing, B)
    assert len(key.wrongs) == 1 and "GET" in key.wrongs[0]


def test_two_writes_at_once_happen_in_either_order(key):
    for seen in (A, B):
        first, second = key.begin(A), key.begin(B)
        key.end(first, A)
        key.end(second, B)
        key.see(seen)
        key.see(seen)
    key.see(A)
    assert len(key.wrongs) == 1


def test_a_write_without_an_answer_happens_at_one_moment_or_never(key):
    key.put(A)
    key.doubt(B)
    key.see(A)
    key.see(B)
    assert not key.wrongs
    key.put(C)
    key.see(B)
    assert len(key.wrongs) == 1


def test_a_delete_without_an_answer(key):
    key.put(A)
    key.doubt(None)
    key.see(A)
    key.see(None)
    assert not key.wrongs
    key.put(B)
    key.see(None)
    assert len(key.wrongs) == 1


def test_a_write_without_an_answer_does_not_come_too_late(key, monkeypatch):
    monkeypatch.setattr(model, "LATE", -1)
    key.doubt(B)
    key.see(None)
    key.see(B)
    assert len(key.wrongs) == 1


def test_conditions_see_what_is_there(key):
    key.put(A, ("in", frozenset([None])))
    key.put(B, ("in", frozenset([A])))
    assert not key.wrongs
    key.put(C, ("in", frozenset([A])))
    assert len(key.wrongs) == 1


def test_what_no_condition_allowed_explains_a_read_of_before(key):
    """A read that ends late may have seen what a write without an answer held for a moment."""
    key.put(A)
    reading = key.judge.begin("GET")
    key.doubt(B)
    key.put(C)
    key.saw(reading, B)
    key.see(C)
    assert not key.wrongs


@pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")
@pytest.mark.timeout(600)
def test_a_minute_of_faults(tmp_path):
    """Nothing acknowledged is lost or comes back, every read is whole and right, cold bytes leave the origin once, and no content is without a name."""
    campaign = Campaign(tmp_path / "c", minutes=1, seed=20)
    assert campaign.run(), "\n".join(campaign.traffic.wrongs)
    assert campaign.traffic.answered > 300 and len(campaign.nemesis.faults) >= 2, "too weak a load"
