#!/usr/bin/env python3
"""Judges the journal of `make fuzz-live`, which comes from a pipe, and shares no code with the program or its world.

The journal has one JSON object per line, in the order in which things happened to the world: `e` is the event, `s` the
schedule's seed, `t` seconds on a monotonic clock, `p` a process of the function (a new number for each start), `c` a call.
The events are described where they are read, in `Schedule`.

What must hold, in any order of events that the machine's load may bring about:

1. No deregistration of the function takes the last active target away. Exceptions, which are counted: since the list that
   the call was made by, another process removed the other targets; or another call of the function did, while the name
   servers did not all give one address; or the process stood still, or waited long for a processor, between its last answer
   and its call. A group that is empty for any reason comes back within some seconds by a watch that has deregistered something just before.
2. A deregistration has its evidence: the answers of DNS to that process in that invocation named one address for
   CONFIRM_SECONDS, at least twice (once for 0), none of the rest says otherwise, that address is not deregistered, and the
   last list shows it as active. The RDS API's last answer in that invocation does not name another writer, unless a later
   question was not answered.
3. What is registered was named by the last answers of DNS to the process, or is the address of a member that the RDS API
   listed to it. Commands that change nothing change nothing.
4. When the faults have ended, two checks bring the group to what DNS names, and a third finds nothing to do.
5. Each invocation is answered before its deadline, and what a report says is what happened.
6. Memory and open files stay below the ceilings.
7. No process ends by itself, and none panics.
"""

import argparse
import collections
import ipaddress
import json
import pathlib
import sys

# How long a question of DNS may be sent again with the same id. Ids are random numbers of 16 bits.
RESENT = 5.0
# Two sockets of one process may be read in another order than they were written to, but not by more than this.
REORDERED = 0.5
# How long the load balancing API may take to answer before the program's SDK gives up on the answer.
ATTEMPT = 2.5
# How far back two calls count as crossing: an observation may be two seconds old.
OBSERVATION = 2.0
# How soon an empty group comes back by a watch that has deregistered something in so many seconds before.
BACK = 7.0
RECENTLY = 12.0
# How much later than its deadline an answer may be seen, beside what the world itself was late.
GRACE = 1.0
# How long the program's SDK may go on to send the same registration again. A deregistration is sent once.
RETRIES = 13.0
# How many of the last lookups may have given an address that is registered.
LAST_LOOKUPS = 4

# How soon a process that stood still asks over the other transport, if it gives up on an answer that came meanwhile.
GIVEN_UP = 0.1
# How long after an event the world may notice that it, or a process, has waited for a processor before it.
NOTICED = 1.0
# How long after its end the world notices a wait. Where the world is later, it is as late with what follows the wait.
TICK = 0.1
# How much longer a group may be empty because the machine is busy.
BUSY = 1.0

# Answers after which the lookup goes on, and those of a server that is asked once more.
UNDECIDED = ("-malformed", "-truncated", "-alias")
FAILURES = ("-ServFail", "-Refused")

PRIVATE = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
READ_ONLY = ("plan", "doctor")


def is_target(address):
    """Whether a target group can hold the address."""
    address = ipaddress.ip_address(address)
    return address.version == 4 and any(address in net for net in PRIVATE)


def host(target):
    return target.rpartition(":")[0]


class Question:
    """A question of DNS about the endpoint: one query, and the same sent again."""

    def __init__(self, at, server, via, ident):
        self.at, self.server, self.via, self.ident = at, server, via, ident
        # (time, address or failure): an address is one that a writer can have.
        self.answers = []

    @property
    def named(self):
        return {answer for _, answer in self.answers if is_address(answer)}

    @property
    def is_decided(self):
        """Whether the lookup that it belongs to asks no more because of the answer."""
        return bool(self.answers) and (bool(self.named) or self.answers[-1][1] not in UNDECIDED)

    @property
    def has_failed(self):
        return bool(self.answers) and self.answers[-1][1] in FAILURES


