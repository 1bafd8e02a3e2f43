"""A trace gives back what was recorded, or says in one sentence why it cannot."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge import trace
from streamgauge.recording import Bundle, End, PackedReads, Read, Recording, Request

texts = st.text(max_size=20)
times = st.floats(allow_nan=False)
headers = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
bodies = st.one_of(st.binary(max_size=40), texts.map(lambda t: t.encode("utf-8", "surrogatepass")))
facts = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers() | times | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
recordings = st.builds(
    Recording,
    label=texts,
    request=st.builds(Request, texts, texts, headers, bodies),
    sent_at=times,
    status=st.none() | st.integers(100, 599),
    http_version=texts,
    headers=headers,
    head_at=st.none() | times,
    reads=st.lists(st.builds(Read, times, bodies), max_size=4).flatmap(
        lambda reads: st.sampled_from([tuple(reads), PackedReads.pack(reads)])
    ),
    end=st.sampled_from(End),
    ended_at=times,
    error=texts,
    surplus=bodies,
    info=facts,
)
bundles = st.builds(
    Bundle,
    scenario=texts,
    recordings=st.lists(recordings, max_size=3).map(tuple),
    facts=facts,
    unable=texts,
    broken=texts,
    finished_at=times,
)

EXAMPLE = Bundle(
    "full run",
    (
        Recording(
            "reader 1",
            Request("GET", "http://target/stream"),
            0.0,
            200,
            reads=(Read(0.5, b"data: \xc3"), Read(0.6, b"\xa9\n\n:" + b" " * 4096)),
            end=End.COMPLETE,
        ),
    ),
)


def content(value: Any) -> Any:
    """Everything that a bundle or recording holds, comparable."""
    if isinstance(value, Bundle | Recording):
        return {field.name: content(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, PackedReads):
        return ("packed", list(value))
    return [content(item) for item in value] if isinstance(value, list | tuple) else value


@settings(max_examples=60, deadline=None)
@given(meta=facts, run=st.lists(bundles, max_size=3))
def test_what_is_loaded_is_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, meta: dict[str, Any], run: list[Bundle]
) -> None:
    """Every field of every recording survives, byte for byte and time for time."""
    path = tmp_path_factory.mktemp("trace") / "run.trace.gz"
    trace.save(path, meta, run)
    loaded_meta, loaded = trace.load(path)
    assert loaded_meta == meta
    assert content(loaded) == content(run)


def test_a_trace_can_be_searched_with_zcat_and_grep(tmp_path: Path) -> None:
    """Bodies that are text stay readable in the file."""
    path = tmp_path / "run.trace.gz"
    trace.save(path, {}, [EXAMPLE])
    assert b"data: \\u00e9\\n\\n:" in gzip.decompress(path.read_bytes())


def test_padding_costs_next_to_nothing_in_the_file(tmp_path: Path) -> None:
    """A megabyte of padded frames takes a few per cent of that on the disk."""
    frame = b"id: 1\ndata: {}\n\n:" + b" " * 4078 + b"\n"
    reads = tuple(Read(float(at), frame) for at in range(256))
    recording = Recording("r", Request("GET", "/"), 0.0, 200, reads=reads)
    path = tmp_path / "run.trace.gz"
    trace.save(path, {}, [Bundle("s", (recording,))])
    assert path.stat().st_size < 0.03 * 256 * len(frame)


def test_the_same_run_makes_the_same_file(tmp_path: Path) -> None:
    """No clock and no name of the machine is in the file, so traces can be compared as bytes."""
    for name in ("a", "b"):
        trace.save(tmp_path / name, {}, [EXAMPLE])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_save_leaves_the_old_trace_and_nothing_else(tmp_path: Path) -> None:
    """The file is replaced whole or not at all."""
    path = tmp_path / "run.trace.gz"
    trace.save(path, {}, [EXAMPLE])
    before = path.read_bytes()
    with pytest.raises(TypeError):
        trace.save(path, {}, [EXAMPLE, Bundle("s", facts={"not": object()})])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def _rewrite(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        path.write_bytes(gzip.compress(b"".join(change(lines))))

    return apply


def _with(number: int, **members: Any) -> Callable[[list[bytes]], list[bytes]]:
    def change(lines: list[bytes]) -> list[bytes]:
        row = {**json.loads(lines[number]), **members}
        return [*lines[:number], json.dumps(row).encode() + b"\n", *lines[number + 1 :]]

    return change


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_bytes(b""), "not a trace"),
        (lambda path: path.write_bytes(b"PK\x03\x04 something else"), "not a trace"),
        (lambda path: path.write_bytes(gzip.compress(b"\xff\xfe")), "not a trace"),
        (lambda path: path.write_bytes(gzip.compress(b"[1]\n")), "not a trace"),
        (lambda path: path.write_bytes(gzip.compress(b'{"a": 1}\n')), "not a trace"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "cut off or damaged"),
        (_rewrite(_with(0, version=trace.VERSION + 1)), "newer than"),
        (_rewrite(_with(0, version="1")), "newer than"),
        (_rewrite(lambda lines: lines[:-1]), "cut off after 1 bundles"),
        (_rewrite(lambda lines: lines[:2]), "cut off after 0 bundles"),
        (_rewrite(lambda lines: [*lines, lines[1]]), "damaged"),
        (_rewrite(lambda lines: [*lines[:1], *lines[-1:]]), "damaged"),
        (_rewrite(_with(2, read_sizes=[1, 2])), "damaged"),
        (_rewrite(_with(2, read_sizes=[-1, 5000])), "damaged"),
        (_rewrite(_with(2, body={"base64": "?"})), "damaged"),
        (_rewrite(_with(2, body=None)), "damaged"),
        (_rewrite(_with(2, end="unheard of")), "damaged"),
        (_rewrite(_with(2, request=[])), "damaged"),
        (_rewrite(_with(1, recordings="one")), "damaged"),
    ],
    ids=[
        "absent",
        "empty",
        "zip",
        "binary",
        "json-list",
        "other-json",
        "cut-gzip",
        "newer",
        "odd-version",
        "no-last-line",
        "no-recording",
        "line-too-many",
        "bundle-too-few",
        "sizes-do-not-add-up",
        "negative-size",
        "bad-base64",
        "no-body",
        "unknown-end",
        "no-request",
        "odd-count",
    ],
)
def test_a_file_that_is_no_whole_trace_is_refused_in_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], Any], says: str
) -> None:
    """Whatever the file holds, loading it ends in a TraceError that names the file and says why."""
    path = tmp_path / "run.trace.gz"
    trace.save(path, {}, [EXAMPLE])
    spoil(path)
    with pytest.raises(trace.TraceError, match=says) as caught:
        trace.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trace_beyond_the_bound_is_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file cannot make the reader take up any amount of memory."""
    path = tmp_path / "run.trace.gz"
    trace.save(path, {}, [EXAMPLE])
    monkeypatch.setattr(trace, "TRACE_BYTES_MAX", 4096)
    with pytest.raises(trace.TraceError, match="larger than the 4096 bytes"):
        trace.load(path)
    with pytest.raises(trace.TraceError, match="at most 4096 bytes"):
        trace.save(tmp_path / "other", {}, [EXAMPLE])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
