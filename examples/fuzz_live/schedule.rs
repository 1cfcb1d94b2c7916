//! What a seed stands for: the settings, the hazards, and how the world changes.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;

/// What goes wrong. Each seed has one main hazard; others come with it by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hazard {
    /// SIGKILL, between any two calls.
    Kill,
    /// SIGSTOP, and SIGCONT later.
    Stop,
    /// Two processes work on one group.
    Overlap,
    /// Two name servers follow a move at their own pace, or the first is silent.
    Opinions,
    /// No UDP: TCP alone.
    UdpLost,
    /// Answers are lost, with and without the call's effect.
    Lost,
    /// Answers and effects come late.
    Late,
    HostileDns,
    HostileApi,
    HostileEvents,
    /// The RDS API accepts connections and never answers, or never usefully.
    SilentRds,
    Throttled,
    /// Other processes change the group.
    Outside,
    /// Most of the above at once.
    Everything,
}

impl Hazard {
    pub const ALL: [Self; 14] = [
        Self::Kill,
        Self::Stop,
        Self::Overlap,
        Self::Opinions,
        Self::UdpLost,
        Self::Lost,
        Self::Late,
        Self::HostileDns,
        Self::HostileApi,
        Self::HostileEvents,
        Self::SilentRds,
        Self::Throttled,
        Self::Outside,
        Self::Everything,
    ];
}

/// How the RDS API is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    NoAnswer,
    Stalls,
    Errors,
    Malformed,
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub main: Hazard,
    pub hazards: BTreeSet<Hazard>,
    pub confirm: u64,
    pub poll: u64,
    pub watch: u64,
    pub preregister: bool,
    pub processes: usize,
    pub servers: usize,
    /// Whether the first of two name servers never answers.
    pub first_is_silent: bool,
    pub silence: Silence,
    /// Whether the RDS API names other writers than DNS.
    pub rds_is_wrong: bool,
    /// How often a call meets a fault.
    pub intensity: f64,
    /// How long the hazards last.
    pub active: Duration,
    /// The group at first.
    pub group: Vec<&'static str>,
    pub drain: Duration,
    pub lag: Duration,
    pub latency: Duration,
}

impl Schedule {
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let main = Hazard::ALL[(seed % Hazard::ALL.len() as u64) as usize];
        let chance = if main == Hazard::Everything { 0.7 } else { 0.15 };
        let mut hazards: BTreeSet<Hazard> = Hazard::ALL.into_iter().filter(|_| rng.f64() < chance).collect();
        hazards.remove(&Hazard::Everything);
        hazards.insert(main);
        let groups: [&[&str]; 8] = [
            &["10.0.1.10"],
            &["10.0.1.10"],
            &["10.0.1.10"],
            &["10.0.1.10", "10.0.2.20"],
            &["10.0.2.20"],
            &["10.0.3.30"],
            &["10.0.1.10", "10.0.3.30", "10.0.4.40"],
            &[],
        ];
        Self {
            seed,
            main,
            confirm: pick(rng, &[0, 1, 1, 1, 2, 2]),
            poll: pick(rng, &[50, 50, 100, 200, 500, 1000]),
            watch: rng.u64(3..=10),
            preregister: rng.f64() < 0.8,
            processes: if hazards.contains(&Hazard::Overlap)
                || (hazards.contains(&Hazard::Opinions) && rng.bool())
            {
                2
            } else {
                1
            },
            servers: if hazards.contains(&Hazard::Opinions) { 2 } else { 1 },
            first_is_silent: hazards.contains(&Hazard::Opinions) && rng.f64() < 0.2,
            silence: pick(
                rng,
                &[Silence::NoAnswer, Silence::NoAnswer, Silence::Stalls, Silence::Errors, Silence::Malformed],
            ),
            rds_is_wrong: rng.f64() < 0.3,
            intensity: pick(rng, &[0.05, 0.15, 0.3, 0.7]),
            active: Duration::from_millis(rng.u64(6000..16_000)),
            group: pick(rng, &groups).to_vec(),
            drain: Duration::from_secs(pick(rng, &[1, 5, 300])),
            lag: Duration::from_millis(pick(rng, &[0, 0, 0, 300, 1500])),
            latency: Duration::from_millis(pick(rng, &[0, 5, 15, 60])),
            hazards,
        }
    }

    pub fn has(&self, hazard: Hazard) -> bool {
        self.hazards.contains(&hazard)
    }
}

pub fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(0..from.len())].clone()
}

/// A time between these, in milliseconds.
pub fn millis(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
