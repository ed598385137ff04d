"""The commands that query an archive and verify zips, with a served archive: in-process, and as shell pipelines."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crypto_lakehouse.cli import app
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "workflows" / "discover.md"
COMMAND = f'exec "{sys.executable}" -c "from crypto_lakehouse.cli import app; app()" "$@"\n'
UM = ("--market", "um", "--table", "klines_1m")
SPOT = ("--market", "spot", "--table", "klines_1m")
UM_KLINES, SPOT_KLINES = "data/futures/um/daily/klines", "data/spot/daily/klines"
MONTHS = "data/futures/um/monthly/klines"

# What the sample may not have: (folder, symbol), each with one file of 2024-12-27.
MORE = [
    (UM_KLINES, "BTCUSDT_250328"),
    (UM_KLINES, "ICPUSDT_SETTLED"),
    (UM_KLINES, "BTCUSDC"),
    (SPOT_KLINES, "BTCUPUSDT"),
    (SPOT_KLINES, "FDUSDUSDT"),
    (SPOT_KLINES, "ETHBTC"),
    (SPOT_KLINES, "币安人生USDT"),
]

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with more kinds of symbols, a missing day and two monthly files."""
    folder = tmp_path_factory.mktemp("archive")
    make_sample(folder, symbols=3, days=4)
    for place, symbol in MORE:
        put(folder, f"{place}/{symbol}/1m/{symbol}-1m-2024-12-27.zip")
    for month in ("2024-09", "2024-11"):
        put(folder, f"{MONTHS}/BTCUSDT/1m/BTCUSDT-1m-{month}.zip")
    for path in (folder / UM_KLINES / "ETHUSDT/1m").glob("*2024-12-28.zip*"):
        path.unlink()
    return folder


def put(folder: Path, key: str) -> None:
    path = folder / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(key.encode())
    path.with_name(f"{path.name}.CHECKSUM").write_text("not asked for")


@pytest.fixture(scope="module")
def settings(archive: Path) -> Iterator[dict[str, str]]:
    with ArchiveServer(archive) as server:
        yield {
            "LAKEHOUSE_ARCHIVE_URL": server.url.replace("http://", "http://user:hunter2@"),
            "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
            "LAKEHOUSE_RETRIES": "1",
        }


