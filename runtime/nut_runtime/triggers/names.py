"""What a part may be called."""

__all__ = ["NAME_LENGTH", "clean_name"]

NAME_LENGTH = 64


def clean_name(text: str) -> str:
    r"""Return a name for a part that is safe in records, logs and pages.

    White space of any kind becomes one space, what cannot be printed (control characters, half surrogates, marks that
    turn the direction of writing) becomes `?`, and only the first 64 characters are kept.

    Example:
        >>> clean_name("  box 7\x1b[31m\n")
        'box 7?[31m'
    """
    spaced = " ".join(text[: 16 * NAME_LENGTH].split())
    return "".join(letter if letter.isprintable() else "?" for letter in spaced[:NAME_LENGTH]).strip()
