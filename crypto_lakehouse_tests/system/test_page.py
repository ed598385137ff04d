"""The page to look at the lake, in Chromium, over a lake of real runs that has a fault of every kind.

UPDATE_SCREENSHOTS=1 renews the pictures of the documentation.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect

from crypto_lakehouse_tests.system.axe import axe_source, violations
from crypto_lakehouse_tests.system.page_lake import (
    DAYS,
    LOST,
    NOT_BUILT,
    REFUSED,
    REVISED,
    SYMBOLS,
    build_faulty_lake,
    build_large_lake,
)
from crypto_lakehouse_tests.system.served import Served
from crypto_lakehouse_tests.system.ui import IMAGES, chromium_page

pytestmark = [pytest.mark.slow, pytest.mark.requirement("F9.5")]

WIDTH, HEIGHT = 1200, 800
PHONE = {"width": 390, "height": 800}
MOST_BYTES = 150_000
# The labels of symbols and days around the cells of the heatmap.
LEFT, TOP = 120, 22
PAGES = [
    "/",
    f"/page/symbol?symbol=BTCUSDT&day={REVISED}",
    "/page/symbol?symbol=BTCUSDT&day=2020-01-01",
    "/page/universe",
    "/page/quality?market=um",
    "/page/tables",
    "/page/tables/gold.bars_1h",
    "/page/sql",
    "/page/login",
    "/page/nothing",
]


@pytest.fixture(scope="module")
def faulty_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_faulty_lake(tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="module")
def server(faulty_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(faulty_lake, tmp_path_factory.mktemp("server"), "--sql") as running:
        yield running


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of Chromium that has no error, and asks no other host, until the end of the test."""
    errors: list[str] = []
    hosts: set[str] = set()

    def note(request: Request) -> None:
        hosts.add(re.sub(r":\d+$", "", request.url.split("/")[2]) if "//" in request.url else "")

    with chromium_page(WIDTH, HEIGHT) as page:
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", note)
        yield page
    # The browser reports every answer with another status than 200 as an error.
    assert [error for error in errors if "the server responded with a status of 40" not in error] == []
    assert hosts <= {"127.0.0.1", ""}


def drawn(page: Page, selector: str) -> None:
    expect(page.locator(selector)).to_have_attribute("data-state", "drawn")


def picture(page: Page, name: str) -> None:
    """Renew a picture of the documentation, if asked for."""
    if os.environ.get("UPDATE_SCREENSHOTS") != "1":
        return
    # A chart is painted in the frame after the one in which it gets its rows.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(256, Image.Quantize.MAXCOVERAGE).save(buffer, "PNG", optimize=True)
    assert len(buffer.getvalue()) < MOST_BYTES
    (IMAGES / name).write_bytes(buffer.getvalue())


def click_cell(page: Page, row: int, column: int, rows: int = 5, columns: int = 7) -> None:
    canvas = page.locator("#heatmap canvas")
    box = canvas.bounding_box()
    assert box is not None
    x = LEFT + (box["width"] - LEFT) * (column + 0.5) / columns
    y = TOP + (box["height"] - TOP) * (row + 0.5) / rows
    canvas.click(position={"x": x, "y": y})


def test_from_the_heatmap_to_candles_by_clicks(page: Page, server: Served) -> None:
    page.goto(server.url)
    drawn(page, "#heatmap")
    expect(page.locator("#heatmap-title")).to_contain_text("5 symbols")
    picture(page, "page-coverage.png")
    # Third day, first symbol: the archive has replaced this file.
    click_cell(page, 0, 2)
    page.wait_for_url(re.compile(f"symbol=BTCUSDT.*day={REVISED}"))
    drawn(page, "#chart")
    expect(page.locator("#chart")).to_have_attribute("data-bars", "288")
    marks = page.get_by_role("region", name="Marked stretches")
    expect(marks).to_contain_text("revised")
    expect(marks).to_contain_text("1 rows changed, 0 added, 0 removed")
    page.get_by_text("Funding (3 events)").click()
    page.get_by_role("link", name="week").click()
    drawn(page, "#chart")
    page.locator("input[name=symbol]").fill("ltcusdt")
    page.locator("select[name=bars]").select_option("5m")
    page.get_by_role("button", name="Show").click()
    drawn(page, "#chart")
    expect(page.get_by_role("region", name="Marked stretches")).to_contain_text("filled")
    # A day that the archive does not have is filled, one that was not built is a pause.
    page.goto(f"{server.url}/page/symbol?symbol=ETHUSDT&bars=1h")
    drawn(page, "#chart")
    rows = page.get_by_role("region", name="Marked stretches").get_by_role("row")
    expect(rows.filter(has_text="filled")).to_have_text(re.compile(f"{LOST} 00:00\\s*2024-12-31 00:00"))
    expect(rows.filter(has_text="no bars")).to_have_text(re.compile(f"{NOT_BUILT} 00:00\\s*2025-01-02 00:00"))
    picture(page, "page-marks.png")


