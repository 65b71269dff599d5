"""What a robot says of itself, against what a policy expects: ``python dry_run.py policy.onnx 127.0.0.1:9870``.

Nothing is sent that moves the robot. It is refused where its joints are in another order, or its rate, units or gains
are others. The function needs the standard library alone, the command onnxruntime too.
"""

import json
import math
import socket
import sys

UNITS = {"joint_pos": "rad", "joint_vel": "rad/s", "ang_vel": "rad/s", "gravity": "unit vector downwards",
         "joint_target": "rad"}
"""Of the numbers that robot and control loop exchange."""


def place(text):
    """Host and port of ``host:port``; the program ends with a sentence where it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        sys.exit(f"the robot's address is {text!r}: give host:port, such as 127.0.0.1:9870.")
    return host, int(port)


def ask(robot, seconds=5.0):
    """The robot's description of itself, asked for until it answers; `robot` is a connected UDP socket."""
    robot.settimeout(0.2)
    for _ in range(math.ceil(seconds / 0.2)):
        try:
            robot.send(b'{"describe": true}')
            answer = json.loads(robot.recv(65536))
            if "joint_names" in answer:
                return answer
        except (socket.timeout, ConnectionRefusedError):
            continue
    sys.exit(f"the robot did not answer for {seconds:g} s: start it first, and check address and port.")


def mistakes(policy, robot):
    """Sentences of what does not fit; none where the policy may run.

    :param policy: the metadata of its ONNX file, or what deploy.yml holds.
    :param robot: joint_names, control_hz, units, kp, kd, and joint_pos rad and gravity as measured now.
    """
    wrong = []
    ours, theirs = policy["joint_names"], robot["joint_names"]
    if ours != theirs:
        if sorted(ours) == sorted(theirs):
            i = next(i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b)
            wrong.append(f"joint {i} of the robot is {theirs[i]} and of the policy {ours[i]}: send and read the joints "
                         "in the policy's order.")
        else:
            odd = sorted(set(ours) ^ set(theirs))
            wrong.append(f"robot and policy do not have the same joints ({', '.join(odd[:4])}): this policy is of "
                         "another robot, or the joints have other names.")
        return wrong
    if abs(robot["control_hz"] - policy["control_hz"]) > 0.01 * policy["control_hz"]:
        wrong.append(f"the robot asks for targets at {robot['control_hz']:g} Hz and the policy gives them at "
                     f"{policy['control_hz']:g} Hz: run it at the policy's rate.")
    wrong += [f"the robot has {name} in {robot['units'].get(name)!r} and the policy in {unit!r}: convert it."
              for name, unit in UNITS.items() if robot["units"].get(name) != unit]
    for name in ("kp", "kd"):
        wrong += [f"{joint} has {name} {b:g} on the robot and was trained with {a:g}: set it to that."
                  for joint, a, b in zip(ours, policy[name], robot[name]) if abs(a - b) > 0.01 * max(abs(a), 0.1)]
    outside = [f"{joint} ({q:g})" for joint, q, (low, high) in zip(ours, robot["joint_pos"], policy["joint_range"])
               if not (-math.inf if low is None else low) - 0.1 <= q <= (math.inf if high is None else high) + 0.1]
    if outside:
        wrong.append(f"joints stand outside their ranges in rad, such as {outside[0]}: is the unit, the sign or the "
                     "zero another?")
    x, y, z = robot["gravity"]
    if abs(math.sqrt(x * x + y * y + z * z) - 1.0) > 0.05 or z > -0.5:
        wrong.append(f"gravity is ({x:.2f}, {y:.2f}, {z:.2f}) in the body's frame and should be near (0, 0, -1): put "
                     "the robot upright, or turn and scale the IMU's vector.")
    return wrong


if __name__ == "__main__":
    import onnxruntime

    metadata = onnxruntime.InferenceSession(sys.argv[1]).get_modelmeta().custom_metadata_map
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect(place(sys.argv[2]))
    found = mistakes({name: json.loads(text) for name, text in metadata.items()}, ask(link))
    sys.exit("\n".join(found) if found else print("the robot is what the policy expects"))
