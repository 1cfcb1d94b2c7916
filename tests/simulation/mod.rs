//! Every schedule of harm that dice can think of, through the real loop on a paused clock.
#![allow(dead_code, reason = "the tests and the soak run each need a part of it")]

pub mod bounds;
pub mod checker;
pub mod harm;
pub mod history;
pub mod limits;
pub mod outside;
pub mod play;
pub mod ports;
pub mod schedule;
pub mod verdict;

#[cfg(test)]
mod awaits;
#[cfg(test)]
mod notices;
#[cfg(test)]
mod tests;
