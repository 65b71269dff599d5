"""A robot of its own process, simulated, for a control loop: ``python simulated_robot.py --seconds 60 --lost 0.05``.

It answers as hardware would: UDP packets of its state at 50 Hz, joint targets that act from when they arrive, and
packets that are lost or late in both directions. Its motors follow the last target that came, at 500 Hz.
"""

import argparse
import json
import random
import socket
import time

import torch

from sb3_isaac.contract.rotations import down
from sb3_isaac.robots import get_robot
from sb3_isaac.sim import make_simulator

CONTROL_S, PHYSICS_S = 0.02, 0.002
UNITS = {"joint_pos": "rad", "joint_vel": "rad/s", "ang_vel": "rad/s", "gravity": "unit vector downwards",
         "joint_target": "rad"}


class SimulatedRobot:
    """One robot on flat ground and the packets to and from it."""

    def __init__(self, link, name="quadruped", lost=0.05, late_s=0.01, patience_s=0.5, seed=0):
        self.link, self.lost, self.late_s, self.patience_s = link, lost, late_s, patience_s
        self.random, self.dropped, self.partner = random.Random(seed), 0, None
        self.robot = get_robot(name)
        self.sim = make_simulator("mujoco", self.robot, 1, physics_dt=PHYSICS_S, substeps=1, threads=1)
        self.target = torch.tensor([self.robot.default_joint_pos])
        zeros, joints = torch.zeros(1, 3), torch.zeros_like(self.target)
        self.sim.reset(torch.ones(1, dtype=torch.bool), torch.tensor([[0.0, 0.0, self.robot.base_height_m]]),
                       torch.tensor([[1.0, 0.0, 0.0, 0.0]]), zeros, zeros, self.target, joints)
        self.coming = []  # (simulated time of arrival, targets) of packets that are on their way

    def state(self):
        """What its sensors show."""
        s = self.sim.state
        return {"joint_pos": s.joint_pos[0].tolist(), "joint_vel": s.joint_vel[0].tolist(),
                "ang_vel": s.root_ang_vel_b[0].tolist(), "gravity": down(s.root_quat_w)[0].tolist()}

    def description(self):
        """What it says of itself."""
        return {**self.state(), "joint_names": list(self.robot.joints), "control_hz": 1.0 / CONTROL_S, "units": UNITS,
                "kp": list(self.robot.kp), "kd": list(self.robot.kd)}

    def wait_for_start(self):
        """Answer questions until a control loop starts it."""
        while True:
            data, sender = self.link.recvfrom(65536)
            if json.loads(data).get("start"):
                self.partner = sender
                return
            self.link.sendto(json.dumps(self.description()).encode(), sender)

    def is_lost(self):
        """Whether the packet at hand is lost."""
        gone = self.random.random() < self.lost
        self.dropped += gone
        return gone

    def tick(self, number):
        """Send a state and move on by a control step; waiting for the answer takes no simulated time."""
        now = number * CONTROL_S
        if not self.is_lost():
            self.link.sendto(json.dumps({"number": number, **self.state()}).encode(), self.partner)
            self.link.settimeout(self.patience_s)
            try:
                answer = json.loads(self.link.recvfrom(65536)[0])
                if not self.is_lost():
                    arrival = now + self.random.uniform(0.0, self.late_s)
                    self.coming.append((arrival, torch.tensor([answer["joint_target"]])))
            except socket.timeout:
                self.dropped += 1
        for k in range(round(CONTROL_S / PHYSICS_S)):
            due = [target for arrival, target in self.coming if arrival <= now + k * PHYSICS_S]
            if due:
                self.target, self.coming = due[-1], self.coming[len(due):]
            self.sim.step(self.target)

    def run(self, seconds, fast):
        """Move for so long, in real time unless `fast`; how it went."""
        steps, began = round(seconds / CONTROL_S), time.monotonic()
        for number in range(steps):
            self.tick(number)
            if self.state()["gravity"][2] > -0.5:
                break
            if not fast:
                time.sleep(max(0.0, began + (number + 1) * CONTROL_S - time.monotonic()))
        self.link.sendto(b'{"over": true}', self.partner)
        real_s = time.monotonic() - began
        walked, took = float(self.sim.state.root_pos_w[0, :2].norm()), (number + 1) * CONTROL_S
        return {"seconds": round(took, 2), "fell": number + 1 < steps, "distance_m": round(walked, 2),
                "speed_m_s": round(walked / took, 3), "packets_lost": self.dropped,
                "packets": 2 * (number + 1), "real_s": round(real_s, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--port", type=int, default=9870, help="of this machine, where it waits for a control loop")
    parser.add_argument("--seconds", type=float, default=60.0, help="s of simulated time; a fall ends it before")
    parser.add_argument("--lost", type=float, default=0.05, help="share of packets that never arrive, each way")
    parser.add_argument("--late", type=float, default=0.01, help="s that a target comes late by at most")
    parser.add_argument("--fast", action="store_true", help="as fast as it can, not in real time")
    args = parser.parse_args()
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.bind(("127.0.0.1", args.port))
    robot = SimulatedRobot(link, lost=args.lost, late_s=args.late)
    print(f"simulated robot on port {args.port}", flush=True)
    robot.wait_for_start()
    print(json.dumps(robot.run(args.seconds, args.fast)), flush=True)


if __name__ == "__main__":
    main()
