//! The measurements as one table, with the limit of each and the costs.
//!
//! The limits are ratios between figures of the same run, so that they hold on every machine; only memory,
//! the zip's size and the number of calls are absolute.

use std::fmt;
use std::time::Duration;

use super::POLL;

/// A row of measurements, sorted.
pub struct Measured(Vec<Duration>);

impl Measured {
    pub fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        Self(samples)
    }

    fn at(&self, part: f64) -> Duration {
        let index = (part * (self.0.len() - 1) as f64).round() as usize;
        self.0[index]
    }

    pub fn median(&self) -> Duration {
        self.at(0.5)
    }

    pub fn mean(&self) -> Duration {
        self.0.iter().sum::<Duration>() / u32::try_from(self.0.len()).expect("some thousand")
    }

    pub fn worst(&self) -> Duration {
        self.at(1.0)
    }
}

/// The median, and from the 5th to the 95th percentile, with one decimal unless the format has a precision.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, low, high] = [0.5, 0.05, 0.95].map(|part| millis(self.at(part)));
        let decimals = f.precision().unwrap_or(1);
        write!(f, "{median:.decimals$} ms ({low:.decimals$}–{high:.decimals$})")
    }
}

/// This function, the floor and the Python handler, in this order.
pub struct Report {
    pub init: [Measured; 3],
    /// A call to the API over a bare socket.
    pub round_trip: Measured,
    pub check: [Measured; 3],
    pub cpu: [Measured; 3],
    /// This function's, where the API and the name server answer without a pause.
    pub cpu_at_once: Measured,
    pub calls: [[f64; 2]; 3],
    pub early_memory: [u64; 3],
    pub memory: [u64; 3],
    pub flips: Measured,
    pub zip: u64,
}

struct Row {
    figure: &'static str,
    cells: [String; 3],
    ratios: Option<[f64; 3]>,
    limit: String,
    is_met: bool,
}

impl Report {
    fn rows(&self) -> Vec<Row> {
        let none = || "–".to_owned();
        let [init, floor, _] = self.init.each_ref().map(|init| millis(init.median()));
        let longer = millis(self.round_trip.median());
        let check = millis(self.check[0].median());
        let cpu = self.cpu.each_ref().map(|cpu| millis(cpu.median()));
        let flip = 1.1 * (millis(POLL) + check);
        let mib = |kib: u64| kib as f64 / 1024.0;
        let growth = self.memory[0].saturating_sub(self.early_memory[0]);
        let zip = self.zip as f64 / 1e6;
        vec![
            Row {
                figure: "init: process start to first poll of the Runtime API",
                cells: self.init.each_ref().map(Measured::to_string),
                ratios: Some(self.init.each_ref().map(|init| millis(init.median()))),
                limit: "5 × the floor".into(),
                is_met: init <= 5.0 * floor,
            },
            Row {
                figure: "warm check in sync; the API takes 20 ms, DNS 4 ms",
                cells: self.check.each_ref().map(Measured::to_string),
                ratios: Some(self.check.each_ref().map(|check| millis(check.median()))),
                limit: format!("1.1 × the API's round trip: {:.1} ms", 1.1 * longer),
                is_met: check <= 1.1 * longer,
            },
            Row {
                figure: "processor time of that check",
                cells: self.cpu.each_ref().map(|cpu| format!("{cpu:.2}")),
                ratios: Some(cpu),
                limit: "12 × the floor, half of Python".into(),
                is_met: cpu[0] <= 12.0 * cpu[1] && cpu[0] <= cpu[2] / 2.0,
            },
            Row {
                figure: "DNS names another writer → RegisterTargets, in a watch: worst of 100",
                cells: [
                    format!("{:.0} ms; {}", millis(self.flips.worst()), self.flips),
                    none(),
                    "the next schedule: up to 60 s".into(),
                ],
                ratios: None,
                limit: format!("1.1 × (poll interval + warm check): {flip:.0} ms"),
                is_met: millis(self.flips.worst()) <= flip,
            },
            Row {
                figure: "API calls and lookups in that check",
                cells: self.calls.map(|[calls, lookups]| format!("{calls} and {lookups}")),
                ratios: None,
                limit: "1 and 1".into(),
                is_met: self.calls[0] == [1.0, 1.0],
            },
            Row {
                figure: "peak memory after 1,000 checks (and its growth over the last 900)",
                cells: [0, 1, 2].map(|index| {
                    let grown = self.memory[index].saturating_sub(self.early_memory[index]);
                    format!("{:.1} MiB (+{grown} KiB)", mib(self.memory[index]))
                }),
                ratios: Some(self.memory.map(mib)),
                limit: "16 MiB, flat".into(),
                // The allocator may take a few pages more; that is no leak.
                is_met: mib(self.memory[0]) <= 16.0 && growth <= 128,
            },
            Row {
                figure: "zip for Lambda",
                cells: [format!("{zip:.2} MB"), none(), none()],
                ratios: None,
                limit: "4 MB".into(),
                is_met: zip <= 4.0,
            },
        ]
    }

