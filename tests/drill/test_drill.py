"""Tries scripts/drill on a small load balancer, real databases, and stand-ins for AWS. Everything listens on loopback.

Run it with `python3 -m unittest discover -s tests/drill`. DRILL_PYTHONS names the interpreters that run the drill, with
spaces between them: DRILL_PYTHONS="python3.9 python3.13". Without it, that is the one that runs the tests.
"""

import contextlib
import datetime
import importlib.machinery
import importlib.util
import io
import itertools
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRILL = ROOT / "scripts" / "drill"
FAKE_AWS = pathlib.Path(__file__).with_name("fake_aws.py")
ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/drill/0123456789abcdef"
VENV = ROOT / ".venv"
POSTGRES = os.pathsep.join([*map(str, sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))), os.environ["PATH"]])
# Debian keeps servers where users do not look.
SBIN = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
# The part of an expected time that is measured however busy the machine is.
LEAST = 0.1
# How many tests run at the same time.
WORKERS = 6
skipped = set()


def needs(what, present):
    """Skips a test, and says so at the end of the run."""
    if not present:
        skipped.add(f"{what} is not installed")
    return unittest.skipUnless(present, f"{what} is not installed")


# The drill would inherit that SIGHUP is ignored, if nohup started the tests.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

needs_postgres = needs("PostgreSQL", shutil.which("psql") and shutil.which("initdb", path=POSTGRES))
needs_mariadb = needs("MariaDB", shutil.which("mariadb") and shutil.which("mariadbd", path=SBIN) and shutil.which("mariadb-install-db"))
needs_moto = needs("moto, or the AWS CLI, in .venv", (VENV / "bin/moto_server").exists() and (VENV / "awscli/bin/aws").exists())


def eventually(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come true")


class Lag:
    """How late a busy machine wakes a thread: a time that is measured meanwhile may be as wrong."""

    TICK = 0.05

    def __init__(self):
        self.late, self.asleep = [], time.monotonic()
        threading.Thread(target=self.tick, daemon=True).start()

    def tick(self):
        while True:
            time.sleep(self.TICK)
            now = time.monotonic()
            self.late.append((time.time(), now - self.asleep - self.TICK))
            self.asleep = now

    def since(self, began):
        """The greatest since this time of the system's clock, in seconds."""
        asleep = time.monotonic() - self.asleep - self.TICK
        return max([late for at, late in self.late if at >= began], default=0) + max(0, asleep)


lag = Lag()


class Balancer:
    """Stands for the load balancer: sends connections to its targets in turn, and refuses them without one."""

    def __init__(self, *targets, source="127.0.0.1"):
        [self.port] = free_ports(1)
        self.listener, self.source, self.turn = None, source, 0
        self.targets = ()
        # When each target came last, and when it went.
        self.came, self.went = {}, {}
        self.send_to(*targets)

    def send_to(self, *targets):
        come = [target for target in targets if target not in self.targets]
        self.came.update({target: time.time() for target in come})
        self.went.update({target: time.time() for target in self.targets if target not in targets})
        self.targets = targets
        if targets and self.listener is None:
            self.listener = eventually(lambda: listen(self.port))
            threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
            # Another process may have held the port.
            self.came.update({target: time.time() for target in come})
        elif not targets and self.listener is not None:
            # Wakes the thread that accepts, which close alone would not.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.send_to()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if targets := self.targets:
                self.turn += 1
                target = targets[self.turn % len(targets)]
                threading.Thread(target=self.forward, args=(client, target), daemon=True).start()
            else:
                client.close()

    def forward(self, client, target):
        try:
            with client, socket.create_connection(("127.0.0.1", target), source_address=(self.source, 0)) as server:
                back = threading.Thread(target=self.pump, args=(server, client), daemon=True)
                back.start()
                self.pump(client, server)
                back.join()
        except OSError:
            pass

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Aws:
    """A folder with a fake `aws` for PATH, the state that it changes, and the balancer that follows this state late."""

    # How long the balancer goes on as before.
    LATE = 1.0

    def __init__(self, folder, balancer, **states):
        self.folder, self.balancer = pathlib.Path(folder), balancer
        self.file = self.folder / "state.json"
        self.write({"targets": {f"127.0.0.1:{port[1:]}": state for port, state in states.items()}, "fail": {}, "calls": []})
        program = self.folder / "aws"
        program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(FAKE_AWS))} {shlex.quote(str(self.file))} \"$@\"\n")
        program.chmod(0o755)
        self.down, self.ended = set(), threading.Event()
        self.thread = threading.Thread(target=self.follow)

    def read(self):
        return json.loads(self.file.read_text())

    def write(self, state):
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(state))
        new.replace(self.file)

    def fail(self, action, times):
        state = self.read()
        state["fail"][action] = times
        self.write(state)

    def calls(self):
        return [shlex.join(call) for call in self.read()["calls"]]

    def changes(self):
        return [call[1] for call in self.read()["calls"] if not call[1].startswith("describe")]

    def registered(self):
        return {int(name.rpartition(":")[2]) for name, state in self.read()["targets"].items() if state not in ("unused", "draining")}

    def follow(self):
        history = []
        while not self.ended.wait(0.05):
            registered = self.registered()
            # Taken second: a pause between the two makes the balancer late, and never early.
            history.append((time.monotonic(), registered))
            while len(history) > 1 and history[1][0] < time.monotonic() - self.LATE:
                history.pop(0)
            self.balancer.send_to(*sorted(history[0][1] - self.down))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def environment(self):
        return {**os.environ, "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}


class Postgres:
    """A server on loopback; `standby` makes it a reader until it is promoted."""

    def __init__(self, folder, port, standby=False):
        self.folder, self.port = folder, port
        self.run("initdb", "--auth=trust", "--username=drill", "--no-sync", "-D", folder)
        if standby:
            self.run("touch", f"{folder}/standby.signal")
        self.start()

    @classmethod
    def command(cls, *words):
        # PostgreSQL refuses to run as root.
        return words if os.geteuid() != 0 else ("runuser", "-u", "postgres", "--", *words)

    @classmethod
    def run(cls, *words):
        subprocess.run(cls.command(*words), check=True, cwd="/", stdout=subprocess.DEVNULL, env={**os.environ, "PATH": POSTGRES})

    def control(self, *words):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        return ("pg_ctl", "-D", self.folder, "-w", "-l", f"{self.folder}/log", "-o", options, *words)

    def start(self):
        self.run(*self.control("start"))

    def promote(self):
        self.run("pg_ctl", "-D", self.folder, "-w", "promote")

    def stop(self):
        self.run("pg_ctl", "-D", self.folder, "-m", "immediate", "stop")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if os.path.exists(f"{self.folder}/postmaster.pid"):
            self.stop()


class MariaDb:
    """A server on loopback, to which everybody may log in as drill."""

    def __init__(self, folder, port, *options):
        self.port = port
        user = "root" if os.geteuid() == 0 else subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}", f"--user={user}", "--skip-test-db"]
        install += ["--auth-root-authentication-method=normal"]
        # Two installations at once must not share their temporary tables.
        environment = os.environ | {"TMPDIR": str(folder)}
        done = subprocess.run(install, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            logs = [path.read_text() for path in pathlib.Path(folder).glob("*.err")]
            raise AssertionError(f"{done.stdout}\n{logs}")
        init = pathlib.Path(f"{folder}/init.sql")
        init.write_text("drop user if exists ''@'localhost';\ncreate user if not exists drill@'%';\n")
        command = [shutil.which("mariadbd", path=SBIN), "--no-defaults", f"--datadir={folder}", f"--user={user}", f"--port={port}"]
        command += ["--bind-address=127.0.0.1", f"--socket={folder}/socket", f"--init-file={init}", *options]
        self.log = open(f"{folder}/log", "w")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)
        try:
            eventually(lambda: self.query("drill", "select 1").stdout == "1\n", 120)
        except AssertionError:
            self.stop()
            raise AssertionError(pathlib.Path(f"{folder}/log").read_text()) from None

    def query(self, user, text, port=None):
        command = ["mariadb", "--no-defaults", f"--user={user}", "--host=127.0.0.1", f"--port={port or self.port}", "--protocol=tcp"]
        return subprocess.run([*command, "--batch", "--skip-column-names", "--execute", text], capture_output=True, text=True)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


