"""The walk through the UI on the page of orchestration, click by click, on the demo.

UPDATE_SCREENSHOTS=1 renews the pictures of the documentation.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from crypto_lakehouse.lake.storage.partitions import list_keys
from crypto_lakehouse.lake.storage.store import LakeStore
from crypto_lakehouse.sample.server import ArchiveServer
from crypto_lakehouse.schemas.slices import TableSlice
from crypto_lakehouse_tests.system.test_cli import environment, run
from crypto_lakehouse_tests.system.ui import IMAGES, chromium_page, ui_server

pytestmark = [pytest.mark.slow, pytest.mark.requirement("T9")]

JOB = "update_binance_um_daily"
MINUTES = "silver/binance/um/klines_1m"
MARKET = 'key:"*/binance/um/*"'
WIDTH, HEIGHT = 1200, 720
# Animations end, and states arrive, without a sign on the page.
SETTLED_MS = 6000
MOST_BYTES = 150_000


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Address of the UI on a new demo, whose archive is served."""
    made = run(tmp_path, "demo", "--folder", "demo")
    assert made.returncode == 0, made.stdout + made.stderr
    with ArchiveServer(tmp_path / "demo" / "archive") as archive:
        settings = environment(
            DAGSTER_HOME=str(tmp_path / "demo" / "dagster"),
            LAKEHOUSE_LAKE_URI=str(tmp_path / "demo" / "lake"),
            LAKEHOUSE_ARCHIVE_URL=archive.url,
            LAKEHOUSE_ARCHIVE_LISTING_URL=archive.listing_url,
        )
        with ui_server(tmp_path, settings) as address:
            yield address


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of Chromium."""
    with chromium_page(WIDTH, HEIGHT) as page:
        yield page


def picture(page: Page, name: str, folder: Path) -> None:
    """Renew a picture of the documentation, if asked for."""
    if os.environ.get("UPDATE_SCREENSHOTS") != "1":
        return
    page.wait_for_timeout(SETTLED_MS)
    # The folder of a test means nothing to a reader.
    page.evaluate(
        """([from, to]) => {
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
        }""",
        [str(folder), "/home/you"],
    )
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    # The other methods lose colours that are rare, such as the green of states.
    image.quantize(256, Image.Quantize.MAXCOVERAGE).save(buffer, "PNG", optimize=True)
    assert len(buffer.getvalue()) < MOST_BYTES
    (IMAGES / name).write_bytes(buffer.getvalue())


def test_the_walk_of_the_page_on_orchestration(page: Page, url: str, tmp_path: Path) -> None:
    store = LakeStore.open(str(tmp_path / "demo" / "lake"))
    days = sorted(list_keys(store, TableSlice("silver", "binance", "um", "klines_1m")))
    first, last = days[-3], days[-1]

    # The graph of one market, with all groups open. All markets do not fit on a page.
    page.set_viewport_size({"width": 1500, "height": 1500})
    page.goto(f"{url}/asset-groups~{quote(MARKET, safe='')}")
    page.get_by_text("Hide navigation").click()
    expect(page.get_by_text("binance_um_gold", exact=True).first).to_be_visible()
    page.keyboard.press("Alt+e")
    expect(page.get_by_text("bars_1h", exact=True).first).to_be_visible()
    expect(page.get_by_text("1 / 1 Passed").first).to_be_visible()
    expect(page.get_by_text("Loading...")).to_have_count(0)
    picture(page, "asset-graph.png", tmp_path)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    # An asset: what it is.
    page.goto(f"{url}/assets/{MINUTES}")
    expect(page.get_by_text("Start of the interval, rounded down", exact=False).first).to_be_visible()
    expect(page.get_by_text(last).first).to_be_visible()
    picture(page, "ui-asset.png", tmp_path)

    # Its partitions, and what is known of one.
    page.goto(f"{url}/assets/{MINUTES}?view=partitions&partition={last}")
    expect(page.get_by_text("Materialized (10)")).to_be_visible()
    expect(page.get_by_text("BTCUSDT").first).to_be_visible()
    picture(page, "ui-partitions.png", tmp_path)

    # The picture of its newest partition.
    page.get_by_text("[Show Markdown]").first.click()
    image = page.get_by_role("dialog").get_by_role("img", name="close: change since the first row (%)")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.naturalWidth") > 0
    picture(page, "ui-picture.png", tmp_path)

    # Its checks.
    page.goto(f"{url}/assets/{MINUTES}?view=checks")
    expect(page.get_by_text("no findings").first).to_be_visible()
    picture(page, "ui-checks.png", tmp_path)

    # A backfill of all tables of the market, bronze to gold.
    page.goto(f"{url}/locations/crypto_lakehouse.definitions/jobs/{JOB}")
    page.get_by_role("button", name="Materialize all").first.click()
    page.get_by_role("button", name="Show all partitions").click()
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    selection = dialog.get_by_role("textbox").first
    selection.fill(f"[{first}...{last}]")
    selection.press("Tab")
    expect(dialog.get_by_text("3 partitions", exact=True)).to_be_visible()
    picture(page, "ui-backfill.png", tmp_path)
    dialog.get_by_role("button", name="Launch backfill").click()
    page.get_by_role("button", name="View", exact=True).or_(page.get_by_role("link", name="View", exact=True)).click()
    page.wait_for_url(re.compile("/runs/b/"))

    # Its run: the steps, and what they report.
    page.goto(f"{page.url.split('?')[0]}?tab=runs")
    page.locator("a[href*='/runs/']").filter(has_text=re.compile("^[0-9a-f]{8}$")).first.click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    page.set_viewport_size({"width": WIDTH, "height": 1000})
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    picture(page, "ui-run.png", tmp_path)
