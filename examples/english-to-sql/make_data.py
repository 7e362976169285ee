"""Make the English-to-SQL example: chats to train and test on, and the database that judges answers.

Run ``python make_data.py``; it writes next to itself, and the same seed gives the same bytes. Each value (a
name, a city, a word, a number) belongs to one split, so no value of the test questions was seen in training.
Answers of all held-out questions return something from ``tables.sql``.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from random import Random

SPLITS = ("train", "validation", "test")
SIZES = {"train": 960, "validation": 64, "test": 100}
UNSEEN_SIZE = 64
ROWS = 60

POOLS: dict[str, dict[str, str]] = {
    "person": {
        "train": "Amelia Bernard Chloe Dennis Esther Fabian Gemma Hector Ingrid Jasper Kirsten Lorenzo "
        "Miriam Norbert Olivia Patrick Rebecca Stefan Teresa Umberto Vanessa Wilfred Xenia Yvonne "
        "Zachary Agnes Basil Celia Dorian Elsa Fergus Gwen Hilda Igor Judith Klaus Lydia Magnus "
        "Nell Otis Pearl Roland Sybil Tobias",
        "validation": "Alma Cedric Daphne Ewan Freya Gustav Helga Jerome",
        "test": "Priya Mateo Saskia Desmond Ottilie Kwame Brigitte Lucian Marisol Anselm Tamsin Rupert",
    },
    "city": {
        "train": "Antwerp Bristol Cologne Dresden Edinburgh Florence Ghent Halifax Istanbul Jakarta "
        "Kingston Leipzig Marseille Nantes Odessa Palermo Quebec Rotterdam Seville Trieste "
        "Utrecht Valencia Wellington Xiamen Zagreb Aarhus Bilbao Cordoba Dundee Essen Fresno "
        "Granada Houston Innsbruck Jaipur Krakow",
        "validation": "Bremen Calgary Dakar Memphis Ostend Salzburg",
        "test": "Kyoto Tampere Cardiff Rosario Lahore Winnipeg Siena Mombasa Galway Adelaide",
    },
    "country": {
        "train": "Austria Belgium Canada Denmark Estonia Finland Germany Hungary Ireland Jordan Kenya "
        "Latvia Mexico Norway Oman Poland Romania Sweden Turkey Uganda Vietnam Zambia Brazil "
        "Chile France Greece Italy Japan",
        "validation": "Angola Cuba Iceland Qatar Tunisia",
        "test": "Portugal Bolivia Nepal Morocco Croatia Ghana Lebanon Uruguay",
    },
    "word": {
        "train": "garden kitchen music sports travel history poetry camping cooking fishing science "
        "painting office outdoor winter summer planning design support sales finance legal crime "
        "drama fantasy romance humour nature tools lighting bedding pottery knitting cycling "
        "tennis research security logistics printing",
        "validation": "chess hiking sewing theatre rowing banking",
        "test": "archery gaming delivery mystery western bathroom yoga hockey grammar farming",
    },
    "title": {
        "train": "Blue Harbour|Silent Road|Last Lantern|Golden Field|Broken Clock|Winter Song|Paper "
        "Crown|Stone Garden|Northern Wind|Hidden Door|Glass River|Empty Chair|Distant "
        "Thunder|Summer House|Iron Gate|Quiet Valley|Red Umbrella|Lost Island|Early Snow|Green "
        "Mirror|Second Bridge|Dark Orchard|Wooden Horse|Open Window|Long Shadow|Bitter "
        "Honey|Copper Moon|Wild Meadow|Small Kingdom|Black Feather|White Tower|Cold Harvest",
        "validation": "Salt Market|Broad Horizon|Tin Drummer|Secret Ladder|Pale Rider",
        "test": "Amber Citadel|Frozen Lagoon|Velvet Curtain|Scarlet Letterbox|Midnight Ferry|Crooked "
        "Staircase|Marble Fountain|Rusty Kettle|Gentle Pelican|Painted Desert",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table: its name, its text columns with their pools, its number columns with their ranges."""

    name: str
    texts: dict[str, str]
    numbers: dict[str, tuple[int, int]]

    @property
    def columns(self) -> list[str]:
        """Return the column names in order."""
        return [*self.texts, *self.numbers]


