"""Traces are told by their first line, read row by row, and a bad row is named."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest

from pools.simulator.traces import TraceRequest, read_trace, trace_format
from portal.lib.errors import DomainError

AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
)
AZURE_WITH_ZONE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n"
SERVEGEN = "t_s,client,input_tokens,output_tokens\n5.00,143,621,3\n5.25,102,14,64\n"
MOONCAKE = (
    '{"timestamp": 1000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}\n'
    '{"timestamp": 1250, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}\n'
)


def write(folder: Path, text: str, *, zipped: bool = False) -> Path:
    path = folder / "what-ever.bin"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        (AZURE, "azure", [TraceRequest(0.0, "", 374, 44), TraceRequest(4.314579, "", 396, 109)]),
        (AZURE_WITH_ZONE, "azure", [TraceRequest(0.0, "", 2162, 5)]),
        (SERVEGEN, "servegen", [TraceRequest(0.0, "143", 621, 3), TraceRequest(0.25, "102", 14, 64)]),
        (
            MOONCAKE,
            "mooncake",
            [TraceRequest(0.0, "", 6758, 500, (0, 1, 2)), TraceRequest(0.25, "", 7322, 490, (0, 14))],
        ),
    ],
)
def test_the_first_line_tells_the_format_and_time_begins_at_zero(
    tmp_path: Path, text: str, name: str, expected: list[TraceRequest], zipped: bool
) -> None:
    path = write(tmp_path, text, zipped=zipped)
    assert trace_format(path) == name
    read = list(read_trace(path))
    assert [(row.client, row.input_tokens, row.output_tokens, row.prefix) for row in read] == [
        (row.client, row.input_tokens, row.output_tokens, row.prefix) for row in expected
    ]
    assert [row.at_s for row in read] == pytest.approx([row.at_s for row in expected], abs=1e-5)


def test_columns_may_stand_in_any_order_with_others_between(tmp_path: Path) -> None:
    text = "client,extra,output_tokens,T_S,input_tokens\nacme,x,7,0.5,9\n\n"
    assert list(read_trace(write(tmp_path, text))) == [TraceRequest(0.0, "acme", 9, 7)]


def test_a_mark_at_the_beginning_and_other_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + SERVEGEN.replace("\n", "\r\n").encode())
    assert [row.client for row in read_trace(path)] == ["143", "102"]


def test_swapped_neighbours_share_a_moment(tmp_path: Path) -> None:
    text = "t_s,client,input_tokens,output_tokens\n0,a,1,1\n3.0,b,1,1\n2.5,c,1,1\n4,d,1,1\n"
    assert [row.at_s for row in read_trace(write(tmp_path, text))] == [0.0, 3.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("", "unknown_trace", "empty line"),
        ("a,b,c\n1,2,3\n", "unknown_trace", "TIMESTAMP,ContextTokens,GeneratedTokens"),
        ('{"a": 1}\n', "unknown_trace", "JSON lines with timestamp"),
        ("{" * 50_000 + "\n", "unknown_trace", "Known traces"),
        (SERVEGEN.splitlines()[0] + "\n", "bad_trace", "no requests"),
        (
            SERVEGEN + "6,1,two,3\n",
            "bad_trace",
            "line 4: input_tokens 'two'; allowed: a whole number from 0",
        ),
        (SERVEGEN + "6,1,-2,3\n", "bad_trace", "line 4: input_tokens '-2'"),
        (SERVEGEN + "6,1,2.5,3\n", "bad_trace", "line 4: input_tokens '2.5'"),
        (SERVEGEN + "6,1,2,99999999999\n", "bad_trace", "line 4: output_tokens '99999999999'"),
        (SERVEGEN + "nan,1,2,3\n", "bad_trace", "line 4: t_s 'nan'; allowed: a finite number"),
        (SERVEGEN + "6,,2,3\n", "bad_trace", "line 4: client ''"),
        (SERVEGEN + "6,1,2\n", "bad_trace", "line 4: 3 columns; allowed: 4"),
        (SERVEGEN + "1,1,2,3\n", "bad_trace", "line 4: a time 4.2 s before the row above"),
        (SERVEGEN + "7" * 2_000_000, "bad_trace", "line 4: a line without an end"),
        (AZURE + "yesterday,1,2\n", "bad_trace", "line 4: TIMESTAMP 'yesterday'"),
        (MOONCAKE + "[1]\n", "bad_trace", "line 3: '[1]'; allowed: one JSON object a line"),
        (MOONCAKE + '{"timestamp": 2000\n', "bad_trace", "line 3"),
        (MOONCAKE + '{"timestamp": 2000, "output_length": 1}\n', "bad_trace", "line 3: input_length None"),
        (
            MOONCAKE + '{"timestamp": 2000, "input_length": true, "output_length": 1}\n',
            "bad_trace",
            "input_length 'True'",
        ),
        (
            MOONCAKE + '{"timestamp": 2000, "input_length": 1, "output_length": 1, "hash_ids": "x"}\n',
            "bad_trace",
            "hash_ids",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, code: str, told: str) -> None:
    with pytest.raises(DomainError) as refused:
        list(read_trace(write(tmp_path, text)))
    assert refused.value.code == code
    assert told in refused.value.sentence


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(DomainError, match="cannot be read"):
            list(read_trace(path))


def test_a_torn_gzip_file_is_said_after_its_good_rows(tmp_path: Path) -> None:
    rows = "".join(f"{at},{at % 7},{at * 37 % 1000},{at * 91 % 500}\n" for at in range(20_000))
    path = tmp_path / "torn.gz"
    path.write_bytes(gzip.compress((SERVEGEN.splitlines()[0] + "\n" + rows).encode())[:60_000])
    reader = read_trace(path)
    assert len(list(itertools.islice(reader, 100))) == 100
    with pytest.raises(DomainError, match="damaged gzip data"):
        list(reader)


def test_a_trace_is_never_read_whole(tmp_path: Path) -> None:
    """The first requests come before a row far behind them is looked at."""
    path = write(tmp_path, SERVEGEN + "6,1,2,3\n" * 50_000 + "broken\n")
    assert len(list(itertools.islice(read_trace(path), 10))) == 10
