//! The tree of categories, made of the paths that products name.
//!
//! Owns: names, parents and numbers. A category's number is a checksum of its path, so it stays the
//! same however the catalogue around it changes. Refuses: nothing. Has no neighbour.

use std::collections::{BTreeSet, HashMap};

/// One category of any level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Category {
    /// Stable number.
    pub(crate) id: u64,
    /// Name without those above it.
    pub(crate) name: String,
    /// The one above; none for a top category.
    pub(crate) parent: Option<u64>,
}

/// Every category of a catalogue.
#[derive(Debug, Default)]
pub(crate) struct Categories {
    flat: Vec<Category>,
    by_id: HashMap<u64, usize>,
    by_path: HashMap<Vec<String>, u64>,
}

impl Categories {
    /// Builds the tree of these paths and everything above them.
    pub(crate) fn of<'a>(paths: impl Iterator<Item = &'a [String]>) -> Self {
        let mut every = BTreeSet::new();
        for path in paths {
            every.extend((1..=path.len()).filter_map(|depth| path.get(..depth)));
        }
        let mut tree = Self::default();
        // In sorted order a path comes after the one above it, and colliding numbers are
        // resolved the same way in every run.
        for path in every {
            tree.add(path);
        }
        tree
    }

    fn add(&mut self, path: &[String]) {
        let Some((name, above)) = path.split_last() else { return };
        let mut id = number(path);
        while self.by_id.contains_key(&id) {
            id += 1;
        }
        let parent = self.by_path.get(above).copied();
        self.by_id.insert(id, self.flat.len());
        self.by_path.insert(path.to_vec(), id);
        self.flat.push(Category { id, name: name.clone(), parent });
    }

    /// All of them, every level.
    pub(crate) fn flat(&self) -> &[Category] {
        &self.flat
    }

    /// The numbers along a path from the top down.
    pub(crate) fn ids(&self, path: &[String]) -> Vec<u64> {
        let above = (1..=path.len()).filter_map(|depth| path.get(..depth));
        above.filter_map(|path| self.by_path.get(path).copied()).collect()
    }

    /// The name of a category.
    pub(crate) fn name(&self, id: u64) -> Option<&str> {
        let category = self.flat.get(*self.by_id.get(&id)?)?;
        Some(&category.name)
    }
}

/// Nine digits from the path's checksum.
fn number(path: &[String]) -> u64 {
    u64::from(crc32fast::hash(path.join("\u{1f}").as_bytes())) % 900_000_000 + 100_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn paths_become_a_tree_with_stable_numbers() {
        let paths =
            [path(&["Home", "Kitchen", "Knives"]), path(&["Home"]), path(&["Toys", "Kitchen"])];
        let tree = Categories::of(paths.iter().map(Vec::as_slice));
        assert_eq!(tree.flat().len(), 5);
        let ids = tree.ids(&paths[0]);
        assert_eq!(ids.len(), 3);
        let knives = tree.flat().iter().find(|category| category.name == "Knives").unwrap();
        assert_eq!((knives.id, knives.parent), (ids[2], Some(ids[1])));
        assert_eq!(tree.name(ids[0]), Some("Home"));
        assert_ne!(tree.ids(&paths[2])[1], ids[1], "the same name elsewhere is another category");

        let smaller = Categories::of(std::iter::once(paths[0].as_slice()));
        assert_eq!(smaller.ids(&paths[0]), ids);
        assert!(tree.ids(&[]).is_empty());
    }
}
