"""A backfill under a ban: it stops, instead of asking again for each of its runs."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from aiohttp import web

from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse_tests.system.runs import WatchedServer
from crypto_lakehouse_tests.system.test_cli import UM, run


@pytest.mark.requirement("F2.4", "F7.3")
def test_a_ban_stops_the_whole_backfill(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    make_sample(archive, symbols=12, days=3, start=date(2024, 12, 27), tables=("klines_1h",))

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=403)

    with WatchedServer(archive, refuse) as server:
        settings = {
            "LAKEHOUSE_LAKE_URI": str(tmp_path / "lake"),
            "LAKEHOUSE_ARCHIVE_URL": server.url,
            "LAKEHOUSE_ARCHIVE_LISTING_URL": server.listing_url,
            "LAKEHOUSE_TABLES": "klines_1h",
            "LAKEHOUSE_MAX_PARTITIONS_PER_RUN": "1",
            # The first pause takes half as long.
            "LAKEHOUSE_STALL_TIMEOUT": "0.5",
        }
        done = run(tmp_path, *UM, "klines_1h", "--from", "2024-12-27", "--to", "2024-12-29", **settings)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "0 partitions done in 0 runs; 1 run failed" in done.stdout
    assert "answers HTTP 403 to everything" in done.stdout
    assert "stopped: the exchange refuses all requests, so no further run starts" in done.stdout
    assert {path for path in server.requests if "2024-12-28" in path} == set()
