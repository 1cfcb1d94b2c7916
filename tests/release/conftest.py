import checks


def pytest_terminal_summary(terminalreporter):
    # pytest prints one letter for a skipped test; a run that tested nothing must not look like one that passed.
    for reason in sorted(checks.skipped):
        terminalreporter.write_line(f"SKIPPED: {reason}", red=True)