class Lookup:
    """The questions of one lookup: the first server's come first, and what follows depends on their answers."""

    def __init__(self, question, first):
        self.questions = [question]
        self.first = first
        self.retries = 0

    @property
    def at(self):
        return self.questions[0].at

    @property
    def last_at(self):
        return self.questions[-1].at

    @property
    def named(self):
        return set().union(*(question.named for question in self.questions))

    @property
    def ended(self):
        """When it was answered last; never, as far as is known, if at all."""
        return max((at for question in self.questions for at, _ in question.answers), default=None)

    def first_named(self, address):
        return min(at for question in self.questions for at, answer in question.answers if answer == address)

    def takes(self, question, process):
        """Whether the next question, of the same process, belongs to this lookup."""
        if question.server != self.first:
            return True
        if self.named:
            # It is over, whichever server gave the address, unless the process stood still when the answer came: its time for
            # the answer may be over when it goes on.
            last = self.questions[-1]
            return question.via != last.via and process.may_have_missed(last, question.at)
        last = [earlier for earlier in self.questions if earlier.server == self.first]
        if not last or not last[-1].is_decided:
            return True  # It goes on over the other transport.
        if last[-1].has_failed and self.retries == 0:
            self.retries += 1
            return True  # A server that fails is asked once more, by UDP if that has been left out for long enough.
        return False


def is_address(answer):
    return answer[:1].isdigit()


class Call:
    def __init__(self, at, process, action, detail, invocation):
        self.at, self.process, self.action, self.detail, self.invocation = at, process, action, detail, invocation
        self.question = None
        self.found = None
        self.listed = None
        self.version = None
        self.members = None
        self.writer = None
        self.endpoint = None
        self.outcome = None
        self.answered = None
        self.took_effect = None
        # The last list that the process had when it made the call.
        self.listing = None
        # The call that this one repeats, or itself.
        self.original = self

    @property
    def targets(self):
        return set(self.detail.split())


class Invocation:
    def __init__(self, number, kind, began, deadline, first):
        self.number, self.kind, self.began, self.deadline = number, kind, began, deadline
        self.first = first
        self.lookups = []
        self.listings = []
        self.changes = []
        self.writers = []  # (time, member that the RDS API named as the writer)
        self.cluster_calls = []

    @property
    def last_question(self):
        return self.lookups[-1].questions[-1] if self.lookups else None

    def question(self, at, server, via, ident, process):
        """The question that comes in now, or that comes in once more."""
        recent = [question for lookup in self.lookups[-2:] for question in lookup.questions if question.server == server]
        for question in recent[-1:]:
            if (via, ident) == (question.via, question.ident) and at - question.at < RESENT:
                return question
        question = Question(at, server, via, ident)
        if self.lookups and self.lookups[-1].takes(question, process):
            self.lookups[-1].questions.append(question)
        else:
            self.lookups.append(Lookup(question, self.first))
        return question


class Process:
    def __init__(self, first, waits):
        self.first = first  # The name server that it asks first.
        self.waits = waits  # (time, seconds) for which it had waited for a processor
        self.invocation = None
        self.stops = []  # [from, to]; to is None while it stands still
        self.killed = False
        self.troubled = float("-inf")  # when it met a fault last, or stood still
        self.members = set()
        self.own_addresses = collections.defaultdict(set)  # name → addresses that DNS gave for it

    def may_have_missed(self, question, at):
        """Whether it stood still when the question was answered, and went on only just before this time."""
        ended = [(begin, end) for begin, end in self.stops if end is not None]
        ended += [(end - seconds - GIVEN_UP, end) for end, seconds in self.waits]
        stops = [(begin, end) for begin, end in ended if at - end < GIVEN_UP]
        return any(begin <= answered <= end for begin, end in stops for answered, _ in question.answers)

    def stood_still(self, since, until):
        """For how long, between these times."""
        spans = ((max(begin, since), min(until if end is None else end, until)) for begin, end in self.stops)
        return sum(max(0.0, end - begin) for begin, end in spans)

    def waited(self, since, until):
        """For how long it may have waited for a processor, between these times."""
        return within(self.waits, since, until)


