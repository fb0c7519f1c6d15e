"""Exit codes, and the one line that says what went wrong."""

from __future__ import annotations

from holdfast import errors

DONE = 0
FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHED = 4
NOT_PERMITTED = 5
ROWS_REFUSED = 6
NO = 7
INTERRUPTED = 130

_CODES: tuple[tuple[type[errors.HoldfastError], int], ...] = (
    (errors.InvalidRequest, USAGE),
    (errors.FailedPrecondition, REFUSED),
    (errors.NotFound, REFUSED),
    (errors.AlreadyExists, REFUSED),
    (errors.Aborted, REFUSED),
    (errors.Unavailable, UNREACHED),
    (errors.DeadlineExceeded, UNREACHED),
    (errors.CallCancelled, UNREACHED),
    (errors.ResourceExhausted, UNREACHED),
    (errors.Unauthenticated, NOT_PERMITTED),
    (errors.PermissionDenied, NOT_PERMITTED),
)


def exit_code_of(error: errors.HoldfastError) -> int:
    """The exit code of a call that failed."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def sentence_of(error: errors.HoldfastError, target: str) -> str:
    """What went wrong, in one line."""
    if isinstance(error, errors.Shortage) and error.short_lines:
        return f"{error.reason}: {'; '.join(map(_short, error.short_lines))}"
    if isinstance(error, errors.InvalidRequest) and error.fields:
        return f"{error.reason}: " + "; ".join(
            f"{each.field}: {each.description}" for each in error.fields
        )
    if isinstance(error, errors.NotServing):
        return f"{target} does not serve yet, or no longer: {error.message}"
    if type(error) is errors.Unavailable:
        return f"no answer from {target} ({error.message}); is it running? try: holdfast health"
    return str(error)


def _short(short: errors.ShortLine) -> str:
    what = " at ".join(part for part in (short.sku or short.capacity, short.node) if part)
    text = f"{what}: {short.requested_quantity} asked for, {short.available_quantity} available"
    if short.next_available_time:
        text += f", more expected {short.next_available_time:%Y-%m-%d %H:%M} UTC"
    return text
