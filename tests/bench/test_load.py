"""``de39 load`` from the outside: exit codes, the JSON line and clear errors."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from bench import load
from bench.echo import echo_process
from bench.frames import test_pan
from bench.load import parse_target
from tests.oracle.host import Host, reply_to


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """Start the echo server as its own process."""
    with echo_process() as port:
        yield port


def test_json_is_one_object_on_the_last_line(echo_port: int, capsys) -> None:
    """The promised names are there, progress is on stderr only, no card number anywhere."""
    load.run(
        target=f"127.0.0.1:{echo_port}",
        rate=5_000,
        seconds=1.2,
        warmup=0.2,
        cards=100,
        repeat_share=0.1,
        reversal_share=0.1,
        json=True,
    )
    output = capsys.readouterr()
    result = json.loads(output.out.splitlines()[-1])
    names = "sent answered approved declined lost errors seconds tps p50_us p99_us p999_us max_us"
    names += " connections rate doubled swapped late_sends responses"
    assert set(names.split()) <= set(result)
    assert result["sent"] == result["answered"] == result["responses"]["00"] > 6_000
    assert (result["lost"], result["errors"], result["rate"]) == (0, 0, 5_000)
    assert "sent" in output.err
    assert not any(test_pan(card) in output.out + output.err for card in range(100))


def test_a_stream_is_played(echo_port: int, tmp_path: Path, capsys) -> None:
    """--stream takes payments from parquet; without --json the result is a table."""
    file = tmp_path / "stream.parquet"
    query = "SELECT range::INTEGER t_seconds, 1 customer_id, 2 terminal_id, 500 amount_cents"
    with duckdb.connect() as connection:
        connection.sql(f"{query}, 2 fraud_scenario FROM range(50)").write_parquet(str(file))
    target = f"127.0.0.1:{echo_port}"
    load.run(target=target, closed=4, seconds=0.2, warmup=0.0, stream=file)
    output = capsys.readouterr().out
    assert "lost, doubled, swapped   0, 0, 0" in output
    assert "genuine, declined        0" in output


def test_lost_answers_exit_1(capsys) -> None:
    """A host that drops answers makes the exit code 1, after the summary."""
    with (
        Host(lambda n, request: [] if n == 5 else [reply_to(request)]) as host,
        pytest.raises(SystemExit) as caught,
    ):
        load.run(
            target=f"127.0.0.1:{host.address[1]}",
            rate=200,
            seconds=0.2,
            warmup=0.0,
            drain=0.2,
            json=True,
        )
    assert caught.value.code == 1
    assert json.loads(capsys.readouterr().out)["lost"] == 1


def test_a_broken_connection_exits_69_after_the_summary(capsys) -> None:
    """A host that dies is one line on stderr; what was answered is still reported."""
    with Host(close_after=20) as host, pytest.raises(SystemExit) as caught:
        load.run(target=f"127.0.0.1:{host.address[1]}", rate=500, warmup=0.0, json=True)
    output = capsys.readouterr()
    assert caught.value.code == 69
    assert output.err.splitlines()[-1].startswith("de39 load: 127.0.0.1:")
    assert json.loads(output.out)["answered"] >= 15


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ({"target": "127.0.0.1:1"}, 69, "cannot connect: connection refused"),
        ({"target": "nowhere"}, 2, "is not HOST:PORT"),
        ({"target": "h:1", "dialect": "iso93"}, 2, "dialect 'iso93' is not one of"),
        ({"target": "h:1", "rate": 5.0, "closed": 2}, 2, "either a rate"),
        ({"target": "h:1", "cards": 0}, 2, "cards must be 1 or more"),
        ({"target": "h:1", "rate": 0.001}, 2, "less than one payment"),
        ({"target": "h:1", "stream": Path("/nonexistent.parquet")}, 2, "no such file"),
    ],
)
def test_errors_are_one_line_with_their_exit_code(arguments, code, message, capsys) -> None:
    """Bad arguments are 2, an unreachable host is 69, each with one line."""
    with pytest.raises(SystemExit) as caught:
        load.run(**arguments, seconds=1.0)
    error = capsys.readouterr().err
    assert caught.value.code == code
    assert message in error
    assert error.count("\n") == 1


def test_targets_are_split() -> None:
    """HOST:PORT and [v6]:PORT are taken, anything else is refused."""
    assert parse_target("localhost:8583") == ("localhost", 8583)
    assert parse_target("[::1]:8583") == ("::1", 8583)
    for bad in ("8583", ":8583", "h:", "h:0", "h:65536", "h:+1"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            parse_target(bad)
