"""The words that docs/words.md lists stand nowhere, and scripts/words would find them."""

import importlib.machinery
import importlib.util
import pathlib
import unittest

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "words"
loader = importlib.machinery.SourceFileLoader("words", str(SCRIPT))
words = importlib.util.module_from_spec(importlib.util.spec_from_loader("words", loader))
loader.exec_module(words)

ENTRIES = words.read(words.WORDS.read_text())


def found(text):
    return [(line, word) for line, word, _ in words.find(text, ENTRIES)]


class Words(unittest.TestCase):
    def test_repository_has_none_of_the_words(self):
        self.assertEqual(list(words.hits()), [])

    def test_word_is_found_in_prose_and_identifiers(self):
        self.assertEqual(found("fine\nThe Patience ends"), [(2, "Patience")])
        self.assertEqual(found("fn a_scout_waits() // CHECK_BUDGET"), [(1, "scout"), (1, "BUDGET")])

    def test_phrase_is_found_over_a_line_break(self):
        self.assertEqual(found("// they let\n    /// go of it"), [(1, "let /// go")])
        self.assertEqual(found("once a minute will do"), [(1, "once a minute will do")])
        self.assertEqual(found("what is listed there is active"), [(1, "what is listed there is")])

    def test_part_of_a_word_is_not_found(self):
        self.assertEqual(found("secure CloudTrail contour insights"), [])
        self.assertEqual(found("what is listed there. It is active"), [])
