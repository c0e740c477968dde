// What the charts of all pages share: the reader's colour scheme, layouts, heatmaps, curves, and the order in which they are drawn.
"use strict";

const Charts = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  // === Colours ===
  const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
  const THEMES = {
    // `span` is the part of Viridis that stands out from the background; lines keep to it.
    light: { ink: "#1d2126", soft: "#5a626c", line: "#e2e3df", paper: "#fdfdfb", rule: "#9aa1a9", span: [0, 0.88], distinct: ["#2b6ca3", "#b5541c", "#35796b", "#8a4f9e", "#a3762b", "#6b6f75", "#c2557f", "#4a8f3c"], low: "#2b6ca3", middle: "#f3f3ef", high: "#b5541c" },
    dark: { ink: "#e6e7e4", soft: "#a5adb6", line: "#2d3238", paper: "#15181c", rule: "#6f7882", span: [0.3, 1], distinct: ["#6bb3ea", "#f0965a", "#6fc7b2", "#c39be0", "#d9b45f", "#a9b0b8", "#ee93b5", "#93d07f"], low: "#6bb3ea", middle: "#23282e", high: "#f0965a" },
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const theme = () => THEMES[dark.matches && !printing ? "dark" : "light"];
  // A kind of product has one colour on all pages; what is no product has the third.
  const kindColour = (kind) => theme().distinct[data.kinds.includes(kind) ? data.kinds.indexOf(kind) : 2];
  // The axis of a quantity whose whole range is known.
  function rangeOf(name) {
    const limits = (data.quantities[name] || {}).limits;
    return limits && { range: [limits[0], limits[1] + 0.02 * (limits[1] - limits[0])] };
  }

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
  const excess = (measured, expected) => measured.map((value, place) => (value === null || expected[place] === null ? null : value - expected[place]));

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
      layout(height, axis("head", { ...whole, ...ofHeads, title: { text: "head", standoff: 24 } }), axis("layer", { ...whole, autorange: "reversed", ...layerTicks(map.layers) })),
    ];
  }

  // Layers stand in order, also where their numbers have gaps.
  function layerTicks(layers) {
    const every = Math.ceil(layers.length / 9);
    const places = layers.map((_, place) => place).filter((place) => place % every === 0);
    return { tickmode: "array", tickvals: places, ticktext: places.map((place) => String(layers[place])) };
  }

  // Values of (layers, heads), as measured, of the null or the excess over it; `all` sets the scale of the colours.
  function headMap(map, quantity, measured, expected, shown, all) {
    const over = (line, layer) => (shown === "measured" || !expected ? line : shown === "null" ? expected[layer] : excess(line, expected[layer]));
    const texts = measured.map((line, layer) => line.map((value, head) =>
      value === null ? "" : `layer ${map.layers[layer]}, head ${head}<br>${quantity.label} <b>${format(value)}</b>${expected ? `, null ${format(expected[layer][head])}` : ""}`));
    const title = shown === "measured" ? quantity.label : `${quantity.label}, ${shown === "null" ? "null" : "excess over the null"}`;
    return heatmap(map, measured.map(over), colours(all, shown === "excess", quantity.limits), title, texts);
  }

  // === Curves ===
  function layerBar(layers) {
    const [least, most] = extent(layers);
    return { color: layers, colorscale: layerScale(), cmin: least, cmax: most === least ? least + 1 : most, colorbar: { ...colourBar("layer"), tickformat: "d", ...(most === least ? { tickvals: [least] } : {}) } };
  }

  function line(x, y, colour, hover, style = {}) {
    const mode = finite(y).length > 1 ? "lines" : "markers"; // a line of one point is none
    return { type: "scatter", mode, x, y, line: { width: 1.8, color: colour, ...style }, marker: { size: 7, color: colour }, hovertemplate: `${hover}<extra></extra>` };
  }

  // What lies between two curves, behind them.
  function band(x, low, high, colour) {
    const edge = { type: "scatter", mode: "lines", x, line: { width: 0 }, hoverinfo: "skip" };
    return [{ ...edge, y: low }, { ...edge, y: high, fill: "tonexty", fillcolor: translucent(colour) }];
  }

  function translucent(colour) {
    const parts = colour.startsWith("#") ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : colour.match(/\d+/g);
    return `rgba(${parts.join(",")},0.18)`;
  }

  const logAxis = { type: "log", exponentformat: "power", nticks: 6 };

  // Values that are zero but for rounding would push the rest into a corner.
  function logRange(values, floor = 1e-6) {
    const [, most] = extent(values);
    const [least] = extent(values.filter((value) => value > most * floor));
    return Number.isFinite(least) && most > 0 ? { range: [Math.log10(least) - 0.1, Math.log10(most) + 0.1] } : {};
  }

  // Round numbers in even steps where the axis has less than a decade; else 1, 2, 5 of each, or its beginning alone.
  function logTicks(range) {
    if (range[1] - range[0] < 0.8) return evenTicks(10 ** range[0], 10 ** range[1]);
    const decades = Array.from({ length: Math.ceil(range[1]) - Math.floor(range[0]) + 1 }, (_, place) => Math.floor(range[0]) + place);
    const every = Math.ceil(decades.length / 8);
    const within = range[1] - range[0] > 2.2 ? [1] : [1, 2, 5];
    const values = decades.filter((_, place) => place % every === 0).flatMap((decade) => within.map((part) => part * 10 ** decade));
    return { tickmode: "array", tickvals: values, ticktext: values.map((value) => format(value)) };
  }

  function evenTicks(least, most) {
    const raw = (most - least) / 5;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((times) => times * power >= raw) * power;
    const first = Math.ceil(least / step);
    const values = Array.from({ length: Math.floor(most / step) - first + 1 }, (_, place) => (first + place) * step);
    return { tickmode: "array", tickvals: values, ticktext: values.map((value) => format(value)) };
  }

  // An axis over all of some values that are above a millionth of the largest; it says so where one is not.
  function logScale(values) {
    const floor = 1e-6;
    const { range } = logRange(values, floor);
    if (!range) return { type: "log" };
    const [, most] = extent(values);
    if (finite(values).every((value) => value > most * floor)) return { type: "log", range, ...logTicks(range) };
    const cut = [Math.log10(most * floor), range[1]];
    return { type: "log", range: cut, ...logTicks(cut), title: { text: `cut at ${format(most * floor)}`, standoff: 8 } };
  }

  // An axis over values that need not differ.
  function linearScale(values) {
    const [least, most] = extent(values);
    const room = Math.abs(most) / 10 || 1;
    return least === most ? { range: [least - room, most + room] } : {};
  }

  // === Words ===
  function format(value, signed = false) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    let shown = size >= 1e6 || (size > 0 && size < 1e-4) ? size.toExponential(2).replace("e+", "e") : size >= 1000 ? Math.round(size).toLocaleString("en") : String(Number(size.toPrecision(4)));
    if (value < 0) shown = `−${shown}`;
    return signed && value > 0 ? `+${shown}` : shown;
  }

  // === Drawing: the chart nearest to what the reader looks at comes first, and the page answers in between ===
  let charts = [];
  let repaint = null;
  const waiting = new Set();
  let timer = null;

  const element = (chart) => document.getElementById(chart.content.element);
  function distance(chart) {
    const { top, bottom } = element(chart).getBoundingClientRect();
    return Math.max(0, top - innerHeight, -bottom);
  }

  function draw(chart) {
    waiting.delete(chart);
    const [traces, look] = chart.build(chart.content);
    if (printing) look.width = element(chart).clientWidth; // plotly's own measure comes too late for paper
    Plotly.react(chart.content.element, traces, look, CONFIG);
  }

  function drawNext() {
    timer = null;
    const [nearest] = [...waiting].map((chart) => [distance(chart), chart]).sort(([a], [b]) => a - b);
    if (nearest) draw(nearest[1]);
    performance.mark(waiting.size > 0 ? "chart" : "all charts");
    if (waiting.size > 0) timer = setTimeout(drawNext);
    else document.documentElement.dataset.ready = "true";
  }

  // Draws charts of some kinds, or all, anew: those in sight now, the others soon.
  function redraw(...kinds) {
    if (!window.Plotly) return;
    const chosenCharts = charts.filter(({ kind }) => kinds.length === 0 || kinds.includes(kind));
    chosenCharts.forEach((chart) => waiting.add(chart));
    chosenCharts.filter((chart) => distance(chart) < innerHeight / 2).forEach(draw);
    if (waiting.size > 0) {
      delete document.documentElement.dataset.ready;
      timer ??= setTimeout(drawNext);
    }
  }

  // Takes [kind, content, build] of each chart: the element's id is kind-id, and build(content) gives traces and layout.
  // What else follows the colour scheme is done by `paint`.
  function start(list, paint = () => {}) {
    repaint = paint;
    paint();
    charts = list.map(([kind, content, build]) => ({ kind, content: { ...content, element: `${kind}-${content.id}` }, build }));
    document.addEventListener("DOMContentLoaded", () => {
      charts.forEach((chart) => waiting.add(chart));
      drawNext();
    });
  }

  function listen(selector, action, event = "change") {
    document.querySelectorAll(selector).forEach((found) => found.addEventListener(event, action));
  }

  // On paper everything is open; afterwards what the reader had closed is closed again.
  function unfold(open) {
    document.querySelectorAll(open ? "details:not([open])" : "details[data-closed]").forEach((details) => {
      details.open = open;
      details.toggleAttribute("data-closed", open);
    });
  }

  function recolour() {
    repaint();
    redraw();
  }

  dark.addEventListener("change", recolour);
  for (const [event, value] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => {
      printing = value;
      document.documentElement.classList.toggle("printing", printing);
      unfold(printing);
      recolour();
      if (printing) [...waiting].forEach(draw);
    });
  }

  return { data, theme, viridis, kindColour, rangeOf, axis, layout, chosen, finite, extent, excess, colours, heatmap, headMap, layerBar, line, band, logAxis, logRange, logScale, linearScale, format, start, redraw, listen };
})();
