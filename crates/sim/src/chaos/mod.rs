//! Deterministic chaos: whole calls in virtual time, one seed for everything, and something that breaks.
//!
//! Every call is the real [`call::Encounter`] with its visit, its chain of agents and its breakers, and speaks the real
//! messages of both protocols. Around it stand models: a phone company that plays, echoes, fetches documents and carries
//! out pages; agents that say what they are told; patients who answer; a process that can be killed; a journal with a
//! database, a spool and memory; staff who are told. There is no socket, no task and no clock: the same seed gives the
//! same world on every machine, so a seed that breaks a rule is a one-line reproduction.
//!
//! ```text
//! Plan { seed, calls, faults } ──► run ──► Verdict { visits, silence, losses, the first rule that was broken }
//! ```

mod agent;
mod fault;
mod journal;
mod line;
mod patient;
mod phone;
mod report;
mod server;
mod sound;
mod watch;
mod world;

#[cfg(test)]
mod tests;

pub use fault::{Fault, Mode, Moment, Scope, What};
pub use report::{Random, Row, random, storm, table, trace};
pub use server::Sabotage;
pub use world::{Plan, Verdict, random_plan, run, storm_plan};
