// Draws what /statistics/data.json has into the page's figures; without it, the page's tables say the same.
const COLOURS = ["#0a8f7c", "#e2603b", "#4a7fd0", "#b08a1e", "#9a66c2", "#5a9c43", "#c9507e", "#77839a", "#a9b2bf"];
const HEIGHT = 300;
const root = document.getElementById("statistics");
const ink = () => getComputedStyle(document.body).color;
const line = () => getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
const short = (value) => (value == null ? "–" : value.toLocaleString([], { maximumFractionDigits: value < 100 ? 2 : 0 }));

/** Sums from the last series up, so that each area begins where the one below it ends. */
function stacked(chart) {
  const sums = chart.positions.map(() => 0);
  const columns = chart.series.map(() => null);
  for (let index = chart.series.length - 1; index >= 0; index--) {
    columns[index] = chart.series[index].values.map((value, at) => (sums[at] += value ?? 0));
  }
  return columns;
}

function marks(chart) {
  return {
    hooks: {
      draw: [(plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = ink();
        ctx.setLineDash([4, 4]);
        ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
        ctx.textAlign = "right";
        for (const mark of chart.marks) {
          const x = plot.valToPos(mark.at, "x", true);
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          ctx.save();
          ctx.translate(x - 4, bbox.top + 4);
          ctx.rotate(-Math.PI / 2);
          ctx.fillText(mark.text, 0, 0);
          ctx.restore();
        }
        ctx.restore();
      }],
    },
  };
}

function options(chart, width) {
  const isStack = chart.kind === "stack", isBars = chart.kind === "bars";
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const labels = { values: (_, places) => places.map((place) => chart.labels[place] ?? "") };
  return {
    width,
    height: HEIGHT,
    plugins: chart.marks.length ? [marks(chart)] : [],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { x: { time: chart.time }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1] } },
    axes: [isBars ? { ...axis, ...labels } : axis, { ...axis, label: chart.unit, size: 62 }],
    series: [
      { label: chart.axis, value: (_, place) => (place == null ? "–" : chart.labels.length ? chart.labels[place] : chart.time ? new Date(place * 1000).toISOString().slice(0, 16).replace("T00:00", "").replace("T", " ") : short(place)) },
      ...chart.series.map((series, index) => ({
        label: series.name,
        stroke: COLOURS[index % COLOURS.length],
        fill: isStack || isBars ? COLOURS[index % COLOURS.length] + (isStack ? "cc" : "b3") : undefined,
        width: isStack ? 0.5 : 2,
        dash: chart.kind === "lines" && index % 2 ? [6, 4] : undefined,
        points: { show: false },
        paths: isBars ? uPlot.paths.bars({ size: [0.8 / chart.series.length, 60], align: chart.series.length > 1 ? (index ? 1 : -1) : 0 }) : undefined,
        value: (_, __, ___, at) => short(at == null ? null : series.values[at]),
      })),
    ],
    bands: isStack ? chart.series.slice(1).map((_, index) => ({ series: [index + 1, index + 2] })) : [],
  };
}

function bars(chart, place) {
  const box = document.createElement("div"), most = Math.max(...chart.series[0].values);
  box.className = "bars";
  chart.labels.forEach((label, index) => {
    const name = document.createElement("span"), bar = document.createElement("i"), count = document.createElement("b");
    name.textContent = name.title = label;
    bar.style.width = `${(100 * chart.series[0].values[index]) / most}%`;
    count.textContent = short(chart.series[0].values[index]);
    const track = document.createElement("span");
    track.append(bar);
    box.append(name, track, count);
  });
  place.replaceChildren(box);
}

function draw(chart) {
  const place = document.getElementById(chart.id)?.querySelector(".plot");
  if (!place) return;
  if (chart.kind === "bars" && chart.labels.some((label) => label.length > 8)) return bars(chart, place);
  place.style.minHeight = `${HEIGHT}px`;
  const columns = chart.kind === "stack" ? stacked(chart) : chart.series.map((series) => series.values);
  const plot = new uPlot(options(chart, place.clientWidth || 600), [chart.positions, ...columns], place);
  new ResizeObserver(() => place.clientWidth && plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot.redraw());
}

// A module runs once the page is read, after the deferred script before it.
if (root.querySelector(".chart")) {
  const answer = await fetch(root.dataset.source);
  if (answer.ok) (await answer.json()).charts.forEach(draw);
  root.dataset.state = answer.ok ? "drawn" : "failed";
}
