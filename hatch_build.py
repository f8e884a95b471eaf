"""What differs between the editable install and a released wheel (docs/decisions/0001)."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RuntimeBeside(BuildHookInterface):
    """A built wheel requires `nut-runtime` of its own version; an editable install brings its source and command."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the requirement (wheel) or the `nut-runtime` command (editable)."""
        if version == "editable":
            self.metadata.core.scripts["nut-runtime"] = "nut_runtime.cli:main"
        else:
            build_data["dependencies"].append(f"nut-runtime[openvino]=={self.metadata.version}")