def test_from_the_heatmap_to_candles_by_keyboard(page: Page, server: Served) -> None:
    page.goto(server.url)
    drawn(page, "#heatmap")
    said = page.locator("#heatmap-cell")
    canvas = page.locator("#heatmap canvas")
    for _ in range(30):
        page.keyboard.press("Tab")
        if canvas.evaluate("canvas => canvas === document.activeElement"):
            break
    page.keyboard.press("Home")
    for key, words in (
        ("ArrowRight", f"BTCUSDT, {REFUSED}: there"),
        ("ArrowDown", f"ETHUSDT, {REFUSED}: quarantined"),
        ("ArrowDown", f"LTCUSDT, {REFUSED}: filled"),
        ("ArrowUp", f"ETHUSDT, {REFUSED}: quarantined"),
        ("Shift+ArrowRight", "ETHUSDT, 2025-01-02: there"),
        ("ArrowLeft", f"ETHUSDT, {NOT_BUILT}: missing in the lake"),
        ("Home", "ETHUSDT, 2024-12-27: there"),
    ):
        page.keyboard.press(key)
        expect(said).to_contain_text(words)
    page.keyboard.press("+")
    expect(page.locator("#heatmap")).to_have_attribute("data-view", re.compile(r"^0 5 "))
    page.keyboard.press("End")
    expect(page.locator("#heatmap")).to_have_attribute("data-view", re.compile(r"^2 7 "))
    page.keyboard.press("0")
    expect(page.locator("#heatmap")).to_have_attribute("data-view", "0 7 0 5")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("symbol=ETHUSDT.*day=2025-01-02"))
    drawn(page, "#chart")
    page.locator("#chart").focus()
    bar = page.locator("#chart-bar")
    expect(bar).to_contain_text("2025-01-02 23:55")
    page.keyboard.press("Home")
    expect(bar).to_contain_text("2025-01-02 00:00")
    expect(bar).to_contain_text("funding")
    page.keyboard.press("+")
    # The chart moves its scale, and reports what is below the crosshair, in the next frame.
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(bar).to_contain_text("2025-01-02 00:00")
    page.keyboard.press("Shift+ArrowRight")
    expect(bar).to_contain_text("2025-01-02 00:50")
    # A pointer chooses bars too.
    box = page.locator("#chart").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 50)
    page.mouse.move(box["x"] + box["width"] * 0.7 + 2, box["y"] + 50)
    expect(bar).not_to_contain_text("2025-01-02 00:50")


def test_find_and_drag_zoom_in(page: Page, server: Served) -> None:
    page.goto(server.url)
    drawn(page, "#heatmap")
    view = page.locator("#heatmap")
    page.get_by_label("Symbol", exact=True).fill("solusdt")
    page.get_by_label("Day", exact=True).fill(LOST)
    page.keyboard.press("Tab")
    expect(page.locator("#heatmap-cell")).to_contain_text(f"SOLUSDT, {LOST}: there")
    box = page.locator("#heatmap canvas").bounding_box()
    assert box is not None
    wide, tall = (box["width"] - LEFT) / 7, (box["height"] - TOP) / 5
    page.mouse.move(box["x"] + LEFT + wide * 0.1, box["y"] + TOP + tall * 0.1)
    page.mouse.down()
    page.mouse.move(box["x"] + LEFT + wide * 5.1, box["y"] + TOP + tall * 3.1, steps=5)
    page.mouse.up()
    expect(view).to_have_attribute("data-view", "0 5 0 3")
    page.get_by_role("button", name="All").click()
    expect(view).to_have_attribute("data-view", "0 7 0 5")


