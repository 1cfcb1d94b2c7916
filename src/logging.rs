//! The log, as the function and the command line write it.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Logs as Lambda's advanced logging controls ask for: JSON unless `AWS_LAMBDA_LOG_FORMAT` says text,
/// from the level in `AWS_LAMBDA_LOG_LEVEL` up. Libraries speak from `WARN` up, or all at `TRACE`.
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
        subscriber.with(lines.with_ansi(false)).init();
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
    tracing_subscriber::registry().with(filter(level)).with(lines.with_writer(std::io::stderr)).init();
}

/// What of the log is written from this level up.
fn filter(level: LevelFilter) -> Targets {
    let libraries = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    let resolver = if level >= LevelFilter::DEBUG { libraries } else { LevelFilter::OFF };
    Targets::new()
        .with_default(libraries)
        .with_target("rds_nlb_sync", level)
        // The resolver logs a line for each packet that does not belong to a query, and anybody can send those. What a
        // failed lookup came of is in our error.
        .with_target("hickory_net", resolver)
        .with_target("hickory_resolver", resolver)
        .with_target("hickory_proto", resolver)
        .with_target("lambda_runtime::layers::trace", level)
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
}
