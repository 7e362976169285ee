"""Check how large a file is, and how many examples it has."""

from __future__ import annotations

from collections.abc import Iterator

from anytune.data.check.fault import Fault
from anytune.data.check.survey import Survey
from anytune.data.check.tally import Tally
from anytune.data.quote import Plain
from anytune.schema.data import Role

MOST_BYTES = {"openai": 8_000_000_000, "azure": 512 << 20, "nebius": 5_000_000_000, "together": int(50.1 * (1 << 30))}
LARGE_BYTES = 150_000_000
FEWEST_EXAMPLES = {"openai": 10, "azure": 10, "fireworks": 3}
MOST_EXAMPLES = {"fireworks": 3_000_000}
MOST_WITH_IMAGES = 50_000
MOST_TASKS = {"train": 50_000, "validation": 1_000}


def check_amount(role: Role, size: int, survey: Survey, whole: Tally) -> None:
    """Check how many examples there are; only training files have a minimum."""
    number = survey.examples
    said = Plain(f"{number:,} example{'' if number == 1 else 's'}")
    if number == 0:
        whole.whole(Fault("file-blank" if size else "file-empty"))
        return
    few = tuple(name for name, least in FEWEST_EXAMPLES.items() if number < least)
    if few and role == "train":
        whole.whole(Fault("too-few-examples", value=said, among=few))
    many = {name for name, most in MOST_EXAMPLES.items() if number > most}
    many |= {"openai"} if whole.terms.method == "rft" and number > MOST_TASKS.get(role, number) else set()
    if many:
        whole.whole(Fault("too-many-examples", value=said, among=tuple(many)))
    if survey.with_images > MOST_WITH_IMAGES:
        images = Plain(f"{survey.with_images:,} examples with images")
        whole.whole(Fault("too-many-examples", value=images, among=("openai",)))


def size_faults(role: Role, size: int) -> Iterator[Fault]:
    """Yield what is wrong with a file of so many bytes; the test file is never uploaded."""
    if role == "test":
        return
    said = Plain(f"{size:,} bytes")
    above = tuple(name for name, most in MOST_BYTES.items() if size > most)
    if above:
        yield Fault("file-too-large", value=said, among=above)
    elif size > LARGE_BYTES:
        yield Fault("file-large", value=said)
