"""The yardstick tracks every word as a tuple of its own, completes each tree once, and counts right."""

import random
from collections import Counter

import msgpack
import pytest

from benchmarks import floor

SENTENCES = ["to be or not to be", "be", "not one of them to be"]


def acks_of_a_batch():
    ledger, counts = {}, {}
    words, split_ack = floor.split_tracked(floor.open_trees(ledger, 7, SENTENCES))
    return ledger, counts, split_ack, floor.count_tracked(counts, words)


def test_all_acks_of_a_batch_complete_all_its_trees():
    ledger, counts, split_ack, count_ack = acks_of_a_batch()
    assert sorted(ledger) == [7, 8, 9]
    floor.settle(ledger, split_ack)
    assert sorted(ledger) == [7, 8, 9]
    floor.settle(ledger, count_ack)
    assert ledger == {}
    assert counts == Counter(" ".join(SENTENCES).split())


def test_trees_complete_when_the_words_acks_overtake_the_sentences():
    ledger, _, split_ack, count_ack = acks_of_a_batch()
    floor.settle(ledger, count_ack)
    assert sorted(ledger) == [7, 8, 9]
    floor.settle(ledger, split_ack)
    assert ledger == {}


def test_a_tree_stays_open_while_one_word_is_not_acked():
    ledger = {}
    words, split_ack = floor.split_tracked(floor.open_trees(ledger, 0, SENTENCES))
    roots, edges, texts = msgpack.unpackb(words)
    all_but_the_last = msgpack.packb((roots[:-8], edges[:-8], texts[:-1]))
    floor.settle(ledger, split_ack)
    floor.settle(ledger, floor.count_tracked({}, all_but_the_last))
    assert sorted(ledger) == [2]


def test_every_word_has_an_edge_id_of_its_own():
    words, _ = floor.split_tracked(floor.open_trees({}, 0, SENTENCES))
    roots, edges, texts = msgpack.unpackb(words)
    assert list(floor.unpack_ids(roots)) == [0] * 6 + [1] + [2] * 6
    assert len(set(floor.unpack_ids(edges))) == len(texts) == 13


def test_an_edge_id_is_never_0(monkeypatch):
    source = random.Random(1)

    def mostly_zeros(size):
        return bytes(size) if size > 8 else source.randbytes(size)

    monkeypatch.setattr(floor.os, "urandom", mostly_zeros)
    ids = floor.random_ids(5)
    assert len(ids) == 5
    assert 0 not in ids


@pytest.mark.parametrize(("tracked", "guarantee"), [(True, "at-least-once"), (False, "none")])
def test_a_whole_run_counts_every_word_in_three_processes(tmp_path, monkeypatch, tracked, guarantee):
    monkeypatch.setenv("PYSTORM_BENCH_CACHE", str(tmp_path))
    result = floor.run_floor(300, tracked=tracked, batch_size=7)
    assert result["guarantee"] == guarantee
    assert result["sentences"] == 300
    assert result["seconds"] > 0
    assert list(result["processes"]) == ["source", "split", "count"]
    assert all(figures["peak_rss_mb"] > 1 for figures in result["processes"].values())


def test_a_wrong_count_is_an_error_and_not_a_figure(tmp_path, monkeypatch):
    monkeypatch.setenv("PYSTORM_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(floor, "reference_counts", lambda path: {"wrong": 1})
    with pytest.raises(RuntimeError, match="words have a wrong count"):
        floor.run_floor(10)


def test_the_death_of_a_process_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYSTORM_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(floor, "sentence_file", lambda count: tmp_path / "missing")
    monkeypatch.setattr(floor, "reference_counts", lambda path: {})
    with pytest.raises(RuntimeError, match="process 'source' died"):
        floor.run_floor(10)


def test_a_batch_that_could_never_be_sent_is_refused():
    with pytest.raises(ValueError, match=r"must be 1\.\.10000 sentences, got 20000"):
        floor.run_floor(10, batch_size=20_000)
