"""No module imports itself through others, not even inside a function."""

import graphlib

import pytest

grimp = pytest.importorskip("grimp")


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph(
        "avsearch", "indexer", "trainer", "benchmarks", "tools", exclude_type_checking_imports=True
    )
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 300
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))
