"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** Create an HTML element with attributes and children. Strings become text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
/** Append an SVG element with attributes and text to a parent. */
function draw(parent, tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  parent.append(element);
  return element;
}
const percent = rate => rate === null || rate === undefined ? "–" : `${rate > 0 ? "+" : "−"}${Math.abs(rate).toFixed(1)} %`;
const bytes = count => count.toLocaleString("en");
const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

// Rate-distortion curves
const hidden = new Set();
let metric = 0;

/** Return about `wanted` round numbers from low to high, and the decimals they need. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find(factor => factor * power >= rough) * power;
  const values = [];
  for (let i = Math.ceil(low / step); i * step <= high + step / 1e6; i++) values.push(i * step);
  return {values, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9))};
}
const color = number => data.colors[number % data.colors.length];
const dash = (line, number) => line.published ? ["6 3", "2 2", "8 3 2 3", "4 2"][number % 4] : "none";

function drawChart() {
  const chart = data.charts[metric];
  const first = chart.lines[0];
  const [width, height, left, bottom] = [900, 480, 56, 44];
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${chart.label} against bits per pixel`);
  $("chart").replaceChildren(svg);
  if (!first) return;
  // The axes are limited to the range of the first curve, which is ours.
  const values = first.curve.map(p => p[1]);
  const spread = Math.max(...values) - Math.min(...values) || 1;
  const low = Math.min(...values) - 0.08 * spread;
  const high = Math.max(...values) + 0.25 * spread;
  const maxRate = 1.15 * Math.max(...first.curve.map(p => p[0]));
  const x = bpp => left + bpp / maxRate * (width - left - 12);
  const y = value => 12 + (high - value) / (high - low) * (height - bottom - 12);
  const across = ticks(0, maxRate, 8);
  const up = ticks(low, high, 8);
  for (const tick of across.values) {
    draw(svg, "line", {class: "grid", x1: x(tick), x2: x(tick), y1: 12, y2: height - bottom});
    draw(svg, "text", {x: x(tick), y: height - bottom + 18, "text-anchor": "middle"}, tick.toFixed(across.digits));
  }
  for (const tick of up.values) {
    draw(svg, "line", {class: "grid", x1: left, x2: width - 12, y1: y(tick), y2: y(tick)});
    draw(svg, "text", {x: left - 8, y: y(tick) + 4, "text-anchor": "end"}, tick.toFixed(up.digits));
  }
  draw(svg, "text", {x: (left + width) / 2, y: height - 6, "text-anchor": "middle"}, "rate (bits per pixel)");
  draw(svg, "text", {x: -(height - bottom) / 2, y: 14, "text-anchor": "middle", transform: "rotate(-90)"}, chart.label);
  const clip = draw(svg, "clipPath", {id: "inside"});
  draw(clip, "rect", {x: left, y: 12, width: width - left - 12, height: height - bottom - 12});
  const inside = draw(svg, "g", {"clip-path": "url(#inside)"});
  // In reverse order, so that our curve is on top.
  chart.lines.map((line, number) => [line, number]).reverse().forEach(([line, number]) => {
    if (hidden.has(line.label)) return;
    const style = {stroke: color(number), fill: "none", "stroke-width": number ? (line.published ? 1.2 : 1.8) : 3.5,
                   "stroke-dasharray": dash(line, number), class: "curve", "data-codec": line.label};
    draw(inside, "polyline", {...style, points: line.curve.map(([bpp, value]) => `${x(bpp)},${y(value)}`).join(" ")});
    if (!line.published) for (const [bpp, value] of line.curve) {
      const dot = draw(inside, "circle", {cx: x(bpp), cy: y(value), r: number ? 3.5 : 5, fill: color(number)});
      draw(dot, "title", {}, `${line.label}: ${bpp.toFixed(3)} bits per pixel, ${value.toFixed(2)}`);
    }
  });
}

function drawLegend() {
  $("legend").replaceChildren(...data.charts[metric].lines.map((line, number) => {
    const button = make("button", {type: "button", "aria-pressed": String(!hidden.has(line.label))});
    const sample = document.createElementNS(SVG, "svg");
    draw(sample, "line", {x1: 0, x2: 22, y1: 4, y2: 4, stroke: color(number), "stroke-width": number ? 2 : 4,
                          "stroke-dasharray": dash(line, number)});
    button.append(sample, line.label);
    button.addEventListener("click", () => {
      if (!hidden.delete(line.label)) hidden.add(line.label);
      button.setAttribute("aria-pressed", String(!hidden.has(line.label)));
      drawChart();
    });
    return button;
  }));
}

function showMetric(number) {
  metric = number;
  [...$("metrics").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
  drawChart();
  drawLegend();
  const chart = data.charts[number];
  const used = Object.entries(data.counts).map(([codec, counts]) => [codec, counts[chart.metric]]);
  const all = Object.keys(data.images).length;
  const fewer = used.filter(([, images]) => images !== all);
  $("chart-note").textContent = `${chart.label}: ${chart.version}. Each point is the mean over ${count(all, "image")}`
    + (fewer.length ? ` (${fewer.map(([codec, images]) => `${codec}: ${images}`).join(", ")})` : "") + "."
    + (chart.metric === "ms-ssim" ? " Plotted as −10 log10(1 − MS-SSIM)." : "")
    + (data.sources.length && chart.metric === "psnr"
      ? ` Dashed curves were published by others and not measured here: ${data.sources.map(s => `${s.name} (${s.source})`).join("; ")}.` : "");
  drawImages(chart);
}

function drawBd() {
  const anchors = [...new Set(data.rates.map(r => r.anchor))];
  const columns = anchors.flatMap(anchor => data.charts.map(chart => ({anchor, chart})));
  const rate = (codec, {anchor, chart}) =>
    data.rates.find(r => r.codec === codec && r.anchor === anchor && r.metric === chart.metric);
  const codecs = Object.keys(data.codecs);
  const best = columns.map(column => Math.min(...codecs.map(codec => rate(codec, column)?.rate ?? Infinity)));
  $("bd-table").append(
    make("thead", {}, make("tr", {}, make("th", {}, "codec"), ...columns.map(({anchor, chart}) =>
      make("th", {}, chart.label.replace(" (dB)", ""), make("br"), `vs ${anchor}`)), make("th", {}, "images"))),
    make("tbody", {}, ...codecs.map(codec => make("tr", codec === data.ours ? {class: "ours"} : {}, make("td", {}, codec),
      ...columns.map((column, i) => {
        const row = rate(codec, column);
        return make("td", {...(row?.rate === best[i] && {class: "best"}), ...(row?.reason && {title: row.reason})},
                    percent(row?.rate));
      }), make("td", {}, String(Math.max(...Object.values(data.counts[codec]))))))));
  $("bd-note").textContent = "Computed by piecewise-cubic (pchip) interpolation of the logarithm of the rate, over the range of "
    + "quality that both curves cover and on the images that both codecs have.";
}

function drawImages(chart) {
  const codecs = Object.keys(data.codecs).filter(codec => codec !== "JPEG");
  if (!data.codecs.JPEG) return;
  $("per-image").hidden = false;
  $("per-image-metric").textContent = chart.label.replace(" (dB)", "");
  $("image-table").replaceChildren(
    make("thead", {}, make("tr", {}, make("th", {}, "image"), ...codecs.map(codec => make("th", {}, codec)))),
    make("tbody", {}, ...Object.entries(data.perImage[chart.metric]).map(([image, row]) => {
      const best = Math.min(...codecs.map(codec => row[codec] ?? Infinity));
      return make("tr", {}, make("td", {}, image), ...codecs.map(codec =>
        make("td", row[codec] === best ? {class: "best"} : {}, percent(row[codec]))));
    })));
}

// Side by side
function options(select, values, label = String) {
  select.replaceChildren(...values.map(value => make("option", {value}, label(value))));
}

function picture(codec, rate) {
  return data.pictures.find(p => p.image === $("pick-image").value && p.codec === codec && (!rate || p.rate === rate));
}

function showPictures() {
  const rate = Number($("pick-rate").value);
  const peer = $("pick-peer").value;
  const ours = picture(data.ours, rate);
  const theirs = picture(peer, peer === "original" ? 0 : rate);
  const size = picture("original", 0);
  for (const [id, entry, name] of [["ours", ours, data.ours], ["theirs", theirs, peer]]) {
    if (entry) $(id).src = entry.src; else $(id).removeAttribute("src");
    $(id).alt = `${$("pick-image").value}, ${name}`;
    Object.assign($(id), {width: size.width, height: size.height});
    $(`tag-${id}`).textContent = entry ? name : `${name}: no picture`;
  }
  const row = (name, entry) => make("tr", {}, make("td", {}, name),
    make("td", {}, entry ? bytes(entry.bytes) : "–"),
    make("td", {}, entry?.bpp ? entry.bpp.toFixed(3) : "–"),
    make("td", {}, entry?.psnr ? `${entry.psnr.toFixed(2)} dB` : "–"));
  $("sizes").replaceChildren(
    make("thead", {}, make("tr", {}, ...["", "bytes", "bits per pixel", "PSNR"].map(name => make("th", {}, name)))),
    make("tbody", {}, row(data.ours, ours), row(peer, theirs)));
}

function moveDivider() {
  const share = Number($("divider").value);
  $("ours").style.clipPath = `inset(0 ${100 - share}% 0 0)`;
  $("line").style.left = `${share}%`;
}

function setUpViewer() {
  const distinct = key => [...new Set(data.pictures.map(p => p[key]))];
  options($("pick-image"), distinct("image"));
  options($("pick-peer"), distinct("codec").filter(codec => codec !== data.ours).sort((a, b) => (a === "original") - (b === "original")));
  options($("pick-rate"), distinct("rate").filter(Boolean), rate => Number(rate).toFixed(2));
  for (const id of ["pick-image", "pick-peer", "pick-rate"]) $(id).addEventListener("change", showPictures);
  $("divider").addEventListener("input", moveDivider);
  const drag = event => {
    const box = $("stage").getBoundingClientRect();
    $("divider").value = 100 * (event.clientX - box.left) / box.width;
    moveDivider();
  };
  $("stage").addEventListener("pointerdown", event => { $("stage").setPointerCapture(event.pointerId); drag(event); });
  $("stage").addEventListener("pointermove", event => { if (event.buttons) drag(event); });
  $("viewer-note").textContent = "Sizes and PSNR are those of each codec's own file. Of each other codec, the file shown is the one "
    + `closest in size to ${data.ours}'s, within the measured range of qualities. The decoded pictures are stored in this page as `
    + `${data.pictureFormat}, which causes a small additional loss.`;
  showPictures();
  moveDivider();
}

// Speed
function bars(title, rows) {
  const longest = Math.max(...rows.map(row => row.value));
  const shortest = Math.min(...rows.map(row => row.value));
  const logarithmic = longest / shortest > 50; // on a linear scale, short bars would be invisible
  const low = shortest / 2;
  const length = value => logarithmic ? Math.log(value / low) / Math.log(longest / low) : value / longest;
  return make("div", {}, make("h3", {}, title + (logarithmic ? " (logarithmic scale)" : "")), ...rows.map(({name, value, text}) => {
    const bar = make("i");
    bar.style.width = `${70 * length(value)}%`;
    return make("div", {class: name === data.ours ? "bar ours" : "bar"}, make("span", {}, name),
                make("span", {class: "track"}, bar, make("small", {}, text)));
  }));
}
const times = ratio => `${Number(ratio[1].toPrecision(2))} (${Number(ratio[0].toPrecision(2))}–${Number(ratio[2].toPrecision(2))})`;

function showSpeed(speed) {
  const directions = {encode: "Encode", decode: "Decode"};
  const rows = (table, direction) => Object.entries(table).filter(([, row]) => row[direction].ratio)
    .map(([name, row]) => ({name, value: row[direction].ratio[1], text: times(row[direction].ratio)}));
  $("speed-text").textContent = `Time as a multiple of ${data.ours}'s at quality ${speed.warm[data.ours].quality}: the median of the `
    + `rounds, with the quartiles in brackets. The codecs take turns in each round. ${speed.machine}, ${count(speed.threads, "thread")}. `
    + "CompressAI's networks have untrained weights.";
  const parts = Object.entries(directions).map(([direction, title]) => bars(`${title}, in one running process`, rows(speed.warm, direction)));
  if (speed.processes) {
    for (const [direction, title] of Object.entries(directions)) parts.push(bars(`${title}, one process from file to file`, rows(speed.processes, direction)));
    parts.push(bars("Peak memory of the decoding process, in megabytes", Object.entries(speed.processes).map(([name, row]) =>
      ({name, value: row.decode.peak_mb, text: row.decode.peak_mb.toFixed(0)}))));
  }
  $("bars").append(...parts);
  if (speed.growth) $("bars").append(growthTable(speed.growth));
  if (speed.peak) {
    const kmac = speed.peak.kmac_per_pixel;
    const decoder = Object.entries(kmac).filter(([graph]) => graph !== "g_a" && graph !== "h_a");
    const total = decoder.reduce((sum, [, value]) => sum + value, 0);
    const share = quartiles => `${(100 * quartiles[1]).toFixed(0)} %`;
    $("bars").append(make("p", {}, `Decoding takes ${total.toFixed(1)} kMAC per pixel and reaches ${share(speed.peak.share.decode)} of the `
      + `matrix-multiply peak of this machine, measured in the same run. The synthesis network alone (${kmac.g_s.toFixed(1)} kMAC per `
      + `pixel) reaches ${share(speed.peak.share.g_s)}.`));
  }
}

function growthTable(growth) {
  const names = Object.keys(growth[0].tools);
  const directions = ["encode", "decode"];
  const median = list => [...list].sort((a, b) => a - b)[list.length >> 1];
  const base = Object.fromEntries(directions.map(direction => [direction, median(growth[0].tools[data.ours][direction].seconds)]));
  return make("div", {class: "scroll"}, make("h3", {}, "Growing pictures: time of a process as a multiple of "
      + `${data.ours}'s on the smallest picture, and its peak memory`), make("table", {},
    make("thead", {}, make("tr", {}, make("th", {}, "megapixels"), ...names.flatMap(name => directions.map(direction =>
      make("th", {}, name.replace(" (python -c, Pillow)", ""), make("br"), direction))))),
    make("tbody", {}, ...growth.map(row => make("tr", {}, make("td", {}, row.megapixels.toFixed(1)), ...names.flatMap(name =>
      directions.map(direction => {
        const cell = row.tools[name]?.[direction];
        return make("td", {}, cell ? `${Number((median(cell.seconds) / base[direction]).toPrecision(2))} · ${cell.peak_mb.toFixed(0)} MB` : "–");
      })))))));
}

// Codecs and versions
function showVersions() {
  const versions = data.codecs || data.speed?.codecs || {};
  for (const [name, version] of Object.entries(versions)) $("versions").append(make("li", {}, `${name}: ${version}`));
  const missing = {...(data.missing || {}), ...(data.speed?.missing || {})};
  const lines = Object.entries(missing).map(([name, reason]) => `${name} was left out: ${reason}.`);
  for (const [codec, image, reason] of data.failures || [])
    lines.push(codec ? `${codec} has no results for ${image}: ${reason}.` : `${image} was left out: ${reason}.`);
  if (data.interrupted) lines.push("The run was interrupted. This report shows what was measured before that.");
  for (const line of lines) $("troubles").append(make("p", {class: "warn"}, line));
}

if (data.charts) {
  $("curves").hidden = $("bd").hidden = false;
  data.charts.forEach((chart, number) => {
    const button = make("button", {type: "button"}, chart.label.replace(" (dB)", ""));
    button.addEventListener("click", () => showMetric(number));
    $("metrics").append(button);
  });
  $("summary").textContent = `${count(Object.keys(data.images).length, "image")}; every size and every decoded picture comes from a real file. `
    + Object.entries(data.software).map(([name, version]) => `${name} ${version}`).join(", ") + ".";
  drawBd();
  showMetric(0);
}
if (data.pictures?.length) {
  $("viewer").hidden = false;
  setUpViewer();
}
if (data.speed) {
  $("speed").hidden = false;
  showSpeed(data.speed);
}
showVersions();
