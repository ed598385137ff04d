"""Unknown symbols at the command line are refused with similar names, before a run starts or a lake exists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.test_cli import run

DAY = ("--from", "2024-12-27", "--to", "2024-12-27")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings for a served archive of two coins."""
    folder = tmp_path_factory.mktemp("archive")
    make_sample(folder, symbols=2, days=1)
    with ArchiveServer(folder) as server:
        yield {
            "LAKEHOUSE_ARCHIVE_URL": server.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
            "LAKEHOUSE_RETRIES": "1",
        }


@pytest.mark.requirement("F1.6", "F7.3")
@pytest.mark.parametrize(
    ("market", "symbols", "setting", "message"),
    [
        ("um", "BTCUSDX", "", "the archive has no symbol BTCUSDX (did you mean BTCUSDT?) in binance/um/klines_1m"),
        ("um", "btcusdt,BTC-USDT", "", "btcusdt (did you mean BTCUSDT?), BTC-USDT (did you mean BTCUSDT?)"),
        ("cm", "BTCUSDT", "", "the archive has no symbol BTCUSDT (did you mean BTCUSD_PERP?) in binance/cm"),
        ("um", "XRP*,*EUR", "", "XRP*,*EUR selects no symbol of binance/um/klines_1m"),
        ("um", "", "BTCUSDT,ETHUSTD", "LAKEHOUSE_SYMBOLS: the archive has no symbol ETHUSTD (did you mean ETHUSDT"),
        ("cm", "", "BTCUSDT", "BTCUSDT selects no symbol of binance/cm/klines_1m in the archive; did you mean BTC"),
    ],
)
def test_backfill_refuses_unknown_symbols_before_a_run(
    tmp_path: Path, archive: dict[str, str], market: str, symbols: str, setting: str, message: str
) -> None:
    options = ("--symbols", symbols) if symbols else ()
    settings = {**archive, "LAKEHOUSE_SYMBOLS": setting} if setting else archive
    done = run(tmp_path, "backfill", "--market", market, "--table", "klines_1m", *DAY, *options, **settings)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.requirement("F1.6")
def test_backfill_says_that_the_symbols_cannot_be_listed(tmp_path: Path, archive: dict[str, str]) -> None:
    away = {**archive, "LAKEHOUSE_ARCHIVE_LISTING_URL": "http://127.0.0.1:9/listing"}
    done = run(tmp_path, "backfill", "--market", "um", "--table", "klines_1m", *DAY, "--symbols", "BTCUSDT", **away)
    assert done.returncode == 1
    assert "cannot list" in done.stderr
    assert list(tmp_path.iterdir()) == []
