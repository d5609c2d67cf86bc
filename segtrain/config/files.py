"""The YAML files of segtrain and of a user: their folders, groups and options, and what Hydra must know of them."""

from collections.abc import Sequence
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from segtrain.config import help as usage
from segtrain.config import tables
from segtrain.config.schema import SCHEMAS
from segtrain.errors import ConfigError
from segtrain.reading import read_yaml_text


def config_dir() -> str:
    """Absolute folder of the YAML files: inside an installed wheel, else next to the package in a checkout."""
    package = Path(__file__).absolute().parents[1]
    inside = package / "configs"
    return str(inside if inside.is_dir() else package.parent / "configs")


def groups() -> list[str]:
    """Config groups that segtrain ships, experiment among them."""
    return sorted(path.name for path in Path(config_dir()).iterdir() if path.is_dir() and path.name != "hydra")


def options(folders: Sequence[str] = ()) -> dict[str, list[str]]:
    """Options of each config group, its default first, those of a user's `folders` included."""
    found: dict[str, set[str]] = {}
    for folder in (config_dir(), *folders):
        for path in Path(folder).glob("*/*.yaml"):
            found.setdefault(path.parent.name, set()).add(path.stem)
    found.pop("hydra", None)
    lines = yaml.safe_load(Path(config_dir(), "train.yaml").read_text())["defaults"]
    chosen = {group: name for line in lines if isinstance(line, dict) for group, name in line.items()}
    return {group: sorted(names, key=lambda name: (name != chosen.get(group), name)) for group, names in found.items()}


def refuse_clashes(folder: str) -> None:
    """Refuse a user's config of a built-in's name: Hydra would silently use the built-in.

    Raises:
        ConfigError: A file of `folder` has the group and name of one of segtrain's, or would exhaust the parser.
    """
    for path in sorted(Path(folder).rglob("*.yaml")):
        name = path.relative_to(folder)
        try:
            read_yaml_text(path)
        except (OSError, ValueError) as error:
            seen = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"cannot read {path}: {seen}. Fix: correct the file, or remove it") from error
        except yaml.YAMLError:
            pass  # Hydra names line and column, if it reads the file at all
        if (Path(config_dir()) / name).exists():
            raise ConfigError(f"{path}: segtrain has a {name} of its own, which Hydra would use. Fix: rename yours")


def set_up() -> None:
    """Register the schemas of the root keys, the loader of tables and our resolvers. May be called again."""
    tables.install()
    store = ConfigStore.instance()
    for command, schema in SCHEMAS.items():
        store.store(name=f"{command}_schema", node=schema)
    OmegaConf.register_new_resolver("help.groups", usage.groups, replace=True)
    OmegaConf.register_new_resolver("help.keys", usage.keys, replace=True)
    # An interpolation of the environment would write its secrets into the run's config.yaml.
    OmegaConf.register_new_resolver("oc.env", _refuse_environment, replace=True)


def _refuse_environment(name: str, default: str | None = None) -> str:
    raise ConfigError(f"${{oc.env:{name}}} is refused: it would write the environment into the run's config.yaml")
