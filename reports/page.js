// The page's own script: draws the charts, in the reader's colour scheme, and sorts the table of heads.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const numbers = data.table.numbers;

  // === Colours ===
  const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
  const THEMES = {
    // `span` is the part of Viridis that stands out from the background; lines keep to it.
    light: { ink: "#1d2126", soft: "#5a626c", line: "#e2e3df", paper: "#fdfdfb", rule: "#9aa1a9", span: [0, 0.88], low: "#2b6ca3", middle: "#f3f3ef", high: "#b5541c", pairs: { qk: "#2b6ca3", vo: "#b5541c", product: "#35796b" } },
    dark: { ink: "#e6e7e4", soft: "#a5adb6", line: "#2d3238", paper: "#15181c", rule: "#6f7882", span: [0.3, 1], low: "#6bb3ea", middle: "#23282e", high: "#f0965a", pairs: { qk: "#6bb3ea", vo: "#f0965a", product: "#6fc7b2" } },
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const theme = () => THEMES[dark.matches && !printing ? "dark" : "light"];

  function viridis(share) {
    const [low, high] = theme().span;
    const place = (low + (high - low) * share) * (VIRIDIS.length - 1);
    const left = Math.min(Math.floor(place), VIRIDIS.length - 2);
    const channel = (colour, at) => parseInt(colour.slice(at, at + 2), 16);
    const mixed = [1, 3, 5].map((at) => Math.round(channel(VIRIDIS[left], at) * (left + 1 - place) + channel(VIRIDIS[left + 1], at) * (place - left)));
    return `rgb(${mixed.join(",")})`;
  }
  const layerScale = () => Array.from({ length: 11 }, (_, i) => [i / 10, viridis(i / 10)]);

  // === Layouts ===
  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif';
  const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false };

  function axis(title, more = {}) {
    const { line, soft } = theme();
    return { title: { text: title, standoff: 8 }, gridcolor: line, linecolor: line, zeroline: false, tickcolor: line, tickfont: { color: soft }, automargin: true, ...more };
  }

  function layout(height, x, y, more = {}) {
    const { ink, paper, line } = theme();
    return {
      height, margin: { l: 52, r: 14, t: 44, b: 44 }, font: { family: FONT, size: 12, color: ink },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", showlegend: false, xaxis: x, yaxis: y,
      hoverlabel: { bgcolor: paper, bordercolor: line, font: { family: FONT, color: ink } }, modebar: { bgcolor: "rgba(0,0,0,0)", color: theme().soft, activecolor: ink, orientation: "v" },
      ...more,
    };
  }

  function colourBar(title) {
    return { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "bottom", ypad: 4, xpad: 0, len: 0.55, thickness: 7, outlinewidth: 0, tickfont: { size: 11, color: theme().soft }, ticklen: 2, nticks: 5, title: { text: title, side: "top", font: { size: 11, color: theme().soft } } };
  }

  const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
  const finite = (values) => values.filter((value) => value !== null);
  const extent = (values) => finite(values).reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);

  // === Heatmaps ===
  function column(name, shown) {
    const measured = numbers[name];
    const expected = numbers[`${name}_null`];
    if (shown === "measured" || !expected) return measured;
    if (shown === "null") return expected;
    return measured.map((value, row) => (value === null || expected[row] === null ? null : value - expected[row]));
  }

  function colours(values, diverging, limits) {
    const { low, middle, high } = theme();
    let [least, most] = extent(values);
    if (!Number.isFinite(least)) [least, most] = [0, 1];
    if (diverging) {
      const reach = Math.max(Math.abs(least), Math.abs(most)) || 1;
      return { zmin: -reach, zmax: reach, colorscale: [[0, low], [0.5, middle], [1, high]] };
    }
    if (limits) return { zmin: limits[0], zmax: limits[1], colorscale: "Viridis" };
    return { zmin: least, zmax: least === most ? least + (Math.abs(least) || 1) * 1e-6 : most, colorscale: "Viridis" };
  }

  function heatmap(map, z, scale, title, texts) {
    const heads = z[0].length;
    const width = Math.max(220, (document.getElementById(map.element).clientWidth || 400) - 70);
    const height = 92 + Math.min(620, Math.max(150, map.layers.length * Math.min(26, Math.max(6, width / heads))));
    const whole = { showgrid: false, ticks: "", showline: false };
    const ofHeads = layerTicks(Array.from({ length: heads }, (_, head) => head));
    return [
      [{ type: "heatmap", x: Array.from({ length: heads }, (_, head) => head), y: map.layers.map((_, place) => place), z, ...scale, xgap: heads > 40 ? 0 : 1, ygap: map.layers.length > 40 ? 0 : 1, colorbar: colourBar(title), text: texts, hovertemplate: "%{text}<extra></extra>", hoverongaps: false }],
      layout(height, axis("head", { ...whole, ...ofHeads }), axis("layer", { ...whole, autorange: "reversed", ...layerTicks(map.layers) })),
    ];
  }

  // Layers stand in order, also where their numbers have gaps.
  function layerTicks(layers) {
    const every = Math.ceil(layers.length / 9);
    const places = layers.map((_, place) => place).filter((place) => place % every === 0);
    return { tickmode: "array", tickvals: places, ticktext: places.map((place) => String(layers[place])) };
  }

  function drawHeatmap(map) {
    const name = document.getElementById("quantity").value;
    const shown = chosen("shown");
    const quantity = data.quantities[name];
    const values = column(name, shown);
    const expected = numbers[`${name}_null`];
    const z = map.cells.map((line) => line.map((row) => (row === null ? null : values[row])));
    const texts = map.cells.map((line, layer) => line.map((row, head) =>
      row === null ? "" : `layer ${map.layers[layer]}, head ${head}<br>${quantity.label} <b>${format(numbers[name][row])}</b>${expected ? `, null ${format(expected[row])}` : ""}`));
    const title = shown === "measured" ? quantity.label : `${quantity.label}, ${shown === "null" ? "null" : "excess over the null"}`;
    return heatmap(map, z, colours(values, shown === "excess", quantity.limits), title, texts);
  }

  function drawDifference(map) {
    const name = document.getElementById("difference-quantity").value;
    const z = map.values[name] || map.layers.map(() => [null]);
    const all = data.differences.flatMap((other) => (other.values[name] || []).flat());
    const label = data.quantities[name].label;
    const texts = z.map((line, layer) => line.map((value, head) => `layer ${map.layers[layer]}, head ${head}<br>${label} <b>${format(value, true)}</b>`));
    return heatmap(map, z, colours(all, true), `${label}, difference`, texts);
  }

  // === Curves ===
  function layerBar(layers) {
    const [least, most] = extent(layers);
    return { color: layers, colorscale: layerScale(), cmin: least, cmax: most === least ? least + 1 : most, colorbar: { ...colourBar("layer"), tickformat: "d", ...(most === least ? { tickvals: [least] } : {}) } };
  }

  function drawSpectra(chart) {
    const unit = chosen("spectrum");
    const { rule } = theme();
    const layers = chart.curves.map((curve) => curve.layer);
    const traces = chart.curves.map((curve, place) => ({
      type: "scatter", mode: "lines", x: curve.index, y: curve[unit], line: { width: 1.4, color: viridis(layers.length > 1 ? place / (layers.length - 1) : 0.5) },
      hovertemplate: `layer ${curve.layer}<br>σ number %{x}: %{y:.3g}<extra></extra>`,
    }));
    if (chart.null) traces.push({ type: "scatter", mode: "lines", x: chart.null.index, y: chart.null[unit], line: { width: 2, dash: "dash", color: theme().ink }, hovertemplate: "Gaussian factors<br>σ number %{x}: %{y:.3g}<extra></extra>" });
    // Lines have no colour bar of their own.
    if (layers.length > 1) traces.push({ type: "scatter", mode: "markers", x: layers.map(() => null), y: layers.map(() => null), marker: layerBar(layers), hoverinfo: "skip" });
    const log = chosen("spectrum-axis") === "log";
    const scale = log ? { type: "log", exponentformat: "power", nticks: 6, ...logRange(chart, unit) } : { rangemode: "tozero" };
    return [traces, layout(360, axis("singular value, largest first", { zeroline: false, linecolor: rule, showgrid: false }), axis(unit === "top" ? "σ / σ<sub>1</sub>" : "σ / Σσ", scale))];
  }

  // Singular values that are zero but for rounding would push the rest into a corner.
  function logRange(chart, unit) {
    const [, most] = extent(chart.curves.flatMap((curve) => curve[unit]));
    const [least] = extent(chart.curves.flatMap((curve) => curve[unit].filter((value) => value > most * 1e-6)));
    return Number.isFinite(least) && most > 0 ? { range: [Math.log10(least) - 0.1, Math.log10(most) + 0.1] } : {};
  }

  // Squares of equal axes, with the diagonal and, where it is known, the line on which random factors lie.
  function square(traces, x, y, slope, all) {
    const log = chosen("scatter-axes") === "log";
    const values = finite(all).filter((value) => value > 0);
    let [least, most] = extent(values);
    if (!Number.isFinite(least)) [least, most] = [0.1, 1];
    const from = log ? least / 1.15 : 0;
    const to = log ? most * 1.15 : most * 1.04;
    const { rule, ink } = theme();
    const line = (share, style, name) => ({ type: "scatter", mode: "lines", x: [from, to], y: [from * share, to * share], line: style, hovertemplate: `${name}<extra></extra>` });
    const lines = [line(1, { width: 1, color: rule }, "equal")];
    if (slope) lines.push(line(slope, { width: 1.6, dash: "dash", color: ink }, `Gaussian factors: ${format(slope)} of the bound`));
    const range = log ? [Math.log10(from), Math.log10(to)] : [from, to];
    const scale = { type: log ? "log" : "linear", range, nticks: 6, exponentformat: "power", ...(log ? { minor: { ticks: "" } } : {}) };
    return [[...lines, ...traces], layout(400, axis(x, scale), axis(y, { ...scale }))];
  }

  function points(xs, ys, layers, texts, bar) {
    return { type: "scatter", mode: "markers", x: xs, y: ys, text: texts, hovertemplate: "%{text}<br>%{y:.4g} over %{x:.4g}<extra></extra>", marker: { size: 4.5, opacity: 0.75, line: { width: 0 }, ...bar } };
  }

  function drawNorms(chart) {
    const xs = chart.heads.flatMap((head) => head.a);
    const ys = chart.heads.flatMap((head) => head.b);
    const layers = chart.heads.flatMap((head) => head.a.map(() => head.layer));
    const texts = layers.map((layer) => `layer ${layer}`);
    return square([points(xs, ys, layers, texts, layerBar(layers))], `squared norms of ${chart.a}’s ${chart.a_part}`, `squared norms of ${chart.b}’s rows`, null, [...xs, ...ys]);
  }

  function drawTightness(chart) {
    const pick = (name) => chart.rows.map((row) => numbers[name][row]);
    const [xs, ys, layers, heads] = ["frobenius_bound", "nuclear_norm", "layer", "head"].map(pick);
    const texts = layers.map((layer, place) => `layer ${layer}, head ${heads[place]}`);
    return square([points(xs, ys, layers, texts, layerBar(layers))], "Frobenius bound ½(‖A‖² + ‖B‖²)", "nuclear norm", chart.null, [...xs, ...ys]);
  }

  function drawProgress(chart) {
    const places = data.names.map((_, place) => place);
    const every = Math.ceil(places.length / 8);
    const last = places.length - 1;
    const ticks = places.filter((place) => place === last || (place % every === 0 && last - place >= every / 2));
    const traces = chart.curves.flatMap((curve) => {
      const colour = theme().pairs[curve.pair];
      const style = { type: "scatter", x: places, text: data.names };
      return [
        { ...style, mode: "lines+markers", y: curve.measured, name: curve.label, line: { color: colour, width: 2 }, marker: { size: 6 }, hovertemplate: `%{text}<br>${curve.label}: %{y:.4g}<extra></extra>` },
        { ...style, mode: "lines", y: curve.null, name: `${curve.label}, null`, showlegend: false, line: { color: colour, width: 1.2, dash: "dash" }, hovertemplate: `%{text}<br>null of ${curve.label}: %{y:.4g}<extra></extra>` },
      ];
    });
    return [traces, layout(320, axis("", { tickmode: "array", tickvals: ticks, ticktext: ticks.map((place) => data.names[place]), showgrid: false, tickangle: "auto" }), axis("", chart.id === "pseudo_rank" ? { range: [0, 1.02] } : {}), { showlegend: true, legend: { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" } })];
  }

  // === Drawing ===
  const charts = [
    ...data.progress.map((chart) => ["progress", chart, drawProgress]),
    ...data.differences.map((chart) => ["difference", chart, drawDifference]),
    ...data.heatmaps.map((chart) => ["heatmap", chart, drawHeatmap]),
    ...data.spectra.map((chart) => ["spectra", chart, drawSpectra]),
    ...data.row_norms.map((chart) => ["norms", chart, drawNorms]),
    ...data.tightness.map((chart) => ["tightness", chart, drawTightness]),
  ].map(([kind, chart, build]) => ({ kind, chart: { ...chart, element: `${kind}-${chart.id}` }, build }));

  function draw({ chart, build }) {
    const [traces, look] = build(chart);
    Plotly.react(chart.element, traces, look, CONFIG);
  }
  const drawKinds = (...kinds) => window.Plotly && charts.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind)).forEach(draw);

  function listen(selector, action) {
    document.querySelectorAll(selector).forEach((element) => element.addEventListener("change", action));
  }
  function explain() {
    document.getElementById("quantity-meaning").innerHTML = data.quantities[document.getElementById("quantity").value].meaning;
  }
  listen("#quantity", explain);
  listen("#quantity, input[name=shown]", () => drawKinds("heatmap"));
  listen("#difference-quantity", () => drawKinds("difference"));
  listen("input[name=spectrum], input[name=spectrum-axis]", () => drawKinds("spectra"));
  listen("input[name=scatter-axes]", () => drawKinds("norms", "tightness"));
  dark.addEventListener("change", () => drawKinds());
  for (const [event, value] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => {
      printing = value;
      if (dark.matches) drawKinds();
    });
  }

  // === The table of heads ===
  const FEW = 100;
  const table = document.getElementById("heads-table");
  const headers = [...table.querySelectorAll("th[data-column]")];
  const more = document.getElementById("table-more");
  const text = (name) => data.table.texts[name];
  const state = { column: null, direction: 1, all: false };

  function format(value, signed = false) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    let shown = size >= 1e6 || (size > 0 && size < 1e-4) ? size.toExponential(2).replace("e+", "e") : size >= 1000 ? Math.round(size).toLocaleString("en") : String(Number(size.toPrecision(4)));
    if (value < 0) shown = `−${shown}`;
    return signed && value > 0 ? `+${shown}` : shown;
  }

  // What is not finite comes last in both directions.
  function order(rows) {
    const { column: name, direction } = state;
    if (name === null) return rows;
    const values = text(name) ? text(name).codes : numbers[name];
    return rows.sort((a, b) => {
      if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null) || a - b;
      return direction * (values[a] - values[b]) || a - b;
    });
  }

  function fill() {
    const picked = document.querySelector("input[name=table-pair]:checked");
    let rows = Array.from({ length: data.table.rows }, (_, row) => row);
    if (picked && picked.value) rows = rows.filter((row) => text("pair").values[text("pair").codes[row]] === picked.value);
    order(rows);
    const shown = state.all ? rows : rows.slice(0, FEW);
    const body = document.createElement("tbody");
    for (const row of shown) {
      const line = body.insertRow();
      for (const header of headers) {
        const name = header.dataset.column;
        const cell = line.insertCell();
        cell.className = header.className;
        if (name === "path") cell.classList.add("path");
        cell.textContent = text(name) ? text(name).values[text(name).codes[row]] : format(numbers[name][row]);
      }
    }
    table.tBodies[0].replaceWith(body);
    const count = (value) => value.toLocaleString("en");
    document.getElementById("table-count").textContent = shown.length < rows.length ? `${count(shown.length)} of ${count(rows.length)} heads` : `${count(rows.length)} heads`;
    more.hidden = rows.length <= FEW;
    more.textContent = state.all ? `Show the first ${FEW}` : `Show all ${count(rows.length)}`;
  }

  for (const header of headers) {
    header.querySelector("button").addEventListener("click", () => {
      const name = header.dataset.column;
      state.direction = state.column === name ? -state.direction : 1;
      state.column = name;
      headers.forEach((other) => other.setAttribute("aria-sort", other === header ? (state.direction > 0 ? "ascending" : "descending") : "none"));
      fill();
    });
  }
  listen("input[name=table-pair]", fill);
  listen("#table-nulls", (event) => table.classList.toggle("with-nulls", event.target.checked));
  more.addEventListener("click", () => {
    state.all = !state.all;
    fill();
  });

  // === Start: the table, before plotly.js is read; then one chart after the other, so that the page answers in between ===
  explain();
  fill();
  const waiting = [...charts];
  function drawNext() {
    if (waiting.length === 0) {
      document.documentElement.dataset.ready = "true";
      return;
    }
    draw(waiting.shift());
    setTimeout(drawNext);
  }
  document.addEventListener("DOMContentLoaded", drawNext);
})();
