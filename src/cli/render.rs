//! The output for people: tables and prose, no wider than the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::stdout;
use std::iter;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use crate::arn;
use crate::doctor::{BindingFindings, DoctorReport, Finding, Severity};
use crate::reconcile::{Report, Status};
use crate::service::InvocationResult;
use crate::text::Joined as _;

/// The width without a terminal: that of the narrowest common terminal.
const NARROW: u16 = 80;
/// The greatest width. Longer lines are hard to read.
const WIDE: u16 = 120;

const BOLD: Style = Style::new().bold();

pub struct TextReport {
    text: String,
    width: u16,
    colours: bool,
}

impl TextReport {
    pub fn for_stdout() -> Self {
        let width = terminal_size::terminal_size_of(stdout()).map_or(NARROW, |(width, _)| width.0);
        let colours = AutoStream::choice(&stdout()) != ColorChoice::Never;
        Self::new(width.min(WIDE), colours)
    }

    pub fn new(width: u16, colours: bool) -> Self {
        Self { text: String::new(), width, colours }
    }

    pub fn finish(self) -> String {
        self.text
    }

    pub fn outcome(&mut self, outcome: &InvocationResult) {
        let mut table = self.table(&["status", "binding", "targets"]);
        for report in &outcome.bindings {
            let (word, colour, _) = status(report.status);
            table.add_row([
                Cell::new(word).fg(colour),
                Cell::new(narrow(&report.endpoint, &report.target_group)),
                Cell::new(changes(report).join("\n")),
            ]);
        }
        let _ = writeln!(self.text, "{table}");
        let mut counts = BTreeMap::<&str, usize>::new();
        for report in &outcome.bindings {
            *counts.entry(status(report.status).0).or_default() += 1;
        }
        let counts = counts.into_iter().map(|(word, number)| format!("{number} {word}"));
        let _ = writeln!(self.text, "{}", counts.joined(", "));
    }

    pub fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds the problems of all bindings, then the warnings, and the verdict in the last line. Findings of the level
    /// `Ok` are listed only if `all` is set.
    pub fn doctor_report(&mut self, report: &DoctorReport, all: bool) {
        let is_shown = |level: &Severity| all || *level != Severity::Ok;
        for level in [Severity::Problem, Severity::Warning, Severity::Ok].into_iter().filter(is_shown) {
            for BindingFindings { endpoint, target_group, findings, .. } in &report.bindings {
                self.findings(
                    &format!("{endpoint} → target group {}", arn::name(target_group)),
                    level,
                    findings,
                );
            }
            self.findings("Settings", level, &report.general);
        }
        self.not_examined(report, all);
        self.verdict(report, all);
    }

    fn findings(&mut self, heading: &str, level: Severity, findings: &[Finding]) {
        // A consequence stands below its cause.
        let causes = findings.iter().filter(|it| it.level == level && it.cause.is_none());
        // The cause of these is among the settings.
        let is_here = |cause| findings.iter().any(|other| Some(&other.check) == cause);
        let of_settings = findings
            .iter()
            .filter(|it| it.level == level && it.cause.is_some() && !is_here(it.cause.as_ref()));
        if causes.clone().chain(of_settings.clone()).next().is_none() {
            return;
        }
        let _ = writeln!(self.text, "{BOLD}{heading}{BOLD:#}");
        for finding in causes {
            // Several findings of one check are one cause. The worst comes first.
            let first = findings.iter().find(|it| it.check == finding.check);
            let is_first = first.is_some_and(|first| std::ptr::eq(first, finding));
            let follows = findings.iter().filter(|it| is_first && it.cause.as_ref() == Some(&finding.check));
            let consequences =
                follows.map(|Finding { check, observed, .. }| format!("Consequence: {check}: {observed}"));
            self.finding(finding, consequences);
        }
        of_settings.for_each(|finding| self.finding(finding, iter::empty()));
        self.text.push('\n');
    }

    fn finding(&mut self, finding: &Finding, consequences: impl Iterator<Item = String>) {
        let Finding { level, check, observed, impact, fix, .. } = finding;
        let (word, style) = self::level(*level);
        let title = format!("{word} {check}: ");
        let width = usize::from(self.width);
        let mut lines = wrap(&format!("{title}{observed}"), width.saturating_sub(2)).into_iter();
        let first = lines.next().unwrap_or_default();
        let first = first.strip_prefix(title.trim_end()).unwrap_or(&first).to_owned();
        let _ = writeln!(self.text, "{style}{word}{style:#} {BOLD}{check}{BOLD:#}:{first}");
        for line in lines {
            let _ = writeln!(self.text, "  {line}");
        }
        if let Some(impact) = impact {
            self.prose(impact);
        }
        consequences.for_each(|consequence| self.lines(&consequence));
        if let Some(fix) = fix {
            self.prose(&format!("Fix: {fix}"));
        }
    }

    fn not_examined(&mut self, report: &DoctorReport, all: bool) {
        let mut checks: Vec<&str> = report.not_examined().map(|finding| finding.check.as_ref()).collect();
        if checks.is_empty() {
            return;
        }
        if all {
            let _ = writeln!(self.text, "{BOLD}Not examined{BOLD:#}");
            for Finding { check, observed, fix, .. } in report.not_examined() {
                self.prose(&format!("{check}: {observed}: {}", fix.as_deref().unwrap_or_default()));
            }
            return;
        }
        checks.sort_unstable();
        checks.dedup();
        let text = format!("Not examined: {} (-v says why)", checks.join(", "));
        for line in wrap(&text, usize::from(self.width)) {
            let _ = writeln!(self.text, "{line}");
        }
    }