@pytest.fixture
def call(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in [name for name in os.environ if name.startswith("LAKEHOUSE_")]:
        monkeypatch.delenv(name)

    def invoke(*arguments: str, data: bytes | None = None, **more: str) -> Result:
        return CliRunner().invoke(app, ["archive", *arguments], input=data, env={**settings, **more})

    return invoke


def symbols_of(archive: Path, folder: str) -> list[str]:
    return sorted(path.name for path in (archive / folder).iterdir())


def keys_of(archive: Path, pattern: str) -> list[str]:
    found = [str(path.relative_to(archive)) for path in archive.glob(pattern)]
    return sorted(found, key=lambda key: (key.split("/")[-3], key))


@pytest.mark.requirement("F2.8")
def test_all_symbols_are_printed(archive: Path, call: Run) -> None:
    done = call("symbols", *UM)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == symbols_of(archive, UM_KLINES)
    by_type = call("symbols", "--market", "um", "--type", "klines", "--interval", "1m")
    assert by_type.stdout == done.stdout


@pytest.mark.requirement("F2.8")
@pytest.mark.parametrize(
    ("market", "options", "there", "absent"),
    [
        (UM, "--quote USDC", "BTCUSDC", "BTCUSDT ETHUSDT BTCUSDT_250328"),
        (UM, "--quote USDC,USDT", "BTCUSDC BTCUSDT", ""),
        (UM, "--contract delivery", "BTCUSDT_250328", "BTCUSDT BTCUSDC"),
        (UM, "--contract perpetual", "BTCUSDT ICPUSDT_SETTLED", "BTCUSDT_250328"),
        (UM, "--no-settled", "BTCUSDT", "ICPUSDT_SETTLED"),
        (UM, "--symbols BTC*,!BTCUSDC", "BTCUSDT BTCUSDT_250328", "BTCUSDC ETHUSDT"),
        (SPOT, "", "BTCUSDT FDUSDUSDT ETHBTC 币安人生USDT", "BTCUPUSDT"),
        (SPOT, "--leveraged", "BTCUPUSDT BTCUSDT", ""),
        (SPOT, "--no-stable", "BTCUSDT", "FDUSDUSDT"),
        (SPOT, "--symbols BTCUPUSDT,ETHBTC --quote BTC", "BTCUPUSDT ETHBTC", "BTCUSDT"),
    ],
)
def test_filters(call: Run, market: tuple[str, ...], options: str, there: str, absent: str) -> None:
    done = call("symbols", *market, *options.split())
    printed = set(done.stdout.splitlines())
    assert (done.exit_code, done.stderr) == (0, "")
    assert set(there.split()) <= printed
    assert not set(absent.split()) & printed


@pytest.mark.requirement("F2.8")
def test_symbols_as_json_have_the_facts_of_their_names(call: Run) -> None:
    done = call("symbols", *UM, "--json", "--symbols", "BTCUSDT_250328,BTCUSDC")
    one, two = (json.loads(line) for line in done.stdout.splitlines())
    assert (one["symbol"], one["quote_asset"], one["contract_type"]) == ("BTCUSDC", "USDC", "perpetual")
    assert (two["symbol"], two["delivery_date"], two["contract_type"]) == ("BTCUSDT_250328", "2025-03-28", "delivery")


@pytest.mark.requirement("F2.8")
def test_dates_are_counted_per_symbol(call: Run) -> None:
    done = call("dates", *UM, "ETHUSDT", "BTCUSDT", "BTCUSDC")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        ["BTCUSDC", "2024-12-27", "2024-12-27", "1", "0"],
        ["BTCUSDT", "2024-12-27", "2024-12-30", "4", "0"],
        ["ETHUSDT", "2024-12-27", "2024-12-30", "3", "1"],
    ]
    ranged = call("dates", *UM, "--from", "2024-12-28", "--to", "2024-12-29", "--symbols", "ETHUSDT,BTCUSDC")
    assert ranged.stdout == "BTCUSDC\t-\t-\t0\t0\nETHUSDT\t2024-12-29\t2024-12-29\t1\t0\n"
    objects = call("dates", *UM, "ETHUSDT", "BTCUSDC", "--json", "--from", "2024-12-28")
    assert [json.loads(line) for line in objects.stdout.splitlines()] == [
        {"symbol": "BTCUSDC", "first": None, "last": None, "files": 0, "missing": 0},
        {"symbol": "ETHUSDT", "first": "2024-12-29", "last": "2024-12-30", "files": 2, "missing": 0},
    ]


@pytest.mark.requirement("F2.8")
def test_every_date_is_listed(call: Run) -> None:
    done = call("dates", *UM, "--list", "ETHUSDT", "BTCUSDC", "--to", "2024-12-29")
    assert done.stdout == "BTCUSDC\t2024-12-27\nETHUSDT\t2024-12-27\nETHUSDT\t2024-12-29\n"
    objects = call("dates", *UM, "--list", "--json", "BTCUSDC")
    assert json.loads(objects.stdout) == {"symbol": "BTCUSDC", "date": "2024-12-27"}


@pytest.mark.requirement("F2.8")
def test_monthly_files_of_a_daily_feed(archive: Path, call: Run) -> None:
    assert call("dates", *UM, "--monthly").stdout == "BTCUSDT\t2024-09\t2024-11\t2\t1\n"
    # The range begins within the month.
    files = call("files", *UM, "--monthly", "--from", "2024-11-20", "--to", "2024-12-31")
    assert files.stdout == f"{MONTHS}/BTCUSDT/1m/BTCUSDT-1m-2024-11.zip\n"
    funding = call("files", "--market", "um", "--type", "fundingRate")
    assert funding.stdout.splitlines() == keys_of(archive, "data/futures/um/monthly/fundingRate/*/*.zip")


