"""How a record came to be, schema by schema: never changed once released, only added to.

Both databases count alike. `body` is the text of the value as JSON: it is not looked into, so that a new field of a job
needs no migration and a decision stays the very text that was sealed. Budgets of calls that go with a file are files
beside it.
"""

from __future__ import annotations

SQLITE = (
    """
    CREATE TABLE jobs (
        id TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        name TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at TEXT NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (provider, name, attempt)
    );
    CREATE TABLE events (
        job_id TEXT NOT NULL REFERENCES jobs (id),
        id TEXT NOT NULL,
        position INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (job_id, id)
    );
    """,
    """
    CREATE TABLE decisions (
        position INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL,
        body TEXT NOT NULL,
        before TEXT NOT NULL,
        seal TEXT NOT NULL
    );
    CREATE INDEX decisions_of_a_job ON decisions (job_id);
    """,
    """
    CREATE TABLE summaries (
        id TEXT PRIMARY KEY REFERENCES jobs (id),
        body TEXT NOT NULL
    );
    CREATE INDEX jobs_by_age ON jobs (created_at, id);
    """,
    """
    CREATE TABLE charges (
        job_id TEXT NOT NULL REFERENCES jobs (id),
        number INTEGER NOT NULL,
        month TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (job_id, number)
    );
    CREATE INDEX charges_of_a_month ON charges (month);
    """,
    """
    CREATE TABLE ends (
        job_id TEXT PRIMARY KEY REFERENCES jobs (id),
        heard INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX ends_unheard ON ends (job_id) WHERE heard = 0;
    CREATE TABLE news (
        id TEXT PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        what TEXT NOT NULL,
        at TEXT NOT NULL,
        body TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX news_by_age ON news (at);
    CREATE TABLE told (
        news TEXT NOT NULL REFERENCES news (id),
        whom TEXT NOT NULL,
        PRIMARY KEY (news, whom)
    ) WITHOUT ROWID;
    """,
)

POSTGRES = (
    """
    CREATE TABLE jobs (
        position BIGINT GENERATED ALWAYS AS IDENTITY,
        id TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        name TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (provider, name, attempt)
    );
    CREATE TABLE events (
        job_id TEXT NOT NULL REFERENCES jobs (id),
        id TEXT NOT NULL,
        position INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (job_id, id)
    );
    """,
    """
    CREATE TABLE decisions (
        position BIGINT PRIMARY KEY,
        job_id TEXT NOT NULL,
        body TEXT NOT NULL,
        before TEXT NOT NULL UNIQUE,
        seal TEXT NOT NULL
    );
    CREATE INDEX decisions_of_a_job ON decisions (job_id);
    """,
    """
    CREATE TABLE summaries (
        id TEXT PRIMARY KEY REFERENCES jobs (id),
        body TEXT NOT NULL
    );
    CREATE INDEX jobs_by_age ON jobs (created_at, position);
    """,
    """
    CREATE TABLE charges (
        job_id TEXT NOT NULL REFERENCES jobs (id),
        number INTEGER NOT NULL,
        month TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (job_id, number)
    );
    CREATE INDEX charges_of_a_month ON charges (month);
    """,
    """
    CREATE TABLE rates (
        name TEXT PRIMARY KEY,
        body TEXT NOT NULL
    );
    CREATE TABLE ends (
        job_id TEXT PRIMARY KEY REFERENCES jobs (id),
        heard INTEGER NOT NULL
    );
    CREATE INDEX ends_unheard ON ends (job_id) WHERE heard = 0;
    CREATE TABLE news (
        id TEXT PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES jobs (id),
        what TEXT NOT NULL,
        at TEXT NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX news_by_age ON news (at);
    CREATE TABLE told (
        news TEXT NOT NULL REFERENCES news (id),
        whom TEXT NOT NULL,
        PRIMARY KEY (news, whom)
    );
    """,
)
SUMMARIES, CHARGES = 3, 4  # the schemas that brought them


def statements(script: str) -> list[str]:
    """Cut a script into its statements: a driver runs a whole script only outside a transaction, if at all."""
    return [statement for statement in script.split(";") if statement.strip()]
