"""Canaries: passwords of the archive's URL and of proxies; no fault of the network may show them."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from crypto_lakehouse.archive.model import ArchiveError, ArchiveFile, RejectedFile
from crypto_lakehouse_tests.binance_archive import BinanceArchive
from crypto_lakehouse_tests.unit.archive_http import KEY, SPOT_1M
from crypto_lakehouse_tests.unit.raw_server import FAULTS, RawServer, forms_of

pytestmark = pytest.mark.slow

USER, PASSWORD = "canary-user", "canary/p@ss+word"
USERINFO = "canary-user:canary%2Fp%40ss+word"
FORMS = forms_of(USER, PASSWORD)
FILE = ArchiveFile(KEY, "BTCUSDT", "2024-01-01", 1, "e", datetime(2024, 1, 2, tzinfo=UTC))


def everything_of(error: BaseException) -> list[str]:
    """All that can be shown of an exception, and of those that led to it."""
    texts = ["".join(traceback.format_exception(error))]
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is not None:
            texts += [str(one), repr(one), str(one.args), str(vars(one))]
            chain += [one.__cause__, one.__context__]
    return texts


def ask(archive: BinanceArchive, directory: Path) -> list[str]:
    """All texts that come of a download and of listings that fail."""
    (result,) = archive.fetch([FILE], directory)
    assert isinstance(result, RejectedFile)
    texts = [repr(result), result.detail]
    for ways in (
        lambda: archive.symbols(SPOT_1M),
        lambda: archive.files(SPOT_1M, ["BTCUSDT"], date(2024, 1, 1), date(2024, 1, 2)),
    ):
        with pytest.raises(ArchiveError, match="cannot list") as caught:
            ways()
        texts += everything_of(caught.value)
    return texts


@pytest.mark.requirement("F1.2", "F2.4")
@pytest.mark.parametrize("way", ["archive", "http proxy", "https proxy", "both"])
def test_no_fault_of_the_network_shows_a_password(
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    faults = list(FAULTS)

    def asked(number: int) -> list[str]:
        userinfo = f"{USERINFO}@" if way in ("archive", "both") else ""
        host = f"{server.address}/fault-{number}-" if way == "archive" else f"fault-{number}-.invalid"
        url = f"{'https' if way == 'https proxy' else 'http'}://{userinfo}{host}"
        return ask(BinanceArchive(url, f"{url}/bucket", concurrency=1, attempts=2, timeout=1), tmp_path)

    with RawServer(lambda line: FAULTS[faults[int(line.split("fault-")[1].split("-")[0])]]) as server:
        if way != "archive":
            monkeypatch.setenv(
                "https_proxy" if way == "https proxy" else "http_proxy", f"http://{USERINFO}@{server.address}"
            )
        with ThreadPoolExecutor(len(faults)) as pool:
            texts = [text for some in pool.map(asked, range(len(faults))) for text in some]
        for number in range(len(faults)):
            heads = [head for head in server.asked if f"fault-{number}-" in head]
            assert heads
            assert all("Authorization: Basic" in head for head in heads)
    shown = capfd.readouterr()
    texts += [shown.out, shown.err, caplog.text, *(str(vars(record)) for record in caplog.records)]
    texts += [str(record.exc_info) for record in caplog.records]
    assert "attempt 1 of 2 failed" in caplog.text
    assert not [text for text in texts for form in FORMS if form in text]
    # What a server sent that is no message for people is not handed on either.
    assert not [text for text in texts for sent in ("xxxxx", "no chunk", "not http", "<html") if sent in text]
