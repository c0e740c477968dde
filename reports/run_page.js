// The script of a page about runs: curves over steps, heads at a step, singular values over steps.
"use strict";

(() => {
  const { data, theme, viridis, kindColour, rangeOf, axis, layout, chosen, extent, colours, headMap, line, band, logScale, linearScale, start, redraw, listen } = Charts;
  const menu = (id) => document.getElementById(id);
  const empty = () => [[], layout(160, axis("", { visible: false }), axis("", { visible: false }))];

  // === Colours: in order where the setting that varies is a number ===
  function colour(place, count, ordered) {
    if (count === 1) return theme().distinct[0];
    return ordered || count > theme().distinct.length ? viridis(place / (count - 1)) : theme().distinct[place];
  }
  const ofSeries = (one) => colour(one.point, data.points, data.ordered);
  function paint() {
    document.querySelectorAll("[data-series]").forEach((swatch) => { swatch.style.borderColor = ofSeries(data.series[swatch.dataset.series]); });
  }

  // === Curves over steps ===
  function visible() {
    const hidden = new Set([...document.querySelectorAll("input[name=series]:not(:checked)")].map((box) => Number(box.value)));
    return data.series.filter((_, place) => !hidden.has(place));
  }

  function curve(one, steps, values) {
    const style = one.apart ? { dash: "dot", width: 1.4 } : {};
    return [
      ...(values.low ? band(steps, values.low, values.high, ofSeries(one)) : []),
      line(steps, values.mean, ofSeries(one), `${one.label}<br>step %{x}: %{y:.4g}`, style),
    ];
  }

  const steps = (more = {}) => axis("step", { showgrid: false, nticks: 6, ...more });

  function drawRanks(chart) {
    const layer = menu("layer").value;
    const found = visible().map((one) => [one, ((one.ranks[chart.pair] || {})[layer] || {})[chart.kind]]).filter(([, values]) => values);
    const expected = found.filter(([, values]) => values.reference);
    const lasts = expected.map(([, { reference }]) => reference[reference.length - 1]);
    const [least, most] = extent(lasts);
    // Nulls that are the same for all are one line.
    const alike = expected.length > 0 && rangeOf(chart.kind) && most - least < 0.01;
    const longest = expected.reduce((longer, one) => (longer && longer[0].steps.length >= one[0].steps.length ? longer : one), null);
    const references = (alike ? [longest] : expected).map(([one, values]) =>
      line(one.steps, values.reference, alike ? theme().ink : ofSeries(one), `${data.references[chart.kind]}${alike ? "" : ` of ${one.label}`}<br>step %{x}: %{y:.4g}`, { dash: "dash", width: 1.2 }));
    const log = !rangeOf(chart.kind) && chosen("rank-axis") === "log";
    const all = found.flatMap(([, values]) => [...values.mean, ...(values.low || []), ...(values.high || []), ...(values.reference || [])]);
    const scale = rangeOf(chart.kind) || (log ? logScale(all) : { rangemode: "tozero" });
    return [[...references, ...found.flatMap(([one, values]) => curve(one, one.steps, values))], layout(320, steps(), axis("", scale), { margin: { l: 52, r: 14, t: 12, b: 44 } })];
  }

  function drawHistory(chart) {
    const found = visible().map((one) => [one, one.history[chart.id]]).filter(([, values]) => values);
    const all = found.flatMap(([, values]) => [...values.mean, ...(values.low || []), ...(values.high || [])]);
    const scale = chosen("history-axis") === "log" ? logScale(all) : linearScale(all);
    return [found.flatMap(([one, values]) => curve(one, values.steps, values)), layout(280, steps(), axis("", scale), { margin: { l: 52, r: 14, t: 12, b: 44 } })];
  }

  // === Final numbers over a setting ===
  function drawTrend(chart) {
    const { ticks, lines, label: name } = data.trend;
    const places = ticks.map((_, place) => place);
    const marked = places.filter((place) => place % Math.ceil(ticks.length / 8) === 0);
    const traces = lines.map((label, place) => ({
      ...line(places, chart.means[place], lines.length > 1 ? colour(place, lines.length, false) : kindColour(chart.id.split("_").pop()), `${label}${label && "<br>"}${name}=%{text}: %{y:.4g}`),
      mode: "lines+markers", text: ticks.map(String), connectgaps: true, marker: { size: 7 },
      error_y: { type: "data", array: chart.halves[place], thickness: 1.2, width: 4 },
    }));
    if (chart.null) traces.push(line(places, chart.null, theme().ink, "null: %{y:.4g}", { dash: "dash", width: 1.2 }));
    return [traces, layout(280, axis(name, { tickmode: "array", tickvals: marked, ticktext: marked.map((place) => String(ticks[place])), showgrid: false, range: [-0.3, places.length - 0.7] }), axis("", chart.rank ? { range: [0, 1.02] } : {}), { margin: { l: 52, r: 14, t: 12, b: 44 } })];
  }

  // Of several models not every one has each product.
  function showFigure(kind, chart, content) {
    menu(`${kind}-${chart.id}`).closest("figure").hidden = !content;
  }

  // === Heads at a step ===
  function drawHeads(chart) {
    const run = data.heatmaps[menu("heads-run").value];
    const product = run.products[chart.id];
    const name = menu("quantity").value;
    showFigure("heatmap", chart, product);
    if (!product || !product.values[name]) return empty();
    const at = (values) => values[menu("step").value];
    const measured = product.values[name];
    const constant = product.values[`${name}_null`];
    const expected = typeof constant === "number" ? measured.map((reading) => reading.map((cells) => cells.map(() => constant))) : constant;
    const shown = chosen("shown");
    const over = expected && shown !== "measured";
    // One scale for all steps, so that colours can be compared.
    const all = measured.flatMap((reading, r) => reading.flatMap((cells, l) => cells.map((value, h) =>
      !over ? value : shown === "null" ? expected[r][l][h] : value === null || expected[r][l][h] === null ? null : value - expected[r][l][h])));
    return headMap({ element: `heatmap-${chart.id}`, layers: product.layers }, data.quantities[name], at(measured), expected && at(expected), shown, all);
  }

  function showStep() {
    const run = data.heatmaps[menu("heads-run").value];
    const text = run.steps[menu("step").value].toLocaleString("en");
    menu("step-shown").textContent = text;
    menu("step").setAttribute("aria-valuetext", `step ${text}`);
  }

  function showRun() {
    const last = data.heatmaps[menu("heads-run").value].steps.length - 1;
    menu("step").max = last;
    menu("step").value = last;
    showStep();
  }

  function explain() {
    menu("quantity-meaning").innerHTML = data.quantities[menu("quantity").value].meaning;
  }

  // === Singular values over steps ===
  function drawSpectra(chart) {
    const layers = data.spectra[menu("spectra-run").value].products[chart.id];
    const found = layers && layers[menu("spectra-layer").value];
    showFigure("spectra", chart, layers);
    if (!found) return empty();
    const traces = found.lines.map((values, place) =>
      line(found.steps, values, viridis(found.lines.length > 1 ? place / (found.lines.length - 1) : 0), `σ number ${found.numbers[place]} of ${found.of}<br>step %{x}: %{y:.3g}`, { width: 1.3 }));
    const scale = chosen("spectrum-axis") === "log" ? logScale(found.lines.flat()) : { rangemode: "tozero" };
    return [traces, layout(340, steps(), axis("σ", scale), { margin: { l: 52, r: 14, t: 12, b: 44 } })];
  }

  function showLayers() {
    const { products } = data.spectra[menu("spectra-run").value];
    const layers = [...new Set(Object.values(products).flatMap(Object.keys))].sort((a, b) => a - b);
    const before = menu("spectra-layer").value;
    menu("spectra-layer").replaceChildren(...layers.map((layer) => new Option(layer, layer)));
    if (layers.includes(before)) menu("spectra-layer").value = before;
  }

  // === What is drawn, and what draws it anew ===
  const ids = (kind) => [...document.querySelectorAll(`.chart[id^="${kind}-"]`)].map((chart) => chart.id.slice(kind.length + 1));
  if (data.heatmaps.length) {
    explain();
    showRun();
  }
  if (data.spectra.length) showLayers();
  start([
    ...(data.trend ? data.trend.charts : []).map((chart) => ["trend", chart, drawTrend]),
    ...ids("ranks").map((id) => ["ranks", { id, kind: id.slice(0, id.lastIndexOf("-")), pair: id.slice(id.lastIndexOf("-") + 1) }, drawRanks]),
    ...ids("history").map((id) => ["history", { id }, drawHistory]),
    ...ids("heatmap").map((id) => ["heatmap", { id }, drawHeads]),
    ...ids("spectra").map((id) => ["spectra", { id }, drawSpectra]),
  ], paint);
  listen("input[name=series]", () => redraw("ranks", "history"));
  listen("#layer, input[name=rank-axis]", () => redraw("ranks"));
  listen("input[name=history-axis]", () => redraw("history"));
  listen("#quantity", explain);
  listen("#heads-run", showRun);
  listen("#step", showStep, "input");
  listen("#step", () => redraw("heatmap"), "input");
  listen("#heads-run, #quantity, input[name=shown]", () => redraw("heatmap"));
  listen("#spectra-run", showLayers);
  listen("#spectra-run, #spectra-layer, input[name=spectrum-axis]", () => redraw("spectra"));
})();
