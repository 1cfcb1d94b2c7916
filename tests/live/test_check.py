"""The checker of `make fuzz-live` finds each invariant broken, and finds nothing in a story that is as it must be."""

import io
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check

ENDPOINT = "orders.cluster-abc123.us-east-1.rds.amazonaws.com"
MEMBER = "orders-2.abc123.us-east-1.rds.amazonaws.com"
ONE, TWO, THREE = "10.0.1.10", "10.0.2.20", "10.0.3.30"


def targets(*addresses):
    return [f"{address}:5432" for address in addresses]


class Story:
    """A journal, written by hand. Times are in seconds."""

    def __init__(self, confirm=1, servers=1, group=(ONE,)):
        self.events, self.now, self.calls = [], 0.0, 0
        self.active = set(targets(*group))
        self.add("schedule", seed=7, main="Kill", hazards=["Kill"], confirm=confirm, servers=servers, endpoint=ENDPOINT,
                 port=5432, watch=20, writers={ONE: "orders-1", TWO: "orders-2"}, max_rss_kb=1000, max_files=10, schedule="by hand")
        self.add("group", active=sorted(self.active))
        for server in range(servers):
            self.dns(ONE, server=server)
        self.start(0)

    def add(self, event, **fields):
        self.events.append({"e": event, "s": 7, "t": self.now, **fields})
        return self

    def start(self, p, first=0):
        return self.add("start", p=p, pid=p, first=first)

    def wait(self, seconds):
        self.now += seconds
        return self

    def dns(self, *addresses, server=0):
        return self.add("dns", server=server, addresses=list(addresses))

    def began(self, number=0, kind="watch", seconds=20.0, p=0):
        return self.add("began", p=p, i=number, kind=kind, deadline=self.now + seconds)

    def asked(self, action, detail, p=0, server=0, via="http", ident=0):
        self.calls += 1
        self.add("asked", p=p, c=self.calls, action=action, detail=detail, id=ident, via=via, server=server)
        return self.calls

    def answered(self, call, outcome="ok", p=0):
        return self.add("answered", p=p, c=call, outcome=outcome)

    def lookup(self, *addresses, name=ENDPOINT, outcome="ok", p=0, server=0, via="udp", takes=0.01):
        call = self.asked("Lookup", name, p=p, server=server, via=via, ident=1000 + self.calls)
        self.wait(takes)
        if addresses:
            self.add("found", p=p, c=call, addresses=list(addresses))
        return self.answered(call, outcome, p=p).wait(0.01)

    def lookups(self, address, seconds, **options):
        """Lookups every tenth of a second for so long."""
        for _ in range(round(seconds / 0.1)):
            self.lookup(address, **options).wait(0.08)
        return self

    def list(self, p=0, **states):
        call = self.asked("DescribeTargetHealth", "", p=p)
        listed = {target: "healthy" for target in self.active} | states
        return self.add("listed", p=p, c=call, targets=listed).answered(call, p=p)

    def members(self, *members, endpoint=ENDPOINT, writer="orders-1", p=0):
        call = self.asked("DescribeDBClusters", "orders", p=p)
        self.add("members", p=p, c=call, endpoint=endpoint, members=list(members), writer=writer)
        return self.answered(call, p=p)

    def change(self, action, *addresses, p=0, outcome="ok"):
        call = self.asked(action, " ".join(targets(*addresses)), p=p)
        return self.effect(action, *addresses, p=p, call=call).answered(call, outcome, p=p)

    def effect(self, action, *addresses, p=None, call=None):
        if action == "RegisterTargets":
            self.active |= set(targets(*addresses))
        else:
            self.active -= set(targets(*addresses))
        return self.add("effect", p=p, c=call, action=action, targets=targets(*addresses), active=sorted(self.active))

    def register(self, *addresses, **options):
        return self.change("RegisterTargets", *addresses, **options)

    def deregister(self, *addresses, **options):
        return self.change("DeregisterTargets", *addresses, **options)

    def ended(self, number=0, status="updated", addresses=(TWO,), registered=(), deregistered=(), waiting=(), error=None,
              p=0, trigger="watch"):
        report = {"status": status, "addresses": list(addresses), "registered": targets(*registered),
                  "deregistered": targets(*deregistered), "waiting": list(waiting), "error": error}
        return self.add("ended", p=p, i=number, failed=False, answer={"trigger": trigger, "bindings": [report]})

    def checks(self, *statuses):
        """Checks after the faults, which see the group as it is and change nothing."""
        for number, status in enumerate(statuses, 10):
            self.began(number, kind="check").lookup(TWO).list()
            self.ended(number, status=status, trigger="check", waiting=["something"] if status == "pending" else [])
        return self

    def judge(self):
        """The invariants that are broken, and all that the checker prints."""
        out = io.StringIO()
        checker = check.Checker(out=out)
        self.add("over")
        checker.read(json.dumps(event) + "\n" for event in self.events)
        checker.summary()
        broken = sorted({invariant for invariant, _, _ in checker.bad.get(7, [])})
        assert checker.is_good() == (not broken)
        return broken, out.getvalue()


