"""Every error of the packages: copied, pickled, and back from another process."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import avsearch
import indexer
import trainer
from indexer.errors import AvsearchError, BadRequest, NotInFile, RefusedFile

VALUES = {"path": Path("a/b.wav"), "reason": "it is silent.", "permanent": False}
RUN_WHEN_IMPORTED = (
    "__main__",
    "indexer.catalog.migrations.env",
    "indexer.catalog.migrations.versions",
)


def all_errors() -> list[type[BaseException]]:
    """Return every exception that a module of the packages defines."""
    found = {}
    for package in (indexer, avsearch, trainer):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if any(name in info.name for name in RUN_WHEN_IMPORTED):
                continue
            module = importlib.import_module(info.name)
            for _, kind in inspect.getmembers(module, inspect.isclass):
                if issubclass(kind, BaseException) and kind.__module__ == info.name:
                    found[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return [found[name] for name in sorted(found)]


def made(kind: type[BaseException]) -> BaseException:
    """Make an exception by its own signature, with an attribute and a note."""
    if inspect.isfunction(kind.__init__):
        _, *names = inspect.signature(kind.__init__).parameters
        error = kind(**{name: VALUES.get(name, 7) for name in names})
    else:
        error = kind("a sentence, with a file.")
    error.said = {"more": [1, 2]}
    error.add_note("a note")
    return error


def ways():
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))
    yield copy.copy
    yield copy.deepcopy


def test_every_error_can_be_pickled_and_copied():
    errors = all_errors()
    assert {AvsearchError, RefusedFile, NotInFile} <= set(errors)
    assert len(errors) > 12
    for kind in errors:
        error = made(kind)
        for again in (way(error) for way in ways()):
            assert type(again) is kind
            assert (str(again), again.args) == (str(error), error.args)
            assert vars(again) == vars(error)


def test_an_error_class_of_other_code_is_pickled_too():
    again = pickle.loads(pickle.dumps(TwoReasons("one", "two")))
    assert (str(again), again.second, again.exit_code) == ("one", "two", 2)


class TwoReasons(BadRequest):
    """An error that is not made of a message alone."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


def _refuse(path: str) -> None:
    raise NotInFile(path, "has no second track.", permanent=False)


def test_a_refusal_comes_back_from_a_pool_of_processes_and_leaves_it_in_order():
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for name in ("a.wav", "b.wav"):
            with pytest.raises(NotInFile, match=r"[ab]\.wav: has no second track\.") as error:
                pool.submit(_refuse, name).result()
            assert (error.value.path, error.value.permanent) == (Path(name), False)
        assert pool.submit(len, "abc").result() == 3
