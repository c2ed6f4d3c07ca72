//! Alerts: when one is raised, to whom it goes, and what happens until somebody acknowledges it.
