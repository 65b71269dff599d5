// The page: events of the program become numbers, curves, bars and robots; what is pressed goes back to it.
import { Scene } from "./scene.js";
import { drawCurve, short } from "./curve.js";

const element = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
const query = token ? `?token=${encodeURIComponent(token)}` : "";
let scene = null, axes = [], paused = false, curves = null;

function make(kind, parent, text = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  parent.append(made);
  return made;
}

// A name with its unit: forward_m_s is "forward, m/s".
function words(name) {
  const units = { _m_s: "m/s", _rad_s: "rad/s", _rad: "rad", _m: "m" };
  const end = Object.keys(units).find((unit) => name.endsWith(unit));
  return (end ? `${name.slice(0, -end.length)}, ${units[end]}` : name).replaceAll("_", " ");
}

function act(action) {
  fetch(`act${query}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(action) });
}

function showScene(data) {
  element("title").textContent = document.title = data.title;
  element("text").textContent = data.what;
  if (data.bodies.some((body) => body)) {
    try {
      scene = new Scene(element("scene"), data);
      element("note").textContent = "drag to turn, scroll to come nearer";
    } catch (error) {
      element("note").textContent = `robots cannot be drawn: ${error.message}`;
    }
  } else {
    element("note").textContent = "this task has no shapes to draw: its curves are shown";
  }
  axes = data.steering;
}

function showControls(state) {
  const box = element("controls");
  if (box.hidden || axes.some((axis) => !axis.output)) {  // also where the program has begun anew
    box.hidden = false;
    box.replaceChildren();
    for (const axis of axes) {
      const label = make("label", box, words(axis.name));
      axis.output = make("output", label);
      axis.input = make("input", label);
      Object.assign(axis.input, { type: "range", min: axis.low, max: axis.high, step: "any" });
      axis.input.disabled = axis.low === axis.high;
      axis.input.addEventListener("input", () => act({ command: axes.map((one) => Number(one.input.value)) }));
    }
    const buttons = make("div", box);
    make("button", buttons, "Push").addEventListener("click", () => act({ push: true }));
    make("button", buttons, "Pause").addEventListener("click", () => act({ paused: !paused }));
    if (axes.length) make("button", buttons, "Stop").addEventListener("click", () => act({ command: axes.map(() => 0) }));
  }
  paused = state.paused;
  box.querySelectorAll("button")[1].textContent = paused ? "Go on" : "Pause";
  state.command.forEach((value, i) => {
    axes[i].output.textContent = value.toFixed(2);
    if (document.activeElement !== axes[i].input) axes[i].input.value = value;
  });
}

function showStatus(status) {
  if (status.text) element("text").textContent = status.text;
  element("bar").hidden = status.progress === undefined;
  element("done").style.width = `${100 * (status.progress || 0)}%`;
  element("numbers").replaceChildren();
  for (const [name, value] of status.numbers) {
    const tile = make("div", element("numbers"));
    make("span", tile, name).title = name;
    make("b", tile, value);
    if (value.length > 9) tile.className = "wide";
  }
  showTerms(status.terms);
}

function showTerms(terms) {
  const box = element("terms");
  box.hidden = !terms.length;
  box.replaceChildren();
  make("h2", box, "reward terms, a step");
  const most = Math.max(1e-9, ...terms.map(([, value]) => Math.abs(value || 0)));
  for (const [name, value] of [...terms].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))) {
    const row = make("div", box);
    row.className = "term";
    make("span", row, words(name)).title = name;
    const bar = make("b", make("i", row));
    const share = 50 * Math.abs(value || 0) / most;
    bar.style.width = `${share}%`;
    bar.style.left = value < 0 ? `${50 - share}%` : "50%";
    bar.className = value < 0 ? "cost" : "";
    make("em", row, value === null ? "NaN" : short(value));
  }
}

function showCurves(data) {
  curves = data;
  const box = element("curves");
  while (box.children.length > 2 * data.curves.length) box.lastChild.remove();
  while (box.children.length < 2 * data.curves.length) { make("h2", box); make("canvas", box); }
  data.curves.forEach((curve, i) => {
    box.children[2 * i].textContent = curve.title;
    drawCurve(box.children[2 * i + 1], curve.points, data.x);
  });
}

const events = new EventSource(`events${query}`);
const on = (name, show) => events.addEventListener(name, (event) => show(JSON.parse(event.data)));
on("scene", showScene);
on("controls", showControls);
on("status", showStatus);
on("curves", showCurves);
on("clip", (clip) => scene && scene.play(clip));
on("end", () => { events.close(); element("text").textContent = "the program has ended"; });
events.onerror = () => { element("text").textContent = "the program does not answer"; };
addEventListener("resize", () => { if (curves) showCurves(curves); if (scene) scene.draw(); });
