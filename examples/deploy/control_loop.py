"""Run an exported policy on a robot: ``python control_loop.py policy.onnx 127.0.0.1:9870 --command 1.0,0.0``.

Needs numpy and onnxruntime alone. The robot sends its state as UDP packets at the policy's rate and takes joint
targets; a packet may come late or never: then the robot keeps its last target, and the next state is answered.
"""

import argparse
import json
import math
import socket
import sys

import numpy as np
import onnxruntime
from dry_run import ask, mistakes, place


def observation(policy, state, action, command):
    """(1, k) float32: the parts that the policy names, in its order."""
    parts = {
        "joint_pos": np.subtract(state["joint_pos"], policy["default_joint_pos"]), "joint_vel": state["joint_vel"],
        "last_action": action, "imu_ang_vel_b": state["ang_vel"], "imu_gravity_b": state["gravity"],
        "command": command, "told_to_stand": [float(max(map(abs, command)) <= 0.1)]}
    unknown = [part["name"] for part in policy["observations"] if part["name"] not in parts]
    if unknown:
        sys.exit(f"the policy observes {', '.join(unknown)}, which this program does not know: give its function "
                 "observation a line for that.")
    return np.concatenate([parts[part["name"]] for part in policy["observations"]]).astype(np.float32)[None]


def numbers(text, policy):
    """The command as the policy takes it; the program ends with a sentence where it is another."""
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        sys.exit(f"--command {text!r} is no list of numbers: give it as 1.0,0.0.")
    axes = list(policy.get("command", values))
    width = next((part["width"] for part in policy["observations"] if part["name"] == "command"), len(axes))
    if len(values) != width:
        sys.exit(f"--command {text!r} is of length {len(values)}: give the {width} numbers that this policy takes, "
                 f"{', '.join(map(str, axes))}.")
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("onnx", help="the policy, as 'sb3-isaac export RUN --onnx' writes it")
    parser.add_argument("robot", help="host:port")
    parser.add_argument("--command", default="1.0,0.0", help="one number for each axis of the policy's command: "
                        "forward m/s and yaw rad/s of the flat task; forward, left and yaw of the velocity task")
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(args.onnx)
    policy = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    command = numbers(args.command, policy)
    robot = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    robot.connect(place(args.robot))
    wrong = mistakes(policy, ask(robot))
    if wrong:
        sys.exit("\n".join(wrong))
    action, newest = np.zeros(len(policy["joint_names"])), -1
    robot.settimeout(5.0)
    robot.send(b'{"start": true}')
    while True:
        state = json.loads(robot.recv(65536))
        if state.get("over"):
            return
        if state["number"] > newest:  # else it was late, and a newer one is answered already
            newest = state["number"]
            outputs = session.run(["action", "joint_target"], {"obs": observation(policy, state, action, command)})
            action, target = (output[0] for output in outputs)
            robot.send(json.dumps({"number": newest, "joint_target": target.tolist()}).encode())


if __name__ == "__main__":
    main()