TABLES = (
    Table(
        "workers",
        {"name": "person", "team": "word", "city": "city"},
        {"pay": (1000, 9999), "age": (18, 70)},
    ),
    Table(
        "books",
        {"title": "title", "author": "person", "genre": "word"},
        {"year": (1900, 2024), "pages": (80, 900)},
    ),
    Table("toys", {"name": "title", "category": "word"}, {"price": (5, 999), "stock": (0, 500)}),
    Table("towns", {"name": "city", "country": "country"}, {"population": (1000, 9999), "area": (10, 900)}),
)
UNSEEN_TABLES = (
    Table("rivers", {"name": "title", "country": "country"}, {"length": (100, 7000), "depth": (2, 90)}),
    Table("songs", {"title": "title", "singer": "person"}, {"year": (1950, 2024), "plays": (100, 9999)}),
    Table("hotels", {"name": "title", "city": "city"}, {"rooms": (10, 400), "price": (40, 600)}),
    Table("flights", {"origin": "city", "airline": "word"}, {"distance": (200, 9000), "price": (30, 900)}),
)

NEVER_ADDED = ("year", "age", "depth")  # nobody asks for the total of these
EQUAL = ("with {t} {v}", "whose {t} is {v}")
ABOVE = ("with {n} above {k}", "whose {n} is above {k}")
BELOW = ("with {n} below {k}", "whose {n} is below {k}")
# Question openings, condition phrasings and the answer; {c} stands for the chosen condition.
TEMPLATES: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (("Show all {T} {c}.", "Find the {T} {c}."), EQUAL, "SELECT * FROM {T} WHERE {t} = '{v}';"),
    (
        ("Give the {o} of {T} {c}.", "What is the {o} of {T} {c}?"),
        EQUAL,
        "SELECT {o} FROM {T} WHERE {t} = '{v}';",
    ),
    (
        ("How many {T} are there {c}?", "Count the {T} {c}."),
        EQUAL,
        "SELECT COUNT(*) FROM {T} WHERE {t} = '{v}';",
    ),
    (
        ("Give the {o} of {T} {c}.", "What is the {o} of {T} {c}?"),
        ABOVE,
        "SELECT {o} FROM {T} WHERE {n} > {k};",
    ),
    (
        ("Give the {o} of {T} {c}.", "What is the {o} of {T} {c}?"),
        BELOW,
        "SELECT {o} FROM {T} WHERE {n} < {k};",
    ),
    (
        ("How many {T} are there {c}?", "Count the {T} {c}."),
        ABOVE,
        "SELECT COUNT(*) FROM {T} WHERE {n} > {k};",
    ),
    (
        ("How many {T} are there {c}?", "Count the {T} {c}."),
        BELOW,
        "SELECT COUNT(*) FROM {T} WHERE {n} < {k};",
    ),
    (
        ("What is the average {n} of {T} {c}?", "Give the average {n} of {T} {c}."),
        EQUAL,
        "SELECT AVG({n}) FROM {T} WHERE {t} = '{v}';",
    ),
    (
        ("What is the highest {n} of {T} {c}?", "Give the highest {n} of {T} {c}."),
        EQUAL,
        "SELECT MAX({n}) FROM {T} WHERE {t} = '{v}';",
    ),
    (
        ("What is the lowest {n} of {T} {c}?", "Give the lowest {n} of {T} {c}."),
        EQUAL,
        "SELECT MIN({n}) FROM {T} WHERE {t} = '{v}';",
    ),
    (
        ("What is the total {n} of {T} {c}?", "Add up the {n} of {T} {c}."),
        EQUAL,
        "SELECT SUM({n}) FROM {T} WHERE {t} = '{v}';",
    ),
    (
        ("Give the {o} of the {c}.", "Show the {o} of the {c}."),
        ("top {i} {T} by {n}",),
        "SELECT {o} FROM {T} ORDER BY {n} DESC LIMIT {i};",
    ),
    (
        ("Give the {o} of the {c}.", "Show the {o} of the {c}."),
        ("bottom {i} {T} by {n}",),
        "SELECT {o} FROM {T} ORDER BY {n} LIMIT {i};",
    ),
    (
        ("Show all {T} {c}.", "Find the {T} {c}."),
        ("with {n} between {k} and {k2}", "whose {n} is between {k} and {k2}"),
        "SELECT * FROM {T} WHERE {n} BETWEEN {k} AND {k2};",
    ),
    (
        ("Show all {T} {c}.", "Find the {T} {c}."),
        ("with {t} {v} and {n} above {k}", "whose {t} is {v} and {n} is above {k}"),
        "SELECT * FROM {T} WHERE {t} = '{v}' AND {n} > {k};",
    ),
    (
        ("How many {T} are there {c}?", "Count the {T} {c}."),
        ("with {t} either {v} or {v2}", "whose {t} is either {v} or {v2}"),
        "SELECT COUNT(*) FROM {T} WHERE {t} IN ('{v}', '{v2}');",
    ),
)


def pool(kind: str, split: str) -> list[str]:
    """Return the words of one kind that belong to a split."""
    text = POOLS[kind][split]
    return text.split("|") if "|" in text else text.split()