# Below the ports that the system gives to clients, one of which might take a port that is free for a moment.
ports = itertools.count(random.randrange(15000, 30000))
ports_lock = threading.Lock()


def free_ports(count):
    found = []
    with ports_lock:
        while len(found) < count:
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", next(ports))) as free:
                found.append(free.getsockname()[1])
    return found


def listen(port):
    """A server at a port that is free, or None: a process that another test starts may hold the port for a moment."""
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", port))


@contextlib.contextmanager
def silent_server():
    """Accepts connections, and says nothing, as PostgreSQL does."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        if os.geteuid() == 0 and shutil.which("initdb", path=POSTGRES):
            shutil.chown(name, "postgres")
        yield name


def outage(text):
    return float(re.search(r"^outage: ([0-9.]+) s", text, re.MULTILINE).group(1))


class Drill:
    """A drill that runs, and what it has printed so far."""

    def __init__(self, command, **more):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        self.process = subprocess.Popen(command, text=True, **pipes)
        self.lines = {"stdout": [], "stderr": []}
        self.readers = [threading.Thread(target=self.read, args=(name,)) for name in self.lines if pipes[name] == subprocess.PIPE]
        for reader in self.readers:
            reader.start()

    def read(self, name):
        for line in getattr(self.process, name):
            self.lines[name].append(line)

    def text(self, name):
        return "".join(self.lines[name])

    def await_text(self, text, times=1):
        def printed():
            return sum(text in line for lines in self.lines.values() for line in list(lines)) >= times

        try:
            eventually(lambda: printed() or self.process.poll() is not None)
            assert printed()
        except AssertionError:
            raise AssertionError(f"{text!r} is not in {self.text('stdout')}{self.text('stderr')}") from None

    def press_enter(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def send(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=300):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"it has not ended: {self.text('stdout')}{self.text('stderr')}") from None
        for reader in self.readers:
            reader.join()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Base(unittest.TestCase):
    python = sys.executable

    def start(self, port, *options, **more):
        # A time-out that a busy machine does not reach.
        interval = "0.2" if {"--psql", "--mysql"} & set(options) else "0.1"
        words = ["127.0.0.1", str(port), "--interval", interval, "--for", "300", "--timeout", "10", *options]
        drill = Drill([self.python, DRILL, *words], **more)
        self.addCleanup(drill.end)
        return drill

    def measure(self, balancer, target, steps, *options, change=True, **more):
        words = ["--measure", steps, "--target-group", ARN, "--target", f"127.0.0.1:{target}", "--settle", "1.5"]
        return self.start(balancer.port, *words, *(["--change"] if change else []), *options, **more)

    def finish(self, drill, code, seconds=300):
        """The drill's output, once it has ended with this code."""
        drill.wait(seconds)
        self.assertEqual(drill.process.returncode, code, drill.text("stdout") + drill.text("stderr"))
        return drill.text("stdout") + drill.text("stderr")

    def report(self, drill, code=0):
        self.finish(drill, code)
        return json.loads(drill.text("stdout"))

    def assert_near(self, measured, expected, began, seconds, earlier=0.0):
        """The measured time, of what began then, is the expected one but for these seconds, what the machine's lag adds to
        them, and, where it is less, what may be earlier. None at all is never near."""
        near = seconds + lag.since(began)
        self.assertGreater(measured, max(expected - earlier - near, LEAST * expected))
        self.assertLess(measured, expected + near)

    def assert_measured(self, step, event):
        """The step's seconds end when the balancer changed, as exactly as the machine allows."""
        began = datetime.datetime.fromisoformat(step["at"]).timestamp()
        self.assert_near(step["seconds"], event - began, began, 0.6, step["slowest_connection_seconds"])

    def assert_outage(self, seconds, balancer, target):
        """These seconds are those in which the balancer did not send to its target."""
        self.assert_near(seconds, balancer.came[target] - balancer.went[target], balancer.went[target], 0.5)

    def assert_svg(self, path, *texts):
        root = xml.etree.ElementTree.parse(path).getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        drawn = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        for text in texts:
            self.assertIn(text, drawn)
        for box in root.iter("{http://www.w3.org/2000/svg}rect"):
            self.assertGreaterEqual(float(box.get("x", 0)), 0)
            self.assertLessEqual(float(box.get("x", 0)) + float(box.get("width")), 961)
        return root


