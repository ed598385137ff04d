"""Scale of archive access: requests for the listing of a market, memory of a reconciliation, resumed downloads."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.listing_server import END, Bucket, ListingServer, feed_of, serve_listing
from crypto_lakehouse.archive.model import ArchiveFile
from crypto_lakehouse.archive.partial_file import PartialFile
from crypto_lakehouse.catalog import Feed
from crypto_lakehouse.catalog.symbols import SymbolFilter
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.pipeline import reconcile
from crypto_lakehouse_tests.binance_archive import BinanceArchive

pytestmark = pytest.mark.slow

SYMBOLS, DAYS = 1200, 40
BUCKET = Bucket({"spot": SYMBOLS}, 2 * SYMBOLS * DAYS)


@pytest.fixture(scope="module")
def server() -> Iterator[ListingServer]:
    with serve_listing(BUCKET, delay=0.03) as running:
        yield running


@pytest.mark.requirement("P4")
def test_a_listing_asks_once_per_symbol_and_for_a_bounded_number_at_once(server: ListingServer) -> None:
    source, spot = BinanceArchive(server.url, server.url, concurrency=48), feed_of("spot")
    symbols = source.symbols(spot)
    assert (len(symbols), server.requests) == (SYMBOLS, 2)
    files = source.files(spot, symbols, END - timedelta(days=31), END)
    assert len(files) == sum(min(31, BUCKET.days("spot", number)) for number in range(SYMBOLS))
    assert server.requests == 2 + SYMBOLS
    assert server.most_at_once == 48


class Held(BinanceArchive):
    """Remembers how many files each answer held."""

    most = 0

    def files(self, feed: Feed, symbols: Sequence[str], first: date, end: date) -> list[ArchiveFile]:
        found = super().files(feed, symbols, first, end)
        self.most = max(self.most, len(found))
        return found


@pytest.mark.requirement("P7")
def test_a_reconciliation_holds_a_bounded_number_of_files(
    server: ListingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, some = LakeStore.open(str(tmp_path)), SymbolFilter.parse("S000*,S119*")
    span = END - timedelta(days=DAYS), END

    def found(source: Held) -> list[reconcile.Difference]:
        return reconcile.compare(feed_of("spot"), source, store, some, *span)

    whole, sliced = (Held(server.url, server.url) for _ in range(2))
    expected = found(whole)
    monkeypatch.setattr(reconcile, "_FILES_AT_ONCE", 70)
    assert found(sliced) == expected
    assert whole.most == len(expected) > 500
    assert sliced.most <= 70


@pytest.mark.requirement("F2.4")
@given(
    chunks=st.lists(st.binary(max_size=300_000), max_size=6),
    breaks=st.sets(st.integers(0, 5)),
    forgets=st.sets(st.integers(0, 5)),
)
def test_a_resumed_download_equals_the_whole_file(chunks: list[bytes], breaks: set[int], forgets: set[int]) -> None:
    data = b"".join(chunks)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.zip"
        part = PartialFile(path)
        part.restart('"etag"')
        for number, chunk in enumerate(chunks):
            part.write(chunk)
            if number in breaks:
                part.keep()
                part = PartialFile(path)
                if part.is_on_disk:
                    part.load()
                size = sum(map(len, chunks[: number + 1]))
                assert (part.size, part.can_go_on) == (size, size > 0)
                if not size:
                    part.restart('"etag"')
            if number in forgets:
                part.restart('"etag"')
                for again in chunks[: number + 1]:
                    part.write(again)
        assert part.sha256() == hashlib.sha256(data).hexdigest()
        part.publish()
        assert path.read_bytes() == data
        assert list(Path(folder).iterdir()) == [path]
