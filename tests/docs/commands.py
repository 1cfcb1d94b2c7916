"""The documents, and the commands in them: whatever stands in a block of shell.

A block is taken line by line, after line continuations are joined, as a user would copy it. Used by tests/template too.
"""

import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
# A file that a block writes is no command.
HERE_DOCUMENT = re.compile(r"<<'?(\w+)'?(.*?)\n.*?^ *\1$", re.MULTILINE | re.DOTALL)


def read(document):
    return (ROOT / document).read_text()


def scripts(document):
    """Each block as a shell would get it: of a console, the lines after the prompt."""
    found = []
    for indent, kind, block in BLOCK.findall(read(document)):
        text = "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))
        if kind == "console":
            text = re.sub(r"\\\n\s*", " ", text)
            lines = text.splitlines()
            text = "\n".join(line.removeprefix("$ ") for line in lines if line.startswith("$ "))
        found.append(text)
    return found


def lines(document):
    """The command lines of a document's blocks."""
    found = []
    for script in scripts(document):
        text = HERE_DOCUMENT.sub(r"\2", script.replace("\\\n", ""))
        # A line that ends with a pipe goes on in the next.
        text = re.sub(r"\|\n\s*", "| ", text)
        found += whole([line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")])
    return found


def whole(parts):
    """The lines, with those joined that a quotation spans."""
    found, line = [], ""
    for part in parts:
        line = f"{line}\n{part}" if line else part
        try:
            shlex.split(line)
        except ValueError:
            continue
        found.append(line)
        line = ""
    assert not line, f"a quotation without end: {line}"
    return found


def everywhere():
    return [(document, line) for document in DOCUMENTS for line in lines(document)]


def simple(line):
    """The simple commands of a line, each as a list of words, without redirections. An assignment is no command."""
    if re.match(r"\w+=", line):
        return []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    commands, words, redirected = [], [], False
    for token in lexer:
        if set(token) <= set("&|;"):
            commands.append(words)
            words = []
        elif set(token) <= set("<>"):
            redirected = True
        elif redirected:
            redirected = False
        else:
            words.append(token)
    return [command for command in [*commands, words] if command]


def of(program):
    """The lines with a command of a program."""
    return [(document, line) for document, line in everywhere() if any(words[0] == program for words in simple(line))]
