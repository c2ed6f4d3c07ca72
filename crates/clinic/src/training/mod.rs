//! Fitting and calibrating the risk model on a site's own labelled outcomes.
