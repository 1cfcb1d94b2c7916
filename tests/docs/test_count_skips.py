"""scripts/count-skips passes on what a command prints and how it ends, and counts its skipped tests."""

import subprocess
import sys
import unittest

from commands import ROOT


def count(script):
    command = [sys.executable, ROOT / "scripts/count-skips", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True)


class CountSkips(unittest.TestCase):
    def test_skipped_tests_are_counted_with_their_reasons(self):
        done = count("echo ok; echo 'SKIPPED: one, without moto' >&2; echo 'SKIPPED: two, without moto' >&2; echo other >&2")
        self.assertEqual((done.returncode, done.stdout), (0, "ok\n"))
        self.assertIn("other\n2 of the tests that count as passed above were skipped:\n  one, without moto\n  two", done.stderr)

    def test_nothing_skipped_is_said_too(self):
        self.assertIn("none of the tests above was skipped", count("true").stderr)

    def test_exit_code_is_the_command_s(self):
        self.assertEqual(count("echo SKIPPED: x >&2; exit 101").returncode, 101)
        self.assertEqual(count("kill -9 $$").returncode, 1)
