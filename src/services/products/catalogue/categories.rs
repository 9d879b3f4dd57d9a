//! The tree of categories, made of the paths that products name.
//!
//! Owns: names, parents and ids. The id of a category is a checksum of its path, so it stays the same
//! when the catalogue around it changes. Has no neighbour.

use std::collections::HashMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Category {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) parent: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Categories {
    flat: Vec<Category>,
    by_id: HashMap<u64, usize>,
}

impl Categories {
    /// The ids along a path from the top down. A category that is not known yet is added.
    pub(super) fn along(&mut self, path: &[String]) -> Vec<u64> {
        let mut ids: Vec<u64> = Vec::with_capacity(path.len());
        for (depth, name) in path.iter().enumerate() {
            let above = path.get(..=depth).unwrap_or(path).join("\u{1f}");
            let checksum = u64::from(crc32fast::hash(above.as_bytes()));
            ids.push(self.id(checksum % 900_000_000 + 100_000_000, name, ids.last().copied()));
        }
        ids
    }

    /// The first id from `id` on that is this category's, or nobody's.
    fn id(&mut self, mut id: u64, name: &str, parent: Option<u64>) -> u64 {
        while let Some(known) = self.get(id) {
            if known.name == name && known.parent == parent {
                return id;
            }
            id += 1;
        }
        self.by_id.insert(id, self.flat.len());
        self.flat.push(Category { id, name: name.to_owned(), parent });
        id
    }

    fn get(&self, id: u64) -> Option<&Category> {
        self.flat.get(*self.by_id.get(&id)?)
    }

    pub(crate) fn flat(&self) -> &[Category] {
        &self.flat
    }

    pub(crate) fn name(&self, id: u64) -> Option<&str> {
        self.get(id).map(|category| category.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn paths_become_a_tree_with_stable_ids() {
        let mut tree = Categories::default();
        let knives = tree.along(&path(&["Home", "Kitchen", "Knives"]));
        assert_eq!(tree.along(&path(&["Home"])), knives[..1]);
        let toys = tree.along(&path(&["Toys", "Kitchen"]));
        assert_eq!((tree.flat().len(), knives.len()), (5, 3));
        let last = tree.flat().iter().find(|category| category.name == "Knives").unwrap();
        assert_eq!((last.id, last.parent), (knives[2], Some(knives[1])));
        assert_eq!(tree.name(knives[0]), Some("Home"));
        assert_ne!(toys[1], knives[1], "the same name elsewhere is another category");
        assert_eq!(Categories::default().along(&path(&["Home", "Kitchen", "Knives"])), knives);
        assert!(tree.along(&[]).is_empty());
    }

    #[test]
    fn two_paths_with_one_checksum_are_two_categories() {
        let mut tree = Categories::default();
        let ids = [tree.id(7, "a", None), tree.id(7, "b", None), tree.id(7, "b", None)];
        assert_eq!(ids, [7, 8, 8]);
    }
}
