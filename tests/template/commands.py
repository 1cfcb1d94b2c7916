"""The commands of the documents: whatever stands in a block of shell.

A block is taken line by line, after line continuations are joined, as a user would copy it.
"""

import re
import shlex

from stack import ROOT

DOCUMENTS = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def lines(document):
    """The command lines of a document's blocks."""
    found = []
    for indent, kind, block in BLOCK.findall((ROOT / document).read_text()):
        text = block.replace("\\\n", "") if kind == "sh" else re.sub(r"\\\n\s*", " ", block)
        # A file that a block writes is no command.
        text = re.sub(r"<<'?(\w+)'?(.*?)\n.*?^ *\1$", r"\2", text, flags=re.MULTILINE | re.DOTALL)
        for line in text.splitlines():
            line = line.removeprefix(indent).strip()
            if kind == "console":
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            if line and not line.startswith("#"):
                found.append(line)
    return found


def everywhere():
    return [(document, line) for document in DOCUMENTS for line in lines(document)]


def simple(line):
    """The simple commands of a line, each as a list of words, without redirections."""
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
