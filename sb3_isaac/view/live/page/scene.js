// Robots in WebGL: a mesh for each body, shadows cast flat on the plane, a floor that fades into the sky.
const VERTEX = `
attribute vec3 position, normal; attribute vec4 colour;
uniform mat4 view; uniform vec4 turn; uniform vec3 place; uniform float shadow;
varying vec3 n; varying vec4 c; varying vec3 p;
vec3 turned(vec3 v) { return v + 2.0 * cross(turn.xyz, cross(turn.xyz, v) + turn.w * v); }
void main() {
  p = turned(position) + place; n = turned(normal); c = colour;
  if (shadow > 0.5) p = vec3(p.xy - p.z * vec2(-0.15, 0.3), 0.002);
  gl_Position = view * vec4(p, 1.0);
}`;
const FRAGMENT = `
precision highp float;
varying vec3 n; varying vec4 c; varying vec3 p;
uniform float shadow; uniform vec3 eye, middle; uniform float reach;
void main() {
  float far = smoothstep(0.35, 1.0, length(p.xy - middle.xy) / reach);
  if (shadow > 0.5) { gl_FragColor = vec4(0.10, 0.13, 0.18, 0.38 * (1.0 - far)); return; }
  vec3 m = normalize(n), sun = normalize(vec3(0.35, -0.5, 1.0));
  float light = 0.52 + 0.16 * m.z + 0.42 * max(dot(m, sun), 0.0);
  float shine = pow(max(dot(m, normalize(sun + normalize(eye - p))), 0.0), 40.0) * 0.18;
  gl_FragColor = vec4(c.rgb * light + shine, c.a);
}`;
const FLOOR_VERTEX = `
attribute vec3 position; uniform mat4 view; uniform vec3 middle; uniform float reach; varying vec3 p;
void main() { p = vec3(position.xy * reach + middle.xy, 0.0); gl_Position = view * vec4(p, 1.0); }`;
const FLOOR_FRAGMENT = `
#extension GL_OES_standard_derivatives : enable
precision highp float;
varying vec3 p; uniform vec3 middle; uniform float reach;
void main() {
  vec2 width = fwidth(p.xy) * 1.2 + 0.006, at = abs(fract(p.xy + 0.5) - 0.5);
  vec2 line = 1.0 - smoothstep(vec2(0.0), width, at);
  float fine = 1.0 - clamp(max(width.x, width.y) * 3.0, 0.0, 1.0);
  vec3 colour = mix(vec3(0.80, 0.83, 0.87), vec3(0.95), max(line.x, line.y) * fine);
  float far = smoothstep(0.35, 1.0, length(p.xy - middle.xy) / reach);
  gl_FragColor = vec4(colour, 1.0 - far);
}`;
const SKY = [0.93, 0.95, 0.975];
const JUMP_M = 0.5, JUMP_COS = 0.9, APART_M = 3;  // half the angle of a turn: a robot turns by 52 degrees in no frame

// The scalar product of the quaternions of body k / 7 in two frames.
const turnDot = (one, other, k) => [3, 4, 5, 6].reduce((sum, j) => sum + one[k + j] * other[k + j], 0);

function bytes(text) { return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); }

function compiled(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  const found = { program };
  for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
    const name = gl.getActiveUniform(program, i).name;
    found[name] = gl.getUniformLocation(program, name);
  }
  for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_ATTRIBUTES); i++) {
    const name = gl.getActiveAttrib(program, i).name;
    found[name] = gl.getAttribLocation(program, name);
  }
  return found;
}

const minus = (a, b) => a.map((value, i) => value - b[i]);
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => a.map((value) => value / Math.hypot(...a));

function cameraMatrix(eye, middle, aspect, reach) {
  const back = unit(minus(eye, middle)), right = unit(cross([0, 0, 1], back)), up = cross(back, right);
  const near = 0.05, far = 4 * reach, focus = 1 / Math.tan(0.35) / (aspect < 1 ? 1 / aspect ** 0.5 : 1);
  const rows = [right, up, back].map((axis) => [...axis, -dot(axis, eye)]);
  const depth = (far + near) / (near - far), shift = 2 * far * near / (near - far);
  const clip = [rows[0].map((v) => v * focus / aspect), rows[1].map((v) => v * focus),
    rows[2].map((v, i) => v * depth + (i === 3 ? shift : 0)), rows[2].map((v) => -v)];
  return new Float32Array([0, 1, 2, 3].flatMap((column) => clip.map((row) => row[column])));
}

