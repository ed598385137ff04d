"""The real UI in a real browser: the command of ``make ui``, with a served sample archive, opened in Chromium."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
from playwright.sync_api import Page, expect

from crypto_lakehouse.lake.storage.partitions import list_keys, read_partition
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.build import make_sample
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.system.test_cli import COMMAND, environment
from crypto_lakehouse_tests.system.ui import ROOT, chromium_page, ui_server

DAY = "2024-12-31"
DAYS = ["2024-12-30", DAY, *(f"2025-01-0{day}" for day in range(1, 9))]
JOB = "update_binance_um_daily"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A DAGSTER_HOME with the project's configuration."""
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def settings(home: Path) -> Iterator[dict[str, str]]:
    """Settings of a lake in the home, and of a served archive of ten days."""
    make_sample(home / "archive", symbols=2, days=len(DAYS), start=date(2024, 12, 30))
    with ArchiveServer(home / "archive") as archive:
        yield environment(
            DAGSTER_HOME=str(home),
            LAKEHOUSE_LAKE_URI=str(home / "lake"),
            LAKEHOUSE_ARCHIVE_URL=archive.url,
            LAKEHOUSE_ARCHIVE_LISTING_URL=archive.listing_url,
        )


@pytest.fixture
def url(home: Path, settings: dict[str, str]) -> Iterator[str]:
    """Address of a running UI."""
    with ui_server(home, settings) as address:
        yield address


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of Chromium."""
    with chromium_page(1800, 2300) as page:
        yield page


@pytest.mark.requirement("T9")
def test_the_graph_is_shown_and_a_partition_is_materialized_by_clicking(page: Page, url: str, home: Path) -> None:
    page.goto(f"{url}/asset-groups")
    for market in ("spot", "um", "cm"):
        for layer in ("bronze", "silver", "gold", "compacted"):
            expect(page.get_by_text(f"binance_{market}_{layer}", exact=True).first).to_be_visible()
    # Expands all groups.
    page.keyboard.press("Alt+e")
    expect(page.get_by_text("bars_1h", exact=True).first).to_be_visible()

    page.goto(f"{url}/assets/bronze/binance/um/klines_1m")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Show all partitions").click()
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    selection = dialog.get_by_role("textbox").first
    selection.fill(DAY)
    selection.press("Tab")
    expect(dialog.get_by_text("1 partition", exact=True)).to_be_visible()
    dialog.get_by_role("button", name="Launch").click()
    expect(dialog).to_be_hidden()

    page.goto(f"{url}/runs")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    store = LakeStore.open(str(home / "lake"))
    where = TableSlice("bronze", "binance", "um", "klines_1m")
    assert list(list_keys(store, where)) == [DAY]
    assert set(read_partition(store, where.partition(DAY))["symbol"]) == {"BTCUSDT", "ETHUSDT"}
    page.goto(f"{url}/assets/bronze/binance/um/klines_1m?view=partitions&partition={DAY}")
    expect(page.get_by_text("2880").or_(page.get_by_text("2,880")).first).to_be_visible()


def _backfill(home: Path, settings: dict[str, str]) -> None:
    arguments = ["backfill", "--market", "um", "--table", "klines_1m", "--from", DAYS[0], "--to", DAYS[-1]]
    done = subprocess.run([*COMMAND, *arguments], cwd=home, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.requirement("T9", "F5.8", "F7.3")
def test_a_run_of_the_command_line_belongs_to_the_code_location_in_the_ui(
    page: Page, home: Path, settings: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _backfill(home, settings)
    page.goto(f"{url}/assets/bronze/binance/um/klines_1m?view=events")
    for day in DAYS:
        expect(page.get_by_text(day, exact=True).first).to_be_visible()
    # The only check that runs in local has passed.
    page.goto(f"{url}/asset-groups~{quote('key:bronze/binance/um/klines_1m', safe='')}")
    page.keyboard.press("Alt+e")
    expect(page.get_by_text("1 / 1 Passed").first).to_be_visible()

    page.goto(f"{url}/overview/activity/timeline")
    expect(page.get_by_role("link", name=JOB)).to_be_visible()
    page.goto(f"{url}/locations/crypto_lakehouse.definitions/jobs/{JOB}/runs")
    expect(page.get_by_text(f"{DAYS[0]} to {DAYS[-1]}").first).to_be_visible()
    expect(page.get_by_text("binance/um/klines_1m").first).to_be_visible()
    expect(page.get_by_text("lakehouse_process")).to_have_count(0)

    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        # The funding rates of the month came first, by a job of their own.
        [run] = [run for run in instance.get_runs() if run.job_name == JOB]
        page.goto(f"{url}/runs/{run.run_id}")
        page.get_by_role("button", name="Re-execute").first.click()
        page.wait_for_url(lambda now: "/runs/" in now and run.run_id not in now)
        expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=0)
        again = instance.get_runs(limit=1)[0]
        assert (again.parent_run_id, again.status) == (run.run_id, dg.DagsterRunStatus.SUCCESS)

    expect(page.get_by_text("Join the Dagster community")).to_have_count(0)
    words = (home / "dagster.log").read_text(errors="replace")
    assert "Launching Dagster services" in words
    assert not [text for text in ("BetaWarning", "superseded", "Traceback") if text in words]
