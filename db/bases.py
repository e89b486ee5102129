"""What the current version of an output was made from, as the run that made it left it for the next one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select

from db import engine as transactions
from db import output_state, outputs, replaced
from db.columns import as_column
from db.errors import OutputError
from db.output_spec import OutputSpec
from db.tables import Record, publications

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Kept beside the job's own arrays: the settings that the lists were made under, and the keys that others replaced
#: while it was at work.
RECIPE, RENEWED = "recipe", "renewed"


@dataclass(frozen=True)
class Basis:
    """Arrays of the job's own by name; true when there is something to go on from."""

    arrays: "Mapping[str, NDArray[Any]]" = field(default_factory=dict)
    #: Keys whose lists were replaced since, by publications that did not tell what from.
    renewed: Sequence[Any] = ()
    #: Why everything must be built; empty when it need not.
    missing: str = ""
    #: The version that was current when this was found.
    version: int = 0

    def __bool__(self) -> bool:
        return not self.missing


def state_of(
    recipe: Mapping[str, Any], arrays: "Mapping[str, NDArray[Any]]", renewed: Sequence[Any]
) -> "dict[str, NDArray[Any]]":
    """The arrays as they are kept beside the version, with the settings they were made under."""
    told = as_column([json.dumps(dict(recipe), sort_keys=True)], "text")
    own = {RECIPE: told, RENEWED: as_column(list(renewed), "id")}
    return {outputs.BASIS + name: values for name, values in {**arrays, **own}.items()}


def find_basis(engine: Engine, name: str, recipe: Mapping[str, Any]) -> Basis:
    """The basis of the current version, if this recipe made it and nothing but single keys was replaced since."""
    try:
        spec, row = outputs.find(engine, name)
    except OutputError:
        return Basis(missing="nothing was published yet")
    version = output_state.newest(engine, name, row.version, outputs.BASIS)
    since = _since(engine, name, version or 0, row.version)
    whole = since if version is None else [later for later in since if later.build != "partial"]
    if version is None or whole:
        return Basis(missing=_why(whole[-1]) if whole else "nothing was published yet", version=row.version)
    arrays = output_state.load(engine, name, version, outputs.BASIS)
    made = json.loads(arrays.pop(RECIPE)[0])
    for setting, value in json.loads(json.dumps(dict(recipe))).items():
        if made.get(setting) != value:
            return Basis(missing=f"{setting} was {made.get(setting)!r}, is {value!r}", version=row.version)
    since_then = renewed_keys(engine, spec, version, row.version)
    renewed = [*arrays.pop(RENEWED).tolist(), *replaced.overtaken(engine, name, version), *since_then]
    return Basis(arrays, renewed, version=row.version)


def _since(engine: Engine, name: str, version: int, upto: int) -> Sequence[Record]:
    past = (publications.c.output == name, publications.c.version > version, publications.c.version <= upto)
    with transactions.read(engine) as connection:
        query = select(publications.c.version, publications.c.build).where(*past)
        return connection.execute(query.order_by(publications.c.version)).all()


def _why(published: Record) -> str:
    if published.build == "rollback":
        return f"version {published.version} is a rollback"
    return f"version {published.version} did not tell what it was made from"


def renewed_keys(engine: Engine, spec: OutputSpec, version: int, upto: int) -> list[Any]:
    """The keys whose lists are others than they were in that version."""
    return outputs.changed_keys(engine, spec, version, upto) if upto > version else []


def last_full(engine: Engine, name: str) -> str | None:
    """When the last version was built whole, as publications tell it."""
    where = (publications.c.output == name, publications.c.build == "full")
    with transactions.read(engine) as connection:
        query = select(publications.c.built_at).where(*where).order_by(publications.c.version.desc())
        found: str | None = connection.execute(query.limit(1)).scalar()
        return found
