use super::*;
use crate::plan::{TargetState, Targets};
use Scope::{Background, Check, Full};

const PERIOD: Duration = Duration::from_secs(900);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn group(index: usize) -> String {
    format!("arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/group-{index}/0123456789abcdef")
}

fn binding(index: usize) -> Binding {
    Binding::new(&format!("db-{index}.example.com"), group(index).parse().unwrap())
}

fn bindings(count: usize) -> Vec<Binding> {
    (0..count).map(binding).collect()
}

/// The bindings and the memory that the words describe, one for each binding, or several with `*30`:
/// `-` unknown, `s10` in sync 10 s ago, `x10` too, with an unhealthy address, `c` in sync with another binding, `f3` and `t3` a failover and a clean-up
/// left to do 3 s ago, `u` unresolved, and with `!` in progress.
fn estate(words: &str, now: Instant) -> (Vec<Binding>, Memory) {
    let mut memory = Memory::new(PERIOD, false);
    let mut count = 0;
    for word in words.split_whitespace() {
        let (word, times) = word.split_once('*').map_or((word, 1), |(word, n)| (word, n.parse().unwrap()));
        for _ in 0..times {
            let (binding, group) = (binding(count), group(count));
            count += 1;
            let kind = word.trim_end_matches('!');
            if kind != word {
                memory.in_progress.insert(group.clone());
            }
            let (kind, age) = kind.split_at(1);
            let at = now - seconds(age.parse().unwrap_or_default());
            let in_sync = |binding| {
                let (addresses, reader_cache) = (addresses(), ReaderCache::default());
                let mut health = Targets::new();
                if kind == "x" {
                    health.insert("10.0.1.10:5432".parse().unwrap(), TargetState::Unhealthy);
                }
                let record = InSyncRecord { binding, addresses, health, reader_cache };
                LastResult::InSync { record: Rc::new(record), at }
            };
            let result = match kind {
                "s" | "x" => in_sync(binding),
                "c" => in_sync(Binding { port: Some(1), ..binding }),
                "f" => LastResult::NeedsSync { priority: Priority::Failover, at },
                "t" => LastResult::NeedsSync { priority: Priority::Cleanup, at },
                "u" => LastResult::NotObserved,
                _ => continue,
            };
            memory.results.insert(group, result);
        }
    }
    (bindings(count), memory)
}

/// Numbers in one line, those that follow each other as `3-7`.
fn ranges(numbers: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let part = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(" ")
}