export class Scene {
  constructor(canvas, data) {
    const gl = canvas.getContext("webgl", { antialias: true, stencil: true, alpha: false });
    if (!gl || !gl.getExtension("OES_element_index_uint")) throw new Error("this browser has no WebGL");
    gl.getExtension("OES_standard_derivatives");
    Object.assign(this, { canvas, gl, robots: data.robots, level: data.level, turnDeg: 152, tiltDeg: 16 });
    this.shapes = compiled(gl, VERTEX, FRAGMENT);
    this.floor = compiled(gl, FLOOR_VERTEX, FLOOR_FRAGMENT);
    this.square = this.buffer(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 0, 1, -1, 0, -1, 1, 0, 1, 1, 0]));
    this.size = 0.3;
    this.bodies = data.bodies.map((body, i) => body && this.body(body, i));
    this.distance = (this.level ? 4.2 : 6) * this.size + 0.95 * (this.robots - 1);
    this.frames = null;
    this.root = this.bodies.findIndex((body, i) => i && body);
    // Robots stand in lanes. Each is shown so many whole metres off, as the floor repeats itself, to stay in the picture.
    this.shift = [...Array(this.robots)].map(() => [0, 0]);
    this.lanes = this.shift.map((_, robot) => {
      const lane = this.level ? Math.ceil(robot / 2) * (robot % 2 ? -1 : 1) : 0;
      return [0.25 * lane, lane];
    });
    this.follow();
  }

  buffer(kind, content) {
    const made = this.gl.createBuffer();
    this.gl.bindBuffer(kind, made);
    this.gl.bufferData(kind, content, this.gl.STATIC_DRAW);
    return made;
  }

  body(body, index) {
    const gl = this.gl, vertices = new Float32Array(bytes(body.vertices).buffer), faces = new Uint32Array(bytes(body.faces).buffer);
    if (index) for (const value of vertices) this.size = Math.max(this.size, Math.abs(value));
    return { position: this.buffer(gl.ARRAY_BUFFER, vertices), normal: this.buffer(gl.ARRAY_BUFFER, bytes(body.normals)),
      colour: this.buffer(gl.ARRAY_BUFFER, bytes(body.colours)), faces: this.buffer(gl.ELEMENT_ARRAY_BUFFER, faces),
      count: faces.length };
  }

  follow() {
    const held = new Map();
    this.canvas.addEventListener("pointerdown", (event) => {
      held.set(event.pointerId, event);
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      if (held.size === 1) {
        this.turnDeg -= 0.4 * (event.clientX - before.clientX);
        this.tiltDeg = Math.min(85, Math.max(2, this.tiltDeg + 0.3 * (event.clientY - before.clientY)));
      } else {
        const other = [...held.values()].find((one) => one.pointerId !== event.pointerId);
        const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        this.distance *= Math.min(1.2, Math.max(0.8, apart(before) / Math.max(1, apart(event))));
      }
      held.set(event.pointerId, event);
      this.draw();
    });
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, (event) => held.delete(event.pointerId));
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.distance *= Math.exp(0.001 * event.deltaY);
      this.draw();
    }, { passive: false });
  }

  // A clip takes over at once where the one before has been shown, else when it ends.
  play(clip) {
    clip.poses = new Float32Array(bytes(clip.poses).buffer);
    const now = performance.now() / 1000;
    clip.start = this.next || this.frames ? Math.max(now, Math.min(now + clip.seconds, this.end)) : now;
    this.end = clip.start + clip.seconds;
    this.queue = [...(this.queue || []), clip].slice(-3);
    if (!this.running) { this.running = true; requestAnimationFrame(() => this.tick()); }
  }

  tick() {
    const now = performance.now() / 1000;
    while (this.queue.length > 1 && now >= this.queue[1].start) this.queue.shift();
    const clip = this.queue[0], at = Math.max(0, (now - clip.start) / clip.seconds) * clip.frames;
    if (now - (this.drawn || 0) >= 1 / 31) { this.pose(clip, at); this.draw(); this.drawn = now; }
    this.running = now < this.end + 0.05;
    if (this.running) requestAnimationFrame(() => this.tick());
  }

  // Poses between two frames; a robot that began anew elsewhere jumps.
  pose(clip, at) {
    const width = clip.poses.length / clip.frames, i = Math.min(clip.frames - 1, Math.floor(at));
    const share = Math.min(1, at - i), before = i ? clip.poses.subarray((i - 1) * width, i * width) : this.last;
    const after = clip.poses.subarray(i * width, (i + 1) * width), one = width / this.robots;
    if (i === clip.frames - 1) this.last = after;
    this.frames = Float32Array.from(after);
    for (let robot = 0; robot < this.robots; robot++) {
      const first = robot * one, k = first + 7 * this.root;
      const known = before && before.length === width;
      const moved = known && Math.hypot(after[k] - before[k], after[k + 1] - before[k + 1]);
      if (known && moved < JUMP_M && Math.abs(turnDot(before, after, k)) > JUMP_COS) {
        for (let body = first; body < first + one; body += 7) this.between(before, after, share, body);
      }
    }
    this.look();
    for (let k = 0; k < width; k += 7) {
      const robot = Math.floor(k / one);
      if (k % one === 0) continue;  // the world's own body
      for (const axis of [0, 1]) this.frames[k + axis] += this.shift[robot][axis] + this.lanes[robot][axis];
    }
  }

  between(before, after, share, k) {
    const sign = turnDot(before, after, k) < 0 ? -1 : 1, frames = this.frames;
    for (let j = 0; j < 7; j++) {
      const from = before[k + j] * (j > 2 ? sign : 1);
      frames[k + j] = from + share * (after[k + j] - from);
    }
    const size = Math.hypot(...frames.subarray(k + 3, k + 7)) || 1;  // a quaternion that is not 1 long squashes a body
    for (let j = 3; j < 7; j++) frames[k + j] /= size;
  }

  // What the camera looks at: the middle of the robots, of which one that is too far off is shown nearer.
  look() {
    const one = this.frames.length / this.robots;
    const at = (robot) => [0, 1].map((axis) => this.frames[robot * one + 7 * this.root + axis] + this.shift[robot][axis]);
    const robots = [...Array(this.level ? this.robots : 1).keys()], height = this.frames[7 * this.root + 2];
    const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
    const places = robots.map(at);
    const target = [median(places.map((place) => place[0])), median(places.map((place) => place[1])),
      this.level ? 0.5 * Math.min(height, 1) : height];
    const near = this.middle && Math.hypot(target[0] - this.middle[0], target[1] - this.middle[1]) < 1.5;
    this.middle = near ? this.middle.map((value, i) => value + 0.15 * (target[i] - value)) : this.middle && this.level ? this.middle : target;
    if (!this.level) return;
    for (const robot of robots) {
      const off = minus(at(robot), this.middle.slice(0, 2));
      if (Math.max(...off.map(Math.abs)) > APART_M) this.shift[robot] = this.shift[robot].map((value, i) => value - Math.round(off[i]));
    }
  }

  draw() {
    if (!this.frames) return;
    const gl = this.gl, canvas = this.canvas, ratio = Math.min(2, devicePixelRatio || 1);
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const turn = this.turnDeg * Math.PI / 180, tilt = this.tiltDeg * Math.PI / 180;
    const towards = [-Math.cos(turn) * Math.cos(tilt), -Math.sin(turn) * Math.cos(tilt), Math.sin(tilt)];
    const middle = this.middle, eye = middle.map((value, i) => value + this.distance * towards[i]);
    const reach = 6 * this.distance, view = cameraMatrix(eye, middle, width / height, reach);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...SKY, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    const common = (program) => {
      gl.useProgram(program.program);
      gl.uniformMatrix4fv(program.view, false, view);
      gl.uniform3fv(program.middle, middle);
      gl.uniform1f(program.reach, reach);
    };
    if (this.level) {
      common(this.floor);
      this.attribute(this.floor.position, this.square, 3, gl.FLOAT);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    }
    common(this.shapes);
    gl.uniform3fv(this.shapes.eye, eye);
    if (this.level) {  // each pixel once, however many bodies shade it
      gl.enable(gl.STENCIL_TEST);
      gl.disable(gl.DEPTH_TEST);
      gl.stencilFunc(gl.EQUAL, 0, 255);
      gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR);
      this.drawBodies(1);
      gl.disable(gl.STENCIL_TEST);
      gl.enable(gl.DEPTH_TEST);
    }
    this.drawBodies(0);
  }

  drawBodies(shadow) {
    const gl = this.gl, program = this.shapes, count = this.bodies.length;
    gl.uniform1f(program.shadow, shadow);
    this.bodies.forEach((body, index) => {
      if (!body || (shadow && !index)) return;
      this.attribute(program.position, body.position, 3, gl.FLOAT);
      this.attribute(program.normal, body.normal, 3, gl.BYTE, true);
      this.attribute(program.colour, body.colour, 4, gl.UNSIGNED_BYTE, true);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, body.faces);
      for (let robot = 0; robot < (index ? this.robots : 1); robot++) {
        const k = 7 * (robot * count + index), pose = this.frames;
        gl.uniform3f(program.place, pose[k], pose[k + 1], pose[k + 2]);
        gl.uniform4f(program.turn, pose[k + 4], pose[k + 5], pose[k + 6], pose[k + 3]);
        gl.drawElements(gl.TRIANGLES, body.count, gl.UNSIGNED_INT, 0);
      }
    });
  }

  attribute(place, buffer, size, kind, normalised = false) {
    if (place === undefined || place < 0) return;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
    this.gl.enableVertexAttribArray(place);
    this.gl.vertexAttribPointer(place, size, kind, normalised, 0, 0);
  }
}
