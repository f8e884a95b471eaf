"""Does a property of the file or photograph, alone, tell good parts from defective ones?

For each property the AUROC of "defective has the larger value" is taken, or its complement where that is
larger: 0.5 = tells nothing, 1.0 = tells all. For a property that is a word (channel mode ...) the pictures
are ranked by the share of defective ones among those with the same word: the best that knowing it can do.

With few defective pictures a large AUROC comes by chance, the more so as the best of fifteen properties is
looked at. So each figure is compared with what shuffling the labels gives: `p_value` is the share of 2,000
labellings (the true one and 1,999 shuffles) in which *any* property reached at least that AUROC. This is
Westfall and Young's max-statistic; it accounts for the number of properties, their dependence, and ties. A
warning needs

- AUROC >= 0.9: at that level the property alone competes with a usable detector, so a detector's own AUROC on
  these files cannot be told from it; and
- p <= 0.01: one false alarm in a hundred sets without confounds.

Measured on 900 made-up sets without confounds (2-100 defective pictures): 8 false warnings, where the AUROC
alone would have given 197. What it can resolve: where a property tells 20 good and 3 defective pictures apart
perfectly, that may still be chance (p = 0.015) and is a note; 4 defective ones make a warning (p = 0.004).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nut_dataset.auroc import category_auroc, measure_auroc, one_hot
from nut_dataset.facts import PictureFacts
from nut_dataset.findings import Finding, Severity, counted
from nut_dataset.properties import CATEGORIES, MEASURES, PROPERTIES

__all__ = ["MAX_P_VALUE", "MIN_AUROC", "Confounds", "Separation", "confound_findings", "find_confounds"]

MIN_AUROC = 0.9
MAX_P_VALUE = 0.01

_N_SHUFFLES = 1999  # with the true labels 2,000: the smallest p-value is 0.0005
_SHUFFLES_AT_ONCE = 100  # 100 x 10,000 labels take 8 MB
_MAX_NAMED = 4

_Scorer = Callable[[NDArray[np.bool_]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well one property tells good from defective.

    Attributes:
        name: The property, an attribute of `PictureFacts`.
        label: Its name for people.
        is_of_file: Whether it belongs to the file; otherwise to the photograph, or even to the part.
        auroc: 0.5 (tells nothing) to 1 (tells all).
        p_value: Share of random labellings in which any property does as well, 0..1.
        good: The values of the good pictures, for people.
        defective: The values of the defective pictures, for people.
    """

    name: str
    label: str
    is_of_file: bool
    auroc: float
    p_value: float
    good: str
    defective: str

    @property
    def is_confound(self) -> bool:
        """Whether a warning is due."""
        return self.auroc >= MIN_AUROC and self.p_value <= MAX_P_VALUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Confounds:
    """What the properties tell, best first.

    Attributes:
        good_from: `test/good`, or `train/good` where no good test file is left.
        n_good: Good pictures compared.
        n_defective: Defective pictures compared.
        n_left_out: Test files left out because they repeat training files.
        separations: One for each property, the largest AUROC first; empty where one side has no picture.
    """

    good_from: str
    n_good: int
    n_defective: int
    n_left_out: int
    separations: tuple[Separation, ...]


def find_confounds(
    good: Sequence[PictureFacts],
    defective: Sequence[PictureFacts],
    *,
    good_from: str,
    n_left_out: int = 0,
    seed: int = 0,
) -> Confounds:
    """Compare the properties of good and defective pictures.

    Args:
        good: Good pictures, none of which is in the training set.
        defective: Defective pictures of all kinds.
        good_from: The folder that the good ones are from, for people.
        n_left_out: How many leaked test files were left out, for people.
        seed: Of the shuffles; the same seed gives the same p-values.
    """
    separations: list[Separation] = []
    if good and defective:
        pictures = [*good, *defective]
        is_defective = np.arange(len(pictures)) >= len(good)
        aurocs, p_values = _test(_scorers(pictures), is_defective, np.random.default_rng(seed))
        for prop, auroc, p_value in zip(PROPERTIES, aurocs, p_values, strict=True):
            separations.append(
                Separation(
                    name=prop.name,
                    label=prop.label,
                    is_of_file=prop.is_of_file,
                    auroc=float(auroc),
                    p_value=float(p_value),
                    good=prop.text(good),
                    defective=prop.text(defective),
                )
            )
    separations.sort(key=lambda separation: -separation.auroc)  # stable: equal ones keep the order of the lists
    return Confounds(
        good_from=good_from,
        n_good=len(good),
        n_defective=len(defective),
        n_left_out=n_left_out,
        separations=tuple(separations),
    )


