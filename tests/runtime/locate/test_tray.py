"""A frame of a tray gives one verdict for each part, and one for all of them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from nut_runtime.bundle import open_bundle
from nut_runtime.errors import BundleError, EngineError, PictureError
from nut_runtime.inspector import Inspector
from nut_runtime.locate.cutout import cut_out
from nut_runtime.locate.finding import usual_area_px
from nut_runtime.locate.instance import Flaw
from nut_runtime.locate.tray import TrayInspector
from nut_runtime.locate.tray_overlay import count_words, draw_tray
from nut_runtime.review import NEVER
from nut_runtime.verdict import Label, Reason


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def inspector(request, tray_bundle) -> Inspector:
    return Inspector(tray_bundle, engine=request.param)


@pytest.fixture(scope="module")
def frame(tray_frame, places):
    return tray_frame(places)


def test_each_part_is_judged_as_its_cut_out_is(inspector, frame, places):
    tray = TrayInspector(inspector).inspect(frame)
    entry = inspector.locator.entry
    instances = inspector.locator.find(frame)
    area = usual_area_px(instances, frame_px=(480, 640), settings=entry.find)
    assert len(tray.nuts) == len(places)
    for nut, one in zip(tray.nuts, instances, strict=True):
        assert nut.instance.centre == one.centre
        alone = inspector.inspect(cut_out(frame, one, entry.cutout, area_px=area))
        assert nut.verdict.raw_score == alone.raw_score
        assert nut.label is alone.label


def test_a_tray_is_defective_where_a_part_is_and_has_the_score_of_its_worst(inspector, frame):
    tray = TrayInspector(inspector).inspect(frame)
    assert tray.label is tray.verdict.label is Label.DEFECT
    assert tray.verdict.pred_score == max(nut.verdict.pred_score for nut in tray.nuts)
    assert tray.counts == {"found": 6, "judged": 6, "good": 3, "defect": 3, "review": 0, "incomplete": 0}
    assert set(tray.verdict.milliseconds) == {"locate", "infer", "decide"}


def test_a_tray_of_good_parts_is_good_and_for_review_where_one_is_close(inspector, frame, places, tray_frame):
    tray = TrayInspector(inspector).inspect(frame)
    good = [place for place, nut in zip(places, tray.nuts, strict=True) if nut.label is Label.GOOD]
    only_good = tray_frame(good)
    assert TrayInspector(inspector).inspect(only_good).label is Label.GOOD
    close = TrayInspector(inspector, review_from=0.0).inspect(only_good)
    assert close.label is Label.REVIEW
    assert close.counts["review"] == len(good)


def test_a_part_that_the_edge_cuts_is_reported_and_not_judged(inspector, places, tray_frame, monkeypatch):
    judged = []
    inspect = inspector.inspect
    monkeypatch.setattr(inspector, "inspect", lambda cut: judged.append(cut) or inspect(cut))
    tray = TrayInspector(inspector).inspect(tray_frame([*places, (638.0, 220, 0)]))
    (cut,) = [nut for nut in tray.nuts if nut.verdict is None]
    assert (cut.label, cut.instance.flaw) == (Label.NO_VERDICT, Flaw.AT_BORDER)
    assert (tray.counts["found"], tray.counts["incomplete"], len(judged)) == (7, 1, 6)


def test_a_tray_of_cut_parts_only_has_no_verdict(inspector, tray_frame):
    tray = TrayInspector(inspector).inspect(tray_frame([(638.0, 220, 0), (0, 100, 0)]))
    assert (tray.label, tray.reason, tray.verdict) == (Label.NO_VERDICT, Reason.NOTHING_FOUND, None)
    assert "2 parts were found, none of them complete" in tray.error


def test_an_empty_tray_has_no_verdict(inspector, frame):
    empty = np.full_like(frame, 215)
    empty[np.arange(480) % 32 < 16] = 140  # stripes: it is in focus
    tray = TrayInspector(inspector).inspect(empty)
    assert (tray.label, tray.reason, tray.nuts) == (Label.NO_VERDICT, Reason.NOTHING_FOUND, ())


def test_a_blurred_view_is_not_judged_whatever_is_found_in_it(inspector, frame, monkeypatch):
    monkeypatch.setattr(inspector, "inspect", lambda _: pytest.fail("it was judged"))
    blurred = cv2.GaussianBlur(frame, (0, 0), 9)
    assert inspector.locator.find(blurred)
    tray = TrayInspector(inspector).inspect(blurred)
    assert (tray.label, tray.reason) == (Label.NO_VERDICT, Reason.BLURRED)
    assert tray.error.startswith("the view is blurred")


def test_a_dark_view_is_not_even_searched(inspector, frame, monkeypatch):
    monkeypatch.setattr(inspector.locator, "locate", lambda _: pytest.fail("it was searched"))
    assert TrayInspector(inspector).inspect((frame * 0.04).astype(np.uint8)).reason is Reason.DARK


def test_one_giant_part_is_at_the_border_and_not_judged(inspector, frame):
    giant = np.full_like(frame, 60)
    giant[:, np.arange(640) % 32 < 16] = 0
    giant[:, np.arange(640) % 32 >= 16] = 120  # stripes: it is in focus
    tray = TrayInspector(inspector).inspect(giant)
    assert (tray.reason, [nut.instance.flaw for nut in tray.nuts]) == (Reason.NOTHING_FOUND, [Flaw.AT_BORDER])


def test_500_parts_are_all_judged(tray_bundle, tray_frame):
    places = [(30.0 + 50 * column, 30 + 47 * row, 0) for row in range(20) for column in range(25)]
    frame = tray_frame(places, size=(960, 1280), side=40)
    tray = TrayInspector(Inspector(tray_bundle, streams=2)).inspect(frame)
    assert tray.counts["judged"] == 500


@pytest.mark.parametrize("size", [(48, 64), (8, 8), (1080, 1920)])
def test_a_frame_of_any_size_is_taken(inspector, tray_frame, size):
    tray = TrayInspector(inspector).inspect(tray_frame([(size[1] / 2, size[0] / 2, 0)], size=size))
    assert tray.label in set(Label)


def test_a_frame_that_is_none_is_refused(inspector):
    with pytest.raises(PictureError):
        TrayInspector(inspector).inspect(np.zeros((480, 640), np.uint8))


def test_any_number_of_streams_gives_the_same(tray_bundle, frame):
    one, three = (TrayInspector(Inspector(tray_bundle, streams=streams)).inspect(frame) for streams in (1, 3))
    # With streams OpenVINO shares its threads otherwise, and sums in another order.
    assert [nut.verdict.raw_score for nut in one.nuts] == pytest.approx(
        [nut.verdict.raw_score for nut in three.nuts], rel=1e-5
    )
    assert [nut.label for nut in one.nuts] == [nut.label for nut in three.nuts]


@pytest.mark.parametrize("streams", [1, 2])
def test_parts_judged_in_batches_have_the_same_verdicts(tray_batch_bundle, tray_frame, places, monkeypatch, streams):
    frame = tray_frame([*places, (560.0, 60, 15)])  # seven, which three do not divide
    inspector = Inspector(tray_batch_bundle, streams=streams)
    inspector.warm_up(480, 640)
    batches = []
    infer = inspector._batch.infer_batch
    monkeypatch.setattr(inspector._batch, "infer_batch", lambda cuts: batches.append(len(cuts)) or infer(cuts))
    tray = TrayInspector(inspector).inspect(frame)
    assert batches == [3, 3]  # and the seventh by itself
    monkeypatch.setattr(Inspector, "has_batch", False)
    alone = TrayInspector(inspector).inspect(frame)
    # float32 sums in another order, see `nut_export.batch`
    assert [nut.verdict.raw_score for nut in tray.nuts] == pytest.approx(
        [nut.verdict.raw_score for nut in alone.nuts], rel=1e-4
    )


@pytest.mark.parametrize("streams", [1, 3])
def test_an_engine_that_fails_on_a_part_fails_the_tray(tray_bundle, frame, monkeypatch, streams):
    inspector = Inspector(tray_bundle, streams=streams)

    def fail(_: object) -> None:
        raise EngineError("out of order")

    monkeypatch.setattr(inspector.engine, "infer", fail)
    with pytest.raises(EngineError, match="out of order"):
        TrayInspector(inspector).inspect(frame)


def test_heat_and_boxes_are_where_the_defective_parts_are(inspector, frame):
    tray = TrayInspector(inspector).inspect(frame)
    verdict = tray.verdict
    assert verdict.anomaly_map.shape == verdict.pred_mask.shape == (480, 640)
    for nut in tray.nuts:
        one = nut.instance
        inside = verdict.anomaly_map[one.y : one.y + one.height, one.x : one.x + one.width]
        # Each part's own map, seen at half the size, within its mask; the rest is 0.
        assert 0 < inside.max() <= nut.verdict.anomaly_map.max() + 1e-6
        has_mask = verdict.pred_mask[one.y : one.y + one.height, one.x : one.x + one.width].any()
        assert has_mask <= (nut.label is Label.DEFECT)
        for box in nut.boxes:
            # A box is found in the cut-out, which is 1.6 times as wide as its part.
            assert abs(box.x + box.width / 2 - one.centre[0]) < 40
            assert abs(box.y + box.height / 2 - one.centre[1]) < 40
    assert sorted(verdict.boxes, key=lambda box: -box.peak) == list(verdict.boxes)
    masks = np.zeros((480, 640), np.bool_)
    for nut in tray.nuts:
        one = nut.instance
        masks[one.y : one.y + one.height, one.x : one.x + one.width] |= one.mask
    assert not verdict.anomaly_map[~masks].any()


def test_the_map_of_a_large_frame_stays_small(inspector, tray_frame):
    tray = TrayInspector(inspector).inspect(tray_frame([(500.0, 400, 0), (900, 700, 0)], (1440, 1920)))
    assert tray.verdict.anomaly_map.shape == (480, 640)


def test_each_part_is_outlined_in_the_colour_of_its_verdict(inspector, frame, places, tray_frame):
    tray = TrayInspector(inspector).inspect(tray_frame([*places, (638.0, 220, 0)]))
    drawn = draw_tray(frame, tray)
    assert drawn.shape == frame.shape
    small = draw_tray(cv2.resize(frame, (320, 240)), tray, frame_px=(480, 640))
    for nut in tray.nuts:
        one = nut.instance
        for picture, factor in ((drawn, 1.0), (small, 320 / 640 * small.shape[1] / 320)):
            x, y = round((one.x + 1) * factor), round(one.centre[1] * factor)
            around = picture[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 40].reshape(-1, 3).astype(int)
            blue, green, red = around.T
            seen = {
                Label.GOOD: (green - red > 60).any(),
                Label.DEFECT: ((red - green > 100) & (red - blue > 100)).any(),
                Label.NO_VERDICT: (abs(around - 150).max(axis=1) < 25).any(),
            }
            assert seen[nut.label], nut.label


def test_counts_are_said_in_words():
    counts = {"found": 24, "judged": 23, "good": 22, "defect": 1, "review": 0, "incomplete": 1}
    assert count_words(counts) == "24 nuts: 22 good, 1 defect, 1 incomplete"
    assert count_words(dict.fromkeys(counts, 0)) == "0 nuts"


def test_a_whole_tray_is_not_judged_as_one_part_by_mistake(tray_bundle, frame):
    with pytest.raises(PictureError, match=r"is no cut-out of 96x96; .* TrayInspector"):
        Inspector(tray_bundle).inspect(frame)
    assert Inspector(tray_bundle, locate=False).inspect(frame).label in {Label.GOOD, Label.DEFECT}


def test_a_bundle_without_a_locator_finds_nothing(bundle_folder):
    with pytest.raises(BundleError, match="has no locator; export it with one"):
        Inspector(bundle_folder, locate=True)
    with pytest.raises(BundleError, match="has no locator"):
        TrayInspector(Inspector(bundle_folder))


def test_an_altered_locator_is_refused_before_anything_is_judged(tray_bundle, tmp_path):
    import shutil

    folder = tmp_path / "bundle"
    shutil.copytree(tray_bundle, folder)
    with (folder / "locator.bin").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"locator.bin has .* bytes"):
        Inspector(folder)


def test_a_map_that_is_none_is_an_engine_that_fails(inspector, frame, monkeypatch):
    broken = {"distance_map": np.full((1, 1, 240, 320), np.nan, np.float32)}
    monkeypatch.setattr(inspector.locator._model, "outputs", lambda *_: broken)
    with pytest.raises(EngineError, match="cannot be used; run nut-runtime doctor"):
        TrayInspector(inspector).inspect(frame)


def test_a_precision_that_is_not_known_is_refused(tray_bundle):
    bundle = open_bundle(tray_bundle)
    manifest = bundle.manifest
    odd = replace(bundle, manifest=replace(manifest, locator=replace(manifest.locator, precision="fp8")))
    with pytest.raises(EngineError, match="precision 'fp8'"):
        Inspector(odd)


def test_warming_up_prepares_both_models(inspector):
    assert inspector.warm_up(480, 640) > 0


@pytest.mark.parametrize(("stated", "review"), [(None, 3), (NEVER, 0), (0.4999, 0)])
def test_the_bundles_review_is_that_of_each_part_unless_another_is_stated(tray_bundle, frame, stated, review):
    bundle = open_bundle(tray_bundle)
    point = replace(bundle.manifest.point, review_from=1e-3)  # every part that is not defective
    inspector = Inspector(replace(bundle, manifest=replace(bundle.manifest, point=point)))
    assert TrayInspector(inspector, review_from=stated).inspect(frame).counts["review"] == review
