"""The last rejects and their pictures."""

from nut_runtime.serve.album import Album
from nut_runtime.serve.shown import Kind
from nut_runtime.verdict import Label


def test_a_reject_gets_its_three_pictures(judged_part, until):
    album = Album()
    album.add("a", {"id": "a"}, judged_part(1, Label.DEFECT).views[0])
    until(lambda: album.listing()[0]["picture"] == "ready")
    pictures = {kind: album.picture("a", kind) for kind in Kind}
    assert all(data is not None and data.startswith(b"\xff\xd8") for data in pictures.values())
    assert pictures[Kind.PLAIN] != pictures[Kind.OVERLAY]
    album.close()


def test_the_oldest_goes_and_takes_its_pictures_along(judged_part, until):
    album = Album(size=2)
    view = judged_part(1, Label.DEFECT).views[0]
    for name in "abc":
        album.add(name, {"id": name}, view)
        until(lambda: album.listing()[0]["picture"] == "ready")
    assert [reject["id"] for reject in album.listing()] == ["c", "b"]
    assert album.picture("a", Kind.PLAIN) is None
    album.close()


def test_more_rejects_than_can_be_drawn_are_listed_without_picture(judged_part, until):
    album = Album(waiting=1)
    view = judged_part(1, Label.DEFECT).views[0]
    for number in range(20):
        album.add(str(number), {"id": str(number)}, view)
    until(lambda: all(reject["picture"] != "pending" for reject in album.listing()))
    states = [reject["picture"] for reject in album.listing()]
    assert len(states) == 20
    assert states[0] == "ready"
    assert "none" in states
    album.close()


def test_closing_is_prompt_and_safe_to_repeat(judged_part):
    album = Album()
    album.add("a", {}, judged_part(1, Label.DEFECT).views[0])
    album.close()
    album.close()
    assert album._thread is not None
    assert not album._thread.is_alive()
