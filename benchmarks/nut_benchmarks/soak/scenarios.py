"""What `make soak` does, by name."""

from collections.abc import Callable

from nut_benchmarks.soak.checks import Finding, Setting
from nut_benchmarks.soak.disk_scenarios import disk_full
from nut_benchmarks.soak.network_scenarios import (
    broker_away,
    camera_away,
    plc_vanishes,
    stopped_while_cameras_are_away,
    webhook_hangs,
)
from nut_benchmarks.soak.process_scenarios import full_speed, killed, model_exchanged, terminated, two_instances

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Callable[[Setting], Finding]] = {
    "full-speed": lambda setting: full_speed(setting, 20_000),
    "killed": lambda setting: killed(setting, 50),
    "terminated": lambda setting: terminated(setting, 20),
    "model-exchanged": lambda setting: model_exchanged(setting, 30),
    "camera-away": lambda setting: camera_away(setting, 20),
    "stopped-while-cameras-are-away": lambda setting: stopped_while_cameras_are_away(setting, 9),
    "broker-away": lambda setting: broker_away(setting, 60.0),
    "webhook-hangs": lambda setting: webhook_hangs(setting, 30.0),
    "disk-full": lambda setting: disk_full(setting, 10),
    "plc-vanishes": lambda setting: plc_vanishes(setting, 200),
    "two-instances": lambda setting: two_instances(setting, 3),
}
"""What `make soak` does, by name."""