class FailoverTest(Base):
    def test_outage_is_timed_from_first_failure_to_first_success(self):
        with silent_server() as target, Balancer(target) as balancer, folder() as name:
            drill = self.start(balancer.port, "--settle", "1", "--svg", f"{name}/timeline.svg")
            drill.await_text("works")
            time.sleep(0.5)
            balancer.send_to()
            time.sleep(1.5)
            balancer.send_to(target)
            text = self.finish(drill, 0)
            self.assert_outage(outage(text), balancer, target)
            self.assert_svg(f"{name}/timeline.svg", "works", "fails", f"{outage(text):.1f} s")
        self.assertRegex(text, r"works .*\n.* fails +connection refused.*\n.* works again .* the outage took")

    def test_json_has_the_outage_and_nothing_else_on_stdout(self):
        with silent_server() as target, Balancer(target) as balancer:
            drill = self.start(balancer.port, "--settle", "0.5", "--json")
            drill.await_text("works")
            balancer.send_to()
            time.sleep(1)
            balancer.send_to(target)
            report = self.report(drill)
            self.assert_outage(report["outage_seconds"], balancer, target)
        [outage] = report["outages"]
        self.assertAlmostEqual(outage["to"] - outage["from"], report["outage_seconds"], delta=0.01)
        self.assertEqual([change["state"] for change in report["changes"]], ["works", "fails", "works"])
        self.assertEqual((report["drill"], report["by"], report["exit_code"]), ("failover", "TCP", 0))

    def test_no_outage_and_outage_without_end_differ(self):
        with silent_server() as target, Balancer(target) as balancer:
            none = self.start(balancer.port, "--for", "3")
            self.assertIn("no outage was seen", self.finish(none, 3))
            endless = self.start(balancer.port, "--for", "8")
            endless.await_text("works")
            balancer.send_to()
            self.assertIn("does not yet", self.finish(endless, 1))
            never = self.start(balancer.port, "--for", "1")
            self.assertIn("never worked", self.finish(never, 1))

    def test_interrupt_sums_up(self):
        with silent_server() as target, Balancer(target) as balancer:
            drill = self.start(balancer.port)
            drill.await_text("works")
            drill.send(signal.SIGINT)
            self.assertIn("no outage was seen", self.finish(drill, 3, 60))

    def test_name_that_does_not_resolve_is_named(self):
        drill = Drill([self.python, DRILL, "drill.invalid", "5432", "--timeout", "40", "--for", "300"])
        self.addCleanup(drill.end)
        drill.await_text("does not resolve")
        drill.send(signal.SIGINT)
        self.assertIn("never worked", self.finish(drill, 1, 60))

    @needs_postgres
    def test_postgres_reader_is_an_outage_until_promoted(self):
        with folder() as name, Balancer() as balancer:
            one, two = free_ports(2)
            with Postgres(f"{name}/one", one) as writer, Postgres(f"{name}/two", two, standby=True) as reader:
                balancer.send_to(one)
                drill = self.start(balancer.port, "--settle", "1", "--psql", "user=drill dbname=postgres")
                drill.await_text("the writer")
                writer.stop()
                drill.await_text("fails")
                time.sleep(1)
                balancer.send_to(two)
                drill.await_text("reads only")
                time.sleep(1)
                reader.promote()
                text = self.finish(drill, 0)
        first = rf"(?s)works +the writer, 127.0.0.1:{one}.* fails "
        self.assertRegex(text, rf"{first}.* reads only +the server is a reader, 127.0.0.1:{two}.* works again +the writer, 127.0.0.1:{two}")
        self.assertGreaterEqual(outage(text), 1.8, text)

    @needs_mariadb
    def test_mariadb_reader_is_an_outage_until_it_writes(self):
        with folder() as name, Balancer() as balancer:
            one, two = free_ports(2)
            with MariaDb(f"{name}/one", one) as writer, MariaDb(f"{name}/two", two, "--read-only=1") as reader:
                balancer.send_to(one)
                drill = self.start(balancer.port, "--settle", "1", "--mysql", "no-defaults user=drill")
                drill.await_text("the writer")
                writer.stop()
                drill.await_text("fails")
                time.sleep(1)
                balancer.send_to(two)
                drill.await_text("reads only")
                time.sleep(1)
                # Of root's own, on the server's own address.
                done = reader.query("root", "set global read_only = 0")
                self.assertEqual(done.returncode, 0, done.stderr)
                text = self.finish(drill, 0)
        host = re.escape(socket.gethostname())
        self.assertRegex(text, rf"(?s)works +the writer, {host}:{one}.* fails .*\(error \d+\).* reads only +the server is read-only, {host}:{two}.* works again +the writer, {host}:{two}")
        self.assertGreaterEqual(outage(text), 1.8, text)


# A server that greets as MySQL does, and prints a byte for each connection.
GREETER = r"""
import os, socket, sys
server, accepted = socket.socket(fileno=int(sys.argv[1])), []
while True:
    accepted.append(server.accept()[0])
    accepted[-1].sendall(b"\x4a\0\0\0\x0a8.4.0\0" + bytes(66))
    os.write(1, b".")
"""


class MySqlTest(Base):
    def test_greeting_of_mysql_ends_attempts_without_login(self):
        with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryFile() as accepted:
            # A process of its own: the drill waits 1 s for the greeting, and the other tests keep this one busy.
            words = [sys.executable, "-c", GREETER, str(server.fileno())]
            greeter = subprocess.Popen(words, stdout=accepted, pass_fds=[server.fileno()])
            try:
                port = server.getsockname()[1]
                refused = self.start(port)
                text = self.finish(refused, 2)
                self.assertIn("Fix: log in with --mysql", text)
                self.assertNotIn("Traceback", text)
                self.assertIn(accepted.seek(0, os.SEEK_END), range(1, 20))
                self.finish(self.start(port, "--tcp", "--for", "2"), 3)
            finally:
                greeter.kill()
                greeter.wait()

    @needs_mariadb
    def test_mariadb_blocks_clients_without_login_and_not_the_drill(self):
        # Not 127.0.0.1, whose errors the server does not count.
        with folder() as name, Balancer(source="127.0.0.2") as balancer:
            [port] = free_ports(1)
            # As the image for tests has no name for 127.0.0.2, the lookup fails, and the cache has the address alone.
            # More errors than logins of the drill that are under way when it ends, and less than it makes.
            with MariaDb(f"{name}/one", port, "--max-connect-errors=30") as server:
                balancer.send_to(port)
                self.finish(self.start(balancer.port, "--mysql", "no-defaults user=drill", "--for", "8"), 3)
                self.assertEqual(server.query("drill", "select 1", balancer.port).stdout, "1\n")

                def blocked():
                    for _ in range(40):
                        with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as client:
                            client.recv(5)
                    # A login before the server has noticed the errors makes it forget them.
                    return server.query("drill", "select 1", balancer.port).stderr

                self.assertIn("1129", eventually(blocked))
                # The server's answer to it is recognised as well.
                self.assertIn("MySQL or MariaDB", self.finish(self.start(balancer.port), 2))


