// A curve on a canvas: its line, the ends of both axes, and its last value.
const INK = "#2d6cdf", SOFT = "#5d6878", LINE = "#dde3ea";

// Seven characters at most, which is the room beside a curve.
export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toFixed(0)}k`;
  if (size >= 0.1 || size === 0) return `${+value.toPrecision(3)}`;
  return size < 1e-3 ? value.toExponential(0) : `${+value.toFixed(3)}`;
}

export function drawCurve(canvas, points, x) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const xs = points.map((point) => point[0]), ys = points.map((point) => point[1]);
  let low = Math.min(...ys), high = Math.max(...ys);
  if (high - low < 1e-9) { low -= 0.5; high += 0.5; }
  const first = xs[0], last = Math.max(xs[xs.length - 1], first + 1e-9);
  const left = 44, right = width - 52, top = 6, bottom = height - 18;
  const atX = (value) => left + (right - left) * (value - first) / (last - first);
  const atY = (value) => bottom - (bottom - top) * (value - low) / (high - low);
  pen.strokeStyle = LINE;
  pen.strokeRect(left + 0.5, top + 0.5, right - left, bottom - top);
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = SOFT;
  pen.textAlign = "right";
  const most = Math.max(Math.abs(low), Math.abs(high)), tidy = (value) => short(Math.abs(value) < 0.01 * most || Math.abs(value) < 1e-4 ? 0 : value);
  pen.fillText(tidy(high), left - 5, top + 9);
  pen.fillText(tidy(low), left - 5, bottom);
  pen.fillText(`${short(last)} ${x}`, right, height - 4);
  pen.strokeStyle = INK;
  pen.lineWidth = 1.6;
  pen.beginPath();
  xs.forEach((value, i) => pen[i ? "lineTo" : "moveTo"](atX(value), atY(ys[i])));
  pen.stroke();
  pen.fillStyle = INK;
  pen.beginPath();
  pen.arc(atX(xs[xs.length - 1]), atY(ys[ys.length - 1]), 2.5, 0, 7);
  pen.fill();
  pen.textAlign = "left";
  pen.fillText(tidy(ys[ys.length - 1]), right + 6, Math.min(bottom, Math.max(top + 9, atY(ys[ys.length - 1]) + 4)));
}
