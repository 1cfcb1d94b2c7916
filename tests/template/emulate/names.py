"""A name server whose answers the test changes."""

import time

from dnslib import QTYPE, RCODE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from emulator import free_port


class Names(BaseResolver):
    """`addresses` has an address for each name, or an iterator that gives one for each lookup."""

    def __init__(self, addresses):
        self.addresses = addresses
        # When it was asked.
        self.lookups = []
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        quiet = DNSLogger("-request,-reply,-truncated,-error")
        self.servers = [DNSServer(self, address="127.0.0.1", port=port, tcp=tcp, logger=quiet) for tcp in (False, True)]
        for server in self.servers:
            server.start_thread()

    def resolve(self, request, handler):
        self.lookups.append(time.time())
        reply = request.reply()
        address = self.addresses.get(str(request.q.qname).rstrip(".").lower())
        if address is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif request.q.qtype == QTYPE.A:
            address = address if isinstance(address, str) else next(address)
            reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=5, rdata=A(address)))
        return reply

    def close(self):
        for server in self.servers:
            server.stop()
