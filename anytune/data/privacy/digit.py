"""Check digits: the arithmetic that tells a number of a kind from any other number."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_ODD_LETTERS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = {chr(ord("A") + n): worth for n, worth in enumerate(_ODD_LETTERS)}
_ODD |= {str(n): worth for n, worth in enumerate(_ODD_LETTERS[:10])}


def luhn(digits: str) -> bool:
    """Check a card's number (ISO/IEC 7812)."""
    total = sum(int(d) if n % 2 == 0 else sum(divmod(2 * int(d), 10)) for n, d in enumerate(reversed(digits)))
    return total % 10 == 0


def mod97(iban: str) -> bool:
    """Check an account's number in capitals without spaces (ISO 13616)."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def nir(number: str) -> bool:
    """Check a French number of 15 places, which may hold 2A or 2B for Corsica."""
    head, key = number[:13].replace("2A", "19", 1).replace("2B", "18", 1), number[13:]
    return head.isdigit() and key.isdigit() and 97 - int(head) % 97 == int(key)


def dni(number: str) -> bool:
    """Check a Spanish DNI or NIE by its letter."""
    first = "XYZ".find(number[0])
    return _DNI[int((number if first < 0 else f"{first}{number[1:]}")[:8]) % 23] == number[-1]


def codice_fiscale(code: str) -> bool:
    """Check an Italian code of 16 places by its last letter."""
    even = sum(int(c) if c.isdigit() else ord(c) - ord("A") for c in code[1:15:2])
    return chr(ord("A") + (even + sum(_ODD[c] for c in code[:15:2])) % 26) == code[15]


def steuer_id(number: str) -> bool:
    """Check a German number of 11 digits: ISO 7064 MOD 11,10, and one digit twice or thrice among the first ten."""
    often = sorted(Counter(number[:10]).values())
    if number[0] == "0" or often[-1] not in (2, 3) or often[-2] != 1:
        return False
    if often[-1] == 3 and any(a == b == c for (a, b), (_, c) in pairwise(pairwise(number[:10]))):
        return False
    product = 10
    for d in number[:10]:
        product = ((int(d) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(number[10])


def bsn(number: str) -> bool:
    """Check a Dutch number of nine digits by the test of eleven."""
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return int(number) > 0 and sum(w * int(d) for w, d in zip(weights, number, strict=True)) % 11 == 0


def cpf(number: str) -> bool:
    """Check a Brazilian number of 11 digits, of which the last two are check digits."""
    if len(set(number)) == 1:
        return False
    for length in (9, 10):
        total = sum((length + 1 - n) * int(d) for n, d in enumerate(number[:length]))
        if total * 10 % 11 % 10 != int(number[length]):
            return False
    return True
