"""Station files to begin with, which `nut-runtime config example` prints."""

__all__ = ["ONE_CAMERA", "RIG"]

ONE_CAMERA = """\
# A station with one camera. Try it: nut-runtime config check station.toml
#
# A line that begins with # and a key is an option that is not used here; take the # away to use it. Where an
# option has a usual value, that is what is shown. Paths start from this file's folder; ~ and variables of the
# environment are not replaced in them.

bundle = "bundle"                     # the folder that nut export wrote
name = "nut"                          # the station's name, in records and topics
#locate = true                        # frames show trays of parts; true where the bundle has a locator, else false

#[engine]
#name = "openvino"                    # or "onnxruntime"; whichever is installed
#threads = 4                          # as many as the engine likes
#streams = 1                          # frames judged at a time: more parts a second, each of them later
#cache = "cache"                      # what OpenVINO compiled, for a quicker start
#verify_key = "plant.pub.pem"         # refuse a bundle that no key in this file has signed

[[camera]]                            # once for each camera; their order is that of a part's views
name = "front"                        # in records, pictures and health
address = 0                           # number or "/dev/video0", "rtsp://...", "http://..." (MJPEG),
                                      # "gstreamer: ... ! appsink", or a picture, video or folder to try things out
#group = 1                            # groups are exposed one after the other, in rising order
#region_px = [0, 0, 640, 480]         # left, top, width, height of what is judged; the whole frame
#ignore = "ignore.png"                # as large as the region: what is black in it is not looked at

[camera.settings]                     # what is not said here stays as the camera has it
width_px = 640
height_px = 480
#fps = 30.0
#exposure = 150.0                     # in the driver's unit; turns automatic exposure off
#gain = 10.0                          # in the driver's unit
#white_balance_k = 4600.0             # turns automatic white balance off
#focus = 30.0                         # in the driver's unit; turns autofocus off
#warm_up_frames = 5                   # thrown away after opening

#[camera.limits]                      # when a frame is not worth judging; false turns a limit off
#frozen_after_s = 5.0                 # the same picture for so long
#least_brightness = 20.0              # mean grey level, 0 to 255
#least_sharpness = 10.0               # as nut-runtime cameras prints it
#timeout_s = 2.0                      # how long a trigger waits for a frame

#[every_camera.settings]              # any of the settings above, for each camera that does not say otherwise
#[every_camera.limits]                # any of the limits above, likewise

[trigger]
kind = "free"                         # or "every", "stdin" (a line), "http" (needs [serve]), "plc" (needs [plc])
#every_ms = 1000.0                    # for "every"

[part]
combine = "any"                       # a part is defective where any view is; or "all", or "at-least"
#at_least = 1                         # so many views, for "at-least"
#review_from = 0.45                   # a score from here to 0.5 is for a person to look at; as the bundle says
when_busy = "wait"                    # or "drop-oldest": the part that waited longest goes without a verdict
#queue = 8                            # parts that wait at most

[outputs]                             # any number of them at once
jsonl = "verdicts.jsonl"              # a JSON line a part; "-" is standard output
#csv = "verdicts.csv"
#sqlite = "verdicts.sqlite"

[outputs.pictures]                    # with heat map and verdict
folder = "pictures"
save = "defects"                      # or "all", "none"
#keep = 10000                         # pictures at most; false keeps all
#keep_days = 30.0                     # none goes for its age
#least_free_mb = 500.0                # that stay free on the disk

#[outbox]                             # needed by mqtt and webhook: records wait here while the network is away
#path = "outbox.sqlite"
#keep = 1000000                       # records at most, for each of the two

#[outputs.mqtt]
#host = "broker.plant"
#port = 1883
#topic = "nut"                        # records go to nut/verdict, online and offline to nut/status
#qos = 1                              # 0 promises nothing
#username = "line3"
#password_file = "mqtt.password"      # its first line
#ca_file = "ca.pem"                   # turns TLS on; port 8883 is usual then
#cert_file = "line3.pem"              # where the broker wants to know us
#key_file = "line3.key.pem"

#[outputs.webhook]
#url = "https://mes.plant/verdicts"   # each record is posted there
#timeout_s = 5.0
#token_file = "webhook.token"         # its first line is sent as Authorization: Bearer

#[plc]                                # Modbus TCP server
#host = "127.0.0.1"                   # address to listen at
#port = 1502                          # 502 needs privileges
#answer_within_s = 5.0                # a trigger that has no verdict by then gets Error

#[serve]                              # live page, health and metrics
#host = "127.0.0.1"                   # any other needs token_file
#port = 8080
#token_file = "page.token"            # its first line is what visitors must give
"""
"""One camera, and every option there is."""

_TOP, _BOTTOM = 5, 4


def _camera(side: str, number: int, *, group: int, device: int) -> str:
    return f"""\
[[camera]]
name = "{side}-{number}"
address = "/dev/video{device}"
group = {group}
"""


RIG = f"""\
# A rig with nine cameras: {_TOP} see a part from the top, {_BOTTOM} from the bottom. The groups are exposed one after
# the other, so that the light of one side does not blind the other. A PLC triggers, and gets one answer for a part.
# nut-runtime config example, without --rig, shows every option there is.

bundle = "bundle"
name = "rig 1"

[engine]
streams = 2

[every_camera.settings]               # the cameras are alike; one can still say otherwise itself
width_px = 1920
height_px = 1080
exposure = 150.0
white_balance_k = 4600.0

[every_camera.limits]
least_brightness = 20.0
timeout_s = 1.5

# The top, exposed first.

{chr(10).join(_camera("top", one, group=1, device=one - 1) for one in range(1, _TOP + 1))}
# The bottom, exposed second.

{chr(10).join(_camera("bottom", one, group=2, device=_TOP + one - 1) for one in range(1, _BOTTOM + 1))}
[trigger]
kind = "plc"

[part]
combine = "any"                       # one defective view is enough
review_from = 0.45
when_busy = "drop-oldest"             # the line does not wait
queue = 4

[outputs]
jsonl = "verdicts.jsonl"
sqlite = "verdicts.sqlite"

[outputs.pictures]
folder = "pictures"
save = "defects"
keep = 50000
keep_days = 90.0

[plc]
host = "0.0.0.0"                      # the PLC is another computer
port = 1502
answer_within_s = 5.0

[serve]
host = "127.0.0.1"
port = 8080
"""
"""Nine cameras in two groups, triggered by a PLC."""
