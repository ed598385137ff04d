/* Draws the coverage of a market on a canvas. The format of the data is in page/coverage.py. */
"use strict";
(() => {
  const root = document.querySelector("#heatmap");
  if (!root) return;
  const canvas = root.querySelector("canvas"), context = canvas.getContext("2d");
  const cellText = root.querySelector("#heatmap-cell span"), cellLink = root.querySelector("#heatmap-cell a");
  const find = root.querySelector("#find"), findDay = root.querySelector("#find-day");
  const OPENS = 8;      // Cells at least this large, in CSS pixels, open on a click; smaller ones zoom in.
  const TOP = 22;       // Height of the labels of days.
  let data, view, cursor = { row: 0, column: 0 }, drag = null, theme;

  const classOf = state => state === "filled" ? "filled-day" : state.replaceAll(" ", "-");
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function decode(buffer) {
    const size = new DataView(buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    const lengths = new Uint32Array(buffer, 4 + size, head.runs);
    const states = new Uint8Array(buffer, 4 + size + 4 * head.runs, head.runs);
    const cells = new Uint8Array(head.symbols.length * head.columns);
    for (let run = 0, at = 0; run < head.runs; at += lengths[run++]) cells.fill(states[run], at, at + lengths[run]);
    return { ...head, cells, rows: head.symbols.length };
  }

  function day(column) {
    const [year, month, date] = data.first.split("-").map(Number);
    const time = data.monthly ? Date.UTC(year, month - 1 + column, 1) : Date.UTC(year, month - 1, date + column);
    return new Date(time).toISOString().slice(0, data.monthly ? 7 : 10);
  }

  function columnOf(text) {
    const [first, wanted] = [data.first, text].map(each => each.split("-").map(Number));
    if (data.monthly) return (wanted[0] - first[0]) * 12 + wanted[1] - first[1];
    return Math.round((Date.parse(text) - Date.parse(data.first)) / 864e5);
  }

  function readTheme() {
    const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const numbers = data.states.map(state => {
      pixel.fillStyle = color(state.replaceAll(" ", "-"));
      pixel.fillRect(0, 0, 1, 1);
      return new Uint32Array(pixel.getImageData(0, 0, 1, 1).data.buffer)[0];
    });
    theme = { numbers: Uint32Array.from(numbers), text: color("text"), back: color("back"), focus: color("focus") };
  }

  function area() {
    const left = canvas.clientWidth < 600 ? 78 : 120;
    return { left, top: TOP, width: canvas.clientWidth - left, height: canvas.clientHeight - TOP };
  }

  function edges(start, end, count, most) {
    const places = new Int32Array(count + 1);
    for (let at = 0; at <= count; at++) places[at] = clamp(Math.floor(start + (end - start) * at / count), 0, most);
    return places;
  }

  // Every point of the screen has the last state, in the order of the legend, of the cells within it.
  function paint(width, height) {
    const image = new ImageData(width, height), points = new Uint32Array(image.data.buffer);
    const columns = edges(view.left, view.right, width, data.columns), rows = edges(view.top, view.bottom, height, data.rows);
    for (let y = 0; y < height; y++) {
      const firstRow = Math.min(rows[y], data.rows - 1), lastRow = Math.max(rows[y + 1], firstRow + 1);
      if (y && lastRow === firstRow + 1 && rows[y - 1] === rows[y] && rows[y + 1] === rows[y]) {
        points.copyWithin(y * width, (y - 1) * width, y * width);
        continue;
      }
      for (let x = 0; x < width; x++) {
        const first = Math.min(columns[x], data.columns - 1), last = Math.max(columns[x + 1], first + 1);
        let worst = 0;
        for (let row = firstRow; row < lastRow; row++) {
          for (let at = row * data.columns + first, end = row * data.columns + last; at < end; at++) {
            if (data.cells[at] > worst) worst = data.cells[at];
          }
        }
        points[y * width + x] = theme.numbers[worst];
      }
    }
    return image;
  }

  function draw() {
    if (!data || !canvas.clientWidth) return;
    const started = performance.now(), scale = window.devicePixelRatio || 1, plot = area();
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    const width = Math.max(1, Math.round(plot.width * scale)), height = Math.max(1, Math.round(plot.height * scale));
    context.fillStyle = theme.back;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.putImageData(paint(width, height), canvas.width - width, canvas.height - height);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    label(plot);
    root.dataset.state = "drawn";
    root.dataset.milliseconds = (performance.now() - started).toFixed(1);
  }

  function label(plot) {
    const wide = plot.width / (view.right - view.left), tall = plot.height / (view.bottom - view.top);
    const x = column => plot.left + (column - view.left) * wide, y = row => plot.top + (row - view.top) * tall;
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = theme.text;
    context.textBaseline = "middle";
    const every = Math.max(1, Math.ceil(15 / tall));
    for (let row = Math.ceil(view.top / every) * every; row < Math.min(data.rows, view.bottom); row += every) {
      context.fillText(data.symbols[row], 4, y(row) + Math.min(tall * every, 15) / 2, plot.left - 8);
    }
    const step = Math.max(1, Math.ceil(86 / wide));
    for (let column = Math.ceil(view.left / step) * step; column < Math.min(data.columns, view.right); column += step) {
      if (x(column) + 70 < plot.left + plot.width + 4) context.fillText(day(column), x(column), TOP / 2);
      context.fillRect(x(column), TOP - 4, 1, 4);
    }
    context.save();
    context.beginPath();
    context.rect(plot.left, plot.top, plot.width, plot.height);
    context.clip();
    context.fillStyle = theme.back;
    if (wide >= 6) for (let each = Math.ceil(view.left); each < view.right; each++) context.fillRect(x(each), plot.top, 1, plot.height);
    if (tall >= 6) for (let each = Math.ceil(view.top); each < view.bottom; each++) context.fillRect(plot.left, y(each), plot.width, 1);
    context.lineWidth = 2;
    const isLarge = wide > OPENS && tall > OPENS;
    for (const [style, grow] of [[theme.back, isLarge ? -3 : 3], [theme.text, isLarge ? -1 : 1]]) {
      context.strokeStyle = style;
      context.strokeRect(x(cursor.column) - grow, y(cursor.row) - grow, wide + 2 * grow, tall + 2 * grow);
    }
    if (drag?.moved) {
      context.strokeStyle = theme.focus;
      context.strokeRect(drag.x, drag.y, drag.toX - drag.x, drag.toY - drag.y);
    }
    context.restore();
  }

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  const address = () => "/page/symbol?" + new URLSearchParams({
    symbol: data.symbols[cursor.row], exchange: root.dataset.exchange, market: root.dataset.market, day: day(cursor.column),
  });

  function select(row, column) {
    cursor = { row: clamp(row, 0, data.rows - 1), column: clamp(column, 0, data.columns - 1) };
    const state = data.states[data.cells[cursor.row * data.columns + cursor.column]];
    cellText.textContent = `${data.symbols[cursor.row]}, ${day(cursor.column)}: ${state}.`;
    cellLink.href = address();
    cellLink.hidden = false;
    redraw();
  }

  function show(left, right, top, bottom) {
    const wide = clamp(right - left, Math.min(5, data.columns), data.columns), tall = clamp(bottom - top, Math.min(3, data.rows), data.rows);
    left = clamp(left, 0, data.columns - wide);
    top = clamp(top, 0, data.rows - tall);
    view = { left, right: left + wide, top, bottom: top + tall };
    root.dataset.view = [view.left, view.right, view.top, view.bottom].map(Math.round).join(" ");
    redraw();
  }

  function zoom(factor) {
    const column = cursor.column + 0.5, row = cursor.row + 0.5;
    const wide = (view.right - view.left) * factor, tall = (view.bottom - view.top) * factor;
    const x = (column - view.left) / (view.right - view.left), y = (row - view.top) / (view.bottom - view.top);
    show(column - wide * x, column + wide * (1 - x), row - tall * y, row + tall * (1 - y));
  }

  function follow() {
    const move = (at, low, high) => at < low ? at - low : at + 1 > high ? at + 1 - high : 0;
    const x = move(cursor.column, view.left, view.right), y = move(cursor.row, view.top, view.bottom);
    if (x || y) show(view.left + x, view.right + x, view.top + y, view.bottom + y);
  }

  function at(event) {
    const plot = area(), box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    const column = view.left + (x - plot.left) / plot.width * (view.right - view.left);
    const row = view.top + (y - plot.top) / plot.height * (view.bottom - view.top);
    return { x, y, column, row, isCell: x >= plot.left && y >= plot.top };
  }

  function click(place) {
    const plot = area();
    select(Math.floor(place.row), place.isCell ? Math.floor(place.column) : cursor.column);
    const wide = plot.width / (view.right - view.left), tall = plot.height / (view.bottom - view.top);
    if (!place.isCell) return;
    if (wide >= OPENS && tall >= OPENS) location.assign(address());
    else zoom(0.25);
  }

  canvas.addEventListener("pointerdown", event => {
    if (!data || event.button) return;
    drag = { ...at(event), moved: false };
    if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    if (!data) return;
    const place = at(event);
    if (drag && event.pointerType === "mouse") {
      drag.moved ||= Math.hypot(place.x - drag.x, place.y - drag.y) > 6;
      Object.assign(drag, { toX: place.x, toY: place.y });
    }
    if (place.isCell && event.pointerType === "mouse") select(Math.floor(place.row), Math.floor(place.column));
  });
  canvas.addEventListener("pointerup", event => {
    if (!drag) return;
    const start = drag, end = at(event);
    drag = null;
    if (!start.moved) click(end);
    else show(...[start.column, end.column].sort((a, b) => a - b), ...[start.row, end.row].sort((a, b) => a - b));
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("wheel", event => {
    // A plain wheel scrolls the page.
    if (!data || !event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8);
  }, { passive: false });
  canvas.addEventListener("keydown", event => {
    if (!data || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? 10 : 1, { row, column } = cursor;
    const moves = {
      ArrowLeft: [row, column - step], ArrowRight: [row, column + step], ArrowUp: [row - step, column],
      ArrowDown: [row + step, column], Home: [row, 0], End: [row, data.columns - 1],
    };
    const acts = {
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": all, Enter: () => location.assign(address()),
    };
    if (moves[event.key]) { select(...moves[event.key]); follow(); }
    else if (acts[event.key]) acts[event.key]();
    else return;
    event.preventDefault();
  });

  const all = () => show(0, data.columns, 0, data.rows);
  for (const button of root.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => data && { in: () => zoom(0.5), out: () => zoom(2), all }[button.dataset.do]());
  }
  find.addEventListener("change", () => {
    const row = data?.symbols.indexOf(find.value.trim().toUpperCase()) ?? -1;
    find.setAttribute("aria-invalid", String(row < 0));
    if (row < 0) return;
    select(row, cursor.column);
    show(view.left, view.right, row - 6, row + 7);
  });
  findDay.addEventListener("change", () => {
    if (!data || !findDay.value) return;
    const column = columnOf(findDay.value);
    select(cursor.row, column);
    show(column - 20, column + 21, view.top, view.bottom);
  });
  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (data) { readTheme(); redraw(); } });

  async function load() {
    const answer = await fetch(root.dataset.url, { credentials: "same-origin" });
    if (!answer.ok) {
      const problem = await answer.json();
      throw new Error(`${problem.detail} ${problem.next}`);
    }
    const started = performance.now();
    data = decode(await answer.arrayBuffer());
    readTheme();
    root.querySelector("#heatmap-title").textContent = data.title;
    root.querySelector("#symbols").append(...data.symbols.map(name => new Option(name, name)));
    const legend = data.states.map(state => {
      const item = document.createElement("li"), sample = document.createElement("i");
      sample.className = classOf(state);
      item.append(sample, state);
      return item;
    });
    root.querySelector(".legend").append(...legend);
    all();
    select(0, data.columns - 1);
    draw();
    root.dataset.cells = data.cells.length;
    root.dataset.first = (performance.now() - started).toFixed(1);
  }
  load().catch(error => {
    cellText.textContent = error.message;
    root.dataset.state = "failed";
  });
})();