def _scorers(pictures: Sequence[PictureFacts]) -> list[_Scorer]:
    """Return, for each property, the function from labellings `(B, N)` to AUROCs `(B,)`."""
    return [
        *(partial(category_auroc, one_hot(prop.values(pictures))) for prop in CATEGORIES),
        *(partial(measure_auroc, prop.values(pictures)) for prop in MEASURES),
    ]


def _test(
    scorers: Sequence[_Scorer], labels: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return AUROC and p-value of each property, both shape (K,), for `labels` of shape (N,)."""
    observed = np.array([score(labels[None])[0] for score in scorers])
    best: list[NDArray[np.float64]] = []
    for start in range(0, _N_SHUFFLES, _SHUFFLES_AT_ONCE):
        rows = min(_SHUFFLES_AT_ONCE, _N_SHUFFLES - start)
        shuffled = rng.permuted(np.tile(labels, (rows, 1)), axis=1)  # (rows, N)
        best.append(np.max([score(shuffled) for score in scorers], axis=0))
    chance = np.sort(np.concatenate(best))  # (_N_SHUFFLES,): the best property of each shuffle
    # 1e-9: sums of ranks in another order may differ in the last bit.
    as_good = _N_SHUFFLES - np.searchsorted(chance, observed - 1e-9)
    return observed, (as_good + 1) / (_N_SHUFFLES + 1)


def confound_findings(confounds: Confounds) -> list[Finding]:
    """Warn of properties that give the answer away; note one that may do so by chance."""
    found = [separation for separation in confounds.separations if separation.is_confound]
    findings = []
    for is_of_file, code, action in (
        (
            True,
            "file-confound",
            "no AUROC on this set means much; take good and defective pictures in the same way",
        ),
        (
            False,
            "photo-confound",
            "if it is not the defect itself, take good and defective pictures in the same light and place",
        ),
    ):
        some = [separation for separation in found if separation.is_of_file is is_of_file]
        if some:
            findings.append(
                Finding(
                    severity=Severity.WARNING,
                    code=code,
                    what=f"{_listed(some)} alone {'tells' if len(some) == 1 else 'tell'} "
                    f"{_compared(confounds)} apart (AUROC {_range(some)})",
                    action=action,
                    details=tuple(map(_line, some)),
                )
            )
    chance = [separation for separation in confounds.separations if separation.auroc >= MIN_AUROC]
    if not found and chance:
        findings.append(
            Finding(
                severity=Severity.NOTE,
                code="confound-or-chance",
                what=f"{_listed(chance)} alone {'tells' if len(chance) == 1 else 'tell'} "
                f"{_compared(confounds)} apart, but so few pictures may do so by chance",
                details=tuple(map(_line, chance)),
            )
        )
    return findings


def _listed(separations: Sequence[Separation]) -> str:
    """Name the first few properties in a sentence."""
    names = [separation.label for separation in separations[:_MAX_NAMED]]
    if len(separations) > _MAX_NAMED:
        names = [*names[:-1], f"{len(separations) - _MAX_NAMED + 1} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _compared(confounds: Confounds) -> str:
    """Name the two sides in a sentence."""
    left_out = f" ({confounds.n_left_out} leaked ones left out)" if confounds.n_left_out else ""
    good = f"{confounds.n_good} good{' training' if confounds.good_from.startswith('train') else ''}"
    return f"{good}{left_out} and {counted(confounds.n_defective, 'defective picture')}"


def _range(separations: Sequence[Separation]) -> str:
    """Return the AUROCs as text, `0.953-1.000`; the best comes first."""
    low, high = f"{separations[-1].auroc:.3f}", f"{separations[0].auroc:.3f}"
    return low if low == high else f"{low}-{high}"


def _line(separation: Separation) -> str:
    """Return the property as one line."""
    chance = "" if separation.is_confound else f", p = {separation.p_value:.2g}"
    return (
        f"{separation.label}: AUROC {separation.auroc:.3f}{chance} "
        f"(good {separation.good}; defective {separation.defective})"
    )
