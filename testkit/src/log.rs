//! The log of the function in process.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tracing::subscriber::{DefaultGuard, set_default};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log from `INFO` up, of this thread, for as long as this lives.
pub struct Log(Lines, #[allow(dead_code, reason = "it is held")] DefaultGuard);

impl Log {
    pub fn open() -> Self {
        let lines = Lines::default();
        let writer = lines.clone();
        let log =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone()).finish();
        Self(lines, set_default(log))
    }

    pub fn lines(&self) -> Vec<Value> {
        let bytes = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lines = String::from_utf8(bytes).expect("text");
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The decisions, in order.
    pub fn decisions(&self) -> Vec<String> {
        self.lines().iter().filter_map(|line| line["decision"].as_str().map(str::to_owned)).collect()
    }
}
