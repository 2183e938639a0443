import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w/]+\.py):([\w.]+)`")
DOCUMENTS = sorted((ROOT / "docs").glob("life_of_*.md"))


def defined_names(path: Path) -> set[str]:
    names: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(path.read_text()).body, "")
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_place_that_a_life_document_names_exists(document: Path) -> None:
    places = NAMED.findall(document.read_text())
    assert len(places) >= 10
    for file, name in places:
        assert (ROOT / file).exists(), f"{document.name} names {file}, which is not there"
        assert name in defined_names(ROOT / file), f"{document.name} names {name}, which {file} does not define"


def test_there_are_two_life_documents() -> None:
    assert [path.name for path in DOCUMENTS] == ["life_of_a_model.md", "life_of_a_request.md"]
