"""Find unused keys of a config. Without this check, a misspelt override would be ignored silently."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pydoc import ErrorDuringImport, locate
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser, ReferenceResolver

from retina_monai.errors import RetinaError, join_first
from retina_monai.settings import RULES, Rule

__all__ = ["config_rules", "nested_settings", "references", "refuse_unused", "written"]

SEPARATOR = ReferenceResolver.sep


def refuse_unused(
    parser: ConfigParser, shipped: Mapping[str, Any], sources: Iterable[Any] = (), runs: Collection[str] = ()
) -> None:
    """Reject keys without effect and unknown arguments of components.

    A key has an effect if it is in the shipped config, if ``@key`` or ``%key`` refers to it, if one of its parents has
    an effect, or if it is a list of expressions, which can be run.

    Args:
        parser: the parsed config in use, including overrides.
        shipped: the bundle's own config as in its file; if empty, only arguments are checked.
        sources: config files and overrides as given, because parsing replaces each ``%key`` by a copy.
        runs: ids that a workflow runs.

    Raises:
        RetinaError: there are such keys or arguments. The message lists them with the most similar valid ones.
    """
    config = parser.get()
    used = references(config) | {
        name for source in (shipped, *sources) for id, value in _nodes(source) for name in _macros(id, value)
    }
    unused = [id for id in _unused(config, shipped, used) if id not in runs] if shipped else []
    unused = [id for id in unused if not _is_copied(parser[id], config)]
    wrong = []
    for id in unused:
        wrong.append(f"the config has no key {written(id)}: {_hint(_nearest(id, config, unused), 'nothing uses it')}")
    for id, key, takes in _unknown_arguments(parser, config):
        nearest = next(iter(get_close_matches(key, takes, 1)), key if key in config else "")
        otherwise = f"it takes {', '.join(takes) or 'none'}"
        wrong.append(f"{written(id)} takes no argument {key}: {_hint(nearest, otherwise)}")
    if wrong:
        raise RetinaError(join_first(wrong))


def nested_settings(parser: ConfigParser, shipped: Mapping[str, Any]) -> dict[str, str]:
    """Nested ids overridden with a value, and the setting that the shipped config refers to there.

    ``{"train::trainer::max_epochs": "max_epochs"}`` after ``--train#trainer#max_epochs 3``.
    """
    links = {id: value[1:] for id, value in _nodes(shipped) if re.fullmatch(r"@\w+", str(value)) and SEPARATOR in id}
    return {id: key for id, key in links.items() if id in parser and not str(parser[id]).startswith(("@", "$"))}


def config_rules(parser: ConfigParser) -> dict[str, Rule]:
    """Rules for the settings of a config: the common ``RULES``, and ``SETTINGS`` of its components' modules."""
    targets = [_target(parser, id) for id, value in _nodes(parser.get()) if ConfigComponent.is_instantiable(value)]
    modules = (sys.modules.get(getattr(target, "__module__", "")) for target in targets)
    families: list[dict[str, Rule]] = [getattr(module, "SETTINGS", {}) for module in modules]
    return RULES | {key: rule for family in families for key, rule in family.items()}


def written(id: str) -> str:
    """An id in the form of the command line.

    Example:
        >>> written("train::trainer::max_epochs")
        'train#trainer#max_epochs'
    """
    return id.replace(SEPARATOR, "#")


def _nodes(config: Any, id: str = "") -> Iterator[tuple[str, Any]]:
    """The id and value of every entry of a config at any depth, parents first, without metadata."""
    for _, inner, value in ReferenceResolver.iter_subconfigs(id, config) if isinstance(config, dict | list) else ():
        if inner != ConfigParser.meta_key:
            yield inner, value
            yield from _nodes(value, inner)


def references(config: Any) -> set[str]:
    """Ids that ``@id`` refers to, anywhere in a config."""
    texts = (value for _, value in _nodes(config) if isinstance(value, str))
    return {name for text in texts for name in ReferenceResolver.match_refs_pattern(text)}


