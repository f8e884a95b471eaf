"""One part's work as plain text, which a process or another machine can be given. Imports nothing heavy."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from nut_export.export import ExportConfig

__all__ = ["ASIDE", "BUNDLE", "RUN", "Job", "export_config"]

RUN = "run"
BUNDLE = "bundle"
"""The folders in a part's own one."""
ASIDE = f"{BUNDLE}.before-"
"""How the name begins of a changed bundle that made room for a new one; the first 8 digits of its id follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done for one part.

    Attributes:
        name: The part.
        data: Its data set.
        out: Its folder in the output.
        train: The training, as `TrainConfig.to_json` gives it.
        export: The export, as `export_config` takes it.
        weights_sha256: Digest of the weights file that the training names; None where it names none.
        threads: Threads to compute with.
        cores: Cores to keep to, where that is possible; empty takes any.
        attempts: How often it may be begun in this pass.
        pass_id: Which call of the command this is, so that one that is begun again in it knows.
        forced_pass: The pass with `--force` that it belongs to, which calls go on with until it has ended: train and
            export even where a run or bundle from before it would still do. None without `--force`.
    """

    name: str
    data: Path
    out: Path
    train: Mapping[str, Any]
    export: Mapping[str, Any]
    weights_sha256: str | None = None
    threads: int = 1
    cores: tuple[int, ...] = ()
    attempts: int = 1
    pass_id: str = ""
    forced_pass: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What the result depends on, besides the pictures."""
        return {"train": dict(self.train), "export": dict(self.export), "weights_sha256": self.weights_sha256}

    @property
    def uses_gpu(self) -> bool:
        """Whether it is done on a GPU, where there is one."""
        return bool(self.train["device"] != "cpu")

    def to_text(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self) | {"data": str(self.data), "out": str(self.out)})

    @classmethod
    def from_text(cls, line: str) -> Self:
        """Return the job that `to_text` gave."""
        plain = json.loads(line)
        paths = {key: Path(plain[key]) for key in ("data", "out")}
        return cls(**{**plain, **paths, "cores": tuple(plain["cores"])})


def export_config(options: Mapping[str, Any], *, name: str | None = None) -> "ExportConfig":
    """Return the export that options ask for.

    Args:
        options: Values by the names of the options of `nut export`, with `_` for `-`.
        name: The part's name, where the options say no other.

    Raises:
        InputError: If a value is outside its range.
    """
    from nut_export.export import ExportConfig
    from nut_export.fast import FastConfig
    from nut_export.frame_size import parse_frame_size

    values = dict(options)
    fast = FastConfig(components=values.pop("components", None), candidates=values.pop("candidates", None))
    size = values.pop("frame_size", None)
    return ExportConfig(
        **{
            "name": name,
            **values,
            "compat": tuple(values.get("compat", ())),
            "fast": fast,
            "frame_px": None if size is None else parse_frame_size(size),
        }
    )