fn describe(selection: &Selection) -> String {
    let Selection { reconcile, list, compare, due } = selection;
    let at = |wanted: Priority| {
        let indices: Vec<usize> =
            reconcile.iter().filter(|(_, priority)| *priority == wanted).map(|(index, _)| *index).collect();
        ranges(&indices)
    };
    let compared: Vec<usize> = compare.iter().map(|(index, _)| *index).collect();
    let parts = [
        ("failover", at(Priority::Failover)),
        ("cleanup", at(Priority::Cleanup)),
        ("routine", at(Priority::Routine)),
        ("list", ranges(list)),
        ("compare", ranges(&compared)),
        ("due", if *due > 0 { due.to_string() } else { String::new() }),
    ];
    let parts = parts.iter().filter(|(_, text)| !text.is_empty());
    parts.map(|(name, text)| format!("{name} {text}")).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn case(name: &str, scope: Scope, estate_words: &str, expected: &str) {
    let now = Instant::now() + seconds(10_000);
    let (bindings, mut memory) = estate(estate_words, now);
    assert_eq!(describe(&memory.select(&bindings, now, scope)), expected, "{name}");
}

#[tokio::test]
#[rustfmt::skip]
async fn selection_by_last_result_and_scope() {
    case("no bindings", Check, "", "");
    case("few, cold", Check, "-*20", "list 0-19");
    case("few, in sync", Check, "s60*20", "list 0-19");
    case("few, changed or unresolved", Check, "c u s60", "list 0-2");
    case("few, one failed", Check, "s60 f60 t60 -", "failover 1, cleanup 2, list 0 3");
    case("few, in progress", Check, "s60! -!", "list 0-1");
    case("many, cold", Check, "-*21", "list 0-20");
    case("many, in sync", Check, "s60*21", "compare 0-20, due 20");
    case("many, some unknown", Check, "s60*20 - c u", "list 20-22, compare 0-19, due 20");
    case("many, longest ago first", Check, "s10 s30 s20 s60*18", "compare 3-20 1-2 0, due 20");
    case("many, equally long ago", Check, "s10*21", "compare 0-20, due 20");
    case("many, one failed", Check, "s60*20 f1 t1", "failover 20, cleanup 21, compare 0-19, due 20");
    case("many failed", Check, "-*2 f60*22", "failover 2-21, list 22-23 0-1");
    case("many, in progress", Check, "s60!*21", "compare 0-20, due 20");
    case("an operator's check", Full, "s60 f60 t60 u c -", "list 0-5");
    case("an operator's check of many", Full, "s60*30 f60 t60 u c -", "list 0-34");
    case("an operator's check, in progress", Full, "s60! -!", "list 0-1");
    case("background, few, in sync", Background, "s60*20", "compare 0-19");
    case("background, few, unknown", Background, "- c u", "");
    case("background, few, failed", Background, "f5 t4 f60 t60", "failover 0 2, cleanup 3");
    case("background, many, unknown", Background, "-*10 c*10 u*10", "list 0-19");
    case("background, many, in sync", Background, "s60*30", "compare 0-29");
    case("background, many, failed", Background, "f5*30 f4*2 t4", "failover 0-29");
    case("background, in progress", Background, "s60! f60! u! -!*30 s60", "compare 33");
}

#[tokio::test]
async fn share_of_due_groups_covers_all_within_the_period() {
    // By scope, number of bindings, and seconds since the last selection: groups that are due.
    let cases = [
        (Check, 1000, 60, 74),
        (Check, 1000, 10, 20),
        (Check, 200, 60, 20),
        (Check, 1000, 810, 1000),
        (Check, 1000, 9999, 1000),
        (Background, 1000, 60, 74),
        (Background, 1000, 1, 1),
        (Background, 100, 1, 0),
        (Full, 1000, 60, 0),
    ];
    for (scope, count, elapsed, expected) in cases {
        let now = Instant::now() + seconds(10_000);
        let (bindings, mut memory) = estate(&format!("s60*{count}"), now);
        memory.selected_at = Some(now - seconds(elapsed));
        let selection = memory.select(&bindings, now, scope);
        assert_eq!(selection.due, expected, "{scope:?}, {count} bindings, {elapsed} s");
    }
}

#[tokio::test]
async fn first_selection_of_many_groups_lists_the_minimum() {
    let now = Instant::now();
    let (bindings, mut memory) = estate("s0*1000", now);
    assert_eq!(memory.select(&bindings, now, Check).due, MIN_LISTED);
    let (bindings, mut memory) = estate("s0*1000", now);
    assert_eq!(memory.select(&bindings, now, Background).due, 0);
}

#[tokio::test]
async fn background_selections_add_up_fractions_of_groups() {
    let now = Instant::now();
    let (bindings, mut memory) = estate("s0*100", now);
    let due = |memory: &mut Memory, second| memory.select(&bindings, now + seconds(second), Background).due;
    // 100 groups in 810 s: one every 8.1 s.
    let due: Vec<usize> = (0..=82).map(|second| due(&mut memory, second)).collect();
    assert_eq!(due.iter().sum::<usize>(), 10);
    assert!(due.iter().all(|due| *due <= 1), "{due:?}");
    assert_eq!(due.iter().position(|due| *due == 1), Some(9));
}

#[tokio::test]
async fn check_takes_over_the_fractions_and_starts_anew() {
    let now = Instant::now();
    let (bindings, mut memory) = estate("s0*1000", now);
    memory.select(&bindings, now, Check);
    // 1.23 groups, of which 0.23 are left.
    assert_eq!(memory.select(&bindings, now + seconds(1), Background).due, 1);
    assert!((0.2..0.3).contains(&memory.due), "{}", memory.due);
    memory.select(&bindings, now + seconds(2), Check);
    assert_eq!(memory.due, 0.0);
}

/// A command may be about one binding alone.
#[tokio::test]
async fn command_takes_no_turn_of_the_groups_that_are_due() {
    let now = Instant::now();
    let (bindings, mut memory) = estate("s0*1000", now);
    memory.select(&bindings, now, Check);
    memory.select(&bindings[..1], now + seconds(59), Full);
    // 1000 groups in 810 s: 74 in a minute.
    assert_eq!(memory.select(&bindings, now + seconds(60), Check).due, 74);
}

fn addresses() -> Addresses {
    Addresses::parse(["10.0.1.10".parse().unwrap()]).unwrap()
}

/// What the next check does with a binding after this report, among many others.
fn after(report: &Report) -> String {
    let now = Instant::now();
    let (bindings, mut memory) = estate("- s0*20", now);
    memory.record(&bindings[0], report, now);
    let background = describe(&memory.select(&bindings, now + seconds(5), Background));
    let check = describe(&memory.select(&bindings, now + seconds(6), Check));
    let of_first = |text: &str| {
        let mut parts = text.split(", ").filter(|part| part.split(['-', ' ']).nth(1) == Some("0"));
        parts.next().and_then(|part| part.split(' ').next()).unwrap_or("leave").to_owned()
    };
    format!("{}, {}", of_first(&check), of_first(&background))
}

#[tokio::test]
async fn next_selection_follows_the_report() {
    for (status, addresses, expected) in [
        (Status::InSync, Some(addresses()), "compare, compare"),
        (Status::Updated, Some(addresses()), "compare, compare"),
        (Status::Failed, Some(addresses()), "failover, failover"),
        (Status::Failed, None, "list, leave"),
        (Status::Pending, Some(addresses()), "cleanup, cleanup"),
        (Status::Pending, None, "cleanup, cleanup"),
        (Status::Planned, Some(addresses()), "cleanup, cleanup"),
        (Status::Deferred, None, "list, list"),
    ] {
        let report = Report { addresses, ..Report::for_group("db-0.example.com", &group(0), status) };
        assert_eq!(after(&report), expected, "{report:?}");
    }
}

#[tokio::test]
async fn failed_lookup_puts_a_binding_behind_the_others() {
    let now = Instant::now() + seconds(100);
    let (bindings, mut memory) = estate("s60 s50*20 f60", now);
    memory.postpone(&bindings[0], now);
    memory.postpone(&bindings[21], now);
    let selection = memory.select(&bindings, now, Check);
    assert_eq!(describe(&selection), "failover 21, compare 1-20 0, due 20");
}

#[tokio::test]
async fn forgotten_binding_is_listed() {
    let now = Instant::now() + seconds(100);
    let (bindings, mut memory) = estate("s60*21", now);
    memory.forget(&bindings[7]);
    assert_eq!(describe(&memory.select(&bindings, now, Check)), "list 7, compare 0-6 8-20, due 20");
}

#[tokio::test]
async fn unbound_group_is_forgotten_by_the_schedules_check_alone() {
    let now = Instant::now() + seconds(100);
    let listed_again = |scope: Scope| {
        let (mut all, mut memory) = estate("s60*21 s60", now);
        let last = all.pop().unwrap();
        memory.select(&all, now, scope);
        all.push(last);
        describe(&memory.select(&all, now, Check))
    };
    assert_eq!(listed_again(Check), "list 21, compare 0-20, due 20");
    // An operator's command may be about one binding; the background leaves out those that are watched.
    for scope in [Full, Background] {
        assert_eq!(listed_again(scope), "compare 0-21, due 20", "{scope:?}");
    }
}

#[tokio::test]
async fn group_in_progress_is_started_once_until_it_is_finished() {
    let mut memory = Memory::new(PERIOD, false);
    assert!(memory.start(&group(0)));
    assert!(!memory.start(&group(0)));
    assert!(memory.start(&group(1)));
    memory.finish(&group(0));
    assert!(memory.start(&group(0)));
}

#[test]
fn group_out_of_service_is_listed_by_every_check_besides_those_due() {
    let now = Instant::now();
    let listed = |words: &str, scope| {
        let (bindings, mut memory) = estate(words, now);
        let selection = memory.select(&bindings, now, scope);
        let due = &selection.compare[..selection.due];
        ranges(&due.iter().map(|(index, _)| *index).collect::<Vec<_>>())
    };
    assert_eq!(listed("s100*30 x1", Check), "30 0-19");
    assert_eq!(listed("s100*30 x1*40", Check), "30-39 0-19", "and no more than ten");
    assert_eq!(listed("s100*30 x1", Background), "", "the next check lists it");
}

#[test]
fn group_that_may_apply_late_is_listed_by_the_next_check() {
    let now = Instant::now();
    let (bindings, mut memory) = estate("s100*30", now);
    let binding = &bindings[7];
    let report = Report {
        addresses: Some(addresses()),
        may_apply_late: true,
        ..Report::new(binding, Status::Updated)
    };
    memory.record(binding, &report, now);
    let selection = memory.select(&bindings, now, Check);
    assert_eq!(selection.reconcile, [(7, Priority::Cleanup)]);
}
