"""The benchmarks' input is the same everywhere, and its reference count is a plain count of the file."""

import hashlib
from collections import Counter

import pytest

from benchmarks import workload


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PYSTORM_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_vocabulary_has_the_stated_number_of_different_words():
    words = workload.vocabulary()
    assert len(words) == len(set(words)) == workload.VOCABULARY_SIZE


def test_sentences_are_the_same_on_every_machine_and_python():
    text = "\n".join(workload.sentences(200))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "2ab29a9e934cc5adab57e7a015e9b9f44a8e28fbd7b4837c1868cec47886b5b4"
    )


def test_a_shorter_workload_is_a_prefix_of_a_longer_one():
    assert list(workload.sentences(50)) == list(workload.sentences(80))[:50]


def test_another_seed_gives_other_sentences():
    assert list(workload.sentences(5)) != list(workload.sentences(5, seed=1))


def test_sentences_have_8_to_12_words_of_a_zipf_distribution():
    sizes, counts = Counter(), Counter()
    for sentence in workload.sentences(5_000):
        words = sentence.split()
        sizes[len(words)] += 1
        counts.update(words)
    assert sorted(sizes) == [8, 9, 10, 11, 12]
    first, second = (counts[word] for word in workload.vocabulary()[:2])
    assert 1.7 < first / second < 2.3  # 1/rank: the first word comes twice as often as the second
    assert 0.09 < first / counts.total() < 0.115  # 1 / H(10,000) = 0.102


def test_the_file_is_written_once_and_reused():
    path = workload.sentence_file(20)
    path.write_text("kept\n")
    assert workload.sentence_file(20).read_text() == "kept\n"


def test_nothing_half_written_stays_when_writing_fails(cache, monkeypatch):
    def broken(count, seed):
        yield "one"
        raise OSError("disk full")

    monkeypatch.setattr(workload, "sentences", broken)
    with pytest.raises(OSError, match="disk full"):
        workload.sentence_file(20)
    assert list(cache.iterdir()) == []


def test_the_reference_is_a_plain_count_of_the_file():
    path = workload.sentence_file(300)
    expected = Counter(path.read_text().split())
    assert workload.reference_counts(path) == expected
    assert workload.reference_counts(path) == expected  # from the kept copy


def test_a_rewritten_file_does_not_meet_the_counts_of_the_old_one():
    path = workload.sentence_file(20)
    path.write_text("another text\n")
    assert workload.reference_counts(path) == {"another": 1, "text": 1}
    path.unlink()
    assert workload.reference_counts(workload.sentence_file(20)) == Counter(path.read_text().split())


def test_no_sentences_at_all_are_refused():
    with pytest.raises(ValueError, match="at least 1 sentence, got 0"):
        workload.sentence_file(0)


def test_a_wrong_count_is_told_with_an_example():
    assert workload.difference({"a": 1}, {"a": 1}) == ""
    told = workload.difference({"a": 1, "b": 3}, {"a": 1, "b": 2, "c": 1})
    assert told.startswith("2 of 3 words have a wrong count, 4 words counted instead of 4")
    assert "'b': got 3, wanted 2" in told
