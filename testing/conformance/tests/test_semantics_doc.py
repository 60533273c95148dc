"""docs/semantics.md keeps its form: every sentence is numbered and held by a test that exists, or marked *not yet*."""

import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
DOCUMENT = REPOSITORY / "docs" / "semantics.md"

# The sections in order, by the letter of their numbers.
SECTIONS = {
    "T": "Tenets, in order", "L": "Life of a shadow", "R": "Reading", "W": "Writing", "I": "Listing",
    "M": "Moving the rest", "P": "Placement", "S": "Security",
}
SENTENCE = re.compile(r"- \*\*([A-Z])(\d+)([a-z]?)\*\* (\S.*)")
HOLDERS = re.compile(r"  — (?:tests: (?P<tests>[^;*]+))?(?:(?:(?<=— )|; )\*not yet\*: (?P<why>.+))?")
TEST = re.compile(r"(?P<path>[\w./-]+)::(?P<name>\w+)")


def problems(text):
    """Everything that is wrong with the document, as lines for whoever has to mend it."""
    found, letter, numbers, unheld = [], None, [], None
    for line in text.splitlines():
        if line.startswith("## "):
            letter = next((key for key, title in SECTIONS.items() if title == line[3:]), None)
            if letter is None:
                found.append(f"unknown section: {line}")
        elif letter and line.strip():
            if sentence := SENTENCE.fullmatch(line):
                if unheld:
                    found.append(f"{unheld}: neither a test nor *not yet*")
                unheld = "".join(sentence.group(1, 2, 3))
                numbers.append(sentence.group(1, 2, 3))
                if sentence[1] != letter:
                    found.append(f"{unheld}: its section is {SECTIONS[letter]}")
            elif line.startswith("  — ") and unheld:
                found += [f"{unheld}: {problem}" for problem in _holders(line)]
                unheld = None
            else:
                found.append(f"neither a numbered sentence nor what holds one: {line}")
    if unheld:
        found.append(f"{unheld}: neither a test nor *not yet*")
    return found + _titles(text) + _counting(numbers)


def _titles(text):
    titles = re.findall(r"^## (.+)$", text, re.M)
    return [] if titles == list(SECTIONS.values()) else [f"the sections are {titles}"]


def _counting(numbers):
    """Numbers run from 1 in each section without a gap, and the letters of one number from a; a number has letters or has none."""
    found = []
    for letter in SECTIONS:
        seen = [(int(number), clause) for section, number, clause in numbers if section == letter]
        count = max((number for number, _ in seen), default=0)
        expected = []
        for number in range(1, count + 1):
            clauses = sum(1 for n, _ in seen if n == number)
            expected += [(number, "")] if clauses <= 1 else [(number, chr(ord("a") + at)) for at in range(clauses)]
        if not seen or seen != expected:
            found.append(f"{letter}: the numbers are {[f'{n}{c}' for n, c in seen]}")
    return found


def _holders(line):
    """What is wrong with the line that names what holds a sentence."""
    holders = HOLDERS.fullmatch(line)
    if not holders or not (holders["tests"] or holders["why"]):
        return ["neither a test nor *not yet*"]
    found = []
    if holders["why"] and not 2 <= len(holders["why"].split()) <= 6:
        found.append("*not yet* needs two to six words that say why")
    for named in (holders["tests"] or "").split(", ") if holders["tests"] else []:
        test = TEST.fullmatch(named)
        if not test:
            found.append(f"{named!r} is not path::name")
        elif not _exists(test["path"], test["name"]):
            found.append(f"there is no test {named}")
    return found


@cache
def _source(path):
    file = REPOSITORY / path
    return file.read_text() if file.is_file() and path.endswith((".py", ".rs")) else ""


def _exists(path, name):
    """Whether the file defines the test: a Python one by its name, a Rust one by its attribute (doc comments may stand between)."""
    if path.endswith(".py"):
        return name.startswith("test_") and re.search(rf"^def {name}\(", _source(path), re.M) is not None
    between = r"(?:[ \t]*(?://|#\[).*\n)*"
    return re.search(rf"#\[(?:tokio::)?test\b.*\]\n{between}[ \t]*(?:async )?fn {name}\(", _source(path)) is not None


def test_every_sentence_is_held_or_marked():
    """The page as it is."""
    assert problems(DOCUMENT.read_text()) == []


HELD = "  — tests: testing/conformance/tests/test_semantics_doc.py::test_every_sentence_is_held_or_marked"


def page(reading):
    """A page that is fine but for what stands under "Reading"."""
    fine = lambda letter: f"- **{letter}1** So it is.\n{HELD}"  # noqa: E731
    return "\n\n".join(f"## {title}\n\n{reading if letter == 'R' else fine(letter)}" for letter, title in SECTIONS.items())


@pytest.mark.parametrize("reading", [
    f"- **R1** One.\n{HELD}\n- **R2** Two.\n{HELD}",
    f"- **R1a** One,\n{HELD}; *not yet*: the other half\n- **R1b** and two.\n  — *not yet*: a later issue",
])
def test_a_good_page_passes(reading):
    assert problems(page(reading)) == []


@pytest.mark.parametrize("reading, says", [
    ("- **R1** One.", "R1: neither a test"),
    ("- **R1** One.\n  — ", "R1: neither a test"),
    ("- **R1** One.\n  — *not yet*", "R1: neither a test"),
    ("- **R1** One.\n  — *not yet*: later", "two to six words"),
    (f"- **R1** One.\n- **R2** Two.\n{HELD}", "R1: neither a test"),
    (f"- **R1** One.\n{HELD}_or_not", "there is no test"),
    (f"- **R1** One.\n{HELD.replace('semantics_doc', 'nothing')}", "there is no test"),
    ("- **R1** One.\n  — tests: testing/conformance/tests/test_semantics_doc.py::problems", "there is no test"),
    ("- **R1** One.\n  — tests: crates/shadow/tests/integration/world.rs::restarted", "there is no test"),
    (f"- **R2** Two.\n{HELD}", "the numbers are"),
    (f"- **R1** One.\n{HELD}\n- **R1** Again.\n{HELD}", "the numbers are"),
    (f"- **R1** One.\n{HELD}\n- **R3** Three.\n{HELD}", "the numbers are"),
    (f"- **R2** Two.\n{HELD}\n- **R1** One.\n{HELD}", "the numbers are"),
    (f"- **R1a** One.\n{HELD}\n- **R1c** Three.\n{HELD}", "the numbers are"),
    (f"- **R1a** Alone.\n{HELD}", "the numbers are"),
    (f"- **W1** One.\n{HELD}", "its section is Reading"),
    ("", "R: the numbers are"),
    (f"- **R1** One.\n{HELD}\n\nNo number at all.", "neither a numbered sentence"),
    (f"- **R1** One.\n{HELD}\n{HELD}", "neither a numbered sentence"),
    (f"- **R1** One.\n{HELD}\n\n## Reading", "the sections are"),
])
def test_a_bad_page_is_noticed(reading, says):
    found = problems(page(reading))
    assert any(says in problem for problem in found), found