@pytest.mark.requirement("F2.8")
def test_files_lists_the_keys_of_the_archive(archive: Path, call: Run) -> None:
    keys = keys_of(archive, f"{UM_KLINES}/*/1m/*.zip")
    done = call("files", *UM)
    assert (done.exit_code, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(keys)
    named = call("files", *UM, "ETHUSDT", "BTCUSDT", "BTCUSDT", "--to", "2024-12-28")
    assert [Path(key).stem for key in named.stdout.splitlines()] == [
        "BTCUSDT-1m-2024-12-27",
        "BTCUSDT-1m-2024-12-28",
        "ETHUSDT-1m-2024-12-27",
    ]


@pytest.mark.requirement("F2.8", "F1.2")
def test_files_as_json_and_as_urls(archive: Path, call: Run) -> None:
    done = call("files", *SPOT, "币安人生USDT", "--json")
    one = json.loads(done.stdout)
    body = (archive / one["key"]).read_bytes()
    assert (one["symbol"], one["period"], one["size"]) == ("币安人生USDT", "2024-12-27", len(body))
    assert one["etag"] == hashlib.md5(body).hexdigest()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", one["last_modified"])
    addresses = call("files", *SPOT, "币安人生USDT", "--urls")
    assert addresses.stdout == f"{one['url']}\n"
    assert "hunter2" not in done.stdout + addresses.stdout
    with urllib.request.urlopen(one["url"]) as answer:
        assert answer.read() == body


@pytest.mark.requirement("F2.8")
@pytest.mark.parametrize(
    "data",
    [
        "ETHUSDT\nBTCUSDC\n",
        "\ufeffBTCUSDC\r\n\r\nETHUSDT\r\nBTCUSDC",
        "ETHUSDT\t2024-12-27\t2024-12-30\t3\t1\nBTCUSDC\t-\n",
        '{"symbol": "BTCUSDC", "first": null}\n{"files": 1, "symbol": "ETHUSDT"}\n',
    ],
)
def test_names_from_stdin(call: Run, data: str) -> None:
    done = call("dates", *UM, "-", data=data.encode())
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["BTCUSDC", "ETHUSDT"]
    both = call("dates", *UM, "BTCUSDT", "-", data=data.encode())
    assert [line.split("\t")[0] for line in both.stdout.splitlines()] == ["BTCUSDC", "BTCUSDT", "ETHUSDT"]


@pytest.mark.requirement("F2.8")
@pytest.mark.parametrize("command", ["dates", "files"])
def test_unknown_names_are_reported_after_the_known_ones(call: Run, command: str) -> None:
    done = call(command, *UM, "NOPEUSDT", "BTCUSDC", "-", data=b"GONEUSDT\nNOPEUSDT\n")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 1
    assert "BTCUSDC" in done.stdout
    assert re.findall(r"klines_1m for (\w+)", done.stderr) == ["NOPEUSDT", "GONEUSDT"]
    patterns = call(command, *UM, "--symbols", "BTCUSDC,XX*")
    assert patterns.exit_code == 1
    assert patterns.stdout == done.stdout
    assert "klines_1m for XX*" in patterns.stderr
    assert call("symbols", *UM, "--symbols", "BTCUSDC,XX*").exit_code == 1


@pytest.mark.requirement("F2.8", "T7")
def test_malformed_symbols_on_stdin_are_named(call: Run) -> None:
    lines = [b"../etc/passwd", b"BTCUSDC", b'{"symbol": 5}', b'["BTCUSDT"]', b"{" * 9000, b"\xff\x1b[31m", b"{}"]
    done = call("files", *UM, "-", data=b"\n".join(lines))
    assert done.exit_code == 1
    assert done.stdout == f"{UM_KLINES}/BTCUSDC/1m/BTCUSDC-1m-2024-12-27.zip\n"
    assert [line.split(":")[1] for line in done.stderr.splitlines()] == [
        f" line {number} of standard input" for number in (1, 3, 4, 5, 6, 7)
    ]
    assert "\x1b" not in done.stderr
    assert len(done.stderr) < 2000


@pytest.mark.requirement("F2.8")
def test_empty_stdin_lists_nothing(call: Run) -> None:
    done = call("files", *UM, "-", data=b"\n")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "has no symbol" in done.stderr


@pytest.mark.requirement("F2.8")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("symbols --market um", "name a table (--table klines_1m)"),
        ("symbols --market um --table klines_1s", "only in spot"),
        ("symbols --market nowhere --table klines_1m", "nowhere"),
        ("symbols --market um --type klines", "one of 1m"),
        ("symbols --market um --table klines_1m --quote XYZ", "XYZ"),
        ("symbols --market um --table klines_1m --contract swap", "'swap'"),
        ("symbols --market um --table klines_1m --symbols ../x", "not a symbol"),
        ("dates --market um --table klines_1m ../x", "not a symbol"),
        ("dates --market um --table klines_1m --from 2024-02-30", "2024-02-30"),
        ("dates --market um --table klines_1m --from 2024-12-31 --to 2024-12-30", "before it starts"),
        ("files --market um --table open_interest --monthly", "no monthly files"),
        ("files --market um --table klines_1m BTCUSDT --quote USDT", "filters and from the arguments"),
        ("files --market um --table klines_1m - --symbols BTC*", "filters and from the arguments"),
        ("verify nowhere", "not a folder"),
        ("verify pyproject.toml", "not a folder"),
    ],
)
def test_wrong_usage_exits_with_2(call: Run, arguments: str, message: str) -> None:
    done = call(*arguments.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.requirement("F2.8")
@pytest.mark.parametrize("command", ["symbols", "dates", "files"])
def test_an_unreachable_archive_exits_with_1(call: Run, command: str) -> None:
    done = call(command, *UM, LAKEHOUSE_ARCHIVE_LISTING_URL="http://127.0.0.1:9/listing")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "cannot list" in done.stderr
    assert "127.0.0.1:9" in done.stderr
    assert call(command, *UM, LAKEHOUSE_RETRIES="0").exit_code == 2


@pytest.fixture
def zips(archive: Path, tmp_path: Path) -> Path:
    """Six good zips, of which one loses its CHECKSUM and one a byte."""
    folder = tmp_path / "zips"
    shutil.copytree(archive / UM_KLINES / "BTCUSDT", folder / "a")
    for path in (folder / "a/1h").glob("*2024-12-2[89]*"):
        path.unlink()
    (folder / "a/1m/BTCUSDT-1m-2024-12-28.zip.CHECKSUM").unlink()
    damaged = folder / "a/1m/BTCUSDT-1m-2024-12-30.zip"
    body = bytearray(damaged.read_bytes())
    body[200] ^= 1
    damaged.write_bytes(body)
    return folder


@pytest.mark.requirement("F2.9")
def test_verify_prints_damaged_zips(zips: Path, call: Run) -> None:
    done = call("verify", str(zips))
    assert done.exit_code == 1
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(status, Path(path).name) for status, path, _ in rows] == [
        ("checksum_missing", "BTCUSDT-1m-2024-12-28.zip"),
        ("checksum_mismatch", "BTCUSDT-1m-2024-12-30.zip"),
        ("corrupt", "BTCUSDT-1m-2024-12-30.zip"),
    ]
    assert done.stderr == "6 files checked, 2 bad, 1 checksum_mismatch, 1 checksum_missing, 1 corrupt\n"
    every = call("verify", str(zips), "--all")
    assert sum(line.startswith("ok\t") for line in every.stdout.splitlines()) == 4
    objects = [json.loads(line) for line in call("verify", str(zips), "--json").stdout.splitlines()]
    assert [[one["status"], one["path"], one["detail"]] for one in objects] == rows


