//! Progress on a terminal; nothing in a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// A bar over so many items. Draws on standard error, only when that is a terminal.
pub(crate) fn bar(items: u64, what: &'static str) -> ProgressBar {
    styled(ProgressBar::new(items), "{msg} {pos}/{len} {wide_bar} {elapsed}", what)
}

/// A spinner for work of unknown length, with the time so far.
pub(crate) fn spinner(what: String) -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}", what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn styled(bar: ProgressBar, template: &str, what: impl Into<std::borrow::Cow<'static, str>>) -> ProgressBar {
    let shown = std::io::stderr().is_terminal();
    bar.set_draw_target(if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
