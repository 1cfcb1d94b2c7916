use super::play::play;

/// How many schedules every run of the tests plays.
const SCHEDULES: u64 = 2000;

fn show(seed: u64) -> String {
    let played = play(seed, true);
    format!("{:#?}\n{}\nreplay with SEED={seed}", played.schedule, played.trace.join("\n"))
}

#[test]
fn no_schedule_breaks_an_invariant() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = seed.map_or(0..SCHEDULES, |seed| seed..seed + 1);
    let broken: Vec<u64> = seeds.filter(|seed| !play(*seed, false).violations.is_empty()).collect();
    let kinds: Vec<_> = broken.iter().flat_map(|seed| play(*seed, false).violations).map(|v| format!("{v:?}")).collect();
    if let Some(first) = broken.first() {
        panic!("{}\n{}\n{} broken: {broken:?}", show(*first), kinds.join("\n"), broken.len());
    }
}