class Schedule:
    """One schedule, event by event."""

    def __init__(self, settings):
        self.settings = settings
        self.endpoint, self.port = settings["endpoint"], settings["port"]
        self.confirm = settings["confirm"]
        self.processes = {}
        self.calls = {}
        self.active = set()
        self.version = 0
        self.removals = []  # (version, time, target, call or None)
        self.servers = {}
        self.unanimous = []  # (since, address or None)
        self.lags = []  # (time, seconds)
        self.waits = collections.defaultdict(list)  # process → those of `Process`
        self.calm = False
        self.calm_checks = 0
        self.calm_changes = 0
        self.violations = []
        self.counts = collections.Counter()
        self.latest = None  # seconds from the deadline to the latest answer of a process that did not stand still
        self.most = collections.Counter()
        self.empty = None  # since when, if it still is and was not judged
        self.emptied = None  # since when by the function, if it still is
        self.empty_for = []
        self.wrong = None

    def violated(self, invariant, at, what):
        self.violations.append((invariant, at, what))

    def slowed(self, process, since, until):
        """How much later than intended something may have happened between these times, because the machine was busy."""
        return within(self.lags, since, until) + process.waited(since, until)

    def observe(self, event):
        if self.empty is not None and event["t"] >= self.empty + BACK:
            self.check_return(event["t"])
            self.empty = None
        handler = getattr(self, "on_" + event["e"])
        handler(event["t"], event)

    # The world

    def on_group(self, _, event):
        """The group at first."""
        self.active = set(event["active"])

    def on_dns(self, at, event):
        """What a name server gives from now on."""
        self.servers[event["server"]] = tuple(sorted(event["addresses"]))
        given = set(self.servers.values())
        only = given.pop() if len(given) == 1 else ()
        address = only[0] if len(only) == 1 and len(self.servers) == self.settings["servers"] else None
        if not self.unanimous or self.unanimous[-1][1] != address:
            self.unanimous.append((at, address))

    def on_calm(self, at, _):
        """The faults have ended, but those that last."""
        self.calm = True

    def on_fault(self, at, event):
        self.processes[event["p"]].troubled = at
        self.counts["fault " + event["fault"]] += 1

    def note(self, event):
        """What the machine did comes before the events of the same time: it is noticed a little later than it happens."""
        if event["e"] == "lag":
            # The world itself was late.
            self.lags.append((event["t"], event["seconds"]))
        else:
            # A process has waited for a processor.
            self.waits[event["p"]].append((event["t"], event["seconds"]))
            self.counts["waits for a processor"] += 1

    def on_wrong(self, at, event):
        """In a control: what follows is wrong. Nothing here may depend on it but the verdict on the control."""
        self.wrong = at

    def on_over(self, at, _):
        if self.calm and self.calm_checks < 3:
            self.violated(5, at, f"only {self.calm_checks} of 3 checks ended after the faults")

    # Processes

    def on_start(self, at, event):
        self.processes[event["p"]] = Process(event["first"], self.waits[event["p"]])
        self.counts["starts"] += 1

    def on_kill(self, at, event):
        self.processes[event["p"]].killed = True
        self.counts["kills"] += 1

    def on_stop(self, at, event):
        self.processes[event["p"]].stops.append([at, None])
        self.counts["stops"] += 1

    def on_continue(self, at, event):
        self.processes[event["p"]].stops[-1][1] = at
        self.processes[event["p"]].troubled = at

    def on_exit(self, at, event):
        process = self.processes[event["p"]]
        if not process.killed:
            self.violated(7, at, f"process {event['p']} ended by itself: {event['status']}")
        process.invocation = None

    def on_panic(self, at, event):
        self.violated(7, at, f"process {event['p']}: {event['line']}")

    def on_resources(self, at, event):
        for what, most in (("rss_kb", "max_rss_kb"), ("files", "max_files")):
            self.most[what] = max(self.most[what], event[what])
            if event[what] > self.settings[most]:
                limit = self.settings[most]
                self.violated(6, at, f"process {event['p']} has {event[what]} {what}, more than {limit}")

    # Invocations

    def on_began(self, at, event):
        """The process took an invocation. `kind` is what it asks for, as far as that is known."""
        self.counts["invocations"] += 1
        process = self.processes[event["p"]]
        process.invocation = Invocation(event["i"], event["kind"], at, event["deadline"], process.first)

    def on_silent(self, at, event):
        """No answer came, long after the deadline."""
        if event["began"]:
            self.violated(5, at, f"invocation {event['i']} of process {event['p']} was never answered")
        else:
            self.violated(7, at, f"process {event['p']} did not take invocation {event['i']}")

    def on_ended(self, at, event):
        process = self.processes[event["p"]]
        invocation, process.invocation = process.invocation, None
        self.counts["answers"] += 1
        self.check_deadline(at, process, invocation)
        answer = event["answer"]
        if event["failed"]:
            self.counts["failed answers"] += 1
            if not (isinstance(answer, dict) and answer.get("errorType") and answer.get("errorMessage")):
                self.violated(5, at, f"invocation {invocation.number} failed without a reason: {answer}")
        elif answer.get("trigger") in ("watch", "check"):
            for report in answer["bindings"]:
                self.check_report(at, process, invocation, report)
        if self.calm and invocation.kind == "check":
            self.calm_checks += 1
            self.check_calm(at, event)

    def check_deadline(self, at, process, invocation):
        begun, deadline = invocation.began, invocation.deadline
        late, stood_still = at - deadline, process.stood_still(begun, at)
        if not stood_still:
            self.latest = late if self.latest is None else max(self.latest, late)
        # The function is not to blame for the time in which it stood still. For waits, and for a late world, it has time
        # until shortly before the deadline.
        late -= stood_still + self.slowed(process, deadline - GRACE, at)
        if late > GRACE:
            self.violated(5, at, f"invocation {invocation.number} was answered {late:.3f} s after its deadline")

    def check_report(self, at, process, invocation, report):
        """Invariant 5: what the report says is what happened."""
        number = invocation.number
        for field, action in (("registered", "RegisterTargets"), ("deregistered", "DeregisterTargets")):
            reported = set(report[field])
            changes = [call for call in invocation.changes if call.action == action]
            called = set().union(*(call.targets for call in changes))
            if reported - called:
                what = f"invocation {number} reports {sorted(reported - called)} as {field}, without a call"
                self.violated(5, at, what)
            for call in changes:
                if self.was_read(process, call) and call.targets - reported:
                    missing = sorted(call.targets - reported)
                    self.violated(5, at, f"invocation {number} does not report {missing} as {field}")
        status = report["status"]
        if status == "pending" and not report["waiting"]:
            self.violated(5, at, f"invocation {number} is pending and waits for nothing")
        if status in ("in_sync", "updated"):
            named = set().union(*(lookup.named for lookup in invocation.lookups))
            if not set(report["addresses"]) <= named:
                self.violated(5, at, f"invocation {number} reports {report['addresses']}; DNS named {sorted(named)}")
            wanted = {f"{address}:{self.port}" for address in report["addresses"]}
            seen = [call for call in invocation.listings[-2:]]
            if not any(active_in(call.listed) == wanted for call in seen):
                lists = [sorted(active_in(call.listed)) for call in seen]
                self.violated(5, at, f"invocation {number} is {status} with {sorted(wanted)}; its lists show {lists}")
        if (status == "failed") != bool(report["error"]):
            self.violated(5, at, f"invocation {number} is {status} with the error {report['error']!r}")

    def check_calm(self, at, event):
        """Invariant 4."""
        _, address = self.unanimous[-1]
        wanted = {f"{address}:{self.port}"}
        if self.calm_checks == 2:
            self.calm_changes = 0
            if self.active != wanted:
                what = f"the group holds {sorted(self.active)} after two checks; DNS names {address}"
                self.violated(4, at, f"{what}; the last answer is {json.dumps(event['answer'])}")
        if self.calm_checks == 3:
            status = "failed" if event["failed"] else event["answer"]["bindings"][0]["status"]
            if status != "in_sync" or self.calm_changes or self.active != wanted:
                what = f"the third check is {status}, with {self.calm_changes} changes"
                self.violated(4, at, f"{what}; the answer is {json.dumps(event['answer'])}")

    # Calls and lookups

    def on_asked(self, at, event):
        """A call or a lookup came in. `detail` is a lookup's name, a change's targets, or an identifier."""
        process = self.processes[event["p"]]
        invocation = process.invocation
        call = Call(at, event["p"], event["action"], event["detail"], invocation)
        self.calls[event["c"]] = call
        self.counts[event["action"]] += 1
        if call.action == "Lookup" and call.detail == self.endpoint and invocation:
            call.question = invocation.question(at, event["server"], event["via"], event["id"], process)
        if call.action == "DescribeDBClusters" and invocation:
            invocation.cluster_calls.append(call)
        if call.action in ("RegisterTargets", "DeregisterTargets"):
            self.calm_changes += 1
            if invocation is None:
                self.violated(2, at, f"process {event['p']} calls {call.action} {call.detail} outside an invocation")
                return
            call.listing = invocation.listings[-1] if invocation.listings else None
            invocation.changes.append(call)
            if invocation.kind in READ_ONLY:
                self.violated(3, at, f"a {invocation.kind} calls {call.action} {call.detail}")
            if call.action == "RegisterTargets":
                self.check_registration(at, process, call)
            else:
                self.check_deregistration(at, call)

    def on_found(self, _, event):
        """The addresses of an answer of DNS that may be sent later."""
        self.calls[event["c"]].found = event["addresses"]

    def on_listed(self, _, event):
        """A list of the group, each target with its state, which may be sent later."""
        call = self.calls[event["c"]]
        call.listed, call.version = event["targets"], self.version

    def on_members(self, _, event):
        """The RDS API's members of the cluster with this endpoint, which may be sent later."""
        call = self.calls[event["c"]]
        call.members, call.endpoint, call.writer = event["members"], event["endpoint"], event["writer"]

    def on_answered(self, at, event):
        """The answer is sent now. `outcome` is `ok` or what is wrong with it."""
        call, outcome = self.calls[event["c"]], event["outcome"]
        call.answered, call.outcome = at, outcome
        process = self.processes[call.process]
        if outcome != "ok":
            process.troubled = at
        if call.question:
            # `-` marks a failure: no address begins with it.
            answer = "-" + outcome
            if outcome == "ok":
                usable = len(call.found) == 1 and is_target(call.found[0])
                answer = call.found[0] if usable else "-unusable"
            call.question.answers.append((at, answer))
        elif call.action == "Lookup":
            if outcome == "ok" and call.found:
                process.own_addresses[call.detail.partition(".")[0]].update(call.found)
            question = call.invocation.last_question if call.invocation else None
            if question and any(answer == "-alias" for _, answer in question.answers):
                # An answer without the address of its alias: the program has asked for that one.
                is_found = outcome == "ok" and len(call.found) == 1 and is_target(call.found[0])
                question.answers.append((at, call.found[0] if is_found else "-" + outcome))
        if outcome == "ok" and call.listed is not None and call.invocation:
            call.invocation.listings.append(call)
        if outcome == "ok" and call.members is not None and call.endpoint == self.endpoint:
            process.members.update(call.members)
            if call.invocation and call.writer:
                call.invocation.writers.append((at, call.writer))

    def check_registration(self, at, process, call):
        """Invariant 3."""
        for earlier in reversed(call.invocation.changes[:-1]):
            is_answered = self.was_read(process, earlier)
            is_same = earlier.action == call.action and earlier.targets == call.targets
            since = earlier.original.at
            if is_same and not is_answered and at - since < RETRIES + self.slowed(process, since, at):
                call.original = earlier.original
                self.counts["registrations sent again"] += 1
                return
        self.counts["registrations judged"] += 1
        recent = call.invocation.lookups[-LAST_LOOKUPS:]
        named = set().union(*(lookup.named for lookup in recent))
        of_members = set().union(*(process.own_addresses[member] for member in process.members))
        for target in call.targets:
            address, _, port = target.rpartition(":")
            if int(port) != self.port or not is_target(address):
                self.violated(3, at, f"registers {target}, which no group of this binding can hold")
            elif address not in named | of_members:
                what = f"DNS named {sorted(named)}, and the members have {sorted(of_members)}"
                self.violated(3, at, f"process {call.process} registers {target}; {what}")

    def check_deregistration(self, at, call):
        """Invariant 2."""
        self.counts["deregistrations judged"] += 1
        invocation = call.invocation
        problems = []
        for address in sorted(set().union(*(lookup.named for lookup in invocation.lookups))):
            problem = self.evidence_problem(at, call, address)
            if problem is None:
                return
            problems.append(f"{address}: {problem}")
        reasons = "; ".join(problems) or "DNS has named no address"
        self.violated(2, at, f"process {call.process} deregisters {call.detail} without evidence ({reasons})")

    def evidence_problem(self, at, call, address):
        """What is missing for this address to speak for the deregistration."""
        target = f"{address}:{self.port}"
        if target in call.targets:
            return "it is deregistered itself"
        # The last two: a list may have been given up on, and its answer seen here all the same.
        lists = call.invocation.listings[-2:]
        if not any(target in active_in(listing.listed) for listing in lists):
            return "it is not listed as active"
        row = self.row(at, call, address)
        if not row:
            return "the last lookup gave another answer"
        first, last = row[-1], row[0]
        length = last.last_at - first.first_named(address)
        if self.confirm and (len(row) < 2 or length < self.confirm):
            return f"it was named by {len(row)} lookups for {length:.3f} s"
        # The last answer may have come after the call was made.
        writers = [writer for when, writer in call.invocation.writers if not self.may_cross(when, at, call)]
        if any(question.outcome != "ok" for question in call.invocation.cluster_calls[-2:]):
            return None
        member = self.settings["writers"].get(address)
        if member and writers and member != writers[-1] and member not in self.writers_since(at, call):
            return f"it is {member}, and the RDS API names {writers[-1]}"
        return None

    def writers_since(self, at, call):
        return [writer for when, writer in call.invocation.writers if self.may_cross(when, at, call)]

    def may_cross(self, when, at, call):
        """Whether the process may have made the call before it sent or read what the world did at this time."""
        return at - when < REORDERED + self.slowed(self.processes[call.process], when, at)

    def row(self, at, call, address):
        """The last lookups that all gave this address, the last first."""
        row, lookups = [], call.invocation.lookups
        for lookup in reversed(lookups):
            if address in lookup.named:
                row.append(lookup)
            elif lookup is not lookups[-1] or (lookup.ended is not None and not self.may_cross(lookup.at, at, call)):
                break
            # Otherwise the call may have been made before the last lookup was, or before its answer.
        return row

    # Effects

    def on_effect(self, at, event):
        """A change took effect: by a process, or from outside (`p` is null). `active` is what is active now."""
        call = self.calls[event["c"]] if event["p"] is not None else None
        before, self.active = self.active, set(event["active"])
        self.version += 1
        self.removals += [(self.version, at, target, call) for target in before - self.active]
        self.empty = at if before and not self.active else None if self.active else self.empty
        if self.active and self.emptied is not None:
            self.empty_for.append(at - self.emptied)
            self.emptied = None
        if call is None:
            self.counts["changes from outside"] += 1
            return
        call.took_effect = at
        self.counts["effects"] += 1
        if before and not self.active:
            self.emptied = at
            self.check_emptied(at, call)

    def check_emptied(self, at, call):
        """Invariant 1."""
        if call.listing is None:
            return self.violated(1, at, f"process {call.process} emptied a group that it had not listed")
        others = active_in(call.listing.listed) - call.targets
        excuses = []
        for target in others:
            later = [r for r in self.removals if r[2] == target and r[0] > call.listing.version]
            if later:
                excuses.append(self.excuse(at, call, later[-1]))
        excuses = [excuse for excuse in excuses if excuse]
        if not excuses:
            what = f"process {call.process} emptied the group by {call.detail}, sent at {call.at:.3f}"
            return self.violated(1, at, f"{what}; its list showed {sorted(active_in(call.listing.listed))}")
        self.counts["emptied: " + excuses[0]] += 1

    def check_return(self, at):
        """Invariant 1: an empty group comes back."""
        self.counts["empty for long"] += 1
        empty, (changed, address) = self.empty, self.unanimous[-1]
        if address is None or changed > empty - self.confirm - 1:
            return  # Nothing may be confirmed yet.
        for number, process in self.processes.items():
            invocation = process.invocation
            if invocation is None or invocation.kind != "watch" or process.killed:
                continue
            is_calm = process.troubled < empty - 5 and not process.stood_still(empty - 5, at)
            is_calm = is_calm and self.slowed(process, empty - 5, at) < BUSY
            ends = min(invocation.deadline - 1, invocation.began + self.settings["watch"])
            agrees = all(writer == self.settings["writers"].get(address) for _, writer in invocation.writers)
            answers = [call for call in self.calls.values() if call.process == number and call.at > empty - 1]
            is_answered = all(call.answered is not None for call in answers if call.at < at - 1)
            has_changed = any(
                call.action == "DeregisterTargets" and call.outcome == "ok" and empty - RECENTLY < call.answered < empty
                for call in invocation.changes
            )
            if is_calm and ends > at and invocation.began < empty - 1 and agrees and is_answered and has_changed:
                what = f"the watch of process {number} does not fill the group, which is empty since {empty:.3f}"
                self.violated(1, at, what)

    def excuse(self, at, call, removal):
        _, removed, _, other = removal
        if other is None:
            return "another process removed the rest"
        if other.process == call.process and removed <= call.at:
            return None  # It knew.
        since = min(call.at, other.at) - OBSERVATION
        if not self.named_throughout(since):
            return "DNS moved or differed"
        for one in (call, other):
            lookups = one.invocation.lookups if one.invocation else []
            answers = [lookup.ended for lookup in lookups if lookup.ended is not None and lookup.ended <= one.at]
            process = self.processes[one.process]
            if not answers:
                continue
            if process.stood_still(max(answers) - 0.05, one.at) > 0 or process.waited(max(answers), one.at) > REORDERED:
                return "a process stood still before its call"
        return None

    def named_throughout(self, since):
        """Whether all name servers have given one and the same address since then."""
        changed, address = self.unanimous[-1]
        return address is not None and (changed < since or len(self.unanimous) == 1)

    def was_read(self, process, call):
        """Whether the process has surely read the answer that the call took effect. One that stood still, or waited for a
        processor, may have read it after it had given up on it."""
        if call.outcome != "ok" or process.stood_still(call.at, call.answered + ATTEMPT):
            return False
        return call.answered - call.at + self.slowed(process, call.at, call.at + ATTEMPT) < ATTEMPT