@pytest.mark.requirement("F2.9")
def test_verify_of_good_zips_and_of_paths_from_stdin(zips: Path, call: Run) -> None:
    good = call("verify", str(zips / "a/1h"))
    assert (good.exit_code, good.stdout, good.stderr) == (0, "", "2 files checked, 0 bad\n")
    paths = [*sorted((zips / "a/1m").glob("*.zip")), zips / "odd\tname.zip"]
    done = call("verify", "-", data=b"\n".join(os.fsencode(path) for path in paths[2:]))
    assert done.exit_code == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["checksum_mismatch", "corrupt", "unreadable"]
    assert "odd?name.zip" in done.stdout
    assert call("verify", "-", data=b"").exit_code == 0


@pytest.mark.requirement("F2.9")
def test_verify_of_a_folder_without_zips_fails(tmp_path: Path, call: Run) -> None:
    done = call("verify", str(tmp_path))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no zip file" in done.stderr


@pytest.mark.requirement("F7.5")
@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("symbols", "--market --table --type --interval --quote --contract --no-stable --leveraged --no-settled"),
        ("dates", "SYMBOL --symbols --from --to --list --monthly --json --exchange"),
        ("files", "SYMBOL --symbols --from --to --urls --monthly --json --exchange"),
        ("verify", "DIR --all --json"),
    ],
)
def test_help_names_every_option(call: Run, command: str, options: str) -> None:
    done = call(command, "--help", COLUMNS="200", NO_COLOR="1")
    assert done.exit_code == 0
    assert [option for option in options.split() if option not in done.stdout] == []


