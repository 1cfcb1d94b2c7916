//! What a person reads: tables and prose, no wider than the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::stdout;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use super::count;
use crate::doctor::{DoctorReport, Finding, Severity};
use crate::reconcile::{Report, Status};
use crate::service::InvocationResult;

/// Where there is no terminal, as wide as the narrowest that is common.
const NARROW: u16 = 80;
/// Lines longer than this are hard to read, however wide the terminal.
const WIDE: u16 = 120;

const BOLD: Style = Style::new().bold();

/// A text under way.
pub struct TextReport {
    text: String,
    width: u16,
    colours: bool,
}

impl TextReport {
    /// A page as wide and as colourful as standard output.
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

    /// What became of the bindings.
    pub fn outcome(&mut self, outcome: &InvocationResult) {
        let mut table = self.table(&["status", "binding", "targets"]);
        for report in &outcome.bindings {
            let (word, colour) = status(report.status);
            table.add_row([
                Cell::new(word).fg(colour),
                Cell::new(narrow(&report.endpoint, &report.target_group)),
                Cell::new(changes(report).join("\n")),
            ]);
        }
        self.put(&table);
        let mut counts = BTreeMap::<&str, usize>::new();
        for report in &outcome.bindings {
            *counts.entry(status(report.status).0).or_default() += 1;
        }
        let counts: Vec<String> =
            counts.into_iter().map(|(word, number)| format!("{number} {word}")).collect();
        let _ = writeln!(self.text, "{}", counts.join(", "));
    }

    /// What the doctor found: one table per binding, and below it what to do.
    pub fn doctor_report(&mut self, doctor_report: &DoctorReport) {
        for binding_findings in &doctor_report.bindings {
            let _ = writeln!(
                self.text,
                "{BOLD}{}{BOLD:#}",
                binding(&binding_findings.endpoint, &binding_findings.target_group)
            );
            self.findings(&binding_findings.findings);
        }
        let _ = writeln!(self.text, "{BOLD}Settings and surroundings{BOLD:#}");
        self.findings(&doctor_report.general);
        let counts = [
            count(doctor_report.count(Severity::Problem), "problem"),
            count(doctor_report.count(Severity::Warning), "warning"),
            format!("{} ok", doctor_report.count(Severity::Ok)),
        ];
        let _ = writeln!(self.text, "{}", counts.join(", "));
    }

    fn findings(&mut self, findings: &[Finding]) {
        let mut table = self.table(&["", "check", "observed"]);
        for Finding { level, check, observed, impact: _, fix: _ } in findings {
            let (word, colour) = self::level(*level);
            table.add_row([Cell::new(word).fg(colour), Cell::new(check), Cell::new(observed)]);
        }
        self.put(&table);
        let mut to_do: Vec<&Finding> =
            findings.iter().filter(|finding| finding.level > Severity::Ok).collect();
        to_do.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        for finding in to_do {
            self.explain(finding);
        }
        self.text.push('\n');
    }

    fn explain(&mut self, finding: &Finding) {
        let Finding { level, check, observed: _, impact, fix } = finding;
        let style = Style::new().bold().fg_color(Some(match level {
            Severity::Ok => AnsiColor::Green.into(),
            Severity::Warning => AnsiColor::Yellow.into(),
            Severity::Problem => AnsiColor::Red.into(),
        }));
        let word = self::level(*level).0;
        let _ = writeln!(self.text, "\n{style}{check}{style:#} ({word})");
        self.prose(impact.as_deref().unwrap_or_default());
        self.prose(&format!("Fix: {}", fix.as_deref().unwrap_or_default()));
    }

    /// Prose in lines of the page's width; a command in backquotes stands on a line of its own, whole, so
    /// that it can be copied.
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

    fn put(&mut self, table: &Table) {
        let _ = writeln!(self.text, "{table}");
    }
}

/// A check in one line, without the time.
pub fn line(report: &Report) -> String {
    let Report { endpoint, target_group, status: of, .. } = report;
    let (word, _) = status(*of);
    let style = Style::new().fg_color(Some(match of {
        Status::InSync | Status::Updated => AnsiColor::Green.into(),
        Status::Pending | Status::Deferred | Status::Planned => AnsiColor::Yellow.into(),
        Status::Failed => AnsiColor::Red.into(),
    }));
    format!("{style}{word}{style:#} {endpoint} → {}: {}", name(target_group), changes(report).join(", "))
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

fn status(status: Status) -> (&'static str, Color) {
    match status {
        Status::InSync => ("in sync", Color::Green),
        Status::Updated => ("updated", Color::Green),
        Status::Pending | Status::Deferred => ("pending", Color::Yellow),
        Status::Planned => ("would change", Color::Yellow),
        Status::Failed => ("failed", Color::Red),
    }
}

fn level(level: Severity) -> (&'static str, Color) {
    match level {
        Severity::Ok => ("ok", Color::Green),
        Severity::Warning => ("warning", Color::Yellow),
        Severity::Problem => ("problem", Color::Red),
    }
}

fn binding(endpoint: &str, target_group: &str) -> String {
    format!("{endpoint}\n→ {}", name(target_group))
}

/// A binding for a column of a table: the endpoint breaks after a dot, not anywhere.
fn narrow(endpoint: &str, target_group: &str) -> String {
    const WIDTH: usize = 30;
    let mut lines = vec![String::new()];
    for label in endpoint.split_inclusive('.') {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.len() + label.len() <= WIDTH => line.push_str(label),
            _ => lines.push(label.to_owned()),
        }
    }
    format!("{}\n→ {}", lines.join("\n"), name(target_group))
}

/// The target group's name, from its ARN.
fn name(target_group: &str) -> &str {
    target_group.split('/').nth(1).unwrap_or(target_group)
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
