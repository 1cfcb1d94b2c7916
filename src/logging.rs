//! Sets up the log of the function and of the command line.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Logs as Lambda's advanced logging controls ask for: JSON unless `AWS_LAMBDA_LOG_FORMAT` says text,
/// from the level in `AWS_LAMBDA_LOG_LEVEL` up. Dependencies log at `WARN` and above, or all at `TRACE`.
pub fn init(variable: impl Fn(&str) -> Option<String>) {
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
        subscriber
            .with(lines.with_ansi(false).with_writer(|| OneLine { inner: io::stdout(), has_colours: false }))
            .init();
    } else {
        subscriber.with(lines.json().flatten_event(true).with_span_list(false)).init();
    }
    // A panic ends the process, which Lambda counts as an error; its reason belongs in the same log.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(decision = "panic", reason = %panic, "a defect of this program; please report it");
    }));
}

/// Logs as text to standard error, for somebody at a command line.
pub fn init_text(level: LevelFilter, colours: bool) {
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_ansi(colours);
    tracing_subscriber::registry()
        .with(filter(level))
        .with(lines.with_writer(move || OneLine { inner: io::stderr(), has_colours: colours }))
        .init();
}

/// Writes each event as one line. An event may quote a name server, an RDS event or a tag: a line break in that text
/// must not begin a line that looks like this program's, and no control sequence may reach a terminal.
struct OneLine<W> {
    inner: W,
    has_colours: bool,
}

impl<W: Write> Write for OneLine<W> {
    /// The subscriber writes each event with one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = one_line(&String::from_utf8_lossy(event), self.has_colours);
        self.inner.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Escapes the text's control characters and line separators, except the last line break. With colours, the sequences
/// that set a colour are kept: the subscriber writes them, and one in a quoted text changes only its colour.
fn one_line(text: &str, has_colours: bool) -> String {
    let is_foreign = |c: char| (c.is_control() && c != '\t') || c == '\u{2028}' || c == '\u{2029}';
    let (mut rest, end) = text.strip_suffix('\n').map_or((text, ""), |text| (text, "\n"));
    let mut line = String::with_capacity(text.len() + 1);
    while let Some(c) = rest.chars().next() {
        let colour = if has_colours { colour(rest) } else { None };
        let taken = colour.map_or(c.len_utf8(), str::len);
        match colour {
            Some(colour) => line.push_str(colour),
            None if is_foreign(c) => line.extend(c.escape_default()),
            None => line.push(c),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    line + end
}

/// The sequence at the text's start that sets a colour or a style, such as `ESC [1;31m`.
fn colour(text: &str) -> Option<&str> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers.get(end..)?.starts_with('m').then(|| text.get(..end + 3)).flatten()
}

fn filter(level: LevelFilter) -> Targets {
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    let resolver = if level >= LevelFilter::DEBUG { libraries } else { LevelFilter::OFF };
    Targets::new()
        .with_default(libraries)
        .with_target("rds_nlb_sync", level)
        // The resolver logs a line for each packet that does not belong to a query, and anybody can send those. This
        // crate's own error gives the reason of a failed lookup.
        .with_target("hickory_net", resolver)
        .with_target("hickory_resolver", resolver)
        .with_target("hickory_proto", resolver)
        .with_target("bootstrap", level)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn resolvers_warnings_are_logged_from_debug_on() {
        for target in ["hickory_net::udp::udp_client_stream", "hickory_resolver::name_server_pool"] {
            for (level, expected) in [
                (LevelFilter::INFO, false),
                (LevelFilter::ERROR, false),
                (LevelFilter::DEBUG, true),
                (LevelFilter::TRACE, true),
            ] {
                assert_eq!(filter(level).would_enable(target, &Level::WARN), expected, "{target} {level}");
            }
        }
        assert!(filter(LevelFilter::INFO).would_enable("aws_config", &Level::WARN));
    }

    #[test]
    fn control_characters_start_no_line() {
        for (text, expected) in [
            ("INFO checked\n", "INFO checked\n"),
            ("WARN failed: a\r\nERROR forged\n", "WARN failed: a\\r\\nERROR forged\n"),
            ("a\u{b}b\u{85}c\u{2028}d\0", "a\\u{b}b\\u{85}c\\u{2028}d\\u{0}"),
            ("\u{1b}[32mé\tü→\n\n", "\\u{1b}[32mé\tü→\\n\n"),
        ] {
            assert_eq!(one_line(text, false), expected);
        }
        let coloured = "\u{1b}[1;32mok\u{1b}[0m\u{1b}[2J\u{1b}]0;x\u{7}\u{1b}[";
        let expected = "\u{1b}[1;32mok\u{1b}[0m\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{1b}[";
        assert_eq!(one_line(coloured, true), expected);
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
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || OneLine { inner: buffer.clone(), has_colours: false });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::warn!(reason = %"a\nERROR forged \u{1b}[2J", endpoint = "b\nc", "message\nd");
        });
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