    /// The last line names the problems, or the warnings where there is no problem.
    fn verdict(&mut self, report: &DoctorReport, all: bool) {
        let counts = report.counts;
        let hint = if all || counts.ok == 0 { "" } else { " (-v lists what is ok)" };
        let (warnings, ok) = (count(counts.warnings, "warning"), format!("{} ok{hint}", counts.ok));
        let (_, style) = self::level(match (counts.problems, counts.warnings) {
            (0, 0) => Severity::Ok,
            (0, _) => Severity::Warning,
            _ => Severity::Problem,
        });
        let problems = count(counts.problems, "problem");
        let (counted, verdict) = match (counts.problems, counts.warnings) {
            (0, 0) => {
                let _ = writeln!(self.text, "{style}No problem found{style:#}: {warnings}, {ok}");
                return;
            }
            (0, _) => (problems, format!("{warnings}: {}", names(report, Severity::Warning))),
            _ => (warnings, format!("{problems}: {}", names(report, Severity::Problem))),
        };
        let _ = writeln!(self.text, "{counted}, {ok}");
        for line in wrap(&verdict, usize::from(self.width)) {
            let _ = writeln!(self.text, "{style}{line}{style:#}");
        }
    }

    /// Adds prose in lines of the text's width. A command in backquotes gets a line of its own, unbroken, so that it
    /// can be copied.
    fn prose(&mut self, text: &str) {
        let mut prose = String::new();
        for (index, part) in text.split('`').enumerate() {
            let is_quoted = index % 2 == 1;
            if is_quoted && part.contains(' ') {
                self.lines(&std::mem::take(&mut prose));
                let _ = writeln!(self.text, "    {part}");
            } else if is_quoted {
                let _ = write!(prose, "`{part}`");
            } else {
                prose.push_str(part);
            }
        }
        self.lines(&prose);
    }

    fn lines(&mut self, prose: &str) {
        for line in wrap(prose, usize::from(self.width).saturating_sub(2)) {
            let _ = writeln!(self.text, "  {line}");
        }
    }

    fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table
            .load_style(UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(self.width)
            .set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
        if self.colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }
}

pub fn line(report: &Report) -> String {
    let Report { endpoint, target_group, status: of, .. } = report;
    let (word, _, colour) = status(*of);
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{word}{style:#} {endpoint} → {}: {}", arn::name(target_group), changes(report).join(", "))
}

/// A report's changes, a line each: `+` registered, `-` deregistered, `?` waits.
fn changes(report: &Report) -> Vec<String> {
    let Report { status: of, addresses, registered, deregistered, waiting, error, .. } = report;
    let mut lines: Vec<String> = registered.iter().map(|target| format!("+ {target}")).collect();
    lines.extend(deregistered.iter().map(|target| format!("- {target}")));
    lines.extend(waiting.iter().map(|what| format!("? {what}")));
    lines.extend(error.iter().cloned());
    if lines.is_empty() && *of != Status::Failed {
        lines.extend(addresses.iter().map(|addresses| format!("= {addresses}")));
    }
    lines
}

/// The status in words, and its colour in a table and in a line.
fn status(status: Status) -> (&'static str, Color, AnsiColor) {
    match status {
        Status::InSync => ("in sync", Color::Green, AnsiColor::Green),
        Status::Updated => ("updated", Color::Green, AnsiColor::Green),
        Status::Pending | Status::Deferred => ("pending", Color::Yellow, AnsiColor::Yellow),
        Status::Planned => ("would change", Color::Yellow, AnsiColor::Yellow),
        Status::Failed => ("failed", Color::Red, AnsiColor::Red),
    }
}

fn level(level: Severity) -> (&'static str, Style) {
    let (word, colour) = match level {
        Severity::NotExamined => ("NOT EXAMINED", AnsiColor::White),
        Severity::Ok => ("OK", AnsiColor::Green),
        Severity::Warning => ("WARNING", AnsiColor::Yellow),
        Severity::Problem => ("PROBLEM", AnsiColor::Red),
    };
    (word, Style::new().bold().fg_color(Some(colour.into())))
}

/// The checks that found a problem, such as `settings: dry_run; orders: listener, zones`, for a few bindings at most.
fn names(report: &DoctorReport, level: Severity) -> String {
    const FEW: usize = 3;
    let checks = |findings: &[Finding]| {
        let problems = findings.iter().filter(|it| it.level == level && it.cause.is_none());
        problems.map(|finding| &finding.check).joined(", ")
    };
    let general = ("settings", checks(&report.general));
    let of_bindings = report.bindings.iter().map(|it| (arn::name(&it.target_group), checks(&it.findings)));
    let all = std::iter::once(general).chain(of_bindings).filter(|(_, checks)| !checks.is_empty());
    let all: Vec<String> = all.map(|(name, checks)| format!("{name}: {checks}")).collect();
    let more = all.len().saturating_sub(FEW);
    let few = all.into_iter().take(FEW).joined("; ");
    if more == 0 { few } else { format!("{few}; and {more} more") }
}

/// A binding for a column of a table. The endpoint's lines break only after a dot.
fn narrow(endpoint: &str, target_group: &str) -> String {
    const WIDTH: usize = 30;
    let mut lines = vec![String::new()];
    for label in endpoint.split_inclusive('.') {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.len() + label.len() <= WIDTH => line.push_str(label),
            _ => lines.push(label.to_owned()),
        }
    }
    format!("{}\n→ {}", lines.join("\n"), arn::name(target_group))
}

/// The words in lines of at most this width; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

pub(super) fn count(number: usize, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}