@pytest.fixture
def shell(settings: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs bash lines in which ``crypto-lakehouse`` is a process of this code."""
    program = tmp_path / "bin" / "crypto-lakehouse"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{COMMAND}", encoding="utf-8")
    program.chmod(0o755)
    # Without PYTHONUNBUFFERED, because lines are held back and then written together, as they are for everyone.
    kept = {n: value for n, value in os.environ.items() if not n.startswith(("LAKEHOUSE_", "PYTHONUNBUFFERED"))}
    path = f"{program.parent}:{os.environ['PATH']}"
    env = {**kept, **settings, "PATH": path, "TERM": "xterm", "COLUMNS": "100"}

    def run(lines: str, **more: object) -> subprocess.CompletedProcess[str]:
        # After `head` has enough, `sort` may end by the signal of a closed pipe: so no pipefail.
        command = ["bash", "-c", f"set -eu\n{lines}"]
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.run(command, cwd=tmp_path, env=env, text=True, timeout=120, **given)  # type: ignore[call-overload, no-any-return]

    return run


Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.requirement("F2.8")
def test_a_real_pipeline(archive: Path, shell: Shell) -> None:
    table = "--market um --table klines_1m"
    done = shell(
        f"crypto-lakehouse archive symbols {table} --quote USDC | tee names"
        f" | LC_ALL=C PYTHONUTF8=0 crypto-lakehouse archive dates {table} --json"
        f" | crypto-lakehouse archive files {table} | xargs -n 1 basename\n"
        f"crypto-lakehouse archive files {table} < names\n"
        f"true | crypto-lakehouse archive files {table}\n"
        f"true | crypto-lakehouse archive files {table} --quote USDT || echo $?"
    )
    name = "BTCUSDC-1m-2024-12-27.zip"
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [name, f"{UM_KLINES}/BTCUSDC/1m/{name}", "2"]
    empty, mixed = done.stderr.splitlines()
    assert "has no symbol" in empty
    assert "< /dev/null" in mixed


@pytest.mark.requirement("F2.8", "F2.9")
@pytest.mark.parametrize(
    "command",
    [
        # The command notices at the flush of the last lines or, with more lines than the buffer holds, before.
        "archive files --market spot --table klines_1m",
        "archive verify - --json < paths",
    ],
)
def test_a_closed_pipe_ends_the_command_quietly(tmp_path: Path, shell: Shell, command: str) -> None:
    (tmp_path / "paths").write_text("nowhere.zip\n" * 2000)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = shell(f"crypto-lakehouse {command}", stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def read_terminal(shell: Shell, command: str, **more: object) -> tuple[subprocess.CompletedProcess[str], str]:
    """The finished process, and all that it wrote to the terminal that is its stderr."""
    master, terminal = pty.openpty()
    try:
        done = shell(command, stderr=terminal, **dict.fromkeys(more, terminal))
        os.set_blocking(master, False)
        return done, os.read(master, 1 << 20).decode()
    finally:
        os.close(terminal)
        os.close(master)


@pytest.mark.requirement("F2.8", "F2.9")
def test_a_progress_bar_is_shown_only_on_a_terminal(zips: Path, shell: Shell) -> None:
    files = "crypto-lakehouse archive dates --market um --table klines_1m BTCUSDT"
    done, shown = read_terminal(shell, files)
    assert done.stdout == "BTCUSDT\t2024-12-27\t2024-12-30\t4\t0\n"
    assert "BTCUSDT" in shown
    assert "━" in shown
    assert "━" not in shell(files).stderr

    # Bar and lines share a terminal: the lines come whole, after the bar.
    _, shown = read_terminal(shell, f"crypto-lakehouse archive verify '{zips}' || true", stdout=True)
    lines = [line for line in shown.replace("\r", "").split("\n") if line.startswith("corrupt\t")]
    assert len(lines) == 1
    assert shown.rindex("━") < shown.index("checksum_missing\t")


def examples() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.requirement("F2.8", "F2.9")
def test_the_examples_of_the_page_run(shell: Shell) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the page downloads with curl, which is not installed")
    blocks = examples()
    assert len(blocks) == 5
    for block in blocks:
        done = shell(block)
        assert (done.returncode, "error" in done.stderr) == (0, False), f"{block}\n{done.stdout}\n{done.stderr}"
        assert done.stdout
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["ok", "ok"]
