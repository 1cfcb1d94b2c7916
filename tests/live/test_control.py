"""A deregistration that is wrong, among random schedules of the real binary, is caught every time."""

import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
SEEDS = 8


class Control(unittest.TestCase):
    def test_wrong_deregistration_is_caught_every_time(self):
        world = TARGET / "examples" / "fuzz_live"
        for program in (world, TARGET / "bootstrap"):
            self.assertTrue(program.exists(), f"{program}: run `cargo build --bin bootstrap --example fuzz_live` first")
        settings = {"CONTROL": "1", "START": "0", "SEEDS": str(SEEDS), "JOBS": str(SEEDS), "PYTHON": sys.executable}
        played = subprocess.run([world], env=os.environ | settings, capture_output=True, text=True, timeout=300)
        self.assertEqual(played.returncode, 0, played.stdout + played.stderr)
        self.assertIn(f"{SEEDS} of {SEEDS} wrong deregistrations were caught", played.stdout)


if __name__ == "__main__":
    unittest.main()
