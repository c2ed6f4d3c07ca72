//! Trends: one measure of one patient over time, with the baseline's band and the points of change.