def failover(confirm=1, **options):
    """A failover that is followed as it must be, up to the deregistration."""
    story = Story(confirm, **options).began().lookup(ONE).list()
    story.wait(1).dns(TWO).lookup(TWO).register(TWO).list()
    return story.lookups(TWO, 1.5).list()


class Checks(unittest.TestCase):
    def check(self, story, *broken):
        found, text = story.judge()
        self.assertEqual(found, sorted(broken), text)

    def test_failover_that_is_followed_breaks_nothing(self):
        story = failover().deregister(ONE).list().ended(registered=[TWO], deregistered=[ONE])
        self.check(story.add("calm").checks("in_sync", "in_sync", "in_sync"))

    # 1

    def test_emptied_group_is_found(self):
        story = failover().effect("DeregisterTargets", TWO)
        # The lists that it was made by did not show the other target either.
        self.check(story.list().list().deregister(ONE), 1, 2)

    def test_group_emptied_with_evidence_is_found(self):
        # The target was listed, and this very process deregistered it before.
        story = failover(group=(ONE, THREE))
        call = story.asked("DeregisterTargets", " ".join(targets(TWO)))
        story.effect("DeregisterTargets", TWO, p=0, call=call)
        story.effect("DeregisterTargets", THREE, p=0, call=call)
        self.check(story.deregister(ONE), 1, 2)

    def test_group_emptied_beside_another_process_is_excused(self):
        self.check(failover().effect("DeregisterTargets", TWO).deregister(ONE))

    def crossing(self, moves_for):
        """Two processes deregister each other's target; DNS moved so long before the second call."""
        story = Story(group=(ONE, TWO)).start(1).began().began(1, p=1)
        story.lookups(ONE, 1.5).list()
        sent = story.asked("DeregisterTargets", " ".join(targets(TWO)))
        story.dns(TWO).lookups(TWO, 1.5, p=1).list(p=1).wait(moves_for)
        story.lookups(TWO, 1.5, p=1).deregister(ONE, p=1)
        return story.effect("DeregisterTargets", TWO, p=0, call=sent)

    def test_group_emptied_while_dns_moved_is_excused(self):
        self.check(self.crossing(0))

    def test_calls_that_cross_while_dns_is_stable_are_found(self):
        story = Story(group=(ONE, TWO)).start(1).began().began(1, p=1).wait(3)
        story.lookups(ONE, 1.5).list().lookups(ONE, 1.5, p=1).list(p=1)
        story.deregister(TWO)
        self.check(story.deregister(ONE, p=1), 1, 2)

    def test_group_emptied_after_a_stop_is_excused(self):
        story = Story(group=(ONE, TWO)).start(1).began().began(1, p=1)
        story.lookups(ONE, 1.5).list().add("stop", p=0)
        story.dns(TWO).lookups(TWO, 5, p=1).list(p=1).deregister(ONE, p=1).add("continue", p=0)
        self.check(story.deregister(TWO))

    def two_calls(self):
        """A story up to the first of two calls, each of which deregisters one of two targets."""
        story = Story(group=(ONE, TWO)).start(1).start(2).began().began(1, p=1).wait(3)
        story.lookups(ONE, 1.5).list().dns(TWO).lookups(TWO, 5, p=0).list().lookups(TWO, 1.5, p=1).list(p=1)
        return story.deregister(ONE)

    def test_group_emptied_after_a_long_wait_for_a_processor_is_excused(self):
        for process, seconds, broken in ((1, 2, []), (2, 2, [1]), (1, 0.6, []), (1, 0.4, [1]), (1, 0.05, [1])):
            story = self.two_calls().wait(2).add("starved", p=process, seconds=seconds)
            self.check(story.deregister(TWO, p=1), *broken, 2)

    def test_many_short_waits_for_a_processor_excuse_no_emptied_group(self):
        story = self.two_calls()
        for _ in range(5):
            story.wait(0.4).add("starved", p=1, seconds=0.06)
        self.check(story.deregister(TWO, p=1), 1, 2)

    def test_wait_for_a_processor_after_the_call_excuses_no_emptied_group(self):
        # It begins after the call, with it, or so shortly before it that the call was under way.
        for later, seconds in ((0.9, 0.8), (0.9, 0.9), (0.9, 1), (2, 2)):
            story = self.two_calls().wait(2).deregister(TWO, p=1).wait(later).add("starved", p=1, seconds=seconds)
            self.check(story, 1, 2)

    def test_empty_group_comes_back_by_a_watch(self):
        def emptied(before=5, **options):
            story = failover(**options).deregister(ONE).list().lookups(TWO, before)
            return story.effect("DeregisterTargets", TWO)

        self.check(emptied().lookups(TWO, 8), 1)
        self.check(emptied().lookups(TWO, 3).register(TWO).lookups(TWO, 8))
        self.check(emptied().add("fault", p=0, c=1, fault="Slow").lookups(TWO, 8))
        self.check(emptied().members("orders-1", writer="orders-1").lookups(TWO, 8))
        self.check(emptied().dns(ONE).lookups(TWO, 8))
        self.check(emptied().ended(registered=[TWO], deregistered=[ONE]).lookups(TWO, 8))
        self.check(emptied(before=13).lookups(TWO, 8))

    # 2

    def test_deregistration_of_the_address_that_dns_names_is_found(self):
        self.check(failover().deregister(TWO), 2)

    def test_deregistration_before_the_confirmation_is_found(self):
        story = Story(confirm=2, group=(ONE, TWO)).began().dns(TWO).lookups(TWO, 1.5).list()
        self.check(story.deregister(ONE), 2)

    def test_deregistration_after_one_lookup_needs_a_confirmation_of_zero(self):
        for confirm, broken in ((0, []), (1, [2])):
            story = Story(confirm, group=(ONE, TWO)).began().dns(TWO).lookup(TWO).wait(3).list()
            self.check(story.deregister(ONE), *broken)

    def test_answer_that_names_the_target_interrupts_the_confirmation(self):
        story = Story(group=(ONE, TWO)).began().lookups(TWO, 1.5).lookup(ONE).lookups(TWO, 0.7).list()
        self.check(story.deregister(ONE), 2)

    def test_failed_lookups_interrupt_the_confirmation(self):
        for outcome in ("NXDomain", "ServFail"):
            story = Story(group=(ONE, TWO)).began().lookups(TWO, 1.5).lookup(outcome=outcome).lookup(outcome=outcome)
            self.check(story.lookups(TWO, 0.7).list().deregister(ONE), 2)

    def test_server_that_fails_once_does_not(self):
        story = Story(group=(ONE, TWO)).began().lookups(TWO, 0.7).lookup(outcome="ServFail").lookups(TWO, 0.7).list()
        self.check(story.deregister(ONE))

    def test_server_that_fails_over_tcp_may_be_asked_again_over_udp(self):
        story = Story(group=(ONE, TWO)).began().lookups(TWO, 0.7, via="tcp").lookup(outcome="ServFail", via="tcp")
        story.asked("Lookup", ENDPOINT, via="udp", ident=7)
        self.check(story.wait(2).lookup(TWO, via="tcp").lookups(TWO, 0.3, via="tcp").list().deregister(ONE))

    def test_lookup_that_goes_on_over_tcp_does_not_interrupt(self):
        story = Story(group=(ONE, TWO)).began().lookups(TWO, 0.7).lookup(outcome="truncated").lookup(TWO, via="tcp")
        self.check(story.lookups(TWO, 0.7).list().deregister(ONE))

    def test_alias_without_its_address_is_looked_up_itself(self):
        for alias, broken in ((TWO, []), (ONE, [2])):
            story = Story(group=(ONE, TWO)).began().lookups(TWO, 0.7).lookup(outcome="alias").lookup(alias, name=MEMBER)
            self.check(story.lookups(TWO, 0.7).list().deregister(ONE), *broken)

    def test_alias_whose_address_comes_over_tcp_does_not_interrupt(self):
        story = Story(group=(ONE, TWO)).began().lookups(TWO, 0.7).lookup(outcome="alias")
        story.lookup(outcome="truncated", name=MEMBER).lookup(TWO, via="tcp")
        self.check(story.lookups(TWO, 0.7).list().deregister(ONE))

    def test_answer_of_the_other_server_in_the_same_lookup_does_not_interrupt(self):
        story = Story(servers=2, group=(ONE, TWO)).began().lookups(TWO, 0.7).lookup(ONE, server=1)
        self.check(story.lookups(TWO, 0.7).list().deregister(ONE))

    def test_silent_first_server_leaves_the_second_to_confirm(self):
        story = Story(servers=2, group=(ONE, TWO)).began()
        for _ in range(5):
            story.asked("Lookup", ENDPOINT, via="udp", ident=story.calls)
            story.wait(0.3).lookup(TWO, server=1)
        self.check(story.list().deregister(ONE))

    def test_each_process_has_its_own_first_server(self):
        story = Story(servers=2, group=(ONE, TWO)).start(1, first=1).began(p=1)
        for _ in range(5):
            story.asked("Lookup", ENDPOINT, p=1, server=1, via="udp", ident=story.calls)
            story.wait(0.3).lookup(TWO, p=1)
        self.check(story.list(p=1).deregister(ONE, p=1))

    def test_server_that_goes_on_over_tcp_beside_a_failing_one_does_not_interrupt(self):
        story = Story(servers=2, group=(ONE, TWO)).began().lookups(TWO, 0.7)
        story.asked("Lookup", ENDPOINT, via="udp", ident=7)
        story.wait(0.3).lookup(outcome="malformed", server=1, via="tcp").wait(0.1).lookup(TWO, via="tcp")
        self.check(story.lookups(TWO, 0.3).list().deregister(ONE))

    def test_question_that_is_sent_twice_counts_once(self):
        story = Story(group=(ONE, TWO)).began().lookup(TWO)
        # Its second sending is answered otherwise, and the program has taken the first answer.
        again = story.asked("Lookup", ENDPOINT, via="udp", ident=story.calls - 1 + 1000)
        story.add("found", p=0, c=again, addresses=[ONE]).answered(again).wait(0.1)
        self.check(story.lookups(TWO, 1.2).list().deregister(ONE))

    def test_answer_that_a_stopped_process_gave_up_on_does_not_interrupt(self):
        # The process goes on over the other transport at once, or it looks the name up again later.
        for via, pause, broken in (("udp", 0.01, []), ("tcp", 0.01, [2]), ("udp", 0.2, [2])):
            story = Story(group=(ONE, TWO)).began().lookups(TWO, 0.7)
            call = story.asked("Lookup", ENDPOINT, via="tcp", ident=7)
            story.add("stop", p=0).wait(0.1).add("found", p=0, c=call, addresses=[ONE]).answered(call).wait(1)
            story.add("continue", p=0).wait(pause).lookup(TWO, via=via).lookups(TWO, 0.5)
            self.check(story.list().deregister(ONE), *broken)

    def test_answers_of_the_other_server_alone_do(self):
        story = Story(servers=2, group=(ONE, TWO)).began().lookups(TWO, 0.7).lookup(ONE)
        self.check(story.lookups(TWO, 0.7).list().deregister(ONE), 2)

    def test_unusable_answer_confirms_nothing(self):
        for addresses in (("52.1.2.3",), ("127.0.0.1",), (TWO, THREE)):
            story = Story(group=(ONE, TWO)).began().lookups(TWO, 1.5)
            story.lookup(*addresses).lookup(*addresses).wait(1).list()
            self.check(story.deregister(ONE), 2)

    def test_confirmation_of_another_invocation_does_not_count(self):
        story = failover().ended(status="pending", registered=[TWO], waiting=["confirmation"]).began(1).lookup(TWO).list()
        self.check(story.deregister(ONE), 2)

    def test_deregistration_next_to_an_unregistered_writer_is_found(self):
        self.check(Story(group=(ONE, THREE)).began().dns(TWO).lookups(TWO, 1.5).list().deregister(THREE), 2)

    def test_draining_writer_counts_as_unregistered(self):
        story = Story(group=(ONE, THREE)).began().dns(TWO).lookups(TWO, 1.5).list(**{f"{TWO}:5432": "draining"})
        self.check(story.deregister(ONE), 2)

    def test_call_outside_an_invocation_is_found(self):
        self.check(Story(group=(ONE, TWO)).deregister(TWO), 2)

    def test_deregistration_against_the_rds_api_is_found(self):
        other = ENDPOINT.replace("abc123", "xyz789")
        for writer, endpoint, wait, broken in (
            ("orders-1", ENDPOINT, 1, [2]),
            ("orders-2", ENDPOINT, 1, []),
            ("orders-1", other, 1, []),
            ("orders-1", ENDPOINT, 0.1, []),
        ):
            story = failover().members("orders-1", "orders-2", writer=writer, endpoint=endpoint).wait(wait)
            self.check(story.deregister(ONE), *broken)
        for seconds, broken in ((0.8, []), (0.2, [2])):
            # It may have made the call before it had the answer.
            story = failover().members("orders-1", "orders-2").wait(1).add("starved", p=0, seconds=seconds)
            self.check(story.deregister(ONE), *broken)
        story = failover().members("orders-1", "orders-2").wait(1)
        story.answered(story.asked("DescribeDBClusters", "orders"), "500")
        self.check(story.deregister(ONE))

    # 3

    def test_registration_of_another_address_is_found(self):
        self.check(Story().began().lookup(ONE).list().register(THREE), 3)

    def test_member_of_the_rds_api_may_be_registered(self):
        story = Story().began().lookup(ONE).list().members("orders-1", "orders-2").lookup(TWO, name=MEMBER)
        self.check(story.register(TWO))

    def test_address_of_an_instance_that_is_no_member_is_found(self):
        story = Story().began().lookup(ONE).list().members("orders-1").lookup(TWO, name=MEMBER)
        self.check(story.register(TWO), 3)

    def test_members_of_another_database_of_the_same_name_do_not_count(self):
        other = ENDPOINT.replace("abc123", "xyz789")
        story = Story().began().lookup(ONE).list().members("orders-2", endpoint=other).lookup(TWO, name=MEMBER)
        self.check(story.register(TWO), 3)

    def test_impossible_target_is_found(self):
        self.check(Story().began().lookup("52.1.2.3").list().register("52.1.2.3"), 3)

    def test_address_that_dns_named_long_ago_is_found(self):
        self.check(Story().began().lookup(TWO).lookups(ONE, 0.5).list().register(TWO), 3)

    def test_registration_that_was_not_answered_may_be_sent_again(self):
        for outcome, seconds, broken in (("broken", 0.5, []), ("ok", 0.5, [3]), ("broken", 14, [3])):
            story = Story().dns(TWO).began().lookup(TWO).list().register(TWO, outcome=outcome).dns(ONE)
            self.check(story.lookups(ONE, 0.5).wait(seconds).register(TWO), *broken)

    def test_registration_may_be_sent_again_after_a_stop(self):
        story = Story().dns(TWO).began().lookup(TWO).list().register(TWO).add("stop", p=0).dns(ONE).wait(3)
        self.check(story.add("continue", p=0).lookups(ONE, 0.5).register(TWO))

    def test_change_by_a_command_that_changes_nothing_is_found(self):
        self.check(Story().began(kind="plan").lookup(TWO).list().register(TWO), 3)

    # 4

    def test_stale_target_after_two_checks_is_found(self):
        story = Story(group=(ONE, TWO)).dns(TWO).add("calm").checks("pending", "pending", "pending")
        self.check(story, 4)

    def test_missing_target_after_two_checks_is_found(self):
        self.check(Story().dns(TWO).add("calm").checks("pending", "pending", "pending"), 4)

    def test_third_check_that_changes_something_is_found(self):
        story = Story(group=(TWO,)).dns(TWO).add("calm").checks("in_sync", "in_sync")
        story.began(12, kind="check").lookup(TWO).list().register(TWO).ended(12, "in_sync", registered=[TWO], trigger="check")
        self.check(story, 4)

    def test_missing_check_is_found(self):
        self.check(Story(group=(TWO,)).dns(TWO).add("calm").checks("in_sync", "in_sync"), 5)

    # 5

    def test_late_answer_is_found(self):
        story = Story().began(seconds=2).lookup(ONE).list().wait(4)
        self.check(story.ended(status="in_sync", addresses=[ONE]), 5)

    def test_process_that_stood_still_is_late_without_fault(self):
        story = Story().began(seconds=2).lookup(ONE).list().add("stop", p=0).wait(4).add("continue", p=0)
        self.check(story.ended(status="in_sync", addresses=[ONE]))

    def test_late_world_makes_no_late_answer(self):
        story = Story().began(seconds=2).lookup(ONE).list().wait(4).add("lag", seconds=1.5)
        self.check(story.ended(status="in_sync", addresses=[ONE]))

    def test_late_world_makes_no_late_answer_where_it_notices_that_after_the_answer(self):
        story = Story().began(seconds=2).lookup(ONE).list().wait(4).ended(status="in_sync", addresses=[ONE])
        self.check(story.wait(0.5).add("lag", seconds=1.5))

    def test_answer_of_a_process_that_waited_for_a_processor_is_late_without_fault(self):
        for process, broken in ((0, []), (1, [5])):
            story = Story().start(1).began(seconds=2).lookup(ONE).list().wait(4)
            story.ended(status="in_sync", addresses=[ONE]).wait(0.02).add("starved", p=process, seconds=1.5)
            self.check(story, *broken)

    def test_wait_long_before_the_deadline_excuses_no_late_answer(self):
        for event, fields in (("lag", {}), ("starved", {"p": 0})):
            story = Story().began(seconds=4).lookup(ONE).list().wait(2).add(event, seconds=1.9, **fields).wait(3.5)
            self.check(story.ended(status="in_sync", addresses=[ONE]), 5)

    def test_wait_is_not_counted_twice(self):
        story = Story().began(seconds=2).lookup(ONE).list().wait(4).add("starved", p=0, seconds=0.8)
        self.check(story.ended(status="in_sync", addresses=[ONE]), 5)

    def test_latest_answer_is_as_late_as_it_came(self):
        def latest(story):
            story.lookup(ONE).list().wait(2).add("lag", seconds=1.5).add("starved", p=0, seconds=1.5)
            return story.ended(status="in_sync", addresses=[ONE]).judge()[1]

        self.assertIn("The latest answer came 0.980 s before its deadline.", latest(Story().began(seconds=3)))
        self.assertIn("The latest answer came 0.520 s after its deadline.", latest(Story().began(seconds=1.5)))
        stopped = Story().began(seconds=3).add("stop", p=0).wait(1).add("continue", p=0)
        self.assertNotIn("The latest answer came", latest(stopped))

    def test_missing_answer_is_found(self):
        self.check(Story().began(seconds=2).wait(30).add("silent", p=0, i=0, began=True), 5)

    def test_failure_without_a_reason_is_found(self):
        for answer, broken in (({"errorType": "A", "errorMessage": "b"}, []), ({"errorType": "A"}, [5]), (None, [5])):
            self.check(Story().began().add("ended", p=0, i=0, failed=True, answer=answer), *broken)

    def test_reported_change_that_was_not_made_is_found(self):
        story = Story().began().lookup(ONE).list().ended(status="updated", addresses=[ONE], deregistered=[TWO])
        self.check(story, 5)

    def test_change_that_is_not_reported_is_found(self):
        story = failover().deregister(ONE).list().ended(registered=[TWO])
        self.check(story, 5)

    def test_change_whose_answer_was_lost_need_not_be_reported(self):
        story = Story().dns(TWO).began().lookup(TWO).list().register(TWO, outcome="broken")
        self.check(story.ended(status="pending", waiting=["something"]))

    def test_change_whose_answer_a_stop_held_up_need_not_be_reported(self):
        story = Story().dns(TWO).began().lookup(TWO).list().register(TWO).add("stop", p=0).wait(30).add("continue", p=0)
        self.check(story.ended(status="pending", waiting=["something"]))

    def test_change_whose_answer_came_while_the_process_waited_need_not_be_reported(self):
        for seconds, broken in ((3, []), (1, [5])):
            story = Story().dns(TWO).began().lookup(TWO).list().register(TWO).wait(3).add("starved", p=0, seconds=seconds)
            self.check(story.ended(status="pending", waiting=["something"]), *broken)

    def test_untrue_status_is_found(self):
        for status in ("in_sync", "updated"):
            self.check(Story(group=(ONE, TWO)).dns(TWO).began().lookup(TWO).list().ended(status=status), 5)

    def test_pending_without_a_reason_is_found(self):
        self.check(Story().began().lookup(ONE).list().ended(status="pending", addresses=[ONE]), 5)

    def test_error_in_a_success_is_found(self):
        story = Story().began().lookup(ONE).list().ended(status="in_sync", addresses=[ONE], error="why?")
        self.check(story, 5)

    def test_address_that_dns_did_not_name_is_found_in_a_report(self):
        story = Story(group=(ONE,)).began().lookup(TWO).list().ended(status="in_sync", addresses=[ONE])
        self.check(story, 5)

    # 6 and 7

    def test_memory_and_files_above_the_ceiling_are_found(self):
        for rss_kb, files, broken in ((1000, 10, []), (1001, 10, [6]), (1000, 11, [6])):
            self.check(Story().add("resources", p=0, rss_kb=rss_kb, files=files), *broken)

    def test_exit_is_found_unless_the_world_killed_the_process(self):
        self.check(Story().add("exit", p=0, status="exit status: 1", killed=False), 7)
        self.check(Story().add("kill", p=0).add("exit", p=0, status="signal: 9", killed=True))

    def test_panic_is_found(self):
        self.check(Story().add("panic", p=0, line="thread panicked at src/main.rs"), 7)

    # The journal as a whole

    def test_journal_that_ends_early_or_is_empty_is_bad(self):
        for events in ([], Story().events):
            checker = check.Checker(out=io.StringIO())
            checker.read(json.dumps(event) + "\n" for event in events)
            self.assertFalse(checker.is_good())

    def test_control_without_a_violation_is_bad(self):
        for wrong, good in ((failover().add("wrong").deregister(TWO), True), (failover().add("wrong").deregister(ONE), False)):
            checker = check.Checker(control=True, out=io.StringIO())
            checker.read(json.dumps(event) + "\n" for event in wrong.add("over").events)
            self.assertEqual(checker.is_good(), good)


if __name__ == "__main__":
    unittest.main()
