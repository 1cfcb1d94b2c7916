"""Tries scripts/drill against a small TCP forwarder and, where PostgreSQL is installed, two servers.

Run it with `python3 -m unittest discover tests/drill`. Everything listens on loopback alone.
"""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

DRILL = pathlib.Path(__file__).parents[2] / "scripts" / "drill"


class Forwarder:
    """Stands for the load balancer: forwards connections to a target, or refuses them without one."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.listener = None

    def forward_to(self, target):
        self.refuse()
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self.accept, args=(self.listener, target), daemon=True).start()

    def refuse(self):
        if self.listener is not None:
            # Wakes the thread that accepts, which close alone would not.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    @classmethod
    def accept(cls, listener, target):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=cls.forward, args=(client, target), daemon=True).start()

    @classmethod
    def forward(cls, client, target):
        try:
            with client, socket.create_connection(("127.0.0.1", target)) as server:
                back = threading.Thread(target=cls.pump, args=(server, client), daemon=True)
                back.start()
                cls.pump(client, server)
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


class Postgres:
    """A server on loopback; `standby` makes it a reader until it is promoted."""

    def __init__(self, folder, port, standby):
        self.folder, self.port = folder, port
        self.run("initdb", "--auth=trust", "--username=drill", "--no-sync", "-D", folder)
        if standby:
            self.run("touch", f"{folder}/standby.signal")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self.run("pg_ctl", "-D", folder, "-w", "-l", f"{folder}/log", "-o", options, "start")

    @staticmethod
    def run(*command):
        # PostgreSQL refuses to run as root.
        command = command if os.geteuid() != 0 else ("runuser", "-u", "postgres", "--", *command)
        binaries = sorted(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin")))
        path = os.pathsep.join([*binaries, os.environ["PATH"]])
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, env={**os.environ, "PATH": path})

    def promote(self):
        self.run("pg_ctl", "-D", self.folder, "-w", "promote")

    def stop(self):
        self.run("pg_ctl", "-D", self.folder, "-m", "immediate", "stop")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(port, *options):
    command = [DRILL, "127.0.0.1", str(port), "--interval", "0.1", "--for", "40", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def outage(text):
    return float(re.search(r"^outage: ([0-9.]+) s", text, re.MULTILINE).group(1))


class DrillTest(unittest.TestCase):
    def test_an_outage_is_timed_from_the_first_failure_to_the_first_success(self):
        forwarder = Forwarder()
        with socket.create_server(("127.0.0.1", 0)) as target:
            forwarder.forward_to(target.getsockname()[1])
            drill = start(forwarder.port, "--settle", "1")
            time.sleep(1)
            forwarder.refuse()
            time.sleep(1.5)
            forwarder.forward_to(target.getsockname()[1])
            text, _ = drill.communicate(timeout=30)
        forwarder.refuse()
        self.assertEqual(drill.returncode, 0, text)
        self.assertRegex(text, r"works .*\n.* fails +connection refused.*\n.* works again .* the outage took")
        self.assertAlmostEqual(outage(text), 1.5, delta=0.5)

    def test_no_outage_and_an_outage_without_an_end_differ(self):
        forwarder = Forwarder()
        with socket.create_server(("127.0.0.1", 0)) as target:
            forwarder.forward_to(target.getsockname()[1])
            drill = start(forwarder.port, "--for", "1")
            text, _ = drill.communicate(timeout=30)
            self.assertEqual(drill.returncode, 3, text)
            drill = start(forwarder.port, "--for", "3")
            time.sleep(1)
            forwarder.refuse()
            text, _ = drill.communicate(timeout=30)
        self.assertEqual(drill.returncode, 1, text)
        self.assertIn("does not yet", text)

    @unittest.skipUnless(shutil.which("psql"), "psql is not installed")
    @unittest.skipUnless(shutil.which("initdb") or os.path.exists("/usr/lib/postgresql"), "PostgreSQL is not installed")
    def test_a_reader_is_an_outage_until_it_is_promoted(self):
        forwarder = Forwarder()
        with tempfile.TemporaryDirectory(prefix="drill-") as folder:
            if os.geteuid() == 0:
                shutil.chown(folder, "postgres")
            one, two = free_ports(2)
            writer = Postgres(f"{folder}/one", one, standby=False)
            reader = Postgres(f"{folder}/two", two, standby=True)
            try:
                forwarder.forward_to(one)
                drill = start(forwarder.port, "--settle", "1", "--psql", "user=drill dbname=postgres")
                time.sleep(2)
                writer.stop()
                time.sleep(1)
                forwarder.forward_to(two)
                time.sleep(1)
                reader.promote()
                text, _ = drill.communicate(timeout=40)
            finally:
                forwarder.refuse()
                reader.stop()
        self.assertEqual(drill.returncode, 0, text)
        self.assertRegex(text, r"(?s)works +the writer.* fails .* reads only .* works again +the writer")
        self.assertGreaterEqual(outage(text), 1.8, text)


if __name__ == "__main__":
    unittest.main()
