"""A text that compares by its bytes on every database, trailing blanks included."""

from typing import Any

from sqlalchemy import String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine


class Bytewise(TypeDecorator[str]):
    """VARCHAR of so many characters; the collation is the database's own."""

    impl = String
    cache_ok = True

    def __init__(self, characters: int) -> None:
        super().__init__(characters)
        self.characters = characters

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        characters = self.characters
        if dialect.name == "postgresql":
            return String(characters, collation="C")
        if dialect.name in ("mysql", "mariadb"):
            from sqlalchemy.dialects import mysql

            # Of the bytewise collations only these two tell "a" from "a "; each server knows one of them. A MariaDB
            # reached through a mysql:// URL calls itself mysql.
            maria = bool(getattr(dialect, "is_mariadb", False))
            collation = "utf8mb4_nopad_bin" if maria else "utf8mb4_0900_bin"
            return mysql.VARCHAR(characters, charset="utf8mb4", collation=collation)
        return String(characters)
