//! The log, as the function and the command line write it.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Logs as Lambda's advanced logging controls ask for: JSON unless `AWS_LAMBDA_LOG_FORMAT` says text,
/// from the level in `AWS_LAMBDA_LOG_LEVEL` up. Dependencies log at `WARN` and above, or all at `TRACE`.
pub fn log(variable: impl Fn(&str) -> Option<String>) {
    let variable = |name| variable(name).unwrap_or_default().to_ascii_uppercase();
    let level = match variable("AWS_LAMBDA_LOG_LEVEL").as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    let subscriber = tracing_subscriber::registry().with(filter(level));
    if variable("AWS_LAMBDA_LOG_FORMAT") == "TEXT" {
        subscriber.with(lines.with_ansi(false).with_writer(OneLine(io::stdout))).init();
    } else {
        subscriber.with(lines.json().flatten_event(true).with_span_list(false)).init();
    }
    // A panic ends the process, which Lambda counts as an error; its reason belongs into the same log.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(decision = "panic", reason = %panic, "a defect of this program; please report it");
    }));
}

/// Logs as text to standard error, for somebody at a command line.
pub fn log_as_text(level: LevelFilter, colours: bool) {
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours);
    tracing_subscriber::registry().with(filter(level)).with(lines.with_writer(OneLine(io::stderr))).init();
}

/// Writes each event as one line, whatever it quotes: a line break in the words of a name server, an event or a tag
/// must not begin a line that looks like one of ours.
#[derive(Clone)]
struct OneLine<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// The subscriber writes an event at once.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(one_line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The text with its control characters and line separators escaped, but for the colours, which the subscriber
/// escapes itself where they are not its own, and the last line break.
fn one_line(text: &str) -> String {
    const ESCAPE: char = '\u{1b}';
    let is_break =
        |c: char| (c.is_control() && c != ESCAPE && c != '\t') || c == '\u{2028}' || c == '\u{2029}';
    let (text, end) = text.strip_suffix('\n').map_or((text, ""), |text| (text, "\n"));
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if is_break(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line + end
}

/// The log from this level up.
fn filter(level: LevelFilter) -> Targets {
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_default(libraries).with_target("rds_nlb_sync", level).with_target("bootstrap", level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_start_no_line() {
        for (text, expected) in [
            ("INFO checked\n", "INFO checked\n"),
            ("WARN failed: a\r\nERROR forged\n", "WARN failed: a\\r\\nERROR forged\n"),
            ("a\u{b}b\u{85}c\u{2028}d\0", "a\\u{b}b\\u{85}c\\u{2028}d\\u{0}"),
            ("\u{1b}[32mé\tü→\u{1b}[0m\n\n", "\u{1b}[32mé\tü→\u{1b}[0m\\n\n"),
        ] {
            assert_eq!(one_line(text), expected);
        }
    }

    #[test]
    fn logged_foreign_text_stays_on_its_line() {
        use std::sync::{Arc, Mutex};
        #[derive(Clone, Default)]
        struct Buffer(Arc<Mutex<Vec<u8>>>);
        impl Write for Buffer {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let buffer = Buffer::default();
        let written = Arc::clone(&buffer.0);
        let lines =
            tracing_subscriber::fmt::layer().with_ansi(false).with_writer(OneLine(move || buffer.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::warn!(reason = %"a\nERROR forged \u{1b}[2J", endpoint = "b\nc", "message\nd");
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