class MeasureTest(Base):
    def test_deregistration_and_registration_are_measured_by_tcp(self):
        with folder() as name, silent_server() as target, Balancer(target) as balancer, Aws(name, balancer, **{f"p{target}": "healthy"}) as aws:
            began = time.time()
            drill = self.measure(balancer, target, "deregister,register", "--repeat", "2", "--svg", f"{name}/timeline.svg", env=aws.environment())
            text = self.finish(drill, 0)
            self.assert_svg(f"{name}/timeline.svg", "deregister 1", "register 1", "deregister 2", "register 2", "the target", "fails")
            move = f"--region eu-west-1 --target-group-arn {ARN} --targets Id=127.0.0.1,Port={target},AvailabilityZone=eu-west-1a"
            changes = [call for call in aws.calls() if "describe" not in call]
            both = [f"elbv2 deregister-targets {move} --output json", f"elbv2 register-targets {move} --output json"]
            self.assertEqual(changes, both * 2)
        # Named before they are changed.
        self.assertLess(text.index(ARN), text.index("deregister-targets"))
        self.assertLess(text.index(f"target: 127.0.0.1:{target}"), text.index("deregister-targets"))
        found = dict(re.findall(r"^\| (.+?) \| 2 \| ([0-9.]+) \|", text, re.MULTILINE))
        self.assertEqual(set(found), {
            "deregister → last new connection that reaches the target", "register → first new connection that reaches the target",
            "register → from then on every new connection works",
        }, text)
        for seconds in found.values():
            self.assertGreaterEqual(float(seconds), max(aws.LATE - 0.2 - lag.since(began), LEAST * aws.LATE))
            self.assertLess(float(seconds), aws.LATE + 4 + lag.since(began))
        self.assertRegex(text, r"Network Load Balancer in eu-west-1, \d{4}-\d\d-\d\d; TCP health check every 10 s; .*`deregistration_delay.timeout_seconds` 300")

    def test_json_of_a_measurement(self):
        with folder() as name, silent_server() as target, Balancer(target) as balancer, Aws(name, balancer, **{f"p{target}": "healthy"}) as aws:
            drill = self.measure(balancer, target, "deregister", "--json", env=aws.environment())
            report = self.report(drill)
            self.assert_measured(report["steps"][0], balancer.went[target])
            # Put back, although its registration was not measured.
            self.assertEqual(aws.changes(), ["deregister-targets", "register-targets"])
        [step] = report["steps"]
        self.assertEqual((report["drill"], report["exit_code"], report["error"], report["changes_by"]), ("load balancer", 0, None, "aws"))
        self.assertIsNone(step["all_work_after_seconds"])
        self.assertEqual([span["result"] for span in step["timeline"]], ["the target", "fails"])

    def test_target_that_was_not_in_the_group_stays_and_says_how_to_remove_it(self):
        with folder() as name, silent_server() as target, Balancer() as balancer, Aws(name, balancer) as aws:
            drill = self.measure(balancer, target, "register", "--zone", "all", env=aws.environment())
            text = self.finish(drill, 0)
            self.assertEqual(aws.changes(), ["register-targets"])
            self.assertIn(f"Id=127.0.0.1,Port={target},AvailabilityZone=all", aws.calls()[-1])
        self.assertRegex(text, rf"To take it out again: aws elbv2 deregister-targets .*Port={target}")

    @needs_postgres
    def test_postgres_target_differs_from_another(self):
        with folder() as name, Balancer() as balancer:
            one, two = free_ports(2)
            with Postgres(f"{name}/one", one) as server, Postgres(f"{name}/two", two):
                with Aws(name, balancer, **{f"p{one}": "healthy", f"p{two}": "healthy"}) as aws:
                    login = ["--psql", "user=drill dbname=postgres", "--json"]
                    drill = self.measure(balancer, one, "deregister,register", *login, env=aws.environment())
                    report = self.report(drill)
                    for step, event in zip(report["steps"], (balancer.went[one], balancer.came[one])):
                        self.assert_measured(step, event)
                        self.assertIn("another server", [span["result"] for span in step["timeline"]])
                        # The other server takes over without a failure.
                        self.assertEqual(step["all_work_after_seconds"], 0)
                    # It stops, and 1.5 s later the balancer notices.
                    unhealthy = [
                        "--stop", shlex.join(server.command(f"{self.postgres_bin()}/pg_ctl", "-D", f"{name}/one", "-m", "immediate", "stop")),
                        "--start", shlex.join(server.command(f"{self.postgres_bin()}/{server.control('start')[0]}", *server.control("start")[1:])),
                    ]
                    drill = self.measure(balancer, one, "unhealthy", *login, *unhealthy, env=aws.environment(), cwd="/")
                    eventually(lambda: self.closed(one))
                    stopped = time.time()
                    time.sleep(1.5)
                    aws.down.add(one)
                    eventually(lambda: balancer.targets == (two,))
                    sent = time.time() - stopped
                    report = self.report(drill)
                    [step] = report["steps"]
                    self.assert_near(step["seconds"], sent, stopped, 0.8 + step["slowest_connection_seconds"])
                    self.assertFalse(self.closed(one), "it is started again")

    @staticmethod
    def postgres_bin():
        return os.path.dirname(shutil.which("pg_ctl", path=POSTGRES))

    @staticmethod
    def closed(port):
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) != 0

    @needs_mariadb
    def test_mariadb_target_differs_from_another(self):
        with folder() as name, Balancer() as balancer:
            one, two = free_ports(2)
            with MariaDb(f"{name}/one", one), MariaDb(f"{name}/two", two):
                with Aws(name, balancer, **{f"p{one}": "healthy", f"p{two}": "healthy"}) as aws:
                    login = ["--mysql", "no-defaults user=drill", "--server", f"{socket.gethostname()}:{one}", "--json"]
                    drill = self.measure(balancer, one, "deregister,register", *login, env=aws.environment())
                    report = self.report(drill)
                for step, event in zip(report["steps"], (balancer.went[one], balancer.came[one])):
                    self.assert_measured(step, event)

    def test_unhealthy_is_measured_from_first_to_last_failure_by_tcp(self):
        with folder() as name, silent_server() as one, silent_server() as two, Balancer(one, two) as balancer:
            aws = Aws(name, balancer, **{f"p{one}": "healthy", f"p{two}": "healthy"})
            mark = pathlib.Path(name) / "stopped"
            # Longer than the pauses between the failures.
            unhealthy = ["--stop", f"touch {mark}; sleep 2", "--start", f"rm {mark}", "--settle", "4"]
            drill = self.measure(balancer, one, "unhealthy", "--json", *unhealthy, env=aws.environment())
            eventually(mark.exists)
            # The time before the first failure does not count.
            time.sleep(1)
            for _ in range(2):
                balancer.send_to()
                time.sleep(0.8)
                balancer.send_to(two)
                time.sleep(0.5)
            first, last = balancer.went[one], balancer.came[two]
            report = self.report(drill)
            self.assertFalse(mark.exists())
            self.assertEqual(aws.changes(), [])
        self.assert_near(report["steps"][0]["seconds"], last - first, first, 0.6)

    def test_unhealthy_without_a_failure_is_not_measured(self):
        with folder() as name, silent_server() as one, silent_server() as two, Balancer(one, two) as balancer:
            aws = Aws(name, balancer, **{f"p{one}": "healthy", f"p{two}": "healthy"})
            drill = self.measure(balancer, one, "unhealthy", "--stop", "true", "--start", "true", env=aws.environment())
            self.assertIn("not measured: no attempt failed", self.finish(drill, 1))

    def test_deregistration_without_end_is_not_measured(self):
        with folder() as name, silent_server() as target, Balancer(target) as balancer:
            aws = Aws(name, balancer, **{f"p{target}": "healthy"})
            drill = self.measure(balancer, target, "deregister", "--for", "2", env=aws.environment())
            text = self.finish(drill, 1)
            self.assertEqual(aws.changes(), ["deregister-targets", "register-targets"])
        self.assertIn("| deregister → last new connection that reaches the target | 0 of 1 | not measured |", text)

    def test_registration_by_another_process_spoils_the_measurement(self):
        with folder() as name, silent_server() as target, Balancer(target) as balancer, Aws(name, balancer, **{f"p{target}": "healthy"}) as aws:
            # Too late for the measurement, whose attempts are over when the drill lists the targets.
            aws.write(aws.read() | {"comes_back": True})
            drill = self.measure(balancer, target, "deregister", env=aws.environment())
            self.assertIn("not measured: another process registered the target again", self.finish(drill, 1))

    def test_connections_before_the_registration_are_an_error(self):
        with folder() as name, silent_server() as target, Balancer(target) as balancer:
            aws = Aws(name, balancer)
            drill = self.measure(balancer, target, "register", env=aws.environment())
            self.assertIn("connections reach the target before it is registered. Fix: ", self.finish(drill, 1))
            self.assertEqual(aws.changes(), [])

    def test_target_that_is_never_reached_is_an_error_before_the_change(self):
        with folder() as name, Balancer() as balancer:
            [target] = free_ports(1)
            aws = Aws(name, balancer, **{f"p{target}": "healthy"})
            drill = self.measure(balancer, target, "deregister", "--for", "1", env=aws.environment())
            self.assertIn(f"no connection reached 127.0.0.1:{target} in 1 s. Fix: ", self.finish(drill, 1))
            self.assertEqual(aws.changes(), [])

    @needs_moto
    def test_real_aws_cli_changes_a_group_of_moto(self):
        [port] = free_ports(1)
        with folder() as name, open(f"{name}/moto.log", "w") as log:
            # Programs of pip have their interpreter's path, which a copied environment does not have.
            moto = subprocess.Popen([VENV / "bin/moto_server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
            try:
                eventually(lambda: not self.closed(port), 120)
                self.measure_on_moto(name, Moto(port))
            finally:
                moto.kill()
                moto.wait()

    def measure_on_moto(self, name, moto):
        with silent_server() as target, Balancer(target) as balancer:
            arn = moto.create_group(target)
            moto.call("RegisterTargets", TargetGroupArn=arn, **{"Targets.member.1.Id": "127.0.0.1", "Targets.member.1.Port": target})
            (pathlib.Path(name) / "aws").symlink_to(VENV / "awscli/bin/aws")
            environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
            environment.update(
                PATH=f"{name}{os.pathsep}{os.environ['PATH']}", AWS_ENDPOINT_URL=moto.url, AWS_ACCESS_KEY_ID="test",
                AWS_SECRET_ACCESS_KEY="test", AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            )
            ended = threading.Event()

            def follow():
                while not ended.wait(0.1):
                    balancer.send_to(*([target] if moto.has_targets(arn) else []))

            thread = threading.Thread(target=follow)
            thread.start()
            try:
                words = ["--measure", "deregister,register", "--target-group", arn, "--target", f"127.0.0.1:{target}", "--settle", "1"]
                text = self.finish(self.start(balancer.port, *words, "--change", env=environment), 0)
                self.assertTrue(moto.has_targets(arn))
            finally:
                ended.set()
                thread.join()
        self.assertRegex(text, r"\| deregister → last new connection that reaches the target \| 1 \| [0-9.]+ \|")
        self.assertRegex(text, r"\| register → first new connection that reaches the target \| 1 \| [0-9.]+ \|")
        self.assertIn("TCP health check every ", text)


class Moto:
    """Asks moto's server without a signature, which it does not check."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def call(self, action, service="elasticloadbalancing", version="2015-12-01", **parameters):
        body = urllib.parse.urlencode({"Action": action, "Version": version, **parameters}).encode()
        scope = f"AWS4-HMAC-SHA256 Credential=test/20200101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        request = urllib.request.Request(self.url, body, {"Authorization": scope})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    def create_group(self, port):
        vpc = re.search("<vpcId>(.+?)</vpcId>", self.call("CreateVpc", "ec2", "2016-11-15", CidrBlock="10.0.0.0/16")).group(1)
        answer = self.call("CreateTargetGroup", Name="drill", Protocol="TCP", Port=port, VpcId=vpc, TargetType="ip")
        return re.search("<TargetGroupArn>(.+?)</TargetGroupArn>", answer).group(1)

    def has_targets(self, arn):
        return "127.0.0.1" in self.call("DescribeTargetHealth", TargetGroupArn=arn)


class SafetyTest(Base):
    """What the drill takes out, it puts back."""

    @contextlib.contextmanager
    def world(self):
        with folder() as name, silent_server() as target, Balancer(target) as balancer, Aws(name, balancer, **{f"p{target}": "healthy"}) as aws:
            yield aws, balancer, target

    def interrupted(self, send):
        """The drill's exit code and output, the calls made, and whether the target is in the group."""
        with self.world() as (aws, balancer, target):
            drill = self.measure(balancer, target, "deregister,register", "--settle", "30", env=aws.environment())
            eventually(lambda: not aws.registered())
            time.sleep(0.5)
            send(drill)
            drill.wait()
            return drill.process.returncode, drill.text("stdout"), aws.changes(), aws.registered() == {target}

    def test_interrupts_put_the_target_back(self):
        signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        with ThreadPoolExecutor() as pool:
            for code, text, changes, back in pool.map(lambda each: self.interrupted(lambda drill: drill.send(each)), signals):
                self.assertEqual((code, changes, back), (130, ["deregister-targets", "register-targets"], True), text)
                self.assertIn("the target is back", text)

    def test_closed_output_puts_the_target_back(self):
        with self.world() as (aws, balancer, target):
            reader, writer = os.pipe()
            drill = self.measure(balancer, target, "deregister,register", "--settle", "30", env=aws.environment(), stdout=writer)
            os.close(writer)
            eventually(lambda: not aws.registered())
            os.close(reader)
            self.finish(drill, 1)
            self.assertEqual((drill.text("stderr"), aws.registered()), ("", {target}))

    def test_interrupt_during_a_call_waits_for_it(self):
        with self.world() as (aws, balancer, target):
            state = aws.read()
            state["slow"] = 2
            aws.write(state)
            drill = self.measure(balancer, target, "deregister,register", env=aws.environment(), start_new_session=True)
            eventually(lambda: aws.changes())
            # As a terminal does it: to all processes of the drill's group.
            os.killpg(drill.process.pid, signal.SIGINT)
            time.sleep(0.2)
            os.killpg(drill.process.pid, signal.SIGINT)
            self.finish(drill, 130)
            self.assertEqual(aws.changes(), ["deregister-targets", "register-targets"])
            self.assertEqual(aws.registered(), {target})

    def test_interrupt_before_the_change_changes_nothing(self):
        with self.world() as (aws, balancer, target):
            drill = self.measure(balancer, target, "deregister", env=aws.environment())
            drill.await_text("It begins in 3 s")
            drill.send(signal.SIGINT)
            self.finish(drill, 130)
            self.assertEqual(aws.changes(), [])

    def test_interrupt_before_a_first_registration_registers_nothing(self):
        with folder() as name, silent_server() as target, Balancer() as balancer:
            aws = Aws(name, balancer)
            drill = self.measure(balancer, target, "register", env=aws.environment())
            drill.await_text("It begins in 3 s")
            drill.send(signal.SIGINT)
            self.finish(drill, 130)
            self.assertEqual(aws.changes(), [])

    def test_failed_deregistration_is_undone_and_named(self):
        with self.world() as (aws, balancer, target):
            aws.fail("deregister-targets", 9)
            text = self.finish(self.measure(balancer, target, "deregister,register", env=aws.environment()), 1)
            self.assertRegex(text, r"drill: error: aws elbv2 deregister-targets .*: An error occurred \(AccessDenied\)")
            # It may have had an effect.
            self.assertEqual(aws.changes(), ["deregister-targets", "register-targets"])

    def test_target_that_never_left_is_not_reported_as_out(self):
        with self.world() as (aws, balancer, target):
            for action in ("deregister-targets", "register-targets"):
                aws.fail(action, 99)
            text = self.finish(self.measure(balancer, target, "deregister", env=aws.environment()), 1)
            self.assertIn("the group lists the target all the same", text)

    def test_failed_registration_is_repeated(self):
        with self.world() as (aws, balancer, target):
            aws.fail("register-targets", 2)
            text = self.finish(self.measure(balancer, target, "deregister", env=aws.environment()), 0)
            self.assertIn("attempt 1 of 3 failed", text)
            self.assertEqual(aws.registered(), {target})

    def test_target_that_cannot_be_put_back_has_an_exit_code_and_a_command(self):
        with self.world() as (aws, balancer, target):
            aws.fail("register-targets", 99)
            text = self.finish(self.measure(balancer, target, "deregister", env=aws.environment()), 4)
            command = f"aws elbv2 register-targets --region eu-west-1 --target-group-arn {ARN} --targets Id=127.0.0.1,Port={target}"
            self.assertIn(f"THE TARGET IS NOT BACK. Run this now: {command}", text)
            self.assertEqual(aws.registered(), set())

    def test_call_without_effect_does_not_count_as_put_back(self):
        with self.world() as (aws, balancer, target):
            state = aws.read()
            state["ignore"] = "register-targets"
            aws.write(state)
            text = self.finish(self.measure(balancer, target, "deregister", env=aws.environment()), 4)
            self.assertIn("does not list", text)

    def test_failed_start_is_an_exit_code_of_its_own(self):
        with folder() as name, silent_server() as one, silent_server() as two, Balancer(one, two) as balancer:
            aws = Aws(name, balancer, **{f"p{one}": "healthy", f"p{two}": "healthy"})
            words = ["--stop", "true", "--start", "echo broken >&2; exit 7"]
            text = self.finish(self.measure(balancer, one, "unhealthy", *words, env=aws.environment()), 4)
            self.assertIn("Run this now: echo broken >&2; exit 7", text)
            self.assertIn("failed: echo broken >&2; exit 7: broken", text)

    def test_without_change_no_command_is_run(self):
        with self.world() as (aws, balancer, target):
            words = dict(change=False, env=aws.environment(), stdin=subprocess.PIPE)
            drill = self.measure(balancer, target, "deregister,register", **words)
            waited = []
            for number, verb in enumerate(("deregister", "register"), 1):
                drill.await_text("Press Enter here", number)
                command = re.findall(r"^  (aws elbv2 .*)", drill.text("stdout"), re.MULTILINE)[-1]
                self.assertTrue(command.startswith(f"aws elbv2 {verb}-targets --region eu-west-1 --target-group-arn {ARN} "), command)
                pressed = time.time()
                drill.press_enter()
                # The command as it is printed, in the other terminal.
                subprocess.run(command, shell=True, check=True, env=aws.environment())
                eventually(lambda: (target in balancer.targets) == (number == 2))
                waited.append((pressed, (balancer.went if number == 1 else balancer.came)[target] - pressed))
            text = self.finish(drill, 0)
            self.assertEqual(len(aws.calls()), 2)
        found = re.findall(r"^\| (?:de)?register → (?:first|last) .+? \| 1 \| ([0-9.]+) \|", text, re.MULTILINE)
        self.assertEqual(len(found), 2, text)
        for seconds, (pressed, expected) in zip(found, waited):
            self.assert_near(float(seconds), expected, pressed, 0.5)
        self.assertIn("changes by hand", text)

    def test_unhealthy_by_hand_needs_no_group(self):
        with silent_server() as one, silent_server() as two, Balancer(one, two) as balancer:
            # Longer than the pause before the failure.
            words = ["--measure", "unhealthy", "--target", f"127.0.0.1:{one}", "--settle", "4"]
            drill = self.start(balancer.port, *words, stdin=subprocess.PIPE)
            drill.await_text("Press Enter here")
            drill.press_enter()
            time.sleep(0.5)
            balancer.send_to()
            time.sleep(1)
            balancer.send_to(two)
            sent = balancer.came[two] - balancer.went[one]
            text = self.finish(drill, 0)
        self.assertIn(f"prepare to make 127.0.0.1:{one} stop answering", text)
        self.assertIn("start it again: the way it was stopped", text)
        [seconds] = re.findall(r"^\| target stops answering → .+? \| 1 \| ([0-9.]+) \|", text, re.MULTILINE)
        self.assert_near(float(seconds), sent, balancer.went[one], 0.5)

    def test_interrupt_by_hand_prints_the_command(self):
        with self.world() as (aws, balancer, target):
            drill = self.measure(balancer, target, "deregister", change=False, env=aws.environment(), stdin=subprocess.PIPE)
            drill.await_text("Press Enter here")
            drill.send(signal.SIGINT)
            text = self.finish(drill, 130, 60)
            self.assertRegex(text, rf"put it back: aws elbv2 register-targets .*{ARN} --targets Id=127.0.0.1,Port={target}\n")
            self.assertEqual(aws.calls(), [])

    def test_end_of_stdin_is_not_enter(self):
        with self.world() as (aws, balancer, target):
            drill = self.measure(balancer, target, "deregister", change=False, env=aws.environment(), stdin=subprocess.DEVNULL)
            self.assertIn("stdin ended before Enter. Fix: ", self.finish(drill, 1))


class InputTest(Base):
    HAND = ["--measure", "deregister", "--target", "10.0.1.10:5432"]
    GROUP = [*HAND, "--target-group", ARN]

    def refuse(self, *words, **more):
        drill = subprocess.run([self.python, DRILL, *words], capture_output=True, text=True, timeout=30, **more)
        self.assertEqual(drill.returncode, 2, f"{words}: {drill.stdout}{drill.stderr}")
        self.assertIn("Fix: ", drill.stderr, words)
        self.assertNotIn("Traceback", drill.stderr)
        return " ".join(drill.stderr.split("error: ", 1)[1].split())

    def test_bad_input_names_itself_and_the_fix(self):
        cases = [
            (["nlb", "0"], "argument port: '0' is no port. Fix: give a number from 1 to 65535"),
            (["nlb", "https"], "argument port: 'https' is no port"),
            (["nlb", "²"], "argument port: '²' is no port"),
            (["nlb:5432", "5432"], "argument host: 'nlb:5432' is no host"),
            (["tcp://nlb", "5432"], "argument host: 'tcp://nlb' is no host"),
            (["nlb", "1", "--interval", "0"], "argument --interval: '0' is no number of seconds. Fix: give 0.01 or more"),
            (["nlb", "1", "--interval", "nan"], "argument --interval: 'nan' is no number"),
            (["nlb", "1", "--timeout", "-1"], "argument --timeout: '-1' is no number"),
            (["nlb", "1", "--settle", "soon"], "argument --settle: 'soon' is no number"),
            (["nlb", "1", "--for", "inf"], "argument --for: 'inf' is no number"),
            (["nlb", "1", "--svg", "/no/such/folder/a.svg"], "argument --svg: '/no/such/folder/a.svg': No such file or directory"),
            (["nlb", "1", "--psql", "postgresql://nlb/"], "argument --psql: a URI is not accepted"),
            (["nlb", "1", "--mysql", "user=a password=b"], "argument --mysql: a password here is visible"),
            (["nlb", "1", "--mysql", "host=a"], "argument --mysql: 'host=a' is the drill's own"),
            (["nlb", "1", "--mysql", "user='a"], "argument --mysql: 'user='a': No closing quotation"),
            (["nlb", "1", "--change"], "--change needs --measure"),
            (["nlb", "1", "--target-group", ARN], "--target-group needs --measure"),
            (["nlb", "1", "--repeat", "2"], "--repeat needs --measure"),
            (["nlb", "1", "--measure", "remove"], "argument --measure: 'remove' is no step"),
            (["nlb", "1", "--measure", "deregister"], "--measure needs --target."),
            (["nlb", "1", *self.HAND], "--measure needs --target-group"),
            (["nlb", "1", "--measure", "register", "--target", "10.0.1.10"], "argument --target: '10.0.1.10' is no target"),
            (["nlb", "1", "--measure", "register", "--target", "i-0a:1"], "argument --target: 'i-0a:1' is no target"),
            (["nlb", "1", *self.HAND, "--target-group", "drill"], "argument --target-group: 'drill' is no ARN"),
            (["nlb", "1", *self.GROUP, "--measure", "deregister,deregister"], "--measure deregister,deregister: at deregister the target is out of"),
            (["nlb", "1", *self.GROUP, "--measure", "register,register"], "--measure register,register: at register the target is in"),
            (["nlb", "1", *self.GROUP, "--measure", "deregister,unhealthy"], "at unhealthy the target is out of"),
            (["nlb", "1", *self.GROUP, "--measure", "register", "--repeat", "2"], "--repeat needs the target out"),
            (["nlb", "1", *self.GROUP, "--repeat", "0"], "argument --repeat: '0' is no number of rounds"),
            (["nlb", "1", *self.GROUP, "--server", "a:1"], "--server needs a login"),
            (["nlb", "1", *self.GROUP, "--measure", "unhealthy", "--change"], "--change needs to know how the target stops"),
            (["nlb", "1", *self.GROUP, "--stop", "true"], "--stop and --start are for the step unhealthy"),
        ]
        with ThreadPoolExecutor(2) as pool:
            for (words, expected), text in zip(cases, pool.map(lambda case: self.refuse(*case[0]), cases)):
                self.assertIn(expected, text, words)

    def test_two_logins_are_refused_and_options_are_not_guessed(self):
        for words in (["--psql", "", "--mysql", ""], ["--psql", "", "--tcp"], ["--chang"], ["--measure"]):
            drill = subprocess.run([self.python, DRILL, "nlb", "1", *words], capture_output=True, text=True, timeout=30)
            self.assertEqual(drill.returncode, 2, words)

    def test_missing_programs_are_named(self):
        with folder() as name:
            empty = {**os.environ, "PATH": name}
            self.assertIn("--psql needs psql", self.refuse("nlb", "1", "--psql", "", env=empty))
            self.assertIn("--mysql needs mysql or mariadb", self.refuse("nlb", "1", "--mysql", "", env=empty))
            self.assertIn("aws is not on PATH", self.refuse("nlb", "1", *self.GROUP, "--change", env=empty))

    def test_mysql_names_the_server(self):
        with folder() as name:
            client = pathlib.Path(name) / "mysql"
            client.write_text("#!/bin/sh\n")
            client.chmod(0o755)
            self.assertIn("Fix: add --server", self.refuse("nlb", "1", *self.GROUP, "--mysql", "", env={**os.environ, "PATH": name}))

    def test_group_in_another_state_is_refused_and_not_changed(self):
        target, other = 5432, 5433
        cases = [
            ("deregister", {}, "127.0.0.1:5432 is not registered in the group"),
            ("deregister", {"p5432": "draining"}, "127.0.0.1:5432 is not registered in the group"),
            ("register", {"p5432": "healthy"}, "127.0.0.1:5432 is healthy in the group"),
            ("register", {"p5432": "draining"}, "127.0.0.1:5432 is draining in the group"),
            ("deregister", {"p5432": "healthy", "p5433": "healthy"}, "TCP does not say which one answers"),
            ("unhealthy", {"p5432": "healthy"}, "no other target is healthy"),
            ("unhealthy", {"p5432": "healthy", "p5433": "unhealthy"}, "no other target is healthy"),
        ]
        for steps, states, expected in cases:
            with self.subTest(steps=steps, states=states), folder() as name, Balancer() as balancer:
                aws = Aws(name, balancer, **states)
                more = ["--stop", "true", "--start", "true"] if steps == "unhealthy" else []
                text = self.refuse(
                    "127.0.0.1", str(balancer.port), "--measure", steps, "--target-group", ARN, "--target", f"127.0.0.1:{target}",
                    "--change", *more, env=aws.environment(),
                )
                self.assertIn(expected, text)
                self.assertIn("Nothing was changed", text)
                self.assertEqual(aws.changes(), [])

    def test_refused_listing_is_named_and_nothing_is_changed(self):
        with folder() as name, Balancer() as balancer:
            aws = Aws(name, balancer)
            aws.fail("describe-target-health", 9)
            drill = self.measure(balancer, 5432, "deregister", env=aws.environment())
            text = self.finish(drill, 2)
            self.assertRegex(text, r"drill: error: aws elbv2 describe-target-health .*AccessDenied.*Nothing was changed")

    def test_settings_that_cannot_be_read_leave_the_measurement(self):
        with folder() as name, silent_server() as target, Balancer(target) as balancer, Aws(name, balancer, **{f"p{target}": "healthy"}) as aws:
            aws.fail("describe-target-groups", 9)
            text = self.finish(self.measure(balancer, target, "deregister", env=aws.environment()), 0)
            self.assertIn("the group's settings will not be in the table: ", text)

    def test_older_python_is_refused(self):
        program = f"import sys; sys.version_info = (3, 8, 18); exec(open({str(DRILL)!r}).read())"
        drill = subprocess.run([self.python, "-c", program], capture_output=True, text=True)
        self.assertEqual(drill.returncode, 2)
        self.assertEqual(drill.stderr, "drill: error: this is Python 3.8. Fix: run it with Python 3.9 or newer\n")

    def test_help_names_every_option_and_exit_code(self):
        drill = subprocess.run([self.python, DRILL, "--help"], capture_output=True, text=True)
        self.assertEqual(drill.returncode, 0)
        for word in ("--psql", "--mysql", "--measure", "--change", "--svg", "--json", *(f"\n  {code:>3}  " for code in (0, 1, 2, 3, 4, 130))):
            self.assertIn(word, drill.stdout)


class DocumentsTest(unittest.TestCase):
    def test_documented_commands_are_accepted(self):
        loader = importlib.machinery.SourceFileLoader("drill", str(DRILL))
        spec = importlib.util.spec_from_loader("drill", loader)
        drill = importlib.util.module_from_spec(spec)
        sys.modules["drill"] = drill
        wrote = sys.dont_write_bytecode
        sys.dont_write_bytecode = True
        loader.exec_module(drill)
        sys.dont_write_bytecode = wrote
        # Whether the clients are installed here says nothing about the documents.
        drill.shutil = type("Shutil", (), {"which": staticmethod(lambda name: f"/{name}")})
        drill.writable = str
        found = 0
        for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
            for block in re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```", document.read_text(), re.MULTILINE | re.DOTALL):
                for line in block.replace("\\\n", " ").splitlines():
                    # Other commands may have strings of several lines.
                    command = line.removeprefix("$ ")
                    words = shlex.split(command, comments=True) if command.startswith("scripts/drill") else []
                    if words and "--help" not in words:
                        found += 1
                        error = io.StringIO()
                        try:
                            with contextlib.redirect_stderr(error):
                                drill.arguments(words[1:])
                        except SystemExit:
                            self.fail(f"{document.name}: {line}: {error.getvalue()}")
        self.assertGreater(found, 0)


class Recorder:
    """Keeps the calls to a test's result for later."""

    failfast = shouldStop = False

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        if not name.startswith(("add", "start", "stop")):
            raise AttributeError(name)
        return lambda *arguments: self.calls.append((name, arguments))


class SideBySide(unittest.TestSuite):
    """Runs its tests at the same time: they wait for most of theirs."""

    def run(self, result, debug=False):
        def play(test):
            recorder = Recorder()
            test(recorder)
            return recorder

        with ThreadPoolExecutor(WORKERS) as pool:
            for recorder in pool.map(play, self):
                for name, arguments in recorder.calls:
                    # Durations are of Python 3.12 and newer.
                    getattr(result, name)(*arguments)
        for reason in sorted(skipped):
            print(f"\nSKIPPED: {reason}; tests/install installs it on Debian", file=sys.stderr)
        return result


def load_tests(loader, _tests, _pattern):
    """Each test that runs the drill, once for each interpreter."""
    suite = SideBySide(loader.loadTestsFromTestCase(DocumentsTest))
    for name in os.environ.get("DRILL_PYTHONS", sys.executable).split():
        python, version = interpreter(name)
        for case in (FailoverTest, MySqlTest, MeasureTest, SafetyTest, InputTest):
            title = f"{case.__name__}_{version}"
            suite.addTests(loader.loadTestsFromTestCase(type(title, (case,), {"python": python, "__module__": __name__, "__qualname__": title})))
    return suite


def interpreter(name):
    """The program itself, past any launcher on PATH, and its version."""
    program = "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([name, "-c", program], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"DRILL_PYTHONS: {name}: {getattr(error, 'stderr', None) or error}") from None
    return done.stdout.split()


if __name__ == "__main__":
    unittest.main()
