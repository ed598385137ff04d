/* Draws the bars of a symbol with TradingView's Lightweight Charts. The data is prepared in page/candles.py. */
"use strict";
(() => {
  const box = document.querySelector("#chart"), charts = window.LightweightCharts;
  if (!box || !charts) return;
  const data = JSON.parse(document.querySelector("#chart-data").textContent), count = data.time.length;
  const said = document.querySelector("#chart-bar");
  const MOST_OF_A_PAUSE = 200;  // Empty places for a pause between bars.
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const look = () => ({
    layout: {
      background: { color: color("back") }, textColor: color("text"), panes: { separatorColor: color("line") },
      // The notice and the link are at the foot of the page: the logo would need styles that the page does not allow.
      attributionLogo: false,
    },
    grid: { vertLines: { color: color("line") }, horzLines: { color: color("line") } },
    timeScale: { borderColor: color("line") }, rightPriceScale: { borderColor: color("line") },
  });
  const candleLook = () => ({
    upColor: color("rising"), downColor: color("falling"), wickUpColor: color("rising"), wickDownColor: color("falling"), borderVisible: false,
  });

  const chart = charts.createChart(box, {
    ...look(), autoSize: true, timeScale: { timeVisible: true, secondsVisible: false, borderColor: color("line") },
    handleScroll: { mouseWheel: false, vertTouchDrag: false }, localization: { locale: "en-GB" },
  });
  const precision = digits(data.close);
  const bars = chart.addSeries(charts.CandlestickSeries, {
    ...candleLook(), priceFormat: { type: "price", precision, minMove: 10 ** -precision },
  });
  bars.priceScale().applyOptions({ scaleMargins: { top: 0.05, bottom: 0.25 } });
  const volume = chart.addSeries(charts.HistogramSeries, { priceScaleId: "volume", color: color("volume"), priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false });
  chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.8, bottom: 0 } });
  let funding = null;
  if (data.funding.length) {
    funding = chart.addSeries(charts.HistogramSeries, {
      color: color("funding"), priceLineVisible: false, lastValueVisible: false, base: 0,
      priceFormat: { type: "custom", minMove: 1e-6, formatter: value => `${value.toFixed(4)} %` },
    }, 1);
    chart.panes()[0].setStretchFactor(4);
    chart.panes()[1].setStretchFactor(1);
  }

  // Prices have as many decimals as the data, within what a scale can show.
  function digits(prices) {
    let most = 0;
    for (const price of prices.slice(-500)) {
      const text = String(price), power = text.indexOf("e-");
      most = Math.max(most, power > 0 ? Number(text.slice(power + 2)) : text.includes(".") ? text.length - text.indexOf(".") - 1 : 0);
    }
    return Math.min(most, 10);
  }

  // Each stretch with the first and last place of the time scale that it covers; pauses get places of their own.
  const pauses = [], stretches = [];
  const width = count > 1 ? Math.min(...data.time.slice(1, 500).map((time, at) => time - data.time[at])) : 60;
  for (const mark of [...data.marks].sort((a, b) => Number(b.kind === "revised") - Number(a.kind === "revised"))) {
    let times;
    if (mark.kind === "gap" || mark.kind === "no bars") {
      const step = Math.max(width, Math.ceil((mark.end - mark.start) / MOST_OF_A_PAUSE));
      times = Array.from({ length: Math.ceil((mark.end - mark.start) / step) }, (_, at) => mark.start + at * step);
      pauses.push(...times);
    } else times = data.time.filter(time => time >= mark.start && time < mark.end);
    if (times.length) stretches.push({ kind: mark.kind, first: times[0], last: times[times.length - 1] });
  }
  const background = {
    zOrder: () => "bottom",
    renderer: () => ({
      draw: target => target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio }) => {
        const scale = chart.timeScale(), half = scale.options().barSpacing / 2;
        context.save();
        context.globalAlpha = 0.28;
        for (const each of stretches) {
          const from = scale.timeToCoordinate(each.first), to = scale.timeToCoordinate(each.last);
          if (from === null || to === null) continue;
          context.fillStyle = color(`mark-${each.kind.replaceAll(" ", "-")}`);
          const left = (from - half) * horizontalPixelRatio, right = (to + half) * horizontalPixelRatio;
          context.fillRect(left, 0, Math.max(right - left, 2), bitmapSize.height);
        }
        context.restore();
      }),
    }),
  };
  bars.attachPrimitive({ paneViews: () => [background] });

  function fill() {
    const known = new Set(data.time), empty = [...new Set(pauses)].filter(time => !known.has(time)).map(time => ({ time }));
    const candles = data.time.map((time, at) => ({ time, open: data.open[at], high: data.high[at], low: data.low[at], close: data.close[at] }));
    bars.setData([...candles, ...empty].sort((a, b) => a.time - b.time));
    volume.setData(data.time.map((time, at) => ({ time, value: data.volume[at] })));
    funding?.setData(data.funding.map(([time, rate]) => ({ time, value: rate * 100 })));
  }
  fill();
  chart.timeScale().fitContent();

  const places = new Map(data.time.map((time, at) => [time, at])), paid = new Map(data.funding);
  let chosen = count - 1;
  function say(at) {
    chosen = at;
    const time = data.time[at], day = new Date(time * 1000).toISOString().slice(0, 16).replace("T", " ");
    const kinds = data.marks.filter(mark => time >= mark.start && time < mark.end).map(mark => mark.kind);
    const rate = paid.has(time) ? `, funding ${(paid.get(time) * 100).toFixed(4)} %` : "";
    said.textContent = `${day}: open ${data.open[at]}, high ${data.high[at]}, low ${data.low[at]}, close ${data.close[at]}, `
      + `volume ${Number(data.volume[at].toPrecision(9))}${rate}${kinds.length ? `, ${kinds.join(", ")}` : ""}`;
  }
  // Without a source it is no pointer: the chart also reports the bar below a crosshair that stays while the scale moves.
  chart.subscribeCrosshairMove(event => { if (event.sourceEvent && places.has(event.time)) say(places.get(event.time)); });
  say(chosen);

  box.addEventListener("keydown", event => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const scale = chart.timeScale(), range = scale.getVisibleLogicalRange(), step = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: chosen - step, ArrowRight: chosen + step, Home: 0, End: count - 1 }[event.key];
    const factor = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (to !== undefined) {
      say(Math.max(0, Math.min(count - 1, to)));
      const place = scale.timeToCoordinate(data.time[chosen]);
      if (place === null || place < 0 || place > scale.width()) {
        const logical = scale.timeToIndex(data.time[chosen], true), half = (range.to - range.from) / 2;
        scale.setVisibleLogicalRange({ from: logical - half, to: logical + half });
      }
    } else if (factor) {
      const half = (range.to - range.from) / 2 * factor, middle = scale.timeToIndex(data.time[chosen], true);
      scale.setVisibleLogicalRange({ from: middle - half, to: middle + half });
    } else if (event.key === "0") scale.fitContent();
    else return;
    chart.setCrosshairPosition(data.close[chosen], data.time[chosen], bars);
    event.preventDefault();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    chart.applyOptions(look());
    bars.applyOptions(candleLook());
    volume.applyOptions({ color: color("volume") });
    funding?.applyOptions({ color: color("funding") });
  });
  box.dataset.state = "drawn";
  box.dataset.bars = String(count);
})();
