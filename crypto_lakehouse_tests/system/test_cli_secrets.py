"""Passwords in the URLs of an archive and of a proxy stay secret when the archive returns invalid answers."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from crypto_lakehouse import Lakehouse
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse_tests.system.runs import read
from crypto_lakehouse_tests.system.test_cli import UM, run
from crypto_lakehouse_tests.unit.raw_server import FAULTS, RawServer, forms_of

USERINFO = "canary-user:canary%2Fp%40ss+word"
DAY = "2024-12-27"


@pytest.mark.requirement("F1.2", "F2.4")
def test_no_output_or_record_of_a_backfill_holds_a_password(tmp_path: Path) -> None:
    make_sample(tmp_path / "archive", symbols=4, days=1, start=date(2024, 12, 27))
    faults = [FAULTS[name] for name in ("not http", "length too long", "a header of 9 kB", "bad chunks", "html")]
    symbols: list[str] = []

    def answer(line: str) -> bytes:
        symbol = re.findall(r"/(\w+)-1m-", line)[0]
        if symbol not in symbols:
            symbols.append(symbol)
        return faults[symbols.index(symbol) % len(faults)]

    folder, lake = tmp_path / "work", tmp_path / "lake"
    folder.mkdir()
    with ArchiveServer(tmp_path / "archive") as listings, RawServer(answer) as proxy:
        result = run(
            folder,
            *UM,
            "klines_1m",
            "--from",
            DAY,
            "--to",
            DAY,
            LAKEHOUSE_LAKE_URI=str(lake),
            LAKEHOUSE_ARCHIVE_URL=f"http://{USERINFO}@archive.invalid",
            LAKEHOUSE_ARCHIVE_LISTING_URL=listings.listing_url,
            LAKEHOUSE_RETRIES="2",
            http_proxy=f"http://{USERINFO}@{proxy.address}",
            no_proxy="127.0.0.1",
        )
        assert len(symbols) > 2
        assert all("Authorization: Basic" in head for head in proxy.asked)
    assert result.returncode == 1
    assert "attempt 1 of 2 failed" in result.stderr
    left = {"stdout": result.stdout, "stderr": result.stderr}
    for table in ("ledger.files", "quarantine.rejected"):
        left[table] = str(read(Lakehouse(lake), table).to_dicts())
    for path in (*folder.rglob("*"), *lake.rglob("*")):
        if path.is_file():
            left[str(path)] = path.read_bytes().decode("latin-1")
    assert any("dagster" in name for name in left)
    forms = forms_of("canary-user", "canary/p@ss+word")
    assert not [(name, form) for name, text in left.items() for form in forms if form in text]
