"""The verdict between good and defective: a part so close to the threshold that a person should look."""

from nut_runtime.verdict import Label

__all__ = ["NEVER", "effective_review", "label_with_review"]

NEVER = 1.0
"""A `review_from` that no part reaches that is not defective: none is for review, whatever the bundle says."""


def label_with_review(pred_score: float, *, is_defective: bool, review_from: float | None) -> Label:
    """Return the label of a judged view.

    Args:
        pred_score: Normalised score, 0..1, the threshold at 0.5.
        is_defective: What the model says; a defective view stays so.
        review_from: Score from which one that is not defective is REVIEW; None never is.

    Example:
        >>> label_with_review(0.47, is_defective=False, review_from=0.45)
        <Label.REVIEW: 'review'>
    """
    if is_defective:
        return Label.DEFECT
    return Label.REVIEW if review_from is not None and pred_score >= review_from else Label.GOOD


def effective_review(stated: float | None, bundles: float | None) -> float | None:
    """Return the normalised score from which a part is for review; None never is.

    Args:
        stated: What the station says; None says nothing, `NEVER` that none is.
        bundles: What the bundle says.

    Example:
        >>> effective_review(None, 0.4), effective_review(0.45, 0.4), effective_review(NEVER, 0.4)
        (0.4, 0.45, None)
    """
    chosen = bundles if stated is None else stated
    return None if chosen is None or chosen >= NEVER else chosen
