//! The output for people: tables and prose, no wider than the terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::stdout;

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
const PLAIN: Style = Style::new();

pub struct TextReport {
    text: String,
    width: usize,
    colours: bool,
}

impl TextReport {
    pub fn for_stdout() -> Self {
        let width = terminal_size::terminal_size_of(stdout()).map_or(NARROW, |(width, _)| width.0);
        let colours = AutoStream::choice(&stdout()) != ColorChoice::Never;
        Self::new(width.min(WIDE), colours)
    }

    pub fn new(width: u16, colours: bool) -> Self {
        Self { text: String::new(), width: usize::from(width), colours }
    }

    pub fn finish(self) -> String {
        self.text
    }

    pub fn invocation_result(&mut self, outcome: &InvocationResult) {
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
        // A consequence stands below its cause, or by itself where its cause is among the settings.
        let is_here = |cause: &str| findings.iter().any(|other| other.check == cause);
        let stands_alone = |it: &&Finding| it.level == level && !it.cause.as_deref().is_some_and(is_here);
        let mut shown: Vec<&Finding> = findings.iter().filter(stands_alone).collect();
        shown.sort_by_key(|finding| finding.cause.is_some());
        if shown.is_empty() {
            return;
        }
        let _ = writeln!(self.text, "{BOLD}{heading}{BOLD:#}");
        for finding in shown {
            // Several findings of one check are one cause. The worst comes first.
            let first = findings.iter().find(|it| it.check == finding.check);
            let is_cause = finding.cause.is_none() && first.is_some_and(|first| std::ptr::eq(first, finding));
            self.finding(
                finding,
                findings.iter().filter(|it| is_cause && it.cause.as_ref() == Some(&finding.check)),
            );
        }
        self.text.push('\n');
    }

    fn finding<'f>(&mut self, finding: &Finding, consequences: impl Iterator<Item = &'f Finding>) {
        let Finding { level, check, observed, impact, fix, .. } = finding;
        let (word, style) = self::level(*level);
        let title = format!("{word} {check}: ");
        let mut lines = wrap(&format!("{title}{observed}"), self.width.saturating_sub(2)).into_iter();
        let first = lines.next().unwrap_or_default();
        let first = first.strip_prefix(title.trim_end()).unwrap_or(&first).to_owned();
        let _ = writeln!(self.text, "{style}{word}{style:#} {BOLD}{check}{BOLD:#}:{first}");
        for line in lines {
            let _ = writeln!(self.text, "  {line}");
        }
        impact.iter().for_each(|impact| self.prose(impact));
        for Finding { check, observed, .. } in consequences {
            self.lines(&format!("Consequence: {check}: {observed}"), "  ", PLAIN);
        }
        fix.iter().for_each(|fix| self.prose(&format!("Fix: {fix}")));
    }

    fn not_examined(&mut self, report: &DoctorReport, all: bool) {
        let checks: BTreeSet<&str> = report.not_examined().map(|finding| finding.check.as_ref()).collect();
        if checks.is_empty() {
            return;
        }
        if !all {
            let list = checks.into_iter().joined(", ");
            return self.lines(&format!("Not examined: {list} (-v says why)"), "", PLAIN);
        }
        let _ = writeln!(self.text, "{BOLD}Not examined{BOLD:#}");
        for Finding { check, observed, fix, .. } in report.not_examined() {
            self.prose(&format!("{check}: {observed}: {}", fix.as_deref().unwrap_or_default()));
        }
    }

    /// The last line names the problems, or the warnings where there is no problem.
    fn verdict(&mut self, report: &DoctorReport, all: bool) {
        let counts = report.counts;
        let hint = if all || counts.ok == 0 { "" } else { " (-v lists what is ok)" };
        let ok = format!("{} ok{hint}", counts.ok);
        let (problems, warnings) = (count(counts.problems, "problem"), count(counts.warnings, "warning"));
        let (level, worst, others) = match (counts.problems, counts.warnings) {
            (0, 0) => {
                let (_, style) = self::level(Severity::Ok);
                let _ = writeln!(self.text, "{style}No problem found{style:#}: {warnings}, {ok}");
                return;
            }
            (0, _) => (Severity::Warning, warnings, problems),
            _ => (Severity::Problem, problems, warnings),
        };
        let _ = writeln!(self.text, "{others}, {ok}");
        self.lines(&format!("{worst}: {}", names(report, level)), "", self::level(level).1);
    }

    /// Adds prose in lines of the text's width. A command in backquotes gets a line of its own, unbroken, so that it
    /// can be copied.
    fn prose(&mut self, text: &str) {
        let mut prose = String::new();
        for (index, part) in text.split('`').enumerate() {
            let is_quoted = index % 2 == 1;
            if is_quoted && part.contains(' ') {
                self.lines(&std::mem::take(&mut prose), "  ", PLAIN);
                let _ = writeln!(self.text, "    {part}");
            } else if is_quoted {
                let _ = write!(prose, "`{part}`");
            } else {
                prose.push_str(part);
            }
        }
        self.lines(&prose, "  ", PLAIN);
    }

    fn lines(&mut self, prose: &str, indent: &str, style: Style) {
        for line in wrap(prose, self.width.saturating_sub(indent.len())) {
            let _ = writeln!(self.text, "{indent}{style}{line}{style:#}");
        }
    }

    fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table
            .load_style(UTF8_BORDERS_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(self.width).unwrap_or(WIDE))
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
    let lines = fill(endpoint.split_inclusive('.'), "", 30);
    format!("{}\n→ {}", lines.join("\n"), arn::name(target_group))
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    fill(text.split_whitespace(), " ", width)
}

/// The parts in lines of at most this width; a longer part has a line of its own.
fn fill<'t>(parts: impl Iterator<Item = &'t str>, separator: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + separator.len() + part.chars().count() <= width => {
                line.push_str(separator);
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

pub(super) fn count(number: usize, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}