def split_of(number: int) -> str:
    """Give every number to one split."""
    return {3: "test", 5: "validation"}.get(number % 7, "train")


def draw_number(rng: Random, low: int, high: int, split: str) -> int:
    """Draw a number of a range that belongs to a split."""
    while split_of(number := rng.randint(low, high)) != split:
        pass
    return number


def rows_of(rng: Random, table: Table) -> list[tuple[str | int, ...]]:
    """Fill a table so that every value of its pools occurs, those of the test first and most often."""
    columns: list[list[str | int]] = []
    for kind in table.texts.values():
        words = [w for split in reversed(SPLITS) for w in pool(kind, split)]
        column = (words + 2 * pool(kind, "test") + words)[:ROWS]
        rng.shuffle(column)
        columns.append(column)
    columns += [[rng.randint(low, high) for _ in range(ROWS)] for low, high in table.numbers.values()]
    return list(zip(*columns, strict=True))


def database_script(seed: int) -> str:
    """Write the CREATE and INSERT statements of all tables."""
    rng, lines = Random(seed), []
    for table in TABLES + UNSEEN_TABLES:
        fields = [f"{c} TEXT" for c in table.texts] + [f"{c} INTEGER" for c in table.numbers]
        lines.append(f"CREATE TABLE {table.name} ({', '.join(fields)});")
        for row in rows_of(rng, table):
            cells = ", ".join(f"'{cell}'" if isinstance(cell, str) else str(cell) for cell in row)
            lines.append(f"INSERT INTO {table.name} VALUES ({cells});")
    return "\n".join(lines) + "\n"


def ask(rng: Random, table: Table, number: int, split: str) -> tuple[str, str]:
    """Write a question of one template and its answer, with values of one split."""
    openings, conditions, answer = TEMPLATES[number]
    figures = [n for n in table.numbers if n not in NEVER_ADDED or "SUM" not in answer]
    text, figure = rng.choice(list(table.texts)), rng.choice(figures)
    v, v2 = rng.sample(pool(table.texts[text], split), 2)
    k, k2 = sorted(draw_number(rng, *table.numbers[figure], split) for _ in range(2))
    other = rng.choice([c for c in table.columns if c not in (text, figure)] or [text])
    limit = draw_number(rng, 2, 20, split)
    parts = {
        "T": table.name,
        "t": text,
        "n": figure,
        "v": v,
        "v2": v2,
        "k": k,
        "k2": k2,
        "o": other,
        "i": limit,
    }
    condition = rng.choice(conditions).format(**parts)
    return rng.choice(openings).format(c=condition, **parts), answer.format(**parts)


def tells_something(database: sqlite3.Connection, query: str) -> bool:
    """Check that a query returns something, and neither a bare zero nor the whole table."""
    found = database.execute(query).fetchall()
    return 0 < len(found) < ROWS and found[0][0] not in (0, None)


def chat(table: Table, question: str, answer: str) -> dict[str, list[dict[str, str]]]:
    """Lay out one chat."""
    system = f"Write SQL. Table {table.name}({', '.join(table.columns)})"
    turns = (("system", system), ("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def make_split(
    rng: Random, database: sqlite3.Connection, tables: tuple[Table, ...], split: str, size: int
) -> list[dict[str, list[dict[str, str]]]]:
    """Make the chats of one split, spread evenly over templates and tables, with no question twice."""
    chats, asked, at = [], set(), 0
    while len(chats) < size:
        table, template = tables[at % len(tables)], at // len(tables) % len(TEMPLATES)
        question, answer = ask(rng, table, template, split)
        if question in asked or (split != "train" and not tells_something(database, answer)):
            continue
        asked.add(question)
        chats.append(chat(table, question, answer))
        at += 1
    rng.shuffle(chats)
    return chats


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write")
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    script = database_script(arguments.seed)
    (arguments.out / "tables.sql").write_text(script)
    database = sqlite3.connect(":memory:")
    database.executescript(script)

    def drawn(part: str, tables: tuple[Table, ...], split: str, size: int) -> list[dict[str, list[dict[str, str]]]]:
        return make_split(Random(f"{arguments.seed} {part}"), database, tables, split, size)

    parts = {split: drawn(split, TABLES, split, SIZES[split]) for split in SPLITS}
    parts["unseen-tables"] = drawn("unseen-tables", UNSEEN_TABLES, "test", UNSEEN_SIZE)
    for part, chats in parts.items():
        (arguments.out / f"{part}.jsonl").write_text("".join(json.dumps(c) + "\n" for c in chats))


if __name__ == "__main__":
    main()
