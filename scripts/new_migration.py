"""Write the migration from the newest revision to what the tables say: `scripts/new_migration.py "what changes"`.

Tables live with their feature; every class on `Base` is found here. Read what was written before you commit it:
autogenerate guesses.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import holdfast


def load_all_tables() -> None:
    """Import every module of the product that declares tables, so that `Base.metadata` is complete."""
    root = Path(holdfast.__path__[0])
    for path in sorted(root.rglob("*.py")):
        if "(Base):" in path.read_text():
            importlib.import_module(".".join(("holdfast", *path.relative_to(root).with_suffix("").parts)))


def main() -> int:
    from alembic import command
    from alembic.config import Config

    from holdfast.store import Database, upgrade
    from holdfast.store.migrating import MIGRATIONS

    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    load_all_tables()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    found = [int(path.name.split("_")[0]) for path in (MIGRATIONS / "versions").glob("[0-9]*.py")]
    revision = f"{max(found, default=0) + 1:04d}"
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(f"sqlite:///{Path(folder) / 'empty.db'}", durable=False)
        if found:
            upgrade(database)
        with database.write() as session:
            config.attributes["connection"] = session.connection()
            command.revision(config, sys.argv[1], autogenerate=True, rev_id=revision)
    return 0


if __name__ == "__main__":
    sys.exit(main())
