// The script of a page about checkpoints: what its charts show, and the table of heads that sorts.
"use strict";

(() => {
  const { data, theme, viridis, kindColour, rangeOf, axis, layout, chosen, finite, extent, excess, colours, heatmap, headMap, layerBar, line, logAxis, logRange, format, start, redraw, listen } = Charts;
  const numbers = data.table.numbers;

  // === Heatmaps ===
  function drawHeatmap(map) {
    const name = document.getElementById("quantity").value;
    const pick = (values) => values && map.cells.map((cells) => cells.map((row) => (row === null ? null : values[row])));
    const shown = chosen("shown");
    const [measured, expected] = [numbers[name], numbers[`${name}_null`]];
    const all = shown === "measured" || !expected ? measured : shown === "null" ? expected : excess(measured, expected);
    return headMap(map, data.quantities[name], pick(measured), pick(expected), shown, all);
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
  function drawSpectra(chart) {
    const unit = chosen("spectrum");
    const { rule } = theme();
    const layers = chart.curves.map((curve) => curve.layer);
    const traces = chart.curves.map((curve, place) =>
      line(curve.index, curve[unit], viridis(layers.length > 1 ? place / (layers.length - 1) : 0.5), `layer ${curve.layer}<br>σ number %{x}: %{y:.3g}`, { width: 1.4 }));
    if (chart.null) traces.push(line(chart.null.index, chart.null[unit], theme().ink, "Gaussian factors<br>σ number %{x}: %{y:.3g}", { width: 2, dash: "dash" }));
    // Lines have no colour bar of their own.
    if (layers.length > 1) traces.push({ type: "scatter", mode: "markers", x: layers.map(() => null), y: layers.map(() => null), marker: layerBar(layers), hoverinfo: "skip" });
    const log = chosen("spectrum-axis") === "log";
    const scale = log ? { ...logAxis, ...logRange(chart.curves.flatMap((curve) => curve[unit])) } : { rangemode: "tozero" };
    return [traces, layout(360, axis("singular value, largest first", { zeroline: false, linecolor: rule, showgrid: false }), axis(unit === "top" ? "σ / σ<sub>1</sub>" : "σ / Σσ", scale))];
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
    const lines = [line([from, to], [from, to], rule, "equal", { width: 1 })];
    if (slope) lines.push(line([from, to], [from * slope, to * slope], ink, `Gaussian factors: ${format(slope)} of the bound`, { width: 1.6, dash: "dash" }));
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
    return square([points(xs, ys, layers, texts, layerBar(layers))], `squared norms, ${chart.a}`, `squared norms, ${chart.b}`, null, [...xs, ...ys]);
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
      const colour = kindColour(curve.pair);
      const style = { type: "scatter", x: places, text: data.names };
      return [
        { ...style, mode: "lines+markers", y: curve.measured, name: curve.label, line: { color: colour, width: 2 }, marker: { size: 6 }, hovertemplate: `%{text}<br>${curve.label}: %{y:.4g}<extra></extra>` },
        { ...style, mode: "lines", y: curve.null, name: `${curve.label}, null`, showlegend: false, line: { color: colour, width: 1.2, dash: "dash" }, hovertemplate: `%{text}<br>null of ${curve.label}: %{y:.4g}<extra></extra>` },
      ];
    });
    return [traces, layout(320, axis("", { tickmode: "array", tickvals: ticks, ticktext: ticks.map((place) => data.names[place]), showgrid: false, tickangle: "auto" }), axis("", rangeOf(chart.id) || {}), { showlegend: true, legend: { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" } })];
  }

  // === What is drawn, and what draws it anew ===
  start([
    ...data.progress.map((chart) => ["progress", chart, drawProgress]),
    ...data.differences.map((chart) => ["difference", chart, drawDifference]),
    ...data.heatmaps.map((chart) => ["heatmap", chart, drawHeatmap]),
    ...data.spectra.map((chart) => ["spectra", chart, drawSpectra]),
    ...data.row_norms.map((chart) => ["norms", chart, drawNorms]),
    ...data.tightness.map((chart) => ["tightness", chart, drawTightness]),
  ]);

  function explain() {
    document.getElementById("quantity-meaning").innerHTML = data.quantities[document.getElementById("quantity").value].meaning;
  }
  listen("#quantity", explain);
  listen("#quantity, input[name=shown]", () => redraw("heatmap"));
  listen("#difference-quantity", () => redraw("difference"));
  listen("input[name=spectrum], input[name=spectrum-axis]", () => redraw("spectra"));
  listen("input[name=scatter-axes]", () => redraw("norms", "tightness"));

  // === The table of heads ===
  const FEW = 100;
  const table = document.getElementById("heads-table");
  const headers = [...table.querySelectorAll("th[data-column]")];
  const more = document.getElementById("table-more");
  const text = (name) => data.table.texts[name];
  const state = { column: null, direction: 1, all: false };

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

  explain();
  fill();
})();
