//! The journal: what happened in the world, one JSON line each, in the order in which it happened.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

/// Clones write to the same pipe.
#[derive(Clone)]
pub struct Journal {
    pipe: Arc<Mutex<Box<dyn Write + Send>>>,
    zero: Instant,
    seed: u64,
}

impl Journal {
    pub fn new(pipe: impl Write + Send + 'static) -> Self {
        Self { pipe: Arc::new(Mutex::new(Box::new(pipe))), zero: Instant::now(), seed: 0 }
    }

    /// The journal of one schedule.
    pub fn of(&self, seed: u64) -> Self {
        Self { seed, ..self.clone() }
    }

    /// Seconds on the journal's clock, which is monotonic.
    pub fn now(&self) -> f64 {
        self.zero.elapsed().as_secs_f64()
    }

    /// Appends an event with these fields.
    pub fn write(&self, event: &str, mut fields: Value) {
        let line = fields.as_object_mut().expect("an object");
        line.insert("e".into(), json!(event));
        line.insert("s".into(), json!(self.seed));
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that the lines are in the order of their times.
        line.insert("t".into(), json!(self.now()));
        writeln!(pipe, "{fields}").expect("the checker reads the journal");
    }
}
