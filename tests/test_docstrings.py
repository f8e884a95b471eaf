"""The examples in docstrings are what the code does."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ["nut_runtime", "nut_dataset", "nut_train", "nut_export", "nut_benchmarks"]


def module_names() -> list[str]:
    """Return every module of the five packages, without importing more than the packages themselves."""
    names = []
    for package in PACKAGES:
        found = importlib.import_module(package)
        names += [package, *(module.name for module in pkgutil.walk_packages(found.__path__, f"{package}."))]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.parametrize("name", module_names())
def test_the_examples_of_a_module_hold(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is for"
    names = {"np": importlib.import_module("numpy")}
    results = doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0


def test_there_are_examples_to_test():
    finder = doctest.DocTestFinder(exclude_empty=True)
    tested = [
        example
        for name in module_names()
        for test in finder.find(importlib.import_module(name))
        for example in test.examples
        if doctest.SKIP not in example.options
    ]
    assert len(tested) >= 5