def within(delays, since, until):
    """The seconds of all delays that may have been between these times. Each delay comes with the time of its notice."""
    return sum(max(0.0, min(at, until + TICK) - max(at - seconds, since)) for at, seconds in delays)


def active_in(listed):
    return {target for target, state in listed.items() if state != "draining"}


class Checker:
    """All schedules, which are played at the same time."""

    def __init__(self, keep=None, control=False, out=sys.stdout):
        self.keep, self.control, self.out = keep, control, out
        self.schedules, self.lines = {}, collections.defaultdict(list)
        # Events that are not judged yet.
        self.later = collections.defaultdict(collections.deque)
        self.kinds, self.hazards, self.counts = (collections.Counter() for _ in range(3))
        self.most = collections.Counter()
        self.latest, self.empty_for = None, []
        self.bad, self.finished, self.not_caught = {}, [], []

    def read(self, lines):
        for line in lines:
            event = json.loads(line)
            seed = event["s"]
            self.lines[seed].append(line)
            if event["e"] == "schedule":
                self.schedules[seed] = Schedule(event)
                continue
            if event["e"] in ("lag", "starved"):
                self.schedules[seed].note(event)
                continue
            later = self.later[seed]
            later.append(event)
            while later and (later[0]["t"] < event["t"] - NOTICED or event["e"] == "over"):
                self.schedules[seed].observe(later.popleft())
            if event["e"] == "over":
                self.finish(seed)

    def finish(self, seed):
        schedule, lines = self.schedules.pop(seed), self.lines.pop(seed)
        self.finished.append(seed)
        self.kinds[schedule.settings["main"]] += 1
        self.hazards.update(schedule.settings["hazards"])
        self.counts += schedule.counts
        self.most |= schedule.most
        self.empty_for += schedule.empty_for
        if schedule.latest is not None:
            self.latest = schedule.latest if self.latest is None else max(self.latest, schedule.latest)
        if self.control:
            found = [v for v in schedule.violations if schedule.wrong is not None and v[0] in (1, 2) and v[1] >= schedule.wrong]
            if not found:
                self.not_caught.append(seed)
            for invariant, at, what in found[:1]:
                print(f"seed {seed}: caught: invariant {invariant} at {at:.3f}: {what}", file=self.out, flush=True)
            return
        if not schedule.violations:
            return
        self.bad[seed] = schedule.violations
        print(f"seed {seed} ({schedule.settings['schedule']}):", file=self.out)
        for invariant, at, what in schedule.violations:
            print(f"  invariant {invariant} at {at:.3f}: {what}", file=self.out)
        if self.keep:
            self.keep.mkdir(parents=True, exist_ok=True)
            path = self.keep / f"{seed}.jsonl"
            path.write_text("".join(lines))
            print(f"  journal: {path}", file=self.out)
        self.out.flush()

    def summary(self):
        def table(title, counter):
            print(title, file=self.out)
            for name, count in sorted(counter.items()):
                print(f"  {count:8}  {name}", file=self.out)

        table("Schedules by main hazard", self.kinds)
        table("Schedules with a hazard", self.hazards)
        table("What happened", self.counts)
        if self.latest is not None:
            when = "after" if self.latest > 0 else "before"
            print(f"The latest answer came {abs(self.latest):.3f} s {when} its deadline.", file=self.out)
        if self.most:
            print(f"Most memory: {self.most['rss_kb']} KB. Most open files: {self.most['files']}.", file=self.out)
        if self.empty_for:
            times = ", ".join(f"{seconds:.1f}" for seconds in sorted(self.empty_for, reverse=True))
            print(f"Groups that the function emptied came back after so many seconds: {times}.", file=self.out)
        seeds = f"seeds {min(self.finished)} to {max(self.finished)}" if self.finished else "no seeds"
        if self.control:
            caught = len(self.finished) - len(self.not_caught)
            print(f"{caught} of {len(self.finished)} wrong deregistrations were caught ({seeds}).", file=self.out)
            if self.not_caught:
                print(f"Not caught: {self.not_caught}", file=self.out)
        else:
            total = sum(len(violations) for violations in self.bad.values())
            print(f"{len(self.finished)} schedules ({seeds}), {total} violations.", file=self.out)

    def is_good(self):
        unfinished = sorted(self.schedules)
        if unfinished:
            print(f"The journal ends within the schedules {unfinished}.", file=self.out)
        if not self.finished:
            print("No schedule was played to its end.", file=self.out)
        return bool(self.finished) and not (unfinished or self.bad or self.not_caught)


def main():
    parser = argparse.ArgumentParser(description="Judges the journal of `make fuzz-live`, from standard input.")
    parser.add_argument("--keep", type=pathlib.Path, help="where the journals of bad schedules go")
    parser.add_argument("--control", action="store_true", help="each schedule holds a wrong deregistration")
    options = parser.parse_args()
    checker = Checker(options.keep, options.control)
    checker.read(sys.stdin)
    checker.summary()
    return 0 if checker.is_good() else 1


if __name__ == "__main__":
    sys.exit(main())