def test_pages_list_what_the_lake_holds(page: Page, server: Served) -> None:
    page.goto(f"{server.url}/page/quality?market=um")
    days = page.locator("section").first
    expect(days).to_contain_text(re.compile(f"{NOT_BUILT}\\s*missing\\s*silver.klines_1m"))
    expect(days).to_contain_text("1 row: price_not_positive")
    picture(page, "page-quality.png")
    page.get_by_role("link", name="ETHUSDT").click()
    page.wait_for_url(re.compile(f"day={REFUSED}"))
    page.get_by_role("link", name="Universe").click()
    expect(page.get_by_role("link", name="SOLUSDT")).to_be_visible()
    page.get_by_role("textbox", name="Day").fill("2024-12-27")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("4 instruments")).to_be_visible()
    expect(page.get_by_role("link", name="SOLUSDT")).to_have_count(0)
    page.get_by_role("link", name="Tables").click()
    page.get_by_role("link", name="gold.bars_1h").click()
    expect(page.get_by_text("Symbol as the exchange writes it.")).to_be_visible()
    page.goto(f"{server.url}/page/symbol?symbol=BTCUSDT&day=2020-01-01")
    expect(page.get_by_role("alert")).to_contain_text("no 5m bars of BTCUSDT")
    page.get_by_role("link", name="newest").click()
    drawn(page, "#chart")


def test_sql_in_the_page(page: Page, server: Served) -> None:
    page.goto(f"{server.url}/page/sql")
    query = page.get_by_role("textbox")
    query.fill("SELECT symbol, '<b>' AS html, count(*) AS bars FROM gold.bars_1d GROUP BY symbol ORDER BY symbol")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("heading", name="5 rows")).to_be_visible()
    expect(page.locator("tbody tr").first).to_have_text(re.compile(r"BTCUSDT\s*<b>\s*7"))
    page.get_by_role("textbox").fill("SELECT * FROM read_csv('/etc/passwd')")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert "root:" not in page.content()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [{"width": WIDTH, "height": HEIGHT}, PHONE], ids=["desk", "phone"])
def test_labels_contrast_and_width(page: Page, server: Served, scheme: str, size: dict[str, int]) -> None:
    source = axe_source()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": size["width"], "height": size["height"]})
    for path in PAGES:
        page.goto(server.url + path)
        for selector in ("#heatmap", "#chart"):
            if page.locator(selector).count():
                drawn(page, selector)
        assert violations(page, source) == [], path
        # Tables scroll within the page; the page itself does not scroll to the side.
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
        if path == "/" and scheme == "dark" and size == PHONE:
            picture(page, "page-phone.png")
        if "symbol" in path and scheme == "dark" and size != PHONE and REVISED in path:
            picture(page, "page-dark.png")


def test_a_market_of_eight_hundred_symbols_and_seven_years(page: Page, tmp_path: Path) -> None:
    lake = build_large_lake(tmp_path / "lake")
    with Served(lake, tmp_path / "server") as server:
        page.goto(server.url)
        drawn(page, "#heatmap")
        expect(page.locator("#heatmap")).to_have_attribute("data-cells", str(SYMBOLS * DAYS))
        picture(page, "page-market.png")
        # Small cells: a click zooms in, until cells are large enough to open.
        view = page.locator("#heatmap")
        for _ in range(3):
            before = view.get_attribute("data-view") or ""
            click_cell(page, 0, 0, 1, 1)
            expect(view).not_to_have_attribute("data-view", before)
        click_cell(page, 0, 0, 1, 1)
        page.wait_for_url(re.compile(r"symbol=A\d+USDT"))
        first = server.client.get("/page/data/coverage?exchange=binance&market=um&table=silver.klines_1m")
        assert len(first.content) < 500_000
        again = server.client.get(first.url, headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
