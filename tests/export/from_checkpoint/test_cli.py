"""`nut export --from-checkpoint`: what it prints, and what a user's mistake looks like."""

import pytest
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_runtime.bundle import open_bundle

pytestmark = pytest.mark.usefixtures("quick_export")


def _export(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_help_shows_how_to_export_a_checkpoint():
    lines = [line.strip() for line in _export("--help").stdout.splitlines()]
    assert "nut export --from-checkpoint model.ckpt --dataset nuts -o bundle" in lines


def test_an_export_says_what_it_decides_with(sensitive, nuts, tmp_path):
    bundle = tmp_path / "bundle"
    result = _export("--from-checkpoint", sensitive, "--dataset", nuts, "-o", bundle, "--pictures", "3")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("0 flips on 3 pictures") == 2
    threshold = open_bundle(bundle).manifest.point.image.threshold
    assert f"decides above raw score {threshold:.6g}, false-reject rate not stated by the checkpoint" in result.stdout
    assert "sensitivity 0.3 (image), 0.8 (pixel): scores are moved" in result.stdout
    assert result.stderr == ""


def test_an_older_checkpoint_is_taken_at_the_users_word_with_a_warning(older, nuts, tmp_path):
    options = ["--dataset", nuts, "-o", tmp_path / "bundle"]
    refused = _export("--from-checkpoint", older, *options)
    assert refused.exit_code == 2
    assert "give --image-size" in refused.stderr
    result = _export("--from-checkpoint", older, *options, "--image-size", "64x80", "--pictures", "3")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("warning: the checkpoint does not say how pictures are prepared")
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert (manifest.input_height_px, manifest.input_width_px) == (64, 80)
    facts = manifest.provenance["checkpoint"]
    assert (facts["anomalib"], facts["is_image_size_stated"]) == ("<2.7", False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["{run}", "--from-checkpoint", "{file}"], "got both RUN and --from-checkpoint", id="both"),
        pytest.param([], "nothing to export; give a RUN folder, or --from-checkpoint", id="neither"),
        pytest.param(["--from-checkpoint", "{file}"], "give a data set with --dataset", id="no-data-set"),
        pytest.param(["--from-checkpoint", "{file}", "--dataset", "nowhere"], "nowhere is not a folder", id="data-set"),
        pytest.param(["--from-checkpoint", "{run}", "--dataset", "{data}"], "is not a file; give the .ckpt", id="run"),
        pytest.param(["{file}"], "is a file, expected a run folder; give --from-checkpoint", id="file-as-run"),
        pytest.param(["{run}", "--image-size", "64"], "--image-size goes with --from-checkpoint", id="size-of-a-run"),
        pytest.param(
            ["--from-checkpoint", "{file}", "--dataset", "{data}", "--image-size", "big"], "image size 'big'", id="size"
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(checkpoint, run_folder, nuts, tmp_path, arguments, says):
    named = [argument.format(run=run_folder, file=checkpoint, data=nuts) for argument in arguments]
    result = _export(*named, "-o", tmp_path / "bundle")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_would_replace_the_checkpoints_folder_is_refused(altered, nuts):
    path = altered(lambda _: None)
    (path.parent / "manifest.json").touch()
    result = _export("--from-checkpoint", path, "--dataset", nuts, "-o", path.parent, "--force")
    assert result.exit_code == 2
    assert "which is in use" in result.stderr
    assert path.is_file()
