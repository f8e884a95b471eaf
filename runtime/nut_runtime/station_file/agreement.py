"""Whether what a station file says here agrees with what it says there.

A check is left out where one of its values is wrong by itself, so that one mistake is told once.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nut_runtime.bundle import Bundle
from nut_runtime.errors import InputError
from nut_runtime.ignore_mask import IgnoreMask
from nut_runtime.station_file.config import Combine, PlcConfig, ServeConfig, StationConfig, TriggerKind, ViewLimits
from nut_runtime.station_file.document import Document
from nut_runtime.station_file.key_lines import KeyPath
from nut_runtime.station_file.values import without_secrets

__all__ = ["check_agreement", "check_with_bundle"]

_Values = Mapping[str, Any]


def check_agreement(document: Document, values: _Values) -> None:
    """Note in `document` where its values, each right by itself, do not go together."""
    for check in (_cameras, _views, _trigger, _part, _files, _network, _listening):
        for path, message in check(document, values):
            document.add(path, message)


def check_with_bundle(document: Document, config: StationConfig, bundle: Bundle) -> None:
    """Note where the cameras do not fit the bundle: a size of frames that it does not take, a mask that hides all.

    A locator finds parts in frames of any size; what fits is then for the cut-outs, and the bundle's own matter.
    """
    manifest = bundle.manifest
    is_locating = config.locate is True or (config.locate is None and manifest.locator is not None)
    if is_locating and manifest.locator is None:
        document.add(("locate",), f"{bundle.folder} has no locator; export it with one, or set it to false")
    for number, camera in enumerate(config.cameras):
        view = _view_px(camera.region_px, camera.settings.width_px, camera.settings.height_px)
        if manifest.frame_px is not None and not is_locating and view is not None and view != manifest.frame_px:
            height, width = manifest.frame_px
            document.add(
                ("camera", number, "settings" if camera.region_px is None else "region_px"),
                f"the view has {view[1]}x{view[0]} px, but the bundle takes only {width}x{height} px",
            )
        if camera.ignore is not None and is_locating:
            document.add(
                ("camera", number, "ignore"),
                "goes with one part in a frame, not with trays; give a region_px instead, or set locate = false",
            )
        elif camera.ignore is not None:
            try:
                IgnoreMask.read(camera.ignore).areas((manifest.input_height_px, manifest.input_width_px))
            except InputError as error:
                document.add(("camera", number, "ignore"), str(error))


def _cameras(document: Document, values: _Values) -> Iterator[tuple[KeyPath, str]]:
    """No two cameras have a name or a device in common."""
    names: dict[str, int] = {}
    devices: dict[str, int] = {}
    for number, camera in enumerate(values.get("camera", ())):
        name, address = camera.get("name"), camera.get("address")
        if name is not None:
            first = names.setdefault(name.casefold(), number)
            if first != number:
                line = document.line("camera", first, "name")
                yield ("camera", number, "name"), f"the camera in line {line} has this name already"
        if address is not None and not _is_file(address):
            first = devices.setdefault(address.removeprefix("/dev/video"), number)
            if first != number:
                line = document.line("camera", first, "address")
                yield (
                    ("camera", number, "address"),
                    f"the camera in line {line} reads {without_secrets(address)!r} already",
                )


def _is_file(address: str) -> bool:
    """Return whether an address is a picture, video or folder, which several cameras may play back."""
    return not (address.isdigit() or address.startswith(("/dev/", "gstreamer:", "genicam:")) or "://" in address)


def _views(document: Document, values: _Values) -> Iterator[tuple[KeyPath, str]]:
    """Regions lie in the frame, and masks are of their size."""
    every = values.get("every_camera", {}).get("settings", {})
    for number, camera in enumerate(values.get("camera", ())):
        here: KeyPath = ("camera", number)
        settings = {**every, **camera.get("settings", {})}
        width, height = settings.get("width_px"), settings.get("height_px")
        if (width is None) != (height is None) and document.is_sound(*here, "settings"):
            given = "width_px" if height is None else "height_px"
            where = here if given in camera.get("settings", {}) else ("every_camera",)
            yield (*where, "settings", given), "give width_px and height_px, or neither"
        region = camera.get("region_px")
        if region is not None:
            left, top, across, down = region
            if width is not None and height is not None and (left + across > width or top + down > height):
                yield (
                    (*here, "region_px"),
                    (f"reaches to {left + across}, {top + down} px, beyond the frame of {width}x{height} px"),
                )
        if "ignore" in camera and document.is_sound(*here, "region_px"):
            view = _view_px(region, width, height)
            try:
                mask = IgnoreMask.read(camera["ignore"])
                if view is not None:
                    mask.check_size(view)
            except InputError as error:
                yield (*here, "ignore"), str(error)


def _view_px(region: tuple[int, int, int, int] | None, width: int | None, height: int | None) -> tuple[int, int] | None:
    """Return height and width of what is judged; None where only the camera knows."""
    if region is not None:
        return region[3], region[2]
    return None if width is None or height is None else (height, width)


def _trigger(document: Document, values: _Values) -> Iterator[tuple[KeyPath, str]]:
    """A trigger has who gives it, and what it needs."""
    trigger = values.get("trigger", {})
    kind = trigger.get("kind")
    for needed, table in ((TriggerKind.PLC, "plc"), (TriggerKind.HTTP, "serve")):
        if kind is needed and not document.has(table):
            yield ("trigger", "kind"), f'"{kind}" needs a table [{table}]'
    if kind is not None and kind is not TriggerKind.EVERY and "every_ms" in trigger:
        yield ("trigger", "every_ms"), f'goes with kind = "{TriggerKind.EVERY}" only, and kind is "{kind}"'
    if kind is TriggerKind.PLC and document.is_sound("plc") and document.is_sound("camera"):
        slowest = _slowest_s(values)
        within = values.get("plc", {}).get("answer_within_s", PlcConfig().answer_within_s)
        if document.has("plc") and slowest >= within:
            yield (
                ("plc", "answer_within_s"),
                (
                    f"cameras that are away are waited for {slowest:g} s (timeout_s, group after group), so the PLC "
                    f"must wait longer than that, not {within:g} s"
                ),
            )


def _slowest_s(values: _Values) -> float:
    """Return how long the frames of a part are waited for at most: the longest of each group, one after the other."""
    every = values.get("every_camera", {}).get("limits", {})
    longest: dict[int, float] = {}
    for camera in values.get("camera", ()):
        timeout_s = {**every, **camera.get("limits", {})}.get("timeout_s", ViewLimits().timeout_s)
        group = camera.get("group", 1)
        longest[group] = max(longest.get(group, 0.0), timeout_s)
    return sum(longest.values())


def _part(document: Document, values: _Values) -> Iterator[tuple[KeyPath, str]]:
    """Views are combined only where there are some, and `at-least` has its number and as many cameras."""
    part = values.get("part", {})
    given = document.has("part", "at_least")
    if not document.is_sound("part", "combine"):
        return
    combine = part.get("combine", Combine.ANY)
    kind = values.get("trigger", {}).get("kind", TriggerKind.FREE)
    if combine is not Combine.ANY and kind is TriggerKind.FREE and document.is_sound("trigger"):
        yield (
            ("part", "combine"),
            (
                f'"{combine}" has no effect with trigger.kind = "{TriggerKind.FREE}", where each frame of each camera '
                f'is a part by itself; choose a trigger such as "{TriggerKind.EVERY}"'
            ),
        )
        return
    if part.get("combine") is not Combine.AT_LEAST:
        if given:
            yield ("part", "at_least"), f'goes with combine = "{Combine.AT_LEAST}" only'
    elif not given:
        yield ("part", "combine"), f'"{Combine.AT_LEAST}" needs at_least = the number of views'
    elif document.is_sound("camera") and part.get("at_least", 0) > len(values.get("camera", ())):
        yield ("part", "at_least"), f"{part['at_least']} views of only {len(values['camera'])} would never be defective"


def _files(_document: Document, values: _Values) -> Iterator[tuple[KeyPath, str]]:
    """No two outputs write to one file."""
    outputs = values.get("outputs", {})
    taken: dict[Path, KeyPath] = {}
    for path, file in (
        *((("outputs", key), outputs.get(key)) for key in ("jsonl", "csv", "sqlite")),
        (("outbox", "path"), values.get("outbox", {}).get("path")),
    ):
        if file is None or file == "-":
            continue
        first = taken.setdefault(Path(file).resolve(), path)
        if first != path:
            yield path, f"{'.'.join(map(str, first))} writes to {file} already; give each a file of its own"


def _network(document: Document, values: _Values) -> Iterator[tuple[KeyPath, str]]:
    """Records for the network have somewhere to wait, and secrets go where they are protected."""
    outputs = values.get("outputs", {})
    for name in ("mqtt", "webhook"):
        if name in outputs and not document.has("outbox"):
            yield ("outputs", name), "needs a table [outbox], where records wait while the network is away"
    mqtt = outputs.get("mqtt", {})
    for key, needed in (
        ("password_file", "username"),
        ("cert_file", "key_file"),
        ("key_file", "cert_file"),
        ("cert_file", "ca_file"),
    ):
        if key in mqtt and not document.has("outputs", "mqtt", needed):
            yield ("outputs", "mqtt", key), f"needs {needed} too"


def _listening(document: Document, values: _Values) -> Iterator[tuple[KeyPath, str]]:
    """The page is open to others only with a token, and no two servers share a port."""
    serve, plc = values.get("serve"), values.get("plc")
    if (
        serve is not None
        and "host" in serve
        and not _is_loopback(serve["host"])
        and not document.has("serve", "token_file")
    ):
        yield ("serve", "host"), f"others can reach {serve['host']}, so token_file is needed"
    if serve is not None and plc is not None and document.is_sound("serve") and document.is_sound("plc"):
        port = serve.get("port", ServeConfig().port)
        if port and port == plc.get("port", PlcConfig().port):
            yield ("serve", "port"), f"[plc] listens at {port} already"


def _is_loopback(host: str) -> bool:
    """Return whether only this computer reaches a host; a name other than localhost may be anybody's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