    pub fn is_met(&self) -> bool {
        self.rows().iter().all(|row| row.is_met)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", machine())?;
        writeln!(
            f,
            "| figure | this function | echo, the floor | Python | ratio to the floor; Python to this | limit | |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for Row { figure, cells: [this, floor, python], ratios, limit, is_met } in self.rows() {
            let ratios = ratios.map_or_else(
                || "–".to_owned(),
                |[this, floor, python]| format!("{:.1}; {:.1}", this / floor, python / this),
            );
            let verdict = if is_met { "✓" } else { "✗" };
            writeln!(f, "| {figure} | {this} | {floor} | {python} | {ratios} | {limit} | {verdict} |")?;
        }
        writeln!(
            f,
            "\nMedians, with the 5th to the 95th percentile. A bare socket sees the API answer in {}. The mean of the \
             processor time is {:.2} ms; where API and DNS answer at once, its median is {:.2}.\n",
            self.round_trip,
            millis(self.cpu[0].mean()),
            self.cpu_at_once
        )?;
        self.costs(f)
    }
}

/// Dollars per GB-second on arm64 and x86_64, and per request (us-east-1, without the free tier).
const GB_SECOND: [(&str, f64); 2] = [("arm64", 0.000_013_333_4), ("x86_64", 0.000_016_666_7)];
const REQUEST: f64 = 0.20 / 1e6;
/// Lambda gives a whole core at this memory, and less in proportion.
const WHOLE_CORE: f64 = 1769.0;
/// A month of checks, one a minute.
const MINUTES: f64 = 30.0 * 24.0 * 60.0;
/// How long a watch lasts by default; a failover ends it sooner.
const WATCH: f64 = 180.0;
/// A watch of nearly a minute, every minute.
const ALWAYS: f64 = 55.0;

impl Report {
    /// The costs of a month by the means of the measured durations. The processor time is stretched as the memory's
    /// share of a core stretches it, and nothing of it is counted as overlapping with the waiting.
    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| dollars a month, one binding, list prices without the free tier | billed per check | checks, one a minute | Python's | one watch of 180 s | a watch of 55 s every minute |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for memory in [128.0, 256.0] {
            for (architecture, price) in GB_SECOND {
                let billed = [0, 2].map(|index| {
                    let (wall, cpu) = (millis(self.check[index].mean()), millis(self.cpu[index].mean()));
                    ((wall - cpu).max(0.0) + cpu * WHOLE_CORE / memory).ceil()
                });
                let cost = |seconds: f64| seconds * memory / 1024.0 * price + REQUEST;
                let [checks, python] = billed.map(|millis| MINUTES * cost(millis / 1000.0));
                writeln!(
                    f,
                    "| {memory} MB, {architecture} | {} ms | {checks:.4} | {python:.4} | {:.5} | {:.2} |",
                    billed[0],
                    cost(WATCH),
                    MINUTES * cost(ALWAYS)
                )?;
            }
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The date and the machine.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let date = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let info = read("/proc/cpuinfo");
    let model =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let load = read("/proc/loadavg");
    format!(
        "{}, {} with {} cores, {}, load average {}",
        date.unwrap_or_default(),
        model.unwrap_or("a processor without a name"),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        std::env::consts::ARCH,
        load.split(' ').next().unwrap_or_default(),
    )
}
