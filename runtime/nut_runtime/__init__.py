"""Runs an exported PatchCore bundle: frames in, verdicts out. No torch anywhere.

    from nut_runtime import Inspector
    verdict = Inspector("bundle").inspect(frame)   # uint8 [H, W, 3], BGR

What is where:

- `inspector`: the front door; `verdict`: what it says; `regions`: boxes of what is defective
- `bundle`, `manifest`, `contract`: what a bundle is, checked before use; `signature`: who vouches for it
- `delta`: a deployed bundle taken to its next version by a small file, and back
- `engines`: OpenVINO and ONNX Runtime behind one interface; `selftest`: the golden frames on this device
- `sources`, `cameras`, `triggers`: what comes in; `sinks`, `plc`, `serve`: what goes out; `pipeline`: between them;
  `station_file`, `build_station`: all put together
- `locate`: the parts of a tray, found, cut out and judged one by one (`TrayInspector`)
- `scoring`, `pictures`, `errors`, `atomic`: what training, export and the edge share
"""

from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.errors import (
    BundleError,
    EngineError,
    InputError,
    NutError,
    OutputError,
    ParityError,
    PictureError,
    SourceError,
)
from nut_runtime.inspector import Inspector
from nut_runtime.locate.tray import TrayInspector
from nut_runtime.manifest import Manifest
from nut_runtime.scoring import OperatingPoint, Scale
from nut_runtime.verdict import Label, Verdict

__version__ = "0.1.0"

__all__ = [
    "Bundle",
    "BundleError",
    "EngineError",
    "InputError",
    "Inspector",
    "Label",
    "Manifest",
    "NutError",
    "OperatingPoint",
    "OutputError",
    "ParityError",
    "PictureError",
    "Scale",
    "SourceError",
    "TrayInspector",
    "Verdict",
    "open_bundle",
]
