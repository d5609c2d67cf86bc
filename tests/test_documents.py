"""The documents agree with the repository: the tree in ARCHITECTURE.md, and links between documents."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")]


def listed_files(tree: str) -> list[str]:
    """Return the .py files of an indented tree: two blanks for each level, folders end with a slash."""
    folders: list[str] = []
    files = []
    for line in tree.splitlines():
        match = re.match(r"( *)((?:\w+(?:/|\.py)(?: |$))+)", line)
        if match is None:
            continue
        folders = folders[: len(match[1]) // 2]
        for name in match[2].split():
            if name.endswith("/"):
                folders.append(name)
            else:
                files.append("".join([*folders, name]))
    return files


def test_the_tree_in_architecture_lists_every_file_once():
    tree = (REPOSITORY / "ARCHITECTURE.md").read_text().split("```")[1]
    files = [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "segtrain").rglob("*.py")]
    assert sorted(listed_files(tree)) == sorted(file for file in files if not file.endswith("__init__.py"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_to_files(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []
