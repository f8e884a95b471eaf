"""Pictures, folders, videos and cameras behind one interface."""

from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from nut_runtime.errors import InputError, PictureError, SourceError
from nut_runtime.pictures import write_picture
from nut_runtime.sources import Frame, PictureSource, VideoSource, open_files

FRAMES = 12


def picture(value: int) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


@pytest.fixture
def video(tmp_path) -> Path:
    """A video of frames that get brighter by 10 grey values each."""
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    noise = np.random.default_rng(0).integers(0, 40, (48, 64, 3), np.uint8)  # so that the file is mostly frames
    for number in range(FRAMES):
        writer.write(picture(10 * number) + noise)
    writer.release()
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of pictures b, a and c, and a file that is none."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, name in enumerate(("b", "a", "c")):
        write_picture(folder / f"{name}.png", picture(number))
    (folder / "notes.txt").touch()
    return folder


def test_a_folder_gives_its_pictures_by_name(folder):
    source = open_files([folder])
    frames = list(source)
    assert source.count == 3
    assert [frame.name for frame in frames] == ["a", "b", "c"]
    assert [frame.source for frame in frames] == [str(folder / f"{name}.png") for name in "abc"]
    assert [frame.picture[0, 0, 0] for frame in frames] == [1, 0, 2]


def test_frames_carry_a_time_with_its_zone(folder):
    (frame, *_) = open_files([folder])
    assert frame.timestamp.utcoffset() == timedelta(0)
    assert frame.capture_ms > 0


def test_a_folder_without_pictures_gives_those_of_its_sub_folders(folder, tmp_path):
    deep = tmp_path / "top" / "deep"
    deep.parent.mkdir()
    folder.rename(deep)
    (tmp_path / "top" / ".hidden").mkdir()
    write_picture(tmp_path / "top" / ".hidden" / "x.png", picture(9))
    assert [frame.name for frame in open_files([tmp_path / "top"])] == ["a", "b", "c"]


def test_a_folder_gives_its_own_pictures_and_then_those_of_its_sub_folders(folder):
    (folder / "sub").mkdir()
    write_picture(folder / "sub" / "d.png", picture(4))
    assert [frame.name for frame in open_files([folder])] == ["a", "b", "c", "d"]


def test_a_folder_without_any_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no pictures \(\.bmp, \.jpeg"):
        open_files([tmp_path])


def test_several_paths_are_joined_in_the_order_given(folder, video):
    source = open_files([folder / "c.png", video, folder])
    assert source.count == 1 + FRAMES + 3
    names = [frame.name for frame in source]
    assert names[0] == "c"
    assert names[1] == "video-000001"
    assert names[-3:] == ["a", "b", "c"]
    source.close()


def test_a_text_file_named_png_is_reported_and_the_next_follows(folder):
    (folder / "b.png").write_text("no picture")
    first, second, third = open_files([folder])
    assert first.error is third.error is None
    assert second.picture is None
    assert isinstance(second.error, PictureError)
    assert "b.png is not a picture" in str(second.error)


def test_a_picture_deleted_meanwhile_is_reported(folder):
    source = open_files([folder])
    (folder / "b.png").unlink()
    assert [frame.error is None for frame in source] == [True, False, True]


def test_pictures_can_be_read_twice(folder):
    source = PictureSource([folder / "a.png"])
    assert len(list(source)) == len(list(source)) == 1


@pytest.mark.parametrize("name", ["notes.txt", "notes", "a.gif"])
def test_an_unknown_ending_is_refused_with_the_known_ones(folder, name):
    (folder / name).touch()
    with pytest.raises(InputError, match=r"is neither a picture nor a video; known endings are \.avi, \.bmp"):
        open_files([folder / name])


@pytest.mark.parametrize("name", ["none.png", "none.avi", "none"])
def test_what_does_not_exist_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"{name} does not exist"):
        open_files([tmp_path / name])


def test_a_video_gives_all_frames_in_order(video):
    source = VideoSource(video)
    frames = list(source)
    source.close()
    assert source.count == len(frames) == FRAMES
    assert [frame.source for frame in frames[:2]] == [f"{video}#1", f"{video}#2"]
    assert frames[-1].name == f"video-{FRAMES:06}"
    for number, frame in enumerate(frames):
        # The mean of the noise is 20; JPEG moves a mean by a grey value or so, and the next frame is 10 away.
        assert abs(float(frame.picture.mean()) - 10 * number - 20) < 4


def test_a_truncated_video_keeps_its_frames_and_then_says_so(video, capfd):
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 4 // 5])
    source = VideoSource(video)
    frames: list[Frame] = []
    with pytest.raises(SourceError, match=rf"broke off after frame \d+ of {FRAMES}"):
        frames.extend(source)  # what came before the error stays in the list
    assert 1 <= len(frames) < FRAMES
    assert all(frame.picture is not None for frame in frames)
    assert capfd.readouterr() == ("", "")  # the decoder's own chatter would land here


@pytest.mark.parametrize("content", [b"", b"no video" * 100])
@pytest.mark.parametrize("ending", ["avi", "mp4", "mkv"])
def test_what_is_no_video_is_refused_without_chatter(tmp_path, capfd, ending, content):
    path = tmp_path / f"broken.{ending}"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="cannot be opened as a video"):
        open_files([path])
    assert capfd.readouterr() == ("", "")