def _macros(id: str, value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("%"):
        path, name = ConfigParser.split_path_id(ConfigParser.resolve_relative_ids(id, value)[1:])
        yield from [] if path else [name]


def _unused(config: Mapping[str, Any], shipped: Mapping[str, Any], used: set[str], id: str = "") -> Iterator[str]:
    """Ids in nested plain dictionaries that the shipped config lacks and nothing refers to."""
    for key, inner, value in ReferenceResolver.iter_subconfigs(id, config):
        plain = isinstance(value, dict) and "_target_" not in value
        own = shipped.get(key, {}) if isinstance(shipped.get(key, {}), dict) else {}
        if inner == ConfigParser.meta_key or inner in used:
            yield from (f"{inner}{SEPARATOR}{name}" for name in (_strays(value, own) if plain else ()))
        elif plain and (key in shipped or any(name.startswith(inner + SEPARATOR) for name in used)):
            yield from _unused(value, own, used, inner)
        elif key not in shipped and not _is_program(value):
            yield inner


def _strays(value: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """Plain values added to a shipped dictionary of components, such as ``lr`` among optimizers."""
    if own and all(isinstance(entry, dict) for entry in own.values()):
        for name, entry in value.items():
            if name not in own and not isinstance(entry, dict | list) and not str(entry).startswith(("@", "$")):
                yield name


def _is_program(value: Any) -> bool:
    """Whether a value is a list of expressions, which can be run."""
    return isinstance(value, list) and all(str(entry).startswith("$") for entry in value)


def _is_copied(value: Any, config: Mapping[str, Any]) -> bool:
    """Whether another entry has the same content: a copy made by ``%key`` when the sources are unknown."""
    return isinstance(value, dict | list) and sum(entry == value for _, entry in _nodes(config)) > 1


def _unknown_arguments(parser: ConfigParser, config: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """The id of a component, an unknown argument of it, and its valid arguments."""
    for id, value in _nodes(config):
        takes = _arguments(_target(parser, id)) if ConfigComponent.is_instantiable(value) else None
        if takes is not None:
            yield from ((id, key, sorted(takes)) for key in value if not key.startswith("_") and key not in takes)


def _target(parser: ConfigParser, id: str) -> Any:
    """The class or function of a component; ``None`` if it is not known before evaluation."""
    name = parser[id]["_target_"]
    if link := re.fullmatch(r"\$@([\w:]+)", str(name)):
        return _target(parser, link[1]) if ConfigComponent.is_instantiable(parser.get(link[1])) else None
    if not isinstance(name, str) or name.startswith("$"):
        return None
    try:
        return locate(ConfigComponent(parser[id], id, parser.locator).resolve_module_name())
    except ErrorDuringImport:
        return None


def _arguments(target: Any) -> set[str] | None:
    """Argument names of a class or function, including those passed to base classes; ``None`` if it accepts any."""
    names: set[str] = set()
    kinds = target.__mro__ if isinstance(target, type) else ()
    for call in [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)] or [target]:
        try:
            parameters = inspect.signature(call).parameters.values()
        except (TypeError, ValueError):
            return None
        names |= {parameter.name for parameter in parameters}
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            return names - {"self"}
    return None


def _nearest(id: str, config: Mapping[str, Any], unused: Collection[str]) -> str:
    """The most similar id: the same name elsewhere, else a similar sibling, else a similar name; empty if none is."""
    parent, key = ReferenceResolver.split_id(id, last=True)
    places: dict[str, str] = {}
    beside = []
    for place in sorted((place for place, _ in _nodes(config)), key=lambda place: place.count(SEPARATOR)):
        above, name = ReferenceResolver.split_id(place, last=True)
        if place not in unused and not re.search(r"(^|::)(_|\d+(::|$))", place):  # skip lists and MONAI's own keys
            places.setdefault(name, place)
            beside += [name] if above == parent else []
    if key in places:
        return places[key]
    if alike := get_close_matches(key, beside, 1):
        return f"{parent}{SEPARATOR}{alike[0]}".removeprefix(SEPARATOR)
    return next((places[name] for name in get_close_matches(key, places, 1, cutoff=0.7)), "")


def _hint(nearest: str, otherwise: str) -> str:
    return f"did you mean {written(nearest)}?" if nearest else otherwise
