"""The verdict between good and defective: a part so close to the threshold that a person should look."""

from nut_runtime.verdict import Label

__all__ = ["label_with_review"]


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
