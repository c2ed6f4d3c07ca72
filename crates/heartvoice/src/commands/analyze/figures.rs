//! Which file gets which figure.

use super::input::Item;
use crate::failure::bad_input;
use crate::figure::{self, Subject};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Longest stem of a figure's name, in bytes: file systems take 255 with the ending.
const MAX_STEM_BYTES: usize = 200;

/// The folder of the figures and the name of each.
#[derive(Debug)]
pub(super) struct Figures {
    paths: Vec<PathBuf>,
}

impl Figures {
    /// Makes the folder and sees that it can be written to, before anything is measured.
    pub(super) fn prepare(dir: &Path, items: &[Item]) -> anyhow::Result<Self> {
        let cannot = |error: std::io::Error| bad_input(format!("--plot: cannot write to {}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(cannot)?;
        tempfile::tempfile_in(dir).map_err(cannot)?;
        Ok(Self { paths: names(items).into_iter().map(|name| dir.join(name)).collect() })
    }

    /// Draws the figure of the file at place `index` of the list and says where it is.
    pub(super) fn draw(&self, index: usize, subject: &Subject<'_>) -> Result<PathBuf, String> {
        let path = self.paths.get(index).ok_or("there is no name for its figure")?;
        let drawing = figure::draw(subject).map_err(|error| format!("no figure: {error}"))?;
        std::fs::write(path, drawing).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path.clone())
    }
}

/// A name for every file: its stem; where several have the same, with the folder before it; and where that does not
/// tell them apart either, with a number. Case does not count, because it does not on every disk.
fn names(items: &[Item]) -> Vec<String> {
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        *uses.entry(stem(&item.path).to_lowercase()).or_default() += 1;
    }
    let alone = |stem: &str| uses.get(&stem.to_lowercase()) == Some(&1);
    let mut taken: BTreeSet<String> = uses.keys().filter(|stem| alone(stem)).cloned().collect();
    let name = |item: &Item| {
        let own = stem(&item.path);
        if alone(&own) {
            return format!("{own}.svg");
        }
        let folder = item.path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
        let base = folder.map_or_else(|| own.clone(), |folder| shorten(format!("{folder}-{own}")));
        let numbered = (2_usize..).map(|number| format!("{base}-{number}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|name| taken.insert(name.to_lowercase()));
        format!("{}.svg", free.unwrap_or(base))
    };
    items.iter().map(name).collect()
}

fn stem(path: &Path) -> String {
    shorten(path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
}

fn shorten(mut name: String) -> String {
    while name.len() > MAX_STEM_BYTES {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of(paths: &[&str]) -> Vec<String> {
        names(&paths.iter().map(|path| Item { path: path.into(), problem: None }).collect::<Vec<_>>())
    }

    #[test]
    fn figures_have_the_names_of_their_files_and_never_the_same() {
        assert_eq!(names_of(&["a/x.wav", "a/y.ulaw"]), ["x.svg", "y.svg"]);
        assert_eq!(names_of(&["a/x.wav", "b/x.wav", "z.wav"]), ["a-x.svg", "b-x.svg", "z.svg"]);
        assert_eq!(names_of(&["x.wav", "X.ulaw", "x.wav"]), ["x.svg", "X-2.svg", "x-3.svg"]);
        assert_eq!(names_of(&["a-x.wav", "a/x.wav", "b/x.wav"]), ["a-x.svg", "a-x-2.svg", "b-x.svg"]);
        assert_eq!(names_of(&["p/a/x.wav", "q/a/x.wav"]), ["a-x.svg", "a-x-2.svg"]);
    }
}
