"""What is typed to enrol: read forgivingly, and bound to one authority."""

import pytest

from edgegate_sync.wire.claims import (
    CHARACTERS,
    ClaimFaultError,
    TypedClaim,
    fingerprint_of,
    is_of,
    read_claim,
    typed_claim,
)

DER = b"a certificate"
CODE = "7K2M-9QRS-4TVX-0ABC-1DEF"


def test_what_is_typed_comes_back_out_of_what_is_told() -> None:
    told = typed_claim(CODE, DER)
    assert len(told) == 49
    typed = read_claim(told)
    assert typed.code == CODE
    assert typed.print is not None
    assert is_of(typed.print, DER)
    assert not is_of(typed.print, b"another certificate")
    assert read_claim(CODE) == TypedClaim(CODE, None)


def test_a_fingerprint_is_read_as_people_write_it() -> None:
    told = fingerprint_of(DER)
    loose = told.lower().replace("0", "o").replace("1", "l").replace("-", " ")
    assert read_claim(f"  {CODE}@{loose} \n").print == told.replace("-", "")


def test_a_fingerprint_is_the_first_hundred_bits_of_the_hash() -> None:
    """SHA-256 of nothing begins e3b0c442 98fc1c14 9afbf4c8 9 (FIPS 180-4)."""
    digits = fingerprint_of(b"").replace("-", "")
    number = sum(CHARACTERS.index(digit) << (5 * (19 - i)) for i, digit in enumerate(digits))
    assert f"{number:025x}" == "e3b0c44298fc1c149afbf4c89"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "claim code"),
        ("short", "claim code"),
        ("A" * 65, "claim code"),
        ("7K2M/9QRS/4TVX", "claim code"),
        (f"{CODE}@", "0 characters"),
        (f"{CODE}@7K2M", "4 characters"),
        (f"{CODE}@{'A' * 21}", "21 characters"),
        (f"{CODE}@{'U' * 20}", "'U'"),
        (f"{CODE}@{'A' * 10}@{'A' * 9}", "'@'"),
    ],
)
def test_what_was_cut_or_mistyped_is_told_before_anybody_is_asked(text: str, why: str) -> None:
    with pytest.raises(ClaimFaultError, match=why):
        read_claim(text)
