"""What is wrong with a record, and the way to mend it, by the code that the database gives."""

from __future__ import annotations

import os
from pathlib import Path

from anytune.errors import StoreError

ANOTHER_HOME = "set ANYTUNE_HOME to a folder of yours"
DENIED = "42501"
TABLES = "ALL TABLES IN SCHEMA anytune"
GRANTS = "GRANT USAGE ON SCHEMA anytune TO {user}; GRANT SELECT, INSERT, UPDATE ON " + TABLES + " TO {user};"
FIRST_OPENED = "GRANT CREATE ON DATABASE {database} TO {user}; or let the database's owner run anytune list once"
OWNER = "let the owner of the schema anytune run anytune list once with this version of anytune"
AGAIN = "run it again; nothing that was acknowledged is lost"
SQLITE = {
    5: "another anytune is writing; try again in a moment",
    6: "another anytune is writing; try again in a moment",
    8: f"the file or its folder may not be written: chmod u+rw {{path}}, or {ANOTHER_HOME}",
    10: "the disk could not be read or written: look at it (dmesg, df); nothing that was acknowledged is changed",
    11: "restore {path} from a copy, or sqlite3 {path} .recover | sqlite3 saved.sqlite3 (jobs at providers live on)",
    13: "the disk is full; nothing was lost, make room and run it again",
    14: f"the file or its folder may not be read or written: chmod u+rwx {{folder}}, or {ANOTHER_HOME}",
    26: "restore {path} from a copy, or move it aside to begin anew (jobs at providers live on)",
}
POSTGRES = {
    "25006": "the server takes no writes (a standby?): name the primary in `store` of config.yaml",
    "53100": "the server's disk is full; nothing was lost, make room there and run it again",
    "53300": "the server takes no more connections; try again in a moment",
    "55P03": "another anytune is writing; try again in a moment",
    "28P01": "the password comes from PGPASSWORD, ~/.pgpass or a service file",
    "3D000": "createdb {database}, or name another database in `store` of config.yaml",
}
SAID = {  # while connecting, libpq gives no code
    "password": "28P01",
    "does not exist": "3D000",
    "too many clients": "53300",
    "remaining connection slots": "53300",
}
NOT_REACHED = "start the server, or look at the address in `store` of config.yaml"
NO_ROLE = "createuser {user}, or name another user in `store` of config.yaml"
NOT_LET_IN = "let {user} in by the server's pg_hba.conf"


def for_sqlite(code: int, path: Path) -> str:
    """Say how to mend what SQLite found."""
    said = SQLITE.get(code & 0xFF, "restore {path} from a copy, or move it aside (jobs at providers live on)")
    return said.format(path=path, folder=path.parent)


def for_postgres(code: str | None, message: str) -> str:
    """Say how to mend what the server said, or the way to it, with places for `user` and `database`."""
    if "role" in message and "does not exist" in message:
        return NO_ROLE
    if "pg_hba.conf" in message or "Peer authentication" in message:
        return NOT_LET_IN
    code = code or next((code for words, code in SAID.items() if words in message), None)
    return NOT_REACHED if code is None else POSTGRES.get(code, AGAIN)


def unwritable(path: Path) -> StoreError:
    """Say that a file or a folder may not be written, and whose it is."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        why, fix = "its file system is mounted read-only", f"mount it anew for writing, or {ANOTHER_HOME}"
    elif path.stat().st_uid != os.geteuid():
        why, fix = "it belongs to another user", f"sudo chown -R $USER {path}, or {ANOTHER_HOME}"
    else:
        rights = "u+rwx" if path.is_dir() else "u+rw"
        why, fix = "it is set read-only", f"chmod {rights} {path}, or {ANOTHER_HOME}"
    return StoreError(f"cannot write {path}: {why}", fix=fix)
